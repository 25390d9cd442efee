//! One update by Adam, and by NovoGrad, of all parameters of a model, with gradients of each type; and the 2-byte copy that
//! the first update starts from.

use std::process::ExitCode;

use omega::bench::{Bench, Figure, Op, Update, Work, cargo_bench, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::optimizer::{Adam, Flat, Pieces, adam, adam_step, novograd, round_copy, row};
use omega::reference;
use omega::tensor::{DType, Tensor};

const ADAM: Adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 0.01 };
const LR: f64 = 1e-3;
const NUMBER: u64 = 10;
const FACTOR: f32 = 0.5;

/// NovoGrad has two tensors here.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Adam,
    Novograd,
    FirstCopy,
}

struct Parameters {
    kind: Kind,
    p: Tensor,
    copy: Option<Tensor>,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    record: Tensor,
    tensors: [(usize, usize); 2],
    pieces: Pieces,
}

/// Post-LN, 6+6 layers: width 512, feed-forward 2048, 32,768 words; and width 256, feed-forward 1024, 8,192 words.
impl Bench for Parameters {
    const NAME: &'static str = "optimizer";
    const EXTENTS: &'static str = "n, for Adam";
    type Size = (Kind, usize);
    const SMALL: &'static [Self::Size] = &[(Kind::Adam, 301), (Kind::Novograd, 301)];
    const MODEL: &'static [Self::Size] = &[
        (Kind::Adam, 60_915_712),
        (Kind::Novograd, 60_915_712),
        (Kind::Adam, 13_156_352),
        (Kind::Novograd, 13_156_352),
        (Kind::FirstCopy, 60_915_712),
    ];

    const WHY: &'static [(&'static str, &'static str)] =
        &[("optimizer_novograd_moment", "two numbers per parameter tensor, once per update")];

    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 1]>::try_from(extents).ok().map(|[n]| (Kind::Adam, n))
    }

    fn counted((kind, n): Self::Size) -> Self::Size {
        (kind, n.min(1 << 20))
    }

    fn new(dev: &Device, (kind, n): Self::Size, dtype: DType) -> Result<Self> {
        let upload = |values: Vec<f32>| dev.upload(&values, &[values.len()]);
        let second = if kind == Kind::Novograd { 2 } else { n };
        let squares = values(second, 4).into_iter().map(|v| v * v).collect();
        let (p, g) = (upload(values(n, 1))?, dev.upload_as(&values(n, 2), &[n], dtype)?);
        let copy = (dtype != DType::F32).then(|| dev.tensor(&[n], dtype)).transpose()?;
        let step = if kind == Kind::Novograd { Some(LR) } else { adam_step(ADAM.betas, LR, NUMBER) };
        let [lr, step, decay, _] = row(LR, step, ADAM.weight_decay);
        let record = dev.upload(&[FACTOR, step, decay, 2.0, 1.0, 1.0, lr, 1.0], &[8])?;
        let half = (n / 2).next_multiple_of(8);
        let tensors = [(0, half), (half, n - half)];
        let (m, v, pieces) = (upload(values(n, 3))?, upload(squares)?, Pieces::new(dev, n, &tensors)?);
        Ok(Parameters { kind, p, copy, g, m, v, record, tensors, pieces })
    }

    fn shape(&self) -> String {
        let name = match self.kind {
            Kind::Adam => "Adam",
            Kind::Novograd => "NovoGrad",
            Kind::FirstCopy => "first copy",
        };
        format!("{name} n={}", self.p.numel())
    }

    fn work(&self) -> Vec<Work> {
        let (n, small) = (self.p.numel(), self.g.bytes() + self.copy.as_ref().map_or(0, Tensor::bytes));
        match self.kind {
            Kind::Adam => vec![Work::new("optimizer_adam", 24 * n + small, n)],
            Kind::Novograd => vec![
                Work::new("optimizer_novograd_norm", self.g.bytes(), n),
                Work::new("optimizer_novograd", 16 * n + small, n),
            ],
            Kind::FirstCopy => {
                vec![Work::new("optimizer_round", 4 * n + self.copy.as_ref().map_or(0, Tensor::bytes), n)]
            }
        }
    }
}

impl Update for Parameters {
    fn run(&self, dev: &Device) -> Result<()> {
        let (copy, v) = (self.copy.as_ref(), &self.v);
        let flat = Flat { parameters: &self.p, copy, gradients: &self.g, m: &self.m, v };
        match self.kind {
            Kind::Adam => adam(dev, &flat, &self.record, &ADAM),
            Kind::Novograd => novograd(dev, &flat, &self.record, &ADAM, &self.pieces),
            // f32 has none.
            Kind::FirstCopy => copy.map_or(Ok(()), |copy| round_copy(dev, &self.p, copy)),
        }
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        let read = |tensor: &Tensor| Ok::<_, omega::Error>(wide(&dev.read_wide(tensor)?));
        let (mut p, mut m, mut v) = (read(&self.p)?, read(&self.m)?, read(&self.v)?);
        let g: Vec<f64> = read(&self.g)?.iter().map(|g| f64::from(FACTOR) * g).collect();
        let mut figures = Vec::new();
        if let Some(copy) = &self.copy {
            round_copy(dev, &self.p, copy)?;
            let want: Vec<f64> = p.iter().map(|p| copy.dtype().round(*p)).collect();
            figures.push(Figure::of("first copy", &dev.read_wide(copy)?, &want, 0.0));
        }
        self.run(dev)?;
        let Adam { betas, eps, weight_decay } = ADAM;
        let update = reference::optimizer::Update { betas, eps, weight_decay, lr: LR, number: NUMBER };
        match self.kind {
            Kind::Adam => {
                for (i, g) in g.iter().enumerate() {
                    (p[i], m[i], v[i]) = reference::optimizer::adam((p[i], m[i], v[i]), *g, &update);
                }
            }
            Kind::FirstCopy => {}
            Kind::Novograd => {
                for ((from, len), v) in self.tensors.iter().zip(&mut v) {
                    let at = *from..from + len;
                    let (p, m) = (&mut p[at.clone()], &mut m[at.clone()]);
                    reference::optimizer::novograd(p, m, v, &g[at], &update);
                }
            }
        }
        let after = [("p", &self.p, &p, 1e-6), ("m", &self.m, &m, 1e-6), ("v", &self.v, &v, 1e-6)];
        // A copy is off by its rounding.
        let copy = self.copy.as_ref().map(|copy| ("copy", copy, &p, 4e-3));
        for (name, tensor, want, bound) in after.into_iter().chain(copy) {
            figures.push(Figure::of(name, &dev.read_wide(tensor)?, want, bound));
        }
        Ok(figures)
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_update::<Parameters>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
