//! Products with an epilogue, through cublasLt: `D = epilogue(op(A)·op(B) + beta·D)` in one kernel.
//!
//! What the library is asked for, from the comments of `cublasLt.h`: sums in f32 (CUBLAS_COMPUTE_32F, so f32 is not rounded to
//! TF32); a bias, and a bias' gradient, of D's type; a ReLU mask with a bit per element, its columns a multiple of 128 bits
//! apart. It answers with an algorithm or with none; then the caller takes the plain path.
//!
//! The algorithm is chosen once per product (shape, layout, type, epilogue) and process, for 16-byte alignment whatever the
//! addresses are: the same product gives the same bits wherever its operands lie. Split-K sums are allowed only through the
//! workspace in f32: "in place" and "output type" would add them in D's type.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::result as lt;
use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::sys::{self, cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulPreferenceAttributes_t};

use super::gemm::{Epilogue, FUSED_ALIGN, Gemm, mask_stride};
use crate::error::{Error, Result};
use crate::tensor::DType;

/// What NVIDIA recommends as cuBLAS' workspace, from Hopper on and before.
pub(crate) const WORKSPACE_HOPPER: usize = 32 << 20;
pub(crate) const WORKSPACE: usize = 4 << 20;

/// Decides the algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    epilogue: sys::cublasLtEpilogue_t,
    dtype: DType,
    transposed: [bool; 2],
    extents: [usize; 3],
}

impl Key {
    fn of(g: &Gemm<'_>, e: &Epilogue<'_>) -> Key {
        use sys::cublasLtEpilogue_t::*;
        let epilogue = match e {
            Epilogue::Bias { .. } => CUBLASLT_EPILOGUE_BIAS,
            Epilogue::BiasRelu { .. } => CUBLASLT_EPILOGUE_RELU_AUX_BIAS,
            Epilogue::ReluGrad { .. } => CUBLASLT_EPILOGUE_DRELU_BGRAD,
            // Our A is the library's B: it computes the transposed product.
            Epilogue::BiasGrad { .. } => CUBLASLT_EPILOGUE_BGRADB,
        };
        Key { epilogue, dtype: g.c.dtype(), transposed: [g.ta, g.tb], extents: [g.m, g.n, g.k] }
    }

    fn has_mask(&self) -> bool {
        use sys::cublasLtEpilogue_t::{CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_RELU_AUX_BIAS};
        [CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_RELU_AUX_BIAS].contains(&self.epilogue)
    }
}

/// The library's descriptors of a product, and its algorithm for it.
struct Plan {
    product: Descriptor,
    /// Of the library's A (our B), B (our A) and D.
    layouts: [Layout; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

struct Descriptor(sys::cublasLtMatmulDesc_t);

impl Descriptor {
    fn set<T>(&self, attribute: Attribute, value: T) -> std::result::Result<(), CublasError> {
        // SAFETY: the descriptor is alive, and the value is copied.
        unsafe { lt::set_matmul_desc_attribute(self.0, attribute, (&raw const value).cast(), size_of::<T>()) }
    }

    /// Addresses of the bias (or its gradient) and of the mask.
    fn point(&self, vector: u64, mask: Option<u64>) -> std::result::Result<(), CublasError> {
        self.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector)?;
        mask.map_or(Ok(()), |mask| self.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, mask))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: created once and destroyed once. The library copies descriptors at each call.
        let destroyed = unsafe { lt::destroy_matmul_desc(self.0) };
        debug_assert!(destroyed.is_ok());
    }
}

struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// A contiguous column-major matrix.
    fn new(ty: sys::cudaDataType, rows: usize, cols: usize) -> std::result::Result<Layout, CublasError> {
        lt::create_matrix_layout(ty, rows as u64, cols as u64, rows as i64).map(Layout)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: as for descriptors.
        let destroyed = unsafe { lt::destroy_matrix_layout(self.0) };
        debug_assert!(destroyed.is_ok());
    }
}

struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new(workspace: usize) -> std::result::Result<Preference, CublasError> {
        use cublasLtMatmulPreferenceAttributes_t::*;
        let preference = Preference(lt::create_matmul_pref()?);
        let set = |attribute, value: *const c_void, bytes: usize| {
            // SAFETY: the preference is alive, and the value is copied.
            unsafe { lt::set_matmul_pref_attribute(preference.0, attribute, value, bytes) }
        };
        set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const workspace).cast(), size_of::<usize>())?;
        let schemes = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE as u32;
        set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, (&raw const schemes).cast(), size_of::<u32>())?;
        let align = FUSED_ALIGN as u32;
        for operand in [
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            set(operand, (&raw const align).cast(), size_of::<u32>())?;
        }
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: as for descriptors.
        let destroyed = unsafe { lt::destroy_matmul_pref(self.0) };
        debug_assert!(destroyed.is_ok());
    }
}

