//! What an analysis sees of a forward pass: each sublayer's input, branch and output, as they come.

use super::config::{ModelConfig, Part, Stack};
use crate::error::{Error, Result};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::terminal::Progress;

/// A sublayer that has run. Tensors are [T, d] of the tape's type and stay alive as long as this does.
pub struct Seen {
    pub stack: Stack,
    pub layer: usize,
    pub part: Part,
    /// What the branch read: the stream, or for Pre-LN its LayerNorm.
    pub input: Tensor,
    /// The branch, before its bias and dropout.
    pub branch: Tensor,
    /// Name of the branch's bias.
    pub bias: String,
    /// Name of the sublayer's own LayerNorm, whether it stands before or after.
    pub norm: String,
    /// The stream after the sublayer.
    pub output: Tensor,
    /// What the next branch reads: the stream, or for Pre-LN its LayerNorm.
    pub next: Tensor,
    /// The variable whose gradient is that of `output`.
    pub watched: Var,
}

impl Seen {
    /// ∂L/∂output [T, d], after the backward pass over `tape`.
    pub fn gradient<'t>(&self, tape: &'t Tape) -> Result<&'t Tensor> {
        tape.grad(self.watched).ok_or_else(|| Error::tape("a sublayer's output has no gradient"))
    }
}

/// Collects them in the order they run: encoder, then decoder.
#[derive(Default)]
pub struct Probe {
    /// Embeddings [T, d] of each stack that ran.
    pub embeddings: Vec<(Stack, Tensor)>,
    pub sublayers: Vec<Seen>,
    /// Of the pass that is looked at, while it runs.
    progress: Option<Progress>,
}

impl Probe {
    /// One whose pass over a model of `config` shows progress, as `what`.
    pub fn shown(what: &str, config: &ModelConfig) -> Probe {
        let all = config.sublayers(Stack::Encoder) + config.sublayers(Stack::Decoder);
        Probe { progress: Some(Progress::new(what, Some(all as u64))), ..Probe::default() }
    }

    /// Takes in the sublayer that has run.
    pub fn see(&mut self, seen: Seen) {
        self.sublayers.push(seen);
        if let Some(progress) = &mut self.progress {
            progress.step("sublayers");
        }
    }

    /// Ends the progress that is shown: the pass is over.
    pub fn done(&mut self) {
        self.progress = None;
    }

    /// The sublayers of `stack`.
    pub fn of(&self, stack: Stack) -> impl Iterator<Item = &Seen> {
        self.sublayers.iter().filter(move |seen| seen.stack == stack)
    }

    /// The embeddings of `stack`. An error if it did not run.
    pub fn embedding(&self, stack: Stack) -> Result<&Tensor> {
        let found = self.embeddings.iter().find(|(of, _)| *of == stack);
        found.map(|(_, x)| x).ok_or_else(|| Error::data(format!("the {} did not run", stack.name())))
    }
}
