//! Mean and variance of a sublayer's output. The time includes what the host does: it reads two numbers per row and
//! joins them.

mod common;

use std::process::ExitCode;

use common::update::{Update, run};
use common::{Figure, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::moments::moments;
use omega::reference;
use omega::tensor::Tensor;

/// Rows and width.
struct OfRows {
    x: Tensor,
    scale: Tensor,
}

impl Update for OfRows {
    const NAME: &'static str = "moments";
    type Size = (usize, usize);

    fn new(dev: &Device, (n, c): Self::Size) -> Result<Self> {
        Ok(OfRows { x: dev.upload(&values(n * c, 1), &[n, c])?, scale: dev.upload(&values(c, 2), &[c])? })
    }

    fn shape(&self) -> String {
        format!("N={} C={}", self.x.dims()[0], self.x.dims()[1])
    }

    fn run(&self, dev: &Device) -> Result<()> {
        moments(dev, &self.x, Some(&self.scale)).map(drop)
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        let got = moments(dev, &self.x, Some(&self.scale))?;
        let (x, scale) = (wide(&dev.read::<f32>(&self.x)?), wide(&dev.read::<f32>(&self.scale)?));
        let (mean, var) = reference::moments::forward(&x, &scale);
        // The mean of numbers around zero nearly cancels: it is measured against their spread.
        let mean = Figure::of("mean", &[got.mean as f32, got.var.sqrt() as f32], &[mean, var.sqrt()], 1e-6);
        Ok(vec![mean, Figure::of("var", &[got.var as f32], &[var], 1e-5)])
    }

    fn bytes(&self) -> usize {
        8 * self.x.numel()
    }
}

fn main() -> ExitCode {
    run::<OfRows>(&[(70, 65), (5, 64)], &[(4096, 512), (4096, 256)])
}
