//! Folders for Hugging Face Transformers: `MarianMTModel` for Post-LN, `M2M100ForConditionalGeneration` for Pre-LN.
//!
//! Marian is made for models that start decoding from a zero embedding, under an id behind the vocabulary that stands for
//! padding too; ours start from `</s>`. So there is such an id, with a zero row and a bias that keeps it from being
//! chosen, and what `</s>` would have added stands in the first row of the decoder's positions. Marian would compute other
//! sinusoids than fairseq (interleaved frequencies, counted from 0), so both tables are written out. M2M100 computes ours.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::cli::export::ExportType;
use crate::config::Residual;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::model::positions::FIRST_POSITION;
use crate::model::{ModelConfig, Part, Stack, Tables};
use crate::text::{BOS, EOS, PAD};

use super::fold::Weights;
use super::to_bytes;
use super::tokenizer::SpecialTokens;

/// Marian's start symbol, behind our vocabulary.
const START: &str = "<start>";
/// Added to the logit of a symbol that must not be chosen.
const NEVER: f32 = -1e9;
/// Longest output in tokens without the end symbol, as `omega translate` has it by default.
const LONGEST: usize = 200;

/// Name, shape, values.
type Entry = (String, Vec<usize>, Vec<f32>);

pub fn special_tokens(config: &ModelConfig) -> SpecialTokens {
    SpecialTokens { start: is_marian(config).then_some(START) }
}

fn is_marian(config: &ModelConfig) -> bool {
    config.residual != Residual::PreLn
}

/// Writes config.json, generation_config.json and model.safetensors of the plain model `weights`.
pub fn write(to: &Path, weights: &Weights, dtype: ExportType) -> Result<()> {
    let config = &weights.config;
    if config.residual == Residual::PreLn && config.tables == Tables::Apart {
        return Err(Error::data(
            "M2M100 computes its positions: a Pre-LN model with a table of positions has no place there",
        ));
    }
    let mut entries = Vec::new();
    for stack in [Stack::Encoder, Stack::Decoder] {
        for layer in 0..config.layers(stack) {
            layer_entries(weights, stack, layer, &mut entries)?;
        }
        if config.residual == Residual::PreLn {
            let name = format!("{}.layer_norm", stack.name());
            norm_entries(weights, &name, &mut entries)?;
        }
    }
    if is_marian(config) {
        marian_entries(weights, &mut entries)?;
    } else {
        let table = weights.tensor(config.output())?;
        entries.push(("model.shared.weight".to_owned(), table.shape.clone(), table.data.clone()));
    }
    write_entries(&to.join("model.safetensors"), entries, dtype)?;
    for (name, value) in
        [("config.json", model_json(config, dtype)), ("generation_config.json", generation_json(config))]
    {
        let text = serde_json::to_string_pretty(&value).map_err(|error| Error::data(format!("{name}: {error}")))?;
        write_whole(&to.join(name), (text + "\n").as_bytes())?;
    }
    Ok(())
}

fn layer_entries(weights: &Weights, stack: Stack, layer: usize, entries: &mut Vec<Entry>) -> Result<()> {
    let (at, d) = (stack.layer(layer), weights.config.d_model);
    for part in stack.sublayers() {
        if *part == Part::Ffn {
            for name in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"] {
                same(weights, &format!("{at}.{name}"), entries)?;
            }
        } else {
            let at = format!("{at}.{}", part.name());
            let (w, b) = (weights.data(&format!("{at}.in_proj_weight"))?, weights.data(&format!("{at}.in_proj_bias"))?);
            for (number, letter) in ["q", "k", "v"].into_iter().enumerate() {
                let rows = number * d..(number + 1) * d;
                let matrix = w[rows.start * d..rows.end * d].to_vec();
                entries.push((format!("model.{at}.{letter}_proj.weight"), vec![d, d], matrix));
                entries.push((format!("model.{at}.{letter}_proj.bias"), vec![d], b[rows].to_vec()));
            }
            for name in ["out_proj.weight", "out_proj.bias"] {
                same(weights, &format!("{at}.{name}"), entries)?;
            }
        }
        norm_entries(weights, &format!("{at}.{}", part.norm()), entries)?;
    }
    Ok(())
}

fn norm_entries(weights: &Weights, at: &str, entries: &mut Vec<Entry>) -> Result<()> {
    same(weights, &format!("{at}.weight"), entries)?;
    same(weights, &format!("{at}.bias"), entries)
}

/// fairseq's names are Transformers' behind `model.`.
fn same(weights: &Weights, name: &str, entries: &mut Vec<Entry>) -> Result<()> {
    let tensor = weights.tensor(name)?;
    entries.push((format!("model.{name}"), tensor.shape.clone(), tensor.data.clone()));
    Ok(())
}

