//! Conversions: PTX ISA 9.0, 9.7.9.21.

#[rustfmt::skip]
rows! {
    "cvt.u64.u32" => u64, (a: u32) a as u64;
    "cvt.s64.s32" "cvt.u64.s32" => i64, (a: i32) a as i64;
    "cvt.u32.u64" "cvt.s32.s64" "cvt.s32.u64" "cvt.u32.s64" => u32, (a: u64) a as u32;
    "cvt.u32.u16" "cvt.s32.u16" "cvt.u16.u32" "cvt.s16.s32" "cvt.u16.s32" => u16, (a: u16) a;
    "cvt.s32.s16" "cvt.u32.s16" => i32, (a: i16) a as i32;
    "cvt.u32.u8" "cvt.u16.u8" => u8, (a: u8) a;
    "cvt.s32.s8" "cvt.s16.s8" => i8, (a: i8) a;
    "cvt.rn.f32.u32" => f32, (a: u32) a as f32;
    "cvt.rn.f32.s32" => f32, (a: i32) a as f32;
    "cvt.rn.f32.u64" => f32, (a: u64) a as f32;
    "cvt.rn.f32.s64" => f32, (a: i64) a as f32;
    "cvt.rn.f64.s32" => f64, (a: i32) a as f64;
    "cvt.rn.f64.u32" => f64, (a: u32) a as f64;
    "cvt.f64.f32" => f64, (a: f32) a as f64;
    "cvt.rn.f32.f64" => f32, (a: f64) a as f32;
    "cvt.rzi.s32.f32" => i32, (a: f32) a as i32;
    "cvt.rzi.u32.f32" => u32, (a: f32) a as u32;
    "cvt.rzi.s64.f32" => i64, (a: f32) a as i64;
    "cvt.rzi.u64.f32" => u64, (a: f32) a as u64;
    "cvt.rni.s32.f32" => i32, (a: f32) a.round_ties_even() as i32;
    "cvt.rni.f32.f32" => f32, (a: f32) a.round_ties_even();
    "cvt.rmi.f32.f32" => f32, (a: f32) a.floor();
    "cvt.rpi.f32.f32" => f32, (a: f32) a.ceil();
    "cvt.rzi.f32.f32" => f32, (a: f32) a.trunc();
    "cvt.sat.f32.f32" => f32, (a: f32) if a > 0.0 { if a < 1.0 { a } else { 1.0 } } else { 0.0 };
}
