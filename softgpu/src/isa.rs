//! The arithmetic instructions, one row each: names, types, and what it computes per lane. Decoder, handlers and the
//! coverage list all come from this table. Semantics: PTX ISA 9.0, chapter 9.7.

#![expect(
    clippy::precedence,
    clippy::neg_cmp_op_on_partial_ord,
    clippy::eq_op,
    reason = "rows say what the PTX ISA says: unordered comparisons are negations, NaN is what differs from itself"
)]

use crate::exec::alu::{scalar1, scalar2, scalar3, vector1, vector2, vector3};
use crate::exec::{Handler, NEXT, Op, Warp};

/// How an operand is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    P,
    W,
    D,
}

pub trait Lane: Copy + Default {
    const KIND: Kind;
    type Raw: Copy + Default;
    fn from_raw(raw: Self::Raw) -> Self;
    fn to_raw(self) -> Self::Raw;
    /// Predicates only: a lane from its bit, and back.
    fn from_bit(bit: u32) -> Self;
    fn bit(self) -> u32;
    /// The rows over this type work on all lanes' bits at once.
    const WHOLE: bool = false;
    /// `new` where `bit` is 1, `old` where it is 0; arithmetic, so that it stays a vector loop.
    fn blend(bit: u32, new: Self::Raw, old: Self::Raw) -> Self::Raw;
    /// Of `WHOLE` types.
    fn from_word(_: u32) -> Self {
        Self::default()
    }
    fn word(self) -> u32 {
        0
    }
}

macro_rules! lanes {
    ($($t:ty, $kind:ident, $raw:ty, $from:expr, $to:expr;)*) => { $(
        impl Lane for $t {
            const KIND: Kind = Kind::$kind;
            type Raw = $raw;
            #[inline(always)]
            fn from_raw(raw: $raw) -> $t { ($from as fn($raw) -> $t)(raw) }
            #[inline(always)]
            fn to_raw(self) -> $raw { ($to as fn($t) -> $raw)(self) }
            #[inline(always)]
            fn from_bit(bit: u32) -> $t { Self::from_raw(bit as $raw) }
            #[inline(always)]
            fn bit(self) -> u32 { self.to_raw() as u32 }
            #[inline(always)]
            fn blend(bit: u32, new: $raw, old: $raw) -> $raw {
                let take = (0 as $raw).wrapping_sub(bit as $raw);
                new & take | old & !take
            }
        }
    )* };
}
/// A predicate's bits for all lanes: the type of logic between predicates.
#[derive(Clone, Copy, Default)]
pub struct Bits(u32);

impl Lane for Bits {
    const KIND: Kind = Kind::P;
    const WHOLE: bool = true;
    type Raw = u32;
    #[inline(always)]
    fn from_raw(raw: u32) -> Bits {
        Bits(raw)
    }
    #[inline(always)]
    fn to_raw(self) -> u32 {
        self.0
    }
    #[inline(always)]
    fn from_bit(bit: u32) -> Bits {
        Bits(0u32.wrapping_sub(bit))
    }
    #[inline(always)]
    fn bit(self) -> u32 {
        self.0 & 1
    }
    #[inline(always)]
    fn blend(_: u32, new: u32, _: u32) -> u32 {
        new
    }
    #[inline(always)]
    fn from_word(word: u32) -> Bits {
        Bits(word)
    }
    #[inline(always)]
    fn word(self) -> u32 {
        self.0
    }
}

lanes! {
    u8, W, u32, |r| r as u8, |v| v as u32;
    i8, W, u32, |r| r as i8, |v| v as i32 as u32;
    u16, W, u32, |r| r as u16, |v| v as u32;
    i16, W, u32, |r| r as i16, |v| v as u16 as u32;
    u32, W, u32, |r| r, |v| v;
    i32, W, u32, |r| r as i32, |v| v as u32;
    f32, W, u32, f32::from_bits, f32::to_bits;
    u64, D, u64, |r| r, |v| v;
    i64, D, u64, |r| r as i64, |v| v as u64;
    f64, D, u64, f64::from_bits, f64::to_bits;
    bool, P, u32, |r| r != 0, |v| v as u32;
}

pub struct Row {
    pub names: &'static [&'static str],
    /// Destination first.
    pub kinds: &'static [Kind],
    /// For vectors, and for scalars: see `exec`.
    pub vector: [Handler; 3],
    pub scalar: [Handler; 3],
}

