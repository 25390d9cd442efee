//! Oracles of math.cu: each function within the error that the CUDA C++ Programming Guide states for it (§ Mathematical
//! Functions), in units of the last place against f64, over ranges, magnitudes and special values.

use crate::exact::*;
use crate::harness::{Check, Kernel, Random, same};

/// Which inputs: near zero, positive, in [−1, 1], moderate, or anything.
#[derive(Clone, Copy, PartialEq)]
enum Domain {
    Any,
    Unit,
    Positive,
    Moderate,
}
use Domain::*;

type One = fn(f64) -> f64;
type Two = fn(f64, f64) -> f64;

/// Name, reference, inputs, bound in units of the last place.
const UNARY: &[(&str, One, Domain, f64)] = &[
    ("math_sin", f64::sin, Any, 2.0),
    ("math_cos", f64::cos, Any, 2.0),
    ("math_tan", f64::tan, Any, 4.0),
    ("math_asin", f64::asin, Unit, 2.0),
    ("math_acos", f64::acos, Unit, 2.0),
    ("math_atan", f64::atan, Any, 2.0),
    ("math_sinh", f64::sinh, Any, 3.0),
    ("math_cosh", f64::cosh, Any, 2.0),
    ("math_tanh", f64::tanh, Any, 2.0),
    ("math_asinh", libm::asinh, Any, 3.0),
    ("math_acosh", libm::acosh, Positive, 4.0),
    ("math_atanh", libm::atanh, Unit, 3.0),
    ("math_exp", f64::exp, Any, 2.0),
    ("math_exp2", f64::exp2, Any, 2.0),
    ("math_exp10", |x| 10f64.powf(x), Any, 2.0),
    ("math_expm1", f64::exp_m1, Any, 1.0),
    ("math_log", f64::ln, Positive, 1.0),
    ("math_log2", f64::log2, Positive, 1.0),
    ("math_log10", f64::log10, Positive, 2.0),
    ("math_log1p", f64::ln_1p, Positive, 1.0),
    ("math_sqrt", f64::sqrt, Positive, 0.0),
    ("math_rsqrt", |x| 1.0 / x.sqrt(), Positive, 2.0),
    ("math_cbrt", f64::cbrt, Any, 1.0),
    ("math_erf", libm::erf, Any, 2.0),
    ("math_erfc", libm::erfc, Any, 4.0),
    ("math_normcdf", |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2), Any, 5.0),
    ("math_lgamma", libm::lgamma, Positive, 6.0),
    ("math_tgamma", libm::tgamma, Positive, 5.0),
    ("math_j0", libm::j0, Moderate, 9.0),
    ("math_sinpi", sinpi, Any, 1.0),
    ("math_floor", f64::floor, Any, 0.0),
    ("math_ceil", f64::ceil, Any, 0.0),
    ("math_trunc", f64::trunc, Any, 0.0),
    ("math_rint", f64::round_ties_even, Any, 0.0),
    ("math_round", f64::round, Any, 0.0),
    ("math_logb", logb, Any, 0.0),
    ("math_saturate", saturate, Any, 0.0),
    ("math_reciprocal", |x| 1.0 / x, Any, 0.0),
];

const BINARY: &[(&str, Two, f64)] = &[
    ("math_pow", libm::pow, 4.0),
    ("math_div", |x, y| x / y, 0.0),
    ("math_fmod", |x, y| x % y, 0.0),
    ("math_remainder", libm::remainder, 0.0),
    ("math_atan2", f64::atan2, 3.0),
    ("math_hypot", f64::hypot, 3.0),
    ("math_fdim", libm::fdim, 0.0),
    ("math_fmin", libm::fmin, 0.0),
    ("math_fmax", libm::fmax, 0.0),
    ("math_copysign", f64::copysign, 0.0),
    ("math_ldexp", |x, y| libm::ldexp(x, (y.clamp(-9999.0, 9999.0)) as i32), 0.0),
];

