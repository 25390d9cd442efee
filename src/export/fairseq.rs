//! fairseq's state: the parameters under its names, the settings of the architecture in `args.json`.
//!
//! Folded, it is fairseq's own `transformer` (its positions are those of a learned table where ω was folded into them);
//! with ω it is the original's fork. fairseq's state repeats shared tables and holds a few buffers, so ours does too.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::checkpoint::{NamedTensor, RunState, write_safetensors};
use crate::cli::export::ImportArgs;
use crate::config::{Init, MAX_POSITIONS, Residual};
use crate::error::{Error, Result};
use crate::files::{PendingFolder, give_up_at_interrupt, write_whole};
use crate::model::{ModelConfig, Stack, Tables};
use crate::terminal::{reads, say, warn};
use crate::text::tokenizer::Tokenizer;
use crate::text::{Dictionary, Fingerprint};

use super::fold::Weights;
use super::{TextFiles, write_run};

const MODEL: &str = "model.safetensors";
const ARGS: &str = "args.json";
/// Buffers of fairseq's modules that say nothing of the model.
const BUFFERS: [&str; 4] = [
    "encoder.version",
    "decoder.version",
    "encoder.embed_positions._float_tensor",
    "decoder.embed_positions._float_tensor",
];
/// Version 0.12 keeps a second copy of what an encoder layer holds, for a faster forward pass. It makes them anew as it
/// loads and leaves them behind as it trains, so that a state that it saves has old ones.
const COPIES: [&str; 8] = [
    "in_proj_weight",
    "in_proj_bias",
    "out_proj_weight",
    "out_proj_bias",
    "fc1_weight",
    "fc1_bias",
    "fc2_weight",
    "fc2_bias",
];
/// Settings that leave the names and shapes of parameters as they are, and what omega computes. A state without one of
/// them is older than the setting.
const FIXED: [(&str, &str); 3] =
    [("activation_fn", "\"relu\""), ("no_scale_embedding", "false"), ("no_token_positional_embeddings", "false")];
/// What fairseq's state may repeat of a shared table: the first always, the second from version 0.10 on.
const REPEATED: [&str; 2] = ["decoder.embed_tokens.weight", OUTPUT];
/// An output projection that is not shared, in versions from 0.10 on and before. fairseq renames the older one as it
/// loads, so that is the one to write.
const OUTPUT: &str = "decoder.output_projection.weight";
const OLD_OUTPUT: &str = "decoder.embed_out";

/// A dictionary is one of subwords if every so manieth symbol, or more, is marked as one.
const SUBWORDS: usize = 10;

/// The fork's `--init-type`.
fn init_type(config: &ModelConfig) -> &'static str {
    match config.residual {
        Residual::Admin => "adaptive",
        Residual::Rezero => "rezero",
        Residual::RezeroPostLn => "rezero_postln",
        Residual::PostLn | Residual::PreLn => "default",
    }
}

pub fn write(to: &Path, weights: &Weights, state: &RunState) -> Result<()> {
    let config = &weights.config;
    let mut tensors = weights.tensors()?;
    match config.tables {
        Tables::Shared => {
            let shared = weights.tensor(config.output())?.clone();
            tensors.push(NamedTensor { name: REPEATED[0].to_owned(), ..shared });
        }
        Tables::Apart => tensors.iter_mut().filter(|t| t.name == OUTPUT).for_each(|t| t.name = OLD_OUTPUT.to_owned()),
    }
    for (name, value) in BUFFERS.into_iter().zip([3.0, 3.0, 1.0, 1.0]) {
        if config.tables == Tables::Shared || !name.ends_with("_float_tensor") {
            tensors.push(NamedTensor { name: name.to_owned(), shape: vec![1], data: vec![value] });
        }
    }
    write_safetensors(&to.join(MODEL), &tensors, HashMap::new())?;
    let text = serde_json::to_string_pretty(&args_of(config, state))
        .map_err(|error| Error::data(format!("{ARGS}: {error}")))?;
    write_whole(&to.join(ARGS), (text + "\n").as_bytes())
}

