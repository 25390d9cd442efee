//! The program as people run it: prepare, train, stop, resume, translate, and what it says of bad input.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod analyze;
mod bad_input;
mod bench;
mod checkpoints;
mod finetune;
mod help;
mod memory;
mod mistakes;
mod pages;
mod prepare;
mod recipes;
mod resume;
mod scaling;
mod selftest;
#[path = "../common/skip.rs"]
mod skip;
mod terminal;
mod train;
mod translate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A model that trains in a blink.
const TINY: &[&str] = &[
    "--device",
    "soft",
    "--encoder-layers",
    "1",
    "--decoder-layers",
    "1",
    "--d-model",
    "16",
    "--heads",
    "2",
    "--ffn",
    "32",
    "--max-tokens",
    "64",
    "--bleu-sentences",
    "4",
    "--samples",
    "1",
];

/// The program, its last line of output ready to be looked at.
fn omega<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega"));
    command.args(args.iter().map(AsRef::as_ref)).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `command` to its end, which must be good.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    output
}

/// A folder with a parallel text and its data-bin.
struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// `text/{train,valid}.{de,en}`: each target is its source backwards.
    fn with_text() -> Workplace {
        let folder = tempfile::tempdir().unwrap();
        let place = Workplace { folder };
        fs::create_dir(place.path("text")).unwrap();
        let words = ["ein", "Hund", "läuft", "über", "die", "große", "Straße", "und", "bellt", "laut"];
        for (split, pairs) in [("train", 120), ("valid", 9)] {
            let (mut source, mut target) = (String::new(), String::new());
            for pair in 0..pairs {
                let seed = pair * 7 + split.len();
                let sentence: Vec<&str> =
                    (0..2 + seed % 5).map(|word| words[(seed + word * (1 + pair % 3)) % words.len()]).collect();
                let backwards: Vec<&str> = sentence.iter().rev().copied().collect();
                source += &format!("{} .\n", sentence.join(" "));
                target += &format!("{} .\n", backwards.join(" "));
            }
            fs::write(place.path(&format!("text/{split}.de")), source).unwrap();
            fs::write(place.path(&format!("text/{split}.en")), target).unwrap();
        }
        place
    }

    /// The text, and `data` made of it by `omega prepare`.
    fn prepared() -> Workplace {
        let place = Workplace::with_text();
        succeed(&mut place.prepare("text/train", "text/valid", "data"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn prepare(&self, train: &str, valid: &str, out: &str) -> Command {
        self.prepare_with(&["--vocab-size", "60"], train, valid, out)
    }

    fn prepare_with(&self, flags: &[&str], train: &str, valid: &str, out: &str) -> Command {
        let [train, valid, out] = [train, valid, out].map(|name| self.path(name).to_string_lossy().into_owned());
        #[rustfmt::skip]
        let args = [
            "prepare", "--source", "de", "--target", "en", "--train", &train, "--valid", &valid, "--out", &out,
        ];
        omega(&[&args, flags].concat())
    }

    /// `omega train data --save-dir RUN` of the tiny model, with `flags` behind.
    fn train(&self, run: &str, flags: &[&str]) -> Command {
        let [data, run] = ["data", run].map(|name| self.path(name).to_string_lossy().into_owned());
        omega(&[&["train", &data, "--save-dir", &run], TINY, flags].concat())
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The records of a run's log.
    fn log(&self, run: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(&format!("{run}/log.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Names in `folder`, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
