//! Exact arithmetic: a result is known by comparing it with numbers of its format, which are sought by bisection.
//! Nothing here normalises, shifts or rounds, so that it shares no mistake with the executor.

use std::cmp::Ordering;

/// A floating-point format: explicit bits of the significand, and bits of the exponent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    pub mantissa: u32,
    pub exponent: u32,
}
pub const F16: Format = Format { mantissa: 10, exponent: 5 };
pub const BF16: Format = Format { mantissa: 7, exponent: 8 };
pub const TF32: Format = Format { mantissa: 10, exponent: 8 };
pub const F32: Format = Format { mantissa: 23, exponent: 8 };
pub const F64: Format = Format { mantissa: 52, exponent: 11 };

impl Format {
    pub fn width(self) -> u32 {
        1 + self.mantissa + self.exponent
    }
    pub fn sign(self) -> u64 {
        1 << (self.width() - 1)
    }
    pub fn infinity(self) -> u64 {
        ((1 << self.exponent) - 1) << self.mantissa
    }
    pub fn is_nan(self, bits: u64) -> bool {
        bits & (self.sign() - 1) > self.infinity()
    }
    pub fn is_infinite(self, bits: u64) -> bool {
        bits & (self.sign() - 1) == self.infinity()
    }
    pub fn is_subnormal(self, bits: u64) -> bool {
        let magnitude = bits & (self.sign() - 1);
        magnitude != 0 && magnitude < 1 << self.mantissa
    }
    pub fn negative(self, bits: u64) -> bool {
        bits & self.sign() != 0
    }
    /// (m, e): the finite number is m·2^e.
    pub fn value(self, bits: u64) -> (i128, i32) {
        let magnitude = bits & (self.sign() - 1);
        let field = (magnitude >> self.mantissa) as i32;
        let fraction = (magnitude & ((1 << self.mantissa) - 1)) as i128;
        let least = 2 - (1 << (self.exponent - 1)) - self.mantissa as i32;
        let (m, e) = if field == 0 { (fraction, least) } else { (fraction + (1 << self.mantissa), least + field - 1) };
        (if self.negative(bits) { -m } else { m }, e)
    }
    /// As a double: exact, for every format.
    pub fn double(self, bits: u64) -> f64 {
        if self.is_nan(bits) {
            return f64::NAN;
        }
        let magnitude = if self.is_infinite(bits) {
            f64::INFINITY
        } else {
            let (m, e) = self.value(bits & (self.sign() - 1));
            // Two steps, so that no factor leaves the range.
            m as f64 * 2f64.powi(e / 2) * 2f64.powi(e - e / 2)
        };
        if self.negative(bits) { -magnitude } else { magnitude }
    }
}

const LIMBS: usize = 80;

/// The sign of Σ m·2^e.
pub fn sign_of_sum(terms: &[(i128, i32)]) -> Ordering {
    let terms: Vec<_> = terms.iter().filter(|t| t.0 != 0).collect();
    let (Some(least), Some(most)) = (terms.iter().map(|t| t.1).min(), terms.iter().map(|t| t.1).max()) else {
        return Ordering::Equal;
    };
    let limbs = ((most - least) as usize + 128 + 64) / 64 + 1;
    assert!(limbs <= LIMBS, "exponents {least} to {most}");
    let mut sum = [0u64; LIMBS];
    for &&(m, e) in &terms {
        let at = (e - least) as usize;
        // Of four limbs, sign-extended, shifted within the lowest.
        let (low, high) = (m as u128, if m < 0 { u128::MAX } else { 0 });
        let shift = at % 64;
        let wide = [low as u64, (low >> 64) as u64, high as u64, high as u64];
        let mut carry = 0u128;
        for (k, limb) in sum[..limbs].iter_mut().enumerate().skip(at / 64) {
            let part = |k: usize| wide.get(k).copied().unwrap_or(high as u64);
            let k = k - at / 64;
            let below = if k > 0 && shift > 0 { part(k - 1) >> (64 - shift) } else { 0 };
            let total = *limb as u128 + (part(k) << shift | below) as u128 + carry;
            *limb = total as u64;
            carry = total >> 64;
        }
    }
    if sum[limbs - 1] >> 63 != 0 {
        Ordering::Less
    } else if sum[..limbs].iter().all(|&limb| limb == 0) {
        Ordering::Equal
    } else {
        Ordering::Greater
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    Near,
    Zero,
    Down,
    Up,
    Away,
}

/// The magnitude's bits in the format, of a number that is compared by `compare(m, e)`: m·2^e against its magnitude.
pub fn rounded(f: Format, round: Round, negative: bool, compare: impl Fn(i128, i32) -> Ordering) -> u64 {
    // The largest number that is not above.
    let (mut low, mut high) = (0, f.infinity());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let (m, e) = f.value(middle);
        if compare(m, e).is_gt() { high = middle } else { low = middle }
    }
    let (m, e) = f.value(low);
    if compare(m, e).is_eq() {
        return low;
    }
    let up = match round {
        Round::Zero => false,
        Round::Down => negative,
        Round::Up => !negative,
        Round::Near | Round::Away => match compare(2 * m + 1, e - 1) {
            Ordering::Less => true,
            Ordering::Equal => round == Round::Away || low & 1 != 0,
            Ordering::Greater => false,
        },
    };
    low + up as u64
}

/// Σ of the terms, rounded; `None` if it is zero.
pub fn rounded_sum(f: Format, round: Round, terms: &[(i128, i32)]) -> Option<u64> {
    let sign = sign_of_sum(terms);
    let negative = sign.is_lt();
    let compare = |m: i128, e: i32| {
        let mut all: Vec<_> = terms.iter().map(|&(m, e)| (if negative { m } else { -m }, e)).collect();
        all.push((m, e));
        sign_of_sum(&all)
    };
    let bits = rounded(f, round, negative, compare);
    (!sign.is_eq()).then_some(bits | if negative { f.sign() } else { 0 })
}