/// fairseq's settings by their names in `checkpoint["args"]`.
fn args_of(config: &ModelConfig, state: &RunState) -> Value {
    let mut args = serde_json::Map::new();
    for stack in [Stack::Encoder, Stack::Decoder] {
        let name = stack.name();
        args.insert(format!("{name}_layers"), config.layers(stack).into());
        args.insert(format!("{name}_embed_dim"), config.d_model.into());
        args.insert(format!("{name}_ffn_embed_dim"), config.ffn.into());
        args.insert(format!("{name}_attention_heads"), config.heads.into());
        args.insert(format!("{name}_normalize_before"), (config.residual == Residual::PreLn).into());
        args.insert(format!("{name}_learned_pos"), (config.tables == Tables::Apart).into());
    }
    let shared = config.tables == Tables::Shared;
    let rest = json!({
        "arch": "transformer", "task": "translation", "source_lang": state.source, "target_lang": state.target,
        "share_all_embeddings": shared, "share_decoder_input_output_embed": shared, "activation_fn": "relu",
        "init_type": init_type(config), "max_source_positions": config.max_positions,
        "max_target_positions": config.max_positions, "dropout": config.dropout,
        "attention_dropout": config.attention_dropout, "activation_dropout": config.relu_dropout,
        "relu_dropout": config.relu_dropout, "left_pad_source": false, "left_pad_target": false,
    });
    args.extend(rest.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(args)
}

/// What is to be read.
const FOLDER: &str = "give a folder that `omega export --to fairseq` wrote, or one made as `omega import --help` says; a run \
                      needs no import";

/// Runs `omega import`.
pub fn import(args: &ImportArgs) -> Result<()> {
    give_up_at_interrupt()?;
    let settings = args.folder.join(ARGS);
    reads(&settings);
    let unread = |path: &Path, error| Error::io(path, "read", error).hint(FOLDER);
    let text = fs::read_to_string(&settings).map_err(|error| unread(&settings, error))?;
    let settings_of: Value =
        serde_json::from_str(&text).map_err(|error| Error::data(format!("{}: {error}", settings.display())))?;
    let path = args.folder.join(MODEL);
    reads(&path);
    let bytes = fs::read(&path).map_err(|error| unread(&path, error))?;
    let context = |error: Error| error.context(path.display());
    let mut tensors = read(&bytes).map_err(context)?;
    let (config, source, target) =
        config_of(&settings_of, &tensors).map_err(|error| error.context(settings.display()))?;
    drop_repeated(&mut tensors, &config).map_err(context)?;
    join_projections(&mut tensors, &config);
    let weights = Weights::new(config, tensors.into_values().collect()).map_err(context)?;
    let state = RunState::new(weights.config.clone(), &source, &target, 0, String::new());
    let text = TextFiles::open(args.folder.clone(), &state, "copy the model's dict.LANG.txt files into that folder")?;
    text.expect_shared()?;
    let state = RunState { text: Some(Fingerprint::of_folder(&args.folder, &text.dictionary)?), ..state };
    let folder = PendingFolder::create(&args.out)?;
    write_run(folder.meanwhile(), &weights, &state)?;
    text.copy(folder.meanwhile())?;
    let copied = folder.meanwhile().join("tokenizer.json");
    if copied.exists() {
        // An error now, not of the first translation.
        let bytes = fs::read(&copied).map_err(|error| Error::io(&copied, "read", error))?;
        Tokenizer::parse(&bytes, &text.tokenizer())?;
    }
    folder.publish()?;
    if !text.tokenizer().exists() {
        warn_of_symbols(&args.out, &text.dictionary);
    }
    say(format!("{}: {}", args.out.display(), weights.config.describe()));
    Ok(())
}

/// Says that text must be split before it is translated, if the dictionary is one of subwords: `run` has no tokenizer, and
/// whole words would be unknown to it.
fn warn_of_symbols(run: &Path, dictionary: &Dictionary) {
    let subword = |symbol: &&String| symbol.starts_with('▁') || symbol.ends_with("@@");
    let (some, all) = (dictionary.symbols().iter().filter(subword), dictionary.len());
    let Some(first) = some.clone().next().filter(|_| some.count() * SUBWORDS >= all) else { return };
    let (maker, run) = (if first.starts_with('▁') { "SentencePiece" } else { "subword-nmt" }, run.display());
    warn(format!(
        "{run} has no tokenizer.json, and its dictionary holds subwords (`{first}`): `omega translate {run}` reads text as \
         ready-made symbols, so split it with the model's own {maker} first (of a model of omega: copy the tokenizer.json \
         of its data folder to where you import from, and import again)"
    ));
}

/// Whether `name` is one of [`COPIES`]: `encoder.layers.N.fc1_bias`, where the parameter is `encoder.layers.N.fc1.bias`.
fn is_copy(name: &str) -> bool {
    let rest = name.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(_, name)| COPIES.contains(&name))
}

