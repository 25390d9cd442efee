//! A run: its state, and the steps that the loop in `train` puts in order.

use std::f64::consts::LN_2;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dry_run::mebibytes;
use super::lock::FolderLock;
use super::log::{Log, TrainRecord, ValidRecord};
use super::overflow::underflow;
use super::setup::pack;
use super::stats::Stats;
use super::validate::{Sample, Validation};
use crate::checkpoint::names::{self, Kind};
use crate::checkpoint::{RunState, Window, save};
use crate::config::{BestMetric, TrainConfig};
use crate::device::Device;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{Model, PackedBatch};
use crate::ops::cross_entropy::cross_entropy_from;
use crate::optim::Updater;
use crate::rng::RngState;
use crate::tensor::Tensor;
use crate::terminal::{counted, took};
use crate::text::{Batches, Coder, Pairs};

/// What to do when numbers are none any more. The update before may have been the bad one, and saved.
const DIVERGED: &str = "lower --lr, raise --warmup-updates, or clip with --clip-norm; where this comes again at once, begin \
     another run with --finetune-from-model and an earlier checkpoint";

/// How often the progress bar shows new numbers, and not only where it stands: each look waits for the device.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Tokens and the time they took, validation and saving not counted.
struct Meter {
    since: Instant,
    source_tokens: usize,
    target_tokens: usize,
}

impl Meter {
    fn start() -> Meter {
        Meter { since: Instant::now(), source_tokens: 0, target_tokens: 0 }
    }

    fn per_second(&self) -> (f64, f64) {
        let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
        (self.source_tokens as f64 / seconds, self.target_tokens as f64 / seconds)
    }
}

/// Training of one model in one folder.
pub struct Run {
    pub state: RunState,
    config: TrainConfig,
    folder: PathBuf,
    _lock: FolderLock,
    model: Model,
    updater: Updater,
    pairs: Pairs,
    batches: Batches,
    /// The batches of the current epoch, in order.
    order: Vec<u32>,
    validation: Validation,
    coder: Coder,
    stats: Stats,
    log: Log,
    /// Of the loss, when last looked.
    scale: f32,
    /// The last update that was tried is known to be done.
    arrived: bool,
    meter: Meter,
    /// When the bar last made us look, and what it says of the last look.
    shown: Instant,
    seen: String,
}

/// Forward and backward pass of one micro-batch; the gradients, of the loss times `scale` `[1]` f32, add up in the model's
/// parameters. Loss and negative log-likelihood `[1]`, summed over target tokens, in nats, on the device.
pub fn micro_batch(
    model: &Model,
    batch: &PackedBatch,
    rng: RngState,
    smoothing: f32,
    scale: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let mut tape = model.tape(rng, true);
    let output = model.forward(&mut tape, batch, true)?;
    let (loss, nll) = cross_entropy_from(&mut tape, output.logits, &batch.targets, smoothing, scale)?;
    let value = tape.value(loss).clone();
    tape.backward_from(loss, scale.clone())?;
    Ok((value, nll))
}

/// An error of saving, with the hint where it is of the parameters and not of the disk.
fn diverged(error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::Data(_)) { error.hint(DIVERGED) } else { error }
}

impl Run {
    pub fn new(
        state: RunState,
        config: TrainConfig,
        (folder, lock): (PathBuf, FolderLock),
        model: Model,
        updater: Updater,
        (pairs, batches): (Pairs, Batches),
        validation: Validation,
        coder: Coder,
        stats: Stats,
        log: Log,
    ) -> Run {
        let (order, meter, shown) = (batches.order(state.epoch), Meter::start(), Instant::now());
        let scale = state.scaler.map_or(updater.settings.scaling.map_or(1.0, |scaling| scaling.init), |s| s.scale);
        Run {
            state,
            config,
            folder,
            _lock: lock,
            model,
            updater,
            pairs,
            batches,
            order,
            validation,
            coder,
            stats,
            log,
            scale,
            arrived: false,
            meter,
            shown,
            seen: String::new(),
        }
    }

    pub fn dev(&self) -> &Device {
        self.model.params.dev()
    }

    pub fn say(&self, line: &str) {
        self.log.say(line);
    }

    /// Whether `--max-update` or `--max-epoch` is reached, or `--patience` at its end.
    pub fn finished(&self) -> bool {
        self.out_of_patience()
            || self.config.max_update.is_some_and(|most| self.state.update >= most)
            || self.config.max_epoch.is_some_and(|most| self.state.epoch > most)
    }

    /// Whether nothing is left to do, not even a validation or a checkpoint.
    pub fn done(&self) -> bool {
        self.finished() && !self.validation_due() && !self.epoch_save_due()
    }

