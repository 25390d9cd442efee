//! Matrix products: cuBLAS on NVIDIA's devices, `softgpu-blas` on the software device.

use softgpu_blas::{Matrix, Type};

use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// `C = op(A)·op(B) + beta·C`, all row-major and contiguous: op(A) is `[m, k]`, op(B) `[k, n]`, C `[m, n]`;
/// `ta` and `tb` say that A is stored as `[k, m]`, B as `[n, k]`. All of one type, or f16 or bf16 with C in f32. Sums are
/// in f32 always, and a result is rounded once.
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
            if tensor.numel() != extents[0] * extents[1] {
                return Err(Error::shape("gemm", operand, tensor.dims(), &extents));
            }
        }
        let dtype = self.a.dtype();
        let wrong = |operand, t: &Tensor| Err(Error::dtype("gemm", operand, t.dtype().suffix(), dtype.suffix()));
        match (dtype.is_float(), self.b.dtype() == dtype, self.c.dtype() == dtype || self.c.dtype() == DType::F32) {
            (false, ..) => wrong("a", self.a),
            (_, false, _) => wrong("b", self.b),
            (.., false) => wrong("c", self.c),
            _ => Ok(()),
        }
    }
}

/// Raw operands of a product on the host.
#[derive(Clone, Copy)]
pub(crate) struct HostOperands {
    pub a: *const u8,
    pub b: *const u8,
    pub c: *mut u8,
}

fn blas_type(dtype: DType) -> Type {
    match dtype {
        DType::F16 => Type::F16,
        DType::BF16 => Type::Bf16,
        DType::F32 | DType::I32 => Type::F32, // `Gemm::check` refuses integers
    }
}

impl HostOperands {
    /// Computes the product described by `g`, of whose tensors only the types are looked at.
    ///
    /// # Safety
    /// The pointers cover the extents in `g`, C overlaps neither A nor B, and nobody else touches them meanwhile.
    pub unsafe fn run(&self, g: &Gemm<'_>) {
        let strides = |transposed: bool, rows: usize, cols: usize| if transposed { (1, rows) } else { (cols, 1) };
        let ((a_row, a_col), (b_row, b_col)) = (strides(g.ta, g.m, g.k), strides(g.tb, g.k, g.n));
        let a = Matrix { data: self.a, row: a_row, col: a_col };
        let b = Matrix { data: self.b, row: b_row, col: b_col };
        let c = Matrix { data: self.c, row: g.n, col: 1 };
        let (a, b) = ((blas_type(g.a.dtype()), a), (blas_type(g.b.dtype()), b));
        // SAFETY: the caller's promise.
        unsafe { softgpu_blas::gemm([g.m, g.n, g.k], 1.0, a, b, g.beta, (blas_type(g.c.dtype()), c)) };
    }
}
