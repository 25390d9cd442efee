//! Oracles of llm.cu, in f64 unless bits are what matters.

use crate::harness::{Arg, Bf16, Case, F16, Kernel, Random, close, same};

pub const CASES: &[Case] = &[
    ("gelu_forward", gelu_forward),
    ("gelu_backward", gelu_backward),
    ("softmax_forward", softmax),
    ("layernorm_forward layernorm_backward", layernorm),
    ("rmsnorm_half", rmsnorm),
    ("adamw", adamw),
    ("cross_entropy", cross_entropy),
    ("embed", embed),
    ("embed_backward", embed_backward),
    ("rope", rope),
    ("quantise_rows", quantise_rows),
    ("matvec_int8", matvec_int8),
    ("top_k", top_k),
    ("attention", attention),
];

pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| *v as f64).collect()
}
fn tanh_argument(v: f64) -> f64 {
    0.7978845608 * (v + 0.044715 * v * v * v)
}

fn gelu_forward(k: &Kernel) {
    let n = 2 * 64 * 8;
    let x: Vec<Bf16> = Random(1).f32s(n, -6., 6.).iter().map(|v| Bf16::new(*v)).collect();
    let (out, input) = (k.zeros::<Bf16>(n), k.upload(&x));
    k.launch(2, 64, 0, &[&out, &input]);
    let gelu = |v: &Bf16| 0.5 * f64::from(*v) * (1.0 + tanh_argument((*v).into()).tanh());
    // Half a unit of bf16; near −6 the sum 1 + tanh cancels, and is known to 2⁻²⁴ only.
    close(&out.read(), &x.iter().map(gelu).collect::<Vec<_>>(), 1.0 / 256.0, 1e-6);
}

fn gelu_backward(k: &Kernel) {
    let n = 700;
    let mut r = Random(2);
    let (x, dy) = (r.f32s(n, -5., 5.), r.f32s(n, -2., 2.));
    let (dx, input, g) = (k.zeros::<f32>(n), k.upload(&x), k.upload(&dy));
    k.launch(6, 128, 0, &[&dx, &input, &g, &(n as i32)]);
    let slope = |(v, g): (f64, f64)| {
        let a = tanh_argument(v);
        g * (0.5 * (1.0 + a.tanh()) + v * 0.5 / a.cosh().powi(2) * 0.7978845608 * (1.0 + 3.0 * 0.044715 * v * v))
    };
    close(&dx.read(), &wide(&x).into_iter().zip(wide(&dy)).map(slope).collect::<Vec<_>>(), 2e-6, 2e-7);
}

pub fn softmax_rows(x: &[f32], cols: usize) -> Vec<f64> {
    let row = |c: &[f32]| {
        let top = c.iter().copied().fold(f32::MIN, f32::max) as f64;
        let sum: f64 = c.iter().map(|v| (*v as f64 - top).exp()).sum();
        c.iter().map(|v| (*v as f64 - top).exp() / sum).collect::<Vec<_>>()
    };
    x.chunks(cols).flat_map(row).collect()
}

fn softmax(k: &Kernel) {
    let (rows, cols) = (5usize, 301usize);
    let x = Random(3).f32s(rows * cols, -9., 9.);
    let (out, input) = (k.zeros::<f32>(x.len()), k.upload(&x));
    k.launch(rows as u32, 128, 0, &[&out, &input, &(cols as i32)]);
    close(&out.read(), &softmax_rows(&x, cols), 3e-6, 0.0);
}

/// Mean and 1/√(variance + 1e-5) of a row.
pub fn moments(x: &[f64]) -> (f64, f64) {
    let m = x.iter().sum::<f64>() / x.len() as f64;
    (m, 1.0 / (x.iter().map(|v| (v - m).powi(2)).sum::<f64>() / x.len() as f64 + 1e-5).sqrt())
}

