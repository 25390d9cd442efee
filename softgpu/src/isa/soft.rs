//! Arithmetic in any format, rounding and saturation, on integers: what is too rare for a vector loop of its own. One
//! word, the [`Mode`], says what is computed; the decoder hands it to the row as a constant operand.
//!
//! A finite number is ±m·2^e with m of up to 128 bits. Where bits are lost before the rounding, the lowest bit of m is
//! set ("jammed"), which rounds as the exact value does while m has two bits more than the format.

use std::cmp::Ordering;

/// Types of operands and results, as in PTX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Type {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F32,
    F64,
    Tf32,
}
use Type::*;

const TYPES: [(&str, Type); 13] = [
    ("u8", U8),
    ("s8", S8),
    ("u16", U16),
    ("s16", S16),
    ("u32", U32),
    ("s32", S32),
    ("u64", U64),
    ("s64", S64),
    ("f16", F16),
    ("bf16", Bf16),
    ("f32", F32),
    ("f64", F64),
    ("tf32", Tf32),
];

impl Type {
    pub fn of(name: &str) -> Option<Type> {
        TYPES.iter().find(|(n, _)| *n == name).map(|(_, ty)| *ty)
    }

    pub fn is_float(self) -> bool {
        self as u8 >= F16 as u8
    }

    pub fn bits(self) -> u32 {
        match self {
            U8 | S8 => 8,
            U16 | S16 | F16 | Bf16 => 16,
            U32 | S32 | F32 | Tf32 => 32,
            U64 | S64 | F64 => 64,
        }
    }

    pub fn is_signed(self) -> bool {
        matches!(self, S8 | S16 | S32 | S64)
    }

    /// Explicit bits of the significand, and the exponent's bias.
    fn format(self) -> (u32, i32) {
        match self {
            F16 => (10, 15),
            Bf16 => (7, 127),
            F64 => (52, 1023),
            _ => (23, 127),
        }
    }

    fn infinity(self) -> u64 {
        let (mantissa, bias) = self.format();
        (2 * bias as u64 + 1) << mantissa
    }

    fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// The NaN that results of arithmetic have: all ones but the sign, as ptxas folds constants; in f64 the default one
    /// of IEEE hardware. (PTX ISA 9.0, 9.7.3 leaves payloads open.)
    fn nan(self) -> u64 {
        if self == F64 { 0xfff8_0000_0000_0000 } else { self.sign() - 1 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Round {
    Nearest,
    Zero,
    Down,
    Up,
    /// Ties away from zero: `.rna`.
    Away,
    /// To an integer first, then exact.
    IntegerNearest,
    IntegerZero,
    IntegerDown,
    IntegerUp,
}
use Round::*;

const ROUNDS: [Round; 9] = [Nearest, Zero, Down, Up, Away, IntegerNearest, IntegerZero, IntegerDown, IntegerUp];

impl Round {
    pub fn of(name: &str) -> Option<Round> {
        let names = ["rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi"];
        names.iter().position(|n| *n == name).map(|at| ROUNDS[at])
    }

    fn is_integer(self) -> bool {
        self as u8 >= IntegerNearest as u8
    }

    /// Does a magnitude between two neighbours go to the upper one?
    fn away(self, negative: bool, odd: bool, rest: Ordering, exact: bool) -> bool {
        match self {
            Nearest | IntegerNearest => rest.is_gt() || rest.is_eq() && odd,
            Away => rest.is_ge(),
            Zero | IntegerZero => false,
            Down | IntegerDown => negative && !exact,
            Up | IntegerUp => !negative && !exact,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum What {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Sqrt,
    Min,
    Max,
    Convert,
}

const WHATS: [What; 9] = {
    use What::*;
    [Add, Sub, Mul, Fma, Div, Sqrt, Min, Max, Convert]
};

/// What to compute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    pub what: What,
    pub to: Type,
    pub from: Type,
    pub round: Round,
    /// Subnormal f32 operands and results are zeros of their sign; for f16 likewise.
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
    pub nan: bool,
    /// `.xorsign.abs`.
    pub xorsign: bool,
    /// What is above the largest number is that number.
    pub satfinite: bool,
    /// Two halves in a word.
    pub pair: bool,
}

impl Mode {
    pub fn new(what: What, ty: Type) -> Mode {
        let off = false;
        let round = Nearest;
        Mode {
            what,
            to: ty,
            from: ty,
            round,
            ftz: off,
            sat: off,
            relu: off,
            nan: off,
            xorsign: off,
            satfinite: off,
            pair: off,
        }
    }

    pub fn word(self) -> u32 {
        let flags = [self.ftz, self.sat, self.relu, self.nan, self.xorsign, self.satfinite, self.pair];
        let flags = flags.iter().enumerate().fold(0, |word, (bit, &on)| word | (on as u32) << bit);
        self.what as u32 | (self.to as u32) << 4 | (self.from as u32) << 8 | (self.round as u32) << 12 | flags << 16
    }

    fn of(word: u32) -> Mode {
        let field = |at: u32| (word >> at & 15) as usize;
        let flag = |bit: u32| word >> (16 + bit) & 1 != 0;
        Mode {
            what: WHATS[field(0) % WHATS.len()],
            to: TYPES[field(4) % TYPES.len()].1,
            from: TYPES[field(8) % TYPES.len()].1,
            round: ROUNDS[field(12) % ROUNDS.len()],
            ftz: flag(0),
            sat: flag(1),
            relu: flag(2),
            nan: flag(3),
            xorsign: flag(4),
            satfinite: flag(5),
            pair: flag(6),
        }
    }
}

/// Computes what the mode's word says; unused operands are ignored.
#[inline(never)]
pub fn run(word: u32, a: u64, b: u64, c: u64) -> u64 {
    let mode = Mode::of(word);
    if !mode.pair {
        return mode.one(a, b, c);
    }
    let half = |at: u32| mode.one(a >> at & 0xffff, b >> at & 0xffff, c >> at & 0xffff);
    half(0) | half(16) << 16
}

/// A value: NaN, an infinity, or ±m·2^e, by (negative, e, m).
#[derive(Clone, Copy)]
enum Number {
    Nan,
    Infinite(bool),
    Finite(bool, i32, u128),
}
use Number::*;

impl Number {
    fn negated(self) -> Number {
        match self {
            Nan => Nan,
            Infinite(n) => Infinite(!n),
            Finite(n, e, m) => Finite(!n, e, m),
        }
    }

    fn negative(self) -> bool {
        matches!(self, Infinite(true) | Finite(true, ..))
    }
}

/// The top bit of `m` moved to bit `top`.
fn normalised(e: i32, m: u128, top: u32) -> (i32, u128) {
    let shift = top as i32 - (127 - m.leading_zeros() as i32);
    if shift >= 0 { (e - shift, m << shift) } else { (e - shift, jam(m, -shift as u32)) }
}

/// Shifted right, the lowest bit set if any is lost.
fn jam(m: u128, by: u32) -> u128 {
    if by > 127 {
        return (m != 0) as u128;
    }
    m >> by | (m << (127 - by) << 1 != 0 && by > 0) as u128
}

fn sum(a: Number, b: Number, round: Round) -> Number {
    let ((na, ea, ma), (nb, eb, mb)) = match (a, b) {
        (Nan, _) | (_, Nan) => return Nan,
        (Infinite(x), Infinite(y)) if x != y => return Nan,
        (Infinite(x), _) | (_, Infinite(x)) => return Infinite(x),
        (Finite(na, ea, ma), Finite(nb, eb, mb)) => ((na, ea, ma), (nb, eb, mb)),
    };
    // The zero of operands that cancel is positive, unless rounded down.
    let cancelled = Finite(if na == nb { na } else { round == Down }, 0, 0);
    match (ma, mb) {
        (0, 0) => return cancelled,
        (0, _) => return b,
        (_, 0) => return a,
        _ => {}
    }
    // Product bits end at 106, so that 19 bits lie below: more are lost only where one bit at most can cancel.
    let ((ea, ma), (eb, mb)) = (normalised(ea, ma, 125), normalised(eb, mb, 125));
    let e = ea.max(eb);
    let (ma, mb) = (jam(ma, (e - ea) as u32) as i128, jam(mb, (e - eb) as u32) as i128);
    let total = if na { -ma } else { ma } + if nb { -mb } else { mb };
    if total == 0 { cancelled } else { Finite(total < 0, e, total.unsigned_abs()) }
}

fn product(a: Number, b: Number) -> Number {
    let negative = a.negative() != b.negative();
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite(_), Finite(_, _, 0)) | (Finite(_, _, 0), Infinite(_)) => Nan,
        (Infinite(_), _) | (_, Infinite(_)) => Infinite(negative),
        (Finite(_, ea, ma), Finite(_, eb, mb)) => Finite(negative, ea + eb, ma * mb),
    }
}

fn quotient(a: Number, b: Number) -> Number {
    let negative = a.negative() != b.negative();
    match (a, b) {
        (Nan, _) | (_, Nan) | (Infinite(_), Infinite(_)) | (Finite(_, _, 0), Finite(_, _, 0)) => Nan,
        (Infinite(_), _) | (_, Finite(_, _, 0)) => Infinite(negative),
        (_, Infinite(_)) | (Finite(_, _, 0), _) => Finite(negative, 0, 0),
        (Finite(_, ea, ma), Finite(_, eb, mb)) => {
            let (ea, ma) = normalised(ea, ma, 126);
            Finite(negative, ea - eb, (ma / mb) | (ma % mb != 0) as u128)
        }
    }
}

fn root(a: Number) -> Number {
    match a {
        Finite(_, _, 0) | Infinite(false) => a,
        Finite(false, e, m) => {
            let (e, m) = normalised(e, m, 124);
            let (e, m) = if e % 2 == 0 { (e, m) } else { (e - 1, m << 1) };
            let s = m.isqrt();
            Finite(false, e / 2, s | (s * s != m) as u128)
        }
        _ => Nan,
    }
}

/// Rounded to an integer.
fn integer(e: i32, m: u128, negative: bool, round: Round) -> u128 {
    if e >= 0 {
        // Beyond all integer types, and only compared with their limits.
        return if m != 0 && e as u32 > m.leading_zeros() { u128::MAX } else { m << (e as u32 & 127) };
    }
    let by = -e as u32;
    let (keep, rest) = if by > 127 { (0, m.min(1)) } else { (m >> by, m & ((1 << by) - 1)) };
    let half = if by > 127 { Ordering::Less } else { rest.cmp(&(1 << (by - 1))) };
    keep + round.away(negative, keep & 1 != 0, half, rest == 0) as u128
}

impl Mode {
    fn one(&self, a: u64, b: u64, c: u64) -> u64 {
        let read = |bits| self.read(self.from, bits);
        match self.what {
            What::Add => self.write(sum(read(a), read(b), self.round)),
            What::Sub => self.write(sum(read(a), read(b).negated(), self.round)),
            What::Mul => self.write(product(read(a), read(b))),
            What::Fma => self.write(sum(product(read(a), read(b)), read(c), self.round)),
            What::Div => self.write(quotient(read(a), read(b))),
            What::Sqrt => self.write(root(read(a))),
            What::Min => self.choose(a, b, Ordering::Less),
            What::Max => self.choose(a, b, Ordering::Greater),
            What::Convert => self.convert(a),
        }
    }

    /// `.ftz` of a conversion is about f32 alone.
    fn flushes(&self, ty: Type) -> bool {
        self.ftz && (ty == F32 || ty == F16 && self.from == self.to)
    }

    fn read(&self, ty: Type, bits: u64) -> Number {
        let (mantissa, bias) = ty.format();
        let negative = bits & ty.sign() != 0;
        let magnitude = bits & (ty.sign() - 1);
        let (exponent, fraction) = ((magnitude >> mantissa) as i32, magnitude & ((1 << mantissa) - 1));
        match magnitude.cmp(&ty.infinity()) {
            Ordering::Greater => Nan,
            Ordering::Equal => Infinite(negative),
            Ordering::Less if exponent == 0 => {
                Finite(negative, 1 - bias - mantissa as i32, if self.flushes(ty) { 0 } else { fraction as u128 })
            }
            Ordering::Less => Finite(negative, exponent - bias - mantissa as i32, (fraction | 1 << mantissa) as u128),
        }
    }

    /// Rounded to the result's type, with what is done to results.
    fn write(&self, value: Number) -> u64 {
        let (ty, sign) = (self.to, |negative: bool| if negative { self.to.sign() } else { 0 });
        let value = match value {
            Nan if self.sat => Finite(false, 0, 0),
            Finite(true, ..) | Infinite(true) if self.sat || self.relu => Finite(false, 0, 0),
            Infinite(false) if self.sat => Finite(false, 0, 1),
            Infinite(negative) if self.satfinite => return sign(negative) | self.largest(),
            other => other,
        };
        let (negative, e, m) = match value {
            Nan => return ty.nan(),
            Infinite(negative) => return sign(negative) | ty.infinity(),
            Finite(negative, _, 0) => return sign(negative),
            Finite(negative, e, m) => (negative, e, m),
        };
        let mut bits = self.rounded(e, m, negative);
        if self.flushes(ty) && bits < 1 << ty.format().0 {
            bits = 0;
        }
        if self.sat {
            let (mantissa, bias) = ty.format();
            bits = bits.min((bias as u64) << mantissa);
        }
        sign(negative) | bits
    }

    /// The bits of a magnitude above zero.
    fn rounded(&self, e: i32, m: u128, negative: bool) -> u64 {
        let (mut mantissa, bias) = self.to.format();
        // tf32 has 10 bits, in the place of the upper ones of f32.
        let short = if self.to == Tf32 { 13 } else { 0 };
        mantissa -= short;
        let top = e + 127 - m.leading_zeros() as i32;
        let least = 1 - bias - mantissa as i32;
        let unit = (top - mantissa as i32).max(least);
        let by = unit - e;
        let keep = if by <= 0 {
            m << -by
        } else {
            let (keep, rest) = if by > 127 { (0, 1) } else { (m >> by, m & ((1 << by) - 1)) };
            let half = if by > 127 { Ordering::Less } else { rest.cmp(&(1 << (by - 1))) };
            keep + self.round.away(negative, keep & 1 != 0, half, rest == 0) as u128
        };
        // The significand's leading bit is one step of the exponent.
        let bits = (((unit - least) as u64) << mantissa).wrapping_add(keep as u64);
        let infinity = self.to.infinity();
        let bits = bits << short;
        let finite = match self.round {
            Zero => true,
            Down => !negative,
            Up => negative,
            _ => false,
        };
        if bits < infinity {
            bits
        } else if finite || self.satfinite {
            self.largest()
        } else {
            infinity
        }
    }

    /// The largest number.
    fn largest(&self) -> u64 {
        self.to.infinity() - if self.to == Tf32 { 1 << 13 } else { 1 }
    }

    /// Minimum or maximum: the number if one is NaN (unless `.NaN`); −0 is below +0.
    fn choose(&self, a: u64, b: u64, wanted: Ordering) -> u64 {
        let ty = self.from;
        let sign = if self.xorsign { (a ^ b) & ty.sign() } else { 0 };
        let clean = |x: u64| {
            let x = if self.xorsign { x & !ty.sign() } else { x };
            let subnormal = x & (ty.sign() - 1) < 1 << ty.format().0;
            if self.flushes(ty) && subnormal { x & ty.sign() } else { x }
        };
        let (a, b) = (clean(a), clean(b));
        let is_nan = |x: u64| x & (ty.sign() - 1) > ty.infinity();
        let key = |x: u64| if x & ty.sign() != 0 { -((x & (ty.sign() - 1)) as i64) - 1 } else { x as i64 };
        match (is_nan(a), is_nan(b)) {
            (true, true) => ty.nan(),
            (true, _) | (_, true) if self.nan => ty.nan(),
            (true, _) => b | sign,
            (_, true) => a | sign,
            _ => (if key(a).cmp(&key(b)) == wanted { a } else { b }) | sign,
        }
    }

    fn convert(&self, a: u64) -> u64 {
        match (self.from.is_float(), self.to.is_float()) {
            (false, false) => self.between_integers(a),
            (false, true) => {
                let v = extended(self.from, a);
                self.write(Finite(v < 0, 0, v.unsigned_abs()))
            }
            (true, false) => self.integer_of(self.read(self.from, a)),
            (true, true) => match self.read(self.from, a) {
                Finite(negative, e, m) if self.round.is_integer() => {
                    // From 2^107 on, every number of the format is an integer.
                    let whole = if e >= 0 { (e, m) } else { (0, integer(e, m, negative, self.round)) };
                    self.write(Finite(negative, whole.0, whole.1))
                }
                value => self.write(value),
            },
        }
    }

    fn between_integers(&self, a: u64) -> u64 {
        let v = extended(self.from, a);
        let (low, high) = limits(self.to);
        extended(self.to, if self.sat { v.clamp(low, high) } else { v } as u64) as u64
    }

    /// Out of range: the nearest limit. NaN: zero, but 1 << (width − 1) from f64 or to 64 bits (PTX ISA 9.0, 9.7.9.21).
    fn integer_of(&self, value: Number) -> u64 {
        let (low, high) = limits(self.to);
        let v = match value {
            Nan if self.from == F64 || self.to.bits() == 64 => 1i128 << (self.to.bits() - 1),
            Nan => 0,
            Infinite(negative) => {
                if negative {
                    low
                } else {
                    high
                }
            }
            Finite(negative, e, m) => {
                let magnitude = integer(e, m, negative, self.round).min(1 << 100) as i128;
                if negative { -magnitude } else { magnitude }.clamp(low, high)
            }
        };
        extended(self.to, v as u64) as u64
    }
}

fn limits(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The integer in the low bits.
fn extended(ty: Type, bits: u64) -> i128 {
    let spare = 64 - ty.bits();
    if ty.is_signed() { ((bits << spare) as i64 >> spare) as i128 } else { (bits << spare >> spare) as i128 }
}