    fn out_of_patience(&self) -> bool {
        self.config.patience.is_some_and(|most| self.state.stale >= most)
    }

    /// The flag that ended the run, with its value.
    pub fn limit(&self) -> String {
        match &self.config {
            TrainConfig { patience: Some(most), .. } if self.out_of_patience() => format!("--patience {most}"),
            TrainConfig { max_update: Some(most), .. } if self.state.update >= *most => format!("--max-update {most}"),
            config => format!("--max-epoch {}", config.max_epoch.unwrap_or_default()),
        }
    }

    fn every(&self, interval: u64) -> bool {
        interval > 0 && self.state.update.is_multiple_of(interval)
    }

    /// Whether something may be due after the update that was tried last, so that the host has to know which updates
    /// are done. `state.update` is the number when it last looked, and the number with all that were tried since is at
    /// least the real one; hence the real one never passes a point of interest unseen.
    fn must_look(&self) -> bool {
        let (config, state) = (&self.config, &self.state);
        let most = state.update + self.stats.pending();
        let intervals = [config.log_interval, config.validate_interval_updates, config.save_interval_updates];
        let underflow = self.updater.settings.scaling.map_or(u64::MAX, |s| s.updates_to_underflow(self.scale));
        intervals.iter().any(|interval| *interval > 0 && most.is_multiple_of(*interval))
            || config.max_update.is_some_and(|last| most >= last)
            || config.max_epoch.is_some_and(|last| state.epoch > last)
            || (config.validate_interval_updates == 0 || config.keep_last_epochs > 0) && state.batch == 0
            || self.stats.pending() >= underflow
    }

    /// Reads what the device has done since the last look. An error if a gradient was not finite: without loss scaling at
    /// once, with it when the scale has gone under.
    fn look(&mut self) -> Result<()> {
        if self.stats.pending() == 0 {
            return Ok(());
        }
        let (before, learnt) = (self.state.update, self.stats.flush(&mut self.state.window)?);
        self.state.update += learnt.done;
        self.updater.learn(&self.model.params, self.state.update)?;
        if let Some(last) = learnt.last {
            (self.scale, self.arrived) = (last.scale, last.done);
            if let Some(scaling) = self.updater.settings.scaling.filter(|s| !last.done && s.underflows(last.scale)) {
                let number = self.state.update + 1;
                return Err(underflow(&self.model.params, number, last.scale, scaling.min)?);
            }
        }
        if let (None, Some((done, record))) = (self.updater.settings.scaling, learnt.skipped) {
            let number = before + done + 1;
            return Err(Error::data(format!("the gradient of update {number} is not finite (norm {})", record.norm))
                .hint(DIVERGED));
        }
        Ok(())
    }

    /// Whether the next thing to do is a validation: by interval or at the end of an epoch, and at the end of the run.
    pub fn validation_due(&self) -> bool {
        let state = &self.state;
        let at_epoch_end = self.config.validate_interval_updates == 0 && state.batch == 0;
        let due = self.every(self.config.validate_interval_updates) || at_epoch_end || self.finished();
        due && state.update > state.validated
    }

    pub fn log_due(&self) -> bool {
        self.arrived && self.every(self.config.log_interval) || self.finished()
    }

    pub fn save_due(&self) -> bool {
        self.arrived && self.every(self.config.save_interval_updates)
    }

    /// Whether an epoch has just ended whose checkpoint is to be kept and is not there yet.
    pub fn epoch_save_due(&self) -> bool {
        let done = self.state.epoch - 1;
        let due = self.config.keep_last_epochs > 0 && self.state.batch == 0 && done > 0;
        due && !self.folder.join(names::of_epoch(done)).exists()
    }

    /// Tries one update: `--update-freq` micro-batches, fewer at the end of an epoch.
    pub fn update(&mut self) -> Result<()> {
        if !self.stats.fits(self.config.update_freq) {
            self.look()?;
        }
        self.arrived = false;
        self.model.params.zero_grads()?;
        let from = self.state.batch as usize;
        let to = (from + self.config.update_freq).min(self.order.len());
        let mut tokens = 0;
        for at in from..to {
            tokens += self.micro_batch(self.order[at])?;
        }
        let record = self.stats.next_record()?;
        self.updater.update(&self.model.params, tokens, &record)?;
        self.state.batch = to as u64;
        if to == self.order.len() {
            (self.state.epoch, self.state.batch) = (self.state.epoch + 1, 0);
            self.order = self.batches.order(self.state.epoch);
        }
        if self.must_look() {
            self.look()?;
        }
        if self.log.is_watched() {
            self.show()?;
        }
        Ok(())
    }

