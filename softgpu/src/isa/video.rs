//! Video instructions, on parts of words: PTX ISA 9.0, 9.7, "Scalar Video Instructions" and "SIMD Video Instructions".
//! One word, the [`Mode`], says what is computed; the decoder hands it to the row as a constant operand.
//!
//! Intermediate results are exact: the ISA gives them 34 bits, which hold all but those of `vshl`, of which it does not
//! say what becomes of the bits beyond.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum What {
    Add,
    Sub,
    Average,
    AbsDiff,
    Min,
    Max,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Left,
    Right,
}
use What::*;

const NAMES: [(&str, What); 14] = [
    ("add", Add),
    ("sub", Sub),
    ("avrg", Average),
    ("absdiff", AbsDiff),
    ("min", Min),
    ("max", Max),
    ("eq", Eq),
    ("ne", Ne),
    ("lt", Lt),
    ("le", Le),
    ("gt", Gt),
    ("ge", Ge),
    ("shl", Left),
    ("shr", Right),
];

impl What {
    pub fn of(name: &str) -> Option<What> {
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, what)| *what)
    }

    fn compute(self, a: i128, b: i128) -> i128 {
        match self {
            Add => a + b,
            Sub => a - b,
            Average => (a + b + (a + b >= 0) as i128) >> 1,
            AbsDiff => (a - b).abs(),
            Min => a.min(b),
            Max => a.max(b),
            Eq => (a == b) as i128,
            Ne => (a != b) as i128,
            Lt => (a < b) as i128,
            Le => (a <= b) as i128,
            Gt => (a > b) as i128,
            Ge => (a >= b) as i128,
            Left => a << (b & 63),
            Right => a >> (b & 63),
        }
    }
}

/// A part of a word: its lowest bit, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part(u32, u32);

/// By the number that stands for it.
const PARTS: [(&str, Part); 7] = [
    ("", Part(0, 32)),
    ("b0", Part(0, 8)),
    ("b1", Part(8, 8)),
    ("b2", Part(16, 8)),
    ("b3", Part(24, 8)),
    ("h0", Part(0, 16)),
    ("h1", Part(16, 16)),
];
const WHOLE: Part = PARTS[0].1;

impl Part {
    /// `b2` is the third byte, `h1` the upper half.
    pub fn of(name: &str) -> Option<Part> {
        PARTS.iter().find(|(n, _)| *n == name).map(|(_, part)| *part)
    }

    fn number(self) -> u32 {
        PARTS.iter().position(|(_, part)| *part == self).unwrap_or(0) as u32
    }

    fn mask(self) -> u32 {
        (u32::MAX >> (32 - self.1)) << self.0
    }

    fn extended(self, word: u32, signed: bool) -> i128 {
        let (raw, spare) = (word >> self.0, 32 - self.1);
        if signed { ((raw << spare) as i32 >> spare) as i128 } else { (raw << spare >> spare) as i128 }
    }

    fn limited(self, value: i128, signed: bool) -> i128 {
        if signed {
            value.clamp(-1 << (self.1 - 1), (1 << (self.1 - 1)) - 1)
        } else {
            value.clamp(0, (1 << self.1) - 1)
        }
    }
}

/// What is done with `c`: it takes what the result leaves, or is combined with the result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Second {
    Merge,
    Add,
    Min,
    Max,
}

const SECONDS: [Second; 4] = [Second::Merge, Second::Add, Second::Min, Second::Max];

