//! Between the gradient and the optimiser: norm, overflow, clip factor, loss scale, and the number of the update, all on
//! the device. Kernels: `kernels/loss_scale.cu`.

use serde::{Deserialize, Serialize};

use super::aligned;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "loss_scale";
/// Gradients per warp: `PER_WARP` of the kernel.
const PER_WARP: usize = 8192;
/// Numbers in a record of one update; see [`Record`].
pub const RECORD: usize = 8;

/// How the scale of the loss moves: fairseq's `DynamicLossScaler`, with a factor of 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The first scale.
    pub init: f32,
    /// Updates without overflow until the scale doubles; at least 1.
    pub window: u32,
    /// Share of the updates since the scale last moved that may overflow before it is halved.
    pub tolerance: f64,
    /// The scale is never halved below this.
    pub threshold: Option<f32>,
    /// An overflow that leaves the scale at this or below ends the run.
    pub min: f32,
}

impl Scaling {
    /// Whether a run ends at an overflow after which the scale is `scale`.
    pub fn underflows(&self, scale: f32) -> bool {
        scale <= self.min
    }

    /// How many updates there are at least until the first that can underflow, when the scale is `scale` now.
    pub fn updates_to_underflow(&self, scale: f32) -> u64 {
        if self.threshold.is_some_and(|threshold| threshold > self.min) {
            return u64::MAX;
        }
        let halved = std::iter::successors(Some(scale / 2.0), |scale| Some(scale / 2.0));
        1 + halved.take_while(|scale| !self.underflows(*scale)).count() as u64
    }
}

/// The scaler's numbers as a checkpoint keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// Of the next loss.
    pub scale: f32,
    /// Updates tried.
    pub tried: u32,
    /// The last one (from 0) that overflowed, −1 before any.
    pub overflowed: i32,
    /// The last one after which the scale moved, −1 before any.
    pub rescaled: i32,
    /// Overflows since then.
    pub overflows: u32,
}

impl Scaler {
    /// Before the first update, with this scale.
    pub fn new(scale: f32) -> Scaler {
        Scaler { scale, tried: 0, overflowed: -1, rescaled: -1, overflows: 0 }
    }
}

/// Scale and counters on the device.
pub struct State {
    /// What the next loss is to be multiplied by `[1]` f32.
    pub scale: Tensor,
    /// done, tried, overflowed, rescaled, overflows `[5]` i32.
    counters: Tensor,
}

impl State {
    /// Uninitialised.
    pub fn new(dev: &Device) -> Result<State> {
        Ok(State { scale: dev.tensor(&[1], DType::F32)?, counters: dev.tensor(&[5], DType::I32)? })
    }

    /// Replaces everything.
    pub fn write(&self, dev: &Device, done: u64, scaler: &Scaler) -> Result<()> {
        let done =
            i32::try_from(done).map_err(|_| Error::data(format!("{done} updates are more than can be counted")))?;
        let Scaler { scale, tried, overflowed, rescaled, overflows } = *scaler;
        dev.write(&self.scale, &[scale])?;
        dev.write(&self.counters, &[done, tried as i32, overflowed, rescaled, overflows as i32])
    }

    /// Updates done, and the scaler's numbers, once all work before has ended.
    pub fn read(&self, dev: &Device) -> Result<(u64, Scaler)> {
        let (scale, counters) = (dev.read::<f32>(&self.scale)?[0], dev.read::<i32>(&self.counters)?);
        let [done, tried, overflowed, rescaled, overflows] = counters[..] else {
            unreachable!("five counters were allocated")
        };
        Ok((done as u64, Scaler { scale, tried: tried as u32, overflowed, rescaled, overflows: overflows as u32 }))
    }
}

/// What the next updates multiply by, computed ahead by the host in f64: the device takes the row of the update that it
/// does, so that a skipped one moves neither the learning rate nor the bias corrections, and nobody waits to be told.
pub struct Table {
    /// Per update: learning rate, step, decay, and 1 or 0 for whether to adapt `[K, 4]` f32.
    rows: Tensor,
    /// Updates that are done when the first row is due.
    base: u64,
}

impl Table {
    /// Uninitialised, of `len` updates.
    pub fn new(dev: &Device, len: usize) -> Result<Table> {
        Ok(Table { rows: dev.tensor(&[len, 4], DType::F32)?, base: 0 })
    }

    /// The number of updates from which on there is no row.
    pub fn end(&self) -> u64 {
        self.base + self.rows.dims()[0] as u64
    }

    /// Fills it with the rows of update `base + 1` (from 1), `base + 2` ….
    pub fn fill(&mut self, dev: &Device, base: u64, row: impl Fn(u64) -> [f32; 4]) -> Result<()> {
        self.base = base;
        let rows: Vec<f32> = (base + 1..=self.end()).flat_map(row).collect();
        dev.write(&self.rows, &rows)
    }
}

/// What a record `[8]` says of one update, read back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// What the optimiser multiplies gradients by.
    pub factor: f32,
    /// Whether the gradient was finite and the update was done.
    pub done: bool,
    /// Of the gradient, before clipping.
    pub norm: f32,
    /// Of the next loss.
    pub scale: f32,
}

impl Record {
    /// `numbers` as the kernel wrote them, [`RECORD`] of them.
    pub fn of(numbers: &[f32]) -> Record {
        Record { factor: numbers[0], done: numbers[3] != 0.0, norm: numbers[4], scale: numbers[5] }
    }
}

/// The flat gradient `[n]`, f32, f16 or bf16, of a loss that was multiplied by the scale of `state`: writes `record`
/// `[8]` f32 for the optimiser, which is to use norm = ‖g‖₂·`per_token`/scale and a factor that makes it at most `clip`
/// (0: no clipping); moves the scale as `scaling` says (none: it stays), and counts. A norm that is no finite number makes
/// the record say that nothing is to be done. Errors: `Shape`, `DType` name the operand; `Device`.
pub fn loss_scale(
    dev: &Device,
    gradient: &Tensor,
    (per_token, clip): (f32, f32),
    scaling: Option<&Scaling>,
    (state, table): (&State, &Table),
    record: &Tensor,
) -> Result<()> {
    if record.dims() != [RECORD] {
        return Err(Error::shape(OP, "record", record.dims(), &[RECORD]));
    }
    if !gradient.dtype().is_float() {
        return Err(Error::dtype(OP, "gradient", gradient.dtype().suffix(), "f32, f16 or bf16"));
    }
    aligned(OP, &[("gradient", gradient), ("record", record)])?;
    let (n, p) = (gradient.numel(), gradient.numel().div_ceil(PER_WARP));
    let partials = dev.tensor(&[p], DType::F32)?;
    let grid = Grid::new([p.div_ceil(4) as u32, 1, 1], [32, 4, 1]);
    let list = args![&partials, gradient, n as u64, p];
    // SAFETY: the warps read below n and write one partial sum each.
    unsafe { dev.launch(by_dtype!("loss_scale_norm", gradient.dtype()), grid, list) }?;
    let (window, tolerance, threshold) =
        scaling.map_or((0, 0.0, 0.0), |s| (s.window, s.tolerance, s.threshold.unwrap_or(0.0)));
    let (base, rows) = (table.base as usize, table.rows.dims()[0]);
    #[rustfmt::skip]
    let list = args![
        record, &state.scale, &state.counters, &table.rows, base, rows, &partials, p, per_token, clip, window as i32,
        tolerance, threshold,
    ];
    // SAFETY: p partial sums; record, counters and table are of the sizes that the kernel takes.
    unsafe { dev.launch("loss_scale_step", Grid::new([1; 3], [256, 1, 1]), list) }
}
