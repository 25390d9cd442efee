//! The whole model on the device: the losses before and after a training step against those recorded here, the gradient
//! along a direction against the loss itself, and the same bits twice.

use super::{Row, Table};
use crate::config::{Init, LrScheduler, Optimizer, Residual};
use crate::device::Device;
use crate::error::Result;
use crate::model::{Model, ModelConfig, PackedBatch, Tables};
use crate::ops::cross_entropy::cross_entropy;
use crate::ops::loss_scale::Scaling;
use crate::ops::optimizer::Adam;
use crate::optim::schedule::Schedule;
use crate::optim::{Settings, Updater};
use crate::rng::{RngState, Stream};
use crate::tensor::{DType, Tensor};

const SEED: u64 = 20_200_417;
const VOCAB: usize = 500;
const SMOOTHING: f32 = 0.1;
const MAX_POSITIONS: usize = 64;
/// Loss of the first pass in nats per target token, with every dropout, as f32 has it on softgpu. Random numbers do not
/// depend on the device, so a GPU differs by rounding alone.
const GOLDEN: f64 = 6.842_841_766;
/// The same after one update.
const GOLDEN_AFTER: f64 = 6.482_186_947;

fn config() -> ModelConfig {
    ModelConfig {
        encoder_layers: 3,
        decoder_layers: 2,
        d_model: 96,
        ffn: 200,
        heads: 3,
        vocab: VOCAB,
        max_positions: MAX_POSITIONS,
        residual: Residual::Admin,
        init: Init::Xavier,
        omega_frozen: false,
        keep_first_omega_one: false,
        tables: Tables::Shared,
        dropout: 0.1,
        attention_dropout: 0.1,
        relu_dropout: 0.1,
    }
}

/// Pairs of 1 to 40 tokens.
fn batch(dev: &Device) -> Result<PackedBatch> {
    let mut stream = Stream::new(SEED, 1);
    let mut sentence = |length: usize| -> Vec<u32> {
        let words = (1..length).map(|_| 4 + (stream.uniform() * (VOCAB - 4) as f64) as u32);
        words.chain([2]).collect()
    };
    let pairs: Vec<_> = [1, 7, 16, 33, 40, 2].into_iter().map(|n| (sentence(n), sentence(43 - n))).collect();
    let pairs: Vec<(&[u32], &[u32])> = pairs.iter().map(|(s, t)| (s.as_slice(), t.as_slice())).collect();
    PackedBatch::new(dev, &pairs, MAX_POSITIONS)
}

/// A model with profiled ω, and its batch.
struct Subject {
    model: Model,
    batch: PackedBatch,
}

impl Subject {
    fn new(dev: &Device, dtype: DType) -> Result<Subject> {
        let (model, batch) = (Model::of_dtype(dev, config(), dtype)?, batch(dev)?);
        model.initialise(SEED)?;
        model.profile(&batch, RngState { seed: SEED, step: u32::MAX })?;
        Ok(Subject { model, batch })
    }

    fn tokens(&self) -> f64 {
        self.batch.target_tokens() as f64
    }

    /// Loss in nats per target token of a pass with dropout; with a `scale` `[1]`, gradients of the summed loss times it.
    fn pass(&self, scale: Option<&Tensor>) -> Result<f64> {
        let (model, dev) = (&self.model, self.model.params.dev());
        let mut tape = model.tape(RngState { seed: SEED, step: 5 }, scale.is_some());
        let output = model.forward(&mut tape, &self.batch, true)?;
        let (loss, _) = cross_entropy(&mut tape, output.logits, &self.batch.targets, SMOOTHING)?;
        let value = f64::from(dev.read::<f32>(tape.value(loss))?[0]);
        if let Some(scale) = scale {
            model.params.zero_grads()?;
            tape.backward_from(loss, scale.clone())?;
        }
        Ok(value / self.tokens())
    }

    /// The loss after one update by Adam, whose gradients were scaled.
    fn loss_after_an_update(&self) -> Result<f64> {
        let params = &self.model.params;
        let schedule = Schedule {
            kind: LrScheduler::InverseSqrt,
            lr: 1e-3,
            warmup_updates: 4,
            warmup_init_lr: 5e-4,
            min_lr: 0.0,
            power: 1.0,
            max_update: 0,
        };
        let adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 1e-4 };
        let scaling = Some(Scaling { init: 128.0, window: 2000, tolerance: 0.0, threshold: None, min: 1e-4 });
        let settings = Settings { kind: Optimizer::Adam, adam, schedule, clip_norm: 1.0, scaling };
        let (mut updater, record) = (Updater::new(settings, params)?, params.dev().tensor(&[8], DType::F32)?);
        self.pass(Some(updater.scale()))?;
        updater.update(params, self.batch.target_tokens(), &record)?;
        self.pass(None)
    }

    fn gradients(&self) -> Result<Vec<f32>> {
        self.model.params.dev().read_wide(&self.model.params.trainable_grads()?)
    }
}

/// Adds the rows of a model of type `dtype`.
pub fn rows(dev: &Device, dtype: DType, table: &mut Table) -> Result<()> {
    let (subject, one) = (Subject::new(dev, dtype)?, dev.upload(&[1.0_f32], &[1])?);
    let loss = subject.pass(Some(&one))?;
    let bound = match dtype {
        DType::F16 => 1e-4,  // measured: 1.4e-5
        DType::BF16 => 1e-3, // 4.6e-6, by luck
        DType::F32 | DType::I32 => 1e-6,
    };
    table.push(Row::of("model: loss as recorded", dtype, (loss / GOLDEN - 1.0).abs(), bound));
    let first = subject.gradients()?;
    let again = subject.pass(Some(&one))?;
    let same = again.to_bits() == loss.to_bits() && subject.gradients()? == first;
    table.push(Row::yes("model: two passes, the same bits", dtype, same));
    if dtype == DType::F32 {
        table.push(Row::of("model: gradient along itself", dtype, slope_error(&subject, &first)?, 2e-3));
    }
    let after = subject.loss_after_an_update()?;
    // Measured: 4e-11, f16 1.6e-5, bf16 5.2e-5. Where a gradient is nearly 0 Adam goes by its sign, which rounding decides.
    let (error, bound) = ((after / GOLDEN_AFTER - 1.0).abs(), bound.max(1e-5));
    table.push(Row::of("model: loss after an update as recorded", dtype, error, bound));
    Ok(())
}

/// The gradient's claim about the loss along its own direction, against the loss there: |Δ/(2ε·‖g‖) − 1|.
fn slope_error(subject: &Subject, gradient: &[f32]) -> Result<f64> {
    let params = &subject.model.params;
    let (dev, values) = (params.dev(), params.trainable_values()?);
    let before: Vec<f32> = dev.read(&values)?;
    let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt() / subject.tokens();
    // Far enough that the loss changes in its third digit, near enough that its curvature does not show.
    let step = 2e-3 / norm;
    let at = |sign: f64| -> Result<f64> {
        let scale = sign * step / (norm * subject.tokens());
        let moved: Vec<f32> =
            before.iter().zip(gradient).map(|(v, g)| (f64::from(*v) + scale * f64::from(*g)) as f32).collect();
        dev.write(&values, &moved)?;
        subject.pass(None)
    };
    let (up, down) = (at(1.0)?, at(-1.0)?);
    dev.write(&values, &before)?;
    Ok(((up - down) / (2.0 * step * norm) - 1.0).abs())
}
