//! Adam and RAdam over flat buffers. Kernel: `kernels/optimizer.cu`.

use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "optimizer";

/// Settings of Adam and RAdam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
}

/// What update number t (from 1) multiplies by: `step` of the kernel, or none where RAdam does not adapt yet.
pub fn adam_step(betas: (f64, f64), lr: f64, t: u64) -> Option<f64> {
    let t = t as f64;
    Some(lr * (1.0 - betas.1.powf(t)).sqrt() / (1.0 - betas.0.powf(t)))
}

/// As [`adam_step`], rectified: Liu et al. 2020, arXiv:1908.03265, algorithm 2; none while the variance is intractable
/// (fewer than 5 degrees of freedom), when the original leaves the parameters alone but for weight decay.
pub fn radam_step(betas: (f64, f64), lr: f64, t: u64) -> Option<f64> {
    let (t, (b1, b2)) = (t as f64, betas);
    let most = 2.0 / (1.0 - b2) - 1.0;
    let n = most - 2.0 * t * b2.powf(t) / (1.0 - b2.powf(t));
    let rectify = (1.0 - b2.powf(t)) * (n - 4.0) / (most - 4.0) * (n - 2.0) / n * most / (most - 2.0);
    (n >= 5.0).then(|| lr * rectify.sqrt() / (1.0 - b1.powf(t)))
}

/// The flat buffers of one range of parameters, `[n]` f32 each.
pub struct Flat<'a> {
    pub parameters: &'a Tensor,
    pub gradients: &'a Tensor,
    pub m: &'a Tensor,
    pub v: &'a Tensor,
}

/// One update; `step` from [`adam_step`] or [`radam_step`], `state` from `loss_scale`. A gradient that is not finite
/// changes nothing. Errors: `Shape` names the operand; `Device`.
pub fn optimizer(dev: &Device, flat: &Flat, state: &Tensor, adam: &Adam, lr: f64, step: Option<f64>) -> Result<()> {
    let n = flat.parameters.numel();
    for (name, t) in [("gradients", flat.gradients), ("m", flat.m), ("v", flat.v)] {
        if t.numel() != n {
            return Err(Error::shape(OP, name, t.dims(), &[n]));
        }
    }
    if state.dims() != [3] {
        return Err(Error::shape(OP, "state", state.dims(), &[3]));
    }
    let (b1, b2) = adam.betas;
    #[rustfmt::skip]
    let list = args![
        flat.parameters, flat.gradients, flat.m, flat.v, state, n as u64, b1 as f32, b2 as f32, (1.0 - b1) as f32,
        (1.0 - b2) as f32, adam.eps as f32, step.unwrap_or(0.0) as f32, (adam.weight_decay * lr) as f32, step.is_some(),
    ];
    // SAFETY: all buffers have n entries, as checked.
    unsafe { dev.launch("optimizer_adam_f32", Grid::over(n, 256), list) }
}

/// Parameters per thread: `QUAD` of the kernel.
const QUAD: usize = 4;

/// Writes `copy` `[n]`, f16 or bf16, from `values` `[n]` f32, each rounded to nearest even: what the optimiser does from
/// then on. Any shapes of as many elements; both start at a multiple of 16 bytes. Errors: `Shape`, `DType`, `Device`.
pub fn round_copy(dev: &Device, values: &Tensor, copy: &Tensor) -> Result<()> {
    let n = values.numel();
    if copy.numel() != n {
        return Err(Error::shape(OP, "copy", copy.dims(), values.dims()));
    }
    if !matches!(copy.dtype(), DType::F16 | DType::BF16) {
        return Err(Error::dtype(OP, "copy", copy.dtype().suffix(), "f16 or bf16"));
    }
    if values.dtype() != DType::F32 {
        return Err(Error::dtype(OP, "values", values.dtype().suffix(), "f32"));
    }
    aligned("copy", copy)?;
    aligned("values", values)?;
    let grid = Grid::over(n.div_ceil(QUAD), 256);
    // SAFETY: both buffers have n entries, as checked; the kernel exists for the two types.
    unsafe { dev.launch(by_dtype!("optimizer_round", copy.dtype()), grid, args![copy, values, n as u64]) }
}

/// An error unless `t` starts where an access of 16 bytes may.
fn aligned(name: &str, t: &Tensor) -> Result<()> {
    if t.ptr().is_multiple_of(16) {
        return Ok(());
    }
    Err(Error::device(format!("{OP}: `{name}` does not start at a multiple of 16 bytes"))
        .hint("take a whole parameter, or all of them"))
}
