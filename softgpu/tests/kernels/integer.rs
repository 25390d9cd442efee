//! Oracles of integer.cu.

use crate::harness::{Case, Kernel, Random, same};

pub const CASES: &[Case] = &[
    ("bits_32", bits_32),
    ("bits_64", bits_64),
    ("bits_128", bits_128),
    ("carry_chains", carry_chains),
    ("dot_products", dot_products),
    ("video_simd", video_simd),
    ("inline_ptx", inline_ptx),
    ("saturate_narrow", saturate_narrow),
];

const N: usize = 1500;

/// Random words, small ones, and extremes.
fn words(seed: u64, n: usize) -> Vec<u32> {
    let mut r = Random(seed);
    let special = [0, 1, !0, 0x8000_0000, 0x7fff_ffff, 31, 32, 33, 255, 0x80, 0xffff_8000, 0x00ff_ffff, 0x0080_0000];
    (0..n).map(|i| if i % 4 == 0 { special[r.below(13) as usize] } else { r.u64() as u32 >> r.below(32) }).collect()
}

/// Launches on `width` inputs each of two arrays and compares all outputs of each thread.
fn pairwise<T, R>(k: &Kernel, a: &[T], b: &[T], each: impl Fn(T, T) -> Vec<R>)
where
    T: bytemuck::Pod,
    R: bytemuck::Pod + PartialEq + std::fmt::Debug,
{
    let want: Vec<Vec<R>> = a.iter().zip(b).map(|(x, y)| each(*x, *y)).collect();
    let width = want[0].len();
    let (out, da, db) = (k.zeros::<R>(width * a.len()), k.upload(a), k.upload(b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((i, want), got) in want.iter().enumerate().zip(out.read().chunks(width)) {
        let wrong = got.iter().zip(want).position(|(g, w)| g != w);
        assert!(wrong.is_none(), "thread {i}, output {wrong:?}: got {got:x?}, expected {want:x?}");
    }
}

fn permute(x: u32, y: u32, selector: u32) -> u32 {
    let bytes = ((y as u64) << 32 | x as u64).to_le_bytes();
    (0..4).map(|i| (bytes[(selector >> (4 * i) & 7) as usize] as u32) << (8 * i)).sum()
}

fn bits_32(k: &Kernel) {
    pairwise(k, &words(1, N), &words(2, N), |x, y| {
        let (sx, sy) = (x as i32, y as i32);
        let both = (y as u64) << 32 | x as u64;
        let s24 = |v: u32| (v << 8) as i32 >> 8;
        let (wide, signed) = (x as u64 * y as u64, sx as i64 * sy as i64);
        vec![
            x.count_ones(),
            x.leading_zeros(),
            x.reverse_bits(),
            if x == 0 { 0 } else { x.trailing_zeros() + 1 },
            (both << (y & 31) >> 32) as u32,
            (both >> (y & 31)) as u32,
            if y >= 32 { x } else { (both << y >> 32) as u32 },
            if y >= 32 { y } else { (both >> y) as u32 },
            permute(x, y, 0x3175),
            permute(x, y, y),
            s24(x).wrapping_mul(s24(y)) as u32,
            (x & 0xff_ffff).wrapping_mul(y & 0xff_ffff),
            (wide >> 32) as u32,
            (signed >> 32) as u32,
            sx.abs_diff(sy).wrapping_add(7),
            x.abs_diff(y).wrapping_add(9),
            ((sx as i64 + sy as i64) >> 1) as u32,
            ((sx as i64 + sy as i64 + 1) >> 1) as u32,
            ((x as u64 + y as u64) >> 1) as u32,
            ((x as u64 + y as u64 + 1) >> 1) as u32,
            x.rotate_left(y & 31),
            x.checked_div(y).unwrap_or(0),
            x.checked_rem(y).unwrap_or(1),
            if sy > 0 { (sx / sy) as u32 } else { 2 },
            if sy > 0 { (sx % sy) as u32 } else { 3 },
            x / 7,
            (sx / -10) as u32,
            x >> 5 & 0x3ff,
            ((x << 12) as i32 >> 20) as u32,
            sx.wrapping_abs() as u32,
            x.min(y).wrapping_sub(sx.max(sy) as u32),
            !x & y | (x ^ y) & 0xff,
        ]
    });
}

fn doubles(seed: u64) -> Vec<u64> {
    let mut r = Random(seed);
    let special = [0, 1, !0, 1 << 63, (1 << 63) - 1, 64, 63, 1 << 32, (1 << 32) - 1, 3];
    (0..N).map(|i| if i % 4 == 0 { special[r.below(10) as usize] } else { r.u64() >> r.below(64) }).collect()
}

fn bits_64(k: &Kernel) {
    pairwise(k, &doubles(3), &doubles(4), |x, y| {
        let (sx, sy) = (x as i64, y as i64);
        vec![
            x.count_ones() as u64,
            x.leading_zeros() as u64,
            x.reverse_bits(),
            if x == 0 { 0 } else { x.trailing_zeros() as u64 + 1 },
            (x as u128 * y as u128 >> 64) as u64,
            (sx as i128 * sy as i128 >> 64) as u64,
            x.checked_div(y).unwrap_or(0),
            x.checked_rem(y).unwrap_or(0),
            if y == 0 { 0 } else { sx.wrapping_div(sy | 1) as u64 },
            if y == 0 { 0 } else { sx.wrapping_rem(sy | 1) as u64 },
            x.rotate_left((y & 63) as u32),
            (sx >> (y & 63)) as u64,
            x / 1_000_003,
            x.min(y) ^ sx.max(sy) as u64,
            sx.wrapping_abs() as u64,
            ((x as u32 as u64) * (y as u32 as u64)).wrapping_add((x as i32 as i64 * y as i32 as i64) as u64),
        ]
    });
}

fn bits_128(k: &Kernel) {
    let wide = |seed| {
        let (low, high) = (doubles(seed), doubles(seed + 10));
        low.iter()
            .zip(&high)
            .enumerate()
            .map(|(i, (l, h))| (if i % 3 == 0 { 0 } else { *h } as u128) << 64 | *l as u128)
            .collect::<Vec<_>>()
    };
    pairwise(k, &wide(5), &wide(6), |x: u128, y: u128| {
        let order = if x < y { ((x as i128) < y as i128) as u128 } else { 2 + (x == y) as u128 };
        let shift = (y & 127) as u32;
        vec![
            x.wrapping_add(y),
            x.wrapping_sub(y),
            x.wrapping_mul(y),
            x / (y | 1),
            x % (y | 1),
            x << shift,
            ((x as i128) >> shift) as u128,
            order,
        ]
    });
}

fn carry_chains(k: &Kernel) {
    let four = |seed| words(seed, 4 * N).chunks(4).map(|c| [c[0], c[1], c[2], c[3]]).collect::<Vec<_>>();
    pairwise(k, &four(7), &four(8), |x: [u32; 4], y: [u32; 4]| {
        let wide = |v: [u32; 4]| v.iter().rev().fold(0u128, |n, w| n << 32 | *w as u128);
        let five = |low: u128, top: u32| (0..4).map(|i| (low >> (32 * i)) as u32).chain([top]).collect::<Vec<_>>();
        let (a, b) = (wide(x), wide(y));
        let (sum, carry) = a.overflowing_add(b);
        let (difference, borrow) = a.overflowing_sub(b);
        let (low, high) = (a & u64::MAX as u128, a >> 64);
        let (low, high) = (low * y[0] as u128, high * y[0] as u128);
        let middle = (low >> 64) + (high & u64::MAX as u128);
        let product = low & u64::MAX as u128 | middle << 64;
        let top = ((high >> 64) + (middle >> 64)) as u32;
        [five(sum, carry as u32), five(difference, if borrow { !0 } else { 0 }), five(product, top)].concat()
    });
}

fn dot_products(k: &Kernel) {
    pairwise(k, &words(9, N), &words(10, N), |x, y| {
        let (xb, yb) = (x.to_le_bytes(), y.to_le_bytes());
        let halves = [x as u16, (x >> 16) as u16];
        let four: i32 = xb.iter().zip(yb).map(|(a, b)| *a as i8 as i32 * b as i8 as i32).sum();
        let unsigned: u32 = xb.iter().zip(yb).map(|(a, b)| *a as u32 * b as u32).sum();
        let two = |o: usize| (0..2).map(|i| halves[i] as i16 as i32 * yb[o + i] as i8 as i32).sum::<i32>() - 5;
        let two_unsigned = |o: usize| (0..2).map(|i| halves[i] as u32 * yb[o + i] as u32).sum::<u32>() + 5;
        vec![four + 100, unsigned as i32 + 100, two(0), two(2), two_unsigned(0) as i32, two_unsigned(2) as i32]
    });
}

fn video_simd(k: &Kernel) {
    fn bytes(x: u32, y: u32, f: impl Fn(u8, u8) -> u8) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|i| f(x.to_le_bytes()[i], y.to_le_bytes()[i])))
    }
    fn halves(x: u32, y: u32, f: impl Fn(i16, i16) -> i16) -> u32 {
        f(x as i16, y as i16) as u16 as u32 | (f((x >> 16) as i16, (y >> 16) as i16) as u16 as u32) << 16
    }
    pairwise(k, &words(11, N), &words(12, N), |x, y| {
        let differences = bytes(x, y, u8::abs_diff);
        vec![
            bytes(x, y, u8::wrapping_add),
            halves(x, y, i16::wrapping_sub),
            bytes(x, y, u8::saturating_add),
            differences,
            differences.to_le_bytes().iter().map(|v| *v as u32).sum(),
            halves(x, y, i16::max),
            bytes(x, y, u8::min),
            bytes(x, y, |a, b| if a > b { 255 } else { 0 }),
            bytes(x, y, |a, b| (a as u16 + b as u16 + 1 >> 1) as u8),
            halves(x, 0, |a, _| a.wrapping_abs()),
            bytes(x, y, |a, b| (a < b) as u8),
            halves(x, y, i16::saturating_add),
            [0, 16].map(|at| ((x >> at) as u16).abs_diff((y >> at) as u16) as u32).iter().sum(),
            [0, 16].map(|at| ((x >> at) as i16).abs_diff((y >> at) as i16) as u32).iter().sum(),
        ]
    });
}