    /// Target tokens of the batch, whose gradients were added.
    fn micro_batch(&mut self, number: u32) -> Result<usize> {
        let (dev, max_positions) = (self.model.params.dev(), self.model.config.max_positions);
        let batch = pack(dev, &self.pairs, self.batches.batch(number as usize), max_positions)?;
        let rng = RngState { seed: self.state.seed, step: self.state.micro_batch };
        let smoothing = self.config.label_smoothing;
        let (loss, nll) = micro_batch(&self.model, &batch, rng, smoothing, self.updater.scale())?;
        self.state.micro_batch = self.state.micro_batch.wrapping_add(1);
        let (source, target) = (batch.source.tokens, batch.target_tokens());
        self.stats.add_losses(&loss, &nll, target)?;
        self.meter.source_tokens += source;
        self.meter.target_tokens += target;
        Ok(target)
    }

    /// Moves the progress bar to the update that was tried last.
    fn show(&mut self) -> Result<()> {
        if self.shown.elapsed() > SHOW_EVERY {
            self.look()?;
            self.shown = Instant::now();
        }
        let window = &self.state.window;
        if self.stats.pending() == 0 && window.updates > 0 {
            let nats = window.loss / window.target_tokens as f64;
            self.seen = format!("loss {:.2}  {:.0} tokens/s  ", nats / LN_2, self.meter.per_second().1);
        }
        let (update, epoch) = (self.state.update + self.stats.pending(), self.state.epoch_of_last());
        self.log.show(update, format!("{}update {update}, epoch {epoch}", self.seen));
        Ok(())
    }

    /// Writes the record of the updates since the last one, and begins the next.
    pub fn log(&mut self) -> Result<()> {
        self.look()?;
        if self.state.window.updates == 0 {
            return Ok(());
        }
        let (window, speed) = (std::mem::take(&mut self.state.window), self.meter.per_second());
        let Window { loss, nll, grad_norm, target_tokens, updates, overflows } = window;
        let scaled = self.updater.settings.scaling.is_some();
        let per_token = target_tokens as f64 * LN_2;
        let record = TrainRecord {
            update: self.state.update,
            epoch: self.state.epoch_of_last(),
            loss: loss / per_token,
            nll: nll / per_token,
            ppl: (nll / per_token).exp2(),
            lr: self.updater.settings.schedule.rate(self.state.update - 1),
            grad_norm: grad_norm / updates as f64,
            loss_scale: scaled.then_some(self.scale),
            overflows: scaled.then_some(overflows),
            src_tokens_per_s: speed.0,
            tgt_tokens_per_s: speed.1,
        };
        self.log.train(&record)?;
        self.meter = Meter::start();
        Ok(())
    }

    /// Validates, shows sample translations, and saves `checkpoint_last`, and what is kept of the best ones.
    pub fn validate(&mut self) -> Result<()> {
        let began = Instant::now();
        self.look()?;
        let losses = self.validation.losses(&self.model, self.config.label_smoothing)?;
        if !(losses.loss.is_finite() && losses.nll.is_finite()) {
            // Neither the best model nor what the run goes on from is to be lost to this one.
            let update = self.state.update;
            return Err(Error::data(format!(
                "the validation loss after update {update} is {}: nothing is saved",
                losses.loss
            ))
            .hint(DIVERGED));
        }
        let (valid_bleu, samples) = self.validation.bleu(&self.model, &self.coder)?;
        took("validation", began);
        let score = match self.config.best_metric {
            BestMetric::Loss => losses.loss,
            BestMetric::Nll => losses.nll,
            BestMetric::Bleu => valid_bleu.unwrap_or(0.0),
        };
        if self.state.best_metric != self.config.best_metric {
            self.keep_best_by_others()?;
        }
        let best = self.judge(score);
        let record = ValidRecord {
            update: self.state.update,
            epoch: self.state.epoch_of_last(),
            valid_loss: losses.loss,
            valid_nll: losses.nll,
            valid_ppl: losses.nll.exp2(),
            valid_bleu,
            best,
        };
        self.state.validated = self.state.update;
        if best {
            self.write_model("checkpoint_best.safetensors")?;
        }
        if self.state.kept_best.iter().any(|(update, _)| *update == self.state.update) {
            self.write_model(&names::of_best(self.state.update))?;
        }
        self.log.valid(&record)?;
        for Sample { source, reference, hypothesis } in samples {
            self.log.say(&format!("  source      {source}\n  reference   {reference}\n  hypothesis  {hypothesis}\n"));
        }
        self.write_last()?;
        // What is no longer among the best goes only when the state that says so is on the disk.
        let kept: Vec<u64> = self.state.kept_best.iter().map(|(update, _)| *update).collect();
        if self.config.keep_best > 0 {
            names::remove(&self.folder, |kind| matches!(kind, Kind::KeptBest { update } if !kept.contains(&update)))?;
        }
        self.meter.since += began.elapsed();
        Ok(())
    }

