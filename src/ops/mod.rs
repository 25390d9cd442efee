//! Operations: check → launch → push, each with its backward pass. One file per kernel file, of the same name; the
//! maths stands in the header of `kernels/<op>.cu`.

pub mod attention;
pub mod bias_relu_dropout;
pub mod cross_entropy;
pub mod embed;
pub mod linear;
pub mod loss_scale;
pub mod moments;
pub mod omega_add_layernorm;
pub mod optimizer;

use crate::args;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tape::Slot;
use crate::tensor::{DType, Tensor};

/// Rows that one warp adds up in the first stage of an ordered column sum: `ROWS_PER_PARTIAL` of `common.cuh`.
const ROWS_PER_PARTIAL: usize = 64;

/// A warp per row.
fn rows(n: usize) -> Grid {
    Grid::new([n.div_ceil(4) as u32, 1, 1], [32, 4, 1])
}

/// A warp per 64 rows and 32 columns, or, where 16 bytes of them divide a row, a thread takes these at a time.
fn columns(n: usize, c: usize, dtype: DType) -> Grid {
    let width = if c.is_multiple_of(dtype.per_access()) { 32 * dtype.per_access() } else { 32 };
    Grid::new([c.div_ceil(width) as u32, n.div_ceil(ROWS_PER_PARTIAL) as u32, 1], [32, 1, 1])
}

/// Second stage of a column sum: adds the partial rows `[P, C]` into a gradient `[C]` with the op's own `kernel` for the
/// gradient's type.
fn reduce_partials(dev: &Device, kernel: &'static str, to: &Slot, partials: &Tensor) -> Result<()> {
    let [p, c] = partials.dims()[..] else { unreachable!("partial sums are made with two dimensions") };
    // SAFETY: `to` has C elements, as the op has checked; `partials` has P·C.
    unsafe { dev.launch(kernel, Grid::over(c, 128), args![&to.grad, partials, p, c, to.accumulate]) }
}

/// An error that names the first of `operands` which does not start where an access of 16 bytes may.
fn aligned(op: &'static str, operands: &[(&str, &Tensor)]) -> Result<()> {
    match operands.iter().find(|(_, tensor)| !tensor.ptr().is_multiple_of(16)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::device(format!("{op}: `{name}` does not start at a multiple of 16 bytes"))
            .hint("take a whole parameter, or all of them")),
    }
}
