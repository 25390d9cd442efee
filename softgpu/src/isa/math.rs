//! Functions of the rows: minimum and maximum, roundings, approximations. Without branches, so that they stay vector loops.

#![expect(clippy::eq_op, reason = "NaN is what differs from itself")]

/// What f32 results that are NaN look like, as ptxas folds constants; PTX ISA 9.0, 9.7.3 leaves payloads open.
pub const NAN: u32 = 0x7fff_ffff;

/// NaN made [`NAN`].
#[inline(always)]
pub fn plain(x: f32) -> f32 {
    if x == x { x } else { f32::from_bits(NAN) }
}

/// As [`plain`]: in f64, the default NaN of IEEE hardware, so that all levels agree.
#[inline(always)]
pub fn plain64(x: f64) -> f64 {
    if x == x { x } else { f64::from_bits(0xfff8_0000_0000_0000) }
}

/// √a. NaN is replaced among integers, because the compiler takes all NaN of a float for one.
#[inline(always)]
pub fn root(a: f32) -> f32 {
    let bits = a.sqrt().to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { NAN } else { bits })
}

#[inline(always)]
pub fn root64(a: f64) -> f64 {
    let bits = a.sqrt().to_bits();
    f64::from_bits(if bits & !(1 << 63) > 0x7ff0_0000_0000_0000 { 0xfff8_0000_0000_0000 } else { bits })
}

/// The smaller; the number if one is NaN; −0 is below +0. Without branches, so that it stays a vector loop.
#[inline(always)]
pub fn float_min(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    let less = if a < b { a } else { b };
    let pick = if a == b { equal } else { less };
    plain(if b != b { a } else { pick })
}

#[inline(always)]
pub fn float_max(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    let more = if a > b { a } else { b };
    let pick = if a == b { equal } else { more };
    plain(if b != b { a } else { pick })
}

#[inline(always)]
pub fn double_min(a: f64, b: f64) -> f64 {
    let equal = f64::from_bits(a.to_bits() | b.to_bits());
    let less = if a < b { a } else { b };
    let pick = if a == b { equal } else { less };
    plain64(if b != b { a } else { pick })
}

#[inline(always)]
pub fn double_max(a: f64, b: f64) -> f64 {
    let equal = f64::from_bits(a.to_bits() & b.to_bits());
    let more = if a > b { a } else { b };
    let pick = if a == b { equal } else { more };
    plain64(if b != b { a } else { pick })
}

/// NaN if one of the operands is.
#[inline(always)]
pub fn or_nan(a: f32, b: f32, value: f32) -> f32 {
    if (a != a) | (b != b) { f32::from_bits(NAN) } else { value }
}

/// The low half of a word.
#[inline(always)]
pub fn f16_to_f32(h: u32) -> f32 {
    let magnitude = h & 0x7fff;
    let normal = (magnitude << 13) + (112 << 23);
    let normal = if magnitude >= 0x7c00 { normal + (112 << 23) } else { normal };
    let small = (magnitude as i32 as f32 * (1.0 / 16_777_216.0)).to_bits();
    f32::from_bits(if magnitude < 0x400 { small } else { normal } | (h & 0x8000) << 16)
}

/// To the nearest, ties to even.
#[inline(always)]
pub fn f32_to_f16(x: f32) -> u32 {
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // Below 2^-14 the sum with ½ has the unit 2^-24, f16's smallest.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let normal = (magnitude + 0xfff + (magnitude >> 13 & 1)).wrapping_sub(112 << 23) >> 13;
    let rounded = if magnitude < 0x3880_0000 { small } else { normal };
    let rounded = if rounded < 0x7c00 { rounded } else { 0x7c00 } | x.to_bits() >> 16 & 0x8000;
    if magnitude > 0x7f80_0000 { 0x7fff } else { rounded }
}

#[inline(always)]
pub fn bf16_to_f32(h: u32) -> f32 {
    f32::from_bits(h << 16)
}

