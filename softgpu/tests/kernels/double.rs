//! Oracles of double.cu: each function within the error that the CUDA C++ Programming Guide states, and one unit more
//! for the reference, which is no wider.

use crate::exact::*;
use crate::harness::{Check, Kernel, Random, close, same};

type One = fn(f64) -> f64;
type Two = fn(f64, f64) -> f64;

/// Name, reference, least argument, bound in units of the last place; 0 is bit for bit.
const UNARY: &[(&str, One, f64, f64)] = &[
    ("double_sin", f64::sin, f64::MIN, 2.0),
    ("double_cos", f64::cos, f64::MIN, 2.0),
    ("double_tan", f64::tan, f64::MIN, 2.0),
    ("double_exp", f64::exp, f64::MIN, 1.0),
    ("double_exp2", f64::exp2, f64::MIN, 1.0),
    ("double_expm1", f64::exp_m1, f64::MIN, 1.0),
    ("double_log", f64::ln, 0.0, 1.0),
    ("double_log2", f64::log2, 0.0, 1.0),
    ("double_log10", f64::log10, 0.0, 1.0),
    ("double_log1p", f64::ln_1p, 0.0, 1.0),
    ("double_sqrt", f64::sqrt, 0.0, 0.0),
    ("double_rsqrt", |x| 1.0 / x.sqrt(), 0.0, 2.0),
    ("double_cbrt", f64::cbrt, f64::MIN, 1.0),
    ("double_tanh", f64::tanh, f64::MIN, 2.0),
    ("double_atan", f64::atan, f64::MIN, 2.0),
    ("double_asin", f64::asin, f64::MIN, 2.0),
    ("double_erf", libm::erf, f64::MIN, 2.0),
    ("double_lgamma", libm::lgamma, 0.0, 4.0),
    ("double_reciprocal", |x| 1.0 / x, f64::MIN, 0.0),
    ("double_floor", f64::floor, f64::MIN, 0.0),
    ("double_ceil", f64::ceil, f64::MIN, 0.0),
    ("double_trunc", f64::trunc, f64::MIN, 0.0),
    ("double_rint", f64::round_ties_even, f64::MIN, 0.0),
    ("double_round", f64::round, f64::MIN, 0.0),
];
const BINARY: &[(&str, Two, f64)] = &[
    ("double_pow", f64::powf, 2.0),
    ("double_div", |x, y| x / y, 0.0),
    ("double_fmod", |x, y| x % y, 0.0),
    ("double_atan2", f64::atan2, 2.0),
    ("double_hypot", f64::hypot, 2.0),
    ("double_fmin", libm::fmin, 0.0),
    ("double_fmax", libm::fmax, 0.0),
    ("double_copysign", f64::copysign, 0.0),
];

pub fn checks() -> Vec<Check> {
    let mut all: Vec<Check> = Vec::new();
    for &(name, f, least, units) in UNARY {
        all.push((name, Box::new(move |k| function(k, f, least, units))));
    }
    for &(name, f, units) in BINARY {
        all.push((name, Box::new(move |k| function_of_two(k, f, units))));
    }
    all.push(("double_roundings", Box::new(roundings)));
    all.push(("double_conversions", Box::new(conversions)));
    all.push(("integers_to_double", Box::new(from_integers)));
    all.push(("n_body", Box::new(n_body)));
    all
}

#[track_caller]
fn check(x: &str, got: f64, want: f64, units: f64) {
    if got == want || got.is_nan() && want.is_nan() {
        return;
    }
    let unit = (want.abs().next_up() - want.abs()).max(f64::from_bits(1));
    let allowed = if units == 0.0 { 0.0 } else { (units + 1.0) * unit };
    assert!(
        (got - want).abs() <= allowed,
        "of {x}: got {got:e}, expected {want:e} within {units} units of the last place"
    );
}

