//! cuBLAS: handles, matrix products (and one sum of vectors) in f32, f16 and bf16 with f32 sums, the same to the bit as
//! omega's software device. A product is work in the handle's stream, as a kernel is.
//!
//! cuBLAS is column-major. A column-major C is a row-major Cᵀ = op(B)ᵀ·op(A)ᵀ, which is what is computed.

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use softgpu::Memory;
use softgpu_blas::{Matrix, Type};

use crate::state::{Handle, Table, current};
use crate::status::Status;
use crate::stream::on_stream;
use crate::tools::{lost, misused};
use crate::work::{LibraryCall, Work};

/// `cublasStatus_t`.
pub const NOT_INITIALIZED: c_int = 1;
pub const ALLOC_FAILED: c_int = 3;
pub const INVALID_VALUE: c_int = 7;
pub const EXECUTION_FAILED: c_int = 13;
pub const NOT_SUPPORTED: c_int = 15;
pub const STATUSES: [(c_int, &CStr, &CStr); 10] = [
    (0, c"CUBLAS_STATUS_SUCCESS", c"success"),
    (1, c"CUBLAS_STATUS_NOT_INITIALIZED", c"the library was not initialized"),
    (3, c"CUBLAS_STATUS_ALLOC_FAILED", c"the resource allocation failed"),
    (7, c"CUBLAS_STATUS_INVALID_VALUE", c"an unsupported value or parameter was passed to the function"),
    (8, c"CUBLAS_STATUS_ARCH_MISMATCH", c"the function requires a feature absent from the device architecture"),
    (11, c"CUBLAS_STATUS_MAPPING_ERROR", c"an access to GPU memory space failed"),
    (13, c"CUBLAS_STATUS_EXECUTION_FAILED", c"the GPU program failed to execute"),
    (14, c"CUBLAS_STATUS_INTERNAL_ERROR", c"an internal operation failed"),
    (15, c"CUBLAS_STATUS_NOT_SUPPORTED", c"the functionality requested is not supported"),
    (16, c"CUBLAS_STATUS_LICENSE_ERROR", c"the functionality requires a license"),
];
/// cuBLAS of CUDA 13.0, as 10000 × major + 100 × minor.
pub const VERSION: c_int = 130_000;

pub type Answer = Result<(), c_int>;

struct Blas {
    /// As it was set, 0 for the default one.
    stream: Handle,
    device_pointers: bool,
    math_mode: c_int,
    atomics: c_int,
    sm_target: c_int,
}

static HANDLES: LazyLock<Mutex<Table<Blas>>> = LazyLock::new(Mutex::default);

fn handles() -> MutexGuard<'static, Table<Blas>> {
    HANDLES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(handle: Handle, work: impl FnOnce(&mut Blas) -> T) -> Result<T, c_int> {
    handles().get_mut(handle).map(work).map_err(|_| NOT_INITIALIZED)
}

/// A driver's refusal as cuBLAS tells it.
pub fn of_driver(status: Status) -> c_int {
    match status {
        Status::INVALID_VALUE => INVALID_VALUE,
        Status::NOT_INITIALIZED | Status::INVALID_CONTEXT => NOT_INITIALIZED,
        Status::OUT_OF_MEMORY => ALLOC_FAILED,
        _ => EXECUTION_FAILED,
    }
}

/// Exports functions whose body gives an [`Answer`].
macro_rules! blas_api {
    ($($(#[$meta:meta])* fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// As the library asks: pointers are null or valid for what they are documented to point to.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, unused_unsafe)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> std::ffi::c_int {
            let mut code = 0;
            $crate::entry::enter(stringify!($name), || {
                // SAFETY: the caller's promise.
                let answer = $crate::blas::call(|| unsafe { $body });
                code = answer.err().unwrap_or(0);
                Ok(())
            });
            code
        }
    )*};
}
pub(crate) use blas_api;

/// Runs a body, in which `?` ends the call.
pub fn call(body: impl FnOnce() -> Answer) -> Answer {
    body()
}

/// Writes an output parameter.
///
/// # Safety
/// `to` is null or valid for a write.
pub unsafe fn give<T>(to: *mut T, value: T) -> Answer {
    // SAFETY: the caller's promise.
    unsafe { crate::entry::put(to, value) }.map_err(of_driver)
}