#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    if x == x { (bits + 0x7fff + (bits >> 16 & 1)) >> 16 } else { 0x7fff }
}

/// a·b + c for f16, "rounded to odd": truncated, the lowest bit set if that lost anything. What is then rounded to f16,
/// with fewer bits, is rounded as the exact value would be (Boldo and Melquiond 2008). The product is exact in f32, and
/// the sum once its error is known (Knuth's two-sum).
#[inline(always)]
pub fn fma_odd(a: f32, b: f32, c: f32) -> f32 {
    let product = a * b;
    let sum = product + c;
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    let toward = if (error > 0.0) == (sum > 0.0) { 1 } else { u32::MAX };
    let lost = (error > 0.0) | (error < 0.0);
    f32::from_bits(if lost & (bits & 1 == 0) { bits.wrapping_add(toward) } else { bits })
}

/// As [`fma_odd`], for bf16, whose products leave f32's range: through f64.
#[inline(always)]
pub fn fma_odd_wide(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (a as f64 * b as f64, c as f64);
    let sum = product + c;
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    let toward = if (error > 0.0) == (sum > 0.0) { 1 } else { u64::MAX };
    let lost = (error > 0.0) | (error < 0.0);
    let sum = f64::from_bits(if lost & (bits & 1 == 0) { bits.wrapping_add(toward) } else { bits });
    let near = sum as f32;
    let bits = near.to_bits();
    let toward = if (near as f64).abs() < sum.abs() { 1 } else { u32::MAX };
    f32::from_bits(if (near as f64 != sum) & (bits & 1 == 0) { bits.wrapping_add(toward) } else { bits })
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
    // The zero of operands that cancel is negative; only two positive ones have a positive sum.
    let zero = if product.to_bits() | c.to_bits() == 0 { 0.0 } else { -0.0 };
    let nearest = if sum == 0.0 { zero } else { nearest };
    let above = (nearest as f64 > sum) | ((nearest as f64 == sum) & (error < 0.0));
    plain(if above { f32::from_bits(below) } else { nearest })
}

/// Subnormals to zero of the same sign: `.ftz`.
#[inline(always)]
pub fn flush(a: f32) -> f32 {
    if a.abs() < f32::MIN_POSITIVE { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a }
}

/// 1.5·2^23: a number added to it is rounded to the nearest integer, which lies in the low bits of the sum.
const ROUNDS: f32 = 12_582_912.0;

/// e^(ln 2 · f), |f| ≤ ½: a Taylor polynomial of degree 7.
#[inline(always)]
fn exp2_of_rest(f: f32) -> f32 {
    let f = f * std::f32::consts::LN_2;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * f + c;
    }
    p
}

/// 2^x within 1.5 ulp (PTX allows 2 ulp): 2^round(x) · 2^rest.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let clamped = x.clamp(-152.0, 130.0);
    let n = (clamped + ROUNDS) - ROUNDS;
    let p = exp2_of_rest(clamped - n);
    // Two steps, so that the scale is representable down to the subnormals.
    // SAFETY: |n| ≤ 152 unless x is NaN, which takes the other arm.
    let n = if x == x { unsafe { n.to_int_unchecked::<i32>() } } else { 0 };
    let half = n >> 1;
    let scale = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    let r = p * scale(half) * scale(n - half);
    if x == x { r } else { f32::from_bits(NAN) }
}

/// `flush(exp2(x))`: without subnormals among the results, the integer is added to the exponent.
#[inline(always)]
pub fn exp2_flushed(x: f32) -> f32 {
    let sum = x + ROUNDS;
    let p = exp2_of_rest(x - (sum - ROUNDS));
    let r = f32::from_bits(p.to_bits().wrapping_add(sum.to_bits() << 23));
    let r = if x < -126.0 { 0.0 } else { r };
    let r = if x >= 128.0 { f32::INFINITY } else { r };
    if x == x { r } else { f32::from_bits(NAN) }
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
    if (x < 0.0) | (x != x) { f32::from_bits(NAN) } else { r }
}

