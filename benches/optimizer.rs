//! One update by Adam of all parameters of a model.

mod common;

use std::process::ExitCode;

use common::update::{Update, run};
use common::{Figure, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::optimizer::{Adam, Flat, adam_step, optimizer};
use omega::reference;
use omega::tensor::Tensor;

const ADAM: Adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 0.01 };
const LR: f64 = 1e-3;
const NUMBER: u64 = 10;

struct Parameters {
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    state: Tensor,
}

impl Update for Parameters {
    const NAME: &'static str = "optimizer";
    type Size = usize;

    fn new(dev: &Device, n: usize) -> Result<Self> {
        let upload = |values: Vec<f32>| dev.upload(&values, &[n]);
        let squares = values(n, 4).into_iter().map(|v| v * v).collect();
        let (p, g) = (upload(values(n, 1))?, upload(values(n, 2))?);
        let state = dev.upload(&[1.0_f32, 0.5, 1.0], &[3])?; // norm, factor, finite
        Ok(Parameters { p, g, m: upload(values(n, 3))?, v: upload(squares)?, state })
    }

    fn shape(&self) -> String {
        format!("Adam n={}", self.p.numel())
    }

    fn run(&self, dev: &Device) -> Result<()> {
        let flat = Flat { parameters: &self.p, gradients: &self.g, m: &self.m, v: &self.v };
        optimizer(dev, &flat, &self.state, &ADAM, LR, adam_step(ADAM.betas, LR, NUMBER))
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        let read = |tensor| dev.read::<f32>(tensor);
        let before = [read(&self.p)?, read(&self.m)?, read(&self.v)?].map(|values| wide(&values));
        let g = wide(&read(&self.g)?);
        self.run(dev)?;
        let Adam { betas, eps, weight_decay } = ADAM;
        let update = reference::optimizer::Update { betas, eps, weight_decay, lr: LR, number: NUMBER };
        let one =
            |i: usize| reference::optimizer::adam((before[0][i], before[1][i], before[2][i]), 0.5 * g[i], &update);
        let after: Vec<_> = (0..g.len()).map(one).collect();
        let figure = |name, tensor, part: fn(&reference::optimizer::State) -> f64| -> Result<Figure> {
            let want: Vec<f64> = after.iter().map(part).collect();
            Ok(Figure::of(name, &read(tensor)?, &want, 1e-6))
        };
        Ok(vec![figure("p", &self.p, |s| s.0)?, figure("m", &self.m, |s| s.1)?, figure("v", &self.v, |s| s.2)?])
    }

    fn bytes(&self) -> usize {
        28 * self.p.numel()
    }
}

/// Post-LN, 6+6 layers: width 512, feed-forward 2048, 32,768 words; and width 256, feed-forward 1024, 8,192 words.
fn main() -> ExitCode {
    run::<Parameters>(&[301], &[60_915_712, 13_156_352])
}