fn sinpi(x: f64) -> f64 {
    let r = x % 2.0;
    let r = if r.abs() > 1.5 {
        r - 2f64.copysign(r)
    } else if r.abs() > 0.5 {
        1f64.copysign(r) - r
    } else {
        r
    };
    if x.is_infinite() { f64::NAN } else { (std::f64::consts::PI * r).sin() }
}
fn logb(x: f64) -> f64 {
    if x == 0.0 {
        f64::NEG_INFINITY
    } else if x.is_finite() {
        libm::frexp(x).1 as f64 - 1.0
    } else {
        x.abs()
    }
}
fn saturate(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) }
}

pub fn checks(fast: bool) -> Vec<Check> {
    let mut all: Vec<Check> = Vec::new();
    for &(name, f, domain, units) in UNARY {
        all.push((name, Box::new(move |k| function(k, &inputs(domain, fast), f, units, fast))));
    }
    for &(name, f, units) in BINARY {
        all.push((name, Box::new(move |k| function_of_two(k, f, units, fast))));
    }
    all.push((
        "math_nextafter",
        Box::new(move |k| function_of_two(k, |x, y| libm::nextafterf(x as f32, y as f32) as f64, 0.0, fast)),
    ));
    all.push(("math_erfinv", Box::new(erfinv)));
    all.push(("math_parts", Box::new(move |k| parts(k, fast))));
    all.push(("math_fast", Box::new(intrinsics)));
    all.push(("math_roundings", Box::new(move |k| roundings(k, fast))));
    all.push(("math_classes", Box::new(move |k| classes(k, fast))));
    all.push(("float_to_integers", Box::new(move |k| to_integers(k, fast))));
    all.push(("integers_to_float", Box::new(from_integers)));
    all
}

/// With fast math only moderate values: subnormals are flushed, and large arguments are not reduced.
fn inputs(domain: Domain, fast: bool) -> Vec<f32> {
    let mut r = Random(1);
    let (low, high) = match domain {
        Any | Moderate => (-3.0, 3.0),
        Unit => (-0.999, 0.999),
        Positive => (0.001, 3.0),
    };
    let mut x = r.f32s(1000, low, high);
    if fast {
        return x;
    }
    let signed =
        |r: &mut Random, e: i32| ((1.0 + r.unit()) * 2f64.powi(e) * if r.below(2) == 0 { -1.0 } else { 1.0 }) as f32;
    for e in -149..=127 {
        x.extend((0..4).map(|_| signed(&mut r, e)));
    }
    x.extend(r.f32s(1000, -100., 100.));
    x.extend([
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ]);
    x.extend([88.5, 88.8, -87.5, -103.5, 127.5, 128.0, -149.5, 38.6, 8388607.5, 8388609.0, 2147483648.0, 9.223372e18]);
    match domain {
        Any => {}
        Unit => x.retain(|v| v.abs() <= 1.0 || v.is_nan()),
        Positive => x.retain(|v| *v >= 0.0 || v.is_nan() || *v == f32::NEG_INFINITY),
        Moderate => x.retain(|v| v.abs() < 8.0),
    }
    x
}

/// What fast math promises no better than: 2⁻²¹ absolute for sine and cosine, a few units elsewhere, and tanh.approx.
fn fast_enough(got: f64, want: f64) -> bool {
    got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= 1e-4 * want.abs() + 4e-6
}

#[track_caller]
fn check(x: &str, got: f32, want: f64, units: f64, fast: bool) {
    let good = if fast { fast_enough(got as f64, want) } else { near_enough(got as f64, want, SINGLE, units) };
    assert!(good, "of {x}: got {got:e}, expected {want:e} within {units} units of the last place (fast: {fast})");
}

