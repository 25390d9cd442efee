//! Gradient norm, clipping and finiteness, on the device. Kernels: `kernels/loss_scale.cu`.

use crate::args;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

const OP: &str = "loss_scale";
/// Gradients per warp: `PER_WARP` of the kernel.
const PER_WARP: usize = 4096;

/// Writes `state` `[3]` f32 = (norm, factor, finite) for the flat gradient `[n]` f32: norm = unscale·‖g‖₂, and factor
/// is what the optimiser multiplies gradients by: unscale, and less where norm exceeds `clip` (0: no clipping).
/// Errors: `Shape` names the operand; `Device`.
pub fn loss_scale(dev: &Device, gradient: &Tensor, unscale: f32, clip: f32, state: &Tensor) -> Result<()> {
    if state.dims() != [3] {
        return Err(Error::shape(OP, "state", state.dims(), &[3]));
    }
    let (n, p) = (gradient.numel(), gradient.numel().div_ceil(PER_WARP));
    let partials = dev.tensor(&[p], DType::F32)?;
    let grid = Grid::new([p.div_ceil(4) as u32, 1, 1], [32, 4, 1]);
    // SAFETY: the warps read below n and write one partial sum each.
    unsafe { dev.launch("loss_scale_norm_f32", grid, args![&partials, gradient, n as u64, p]) }?;
    let list = args![state, &partials, p, unscale, clip];
    // SAFETY: p partial sums, three entries of state.
    unsafe { dev.launch("loss_scale_factor", Grid::new([1; 3], [32, 1, 1]), list) }
}
