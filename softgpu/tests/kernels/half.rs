//! Oracles of half.cu: all 16-bit patterns where the input is one, rounding by `exact`.

use crate::exact::*;
use crate::harness::{Bf16, Case, F16, Kernel, Random, close, same};

pub const CASES: &[Case] = &[
    ("half_from_float", from_float),
    ("half_pairs_from_float", pairs_from_float),
    ("half_to_integers", to_integers),
    ("half_from_integers", from_integers),
    ("half_rounding", rounding),
    ("half2_arithmetic", |k| arithmetic(k, HALF, f16)),
    ("bfloat162_arithmetic", |k| arithmetic(k, BRAIN, bf16)),
    ("half_polynomial", |k| polynomial(k, HALF, f16)),
    ("bfloat16_polynomial", |k| polynomial(k, BRAIN, bf16)),
    ("half_compare", |k| compare(k, f16)),
    ("bfloat16_compare", |k| compare(k, bf16)),
    ("half_functions", |k| functions(k, HALF, f16)),
    ("bfloat16_functions", |k| functions(k, BRAIN, bf16)),
    ("half_atomics", atomics),
    ("half2_dot", dot),
];

fn f16(bits: u16) -> f64 {
    F16(bits).into()
}
fn bf16(bits: u16) -> f64 {
    Bf16(bits).into()
}
/// The value behind the bits, or NaN; zeros keep their sign in `same` by their bits.
fn bits64(x: f64) -> u64 {
    if x.is_nan() { 1 } else { x.to_bits() }
}
/// Compares as values: signs of zero count, all NaN are one.
#[track_caller]
fn same_values(got: impl Iterator<Item = f64>, want: impl Iterator<Item = f64>) {
    let shown = |x: f64| (bits64(x), x.to_string());
    same(&got.map(shown).collect::<Vec<_>>(), &want.map(shown).collect::<Vec<_>>());
}

fn specials() -> Vec<f32> {
    let powers = [-24, -25, -14, -15, 15, 16, -133, -134, -126, 127].map(|e| 2f32.powi(e));
    let ties = [1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8)];
    let large = [65504.0, 65519.996, 65520.0, 65536.0, 3.3895314e38, 3.3961775e38, f32::MAX, f32::INFINITY];
    let small = [0.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::from_bits(0x8000), f32::from_bits(0x18000), f32::NAN];
    let all = powers.iter().chain(&ties).chain(&large).chain(&small);
    all.flat_map(|v| [*v, -v, v.next_up(), v.next_down()]).collect()
}

fn floats(seed: u64, n: usize) -> Vec<f32> {
    let mut r = Random(seed);
    let mut x = specials();
    x.extend((0..n).map(|_| f32::from_bits(r.u64() as u32)));
    x.extend((0..n).map(|_| (r.f64(-1., 1.) * 2f64.powi(r.int(-26, 17) as i32)) as f32));
    x
}

