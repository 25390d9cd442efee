//! Label-smoothed cross-entropy over the vocabulary: for a ∂L/∂loss that comes later, in two kernels, and for one that is
//! known, in one where a row fits on chip.

use std::process::ExitCode;

use omega::bench::{Bench, Figure, Op, Operand, RNG, Reference, TapeOp, Update, Work, cargo_bench, values, wide};
use omega::device::Device;
use omega::error::{Error, Result};
use omega::ops::cross_entropy::{cross_entropy, cross_entropy_from};
use omega::reference;
use omega::tape::{Tape, Var};
use omega::tensor::{DType, Tensor};

const SMOOTHING: f32 = 0.125; // the same number in f32 and f64
const DLOSS: f32 = 128.0;

/// Rows and vocabulary.
struct Size {
    n: usize,
    v: usize,
    dtype: DType,
    targets: Vec<u32>,
    on_device: Tensor,
}

/// With the dictionaries of small and of wmt models, and one whose rows start anywhere in a sector.
const MODEL: &[(usize, usize)] = &[(4096, 8000), (1024, 40_000), (1024, 10_001)];
/// Rows that are enough to count.
const COUNTED: usize = 128;

impl Size {
    fn new(dev: &Device, (n, v): (usize, usize), dtype: DType) -> Result<Size> {
        let targets: Vec<u32> = (0..n).map(|t| (t * 31 % v) as u32).collect();
        let ids: Vec<i32> = targets.iter().map(|t| *t as i32).collect();
        Ok(Size { n, v, dtype, targets, on_device: dev.upload(&ids, &[n])? })
    }

    fn work(&self) -> Vec<Work> {
        let (all, size) = (self.n * self.v, self.dtype.size());
        vec![
            Work::new("cross_entropy_fwd", size * all, all),
            Work::new("cross_entropy_bwd", 2 * size * all, all),
            Work::new("cross_entropy_fused", 2 * size * all, all),
            Work::new("cross_entropy_sum", 8 * self.n, 2 * self.n),
        ]
    }

    /// The loss, and its gradient times `dloss`.
    fn reference(&self, logits: &[f64], dloss: f64) -> (f64, Vec<f64>) {
        let (loss, _) = reference::cross_entropy::forward(logits, &self.targets, SMOOTHING.into());
        let mut gradient = reference::cross_entropy::backward(logits, &self.targets, SMOOTHING.into());
        gradient.iter_mut().for_each(|g| *g *= dloss);
        (loss, gradient)
    }
}

const WHY: &[(&str, &str)] = &[(
    "cross_entropy_sum",
    "8 bytes per row, and sectors at the ends of so few cannot be shared; the row has V logits",
)];

fn extents(extents: &[usize]) -> Option<(usize, usize)> {
    <[usize; 2]>::try_from(extents).ok().map(Into::into)
}

struct TwoPasses(Size);

impl Bench for TwoPasses {
    const NAME: &'static str = "cross_entropy";
    const EXTENTS: &'static str = "N x V";
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(70, 301), (5, 96)];
    const MODEL: &'static [Self::Size] = MODEL;
    const WHY: &'static [(&'static str, &'static str)] = WHY;

    fn size(of: &[usize]) -> Option<Self::Size> {
        extents(of)
    }

    fn counted((n, v): Self::Size) -> Self::Size {
        (n.min(COUNTED), v)
    }

    fn new(dev: &Device, size: Self::Size, dtype: DType) -> Result<Self> {
        Size::new(dev, size, dtype).map(TwoPasses)
    }

    fn shape(&self) -> String {
        format!("N={} V={}", self.0.n, self.0.v)
    }

    fn work(&self) -> Vec<Work> {
        self.0.work()
    }
}

impl TapeOp for TwoPasses {
    const OUTPUTS: &'static [&'static str] = &["loss"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        vec![Operand::activation("logits", values(self.0.n * self.0.v, 1), &[self.0.n, self.0.v])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![cross_entropy(t, v[0], &self.0.on_device, SMOOTHING)?.0])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let (loss, gradient) = self.0.reference(&operands[0], dy[0][0]);
        (vec![vec![loss]], vec![gradient])
    }
}

struct Fused {
    size: Size,
    pristine: Tensor,
    live: Tensor,
    dloss: Tensor,
}

impl Fused {
    fn values(n: usize, v: usize) -> Vec<f32> {
        values(n * v, 1)
    }

    /// The loss, and the gradient that has taken the place of the logits.
    fn pass(&self, dev: &Device) -> Result<(Tensor, Tensor)> {
        dev.copy(&self.live, &self.pristine)?;
        let mut tape = Tape::new(dev, RNG, true).with_dtype(self.size.dtype);
        let x = tape.input(self.live.clone());
        let (loss, _) = cross_entropy_from(&mut tape, x, &self.size.on_device, SMOOTHING, &self.dloss)?;
        let value = tape.value(loss).clone();
        tape.backward_from(loss, self.dloss.clone())?;
        let dx = tape.grad(x).cloned().ok_or_else(|| Error::tape("the logits have no gradient"))?;
        Ok((value, dx))
    }
}

impl Bench for Fused {
    const NAME: &'static str = "cross_entropy";
    const EXTENTS: &'static str = "N x V";
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(70, 301), (5, 96)];
    const MODEL: &'static [Self::Size] = MODEL;
    const WHY: &'static [(&'static str, &'static str)] = WHY;

    fn size(of: &[usize]) -> Option<Self::Size> {
        extents(of)
    }

    fn counted((n, v): Self::Size) -> Self::Size {
        (n.min(COUNTED), v)
    }

    fn new(dev: &Device, (n, v): Self::Size, dtype: DType) -> Result<Self> {
        let (size, pristine) = (Size::new(dev, (n, v), dtype)?, dev.upload_as(&Fused::values(n, v), &[n, v], dtype)?);
        Ok(Fused { size, pristine, live: dev.tensor(&[n, v], dtype)?, dloss: dev.upload(&[DLOSS], &[1])? })
    }

    fn shape(&self) -> String {
        format!("N={} V={}, dloss known", self.size.n, self.size.v)
    }

    fn work(&self) -> Vec<Work> {
        self.size.work()
    }
}

impl Update for Fused {
    fn run(&self, dev: &Device) -> Result<()> {
        self.pass(dev).map(drop)
    }

    fn check(&self, dev: &Device) -> Result<Vec<Figure>> {
        let (loss, dx) = self.pass(dev)?;
        let exact = wide(&Fused::values(self.size.n, self.size.v));
        let of_rounded = wide(&dev.read_wide(&self.pristine)?);
        let [exact, of_rounded] = [exact, of_rounded].map(|logits| self.size.reference(&logits, DLOSS.into()));
        let (loss, dx) = (dev.read::<f32>(&loss)?, dev.read_wide(&dx)?);
        let loss = Figure::of("loss", &loss, &[of_rounded.0], 1e-6);
        Ok(vec![loss, Figure::of_half("dlogits", &dx, [&exact.1, &of_rounded.1], self.size.dtype, (1e-6, 2.0))])
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_tape::<TwoPasses>(), Op::of_update::<Fused>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
