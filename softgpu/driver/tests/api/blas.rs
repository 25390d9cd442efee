//! cuBLAS and cublasLt against plain loops. Small integers: every product and sum is exact, in f16 and bf16 too.

use super::*;

unsafe extern "C" {
    fn cublasCreate_v2(handle: *mut Handle) -> c_int;
    fn cublasDestroy_v2(handle: Handle) -> c_int;
    fn cublasSetStream_v2(handle: Handle, stream: Handle) -> c_int;
    fn cublasSetPointerMode_v2(handle: Handle, mode: c_int) -> c_int;
    fn cublasGemmStridedBatchedEx(
        handle: Handle,
        ta: c_int,
        tb: c_int,
        m: c_int,
        n: c_int,
        k: c_int,
        alpha: *const c_void,
        a: u64,
        a_type: c_int,
        lda: c_int,
        stride_a: i64,
        b: u64,
        b_type: c_int,
        ldb: c_int,
        stride_b: i64,
        beta: *const c_void,
        c: u64,
        c_type: c_int,
        ldc: c_int,
        stride_c: i64,
        batches: c_int,
        compute: c_int,
        algorithm: c_int,
    ) -> c_int;
    fn cublasAxpyEx(
        handle: Handle,
        n: c_int,
        alpha: *const c_void,
        alpha_type: c_int,
        x: u64,
        x_type: c_int,
        step_x: c_int,
        y: u64,
        y_type: c_int,
        step_y: c_int,
        execution_type: c_int,
    ) -> c_int;
    fn cublasLtCreate(handle: *mut Handle) -> c_int;
    fn cublasLtMatmulPreferenceCreate(preference: *mut Handle) -> c_int;
    fn cublasLtMatmulPreferenceSetAttribute(
        preference: Handle,
        attribute: c_int,
        from: *const c_void,
        bytes: usize,
    ) -> c_int;
    fn cublasLtMatmulAlgoGetHeuristic(
        handle: Handle,
        descriptor: Handle,
        a: Handle,
        b: Handle,
        c: Handle,
        d: Handle,
        preference: Handle,
        wanted: c_int,
        results: *mut u64,
        found: *mut c_int,
    ) -> c_int;
    fn cublasLtMatmulDescCreate(descriptor: *mut Handle, compute: c_int, scale: c_int) -> c_int;
    fn cublasLtMatmulDescSetAttribute(descriptor: Handle, attribute: c_int, from: *const c_void, bytes: usize)
    -> c_int;
    fn cublasLtMatrixLayoutCreate(matrix: *mut Handle, ty: c_int, rows: u64, cols: u64, ld: i64) -> c_int;
    fn cublasLtMatmul(
        handle: Handle,
        descriptor: Handle,
        alpha: *const f32,
        a: u64,
        a_layout: Handle,
        b: u64,
        b_layout: Handle,
        beta: *const f32,
        c: u64,
        c_layout: Handle,
        d: u64,
        d_layout: Handle,
        algorithm: *const c_void,
        workspace: *mut c_void,
        bytes: usize,
        stream: Handle,
    ) -> c_int;
}

/// `cudaDataType` f32, f16, bf16.
const TYPES: [c_int; 3] = [0, 2, 14];
const COMPUTE_32F: c_int = 68;

fn value(i: usize, seed: usize) -> f32 {
    ((i * 7 + seed * 5) % 9) as f32 - 4.0
}

