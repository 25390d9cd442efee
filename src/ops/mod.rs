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
use crate::tensor::Tensor;

/// Rows that one block adds up in the first stage of an ordered column sum: `ROWS_PER_PARTIAL` of `common.cuh`.
const ROWS_PER_PARTIAL: usize = 128;
/// Columns that one warp owns: `SPAN` of `columns.cuh`.
const SPAN: usize = 256;

/// Warps of a block at most, where rows take as many as they have spans: `MOST_WARPS` of `columns.cuh`.
const MOST_WARPS: usize = 12;

/// Four warps per 128 rows and 256 columns.
fn columns(n: usize, c: usize) -> Grid {
    Grid::new([c.div_ceil(SPAN) as u32, n.div_ceil(ROWS_PER_PARTIAL) as u32, 1], [32, 1, 4])
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
