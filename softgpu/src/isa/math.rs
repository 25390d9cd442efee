//! Functions of the rows: minimum and maximum, roundings, approximations. Without branches, so that they stay vector loops.

#![expect(clippy::eq_op, reason = "NaN is what differs from itself")]

/// The smaller; the number if one is NaN; −0 is below +0. Without branches, so that it stays a vector loop.
#[inline(always)]
pub fn float_min(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    let less = if a < b { a } else { b };
    let pick = if a == b { equal } else { less };
    if b != b { a } else { pick }
}

#[inline(always)]
pub fn float_max(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    let more = if a > b { a } else { b };
    let pick = if a == b { equal } else { more };
    if b != b { a } else { pick }
}

/// a·b + c rounded towards −∞. The product is exact in f64, and so is the sum once its rounding error is known
/// (Knuth's two-sum).
#[inline(always)]
pub fn fma_down(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (a as f64 * b as f64, c as f64);
    let sum = product + c;
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let nearest = sum as f32;
    let bits = nearest.to_bits();
    let below = if bits << 1 == 0 { 0x8000_0001 } else { bits.wrapping_add(if nearest > 0.0 { u32::MAX } else { 1 }) };
    let above = (nearest as f64 > sum) | ((nearest as f64 == sum) & (error < 0.0));
    if above { f32::from_bits(below) } else { nearest }
}

/// Subnormals to zero of the same sign: `.ftz`.
#[inline(always)]
pub fn flush(a: f32) -> f32 {
    if a.abs() < f32::MIN_POSITIVE { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a }
}

/// 2^x within 1.5 ulp (PTX allows 2 ulp): 2^round(x) · e^(ln 2 · rest), a Taylor polynomial of degree 7.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let clamped = x.clamp(-152.0, 130.0);
    let n = (clamped + 12_582_912.0) - 12_582_912.0; // 1.5·2^23: rounds to the nearest integer
    let f = (clamped - n) * std::f32::consts::LN_2;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * f + c;
    }
    // Two steps, so that the scale is representable down to the subnormals.
    // SAFETY: |n| ≤ 152 unless x is NaN, which takes the other arm.
    let n = if x == x { unsafe { n.to_int_unchecked::<i32>() } } else { 0 };
    let half = n >> 1;
    let scale = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    let r = p * scale(half) * scale(n - half);
    if x == x { r } else { x }
}

/// log2(x) with an absolute error near 1e-7 around 1: the exponent, plus ln of the mantissa by its atanh series.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    // The mantissa in [√½, √2).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let e = (shifted as i32) >> 23;
    let m = f32::from_bits((shifted & 0x007f_ffff) + 0x3f35_04f3);
    let s = (m - 1.0) / (m + 1.0);
    let t = s * s;
    let mut p = 1.0 / 11.0;
    for c in [1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0] {
        p = p * t + c;
    }
    let r = 2.0 * s * p * std::f32::consts::LOG2_E + e as f32 - if tiny { 23.0 } else { 0.0 };
    let r = if x == f32::INFINITY { x } else { r };
    let r = if x == 0.0 { f32::NEG_INFINITY } else { r };
    if (x < 0.0) | (x != x) { f32::NAN } else { r }
}
