//! f16 and bf16 arithmetic, one or two in a word: PTX ISA 9.0, 9.7.4 and the parts on halves of 9.7.3.
//!
//! Approximations, the ISA's bound and what 2^20 random operands show: ex2 2^-9.9 and 2^-11.0 (bf16: 2^-7 and 2^-8.0),
//! relative; tanh 2^-10.987 and 2^-12.0 (bf16: 2^-8 and 2^-9.0), absolute: all are rounded from f32.
//!
//! A row over one half is that over two, whose upper half nobody reads: a 16-bit register's upper bits are free.

use super::lane::{Bf16x2, F16x2};
use super::math::*;

#[rustfmt::skip]
rows! {
    "add.f16x2" "add.rn.f16x2" "add[.rn].f16" => F16x2, (a: F16x2, b: F16x2) a.with(b, |a, b| a + b);
    "sub.f16x2" "sub.rn.f16x2" "sub[.rn].f16" => F16x2, (a: F16x2, b: F16x2) a.with(b, |a, b| a - b);
    "mul.f16x2" "mul.rn.f16x2" "mul[.rn].f16" => F16x2, (a: F16x2, b: F16x2) a.with(b, |a, b| a * b);
    "fma.rn.f16x2" "fma.rn.f16" => F16x2, (a: F16x2, b: F16x2, c: F16x2) F16x2(fma_odd(a.0, b.0, c.0), fma_odd(a.1, b.1, c.1));
    "min.f16x2" "min.f16" => F16x2, (a: F16x2, b: F16x2) a.with(b, float_min);
    "max.f16x2" "max.f16" => F16x2, (a: F16x2, b: F16x2) a.with(b, float_max);
    slow "add.bf16x2" "add.rn.bf16x2" "add[.rn].bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2) a.with(b, |a, b| a + b);
    slow "sub.bf16x2" "sub.rn.bf16x2" "sub[.rn].bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2) a.with(b, |a, b| a - b);
    slow "mul.bf16x2" "mul.rn.bf16x2" "mul[.rn].bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2) a.with(b, |a, b| a * b);
    "fma.rn.bf16x2" "fma.rn.bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2, c: Bf16x2) Bf16x2(fma_odd_wide(a.0, b.0, c.0), fma_odd_wide(a.1, b.1, c.1));
    "min.bf16x2" "min.bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2) a.with(b, float_min);
    "max.bf16x2" "max.bf16" => Bf16x2, (a: Bf16x2, b: Bf16x2) a.with(b, float_max);
    "neg.f16x2" "neg.bf16x2" "neg.f16" "neg.bf16" => u32, (a: u32) a ^ 0x8000_8000;
    "abs.f16x2" "abs.bf16x2" "abs.f16" "abs.bf16" => u32, (a: u32) a & 0x7fff_7fff;
    slow "ex2.approx.f16" "ex2.approx.f16x2" => F16x2, (a: F16x2) F16x2(exp2(a.0), exp2(a.1));
    slow "ex2.approx.ftz.bf16" "ex2.approx.ftz.bf16x2" => Bf16x2, (a: Bf16x2) Bf16x2(flush(exp2(flush(a.0))), flush(exp2(flush(a.1))));
    slow "tanh.approx.f16" "tanh.approx.f16x2" => F16x2, (a: F16x2) F16x2(tanh(a.0), tanh(a.1));
    slow "tanh.approx.bf16" "tanh.approx.bf16x2" => Bf16x2, (a: Bf16x2) Bf16x2(tanh(a.0), tanh(a.1));
}