fn marian_entries(weights: &Weights, entries: &mut Vec<Entry>) -> Result<()> {
    let config = &weights.config;
    let (d, vocab, rows) = (config.d_model, config.vocab, config.max_positions);
    // One row more, of zeros, for the start symbol.
    let table = |name: &str| weights.data(name).map(|table| [table, &vec![0.0; d]].concat());
    let mut push = |name: &str, rows, data| entries.push((name.to_owned(), vec![rows, d], data));
    if config.tables == Tables::Shared {
        push("model.shared.weight", vocab + 1, table(config.output())?);
    } else {
        push("model.encoder.embed_tokens.weight", vocab + 1, table(config.embeddings(Stack::Encoder))?);
        push("model.decoder.embed_tokens.weight", vocab + 1, table(config.embeddings(Stack::Decoder))?);
        push("lm_head.weight", vocab + 1, table(config.output())?);
    }
    for stack in [Stack::Encoder, Stack::Decoder] {
        let mut positions = weights.positions(stack)?.split_off(FIRST_POSITION as usize * d);
        if stack == Stack::Decoder {
            let embeddings = weights.data(config.embeddings(stack))?;
            let end = &embeddings[EOS as usize * d..(EOS as usize + 1) * d];
            positions.iter_mut().zip(end).for_each(|(p, e)| *p += (d as f32).sqrt() * e);
        }
        push(&format!("model.{}", stack.positions()), rows, positions);
    }
    let mut bias = vec![0.0; vocab + 1];
    bias[vocab] = NEVER;
    entries.push(("final_logits_bias".to_owned(), vec![1, vocab + 1], bias));
    Ok(())
}

fn write_entries(path: &Path, entries: Vec<Entry>, dtype: ExportType) -> Result<()> {
    let of_type = match dtype {
        ExportType::F32 => Dtype::F32,
        ExportType::F16 => Dtype::F16,
        ExportType::Bf16 => Dtype::BF16,
    };
    let entries: Vec<(String, Vec<usize>, Vec<u8>, Dtype)> = entries
        .into_iter()
        .map(|(name, shape, data)| {
            // −1e9 is beyond f16.
            let data = if dtype == ExportType::F16 && name == "final_logits_bias" {
                data.into_iter().map(|x| x.max(-6e4)).collect()
            } else {
                data
            };
            let bytes = to_bytes(&name, &data, dtype)?;
            Ok((name, shape, bytes, of_type))
        })
        .collect::<Result<_>>()?;
    let views: Vec<(&str, TensorView<'_>)> = entries
        .iter()
        .map(|(name, shape, bytes, dtype)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            view.map(|view| (name.as_str(), view)).map_err(|error| Error::data(format!("tensor `{name}`: {error}")))
        })
        .collect::<Result<_>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::data(format!("model.safetensors: {error}")))?;
    write_whole(path, &bytes)
}

fn model_json(config: &ModelConfig, dtype: ExportType) -> Value {
    let dtype = match dtype {
        ExportType::F32 => "float32",
        ExportType::F16 => "float16",
        ExportType::Bf16 => "bfloat16",
    };
    let shared = config.tables == Tables::Shared;
    let mut value = json!({
        "is_encoder_decoder": true, "d_model": config.d_model,
        "encoder_layers": config.encoder_layers, "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.heads, "decoder_attention_heads": config.heads,
        "encoder_ffn_dim": config.ffn, "decoder_ffn_dim": config.ffn, "activation_function": "relu",
        "dropout": config.dropout, "attention_dropout": config.attention_dropout, "activation_dropout": config.relu_dropout,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "scale_embedding": true,
        "max_position_embeddings": config.max_positions, "eos_token_id": EOS, "use_cache": true, "dtype": dtype,
        "tie_word_embeddings": shared,
    });
    let own = if is_marian(config) {
        json!({
            "model_type": "marian", "architectures": ["MarianMTModel"],
            "vocab_size": config.vocab + 1, "decoder_vocab_size": config.vocab + 1,
            "share_encoder_decoder_embeddings": shared, "pad_token_id": PAD, "bos_token_id": null,
            "decoder_start_token_id": config.vocab, "forced_eos_token_id": EOS,
        })
    } else {
        json!({
            "model_type": "m2m_100", "architectures": ["M2M100ForConditionalGeneration"], "vocab_size": config.vocab,
            "pad_token_id": PAD, "bos_token_id": BOS, "decoder_start_token_id": EOS,
        })
    };
    if let (Some(all), Some(own)) = (value.as_object_mut(), own.as_object()) {
        all.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    value
}

/// What `omega translate` does by default: beam 5, never a padding symbol, at least one token and at most 200.
fn generation_json(config: &ModelConfig) -> Value {
    json!({
        "decoder_start_token_id": if is_marian(config) { config.vocab } else { EOS as usize }, "eos_token_id": EOS,
        "pad_token_id": PAD, "forced_eos_token_id": EOS, "bad_words_ids": [[PAD]], "num_beams": 5, "length_penalty": 1.0,
        "early_stopping": true, "min_new_tokens": 1, "max_length": LONGEST + 2, "use_cache": true,
    })
}
