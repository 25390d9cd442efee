//! Oracles of atomics.cu.

use crate::harness::{Case, Kernel, Random, close, same};

pub const CASES: &[Case] = &[
    ("atomics_u32", atomics_u32),
    ("atomics_64", atomics_64),
    ("atomics_float", atomics_float),
    ("atomics_16", atomics_16),
    ("histogram_shared", histogram_shared),
    ("shared_atomics", shared_atomics),
    ("atomic_ref_orders", atomic_ref_orders),
    ("message", message),
    ("hash_insert", hash_insert),
    ("bfs_level", bfs),
    ("spaces", spaces),
    ("hints", hints),
];

fn atomics_u32(k: &Kernel) {
    let n = 300;
    let mut r = Random(1);
    let x: Vec<u32> = (0..n).map(|_| r.u64() as u32).collect();
    let mut start = vec![0u32; 16 + n];
    start[..16].copy_from_slice(&[9, 9, !0, 0, !0, 0, 0, 3, 5, i32::MAX as u32, i32::MIN as u32, 0, 0, 0, 0, 77]);
    let (g, input) = (k.upload(&start), k.upload(&x));
    k.launch(3, 128, 0, &[&g, &input, &(n as i32)]);
    let sum = x.iter().fold(0u32, |a, b| a.wrapping_add(*b));
    let (mut inc, mut dec) = (3u32, 5u32);
    for _ in 0..n {
        inc = if inc >= 12 { 0 } else { inc + 1 };
        dec = if dec == 0 || dec > 12 { 12 } else { dec - 1 };
    }
    let signed = || x.iter().map(|v| *v as i32);
    let top = *x.iter().max().unwrap();
    let want = [
        sum.wrapping_add(9),
        9u32.wrapping_sub(sum),
        *x.iter().min().unwrap(),
        top,
        x.iter().fold(!0, |a, b| a & (b | 0xff)),
        x.iter().fold(0, |a, b| a | b & 0xff00),
        x.iter().fold(0, |a, b| a ^ b),
        inc,
        dec,
        signed().min().unwrap() as u32,
        signed().max().unwrap() as u32,
        n as u32,
        n as u32,
        top,
        5,
        77,
    ];
    let got = g.read();
    same(&got[..16], &want);
    let (mut slots, mut x) = (got[16..].to_vec(), x);
    slots.sort();
    x.sort();
    same(&slots, &x);
}

fn atomics_64(k: &Kernel) {
    let n = 200;
    let mut r = Random(2);
    let x: Vec<u64> = (0..n).map(|_| r.u64()).collect();
    let (g, input) = (k.upload(&[5u64, !0, 0, !0, 0, 0, i64::MAX as u64, i64::MIN as u64, 3, 0]), k.upload(&x));
    k.launch(2, 128, 0, &[&g, &input, &n]);
    let signed = || x.iter().map(|v| *v as i64);
    let want = [
        x.iter().fold(5u64, |a, b| a.wrapping_add(*b)),
        *x.iter().min().unwrap(),
        *x.iter().max().unwrap(),
        x.iter().fold(!0, |a, b| a & (b | 0xffff)),
        x.iter().fold(0, |a, b| a | b & 0xff00_ff00_ff00),
        x.iter().fold(0, |a, b| a ^ b),
        signed().min().unwrap() as u64,
        signed().max().unwrap() as u64,
        3 + x.iter().map(|v| v & 0xff).sum::<u64>(),
        77,
    ];
    same(&g.read(), &want);
}

fn atomics_float(k: &Kernel) {
    let n = 150;
    let x = Random(3).whole(n, -40, 40);
    let (f, d, input) = (k.zeros::<f32>(2 + n), k.zeros::<f64>(4), k.upload(&x));
    k.launch(2, 96, 0, &[&f, &d, &input, &(n as i32)]);
    let sum: f32 = x.iter().sum();
    let (got, doubles) = (f.read(), d.read());
    same(&got[..2], &[sum, n as f32]);
    let (mut slots, mut sorted) = (got[2..].to_vec(), x.clone());
    slots.sort_by(f32::total_cmp);
    sorted.sort_by(f32::total_cmp);
    same(&slots, &sorted);
    same(&[doubles[0], doubles[3]], &[sum as f64; 2]);
    let top = x.iter().copied().filter(|v| *v >= 0.0).fold(0.0, f32::max);
    assert_eq!(doubles[1].to_bits() as u32, top.to_bits());
    assert_eq!(doubles[2].to_bits() as u32, 0, "the least unsigned of what is negative is the zero that was there");
}

fn atomics_16(k: &Kernel) {
    let n = 300;
    let s = k.upload(&[1u16; 8]);
    k.launch(3, 100, 0, &[&s, &n]);
    let mut want = [1u16; 8];
    (0..n as usize).for_each(|i| want[i % 7] += (i % 5) as u16);
    same(&s.read(), &want);
}

fn histogram_shared(k: &Kernel) {
    let n = 5001;
    let mut r = Random(4);
    let x: Vec<u8> = (0..n).map(|_| (r.u64() & r.u64()) as u8).collect();
    let (bins, input) = (k.zeros::<u32>(256), k.upload(&x));
    k.launch(3, 160, 0, &[&bins, &input, &n]);
    let mut want = vec![0u32; 256];
    x.iter().for_each(|v| want[*v as usize] += 1);
    same(&bins.read(), &want);
}

