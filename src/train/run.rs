//! A run: its state, and the steps that the loop in `train` puts in order.

use std::f64::consts::LN_2;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dry_run::mebibytes;
use super::log::{Log, TrainRecord, ValidRecord};
use super::setup::pack;
use super::stats::Stats;
use super::validate::{Sample, Validation};
use crate::checkpoint::{RunState, Window, save};
use crate::config::TrainConfig;
use crate::device::Device;
use crate::error::Result;
use crate::model::{Model, PackedBatch};
use crate::ops::cross_entropy::cross_entropy;
use crate::optim::Updater;
use crate::rng::RngState;
use crate::tensor::Tensor;
use crate::text::{Batches, Coder, Pairs};

/// How often the progress bar shows new numbers: each look waits for the device.
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
    /// Of the last update.
    lr: f64,
    meter: Meter,
    shown: Instant,
}

/// Forward and backward pass of one micro-batch; gradients add up in the model's parameters. Loss and negative
/// log-likelihood `[1]`, summed over target tokens, in nats, on the device.
pub fn micro_batch(model: &Model, batch: &PackedBatch, rng: RngState, smoothing: f32) -> Result<(Tensor, Tensor)> {
    let mut tape = model.tape(rng, true);
    let output = model.forward(&mut tape, batch, true)?;
    let (loss, nll) = cross_entropy(&mut tape, output.logits, &batch.targets, smoothing)?;
    let value = tape.value(loss).clone();
    tape.backward(loss, 1.0)?;
    Ok((value, nll))
}

impl Run {
    pub fn new(
        state: RunState,
        config: TrainConfig,
        folder: PathBuf,
        model: Model,
        updater: Updater,
        (pairs, batches): (Pairs, Batches),
        validation: Validation,
        coder: Coder,
        stats: Stats,
        log: Log,
    ) -> Run {
        let (order, lr) = (batches.order(state.epoch), updater.schedule.rate(state.update.saturating_sub(1)));
        let (meter, shown) = (Meter::start(), Instant::now());
        Run {
            state,
            config,
            folder,
            model,
            updater,
            pairs,
            batches,
            order,
            validation,
            coder,
            stats,
            log,
            lr,
            meter,
            shown,
        }
    }

    pub fn dev(&self) -> &Device {
        self.model.params.dev()
    }

    pub fn say(&self, line: &str) {
        self.log.say(line);
    }

    /// Whether `--max-update` or `--max-epoch` is reached.
    pub fn finished(&self) -> bool {
        self.config.max_update.is_some_and(|most| self.state.update >= most)
            || self.config.max_epoch.is_some_and(|most| self.state.epoch > most)
    }

    fn every(&self, interval: u64) -> bool {
        interval > 0 && self.state.update.is_multiple_of(interval)
    }

    /// Whether the next thing to do is a validation: by interval or at the end of an epoch, and at the end of the run.
    pub fn validation_due(&self) -> bool {
        let state = &self.state;
        let at_epoch_end = self.config.validate_interval_updates == 0 && state.batch == 0;
        let due = self.every(self.config.validate_interval_updates) || at_epoch_end || self.finished();
        due && state.update > state.validated
    }

    pub fn log_due(&self) -> bool {
        self.every(self.config.log_interval) || self.finished()
    }

    pub fn save_due(&self) -> bool {
        self.every(self.config.save_interval_updates)
    }

    /// One update: `--update-freq` micro-batches, fewer at the end of an epoch.
    pub fn update(&mut self) -> Result<()> {
        self.model.params.zero_grads()?;
        let from = self.state.batch as usize;
        let to = (from + self.config.update_freq).min(self.order.len());
        let mut tokens = 0;
        for at in from..to {
            tokens += self.micro_batch(self.order[at])?;
        }
        let (number, state) = (self.state.update + 1, self.stats.next_state()?);
        self.lr = self.updater.update(&self.model.params, number, tokens, &state)?;
        self.state.update = number;
        self.state.batch = to as u64;
        self.state.window.updates += 1;
        if to == self.order.len() {
            (self.state.epoch, self.state.batch) = (self.state.epoch + 1, 0);
            self.order = self.batches.order(self.state.epoch);
        }
        if self.log.is_watched() && self.shown.elapsed() > SHOW_EVERY {
            self.show()?;
        }
        Ok(())
    }

