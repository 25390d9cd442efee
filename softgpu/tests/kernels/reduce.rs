//! Oracles of reduce.cu. Float inputs are small integers wherever the order of the sum is the kernel's own affair.

use crate::harness::{Case, Kernel, Random, close, same};

pub const CASES: &[Case] = &[
    ("sum_shared", sum_shared),
    ("sum_shuffle_atomic", sum_shuffle_atomic),
    ("sum_last_block", sum_last_block),
    ("minmax_cg", minmax_cg),
    ("tiles_cg", tiles_cg),
    ("barrier_votes", barrier_votes),
    ("dot_float2", dot_float2),
    ("redux", redux),
    ("welford", welford),
];

fn sum_shared(k: &Kernel) {
    let n = 1000;
    let x = Random(1).whole(n, -50, 50);
    let (out, input) = (k.zeros::<f32>(4), k.upload(&x));
    k.launch(4, 128, 512, &[&out, &input, &(n as i32)]);
    same(&out.read(), &x.chunks(256).map(|c| c.iter().sum()).collect::<Vec<f32>>());
}

fn sum_shuffle_atomic(k: &Kernel) {
    for (n, block) in [(10_001usize, 256u32), (77, 64), (5, 32)] {
        let x = Random(2).ints(n, -1000, 1000);
        let (out, input) = (k.filled(1, 5i32), k.upload(&x));
        k.launch(3, block, 0, &[&out, &input, &(n as i32)]);
        same(&out.read(), &[x.iter().sum::<i32>() + 5]);
    }
}

/// Twice, since the kernel leaves its counter as it found it.
fn sum_last_block(k: &Kernel) {
    for n in [5000usize, 801] {
        let x: Vec<f64> = Random(3).whole(n, -99, 99).iter().map(|&v| v as f64 * 0.25).collect();
        let (out, partial, input) = (k.zeros::<f64>(1), k.zeros::<f64>(7), k.upload(&x));
        k.launch(7, 128, 0, &[&out, &partial, &input, &(n as i32)]);
        same(&out.read(), &[x.iter().sum::<f64>()]);
    }
}

fn minmax_cg(k: &Kernel) {
    let n = 1000;
    let x = Random(4).ints(n, -1_000_000, 1_000_000);
    let (out, input) = (k.upload(&[i32::MAX, i32::MIN]), k.upload(&x));
    k.launch(11, 96, 0, &[&out, &input, &(n as i32)]);
    same(&out.read(), &[*x.iter().min().unwrap(), *x.iter().max().unwrap()]);
}

fn tiles_cg(k: &Kernel) {
    let n = 1000;
    let x: Vec<f32> = Random(5).whole(n, -8, 8).iter().map(|v| v / 8.0).collect();
    let (sums, tops, count, input) = (k.zeros::<f32>(256), k.zeros::<f32>(64), k.zeros::<u32>(1), k.upload(&x));
    k.launch(4, 256, 0, &[&sums, &tops, &count, &input, &(n as i32)]);
    let mut padded = x.clone();
    padded.resize(1024, 0.0);
    same(&sums.read(), &padded.chunks(4).map(|c| c.iter().sum()).collect::<Vec<f32>>());
    same(&tops.read(), &padded.chunks(16).map(|c| c.iter().copied().fold(f32::MIN, f32::max)).collect::<Vec<_>>());
    same(&count.read(), &[x.iter().filter(|v| **v > 0.5).count() as u32]);
}

fn barrier_votes(k: &Kernel) {
    let mut x = Random(6).ints(300, -20, 20);
    (x[120], x[250]) = (-100, 101);
    let (out, input) = (k.zeros::<i32>(9), k.upload(&x));
    k.launch(3, 100, 0, &[&out, &input]);
    let vote = |c: &[i32]| {
        let (all, any) = (c.iter().all(|v| *v > -100), c.iter().any(|v| *v > 100));
        [c.iter().filter(|v| **v > 0).count() as i32, all as i32, any as i32]
    };
    // `all` and `any` are true or false, of whatever value.
    let got: Vec<i32> = out.read().chunks(3).flat_map(|c| [c[0], (c[1] != 0) as i32, (c[2] != 0) as i32]).collect();
    same(&got, &x.chunks(100).flat_map(vote).collect::<Vec<_>>());
}

fn dot_float2(k: &Kernel) {
    let n = 777;
    let mut r = Random(7);
    let (a, b) = (r.whole(2 * n, -30, 30), r.whole(2 * n, -30, 30));
    let (out, da, db) = (k.zeros::<f64>(1), k.upload(&a), k.upload(&b));
    k.launch(1, 128, 0, &[&out, &da, &db, &(n as i32)]);
    same(&out.read(), &[a.iter().zip(&b).map(|(x, y)| *x as f64 * *y as f64).sum::<f64>()]);
}

fn redux(k: &Kernel) {
    let mut r = Random(8);
    let x: Vec<u32> = (0..32).map(|_| r.u64() as u32 | 0x10).collect();
    let (out, input) = (k.zeros::<u32>(256), k.upload(&x));
    k.launch(1, 32, 0, &[&out, &input]);
    let signed = || x.iter().map(|&v| v as i32);
    let third = x.iter().step_by(3).fold(0, |a, b| a ^ b);
    let all = [
        x.iter().fold(0u32, |a, b| a.wrapping_add(*b)),
        *x.iter().min().unwrap(),
        *x.iter().max().unwrap(),
        signed().min().unwrap() as u32,
        signed().max().unwrap() as u32,
        x.iter().fold(!0, |a, b| a & b),
        x.iter().fold(0, |a, b| a | b),
    ];
    let row = |t: u32| all.iter().copied().chain([if t.is_multiple_of(3) { third } else { 0 }]).collect::<Vec<_>>();
    same(&out.read(), &(0..32).flat_map(row).collect::<Vec<_>>());
}

fn welford(k: &Kernel) {
    let (rows, cols) = (13usize, 77usize);
    let x = Random(9).f32s(rows * cols, 9., 11.);
    let (mean, variance, input) = (k.zeros::<f32>(rows), k.zeros::<f32>(rows), k.upload(&x));
    k.launch(4, (32, 4), 0, &[&mean, &variance, &input, &(rows as i32), &(cols as i32)]);
    let of = |row: &[f32]| {
        let m = row.iter().map(|v| *v as f64).sum::<f64>() / cols as f64;
        (m, row.iter().map(|v| (*v as f64 - m).powi(2)).sum::<f64>() / cols as f64)
    };
    let (m, v): (Vec<f64>, Vec<f64>) = x.chunks(cols).map(of).unzip();
    close(&mean.read(), &m, 3e-7, 0.0);
    close(&variance.read(), &v, 2e-6, 0.0);
}
