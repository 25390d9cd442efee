//! Which checkpoints lie in a run folder, by their names, which are fairseq's with another ending.

use std::fs;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::config::BestMetric;
use crate::error::{Error, Result};
use crate::files::write_whole;

/// What a checkpoint is, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `checkpoint_last`: the newest, which training goes on from.
    Last,
    /// `checkpoint_best`.
    Best,
    /// `checkpoint12`: after epoch 12.
    Epoch { epoch: u64 },
    /// `checkpoint_12_34000`: after update 34000, in epoch 12.
    Interval { epoch: u64, update: u64 },
    /// `checkpoint_best_34000`: one of the best, after update 34000.
    KeptBest { update: u64 },
    /// Any other: what `omega average` writes, or `checkpoint_best_nll_34000`, the best by a metric that is used no more.
    Other,
}

pub fn of_epoch(epoch: u64) -> String {
    format!("checkpoint{epoch}.safetensors")
}

pub fn of_interval(epoch: u64, update: u64) -> String {
    format!("checkpoint_{epoch}_{update}.safetensors")
}

pub fn of_best(update: u64) -> String {
    format!("checkpoint_best_{update}.safetensors")
}

/// One of the best by a metric that was given up after it. Nothing removes it.
pub fn of_best_by(metric: BestMetric, update: u64) -> String {
    format!("checkpoint_best_{}_{update}.safetensors", metric.name())
}

/// What the file called `name` is; none if it is no checkpoint.
pub fn kind(name: &str) -> Option<Kind> {
    let name = name.strip_suffix(".safetensors")?.strip_prefix("checkpoint")?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|n| n.to_string() == text);
    let parts: Vec<&str> = name.split('_').collect();
    Some(match parts[..] {
        ["", "last"] => Kind::Last,
        ["", "best"] => Kind::Best,
        ["", "best", update] => number(update).map_or(Kind::Other, |update| Kind::KeptBest { update }),
        ["", epoch, update] => match (number(epoch), number(update)) {
            (Some(epoch), Some(update)) => Kind::Interval { epoch, update },
            _ => Kind::Other,
        },
        [epoch] => number(epoch).map_or(Kind::Other, |epoch| Kind::Epoch { epoch }),
        _ => Kind::Other,
    })
}

/// Whether a file called `name` may be what a run or a data folder is made of.
fn is_part(name: &str) -> bool {
    const ALONE: [&str; 4] = ["config.toml", "log.jsonl", "tokenizer.json", "profile.ratio.init"];
    let dictionary = name.starts_with("dict.") && name.ends_with(".txt");
    let state = name.strip_suffix(".json").and_then(|name| kind(&format!("{name}.safetensors"))).is_some();
    ALONE.contains(&name)
        || dictionary
        || state
        || [".safetensors", ".bin", ".idx"].iter().any(|end| name.ends_with(end))
}

/// An error if `path`, which `flag` asks to write, is there and a run or a data folder has such a file. Where no run is beside
/// it, ω that was profiled is written anew.
pub fn expect_no_part_of_a_run(flag: &str, path: &Path) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let profiled = name == "profile.ratio.init" && !path.with_file_name("config.toml").exists();
    if !path.is_file() || !is_part(&name) || profiled {
        return Ok(());
    }
    Err(Error::usage(format!(
        "--{flag} {}: it is there, and a file that runs or their data are made of",
        path.display()
    ))
    .hint("give another name"))
}

/// The checkpoints in `folder`, in the order of [`Kind`] and then of their names.
pub fn list(folder: &Path) -> Result<Vec<(Kind, PathBuf)>> {
    let failed = |error| Error::io(folder, "read", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(kind) = path.file_name().and_then(|name| kind(&name.to_string_lossy())) {
            found.push((kind, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the checkpoints in `folder` that `which` picks, and what stands beside them.
pub fn remove(folder: &Path, which: impl Fn(Kind) -> bool) -> Result<()> {
    for (_, path) in list(folder)?.into_iter().filter(|(kind, _)| which(*kind)) {
        for path in [path.with_extension("json"), path] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(&path, "remove", error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Gives the best checkpoints in `folder` by another metric than `metric` names that say by which, so that those to come take
/// nobody's place; `checkpoint_best` stays beside its copy until then. The new names. Each file knows its own metric, so that
/// a run killed in the middle of this does the rest of it.
pub fn keep_best_by_others(folder: &Path, metric: BestMetric) -> Result<Vec<String>> {
    let mut kept = Vec::new();
    for (kind, path) in list(folder)? {
        let best = matches!(kind, Kind::Best | Kind::KeptBest { .. });
        let Some(Ok(state)) = best.then(|| Checkpoint::open(&path).map(|checkpoint| checkpoint.state)) else {
            continue;
        };
        if state.best_metric == metric {
            continue;
        }
        let name = of_best_by(state.best_metric, state.update);
        let to = folder.join(&name);
        for (from, to) in [(path.with_extension("json"), to.with_extension("json")), (path, to)] {
            if kind == Kind::Best && from.exists() {
                let bytes = fs::read(&from).map_err(|error| Error::io(&from, "read", error))?;
                write_whole(&to, &bytes)?;
            } else if from.exists() {
                fs::rename(&from, &to).map_err(|error| Error::io(&from, "rename", error))?;
            }
        }
        kept.push(name);
    }
    kept.sort();
    kept.dedup(); // checkpoint_best is one of --keep-best, too
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_checkpoint_is() {
        let names = [of_epoch(12), of_interval(3, 4500), of_best(77)].map(|name| kind(&name).unwrap());
        assert_eq!(
            names,
            [Kind::Epoch { epoch: 12 }, Kind::Interval { epoch: 3, update: 4500 }, Kind::KeptBest { update: 77 }]
        );
        let of = |stem: &str| kind(&format!("{stem}.safetensors"));
        assert_eq!(of("checkpoint_last"), Some(Kind::Last));
        assert_eq!(of("checkpoint_best"), Some(Kind::Best));
        for other in ["checkpoint_average", "checkpoint_best_x", "checkpoint012", "checkpoint", "checkpoint_1_2_3"] {
            assert_eq!(of(other), Some(Kind::Other), "{other}");
        }
        assert_eq!(of("model"), None);
        assert_eq!(kind("checkpoint12.json"), None);
    }
}