fn from_float(k: &Kernel) {
    let x = floats(1, 2000);
    let (out, input) = (k.zeros::<u16>(8 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(256) as u32, 256, 0, &[&out, &input, &(x.len() as i32)]);
    let got = out.read();
    let order = [Even, Zero, Down, Up];
    let values = got.iter().enumerate().map(|(i, b)| if i % 8 < 4 { f16(*b) } else { bf16(*b) });
    let each = |v: &f32| {
        let v = *v as f64;
        order.map(|o| narrow(v, HALF, o)).into_iter().chain(order.map(|o| narrow(v, BRAIN, o)))
    };
    same_values(values, x.iter().flat_map(each));
}

fn pairs_from_float(k: &Kernel) {
    let x = floats(2, 1000);
    let n = x.len() / 2;
    let (out, input) = (k.zeros::<[u16; 2]>(4 * n), k.upload(&x));
    k.launch(n.div_ceil(128) as u32, 128, 0, &[&out, &input, &(n as i32)]);
    let got = out.read();
    let values = got.iter().enumerate().flat_map(|(i, p)| p.map(|b| if i % 4 < 2 { f16(b) } else { bf16(b) }));
    let each = |p: &[f32]| {
        let [a, b] = [p[0] as f64, p[1] as f64];
        let pair = |f| [narrow(a, f, Even), narrow(b, f, Even), narrow(b, f, Even), narrow(a, f, Even)];
        pair(HALF).into_iter().chain(pair(BRAIN))
    };
    same_values(values, x[..2 * n].chunks(2).flat_map(each));
}

fn to_integers(k: &Kernel) {
    for (flag, value) in [(0i32, f16 as fn(u16) -> f64), (1, bf16)] {
        let out = k.zeros::<i64>(8 << 16);
        k.launch(256, 256, 0, &[&out, &flag]);
        let (int, long) = ((i32::MIN as i128, i32::MAX as i128), (i64::MIN as i128, i64::MAX as i128));
        let each = |bits: u32| {
            let x = value(bits as u16);
            let signed = [Even, Zero, Down, Up].map(|round| integer(x, round, int.0, int.1, 0) as i64);
            let unsigned = integer(x, Zero, 0, u32::MAX as i128, 0) as i64;
            let short = integer(x, Zero, i16::MIN as i128, i16::MAX as i128, 0) as i64;
            let byte = integer(x, Zero, 0, 255, 0) as i64;
            let wide = integer(x, Zero, long.0, long.1, long.0) as i64;
            signed.into_iter().chain([unsigned, short, wide, byte])
        };
        same(&out.read(), &(0..1u32 << 16).flat_map(each).collect::<Vec<_>>());
    }
}

fn from_integers(k: &Kernel) {
    let mut r = Random(3);
    let mut x: Vec<i64> = (0..3000).map(|_| (r.u64() as i64) >> r.below(64)).collect();
    x.extend([0, 1, -1, 2049, 2051, 4098, 65504, 65519, 65520, 65535, 65536, 257, 259, i64::MAX, i64::MIN, -65520]);
    x.extend([(1 << 32) | 65505, 0x7fff_ffff, 0x8000_0000, 0x80_8000, 0x81_8000, (0x101i64 << 50) + 1]);
    let (out, input) = (k.zeros::<u16>(8 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let got = out.read();
    let values = got.iter().enumerate().map(|(i, b)| if i % 8 < 4 { f16(*b) } else { bf16(*b) });
    let each = |&v: &i64| {
        [
            narrow(v as i32 as f64, HALF, Even),
            narrow(v as u32 as f64, HALF, Zero),
            narrow(v as i16 as f64, HALF, Up),
            narrow(odd(v as i128), HALF, Down),
            narrow(v as i32 as f64, BRAIN, Even),
            narrow(v as u32 as f64, BRAIN, Zero),
            narrow(v as u16 as f64, BRAIN, Even),
            narrow(odd(v as u64 as i128), BRAIN, Even),
        ]
    };
    same_values(values, x.iter().flat_map(each));
}

fn rounding(k: &Kernel) {
    let x: Vec<u16> = (0..=u16::MAX).collect();
    let (out, input) = (k.zeros::<u16>(4 << 16), k.upload(&x));
    k.launch(256, 256, 0, &[&out, &input, &(1i32 << 16)]);
    let each = |b: &u16| {
        let v = f16(*b);
        [v.round_ties_even(), v.trunc(), v.floor(), v.ceil()]
    };
    same_values(out.read().into_iter().map(f16), x.iter().flat_map(each));
}

fn patterns(seed: u64, n: usize) -> Vec<u16> {
    let mut r = Random(seed);
    let special =
        [0u16, 0x8000, 1, 0x8001, 0x3c00, 0xbc00, 0x3f80, 0xbf80, 0x7c00, 0xfc00, 0x7f80, 0xff80, 0x7fff, 0xffff];
    (0..n).map(|_| if r.below(3) == 0 { special[r.below(14) as usize] } else { r.u64() as u16 }).collect()
}

/// NaN where an operand is one, else the lesser, −0 before +0.
fn least(a: f64, b: f64) -> f64 {
    if a < b || a == b && a.is_sign_negative() { a } else { b }
}

fn arithmetic(k: &Kernel, format: Format, value: fn(u16) -> f64) {
    let n = 3001;
    let mut x = patterns(4, 6 * n);
    let mut r = Random(5);
    // Half of them near one, so that results are mostly finite.
    let near = |r: &mut Random| (r.f64(-4., 4.)) as f32;
    for v in &mut x[..3 * n] {
        *v = if format.0 == 11 { F16::new(near(&mut r)).0 } else { Bf16::new(near(&mut r)).0 };
    }
    let (out, input) = (k.zeros::<u16>(32 * n), k.upload(&x));
    k.launch(n.div_ceil(64) as u32, 64, 0, &[&out, &input, &(n as i32)]);
    let got = out.read();
    let saturate = |v: f64| if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
    for i in 0..n {
        for part in 0..2 {
            let [a, b, c] = [0, 1, 2].map(|j| value(x[6 * i + 2 * j + part]));
            let to = |e: Exact| e.narrow(format, Even);
            let (sum, product, fused) = (to(Exact::Add(a, b)), to(Exact::Mul(a, b)), to(Exact::Fma(a, b, c)));
            let relu = if fused.is_nan() { fused } else { fused.max(0.0) };
            let (nan, either) = (a.is_nan() || b.is_nan(), |v: f64| {
                if a.is_nan() {
                    b
                } else if b.is_nan() {
                    a
                } else {
                    v
                }
            });
            let [low, high] = [least(a, b), -least(-a, -b)];
            let want = [
                sum,
                to(Exact::Add(a, -b)),
                product,
                fused,
                saturate(sum),
                saturate(product),
                saturate(fused),
                relu,
                -a,
                a.abs(),
                either(low),
                either(high),
                if nan { f64::NAN } else { low },
                if nan { f64::NAN } else { high },
                a / b,
                sum,
            ];
            for (j, want) in want.into_iter().enumerate() {
                let got = value(got[32 * i + 2 * j + part]);
                let good = match j {
                    // Within one unit of the last place: the library divides by way of f32's approximate reciprocal.
                    14 => near_enough(got, want, format, 1.0),
                    // Where a result is clamped, the sign of zero is not defined.
                    4..=7 => got == want || got.is_nan() && want.is_nan(),
                    _ => bits64(got) == bits64(want),
                };
                assert!(good, "operation {j} of ({a:e}, {b:e}, {c:e}): got {got:e}, expected {want:e}");
            }
        }
    }
}

fn polynomial(k: &Kernel, format: Format, value: fn(u16) -> f64) {
    let n = 2000;
    let mut r = Random(6);
    let mut x: Vec<u16> = (0..n)
        .map(|_| r.f64(-8., 8.) as f32)
        .map(|v| if format.0 == 11 { F16::new(v).0 } else { Bf16::new(v).0 })
        .collect();
    x[7] = 0x7fff;
    let (out, input) = (k.zeros::<u16>(n), k.upload(&x));
    k.launch(16, 128, 0, &[&out, &input, &(n as i32)]);
    for (bits, got) in x.iter().zip(out.read()) {
        let x = value(*bits);
        let to = |e: Exact| e.narrow(format, Even);
        let y = to(Exact::Add(to(Exact::Add(to(Exact::Mul(x, x)), to(Exact::Mul(x, 0.5)))), -1.0));
        let y = if y > 1.0 || y.is_nan() { y.max(-2.0) } else { y };
        let want = to(Exact::Add(y, -x)) / to(Exact::Add(1.0, x.abs()));
        assert!(near_enough(value(got), want, format, 1.0), "of {x}: got {}, expected {want}", value(got));
    }
}

fn compare(k: &Kernel, value: fn(u16) -> f64) {
    let n = 3000;
    let (a, mut b) = (patterns(7, n), patterns(8, n));
    for i in (0..n).step_by(5) {
        b[i] = a[i];
    }
    let is_half = value(0x3c00) == 1.0;
    let width = if is_half { 3 } else { 1 };
    let (out, da, db) = (k.zeros::<u32>(width * n), k.upload(&a), k.upload(&b));
    k.launch(n.div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(n as i32)]);
    let each = |i: usize| {
        let (x, y) = (value(a[i]), value(b[i]));
        let unordered = x.is_nan() || y.is_nan();
        let ordered = [x == y, x != y && !unordered, x < y, x <= y, x > y, x >= y];
        let mut bits =
            ordered.iter().enumerate().fold(0, |r, (j, &v)| r | (v as u32) << j | ((v || unordered) as u32) << (6 + j));
        bits |= (x.is_nan() as u32) << 12 | (x.is_infinite() as u32) << 13;
        if !is_half {
            return vec![bits];
        }
        let (yy, lt_second) = (!y.is_nan(), y.is_nan()); // the second half compares y with itself
        bits |= ((x == y && yy) as u32) << 14 | (((x < y || unordered) && lt_second) as u32) << 15;
        let mask = |v: bool, set: u32| if v { set } else { 0 };
        vec![bits, mask(x == y, 0xffff) | mask(yy, 0xffff_0000), mask(x >= y, 0x3c00) | mask(yy, 0x3c00_0000)]
    };
    same(&out.read(), &(0..n).flat_map(each).collect::<Vec<_>>());
}

fn functions(k: &Kernel, format: Format, value: fn(u16) -> f64) {
    let n = 2000;
    let mut r = Random(9);
    let new = |v: f64| if format.0 == 11 { F16::new(v as f32).0 } else { Bf16::new(v as f32).0 };
    let mut x: Vec<u16> = (0..n).map(|_| new(r.f64(-9., 9.))).collect();
    x.extend((0..n).map(|_| new(r.f64(0.0, 1.0) * 2f64.powi(r.int(-12, 10) as i32))));
    x.extend([0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(new));
    let (out, input) = (k.zeros::<u16>(8 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let names = ["sqrt", "rsqrt", "rcp", "exp", "exp2", "log", "sin or cos", "tanh"];
    for (bits, got) in x.iter().zip(out.read().chunks(8)) {
        let x = value(*bits);
        let turn = if format.0 == 11 { x.sin() } else { x.cos() };
        let want = [x.sqrt(), 1.0 / x.sqrt(), 1.0 / x, x.exp(), x.exp2(), x.ln(), turn, x.tanh()];
        for (j, want) in want.into_iter().enumerate() {
            let got = value(got[j]);
            // The headers go by way of f32's approximate functions: documented as within 2 units.
            assert!(near_enough(got, want, format, 2.0), "{} of {x:e}: got {got:e}, expected {want:e}", names[j]);
        }
    }
}

fn atomics(k: &Kernel) {
    let n = 1000;
    let bins = Random(10).ints(n, 0, 7);
    let (h2, b2) = (k.zeros::<[F16; 2]>(8), k.zeros::<[Bf16; 2]>(8));
    let (h, b, input) = (k.zeros::<F16>(8), k.zeros::<Bf16>(8), k.upload(&bins));
    k.launch(8, 128, 0, &[&h2, &b2, &h, &b, &input, &(n as i32)]);
    let count: Vec<f64> = (0..8).map(|bin| bins.iter().filter(|v| **v == bin).count() as f64).collect();
    assert!(count.iter().all(|c| *c < 250.0), "sums stay exact in bf16");
    let pairs = |second: f64| count.iter().flat_map(|c| [*c, second * c]).collect::<Vec<_>>();
    close(&h2.read().concat(), &pairs(2.0), 0.0, 0.0);
    close(&b2.read().concat(), &pairs(-1.0), 0.0, 0.0);
    close(&h.read(), &count, 0.0, 0.0);
    close(&b.read(), &count, 0.0, 0.0);
}

fn dot(k: &Kernel) {
    let (rows, cols) = (5usize, 70usize);
    let mut r = Random(11);
    let (a, b) = (r.whole(rows * cols * 2, -3, 3), r.whole(rows * cols * 2, -3, 3));
    let halves = |x: &[f32]| x.iter().map(|v| F16::new(*v)).collect::<Vec<_>>();
    let (out, da, db) = (k.zeros::<f32>(rows), k.upload(&halves(&a)), k.upload(&halves(&b)));
    k.launch(rows as u32, 32, 0, &[&out, &da, &db, &(cols as i32)]);
    let sums =
        a.chunks(2 * cols).zip(b.chunks(2 * cols)).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>());
    same(&out.read(), &sums.collect::<Vec<_>>());
}
