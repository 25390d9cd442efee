//! Oracles of warp_sync.cu.

use crate::harness::{Case, Kernel, Random, same};

pub const CASES: &[Case] = &[
    ("shuffles", shuffles),
    ("shuffles_64", shuffles_64),
    ("votes", votes),
    ("aggregated_append", aggregated_append),
    ("lane_masks", lane_masks),
    ("named_barriers", named_barriers),
    ("barrier_reductions", barrier_reductions),
    ("mbarriers", mbarriers),
    ("async_arrive", async_arrive),
    ("block_scan", block_scan),
    ("blelloch_scan", blelloch_scan),
    ("bitonic_sort", bitonic_sort),
    ("block_lock", block_lock),
    ("thread_lock", thread_lock),
    ("clocks", clocks),
];

fn shuffles(k: &Kernel) {
    let x = Random(1).ints(32, -999, 999);
    let (out, input) = (k.zeros::<i32>(320), k.upload(&x));
    k.launch(1, 32, 0, &[&out, &input]);
    let each = |t: usize| {
        let part = |width: usize| t / width * width;
        let down = |d: usize, width: usize| if t + d < part(width) + width { t + d } else { t };
        let up = |d: usize, width: usize| if t >= part(width) + d { t - d } else { t };
        let from = [5, t * 7 % 32, up(3, 32), down(9, 32), t ^ 21, part(8) + (t + 1) % 8, up(1, 16), down(2, 4), t ^ 5];
        from.map(|lane| x[lane]).into_iter().chain([x[down(4, 32)] * 2 + (t + 4 < 32) as i32])
    };
    same(&out.read(), &(0..32).flat_map(each).collect::<Vec<_>>());
}

fn shuffles_64(k: &Kernel) {
    let x: Vec<f64> = Random(2).f32s(32, -1., 1.).iter().map(|v| *v as f64 * 1.1).collect();
    let (out, ints, input) = (k.zeros::<f64>(32), k.zeros::<i64>(32), k.upload(&x));
    k.launch(1, 32, 0, &[&out, &ints, &input]);
    same(&out.read(), &(0..32).map(|t| x[t ^ 1] + x[0]).collect::<Vec<_>>());
    let sum = |t: i64| (if t >= 2 { t - 2 } else { t } << 33) + (t + 1).min(31);
    same(&ints.read(), &(0..32).map(sum).collect::<Vec<_>>());
}

fn votes(k: &Kernel) {
    for (seed, low, high) in [(3, -20i64, 20), (4, 1, 9), (5, 7, 7)] {
        let x = Random(seed).ints(32, low, high);
        let (out, input) = (k.zeros::<u32>(256), k.upload(&x));
        k.launch(1, 32, 0, &[&out, &input]);
        let ballot = |f: &dyn Fn(i32) -> bool| x.iter().enumerate().map(|(l, v)| (f(*v) as u32) << l).sum::<u32>();
        let high = x.iter().all(|v| v >> 20 == x[0] >> 20);
        let uniform = [0, 32].contains(&x.iter().filter(|v| **v > 0).count());
        let each = |t: usize| {
            let v = x[t];
            let count = [
                ballot(&|u| u > 0),
                x.iter().all(|u| *u > -50) as u32,
                x.contains(&7) as u32,
                ballot(&|u| u / 4 == v / 4),
            ];
            count.into_iter().chain([if high { !0 } else { 0 }, high as u32, ballot(&|u| u == v), uniform as u32])
        };
        let truth =
            |c: &[u32]| [c[0], (c[1] != 0) as u32, (c[2] != 0) as u32, c[3], c[4], (c[5] != 0) as u32, c[6], c[7]];
        let got: Vec<u32> = out.read().chunks(8).flat_map(truth).collect();
        same(&got, &(0..32).flat_map(each).collect::<Vec<_>>());
    }
}

fn aggregated_append(k: &Kernel) {
    let n = 500;
    let x = Random(6).ints(n, -300, 300);
    let mut want: Vec<i32> = x.iter().copied().filter(|v| v % 3 == 0).collect();
    let (out, count, input) = (k.zeros::<i32>(want.len()), k.zeros::<i32>(1), k.upload(&x));
    k.launch(4, 128, 0, &[&out, &count, &input, &(n as i32)]);
    same(&count.read(), &[want.len() as i32]);
    let mut got = out.read(); // warps append in any order
    got.sort();
    want.sort();
    same(&got, &want);
}

