//! Oracles of random.cu.

use crate::harness::{Case, Kernel, close, same};

pub const CASES: &[Case] = &[
    ("philox_bits", philox_bits),
    ("philox_normal", philox_normal),
    ("xorwow_init xorwow_uniform monte_carlo_pi", xorwow),
    ("mrg32k3a", mrg32k3a),
    ("sobol", sobol),
];

/// Philox 4×32-10 (Salmon et al. 2011).
pub fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (a, b) = (0xD251_1F53u64 * c[0] as u64, 0xCD9E_8D57u64 * c[2] as u64);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

fn split(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

fn philox_bits(k: &Kernel) {
    // The known answer of the paper's code for zeros.
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    let (n, seed, offset) = (300, 0x1234_5678_9abc_def0u64, 0xffff_ffff_0000_ff00u64);
    let out = k.zeros::<[u32; 4]>(n);
    k.launch(3, 128, 0, &[&out, &seed, &offset, &(n as i32)]);
    let word = |i: u64| {
        let [low, high] = split(offset + i);
        philox([low, high, i as u32, 0], split(seed))
    };
    same(&out.read(), &(0..n as u64).map(word).collect::<Vec<_>>());
}

fn philox_normal(k: &Kernel) {
    let (n, seed) = (500, 42u64);
    let out = k.zeros::<[f32; 2]>(n);
    k.launch(4, 128, 0, &[&out, &seed, &(n as i32)]);
    let normal = |i: u32| {
        let r = philox([i, 0, 0, 0], split(seed));
        let (u, a) = (r[0] as f64 * 2.3283064e-10, r[1] as f64 * 2.3283064e-10 * std::f64::consts::TAU);
        let m = (-2.0 * (u + 1.1641532e-10).ln()).sqrt();
        [m * a.sin(), m * a.cos()]
    };
    close(&out.read().concat(), &(0..n as u32).flat_map(normal).collect::<Vec<_>>(), 3e-6, 3e-6);
}

fn step(s: &mut [u32; 6]) -> u32 {
    let t = s[1] ^ s[1] >> 2;
    s.copy_within(2..6, 1);
    s[5] = s[5] ^ s[5] << 4 ^ t ^ t << 1;
    s[0] = s[0].wrapping_add(362_437);
    s[5].wrapping_add(s[0])
}

fn xorwow(k: &Kernel) {
    let n = 200usize;
    let states = k.zeros::<[u32; 6]>(n);
    k.launch(2, 128, 0, &[&states, &77u64, &(n as i32)]);
    let init = |i: u64| {
        let mut z = 77u64.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut s = [6_615_241u32; 6];
        for v in &mut s[1..] {
            z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let w = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let w = (w ^ w >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            *v = (w ^ w >> 31) as u32 | 1;
        }
        s
    };
    let mut want: Vec<[u32; 6]> = (0..n as u64).map(init).collect();
    same(&states.read(), &want);
    let rounds = 5;
    let out = k.zeros::<f32>(n * rounds);
    k.launch_entry("xorwow_uniform", 2, 128, 0, &[&out, &states, &(n as i32), &(rounds as i32)]);
    let uniform: Vec<f32> = (0..n * rounds).map(|i| step(&mut want[i % n]) as f32 * 2.3283064e-10).collect();
    same(&out.read(), &uniform);
    same(&states.read(), &want);
    let hits = k.zeros::<u64>(1);
    k.launch_entry("monte_carlo_pi", 2, 128, 0, &[&hits, &states, &(n as i32), &200i32]);
    let mut inside = 0u64;
    for s in &mut want {
        for _ in 0..200 {
            let [x, y] = [0; 2].map(|_| (step(s) >> 8) as f32 * 2f32.powi(-24));
            inside += (x.mul_add(x, y * y) <= 1.0) as u64;
        }
    }
    same(&hits.read(), &[inside]);
    assert!((inside as f64 / 10_000.0 - std::f64::consts::PI).abs() < 0.05);
}

fn mrg32k3a(k: &Kernel) {
    let (n, rounds) = (70usize, 20usize);
    let out = k.zeros::<f64>(n * rounds);
    k.launch(1, 96, 0, &[&out, &(n as i32), &(rounds as i32)]);
    const M: [i64; 2] = [4_294_967_087, 4_294_944_443];
    let mut want = vec![0.0; n * rounds];
    for i in 0..n {
        let (mut a, mut b) = ([12345 + i as i64, 12345, 12345], [12345, 12345 + 2 * i as i64, 12345]);
        for r in 0..rounds {
            let p = (1_403_580 * a[1] - 810_728 * a[0]).rem_euclid(M[0]);
            let q = (527_612 * b[2] - 1_370_589 * b[0]).rem_euclid(M[1]);
            (a, b) = ([a[1], a[2], p], [b[1], b[2], q]);
            want[r * n + i] = (if p <= q { p - q + M[0] } else { p - q }) as f64 * 2.328306549295728e-10;
        }
    }
    same(&out.read(), &want);
}

fn sobol(k: &Kernel) {
    let n = 1000;
    let out = k.zeros::<u32>(n);
    k.launch(8, 128, 0, &[&out, &(n as i32)]);
    // The directions of the polynomial x + 1: rows of Pascal's triangle modulo 2.
    let direction = |b: u32| (0..=b).filter(|j| j & (b - j) == 0).map(|j| 1u32 << (31 - j)).sum::<u32>();
    let point = |i: u32| (0..32).filter(|b| (i ^ i >> 1) >> b & 1 == 1).fold(0, |x, b| x ^ direction(b));
    same(&out.read(), &(0..n as u32).map(point).collect::<Vec<_>>());
}
