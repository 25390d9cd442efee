//! Mean and variance of a tensor, for Admin's profiling. Kernel: `kernels/moments.cu`.

use super::{MOST_WARPS, SPAN};
use crate::args;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "moments";

/// Over all elements; the variance is the population's (divided by their number).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub mean: f64,
    pub var: f64,
}

/// Moments of `scale⊙x`: x `[N, C]` f32 with at least one row, scale `[C]` or none (1). Errors: `Shape`, `Device`.
pub fn moments(dev: &Device, x: &Tensor, scale: Option<&Tensor>) -> Result<Moments> {
    let &[n, c] = x.dims() else { return Err(Error::shape(OP, "x", x.dims(), &[0, 0])) };
    if n == 0 || c == 0 || scale.is_some_and(|s| s.dims() != [c]) {
        return Err(Error::shape(OP, "scale", scale.map_or(&[], |s| s.dims()), &[c]));
    }
    if x.dtype() != DType::F32 {
        return Err(Error::dtype(OP, "x", x.dtype().suffix(), DType::F32.suffix()));
    }
    let warps = c.div_ceil(SPAN);
    if warps > MOST_WARPS {
        return Err(Error::shape(OP, "x", x.dims(), &[n, SPAN * MOST_WARPS]));
    }
    let (mean, m2) = (dev.tensor(&[n], DType::F32)?, dev.tensor(&[n], DType::F32)?);
    let groups = (8 / warps).max(1);
    let grid = Grid::new([n.div_ceil(groups) as u32, 1, 1], [32, warps as u32, groups as u32]);
    // SAFETY: shapes are checked; the kernel touches rows < n and columns < c.
    unsafe { dev.launch("moments_f32", grid, args![&mean, &m2, x, scale, n, c]) }?;
    let wide = |t: &Tensor| Ok::<_, Error>(dev.read::<f32>(t)?.into_iter().map(f64::from).collect::<Vec<_>>());
    let (mean, m2) = (wide(&mean)?, wide(&m2)?);
    let all = mean.iter().sum::<f64>() / n as f64;
    let between: f64 = mean.iter().map(|m| (m - all).powi(2)).sum();
    Ok(Moments { mean: all, var: (m2.iter().sum::<f64>() + c as f64 * between) / (n * c) as f64 })
}