fn shared_atomics(k: &Kernel) {
    let x = Random(5).ints(128, -5000, 5000);
    let (out, wide, f, input) = (k.zeros::<i32>(6), k.zeros::<i64>(3), k.zeros::<f32>(1), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &wide, &f, &input]);
    let (sum, top) = (x.iter().sum::<i32>(), *x.iter().max().unwrap());
    let and = x.iter().fold(-1, |a, b| a & (b | 15));
    same(&out.read(), &[sum, top.max(0), *x.iter().min().unwrap(), x.iter().fold(0, |a, b| a ^ b), and, 3]);
    same(&wide.read(), &[sum as i64, x.iter().map(|v| *v as u32).max().unwrap() as i64, 9]);
    same(&f.read(), &[x.iter().map(|v| (v % 8) as f32).sum::<f32>()]);
}

fn atomic_ref_orders(k: &Kernel) {
    let n = 150;
    let (g, w, f) = (k.zeros::<i32>(5), k.filled(2, 0i64), k.filled(1, 1f32));
    k.launch(3, 64, 0, &[&g, &w, &f, &n]);
    same(&g.read(), &[300, 128, 128, 44, 7]);
    same(&w.read(), &[149 * 3, (1 << 60) - 1]);
    same(&f.read(), &[76.0]);
}

fn message(k: &Kernel) {
    let (data, flag, out) = (k.zeros::<i32>(64), k.zeros::<i32>(1), k.zeros::<i32>(64));
    k.launch(2, 64, 0, &[&data, &flag, &out]);
    same(&out.read(), &(0..64).map(|t| (t + 1) % 64 * 3 + 1).collect::<Vec<_>>());
}

fn hash_insert(k: &Kernel) {
    let n = 500;
    let mut r = Random(6);
    let x: Vec<u32> = (0..n).map(|_| 1 + r.below(100) as u32 * 7919).collect();
    let (keys, counts, input) = (k.zeros::<u32>(256), k.zeros::<u32>(256), k.upload(&x));
    k.launch(4, 128, 0, &[&keys, &counts, &input, &n, &255u32]);
    let mut got: Vec<(u32, u32)> = keys.read().into_iter().zip(counts.read()).filter(|p| p.0 != 0).collect();
    got.sort();
    let mut want: Vec<u32> = x.clone();
    want.sort();
    want.dedup();
    let count = |key: u32| (key, x.iter().filter(|v| **v == key).count() as u32);
    same(&got, &want.into_iter().map(count).collect::<Vec<_>>());
}

fn bfs(k: &Kernel) {
    let vertices = 400usize;
    let mut r = Random(7);
    let mut edges: Vec<Vec<i32>> = (0..vertices).map(|_| r.ints(3, 0, vertices as i64 - 1)).collect();
    edges[17].clear();
    let mut offsets = vec![0i32];
    edges.iter().for_each(|e| offsets.push(offsets.last().unwrap() + e.len() as i32));
    let (doffsets, dedges) = (k.upload(&offsets), k.upload(&edges.concat()));
    let mut want = vec![-1; vertices];
    want[0] = 0;
    let distance = k.upload(&want);
    let mut frontier = vec![0i32];
    for level in 1.. {
        let (next, count, now) = (k.zeros::<i32>(vertices), k.zeros::<i32>(1), k.upload(&frontier));
        let size = frontier.len();
        let grid = size.div_ceil(64) as u32;
        k.launch(grid, 64, 0, &[&distance, &next, &count, &now, &(size as i32), &doffsets, &dedges, &level]);
        let mut reached = Vec::new();
        for to in frontier.iter().flat_map(|v| &edges[*v as usize]) {
            if want[*to as usize] == -1 {
                want[*to as usize] = level;
                reached.push(*to);
            }
        }
        let mut got = next.read()[..count.read()[0] as usize].to_vec();
        frontier = got.clone();
        got.sort();
        reached.sort();
        same(&got, &reached);
        if frontier.is_empty() {
            break;
        }
    }
    same(&distance.read(), &want);
}

fn spaces(k: &Kernel) {
    let x = Random(8).ints(32, -99, 99);
    let (out, input) = (k.zeros::<u32>(64), k.upload(&x));
    k.launch(1, 32, 0, &[&out, &input, &3i32]);
    let each = |t: usize| {
        let local = [1, 2, 3, t as i32][t & 3];
        let (bit, value) = [(1, x[t]), (2, x[t] * 2), (4, local)][t % 3];
        [bit | 16, value as u32]
    };
    same(&out.read(), &(0..32).flat_map(each).collect::<Vec<_>>());
}

fn hints(k: &Kernel) {
    let x = Random(9).f32s(100, -1., 1.);
    let (out, input) = (k.zeros::<f32>(100), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &input, &100i32]);
    close(&out.read(), &x.iter().map(|v| (v + v + v) as f64).collect::<Vec<_>>(), 0.0, 0.0);
}
