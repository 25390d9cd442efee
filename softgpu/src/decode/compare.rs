//! Comparisons: `setp` with a second destination or a second condition, `set`, and types that are compared as others.
//! PTX ISA 9.0, 9.7.6 and 9.7.7.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::ir::Reg;
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "setp(.eq|.ne)[.and|.or|.xor](.b16|.b32|.b64)",
            "setp(.eq|.ne|.lt|.le|.gt|.ge)[.and|.or|.xor](.u16|.s16|.u32|.s32|.u64|.s64)",
            "setp(.lo|.ls|.hi|.hs)[.and|.or|.xor](.u16|.u32|.u64)",
            "setp(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor][.ftz](.f32|.f16|.f16x2)",
            "setp(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor](.f64|.bf16|.bf16x2)",
        ],
        decode: |d, i, parts| d.set_predicate(i, parts),
    },
    Form {
        names: &[
            "set(.eq|.ne)[.and|.or|.xor](.u32|.s32|.f32|.f16)(.b16|.b32|.b64)",
            "set(.eq|.ne|.lt|.le|.gt|.ge)[.and|.or|.xor](.u32|.s32|.f32|.f16)(.u16|.s16|.u32|.s32|.u64|.s64)",
            "set(.lo|.ls|.hi|.hs)[.and|.or|.xor](.u32|.s32|.f32|.f16)(.u16|.u32|.u64)",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor][.ftz](.u32|.s32|.f32|.f16).f32",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor](.u32|.s32|.f32|.f16).f64",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor][.ftz](.f16|.u16|.s16|.u32|.s32).f16",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor][.ftz](.f16x2|.u32|.s32).f16x2",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor](.bf16|.u16|.s16|.u32|.s32).bf16",
            "set(.eq|.ne|.lt|.le|.gt|.ge|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)[.and|.or|.xor](.bf16x2|.u32|.s32).bf16x2",
        ],
        decode: |d, i, parts| d.set(i, parts),
    },
];

/// `.cmp[.bool][.ftz]`, as words.
struct Comparison<'p> {
    cmp: &'p str,
    combine: Option<&'p str>,
    ftz: bool,
}

