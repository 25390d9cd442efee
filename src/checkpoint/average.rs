//! `omega average`: the mean of checkpoints, parameter by parameter, as fairseq's `average_checkpoints.py`.

use std::path::{Path, PathBuf};

use super::names::{self, Kind};
use super::{Checkpoint, NamedTensor, RunState, write};
use crate::cli::checkpoints::AverageArgs;
use crate::error::{Error, Result};
use crate::files::{expect_writable, give_up_at_interrupt};
use crate::terminal::{counted, say};

/// Runs the command.
pub fn average(args: &AverageArgs) -> Result<()> {
    give_up_at_interrupt()?;
    let inputs = inputs(args)?;
    let out = match (&args.out, &args.inputs[..]) {
        (Some(out), _) => out.clone(),
        (None, [run]) if run.is_dir() => run.join("checkpoint_average.safetensors"),
        (None, _) => return Err(Error::usage("--out is needed: say where the mean of these files goes")),
    };
    if out.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(Error::usage(format!("--out {}: a checkpoint ends in .safetensors", out.display())));
    }
    expect_free(&out, &inputs)?;
    expect_writable(&out)?;
    let (tensors, state) = mean(&inputs)?;
    write(&out, &tensors, &state)?;
    for path in &inputs {
        say(format!("  {}", path.display()));
    }
    let (parts, data) = (counted(inputs.len() as u64, "checkpoints"), data_flag(&out, &inputs[0], &state));
    let out = out.display();
    say(format!("{out}: the mean of {parts}; translate with `omega translate {out}{data}`"));
    Ok(())
}

/// What `omega translate` has to be told of the dictionary, where there is none beside the mean at `out`.
fn data_flag(out: &Path, input: &Path, state: &RunState) -> String {
    let has_one = |path: &Path| path.with_file_name(format!("dict.{}.txt", state.target)).exists();
    match input.parent() {
        _ if has_one(out) => String::new(),
        Some(run) if has_one(input) => format!(" --data {}", run.display()),
        _ => " --data DATA".to_owned(),
    }
}

/// An error if the mean would take the place of one of its parts, or of what a run writes and goes on from.
fn expect_free(out: &Path, inputs: &[PathBuf]) -> Result<()> {
    let there = |path: &Path| path.canonicalize().ok();
    if there(out).is_some() && inputs.iter().any(|input| there(input) == there(out)) {
        return Err(Error::usage(format!("--out {}: it is one of the checkpoints to average", out.display()))
            .hint("give the mean another name"));
    }
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let of_a_run = out.exists() && !matches!(names::kind(&name), None | Some(Kind::Other));
    if of_a_run {
        let message = format!("--out {}: a checkpoint of a run is there already", out.display());
        return Err(Error::usage(message).hint("give the mean another name, such as checkpoint_average.safetensors"));
    }
    Ok(())
}