/// `cudaDataType`.
pub fn type_of(number: c_int) -> Result<Type, c_int> {
    match number {
        0 => Ok(Type::F32),
        2 => Ok(Type::F16),
        14 => Ok(Type::Bf16),
        _ => {
            lost(format!("cuBLAS: no matrices of cudaDataType {number}, only f32 (0), f16 (2) and bf16 (14)"));
            Err(NOT_SUPPORTED)
        }
    }
}

/// `cublasComputeType_t` with f32 sums: 32F, its pedantic form, and the faster ones, which here are exact too.
pub fn check_compute(number: c_int) -> Answer {
    match number {
        68 | 69 | 74 | 75 | 77 => Ok(()),
        _ => {
            lost(format!("cuBLAS: no cublasComputeType_t {number}, only those with f32 sums (CUBLAS_COMPUTE_32F…)"));
            Err(NOT_SUPPORTED)
        }
    }
}

/// One matrix as cuBLAS has it: where, its type, leading dimension, and elements from batch to batch.
#[derive(Clone, Copy)]
pub struct Operand {
    pub at: u64,
    pub ty: Type,
    pub ld: usize,
    pub batch_stride: i64,
}

impl Operand {
    /// The host pointer of one batch, for `lines` columns (or rows, if they lie one after another) of `length`.
    pub fn locate(&self, memory: &Memory, batch: usize, [lines, length]: [usize; 2]) -> Result<*mut u8, String> {
        if lines == 0 || length == 0 {
            return Ok(std::ptr::NonNull::<u64>::dangling().as_ptr() as *mut u8);
        }
        let bytes = ((lines - 1) * self.ld + length) * self.ty.bytes();
        let offset = (batch as i64 * self.batch_stride) as u64;
        let at = self.at.wrapping_add(offset.wrapping_mul(self.ty.bytes() as u64));
        // SAFETY: used at once, under the lock that every launch and free holds.
        unsafe { memory.host_slice(at, bytes) }.map_err(|error| error.to_string())
    }
}

impl Operand {
    /// Notes that a batch has been written, line by line: the gaps between lines have not.
    pub fn mark(&self, memory: &Memory, batch: usize, [lines, length]: [usize; 2]) -> Result<(), String> {
        let start = self.at.wrapping_add((batch as i64 * self.batch_stride * self.ty.bytes() as i64) as u64);
        (0..lines).filter(|_| length > 0).try_for_each(|line| {
            let at = start + (line * self.ld * self.ty.bytes()) as u64;
            memory.mark_written(at, length * self.ty.bytes()).map_err(|error| error.to_string())
        })
    }
}

/// A scalar: its value, or the device address to read it from when the product is run.
#[derive(Clone, Copy)]
pub enum Scalar {
    Host(f32),
    Device(u64),
}

impl Scalar {
    /// # Safety
    /// A host pointer is valid.
    pub unsafe fn new(pointer: *const c_void, on_device: bool) -> Result<Scalar, c_int> {
        match (pointer.is_null(), on_device) {
            (true, _) => Err(INVALID_VALUE),
            (_, true) => Ok(Scalar::Device(pointer as u64)),
            // SAFETY: the caller's promise.
            _ => Ok(Scalar::Host(unsafe { (pointer as *const f32).read_unaligned() })),
        }
    }

    pub fn value(self, memory: &Memory) -> Result<f32, String> {
        match self {
            Scalar::Host(value) => Ok(value),
            // SAFETY: four bytes, looked at once.
            Scalar::Device(at) => unsafe {
                Ok((memory.host_slice(at, 4).map_err(|error| error.to_string())? as *const f32).read_unaligned())
            },
        }
    }
}

/// `cublasOperation_t`: whether the operand is transposed (real matrices: conjugation is nothing).
pub fn transposed(operation: c_int) -> Result<bool, c_int> {
    match operation {
        0 => Ok(false),
        1 | 2 => Ok(true),
        _ => Err(INVALID_VALUE),
    }
}

/// `C = alpha·op(A)·op(B) + beta·C`, column-major, batch after batch.
#[derive(Clone, Copy)]
pub struct Product {
    pub ta: bool,
    pub tb: bool,
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub alpha: Scalar,
    pub a: Operand,
    pub b: Operand,
    pub beta: Scalar,
    pub c: Operand,
    pub batches: usize,
}

