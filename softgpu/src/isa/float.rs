//! f32 and f64 arithmetic: PTX ISA 9.0, 9.7.3. Other roundings and `.sat`: `soft`.
//!
//! Approximations, the ISA's bound and what 2^20 random operands show (`tests/oracle`, `errors`); relative errors, but
//! for lg2 in [½, 2] and for sin and cos in [−2π, 2π], where they are absolute:
//! ```text
//! div.full div.approx  2 ulp      ½ ulp       ex2      2^-22    2^-23.4     sin cos          2^-20.5  2^-25.0
//! rcp sqrt             2^-23      2^-24.0     lg2      2^-22    2^-23.1     tanh             2^-11    2^-22.3
//! rsqrt                2^-22.9    2^-23.4                                   rcp rsqrt (f64)  2^-20    2^-21.0
//! ```

use super::math::*;

#[rustfmt::skip]
rows! {
    ADD "add.f32" "add.rn.f32" => f32, (a: f32, b: f32) plain(a + b);
    SUB "sub.f32" "sub.rn.f32" => f32, (a: f32, b: f32) plain(a - b);
    MUL "mul.f32" "mul.rn.f32" => f32, (a: f32, b: f32) plain(a * b);
    FMA "fma.rn.f32" "mad.rn.f32" => f32, (a: f32, b: f32, c: f32) plain(a.mul_add(b, c));
    "fma.rm.f32" => f32, (a: f32, b: f32, c: f32) fma_down(a, b, c);
    "add.ftz.f32" "add.rn.ftz.f32" => f32, (a: f32, b: f32) plain(flush(flush(a) + flush(b)));
    "sub.ftz.f32" "sub.rn.ftz.f32" => f32, (a: f32, b: f32) plain(flush(flush(a) - flush(b)));
    "mul.ftz.f32" "mul.rn.ftz.f32" => f32, (a: f32, b: f32) plain(flush(flush(a) * flush(b)));
    "fma.rn.ftz.f32" "mad.rn.ftz.f32" => f32, (a: f32, b: f32, c: f32) plain(flush(flush(a).mul_add(flush(b), flush(c))));
    DIV "div.rn.f32" "div.full.f32" => f32, (a: f32, b: f32) plain(a / b);
    "div.approx.f32" => f32, (a: f32, b: f32) divide_approx(a, b);
    "div.full.ftz.f32" "div.rn.ftz.f32" => f32, (a: f32, b: f32) plain(flush(flush(a) / flush(b)));
    "div.approx.ftz.f32" => f32, (a: f32, b: f32) flush(divide_approx(flush(a), flush(b)));
    "rcp.rn.f32" "rcp.approx.f32" => f32, (a: f32) plain(1.0 / a);
    "rcp.approx.ftz.f32" "rcp.rn.ftz.f32" => f32, (a: f32) plain(flush(1.0 / flush(a)));
    "sqrt.rn.f32" "sqrt.approx.f32" => f32, (a: f32) root(a);
    "sqrt.approx.ftz.f32" "sqrt.rn.ftz.f32" => f32, (a: f32) root(flush(a));
    "rsqrt.approx.f32" => f32, (a: f32) plain(1.0 / a.sqrt());
    "rsqrt.approx.ftz.f32" => f32, (a: f32) plain(1.0 / flush(a).sqrt());
    "neg.f32" => f32, (a: f32) -a;
    "abs.f32" => f32, (a: f32) a.abs();
    "neg.ftz.f32" => f32, (a: f32) -flush(a);
    "abs.ftz.f32" => f32, (a: f32) flush(a).abs();
    "~flush.f32" => f32, (a: f32) flush(a);
    slow "~flush.f16" => f32, (a: f32) if a.abs() < 1.0 / 16384.0 { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a };
    "min.f32" => f32, (a: f32, b: f32) float_min(a, b);
    "max.f32" => f32, (a: f32, b: f32) float_max(a, b);
    slow "min.ftz.f32" => f32, (a: f32, b: f32) float_min(flush(a), flush(b));
    slow "max.ftz.f32" => f32, (a: f32, b: f32) float_max(flush(a), flush(b));
    slow "min.NaN.f32" => f32, (a: f32, b: f32) or_nan(a, b, float_min(a, b));
    "max.NaN.f32" => f32, (a: f32, b: f32) or_nan(a, b, float_max(a, b));
    slow "min.ftz.NaN.f32" => f32, (a: f32, b: f32) or_nan(a, b, float_min(flush(a), flush(b)));
    slow "max.ftz.NaN.f32" => f32, (a: f32, b: f32) or_nan(a, b, float_max(flush(a), flush(b)));
    "ex2.approx.f32" => f32, (a: f32) exp2(a);
    "ex2.approx.ftz.f32" => f32, (a: f32) exp2_flushed(a);
    "lg2.approx.f32" => f32, (a: f32) log2(a);
    "lg2.approx.ftz.f32" => f32, (a: f32) log2(flush(a));
    "tanh.approx.f32" => f32, (a: f32) tanh(a);
    slow "sin.approx.f32" => f32, (a: f32) sin(a, 0.0);
    slow "cos.approx.f32" => f32, (a: f32) sin(a, 1.0);
    slow "sin.approx.ftz.f32" => f32, (a: f32) flush(sin(flush(a), 0.0));
    slow "cos.approx.ftz.f32" => f32, (a: f32) flush(sin(flush(a), 1.0));
    slow "copysign.f32" => u32, (a: u32, b: u32) a & 0x8000_0000 | b & 0x7fff_ffff;
    slow "copysign.f64" => u64, (a: u64, b: u64) a & 1 << 63 | b & !(1 << 63);
    "add.f64" "add.rn.f64" => f64, (a: f64, b: f64) plain64(a + b);
    "sub.f64" "sub.rn.f64" => f64, (a: f64, b: f64) plain64(a - b);
    "mul.f64" "mul.rn.f64" => f64, (a: f64, b: f64) plain64(a * b);
    "fma.rn.f64" "mad.rn.f64" => f64, (a: f64, b: f64, c: f64) plain64(a.mul_add(b, c));
    "div.rn.f64" => f64, (a: f64, b: f64) plain64(a / b);
    "rcp.rn.f64" => f64, (a: f64) plain64(1.0 / a);
    "sqrt.rn.f64" => f64, (a: f64) root64(a);
    slow "rcp.approx.ftz.f64" => f64, (a: f64) gross(a, |a| 1.0 / a);
    slow "rsqrt.approx.ftz.f64" => f64, (a: f64) gross(a, |a| 1.0 / a.sqrt());
    slow "rsqrt.approx.f64" => f64, (a: f64) plain64(1.0 / a.sqrt());
    "neg.f64" => f64, (a: f64) -a;
    "abs.f64" => f64, (a: f64) a.abs();
    slow "min.f64" => f64, (a: f64, b: f64) double_min(a, b);
    slow "max.f64" => f64, (a: f64, b: f64) double_max(a, b);
    slow "testp.finite.f32" => bool, (a: f32) a.is_finite();
    slow "testp.infinite.f32" => bool, (a: f32) a.is_infinite();
    slow "testp.number.f32" => bool, (a: f32) !a.is_nan();
    slow "testp.notanumber.f32" => bool, (a: f32) a.is_nan();
    slow "testp.normal.f32" => bool, (a: f32) a.is_normal() | (a == 0.0);
    slow "testp.subnormal.f32" => bool, (a: f32) a.is_subnormal();
    slow "testp.finite.f64" => bool, (a: f64) a.is_finite();
    slow "testp.infinite.f64" => bool, (a: f64) a.is_infinite();
    slow "testp.number.f64" => bool, (a: f64) !a.is_nan();
    slow "testp.notanumber.f64" => bool, (a: f64) a.is_nan();
    slow "testp.normal.f64" => bool, (a: f64) a.is_normal() | (a == 0.0);
    slow "testp.subnormal.f64" => bool, (a: f64) a.is_subnormal();
    slow "~soft1.w" => u32, (a: u32, m: u32) super::soft::run(m, a as u64, 0, 0) as u32;
    slow "~soft1.d" => u64, (a: u64, m: u32) super::soft::run(m, a, 0, 0);
    slow "~soft1.narrow" => u32, (a: u64, m: u32) super::soft::run(m, a, 0, 0) as u32;
    slow "~soft1.widen" => u64, (a: u32, m: u32) super::soft::run(m, a as u64, 0, 0);
    slow "~soft2.w" => u32, (a: u32, b: u32, m: u32) super::soft::run(m, a as u64, b as u64, 0) as u32;
    slow "~soft2.d" => u64, (a: u64, b: u64, m: u32) super::soft::run(m, a, b, 0);
    slow "~soft3.w" => u32, (a: u32, b: u32, c: u32, m: u32) super::soft::run(m, a as u64, b as u64, c as u64) as u32;
    slow "~soft3.d" => u64, (a: u64, b: u64, c: u64, m: u32) super::soft::run(m, a, b, c);
}
