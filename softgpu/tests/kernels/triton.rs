//! Oracles of triton/*.ptx. The grids are those of the tutorials: one program per tile or row.

use crate::exact::{BRAIN, Even, HALF, narrow};
use crate::harness::{self, Arg, Bf16, Case, Check, F16, Kernel, Random, close, same};
use crate::llm::{attend, moments, softmax_rows, wide};
use crate::random::philox;

/// File, entry, check. A check launches through `go`.
const FILES: &[(&str, Case)] = &[
    ("vector_add", ("vector_add", vector_add)),
    ("fused_softmax", ("fused_softmax", fused_softmax)),
    ("matmul_f16", ("matmul", |k| matmul(k, [64, 64], F16::new, F16::new, |v| narrow(v, HALF, Even)))),
    ("matmul_f16_f32_wide", ("matmul", |k| matmul(k, [128, 64], F16::new, |v| v, leaky))),
    ("matmul_bf16", ("matmul", |k| matmul(k, [64, 32], Bf16::new, Bf16::new, |v| narrow(v, BRAIN, Even)))),
    ("matmul_tf32", ("matmul", |k| matmul(k, [32, 32], |v| v, |v| v, |v| v))),
    ("matmul_f32_ieee", ("matmul", |k| matmul(k, [32, 32], |v| v, |v| v, |v| v))),
    ("matmul_int8", ("matmul", |k| matmul(k, [64, 64], |v| v as i8, |v| v as i32, |v| v))),
    ("matmul_strided", ("matmul", matmul_strided)),
    ("layer_norm_forward", ("layer_norm_forward", layer_norm_forward)),
    ("layer_norm_backward", ("layer_norm_backward", layer_norm_backward)),
    ("column_sums", ("column_sums", column_sums)),
    ("dropout", ("dropout", dropout)),
    ("flash_attention", ("flash_attention", |k| flash_attention(k, 64, false))),
    ("flash_attention_causal", ("flash_attention", |k| flash_attention(k, 32, true))),
    ("atomics", ("atomics", atomics)),
    ("scans", ("scans", scans)),
    ("reductions", ("reductions", reductions)),
    ("histogram_sort", ("histogram_sort", histogram_sort)),
    ("shapes", ("shapes", shapes)),
    ("elementwise_math", ("elementwise_math", elementwise_math)),
    ("cross_entropy", ("cross_entropy", cross_entropy)),
    ("assert_print", ("assert_print", assert_print)),
    ("inline_assembly", ("inline_assembly", inline_assembly)),
];

