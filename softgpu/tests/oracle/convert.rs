//! Oracle of conversions and comparisons: PTX ISA 9.0, 9.7.9.21, 9.7.6 and 9.7.7.

use std::cmp::Ordering;

use crate::case::{Case, Ty, Want, float_type};
use crate::exact::{BF16, F16, F32, F64, Format, TF32, rounded_sum, sign_of_sum};
use crate::float::{finish, flushed, format, nan, rounding};
use crate::integer::{integer, value, wrap};

pub fn case(opcode: &str) -> Option<Case> {
    let parts: Vec<&'static str> = crate::case::words(opcode);
    match parts[0] {
        "cvt" => convert(opcode, parts),
        "set" => compare(opcode, parts, true),
        "setp" => compare(opcode, parts, false),
        _ => None,
    }
}

/// m·2^e to an integer: by its floor, which an arithmetic shift gives.
fn to_integer(m: i128, e: i32, how: &str) -> i128 {
    if e >= 0 {
        return if m == 0 { 0 } else { m << e.min(70) };
    }
    let shift = (-e).min(110) as u32;
    let floor = m >> shift;
    let rest = m - (floor << shift);
    let up = match how {
        "rni" => match (2 * rest).cmp(&(1 << shift)) {
            Ordering::Less => false,
            Ordering::Equal => floor & 1 != 0,
            Ordering::Greater => true,
        },
        "rmi" => false,
        "rpi" => rest != 0,
        _ => m < 0 && rest != 0,
    };
    floor + up as i128
}

fn convert(opcode: &str, parts: Vec<&'static str>) -> Option<Case> {
    let [.., to, from] = parts[..] else { return None };
    if parts[1] == "pack" {
        return pack(opcode, parts);
    }
    if to.ends_with("x2") {
        let single = format!("cvt.{}.{}.f32", parts[1..parts.len() - 2].join("."), to.trim_end_matches("x2"));
        let half = convert(&single, crate::case::words(&single))?;
        let Ty::Pair(f) = float_type(to)? else { return None };
        let expect = move |x: &[u64]| {
            let part = |v: u64| match (half.expect)(&[v])[0] {
                Want::Bits(bits) => bits,
                _ => 0,
            };
            vec![Want::Halves(f, part(x[1]) | part(x[0]) << 16)]
        };
        let (inputs, outputs) = (vec![Ty::F(F32); 2], vec![Ty::Pair(f)]);
        return Some(Case { text: format!("{opcode} d0, a0, a1;"), inputs, outputs, expect: Box::new(expect) });
    }
    let ftz = parts.contains(&"ftz");
    let how = parts.iter().copied().find(|p| matches!(*p, "rni" | "rzi" | "rmi" | "rpi"));
    let round = rounding(&parts);
    Some(match (format(to), format(from)) {
        (None, None) => {
            let ((wf, sf), (wt, st)) = (integer(from)?, integer(to)?);
            let sat = parts.contains(&"sat");
            Case::bits(opcode, Ty::I(wt), vec![Ty::I(wf)], move |x| {
                let v = value(x[0], wf, sf);
                let (low, high) =
                    if st { (-(1i128 << (wt - 1)), (1i128 << (wt - 1)) - 1) } else { (0, (1i128 << wt) - 1) };
                wrap(if sat { v.max(low).min(high) } else { v }, wt, st)
            })
        }
        (Some(f), None) => {
            let (w, s) = integer(from)?;
            Case::bits(opcode, Ty::F(f), vec![Ty::I(w)], move |x| {
                finish(f, &parts, rounded_sum(f, round, &[(value(x[0], w, s), 0)]).unwrap_or(0))
            })
        }
        (None, Some(f)) => {
            let ((w, s), how) = (integer(to)?, how?);
            Case::bits(opcode, Ty::I(w), vec![Ty::F(f)], move |x| {
                let x = if ftz { flushed(f, x[0]) } else { x[0] };
                let (low, high) = if s { (-(1i128 << (w - 1)), (1i128 << (w - 1)) - 1) } else { (0, (1i128 << w) - 1) };
                if f.is_nan(x) {
                    return if f == F64 || w == 64 { wrap(1 << (w - 1), w, s) } else { 0 };
                }
                let v = if f.is_infinite(x) {
                    if f.negative(x) { low } else { high }
                } else {
                    let (m, e) = f.value(x);
                    to_integer(m, e, how)
                };
                wrap(v.clamp(low, high), w, s)
            })
        }
        (Some(to), Some(from)) => {
            // The payload of a NaN that becomes f32 or f64 is unspecified.
            let loose = matches!(to, F32 | F64);
            let out = if to == TF32 { Ty::F(TF32) } else { Ty::F(to) };
            Case::one(opcode, out, vec![Ty::F(from)], move |x| {
                let flushes = ftz && from == F32;
                let x = if flushes { flushed(from, x[0]) } else { x[0] };
                let sign = if from.negative(x) { to.sign() } else { 0 };
                if from.is_nan(x) && loose && !parts.contains(&"sat") {
                    return Want::Nan(to);
                }
                let bits = if from.is_nan(x) {
                    nan(to)
                } else if from.is_infinite(x) {
                    sign | to.infinity()
                } else {
                    let (m, e) = from.value(x);
                    let (m, e) = how.filter(|_| e < 0).map_or((m, e), |how| (to_integer(m, e, how), 0));
                    rounded_sum(to, round, &[(m, e)]).unwrap_or(sign)
                };
                // `.ftz` is about f32 alone.
                let modifiers: Vec<_> = parts.iter().copied().filter(|p| *p != "ftz" || to == F32).collect();
                let largest = if parts.contains(&"satfinite") { to.infinity() - 1 } else { to.infinity() };
                let bits = if to.is_infinite(bits) { bits & to.sign() | largest } else { bits };
                let bits = finish(to, &modifiers, bits);
                // tf32 lies in the upper bits of a word.
                Want::Bits(if to == TF32 { if to.is_nan(bits) { 0x7fff_ffff } else { bits << 13 } } else { bits })
            })
        }
    })
}

