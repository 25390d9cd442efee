//! Arithmetic whose operands are not one register each: packed halves, comparisons with a second part, bit tables.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::ir::Code;
use crate::isa::{self, Form, Kind};

pub static FORMS: &[Form] = &[
    Form { names: &["lop3.b32", "prmt.b32"], decode: |d, i, parts| d.bitwise(i, parts[0] == "lop3") },
    Form {
        names: &[
            "setp(.eq|.ne|.lt|.le|.gt|.ge|.lo|.ls|.hi|.hs|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan)(.and|.or|.xor)(.b16|.u16|.s16|.b32|.u32|.s32|.b64|.u64|.s64|.f32|.f64)",
        ],
        decode: |d, i, parts| d.compare(i, parts),
    },
];

impl<'a> Decoder<'_, 'a> {
    fn bitwise(&mut self, i: &Instruction, lop3: bool) -> Result<()> {
        let mut s = [0; 5];
        for (at, operand) in i.operands.iter().take(4).enumerate() {
            s[at] = self.slot(i, operand, Kind::W)?;
        }
        match i.operands.get(4) {
            Some(Operand::Integer(table)) if lop3 => self.emit(i, Code::Lop3, s, *table as u32),
            None if !lop3 => self.emit(i, Code::Prmt, s, 0),
            _ => return unsupported(i, "these operands"),
        }
        Ok(())
    }

    /// `setp.cmp[.bool].type p[|q], a, b[, c]`.
    fn compare(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let (cmp, combine, ty) = match parts {
            [_, cmp, ty] => (cmp, None, ty),
            [_, cmp, combine @ ("and" | "or" | "xor"), ty] => (cmp, Some(*combine), ty),
            _ => return unsupported(i, "this comparison"),
        };
        let [Operand::Register(_), a, b, rest @ ..] = i.operands.as_slice() else {
            return unsupported(i, "a second destination");
        };
        let d = &i.operands[0];
        let Some(row) = isa::row(&format!("setp.{cmp}.{ty}")) else {
            return unsupported(i, "this comparison");
        };
        let target = if combine.is_some() { self.new_slot(Kind::P) } else { self.slot(i, d, Kind::P)? };
        let (a, b) = (self.slot(i, a, row.kinds[1])?, self.slot(i, b, row.kinds[2])?);
        self.emit(i, Code::Row(row), [target, a, b, 0, 0], 0);
        let (Some(combine), [c]) = (combine, rest) else {
            return if combine.is_none() && rest.is_empty() { Ok(()) } else { unsupported(i, "these operands") };
        };
        let Some(row) = isa::row(&format!("{combine}.pred")) else { return unsupported(i, combine) };
        let (d, c) = (self.slot(i, d, Kind::P)?, self.slot(i, c, Kind::P)?);
        self.emit(i, Code::Row(row), [d, target, c, 0, 0], 0);
        Ok(())
    }

    /// `mov.b64 %rd, {%r1, %r2}` and back.
    pub fn pack(&mut self, i: &Instruction) -> Result<()> {
        let bits = &i.opcode[i.opcode.len() - 3..];
        match i.operands.as_slice() {
            [d, Operand::Vector(parts)] if parts.len() == 2 => {
                self.row(i, &format!("pack.{bits}"), &[d, &parts[0], &parts[1]])
            }
            [Operand::Vector(parts), a] if parts.len() == 2 => {
                for (part, half) in parts.iter().zip(["low", "high"]) {
                    if *part != Operand::Symbol("_") {
                        self.row(i, &format!("unpack.{half}.{bits}"), &[part, a])?;
                    }
                }
                Ok(())
            }
            _ => unsupported(i, "these operands"),
        }
    }
}
