//! `omega export` and `omega import` as people type them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{Place, program};

fn fails(args: &[&str], code: i32, words: &[&str]) {
    let output = program(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: no `{word}` in\n{said}");
    }
}

fn translated(place: &Place, model: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega"));
    command.args(["translate", &place.at(model), "--beam", "2", "--max-len-b", "20", "--device", "soft"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Every kernel has a reference.\n\nNobody has timed omega.\n").unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn plain_and_imported_models_translate_alike() {
    let place = Place::new();
    place.train("run", "12", &["--residual", "admin"]);
    let expected = translated(&place, "run");
    assert_eq!(expected.lines().count(), 3, "{expected}");
    place.export("run", "plain", "plain", &[]);
    place.export("run", "fairseq", "fork", &["--keep-omega"]);
    place.export("run", "fairseq", "fairseq", &[]);
    add_stale_copies(&place.path("fairseq/model.safetensors"));
    for (from, to) in [("fork", "back"), ("fairseq", "back-plain")] {
        crate::omega(&["import", &place.at(from), "--out", &place.at(to)]);
    }
    for run in ["plain", "back", "back-plain"] {
        assert_eq!(translated(&place, run), expected, "{run}");
    }
    // There and back is the same to the bit.
    let tensors = |run: &str| {
        let path = place.path(run).join("checkpoint_best.safetensors");
        omega::checkpoint::Checkpoint::open(&path).unwrap().parameters().unwrap()
    };
    assert!(tensors("back") == tensors("run"));
    assert!(tensors("back-plain") == tensors("plain"));
    text_is_of_another_model(&place);
    text_is_missing(&place);
    bad_input(&place);
}

/// What fairseq 0.12 puts beside the parameters of an encoder layer, as training leaves it behind: other values.
fn add_stale_copies(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView)> =
        file.iter().map(|(name, view)| (name.to_owned(), view.clone())).collect();
    let zeros = vec![0; 4 * 3 * 48 * 48];
    for layer in 0..2 {
        for (name, shape) in [
            ("in_proj_weight", vec![144, 48]),
            ("in_proj_bias", vec![144]),
            ("out_proj_weight", vec![48, 48]),
            ("out_proj_bias", vec![48]),
            ("fc1_weight", vec![96, 48]),
            ("fc1_bias", vec![96]),
            ("fc2_weight", vec![48, 96]),
            ("fc2_bias", vec![48]),
        ] {
            let bytes = &zeros[..4 * shape.iter().product::<usize>()];
            tensors
                .push((format!("encoder.layers.{layer}.{name}"), TensorView::new(Dtype::F32, shape, bytes).unwrap()));
        }
    }
    fs::write(path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

/// Source and target share one dictionary, and a tokenizer is read when it is copied.
fn text_is_of_another_model(place: &Place) {
    let (folder, out) = (place.at("fairseq"), place.at("of-other-text"));
    let dictionary = fs::read_to_string(place.path("fairseq/dict.de.txt")).unwrap();
    let cut: String = dictionary.lines().take(20).map(|line| format!("{line}\n")).collect();
    let turned: String = dictionary.lines().rev().map(|line| format!("{line}\n")).collect();
    for (name, other) in [("dict.de.txt", &cut), ("dict.de.txt", &turned), ("dict.en.txt", &turned)] {
        let path = place.path("fairseq").join(name);
        let own = fs::read(&path).unwrap();
        fs::write(&path, other).unwrap();
        fails(&["import", &folder, "--out", &out], 1, &["dict.de.txt is not the dictionary of", "dict.en.txt: "]);
        fs::write(&path, own).unwrap();
    }
    let run_s = place.path("run/dict.de.txt");
    let own = fs::read(&run_s).unwrap();
    fs::write(&run_s, &cut).unwrap();
    fails(&["export", &place.at("run"), "--to", "fairseq", "--out", &out], 1, &["dict.de.txt is not the dictionary"]);
    fails(&["translate", &place.at("run")], 1, &["dict.de.txt is not the dictionary"]);
    fs::write(&run_s, own).unwrap();
    let path = place.path("fairseq/tokenizer.json");
    let own = fs::read(&path).unwrap();
    fs::write(&path, "{\"truncated").unwrap();
    fails(&["import", &folder, "--out", &out], 1, &["tokenizer.json"]);
    fs::write(&path, own).unwrap();
    assert!(!place.path("of-other-text").exists());
}

fn text_is_missing(place: &Place) {
    fs::remove_file(place.path("fairseq/tokenizer.json")).unwrap();
    let import = |out: &str| program(&["import", &place.at("fairseq"), "--out", &place.at(out)]);
    let said = String::from_utf8(import("symbols").stderr).unwrap();
    assert!(said.contains("symbols has no tokenizer.json, and its dictionary holds subwords (`▁"), "{said}");
    assert!(said.contains("split it with the model's own SentencePiece first"), "{said}");
    fs::remove_file(place.path("fairseq/dict.en.txt")).unwrap();
    let said = String::from_utf8(import("other").stderr).unwrap();
    assert!(said.contains("hint: copy the model's dict.LANG.txt files into that folder"), "{said}");
}

fn bad_input(place: &Place) {
    let (run, out) = (place.at("run"), place.at("new/out"));
    let export = |flags: &[&'static str]| -> Vec<String> {
        ["export", &run, "--out", &out].iter().chain(flags).map(|word| (*word).to_owned()).collect()
    };
    let fails_with = |flags: &[&'static str], code, words: &[&str]| {
        let args = export(flags);
        fails(&args.iter().map(String::as_str).collect::<Vec<_>>(), code, words);
        assert!(!place.path("new/out").exists() && !place.path("new/out.tmp").exists(), "{flags:?}: half written");
    };
    fails_with(&["--to", "plain", "--dtype", "f16"], 2, &["--dtype", "--to hf"]);
    fails_with(&["--to", "hf", "--keep-omega"], 2, &["--keep-omega", "--to fairseq"]);
    fails_with(&["--to", "hf", "--data", "none"], 1, &["dict.en.txt"]);
    fails(&["export", &place.at("none"), "--to", "hf", "--out", &out], 1, &["none"]);
    fails(&["export", &run, "--to", "hf", "--out", &place.at("plain")], 1, &["is there already"]);
    fails(&["import", &place.at("none"), "--out", &out], 1, &["args.json"]);
    // A model that is not what its settings say, one that is cut off, and settings that omega has no model for.
    let (args, model) = (place.path("fork/args.json"), place.path("fork/model.safetensors"));
    let (text, bytes) = (fs::read_to_string(&args).unwrap(), fs::read(&model).unwrap());
    let import = ["import", &place.at("fork"), "--out", &out];
    for (from, to, words) in [
        ("\"encoder_layers\": 2", "\"encoder_layers\": 3", ["no tensor", "encoder.layers.2."]),
        ("\"encoder_layers\": 2", "\"encoder_layers\": 1", ["encoder.layers.1.", "none of this model's"]),
        ("\"encoder_ffn_embed_dim\": 96", "\"encoder_ffn_embed_dim\": 64", ["args.json", "differ in ffn"]),
        ("\"adaptive\"", "\"other\"", ["init_type", "other"]),
        ("\"relu\"", "\"gelu\"", ["activation_fn", "gelu"]),
    ] {
        assert!(text.contains(from));
        fs::write(&args, text.replace(from, to)).unwrap();
        fails(&import, 1, &words);
    }
    fs::write(&args, &text).unwrap();
    fs::write(&model, &bytes[..bytes.len() / 2]).unwrap();
    fails(&import, 1, &["model.safetensors", "not a whole file"]);
    assert!(!place.path("new/out").exists());
}

#[test]
fn small_omegas_are_named() {
    let place = Place::new();
    place.train("run", "1", &["--residual", "admin", "--omega-frozen"]);
    let path = place.path("run/checkpoint_best.safetensors");
    let checkpoint = omega::checkpoint::Checkpoint::open(&path).unwrap();
    let mut tensors = checkpoint.parameters().unwrap();
    let omega = tensors.iter_mut().find(|t| t.name == "encoder.layers.1.fc_ratio_change").unwrap();
    omega.data[0] = -5e-4;
    omega::checkpoint::write(&path, &tensors, &checkpoint.state).unwrap();
    let said = String::from_utf8(place.export("run", "ctranslate2", "f32", &[]).stderr).unwrap();
    assert!(said.contains("warning: |ω| is 5e-4 at encoder layer 1, feed-forward"), "{said}");
    let (run, out) = (place.at("run"), place.at("f16"));
    let export = ["export", &run, "--to", "ctranslate2", "--out", &out, "--dtype", "f16"];
    fails(&export, 1, &["encoder layer 1, feed-forward", "f16 needs at least"]);
    place.export("run", "ctranslate2", "bf16", &["--dtype", "bf16"]);
    let size = |folder: &str| fs::metadata(place.path(folder).join("model.bin")).unwrap().len();
    assert!(size("bf16") < size("f32") * 6 / 10);
    tensors.iter_mut().find(|t| t.name == "encoder.layers.1.fc_ratio_change").unwrap().data[0] = 0.0;
    omega::checkpoint::write(&path, &tensors, &checkpoint.state).unwrap();
    fails(&export, 1, &["|ω| is 0 at encoder layer 1, feed-forward"]);
}