    /// Target tokens of the batch, whose gradients were added.
    fn micro_batch(&mut self, number: u32) -> Result<usize> {
        if self.stats.full() {
            self.stats.flush(&mut self.state.window, self.state.update)?;
        }
        let (dev, max_positions) = (self.model.params.dev(), self.model.config.max_positions);
        let batch = pack(dev, &self.pairs, self.batches.batch(number as usize), max_positions)?;
        let rng = RngState { seed: self.state.seed, step: self.state.micro_batch };
        let (loss, nll) = micro_batch(&self.model, &batch, rng, self.config.label_smoothing)?;
        self.stats.add_losses(&loss, &nll)?;
        self.state.micro_batch = self.state.micro_batch.wrapping_add(1);
        let (source, target) = (batch.source.tokens, batch.target_tokens());
        self.state.window.target_tokens += target as u64;
        self.meter.source_tokens += source;
        self.meter.target_tokens += target;
        Ok(target)
    }

    fn show(&mut self) -> Result<()> {
        self.stats.flush(&mut self.state.window, self.state.update)?;
        let (window, (_, tokens)) = (&self.state.window, self.meter.per_second());
        let nats = window.loss / window.target_tokens as f64;
        let message = format!("loss {:.2}  {tokens:.0} tokens/s  epoch {}", nats / LN_2, self.state.epoch);
        self.log.show(self.state.update, message);
        self.shown = Instant::now();
        Ok(())
    }

    /// Writes the record of the updates since the last one, and begins the next.
    pub fn log(&mut self) -> Result<()> {
        self.stats.flush(&mut self.state.window, self.state.update)?;
        let (window, speed) = (std::mem::take(&mut self.state.window), self.meter.per_second());
        if window.updates == 0 {
            return Ok(());
        }
        let Window { loss, nll, grad_norm, target_tokens, updates, .. } = window;
        let per_token = target_tokens as f64 * LN_2;
        let record = TrainRecord {
            update: self.state.update,
            epoch: self.epoch_of_last(),
            loss: loss / per_token,
            nll: nll / per_token,
            ppl: (nll / per_token).exp2(),
            lr: self.lr,
            grad_norm: grad_norm / updates as f64,
            src_tokens_per_s: speed.0,
            tgt_tokens_per_s: speed.1,
        };
        self.log.train(&record)?;
        self.meter = Meter::start();
        Ok(())
    }

    /// The epoch that the last update belongs to.
    fn epoch_of_last(&self) -> u64 {
        if self.state.batch == 0 { self.state.epoch - 1 } else { self.state.epoch }
    }

    /// Validates, shows sample translations, and saves `checkpoint_last`, and `checkpoint_best` if it is the best.
    pub fn validate(&mut self) -> Result<()> {
        let began = Instant::now();
        self.stats.flush(&mut self.state.window, self.state.update)?;
        let losses = self.validation.losses(&self.model, self.config.label_smoothing)?;
        let (valid_bleu, samples) = self.validation.bleu(&self.model, &self.coder)?;
        let best = self.state.best_loss.is_none_or(|least| losses.loss < least);
        let record = ValidRecord {
            update: self.state.update,
            epoch: self.epoch_of_last(),
            valid_loss: losses.loss,
            valid_nll: losses.nll,
            valid_ppl: losses.nll.exp2(),
            valid_bleu,
            best,
        };
        self.state.validated = self.state.update;
        if best {
            self.state.best_loss = Some(losses.loss);
            save(&self.folder.join("checkpoint_best.safetensors"), &self.model, None, &self.state)?;
        }
        self.log.valid(&record)?;
        for Sample { source, reference, hypothesis } in samples {
            self.log.say(&format!("  source      {source}\n  reference   {reference}\n  hypothesis  {hypothesis}\n"));
        }
        self.write_last()?;
        self.meter.since += began.elapsed();
        Ok(())
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
        self.stats.flush(&mut self.state.window, self.state.update)?;
        let path = self.folder.join("checkpoint_last.safetensors");
        save(&path, &self.model, Some(&self.updater.moments), &self.state)
    }

    /// Where everything is.
    pub fn say_end(&self) {
        let best = self.state.best_loss.map_or(String::new(), |loss| format!(", best validation loss {loss:.3}"));
        let folder = self.folder.display();
        let memory = mebibytes(self.dev().memory_use().peak_bytes);
        self.say(&format!("memory at the highest point: {memory}"));
        self.say(&format!("done: {} updates{best}; translate with `omega translate {folder}`", self.state.update));
    }
}
