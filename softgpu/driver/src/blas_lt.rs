//! cublasLt: descriptors, and `cublasLtMatmul` with the epilogues for linear layers: bias, ReLU with its mask, the
//! gradient through the mask, and bias gradients.
//!
//! Everything is computed as cuBLAS documents it: `D = epilogue(alpha·op(A)·op(B) + beta·C)` with the epilogue in f32,
//! rounded once to D's type.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use softgpu::Memory;
use softgpu_blas::{Epilogue, Mask, Matrix, Relu, Type};

use crate::blas::{
    Answer, INVALID_VALUE, NOT_INITIALIZED, NOT_SUPPORTED, Operand, Product, STATUSES, Scalar, VERSION, blas_api,
    check_compute, give, of_driver, size, submit, transposed, type_of,
};
use crate::state::{Handle, Table, gpu};
use crate::tools::{lost, misused};

/// A descriptor of any kind: its attributes as the bytes that were set.
#[derive(Default)]
struct Descriptor(HashMap<c_int, Vec<u8>>);

static DESCRIPTORS: LazyLock<Mutex<Table<Descriptor>>> = LazyLock::new(Mutex::default);

fn descriptors() -> MutexGuard<'static, Table<Descriptor>> {
    DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Descriptor {
    fn new(words: &[(c_int, u64, usize)]) -> Descriptor {
        let bytes = |value: u64, bytes: usize| value.to_le_bytes()[..bytes].to_vec();
        Descriptor(words.iter().map(|(attribute, value, size)| (*attribute, bytes(*value, *size))).collect())
    }

    /// An attribute as a number, 0 if it was never set.
    fn get(&self, attribute: c_int) -> u64 {
        let mut word = [0; 8];
        if let Some(bytes) = self.0.get(&attribute) {
            let used = bytes.len().min(8);
            word[..used].copy_from_slice(&bytes[..used]);
        }
        u64::from_le_bytes(word)
    }
}

/// `cublasLtMatmulDescAttributes_t`.
mod matmul {
    use std::ffi::c_int;
    pub const COMPUTE: c_int = 0;
    pub const SCALE: c_int = 1;
    pub const POINTER_MODE: c_int = 2;
    pub const TRANS_A: c_int = 3;
    pub const TRANS_B: c_int = 4;
    pub const TRANS_C: c_int = 5;
    pub const EPILOGUE: c_int = 7;
    pub const BIAS: c_int = 8;
    pub const BIAS_STRIDE: c_int = 10;
    pub const AUX: c_int = 11;
    pub const AUX_LD: c_int = 12;
    pub const AUX_STRIDE: c_int = 13;
    pub const BIAS_TYPE: c_int = 26;
}

/// `cublasLtMatrixLayoutAttribute_t`.
mod layout {
    use std::ffi::c_int;
    pub const TYPE: c_int = 0;
    pub const ORDER: c_int = 1;
    pub const ROWS: c_int = 2;
    pub const COLS: c_int = 3;
    pub const LD: c_int = 4;
    pub const BATCHES: c_int = 5;
    pub const STRIDE: c_int = 6;
}

/// `cublasLtMatmulPreferenceAttributes_t`: alignments that callers promise for A, B, C and D, in bytes.
const ALIGNMENTS: [c_int; 4] = [5, 6, 7, 8];
/// What they are without a promise.
const ALIGNMENT: u64 = 256;

/// `cublasLtEpilogue_t`, whose members combine these.
const RELU: u64 = 2;
const BIAS: u64 = 4;
const GRADIENT_RELU: u64 = 8;
const GRADIENT_BIAS: u64 = 16;
const AUX: u64 = 128;
const GRADIENT_A: u64 = 256;
const GRADIENT_B: u64 = 512;
const EPILOGUES: [u64; 11] = [
    0,
    1,
    RELU,
    BIAS,
    RELU | BIAS,
    RELU | AUX,
    RELU | AUX | BIAS,
    GRADIENT_RELU | AUX,
    GRADIENT_RELU | AUX | GRADIENT_BIAS,
    GRADIENT_A,
    GRADIENT_B,
];