macro_rules! rows {
    ($( $($name:literal)+ => $d:ty, ($($x:ident: $t:ty),+) $body:expr; )*) => {
        pub static ROWS: &[Row] = &[ $( {
            const KINDS: &[Kind] = &[<$d as Lane>::KIND, $(<$t as Lane>::KIND),+];
            Row {
                names: &[$($name),+],
                kinds: KINDS,
                vector: row!(vector, $d, ($($x: $t),+) $body),
                scalar: row!(scalar, $d, ($($x: $t),+) $body),
            }
        } ),* ];
    };
}

/// Three copies of one body: baseline, AVX2 + FMA, AVX-512.
macro_rules! row {
    (vector, $d:ty, ($($x:ident: $t:ty),+) $body:expr) => {{
        #[inline(always)]
        unsafe fn lanes(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
            // SAFETY: the decoder has given every operand a register of its kind.
            unsafe { shape!(vector, ($($t),+), $d)(w, op, r, #[inline(always)] |$($x: $t),+| -> $d { $body }) };
            NEXT
        }
        crate::exec::three_levels!(lanes)
    }};
    (scalar, $d:ty, ($($x:ident: $t:ty),+) $body:expr) => {{
        #[inline(always)]
        unsafe fn once(_: &mut Warp, op: &Op, r: *mut u8) -> u32 {
            // SAFETY: as above; the plan has given every operand a cell.
            unsafe { shape!(scalar, ($($t),+), $d)(op, r, #[inline(always)] |$($x: $t),+| -> $d { $body }) };
            NEXT
        }
        crate::exec::three_levels!(once)
    }};
}
macro_rules! shape {
    (vector, ($a:ty), $d:ty) => {
        vector1::<$d, $a>
    };
    (vector, ($a:ty, $b:ty), $d:ty) => {
        vector2::<$d, $a, $b>
    };
    (vector, ($a:ty, $b:ty, $c:ty), $d:ty) => {
        vector3::<$d, $a, $b, $c>
    };
    (scalar, ($a:ty), $d:ty) => {
        scalar1::<$d, $a>
    };
    (scalar, ($a:ty, $b:ty), $d:ty) => {
        scalar2::<$d, $a, $b>
    };
    (scalar, ($a:ty, $b:ty, $c:ty), $d:ty) => {
        scalar3::<$d, $a, $b, $c>
    };
}

#[rustfmt::skip]
rows! {
    "mov.b32" "mov.u32" "mov.s32" "mov.f32" "mov.b16" "mov.u16" "mov.s16" => u32, (a: u32) a;
    "mov.b64" "mov.u64" "mov.s64" "mov.f64" => u64, (a: u64) a;
    "mov.pred" => Bits, (a: Bits) a;
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
    "shr.s32" => i32, (a: i32, b: u32) a >> b.min(31);
    "shr.s64" => i64, (a: i64, b: u32) a >> b.min(63);
    "shf.l.wrap.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) << (c & 31) >> 32) as u32;
    "shf.r.wrap.b32" => u32, (a: u32, b: u32, c: u32) (((b as u64) << 32 | a as u64) >> (c & 31)) as u32;
    "pack.b64" => u64, (a: u32, b: u32) (b as u64) << 32 | a as u64;
    "unpack.low.b64" => u32, (a: u64) a as u32;
    "unpack.high.b64" => u32, (a: u64) (a >> 32) as u32;
    "pack.b32" => u32, (a: u16, b: u16) (b as u32) << 16 | a as u32;
    "unpack.low.b32" => u16, (a: u32) a as u16;
    "unpack.high.b32" => u16, (a: u32) (a >> 16) as u16;
    "popc.b32" => u32, (a: u32) a.count_ones();
    "clz.b32" => u32, (a: u32) a.leading_zeros();
    "brev.b32" => u32, (a: u32) a.reverse_bits();
    "bfe.u32" => u32, (a: u32, b: u32, c: u32) ((a as u64) >> (b & 255).min(63) & ((1u64 << (c & 255).min(32)) - 1)) as u32;
    "selp.b32" "selp.u32" "selp.s32" "selp.f32" "selp.b16" "selp.u16" "selp.s16" => u32, (a: u32, b: u32, p: bool) b ^ (a ^ b) & 0u32.wrapping_sub(p as u32);
    "selp.b64" "selp.u64" "selp.s64" "selp.f64" => u64, (a: u64, b: u64, p: bool) b ^ (a ^ b) & 0u64.wrapping_sub(p as u64);

    "add.f32" => f32, (a: f32, b: f32) a + b;
    "sub.f32" => f32, (a: f32, b: f32) a - b;
    "mul.f32" => f32, (a: f32, b: f32) a * b;
    "fma.f32" => f32, (a: f32, b: f32, c: f32) a.mul_add(b, c);
    "fma.rm.f32" => f32, (a: f32, b: f32, c: f32) fma_down(a, b, c);
    "div.f32" "div.full.f32" "div.approx.f32" => f32, (a: f32, b: f32) a / b;
    "rcp.f32" "rcp.approx.f32" => f32, (a: f32) 1.0 / a;
    "sqrt.f32" "sqrt.approx.f32" => f32, (a: f32) a.sqrt();
    "rsqrt.approx.f32" => f32, (a: f32) 1.0 / a.sqrt();
    "neg.f32" => f32, (a: f32) -a;
    "abs.f32" => f32, (a: f32) a.abs();
    "min.f32" => f32, (a: f32, b: f32) float_min(a, b);
    "max.f32" => f32, (a: f32, b: f32) float_max(a, b);
    "ex2.approx.f32" => f32, (a: f32) exp2(a);
    "ex2.approx.ftz.f32" => f32, (a: f32) flush(exp2(a));
    "lg2.approx.f32" => f32, (a: f32) log2(a);
    "lg2.approx.ftz.f32" => f32, (a: f32) log2(flush(a));
    "sin.approx.f32" => f32, (a: f32) a.sin();
    "cos.approx.f32" => f32, (a: f32) a.cos();
    "tanh.approx.f32" => f32, (a: f32) a.tanh();
    "add.f64" => f64, (a: f64, b: f64) a + b;
    "sub.f64" => f64, (a: f64, b: f64) a - b;
    "mul.f64" => f64, (a: f64, b: f64) a * b;
    "fma.f64" => f64, (a: f64, b: f64, c: f64) a.mul_add(b, c);
    "div.f64" => f64, (a: f64, b: f64) a / b;
    "rcp.f64" => f64, (a: f64) 1.0 / a;
    "sqrt.f64" => f64, (a: f64) a.sqrt();
    "neg.f64" => f64, (a: f64) -a;
    "abs.f64" => f64, (a: f64) a.abs();

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

/// The smaller; the number if one is NaN; −0 is below +0. Without branches, so that it stays a vector loop.
#[inline(always)]
fn float_min(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() | b.to_bits());
    let less = if a < b { a } else { b };
    let pick = if a == b { equal } else { less };
    if b != b { a } else { pick }
}

#[inline(always)]
fn float_max(a: f32, b: f32) -> f32 {
    let equal = f32::from_bits(a.to_bits() & b.to_bits());
    let more = if a > b { a } else { b };
    let pick = if a == b { equal } else { more };
    if b != b { a } else { pick }
}

/// a·b + c rounded towards −∞. The product is exact in f64, and so is the sum once its rounding error is known
/// (Knuth's two-sum).
#[inline(always)]
fn fma_down(a: f32, b: f32, c: f32) -> f32 {
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
fn flush(a: f32) -> f32 {
    if a.abs() < f32::MIN_POSITIVE { f32::from_bits(a.to_bits() & 0x8000_0000) } else { a }
}

/// 2^x within 1.5 ulp (PTX allows 2 ulp): 2^round(x) · e^(ln 2 · rest), a Taylor polynomial of degree 7.
#[inline(always)]
fn exp2(x: f32) -> f32 {
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
fn log2(x: f32) -> f32 {
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

/// Index of the row for a canonical name.
pub fn find(name: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.names.contains(&name))
}

/// Every arithmetic instruction that softgpu runs.
pub fn coverage() -> impl Iterator<Item = &'static str> {
    rows().flatten().copied()
}

/// The same, row by row of the table: a row's names are one instruction under different types.
pub fn rows() -> impl Iterator<Item = &'static [&'static str]> {
    ROWS.iter().map(|row| row.names)
}
