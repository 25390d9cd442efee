//! `y = x·Wᵀ + b`: the device's product and the bias kernels, at the sizes of a feed-forward layer.

mod common;

use std::process::ExitCode;

use common::tape_op::{Operand, Reference, TapeOp, run};
use common::values;
use omega::device::Device;
use omega::error::Result;
use omega::ops::linear::linear;
use omega::reference;
use omega::tape::{Tape, Var};

/// Rows, inputs and outputs.
struct Linear {
    n: usize,
    inner: usize,
    out: usize,
}

impl TapeOp for Linear {
    const NAME: &'static str = "linear";
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;
    type Size = (usize, usize, usize);

    fn new(_: &Device, (n, inner, out): Self::Size) -> Result<Self> {
        Ok(Linear { n, inner, out })
    }

    fn shape(&self) -> String {
        format!("N={} in={} out={}", self.n, self.inner, self.out)
    }

    fn operands(&self) -> Vec<Operand> {
        let Linear { n, inner, out } = *self;
        let x = Operand::activation("x", values(n * inner, 1), &[n, inner]);
        let w = Operand::parameter("w", values(out * inner, 2), &[out, inner]);
        vec![x, w, Operand::parameter("b", values(out, 3), &[out])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![linear(t, v[0], v[1], Some(v[2]))?])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let (x, w, b) = (&operands[0], &operands[1], &operands[2]);
        let y = reference::linear::forward(x, w, b, self.inner);
        (vec![y], reference::linear::backward(x, w, &dy[0], self.inner).into())
    }

    /// The bias kernels, and the operands of the products, each once: x, W, y forward; dy, W, dx and dy, x, dW backward
    /// (dW is read and written).
    fn bytes(&self) -> [usize; 2] {
        let Linear { n, inner, out } = *self;
        let (x, w, y) = (4 * n * inner, 4 * inner * out, 4 * n * out);
        [x + w + y + 8 * n * out, 2 * x + 3 * w + 2 * y + 4 * n * out + 8 * out * n.div_ceil(64)]
    }
}

fn main() -> ExitCode {
    run::<Linear>(&[(130, 63, 101), (7, 32, 36)], &[(4096, 512, 2048), (4096, 256, 1024)])
}
