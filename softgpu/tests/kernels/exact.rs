//! Exact rounding, written apart from the executor: results of the basic operations to any format, in any direction.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Round {
    Even,
    Zero,
    Up,
    Down,
}
pub use Round::*;

/// In the order that the CUDA names come: _rn, _rz, _ru, _rd.
pub const ALL: [Round; 4] = [Even, Zero, Up, Down];

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// The exact product as two doubles (no overflow or underflow of the error).
pub fn two_product(a: f64, b: f64) -> [f64; 2] {
    let p = a * b;
    [p, a.mul_add(b, -p)]
}

/// Sign of an exact sum (Shewchuk's expansion: the last component outweighs all before it).
fn sign(terms: &[f64]) -> f64 {
    let mut expansion: Vec<f64> = Vec::new();
    for &term in terms {
        let mut carry = term;
        for component in &mut expansion {
            (carry, *component) = two_sum(carry, *component);
        }
        expansion.push(carry);
    }
    expansion.iter().rev().find(|v| **v != 0.0).map_or(0.0, |v| v.signum())
}

/// The double next to `near` on the side of the exact value, or `near` itself; `excess` is exact − near.
fn direct(near: f64, excess: f64, round: Round) -> f64 {
    match round {
        Even => near,
        Up if excess > 0.0 => near.next_up(),
        Down if excess < 0.0 => near.next_down(),
        Zero if excess < 0.0 && near > 0.0 => near.next_down(),
        Zero if excess > 0.0 && near < 0.0 => near.next_up(),
        _ => near,
    }
}

pub enum Exact {
    /// a + b, a·b, a·b + c, a / b, √a
    Add(f64, f64),
    Mul(f64, f64),
    Fma(f64, f64, f64),
    Div(f64, f64),
    Sqrt(f64),
}

impl Exact {
    /// Rounded to the nearest double, and the sign of what that is short of.
    fn nearest(&self) -> (f64, f64) {
        match *self {
            Exact::Add(a, b) => (a + b, sign(&[a, b, -(a + b)])),
            Exact::Mul(a, b) => (a * b, a.mul_add(b, -(a * b))),
            Exact::Fma(a, b, c) => {
                let [r, p] = [a.mul_add(b, c), a * b];
                (r, sign(&[a.mul_add(b, -p), p, c, -r]))
            }
            Exact::Div(a, b) if b.is_infinite() => (a / b, 0.0),
            Exact::Div(a, b) => {
                let [p, e] = two_product(a / b, b);
                (a / b, sign(&[a, -p, -e]) * b.signum())
            }
            Exact::Sqrt(a) => {
                let [p, e] = two_product(a.sqrt(), a.sqrt());
                (a.sqrt(), sign(&[a, -p, -e]))
            }
        }
    }

    /// To a double; the sign of an exact zero is left as it is. Inputs must keep far from overflow and underflow.
    pub fn f64(&self, round: Round) -> f64 {
        let (near, excess) = self.nearest();
        if near.is_finite() { direct(near, excess, round) } else { near }
    }

    /// To a narrower format, in one rounding.
    pub fn narrow(&self, format: Format, round: Round) -> f64 {
        let (near, excess) = self.nearest();
        if !near.is_finite() || near == 0.0 && excess == 0.0 {
            return narrow(near, format, round);
        }
        // To odd: a double that no narrower rounding can mistake for an exact one.
        let odd = if excess == 0.0 || near.to_bits() & 1 == 1 { near } else { toward(near, excess) };
        narrow(odd, format, round)
    }
}

fn toward(x: f64, side: f64) -> f64 {
    if side > 0.0 { x.next_up() } else { x.next_down() }
}

/// Bits of precision, the hidden one included, and the least normal exponent.
#[derive(Clone, Copy)]
pub struct Format(pub i32, pub i32);
pub const SINGLE: Format = Format(24, -126);
pub const HALF: Format = Format(11, -14);
pub const BRAIN: Format = Format(8, -126);

/// The value of `format` that `x` rounds to, as a double.
pub fn narrow(x: f64, format: Format, round: Round) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let Format(precision, least) = format;
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(least);
    let unit = 2f64.powi(exponent - precision + 1);
    let scaled = x / unit; // exact: a power of two, and no format here is as wide as a double
    let whole = match round {
        Even => scaled.round_ties_even(),
        Zero => scaled.trunc(),
        Up => scaled.ceil(),
        Down => scaled.floor(),
    };
    let largest = (2.0 - 2f64.powi(1 - precision)) * 2f64.powi(1 - least);
    let y = (whole * unit).copysign(x);
    if y.abs() <= largest {
        y
    } else if round == Even || round == Up && x > 0.0 || round == Down && x < 0.0 {
        f64::INFINITY.copysign(x)
    } else {
        largest.copysign(x)
    }
}

/// An integer as a double rounded to odd.
pub fn odd(v: i128) -> f64 {
    let shift = (128 - v.unsigned_abs().leading_zeros()).saturating_sub(53);
    let kept = v.unsigned_abs() >> shift;
    let lost = kept << shift != v.unsigned_abs();
    let magnitude = (kept | lost as u128) as f64 * 2f64.powi(shift as i32);
    if v < 0 { -magnitude } else { magnitude }
}

/// A double as an integer of `low..=high`, saturated; `nan` for NaN.
pub fn integer(x: f64, round: Round, low: i128, high: i128, nan: i128) -> i128 {
    let whole = match round {
        Even => x.round_ties_even(),
        Zero => x.trunc(),
        Up => x.ceil(),
        Down => x.floor(),
    };
    if x.is_nan() { nan } else { (whole as i128).clamp(low, high) }
}

/// Within `units` of the last place of `want` as `format` holds it.
pub fn near_enough(got: f64, want: f64, format: Format, units: f64) -> bool {
    let rounded = narrow(want, format, Even);
    if got == rounded || got.is_nan() && want.is_nan() {
        return true;
    }
    let exponent = ((want.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(format.1);
    let largest = (2.0 - 2f64.powi(1 - format.0)) * 2f64.powi(1 - format.1);
    let got = if got.is_infinite() { got.signum() * largest * (1.0 + 2f64.powi(-format.0)) } else { got };
    (got - want).abs() <= (units + 0.5) * 2f64.powi(exponent - format.0 + 1)
}