/// A product with what comes after it.
struct Matmul {
    product: Product,
    d: Operand,
    epilogue: u64,
    bias: Operand,
    /// A bit for each element of D, columns `ld` bits apart.
    aux: Operand,
}

impl Matmul {
    fn run(&self, memory: &Memory) -> Result<(), String> {
        let (alpha, beta) = (self.product.alpha.value(memory)?, self.product.beta.value(memory)?);
        (0..self.product.batches).try_for_each(|batch| self.batch(memory, batch, alpha, beta))
    }

    /// One batch, as the row-major Dᵀ `[n, m]`.
    fn batch(&self, memory: &Memory, batch: usize, alpha: f32, beta: f32) -> Result<(), String> {
        let p = &self.product;
        let (m, n, k) = (p.m, p.n, p.k);
        let [first, second] = p.operands(memory, batch)?;
        let d = Matrix { data: self.d.locate(memory, batch, [n, m])?, row: self.d.ld, col: 1 };
        // SAFETY: all ranges were located just now, and nobody else touches them under the lock.
        unsafe {
            let mut sums = match beta == 0.0 {
                true => vec![0.0; n * m],
                false => {
                    let c = Matrix { data: p.c.locate(memory, batch, [n, m])?, row: p.c.ld, col: 1 };
                    softgpu_blas::by_rows(p.c.ty, c, [n, m])
                }
            };
            let bias = if self.epilogue & BIAS != 0 { Some(self.bias_in(memory, batch, m)?) } else { None };
            let epilogue = Epilogue { bias: bias.as_deref(), relu: self.relu(memory, batch)? };
            let (to, mut gradient) = (Matrix { data: sums.as_mut_ptr() as *mut u8, row: m, col: 1 }, None);
            let see = |sums: &[f32]| {
                if self.epilogue & GRADIENT_BIAS != 0 {
                    gradient = Some(softgpu_blas::sums_of_columns(sums, m));
                }
            };
            let (a, b) = ((p.b.ty, first), (p.a.ty, second));
            softgpu_blas::gemm_with([n, m, k], alpha, a, b, beta, (Type::F32, to), &epilogue, see);
            if let Some(gradient) = gradient {
                self.bias_out(memory, batch, &gradient)?;
            }
            softgpu_blas::narrow(self.d.ty, d, [n, m], &sums);
            self.d.mark(memory, batch, [n, m])?;
            if self.epilogue & (GRADIENT_A | GRADIENT_B) != 0 {
                self.input_gradient(memory, batch, first, second)?;
            }
        }
        Ok(())
    }

    fn bias_in(&self, memory: &Memory, batch: usize, length: usize) -> Result<Vec<f32>, String> {
        let from = Matrix { data: self.bias.locate(memory, batch, [1, length])?, row: length, col: 1 };
        // SAFETY: located just now.
        Ok(unsafe { softgpu_blas::by_rows(self.bias.ty, from, [1, length]) })
    }

    fn bias_out(&self, memory: &Memory, batch: usize, values: &[f32]) -> Result<(), String> {
        let to = Matrix { data: self.bias.locate(memory, batch, [1, values.len()])?, row: values.len(), col: 1 };
        // SAFETY: located just now.
        unsafe { softgpu_blas::narrow(self.bias.ty, to, [1, values.len()], values) };
        self.bias.mark(memory, batch, [1, values.len()])
    }

