//! Benches of what is no op of a tape with a gradient: updates, sums, and passes that an op fuses.

use super::Bench;
use super::case::{Case, Figure, Work};
use crate::device::Device;
use crate::error::Result;

/// One op at one size.
pub trait Update: Bench {
    fn run(&self, dev: &Device) -> Result<()>;
    /// Runs the op and compares it with the reference.
    fn check(&self, dev: &Device) -> Result<Vec<Figure>>;
}

pub struct UpdateCase<T>(T);

impl<T> UpdateCase<T> {
    pub fn new(op: T) -> UpdateCase<T> {
        UpdateCase(op)
    }
}

impl<T: Update> Case for UpdateCase<T> {
    fn shape(&self) -> String {
        self.0.shape()
    }

    fn work(&self) -> Vec<Work> {
        self.0.work()
    }

    fn check(&mut self, dev: &Device) -> Result<Vec<Figure>> {
        self.0.check(dev)
    }

    fn run(&mut self, dev: &Device) -> Result<()> {
        self.0.run(dev)
    }
}