    /// Says what is kept of the best by the metric before this one.
    fn keep_best_by_others(&self) -> Result<()> {
        let metric = self.config.best_metric;
        let kept = names::keep_best_by_others(&self.folder, metric)?;
        if !kept.is_empty() {
            let (title, kept) = (metric.title(), kept.join(", "));
            self.say(&format!(
                "--best-metric {}: from here on the best go by {title}; kept of those before: {kept}",
                metric.name()
            ));
        }
        Ok(())
    }

    /// Puts the score of a validation in its place among those so far; whether it is the best.
    fn judge(&mut self, score: f64) -> bool {
        let (metric, state) = (self.config.best_metric, &mut self.state);
        if state.best_metric != metric {
            // Scores of another kind say nothing of this one.
            (state.best_metric, state.best, state.stale) = (metric, None, 0);
            state.kept_best.clear();
        }
        let best = state.best.is_none_or(|least| metric.is_better(score, least));
        state.stale = if best { 0 } else { state.stale + 1 };
        if best {
            state.best = Some(score);
        }
        state.kept_best.retain(|(update, _)| *update != state.update);
        let place = state.kept_best.partition_point(|(_, other)| !metric.is_better(score, *other));
        state.kept_best.insert(place, (state.update, score));
        state.kept_best.truncate(self.config.keep_best);
        best
    }

    /// Writes the model under `name`, without the optimiser's state.
    fn write_model(&mut self, name: &str) -> Result<()> {
        self.state.scaler = self.updater.scaler(&self.model.params)?;
        save(&self.folder.join(name), &self.model, None, &self.state).map_err(diverged)
    }

    /// Saves the model of the epoch that ended, and drops the oldest that are not to be kept.
    pub fn save_epoch(&mut self) -> Result<()> {
        let began = Instant::now();
        self.look()?;
        let done = self.state.epoch - 1;
        self.write_model(&names::of_epoch(done))?;
        let oldest = (done + 1).saturating_sub(self.config.keep_last_epochs);
        names::remove(&self.folder, |kind| matches!(kind, Kind::Epoch { epoch } if epoch < oldest))?;
        self.meter.since += began.elapsed();
        Ok(())
    }

    /// Saves `checkpoint_last` by `--save-interval-updates`, unless a validation is about to, and the model where
    /// `--keep-interval-updates` asks for it.
    pub fn save_interval(&mut self) -> Result<()> {
        let keep = self.config.keep_interval_updates;
        if keep > 0 {
            self.look()?;
            let (update, every) = (self.state.update, self.config.save_interval_updates);
            self.write_model(&names::of_interval(self.state.epoch_of_last(), update))?;
            let oldest = update.saturating_sub((keep - 1).saturating_mul(every));
            names::remove(&self.folder, |kind| matches!(kind, Kind::Interval { update, .. } if update < oldest))?;
        }
        if self.validation_due() { Ok(()) } else { self.save_last() }
    }

    /// Saves `checkpoint_last`.
    pub fn save_last(&mut self) -> Result<()> {
        let began = Instant::now();
        self.write_last()?;
        self.meter.since += began.elapsed();
        Ok(())
    }

    fn write_last(&mut self) -> Result<()> {
        // Read first: parameters that are not finite must not replace a sound checkpoint.
        self.look()?;
        self.state.scaler = self.updater.scaler(&self.model.params)?;
        let (path, began) = (self.folder.join("checkpoint_last.safetensors"), Instant::now());
        save(&path, &self.model, Some(&self.updater.moments), &self.state).map_err(diverged)?;
        took(path.display(), began);
        Ok(())
    }

    /// Where everything is.
    pub fn say_end(&mut self) {
        self.log.end_progress();
        let title = self.state.best_metric.title();
        let best = self.state.best.map_or(String::new(), |score| format!(", best {title} {score:.3}"));
        let folder = self.folder.display();
        if self.out_of_patience() {
            self.say(&format!("no better {title} in {} validations: --patience is at its end", self.state.stale));
        }
        let memory = mebibytes(self.dev().memory_use().peak_bytes);
        self.say(&format!("memory at the highest point: {memory}"));
        let updates = counted(self.state.update, "updates");
        self.say(&format!("done: {updates}{best}; translate with `omega translate {folder}`"));
    }
}