fn encode(values: &[f32], ty: c_int) -> Vec<u8> {
    let bytes = |value: &f32| match ty {
        0 => value.to_le_bytes().to_vec(),
        2 => half::f16::from_f32(*value).to_le_bytes().to_vec(),
        _ => half::bf16::from_f32(*value).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

fn upload(gpu: &Context, values: &[f32], ty: c_int) -> u64 {
    let bytes = encode(values, ty);
    let to = gpu.alloc(bytes.len().div_ceil(4));
    ok(unsafe { cuMemcpyHtoD_v2(to, bytes.as_ptr().cast(), bytes.len()) });
    to
}

fn download(from: u64, count: usize, ty: c_int) -> Vec<f32> {
    let mut bytes = vec![0u8; count * if ty == 0 { 4 } else { 2 }];
    ok(unsafe { cuMemcpyDtoH_v2(bytes.as_mut_ptr().cast(), from, bytes.len()) });
    match ty {
        0 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        2 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
        _ => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes(b.try_into().unwrap()).to_f32()).collect(),
    }
}

#[test]
fn products_of_every_type_layout_and_batch() {
    let gpu = Context::new();
    let (m, n, k, batches) = (3usize, 5usize, 4usize, 2usize);
    let (mut handle, stream) = (0, gpu.stream(1));
    ok(unsafe { cublasCreate_v2(&mut handle) });
    ok(unsafe { cublasSetStream_v2(handle, stream) });
    for ((layout, ty), on_device) in (0..4).flat_map(|l| TYPES.map(|t| (l, t))).flat_map(|x| [(x, false), (x, true)]) {
        let (ta, tb) = (layout & 1 != 0, layout & 2 != 0);
        // One more than needed in each leading dimension.
        let (lda, ldb, ldc) = (if ta { k } else { m } + 1, if tb { n } else { k } + 1, m + 1);
        let (size_a, size_b, size_c) = (lda * if ta { m } else { k }, ldb * if tb { k } else { n }, ldc * n);
        let matrix = |size: usize, seed| (0..size * batches).map(|i| value(i, seed)).collect::<Vec<f32>>();
        let (a, b, c) = (matrix(size_a, 1), matrix(size_b, 2), matrix(size_c, 3));
        let [da, db, dc] = [&a, &b, &c].map(|values| upload(&gpu, values, ty));
        let scalars = [2.0f32, 3.0];
        let at = if on_device { gpu.upload(&scalars) } else { scalars.as_ptr() as u64 };
        ok(unsafe { cublasSetPointerMode_v2(handle, on_device.into()) });
        let [alpha, beta] = [at, at + 4].map(|at| at as *const c_void);
        let [lda_, ldb_, ldc_] = [lda, ldb, ldc].map(|ld| ld as c_int);
        ok(unsafe {
            cublasGemmStridedBatchedEx(
                handle,
                ta.into(),
                tb.into(),
                m as c_int,
                n as c_int,
                k as c_int,
                alpha,
                da,
                ty,
                lda_,
                size_a as i64,
                db,
                ty,
                ldb_,
                size_b as i64,
                beta,
                dc,
                ty,
                ldc_,
                size_c as i64,
                batches as c_int,
                COMPUTE_32F,
                -1,
            )
        });
        assert_eq!(download(dc, size_c * batches, ty), c, "nothing has run: the stream is a non-blocking one");
        ok(unsafe { cuStreamSynchronize(stream) });
        let mut expected = c.clone();
        for (batch, i, j) in (0..batches).flat_map(|x| (0..m).flat_map(move |i| (0..n).map(move |j| (x, i, j)))) {
            let op_a = |i: usize, l: usize| a[batch * size_a + if ta { i * lda + l } else { l * lda + i }];
            let op_b = |l: usize, j: usize| b[batch * size_b + if tb { l * ldb + j } else { j * ldb + l }];
            let sum: f32 = (0..k).map(|l| op_a(i, l) * op_b(l, j)).sum();
            let to = &mut expected[batch * size_c + j * ldc + i];
            *to = 2.0 * sum + 3.0 * *to;
        }
        // Up to 448: bf16 has eight bits, so rounding is part of the result.
        let rounded = |values: Vec<f32>| match ty {
            14 => values.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect(),
            _ => values,
        };
        assert_eq!(download(dc, size_c * batches, ty), rounded(expected), "ta {ta}, tb {tb}, type {ty}");
    }
    ok(unsafe { cublasDestroy_v2(handle) });
    assert_ne!(unsafe { cublasSetStream_v2(handle, 0) }, 0);
}

#[test]
fn a_product_past_the_end_of_a_matrix_stops_the_context() {
    let gpu = Context::new();
    let (mut handle, one) = (0, [1.0f32]);
    ok(unsafe { cublasCreate_v2(&mut handle) });
    let (a, scalar) = (gpu.upload(&[0.0; 15]), one.as_ptr().cast());
    let run = |lda| unsafe {
        cublasGemmStridedBatchedEx(
            handle,
            0,
            0,
            4,
            4,
            4,
            scalar,
            a,
            0,
            lda,
            0,
            a,
            0,
            4,
            0,
            scalar,
            a,
            0,
            4,
            0,
            1,
            COMPUTE_32F,
            -1,
        )
    };
    assert_eq!(run(3), 7, "a leading dimension that is too small is seen at once");
    ok(run(4));
    assert_eq!(unsafe { cuCtxSynchronize() }, ILLEGAL_ADDRESS);
}

/// A matmul of column-major `[m, k]` and `[k, n]` with an epilogue; sets of attributes are (number, bytes).
struct Lt<'a> {
    gpu: &'a Context,
    ty: c_int,
    a: u64,
    b: u64,
}

