//! What encoder and decoder layers have in common: the residual stream, its branches and how they join it.

use crate::config::Residual;
use crate::error::Result;
use crate::ops::attention::{AttentionInput, Seqs, attention};
use crate::ops::bias_relu_dropout::{Weights, feed_forward};
use crate::ops::linear::linear;
use crate::ops::moments::moments;
use crate::ops::omega_add_layernorm::{Norm, Sublayer, layernorm, post_ln, pre_ln, rezero};
use crate::rng::Dropout;
use crate::tape::{Tape, Var};

use super::admin::Profiler;
use super::config::{ModelConfig, Part, Stack};
use super::params::Params;
use super::probe::{Probe, Seen};

/// Added to the variance in LayerNorm (fairseq's and PyTorch's default).
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// Places that drop inside one sublayer.
#[derive(Clone, Copy)]
enum Drop {
    Residual = 0,
    Attention = 1,
    Relu = 2,
}

/// Site number of a dropout, unique in the model: two places never share random numbers.
fn site(stack: Stack, layer: usize, part: Part, drop: Drop) -> u32 {
    let part = match part {
        Part::SelfAttention => 0,
        Part::CrossAttention => 1,
        Part::Ffn => 2,
    };
    2 + ((layer as u32 * 3 + part) * 3 + drop as u32) * 2 + u32::from(stack == Stack::Decoder)
}

/// Site of the dropout on the embeddings of `stack`.
fn embedding_site(stack: Stack) -> u32 {
    u32::from(stack == Stack::Decoder)
}

/// Who looks on while a pass runs; nobody, as a rule.
#[derive(Default)]
pub struct Watch<'a> {
    /// Measures ω and puts it in force.
    pub profiler: Option<&'a mut Profiler>,
    /// Sees every sublayer.
    pub probe: Option<&'a mut Probe>,
}

/// One forward pass: the model, the tape it is written on, and what to do on the way.
pub struct Pass<'a> {
    pub config: &'a ModelConfig,
    pub params: &'a Params,
    pub tape: &'a mut Tape,
    /// Whether dropout is on.
    pub training: bool,
    pub watch: Watch<'a>,
    /// Whether layers keep only their inputs, and run again in the backward pass.
    pub recompute: bool,
}

/// The residual stream [T, d] and what the next branch reads: the stream itself, or, for Pre-LN, its LayerNorm.
#[derive(Clone, Copy)]
pub struct Stream {
    pub residual: Var,
    pub input: Var,
}

/// Where a sublayer is.
#[derive(Clone, Copy)]
pub struct Place {
    pub stack: Stack,
    pub layer: usize,
    pub part: Part,
}

impl Place {
    fn param(self, name: &str) -> String {
        format!("{}.{name}", self.stack.layer(self.layer))
    }

    /// Name of the LayerNorm that Pre-LN applies after this sublayer: the next one's own, or the stack's last.
    fn next_norm(self, config: &ModelConfig) -> String {
        let parts = self.stack.sublayers();
        let next = parts.iter().position(|part| *part == self.part).map_or(0, |at| at + 1);
        match parts.get(next) {
            Some(part) => self.param(part.norm()),
            None if self.layer + 1 < config.layers(self.stack) => {
                format!("{}.{}", self.stack.layer(self.layer + 1), parts[0].norm())
            }
            None => format!("{}.layer_norm", self.stack.name()),
        }
    }
}

