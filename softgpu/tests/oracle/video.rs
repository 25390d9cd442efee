//! Oracle of video instructions, byte by byte: PTX ISA 9.0, 9.7, "Scalar Video Instructions" and "SIMD Video
//! Instructions". Every spelling runs thrice: plain, with a part or selector for each operand, and guarded.

use crate::case::{Case, Ty, Want, words};

/// The little-endian integer in some bytes.
fn integer(bytes: &[u8], signed: bool) -> i128 {
    let value = bytes.iter().rev().fold(0, |sum: i128, &byte| sum * 256 + byte as i128);
    let beyond = 1i128 << (8 * bytes.len());
    if signed && 2 * value >= beyond { value - beyond } else { value }
}

fn saturated(value: i128, bytes: usize, signed: bool) -> i128 {
    let all = 256i128.pow(bytes as u32);
    let (low, high) = if signed { (-all / 2, all / 2 - 1) } else { (0, all - 1) };
    if value < low {
        low
    } else if value > high {
        high
    } else {
        value
    }
}

fn operate(what: &str, a: i128, b: i128, wrap: bool) -> i128 {
    let amount = if wrap { b % 32 } else { b.min(32) } as u32;
    match what {
        "add" => a + b,
        "sub" => a - b,
        // Half of the sum, halves going away from −∞ where it is not negative, and towards it where it is.
        "avrg" if a + b >= 0 => (a + b + 1).div_euclid(2),
        "avrg" => (a + b).div_euclid(2),
        "absdiff" if a < b => b - a,
        "absdiff" => a - b,
        "min" => [a, b].into_iter().min().unwrap(),
        "max" => [a, b].into_iter().max().unwrap(),
        "shl" => a * 2i128.pow(amount),
        "shr" => a.div_euclid(2i128.pow(amount)),
        "eq" => i128::from(a == b),
        "ne" => i128::from(a != b),
        "lt" => i128::from(a < b),
        "le" => i128::from(a <= b),
        "gt" => i128::from(a > b),
        _ => i128::from(a >= b),
    }
}

/// What an opcode says.
#[derive(Clone, Copy)]
struct Video {
    what: &'static str,
    count: usize,
    signed: [bool; 3],
    sat: bool,
    wrap: bool,
    second: &'static str,
}

impl Video {
    fn of(opcode: &str) -> Option<Video> {
        let parts = words(opcode);
        let name = parts[0].strip_prefix('v')?;
        let count = name.chars().last()?.to_digit(10).unwrap_or(1) as usize;
        let name = name.trim_end_matches(['2', '4']);
        let known = ["add", "sub", "avrg", "absdiff", "min", "max", "shl", "shr", "set"];
        if !known.contains(&name) {
            return None;
        }
        let has = |word: &str| parts.contains(&word);
        let s = |at: usize| parts[at] == "s32";
        let (what, signed) = match name {
            "set" => (parts[3], [false, s(1), s(2)]),
            _ => (name, [s(1), s(2), s(3)]),
        };
        let second = ["add", "min", "max"].into_iter().find(|word| has(word)).unwrap_or("");
        Some(Video { what, count, signed, sat: has("sat"), wrap: has("wrap"), second })
    }

