//! Conversions: PTX ISA 9.0, 9.7.9.21. Other types, roundings and `.sat`: `soft`.

use super::lane::{Bf16, Bf16x2, F16, F16x2};
use super::math::{plain, plain64};

#[rustfmt::skip]
rows! {
    "cvt.u64.u32" "cvt.s64.u32" => u64, (a: u32) a as u64;
    "cvt.s64.s32" "cvt.u64.s32" => i64, (a: i32) a as i64;
    slow "cvt.u64.u16" "cvt.s64.u16" => u64, (a: u16) a as u64;
    slow "cvt.u64.s16" "cvt.s64.s16" => i64, (a: i16) a as i64;
    slow "cvt.u64.u8" "cvt.s64.u8" => u64, (a: u8) a as u64;
    slow "cvt.u64.s8" "cvt.s64.s8" => i64, (a: i8) a as i64;
    "cvt.u64.u64" "cvt.u64.s64" "cvt.s64.u64" "cvt.s64.s64" => u64, (a: u64) a;
    "cvt.u32.u64" "cvt.u32.s64" "cvt.s32.u64" "cvt.s32.s64" => u32, (a: u64) a as u32;
    slow "cvt.u16.u64" "cvt.u16.s64" => u16, (a: u64) a as u16;
    slow "cvt.s16.u64" "cvt.s16.s64" => i16, (a: u64) a as i16;
    slow "cvt.u8.u64" "cvt.u8.s64" => u8, (a: u64) a as u8;
    slow "cvt.s8.u64" "cvt.s8.s64" => i8, (a: u64) a as i8;
    "cvt.u32.u32" "cvt.u32.s32" "cvt.s32.u32" "cvt.s32.s32" => u32, (a: u32) a;
    "cvt.u32.u16" "cvt.s32.u16" "cvt.u16(.u16|.s16|.u32|.s32)" => u16, (a: u16) a;
    "cvt.u32.s16" "cvt.s32.s16" "cvt.s16(.u16|.s16|.u32|.s32)" => i16, (a: i16) a;
    "cvt.u32.u8" "cvt.s32.u8" "cvt.u16.u8" "cvt.s16.u8" "cvt.u8(.u8|.s8|.u16|.s16|.u32|.s32)" => u8, (a: u8) a;
    "cvt.u32.s8" "cvt.s32.s8" "cvt.s16.s8" "cvt.s8(.u8|.s8|.u16|.s16|.u32|.s32)" => i8, (a: i8) a;
    slow "cvt.u16.s8" => u16, (a: i8) a as u16;
    "cvt.rn.f32.u32" => f32, (a: u32) a as f32;
    "cvt.rn.f32.s32" => f32, (a: i32) a as f32;
    "cvt.rn.f32.u64" => f32, (a: u64) a as f32;
    "cvt.rn.f32.s64" => f32, (a: i64) a as f32;
    slow "cvt.rn.f32.u16" => f32, (a: u16) a as f32;
    slow "cvt.rn.f32.s16" => f32, (a: i16) a as f32;
    slow "cvt.rn.f32.u8" => f32, (a: u8) a as f32;
    slow "cvt.rn.f32.s8" => f32, (a: i8) a as f32;
    "cvt.rn.f64.s32" => f64, (a: i32) a as f64;
    "cvt.rn.f64.u32" => f64, (a: u32) a as f64;
    slow "cvt.rn.f64.s64" => f64, (a: i64) a as f64;
    slow "cvt.rn.f64.u64" => f64, (a: u64) a as f64;
    "cvt.f64.f32" => f64, (a: f32) plain64(a as f64);
    "cvt.rn.f32.f64" => f32, (a: f64) plain(a as f32);
    "cvt.rzi.s32.f32" => i32, (a: f32) a as i32;
    "cvt.rzi.u32.f32" => u32, (a: f32) a as u32;
    "cvt.rzi.s64.f32" => i64, (a: f32) if a.is_nan() { i64::MIN } else { a as i64 };
    "cvt.rzi.u64.f32" => u64, (a: f32) if a.is_nan() { 1 << 63 } else { a as u64 };
    "cvt.rni.s32.f32" => i32, (a: f32) a.round_ties_even() as i32;
    "cvt.rni.f32.f32" => f32, (a: f32) plain(a.round_ties_even());
    "cvt.rmi.f32.f32" => f32, (a: f32) plain(a.floor());
    "cvt.rpi.f32.f32" => f32, (a: f32) plain(a.ceil());
    "cvt.rzi.f32.f32" => f32, (a: f32) plain(a.trunc());
    "cvt.sat.f32.f32" => f32, (a: f32) if a > 0.0 { if a < 1.0 { a } else { 1.0 } } else { 0.0 };
    "cvt.f32.f16" => f32, (a: F16) plain(a.0);
    "cvt.f32.bf16" => f32, (a: Bf16) plain(a.0);
    "cvt.rn.f16.f32" => F16, (a: f32) F16(a);
    "cvt.rn.bf16.f32" => Bf16, (a: f32) Bf16(a);
    "cvt.rn.f16x2.f32" => F16x2, (a: f32, b: f32) F16x2(b, a);
    "cvt.rn.bf16x2.f32" => Bf16x2, (a: f32, b: f32) Bf16x2(b, a);
    "cvt.rna.tf32.f32" => u32, (a: u32) {
        let rounded = a.wrapping_add(0x1000) & 0xffff_e000;
        if a & 0x7fff_ffff >= 0x7f80_0000 { if a & 0x007f_ffff != 0 { 0x7fff_ffff } else { a } } else { rounded }
    };
}
