//! Matrix products: cuBLAS on NVIDIA's devices, `softgpu-blas` on the software device.

use softgpu_blas::Matrix;

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

/// Raw operands of a product on the host.
#[derive(Clone, Copy)]
pub(crate) struct HostOperands {
    pub a: *const f32,
    pub b: *const f32,
    pub c: *mut f32,
}

impl HostOperands {
    /// Computes the product described by `g` (whose tensors are not looked at).
    ///
    /// # Safety
    /// The pointers cover the extents in `g`, C overlaps neither A nor B, and nobody else touches them meanwhile.
    pub unsafe fn run(&self, g: &Gemm<'_>) {
        let strides = |transposed: bool, rows: usize, cols: usize| if transposed { (1, rows) } else { (cols, 1) };
        let ((a_row, a_col), (b_row, b_col)) = (strides(g.ta, g.m, g.k), strides(g.tb, g.k, g.n));
        let a = Matrix { data: self.a, row: a_row, col: a_col };
        let b = Matrix { data: self.b, row: b_row, col: b_col };
        let c = Matrix { data: self.c, row: g.n, col: 1 };
        // SAFETY: the caller's promise.
        unsafe { softgpu_blas::sgemm([g.m, g.n, g.k], 1.0, a, b, g.beta, c) };
    }
}
