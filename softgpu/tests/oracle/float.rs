//! Oracle of floating-point arithmetic: PTX ISA 9.0, 9.7.3 to 9.7.5.

use crate::case::{Case, Ty, Want};
use crate::exact::{BF16, F16, F32, F64, Format, Round, TF32, rounded, rounded_sum, sign_of_sum};

pub fn format(name: &str) -> Option<Format> {
    Some(match name {
        "f16" => F16,
        "bf16" => BF16,
        "f32" => F32,
        "f64" => F64,
        "tf32" => TF32,
        _ => return None,
    })
}

/// The NaN that arithmetic gives. f32: 0x7fffffff, halves: 0x7fff, as ptxas folds them (the ISA does not promise it).
/// f64: any quiet one by the ISA; softgpu gives the default one of IEEE hardware.
pub fn nan(f: Format) -> u64 {
    if f == F64 { 0xfff8_0000_0000_0000 } else { f.sign() - 1 }
}

pub fn rounding(parts: &[&str]) -> Round {
    let find = |part: &&str| match *part {
        "rz" => Some(Round::Zero),
        "rm" => Some(Round::Down),
        "rp" => Some(Round::Up),
        "rna" => Some(Round::Away),
        _ => None,
    };
    parts.iter().find_map(find).unwrap_or(Round::Near)
}

pub fn flushed(f: Format, bits: u64) -> u64 {
    if f.is_subnormal(bits) { bits & f.sign() } else { bits }
}

/// What is done to a result: `.ftz`, then `.sat` or `.relu`.
pub fn finish(f: Format, parts: &[&str], bits: u64) -> u64 {
    let one = (F32.infinity() >> 1) & F32.infinity(); // 127 << 23
    let one = if f == F32 { one } else { ((1 << (f.exponent - 1)) - 1) << f.mantissa };
    let bits = if parts.contains(&"ftz") && matches!(f, F32 | F16) { flushed(f, bits) } else { bits };
    if parts.contains(&"sat") {
        let x = f.double(bits);
        return if x >= 1.0 {
            one
        } else if x > 0.0 {
            bits
        } else {
            0
        };
    }
    if f.is_nan(bits) {
        return nan(f);
    }
    if parts.contains(&"relu") && f.negative(bits) { 0 } else { bits }
}

/// a op b (op c), before [`finish`].
fn arithmetic(op: &str, f: Format, round: Round, x: &[u64]) -> u64 {
    if x.iter().any(|&x| f.is_nan(x)) {
        return nan(f);
    }
    // Infinities and divisions by zero: as any finite numbers of those signs would do.
    let model: Vec<f64> = x
        .iter()
        .map(|&x| {
            let v = f.double(x);
            if v == 0.0 || v.is_infinite() { v } else { 1f64.copysign(v) }
        })
        .collect();
    let special =
        x.iter().any(|&x| f.is_infinite(x)) || op == "div" && model[1] == 0.0 || op == "sqrt" && model[0] < 0.0;
    if special {
        let r = match op {
            "add" => model[0] + model[1],
            "sub" => model[0] - model[1],
            "mul" => model[0] * model[1],
            "fma" => model[0] * model[1] + model[2],
            "div" => model[0] / model[1],
            _ => model[0].sqrt(),
        };
        let sign = if r.is_sign_negative() { f.sign() } else { 0 };
        return if r.is_nan() {
            nan(f)
        } else if r == 0.0 {
            sign
        } else {
            sign | f.infinity()
        };
    }
    let v: Vec<(i128, i32)> = x.iter().map(|&x| f.value(x)).collect();
    let negative = |at: usize| f.negative(x[at]);
    let sign = |negative: bool| if negative { f.sign() } else { 0 };
    let zero_sum = |a: bool, b: bool| sign(if a == b { a } else { round == Round::Down });
    match op {
        "add" => rounded_sum(f, round, &v).unwrap_or(zero_sum(negative(0), negative(1))),
        "sub" => rounded_sum(f, round, &[v[0], (-v[1].0, v[1].1)]).unwrap_or(zero_sum(negative(0), !negative(1))),
        "mul" => {
            let product = (v[0].0 * v[1].0, v[0].1 + v[1].1);
            let sign = sign(negative(0) != negative(1));
            rounded_sum(f, round, &[product]).unwrap_or(0) | sign
        }
        "fma" => {
            let product = (v[0].0 * v[1].0, v[0].1 + v[1].1);
            rounded_sum(f, round, &[product, v[2]]).unwrap_or(zero_sum(negative(0) != negative(1), negative(2)))
        }
        "div" => {
            let (n, a, b) = (negative(0) != negative(1), (v[0].0.abs(), v[0].1), (v[1].0.abs(), v[1].1));
            sign(n) | rounded(f, round, n, |m, e| sign_of_sum(&[(m * b.0, e + b.1), (-a.0, a.1)]))
        }
        _ => {
            let root = rounded(f, round, false, |m, e| sign_of_sum(&[(m * m, 2 * e), (-v[0].0, v[0].1)]));
            root | sign(negative(0))
        }
    }
}

