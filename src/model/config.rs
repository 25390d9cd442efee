//! Sizes and options of a model, and the names and shapes of its parameters.

use serde::{Deserialize, Serialize};

use super::params::Spec;
use super::positions::FIRST_POSITION;
use crate::config::{Init, MAX_POSITIONS, Residual, TrainConfig};
use crate::error::{Error, Result};

/// Everything that fixes a model's parameters and its forward pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    pub encoder_layers: usize,
    pub decoder_layers: usize,
    pub d_model: usize,
    pub ffn: usize,
    pub heads: usize,
    /// Entries of the joint dictionary; source, target and output share one table.
    pub vocab: usize,
    /// Longest sentence in tokens, end symbol included (fairseq: `max_source_positions`).
    pub max_positions: usize,
    pub residual: Residual,
    pub init: Init,
    pub omega_frozen: bool,
    /// The first ω of each stack stays 1.
    #[serde(default)]
    pub keep_first_omega_one: bool,
    #[serde(default)]
    pub tables: Tables,
    pub dropout: f32,
    pub attention_dropout: f32,
    pub relu_dropout: f32,
}

/// Which embeddings and positions a model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tables {
    /// One table [vocab, d] of source, target and output; positions are sinusoids.
    #[default]
    Shared,
    /// A table each, and positions [max_positions + 2, d] of each stack, which are not trained: where ω of the first
    /// sublayers was folded into them.
    Apart,
}

impl ModelConfig {
    /// The model that `train` asks for, over a dictionary of `vocab` entries.
    pub fn of_run(train: &TrainConfig, vocab: usize) -> ModelConfig {
        ModelConfig {
            encoder_layers: train.encoder_layers,
            decoder_layers: train.decoder_layers,
            d_model: train.d_model,
            ffn: train.ffn,
            heads: train.heads,
            vocab,
            max_positions: MAX_POSITIONS,
            residual: train.residual,
            init: train.init,
            omega_frozen: train.omega_frozen,
            keep_first_omega_one: train.keep_first_omega_one,
            tables: Tables::Shared,
            dropout: train.dropout,
            attention_dropout: train.attention_dropout,
            relu_dropout: train.relu_dropout,
        }
    }

    /// What fixes the parameters' shapes, in words.
    pub fn describe(&self) -> String {
        format!(
            "{}{}{}{}, {}+{} layers, width {}, ffn {}, {} heads, vocabulary {}",
            self.residual.name(),
            if self.omega_frozen { " with frozen ω" } else { "" },
            if self.keep_first_omega_one { " from the second sublayer on" } else { "" },
            if self.tables == Tables::Apart { " with separate tables" } else { "" },
            self.encoder_layers,
            self.decoder_layers,
            self.d_model,
            self.ffn,
            self.heads,
            self.vocab,
        )
    }

    /// What keeps a model of `asked` from starting with parameters of this one, each as a flag with what it is in both.
    pub fn differences(&self, asked: &ModelConfig) -> Vec<String> {
        let flags = [
            ("residual", self.residual.name(), asked.residual.name()),
            ("encoder-layers", self.encoder_layers.to_string(), asked.encoder_layers.to_string()),
            ("decoder-layers", self.decoder_layers.to_string(), asked.decoder_layers.to_string()),
            ("d-model", self.d_model.to_string(), asked.d_model.to_string()),
            ("ffn", self.ffn.to_string(), asked.ffn.to_string()),
            ("heads", self.heads.to_string(), asked.heads.to_string()),
        ];
        let differ = flags.into_iter().filter(|(_, own, other)| own != other);
        let mut found: Vec<String> =
            differ.map(|(flag, own, other)| format!("--{flag} is {own} there, {other} here")).collect();
        if asked.keep_first_omega_one && !self.keep_first_omega_one {
            found.push("--keep-first-omega-one is not there, but here".to_owned());
        }
        if self.tables != asked.tables {
            found.push("its tables are separate, as `omega export` makes them where ω is folded in".to_owned());
        }
        found
    }