/// The files to average, oldest first.
fn inputs(args: &AverageArgs) -> Result<Vec<PathBuf>> {
    let run = match &args.inputs[..] {
        [run] if run.is_dir() => run,
        files => {
            if let [one] = files {
                std::fs::metadata(one).map_err(|error| Error::io(one, "read", error))?;
            }
            if args.last.is_some() || args.best.is_some() || args.last_updates.is_some() || args.upper_epoch.is_some() {
                return Err(Error::usage("--last, --last-updates, --best and --upper-epoch pick from one run folder"));
            }
            return Ok(files.to_vec());
        }
    };
    let counts = [("last", args.last), ("last-updates", args.last_updates), ("best", args.best)];
    if let Some((flag, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
        return Err(Error::usage(format!("--{flag} 0: at least 1 is needed")));
    }
    let all = names::list(run)?;
    let below = |epoch: u64| args.upper_epoch.is_none_or(|most| epoch <= most);
    let pick = |count: usize, flag: &str, made_by: &str, wanted: &dyn Fn(Kind) -> Option<u64>| {
        let mut found: Vec<(u64, &PathBuf)> =
            all.iter().filter_map(|(kind, path)| wanted(*kind).map(|order| (order, path))).collect();
        found.sort();
        if found.len() < count {
            let message =
                format!("{}: --{flag} {count}, and there are {} such checkpoints", run.display(), found.len());
            return Err(Error::data(message).hint(format!("`omega train {made_by}` writes them")));
        }
        Ok(found[found.len() - count..].iter().map(|(_, path)| (*path).clone()).collect())
    };
    match (args.last, args.last_updates, args.best) {
        (Some(n), None, None) => pick(n, "last", "--keep-last-epochs N", &|kind| match kind {
            Kind::Epoch { epoch } if below(epoch) => Some(epoch),
            _ => None,
        }),
        (None, Some(n), None) => {
            let made_by = "--save-interval-updates U --keep-interval-updates N";
            pick(n, "last-updates", made_by, &|kind| match kind {
                Kind::Interval { epoch, update } if below(epoch) => Some(update),
                _ => None,
            })
        }
        (None, None, Some(n)) => best(run, n, &all, args.upper_epoch),
        _ => Err(Error::usage("one of --last N, --last-updates N and --best N is needed for a run folder")
            .hint("or name the checkpoint files themselves, and --out")),
    }
}

/// The `n` best of those that `--keep-best` kept, oldest first, as their scores in the newest of them's state rank them.
fn best(run: &Path, n: usize, all: &[(Kind, PathBuf)], upper_epoch: Option<u64>) -> Result<Vec<PathBuf>> {
    if upper_epoch.is_some() {
        return Err(Error::usage("--upper-epoch is for --last and --last-updates: --best goes by scores"));
    }
    let last = run.join("checkpoint_last.safetensors");
    let ranked = Checkpoint::open(&last)?.state.kept_best;
    let path =
        |update: u64| all.iter().find(|(kind, _)| *kind == Kind::KeptBest { update }).map(|(_, path)| path.clone());
    let mut found: Vec<(u64, PathBuf)> =
        ranked.iter().filter_map(|(update, _)| path(*update).map(|path| (*update, path))).take(n).collect();
    if found.len() < n {
        let message = format!("{}: --best {n}, and there are {} such checkpoints", run.display(), found.len());
        return Err(Error::data(message).hint("`omega train --keep-best N` writes them"));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// An error if two models were trained with different dictionaries or tokenizers.
fn expect_same_text(a: &Checkpoint, b: &Checkpoint) -> Result<()> {
    match (&a.state.text, &b.state.text) {
        (Some(of_a), Some(of_b)) if of_a != of_b => {
            let (a, b) = (a.path.display(), b.path.display());
            Err(Error::data(format!("{a} and {b} were trained with different dictionaries or tokenizers")))
        }
        _ => Ok(()),
    }
}

/// The mean of the parameters in `paths`, summed in f64 in this order and rounded once, with the state of the last.
pub fn mean(paths: &[PathBuf]) -> Result<(Vec<NamedTensor>, RunState)> {
    let mut sums: Vec<Vec<f64>> = Vec::new();
    let mut last: Option<Checkpoint> = None;
    for path in paths {
        let checkpoint = Checkpoint::open(path)?;
        if let Some(before) = &last {
            checkpoint.expect_model(&before.state.model).map_err(|error| {
                let first = paths[0].display();
                error.hint(format!("a mean is of one model's checkpoints, and the first here is {first}"))
            })?;
            expect_same_text(before, &checkpoint)?;
        }
        let tensors = checkpoint.parameters()?;
        sums.resize_with(tensors.len(), Vec::new);
        for (sum, tensor) in sums.iter_mut().zip(&tensors) {
            sum.resize(tensor.data.len(), 0.0);
            sum.iter_mut().zip(&tensor.data).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        last = Some(checkpoint);
    }
    let Some(last) = last else { return Err(Error::usage("no checkpoint was given")) };
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let state = RunState { averaged: paths.iter().map(name).collect(), ..last.state.clone() };
    let specs = state.model.specs().into_iter().zip(sums);
    let tensors = specs.map(|(spec, sum)| {
        let data = sum.into_iter().map(|sum| (sum / paths.len() as f64) as f32).collect();
        NamedTensor { name: spec.name, shape: spec.shape, data }
    });
    Ok((tensors.collect(), state))
}
