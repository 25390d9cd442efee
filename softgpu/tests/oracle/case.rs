//! What an instruction takes and gives, and what it should give.

use crate::exact::{BF16, F16, F32, F64, Format, TF32};

/// An operand: its width in bits, and what it holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ty {
    P,
    /// An integer of so many bits, in a register of at least 16.
    I(u32),
    F(Format),
    /// Two halves in a word.
    Pair(Format),
}

impl Ty {
    pub fn float(f: Format) -> Ty {
        Ty::F(f)
    }
    pub fn pair(f: Format) -> Ty {
        Ty::Pair(f)
    }
    /// Bits of the register.
    pub fn register(self) -> u32 {
        match self {
            Ty::P => 1,
            Ty::I(8) => 32,
            Ty::I(bits) => bits,
            Ty::F(TF32) | Ty::Pair(_) => 32,
            Ty::F(f) => f.width(),
        }
    }
}

/// What a result must be.
#[derive(Clone, Debug)]
pub enum Want {
    Bits(u64),
    /// Some NaN of the format.
    Nan(Format),
    /// Between the two, or a NaN if they are.
    Range(Format, f64, f64),
    /// Two halves, the lower one first; or one value.
    Each(Vec<Want>),
    /// Two halves: these bits, or any NaN for a NaN.
    Halves(Format, u64),
}

impl Want {
    /// Within `slack` of a value. Halves and f32 are then rounded: another half unit.
    pub fn near(f: Format, value: f64, slack: f64, flushes: bool) -> Want {
        let largest = f.double(f.infinity() - 1);
        let (mut low, mut high) = (value - slack, value + slack);
        if value.is_infinite() {
            (low, high) = (value, value);
        } else if high.abs().max(low.abs()) > largest {
            // Rounds to the largest number or to infinity.
            high = if high > largest { f64::INFINITY } else { high };
            low = if low < -largest { f64::NEG_INFINITY } else { low };
        }
        if flushes {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        Want::Range(f, low, high)
    }

    pub fn admits(&self, got: u64) -> bool {
        match self {
            Want::Bits(bits) => got == *bits,
            Want::Nan(f) => f.is_nan(got),
            Want::Range(f, low, high) if low.is_nan() || high.is_nan() => f.is_nan(got),
            Want::Range(f, low, high) => {
                let x = f.double(got);
                *low <= x && x <= *high
            }
            Want::Each(parts) if parts.len() == 1 => parts[0].admits(got),
            Want::Each(parts) => parts.iter().enumerate().all(|(at, part)| part.admits(got >> (16 * at) & 0xffff)),
            Want::Halves(f, bits) => [0, 16].iter().all(|at| {
                let (got, want) = (got >> at & 0xffff, bits >> at & 0xffff);
                got == want || f.is_nan(got) && f.is_nan(want)
            }),
        }
    }
}

type Expect = Box<dyn Fn(&[u64]) -> Vec<Want> + Send + Sync>;

pub struct Case {
    /// PTX over `a0`, `a1`, … and `d0`, `d1`, …
    pub text: String,
    pub inputs: Vec<Ty>,
    pub outputs: Vec<Ty>,
    pub expect: Expect,
}

impl Case {
    /// `opcode d0, a0, a1, …;`
    pub fn one(opcode: &str, out: Ty, inputs: Vec<Ty>, want: impl Fn(&[u64]) -> Want + Send + Sync + 'static) -> Case {
        let sources: String = (0..inputs.len()).map(|k| format!(", a{k}")).collect();
        let expect = Box::new(move |x: &[u64]| vec![want(x)]);
        Case { text: format!("{opcode} d0{sources};"), inputs, outputs: vec![out], expect }
    }

    pub fn bits(opcode: &str, out: Ty, inputs: Vec<Ty>, f: impl Fn(&[u64]) -> u64 + Send + Sync + 'static) -> Case {
        Case::one(opcode, out, inputs, move |x| Want::Bits(f(x)))
    }

    /// The payloads of pairs' NaNs do not count.
    pub fn without_nan(self) -> Case {
        let Some(Ty::Pair(f)) = self.outputs.first().copied() else { return self };
        let expect = self.expect;
        let loose = move |x: &[u64]| {
            let wants = expect(x).into_iter();
            wants.map(|want| if let Want::Bits(bits) = want { Want::Halves(f, bits) } else { want }).collect()
        };
        Case { expect: Box::new(loose), ..self }
    }
}

/// An opcode's words, for ever: there are a few thousand in a test.
pub fn words(opcode: &str) -> Vec<&'static str> {
    let opcode: &'static str = Box::leak(opcode.to_string().into_boxed_str());
    opcode.split('.').collect()
}