    /// The flags by which [`ModelConfig::describe`] says something else of `other`.
    pub fn flags_that_differ(&self, other: &ModelConfig) -> Vec<&'static str> {
        let flags = [
            ("residual", self.residual != other.residual),
            ("encoder-layers", self.encoder_layers != other.encoder_layers),
            ("decoder-layers", self.decoder_layers != other.decoder_layers),
            ("d-model", self.d_model != other.d_model),
            ("ffn", self.ffn != other.ffn),
            ("heads", self.heads != other.heads),
            ("omega-frozen", self.omega_frozen != other.omega_frozen),
            ("keep-first-omega-one", self.keep_first_omega_one != other.keep_first_omega_one),
        ];
        flags.into_iter().filter_map(|(flag, differs)| differs.then_some(flag)).collect()
    }

    /// An error unless the kernels can run these sizes.
    pub fn check(&self) -> Result<()> {
        if self.heads == 0 || !self.d_model.is_multiple_of(self.heads) {
            return Err(Error::usage(format!("{} heads do not divide the width {}", self.heads, self.d_model)));
        }
        if self.init == Init::LooksLinear && !self.ffn.is_multiple_of(2) {
            let message = format!("--init looks-linear needs an even --ffn to mirror its halves, got {}", self.ffn);
            return Err(Error::usage(message));
        }
        Ok(())
    }

    /// Names and shapes of all parameters, in fairseq's order.
    pub fn specs(&self) -> Vec<Spec> {
        let d = self.d_model;
        let mut specs = vec![Spec::new(EMBED, &[self.vocab, d])];
        if self.tables == Tables::Apart {
            specs.push(Spec::new(self.embeddings(Stack::Decoder), &[self.vocab, d]));
            specs.push(Spec::new(self.output(), &[self.vocab, d]));
            for stack in [Stack::Encoder, Stack::Decoder] {
                let positions = Spec::new(stack.positions(), &[self.max_positions + FIRST_POSITION as usize, d]);
                specs.push(Spec { trainable: false, ..positions });
            }
        }
        for stack in [Stack::Encoder, Stack::Decoder] {
            for layer in 0..self.layers(stack) {
                self.layer_specs(stack, layer, &mut specs);
            }
            if self.residual == Residual::PreLn {
                norm_specs(&format!("{}.layer_norm", stack.name()), d, &mut specs);
            }
        }
        specs
    }

    fn layer_specs(&self, stack: Stack, layer: usize, specs: &mut Vec<Spec>) {
        let (d, at) = (self.d_model, stack.layer(layer));
        for (number, &part) in stack.sublayers().iter().enumerate() {
            if self.residual == Residual::Admin {
                let fixed = self.omega_frozen || self.keep_first_omega_one && (layer, number) == (0, 0);
                let omega = Spec::new(format!("{at}.{}", stack.omega(part)), &[d]);
                specs.push(Spec { trainable: !fixed, ..omega });
            }
        }
        if matches!(self.residual, Residual::Rezero | Residual::RezeroPostLn) {
            specs.push(Spec::new(format!("{at}.rezero_weight"), &[1]));
        }
        for &part in stack.sublayers() {
            match part {
                Part::Ffn => {
                    specs.push(Spec::new(format!("{at}.fc1.weight"), &[self.ffn, d]));
                    specs.push(Spec::new(format!("{at}.fc1.bias"), &[self.ffn]));
                    specs.push(Spec::new(format!("{at}.fc2.weight"), &[d, self.ffn]));
                    specs.push(Spec::new(format!("{at}.fc2.bias"), &[d]));
                }
                Part::SelfAttention | Part::CrossAttention => {
                    let at = format!("{at}.{}", part.name());
                    specs.push(Spec::new(format!("{at}.in_proj_weight"), &[3 * d, d]));
                    specs.push(Spec::new(format!("{at}.in_proj_bias"), &[3 * d]));
                    specs.push(Spec::new(format!("{at}.out_proj.weight"), &[d, d]));
                    specs.push(Spec::new(format!("{at}.out_proj.bias"), &[d]));
                }
            }
            if self.residual != Residual::Rezero {
                norm_specs(&format!("{at}.{}", part.norm()), d, specs);
            }
        }
    }

    /// Name of the table [vocab, d] that `stack` looks its tokens up in.
    pub fn embeddings(&self, stack: Stack) -> &'static str {
        match (self.tables, stack) {
            (Tables::Apart, Stack::Decoder) => "decoder.embed_tokens.weight",
            _ => EMBED,
        }
    }

    /// Name of the output projection [vocab, d].
    pub fn output(&self) -> &'static str {
        match self.tables {
            Tables::Shared => EMBED,
            Tables::Apart => "decoder.output_projection.weight",
        }
    }

    /// Layers in `stack`.
    pub fn layers(&self, stack: Stack) -> usize {
        match stack {
            Stack::Encoder => self.encoder_layers,
            Stack::Decoder => self.decoder_layers,
        }
    }

    /// Residual sublayers in `stack`: 2 per encoder layer, 3 per decoder layer.
    pub fn sublayers(&self, stack: Stack) -> usize {
        self.layers(stack) * stack.sublayers().len()
    }
}

