//! A tokenizer that Transformers loads and that gives omega's ids: `tokenizer.json`, `tokenizer_config.json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::terminal::reads;
use crate::text::{Dictionary, SPECIAL};

/// Names of the symbols that a model's configuration speaks of.
pub struct SpecialTokens {
    /// The symbol behind the dictionary that decoding starts from, if it is not `</s>`.
    pub start: Option<&'static str>,
}

/// Writes both files to `to`: the tokenizer at `own`, with the ids of `dictionary`; without it, words between spaces.
pub fn write(to: &Path, dictionary: &Dictionary, own: &Path, special: SpecialTokens) -> Result<()> {
    let mut tokenizer = if own.exists() { of_file(own, dictionary)? } else { of_symbols(dictionary) };
    let added = |id: usize, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let mut tokens: Vec<Value> = SPECIAL.iter().enumerate().map(|(id, symbol)| added(id, symbol)).collect();
    tokens.extend(special.start.map(|symbol| added(dictionary.len(), symbol)));
    tokenizer["added_tokens"] = Value::Array(tokens);
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}},
                 {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}},
    });
    tokenizer["truncation"] = Value::Null;
    tokenizer["padding"] = Value::Null;
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>",
        "unk_token": "<unk>", "padding_side": "right", "clean_up_tokenization_spaces": false,
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 1024,
        // A literal `</s>` in the text is text.
        "split_special_tokens": true,
    });
    for (name, value) in [("tokenizer.json", &tokenizer), ("tokenizer_config.json", &config)] {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::data(format!("{name}: {error}")))?;
        write_whole(&to.join(name), (text + "\n").as_bytes())?;
    }
    Ok(())
}

/// The file at `path` with the ids of `dictionary` for its symbols.
fn of_file(path: &Path, dictionary: &Dictionary) -> Result<Value> {
    let broken = |what: String| Error::data(format!("{}: {what}", path.display()));
    reads(path);
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
    let mut tokenizer: Value = serde_json::from_str(&text).map_err(|error| broken(format!("not JSON: {error}")))?;
    let vocab = tokenizer["model"]["vocab"].as_object_mut().ok_or_else(|| {
        broken("its model has no table of symbols and ids".to_owned())
            .hint("Transformers gets tokenizers of the kinds BPE, WordPiece and WordLevel from here")
    })?;
    for (symbol, id) in vocab.iter_mut() {
        *id = dictionary.id(symbol).into();
    }
    // Symbols of the dictionary that the tokenizer cannot make still need a name.
    for (id, symbol) in dictionary.symbols().iter().enumerate() {
        vocab.entry(symbol.clone()).or_insert_with(|| id.into());
    }
    Ok(tokenizer)
}

/// Symbols between spaces, as they stand.
fn of_symbols(dictionary: &Dictionary) -> Value {
    let vocab: serde_json::Map<String, Value> =
        dictionary.symbols().iter().enumerate().map(|(id, symbol)| (symbol.clone(), id.into())).collect();
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    })
}