impl Product {
    /// The leading dimensions are no smaller than the columns are long.
    pub fn check(&self) -> Answer {
        let a_rows = if self.ta { self.k } else { self.m };
        let b_rows = if self.tb { self.n } else { self.k };
        let short = |operand: &Operand, rows: usize| operand.ld < rows.max(1);
        if short(&self.a, a_rows) || short(&self.b, b_rows) || short(&self.c, self.m) {
            let (Product { m, n, k, .. }, lds) = (self, [self.a.ld, self.b.ld, self.c.ld]);
            misused(format!("cuBLAS: leading dimensions {lds:?} are too small for m {m}, n {n}, k {k}"));
            return Err(INVALID_VALUE);
        }
        Ok(())
    }

    /// The operands of one batch as the row-major Cᵀ = op(B)ᵀ·op(A)ᵀ sees them: first op(B)ᵀ `[n, k]`, op(A)ᵀ `[k, m]`.
    pub fn operands(&self, memory: &Memory, batch: usize) -> Result<[Matrix<*const u8>; 2], String> {
        let Product { m, n, k, ta, tb, .. } = *self;
        let a = self.a.locate(memory, batch, if ta { [m, k] } else { [k, m] })?;
        let b = self.b.locate(memory, batch, if tb { [k, n] } else { [n, k] })?;
        let strides = |data: *mut u8, ld: usize, transposed: bool| {
            let (row, col) = if transposed { (1, ld) } else { (ld, 1) };
            Matrix { data: data as *const u8, row, col }
        };
        Ok([strides(b, self.b.ld, tb), strides(a, self.a.ld, ta)])
    }

    pub fn run(&self, memory: &Memory) -> Result<(), String> {
        let Product { m, n, k, .. } = *self;
        let (alpha, beta) = (self.alpha.value(memory)?, self.beta.value(memory)?);
        for batch in 0..self.batches {
            let [first, second] = self.operands(memory, batch)?;
            let c = Matrix { data: self.c.locate(memory, batch, [n, m])?, row: self.c.ld, col: 1 };
            let (first, second) = ((self.b.ty, first), (self.a.ty, second));
            // SAFETY: all ranges were located just now, and nobody else touches them under the lock.
            unsafe { softgpu_blas::gemm([n, m, k], alpha, first, second, beta, (self.c.ty, c)) };
            self.c.mark(memory, batch, [n, m])?;
        }
        Ok(())
    }
}

/// Puts a library's work into a stream.
pub fn submit(
    stream: Handle,
    name: &'static str,
    run: impl Fn(&Memory) -> Result<(), String> + Send + Sync + 'static,
) -> Answer {
    let (mut gpu, stream) = on_stream(stream).map_err(of_driver)?;
    gpu.submit(stream, Work::Library(LibraryCall { name, run: Arc::new(run) })).map_err(of_driver)
}

pub fn size(extent: impl TryInto<usize>) -> Result<usize, c_int> {
    extent.try_into().map_err(|_| INVALID_VALUE)
}

/// Operands as a call has them: address, `cudaDataType`, leading dimension, batch stride.
type Raw = (*const c_void, c_int, c_int, c_longlong);

/// # Safety
/// Host scalars are valid.
unsafe fn product(
    handle: Handle,
    name: &'static str,
    (ta, tb): (c_int, c_int),
    [m, n, k]: [c_int; 3],
    (alpha, beta): (*const c_void, *const c_void),
    [a, b, c]: [Raw; 3],
    batches: c_int,
) -> Answer {
    let (stream, on_device) = with(handle, |blas| (blas.stream, blas.device_pointers))?;
    let operand = |(at, ty, ld, batch_stride): Raw| -> Result<Operand, c_int> {
        Ok(Operand { at: at as u64, ty: type_of(ty)?, ld: size(ld)?, batch_stride })
    };
    // SAFETY: the caller's promise.
    let (alpha, beta) = unsafe { (Scalar::new(alpha, on_device)?, Scalar::new(beta, on_device)?) };
    let product = Product {
        ta: transposed(ta)?,
        tb: transposed(tb)?,
        m: size(m)?,
        n: size(n)?,
        k: size(k)?,
        alpha,
        a: operand(a)?,
        b: operand(b)?,
        beta,
        c: operand(c)?,
        batches: size(batches)?,
    };
    product.check()?;
    if product.m == 0 || product.n == 0 || product.batches == 0 {
        return Ok(());
    }
    submit(stream, name, move |memory| product.run(memory))
}

const F32: c_int = 0;

/// `y = alpha·x + y` of cublasAxpyEx: one vector of any type added to another of the same, in f32, rounded once.
#[derive(Clone, Copy)]
struct Axpy {
    n: usize,
    alpha: Scalar,
    /// Elements `ld` apart.
    x: Operand,
    y: Operand,
}