impl Pass<'_> {
    fn drop(&self, p: f32, site: u32) -> Dropout {
        if self.training { Dropout { p, site } } else { Dropout::NONE }
    }

    fn var(&mut self, name: &str) -> Result<Var> {
        self.params.var(self.tape, name)
    }

    fn norm(&mut self, name: &str) -> Result<Norm> {
        let (gain, bias) = (self.var(&format!("{name}.weight"))?, self.var(&format!("{name}.bias"))?);
        Ok(Norm { gain, bias })
    }

    /// Dropout on the embeddings of `stack`.
    pub fn embedding_drop(&self, stack: Stack) -> Dropout {
        self.drop(self.config.dropout, embedding_site(stack))
    }

    /// The stream that starts with the embeddings `x`.
    pub fn open(&mut self, stack: Stack, x: Var) -> Result<Stream> {
        if let Some(profiler) = &mut self.watch.profiler {
            profiler.start_stack();
        }
        if self.config.residual != Residual::PreLn {
            return Ok(Stream { residual: x, input: x });
        }
        let norm = if self.config.layers(stack) == 0 {
            format!("{}.layer_norm", stack.name())
        } else {
            format!("{}.{}", stack.layer(0), stack.sublayers()[0].norm())
        };
        let norm = self.norm(&norm)?;
        Ok(Stream { residual: x, input: layernorm(self.tape, x, norm, LAYER_NORM_EPS)? })
    }

    /// The layer `body` from the stream `x` and whatever `others` it reads. On a tape that records it is recomputed in the
    /// backward pass if the model asks for that; on another nothing of it stays but the stream.
    pub fn layer<F>(&mut self, x: Stream, others: &[Var], body: F) -> Result<Stream>
    where
        F: Fn(&mut Pass<'_>, Stream, &[Var]) -> Result<Stream> + 'static,
    {
        if !self.tape.recording() {
            let mark = self.tape.mark();
            let y = body(self, x, others)?;
            self.tape.forget_since(mark, &[y.residual, y.input]);
            return Ok(y);
        }
        if !self.recompute {
            return body(self, x, others);
        }
        // One variable, or two where a norm stands between the stream and what the next branch reads.
        let vars = |x: Stream| if x.residual == x.input { vec![x.residual] } else { vec![x.residual, x.input] };
        let mut inputs = vars(x);
        let streams = inputs.len();
        inputs.extend(others);
        let (config, params, training) = (self.config.clone(), self.params.clone(), self.training);
        let outputs = self.tape.recomputed("layer", &inputs, move |tape, inputs| {
            let (config, params) = (&config, &params);
            let mut pass = Pass { config, params, tape, training, watch: Watch::default(), recompute: false };
            let x = Stream { residual: inputs[0], input: inputs[streams - 1] };
            body(&mut pass, x, &inputs[streams..]).map(vars)
        })?;
        Ok(Stream { residual: outputs[0], input: outputs[outputs.len() - 1] })
    }

    /// Self-attention within `seqs`.
    pub fn self_attention(&mut self, x: Stream, stack: Stack, layer: usize, seqs: &Seqs) -> Result<Stream> {
        let place = Place { stack, layer, part: Part::SelfAttention };
        let w = self.var(&place.param("self_attn.in_proj_weight"))?;
        let b = self.var(&place.param("self_attn.in_proj_bias"))?;
        let qkv = linear(self.tape, x.input, w, Some(b))?;
        self.attend(x, place, AttentionInput::SelfAttention { qkv }, stack == Stack::Decoder, seqs)
    }

    /// Query [T, d] and key-value [T, 2d] projections of a decoder layer's self-attention, apart: for a cache of the
    /// latter.
    pub fn self_projections(&mut self, x: Stream, layer: usize) -> Result<(Var, Var)> {
        let place = Place { stack: Stack::Decoder, layer, part: Part::SelfAttention };
        let d = self.config.d_model;
        Ok((self.project(place, x.input, 0, d)?, self.project(place, x.input, d, 2 * d)?))
    }

    /// Self-attention of a decoder layer where queries and (all their past) keys come apart.
    pub fn self_attention_over(&mut self, x: Stream, q: Var, kv: Var, layer: usize, seqs: &Seqs) -> Result<Stream> {
        let place = Place { stack: Stack::Decoder, layer, part: Part::SelfAttention };
        self.attend(x, place, AttentionInput::Cross { q, kv }, false, seqs)
    }

    /// Keys and values [T source, 2d] that decoder layer `layer` sees of the encoder's output `memory` [T source, d].
    pub fn cross_keys(&mut self, memory: Var, layer: usize) -> Result<Var> {
        let (place, d) = (Place { stack: Stack::Decoder, layer, part: Part::CrossAttention }, self.config.d_model);
        self.project(place, memory, d, 2 * d)
    }

    /// Attention of the decoder to the encoder's keys and values `kv`, from [`Pass::cross_keys`].
    pub fn cross_attention(&mut self, x: Stream, kv: Var, layer: usize, seqs: &Seqs) -> Result<Stream> {
        let place = Place { stack: Stack::Decoder, layer, part: Part::CrossAttention };
        let q = self.project(place, x.input, 0, self.config.d_model)?;
        self.attend(x, place, AttentionInput::Cross { q, kv }, false, seqs)
    }

    /// `x` times rows `start .. start + rows` of an attention block's in_proj: rows q | k | v of d each.
    fn project(&mut self, place: Place, x: Var, start: usize, rows: usize) -> Result<Var> {
        let name = |what| place.param(&format!("{}.in_proj_{what}", place.part.name()));
        let w = self.params.var_rows(self.tape, &name("weight"), start, rows)?;
        let b = self.params.var_rows(self.tape, &name("bias"), start, rows)?;
        linear(self.tape, x, w, Some(b))
    }

    fn attend(&mut self, x: Stream, place: Place, input: AttentionInput, causal: bool, seqs: &Seqs) -> Result<Stream> {
        let Place { stack, layer, part } = place;
        let drop = self.drop(self.config.attention_dropout, site(stack, layer, part, Drop::Attention));
        let heads = attention(self.tape, input, seqs, self.config.heads, causal, drop)?;
        let w = self.var(&place.param(&format!("{}.out_proj.weight", part.name())))?;
        let b = self.var(&place.param(&format!("{}.out_proj.bias", part.name())))?;
        let f = linear(self.tape, heads, w, None)?;
        let y = self.join(x, f, b, place)?;
        self.show(x, f, &format!("{}.out_proj.bias", part.name()), y, place);
        Ok(y)
    }

    /// fc2(dropout(relu(fc1(x)))).
    pub fn feed_forward(&mut self, x: Stream, stack: Stack, layer: usize) -> Result<Stream> {
        let place = Place { stack, layer, part: Part::Ffn };
        let drop = self.drop(self.config.relu_dropout, site(stack, layer, Part::Ffn, Drop::Relu));
        let mut var = |name| self.var(&place.param(name));
        let (of, b2) =
            (Weights { w1: var("fc1.weight")?, b1: var("fc1.bias")?, w2: var("fc2.weight")? }, var("fc2.bias")?);
        let f = feed_forward(self.tape, x.input, of, drop)?;
        let y = self.join(x, f, b2, place)?;
        self.show(x, f, "fc2.bias", y, place);
        Ok(y)
    }

    /// Shows the probe, if there is one, the sublayer at `place` from `x` to `y` by the branch `f`.
    fn show(&mut self, x: Stream, f: Var, bias: &str, y: Stream, place: Place) {
        let Some(probe) = &mut self.watch.probe else { return };
        // Pre-LN's stream goes into the next norm inside the op that made it; ∂L/∂(x + f) = ∂L/∂f is whole.
        let watched = if self.config.residual == Residual::PreLn { f } else { y.residual };
        self.tape.watch(watched);
        let value = |v| self.tape.value(v).clone();
        let (input, branch, output, next) = (value(x.input), value(f), value(y.residual), value(y.input));
        let (bias, norm, Place { stack, layer, part }) = (place.param(bias), place.param(place.part.norm()), place);
        probe.see(Seen { stack, layer, part, input, branch, bias, norm, output, next, watched });
    }

    /// Joins the branch `f` (bias still due) to the stream, by the model's residual scheme.
    fn join(&mut self, x: Stream, f: Var, bias: Var, place: Place) -> Result<Stream> {
        let Place { stack, layer, part } = place;
        let drop = self.drop(self.config.dropout, site(stack, layer, part, Drop::Residual));
        let mut branch = Sublayer { bias: Some(bias), drop };
        let alpha = match self.config.residual {
            Residual::Rezero | Residual::RezeroPostLn => Some(self.var(&place.param("rezero_weight"))?),
            _ => None,
        };
        let same = |y| Ok(Stream { residual: y, input: y });
        match self.config.residual {
            Residual::Rezero => same(rezero(self.tape, x.residual, f, branch, alpha)?),
            Residual::PreLn => {
                let norm = self.norm(&place.next_norm(self.config))?;
                let (residual, input) = pre_ln(self.tape, x.residual, f, branch, norm, LAYER_NORM_EPS)?;
                Ok(Stream { residual, input })
            }
            Residual::PostLn | Residual::RezeroPostLn | Residual::Admin => {
                let mut f = f;
                let omega = match self.config.residual {
                    Residual::Admin => {
                        let name = place.param(stack.omega(part));
                        if self.watch.profiler.is_some() {
                            f = self.measure(x.residual, f, branch, stack, &name)?;
                            branch = Sublayer { bias: None, drop: Dropout::NONE };
                        }
                        Some(self.var(&name)?)
                    }
                    _ => None,
                };
                let norm = self.norm(&place.param(part.norm()))?;
                same(post_ln(self.tape, x.residual, f, branch, omega, alpha, norm, LAYER_NORM_EPS)?)
            }
        }
    }

    /// Profiling: sets the ω called `name` to its value by the recurrence, measures both variances, and returns the
    /// finished branch dropout(f + bias).
    fn measure(&mut self, x: Var, f: Var, branch: Sublayer, stack: Stack, name: &str) -> Result<Var> {
        let nothing = self.tape.alloc(self.tape.value(f).dims())?;
        self.tape.dev().zero(&nothing)?;
        let nothing = self.tape.input(nothing);
        let finished = rezero(self.tape, nothing, f, branch, None)?; // 0 + dropout(f + bias)
        let Some(profiler) = &mut self.watch.profiler else {
            return Ok(finished);
        };
        let omega = profiler.omega(stack);
        self.params.write(name, &vec![omega; self.config.d_model])?;
        let dev = self.tape.dev();
        let shortcut = moments(dev, self.tape.value(x), Some(&self.params.value(name)?))?.var;
        let branch = moments(dev, self.tape.value(finished), None)?.var;
        profiler.observe(shortcut, branch);
        Ok(finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_dropouts_share_a_site() {
        let mut sites: HashSet<u32> = [Stack::Encoder, Stack::Decoder].map(embedding_site).into_iter().collect();
        for stack in [Stack::Encoder, Stack::Decoder] {
            for layer in 0..200 {
                for part in stack.sublayers() {
                    for drop in [Drop::Residual, Drop::Attention, Drop::Relu] {
                        assert!(sites.insert(site(stack, layer, *part, drop)), "{stack:?} {layer} {part:?}");
                    }
                }
            }
        }
    }
}