    /// `d[.to], a[.from], b[.from], c`, the parts by their names.
    fn result(&self, [to, from_a, from_b]: [&str; 3], x: &[u64]) -> u64 {
        let [a, b, c] = [0, 1, 2].map(|k| (x[k] as u32).to_le_bytes());
        let signs = self.signed;
        if self.count == 1 {
            let part = |name: &str| match name.split_at_checked(1) {
                Some(("b", at)) => at.parse().map(|at: usize| at..at + 1).unwrap(),
                Some((_, at)) => at.parse().map(|at: usize| 2 * at..2 * at + 2).unwrap(),
                None => 0..4,
            };
            let (a, b) = (integer(&a[part(from_a)], signs[1]), integer(&b[part(from_b)], signs[2]));
            let value = operate(self.what, a, b, self.wrap);
            let value = if self.sat { saturated(value, part(to).len(), signs[0]) } else { value };
            let third = integer(&c, signs[0]);
            let value = match self.second {
                "add" => value + third,
                "min" if third < value => third,
                "max" if third > value => third,
                _ => value,
            };
            let mut d = c;
            let written = part(to);
            d[written.clone()].copy_from_slice(&value.to_le_bytes()[..written.len()]);
            return u32::from_le_bytes(d) as u64;
        }
        let (size, both) = (4 / self.count, [a, b].concat());
        let digits = |name: &str, otherwise: &str| -> Vec<usize> {
            let name = if name.is_empty() { otherwise } else { name };
            name[1..].chars().rev().map(|digit| digit.to_digit(8).unwrap() as usize).collect()
        };
        let (from_a, from_b, to) = match self.count {
            2 => (digits(from_a, "h10"), digits(from_b, "h32"), digits(to, "h10")),
            _ => (digits(from_a, "b3210"), digits(from_b, "b7654"), digits(to, "b3210")),
        };
        let (mut merged, mut sum) = (c, integer(&c, false));
        for k in (0..self.count).filter(|k| to.contains(k)) {
            let part = |at: usize, signed| integer(&both[at * size..][..size], signed);
            let value = operate(self.what, part(from_a[k], signs[1]), part(from_b[k], signs[2]), false);
            let value = if self.sat { saturated(value, size, signs[0]) } else { value };
            merged[k * size..][..size].copy_from_slice(&value.to_le_bytes()[..size]);
            sum += value;
        }
        if self.second == "add" { sum.rem_euclid(1 << 32) as u64 } else { u32::from_le_bytes(merged) as u64 }
    }
}

pub fn case(opcode: &str) -> Option<Case> {
    let video = Video::of(opcode)?;
    let seed = opcode.bytes().fold(5, |h: usize, b| h.wrapping_mul(31).wrapping_add(b as usize));
    let pick = |all: &[&'static str], skip: usize| all[(seed >> skip) % all.len()];
    const PARTS: [&str; 6] = ["b0", "b1", "b2", "b3", "h0", "h1"];
    let parts = match video.count {
        1 => [if video.second.is_empty() { pick(&PARTS, 1) } else { "" }, pick(&PARTS, 4), pick(&PARTS, 7)],
        2 => [pick(&["h0", "h1", "h10"], 1), pick(&["h00", "h13", "h21"], 4), pick(&["h10", "h23", "h31"], 7)],
        _ => [
            pick(&["b0", "b2", "b31", "b210", "b320", "b3210"], 1),
            pick(&["b0123", "b7070", "b5612", "b3333"], 4),
            pick(&["b3210", "b4567", "b0246", "b7531"], 7),
        ],
    };
    let [d, a, b] = parts.map(|part| if part.is_empty() { String::new() } else { format!(".{part}") });
    let merges = video.count > 1 || !video.second.is_empty();
    let plain = if merges { "a0, a1, a2" } else { "a0, a1" };
    let text = format!(
        "{opcode} d0, {plain}; {opcode} d1{d}, a0{a}, a1{b}, a2; mov.b32 d2, 7; @a3 {opcode} d2{d}, a1{b}, a0{a}, a0;"
    );
    let expect = move |x: &[u64]| {
        let swapped = [parts[0], parts[2], parts[1]];
        // The selectors of more than one part are of the pair in the order of the operands.
        let guarded = if x[3] != 0 { video.result(swapped, &[x[1], x[0], x[0]]) } else { 7 };
        [video.result(["", "", ""], x), video.result(parts, x), guarded].map(Want::Bits).to_vec()
    };
    let inputs = vec![Ty::I(32), Ty::I(32), Ty::I(32), Ty::P];
    Some(Case { text, inputs, outputs: vec![Ty::I(32); 3], expect: Box::new(expect) })
}