/// Random numbers: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Values at which instructions go wrong.
pub fn specials(ty: Ty) -> Vec<u64> {
    match ty {
        Ty::P => vec![0, 1],
        Ty::I(bits) => {
            let (top, mask) = (1u64 << (bits - 1), u64::MAX >> (64 - bits));
            let small = [0, 1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64, 65, 127, 128, 255, 256, 0x1f20];
            let large =
                [top, top - 1, top + 1, mask, mask - 1, mask - 31, mask / 3, mask / 5, mask / 255, 1 << (bits / 2)];
            small.iter().chain(&large).map(|v| v & mask).collect()
        }
        Ty::F(TF32) => specials(Ty::F(F32)),
        Ty::F(f) => {
            let one = ((1u64 << (f.exponent - 1)) - 1) << f.mantissa;
            let (inf, unit) = (f.infinity(), 1u64 << f.mantissa);
            let half = unit >> 1;
            let mut out = vec![0, 1, 2, 3, unit - 1, unit, unit + 1, unit | half, one, one - 1, one + 1, one - unit];
            // 1.5, 2.5, 2^7, 2^8 − 1, 2^15, 2^31, 2^32, 2^63, 2^126, and the largest.
            out.extend([
                one | half,
                (one + unit) | (half >> 1),
                inf - 1,
                inf - unit,
                inf,
                inf | 1,
                inf | half,
                inf | half | 0x15,
            ]);
            out.extend([7, 15, 16, 31, 32, 63, 64, 126].iter().map(|n| one + n * unit).filter(|&x| x < inf));
            out.extend([one + 7 * unit - 1, one + 8 * unit - (unit >> 6), one - 14 * unit, one - 15 * unit + 1]);
            out.extend(out.clone().iter().map(|x| x | f.sign()));
            out
        }
        Ty::Pair(f) => {
            let half = specials(Ty::F(f));
            let n = half.len();
            (0..3 * n).map(|i| half[i % n] | half[(i * 7 + i / n) % n] << 16).collect()
        }
    }
}

/// A value that is random in its bits, or near a special one, or near another operand.
pub fn random(ty: Ty, rng: &mut Random, specials: &[u64], other: Option<u64>) -> u64 {
    let mask = u64::MAX >> (64 - ty.register().max(8));
    let mask = if let Ty::I(8) = ty { u32::MAX as u64 } else { mask };
    let noise = rng.next();
    let v = match (rng.below(4), ty, other) {
        (_, Ty::P, _) => noise & 1,
        (0 | 1, Ty::F(f), Some(other)) => {
            // Exponents near each other: cancellation, ties.
            let shift = (rng.below(2 * f.mantissa as usize + 4) as i64 - f.mantissa as i64 - 2) << f.mantissa;
            let fraction = if rng.below(2) == 0 { noise & 7 } else { noise & ((1 << f.mantissa) - 1) };
            (other & f.infinity()).saturating_add_signed(shift) & f.infinity()
                | fraction
                | (noise >> 40 & f.sign())
                | if noise >> 63 != 0 { f.sign() } else { 0 }
        }
        (0, _, _) => specials[rng.below(specials.len())],
        (1, Ty::I(bits), _) => noise >> (64 - bits) >> rng.below(bits as usize),
        (1, _, _) => specials[rng.below(specials.len())].wrapping_add(noise & 3),
        _ => noise,
    };
    v & mask
}

/// The formats, by the name of a type.
pub fn float_type(name: &str) -> Option<Ty> {
    Some(match name {
        "f16" => Ty::F(F16),
        "bf16" => Ty::F(BF16),
        "f32" => Ty::F(F32),
        "tf32" => Ty::F(TF32),
        "f64" => Ty::F(F64),
        "f16x2" => Ty::Pair(F16),
        "bf16x2" => Ty::Pair(BF16),
        _ => return None,
    })
}

impl Case {
    pub fn with_text(self, text: String) -> Case {
        Case { text, ..self }
    }
}
