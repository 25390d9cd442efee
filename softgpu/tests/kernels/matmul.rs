//! Oracles of matmul.cu, wmma.cu and mma_ptx.cu. Most matrices hold small integers, so that products are exact in any
//! order.

use crate::harness::{Bf16, Case, F16, Kernel, Random, close, same};

pub const SHARED: &[Case] = &[
    ("transpose", transpose),
    ("matmul_tiled", matmul_tiled),
    ("matmul_pipelined", matmul_pipelined),
    ("pipeline_sum", pipeline_sum),
    ("pipeline_thread", pipeline_thread),
    ("barrier_copy", barrier_copy),
    ("cg_memcpy_async", cg_memcpy_async),
];
pub const WMMA: &[Case] = &[
    ("wmma_f16_f32", |k| wmma(k, 16, 16, [ROW, COL, ROW], F16::new, |v| v)),
    ("wmma_f16_f16", |k| wmma(k, 16, 16, [COL, ROW, COL], F16::new, F16::new)),
    ("wmma_f16_32x8", |k| wmma(k, 32, 8, [ROW, ROW, ROW], F16::new, |v| v)),
    ("wmma_f16_8x32", |k| wmma(k, 8, 32, [COL, COL, ROW], F16::new, F16::new)),
    ("wmma_bf16", |k| wmma(k, 16, 16, [ROW, COL, COL], Bf16::new, |v| v)),
    ("wmma_s8", |k| wmma(k, 16, 16, [ROW, COL, ROW], |v| v as i8, |v| v as i32)),
    ("wmma_u8", |k| wmma(k, 8, 32, [COL, ROW, ROW], |v| v.abs() as u8, |v| v as i32)),
    ("wmma_f64", |k| wmma(k, 8, 8, [ROW, COL, ROW], |v| v as f64 * 1.25, |v| v as f64)),
    ("wmma_tf32_relu", wmma_tf32_relu),
    ("wmma_shared", wmma_shared),
];
pub const MMA: &[Case] = &[
    ("mma_m16n8k16_f16", |k| mma(k, 16, F16::new, |v| v, true, true)),
    ("mma_m16n8k16_bf16", |k| mma(k, 16, Bf16::new, |v| v, true, true)),
    ("mma_m16n8k16_f16_acc16", |k| mma(k, 16, F16::new, F16::new, false, true)),
    ("mma_m16n8k8_f16", |k| mma(k, 8, F16::new, |v| v, false, false)),
    ("mma_m16n8k8_bf16", |k| mma(k, 8, Bf16::new, |v| v, false, false)),
    ("mma_m16n8k8_tf32", |k| mma_tf32(k, 8)),
    ("mma_m16n8k4_tf32", |k| mma_tf32(k, 4)),
    ("mma_m16n8k32_s8", |k| mma_int(k, 32, false, true, false)),
    ("mma_m16n8k32_u8s8", |k| mma_int(k, 32, true, true, false)),
    ("mma_m16n8k32_s8_sat", |k| mma_int(k, 32, false, true, true)),
    ("mma_m16n8k16_s8", |k| mma_int(k, 16, false, false, false)),
    ("mma_m8n8k4_f64", mma_f64),
    ("ldmatrix_forms", ldmatrix_forms),
];
const ROW: bool = true;
const COL: bool = false;

/// Row-major product in f64, plus `c`.
fn product(a: &[f64], b: &[f64], c: &[f64], m: usize, n: usize, k: usize) -> Vec<f64> {
    let at = |i: usize, j: usize| {
        (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f64>() + c.get(i * n + j).unwrap_or(&0.0)
    };
    (0..m * n).map(|i| at(i / n, i % n)).collect()
}

/// Column-major from row-major.
fn flip<T: Copy>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
}

fn doubles(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| *v as f64).collect()
}

fn transpose(k: &Kernel) {
    let (rows, cols) = (45usize, 70usize);
    let x = Random(1).f32s(rows * cols, -1., 1.);
    let (out, input) = (k.zeros::<f32>(x.len()), k.upload(&x));
    k.launch((3, 2), (32, 8), 0, &[&out, &input, &(rows as i32), &(cols as i32)]);
    same(&out.read(), &flip(&x, rows, cols));
}