fn layernorm(k: &Kernel) {
    let (rows, cols) = (9usize, 75usize);
    let mut r = Random(4);
    let (x, w, b, dy) =
        (r.f32s(rows * cols, -2., 3.), r.f32s(cols, 0.5, 1.5), r.f32s(cols, -1., 1.), r.f32s(rows * cols, -1., 1.));
    let (out, mean, rstd) = (k.zeros::<f32>(x.len()), k.zeros::<f32>(rows), k.zeros::<f32>(rows));
    let (input, dw, db) = (k.upload(&x), k.upload(&w), k.upload(&b));
    let sizes = [rows as i32, cols as i32];
    k.launch(3, (32, 4), 0, &[&out, &mean, &rstd, &input, &dw, &db, &sizes[0], &sizes[1]]);
    let (mut y, mut dx) = (Vec::new(), Vec::new());
    let (mut gw, mut gb) = (vec![0.0; cols], vec![0.0; cols]);
    for (x, g) in wide(&x).chunks(cols).zip(wide(&dy).chunks(cols)) {
        let (m, r) = moments(x);
        let n: Vec<f64> = x.iter().map(|v| (v - m) * r).collect();
        let a: Vec<f64> = (0..cols).map(|c| w[c] as f64 * g[c]).collect();
        let s = a.iter().sum::<f64>() / cols as f64;
        let sn = a.iter().zip(&n).map(|(a, n)| a * n).sum::<f64>() / cols as f64;
        for c in 0..cols {
            y.push(n[c] * w[c] as f64 + b[c] as f64);
            dx.push(r * (a[c] - s - n[c] * sn));
            gw[c] += g[c] * n[c];
            gb[c] += g[c];
        }
    }
    close(&out.read(), &y, 5e-7, 5e-7);
    let (gx, dweight, dbias) = (k.zeros::<f32>(x.len()), k.zeros::<f32>(cols), k.zeros::<f32>(cols));
    let g = k.upload(&dy);
    let args: [&dyn Arg; 10] = [&gx, &dweight, &dbias, &g, &input, &dw, &mean, &rstd, &sizes[0], &sizes[1]];
    k.launch_entry("layernorm_backward", 2, 96, 8 * cols as u32, &args);
    close(&gx.read(), &dx, 1e-6, 2e-7);
    close(&dweight.read(), &gw, 2e-6, 1e-6);
    close(&dbias.read(), &gb, 1e-6, 5e-7);
}

fn rmsnorm(k: &Kernel) {
    let (rows, cols) = (3usize, 130usize);
    let mut r = Random(5);
    let halves = |x: Vec<f32>| x.into_iter().map(F16::new).collect::<Vec<_>>();
    let (x, w) = (halves(r.f32s(rows * cols, -2., 2.)), halves(r.f32s(cols, 0.5, 1.5)));
    let (out, input, weight) = (k.zeros::<F16>(x.len()), k.upload(&x), k.upload(&w));
    k.launch(rows as u32, 96, 0, &[&out, &input, &weight, &(cols as i32 / 2), &1e-6f32]);
    let row = |x: &[F16]| {
        let x: Vec<f64> = x.iter().map(|v| (*v).into()).collect();
        let r = 1.0 / (x.iter().map(|v| v * v).sum::<f64>() / cols as f64 + 1e-6).sqrt();
        (0..cols).map(move |c| (x[c] * r, c)).collect::<Vec<_>>()
    };
    let want: Vec<f64> = x.chunks(cols).flat_map(row).map(|(v, c)| v * f64::from(w[c])).collect();
    close(&out.read(), &want, 1.0 / 1024.0, 0.0); // two roundings to f16
}