    /// max(x, 0), writing the mask of x > 0 if it is asked for; or its gradient, reading the mask.
    fn relu(&self, memory: &Memory, batch: usize) -> Result<Relu, String> {
        if self.epilogue & (RELU | GRADIENT_RELU) == 0 {
            return Ok(Relu::None);
        }
        if self.epilogue & AUX == 0 {
            return Ok(Relu::Plain);
        }
        let bytes = (self.product.n.saturating_sub(1) * self.aux.ld + self.product.m).div_ceil(8);
        let at = self.aux.at + batch as u64 * self.aux.batch_stride as u64 / 8;
        // SAFETY: a range of its own, under the lock.
        let data = unsafe { memory.host_slice(at, bytes) }.map_err(|error| error.to_string())?;
        memory.mark_written(at, bytes).map_err(|error| error.to_string())?;
        let mask = Mask { data, stride: self.aux.ld };
        Ok(if self.epilogue & GRADIENT_RELU != 0 { Relu::Gradient(mask) } else { Relu::Keep(mask) })
    }

    /// Sums over k of op(A) (length m) or op(B) (length n).
    ///
    /// # Safety
    /// `first` is op(B)ᵀ `[n, k]` and `second` op(A)ᵀ `[k, m]`, located just now.
    unsafe fn input_gradient(
        &self,
        memory: &Memory,
        batch: usize,
        first: Matrix<*const u8>,
        second: Matrix<*const u8>,
    ) -> Result<(), String> {
        let p = &self.product;
        // Both as rows along k.
        let (from, ty, length) = match self.epilogue & GRADIENT_A != 0 {
            true => (second, p.a.ty, p.m),
            false => (Matrix { data: first.data, row: first.col, col: first.row }, p.b.ty, p.n),
        };
        // SAFETY: the caller's promise.
        let sums = unsafe { softgpu_blas::sums_of_columns_of(ty, from, [p.k, length]) };
        self.bias_out(memory, batch, &sums)
    }
}

/// A matrix's rows, columns and the rest.
fn operand(layout: Handle, at: *const c_void) -> Result<(usize, usize, Operand, usize), c_int> {
    let all = descriptors();
    let of = all.get(layout).map_err(|_| INVALID_VALUE)?;
    if of.get(layout::ORDER) != 0 {
        lost("cublasLt: only column-major matrices (CUBLASLT_ORDER_COL)");
        return Err(NOT_SUPPORTED);
    }
    let ty = type_of(of.get(layout::TYPE) as c_int)?;
    let (rows, cols) = (of.get(layout::ROWS) as usize, of.get(layout::COLS) as usize);
    let ld = of.get(layout::LD) as usize;
    if ld < rows.max(1) {
        return Err(INVALID_VALUE);
    }
    let batches = (of.get(layout::BATCHES) as usize).max(1);
    Ok((rows, cols, Operand { at: at as u64, ty, ld, batch_stride: of.get(layout::STRIDE) as i64 }, batches))
}

/// The matrices of a call: A, B, C, D with their layouts.
type Matrices = [(*const c_void, Handle); 4];