fn function(k: &Kernel, x: &[f32], f: One, units: f64, fast: bool) {
    let (out, input) = (k.zeros::<f32>(x.len()), k.upload(x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    for (x, got) in x.iter().zip(out.read()) {
        check(&format!("{x:e}"), got, f(*x as f64), units, fast);
    }
}

fn pairs(fast: bool) -> (Vec<f32>, Vec<f32>) {
    let mut r = Random(2);
    let (mut a, mut b) = (r.f32s(1500, 0.01, 3.0), r.f32s(1500, -3.0, 3.0));
    if !fast {
        let special = [
            0.0f32,
            -0.0,
            1.0,
            -1.0,
            2.0,
            -3.0,
            0.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MAX,
            1e-40,
            -1e-44,
        ];
        for x in special {
            a.extend([x; 13]);
            b.extend(special);
        }
        for _ in 0..3000 {
            let [x, y] = [0, 1].map(|_| ((r.unit() * 2.0 - 1.0) * 2f64.powi(r.int(-60, 60) as i32)) as f32);
            a.push(x);
            b.push(y);
        }
    }
    (a, b)
}

fn function_of_two(k: &Kernel, f: Two, units: f64, fast: bool) {
    let (a, b) = pairs(fast);
    let (out, da, db) = (k.zeros::<f32>(a.len()), k.upload(&a), k.upload(&b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((x, y), got) in a.iter().zip(&b).zip(out.read()) {
        check(&format!("({x:e}, {y:e})"), got, f(*x as f64, *y as f64), units, fast);
    }
}

/// By way of the derivative: erf of the result against the input.
fn erfinv(k: &Kernel) {
    let x = inputs(Unit, true);
    let (out, input) = (k.zeros::<f32>(x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    for (x, got) in x.iter().zip(out.read()) {
        let y = got as f64;
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-y * y).exp();
        let error = (libm::erf(y) - *x as f64) / slope;
        assert!(error.abs() <= 1e-6 * y.abs() + 1e-9, "erfinv of {x:e}: got {got:e}, off by {error:e}");
    }
}

fn parts(k: &Kernel, fast: bool) {
    let mut x = inputs(Any, fast);
    x.retain(|v| v.is_finite());
    let (out, exponents, input) = (k.zeros::<f32>(5 * x.len()), k.zeros::<i32>(x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &exponents, &input, &(x.len() as i32)]);
    for ((x, got), e) in x.iter().zip(out.read().chunks(5)).zip(exponents.read()) {
        let v = *x as f64;
        let (mantissa, exponent) = libm::frexp(v);
        for (got, (want, units)) in
            got.iter().zip([(v.sin(), 2.0), (v.cos(), 2.0), (mantissa, 0.0), (v.fract(), 0.0), (v.trunc(), 0.0)])
        {
            check(&format!("{x:e}"), *got, want, units, fast);
        }
        assert_eq!(e, exponent, "exponent of {x:e}");
    }
}

/// The guide's table of intrinsics, for arguments where it states a bound.
fn intrinsics(k: &Kernel) {
    let (a, b) = pairs(true);
    let (out, da, db) = (k.zeros::<f32>(12 * a.len()), k.upload(&a), k.upload(&b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((&x, &y), got) in a.iter().zip(&b).zip(out.read().chunks(12)) {
        let (x, y) = (x as f64, y as f64);
        let want = [
            (x.sin(), 0.0, 4.8e-7),
            (x.cos(), 0.0, 4.8e-7),
            (x.exp(), 8e-7, 0.0),
            (x.ln(), 4e-7, 4e-7),
            (x.powf(y), 4e-6, 0.0),
            (x / y, 2.4e-7, 0.0),
            (1.0 / x.sqrt(), 6.1e-8, 0.0),
            (10f64.powf(x), 2e-6, 0.0),
            (y.abs().log2(), 3e-7, 5e-7),
            (y.abs().log10(), 3e-7, 4e-7),
            (y.tan(), 1e-5 * (1.0 + y.tan().abs()), 1e-6),
            (1.0 / y, 6.1e-8, 0.0),
        ];
        for (j, (want, relative, absolute)) in want.into_iter().enumerate() {
            let error = (got[j] as f64 - want).abs();
            assert!(
                error <= relative * want.abs() + absolute,
                "intrinsic {j} of ({x:e}, {y:e}): got {:e}, expected {want:e}",
                got[j]
            );
        }
    }
}

fn roundings(k: &Kernel, fast: bool) {
    let (a, b) = pairs(fast);
    let (out, da, db) = (k.zeros::<f32>(24 * a.len()), k.upload(&a), k.upload(&b));
    k.launch(a.len().div_ceil(128) as u32, 128, 0, &[&out, &da, &db, &(a.len() as i32)]);
    for ((&x, &y), got) in a.iter().zip(&b).zip(out.read().chunks(24)) {
        let z = (x - y) as f64;
        let (x, y) = (x as f64, y as f64);
        let all = [
            Exact::Add(x, y),
            Exact::Mul(x, y),
            Exact::Fma(x, y, z),
            Exact::Div(x, y),
            Exact::Div(1.0, y),
            Exact::Sqrt(y.abs()),
        ];
        for (j, got) in got.iter().enumerate() {
            let want = all[j / 4].narrow(SINGLE, ALL[j % 4]) as f32;
            assert!(
                *got == want || got.is_nan() && want.is_nan(),
                "operation {} {:?} of ({x:e}, {y:e}): got {got:e}, expected {want:e}",
                j / 4,
                ALL[j % 4]
            );
        }
    }
}

fn classes(k: &Kernel, fast: bool) {
    let x = inputs(Any, fast);
    let (out, input) = (k.zeros::<u32>(x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let class = |v: &f32| {
        let flags = [
            v.is_nan(),
            v.is_infinite(),
            v.is_finite(),
            v.is_sign_negative(),
            *v > 0.0,
            !matches!(v.partial_cmp(&1.0), Some(o) if o.is_le()),
        ];
        flags.iter().enumerate().fold(0, |r, (j, f)| r | (*f as u32) << j)
    };
    same(&out.read(), &x.iter().map(class).collect::<Vec<_>>());
}

fn to_integers(k: &Kernel, fast: bool) {
    let mut x = inputs(Any, fast);
    if !fast {
        x.extend([
            2147483520.0,
            4294967040.0,
            9.2233715e18,
            1.8446743e19,
            1.8446744e19,
            -2147483648.0,
            -9.223372e18,
            0.49999997,
            -0.5,
        ]);
    }
    let (out, input) = (k.zeros::<i64>(10 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let (int, long) = ((i32::MIN as i128, i32::MAX as i128), (i64::MIN as i128, i64::MAX as i128));
    for (x, got) in x.iter().zip(out.read().chunks(10)) {
        let v = *x as f64;
        // NaN: 0 in 32 bits, the top bit in 64 (PTX ISA, cvt).
        let mut want: Vec<i64> = ALL.iter().map(|r| integer(v, *r, int.0, int.1, 0) as i64).collect();
        want.extend([Even, Zero].map(|r| integer(v, r, 0, u32::MAX as i128, 0) as i64));
        want.push(integer(v, Even, long.0, long.1, long.0) as i64);
        want.push(integer(v, Zero, 0, u64::MAX as i128, 1 << 63) as u64 as i64);
        same(&got[..8], &want);
        // C leaves the narrow ones undefined outside their range.
        if v.trunc().abs() < 32768.0 {
            assert_eq!(got[8], v.trunc() as i64, "short of {x:e}");
        }
        if (0.0..256.0).contains(&v) {
            assert_eq!(got[9], v as i64, "unsigned char of {x:e}");
        }
    }
}

fn from_integers(k: &Kernel) {
    let mut r = Random(3);
    let mut x: Vec<i64> = (0..3000).map(|_| (r.u64() as i64) >> r.below(64)).collect();
    x.extend([
        0,
        1,
        -1,
        i64::MAX,
        i64::MIN,
        (1 << 24) + 1,
        (1 << 24) + 3,
        -(1 << 24) - 1,
        i32::MAX as i64,
        i32::MIN as i64,
        u32::MAX as i64,
    ]);
    let (out, input) = (k.zeros::<f32>(10 * x.len()), k.upload(&x));
    k.launch(x.len().div_ceil(128) as u32, 128, 0, &[&out, &input, &(x.len() as i32)]);
    let each = |&v: &i64| {
        let mut all: Vec<f64> = ALL.iter().map(|round| narrow(v as i32 as f64, SINGLE, *round)).collect();
        all.extend([
            narrow(v as u32 as f64, SINGLE, Even),
            narrow(odd(v as i128), SINGLE, Even),
            narrow(odd(v as u64 as i128), SINGLE, Zero),
        ]);
        all.extend([narrow(odd(v as i128), SINGLE, Down), v as i16 as f64, v as i8 as f64]);
        all.into_iter().map(|v| v as f32)
    };
    same(&out.read(), &x.iter().flat_map(each).collect::<Vec<_>>());
}