fn plain(k: &Kernel, [m, n, d]: [usize; 3], tile: usize, block: (u32, u32)) {
    let mut r = Random(2);
    let (a, b) = (r.whole(m * d, -9, 9), r.whole(d * n, -9, 9));
    let (c, da, db) = (k.zeros::<f32>(m * n), k.upload(&a), k.upload(&b));
    let grid = (n.div_ceil(tile) as u32, m.div_ceil(tile) as u32);
    k.launch(grid, block, 0, &[&c, &da, &db, &(m as i32), &(n as i32), &(d as i32)]);
    close(&c.read(), &product(&doubles(&a), &doubles(&b), &[], m, n, d), 0.0, 0.0);
}

fn matmul_tiled(k: &Kernel) {
    plain(k, [37, 29, 45], 16, (16, 16));
    plain(k, [1, 16, 3], 16, (16, 16));
}

fn matmul_pipelined(k: &Kernel) {
    plain(k, [70, 68, 36], 64, (256, 1));
    plain(k, [5, 4, 4], 64, (256, 1));
}

fn pipeline_sum(k: &Kernel) {
    let chunks = 5usize;
    let x = Random(3).whole(chunks * 128, -9, 9);
    let (out, input) = (k.zeros::<f32>(64), k.upload(&x));
    k.launch(1, 64, 0, &[&out, &input, &(chunks as i32)]);
    let sum = |t: usize| (0..chunks).map(|c| x[c * 128 + (t + c) % 128] * (c + 1) as f32).sum::<f32>();
    same(&out.read(), &(0..64).map(sum).collect::<Vec<_>>());
}

fn pipeline_thread(k: &Kernel) {
    let x = Random(4).whole(512, -9, 9);
    let (out, input) = (k.zeros::<f32>(64), k.upload(&x));
    k.launch(1, 64, 0, &[&out, &input]);
    let sum = |c: &[f32]| c[..4].iter().sum::<f32>() - c[4..].iter().sum::<f32>();
    same(&out.read(), &x.chunks(8).map(sum).collect::<Vec<_>>());
}

fn barrier_copy(k: &Kernel) {
    let rounds = 4;
    let x = Random(5).ints(rounds * 256, -99, 99);
    let (out, input) = (k.zeros::<i32>(256), k.upload(&x));
    k.launch(1, 256, 0, &[&out, &input, &(rounds as i32)]);
    let sum = |t: usize| (0..rounds).fold(0, |s, r| s * 3 + x[r * 256 + 255 - t]);
    same(&out.read(), &(0..256).map(sum).collect::<Vec<_>>());
}

fn cg_memcpy_async(k: &Kernel) {
    let n = 100;
    let x = Random(6).f32s(3 * n, -1., 1.);
    let (out, input) = (k.zeros::<f32>(3 * n), k.upload(&x));
    k.launch(3, 96, 400, &[&out, &input, &(n as i32)]);
    same(&out.read(), &x.chunks(n).flat_map(|c| c.iter().rev().copied()).collect::<Vec<_>>());
}