/// # Safety
/// Host scalars are valid, or null (for a heuristic).
unsafe fn matmul(
    descriptor: Handle,
    (alpha, beta): (*const c_void, *const c_void),
    [a, b, c, d]: Matrices,
) -> Result<Matmul, c_int> {
    let attribute = {
        let all = descriptors();
        let of = all.get(descriptor).map_err(|_| INVALID_VALUE)?;
        use matmul::*;
        [COMPUTE, SCALE, POINTER_MODE, TRANS_A, TRANS_B, TRANS_C, EPILOGUE, BIAS, BIAS_STRIDE, AUX, AUX_LD, AUX_STRIDE]
            .map(|attribute| of.get(attribute))
            .into_iter()
            .chain([if of.0.contains_key(&BIAS_TYPE) { of.get(BIAS_TYPE) } else { u64::MAX }])
            .collect::<Vec<u64>>()
    };
    check_compute(attribute[0] as c_int)?;
    let epilogue = attribute[6] & !1;
    if attribute[1] != 0 || attribute[2] > 1 || attribute[5] != 0 || !EPILOGUES.contains(&epilogue) {
        lost(format!(
            "cublasLt: scale type {}, pointer mode {}, transposed C {} or epilogue {epilogue} is not supported",
            attribute[1], attribute[2], attribute[5]
        ));
        return Err(NOT_SUPPORTED);
    }
    let (ta, tb) = (transposed(attribute[3] as c_int)?, transposed(attribute[4] as c_int)?);
    let ((a_rows, a_cols, a, batches), (b_rows, b_cols, b, _)) = (operand(a.1, a.0)?, operand(b.1, b.0)?);
    let ((c_rows, c_cols, c, _), (m, n, d, _)) = (operand(c.1, c.0)?, operand(d.1, d.0)?);
    let k = if ta { a_rows } else { a_cols };
    let fits = (if ta { a_cols } else { a_rows }) == m
        && (if tb { [n, k] } else { [k, n] }) == [b_rows, b_cols]
        && [c_rows, c_cols] == [m, n];
    if !fits {
        misused(format!(
            "cublasLt: A {a_rows}×{a_cols}, B {b_rows}×{b_cols}, C {c_rows}×{c_cols}, D {m}×{n} do not fit"
        ));
        return Err(INVALID_VALUE);
    }
    let bias_type = if attribute[12] == u64::MAX { d.ty } else { type_of(attribute[12] as c_int)? };
    let needs_bias = epilogue & (BIAS | GRADIENT_BIAS | GRADIENT_A | GRADIENT_B) != 0;
    if needs_bias && bias_type != d.ty {
        lost(format!(
            "cublasLt: a bias, or its gradient, of {bias_type:?} for a D of {:?}; they are of one type",
            d.ty
        ));
        return Err(NOT_SUPPORTED);
    }
    let bias = Operand { at: attribute[7], ty: bias_type, ld: 0, batch_stride: attribute[8] as i64 };
    let aux =
        Operand { at: attribute[9], ty: Type::F32, ld: attribute[10] as usize, batch_stride: attribute[11] as i64 };
    if needs_bias && bias.at == 0 || epilogue & AUX != 0 && (aux.at == 0 || aux.ld < m || !aux.ld.is_multiple_of(128)) {
        misused("cublasLt: the epilogue needs a bias pointer, or a mask whose leading dimension is a multiple of 128");
        return Err(INVALID_VALUE);
    }
    let on_device = attribute[2] == 1;
    let scalar = |pointer: *const c_void| match pointer.is_null() {
        true => Ok(Scalar::Host(0.0)),
        // SAFETY: the caller's promise.
        false => unsafe { Scalar::new(pointer, on_device) },
    };
    let product = Product { ta, tb, m, n, k, alpha: scalar(alpha)?, a, b, beta: scalar(beta)?, c, batches };
    product.check()?;
    Ok(Matmul { product, d, epilogue, bias, aux })
}

/// # Safety
/// `from` is valid for `bytes` reads.
unsafe fn set(descriptor: Handle, attribute: c_int, from: *const c_void, bytes: usize) -> Answer {
    if from.is_null() || bytes > 64 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let value = unsafe { std::slice::from_raw_parts(from as *const u8, bytes) }.to_vec();
    descriptors().get_mut(descriptor).map_err(|_| INVALID_VALUE)?.0.insert(attribute, value);
    Ok(())
}

/// # Safety
/// `to` is valid for `bytes` writes.
unsafe fn get(descriptor: Handle, attribute: c_int, to: *mut c_void, bytes: usize, written: *mut usize) -> Answer {
    let all = descriptors();
    let value =
        all.get(descriptor).map_err(|_| INVALID_VALUE)?.0.get(&attribute).cloned().unwrap_or(vec![0; bytes.min(8)]);
    if to.is_null() || bytes < value.len() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), to as *mut u8, value.len());
        crate::entry::put_if(written, value.len());
    }
    Ok(())
}

fn create(words: &[(c_int, u64, usize)]) -> Handle {
    descriptors().add(Descriptor::new(words))
}

fn destroy(descriptor: Handle) -> Answer {
    descriptors().remove(descriptor).map(|_| ()).map_err(|_| INVALID_VALUE)
}

