//! Comparisons: PTX ISA 9.0, 9.7.6.

#![expect(clippy::neg_cmp_op_on_partial_ord, reason = "unordered comparisons are negations")]

#[rustfmt::skip]
rows! {
    "setp.eq.u32" "setp.eq.s32" "setp.eq.b32" => bool, (a: u32, b: u32) a == b;
    "setp.ne.u32" "setp.ne.s32" "setp.ne.b32" => bool, (a: u32, b: u32) a != b;
    "setp.lt.u32" "setp.lo.u32" => bool, (a: u32, b: u32) a < b;
    "setp.le.u32" "setp.ls.u32" => bool, (a: u32, b: u32) a <= b;
    "setp.gt.u32" "setp.hi.u32" => bool, (a: u32, b: u32) a > b;
    "setp.ge.u32" "setp.hs.u32" => bool, (a: u32, b: u32) a >= b;
    "setp.lt.s32" => bool, (a: i32, b: i32) a < b;
    "setp.le.s32" => bool, (a: i32, b: i32) a <= b;
    "setp.gt.s32" => bool, (a: i32, b: i32) a > b;
    "setp.ge.s32" => bool, (a: i32, b: i32) a >= b;
    "setp.eq.u16" "setp.eq.s16" "setp.eq.b16" => bool, (a: u16, b: u16) a == b;
    "setp.ne.u16" "setp.ne.s16" "setp.ne.b16" => bool, (a: u16, b: u16) a != b;
    "setp.eq.u64" "setp.eq.s64" "setp.eq.b64" => bool, (a: u64, b: u64) a == b;
    "setp.ne.u64" "setp.ne.s64" "setp.ne.b64" => bool, (a: u64, b: u64) a != b;
    "setp.lt.u64" "setp.lo.u64" => bool, (a: u64, b: u64) a < b;
    "setp.le.u64" "setp.ls.u64" => bool, (a: u64, b: u64) a <= b;
    "setp.gt.u64" "setp.hi.u64" => bool, (a: u64, b: u64) a > b;
    "setp.ge.u64" "setp.hs.u64" => bool, (a: u64, b: u64) a >= b;
    "setp.lt.s64" => bool, (a: i64, b: i64) a < b;
    "setp.le.s64" => bool, (a: i64, b: i64) a <= b;
    "setp.gt.s64" => bool, (a: i64, b: i64) a > b;
    "setp.ge.s64" => bool, (a: i64, b: i64) a >= b;
    "setp.eq.f32" => bool, (a: f32, b: f32) a == b;
    "setp.ne.f32" => bool, (a: f32, b: f32) (a < b) | (a > b);
    "setp.lt.f32" => bool, (a: f32, b: f32) a < b;
    "setp.le.f32" => bool, (a: f32, b: f32) a <= b;
    "setp.gt.f32" => bool, (a: f32, b: f32) a > b;
    "setp.ge.f32" => bool, (a: f32, b: f32) a >= b;
    "setp.equ.f32" => bool, (a: f32, b: f32) !((a < b) | (a > b));
    "setp.neu.f32" => bool, (a: f32, b: f32) a != b;
    "setp.ltu.f32" => bool, (a: f32, b: f32) !(a >= b);
    "setp.leu.f32" => bool, (a: f32, b: f32) !(a > b);
    "setp.gtu.f32" => bool, (a: f32, b: f32) !(a <= b);
    "setp.geu.f32" => bool, (a: f32, b: f32) !(a < b);
    "setp.nan.f32" => bool, (a: f32, b: f32) a.is_nan() | b.is_nan();
    "setp.num.f32" => bool, (a: f32, b: f32) !(a.is_nan() | b.is_nan());
    slow "setp.eq.f64" => bool, (a: f64, b: f64) a == b;
    slow "setp.ne.f64" => bool, (a: f64, b: f64) (a < b) | (a > b);
    slow "setp.lt.f64" => bool, (a: f64, b: f64) a < b;
    slow "setp.le.f64" => bool, (a: f64, b: f64) a <= b;
    slow "setp.gt.f64" => bool, (a: f64, b: f64) a > b;
    slow "setp.ge.f64" => bool, (a: f64, b: f64) a >= b;
    slow "setp.equ.f64" => bool, (a: f64, b: f64) !((a < b) | (a > b));
    slow "setp.neu.f64" => bool, (a: f64, b: f64) a != b;
    slow "setp.ltu.f64" => bool, (a: f64, b: f64) !(a >= b);
    slow "setp.leu.f64" => bool, (a: f64, b: f64) !(a > b);
    slow "setp.gtu.f64" => bool, (a: f64, b: f64) !(a <= b);
    slow "setp.geu.f64" => bool, (a: f64, b: f64) !(a < b);
    slow "setp.num.f64" => bool, (a: f64, b: f64) !(a.is_nan() | b.is_nan());
    slow "setp.nan.f64" => bool, (a: f64, b: f64) a.is_nan() | b.is_nan();
}
