//! Learning-rate schedules, as fairseq computes them: in f64, without clamping. Update number u (from 1) runs at
//! `rate(u − 1)`.

use crate::config::LrScheduler;

/// A schedule with all its settings. A negative `warmup_init_lr` means 0 for inverse_sqrt and `lr` for linear.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub kind: LrScheduler,
    pub lr: f64,
    pub warmup_updates: u64,
    pub warmup_init_lr: f64,
    pub min_lr: f64,
    pub power: f64,
    /// Where linear and poly end.
    pub max_update: u64,
}

impl Schedule {
    /// The learning rate after `updates` updates.
    pub fn rate(&self, updates: u64) -> f64 {
        let (u, warmup, end) = (updates as f64, self.warmup_updates as f64, self.max_update as f64);
        let warm = |init: f64| init + u * (self.lr - init) / warmup;
        match self.kind {
            LrScheduler::InverseSqrt if updates < self.warmup_updates => warm(self.warmup_init_lr.max(0.0)),
            LrScheduler::InverseSqrt => self.lr * warmup.max(1.0).sqrt() * u.max(1.0).powf(-0.5),
            LrScheduler::Linear if updates < self.warmup_updates => {
                warm(if self.warmup_init_lr < 0.0 { self.lr } else { self.warmup_init_lr })
            }
            LrScheduler::Linear => (self.lr - self.min_lr) * (1.0 - (u - warmup) / (end - warmup)) + self.min_lr,
            LrScheduler::Poly => (self.lr - self.min_lr) * (1.0 - u / end).powf(self.power) + self.min_lr,
        }
    }
}
