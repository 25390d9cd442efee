//! The decoder: embeddings, then `decoder_layers` × (causal self-attention, attention to the encoder, feed-forward).

use crate::error::Result;
use crate::ops::attention::Seqs;
use crate::tape::Var;

use super::Model;
use super::batch::PackedSide;
use super::config::Stack;
use super::sublayer::Pass;

/// Logits [T, vocab] over `previous`, attending to `memory`, the encoder's output; `cross` pairs the two.
pub fn decode(pass: &mut Pass<'_>, model: &Model, memory: Var, previous: &PackedSide, cross: &Seqs) -> Result<Var> {
    let x = model.embed(pass, Stack::Decoder, &previous.index)?;
    let mut x = pass.open(Stack::Decoder, x)?;
    for layer in 0..pass.config.decoder_layers {
        let (seqs, cross) = (previous.seqs.clone(), cross.clone());
        x = pass
            .layer(x, &[memory], move |pass, x, others| {
                let x = pass.self_attention(x, Stack::Decoder, layer, &seqs)?;
                let kv = pass.cross_keys(others[0], layer)?;
                let x = pass.cross_attention(x, kv, layer, &cross)?;
                pass.feed_forward(x, Stack::Decoder, layer)
            })
            .map_err(|error| error.context(format!("decoder layer {layer}")))?;
    }
    model.project(pass.tape, x.input)
}
