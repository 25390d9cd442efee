//! Bad input: one clear line that names the file or flag, an exit code of 1 or 2, and nothing lost or half-written.

use std::fs;
use std::path::Path;
use std::process::Command;

use omega::checkpoint::{Checkpoint, write};

use crate::{Workplace, names, omega, succeed, text};

/// Runs `command`, which must fail with `code` and say `what` in the one line after `error: `.
pub fn fail(command: &mut Command, code: i32, what: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    for part in what {
        assert!(errors[0].contains(part), "no `{part}` in\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn prepare_refuses_text_that_it_cannot_use() {
    let place = Workplace::with_text();
    let text = |name: &str, bytes: &[u8]| fs::write(place.path(&format!("text/{name}")), bytes).unwrap();
    for language in ["de", "en"] {
        text(&format!("empty.{language}"), b"");
        text(&format!("blank.{language}"), b"\n \n");
        text(&format!("latin.{language}"), b"gut\nschl\xe4cht\n");
        text(&format!("long.{language}"), "Hund ".repeat(2000).as_bytes());
    }
    text("uneven.de", b"eins\nzwei\n");
    text("uneven.en", b"one\n");
    let cases: &[(&str, &str, &[&str])] = &[
        ("text/none", "text/valid", &["cannot read", "none.de"]),
        ("text/train", "text/none", &["cannot read", "none.de"]),
        ("text/uneven", "text/valid", &["uneven.de has 2 lines", "uneven.en has 1"]),
        ("text/train", "text/uneven", &["uneven.de has 2 lines", "uneven.en has 1"]),
        ("text/empty", "text/valid", &["empty.de", "no line with text"]),
        ("text/blank", "text/valid", &["blank.de", "no line with text"]),
        ("text/train", "text/empty", &["empty.de", "no pair"]),
        ("text/latin", "text/valid", &["latin.de line 2", "not UTF-8"]),
        ("text/train", "text/latin", &["latin.de line 2", "not UTF-8"]),
        ("text/train", "text/long", &["long.de line 1", "tokens, at most 1023"]),
    ];
    for (train, valid, what) in cases {
        fail(&mut place.prepare(train, valid, "data"), 1, what);
        assert!(!place.path("data").exists(), "{what:?}: nothing half-written");
    }
    fail(place.prepare("text/train", "text/valid", "data").args(["--max-len", "0"]), 2, &["--max-len 0"]);
    let tokenizer = ["--tokenizer", "none.json"];
    fail(&mut place.prepare_with(&tokenizer, "text/train", "text/valid", "data"), 1, &["none.json"]);
    fail(&mut place.prepare("text/train", "text/valid", "text/train.de/x"), 1, &["cannot create the folder"]);
}

/// `/dev/full` under the temporary name of a file to come: the next write there finds no space left.
#[cfg(target_os = "linux")]
fn full_disk(path: &Path) {
    std::os::unix::fs::symlink(
        "/dev/full",
        path.with_file_name(format!("{}.tmp", path.file_name().unwrap().display())),
    )
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let place = Workplace::with_text();
    fs::create_dir(place.path("data")).unwrap();
    full_disk(&place.path("data/train.de-en.en.bin"));
    fail(&mut place.prepare("text/train", "text/valid", "data"), 1, &["train.de-en.en.bin", "No space left"]);
    assert!(names(&place.path("data")).is_empty(), "{:?}", names(&place.path("data")));

    succeed(&mut place.prepare("text/train", "text/valid", "data"));
    succeed(&mut place.train("run", &["--max-update", "4"]));
    let before = place.read("run/checkpoint_last.safetensors");
    full_disk(&place.path("run/checkpoint_last.safetensors"));
    let more = ["--max-update", "8"];
    fail(&mut place.train("run", &more), 1, &["checkpoint_last.safetensors", "No space left"]);
    assert_eq!(place.read("run/checkpoint_last.safetensors"), before);
    succeed(&mut place.train("run", &more));
}

#[test]
fn train_refuses_a_broken_data_folder() {
    let place = Workplace::prepared();
    let (index, data) = (place.read("data/train.de-en.de.idx"), place.read("data/train.de-en.de.bin"));
    let dictionary = place.read("data/dict.de.txt");
    let write = |name: &str, bytes: &[u8]| fs::write(place.path(&format!("data/{name}")), bytes).unwrap();
    let check = |what: &[&str]| {
        fail(&mut place.train("run", &["--max-update", "2"]), 1, what);
        assert!(!place.path("run").exists(), "{what:?}: nothing half-written");
    };
    write("train.de-en.de.idx", &index[..index.len() - 3]);
    check(&["train.de-en.de.idx", "expected"]);
    write("train.de-en.de.idx", b"not an index");
    check(&["train.de-en.de.idx", "MMIDIDX"]);
    write("train.de-en.de.idx", &index);
    write("train.de-en.de.bin", &data[..data.len() - 2]);
    check(&["train.de-en.de.bin", "the file ends at byte"]);
    let mut stray = data.clone();
    stray[..2].copy_from_slice(&60_000u16.to_le_bytes());
    write("train.de-en.de.bin", &stray);
    check(&["train.de-en.de.bin", "sentence 1 holds id 60000", "the dictionary ends at"]);
    write("train.de-en.de.bin", &data);
    write("dict.de.txt", b"nonsense\n");
    check(&["dict.de.txt line 1"]);
    write("dict.de.txt", b"a 1\n");
    check(&["dict.de.txt and dict.en.txt differ"]);
    write("dict.de.txt", &dictionary);
    fs::remove_file(place.path("data/valid.de-en.en.bin")).unwrap();
    check(&["cannot read", "valid.de-en.en.bin"]);
}

#[test]
fn train_refuses_flags_that_make_no_sense() {
    let place = Workplace::prepared();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["--heads", "5"], 2, &["--heads 5 does not divide"]),
        (&["--heads", "0"], 2, &["--heads 0"]),
        (&["--residual", "pre-ln", "--omega", "profile"], 2, &["--omega profile needs --residual admin"]),
        (&["--residual", "none"], 2, &["none"]),
        (&["--no-such-flag"], 2, &["--no-such-flag"]),
        (&["--dropout", "1.5"], 2, &["--dropout 1.5"]),
        (&["--lr", "nan"], 2, &["--lr"]),
        (&["--max-tokens", "3"], 1, &["tokens, more than --max-tokens 3"]),
        (&["--lr-scheduler", "poly"], 2, &["--max-update"]),
        (&["--omega", "none.init"], 1, &["none.init"]),
        (&["--device", "cuda:99"], 1, &["device"]),
        (&["--device", "tpu"], 2, &["--device"]),
        (&["--config", "none.toml"], 1, &["none.toml"]),
        (&["--seed", "18446744073709551615"], 2, &["--seed"]),
        (&["--ffn", "33", "--init", "looks-linear"], 2, &["--ffn", "33"]),
    ];
    for (flags, code, what) in cases {
        let data = place.path("data").to_string_lossy().into_owned();
        let run = place.path("run").to_string_lossy().into_owned();
        // The tiny model's flags would be given twice, so only those that a case leaves free are typed.
        let tiny = crate::TINY.chunks(2).filter(|pair| !flags.contains(&pair[0])).flatten().copied();
        let flags: Vec<&str> =
            ["train", &data, "--save-dir", &run].into_iter().chain(tiny).chain(flags.iter().copied()).collect();
        fail(&mut omega(&flags), *code, what);
        assert!(!place.path("run").exists(), "{what:?}: nothing half-written");
    }
    fail(&mut omega(&["train", "--save-dir", "x"]), 2, &["no data folder"]);
    fail(&mut omega(&["train", "data"]), 2, &["no run folder"]);
    fail(&mut omega(&["train", "no/such/folder", "--save-dir", "x"]), 1, &["no/such/folder"]);
    fail(&mut omega(&["frobnicate"]), 2, &["frobnicate"]);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_kept() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let whole = place.read("run/checkpoint_last.safetensors");
    let other: Vec<&str> = ["--residual", "post-ln", "--max-update", "4"].to_vec();
    fail(&mut place.train("run", &other), 1, &["checkpoint_last.safetensors is of another shape"]);
    assert_eq!(place.read("run/checkpoint_last.safetensors"), whole);
    let run = place.path("run").to_string_lossy().into_owned();
    for cut in [0, 5, 100, whole.len() / 2, whole.len() - 1] {
        let path = place.path("run/checkpoint_last.safetensors");
        fs::write(&path, &whole[..cut]).unwrap();
        fail(&mut place.train("run", &["--max-update", "4"]), 1, &["checkpoint_last.safetensors"]);
        fail(&mut omega(&["translate", &path.to_string_lossy()]), 1, &["checkpoint_last.safetensors"]);
        assert_eq!(fs::read(&path).unwrap().len(), cut);
    }
    fail(&mut omega(&["translate", "no/such/run"]), 1, &["no/such/run"]);
    fail(&mut omega(&["translate", &run, "--beam", "0"]), 2, &["--beam"]);
    fail(&mut omega(&["translate", &run, "--beam", "2", "--nbest", "3"]), 2, &["--nbest 3"]);
    fail(&mut omega(&["translate", &place.path("data").to_string_lossy()]), 1, &["no checkpoint"]);
    fs::write(place.path("run/dict.en.txt"), "a 1\n").unwrap();
    fail(&mut omega(&["translate", &run]), 1, &["dict.en.txt", "symbols"]);
}