/// D = A·B + C in tiles of tm × tn, and once more without C; `layouts` of A, B, and C with D.
fn wmma<T: bytemuck::Pod + Into<f64>, A: bytemuck::Pod + Into<f64>>(
    kernel: &Kernel,
    tm: usize,
    tn: usize,
    layouts: [bool; 3],
    element: fn(f32) -> T,
    acc: fn(f32) -> A,
) {
    let (m, n, k) = (32usize, 64usize, 48usize);
    let mut r = Random(7);
    let [a, b] = [m * k, k * n].map(|len| r.whole(len, -4, 4).into_iter().map(element).collect::<Vec<_>>());
    let c: Vec<A> = r.whole(m * n, -99, 99).into_iter().map(acc).collect();
    let wide = |x: &[T]| x.iter().map(|v| (*v).into()).collect::<Vec<_>>();
    let order = |x: &[T], rows, cols, row: bool| if row { x.to_vec() } else { flip(x, rows, cols) };
    let (da, db) = (kernel.upload(&order(&a, m, k, layouts[0])), kernel.upload(&order(&b, k, n, layouts[1])));
    let dc = kernel.upload(&if layouts[2] { c.clone() } else { flip(&c, m, n) });
    let d = kernel.zeros::<A>(m * n);
    let grid = ((n / tn) as u32, (m / tm) as u32);
    let sizes = [m as i32, n as i32, k as i32];
    for with_c in [true, false] {
        let c_or_null = if with_c { dc.address } else { 0 };
        kernel.launch(grid, 32, 0, &[&d, &da, &db, &c_or_null, &sizes[0], &sizes[1], &sizes[2]]);
        let got = if layouts[2] { d.read() } else { flip(&d.read(), n, m) };
        let added: Vec<f64> = if with_c { c.iter().map(|v| (*v).into()).collect() } else { Vec::new() };
        let got: Vec<f64> = got.iter().map(|v| (*v).into()).collect();
        same(&got, &product(&wide(&a), &wide(&b), &added, m, n, k));
    }
}

/// To 10 bits of mantissa, ties away from zero.
fn tf32(x: f32) -> f64 {
    f32::from_bits(x.to_bits().wrapping_add(0x1000) & !0x1fff) as f64
}

fn wmma_tf32_relu(kernel: &Kernel) {
    let (m, n, k) = (32usize, 48usize, 24usize);
    let mut r = Random(8);
    let (a, b) = (r.f32s(m * k, -1., 1.), r.f32s(k * n, -1., 1.));
    let (d, da, db) = (kernel.zeros::<f32>(m * n), kernel.upload(&a), kernel.upload(&b));
    kernel.launch((3, 2), 32, 0, &[&d, &da, &db, &(m as i32), &(n as i32), &(k as i32)]);
    let round = |x: &[f32]| x.iter().map(|v| tf32(*v)).collect::<Vec<_>>();
    let want: Vec<f64> = product(&round(&a), &round(&b), &[], m, n, k).iter().map(|v| v.max(0.0)).collect();
    close(&d.read(), &want, 0.0, 2e-6);
}

fn wmma_shared(kernel: &Kernel) {
    let (m, n, k) = (64usize, 96usize, 32usize);
    let mut r = Random(9);
    let (a, b) = (r.whole(m * k, -8, 8), r.whole(k * n, -8, 8));
    let halves = |x: &[f32]| x.iter().map(|v| F16::new(*v)).collect::<Vec<_>>();
    let (d, da, db) = (kernel.zeros::<f32>(m * n), kernel.upload(&halves(&a)), kernel.upload(&halves(&b)));
    kernel.launch((3, 2), 128, 0, &[&d, &da, &db, &(n as i32), &(k as i32)]);
    close(&d.read(), &product(&doubles(&a), &doubles(&b), &[], m, n, k), 0.0, 0.0);
}

/// One m16n8 tile; B as it lies in memory is row-major or column-major.
fn mma<T: bytemuck::Pod + Into<f64>, A: bytemuck::Pod + Into<f64>>(
    kernel: &Kernel,
    k: usize,
    element: fn(f32) -> T,
    acc: fn(f32) -> A,
    b_row: bool,
    with_c: bool,
) {
    let mut r = Random(10);
    let [a, b] = [16 * k, k * 8].map(|len| r.whole(len, -7, 7).into_iter().map(element).collect::<Vec<_>>());
    let c: Vec<A> = r.whole(128, -99, 99).into_iter().map(acc).collect();
    let wide = |x: &[T]| x.iter().map(|v| (*v).into()).collect::<Vec<_>>();
    let (d, da, dc) = (kernel.zeros::<A>(128), kernel.upload(&a), kernel.upload(&c));
    let db = kernel.upload(&if b_row { b.clone() } else { flip(&b, k, 8) });
    let added: Vec<f64> = if with_c { c.iter().map(|v| (*v).into()).collect() } else { Vec::new() };
    if with_c {
        kernel.launch(1, 32, 0, &[&d, &da, &db, &dc]);
    } else {
        kernel.launch(1, 32, 0, &[&d, &da, &db]);
    }
    let got: Vec<f64> = d.read().iter().map(|v| (*v).into()).collect();
    same(&got, &product(&wide(&a), &wide(&b), &added, 16, 8, k));
}