const M: usize = 6;
const N: usize = 4;
const K: usize = 3;

/// Handle, descriptor, the layouts of A, B and D.
struct Set {
    handle: Handle,
    descriptor: Handle,
    layouts: [Handle; 3],
}

impl Lt<'_> {
    fn set(&self, attributes: &[(c_int, u64, usize)]) -> Set {
        let (mut handle, mut descriptor) = (0, 0);
        ok(unsafe { cublasLtCreate(&mut handle) });
        ok(unsafe { cublasLtMatmulDescCreate(&mut descriptor, COMPUTE_32F, 0) });
        for (attribute, value, bytes) in attributes {
            let from = (value as *const u64).cast();
            ok(unsafe { cublasLtMatmulDescSetAttribute(descriptor, *attribute, from, *bytes) });
        }
        let layout = |rows: usize, cols: usize| {
            let mut layout = 0;
            ok(unsafe { cublasLtMatrixLayoutCreate(&mut layout, self.ty, rows as u64, cols as u64, rows as i64) });
            layout
        };
        Set { handle, descriptor, layouts: [layout(M, K), layout(K, N), layout(M, N)] }
    }

    /// The status of the product into `d`, by this algorithm or any.
    fn multiply(&self, of: &Set, a: u64, d: u64, algorithm: *const c_void) -> c_int {
        let ([la, lb, ld], one, zero) = (of.layouts, 1.0, 0.0);
        unsafe {
            cublasLtMatmul(
                of.handle,
                of.descriptor,
                &one,
                a,
                la,
                self.b,
                lb,
                &zero,
                d,
                ld,
                d,
                ld,
                algorithm,
                null_mut(),
                0,
                0,
            )
        }
    }

    /// The algorithm for operands of this alignment (0: as the library assumes without a promise), or a status.
    fn algorithm(&self, of: &Set, alignment: u32) -> Result<[u64; 12], c_int> {
        let (mut preference, mut result, mut found) = (0, [0; 12], 0);
        ok(unsafe { cublasLtMatmulPreferenceCreate(&mut preference) });
        for attribute in (5..=8).filter(|_| alignment > 0) {
            let from = (&raw const alignment).cast();
            ok(unsafe { cublasLtMatmulPreferenceSetAttribute(preference, attribute, from, 4) });
        }
        let ([a, b, d], handle) = (of.layouts, of.handle);
        let status = unsafe {
            cublasLtMatmulAlgoGetHeuristic(
                handle,
                of.descriptor,
                a,
                b,
                d,
                d,
                preference,
                1,
                result.as_mut_ptr(),
                &mut found,
            )
        };
        if status == 0 { Ok(result) } else { Err(status) }
    }

    fn run(&self, attributes: &[(c_int, u64, usize)]) -> Vec<f32> {
        let d = upload(self.gpu, &[0.0; M * N], self.ty);
        ok(self.multiply(&self.set(attributes), self.a, d, null()));
        download(d, M * N, self.ty)
    }
}

