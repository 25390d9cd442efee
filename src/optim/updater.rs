//! From gradients to the next parameters: norm, overflow and clipping, loss scale and learning rate, then one pass of the
//! optimiser over the flat buffers. Nothing waits for the device.

use super::schedule::Schedule;
use crate::config::{Optimizer, TrainConfig};
use crate::device::Purpose;
use crate::error::Result;
use crate::model::Params;
use crate::model::params::Entry;
use crate::ops::loss_scale::{Scaler, Scaling, State, Table, loss_scale};
use crate::ops::optimizer::{Adam, Flat, Pieces, adam, adam_step, novograd, radam_step, row};
use crate::tensor::{DType, Tensor};

/// Updates whose learning rates and bias corrections are computed ahead.
const AHEAD: usize = 1024;

/// First and second moments of the gradients.
pub struct Moments {
    /// In the layout of the trainable parameters.
    pub m: Tensor,
    /// The same, or one number per trainable parameter tensor for NovoGrad.
    pub v: Tensor,
    /// Of NovoGrad: where the tensors lie.
    pieces: Option<Pieces>,
}

impl Moments {
    /// Zeros for the trainable parameters of `params`.
    fn zeros(params: &Params, kind: Optimizer) -> Result<Moments> {
        let (dev, n) = (params.dev(), params.trainable_values()?.numel());
        let pieces = match kind {
            Optimizer::Novograd => {
                let trainable = params.entries().iter().filter(|entry| entry.spec.trainable);
                let tensors: Vec<_> = trainable.map(|entry| (entry.offset, entry.spec.numel())).collect();
                Some((tensors.len(), Pieces::new(dev, n, &tensors)?))
            }
            Optimizer::Adam | Optimizer::Radam => None,
        };
        let flat = |n: usize| dev.tensor_for(Purpose::Optimizer, &[n], DType::F32);
        let (m, v) = (flat(n)?, flat(pieces.as_ref().map_or(n, |(tensors, _)| *tensors))?);
        dev.zero(&m)?;
        dev.zero(&v)?;
        Ok(Moments { m, v, pieces: pieces.map(|(_, pieces)| pieces) })
    }

    /// The moments of trainable parameter `entry`, the `number`-th of the model, under the names that checkpoints give
    /// them.
    pub fn of(&self, number: usize, entry: &Entry) -> Result<[(String, Tensor); 2]> {
        let (name, shape) = (&entry.spec.name, &entry.spec.shape);
        let m = self.m.view(entry.offset, shape)?;
        Ok(match &self.pieces {
            None => [(format!("adam_m.{name}"), m), (format!("adam_v.{name}"), self.v.view(entry.offset, shape)?)],
            Some(_) => [(format!("novograd_m.{name}"), m), (format!("novograd_v.{name}"), self.v.view(number, &[1])?)],
        })
    }
}

/// What an [`Updater`] is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    pub kind: Optimizer,
    pub adam: Adam,
    pub schedule: Schedule,
    /// Largest norm of the gradient; 0 does not clip.
    pub clip_norm: f64,
    /// How the scale of the loss moves; none where it is 1.
    pub scaling: Option<Scaling>,
}

impl Settings {
    pub fn of(config: &TrainConfig) -> Settings {
        let schedule = Schedule {
            kind: config.lr_scheduler,
            lr: config.lr,
            warmup_updates: config.warmup_updates,
            warmup_init_lr: config.warmup_init_lr,
            min_lr: config.min_lr,
            power: config.power,
            max_update: config.max_update.unwrap_or(0),
        };
        let adam = Adam { betas: config.adam_betas, eps: config.adam_eps, weight_decay: config.weight_decay };
        let (kind, clip_norm, scaling) = (config.optimizer, config.clip_norm, config.scaling);
        Settings { kind, adam, schedule, clip_norm, scaling }
    }

