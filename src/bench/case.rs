//! One op at one size and type, and how close it comes to its reference.

use crate::device::Device;
use crate::error::Result;
use crate::rng::{RngState, Stream};
use crate::tensor::{DType, Tensor};

/// Of every tape, and so of every reference with dropout.
pub const RNG: RngState = RngState { seed: 0x0123_4567_89ab_cdef, step: 3 };

/// Bytes written between two runs on a GPU, more than any of them caches.
const FLUSH_BYTES: usize = 256 << 20;

/// What a kernel has to do, by the formula in its header.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Its name without the type: `embed_fwd`.
    pub kernel: &'static str,
    /// That must move to or from memory.
    pub bytes: usize,
    pub elements: usize,
    /// Why it moves more than that at this size, if it does.
    pub why: Option<&'static str>,
}

impl Work {
    pub fn new(kernel: &'static str, bytes: usize, elements: usize) -> Work {
        Work { kernel, bytes, elements, why: None }
    }

    pub fn because(self, why: &'static str) -> Work {
        Work { why: Some(why), ..self }
    }
}

/// One op at one size and type.
pub trait Case {
    fn shape(&self) -> String;
    fn work(&self) -> Vec<Work>;
    /// Runs the op and compares it with the reference.
    fn check(&mut self, dev: &Device) -> Result<Vec<Figure>>;
    /// Runs the op, forward and backward.
    fn run(&mut self, dev: &Device) -> Result<()>;
}

/// `len` numbers that look normal. Large operands repeat a prime number of them: drawing each would take longer than
/// the bench.
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, 0);
    let drawn: Vec<f32> = (0..len.min(65_537)).map(|_| stream.normal() as f32).collect();
    drawn.iter().copied().cycle().take(len).collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// `values` as `dtype` holds them, rounded to nearest even.
pub fn rounded(values: &[f64], dtype: DType) -> Vec<f64> {
    values.iter().map(|v| dtype.round(*v)).collect()
}

/// max |got − want| / max |want|; infinite where anything is NaN.
fn error_of_maximum(got: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(1e-30_f64, |m, w| m.max(w.abs()));
    let errors = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).abs());
    errors.fold(0.0_f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / largest
}

/// The largest bound that makes a check; with one near 1 anything would pass, as operands lie where rounding them changes the
/// result as a whole. Measured: 1.6e-2, attention in bf16.
const MOST_BOUND: f64 = 0.05;

/// One figure of the check: how far `name` is from the reference, relative to its largest entry.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    pub error: f64,
    pub bound: f64,
}

impl Figure {
    pub fn of(name: impl Into<String>, got: &[f32], want: &[f64], bound: f64) -> Figure {
        let error = if got.len() == want.len() { error_of_maximum(got, want) } else { f64::INFINITY };
        Figure { name: name.into(), error, bound }
    }

    /// For a 2-byte type: at most `times` the error of rounding inputs and output once, given the references of the inputs
    /// as they were and as `dtype` holds them; or, for what is f32 all the same, within `bound` of the latter. Infinitely
    /// far where that says nothing.
    pub fn of_half(
        name: impl Into<String>,
        got: &[f32],
        [exact, of_rounded]: [&[f64]; 2],
        dtype: DType,
        (bound, times): (f64, f64),
    ) -> Figure {
        let close = Figure::of(name, got, of_rounded, bound);
        if close.passes() || got.len() != exact.len() {
            return close;
        }
        let once: Vec<f32> = rounded(of_rounded, dtype).iter().map(|v| *v as f32).collect();
        let bound = times * error_of_maximum(&once, exact);
        let error = if bound > MOST_BOUND { f64::INFINITY } else { error_of_maximum(got, exact) };
        Figure { error, bound, ..close }
    }

    pub fn passes(&self) -> bool {
        self.error <= self.bound
    }
}

/// Overwrites a GPU's caches, so that no run finds its operands there; nothing on softgpu, whose times say nothing.
#[derive(Clone)]
pub struct Flush(Option<Tensor>);

impl Flush {
    pub fn new(dev: &Device) -> Result<Flush> {
        dev.is_gpu().then(|| dev.tensor(&[FLUSH_BYTES / 4], DType::F32)).transpose().map(Flush)
    }

    pub fn run(&self, dev: &Device) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |tensor| dev.zero(tensor))
    }
}
