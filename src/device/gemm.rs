//! Matrix products: cuBLAS on NVIDIA's devices, `softgpu-blas` on the software device; and what a product may do besides.

use softgpu_blas::{Matrix, Relu, Type};

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
    /// For a table of times: T rows vary from batch to batch; the name says what stays.
    pub(crate) fn name(&self) -> String {
        match (self.ta, self.tb) {
            (true, _) => format!("gemm [{}, T]·[T, {}]", self.m, self.n),
            _ => format!("gemm [T, {}]·[{}, {}]", self.k, self.k, self.n),
        }
    }

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

/// What can be done to a product's sums before they are rounded and written, and so costs no pass of its own over C (or, for
/// [`Epilogue::BiasGrad`], over A). A mask has a bit for each element of C, in a layout that is the device's own; it comes
/// from [`super::Device::relu_mask`].
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// `C = A·B + b`: b `[n]`.
    Bias { b: &'a Tensor },
    /// `C = max(A·B + b, 0)`: b `[n]`; writes into `mask` which elements are above 0.
    BiasRelu { b: &'a Tensor, mask: &'a Tensor },
    /// `C = A·B` where `mask` says so, else 0; `db (+)= Σ_m C`: db `[n]`.
    ReluGrad { mask: &'a Tensor, db: &'a Tensor, accumulate: bool },
    /// `C = A·B`, and `db (+)= Σ_k A`: db `[m]`. In a weight gradient `dW = dyᵀ·x` that is the bias' gradient.
    BiasGrad { db: &'a Tensor, accumulate: bool },
}

/// Bits of a mask come in lines of a multiple of this many: cublasLt asks for that.
const MASK_BITS: usize = 128;
/// Addresses and rows of what a product with an epilogue reads and writes are multiples of this many bytes.
pub(crate) const FUSED_ALIGN: usize = 16;

/// Bits between the rows of the mask of a C with `n` columns.
pub(crate) fn mask_stride(n: usize) -> usize {
    n.next_multiple_of(MASK_BITS)
}

/// Shape of the mask, in words of 32 bits, of a C with `m` rows and `n` columns.
pub(crate) fn mask_shape(m: usize, n: usize) -> [usize; 2] {
    [m, mask_stride(n) / 32]
}

impl<'a> Epilogue<'a> {
    /// A bias, or its gradient, and its length.
    pub(crate) fn vector(&self, g: &Gemm<'_>) -> (&'a Tensor, usize) {
        match *self {
            Epilogue::Bias { b } | Epilogue::BiasRelu { b, .. } => (b, g.n),
            Epilogue::ReluGrad { db, .. } => (db, g.n),
            Epilogue::BiasGrad { db, .. } => (db, g.m),
        }
    }

    pub(crate) fn mask(&self) -> Option<&'a Tensor> {
        match *self {
            Epilogue::BiasRelu { mask, .. } | Epilogue::ReluGrad { mask, .. } => Some(mask),
            Epilogue::Bias { .. } | Epilogue::BiasGrad { .. } => None,
        }
    }

    /// A word for a table of times.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Epilogue::Bias { .. } => "bias",
            Epilogue::BiasRelu { .. } => "bias, relu",
            Epilogue::ReluGrad { .. } => "relu', db",
            Epilogue::BiasGrad { .. } => "db",
        }
    }

    /// An error unless each operand holds what the extents of `g`, which is in order, say.
    pub(crate) fn check(&self, g: &Gemm<'_>) -> Result<()> {
        let (vector, length) = self.vector(g);
        if vector.numel() != length {
            return Err(Error::shape("gemm", "b", vector.dims(), &[length]));
        }
        match self.mask() {
            Some(mask) if mask.dims() != mask_shape(g.m, g.n) => {
                Err(Error::shape("gemm", "mask", mask.dims(), &mask_shape(g.m, g.n)))
            }
            _ => Ok(()),
        }
    }

    /// Whether shapes, types and addresses are such that a GPU's library takes this at all: everything of one type, rows
    /// and addresses multiples of 16 bytes, nothing empty; sums that C would be added to only where C is not changed.
    pub(crate) fn fits(&self, g: &Gemm<'_>) -> bool {
        let (vector, _) = self.vector(g);
        let size = g.c.dtype().size();
        let rows = [if g.ta { g.m } else { g.k }, if g.tb { g.k } else { g.n }, g.n];
        let one_type = [g.a, g.b, vector].iter().all(|t| t.dtype() == g.c.dtype());
        let operands = [Some(g.a), Some(g.b), Some(g.c), Some(vector), self.mask()];
        let aligned = operands.into_iter().flatten().all(|t| t.ptr().is_multiple_of(FUSED_ALIGN as u64));
        let plain_sum = g.beta == 0.0 || matches!(self, Epilogue::BiasGrad { .. });
        let whole = rows.iter().all(|row| (row * size).is_multiple_of(FUSED_ALIGN));
        one_type && aligned && plain_sum && whole && ![g.m, g.n, g.k].contains(&0)
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

/// A vector and a mask of an epilogue on the host; without a mask, null.
#[derive(Clone, Copy)]
pub(crate) struct HostExtras {
    pub vector: *mut u8,
    pub mask: *mut u8,
}

impl HostOperands {
    /// Computes the product described by `g`, of whose tensors only the types are looked at.
    ///
    /// # Safety
    /// The pointers cover the extents in `g`, C overlaps neither A nor B, and nobody else touches them meanwhile.
    pub unsafe fn run(&self, g: &Gemm<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self.product(g, &softgpu_blas::Epilogue::default(), |_| ()) }
    }

    /// As [`HostOperands::run`], with an epilogue: what cublasLt does on a GPU, gradients of biases rounded before they
    /// are added.
    ///
    /// # Safety
    /// As there; `extras` covers what `e` has passed [`Epilogue::check`] with.
    pub unsafe fn run_with(&self, g: &Gemm<'_>, e: &Epilogue<'_>, extras: HostExtras) {
        let ((vector, length), ty) = (e.vector(g), blas_type(g.c.dtype()));
        let at = Matrix { data: extras.vector, row: length, col: 1 };
        let mask = softgpu_blas::Mask { data: extras.mask, stride: mask_stride(g.n) };
        debug_assert!(vector.dtype() == g.c.dtype());
        // SAFETY: the caller's promise.
        unsafe {
            let bias = || softgpu_blas::by_rows(ty, at, [1, length]);
            let put = |sums: &[f32], add| softgpu_blas::put_vector(ty, extras.vector, sums, add);
            let after = |bias, relu| softgpu_blas::Epilogue { bias, relu };
            match *e {
                Epilogue::Bias { .. } => self.product(g, &after(Some(&bias()), Relu::None), |_| ()),
                Epilogue::BiasRelu { .. } => self.product(g, &after(Some(&bias()), Relu::Keep(mask)), |_| ()),
                Epilogue::ReluGrad { accumulate, .. } => self.product(g, &after(None, Relu::Gradient(mask)), |sums| {
                    put(&softgpu_blas::sums_of_columns(sums, g.n), accumulate);
                }),
                Epilogue::BiasGrad { accumulate, .. } => {
                    self.product(g, &after(None, Relu::None), |_| ());
                    let (row, col) = if g.ta { (g.m, 1) } else { (1, g.k) };
                    let a = Matrix { data: self.a, row, col };
                    put(&softgpu_blas::sums_of_columns_of(ty, a, [g.k, g.m]), accumulate);
                }
            }
        }
    }

    /// # Safety
    /// As [`HostOperands::run`].
    unsafe fn product(&self, g: &Gemm<'_>, after: &softgpu_blas::Epilogue<'_>, see: impl FnOnce(&[f32])) {
        let strides = |transposed: bool, rows: usize, cols: usize| if transposed { (1, rows) } else { (cols, 1) };
        let ((a_row, a_col), (b_row, b_col)) = (strides(g.ta, g.m, g.k), strides(g.tb, g.k, g.n));
        let a = Matrix { data: self.a, row: a_row, col: a_col };
        let b = Matrix { data: self.b, row: b_row, col: b_col };
        let c = Matrix { data: self.c, row: g.n, col: 1 };
        let (a, b) = ((blas_type(g.a.dtype()), a), (blas_type(g.b.dtype()), b));
        let c = (blas_type(g.c.dtype()), c);
        // SAFETY: the caller's promise.
        unsafe { softgpu_blas::gemm_with([g.m, g.n, g.k], 1.0, a, b, g.beta, c, after, see) };
    }
}
