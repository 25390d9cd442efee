//! `y = x·Wᵀ + b`: the device's product and the bias kernels, at the sizes of a feed-forward layer.

use std::process::ExitCode;

use omega::bench::{Bench, Op, Operand, Reference, TapeOp, Work, cargo_bench, values};
use omega::device::Device;
use omega::error::Result;
use omega::ops::linear::linear;
use omega::reference;
use omega::tape::{Tape, Var};
use omega::tensor::DType;

/// Rows, inputs and outputs.
#[derive(Clone, Copy)]
struct Linear {
    n: usize,
    inner: usize,
    out: usize,
    dtype: DType,
}

impl Bench for Linear {
    const NAME: &'static str = "linear";
    const EXTENTS: &'static str = "N x in x out";
    type Size = (usize, usize, usize);
    const SMALL: &'static [Self::Size] = &[(130, 63, 101), (7, 32, 40)];
    const MODEL: &'static [Self::Size] = &[(4096, 512, 2048), (4096, 256, 1024)];

    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 3]>::try_from(extents).ok().map(Into::into)
    }

    /// The bias does not see the width of the product.
    fn counted((n, _, out): Self::Size) -> Self::Size {
        (n, 8, out)
    }

    fn new(_: &Device, (n, inner, out): Self::Size, dtype: DType) -> Result<Self> {
        Ok(Linear { n, inner, out, dtype })
    }

    fn shape(&self) -> String {
        format!("N={} in={} out={}", self.n, self.inner, self.out)
    }

    fn work(&self) -> Vec<Work> {
        let (Linear { n, out, .. }, size) = (*self, self.dtype.size());
        let partials = n.div_ceil(128) * out;
        vec![
            Work::new("linear_fwd", 2 * size * n * out, n * out),
            Work::new("linear_bwd", size * n * out + 4 * partials, n * out),
            Work::new("linear_bwd_reduce", 4 * partials + 2 * size * out, partials),
        ]
    }
}

impl TapeOp for Linear {
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        let Linear { n, inner, out, .. } = *self;
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
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_tape::<Linear>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