fn lane_masks(k: &Kernel) {
    let out = k.zeros::<u32>(9 * 96);
    k.launch(1, 96, 64, &[&out]);
    let each = |t: u32| {
        let bit = 1u32 << (t % 32);
        [t % 32, t / 32, 3, bit, bit - 1 | bit, !(bit - 1 | bit), !(bit - 1), 64, 1]
    };
    let mut got = out.read();
    // %warpid may change, and %nwarpid is what an SM holds (PTX ISA, special registers): only bounds are sure.
    got.chunks_mut(9).enumerate().for_each(|(t, c)| {
        assert!(c[1] < c[2]);
        (c[1], c[2]) = (t as u32 / 32, 3);
    });
    same(&got, &(0..96).flat_map(each).collect::<Vec<_>>());
}

fn named_barriers(k: &Kernel) {
    let rounds = 6;
    let x = Random(7).ints(rounds * 64, -99, 99);
    let (out, input) = (k.zeros::<i32>(64), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &input, &(rounds as i32)]);
    let sum = |t: usize| (0..rounds).fold(0, |s, r| s * 2 + x[r * 64 + 63 - t]);
    same(&out.read(), &(0..64).map(sum).collect::<Vec<_>>());
}

fn barrier_reductions(k: &Kernel) {
    for (seed, low, high) in [(8, -5i64, 5), (9, 1, 5), (10, -5, 0)] {
        let x = Random(seed).ints(96, low, high);
        let (out, input) = (k.zeros::<u32>(96), k.upload(&x));
        k.launch(1, 96, 0, &[&out, &input]);
        let count = x.iter().filter(|v| **v > 0).count() as u32;
        same(&out.read(), &[count | ((count == 96) as u32) << 16 | ((count < 96) as u32) << 17; 96]);
    }
}

fn mbarriers(k: &Kernel) {
    let x = Random(11).ints(128, -99, 99);
    let (out, input) = (k.zeros::<i32>(128), k.upload(&x));
    k.launch(1, 128, 0, &[&out, &input]);
    let want = (0..3).fold(x, |v, _| (0..128).map(|t| v[t] + v[(t + 17) % 128]).collect());
    same(&out.read(), &want);
}

fn async_arrive(k: &Kernel) {
    let x = Random(12).ints(256, -99, 99);
    let (out, input) = (k.zeros::<i32>(64), k.upload(&x));
    k.launch(1, 64, 0, &[&out, &input]);
    same(&out.read(), &(0..64).map(|t| x[255 - t] + x[t]).collect::<Vec<_>>());
}

fn block_scan(k: &Kernel) {
    let x = Random(13).ints(3 * 256, -99, 99);
    let (out, input) = (k.zeros::<i32>(x.len()), k.upload(&x));
    k.launch(3, 256, 0, &[&out, &input]);
    let inclusive = |c: &[i32]| {
        c.iter()
            .scan(0, |s, v| {
                *s += v;
                Some(*s)
            })
            .collect::<Vec<_>>()
    };
    same(&out.read(), &x.chunks(256).flat_map(inclusive).collect::<Vec<_>>());
}

fn blelloch_scan(k: &Kernel) {
    let x = Random(14).whole(256, -99, 99);
    let (out, input) = (k.zeros::<f32>(256), k.upload(&x));
    k.launch(1, 128, 1024, &[&out, &input, &256i32]);
    same(&out.read(), &x.iter().scan(0.0, |s, v| Some(std::mem::replace(s, *s + v))).collect::<Vec<_>>());
}

fn bitonic_sort(k: &Kernel) {
    let mut r = Random(15);
    let mut x: Vec<u32> = (0..512).map(|_| r.u64() as u32).collect();
    let data = k.upload(&x);
    k.launch(1, 512, 0, &[&data]);
    x.sort();
    same(&data.read(), &x);
}

fn block_lock(k: &Kernel) {
    let (lock, value) = (k.zeros::<i32>(1), k.filled(1, 100i32));
    k.launch(20, 64, 0, &[&lock, &value]);
    same(&value.read(), &[100 + 210]);
    same(&lock.read(), &[0]);
}

fn thread_lock(k: &Kernel) {
    let (lock, value) = (k.zeros::<i32>(1), k.zeros::<i32>(1));
    k.launch(3, 40, 0, &[&lock, &value]);
    same(&value.read(), &[3 * 820]);
}

fn clocks(k: &Kernel) {
    let out = k.zeros::<u32>(32);
    k.launch(1, 32, 0, &[&out]);
    same(&out.read(), &[7; 32]);
}