    /// Learning rate, step, decay and whether to adapt, of update `number` (from 1).
    fn row(&self, number: u64) -> [f32; 4] {
        let (lr, betas) = (self.schedule.rate(number - 1), self.adam.betas);
        let step = match self.kind {
            Optimizer::Adam => adam_step(betas, lr, number),
            Optimizer::Radam => radam_step(betas, lr, number),
            Optimizer::Novograd => Some(lr),
        };
        row(lr, step, self.adam.weight_decay)
    }
}

/// The optimiser with its settings and state. The device counts the updates that are done: where a gradient overflows,
/// nothing is, and the host hears of it whenever it looks.
pub struct Updater {
    pub settings: Settings,
    pub moments: Moments,
    state: State,
    table: Table,
    /// Updates done, when last looked.
    done: u64,
    /// Updates tried since then.
    since: u64,
}

impl Updater {
    /// Before the first update of `params`.
    pub fn new(settings: Settings, params: &Params) -> Result<Updater> {
        let dev = params.dev();
        let (state, table) = (State::new(dev)?, Table::new(dev, AHEAD)?);
        let moments = Moments::zeros(params, settings.kind)?;
        let mut updater = Updater { settings, moments, state, table, done: 0, since: 0 };
        updater.resume(params, 0, None)?;
        Ok(updater)
    }

    /// After `done` updates, with the scaler as it was (none: as before the first update). The moments are the caller's.
    pub fn resume(&mut self, params: &Params, done: u64, scaler: Option<Scaler>) -> Result<()> {
        let fresh = Scaler::new(self.settings.scaling.map_or(1.0, |scaling| scaling.init));
        let scaler = scaler.filter(|_| self.settings.scaling.is_some()).unwrap_or(fresh);
        self.state.write(params.dev(), done, &scaler)?;
        (self.done, self.since) = (done, 0);
        self.table.fill(params.dev(), done, |number| self.settings.row(number))
    }

    /// What the loss of the next micro-batch is to be multiplied by `[1]` f32: ∂L/∂loss of the backward pass.
    pub fn scale(&self) -> &Tensor {
        &self.state.scale
    }

    /// Tries one update with the gradients of a loss summed over `tokens` target tokens and multiplied by
    /// [`Updater::scale`]. `record` `[8]` f32 receives what `ops::loss_scale` says. Waits for nothing, unless nobody has
    /// called [`Updater::learn`] for 1,024 updates.
    pub fn update(&mut self, params: &Params, tokens: usize, record: &Tensor) -> Result<()> {
        let dev = params.dev();
        if self.done + self.since >= self.table.end() {
            let (done, _) = self.state.read(dev)?;
            self.learn(params, done)?;
        }
        let Settings { adam: rule, clip_norm, scaling, .. } = &self.settings;
        let (parameters, gradients, copy) =
            (&params.trainable_values()?, &params.trainable_grads()?, params.trainable_copy()?);
        let per_token = (1.0 / tokens as f32, *clip_norm as f32);
        loss_scale(dev, gradients, per_token, scaling.as_ref(), (&self.state, &self.table), record)?;
        let Moments { m, v, pieces } = &self.moments;
        let flat = Flat { parameters, copy: copy.as_ref(), gradients, m, v };
        match pieces {
            None => adam(dev, &flat, record, rule)?,
            Some(pieces) => novograd(dev, &flat, record, rule, pieces)?,
        }
        self.since += 1;
        Ok(())
    }

    /// Tells how many updates are done, of those tried so far.
    pub fn learn(&mut self, params: &Params, done: u64) -> Result<()> {
        (self.done, self.since) = (done, 0);
        if done + (AHEAD / 2) as u64 > self.table.end() {
            self.table.fill(params.dev(), done, |number| self.settings.row(number))?;
        }
        Ok(())
    }

    /// The scaler's numbers, for a checkpoint; none without loss scaling. Waits for the device.
    pub fn scaler(&self, params: &Params) -> Result<Option<Scaler>> {
        self.settings.scaling.map(|_| self.state.read(params.dev()).map(|(_, scaler)| scaler)).transpose()
    }
}