fn mma_tf32(kernel: &Kernel, k: usize) {
    let mut r = Random(11);
    let (a, b) = (r.f32s(16 * k, -1., 1.), r.f32s(k * 8, -1., 1.));
    let (d, da, db) = (kernel.zeros::<f32>(128), kernel.upload(&a), kernel.upload(&flip(&b, k, 8)));
    kernel.launch(1, 32, 0, &[&d, &da, &db]);
    let round = |x: &[f32]| x.iter().map(|v| tf32(*v)).collect::<Vec<_>>();
    close(&d.read(), &product(&round(&a), &round(&b), &[], 16, 8, k), 0.0, 1e-6);
}

fn mma_int(kernel: &Kernel, k: usize, unsigned_a: bool, with_c: bool, saturate: bool) {
    let mut r = Random(12);
    let mut bytes = |n: usize| (0..n).map(|_| r.u64() as u8).collect::<Vec<_>>();
    let (a, b) = (bytes(16 * k), bytes(8 * k));
    let c: Vec<i32> = (0..128).map(|i| [i32::MAX - 5000, i32::MIN + 5000, i * 77][i as usize % 3]).collect();
    let (d, da, db, dc) = (kernel.zeros::<i32>(128), kernel.upload(&a), kernel.upload(&b), kernel.upload(&c));
    if with_c {
        kernel.launch(1, 32, 0, &[&d, &da, &db, &dc]);
    } else {
        kernel.launch(1, 32, 0, &[&d, &da, &db]);
    }
    let value = |byte: u8| if unsigned_a { byte as i64 } else { byte as i8 as i64 };
    let at = |i: usize| {
        let (row, col) = (i / 8, i % 8);
        let sum: i64 = (0..k).map(|p| value(a[row * k + p]) * (b[col * k + p] as i8) as i64).sum();
        let sum = sum + if with_c { c[i] as i64 } else { 0 };
        if saturate { sum.clamp(i32::MIN as i64, i32::MAX as i64) as i32 } else { sum as i32 }
    };
    same(&d.read(), &(0..128).map(at).collect::<Vec<_>>());
}

fn mma_f64(kernel: &Kernel) {
    let mut r = Random(13);
    let (a, b) = (doubles(&r.whole(32, -9, 9)), doubles(&r.whole(32, -9, 9)));
    let (d, da, db) = (kernel.zeros::<f64>(64), kernel.upload(&a), kernel.upload(&flip(&b, 4, 8)));
    kernel.launch(1, 32, 0, &[&d, &da, &db]);
    same(&d.read(), &product(&a, &b, &[], 8, 8, 4));
}

fn ldmatrix_forms(kernel: &Kernel) {
    let mut r = Random(14);
    let x: Vec<u16> = (0..256).map(|_| r.u64() as u16).collect();
    let (out, input) = (kernel.zeros::<u32>(480), kernel.upload(&x));
    kernel.launch(1, 32, 0, &[&out, &input]);
    // Lane t's address is row 5t + 3 mod 32; matrix j takes the addresses of lanes 8j to 8j + 7.
    let at = |j: usize, row: usize, col: usize| x[(5 * (8 * j + row) + 3) % 32 * 8 + col] as u32;
    let plain = |j: usize, l: usize| at(j, l / 4, l % 4 * 2) | at(j, l / 4, l % 4 * 2 + 1) << 16;
    let trans = |j: usize, l: usize| at(j, l % 4 * 2, l / 4) | at(j, l % 4 * 2 + 1, l / 4) << 16;
    let mut want = Vec::new();
    for count in [1, 2, 4] {
        want.extend((0..32 * count).map(|i| plain(i / 32, i % 32)));
        want.extend((0..32 * count).map(|i| trans(i / 32, i % 32)));
    }
    want.extend((0..32).map(|l| plain(0, l))); // the transpose of the transpose
    same(&out.read(), &want);
}