/// Minimum or maximum by the numbers' values.
fn extreme(max: bool, f: Format, parts: &[&str], a: u64, b: u64) -> u64 {
    let xorsign = parts.contains(&"xorsign");
    let sign = if xorsign { (a ^ b) & f.sign() } else { 0 };
    let clear = |x: u64| if xorsign { x & (f.sign() - 1) } else { x };
    let (a, b) = (clear(a), clear(b));
    let (p, q) = (f.double(a), f.double(b));
    if p.is_nan() && q.is_nan() || (p.is_nan() || q.is_nan()) && parts.contains(&"NaN") {
        return nan(f);
    }
    // IEEE 754-2019 minimumNumber: −0 below +0.
    let a_first = q.is_nan() || !p.is_nan() && p.total_cmp(&q).is_le() != max;
    let a_first = if p.to_bits() == q.to_bits() { true } else { a_first };
    (if a_first { a } else { b }) | sign
}

/// An operation on every half of a word, or on the whole.
fn each(pair: bool, x: &[u64], f: impl Fn(&[u64]) -> u64) -> u64 {
    if !pair {
        return f(x);
    }
    let half = |at: u32| f(&x.iter().map(|x| x >> at & 0xffff).collect::<Vec<_>>());
    half(0) | half(16) << 16
}

pub fn case(opcode: &str) -> Option<Case> {
    let parts: Vec<&'static str> = crate::case::words(opcode);
    let last = parts[parts.len() - 1];
    let pair = last.ends_with("x2");
    let f = format(last.trim_end_matches("x2"))?;
    let ty = if pair { Ty::pair(f) } else { Ty::float(f) };
    let (head, mut modifiers) = (parts[0], parts.clone());
    // ptxas makes the same code of `rcp.rn.ftz.f64` and `rcp.rn.f64`: `.ftz` is about f32 and f16.
    if head == "rcp" && f == F64 && !parts.contains(&"approx") {
        modifiers.retain(|modifier| *modifier != "ftz");
    }
    if modifiers.contains(&"approx") || modifiers.contains(&"full") {
        return approximate(opcode, head, modifiers, f, ty, pair);
    }
    let op = match head {
        "mad" => "fma",
        "rcp" => "div",
        op => op,
    };
    let count = match head {
        "fma" | "mad" => 3,
        "add" | "sub" | "mul" | "div" | "min" | "max" | "copysign" => 2,
        "rcp" | "sqrt" | "neg" | "abs" | "testp" => 1,
        _ => return None,
    };
    let one = 1.0f64;
    let one = if f == F64 { one.to_bits() } else { 1f32.to_bits() as u64 };
    let round = rounding(&modifiers);
    let compute = move |x: &[u64]| -> u64 {
        let ftz = modifiers.contains(&"ftz");
        let mut x: Vec<u64> = x.iter().map(|&x| if ftz { flushed(f, x) } else { x }).collect();
        match head {
            "neg" => return x[0] ^ f.sign(),
            "abs" => return x[0] & (f.sign() - 1),
            "copysign" => return x[0] & f.sign() | x[1] & (f.sign() - 1),
            "min" | "max" => return extreme(head == "max", f, &modifiers, x[0], x[1]),
            "testp" => {
                let (nan, inf, sub) = (f.is_nan(x[0]), f.is_infinite(x[0]), f.is_subnormal(x[0]));
                return match modifiers[1] {
                    "finite" => !nan && !inf,
                    "infinite" => inf,
                    "number" => !nan,
                    "notanumber" => nan,
                    "normal" => !nan && !inf && !sub,
                    _ => sub,
                } as u64;
            }
            "rcp" => x.insert(0, one),
            _ => {}
        }
        finish(f, &modifiers, arithmetic(op, f, round, &x))
    };
    // neg and abs of a NaN: an unspecified one.
    let loose = matches!(head, "neg" | "abs");
    let want = move |x: &[u64]| {
        if loose && !pair && f.is_nan(x[0]) { Want::Nan(f) } else { Want::Bits(each(pair, x, &compute)) }
    };
    let out = if head == "testp" { Ty::P } else { ty };
    let case = Case::one(opcode, out, vec![ty; count], want);
    Some(if loose && pair { case.without_nan() } else { case })
}