#[test]
fn epilogues_do_what_their_names_say() {
    let gpu = Context::new();
    const EPILOGUE: c_int = 7;
    const BIAS: c_int = 8;
    const AUX: c_int = 11;
    const AUX_LD: c_int = 12;
    for ty in TYPES {
        let a: Vec<f32> = (0..M * K).map(|i| value(i, 1)).collect();
        let b: Vec<f32> = (0..K * N).map(|i| value(i, 2)).collect();
        let bias: Vec<f32> = (0..M).map(|i| value(i, 3)).collect();
        let lt = Lt { gpu: &gpu, ty, a: upload(&gpu, &a, ty), b: upload(&gpu, &b, ty) };
        let sum = |i: usize, j: usize| (0..K).map(|l| a[l * M + i] * b[j * K + l]).sum::<f32>();
        let each = |f: &dyn Fn(usize, usize) -> f32| -> Vec<f32> { (0..M * N).map(|at| f(at % M, at / M)).collect() };
        let (bias_at, mask_at) = (upload(&gpu, &bias, ty), upload(&gpu, &[0.0; 16 * N], 0));
        assert_eq!(lt.run(&[]), each(&sum));
        assert_eq!(lt.run(&[(EPILOGUE, 4, 4), (BIAS, bias_at, 8)]), each(&|i, j| sum(i, j) + bias[i]));
        let forward = [(EPILOGUE, 134, 4), (BIAS, bias_at, 8), (AUX, mask_at, 8), (AUX_LD, 128, 8)];
        let on = |i: usize, j: usize| sum(i, j) + bias[i] > 0.0;
        assert_eq!(lt.run(&forward), each(&|i, j| (sum(i, j) + bias[i]).max(0.0)));
        let mut mask = vec![0u8; 16 * N];
        ok(unsafe { cuMemcpyDtoH_v2(mask.as_mut_ptr().cast(), mask_at, mask.len()) });
        assert!((0..M * N).all(|at| mask[at / M * 16] >> (at % M) & 1 == u8::from(on(at % M, at / M))), "{mask:?}");
        // The gradient through the same mask, and of the bias.
        let gradient_at = upload(&gpu, &[9.0; M], ty);
        let backward = [(EPILOGUE, 152, 4), (BIAS, gradient_at, 8), (AUX, mask_at, 8), (AUX_LD, 128, 8)];
        let masked = |i: usize, j: usize| if on(i, j) { sum(i, j) } else { 0.0 };
        assert_eq!(lt.run(&backward), each(&masked));
        let expected: Vec<f32> = (0..M).map(|i| (0..N).map(|j| masked(i, j)).sum()).collect();
        assert_eq!(download(gradient_at, M, ty), expected);
        // Sums of the inputs over k.
        assert_eq!(lt.run(&[(EPILOGUE, 256, 4), (BIAS, gradient_at, 8)]), each(&sum));
        let expected: Vec<f32> = (0..M).map(|i| (0..K).map(|l| a[l * M + i]).sum()).collect();
        assert_eq!(download(gradient_at, M, ty), expected);
        assert_eq!(lt.run(&[(EPILOGUE, 512, 4), (BIAS, gradient_at, 8)]), each(&sum));
        let expected: Vec<f32> = (0..N).map(|j| (0..K).map(|l| b[j * K + l]).sum()).collect();
        assert_eq!(download(gradient_at, N, ty), expected);
    }
}

