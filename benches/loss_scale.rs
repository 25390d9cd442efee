//! Norm, clip factor, overflow and loss scale of the flat gradient of a whole model, of each type.

use std::process::ExitCode;

use omega::bench::{Bench, Figure, Op, Update, Work, cargo_bench, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::loss_scale::{RECORD, Scaler, Scaling, State, Table, loss_scale};
use omega::reference;
use omega::tensor::{DType, Tensor};

const PER_TOKEN: f32 = 0.0625; // the same number in f32 and f64
const CLIP: f32 = 0.5;
const SCALING: Scaling = Scaling { init: 1.0, window: i32::MAX as u32, tolerance: 0.0, threshold: None, min: 1e-4 };

struct FlatGradient {
    gradient: Tensor,
    state: State,
    table: Table,
    record: Tensor,
}

/// Post-LN, 6+6 layers: width 512, feed-forward 2048, 32,768 words; and width 256, feed-forward 1024, 8,192 words.
impl Bench for FlatGradient {
    const NAME: &'static str = "loss_scale";
    const EXTENTS: &'static str = "n";
    type Size = usize;
    const SMALL: &'static [usize] = &[20_001];
    const WHY: &'static [(&'static str, &'static str)] =
        &[("loss_scale_step", "a handful of numbers, once per update")];
    const MODEL: &'static [usize] = &[60_915_712, 13_156_352];

    fn size(extents: &[usize]) -> Option<usize> {
        <[usize; 1]>::try_from(extents).ok().map(|[n]| n)
    }

    fn counted(n: usize) -> usize {
        n.min(1 << 22)
    }

    fn new(dev: &Device, n: usize, dtype: DType) -> Result<Self> {
        let (state, mut table) = (State::new(dev)?, Table::new(dev, 1)?);
        state.write(dev, 0, &Scaler::new(SCALING.init))?;
        table.fill(dev, 0, |_| [1.0; 4])?;
        let gradient = dev.upload_as(&values(n, 1), &[n], dtype)?;
        Ok(FlatGradient { gradient, state, table, record: dev.tensor(&[RECORD], DType::F32)? })
    }

    fn shape(&self) -> String {
        format!("n={}", self.gradient.numel())
    }

    fn work(&self) -> Vec<Work> {
        vec![Work::new("loss_scale_norm", self.gradient.bytes(), self.gradient.numel())]
    }
}

impl Update for FlatGradient {
    fn run(&self, dev: &Device) -> Result<()> {
        let (numbers, parts) = ((PER_TOKEN, CLIP), (&self.state, &self.table));
        loss_scale(dev, &self.gradient, numbers, Some(&SCALING), parts, &self.record)
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        self.run(dev)?;
        let (got, gradient) = (dev.read::<f32>(&self.record)?, wide(&dev.read_wide(&self.gradient)?));
        let (norm, factor) = reference::loss_scale::forward(&gradient, PER_TOKEN.into(), CLIP.into());
        let figure = |name, k: usize, want| Figure::of(name, &got[k..=k], &[want], 1e-6);
        Ok(vec![figure("factor", 0, factor), figure("mode", 3, 2.0), figure("norm", 4, norm)])
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_update::<FlatGradient>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
