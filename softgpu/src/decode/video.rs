//! Video instructions, which compute on parts of words: PTX ISA 9.0, 9.7, "Scalar Video Instructions" and "SIMD Video
//! Instructions".

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::ir::{Code, Reg};
use crate::isa::video::{Mode, Part, Second, What};
use crate::isa::{Form, Kind};

macro_rules! three {
    ($($name:literal),*; $rest:literal) => {
        &[$(concat!($name, "(.u32|.s32)(.u32|.s32)(.u32|.s32)", $rest)),*]
    };
}

pub static FORMS: &[Form] = &[
    Form {
        names: three!("vadd", "vsub", "vabsdiff", "vmin", "vmax"; "[.sat][.add|.min|.max]"),
        decode: |d, i, parts| d.video(i, parts, 3),
    },
    Form {
        names: &[
            "vshl(.u32|.s32)(.u32|.s32).u32[.sat](.clamp|.wrap)[.add|.min|.max]",
            "vshr(.u32|.s32)(.u32|.s32).u32[.sat](.clamp|.wrap)[.add|.min|.max]",
        ],
        decode: |d, i, parts| d.video(i, parts, 3),
    },
    Form {
        names: &["vset(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge)[.add|.min|.max]"],
        decode: |d, i, parts| d.video(i, parts, 2),
    },
    Form {
        names: three!("vadd2", "vsub2", "vavrg2", "vabsdiff2", "vmin2", "vmax2", "vadd4", "vsub4", "vavrg4", "vabsdiff4",
            "vmin4", "vmax4"; "[.sat|.add]"),
        decode: |d, i, parts| d.video(i, parts, 3),
    },
    Form {
        names: &[
            "vset2(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge)[.add]",
            "vset4(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge)[.add]",
        ],
        decode: |d, i, parts| d.video(i, parts, 2),
    },
];

/// A register and the name of its part, `""` if it is meant whole.
fn part<'a>(operand: &Operand<'a>) -> (Operand<'a>, &'a str) {
    match operand {
        Operand::Part(register, name) => (Operand::Register(*register), name),
        whole => (whole.clone(), ""),
    }
}

impl<'a> Decoder<'_, 'a> {
    /// `vop[2|4].dtype.atype.btype[.sat][.mode][.op2] d[.sel], a[.sel], b[.sel][, c]`; `vset` has no dtype, and its
    /// comparison after the types.
    pub fn video(&mut self, i: &Instruction<'a>, parts: &[&str], types: usize) -> Result<()> {
        let name = parts[0].trim_start_matches('v');
        let (name, count) = match name.strip_suffix(['2', '4']) {
            Some(short) => (short, if name.ends_with('2') { 2 } else { 4 }),
            None => (name, 1),
        };
        let Some((types, modifiers)) = parts[1..].split_at_checked(types) else { return unsupported(i, "the types") };
        let name = if name == "set" { modifiers.first().copied().unwrap_or_default() } else { name };
        let Some(what) = What::of(name) else { return unsupported(i, "the operation") };
        let mut mode = Mode::new(what, count);
        for (signed, ty) in mode.signed.iter_mut().rev().zip(types.iter().rev()) {
            *signed = *ty == "s32";
        }
        mode.sat = modifiers.contains(&"sat");
        mode.wrap = modifiers.contains(&"wrap");
        mode.second = modifiers.iter().find_map(|m| Second::of(m)).unwrap_or(Second::Merge);
        let (operands, c) = match i.operands.as_slice() {
            [d, a, b, c] => ([d, a, b], self.slot(i, c, Kind::W)?),
            [d, a, b] if count == 1 && mode.second == Second::Merge && part(d).1.is_empty() => {
                ([d, a, b], self.literal(0, Kind::W))
            }
            _ => return unsupported(i, "these operands"),
        };
        let [(d, to), (a, from_a), (b, from_b)] = operands.map(part);
        let (mut a, mut b) = (self.slot(i, &a, Kind::W)?, self.slot(i, &b, Kind::W)?);
        if count == 1 {
            let [Some(to), Some(from_a), Some(from_b)] = [to, from_a, from_b].map(Part::of) else {
                return unsupported(i, "this part of a register");
            };
            mode.part = [to, from_a, from_b];
            if mode.second != Second::Merge && mode.part[0] != Mode::new(what, 1).part[0] {
                return unsupported(i, "a part of the destination here");
            }
        } else {
            mode.mask = self.written(i, to, count)?;
            (a, b) = (self.chosen(i, [a, b], from_a, count, a)?, self.chosen(i, [a, b], from_b, count, b)?);
        }
        let (d, mode) = (self.slot(i, &d, Kind::W)?, self.literal(mode.word() as u64, Kind::W));
        self.emit_row(i, "~video", &[d, a, b, c, mode])
    }

    /// Which of `count` parts a mask such as `.h1` or `.b320` names; all if there is none.
    fn written(&self, i: &Instruction<'a>, mask: &str, count: u32) -> Result<u32> {
        if mask.is_empty() {
            return Ok((1 << count) - 1);
        }
        let digits = self.digits(i, mask, count, count)?;
        if !digits.is_sorted_by(|a, b| a > b) {
            return unsupported(i, "parts in this order");
        }
        Ok(digits.iter().fold(0, |mask, digit| mask | 1 << digit))
    }

    /// The parts of a pair of words that a selector such as `.h13` or `.b7610` names, the uppermost first: those of the
    /// second word come after those of the first. `own` if there is none.
    fn chosen(&mut self, i: &Instruction<'a>, pair: [Reg; 2], selector: &str, count: u32, own: Reg) -> Result<Reg> {
        if selector.is_empty() {
            return Ok(own);
        }
        let digits = self.digits(i, selector, count, 2 * count)?;
        if digits.len() != count as usize {
            return unsupported(i, "this number of parts");
        }
        let bytes = 4 / count;
        let selector = digits
            .iter()
            .fold(0, |bits, digit| (0..bytes).rev().fold(bits, |bits, byte| bits << 4 | (digit * bytes + byte) as u64));
        let (found, selector) = (self.new_slot(Kind::W), self.literal(selector, Kind::W));
        let free = Instruction { guard: None, ..i.clone() };
        self.emit(&free, Code::Prmt, [found, pair[0], pair[1], selector, 0], 0);
        Ok(found)
    }

    /// The numbers in the name of a part, each below `limit`: halves of a word of two, bytes of one of four.
    fn digits(&self, i: &Instruction<'a>, name: &str, count: u32, limit: u32) -> Result<Vec<u32>> {
        let digits = name.strip_prefix(if count == 2 { 'h' } else { 'b' });
        let numbers: Option<Vec<u32>> = digits.and_then(|digits| digits.chars().map(|c| c.to_digit(limit)).collect());
        numbers.map_or_else(|| unsupported(i, "this part of a register"), Ok)
    }
}