fn adamw(k: &Kernel) {
    let n = 777usize;
    let mut r = Random(6);
    let (w, m) = (r.f32s(n, -1., 1.), r.f32s(n, -0.1, 0.1));
    let v: Vec<f32> = r.f32s(n, 0.0, 0.01);
    let g: Vec<Bf16> = r.f32s(n, -1., 1.).into_iter().map(Bf16::new).collect();
    let (low, master, grad, dm, dv) = (k.zeros::<Bf16>(n), k.upload(&w), k.upload(&g), k.upload(&m), k.upload(&v));
    let (rate, beta1, beta2, c1, c2, eps, decay, scale) =
        (1e-2f32, 0.9f32, 0.95f32, 0.19f32, 0.0975f32, 1e-8f32, 0.1f32, 0.5f32);
    let args: [&dyn Arg; 15] =
        [&low, &master, &grad, &dm, &dv, &(n as u64), &rate, &beta1, &beta2, &c1, &c2, &eps, &decay, &scale, &1337u32];
    k.launch(7, 128, 0, &args);
    let (mut wants, mut firsts, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n {
        let g = scale as f64 * f64::from(g[i]);
        let first = beta1 as f64 * m[i] as f64 + (1.0 - beta1 as f64) * g;
        let second = beta2 as f64 * v[i] as f64 + (1.0 - beta2 as f64) * g * g;
        let step = first / c1 as f64 / ((second / c2 as f64).sqrt() + eps as f64) + decay as f64 * w[i] as f64;
        wants.push(w[i] as f64 - rate as f64 * step);
        firsts.push(first);
        seconds.push(second);
    }
    close(&dm.read(), &firsts, 1e-6, 1e-8);
    close(&dv.read(), &seconds, 1e-6, 1e-9);
    close(&master.read(), &wants, 1e-6, 1e-8);
    // The low-precision copy is rounded up or down, by chance: never more than a unit from the master.
    let exact = master.read();
    let noise = |at: u32| {
        let mut m = at.wrapping_mul(0xB529_7A4D).wrapping_add(1337);
        m ^= m >> 8;
        m = m.wrapping_add(0x68E3_1DA4);
        m ^= m << 8;
        m = m.wrapping_mul(0x1B56_C4E9);
        m ^ m >> 8
    };
    let rounded = exact.iter().enumerate().map(|(i, w)| {
        let bits = w.to_bits();
        let up = bits & 0xffff > noise(i as u32) & 0xffff;
        Bf16::new(f32::from_bits(if up { bits | 0xffff } else { bits & !0xffff }))
    });
    same(&low.read(), &rounded.collect::<Vec<_>>());
}

fn cross_entropy(k: &Kernel) {
    let (rows, v, p) = (4usize, 301usize, 320usize);
    let mut r = Random(7);
    let (x, targets) = (r.f32s(rows * p, -5., 5.), r.ints(rows, 0, v as i64 - 1));
    let (logits, losses, dt) = (k.upload(&x), k.zeros::<f32>(rows), k.upload(&targets));
    k.launch(rows as u32, 128, 0, &[&logits, &losses, &dt, &(v as i32), &(p as i32)]);
    let (mut loss, mut grad) = (Vec::new(), Vec::new());
    for (row, target) in x.chunks(p).zip(&targets) {
        let probability = softmax_rows(&row[..v], v);
        loss.push(-probability[*target as usize].ln());
        grad.extend((0..p).map(|c| if c < v { probability[c] - (c == *target as usize) as i32 as f64 } else { 0.0 }));
    }
    close(&losses.read(), &loss, 3e-7, 3e-7);
    close(&logits.read(), &grad, 2e-6, 1e-8);
}

fn embed(k: &Kernel) {
    let (t, c) = (7usize, 12usize);
    let mut r = Random(8);
    let (wte, wpe, tokens) = (r.f32s(20 * c, -1., 1.), r.f32s(t * c, -1., 1.), r.ints(3 * t, 0, 19));
    let (out, dt, dwte, dwpe) = (k.zeros::<f32>(3 * t * c), k.upload(&tokens), k.upload(&wte), k.upload(&wpe));
    k.launch(1, 96, 0, &[&out, &dt, &dwte, &dwpe, &(t as i32), &(c as i32 / 4)]);
    let at = |i: usize| wte[tokens[i / c] as usize * c + i % c] + wpe[i / c % t * c + i % c];
    same(&out.read(), &(0..3 * t * c).map(at).collect::<Vec<_>>());
}

fn embed_backward(k: &Kernel) {
    let (n, c, vocabulary) = (30usize, 10usize, 6usize);
    let mut r = Random(9);
    let (g, tokens) = (r.whole(n * c, -4, 4), r.ints(n, 0, vocabulary as i64 - 1));
    let low: Vec<Bf16> = g.iter().map(|v| Bf16::new(*v)).collect();
    let (dwte, dt, dout) = (k.zeros::<Bf16>(vocabulary * c), k.upload(&tokens), k.upload(&low));
    k.launch(2, 96, 0, &[&dwte, &dt, &dout, &(n as i32), &(c as i32 / 2)]);
    let mut want = vec![0.0; vocabulary * c];
    (0..n * c).for_each(|i| want[tokens[i / c] as usize * c + i % c] += g[i] as f64);
    close(&dwte.read(), &want, 0.0, 0.0);
}

fn rope(k: &Kernel) {
    let (tokens, heads, half) = (5usize, 3usize, 16usize);
    let mut r = Random(10);
    let (q, positions) = (r.f32s(tokens * heads * half * 2, -1., 1.), vec![0i32, 1, 7, 100, 4000]);
    let (dq, dp) = (k.upload(&q), k.upload(&positions));
    k.launch(tokens as u32, 64, 0, &[&dq, &dp, &(heads as i32), &(half as i32), &10000f32]);
    let turn = |(i, p): (usize, &[f32])| {
        let angle = positions[i / (heads * half)] as f64 * 10000f64.powf(-((i % half) as f64) / half as f64);
        let (s, c, x, y) = (angle.sin(), angle.cos(), p[0] as f64, p[1] as f64);
        [x * c - y * s, x * s + y * c]
    };
    // The angle is known to 2⁻²² of itself: 4000 rad to a few 1e-4.
    close(&dq.read(), &q.chunks(2).enumerate().flat_map(turn).collect::<Vec<_>>(), 0.0, 3e-4);
}

fn quantise_rows(k: &Kernel) {
    let (rows, cols) = (4usize, 100usize);
    let mut x = Random(11).f32s(rows * cols, -3., 3.);
    x[200..300].fill(0.0);
    let (out, scale, input) = (k.zeros::<i8>(x.len()), k.zeros::<f32>(rows), k.upload(&x));
    k.launch(rows as u32, 64, 0, &[&out, &scale, &input, &(cols as i32 / 4)]);
    let tops: Vec<f32> = x.chunks(cols).map(|c| c.iter().fold(0.0, |t: f32, v| t.max(v.abs()))).collect();
    same(&scale.read(), &tops.iter().map(|t| t / 127.0).collect::<Vec<_>>());
    let quantum = |i: usize| {
        let top = tops[i / cols];
        (x[i] * if top > 0.0 { 127.0 / top } else { 0.0 }).round_ties_even() as i8
    };
    same(&out.read(), &(0..x.len()).map(quantum).collect::<Vec<_>>());
}

fn matvec_int8(k: &Kernel) {
    let (rows, cols) = (6usize, 200usize);
    let mut r = Random(12);
    let mut bytes = |n: usize| (0..n).map(|_| r.u64() as i8).collect::<Vec<_>>();
    let (w, x) = (bytes(rows * cols), bytes(cols));
    let scales = r.f32s(rows, 0.01, 0.02);
    let (y, dw, dx, ds) = (k.zeros::<f32>(rows), k.upload(&w), k.upload(&x), k.upload(&scales));
    k.launch(rows as u32, 32, 0, &[&y, &dw, &dx, &ds, &0.5f32, &(cols as i32 / 4)]);
    let dot =
        |(row, s): (&[i8], &f32)| row.iter().zip(&x).map(|(a, b)| *a as i32 * *b as i32).sum::<i32>() as f32 * s * 0.5;
    same(&y.read(), &w.chunks(cols).zip(&scales).map(dot).collect::<Vec<_>>());
}

fn top_k(k: &Kernel) {
    let (rows, cols, count) = (3usize, 150usize, 10usize);
    let x = Random(13).whole(rows * cols, -40, 40);
    let (values, indices, input) = (k.zeros::<f32>(rows * count), k.zeros::<i32>(rows * count), k.upload(&x));
    k.launch(rows as u32, 32, 4 * cols as u32, &[&values, &indices, &input, &(cols as i32), &(count as i32)]);
    let best = |c: &[f32]| {
        let mut order: Vec<usize> = (0..cols).collect();
        order.sort_by(|a, b| c[*b].total_cmp(&c[*a])); // stable: the lower index first
        order.into_iter().take(count).map(|i| (c[i] + 0.0, i as i32)).collect::<Vec<_>>()
    };
    let (v, i): (Vec<f32>, Vec<i32>) = x.chunks(cols).flat_map(best).unzip();
    same(&values.read(), &v);
    same(&indices.read(), &i);
}

fn attention(k: &Kernel) {
    let t = 37usize;
    let mut r = Random(14);
    let [q, key, v] = [0; 3].map(|_| r.f32s(t * 32, -2., 2.));
    let (out, dq, dk, dv) = (k.zeros::<f32>(t * 32), k.upload(&q), k.upload(&key), k.upload(&v));
    k.launch(10, (32, 4), 0, &[&out, &dq, &dk, &dv, &(t as i32), &0.2f32]);
    let want = attend(&wide(&q), &wide(&key), &wide(&v), t, 32, 0.2, true);
    close(&out.read(), &want.0, 3e-6, 1e-6);
}

/// Attention of one head and the log of each row's sum.
pub fn attend(q: &[f64], k: &[f64], v: &[f64], t: usize, d: usize, scale: f64, causal: bool) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut sums) = (Vec::new(), Vec::new());
    for i in 0..t {
        let keys = if causal { i + 1 } else { t };
        let score = |j: usize| (0..d).map(|c| q[i * d + c] * k[j * d + c]).sum::<f64>() * scale;
        let scores: Vec<f64> = (0..keys).map(score).collect();
        let top = scores.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        out.extend((0..d).map(|c| (0..keys).map(|j| (scores[j] - top).exp() / sum * v[j * d + c]).sum::<f64>()));
        sums.push(top + sum.ln());
    }
    (out, sums)
}
