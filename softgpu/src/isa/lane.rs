//! The types that rows compute with, and how each is held in a register.

use super::math;

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

/// Halves, computed with as f32 and rounded when they are stored. One rounding is as good as rounding the exact result
/// for +, −, ×: f32 has 24 bits, and 2·11 + 2 suffice (Figueroa 1995); subnormal sums are exact, and what a product of
/// two bf16 loses below f32's subnormals lies below half of bf16's smallest. For fma see [`math::fma_odd`].
#[derive(Clone, Copy, Default)]
pub struct F16(pub f32);
#[derive(Clone, Copy, Default)]
pub struct Bf16(pub f32);
/// Two in a word, the lower one first.
#[derive(Clone, Copy, Default)]
pub struct F16x2(pub f32, pub f32);
#[derive(Clone, Copy, Default)]
pub struct Bf16x2(pub f32, pub f32);

impl F16x2 {
    #[inline(always)]
    pub fn with(self, other: F16x2, f: impl Fn(f32, f32) -> f32) -> F16x2 {
        F16x2(f(self.0, other.0), f(self.1, other.1))
    }
}

impl Bf16x2 {
    #[inline(always)]
    pub fn with(self, other: Bf16x2, f: impl Fn(f32, f32) -> f32) -> Bf16x2 {
        Bf16x2(f(self.0, other.0), f(self.1, other.1))
    }
}

/// A predicate's bits for all lanes: the type of logic between predicates.
#[derive(Clone, Copy, Default)]
pub struct Bits(pub u32);

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
    i16, W, u32, |r| r as i16, |v| v as i32 as u32;
    u32, W, u32, |r| r, |v| v;
    i32, W, u32, |r| r as i32, |v| v as u32;
    f32, W, u32, f32::from_bits, f32::to_bits;
    u64, D, u64, |r| r, |v| v;
    i64, D, u64, |r| r as i64, |v| v as u64;
    f64, D, u64, f64::from_bits, f64::to_bits;
    F16, W, u32, |r| F16(math::f16_to_f32(r)), |v| math::f32_to_f16(v.0);
    Bf16, W, u32, |r| Bf16(math::bf16_to_f32(r)), |v| math::f32_to_bf16(v.0);
    F16x2, W, u32, |r| F16x2(math::f16_to_f32(r), math::f16_to_f32(r >> 16)), |v| math::f32_to_f16(v.0) | math::f32_to_f16(v.1) << 16;
    Bf16x2, W, u32, |r| Bf16x2(math::bf16_to_f32(r), math::bf16_to_f32(r >> 16)), |v| math::f32_to_bf16(v.0) | math::f32_to_bf16(v.1) << 16;
    bool, P, u32, |r| r != 0, |v| v as u32;
}
