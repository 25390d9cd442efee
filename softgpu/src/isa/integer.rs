//! Integer arithmetic: PTX ISA 9.0, 9.7.1.

#![expect(clippy::precedence, reason = "a product is shifted as the PTX ISA writes it")]

/// Of 24 bits.
fn low24(a: u32) -> u64 {
    (a & 0x00ff_ffff) as u64
}
fn signed24(a: u32) -> i64 {
    (a << 8) as i32 as i64 >> 8
}

/// A signed part of a word.
#[inline(always)]
fn byte(a: u32, i: i32) -> i32 {
    (a >> (8 * i)) as i8 as i32
}
fn short(a: u32, i: i32) -> i32 {
    (a >> (16 * i)) as i16 as i32
}

fn halves(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    f(a as u16, b as u16) as u32 | (f((a >> 16) as u16, (b >> 16) as u16) as u32) << 16
}

// A quotient or remainder by zero is all ones: the ISA leaves it open, and ptxas folds it so.
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
    slow "mul.hi.u64" => u64, (a: u64, b: u64) (a as u128 * b as u128 >> 64) as u64;
    "mul.wide.u32" => u64, (a: u32, b: u32) a as u64 * b as u64;
    "mul.wide.s32" => i64, (a: i32, b: i32) a as i64 * b as i64;
    "mul.wide.u16" => u32, (a: u16, b: u16) a as u32 * b as u32;
    "mul.wide.s16" => i32, (a: i16, b: i16) a as i32 * b as i32;
    "mad.lo.u32" "mad.lo.s32" => u32, (a: u32, b: u32, c: u32) a.wrapping_mul(b).wrapping_add(c);
    "mad.lo.u64" "mad.lo.s64" => u64, (a: u64, b: u64, c: u64) a.wrapping_mul(b).wrapping_add(c);
    "mad.wide.u32" => u64, (a: u32, b: u32, c: u64) (a as u64 * b as u64).wrapping_add(c);
    "mad.wide.s32" => i64, (a: i32, b: i32, c: i64) (a as i64 * b as i64).wrapping_add(c);
    slow "mul.hi.s64" => i64, (a: i64, b: i64) (a as i128 * b as i128 >> 64) as i64;
    slow "mul.hi.u16" => u16, (a: u16, b: u16) (a as u32 * b as u32 >> 16) as u16;
    slow "mul.hi.s16" => i16, (a: i16, b: i16) (a as i32 * b as i32 >> 16) as i16;
    slow "mad.lo.u16" "mad.lo.s16" => u16, (a: u16, b: u16, c: u16) a.wrapping_mul(b).wrapping_add(c);
    slow "~video" => u32, (a: u32, b: u32, c: u32, d: u32) super::video::video(a, b, c, d);
    slow "mad.hi.u16" => u16, (a: u16, b: u16, c: u16) ((a as u32 * b as u32 >> 16) as u16).wrapping_add(c);
    slow "mad.hi.s16" => i16, (a: i16, b: i16, c: i16) ((a as i32 * b as i32 >> 16) as i16).wrapping_add(c);
    slow "mad.hi.u32" => u32, (a: u32, b: u32, c: u32) ((a as u64 * b as u64 >> 32) as u32).wrapping_add(c);
    slow "mad.hi.s32" => i32, (a: i32, b: i32, c: i32) ((a as i64 * b as i64 >> 32) as i32).wrapping_add(c);
    slow "mad.hi.sat.s32" => i32, (a: i32, b: i32, c: i32) ((a as i64 * b as i64 >> 32) as i32).saturating_add(c);
    slow "mad.hi.u64" => u64, (a: u64, b: u64, c: u64) ((a as u128 * b as u128 >> 64) as u64).wrapping_add(c);
    slow "mad.hi.s64" => i64, (a: i64, b: i64, c: i64) ((a as i128 * b as i128 >> 64) as i64).wrapping_add(c);
    slow "mad.wide.u16" => u32, (a: u16, b: u16, c: u32) (a as u32 * b as u32).wrapping_add(c);
    slow "mad.wide.s16" => i32, (a: i16, b: i16, c: i32) (a as i32 * b as i32).wrapping_add(c);
    slow "mul24.lo.u32" => u32, (a: u32, b: u32) low24(a).wrapping_mul(low24(b)) as u32;
    slow "mul24.lo.s32" => u32, (a: u32, b: u32) signed24(a).wrapping_mul(signed24(b)) as u32;
    slow "mul24.hi.u32" => u32, (a: u32, b: u32) (low24(a) * low24(b) >> 16) as u32;
    slow "mul24.hi.s32" => u32, (a: u32, b: u32) (signed24(a) * signed24(b) >> 16) as u32;
    slow "mad24.lo.u32" => u32, (a: u32, b: u32, c: u32) ((low24(a) * low24(b)) as u32).wrapping_add(c);
    slow "mad24.lo.s32" => u32, (a: u32, b: u32, c: u32) ((signed24(a) * signed24(b)) as u32).wrapping_add(c);
    slow "mad24.hi.u32" => u32, (a: u32, b: u32, c: u32) ((low24(a) * low24(b) >> 16) as u32).wrapping_add(c);
    slow "mad24.hi.s32" => u32, (a: u32, b: u32, c: u32) ((signed24(a) * signed24(b) >> 16) as u32).wrapping_add(c);
    slow "mad24.hi.sat.s32" => i32, (a: u32, b: u32, c: i32) ((signed24(a) * signed24(b) >> 16) as i32).saturating_add(c);
    slow "add.sat.s32" => i32, (a: i32, b: i32) a.saturating_add(b);
    slow "sub.sat.s32" => i32, (a: i32, b: i32) a.saturating_sub(b);
    slow "sad.u32" => u32, (a: u32, b: u32, c: u32) c.wrapping_add(a.abs_diff(b));
    slow "sad.s32" => u32, (a: i32, b: i32, c: u32) c.wrapping_add(a.abs_diff(b));
    slow "sad.u16" => u16, (a: u16, b: u16, c: u16) c.wrapping_add(a.abs_diff(b));
    slow "sad.s16" => u16, (a: i16, b: i16, c: u16) c.wrapping_add(a.abs_diff(b));
    slow "sad.u64" => u64, (a: u64, b: u64, c: u64) c.wrapping_add(a.abs_diff(b));
    slow "sad.s64" => u64, (a: i64, b: i64, c: u64) c.wrapping_add(a.abs_diff(b));
    slow "div.u32" => u32, (a: u32, b: u32) a.checked_div(b).unwrap_or(u32::MAX);
    slow "div.s32" => i32, (a: i32, b: i32) if b == 0 { -1 } else { a.wrapping_div(b) };
    slow "div.u64" => u64, (a: u64, b: u64) a.checked_div(b).unwrap_or(u64::MAX);
    slow "div.s64" => i64, (a: i64, b: i64) if b == 0 { -1 } else { a.wrapping_div(b) };
    slow "div.u16" => u16, (a: u16, b: u16) a.checked_div(b).unwrap_or(u16::MAX);
    slow "div.s16" => i16, (a: i16, b: i16) if b == 0 { -1 } else { a.wrapping_div(b) };
    slow "rem.u32" => u32, (a: u32, b: u32) a.checked_rem(b).unwrap_or(u32::MAX);
    slow "rem.s32" => i32, (a: i32, b: i32) if b == 0 { -1 } else { a.wrapping_rem(b) };
    slow "rem.u64" => u64, (a: u64, b: u64) a.checked_rem(b).unwrap_or(u64::MAX);
    slow "rem.s64" => i64, (a: i64, b: i64) if b == 0 { -1 } else { a.wrapping_rem(b) };
    slow "rem.u16" => u16, (a: u16, b: u16) a.checked_rem(b).unwrap_or(u16::MAX);
    slow "rem.s16" => i16, (a: i16, b: i16) if b == 0 { -1 } else { a.wrapping_rem(b) };
    slow "neg.s16" => i16, (a: i16) a.wrapping_neg();
    slow "abs.s16" => i16, (a: i16) a.wrapping_abs();
    slow "min.u16" => u16, (a: u16, b: u16) a.min(b);
    slow "min.s16" => i16, (a: i16, b: i16) a.min(b);
    slow "max.u16" => u16, (a: u16, b: u16) a.max(b);
    slow "max.s16" => i16, (a: i16, b: i16) a.max(b);
    slow "min.u16x2" => u32, (a: u32, b: u32) halves(a, b, u16::min);
    slow "min.s16x2" => u32, (a: u32, b: u32) halves(a, b, |a, b| (a as i16).min(b as i16) as u16);
    slow "max.u16x2" => u32, (a: u32, b: u32) halves(a, b, u16::max);
    slow "max.s16x2" => u32, (a: u32, b: u32) halves(a, b, |a, b| (a as i16).max(b as i16) as u16);
    slow "min.relu.s32" => i32, (a: i32, b: i32) a.min(b).max(0);
    slow "max.relu.s32" => i32, (a: i32, b: i32) a.max(b).max(0);
    slow "min.relu.s16x2" => u32, (a: u32, b: u32) halves(a, b, |a, b| (a as i16).min(b as i16).max(0) as u16);
    slow "max.relu.s16x2" => u32, (a: u32, b: u32) halves(a, b, |a, b| (a as i16).max(b as i16).max(0) as u16);
    slow "add.u16x2" "add.s16x2" => u32, (a: u32, b: u32) halves(a, b, u16::wrapping_add);
    "dp4a.u32.u32" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |c, i| c.wrapping_add((a >> 8 * i & 255) * (b >> 8 * i & 255)));
    "dp4a.s32.s32" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |c, i| c.wrapping_add((byte(a, i) * byte(b, i)) as u32));
    slow "dp4a.u32.s32" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |c, i| c.wrapping_add(((a >> 8 * i & 255) as i32 * byte(b, i)) as u32));
    slow "dp4a.s32.u32" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |c, i| c.wrapping_add((byte(a, i) * (b >> 8 * i & 255) as i32) as u32));
    slow "dp2a.lo.u32.u32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((a >> 16 * i & 0xffff) * (b >> 8 * i & 255)));
    slow "dp2a.lo.s32.s32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((short(a, i) * byte(b, i)) as u32));
    slow "dp2a.lo.u32.s32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add(((a >> 16 * i & 0xffff) as i32 * byte(b, i)) as u32));
    slow "dp2a.lo.s32.u32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((short(a, i) * (b >> 8 * i & 255) as i32) as u32));
    slow "dp2a.hi.u32.u32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((a >> 16 * i & 0xffff) * (b >> 16 + 8 * i & 255)));
    slow "dp2a.hi.s32.s32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((short(a, i) * byte(b, 2 + i)) as u32));
    slow "dp2a.hi.u32.s32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add(((a >> 16 * i & 0xffff) as i32 * byte(b, 2 + i)) as u32));
    slow "dp2a.hi.s32.u32" => u32, (a: u32, b: u32, c: u32) (0..2).fold(c, |c, i| c.wrapping_add((short(a, i) * (b >> 16 + 8 * i & 255) as i32) as u32));
    slow "vabsdiff4.u32.u32.u32" => u32, (a: u32, b: u32, _c: u32) (0..4).fold(0, |d, i| d | (a >> 8 * i & 255).abs_diff(b >> 8 * i & 255) << 8 * i);
    slow "vabsdiff4.u32.s32.s32" => u32, (a: u32, b: u32, _c: u32) (0..4).fold(0, |d, i| d | byte(a, i).abs_diff(byte(b, i)) << 8 * i);
    slow "vabsdiff4.u32.u32.u32.add" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |d, i| d.wrapping_add((a >> 8 * i & 255).abs_diff(b >> 8 * i & 255)));
    slow "vabsdiff4.u32.s32.s32.add" => u32, (a: u32, b: u32, c: u32) (0..4).fold(c, |d, i| d.wrapping_add(byte(a, i).abs_diff(byte(b, i))));
    slow "~carry.add.32" => bool, (a: u32, b: u32, c: bool) a as u64 + b as u64 + c as u64 > u32::MAX as u64;
    slow "~carry.add.64" => bool, (a: u64, b: u64, c: bool) a as u128 + b as u128 + c as u128 > u64::MAX as u128;
    slow "~carry.sub.32" => bool, (a: u32, b: u32, c: bool) a as u64 + !b as u64 + c as u64 > u32::MAX as u64;
    slow "~carry.sub.64" => bool, (a: u64, b: u64, c: bool) a as u128 + !b as u128 + c as u128 > u64::MAX as u128;
    slow "~addc.32" => u32, (a: u32, b: u32, c: bool) a.wrapping_add(b).wrapping_add(c as u32);
    slow "~addc.64" => u64, (a: u64, b: u64, c: bool) a.wrapping_add(b).wrapping_add(c as u64);
    slow "~subc.32" => u32, (a: u32, b: u32, c: bool) a.wrapping_add(!b).wrapping_add(c as u32);
    slow "~subc.64" => u64, (a: u64, b: u64, c: bool) a.wrapping_add(!b).wrapping_add(c as u64);
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