/// `cvt.pack.sat.type.s32[.b32]`: c's low bits, then a, then b, from the top.
fn pack(opcode: &str, parts: Vec<&'static str>) -> Option<Case> {
    let (w, s) = integer(parts[3])?;
    let n = if parts.len() == 6 { 3 } else { 2 };
    Some(Case::bits(opcode, Ty::I(32), vec![Ty::I(32); n], move |x| {
        let (low, high) = if s { (-(1i128 << (w - 1)), (1i128 << (w - 1)) - 1) } else { (0, (1i128 << w) - 1) };
        let field = |at: usize| value(x[at], 32, true).clamp(low, high).rem_euclid(1 << w) as u64;
        let c = x.get(2).map_or(0, |c| c << (2 * w) & 0xffff_ffff);
        c | field(0) << w | field(1)
    }))
}

/// Does `a cmp b` hold? `None` for an unordered pair.
fn holds(cmp: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else {
        return cmp == "nan" || matches!(cmp, "equ" | "neu" | "ltu" | "leu" | "gtu" | "geu");
    };
    match cmp {
        "eq" | "equ" => order.is_eq(),
        "ne" | "neu" => !order.is_eq(),
        "lt" | "lo" | "ltu" => order.is_lt(),
        "le" | "ls" | "leu" => !order.is_gt(),
        "gt" | "hi" | "gtu" => order.is_gt(),
        "ge" | "hs" | "geu" => !order.is_lt(),
        "num" => true,
        _ => false,
    }
}

fn order(ty: Ty, signed: bool, ftz: bool, a: u64, b: u64) -> Option<Ordering> {
    match ty {
        Ty::I(w) => Some(value(a, w, signed).cmp(&value(b, w, signed))),
        Ty::F(f) => {
            let [a, b] = [a, b].map(|x| if ftz { flushed(f, x) } else { x });
            if f.is_nan(a) || f.is_nan(b) {
                return None;
            }
            // An infinity is above 2^emax times what the largest has.
            let place = |x: u64| if f.is_infinite(x) { infinite(f, x) } else { f.value(x) };
            let ((ma, ea), (mb, eb)) = (place(a), place(b));
            Some(sign_of_sum(&[(ma, ea), (-mb, eb)]))
        }
        _ => None,
    }
}