/// `cublasLtMatmulAlgo_t`, opaque to callers: here the alignments that it was chosen for (A, B, C, D, bias, mask) and the
/// epilogue. On a GPU a product that breaks them is undefined; here it is refused.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Algorithm {
    alignments: [u64; 6],
    epilogue: u64,
    reserved: u64,
}

/// The alignment of an address, up to 256; null has any.
fn alignment(at: u64) -> u64 {
    (1 << at.trailing_zeros().min(8)).min(ALIGNMENT)
}

impl Algorithm {
    fn for_product(product: &Matmul, preference: Handle) -> Algorithm {
        let all = descriptors();
        let promised = |attribute: c_int| {
            let of = all.get(preference).ok().map(|preference| preference.get(attribute));
            of.filter(|bytes| *bytes > 0).unwrap_or(ALIGNMENT)
        };
        let [a, b, c, d] = ALIGNMENTS.map(promised);
        let alignments = [a, b, c, d, alignment(product.bias.at), alignment(product.aux.at)];
        Algorithm { alignments, epilogue: product.epilogue, reserved: 0 }
    }

    fn check(&self, product: &Matmul) -> Answer {
        let Product { a, b, c, .. } = &product.product;
        let operands = [a.at, b.at, c.at, product.d.at, product.bias.at, product.aux.at];
        for ((name, at), due) in ["A", "B", "C", "D", "bias", "mask"].iter().zip(operands).zip(self.alignments) {
            if alignment(at) < due {
                misused(format!(
                    "cublasLtMatmul: {name} at {at:#x}, but the algorithm was chosen for {due}-byte alignment"
                ));
                return Err(INVALID_VALUE);
            }
        }
        if self.epilogue != product.epilogue {
            lost(format!("cublasLtMatmul: epilogue {}, but the algorithm is for {}", product.epilogue, self.epilogue));
            return Err(NOT_SUPPORTED);
        }
        Ok(())
    }
}