impl<'p> Comparison<'p> {
    fn of(parts: &[&'p str]) -> Comparison<'p> {
        let combine = parts.iter().copied().find(|part| matches!(*part, "and" | "or" | "xor"));
        Comparison { cmp: parts.first().copied().unwrap_or_default(), combine, ftz: parts.contains(&"ftz") }
    }
}

impl<'a> Decoder<'_, 'a> {
    /// `setp.cmp[.bool][.ftz].type p[|q], a, b[, c]`: p = (a cmp b) bool c, q = !(a cmp b) bool c; of a pair of halves,
    /// p is the lower one's and q the upper one's.
    pub fn set_predicate(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let ([ty, ..], [to, operands @ ..]) = (&parts[parts.len() - 1..], i.operands.as_slice()) else {
            return unsupported(i, "these operands");
        };
        let comparison = Comparison::of(&parts[1..]);
        let (a, b, c) = self.compared(i, &comparison, operands)?;
        let (p, q) = match to {
            Operand::Pair(p, q) => (&**p, Some(&**q)),
            p => (p, None),
        };
        if q.is_some() && matches!(*ty, "f16" | "bf16") {
            return unsupported(i, "a second destination, which halves do not have");
        }
        if q.is_none() && !ty.ends_with("x2") {
            let to = self.slot(i, p, Kind::P)?;
            let (row, a, b) = self.prepared(i, &comparison, ty, a, b)?;
            return match (comparison.combine, c) {
                (Some(combine), Some(c)) => {
                    let first = self.derive(i, &row, &[a, b])?;
                    self.emit_row(i, &format!("{combine}.pred"), &[to, first, c])
                }
                _ => self.emit_row(i, &row, &[to, a, b]),
            };
        }
        let found = match ty.strip_suffix("x2") {
            Some(half) => {
                let low = self.condition(i, &comparison, half, a, b, c)?;
                let [a, b] = [self.upper(i, a)?, self.upper(i, b)?];
                [low, self.condition(i, &comparison, half, a, b, c)?]
            }
            None => {
                let first = self.compare(i, &comparison, ty, a, b)?;
                let other = match q {
                    Some(_) => self.derive(i, "not.pred", &[first])?,
                    None => first,
                };
                [self.combined(i, &comparison, first, c)?, self.combined(i, &comparison, other, c)?]
            }
        };
        let guard = i.guard.map(|(register, _)| register);
        let is_guard = |operand: &Operand| matches!(operand, Operand::Register(r) if Some(*r) == guard);
        let mut writes = vec![(p, found[0])];
        writes.extend(q.map(|q| (q, found[1])));
        // What guards the instruction is written last.
        writes.sort_by_key(|(operand, _)| is_guard(operand));
        for (operand, value) in writes.into_iter().filter(|(operand, _)| **operand != Operand::Symbol("_")) {
            let to = self.slot(i, operand, Kind::P)?;
            self.emit_row(i, "mov.pred", &[to, value])?;
        }
        Ok(())
    }

    /// The operands a and b, and the predicate that the result is combined with.
    fn compared(
        &mut self,
        i: &Instruction<'a>,
        comparison: &Comparison,
        operands: &[Operand<'a>],
    ) -> Result<(Reg, Reg, Option<Reg>)> {
        let (a, b, c) = match operands {
            [a, b] if comparison.combine.is_none() => (a, b, None),
            [a, b, c] if comparison.combine.is_some() => (a, b, Some(c)),
            _ => return unsupported(i, "these operands"),
        };
        let kind = if i.opcode.ends_with("64") { Kind::D } else { Kind::W };
        let c = c.map(|c| self.slot(i, c, Kind::P)).transpose()?;
        Ok((self.slot(i, a, kind)?, self.slot(i, b, kind)?, c))
    }

    fn condition(
        &mut self,
        i: &Instruction<'a>,
        comparison: &Comparison,
        ty: &str,
        a: Reg,
        b: Reg,
        c: Option<Reg>,
    ) -> Result<Reg> {
        let p = self.compare(i, comparison, ty, a, b)?;
        self.combined(i, comparison, p, c)
    }

    fn combined(&mut self, i: &Instruction<'a>, comparison: &Comparison, p: Reg, c: Option<Reg>) -> Result<Reg> {
        match (comparison.combine, c) {
            (Some(combine), Some(c)) => self.derive(i, &format!("{combine}.pred"), &[p, c]),
            _ => Ok(p),
        }
    }

    /// a cmp b, in a predicate of its own.
    fn compare(&mut self, i: &Instruction<'a>, comparison: &Comparison, ty: &str, a: Reg, b: Reg) -> Result<Reg> {
        let (row, a, b) = self.prepared(i, comparison, ty, a, b)?;
        self.derive(i, &row, &[a, b])
    }

    /// The row that compares, and what it compares: halves as f32, 16-bit integers as 32-bit ones.
    fn prepared(
        &mut self,
        i: &Instruction<'a>,
        comparison: &Comparison,
        ty: &str,
        mut a: Reg,
        mut b: Reg,
    ) -> Result<(String, Reg, Reg)> {
        let (prepare, ty) = match ty {
            "f16" | "bf16" => (Some(format!("cvt.f32.{ty}")), "f32"),
            "s16" => (Some("cvt.s32.s16".to_string()), "s32"),
            "u16" | "b16" => (Some("cvt.u32.u16".to_string()), "u32"),
            "f32" if comparison.ftz => (Some("~flush.f32".to_string()), "f32"),
            ty => (None, ty),
        };
        if let Some(prepare) = prepare {
            let half = prepare.ends_with("f16");
            [a, b] = [self.derive(i, &prepare, &[a])?, self.derive(i, &prepare, &[b])?];
            if half && comparison.ftz {
                [a, b] = [self.derive(i, "~flush.f16", &[a])?, self.derive(i, "~flush.f16", &[b])?];
            }
        }
        Ok((format!("setp.{}.{ty}", comparison.cmp), a, b))
    }

    fn upper(&mut self, i: &Instruction<'a>, word: Reg) -> Result<Reg> {
        self.derive(i, "~unpack.high.b32", &[word])
    }

    /// `set.cmp[.bool][.ftz].dtype.stype d, a, b[, c]`: all ones or 1.0 where it holds, else zero.
    fn set(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let [.., to, ty] = parts else { return unsupported(i, "it without types") };
        let Some((d, operands)) = i.operands.split_first() else { return unsupported(i, "these operands") };
        let comparison = Comparison::of(&parts[1..]);
        let (a, b, c) = self.compared(i, &comparison, operands)?;
        let d = self.slot(i, d, Kind::W)?;
        let yes = match *to {
            "f32" => 0x3f80_0000,
            "f16" | "f16x2" => 0x3c00,
            "bf16" | "bf16x2" => 0x3f80,
            "u16" | "s16" => 0xffff,
            _ if ty.ends_with("x2") => 0xffff,
            _ => 0xffff_ffff,
        };
        let (yes, no) = (self.literal(yes, Kind::W), self.literal(0, Kind::W));
        let Some(half) = ty.strip_suffix("x2") else {
            let p = self.condition(i, &comparison, ty, a, b, c)?;
            return self.emit_row(i, "selp.b32", &[d, yes, no, p]);
        };
        let low = self.condition(i, &comparison, half, a, b, c)?;
        let [a, b] = [self.upper(i, a)?, self.upper(i, b)?];
        let high = self.condition(i, &comparison, half, a, b, c)?;
        let [low, high] = [self.derive(i, "selp.b32", &[yes, no, low])?, self.derive(i, "selp.b32", &[yes, no, high])?];
        self.emit_row(i, "~pack.b32", &[d, low, high])
    }
}
