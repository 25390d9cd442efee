//! The papers' claims in miniature (Liu et al. 2020, arXiv:2004.08249 and arXiv:2008.07772), run with `omega` itself:
//! `make paper`, or `cargo run --release --example paper -- [PART…]`. Runs that are complete are not run again.
//!
//! Parts: e1 e3a e3b (at initialisation), e2a e2b e2c e2d (training at several depths, with and without warm-up),
//! e60 (60+12 layers).

mod corpus;
mod init;
mod report;
mod training;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use corpus::Corpus;
use training::EXPERIMENTS;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const DEMO: &str = "data/demo";

/// Train what the papers compare, at a size for two cores, and hold the results against pass criteria.
#[derive(Parser)]
#[command(after_help = "Example: cargo run --release --example paper -- e2b e2c --text multi30k")]
pub struct Args {
    /// e1 e3a e3b e2a e2b e2c e2d e60; without any, all
    pub parts: Vec<String>,
    /// Folder with train.de, train.en and val or valid (also .gz), as Multi30k has them
    #[arg(long, value_name = "DIR", default_value = DEMO)]
    pub text: PathBuf,
    /// Where runs are kept and go on
    #[arg(long, value_name = "DIR", default_value = "runs/paper")]
    pub runs: PathBuf,
    /// Where tables and pictures are written [default: docs/paper; runs/paper/pages for the demo's text]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The omega to run
    #[arg(long, value_name = "FILE", default_value = "target/release/omega")]
    pub omega: PathBuf,
}

impl Args {
    /// The pages of docs/paper are of Multi30k.
    pub fn out(&self) -> PathBuf {
        let default = if self.text == Path::new(DEMO) { self.runs.join("pages") } else { "docs/paper".into() };
        self.out.clone().unwrap_or(default)
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every criterion holds.
fn run(args: &Args) -> Result<bool> {
    let names: Vec<&str> = init::NAMES.into_iter().chain(EXPERIMENTS.iter().map(|e| e.name)).collect();
    if let Some(part) = args.parts.iter().find(|part| !names.contains(&part.as_str())) {
        return Err(format!("no part `{part}`: {}", names.join(", ")).into());
    }
    let asked = |name: &str| args.parts.is_empty() || args.parts.iter().any(|part| part == name);
    // E1 alone needs no text; the others should not find out after it that there is none.
    if names.iter().any(|name| *name != "e1" && asked(name)) {
        corpus::expect_text(&args.text)?;
    }
    std::fs::create_dir_all(args.out())?;
    let mut all = true;
    for name in init::NAMES.into_iter().filter(|name| asked(name)) {
        let (page, passed) = init::run(args, name)?;
        report::write(&args.out().join(format!("{name}.md")), &page)?;
        print!("{page}");
        all &= passed;
    }
    for experiment in EXPERIMENTS.iter().filter(|experiment| asked(experiment.name)) {
        let corpus = Corpus::prepare(args, experiment.valid_pairs)?;
        eprintln!("{}: {}", experiment.name, experiment.title);
        let results = training::run(args, experiment, &corpus)?;
        let page = report::page(experiment, &corpus, &results)?;
        report::write(&args.out().join(format!("{}.md", experiment.name)), &page.markdown)?;
        report::write(&args.out().join(format!("{}.svg", experiment.name)), &page.svg)?;
        print!("{}", page.markdown);
        all &= page.passed;
    }
    Ok(all)
}