/// `cublasLtMatmulHeuristicResult_t`: the algorithm, its workspace, whether it works, how full the device is.
#[repr(C)]
pub struct HeuristicResult {
    algorithm: Algorithm,
    workspace: usize,
    state: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

blas_api! {
    fn cublasLtCreate(handle: *mut Handle) {
        gpu().map_err(of_driver)?;
        give(handle, create(&[]))
    }

    fn cublasLtDestroy(handle: Handle) {
        descriptors().remove(handle).map(|_| ()).map_err(|_| NOT_INITIALIZED)
    }

    fn cublasLtMatmulDescCreate(descriptor: *mut Handle, compute: c_int, scale: c_int) {
        let words = [(matmul::COMPUTE, compute as u64, 4), (matmul::SCALE, scale as u64, 4)];
        give(descriptor, create(&[&words[..], &[(matmul::EPILOGUE, 1, 4)]].concat()))
    }

    fn cublasLtMatmulDescDestroy(descriptor: Handle) {
        destroy(descriptor)
    }

    fn cublasLtMatmulDescSetAttribute(descriptor: Handle, attribute: c_int, from: *const c_void, bytes: usize) {
        set(descriptor, attribute, from, bytes)
    }

    fn cublasLtMatmulDescGetAttribute(
        descriptor: Handle, attribute: c_int, to: *mut c_void, bytes: usize, written: *mut usize,
    ) {
        get(descriptor, attribute, to, bytes, written)
    }

    fn cublasLtMatrixLayoutCreate(matrix: *mut Handle, ty: c_int, rows: u64, cols: u64, ld: i64) {
        let words = [(layout::TYPE, ty as u64, 4), (layout::ROWS, rows, 8), (layout::COLS, cols, 8)];
        give(matrix, create(&[&words[..], &[(layout::LD, ld as u64, 8), (layout::BATCHES, 1, 4)]].concat()))
    }

    fn cublasLtMatrixLayoutDestroy(matrix: Handle) {
        destroy(matrix)
    }

    fn cublasLtMatrixLayoutSetAttribute(matrix: Handle, attribute: c_int, from: *const c_void, bytes: usize) {
        set(matrix, attribute, from, bytes)
    }

    fn cublasLtMatrixLayoutGetAttribute(
        matrix: Handle, attribute: c_int, to: *mut c_void, bytes: usize, written: *mut usize,
    ) {
        get(matrix, attribute, to, bytes, written)
    }

    fn cublasLtMatmulPreferenceCreate(preference: *mut Handle) {
        give(preference, create(&[]))
    }

    fn cublasLtMatmulPreferenceDestroy(preference: Handle) {
        destroy(preference)
    }

    fn cublasLtMatmulPreferenceSetAttribute(preference: Handle, attribute: c_int, from: *const c_void, bytes: usize) {
        set(preference, attribute, from, bytes)
    }

    fn cublasLtMatmulPreferenceGetAttribute(
        preference: Handle, attribute: c_int, to: *mut c_void, bytes: usize, written: *mut usize,
    ) {
        get(preference, attribute, to, bytes, written)
    }

    /// There is one algorithm, without a workspace, for every product that is supported.
    fn cublasLtMatmulAlgoGetHeuristic(
        handle: Handle, descriptor: Handle, a: Handle, b: Handle, c: Handle, d: Handle, preference: Handle,
        wanted: c_int, results: *mut HeuristicResult, found: *mut c_int,
    ) {
        descriptors().get(handle).map_err(|_| NOT_INITIALIZED)?;
        let null = std::ptr::null();
        if size(wanted)? == 0 {
            return Err(INVALID_VALUE);
        }
        let product = matmul(descriptor, (null, null), [(null, a), (null, b), (null, c), (null, d)])?;
        let algorithm = Algorithm::for_product(&product, preference);
        give(results, HeuristicResult { algorithm, workspace: 0, state: 0, waves: 1.0, reserved: [0; 4] })?;
        give(found, 1)
    }

    fn cublasLtMatmul(
        handle: Handle, descriptor: Handle, alpha: *const c_void, a: *const c_void, a_layout: Handle, b: *const c_void,
        b_layout: Handle, beta: *const c_void, c: *const c_void, c_layout: Handle, d: *mut c_void, d_layout: Handle,
        algorithm: *const Algorithm, _workspace: *mut c_void, _bytes: usize, stream: Handle,
    ) {
        descriptors().get(handle).map_err(|_| NOT_INITIALIZED)?;
        if alpha.is_null() || beta.is_null() {
            return Err(INVALID_VALUE);
        }
        let matrices = [(a, a_layout), (b, b_layout), (c, c_layout), (d as *const c_void, d_layout)];
        let matmul = matmul(descriptor, (alpha, beta), matrices)?;
        if !algorithm.is_null() {
            algorithm.read_unaligned().check(&matmul)?;
        }
        if matmul.product.m == 0 || matmul.product.n == 0 {
            return Ok(());
        }
        submit(stream, "cublasLtMatmul", move |memory| matmul.run(memory))
    }

    fn cublasLtGetProperty(property: c_int, value: *mut c_int) {
        give(value, *[13, 0, 0].get(size(property)?).ok_or(INVALID_VALUE)?)
    }
}

fn text_of(status: c_int, which: impl Fn(&(c_int, &'static CStr, &'static CStr)) -> &'static CStr) -> *const c_char {
    STATUSES.iter().find(|row| row.0 == status).map_or(c"unknown", which).as_ptr()
}

/// The name of a status.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasLtGetStatusName(status: c_int) -> *const c_char {
    text_of(status, |row| row.1)
}

/// A status in words.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasLtGetStatusString(status: c_int) -> *const c_char {
    text_of(status, |row| row.2)
}

/// cuBLAS of CUDA 13.0.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    VERSION as usize
}

/// The runtime that the library was built for: CUDA 13.0.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn cublasLtGetCudartVersion() -> usize {
    13000
}