impl Second {
    pub fn of(name: &str) -> Option<Second> {
        ["", "add", "min", "max"].iter().position(|n| *n == name).map(|at| SECONDS[at])
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    pub what: What,
    /// How many parts of a word are computed at once: 1, 2 or 4.
    pub parts: u32,
    /// Of d, a and b; c has the sign of d.
    pub signed: [bool; 3],
    pub sat: bool,
    /// Shifts by the amount modulo 32, else by 32 at most.
    pub wrap: bool,
    pub second: Second,
    /// Of more than one part: those of d that are written.
    pub mask: u32,
    /// Of one part: which one of d, a and b.
    pub part: [Part; 3],
}

impl Mode {
    pub fn new(what: What, parts: u32) -> Mode {
        let mask = (1 << parts) - 1;
        Mode { what, parts, signed: [false; 3], sat: false, wrap: false, second: Second::Merge, mask, part: [WHOLE; 3] }
    }

    pub fn word(&self) -> u32 {
        let flags = [self.signed[0], self.signed[1], self.signed[2], self.sat, self.wrap];
        let flags = flags.iter().rev().fold(0, |bits, &flag| bits << 1 | flag as u32);
        let parts = self.part.iter().rev().fold(0, |bits, part| bits << 3 | part.number());
        self.what as u32 | self.parts << 4 | flags << 7 | (self.second as u32) << 12 | self.mask << 14 | parts << 18
    }

    fn of(word: u32) -> Mode {
        let flag = |k: u32| word >> (7 + k) & 1 != 0;
        let part = |k: u32| PARTS[(word >> (18 + 3 * k) & 7).min(6) as usize].1;
        Mode {
            what: NAMES[(word & 15).min(13) as usize].1,
            parts: word >> 4 & 7,
            signed: [flag(0), flag(1), flag(2)],
            sat: flag(3),
            wrap: flag(4),
            second: SECONDS[(word >> 12 & 3) as usize],
            mask: word >> 14 & 15,
            part: [part(0), part(1), part(2)],
        }
    }

    fn one(&self, a: u32, b: u32, c: u32) -> u32 {
        let [to, part_a, part_b] = self.part;
        let (a, mut b) = (part_a.extended(a, self.signed[1]), part_b.extended(b, self.signed[2]));
        if matches!(self.what, Left | Right) {
            b = if self.wrap { b & 31 } else { b.min(32) };
        }
        let mut value = self.what.compute(a, b);
        if self.sat {
            value = to.limited(value, self.signed[0]);
        }
        let other = WHOLE.extended(c, self.signed[0]);
        match self.second {
            Second::Merge => (value as u32) << to.0 & to.mask() | c & !to.mask(),
            Second::Add => (value + other) as u32,
            Second::Min => value.min(other) as u32,
            Second::Max => value.max(other) as u32,
        }
    }

    fn many(&self, a: u32, b: u32, c: u32) -> u32 {
        let (mut d, bits) = (c, 32 / self.parts);
        for k in (0..self.parts).filter(|k| self.mask >> k & 1 != 0) {
            let part = Part(k * bits, bits);
            let mut value = self.what.compute(part.extended(a, self.signed[1]), part.extended(b, self.signed[2]));
            if self.sat {
                value = part.limited(value, self.signed[0]);
            }
            d = match self.second {
                Second::Merge => (value as u32) << part.0 & part.mask() | d & !part.mask(),
                _ => d.wrapping_add(value as u32),
            };
        }
        d
    }
}

/// The instruction that the word says. Of more than one part, those of a and b have been selected already.
pub fn video(a: u32, b: u32, c: u32, word: u32) -> u32 {
    let mode = Mode::of(word);
    if mode.parts > 1 { mode.many(a, b, c) } else { mode.one(a, b, c) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_fit_into_words() {
        for (k, (_, what)) in NAMES.into_iter().enumerate() {
            let mode = Mode {
                signed: [k & 1 != 0, k & 2 != 0, k & 4 != 0],
                sat: k & 8 != 0,
                wrap: k % 3 == 0,
                second: SECONDS[k % 4],
                part: [0, 2, 5].map(|more| PARTS[(k + more) % 7].1),
                ..Mode::new(what, 1 << (k % 3))
            };
            assert_eq!(Mode::of(mode.word()), mode);
        }
    }
}
