//! Exported models: the same function without ω, in omega and in the programs they are exported for.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod commands;
mod folding;
mod programs;
#[path = "../common/pypi.rs"]
mod pypi;

use std::fs;
use std::path::{Path, PathBuf};
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

/// A text of real sentences: the lines of prose in the project's own pages.
fn sentences() -> Vec<String> {
    let mut lines = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [".", "docs", "docs/decisions", "softgpu"] {
        let mut pages: Vec<PathBuf> =
            fs::read_dir(root.join(folder)).unwrap().map(|page| page.unwrap().path()).collect();
        pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
        pages.sort();
        for page in pages {
            let text = fs::read_to_string(page).unwrap();
            let prose = text.lines().filter(|line| line.starts_with(char::is_alphabetic));
            lines.extend(prose.filter(|line| (5..=25).contains(&line.split(' ').count())).map(str::to_owned));
        }
    }
    lines
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
            "--lr", "0.01", "--warmup-updates", "40", "--bleu-sentences", "0", "--samples", "0",
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