/// How far from the true value an approximation may be (PTX ISA 9.0, at each instruction): relative, absolute; the
/// larger of the two counts.
fn bound(head: &str, f: Format, x: f64) -> (f64, f64) {
    let e = |n: f64| 2f64.powf(n);
    match (head, f) {
        ("ex2", F16) => (e(-9.9), e(-25.0)),
        ("ex2", BF16) => (e(-7.0), e(-133.0)),
        ("ex2", _) => (e(-22.0), e(-149.0)),
        ("lg2", _) if (0.5..=2.0).contains(&x) => (0.0, e(-22.0)),
        ("lg2", _) => (e(-22.0), 0.0),
        ("sin" | "cos", _) if x.abs() <= std::f64::consts::TAU => (0.0, e(-20.5)),
        ("sin" | "cos", _) => (0.0, e(-14.7)),
        ("tanh", F16) => (0.0, e(-10.987)),
        ("tanh", BF16) => (0.0, e(-8.0)),
        ("tanh", _) => (e(-11.0), e(-149.0)),
        ("rsqrt", F32) => (e(-22.9), 0.0),
        ("rsqrt", _) if f == F64 => (e(-20.0), 0.0),
        ("rcp", _) if f == F64 => (e(-20.0), 0.0),
        ("div", _) => (e(-22.0), e(-148.0)), // 2 ulp
        _ => (e(-23.0), e(-149.0)),
    }
}

fn approximate(
    opcode: &str,
    head: &'static str,
    parts: Vec<&'static str>,
    f: Format,
    ty: Ty,
    pair: bool,
) -> Option<Case> {
    let count = if head == "div" { 2 } else { 1 };
    let want = move |x: &[u64]| {
        // Halves are judged one by one.
        let halves: Vec<Vec<u64>> = if pair {
            [0, 16].iter().map(|at| x.iter().map(|x| x >> at & 0xffff).collect()).collect()
        } else {
            vec![x.to_vec()]
        };
        let judge = |x: &Vec<u64>| {
            let ftz = parts.contains(&"ftz");
            let x: Vec<f64> = x.iter().map(|&x| f.double(if ftz { flushed(f, x) } else { x })).collect();
            let a = x[0];
            let value = match head {
                "ex2" => a.exp2(),
                "lg2" => a.log2(),
                "sin" => a.sin(),
                "cos" => a.cos(),
                "tanh" => a.tanh(),
                "rcp" => 1.0 / a,
                "sqrt" => a.sqrt(),
                "rsqrt" => 1.0 / a.sqrt(),
                // Divisors above 2^126: "delivers 0", or NaN of an infinity.
                _ if parts.contains(&"approx") && x[1].abs() > 2f64.powi(126) && x[1].is_finite() => {
                    a * 0f64.copysign(x[1])
                }
                _ => a / x[1],
            };
            // Beyond 100 π the ISA promises nothing about sines.
            let free = matches!(head, "sin" | "cos") && a.abs() > 314.0;
            let (relative, absolute) = bound(head, f, a);
            let slack = if free { 2.0 } else { (value.abs() * relative).max(absolute) };
            let normal = 2f64.powi(2 - (1 << (f.exponent - 1)));
            let flush = ftz && value.abs() < normal * 1.0001;
            Want::near(f, value, slack, flush)
        };
        Want::Each(halves.iter().map(judge).collect())
    };
    Some(Case::one(opcode, ty, vec![ty; count], want))
}
