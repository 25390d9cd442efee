//! Oracles of cub_block.cu: blocks of 128 threads.

use crate::harness::{Case, Kernel, Random, same};

pub const CASES: &[Case] = &[
    ("cub_block_reduce", reduce),
    ("cub_block_reduce_raking", reduce_raking),
    ("cub_block_scan", scan),
    ("cub_block_scan_max", scan_max),
    ("cub_radix_sort", radix_sort),
    ("cub_radix_sort_float", radix_sort_float),
    ("cub_warp", warp),
    ("cub_histogram", histogram),
    ("cub_unique", unique),
    ("cub_merge_sort", merge_sort),
    ("cub_argmax", argmax),
    ("_ZN3cub17CUB_300001_SM_8006detail11EmptyKernelIvEEvv", |k| k.launch(2, 64, 0, &[])),
];

fn reduce(k: &Kernel) {
    let n = 1000;
    let x = Random(1).whole(n, -40, 40);
    let (out, input) = (k.zeros::<f32>(16), k.upload(&x));
    k.launch(8, 128, 0, &[&out, &input, &(n as i32)]);
    let mut padded = x.clone();
    padded.resize(1024, 0.0);
    let want = padded.chunks(128).flat_map(|c| [c.iter().sum::<f32>(), c.iter().copied().fold(f32::MIN, f32::max)]);
    same(&out.read(), &want.collect::<Vec<_>>());
}

fn reduce_raking(k: &Kernel) {
    let x = Random(2).ints(384, i32::MIN as i64, i32::MAX as i64);
    let (out, input) = (k.zeros::<i64>(3), k.upload(&x));
    k.launch(3, 128, 0, &[&out, &input]);
    same(&out.read(), &x.chunks(128).map(|c| c.iter().map(|v| *v as i64).sum()).collect::<Vec<i64>>());
}

fn scan(k: &Kernel) {
    let x = Random(3).ints(3 * 640, -99, 99);
    let (out, total, input) = (k.zeros::<i32>(x.len()), k.zeros::<i32>(3), k.upload(&x));
    k.launch(3, 128, 0, &[&out, &total, &input]);
    let exclusive = |c: &[i32]| c.iter().scan(0, |s, v| Some(std::mem::replace(s, *s + v))).collect::<Vec<_>>();
    same(&out.read(), &x.chunks(640).flat_map(exclusive).collect::<Vec<_>>());
    same(&total.read(), &x.chunks(640).map(|c| c.iter().sum()).collect::<Vec<i32>>());
}

fn scan_max(k: &Kernel) {
    let mut r = Random(4);
    let x: Vec<f64> = (0..128).map(|i| r.f64(-1., 1.) + i as f64 * 0.01).collect();
    let (out, input) = (k.zeros::<f64>(128), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &input]);
    let want: Vec<f64> = x
        .iter()
        .scan(f64::MIN, |top, v| {
            *top = top.max(*v);
            Some(*top)
        })
        .collect();
    same(&out.read(), &want);
}

fn radix_sort(k: &Kernel) {
    let mut r = Random(5);
    let keys: Vec<u32> = (0..1280).map(|_| (r.u64() as u32) & 0x8000_03ff).collect();
    let values: Vec<u16> = (0..1280).collect();
    let (dk, dv) = (k.upload(&keys), k.upload(&values));
    k.launch(2, 128, 0, &[&dk, &dv]);
    let mut pairs: Vec<(u32, u16)> = keys.into_iter().zip(values).collect();
    pairs.chunks_mut(640).for_each(|c| c.sort_by_key(|p| p.0)); // stable, as CUB's is
    let (keys, values): (Vec<u32>, Vec<u16>) = pairs.into_iter().unzip();
    same(&dk.read(), &keys);
    same(&dv.read(), &values);
}

fn radix_sort_float(k: &Kernel) {
    let mut keys = Random(6).f32s(384, -100., 100.);
    (keys[3], keys[100]) = (f32::INFINITY, f32::NEG_INFINITY);
    let dk = k.upload(&keys);
    k.launch(1, 128, 0, &[&dk]);
    keys.sort_by(|a, b| b.total_cmp(a));
    same(&dk.read(), &keys);
}

fn warp(k: &Kernel) {
    let mut r = Random(7);
    let x = r.ints(128, -99, 99);
    let flags: Vec<i32> = (0..128).map(|_| (r.below(5) == 0) as i32).collect();
    let (sums, scans, heads) = (k.zeros::<i32>(12), k.zeros::<i32>(128), k.filled(128, -1i32));
    let (input, dflags) = (k.upload(&x), k.upload(&flags));
    k.launch(1, 128, 0, &[&sums, &scans, &heads, &input, &dflags]);
    let mut want: Vec<i32> = x.chunks(32).map(|c| c.iter().sum()).collect();
    want.extend(x.chunks(16).map(|c| c.iter().min().unwrap()));
    same(&sums.read(), &want);
    let inclusive = |c: &[i32]| {
        c.iter()
            .scan(0, |s, v| {
                *s += v;
                Some(*s)
            })
            .collect::<Vec<_>>()
    };
    same(&scans.read(), &x.chunks(32).flat_map(inclusive).collect::<Vec<_>>());
    let segment = |t: usize| {
        let end = (t + 1..t / 32 * 32 + 32).find(|&u| flags[u] == 1).unwrap_or(t / 32 * 32 + 32);
        if flags[t] == 1 { x[t..end].iter().sum() } else { 0 }
    };
    same(&heads.read(), &(0..128).map(segment).collect::<Vec<i32>>());
}

fn histogram(k: &Kernel) {
    let mut r = Random(8);
    let x: Vec<u8> = (0..1024).map(|_| (r.u64() & r.u64()) as u8).collect();
    let (out, input) = (k.zeros::<u32>(256), k.upload(&x));
    k.launch(2, 128, 0, &[&out, &input]);
    let mut want = vec![0u32; 256];
    x.iter().for_each(|v| want[*v as usize] += 1);
    same(&out.read(), &want);
}

fn unique(k: &Kernel) {
    let mut x = Random(9).ints(128, 0, 40);
    x.sort();
    let (out, count, input) = (k.filled(128, -1i32), k.zeros::<i32>(1), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &count, &input]);
    let mut want = x.clone();
    want.dedup();
    same(&count.read(), &[want.len() as i32]);
    want.resize(128, -1);
    same(&out.read(), &want);
}

fn merge_sort(k: &Kernel) {
    let mut x = Random(10).ints(256, -500, 500);
    let dx = k.upload(&x);
    k.launch(1, 128, 0, &[&dx]);
    x.sort();
    same(&dx.read(), &x);
}

fn argmax(k: &Kernel) {
    let mut x: Vec<f64> = Random(11).ints(1000, -500, 500).iter().map(|v| *v as f64).collect();
    (x[803], x[417], x[418]) = (1e9, 1e9, 1e9);
    let (value, index, input) = (k.zeros::<f64>(1), k.zeros::<i32>(1), k.upload(&x));
    k.launch(1, 128, 0, &[&value, &index, &input, &1000i32]);
    same(&value.read(), &[1e9]);
    same(&index.read(), &[417]);
}
