//! The encoder: embeddings, then `encoder_layers` × (self-attention, feed-forward).

use crate::error::Result;
use crate::tape::Var;

use super::Model;
use super::batch::PackedSide;
use super::config::Stack;
use super::sublayer::Pass;

/// Output [T, d] of the encoder over `source`: after the last LayerNorm where the scheme has one.
pub fn encode(pass: &mut Pass<'_>, model: &Model, source: &PackedSide) -> Result<Var> {
    let x = model.embed(pass, Stack::Encoder, &source.index)?;
    let mut x = pass.open(Stack::Encoder, x)?;
    for layer in 0..pass.config.encoder_layers {
        let seqs = source.seqs.clone();
        x = pass
            .layer(x, &[], move |pass, x, _| {
                let x = pass.self_attention(x, Stack::Encoder, layer, &seqs)?;
                pass.feed_forward(x, Stack::Encoder, layer)
            })
            .map_err(|error| error.context(format!("encoder layer {layer}")))?;
    }
    Ok(x.input)
}
