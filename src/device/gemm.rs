//! Matrix products: cuBLAS on NVIDIA's devices, the `gemm` crate on the software device.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// `C = op(A)·op(B) + beta·C`, all row-major and contiguous: op(A) is `[m, k]`, op(B) `[k, n]`, C `[m, n]`;
/// `ta` and `tb` say that A is stored as `[k, m]`, B as `[n, k]`.
#[derive(Clone, Copy)]
pub struct Gemm<'a> {
    pub a: &'a Tensor,
    pub b: &'a Tensor,
    pub c: &'a Tensor,
    pub ta: bool,
    pub tb: bool,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// 0 writes C, 1 adds to it.
    pub beta: f32,
}

impl Gemm<'_> {
    /// An error unless each operand holds what the extents say.
    pub fn check(&self) -> Result<()> {
        let (m, n, k) = (self.m, self.n, self.k);
        let operands = [("a", self.a, [m, k]), ("b", self.b, [k, n]), ("c", self.c, [m, n])];
        for (operand, tensor, extents) in operands {
            if tensor.numel() != extents[0] * extents[1] || tensor.dtype() != DType::F32 {
                return Err(Error::shape("gemm", operand, tensor.dims(), &extents));
            }
        }
        Ok(())
    }
}

/// Rows of C that one task computes. A constant: the split, and so every bit of the result, is the same for any
/// number of threads.
const TASK_ROWS: usize = 256;

/// Raw operands of a product on the host.
#[derive(Clone, Copy)]
pub(crate) struct HostOperands {
    pub a: *const f32,
    pub b: *const f32,
    pub c: *mut f32,
}

// SAFETY: the tasks of one product read A and B and write disjoint parts of C.
unsafe impl Sync for HostOperands {}

impl HostOperands {
    /// Computes the product described by `g` (whose tensors are not looked at).
    ///
    /// # Safety
    /// The pointers cover the extents in `g`, C overlaps neither A nor B, and nobody else touches them meanwhile.
    pub unsafe fn run(&self, g: &Gemm<'_>) {
        let (m, n) = (g.m, g.n);
        // Tasks go along the longer side of C, so that weight gradients (small m, large k) are split as well.
        let along_rows = m >= n;
        let extent = if along_rows { m } else { n };
        let task = TASK_ROWS.min(extent.div_ceil(2).next_multiple_of(16)).max(16);
        (0..extent.div_ceil(task)).into_par_iter().for_each(|index| {
            let start = index * task;
            let len = task.min(extent - start);
            let (rows, cols) = if along_rows { ((start, len), (0, n)) } else { ((0, m), (start, len)) };
            // SAFETY: the caller's promise; tasks cover disjoint rows or columns of C.
            unsafe { self.task(g, rows, cols) };
        });
    }

    /// Rows `rows.0 .. rows.0 + rows.1` and columns likewise of C.
    unsafe fn task(&self, g: &Gemm<'_>, rows: (usize, usize), cols: (usize, usize)) {
        // Strides between neighbours along (rows, columns) of op(A) and op(B).
        let (a_row, a_col) = if g.ta { (1, g.m) } else { (g.k, 1) };
        let (b_row, b_col) = if g.tb { (1, g.k) } else { (g.n, 1) };
        // SAFETY: offsets stay within the operands by the extents in `g`.
        unsafe {
            gemm::gemm(
                rows.1,
                cols.1,
                g.k,
                self.c.add(rows.0 * g.n + cols.0),
                1,
                g.n as isize,
                g.beta != 0.0,
                self.a.add(rows.0 * a_row),
                a_col as isize,
                a_row as isize,
                self.b.add(cols.0 * b_col),
                b_col as isize,
                b_row as isize,
                g.beta,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}
