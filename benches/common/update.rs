//! Benches of ops without a gradient: what happens between the backward pass and the next step.

use std::process::ExitCode;

use omega::device::Device;
use omega::error::Result;
use omega::tensor::DType;

use super::{Figure, Flush, Line, Repeats, bench};

/// One op at one size.
pub trait Update: Sized {
    const NAME: &'static str;
    type Size: Copy;

    fn new(dev: &Device, size: Self::Size) -> Result<Self>;
    /// Of the gradients.
    fn dtype(&self) -> DType {
        DType::F32
    }
    fn shape(&self) -> String;
    fn run(&self, dev: &Device) -> Result<()>;
    /// Runs the op and compares it with the reference.
    fn check(&self, dev: &Device) -> Result<Vec<Figure>>;
    /// By the formula in the kernel's header.
    fn bytes(&self) -> usize;
}

fn check<T: Update>(dev: &Device, size: T::Size) -> Result<(String, Vec<Figure>)> {
    let op = T::new(dev, size)?;
    Ok((op.shape(), op.check(dev)?))
}

fn time<T: Update>(dev: &Device, size: T::Size, repeats: Repeats) -> Result<Vec<Line>> {
    let (op, flush) = (T::new(dev, size)?, Flush::new(dev)?);
    let [ms] = repeats.median(|| {
        flush.run(dev)?;
        dev.synchronize()?;
        let start = dev.event()?;
        op.run(dev)?;
        let end = dev.event()?;
        Ok([dev.elapsed_ms(&start, &end)?])
    })?;
    Ok(vec![Line { pass: "update", dtype: op.dtype(), shape: op.shape(), ms, bytes: op.bytes() }])
}

/// The main function of a bench: checked at `odd`, timed at `sizes`.
pub fn run<T: Update>(odd: &[T::Size], sizes: &[T::Size]) -> ExitCode {
    bench(T::NAME, odd, sizes, check::<T>, time::<T>)
}
