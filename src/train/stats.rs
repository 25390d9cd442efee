//! Losses and gradient norms of recent updates. They stay on the device until somebody wants to see them, so that no
//! update waits for a number.

use crate::checkpoint::Window;
use crate::device::Device;
use crate::error::Result;
use crate::ops::loss_scale::{RECORD, Record};
use crate::tensor::{DType, Tensor};

/// Micro-batches and updates that are kept before they must be read, if an update has no more micro-batches.
const ROWS: usize = 256;

/// Rows on the device that no window has counted yet.
pub struct Stats {
    dev: Device,
    rows: usize,
    /// Per micro-batch: loss and nll, in nats `[rows, 2]`.
    losses: Tensor,
    /// Per update that was tried: what `ops::loss_scale` says `[rows, 8]`.
    records: Tensor,
    /// Target tokens of each micro-batch.
    tokens: Vec<u64>,
    /// Micro-batches up to the end of each update.
    ends: Vec<usize>,
}

/// What [`Stats::flush`] has learnt of the updates since it was called last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learnt {
    /// How many were done.
    pub done: u64,
    /// The last one, if there was any.
    pub last: Option<Record>,
    /// The first one that was not done, as its gradient was not finite, and how many were done before it.
    pub skipped: Option<(u64, Record)>,
}

impl Stats {
    /// For updates of at most `most` micro-batches.
    pub fn new(dev: &Device, most: usize) -> Result<Stats> {
        let rows = ROWS.max(most);
        let (losses, records) = (dev.tensor(&[rows, 2], DType::F32)?, dev.tensor(&[rows, RECORD], DType::F32)?);
        Ok(Stats { dev: dev.clone(), rows, losses, records, tokens: Vec::new(), ends: Vec::new() })
    }

    /// Whether an update of `micro_batches` fits; else [`Stats::flush`] has to come before it.
    pub fn fits(&self, micro_batches: usize) -> bool {
        self.tokens.len() + micro_batches <= self.rows && self.ends.len() < self.rows
    }

    /// Updates that [`Stats::flush`] would tell of.
    pub fn pending(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Keeps the loss `[1]` and nll `[1]` of a micro-batch of `tokens` target tokens.
    pub fn add_losses(&mut self, loss: &Tensor, nll: &Tensor, tokens: usize) -> Result<()> {
        let row = 2 * self.tokens.len();
        self.dev.copy(&self.losses.view(row, &[1])?, loss)?;
        self.dev.copy(&self.losses.view(row + 1, &[1])?, nll)?;
        self.tokens.push(tokens as u64);
        Ok(())
    }

    /// Where the update of the micro-batches since the last one writes its record.
    pub fn next_record(&mut self) -> Result<Tensor> {
        self.ends.push(self.tokens.len());
        self.records.view(RECORD * (self.ends.len() - 1), &[RECORD])
    }

    /// Waits for the device and adds the updates that were done to `window`; of the others only their number. As in the
    /// original: the loss of a batch whose gradient overflowed says nothing.
    pub fn flush(&mut self, window: &mut Window) -> Result<Learnt> {
        let mut learnt = Learnt::default();
        if self.ends.is_empty() {
            return Ok(learnt);
        }
        let losses: Vec<f32> = self.dev.read(&self.losses.view(0, &[2 * self.tokens.len()])?)?;
        let records: Vec<f32> = self.dev.read(&self.records.view(0, &[RECORD * self.ends.len()])?)?;
        let mut from = 0;
        for (numbers, &to) in records.chunks_exact(RECORD).zip(&self.ends) {
            let record = Record::of(numbers);
            learnt.last = Some(record);
            if record.done {
                learnt.done += 1;
                window.updates += 1;
                window.grad_norm += f64::from(record.norm);
                for (row, tokens) in losses.chunks_exact(2).zip(&self.tokens).take(to).skip(from) {
                    window.loss += f64::from(row[0]);
                    window.nll += f64::from(row[1]);
                    window.target_tokens += tokens;
                }
            } else {
                window.overflows += 1;
                learnt.skipped = learnt.skipped.or(Some((learnt.done, record)));
            }
            from = to;
        }
        self.tokens.clear();
        self.ends.clear();
        Ok(learnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Allocation;

    /// Three updates of two micro-batches, of which the second overflowed.
    #[test]
    fn what_overflowed_is_counted_and_not_added() {
        let dev = Device::soft(Allocation::Arena);
        let mut stats = Stats::new(&dev, 2).unwrap();
        for update in 0..3 {
            for micro_batch in 0..2 {
                let loss = dev.upload(&[if update == 1 { f32::NAN } else { 1.5 }], &[1]).unwrap();
                let nll = dev.upload(&[1.0_f32], &[1]).unwrap();
                stats.add_losses(&loss, &nll, 10 + micro_batch).unwrap();
            }
            let done = if update == 1 { 0.0 } else { 2.0 };
            dev.write(&stats.next_record().unwrap(), &[0.1, 0.0, 0.0, done, 7.0, 64.0, 0.0, 128.0]).unwrap();
        }
        let mut window = Window::default();
        let learnt = stats.flush(&mut window).unwrap();
        assert_eq!((learnt.done, learnt.skipped.unwrap().0, learnt.last.unwrap().scale), (2, 1, 64.0));
        let Window { updates, loss, nll, grad_norm, target_tokens, overflows } = window;
        assert_eq!((updates, loss, nll, grad_norm, target_tokens, overflows), (2, 6.0, 4.0, 14.0, 42, 1));
        assert_eq!((stats.pending(), stats.flush(&mut window).unwrap()), (0, Learnt::default()));
    }

    #[test]
    fn an_update_longer_than_the_table_fits() {
        let dev = Device::soft(Allocation::Arena);
        let stats = Stats::new(&dev, 1000).unwrap();
        assert!(stats.fits(1000) && !stats.fits(1001));
    }
}
