//! Losses and gradient norms of recent updates. They stay on the device until somebody wants to see them, so that no
//! update waits for a number.

use crate::checkpoint::Window;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// Micro-batches and updates that are kept before they must be read.
const ROWS: usize = 256;

/// Rows on the device that no window has counted yet.
pub struct Stats {
    dev: Device,
    /// Per micro-batch: loss and nll, in nats [ROWS, 2].
    losses: Tensor,
    /// Per update: what `ops::loss_scale` says [ROWS, 3].
    states: Tensor,
    micro_batches: usize,
    updates: usize,
}

impl Stats {
    pub fn new(dev: &Device) -> Result<Stats> {
        let losses = dev.tensor(&[ROWS, 2], DType::F32)?;
        let states = dev.tensor(&[ROWS, 3], DType::F32)?;
        Ok(Stats { dev: dev.clone(), losses, states, micro_batches: 0, updates: 0 })
    }

    /// Whether [`Stats::flush`] has to come before the next row.
    pub fn full(&self) -> bool {
        self.micro_batches == ROWS || self.updates == ROWS
    }

    /// Keeps the loss `[1]` and nll `[1]` of a micro-batch.
    pub fn add_losses(&mut self, loss: &Tensor, nll: &Tensor) -> Result<()> {
        let row = 2 * self.micro_batches;
        self.dev.copy(&self.losses.view(row, &[1])?, loss)?;
        self.dev.copy(&self.losses.view(row + 1, &[1])?, nll)?;
        self.micro_batches += 1;
        Ok(())
    }

    /// Where the next update writes its state.
    pub fn next_state(&mut self) -> Result<Tensor> {
        self.updates += 1;
        self.states.view(3 * (self.updates - 1), &[3])
    }

    /// Adds everything to `window`; `update` is the number of the last update. An error names the first update whose
    /// gradient was not finite.
    pub fn flush(&mut self, window: &mut Window, update: u64) -> Result<()> {
        if self.micro_batches == 0 && self.updates == 0 {
            return Ok(());
        }
        let losses: Vec<f32> = self.dev.read(&self.losses.view(0, &[2 * self.micro_batches])?)?;
        let states: Vec<f32> = self.dev.read(&self.states.view(0, &[3 * self.updates])?)?;
        for (row, state) in states.chunks_exact(3).enumerate() {
            if state[2] == 0.0 {
                let number = update + 1 + row as u64 - self.updates as u64;
                return Err(Error::data(format!("the gradient of update {number} is not finite (norm {})", state[0]))
                    .hint(
                        "lower --lr, raise --warmup-updates, or clip with --clip-norm; the last checkpoint is sound",
                    ));
            }
            window.grad_norm += f64::from(state[0]);
        }
        for row in losses.chunks_exact(2) {
            window.loss += f64::from(row[0]);
            window.nll += f64::from(row[1]);
        }
        (self.micro_batches, self.updates) = (0, 0);
        Ok(())
    }
}