/// tanh(x): its Taylor polynomial near 0, 1 − 2/(e^2x + 1) beyond.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let far = 1.0 - 2.0 / (exp2(a * (2.0 * std::f32::consts::LOG2_E)) + 1.0);
    let t = a * a;
    let mut p = -929_569.0 / 638_512_875.0;
    for c in [21_844.0 / 6_081_075.0, -1382.0 / 155_925.0, 62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0, 1.0] {
        p = p * t + c;
    }
    let r = if a < 0.55 { a * p } else { far };
    plain(f32::from_bits(r.to_bits() | x.to_bits() & 0x8000_0000))
}

/// sin(x), and cos(x) as sin(x + π/2): in f64, by the remainder of x from whole turns and a Taylor polynomial. The
/// system's functions would do, but not to the same bit on every machine.
pub fn sin(x: f32, quarters: f64) -> f32 {
    let quarter = std::f64::consts::FRAC_PI_2;
    let turned = x as f64 % std::f64::consts::TAU;
    let n = (turned / quarter).round_ties_even();
    let rest = turned - n * quarter;
    let t = rest * rest;
    let sine = rest * series(t, [6.0, 120.0, 5040.0, 362_880.0, 39_916_800.0]);
    let cosine = series(t, [2.0, 24.0, 720.0, 40_320.0, 3_628_800.0]);
    let value = match (n + quarters).rem_euclid(4.0) as u32 {
        0 => sine,
        1 => cosine,
        2 => -sine,
        _ => -cosine,
    };
    plain(if x == 0.0 && quarters == 0.0 { x } else { value as f32 })
}

/// 1 − t/a + t²/b − …
fn series(t: f64, [a, b, c, d, e]: [f64; 5]) -> f64 {
    1.0 - t * (1.0 / a - t * (1.0 / b - t * (1.0 / c - t * (1.0 / d - t / e))))
}

/// `div.approx`: where the divisor is above 2^126, its reciprocal counts as zero (PTX ISA 9.0, 9.7.3.8).
#[inline(always)]
pub fn divide_approx(a: f32, b: f32) -> f32 {
    let huge = b.abs() > 8.507_059e37;
    let zero = f32::from_bits(b.to_bits() & 0x8000_0000);
    plain(if huge { a * zero } else { a / b })
}

/// The upper word of a double, rounded, over a lower one of zeros; subnormal operands and results are zeros: the gross
/// f64 approximations of PTX ISA 9.0, 9.7.3.14 and 9.7.3.18. Relative error 2^-21.
pub fn gross(a: f64, f: impl Fn(f64) -> f64) -> f64 {
    let flush = |x: f64| if x.abs() < f64::MIN_POSITIVE { f64::from_bits(x.to_bits() & 1 << 63) } else { x };
    let r = flush(f(flush(a)));
    if r != r {
        return f64::from_bits(0x7fff_ffff_0000_0000);
    }
    f64::from_bits(if r.is_infinite() { r.to_bits() } else { (r.to_bits() + 0x8000_0000) & !0xffff_ffff })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, around the ends of what is neither 0 nor infinite, and all over.
    #[test]
    fn exp2_flushed_is_exp2_and_then_flushed() {
        let near = |x: f32| x.to_bits() - 5000..=x.to_bits() + 5000;
        let ends = [-152.0, -150.0, -127.0, -126.5, -126.0, 127.5, 128.0, 130.0].into_iter().flat_map(near);
        for x in (0..=u32::MAX).step_by(4099).chain(ends).chain(near(f32::INFINITY)).map(f32::from_bits) {
            assert_eq!(exp2_flushed(x).to_bits(), flush(exp2(x)).to_bits(), "{x:e}");
        }
    }
}
