//! Where the decoder looked: the probabilities of its attention to the source.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::probe::Probe;
use crate::model::{Model, PackedBatch, Part, Stack};
use crate::reference::attention::Shape;
use crate::reference::linear;
use crate::rng::RngState;

/// Mean over the heads of decoder layer `layer`'s attention to the encoder, row-major [target tokens, source tokens]; both
/// end with the end symbol, and row t is what token t was chosen with. The kernel keeps no probabilities: queries and keys
/// are computed on the host, in f64, from what the device's forward pass gave.
pub fn cross_attention(dev: &Device, model: &Model, source: &[u32], target: &[u32], layer: usize) -> Result<Vec<f64>> {
    let batch = PackedBatch::new(dev, &[(source, target)], model.config.max_positions)?;
    let (mut tape, mut probe) = (model.tape(RngState::default(), false), Probe::default());
    let output = model.probe(&mut tape, &batch, &mut probe)?;
    let seen = probe
        .of(Stack::Decoder)
        .find(|seen| seen.layer == layer && seen.part == Part::CrossAttention)
        .ok_or_else(|| Error::data(format!("the decoder has no layer {}", layer + 1)))?;
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let (x, memory) = (wide(dev.read_wide(&seen.input)?), wide(dev.read_wide(tape.value(output.encoder))?));
    let at = format!("{}.encoder_attn.in_proj", Stack::Decoder.layer(layer));
    let (w, b) = (wide(model.params.read(&format!("{at}_weight"))?), wide(model.params.read(&format!("{at}_bias"))?));
    let d = model.config.d_model;
    let q = linear::forward(&x, &w[..d * d], &b[..d], d);
    let k = linear::forward(&memory, &w[d * d..2 * d * d], &b[d..2 * d], d);
    let shape = Shape {
        cu_q: &[0, target.len()],
        cu_k: &[0, source.len()],
        heads: model.config.heads,
        width: d,
        causal: false,
        factor: &|_, _, _| 1.0,
    };
    Ok(shape.mean_probabilities(&q, &k))
}
