//! `y = dropout(relu(x + b))`, between the two products of a feed-forward layer.

use std::process::ExitCode;

use omega::bench::{Bench, Op, Operand, RNG, Reference, TapeOp, Work, cargo_bench, values};
use omega::device::Device;
use omega::error::Result;
use omega::ops::bias_relu_dropout::bias_relu_dropout;
use omega::reference;
use omega::rng::Dropout;
use omega::tape::{Tape, Var};
use omega::tensor::DType;

/// Rows and width of the feed-forward layer.
struct BiasReluDropout {
    n: usize,
    f: usize,
    drop: Dropout,
    dtype: DType,
}

impl Bench for BiasReluDropout {
    const NAME: &'static str = "bias_relu_dropout";
    const EXTENTS: &'static str = "N x F";
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(130, 104), (7, 33)];
    const MODEL: &'static [Self::Size] = &[(4096, 2048), (4096, 1024)];

    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 2]>::try_from(extents).ok().map(Into::into)
    }

    fn new(_: &Device, (n, f): Self::Size, dtype: DType) -> Result<Self> {
        Ok(BiasReluDropout { n, f, drop: Dropout { p: 0.1, site: 9 }, dtype })
    }

    fn shape(&self) -> String {
        format!("N={} F={}", self.n, self.f)
    }

    fn work(&self) -> Vec<Work> {
        let (all, partials, size) = (self.n * self.f, self.n.div_ceil(128) * self.f, self.dtype.size());
        vec![
            Work::new("bias_relu_dropout_fwd", 2 * size * all, all),
            Work::new("bias_relu_dropout_bwd", 3 * size * all + 4 * partials, all),
            Work::new("bias_relu_dropout_bwd_reduce", 4 * partials + 2 * size * self.f, partials),
        ]
    }
}

impl TapeOp for BiasReluDropout {
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        let (n, f) = (self.n, self.f);
        let (mut x, b) = (values(n * f, 1), values(f, 2));
        // Where x + b is nearly 0, rounding x would turn a whole gradient on or off.
        x.iter_mut().enumerate().filter(|(i, x)| (**x + b[i % f]).abs() < 0.1).for_each(|(_, x)| *x += 0.25);
        vec![Operand::activation("x", x, &[n, f]), Operand::parameter("b", b, &[f])]
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
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_tape::<BiasReluDropout>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