/// Of the right length and with other contents, they would give ids that mean something else.
#[test]
fn another_dictionary_or_tokenizer_is_refused() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let path = |name: &str| place.path(name).to_string_lossy().into_owned();
    let (run, last, out) = (path("run"), path("run/checkpoint_last.safetensors"), path("out.safetensors"));
    let refused = |file: &str| {
        let what: &[&str] = &[&format!("run/{file} is"), "checkpoint_best.safetensors was trained with"];
        fail(&mut omega(&["translate", &run]), 1, what);
        fail(&mut omega(&["export", &run, "--to", "plain", "--out", &path("plain")]), 1, what);
    };
    let dictionary = String::from_utf8(place.read("run/dict.en.txt")).unwrap();
    let mut lines: Vec<&str> = dictionary.lines().collect();
    lines.swap(0, 1);
    let swapped = lines.join("\n") + "\n";
    fs::write(path("run/dict.en.txt"), &swapped).unwrap();
    refused("dict.en.txt");
    fs::write(path("run/dict.en.txt"), dictionary.replace('\n', "0\n")).unwrap();
    succeed(&mut omega(&["translate", &run])); // counts do not matter
    let tokenizer = text(&place.read("run/tokenizer.json"));
    fs::write(path("run/tokenizer.json"), tokenizer.replace("Isolated", "Removed")).unwrap();
    refused("tokenizer.json");
    fs::remove_file(path("run/tokenizer.json")).unwrap();
    refused("tokenizer.json");
    fs::write(path("run/tokenizer.json"), tokenizer).unwrap();
    succeed(&mut omega(&["translate", &run]));

    for language in ["de", "en"] {
        fs::write(path(&format!("data/dict.{language}.txt")), &swapped).unwrap();
    }
    let what: &[&str] = &["data/dict.en.txt is not the one", "checkpoint_last.safetensors was trained with"];
    fail(&mut place.train("run", &["--max-update", "4"]), 1, what);
    let what: &[&str] = &["data/dict.en.txt is not the one", "checkpoint_best.safetensors was trained with"];
    fail(&mut omega(&["analyze", "gradients", &run]), 1, what);
    succeed(&mut place.train("other", &["--max-update", "2"]));
    let other = path("other/checkpoint_last.safetensors");
    let what: &[&str] = &["run/checkpoint_last", "other/checkpoint_last", "different dictionaries or tokenizers"];
    fail(&mut omega(&["average", &last, &other, "--out", &out]), 1, what);

    // Checkpoints of earlier versions do not say, and are taken as they were.
    let mut old = Checkpoint::open(&place.path("other/checkpoint_best.safetensors")).unwrap();
    old.state.text = None;
    write(&place.path("run/checkpoint_best.safetensors"), &old.parameters().unwrap(), &old.state).unwrap();
    succeed(&mut omega(&["translate", &run]));
}

#[test]
fn score_refuses_what_does_not_pair() {
    let place = Workplace::with_text();
    let reference = place.path("text/valid.en").to_string_lossy().into_owned();
    fail(&mut omega(&["score", "--reference", &reference]), 1, &["stdin has 0 lines", "valid.en has 9"]);
    fail(&mut omega(&["score", "--reference", "none.en"]), 1, &["none.en"]);
    fail(&mut omega(&["score"]), 2, &["required arguments"]);
}