impl Axpy {
    fn run(&self, memory: &Memory) -> Result<(), String> {
        let (alpha, extents) = (self.alpha.value(memory)?, [self.n, 1]);
        let line = |of: &Operand| -> Result<Matrix<*mut u8>, String> {
            Ok(Matrix { data: of.locate(memory, 0, extents)?, row: of.ld, col: 1 })
        };
        let (x, y) = (line(&self.x)?, line(&self.y)?);
        // SAFETY: both ranges were located just now, and nobody else touches them under the lock.
        unsafe {
            let (x, mut sums) =
                (softgpu_blas::by_rows(self.x.ty, x, extents), softgpu_blas::by_rows(self.y.ty, y, extents));
            sums.iter_mut().zip(&x).for_each(|(sum, x)| *sum += alpha * x);
            softgpu_blas::narrow(self.y.ty, y, extents, &sums);
        }
        self.y.mark(memory, 0, extents)
    }
}

blas_api! {
    fn cublasCreate_v2(handle: *mut Handle) {
        current().map_err(of_driver)?;
        let blas = Blas { stream: 0, device_pointers: false, math_mode: 0, atomics: 0, sm_target: 0 };
        let new = handles().add(blas);
        give(handle, new)
    }

    /// Waits for the device, as documented.
    fn cublasDestroy_v2(handle: Handle) {
        handles().remove(handle).map_err(|_| NOT_INITIALIZED)?;
        let (mut gpu, context) = current().map_err(of_driver)?;
        gpu.finish_context(context).map_err(of_driver)
    }

    fn cublasGetVersion_v2(handle: Handle, version: *mut c_int) {
        let _ = handle;
        give(version, VERSION)
    }

    /// `libraryPropertyType`: major, minor, patch.
    fn cublasGetProperty(property: c_int, value: *mut c_int) {
        give(value, *[13, 0, 0].get(size(property)?).ok_or(INVALID_VALUE)?)
    }

    fn cublasSetStream_v2(handle: Handle, stream: Handle) {
        with(handle, |blas| blas.stream = stream)
    }

    fn cublasGetStream_v2(handle: Handle, stream: *mut Handle) {
        give(stream, with(handle, |blas| blas.stream)?)
    }

    /// No product needs one.
    fn cublasSetWorkspace_v2(handle: Handle, workspace: *mut c_void, _bytes: usize) {
        if !(workspace as usize).is_multiple_of(256) {
            return Err(INVALID_VALUE);
        }
        with(handle, |_| ())
    }

    /// `CUBLAS_POINTER_MODE_HOST` 0, `_DEVICE` 1.
    fn cublasSetPointerMode_v2(handle: Handle, mode: c_int) {
        with(handle, |blas| blas.device_pointers = mode == 1)
    }

    fn cublasGetPointerMode_v2(handle: Handle, mode: *mut c_int) {
        give(mode, with(handle, |blas| c_int::from(blas.device_pointers))?)
    }

    /// Every mode is exact f32 here, TF32 too.
    fn cublasSetMathMode(handle: Handle, mode: c_int) {
        with(handle, |blas| blas.math_mode = mode)
    }

    fn cublasGetMathMode(handle: Handle, mode: *mut c_int) {
        give(mode, with(handle, |blas| blas.math_mode)?)
    }

    fn cublasSetAtomicsMode(handle: Handle, mode: c_int) {
        with(handle, |blas| blas.atomics = mode)
    }

    fn cublasGetAtomicsMode(handle: Handle, mode: *mut c_int) {
        give(mode, with(handle, |blas| blas.atomics)?)
    }

    fn cublasSetSmCountTarget(handle: Handle, count: c_int) {
        with(handle, |blas| blas.sm_target = count)
    }

    fn cublasGetSmCountTarget(handle: Handle, count: *mut c_int) {
        give(count, with(handle, |blas| blas.sm_target)?)
    }

    fn cublasAxpyEx(
        handle: Handle, n: c_int, alpha: *const c_void, alpha_type: c_int, x: *const c_void, x_type: c_int,
        step_x: c_int, y: *mut c_void, y_type: c_int, step_y: c_int, execution_type: c_int,
    ) {
        let (stream, on_device) = with(handle, |blas| (blas.stream, blas.device_pointers))?;
        if alpha_type != F32 || execution_type != F32 || x_type != y_type {
            lost("cublasAxpyEx: alpha and sums are f32 here, and x and y of one type");
            return Err(NOT_SUPPORTED);
        }
        if step_x < 1 || step_y < 1 {
            lost("cublasAxpyEx: steps below 1 are not supported");
            return Err(NOT_SUPPORTED);
        }
        let operand = |at: *const c_void, ty: c_int, step: c_int| -> Result<Operand, c_int> {
            Ok(Operand { at: at as u64, ty: type_of(ty)?, ld: size(step)?, batch_stride: 0 })
        };
        let (x, y) = (operand(x, x_type, step_x)?, operand(y, y_type, step_y)?);
        let axpy = Axpy { n: usize::try_from(n).unwrap_or(0), alpha: Scalar::new(alpha, on_device)?, x, y };
        if axpy.n == 0 {
            return Ok(());
        }
        submit(stream, "cublasAxpyEx", move |memory| axpy.run(memory))
    }

    fn cublasSgemm_v2(
        handle: Handle, ta: c_int, tb: c_int, m: c_int, n: c_int, k: c_int, alpha: *const c_void, a: *const c_void,
        lda: c_int, b: *const c_void, ldb: c_int, beta: *const c_void, c: *mut c_void, ldc: c_int,
    ) {
        let operands = [(a, F32, lda, 0), (b, F32, ldb, 0), (c as *const c_void, F32, ldc, 0)];
        product(handle, "cublasSgemm", (ta, tb), [m, n, k], (alpha, beta), operands, 1)
    }

    fn cublasSgemmStridedBatched(
        handle: Handle, ta: c_int, tb: c_int, m: c_int, n: c_int, k: c_int, alpha: *const c_void, a: *const c_void,
        lda: c_int, stride_a: c_longlong, b: *const c_void, ldb: c_int, stride_b: c_longlong, beta: *const c_void,
        c: *mut c_void, ldc: c_int, stride_c: c_longlong, batches: c_int,
    ) {
        let operands = [(a, F32, lda, stride_a), (b, F32, ldb, stride_b), (c as *const c_void, F32, ldc, stride_c)];
        product(handle, "cublasSgemmStridedBatched", (ta, tb), [m, n, k], (alpha, beta), operands, batches)
    }

    fn cublasGemmEx(
        handle: Handle, ta: c_int, tb: c_int, m: c_int, n: c_int, k: c_int, alpha: *const c_void, a: *const c_void,
        a_type: c_int, lda: c_int, b: *const c_void, b_type: c_int, ldb: c_int, beta: *const c_void, c: *mut c_void,
        c_type: c_int, ldc: c_int, compute: c_int, _algorithm: c_int,
    ) {
        check_compute(compute)?;
        let operands = [(a, a_type, lda, 0), (b, b_type, ldb, 0), (c as *const c_void, c_type, ldc, 0)];
        product(handle, "cublasGemmEx", (ta, tb), [m, n, k], (alpha, beta), operands, 1)
    }

    fn cublasGemmStridedBatchedEx(
        handle: Handle, ta: c_int, tb: c_int, m: c_int, n: c_int, k: c_int, alpha: *const c_void, a: *const c_void,
        a_type: c_int, lda: c_int, stride_a: c_longlong, b: *const c_void, b_type: c_int, ldb: c_int,
        stride_b: c_longlong, beta: *const c_void, c: *mut c_void, c_type: c_int, ldc: c_int, stride_c: c_longlong,
        batches: c_int, compute: c_int, _algorithm: c_int,
    ) {
        check_compute(compute)?;
        let operands =
            [(a, a_type, lda, stride_a), (b, b_type, ldb, stride_b), (c as *const c_void, c_type, ldc, stride_c)];
        product(handle, "cublasGemmStridedBatchedEx", (ta, tb), [m, n, k], (alpha, beta), operands, batches)
    }
}

fn text_of(status: c_int, which: impl Fn(&(c_int, &'static CStr, &'static CStr)) -> &'static CStr) -> *const c_char {
    STATUSES.iter().find(|row| row.0 == status).map_or(c"unknown", which).as_ptr()
}

/// The name of a status.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasGetStatusName(status: c_int) -> *const c_char {
    text_of(status, |row| row.1)
}

/// A status in words.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasGetStatusString(status: c_int) -> *const c_char {
    text_of(status, |row| row.2)
}

/// The runtime that the library was built for: CUDA 13.0.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasGetCudartVersion() -> usize {
    13000
}
