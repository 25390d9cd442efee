//! Label-smoothed cross-entropy over the vocabulary.

mod common;

use std::process::ExitCode;

use common::tape_op::{Operand, Reference, TapeOp, run};
use common::values;
use omega::device::Device;
use omega::error::Result;
use omega::ops::cross_entropy::cross_entropy;
use omega::reference;
use omega::tape::{Tape, Var};
use omega::tensor::Tensor;

const SMOOTHING: f32 = 0.125; // the same number in f32 and f64

/// Rows and vocabulary.
struct CrossEntropy {
    n: usize,
    v: usize,
    targets: Vec<u32>,
    on_device: Tensor,
}

impl TapeOp for CrossEntropy {
    const NAME: &'static str = "cross_entropy";
    const OUTPUTS: &'static [&'static str] = &["loss"];
    const BOUND: f64 = 5e-6;
    type Size = (usize, usize);

    fn new(dev: &Device, (n, v): Self::Size) -> Result<Self> {
        let targets: Vec<u32> = (0..n).map(|t| (t * 31 % v) as u32).collect();
        let ids: Vec<i32> = targets.iter().map(|t| *t as i32).collect();
        Ok(CrossEntropy { n, v, targets, on_device: dev.upload(&ids, &[n])? })
    }

    fn shape(&self) -> String {
        format!("N={} V={}", self.n, self.v)
    }

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::activation("logits", values(self.n * self.v, 1), &[self.n, self.v])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![cross_entropy(t, v[0], &self.on_device, SMOOTHING)?.0])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let (loss, _) = reference::cross_entropy::forward(&operands[0], &self.targets, SMOOTHING.into());
        let mut gradient = reference::cross_entropy::backward(&operands[0], &self.targets, SMOOTHING.into());
        gradient.iter_mut().for_each(|g| *g *= dy[0][0]);
        (vec![vec![loss]], vec![gradient])
    }

    fn bytes(&self) -> [usize; 2] {
        [8 * self.n * self.v; 2]
    }
}

fn main() -> ExitCode {
    run::<CrossEntropy>(&[(70, 301), (5, 96)], &[(1024, 32_768), (4096, 8192)])
}