fn infinite(f: Format, x: u64) -> (i128, i32) {
    let (m, e) = f.value(f.infinity() - 1);
    (if f.negative(x) { -m } else { m }, e + 1)
}

fn compare(opcode: &str, parts: Vec<&'static str>, set: bool) -> Option<Case> {
    let from = parts[parts.len() - 1];
    let (ty, signed) = match float_type(from) {
        Some(ty) => (ty, false),
        None => {
            let (w, s) = integer(from)?;
            (Ty::I(w), s)
        }
    };
    let (cmp, ftz) = (parts[1], parts.contains(&"ftz"));
    let combine = parts.iter().copied().find(|p| matches!(*p, "and" | "or" | "xor"));
    let joined = move |truth: bool, c: u64| match combine {
        Some("and") => truth as u64 & c,
        Some("or") => truth as u64 | c,
        Some(_) => truth as u64 ^ c,
        None => truth as u64,
    };
    let truths = move |x: &[u64]| -> Vec<bool> {
        match ty {
            Ty::Pair(f) => {
                let half = |at: u32| {
                    let [a, b] = [x[0], x[1]].map(|x| x >> at & 0xffff);
                    holds(cmp, order(Ty::F(f), signed, ftz, a, b))
                };
                vec![half(0), half(16)]
            }
            _ => vec![holds(cmp, order(ty, signed, ftz, x[0], x[1]))],
        }
    };
    let mut inputs = vec![ty, ty];
    inputs.extend(combine.map(|_| Ty::P));
    let third = if combine.is_some() { ", a2" } else { "" };
    let c = |x: &[u64]| x.get(2).copied().unwrap_or(0);
    if set {
        let to = parts[parts.len() - 2];
        let (out, yes, no) = match (to, ty) {
            ("f32", _) => (Ty::F(F32), 0x3f80_0000, 0),
            ("f16", _) | ("f16x2", _) => (Ty::I(if to == "f16" { 16 } else { 32 }), 0x3c00, 0),
            ("bf16", _) | ("bf16x2", _) => (Ty::I(if to == "bf16" { 16 } else { 32 }), 0x3f80, 0),
            ("u16" | "s16", _) => (Ty::I(16), 0xffff, 0),
            (_, Ty::Pair(_)) => (Ty::I(32), 0xffff, 0),
            _ => (Ty::I(32), 0xffff_ffff, 0),
        };
        return Some(
            Case::bits(opcode, out, inputs, move |x| {
                let parts = truths(x).into_iter().map(|truth| if joined(truth, c(x)) != 0 { yes } else { no });
                parts.enumerate().map(|(at, bits): (usize, u64)| bits << (16 * at)).sum()
            })
            .with_text(format!("{opcode} d0, a0, a1{third};")),
        );
    }
    // Two destinations, a negated condition, and a guard that is a destination as well.
    let mut text = format!("{opcode} d0|d1, a0, a1{third}; {opcode} d2, a0, a1{third};");
    if combine.is_some() {
        text = text.replace("d2, a0, a1, a2", "d2, a0, a1, !a2");
    }
    let expect = move |x: &[u64]| {
        let (truths, c) = (truths(x), c(x));
        let first = joined(truths[0], c);
        let second = match truths.get(1) {
            Some(upper) => joined(*upper, c),
            None if matches!(ty, Ty::F(F16 | BF16)) => 1 - first,
            None => joined(!truths[0], c),
        };
        vec![Want::Bits(first), Want::Bits(second), Want::Bits(joined(truths[0], 1 - c.min(1)))]
    };
    match ty {
        Ty::Pair(_) => text = text.replace(" d2, ", " d2|_, "),
        // Halves have no second destination.
        Ty::F(F16 | BF16) => text = text.replace(" d0|d1, ", " d0, ") + " not.pred d1, d0;",
        _ => {}
    }
    Some(Case { text, inputs, outputs: vec![Ty::P; 3], expect: Box::new(expect) })
}