fn function(k: &Kernel, f: One, least: f64, units: f64) {
    let mut r = Random(1);
    let mut x: Vec<f64> = (0..1500).map(|_| r.f64(-3.0, 3.0)).collect();
    x.extend((0..500).map(|_| r.f64(-750.0, 720.0)));
    x.extend((0..1500).map(|_| (r.unit() * 2.0 - 1.0) * 2f64.powi(r.int(-1022, 1023) as i32)));
    x.extend([
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        f64::MAX,
        f64::MIN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::from_bits(1),
        1e22,
        1e300,
    ]);
    x.retain(|v| *v >= least || v.is_nan() || *v == f64::NEG_INFINITY);
    let (out, input) = (k.zeros::<f64>(x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    for (x, got) in x.iter().zip(out.read()) {
        check(&format!("{x:e}"), got, f(*x), units);
    }
}

/// Moderate pairs, then (where `wide`) special values and all magnitudes.
fn pairs(wide: bool) -> (Vec<f64>, Vec<f64>) {
    let mut r = Random(2);
    let mut all: Vec<(f64, f64)> = (0..1500).map(|_| (r.f64(0.01, 3.0), r.f64(-3.0, 3.0))).collect();
    all.extend((0..1500).map(|_| (r.f64(-1e3, 1e3), r.f64(-1.0, 1.0) * 2f64.powi(r.int(-30, 30) as i32))));
    all.extend((0..200).map(|i| (i as f64, (i % 7) as f64 - 3.5)));
    if wide {
        let special =
            [0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, 1e-310, 1e308];
        all.extend(special.iter().flat_map(|a| special.iter().map(move |b| (*a, *b))));
    }
    all.into_iter().unzip()
}

fn function_of_two(k: &Kernel, f: Two, units: f64) {
    let (a, b) = pairs(true);
    let (out, da, db) = (k.zeros::<f64>(a.len()), k.upload(&a), k.upload(&b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((x, y), got) in a.iter().zip(&b).zip(out.read()) {
        check(&format!("({x:e}, {y:e})"), got, f(*x, *y), units);
    }
}

fn roundings(k: &Kernel) {
    let (a, mut b) = pairs(false);
    b.iter_mut().filter(|v| **v == 0.0).for_each(|v| *v = 0.75);
    let (out, da, db) = (k.zeros::<f64>(24 * a.len()), k.upload(&a), k.upload(&b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((&x, &y), got) in a.iter().zip(&b).zip(out.read().chunks(24)) {
        let all = [
            Exact::Add(x, y),
            Exact::Mul(x, y),
            Exact::Fma(x, y, x - y),
            Exact::Div(x, y),
            Exact::Div(1.0, y),
            Exact::Sqrt(y.abs()),
        ];
        for (j, got) in got.iter().enumerate() {
            let want = all[j / 4].f64(ALL[j % 4]);
            assert!(
                *got == want,
                "operation {} {:?} of ({x:e}, {y:e}): got {got:e}, expected {want:e}",
                j / 4,
                ALL[j % 4]
            );
        }
    }
}

fn conversions(k: &Kernel) {
    let mut r = Random(3);
    let mut x: Vec<f64> = (0..2000).map(|_| (r.unit() * 2.0 - 1.0) * 2f64.powi(r.int(-160, 140) as i32)).collect();
    x.extend([
        0.0,
        -0.0,
        0.5,
        1.5,
        -0.5,
        2147483647.5,
        -2147483648.5,
        4294967295.5,
        9.3e18,
        1.9e19,
        -9.3e18,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ]);
    x.extend([3.4028235677973366e38, 3.402823466e38, 1e-46, 7e-46, 1.401298464324817e-45, f64::MAX, f64::from_bits(1)]);
    let (out, input) = (k.zeros::<i64>(16 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let (int, long) = ((i32::MIN as i128, i32::MAX as i128), (i64::MIN as i128, i64::MAX as i128));
    for (&x, got) in x.iter().zip(out.read().chunks(16)) {
        // NaN from a double: the top bit alone, whatever the width (PTX ISA, cvt).
        let mut want: Vec<i64> = ALL.iter().map(|round| integer(x, *round, int.0, int.1, int.0) as i64).collect();
        want.push(integer(x, Zero, 0, u32::MAX as i128, 1 << 31) as i64);
        want.extend([Even, Down].map(|round| integer(x, round, long.0, long.1, long.0) as i64));
        want.push(integer(x, Zero, 0, u64::MAX as i128, 1 << 63) as u64 as i64);
        same(&got[..8], &want);
        for (j, round) in ALL.into_iter().enumerate() {
            let (got, want) = (f32::from_bits(got[8 + j] as u32), narrow(x, SINGLE, round) as f32);
            assert!(
                got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                "{round:?} of {x:e}: got {got:e}, expected {want:e}"
            );
        }
        let bits = x.to_bits();
        if !x.is_nan() {
            let swapped = (bits & 0x7fef_ffff) << 32 | bits >> 32;
            same(&got[12..15], &[(bits >> 32) as i32 as i64, bits as i32 as i64, swapped as i64]);
        }
        assert_eq!(
            got[15],
            x.is_nan() as i64 | (x.is_infinite() as i64) << 1 | (x.is_sign_negative() as i64) << 2,
            "classes of {x:e}"
        );
    }
}

fn from_integers(k: &Kernel) {
    let mut r = Random(4);
    let mut x: Vec<i64> = (0..2000).map(|_| (r.u64() as i64) >> r.below(64)).collect();
    x.extend([0, -1, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 53) - 1, (1 << 54) + 2]);
    let (out, input) = (k.zeros::<f64>(6 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let each = |&v: &i64| {
        let zero = if ((v as f64) as i128).abs() > (v as i128).abs() { toward_zero(v as f64) } else { v as f64 };
        let u = v as u64;
        let up = if ((u as f64) as u128) < u as u128 { (u as f64).next_up() } else { u as f64 };
        [v as i32 as f64, v as u32 as f64, v as f64, zero, up, u as f64]
    };
    same(&out.read(), &x.iter().flat_map(each).collect::<Vec<_>>());
}

fn toward_zero(x: f64) -> f64 {
    if x > 0.0 { x.next_down() } else { x.next_up() }
}

fn n_body(k: &Kernel) {
    let n = 150;
    let mut r = Random(5);
    let body: Vec<[f32; 4]> = (0..n).map(|_| [-1., -1., -1., 0.1].map(|low| r.f64(low, 1.) as f32)).collect();
    let (out, input) = (k.zeros::<[f64; 3]>(n), k.upload(&body));
    k.launch(3, 64, 0, &[&out, &input, &(n as i32), &0.01f64]);
    let pull = |me: &[f32; 4]| {
        let mut a = [0.0; 3];
        for other in &body {
            let d = [0, 1, 2].map(|c| other[c] as f64 - me[c] as f64);
            let r2 = d.iter().map(|v| v * v).sum::<f64>() + 0.01;
            (0..3).for_each(|c| a[c] += d[c] * other[3] as f64 / (r2 * r2.sqrt()));
        }
        a
    };
    close(&out.read().concat(), &body.iter().flat_map(pull).collect::<Vec<_>>(), 1e-12, 1e-10);
}
