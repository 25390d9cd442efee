//! Moves, logic, shifts and bit fields: PTX ISA 9.0, 9.7.1 and 9.7.8 to 9.7.9.

use super::Bits;

#[rustfmt::skip]
rows! {
    "mov.b32" "mov.u32" "mov.s32" "mov.f32" "mov.b16" "mov.u16" "mov.s16" => u32, (a: u32) a;
    "mov.b64" "mov.u64" "mov.s64" "mov.f64" => u64, (a: u64) a;
    "mov.pred" => Bits, (a: Bits) a;
    "and.b32" "and.b16" => u32, (a: u32, b: u32) a & b;
    "and.b64" => u64, (a: u64, b: u64) a & b;
    "and.pred" => Bits, (a: Bits, b: Bits) Bits(a.0 & b.0);
    "or.b32" "or.b16" => u32, (a: u32, b: u32) a | b;
    "or.b64" => u64, (a: u64, b: u64) a | b;
    "or.pred" => Bits, (a: Bits, b: Bits) Bits(a.0 | b.0);
    "xor.b32" "xor.b16" => u32, (a: u32, b: u32) a ^ b;
    "xor.b64" => u64, (a: u64, b: u64) a ^ b;
    "xor.pred" => Bits, (a: Bits, b: Bits) Bits(a.0 ^ b.0);
    "not.b32" => u32, (a: u32) !a;
    "not.b16" => u16, (a: u16) !a;
    "not.b64" => u64, (a: u64) !a;
    "not.pred" => Bits, (a: Bits) Bits(!a.0);
    "shl.b32" => u32, (a: u32, b: u32) if b < 32 { a << b } else { 0 };
    "shl.b16" => u16, (a: u16, b: u32) if b < 16 { a << b } else { 0 };
    "shl.b64" => u64, (a: u64, b: u32) if b < 64 { a << b } else { 0 };
    "shr.u32" "shr.b32" => u32, (a: u32, b: u32) if b < 32 { a >> b } else { 0 };
    "shr.u16" "shr.b16" => u16, (a: u16, b: u32) if b < 16 { a >> b } else { 0 };
    "shr.u64" "shr.b64" => u64, (a: u64, b: u32) if b < 64 { a >> b } else { 0 };
    slow "shr.s16" => i16, (a: i16, b: u32) a >> b.min(15);
    "shr.s32" => i32, (a: i32, b: u32) a >> b.min(31);
    "shr.s64" => i64, (a: i64, b: u32) a >> b.min(63);
    "shf.l.wrap.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) << (c & 31) >> 32) as u32;
    "shf.r.wrap.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) >> (c & 31)) as u32;
    slow "shf.l.clamp.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) << c.min(32) >> 32) as u32;
    slow "shf.r.clamp.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) >> c.min(32)) as u32;
    "~pack.b64" => u64, (a: u32, b: u32) (b as u64) << 32 | a as u64;
    "~unpack.low.b64" => u32, (a: u64) a as u32;
    "~unpack.high.b64" => u32, (a: u64) (a >> 32) as u32;
    slow "~pack.b16" => u16, (a: u8, b: u8) (b as u16) << 8 | a as u16;
    slow "~unpack.low.b16" => u8, (a: u32) a as u8;
    slow "~unpack.high.b16" => u8, (a: u32) (a >> 8) as u8;
    "~pack.b32" => u32, (a: u16, b: u16) (b as u32) << 16 | a as u32;
    "~unpack.low.b32" => u16, (a: u32) a as u16;
    "~unpack.high.b32" => u16, (a: u32) (a >> 16) as u16;
    "selp.b32" "selp(.u32|.s32|.f32|.b16|.u16|.s16)" => u32, (a: u32, b: u32, p: bool) b ^ (a ^ b) & 0u32.wrapping_sub(p as u32);
    "selp.b64" "selp.u64" "selp.s64" "selp.f64" => u64, (a: u64, b: u64, p: bool) b ^ (a ^ b) & 0u64.wrapping_sub(p as u64);
}
