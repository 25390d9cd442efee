//! What a run says: JSON lines and TensorBoard's events in its folder, plain lines on stderr, and a progress bar where stderr is a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::tensorboard::Events;
use crate::checkpoint::RunState;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::terminal::{Progress, say, say_fields};

/// Updates since the last record.
#[derive(Clone, Debug, Serialize)]
pub struct TrainRecord {
    pub update: u64,
    pub epoch: u64,
    /// Label-smoothed, per target token, base 2; so is `nll`, without the smoothing.
    pub loss: f64,
    pub nll: f64,
    /// 2^nll.
    pub ppl: f64,
    /// Of the last update.
    pub lr: f64,
    /// Mean over the updates, before clipping.
    pub grad_norm: f64,
    /// Of the next update; none without loss scaling, like `overflows`, the updates that were skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflows: Option<u64>,
    pub src_tokens_per_s: f64,
    pub tgt_tokens_per_s: f64,
}

/// One validation.
#[derive(Clone, Debug, Serialize)]
pub struct ValidRecord {
    pub update: u64,
    pub epoch: u64,
    pub valid_loss: f64,
    pub valid_nll: f64,
    pub valid_ppl: f64,
    /// Of the greedy translations of the first `--bleu-sentences` pairs; none where that is 0.
    pub valid_bleu: Option<f64>,
    /// Whether it is the best so far, by `--best-metric`.
    pub best: bool,
}

/// `log.jsonl` and the terminal.
pub struct Log {
    path: PathBuf,
    file: File,
    events: Option<Events>,
    progress: Progress,
}

impl Log {
    /// Continues the log of a run that stands at `state`: records of updates and validations that are still to come, as
    /// they were not saved, are dropped. `last` is the number of the last update; `events` asks for TensorBoard's files too.
    pub fn open(folder: &Path, state: &RunState, last: Option<u64>, events: bool) -> Result<Log> {
        let path = folder.join("log.jsonl");
        if path.exists() {
            let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, "read", error))?;
            let kept: String = text.lines().filter(|line| is_of(line, state)).map(|line| format!("{line}\n")).collect();
            if kept != text {
                write_whole(&path, kept.as_bytes())?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| Error::io(&path, "write", error))?;
        let progress = Progress::new("train", last);
        progress.start_at(state.update);
        let events = events.then(|| Events::new(folder, state.update + 1));
        Ok(Log { path, file, events, progress })
    }

    /// Whether the file at `path` is the log of a run: empty, or, where the run's settings lie beside it, records up to a last
    /// line that may be cut off.
    pub fn is_own(path: &Path, has_settings: bool) -> Result<bool> {
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let record = |line: &[u8]| {
            let record: Option<Value> = serde_json::from_slice(line).ok();
            record.is_some_and(|record| record["update"].is_u64() && record["epoch"].is_u64())
        };
        let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n');
        Ok(bytes.is_empty() || has_settings && lines.into_iter().all(record))
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        say(line);
    }

    /// Moves the progress bar.
    pub fn show(&mut self, update: u64, message: String) {
        self.progress.show(update, &message);
    }

    /// Takes the progress bar away.
    pub fn end_progress(&mut self) {
        self.progress.end();
    }

    /// Whether anybody watches the bar.
    pub fn is_watched(&self) -> bool {
        self.progress.is_watched()
    }

    pub fn train(&mut self, record: &TrainRecord) -> Result<()> {
        self.write(record)?;
        if let Some(events) = &mut self.events {
            let scalars = [
                ("train/loss", Some(record.loss)),
                ("train/nll", Some(record.nll)),
                ("train/ppl", Some(record.ppl)),
                ("train/lr", Some(record.lr)),
                ("train/grad_norm", Some(record.grad_norm)),
                ("train/loss_scale", record.loss_scale.map(f64::from)),
                ("train/overflows", record.overflows.map(|n| n as f64)),
                ("train/src_tokens_per_s", Some(record.src_tokens_per_s)),
                ("train/tgt_tokens_per_s", Some(record.tgt_tokens_per_s)),
            ];
            events.scalars(record.update, &scalars)?;
        }
        let TrainRecord { update, epoch, loss, ppl, lr, grad_norm, src_tokens_per_s, tgt_tokens_per_s, .. } = record;
        let scaler = match (record.loss_scale, record.overflows) {
            (Some(scale), Some(0) | None) => format!("  loss_scale {scale}"),
            (Some(scale), Some(overflows)) => format!("  loss_scale {scale} ({overflows} overflows)"),
            (None, _) => String::new(),
        };
        let fields = vec![
            format!("update {update}"),
            format!("  epoch {epoch}"),
            format!("  loss {loss:.3}"),
            format!("  ppl {ppl:.2}"),
            format!("  lr {lr:.2e}"),
            format!("  grad_norm {grad_norm:.2}"),
            scaler,
            format!("  tokens/s {src_tokens_per_s:.0} src"),
            format!(" {tgt_tokens_per_s:.0} tgt"),
        ];
        // Target tokens first, then epoch, loss scale, norm, rate, speed, perplexity: update and loss stay.
        say_fields(fields, &[8, 1, 6, 5, 4, 7, 3]);
        Ok(())
    }

    pub fn valid(&mut self, record: &ValidRecord) -> Result<()> {
        self.write(record)?;
        if let Some(events) = &mut self.events {
            let scalars = [
                ("valid/loss", Some(record.valid_loss)),
                ("valid/nll", Some(record.valid_nll)),
                ("valid/ppl", Some(record.valid_ppl)),
                ("valid/bleu", record.valid_bleu),
            ];
            events.scalars(record.update, &scalars)?;
        }
        let ValidRecord { update, valid_loss, valid_ppl, best, .. } = record;
        let fields = vec![
            format!("valid at {update}"),
            format!("  loss {valid_loss:.3}"),
            format!("  ppl {valid_ppl:.2}"),
            record.valid_bleu.map_or(String::new(), |bleu| format!("  BLEU {bleu:.2}")),
            if *best { "  best so far".to_owned() } else { String::new() },
        ];
        say_fields(fields, &[2]);
        Ok(())
    }

    fn write(&mut self, record: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(record).map_err(|error| Error::data(format!("log record: {error}")))?;
        // One call, so that a line is never mixed with another writer's.
        self.file.write_all((text + "\n").as_bytes()).map_err(|error| Error::io(&self.path, "write", error))
    }
}

/// Whether `line` is a record of what `state` has done. A line that was cut off is of nothing.
fn is_of(line: &str, state: &RunState) -> bool {
    let record: Option<Value> = serde_json::from_str(line).ok();
    record.is_some_and(|record| {
        let done = if record.get("valid_loss").is_some() { state.validated } else { state.update };
        record["update"].as_u64().is_some_and(|number| number <= done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainFlags;
    use crate::model::ModelConfig;

    #[test]
    fn records_of_what_was_lost_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let kept = "{\"update\":10}\n{\"update\":10,\"valid_loss\":3.0}\n{\"update\":20}\n";
        let lost = "{\"update\":20,\"valid_loss\":3.0}\n{\"update\":30}\n{\"upd";
        fs::write(&path, format!("{kept}{lost}")).unwrap();
        let config = TrainFlags::default().resolve().unwrap();
        let state = RunState::new(ModelConfig::of_run(&config, 5), "de", "en", 1, String::new());
        let state = RunState { update: 20, validated: 10, ..state };
        drop(Log::open(folder.path(), &state, None, false).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    }
}
