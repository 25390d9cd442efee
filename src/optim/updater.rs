//! From gradients to the next parameters: norm and clipping, learning rate, then Adam or RAdam over the flat buffers.

use super::schedule::Schedule;
use crate::config::{Optimizer, TrainConfig};
use crate::device::Purpose;
use crate::error::Result;
use crate::model::Params;
use crate::ops::loss_scale::loss_scale;
use crate::ops::optimizer::{Adam, Flat, adam_step, optimizer, radam_step};
use crate::tensor::{DType, Tensor};

/// First and second moments of the gradients, in the layout of the trainable parameters.
#[derive(Clone)]
pub struct Moments {
    pub m: Tensor,
    pub v: Tensor,
}

impl Moments {
    /// Zeros for the trainable parameters of `params`.
    pub fn zeros(params: &Params) -> Result<Moments> {
        let (dev, n) = (params.dev(), params.trainable_values()?.numel());
        let flat = || dev.tensor_for(Purpose::Optimizer, &[n], DType::F32);
        let (m, v) = (flat()?, flat()?);
        dev.zero(&m)?;
        dev.zero(&v)?;
        Ok(Moments { m, v })
    }
}

/// The optimiser with its settings and state.
pub struct Updater {
    pub kind: Optimizer,
    pub adam: Adam,
    pub schedule: Schedule,
    /// Largest norm of the gradient; 0 does not clip.
    pub clip_norm: f64,
    pub moments: Moments,
}

impl Updater {
    /// What `config` asks for, before the first update of `params`.
    pub fn new(config: &TrainConfig, params: &Params) -> Result<Updater> {
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
        let moments = Moments::zeros(params)?;
        Ok(Updater { kind: config.optimizer, adam, schedule, clip_norm: config.clip_norm, moments })
    }

    /// Update `number` (from 1) with the gradients of a loss summed over `tokens` target tokens. `state` `[3]` receives
    /// what `ops::loss_scale` says: the norm, the factor, and whether the gradient was finite (else nothing changes).
    /// Returns the learning rate.
    pub fn update(&self, params: &Params, number: u64, tokens: usize, state: &Tensor) -> Result<f64> {
        let (dev, lr) = (params.dev(), self.schedule.rate(number - 1));
        let (parameters, gradients) = (&params.trainable_values()?, &params.trainable_grads()?);
        let step = match self.kind {
            Optimizer::Adam => adam_step(self.adam.betas, lr, number),
            Optimizer::Radam => radam_step(self.adam.betas, lr, number),
        };
        loss_scale(dev, gradients, 1.0 / tokens as f32, self.clip_norm as f32, state)?;
        let Moments { m, v } = &self.moments;
        optimizer(dev, &Flat { parameters, gradients, m, v }, state, &self.adam, lr, step)?;
        Ok(lr)
    }
}
