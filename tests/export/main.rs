//! Exported models: the same function without ω, in omega and in the programs they are exported for.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod commands;
mod fairseq;
mod folding;
mod foreign;
mod programs;
#[path = "../common/pypi.rs"]
mod pypi;
#[path = "../common/skip.rs"]
mod skip;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs the program to its end, which must be good.
fn omega(args: &[&str]) -> Output {
    let output = program(args);
    assert!(output.status.success(), "omega {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_omega")).args(args).output().unwrap()
}

/// Real sentences: lines of prose from this project's pages, as they once were. They stay as they are, so that what the
/// small models learn of them does too.
fn sentences() -> Vec<String> {
    include_str!("sentences.txt").lines().map(str::to_owned).collect()
}

/// A folder with runs: `text/`, `data/`, and what tests train.
struct Place {
    folder: TempDir,
}

impl Place {
    /// The sentences, to be translated to themselves in lower case.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let lines = sentences();
        for (split, lines) in [("train", &lines[..]), ("valid", &lines[..20])] {
            let text = lines.join("\n") + "\n";
            fs::write(place.path(&format!("{split}.de")), &text).unwrap();
            fs::write(place.path(&format!("{split}.en")), text.to_lowercase()).unwrap();
        }
        let at = |name: &str| place.at(name);
        #[rustfmt::skip]
        omega(&[
            "prepare", "--source", "de", "--target", "en", "--train", &at("train"), "--valid", &at("valid"),
            "--vocab-size", "600", "--out", &at("data"),
        ]);
        place
    }

    /// A small model, trained until its ω are no longer what they were.
    fn train(&self, run: &str, updates: &str, flags: &[&str]) {
        let (data, run) = (self.at("data"), self.at(run));
        #[rustfmt::skip]
        let all = [
            "train", &data, "--save-dir", &run, "--device", "soft", "--encoder-layers", "2", "--decoder-layers", "2",
            "--d-model", "48", "--heads", "3", "--ffn", "96", "--max-tokens", "600", "--max-update", updates,
            "--lr", "0.005", "--warmup-updates", "40", "--bleu-sentences", "0", "--samples", "0",
        ];
        omega(&[&all[..], flags].concat());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn export(&self, run: &str, to: &str, out: &str, flags: &[&str]) -> Output {
        omega(&[&["export", &self.at(run), "--to", to, "--out", &self.at(out)][..], flags].concat())
    }
}