pub fn run(not_yet: &[(&str, &str)]) {
    let mut failed = Vec::new();
    for (file, case) in FILES {
        let checks: Vec<Check> = harness::checks(&[*case]);
        let one = || harness::run(&format!("triton/{file}"), &harness::triton(file), &checks, not_yet, &[]);
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(one)) {
            failed.push(panic.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(failed.is_empty(), "{} of {} Triton kernels:\n{}", failed.len(), FILES.len(), failed.join("\n"));
}

/// As Triton's launcher does it: threads and shared memory of the file's first line, two null pointers at the end.
fn try_go(k: &Kernel, grid: (u32, u32), args: &[&dyn Arg]) -> bool {
    let number =
        |word: &str| k.text.split(word).nth(1).and_then(|rest| rest.split([',', '\n']).next()).unwrap().trim().parse();
    let [threads, shared] = ["threads: ", "shared: "].map(|word| number(word).unwrap());
    let mut all = args.to_vec();
    all.extend([&0u64 as &dyn Arg, &0u64]);
    k.try_launch(k.name(), [grid.0, grid.1, 1], [threads, 1, 1], shared, &all)
}

#[track_caller]
fn go(k: &Kernel, grid: (u32, u32), args: &[&dyn Arg]) {
    assert!(try_go(k, grid, args), "{}", k.error.borrow().as_ref().unwrap());
}

fn vector_add(k: &Kernel) {
    let n = 2500;
    let mut r = Random(1);
    let (x, y) = (r.f32s(n, -1., 1.), r.f32s(n, -1., 1.));
    let (dx, dy, out) = (k.upload(&x), k.upload(&y), k.zeros::<f32>(n));
    go(k, (3, 1), &[&dx, &dy, &out, &(n as i32)]);
    same(&out.read(), &x.iter().zip(&y).map(|(a, b)| a + b).collect::<Vec<_>>());
}

fn fused_softmax(k: &Kernel) {
    let (rows, cols) = (5usize, 701usize);
    let x = Random(2).f32s(rows * cols, -9., 9.);
    let (out, input) = (k.zeros::<f32>(x.len()), k.upload(&x));
    go(k, (2, 1), &[&out, &input, &(cols as i32), &(rows as i32), &(cols as i32)]);
    close(&out.read(), &softmax_rows(&x, cols), 5e-6, 0.0);
}

fn leaky(v: f64) -> f64 {
    if v >= 0.0 { v } else { (0.01f32 * v as f32) as f64 }
}

fn product(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f64> {
    (0..m * n).map(|i| (0..k).map(|p| a[i / n * k + p] as f64 * b[p * n + i % n] as f64).sum()).collect()
}

/// Whole numbers, so that sums are exact; `finish` rounds to the output's type.
fn matmul<T: bytemuck::Pod, C: bytemuck::Pod + Into<f64>>(
    kernel: &Kernel,
    tile: [usize; 2],
    element: fn(f32) -> T,
    zero: fn(f32) -> C,
    finish: fn(f64) -> f64,
) {
    let sizes = [150usize, 144, 80];
    let [m, n, k] = sizes;
    let mut r = Random(3);
    let (a, b) = (r.whole(m * k, -4, 4), r.whole(k * n, -4, 4));
    let upload = |x: &[f32]| kernel.upload(&x.iter().map(|v| element(*v)).collect::<Vec<_>>());
    let (da, db, c) = (upload(&a), upload(&b), kernel.filled(m * n, zero(0.0)));
    let grid = (m.div_ceil(tile[0]) * n.div_ceil(tile[1])) as u32;
    let [m32, n32, k32] = sizes.map(|v| v as i32);
    go(kernel, (grid, 1), &[&da, &db, &c, &m32, &n32, &k32, &k32, &n32, &n32]);
    close(&c.read(), &product(&a, &b, sizes).into_iter().map(finish).collect::<Vec<_>>(), 0.0, 0.0);
}

/// A by columns, B by rows, C by columns; sizes that nothing divides.
fn matmul_strided(kernel: &Kernel) {
    let sizes = [61usize, 45, 37];
    let [m, n, k] = sizes;
    let mut r = Random(4);
    let (a, b) = (r.whole(m * k, -4, 4), r.whole(k * n, -4, 4));
    let columns: Vec<F16> = (0..m * k).map(|i| F16::new(a[i % m * k + i / m])).collect();
    let (da, db, c) = (
        kernel.upload(&columns),
        kernel.upload(&b.iter().map(|v| F16::new(*v)).collect::<Vec<_>>()),
        kernel.zeros::<f32>(m * n),
    );
    let [m32, n32, k32] = sizes.map(|v| v as i32);
    let grid = (m.div_ceil(32) * n.div_ceil(32)) as u32;
    go(kernel, (grid, 1), &[&da, &db, &c, &m32, &n32, &k32, &1i32, &m32, &n32, &1i32, &1i32, &m32]);
    let want = product(&a, &b, sizes);
    close(&c.read(), &(0..m * n).map(|i| want[i % m * n + i / m]).collect::<Vec<_>>(), 0.0, 0.0);
}

fn halves(x: Vec<f32>) -> (Vec<F16>, Vec<f64>) {
    let low: Vec<F16> = x.into_iter().map(F16::new).collect();
    let values = low.iter().map(|v| (*v).into()).collect();
    (low, values)
}

fn layer_norm_forward(k: &Kernel) {
    let (rows, cols) = (4usize, 700usize);
    let mut r = Random(5);
    let ((x, xv), (w, wv), (b, bv)) =
        (halves(r.f32s(rows * cols, -2., 3.)), halves(r.f32s(cols, 0.5, 1.5)), halves(r.f32s(cols, -1., 1.)));
    let (dx, y, dw, db) = (k.upload(&x), k.zeros::<F16>(x.len()), k.upload(&w), k.upload(&b));
    let (mean, rstd) = (k.zeros::<f32>(rows), k.zeros::<f32>(rows));
    go(k, (rows as u32, 1), &[&dx, &y, &dw, &db, &mean, &rstd, &(cols as i32), &(cols as i32), &1e-5f32]);
    let (m, s): (Vec<f64>, Vec<f64>) = xv.chunks(cols).map(moments).unzip();
    close(&mean.read(), &m, 1e-6, 1e-7);
    close(&rstd.read(), &s, 1e-6, 0.0);
    let want = (0..xv.len()).map(|i| (xv[i] - m[i / cols]) * s[i / cols] * wv[i % cols] + bv[i % cols]);
    close(&y.read(), &want.collect::<Vec<_>>(), 1.0 / 2048.0, 2e-6);
}

fn layer_norm_backward(k: &Kernel) {
    let (rows, cols, groups) = (10usize, 300usize, 4usize);
    let mut r = Random(6);
    let ((x, xv), (g, gv), (w, wv)) =
        (halves(r.f32s(rows * cols, -2., 3.)), halves(r.f32s(rows * cols, -1., 1.)), halves(r.f32s(cols, 0.5, 1.5)));
    let (m, s): (Vec<f64>, Vec<f64>) = xv.chunks(cols).map(moments).unzip();
    let single = |x: &[f64]| k.upload(&x.iter().map(|v| *v as f32).collect::<Vec<_>>());
    let (dx, dy, dw, db) =
        (k.zeros::<F16>(x.len()), k.upload(&g), k.zeros::<f32>(groups * cols), k.zeros::<f32>(groups * cols));
    let (input, weight, mean, rstd, lock) =
        (k.upload(&x), k.upload(&w), single(&m), single(&s), k.zeros::<i32>(2 * groups));
    let size = cols as i32;
    go(k, (rows as u32, 1), &[&dx, &dy, &dw, &db, &input, &weight, &mean, &rstd, &lock, &size, &size]);
    let (mut want, mut gw, mut gb) = (Vec::new(), vec![0.0; groups * cols], vec![0.0; groups * cols]);
    for row in 0..rows {
        let n: Vec<f64> = (0..cols).map(|c| (xv[row * cols + c] - m[row]) * s[row]).collect();
        let g = &gv[row * cols..][..cols];
        let a: Vec<f64> = (0..cols).map(|c| wv[c] * g[c]).collect();
        let c1 = n.iter().zip(&a).map(|(n, a)| n * a).sum::<f64>() / cols as f64;
        let c2 = a.iter().sum::<f64>() / cols as f64;
        for c in 0..cols {
            want.push((a[c] - n[c] * c1 - c2) * s[row]);
            gw[row % groups * cols + c] += g[c] * n[c];
            gb[row % groups * cols + c] += g[c];
        }
    }
    close(&dx.read(), &want, 1.0 / 2048.0, 1e-6);
    close(&dw.read(), &gw, 1e-6, 2e-6);
    close(&db.read(), &gb, 1e-6, 1e-6);
    same(&lock.read(), &[0, 0, 0, 0, 1, 1, 1, 1]);
}

fn column_sums(k: &Kernel) {
    let (rows, cols) = (45usize, 100usize);
    let x = Random(7).whole(rows * cols, -9, 9);
    let (partial, out) = (k.upload(&x), k.zeros::<f32>(cols));
    go(k, (2, 1), &[&partial, &out, &(rows as i32), &(cols as i32)]);
    same(&out.read(), &(0..cols).map(|c| x.iter().skip(c).step_by(cols).sum()).collect::<Vec<f32>>());
}

fn dropout(k: &Kernel) {
    let n = 1000;
    let x = Random(8).f32s(n, -1., 1.);
    let (dx, out, words) = (k.upload(&x), k.zeros::<f32>(n), k.zeros::<i32>(n));
    go(k, (4, 1), &[&dx, &out, &words, &(n as i32), &0.3f32, &1234i32]);
    same(&words.read(), &(0..n as u32).map(|i| philox([i, 0, 0, 0], [1235, 0])[0] as i32).collect::<Vec<_>>());
    let kept = |i: usize| {
        let word = philox([i as u32, 0, 0, 0], [1234, 0])[0] as i32;
        let uniform = (if word < 0 { !word } else { word }) as f32 * 4.656_612_7e-10;
        if uniform > 0.3 { x[i] as f64 / 0.7f32 as f64 } else { 0.0 }
    };
    close(&out.read(), &(0..n).map(kept).collect::<Vec<_>>(), 3e-7, 0.0);
}

fn flash_attention(k: &Kernel, d: usize, causal: bool) {
    let (heads, t) = (2usize, 100usize);
    let mut r = Random(9);
    let [(q, qv), (key, kv), (v, vv)] = [0; 3].map(|_| halves(r.f32s(heads * t * d, -1.5, 1.5)));
    let (dq, dk, dv) = (k.upload(&q), k.upload(&key), k.upload(&v));
    let (out, sums) = (k.zeros::<F16>(q.len()), k.zeros::<f32>(heads * t));
    go(k, (2, heads as u32), &[&dq, &dk, &dv, &out, &sums, &(t as i32), &0.125f32]);
    let (mut want, mut want_sums) = (Vec::new(), Vec::new());
    for h in 0..heads {
        let part = |x: &[f64]| x[h * t * d..][..t * d].to_vec();
        let (o, s) = attend(&part(&qv), &part(&kv), &part(&vv), t, d, 0.125, causal);
        want.extend(o);
        want_sums.extend(s);
    }
    close(&out.read(), &want, 1.0 / 1024.0, 1e-3); // probabilities are rounded to f16 before the second product
    close(&sums.read(), &want_sums, 5e-7, 2e-6);
}

fn atomics(k: &Kernel) {
    let n = 900usize;
    let mut r = Random(10);
    let (keys, values) = (r.ints(n, 0, 63), r.whole(n, -40, 40));
    let start: Vec<i32> = [[0; 64], [-1; 64], [i32::MAX; 64]].concat();
    let floats: Vec<f32> = [[0.0; 64], [-1e30; 64]].concat();
    let (bins, df, dh, dw) = (k.upload(&start), k.upload(&floats), k.zeros::<F16>(64), k.zeros::<u64>(128));
    let (dk, dv) = (k.upload(&keys), k.upload(&values));
    go(k, (4, 1), &[&bins, &df, &dh, &dw, &dk, &dv, &(n as i32)]);
    let (mut b, mut f, mut w) = (start, floats, vec![0u64; 128]);
    for (i, (key, v)) in keys.iter().map(|key| *key as usize).zip(&values).enumerate() {
        b[key] += 1;
        b[64 + key] = b[64 + key].max(i as i32);
        b[128 + key] = b[128 + key].min(i as i32);
        f[key] += v;
        f[64 + key] = f[64 + key].max(*v);
        w[key] |= (i as u64 + 1) << 20;
        w[64 + key] ^= i as u64 * 3;
    }
    same(&bins.read(), &b);
    same(&df.read(), &f);
    close(&dh.read(), &b[..64].iter().map(|v| *v as f64).collect::<Vec<_>>(), 0.0, 0.0);
    same(&dw.read(), &w);
}

fn scans(k: &Kernel) {
    let rows = 3usize;
    let mut r = Random(11);
    let (x, gate) = (r.whole(rows * 256, -9, 9), r.f32s(rows * 256, 0.0, 0.9));
    let (dx, sums, backward) = (k.upload(&x), k.zeros::<f32>(x.len()), k.zeros::<f32>(x.len()));
    let (dg, states) = (k.upload(&gate), k.zeros::<f32>(x.len()));
    go(k, (rows as u32, 1), &[&dx, &sums, &backward, &dg, &states, &(rows as i32)]);
    let inclusive = |c: &[f32]| {
        c.iter()
            .scan(0.0, |s, v| {
                *s += v;
                Some(*s)
            })
            .collect::<Vec<f32>>()
    };
    same(&sums.read(), &x.chunks(256).flat_map(inclusive).collect::<Vec<_>>());
    let reversed = |c: &[f32]| {
        let mut turned = inclusive(&c.iter().rev().map(|v| v.abs()).collect::<Vec<_>>());
        turned.reverse();
        turned
    };
    same(&backward.read(), &x.chunks(256).flat_map(reversed).collect::<Vec<_>>());
    let linear = |(c, g): (&[f32], &[f32])| {
        c.iter()
            .zip(g)
            .scan(0.0f64, |h, (x, g)| {
                *h = *g as f64 * *h + *x as f64;
                Some(*h)
            })
            .collect::<Vec<_>>()
    };
    close(&states.read(), &x.chunks(256).zip(gate.chunks(256)).flat_map(linear).collect::<Vec<_>>(), 1e-6, 4e-6);
}

fn reductions(k: &Kernel) {
    let (rows, cols) = (10usize, 50usize);
    let mut x = Random(12).whole(rows * cols, -30, 30);
    x[50..100].fill(7.0); // a tie: the first of them
    let (dx, sums, tops) = (k.upload(&x), k.zeros::<f32>(rows), k.zeros::<f32>(3 * 64));
    let (args, counts) = (k.zeros::<i32>(2 * rows), k.zeros::<i32>(rows));
    go(k, (3, 1), &[&dx, &sums, &tops, &args, &counts, &(rows as i32), &(cols as i32)]);
    let each = || x.chunks(cols);
    same(&sums.read(), &each().map(|c| c.iter().sum()).collect::<Vec<f32>>());
    let top = |i: usize| {
        let inside = (i / 64 * 4..(i / 64 * 4 + 4).min(rows)).filter(|_| i % 64 < cols);
        inside.map(|r| x[r * cols + i % 64]).fold(f32::NEG_INFINITY, f32::max)
    };
    same(&tops.read(), &(0..3 * 64).map(top).collect::<Vec<_>>());
    let first = |c: &[f32], better: fn(&f32, &f32) -> bool| {
        (1..cols).fold(0, |best, i| if better(&c[i], &c[best]) { i } else { best }) as i32
    };
    let found: Vec<i32> = each().map(|c| first(c, f32::gt)).chain(each().map(|c| first(c, f32::lt))).collect();
    same(&args.read(), &found);
    same(&counts.read(), &each().map(|c| c.iter().fold(0, |a, v| a ^ v.to_bits() as i32)).collect::<Vec<_>>());
}

fn histogram_sort(k: &Kernel) {
    let x = Random(13).ints(512, -5000, 5000);
    let (dx, bins, ordered, tops) = (k.upload(&x), k.zeros::<i32>(64), k.zeros::<i32>(512), k.zeros::<i32>(16));
    go(k, (2, 1), &[&dx, &bins, &ordered, &tops]);
    let mut counts = vec![0; 64];
    x.iter().for_each(|v| counts[(v & 63) as usize] += 1);
    same(&bins.read(), &counts);
    let mut sorted = x.clone();
    sorted.chunks_mut(256).for_each(|c| c.sort());
    same(&ordered.read(), &sorted);
    same(&tops.read(), &sorted.chunks(256).flat_map(|c| c.iter().rev().take(8).copied()).collect::<Vec<_>>());
}

fn shapes(k: &Kernel) {
    let (r, c) = (16usize, 64usize);
    let x = Random(14).f32s(r * c, -2., 2.);
    let (dx, out, low) = (k.upload(&x), k.zeros::<f32>(3 * r * c + r * c / 2), k.zeros::<Bf16>(r * c / 2));
    go(k, (1, 1), &[&dx, &out, &low]);
    let mut want: Vec<f32> = (0..r * c).map(|i| x[i % r * c + i / r]).collect();
    want.extend((0..r * c).map(|i| x[i ^ 1]));
    want.extend((0..r * c).map(|i| x[i / c * c + (i % c * 5 + i / c) % c]));
    want.extend(x.iter().skip(1).step_by(2).map(|v| f64::from(F16::new(*v)) as f32));
    same(&out.read(), &want);
    same(&low.read(), &x.iter().step_by(2).map(|v| Bf16::new(*v)).collect::<Vec<_>>());
}

fn elementwise_math(k: &Kernel) {
    let n = 600usize;
    let x = Random(15).f32s(n, -50., 50.);
    let (dx, out, ints) = (k.upload(&x), k.zeros::<f32>(11 * n), k.zeros::<i32>(4 * n));
    go(k, (3, 1), &[&dx, &out, &ints, &(n as i32)]);
    let got = out.read();
    type One = fn(f64) -> f64;
    let functions: [(One, f64, f64); 11] = [
        (f64::exp, 5e-6, 0.0),
        (|v| v.abs().ln(), 2e-7, 2e-7),
        (f64::sin, 1.5e-7, 2e-8),
        (f64::cos, 1.5e-7, 2e-8),
        (|v| (v.abs().sqrt() as f32) as f64, 0.0, 0.0),
        (|v| 1.0 / v.abs().sqrt(), 2e-7, 0.0),
        (|v| 1.0 / (1.0 + (-v).exp()), 5e-6, 0.0),
        (libm::erf, 2.4e-7, 0.0),
        (|v| v.floor() + v.ceil(), 0.0, 0.0),
        (|v| (v as f32 / (v as f32 + 3.0)) as f64, 0.0, 0.0),
        (|v| v.mul_add(v, -1.0).clamp(-0.5, 2.0), 1e-7, 0.0),
    ];
    for (j, (f, relative, absolute)) in functions.into_iter().enumerate() {
        close(&got[j * n..][..n], &wide(&x).into_iter().map(f).collect::<Vec<_>>(), relative, absolute);
    }
    let whole: Vec<i32> = x.iter().map(|v| *v as i32).collect();
    let mut want: Vec<i32> = whole.iter().map(|i| i / 3).collect();
    want.extend(whole.iter().map(|i| i % 7));
    want.extend(whole.iter().map(|i| (*i as u32 as u64 * 0x9E37_79B9 >> 32) as i32));
    want.extend(whole.iter().map(|i| *i as i8 as i32 + *i as u16 as i32));
    same(&ints.read(), &want);
}

fn cross_entropy(k: &Kernel) {
    let (rows, v, stride) = (3usize, 700usize, 704usize);
    let mut r = Random(16);
    let x: Vec<Bf16> = r.f32s(rows * stride, -4., 4.).into_iter().map(Bf16::new).collect();
    let targets: Vec<i64> = r.ints(rows, 0, v as i64 - 1).into_iter().map(|t| t as i64).collect();
    let (logits, losses, dt) = (k.upload(&x), k.zeros::<f32>(rows), k.upload(&targets));
    go(k, (rows as u32, 1), &[&logits, &losses, &dt, &(stride as i32), &(v as i32)]);
    let (mut loss, mut grad) = (Vec::new(), Vec::new());
    for (row, target) in x.chunks(stride).zip(&targets) {
        let row: Vec<f64> = row.iter().map(|v| (*v).into()).collect();
        let sum: f64 = row[..v].iter().map(|v| v.exp()).sum();
        let (lse, mean) = (sum.ln(), row[..v].iter().sum::<f64>() / v as f64);
        loss.push(0.9 * (lse - row[*target as usize]) + 0.1 * (lse - mean));
        let slope = |c: usize| row[c].exp() / sum - if c == *target as usize { 0.9 } else { 0.0 } - 0.1 / v as f64;
        grad.extend((0..stride).map(|c| if c < v { slope(c) } else { row[c] }));
    }
    close(&losses.read(), &loss, 5e-7, 0.0);
    close(&logits.read(), &grad, 1.0 / 256.0, 1e-8);
}

fn assert_print(k: &Kernel) {
    let mut x = Random(17).ints(100, 0, 9);
    let (dx, out) = (k.upload(&x), k.zeros::<i32>(100));
    go(k, (1, 1), &[&dx, &out, &100i32]);
    same(&out.read(), &x);
    x[61] = -1;
    let bad = k.upload(&x);
    assert!(!try_go(k, (1, 1), &[&bad, &out, &100i32]), "the assertion does not stop it");
    assert!(matches!(k.error.borrow().as_ref(), Some(softgpu::Error::Stopped(_))));
}

fn inline_assembly(k: &Kernel) {
    let mut r = Random(18);
    let mut words = || (0..512).map(|_| r.u64() as u32).collect::<Vec<_>>();
    let (x, y) = (words(), words());
    let (dx, dy, out) = (k.upload(&x), k.upload(&y), k.zeros::<i32>(512));
    go(k, (2, 1), &[&dx, &dy, &out]);
    let dot = |(a, b): (&u32, &u32)| {
        a.to_le_bytes().iter().zip(b.to_le_bytes()).map(|(a, b)| *a as i8 as i32 * b as i8 as i32).sum::<i32>() + 7
    };
    same(&out.read(), &x.iter().zip(&y).map(dot).collect::<Vec<_>>());
}
