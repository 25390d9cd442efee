//! Mean and variance of a sublayer's output. The time includes what the host does: it reads two numbers per row and
//! joins them.

use std::process::ExitCode;

use omega::bench::{Bench, Figure, Op, Update, Work, cargo_bench, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::moments::moments;
use omega::reference;
use omega::tensor::{DType, Tensor};

/// Rows and width.
struct OfRows {
    x: Tensor,
    scale: Tensor,
}

impl Bench for OfRows {
    const NAME: &'static str = "moments";
    const EXTENTS: &'static str = "N x C";
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(70, 65), (5, 64)];
    const MODEL: &'static [Self::Size] = &[(4096, 512), (4096, 256)];

    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 2]>::try_from(extents).ok().map(Into::into)
    }

    fn new(dev: &Device, (n, c): Self::Size, dtype: DType) -> Result<Self> {
        Ok(OfRows { x: dev.upload_as(&values(n * c, 1), &[n, c], dtype)?, scale: dev.upload(&values(c, 2), &[c])? })
    }

    fn shape(&self) -> String {
        format!("N={} C={}", self.x.dims()[0], self.x.dims()[1])
    }

    fn work(&self) -> Vec<Work> {
        vec![Work::new("moments", self.x.bytes() + 8 * self.x.dims()[0], self.x.numel())]
    }
}

impl Update for OfRows {
    fn run(&self, dev: &Device) -> Result<()> {
        moments(dev, &self.x, Some(&self.scale)).map(drop)
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        let got = moments(dev, &self.x, Some(&self.scale))?;
        let (x, scale) = (wide(&dev.read_wide(&self.x)?), wide(&dev.read::<f32>(&self.scale)?));
        let (mean, var) = reference::moments::forward(&x, &scale);
        // The mean of numbers around zero nearly cancels: it is measured against their spread.
        let mean = Figure::of("mean", &[got.mean as f32, got.var.sqrt() as f32], &[mean, var.sqrt()], 1e-6);
        Ok(vec![mean, Figure::of("var", &[got.var as f32], &[var], 1e-5)])
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_update::<OfRows>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
