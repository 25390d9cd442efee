//! Parts of the forward pass that keep only what they start from: the backward pass runs them again, and so holds the
//! activations of one part at a time. Chen et al. 2016, arXiv:1604.06174, with a layer as the part.
//!
//! The second run draws the same dropout, as random numbers are a function of seed, step, site and element, and it writes
//! gradients where the first would have: the bits of an update do not depend on recomputation.

use super::{Backward, BackwardCx, Tape, Var};
use crate::error::{Error, Result};

/// What runs twice: from its inputs to its outputs, each output once.
type Body = dyn Fn(&mut Tape, &[Var]) -> Result<Vec<Var>>;

struct Saved {
    inputs: Vec<Var>,
    body: Box<Body>,
}

impl Tape {
    /// The outputs of `body` over `inputs`, without keeping what is in between. `body` must do the same each time, take
    /// nothing from the tape but its inputs and parameters whose gradients are added to, and give every input a gradient.
    /// On a tape that does not record it just runs.
    pub fn recomputed<F>(&mut self, name: &'static str, inputs: &[Var], body: F) -> Result<Vec<Var>>
    where
        F: Fn(&mut Tape, &[Var]) -> Result<Vec<Var>> + 'static,
    {
        if !self.recording {
            return body(self, inputs);
        }
        let mut once = self.part(false);
        let own: Vec<Var> = inputs.iter().map(|v| once.input(self.value(*v).clone())).collect();
        let outputs = body(&mut once, &own)?;
        let values = outputs.iter().map(|v| once.value(*v).clone());
        let outputs: Vec<Var> = values.map(|value| self.add(value, None, false, true)).collect();
        self.record(name, outputs.clone(), Saved { inputs: inputs.to_vec(), body: Box::new(body) });
        Ok(outputs)
    }

    /// An empty tape like this one.
    fn part(&self, recording: bool) -> Tape {
        Tape::new(&self.dev, self.rng, recording).with_dtype(self.dtype)
    }
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx<'_>) -> Result<()> {
        let mut again = cx.tape.part(true);
        let mut own = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let (value, to) = (cx.value(*input), cx.slot(*input)?);
            own.push(again.parameter(value, to.grad, to.accumulate));
        }
        let outputs = (self.body)(&mut again, &own)?;
        for (number, output) in outputs.into_iter().enumerate() {
            if let Some(dy) = cx.dy_optional(number) {
                let entry = &mut again.entries[output.0];
                (entry.grad, entry.written) = (Some(dy), true);
            }
        }
        again.replay(|| {})?;
        match own.iter().position(|v| again.grad(*v).is_none()) {
            Some(number) => Err(Error::tape(format!("{}: nothing wrote the gradient of input {number}", cx.op))),
            None => Ok(()),
        }
    }
}
