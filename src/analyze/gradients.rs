//! Gradient norm of each sublayer's output (the original's `plot_gradient`).

use super::field::Field;
use crate::error::Result;
use crate::model::probe::Probe;
use crate::model::{Model, PackedBatch, Part, Stack};
use crate::ops::cross_entropy::cross_entropy;
use crate::rng::RngState;
use crate::terminal::Progress;

/// Of one sublayer.
pub struct Norm {
    pub stack: Stack,
    pub layer: usize,
    pub part: Part,
    /// ‖∂L/∂x‖ over all tokens, L the loss summed over target tokens, in nats; x the stream after the sublayer.
    pub norm: f64,
}

/// Norms of all sublayers, in the order they run, and the summed loss. Parameter gradients are left in `model.params`.
pub fn norms(model: &Model, batch: &PackedBatch, smoothing: f32) -> Result<(f64, Vec<Norm>)> {
    let dev = model.params.dev();
    let mut tape = model.tape(RngState::default(), true);
    let mut probe = Probe::shown("forward", &model.config);
    let output = model.probe(&mut tape, batch, &mut probe)?;
    let (loss, _) = cross_entropy(&mut tape, output.logits, &batch.targets, smoothing)?;
    let value = f64::from(dev.read::<f32>(tape.value(loss))?[0]);
    model.params.zero_grads()?;
    let mut progress = Progress::new("backward", Some(tape.ops() as u64));
    tape.backward_watched(loss, 1.0, || progress.step("ops"))?;
    drop(progress);
    let norms = probe.sublayers.iter().map(|seen| {
        let norm = Field::read(dev, seen.gradient(&tape)?)?.norm();
        Ok(Norm { stack: seen.stack, layer: seen.layer, part: seen.part, norm })
    });
    Ok((value, norms.collect::<Result<_>>()?))
}
