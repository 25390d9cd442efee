//! `--to hf` with a tokenizer that another program made, whose symbols and the dictionary's are not the same.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use omega::text::{Coder, Dictionary};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Place, program};

/// What is done to a tokenizer.
type Change<'a> = &'a dyn Fn(&mut Value);

/// The dictionary's symbols, as fairseq would have found them in text: not all that a tokenizer can make.
const SYMBOLS: [&str; 8] = ["t", "h", "e", "th", "a", "b", "x", "<url>"];

/// Lines with symbols of both, of one, and of none; a special symbol's name is text.
const LINES: [&str; 6] =
    ["the th t he ab ba", "q zx <url> the<url>", "犬", "thethe aqb [UNK]", "b </s>", "<pad> </s> th</s> <s>"];

/// A run that was trained on text in [`SYMBOLS`], which came split: it takes any tokenizer.
fn run() -> Place {
    let place = Place { folder: TempDir::new().unwrap() };
    let lines: String = SYMBOLS.iter().map(|symbol| format!("{symbol} {symbol}\n")).collect();
    ["text.de", "text.en"].iter().for_each(|name| fs::write(place.path(name), &lines).unwrap());
    let (text, data) = (place.at("text"), place.at("data"));
    let languages = ["prepare", "--segmented", "--source", "de", "--target", "en"];
    crate::omega(&[&languages[..], &["--train", &text, "--valid", &text, "--out", &data]].concat());
    place.train("run", "1", &[]);
    place
}

/// BPE that merges further than the dictionary goes: `the`, `ab` and `q` are not in it.
fn bpe() -> Value {
    let symbols = ["[UNK]", "t", "h", "e", "a", "b", "x", "q", "th", "the", "ab"];
    let vocab: Value = symbols.iter().enumerate().map(|(id, symbol)| ((*symbol).to_owned(), json!(id))).collect();
    let added = |id: usize, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    json!({
        "version": "1.0", "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
        "post_processor": null,
        // What other programs leave in the file.
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[UNK]"},
        "added_tokens": [added(0, "[UNK]", true), added(11, "<url>", false)],
        "model": {"type": "BPE", "dropout": null, "unk_token": "[UNK]", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": [["t", "h"], ["th", "e"], ["a", "b"]]},
    })
}

/// Words, all of the dictionary's and some more.
fn words() -> Value {
    let mut words = bpe();
    let dictionary = SYMBOLS.iter().chain(&["the", "[UNK]", "</s>", "<pad>"]);
    let vocab: Value = dictionary.enumerate().map(|(id, symbol)| ((*symbol).to_owned(), json!(id))).collect();
    words["model"] = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"});
    words
}

/// Puts `tokenizer` beside the dictionaries and exports.
fn export(place: &Place, tokenizer: &Value, out: &str) -> Output {
    fs::write(place.path("data/tokenizer.json"), tokenizer.to_string()).unwrap();
    export_as_it_is(place, out)
}

fn export_as_it_is(place: &Place, out: &str) -> Output {
    let (run, data, out) = (place.at("run"), place.at("data"), place.at(out));
    program(&["export", &run, "--to", "hf", "--data", &data, "--out", &out])
}

/// Whether Transformers would give omega's ids to every line.
fn expect_omegas_ids(place: &Place, out: &str) {
    let dictionary = Dictionary::load(&place.path("data/dict.de.txt")).unwrap();
    let coder = Coder::of_folder(&place.path("data"), dictionary).unwrap();
    let exported = place.path(out).join("tokenizer.json");
    let mut exported = tokenizers::Tokenizer::from_file(exported).unwrap();
    exported.set_encode_special_tokens(true); // as tokenizer_config.json says
    for line in LINES {
        let ids = exported.encode(line, true).unwrap().get_ids().to_vec();
        assert_eq!(ids, coder.encode(line).unwrap(), "{out}: {line}");
    }
    assert!(coder.encode(LINES[0]).unwrap().len() > 4, "nothing is cut off");
}

#[test]
fn a_tokenizer_with_other_symbols_gives_omegas_ids_or_is_refused() {
    let place = run();
    for (name, tokenizer) in [("bpe", bpe()), ("words", words())] {
        let output = export(&place, &tokenizer, name);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        expect_omegas_ids(&place, name);
    }
    fs::remove_file(place.path("data/tokenizer.json")).unwrap();
    assert!(export_as_it_is(&place, "split").status.success());
    expect_omegas_ids(&place, "split");
    let merged = |tokenizer: &mut Value| {
        tokenizer["model"]["vocab"]["abe"] = json!(11);
        tokenizer["model"]["merges"].as_array_mut().unwrap().push(json!("ab e"));
    };
    let unknown = |tokenizer: &mut Value| drop(tokenizer["model"]["vocab"].as_object_mut().unwrap().remove("x"));
    let added = |tokenizer: &mut Value| tokenizer["added_tokens"][1]["content"] = json!("<mail>");
    let cases: [(Change, &str); 3] = [
        (&merged, "`ab`, which it merges further, is not in the dictionary"),
        (&unknown, "the dictionary has `x`, which this tokenizer does not know"),
        (&added, "its added token `<mail>` is not in the dictionary"),
    ];
    for (change, what) in cases {
        let mut tokenizer = bpe();
        change(&mut tokenizer);
        let output = export(&place, &tokenizer, "refused");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {said}");
        assert!(
            said.contains(what) && said.contains("tokenizer.json") && said.contains("hint: --to ctranslate2"),
            "{said}"
        );
        assert!(!place.path("refused").exists(), "nothing half-written");
    }
}

/// Ctrl-C while they wait for a tokenizer, with the model written already.
#[cfg(unix)]
#[test]
fn interrupted_exports_and_imports_leave_nothing() {
    let place = run();
    let (run, data, out, exported) = (place.at("run"), place.at("data"), place.at("new/out"), place.at("exported"));
    crate::omega(&["export", &run, "--to", "fairseq", "--out", &exported]);
    for folder in ["data", "exported"] {
        let tokenizer = place.path(folder).join("tokenizer.json");
        assert!(Command::new("mkfifo").arg(&tokenizer).status().unwrap().success());
    }
    let export = |to| vec!["export", &run, "--to", to, "--data", &data, "--out", &out];
    let cases = [
        (export("hf"), "data", "model.safetensors"),
        (export("ctranslate2"), "data", "model.bin"),
        (vec!["import", &exported, "--out", &out], "exported", "checkpoint_best.safetensors"),
    ];
    for (words, folder, model) in cases {
        // It is read twice: to see whether it is the one that the model was trained with, and when the model is written.
        let tokenizer = place.path(folder).join("tokenizer.json");
        std::thread::spawn(move || fs::write(tokenizer, bpe().to_string()).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_omega")).args(&words).stderr(Stdio::piped()).spawn().unwrap();
        let (model, began) = (place.path("new/out.tmp").join(model), Instant::now());
        while !model.exists() && began.elapsed() < Duration::from_secs(60) {
            sleep(Duration::from_millis(5));
        }
        assert!(model.exists(), "{words:?}");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{words:?}: {said}");
        assert!(said.contains("interrupted; what was begun is removed"), "{said}");
        assert!(!place.path("new").exists(), "{words:?}");
    }
}
