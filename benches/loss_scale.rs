//! Norm, clip factor and finiteness of the flat gradient of a whole model.

mod common;

use std::process::ExitCode;

use common::update::{Update, run};
use common::{Figure, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::loss_scale::loss_scale;
use omega::reference;
use omega::tensor::{DType, Tensor};

const UNSCALE: f32 = 0.0625; // the same number in f32 and f64
const CLIP: f32 = 0.5;

struct FlatGradient {
    gradient: Tensor,
    state: Tensor,
}

impl Update for FlatGradient {
    const NAME: &'static str = "loss_scale";
    type Size = usize;

    fn new(dev: &Device, n: usize) -> Result<Self> {
        Ok(FlatGradient { gradient: dev.upload(&values(n, 1), &[n])?, state: dev.tensor(&[3], DType::F32)? })
    }

    fn shape(&self) -> String {
        format!("n={}", self.gradient.numel())
    }

    fn run(&self, dev: &Device) -> Result<()> {
        loss_scale(dev, &self.gradient, UNSCALE, CLIP, &self.state)
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        self.run(dev)?;
        let (got, gradient) = (dev.read::<f32>(&self.state)?, wide(&dev.read::<f32>(&self.gradient)?));
        let (norm, factor) = reference::loss_scale::forward(&gradient, UNSCALE.into(), CLIP.into());
        let figure = |name, k: usize, want| Figure::of(name, &got[k..=k], &[want], 1e-6);
        Ok(vec![figure("norm", 0, norm), figure("factor", 1, factor), figure("finite", 2, 1.0)])
    }

    fn bytes(&self) -> usize {
        4 * self.gradient.numel()
    }
}

/// Post-LN, 6+6 layers: width 512, feed-forward 2048, 32,768 words; and width 256, feed-forward 1024, 8,192 words.
fn main() -> ExitCode {
    run::<FlatGradient>(&[20_001], &[60_915_712, 13_156_352])
}