fn norm_specs(at: &str, d: usize, specs: &mut Vec<Spec>) {
    specs.push(Spec::new(format!("{at}.weight"), &[d]));
    specs.push(Spec::new(format!("{at}.bias"), &[d]));
}

/// The table [vocab, d] of the source, and of target and output where they share it.
pub const EMBED: &str = "encoder.embed_tokens.weight";

/// One of the two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    Encoder,
    Decoder,
}

/// One residual branch of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    SelfAttention,
    CrossAttention,
    Ffn,
}

impl Stack {
    /// `encoder` or `decoder`, as parameter names begin.
    pub fn name(self) -> &'static str {
        match self {
            Stack::Encoder => "encoder",
            Stack::Decoder => "decoder",
        }
    }

    /// Name of the positions [max_positions + 2, d] of a model whose tables are apart.
    pub fn positions(self) -> &'static str {
        match self {
            Stack::Encoder => "encoder.embed_positions.weight",
            Stack::Decoder => "decoder.embed_positions.weight",
        }
    }

    /// `encoder.layers.3`.
    pub fn layer(self, layer: usize) -> String {
        format!("{}.layers.{layer}", self.name())
    }

    /// The branches of one layer, in the order they run.
    pub fn sublayers(self) -> &'static [Part] {
        match self {
            Stack::Encoder => &[Part::SelfAttention, Part::Ffn],
            Stack::Decoder => &[Part::SelfAttention, Part::CrossAttention, Part::Ffn],
        }
    }

    /// Last component of the name of ω for `part`.
    pub fn omega(self, part: Part) -> &'static str {
        match (self, part) {
            (Stack::Encoder, Part::SelfAttention) => "attention_ratio_change",
            (Stack::Decoder, Part::SelfAttention) => "self_ratio_change",
            (_, Part::CrossAttention) => "encoder_ratio_change",
            (_, Part::Ffn) => "fc_ratio_change",
        }
    }
}

impl Part {
    /// Last component of the name of an attention block.
    pub fn name(self) -> &'static str {
        match self {
            Part::SelfAttention => "self_attn",
            Part::CrossAttention => "encoder_attn",
            Part::Ffn => "fc",
        }
    }

    /// Last component of the name of the sublayer's LayerNorm.
    pub fn norm(self) -> &'static str {
        match self {
            Part::SelfAttention => "self_attn_layer_norm",
            Part::CrossAttention => "encoder_attn_layer_norm",
            Part::Ffn => "final_layer_norm",
        }
    }

    /// For people: "self-attention".
    pub fn title(self) -> &'static str {
        match self {
            Part::SelfAttention => "self-attention",
            Part::CrossAttention => "cross-attention",
            Part::Ffn => "feed-forward",
        }
    }
}