const INVALID_VALUE: c_int = 7;
const NOT_SUPPORTED: c_int = 15;

/// What a GPU leaves undefined: an algorithm with operands that it was not chosen for.
#[test]
fn an_algorithm_is_for_its_alignment_and_its_epilogue() {
    let gpu = Context::new();
    let (a, b) = (upload(&gpu, &[1.0; M * K + 4], 0), upload(&gpu, &[1.0; K * N], 0));
    let (lt, d) = (Lt { gpu: &gpu, ty: 0, a, b }, upload(&gpu, &[0.0; M * N], 0));
    let plain = lt.set(&[]);
    let [any, sixteen] = [0, 16].map(|alignment| lt.algorithm(&plain, alignment).unwrap());
    let multiply = |set: &Set, a: u64, algorithm: &[u64; 12]| lt.multiply(set, a, d, algorithm.as_ptr().cast());
    assert_eq!((multiply(&plain, a, &any), multiply(&plain, a + 16, &any)), (0, INVALID_VALUE));
    assert_eq!((multiply(&plain, a + 16, &sixteen), multiply(&plain, a + 8, &sixteen)), (0, INVALID_VALUE));
    let bias = |at: u64| lt.set(&[(7, 4, 4), (8, at, 8)]);
    assert_eq!(multiply(&bias(a), a, &sixteen), NOT_SUPPORTED, "an algorithm of another epilogue");
    let for_eight = lt.algorithm(&bias(a + 8), 16).unwrap();
    assert_eq!((multiply(&bias(a), a, &for_eight), multiply(&bias(a + 4), a, &for_eight)), (0, INVALID_VALUE));
    ok(unsafe { cuCtxSynchronize() });
}

/// As the header says of biases: of D's type.
#[test]
fn a_bias_of_another_type_is_refused() {
    let gpu = Context::new();
    let at = upload(&gpu, &[1.0; 32], 0);
    for (ty, epilogue) in TYPES.into_iter().flat_map(|ty| [4, 152, 256, 512].map(|epilogue| (ty, epilogue))) {
        let lt = Lt { gpu: &gpu, ty, a: at, b: at };
        let words = [(7, epilogue, 4), (8, at, 8), (11, at, 8), (12, 128, 8)];
        for bias in TYPES {
            let set = lt.set(&[&words[..], &[(26, bias as u64, 4)]].concat());
            let expected = if bias == ty { None } else { Some(NOT_SUPPORTED) };
            assert_eq!(lt.algorithm(&set, 16).err(), expected, "D {ty}, epilogue {epilogue}, bias {bias}");
        }
    }
}

#[test]
fn axpy_adds_in_f32_and_rounds_once() {
    let gpu = Context::new();
    let (mut handle, alpha) = (0, 3.0f32);
    ok(unsafe { cublasCreate_v2(&mut handle) });
    for ty in TYPES {
        let (x, y): (Vec<f32>, Vec<f32>) = (0..10).map(|i| (value(i, 1) / 8.0, 256.0 * value(i, 2))).unzip();
        let (at_x, at_y) = (upload(&gpu, &x, ty), upload(&gpu, &y, ty));
        let run = |step_x: c_int, kind: c_int| unsafe {
            cublasAxpyEx(handle, 5, (&raw const alpha).cast(), 0, at_x, ty, step_x, at_y, kind, 2, 0)
        };
        ok(run(1, ty));
        assert_eq!((run(0, ty), run(1, 1)), (NOT_SUPPORTED, NOT_SUPPORTED));
        ok(unsafe { cuCtxSynchronize() });
        let mut expected = y.clone();
        (0..5).for_each(|i| expected[2 * i] += 3.0 * x[i]);
        let rounded = encode(&expected, ty);
        assert_eq!(encode(&download(at_y, 10, ty), ty), rounded, "type {ty}");
    }
    ok(unsafe { cublasDestroy_v2(handle) });
}
