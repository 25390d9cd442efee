//! A tokenizer that Transformers loads and that gives omega's ids: `tokenizer.json`, `tokenizer_config.json`.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::terminal::reads;
use crate::text::{Dictionary, SPECIAL, UNK};

/// What to do where ids cannot stand for the symbols.
const BY_NAME: &str =
    "--to ctranslate2 takes symbols by their names; data of `omega prepare --tokenizer` has all of them";

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
    tokens.extend(array(&tokenizer["added_tokens"]).iter().cloned());
    tokenizer["added_tokens"] = Value::Array(tokens);
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}},
                 {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}},
    });
    if takes_words(&tokenizer) {
        tokenizer["normalizer"] = without_special_words(&tokenizer["normalizer"]);
    }
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

/// Whether what stands between spaces is looked up as it is: then a literal `</s>` would be the end.
fn takes_words(tokenizer: &Value) -> bool {
    let splits = &tokenizer["pre_tokenizer"];
    !tokenizer["model"]["merges"].is_array() && (splits.is_null() || splits["type"] == "WhitespaceSplit")
}

/// `normalizer`, after which special symbols in the text become `<unk>`, as omega reads them.
fn without_special_words(normalizer: &Value) -> Value {
    let words = r"(?<!\S)(?:<s>|<pad>|</s>)(?!\S)";
    let replace = json!({"type": "Replace", "pattern": {"Regex": words}, "content": "<unk>"});
    let before = Some(normalizer).filter(|normalizer| !normalizer.is_null());
    json!({"type": "Sequence", "normalizers": before.into_iter().chain([&replace]).collect::<Vec<_>>()})
}

/// The file at `path` with the ids of `dictionary` for its symbols. An error if it would not give omega's ids with them.
fn of_file(path: &Path, dictionary: &Dictionary) -> Result<Value> {
    let broken = |what: String| Error::data(format!("{}: {what}", path.display()));
    reads(path);
    let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
    let mut tokenizer: Value = serde_json::from_str(&text).map_err(|error| broken(format!("not JSON: {error}")))?;
    let added = added_tokens(&tokenizer, dictionary).map_err(|error| error.context(path.display()))?;
    let model = &tokenizer["model"];
    let vocab = model["vocab"].as_object().ok_or_else(|| {
        broken("its model has no table of symbols and ids".to_owned())
            .hint("Transformers gets tokenizers of the kinds BPE, WordPiece and WordLevel from here")
    })?;
    expect_merges_apart(model, dictionary).map_err(|error| error.context(path.display()))?;
    // Symbols of the dictionary that the tokenizer cannot make still need a name.
    let known = |symbol: &str| vocab.contains_key(symbol) || SPECIAL.contains(&symbol);
    let mut unnamed = dictionary.symbols().iter().filter(|symbol| !known(symbol));
    let is_added = |symbol: &str| array(&tokenizer["added_tokens"]).iter().any(|token| token["content"] == *symbol);
    if let Some(symbol) = unnamed.find(|symbol| !is_added(symbol) && makes(model, symbol)) {
        let what =
            format!("the dictionary has `{symbol}`, which this tokenizer does not know: Transformers would make it");
        return Err(broken(what).hint(BY_NAME));
    }
    let mut ids: Map<String, Value> =
        vocab.keys().map(|symbol| (symbol.clone(), dictionary.id(symbol).into())).collect();
    for (id, symbol) in dictionary.symbols().iter().enumerate() {
        ids.entry(symbol.clone()).or_insert_with(|| id.into());
    }
    tokenizer["model"]["vocab"] = Value::Object(ids);
    tokenizer["added_tokens"] = Value::Array(added);
    Ok(tokenizer)
}

/// The elements of an array, none if it is none.
fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Those of its own tokens that omega finds in text, too, with the ids of `dictionary`: all that are not special.
fn added_tokens(tokenizer: &Value, dictionary: &Dictionary) -> Result<Vec<Value>> {
    let in_text = array(&tokenizer["added_tokens"]).iter().filter(|token| token["special"] != true);
    in_text
        .map(|token| {
            let content = token["content"].as_str().unwrap_or_default();
            if lacks(dictionary, content) {
                let what =
                    format!("its added token `{content}` is not in the dictionary: Transformers has no id for it");
                return Err(Error::data(what).hint(BY_NAME));
            }
            let mut token = token.clone();
            token["id"] = dictionary.id(content).into();
            Ok(token)
        })
        .collect()
}

fn lacks(dictionary: &Dictionary, symbol: &str) -> bool {
    dictionary.id(symbol) == UNK && symbol != SPECIAL[UNK as usize]
}

/// An error if BPE goes on with a symbol that the dictionary lacks: there it merges by ids, and would merge whatever is
/// unknown. With a symbol that is merged no further the id of `<unk>` is what omega gives it, too.
fn expect_merges_apart(model: &Value, dictionary: &Dictionary) -> Result<()> {
    for merge in array(&model["merges"]) {
        // `a b`, or ["a", "b"] where symbols may hold spaces.
        let pair: Vec<&str> = match merge.as_str() {
            Some(pair) => pair.split(' ').collect(),
            None => array(merge).iter().filter_map(Value::as_str).collect(),
        };
        if let Some(symbol) = pair.into_iter().find(|symbol| lacks(dictionary, symbol)) {
            let what =
                format!("`{symbol}`, which it merges further, is not in the dictionary: Transformers merges by ids");
            return Err(Error::data(what).hint(BY_NAME));
        }
    }
    Ok(())
}

/// Whether the tokenizer would make `symbol` of text if it had it: BPE starts from single letters, the others have words.
fn makes(model: &Value, symbol: &str) -> bool {
    let is_bpe = model["merges"].is_array() && model["ignore_merges"] != true;
    let affix = |name: &str| model[name].as_str().unwrap_or_default();
    let letter = symbol.strip_prefix(affix("continuing_subword_prefix")).unwrap_or(symbol);
    let letter = letter.strip_suffix(affix("end_of_word_suffix")).unwrap_or(letter);
    // What fairseq fills its dictionaries up with is in no text.
    if is_bpe { letter.chars().count() == 1 } else { !symbol.starts_with("madeupword") }
}

/// Symbols between spaces, as they stand.
fn of_symbols(dictionary: &Dictionary) -> Value {
    let vocab: Map<String, Value> =
        dictionary.symbols().iter().enumerate().map(|(id, symbol)| (symbol.clone(), id.into())).collect();
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    })
}