/// All tensors but buffers and copies, in f32.
fn read(bytes: &[u8]) -> Result<HashMap<String, NamedTensor>> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Error::data(format!("not a whole file ({error})")).hint(FOLDER))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter().filter(|(name, _)| !BUFFERS.contains(name) && !is_copy(name)) {
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => {
                view.data().chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
            other => return Err(Error::data(format!("`{name}` is {other:?}, F32 or F16 is needed"))),
        };
        let name = if name == OLD_OUTPUT { OUTPUT } else { name };
        let tensor = NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), data };
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// The model that `args` describe, and its languages.
fn config_of(args: &Value, tensors: &HashMap<String, NamedTensor>) -> Result<(ModelConfig, String, String)> {
    let missing = |key: &str| Error::data(format!("no usable `{key}`"));
    let number = |key: &str| args[key].as_u64().map(|n| n as usize).ok_or_else(|| missing(key));
    let word = |key: &str| args[key].as_str().map(str::to_owned).ok_or_else(|| missing(key));
    let share = |key: &str| args[key].as_f64().unwrap_or(0.0) as f32;
    for (key, wanted) in FIXED {
        let got = args[key].to_string();
        if !args[key].is_null() && got != wanted {
            return Err(Error::data(format!("{key} is {got}: omega has models with {wanted} only")));
        }
    }
    for (a, b) in [("embed_dim", "width"), ("ffn_embed_dim", "ffn"), ("attention_heads", "heads")] {
        if number(&format!("encoder_{a}"))? != number(&format!("decoder_{a}"))? {
            return Err(Error::data(format!("encoder and decoder differ in {a}: omega has one {b}")));
        }
    }
    let before = |stack: &str| args[format!("{stack}_normalize_before")].as_bool().unwrap_or(false);
    if before("encoder") != before("decoder") {
        return Err(Error::data("encoder_normalize_before and decoder_normalize_before differ: omega has one scheme"));
    }
    let residual = match args["init_type"].as_str().unwrap_or("default") {
        _ if before("encoder") => Residual::PreLn,
        "adaptive" | "adaptive-profiling" => Residual::Admin,
        "rezero" => Residual::Rezero,
        "rezero_postln" => Residual::RezeroPostLn,
        "default" => Residual::PostLn,
        other => return Err(Error::data(format!("init_type {other} is unknown"))),
    };
    let positions = tensors.get(Stack::Encoder.positions());
    let tables = if positions.is_some() { Tables::Apart } else { Tables::Shared };
    let max_positions = args["max_source_positions"].as_u64().map_or(MAX_POSITIONS, |n| n as usize);
    let table = tensors.get("encoder.embed_tokens.weight");
    let vocab =
        table.and_then(|table| table.shape.first()).ok_or_else(|| Error::data("no encoder.embed_tokens.weight"))?;
    let config = ModelConfig {
        encoder_layers: number("encoder_layers")?,
        decoder_layers: number("decoder_layers")?,
        d_model: number("encoder_embed_dim")?,
        ffn: number("encoder_ffn_embed_dim")?,
        heads: number("encoder_attention_heads")?,
        vocab: *vocab,
        max_positions,
        residual,
        init: Init::Xavier,
        omega_frozen: false,
        keep_first_omega_one: false,
        tables,
        dropout: share("dropout"),
        attention_dropout: share("attention_dropout"),
        // Its older name holds where the newer one is 0, as in fairseq.
        relu_dropout: [share("activation_dropout"), share("relu_dropout")]
            .into_iter()
            .find(|p| *p > 0.0)
            .unwrap_or(0.0),
    };
    config.check()?;
    Ok((config, word("source_lang")?, word("target_lang")?))
}

/// Removes what fairseq repeats of a shared table; an error if it is not the same.
fn drop_repeated(tensors: &mut HashMap<String, NamedTensor>, config: &ModelConfig) -> Result<()> {
    if config.tables == Tables::Apart {
        return Ok(());
    }
    let shared = tensors.get(config.output()).map(|tensor| tensor.data.clone());
    for name in REPEATED {
        if let Some(tensor) = tensors.remove(name)
            && Some(&tensor.data) != shared.as_ref()
        {
            return Err(Error::data(format!(
                "`{name}` is not encoder.embed_tokens.weight: this model shares no table"
            ))
            .hint("omega takes models with --share-all-embeddings, or with learned positions and three tables"));
        }
    }
    Ok(())
}

/// fairseq from 0.9 on keeps q_proj, k_proj and v_proj apart: in_proj of the three, as before.
fn join_projections(tensors: &mut HashMap<String, NamedTensor>, config: &ModelConfig) {
    for stack in [Stack::Encoder, Stack::Decoder] {
        for layer in 0..config.layers(stack) {
            for block in ["self_attn", "encoder_attn"] {
                for kind in ["weight", "bias"] {
                    let at = format!("{}.{block}", stack.layer(layer));
                    let names = ["q", "k", "v"].map(|part| format!("{at}.{part}_proj.{kind}"));
                    if !names.iter().all(|name| tensors.contains_key(name)) {
                        continue;
                    }
                    let parts: Vec<NamedTensor> = names.iter().filter_map(|name| tensors.remove(name)).collect();
                    let data: Vec<f32> = parts.iter().flat_map(|part| part.data.iter().copied()).collect();
                    let mut shape = parts[0].shape.clone();
                    shape[0] *= parts.len();
                    let name = format!("{at}.in_proj_{kind}");
                    tensors.insert(name.clone(), NamedTensor { name, shape, data });
                }
            }
        }
    }
}
