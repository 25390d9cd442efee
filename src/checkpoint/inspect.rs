//! `omega inspect`: what a run or a checkpoint is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::names::{self, Kind};
use super::{Checkpoint, NamedTensor, RunState, sound};
use crate::cli::checkpoints::InspectArgs;
use crate::error::{Error, Result};
use crate::files::print;
use crate::model::{ModelConfig, Stack};
use crate::numbers::median;
use crate::terminal::{counted, grouped};

/// ω of one stack over all sublayers and channels.
#[derive(Serialize)]
struct OmegaSummary {
    stack: &'static str,
    sublayers: usize,
    min: f32,
    median: f32,
    max: f32,
    /// Means of the sublayers, in the order they run.
    means: Vec<f32>,
}

/// One checkpoint file.
#[derive(Serialize)]
struct Listed {
    file: String,
    /// None where the file cannot be read, like `update`.
    epoch: Option<u64>,
    update: Option<u64>,
    mebibytes: f64,
    /// Why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    averaged: Vec<String>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    shown: PathBuf,
    model: ModelConfig,
    parameters: usize,
    omega: Vec<OmegaSummary>,
    languages: [String; 2],
    data: String,
    seed: u64,
    epoch: u64,
    update: u64,
    best: Option<f64>,
    best_metric: &'static str,
    best_updates: Vec<(u64, f64)>,
    checkpoints: Vec<Listed>,
}

/// Runs the command. A broken checkpoint of a run is listed as such, and is the error at the end.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let checkpoint = shown(&args.run)?;
    let tensors = checkpoint.parameters()?;
    let Checkpoint { path, state, .. } = checkpoint;
    let (checkpoints, broken) =
        if args.run.is_dir() { listed(&args.run)? } else { (vec![one(&path, Ok(&state))?], None) };
    let report = Report {
        parameters: tensors.iter().map(|tensor| tensor.data.len()).sum(),
        omega: [Stack::Encoder, Stack::Decoder].into_iter().filter_map(|s| summary(s, &tensors)).collect(),
        languages: [state.source.clone(), state.target.clone()],
        data: state.plan.clone(),
        seed: state.seed,
        epoch: state.epoch_of_last(),
        update: state.update,
        best: state.best,
        best_metric: state.best_metric.title(),
        best_updates: state.kept_best.clone(),
        checkpoints,
        model: state.model,
        shown: path,
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report).map_err(|error| Error::data(format!("JSON: {error}")))? + "\n"
    } else {
        table(&report)
    };
    print(&text)?;
    broken.map_or(Ok(()), Err)
}

/// The checkpoint that stands for `run`: itself, or the last one, else the best; where that is broken, the one to use instead.
fn shown(run: &Path) -> Result<Checkpoint> {
    let last = run.join("checkpoint_last.safetensors");
    let path = if last.exists() { last } else { Checkpoint::find(run)? };
    match Checkpoint::open(&path) {
        Err(error) if run.is_dir() => sound::beside(&path).map_or(Err(error), |other| Checkpoint::open(&other)),
        opened => opened,
    }
}

fn summary(stack: Stack, tensors: &[NamedTensor]) -> Option<OmegaSummary> {
    let of_stack = |t: &&NamedTensor| t.name.starts_with(stack.name()) && t.name.ends_with("ratio_change");
    let omegas: Vec<&NamedTensor> = tensors.iter().filter(of_stack).collect();
    let mut all: Vec<f64> = omegas.iter().flat_map(|omega| omega.data.iter().map(|w| f64::from(*w))).collect();
    all.sort_by(f64::total_cmp);
    let mean = |data: &[f32]| (data.iter().map(|x| f64::from(*x)).sum::<f64>() / data.len().max(1) as f64) as f32;
    Some(OmegaSummary {
        stack: stack.name(),
        sublayers: omegas.len(),
        min: *all.first()? as f32,
        median: median(&all) as f32,
        max: *all.last()? as f32,
        means: omegas.iter().map(|omega| mean(&omega.data)).collect(),
    })
}

/// All checkpoints in `folder`, and the error of the first that cannot be read.
fn listed(folder: &Path) -> Result<(Vec<Listed>, Option<Error>)> {
    let (mut all, mut broken) = (Vec::new(), None);
    for (_, path) in names::list(folder)? {
        let opened = Checkpoint::open(&path);
        all.push(one(&path, opened.as_ref().map(|checkpoint| &checkpoint.state))?);
        broken = broken.or(opened.err());
    }
    Ok((all, broken))
}

fn one(path: &Path, state: std::result::Result<&RunState, &Error>) -> Result<Listed> {
    let bytes = path.metadata().map_err(|error| Error::io(path, "read", error))?.len();
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mebibytes = bytes as f64 / (1u64 << 20) as f64;
    Ok(match state {
        Ok(state) => Listed {
            file,
            epoch: Some(state.epoch_of_last()),
            update: Some(state.update),
            mebibytes,
            broken: None,
            averaged: state.averaged.clone(),
        },
        Err(error) => {
            let broken = Some(error.kind().to_string());
            Listed { file, epoch: None, update: None, mebibytes, broken, averaged: Vec::new() }
        }
    })
}

/// The report for people, within 80 columns but for long names.
fn table(report: &Report) -> String {
    let (model, mut text) = (&report.model, String::new());
    let mut line = |label: &str, value: String| text.push_str(&format!("{label:<12}{value}\n"));
    line("shown", report.shown.display().to_string());
    line("model", model.describe());
    line(
        "parameters",
        format!(
            "{} ({:.1} MiB in f32)",
            grouped(report.parameters as u64),
            report.parameters as f64 / (1 << 18) as f64
        ),
    );
    let drops = [model.dropout, model.attention_dropout, model.relu_dropout];
    line("dropout", format!("{}, of attention {}, of ReLU {}", drops[0], drops[1], drops[2]));
    for omega in &report.omega {
        let OmegaSummary { stack, sublayers, min, median, max, .. } = omega;
        let sublayers = counted(*sublayers as u64, "sublayers");
        line("ω", format!("{stack}: {min:.3} to {max:.3}, median {median:.3}, {sublayers}"));
    }
    let [source, target] = &report.languages;
    line("languages", format!("{source} to {target}"));
    if !report.data.is_empty() {
        line("data", report.data.clone());
    }
    let updates = counted(report.update, "updates");
    line("training", format!("{updates}, epoch {}, seed {}", report.epoch, report.seed));
    if let Some(best) = report.best {
        line("best", format!("{} {best:.3}", report.best_metric));
    }
    let widest = report.checkpoints.iter().map(|listed| listed.file.len()).max().unwrap_or(0).max(10);
    let _ = writeln!(text, "\n{:<widest$}  {:>6}  {:>9}  {:>9}  score", "checkpoint", "epoch", "update", "MiB");
    for listed in &report.checkpoints {
        let score = report.best_updates.iter().find(
            |(update, _)| matches!(names::kind(&listed.file), Some(Kind::KeptBest { update: own }) if own == *update),
        );
        let note = match score {
            _ if listed.broken.is_some() => "cannot be read".to_owned(),
            Some((_, score)) => format!("{score:.3}"),
            None if !listed.averaged.is_empty() => format!("mean of {}", listed.averaged.len()),
            None => String::new(),
        };
        let Listed { file, mebibytes, .. } = listed;
        let [epoch, update] =
            [listed.epoch, listed.update].map(|number| number.map_or("-".to_owned(), |number| number.to_string()));
        let row = format!("{file:<widest$}  {epoch:>6}  {update:>9}  {mebibytes:>9.1}  {note}");
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}
