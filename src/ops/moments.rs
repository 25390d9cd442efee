//! Mean and variance of a tensor, for Admin's profiling. Kernel: `kernels/moments.cu`.

use super::Layout;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "moments";

/// Over all elements; the variance is the population's (divided by their number).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub mean: f64,
    pub var: f64,
}

/// Moments of `scale⊙x`: x `[N, C]` of any float type with at least one row, scale `[C]` f32 or none (1).
/// Errors: `Shape`, `DType`, `Device`.
pub fn moments(dev: &Device, x: &Tensor, scale: Option<&Tensor>) -> Result<Moments> {
    let &[n, c] = x.dims() else { return Err(Error::shape(OP, "x", x.dims(), &[0, 0])) };
    if n == 0 || c == 0 || scale.is_some_and(|s| s.dims() != [c]) {
        return Err(Error::shape(OP, "scale", scale.map_or(&[], |s| s.dims()), &[c]));
    }
    if !x.dtype().is_float() {
        return Err(Error::dtype(OP, "x", x.dtype().suffix(), DType::F32.suffix()));
    }
    if let Some(scale) = scale.filter(|s| s.dtype() != DType::F32) {
        return Err(Error::dtype(OP, "scale", scale.dtype().suffix(), DType::F32.suffix()));
    }
    let (mean, m2) = (dev.tensor(&[n], DType::F32)?, dev.tensor(&[n], DType::F32)?);
    let layout = Layout::new(c, x.dtype());
    let (grid, per_block) = layout.rows(n, 8, 1);
    let list = args![&mean, &m2, x, scale, n, c, layout.packs, per_block];
    // SAFETY: shapes and types are checked; the kernel touches rows < n and columns < c.
    unsafe { dev.launch(by_dtype!("moments", x.dtype()), grid, list) }?;
    let wide = |t: &Tensor| Ok::<_, Error>(dev.read::<f32>(t)?.into_iter().map(f64::from).collect::<Vec<_>>());
    let (mean, m2) = (wide(&mean)?, wide(&m2)?);
    let all = mean.iter().sum::<f64>() / n as f64;
    let between: f64 = mean.iter().map(|m| (m - all).powi(2)).sum();
    Ok(Moments { mean: all, var: (m2.iter().sum::<f64>() + c as f64 * between) / (n * c) as f64 })
}