fn cuda_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::F16 => sys::cudaDataType::CUDA_R_16F,
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        DType::F32 | DType::I32 => sys::cudaDataType::CUDA_R_32F, // `Gemm::check` refuses integers
    }
}

/// cublasLt with the algorithms it has chosen. None for a product that it does not do.
pub(crate) struct Lt {
    handle: sys::cublasLtHandle_t,
    workspace_bytes: usize,
    plans: Mutex<HashMap<Key, Option<Plan>>>,
}

impl Lt {
    /// None where the library is missing or will not start: every product takes the plain path then. The context is current.
    pub fn open(workspace_bytes: usize) -> Option<Lt> {
        if !is_present() {
            return None;
        }
        let handle = lt::create_handle().ok()?;
        Some(Lt { handle, workspace_bytes, plans: Mutex::default() })
    }

    /// Whether the library has an algorithm for `g` with `e`, which fits.
    pub fn does(&self, g: &Gemm<'_>, e: &Epilogue<'_>) -> bool {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::of(g, e);
        // A refusal of any kind means that there is no algorithm: the plain path says what is wrong with a device.
        plans.entry(key).or_insert_with(|| self.plan(key).ok()).is_some()
    }

    fn plan(&self, key: Key) -> std::result::Result<Plan, CublasError> {
        use cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        let ([ta, tb], [m, n, k], ty) = (key.transposed, key.extents, cuda_type(key.dtype));
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        let product = Descriptor(lt::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?);
        let op = |transposed: bool| if transposed { CUBLAS_OP_T } else { CUBLAS_OP_N };
        product.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, op(tb))?;
        product.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, op(ta))?;
        product.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, key.epilogue)?;
        product.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, ty)?;
        if key.has_mask() {
            product.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, mask_stride(n) as i64)?;
        }
        // Not followed here, but the library takes the alignment from them.
        let anywhere = FUSED_ALIGN as u64;
        product.point(anywhere, key.has_mask().then_some(anywhere))?;
        // Row-major [r, c] is column-major [c, r].
        let (a, b) = (if ta { [k, m] } else { [m, k] }, if tb { [n, k] } else { [k, n] });
        let layouts = [Layout::new(ty, b[1], b[0])?, Layout::new(ty, a[1], a[0])?, Layout::new(ty, n, m)?];
        let preference = Preference::new(self.workspace_bytes)?;
        let [left, right, d] = [&layouts[0], &layouts[1], &layouts[2]].map(|layout| layout.0);
        // SAFETY: all descriptors are alive.
        let found = unsafe { lt::get_matmul_algo_heuristic(self.handle, product.0, left, right, d, d, preference.0) }?;
        Ok(Plan { product, layouts, algorithm: found.algo })
    }

    /// The product with its epilogue, in `stream`; a bias' gradient is written to `vector`. For what [`Lt::does`].
    ///
    /// # Safety
    /// `Gemm::check` and `Epilogue::check` have passed; `vector` has the epilogue's vector's size; the workspace has as
    /// many bytes as was said, and nothing in another stream uses it.
    pub unsafe fn run(
        &self,
        g: &Gemm<'_>,
        e: &Epilogue<'_>,
        vector: u64,
        workspace: u64,
        stream: sys::cudaStream_t,
    ) -> Result<()> {
        let failed = |error: CublasError| {
            let (m, n, k) = (g.m, g.n, g.k);
            Error::device(format!("gemm [{m}, {k}]·[{k}, {n}] with {}: {error:?}", e.name()))
        };
        let plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Some(plan)) = plans.get(&Key::of(g, e)) else {
            return Err(failed(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)));
        };
        plan.product.point(vector, e.mask().map(|mask| mask.ptr())).map_err(failed)?;
        let (alpha, beta) = (1.0f32, g.beta);
        let [left, right, d] = [&plan.layouts[0], &plan.layouts[1], &plan.layouts[2]].map(|layout| layout.0);
        let (b, a, c) = (g.b.ptr() as *const c_void, g.a.ptr() as *const c_void, g.c.ptr() as *mut c_void);
        // SAFETY: the caller's promise; alpha and beta are host scalars, read before return.
        unsafe {
            #[rustfmt::skip]
            let done = lt::matmul(
                self.handle, plan.product.0, (&raw const alpha).cast(), (&raw const beta).cast(), b, left, a, right, c, d,
                c, d, &plan.algorithm, workspace as *mut c_void, self.workspace_bytes, stream,
            );
            done
        }
        .map_err(failed)
    }
}

/// Whether cublasLt can be loaded. cudarc panics on a missing library.
pub(crate) fn is_present() -> bool {
    // SAFETY: opening the library runs its initialisers, which NVIDIA's library permits at any time.
    unsafe { sys::is_culib_present() }
}

impl Drop for Lt {
    fn drop(&mut self) {
        // SAFETY: the handle is destroyed once; errors at the end of a process help nobody.
        let destroyed = unsafe { lt::destroy_handle(self.handle) };
        debug_assert!(destroyed.is_ok());
    }
}
