//! Integer arithmetic: PTX ISA 9.0, 9.7.1.

#![expect(clippy::precedence, reason = "a product is shifted as the PTX ISA writes it")]

#[rustfmt::skip]
rows! {
    "add.u32" "add.s32" => u32, (a: u32, b: u32) a.wrapping_add(b);
    "add.u16" "add.s16" => u16, (a: u16, b: u16) a.wrapping_add(b);
    "add.u64" "add.s64" => u64, (a: u64, b: u64) a.wrapping_add(b);
    "sub.u32" "sub.s32" => u32, (a: u32, b: u32) a.wrapping_sub(b);
    "sub.u16" "sub.s16" => u16, (a: u16, b: u16) a.wrapping_sub(b);
    "sub.u64" "sub.s64" => u64, (a: u64, b: u64) a.wrapping_sub(b);
    "mul.lo.u32" "mul.lo.s32" => u32, (a: u32, b: u32) a.wrapping_mul(b);
    "mul.lo.u16" "mul.lo.s16" => u16, (a: u16, b: u16) a.wrapping_mul(b);
    "mul.lo.u64" "mul.lo.s64" => u64, (a: u64, b: u64) a.wrapping_mul(b);
    "mul.hi.u32" => u32, (a: u32, b: u32) (a as u64 * b as u64 >> 32) as u32;
    "mul.hi.s32" => i32, (a: i32, b: i32) (a as i64 * b as i64 >> 32) as i32;
    "mul.hi.u64" => u64, (a: u64, b: u64) (a as u128 * b as u128 >> 64) as u64;
    "mul.wide.u32" => u64, (a: u32, b: u32) a as u64 * b as u64;
    "mul.wide.s32" => i64, (a: i32, b: i32) a as i64 * b as i64;
    "mul.wide.u16" => u32, (a: u16, b: u16) a as u32 * b as u32;
    "mul.wide.s16" => i32, (a: i16, b: i16) a as i32 * b as i32;
    "mad.lo.u32" "mad.lo.s32" => u32, (a: u32, b: u32, c: u32) a.wrapping_mul(b).wrapping_add(c);
    "mad.lo.u64" "mad.lo.s64" => u64, (a: u64, b: u64, c: u64) a.wrapping_mul(b).wrapping_add(c);
    "mad.wide.u32" => u64, (a: u32, b: u32, c: u64) (a as u64 * b as u64).wrapping_add(c);
    "mad.wide.s32" => i64, (a: i32, b: i32, c: i64) (a as i64 * b as i64).wrapping_add(c);
    "div.u32" => u32, (a: u32, b: u32) a.checked_div(b).unwrap_or(u32::MAX);
    "div.s32" => i32, (a: i32, b: i32) if b == 0 { -1 } else { a.wrapping_div(b) };
    "div.u64" => u64, (a: u64, b: u64) a.checked_div(b).unwrap_or(u64::MAX);
    "div.s64" => i64, (a: i64, b: i64) if b == 0 { -1 } else { a.wrapping_div(b) };
    "rem.u32" => u32, (a: u32, b: u32) a.checked_rem(b).unwrap_or(a);
    "rem.s32" => i32, (a: i32, b: i32) if b == 0 { a } else { a.wrapping_rem(b) };
    "rem.u64" => u64, (a: u64, b: u64) a.checked_rem(b).unwrap_or(a);
    "rem.s64" => i64, (a: i64, b: i64) if b == 0 { a } else { a.wrapping_rem(b) };
    "neg.s32" => i32, (a: i32) a.wrapping_neg();
    "neg.s64" => i64, (a: i64) a.wrapping_neg();
    "abs.s32" => i32, (a: i32) a.wrapping_abs();
    "abs.s64" => i64, (a: i64) a.wrapping_abs();
    "min.u32" => u32, (a: u32, b: u32) a.min(b);
    "min.s32" => i32, (a: i32, b: i32) a.min(b);
    "min.u64" => u64, (a: u64, b: u64) a.min(b);
    "min.s64" => i64, (a: i64, b: i64) a.min(b);
    "max.u32" => u32, (a: u32, b: u32) a.max(b);
    "max.s32" => i32, (a: i32, b: i32) a.max(b);
    "max.u64" => u64, (a: u64, b: u64) a.max(b);
    "max.s64" => i64, (a: i64, b: i64) a.max(b);
}