fn inline_ptx(k: &Kernel) {
    pairwise(k, &words(13, N), &words(14, N), |x, y| {
        let (sx, sy) = (x as i32, y as i32);
        let (position, length) = (y & 255, y >> 8 & 255);
        let bit = |i: u32, fill: u32| match (length, position + i) {
            (0, _) => 0,
            (_, at) if i < length && at <= 31 => x >> at & 1,
            _ => fill,
        };
        let field = |fill: u32| (0..32).map(|i| bit(i, fill) << i).sum::<u32>();
        let sign = x >> (position + length).saturating_sub(1).min(31) & 1;
        let (at, count) = (x >> 3 & 63, y & 63);
        let inserted = (0..32).fold(y, |r, i| {
            if i < count && at + i <= 31 { r & !(1 << (at + i)) | (x >> i & 1) << (at + i) } else { r }
        });
        let top = |v: u32| if v == 0 { !0 } else { 31 - v.leading_zeros() };
        let window = (((y as u64) << 32 | x as u64) >> (8 * (y & 3))) as u32;
        let half = if y & 1 == 0 { x & 0xffff } else { x >> 16 };
        let s = y != 7;
        vec![
            field(0),
            field(sign),
            inserted,
            top(x),
            top(if sx < 0 { !x } else { x }),
            if x == 0 { !0 } else { x.leading_zeros() },
            x & y | !x & x.wrapping_add(y),
            (x & 1 == 0) as u32,
            window,
            half | half << 16,
            if sx < sy { !0 } else { 0 },
            if (x ^ y) as i32 >= 0 { x } else { y },
            sx.saturating_add(sy) as u32,
            sx.saturating_sub(sy) as u32,
            ((sx as i64 * sy as i64 >> 32) as u32).wrapping_add(x),
            if x > y && s {
                1
            } else if s {
                2
            } else {
                3
            },
        ]
    });
}

fn saturate_narrow(k: &Kernel) {
    let x: Vec<i32> = words(15, N).into_iter().map(|v| v as i32).collect();
    let (s8, u8s, s16, u16s) = (k.zeros::<i8>(N), k.zeros::<u8>(N), k.zeros::<i16>(N), k.zeros::<u16>(N));
    let input = k.upload(&x);
    k.launch(12, 128, 0, &[&s8, &u8s, &s16, &u16s, &input, &(N as i32)]);
    same(&s8.read(), &x.iter().map(|v| (*v).clamp(-128, 127) as i8).collect::<Vec<_>>());
    same(&u8s.read(), &x.iter().map(|v| (*v).clamp(0, 255) as u8).collect::<Vec<_>>());
    same(&s16.read(), &x.iter().map(|v| (*v).clamp(-32768, 32767) as i16).collect::<Vec<_>>());
    same(&u16s.read(), &x.iter().map(|v| (*v).clamp(0, 65535) as u16).collect::<Vec<_>>());
}
