//! `y = dropout(relu(x + b))`, between the two products of a feed-forward layer.

mod common;

use std::process::ExitCode;

use common::tape_op::{Operand, Reference, TapeOp, run};
use common::{RNG, values};
use omega::device::Device;
use omega::error::Result;
use omega::ops::bias_relu_dropout::bias_relu_dropout;
use omega::reference;
use omega::rng::Dropout;
use omega::tape::{Tape, Var};

/// Rows and width of the feed-forward layer.
struct BiasReluDropout {
    n: usize,
    f: usize,
    drop: Dropout,
}

impl TapeOp for BiasReluDropout {
    const NAME: &'static str = "bias_relu_dropout";
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;
    type Size = (usize, usize);

    fn new(_: &Device, (n, f): Self::Size) -> Result<Self> {
        Ok(BiasReluDropout { n, f, drop: Dropout { p: 0.1, site: 9 } })
    }

    fn shape(&self) -> String {
        format!("N={} F={}", self.n, self.f)
    }

    fn operands(&self) -> Vec<Operand> {
        let (n, f) = (self.n, self.f);
        let x = Operand::activation("x", values(n * f, 1), &[n, f]);
        vec![x, Operand::parameter("b", values(f, 2), &[f])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![bias_relu_dropout(t, v[0], v[1], self.drop)?])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let factor: Vec<f64> = (0..self.n * self.f).map(|i| f64::from(self.drop.factor(RNG, i as u64))).collect();
        let (x, b) = (&operands[0], &operands[1]);
        let y = reference::bias_relu_dropout::forward(x, b, &factor);
        (vec![y], reference::bias_relu_dropout::backward(x, b, &factor, &dy[0]).into())
    }

    fn bytes(&self) -> [usize; 2] {
        let all = self.n * self.f;
        [8 * all, 12 * all + 8 * self.f * self.n.div_ceil(64)]
    }
}

fn main() -> ExitCode {
    run::<BiasReluDropout>(&[(130, 100), (7, 33)], &[(4096, 2048), (4096, 1024)])
}
