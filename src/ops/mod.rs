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

/// Rows that one block adds up in the first stage of an ordered column sum: `ROWS_PER_PARTIAL` of `common.cuh`.
const ROWS_PER_PARTIAL: usize = 128;
/// Columns that one warp owns: `SPAN` of `columns.cuh`.
const SPAN: usize = 256;

/// Four warps per 128 rows and 256 columns.
fn columns(n: usize, c: usize) -> Grid {
    Grid::new([c.div_ceil(SPAN) as u32, n.div_ceil(ROWS_PER_PARTIAL) as u32, 1], [32, 1, 4])
}

/// How rows that stay in registers lie over the threads of a block; see `kernels/rows.cuh`.
#[derive(Clone, Copy)]
struct Layout {
    /// 16-byte accesses of a lane per row; 0 for widths whose rows do not stay in registers.
    packs: usize,
    /// Elements of one.
    pack: usize,
    /// Warps that share a row.
    warps: usize,
}

impl Layout {
    /// Of the widest row that stays in registers, and of a lane.
    const MOST_COLUMNS: usize = 2048;
    const LANE_COLUMNS: usize = 16;

    fn new(c: usize, dtype: DType) -> Layout {
        let pack = dtype.per_access();
        if !c.is_multiple_of(pack) || c > Layout::MOST_COLUMNS {
            return Layout { packs: 0, pack: 1, warps: 1 };
        }
        let mut packs = 1;
        while packs * pack < Layout::LANE_COLUMNS && 32 * packs * pack < c {
            packs *= 2;
        }
        let warps = c.div_ceil(32 * packs * pack).max(1);
        Layout { packs, pack, warps }
    }

    /// Columns that the warps of a row have room for.
    fn columns(self) -> usize {
        32 * self.warps * self.packs * self.pack
    }

    /// Words of keep bits per row: a byte or two for each lane, or a bit per column in order.
    fn keep_words(self, c: usize) -> usize {
        if self.packs == 0 { c.div_ceil(32) } else { 8 * self.warps * (self.packs * self.pack).div_ceil(8) }
    }

    /// Rows under way at once in a block of at most `warps`: a power of two.
    fn groups(self, warps: usize) -> usize {
        1 << (warps / self.warps).max(1).ilog2()
    }

    fn grid(self, n: usize, groups: usize, per_block: usize, shared: usize) -> Grid {
        let block = [32, self.warps as u32, groups as u32];
        Grid { shared: shared as u32, ..Grid::new([n.div_ceil(per_block) as u32, 1, 1], block) }
    }

    /// The grid, and the rows of a block, of a pass that leaves no sums over rows, has at most so many warps a block and
    /// keeps so many vectors in shared memory: 64 rows, so that four f32 vectors are 4 % of the traffic of 2-byte operands,
    /// or as many as make 64 blocks.
    fn rows(self, n: usize, warps: usize, vectors: usize) -> (Grid, usize) {
        let groups = self.groups(warps);
        let per_block = groups * (n / 64 / groups).clamp(1, 64 / groups);
        (self.grid(n, groups, per_block, 4 * vectors * self.columns()), per_block)
    }
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
