//! Moves of more than one register, special registers that change, and operations on bits and bytes by a table. PTX
//! ISA 9.0, 9.7.8, 9.7.9.3 and 10.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::exec::{Wide, clock};
use crate::ir::{Code, More, Reg};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form { names: &["lop3.b32", "lop3(.or|.and).b32"], decode: |d, i, parts| d.lop3(i, parts) },
    Form { names: &["prmt.b32[.f4e|.b4e|.rc8|.ecl|.ecr|.rc16]"], decode: |d, i, parts| d.permute(i, parts.get(2)) },
    Form { names: &["mov.v4(.u32|.u16)"], decode: |d, i, _| d.coordinates(i) },
];

static CLOCK: Wide = Wide { name: "mov", run: [clock; 3], waits: false, strong: false };

/// Special registers that change while a kernel runs: (name, bits that the value is shifted by, added to it).
const CLOCKS: [(&str, i64, i64); 6] = [
    ("%clock", 0, 0),
    ("%clock_hi", 32, 0),
    ("%clock64", 0, 0),
    ("%globaltimer", 0, EPOCH),
    ("%globaltimer_lo", 0, EPOCH),
    ("%globaltimer_hi", 32, EPOCH),
];
/// Nanoseconds at the start of a launch, from 1970: any will do, but the same for every run.
const EPOCH: i64 = 1_700_000_000_000_000_000;

#[rustfmt::skip]
const COORDINATES: [&str; 12] = [
    "%tid.x", "%tid.y", "%tid.z", "%ntid.x", "%ntid.y", "%ntid.z",
    "%ctaid.x", "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z",
];

/// Does the operand name a special register that changes?
pub fn changes(operand: &Operand) -> bool {
    matches!(operand, Operand::Symbol(name) if CLOCKS.iter().any(|(clock, ..)| clock == name))
}

impl<'a> Decoder<'_, 'a> {
    /// `lop3[.or|.and].b32 d[|p], a, b, c, table[, q]`: p = (d ≠ 0) op q.
    fn lop3(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let ([to, a, b, c, Operand::Integer(table), rest @ ..], combine) = (i.operands.as_slice(), parts[1]) else {
            return unsupported(i, "these operands");
        };
        let sources = [a, b, c].map(|operand| self.slot(i, operand, Kind::W));
        let [a, b, c] = sources;
        let (a, b, c) = (a?, b?, c?);
        let (d, p) = match (to, rest) {
            (Operand::Pair(d, p), [_]) if combine != "b32" => (&**d, Some(&**p)),
            (d, []) if combine == "b32" => (d, None),
            _ => return unsupported(i, "these operands"),
        };
        let d = self.destination(i, d, Kind::W)?;
        let (Some(p), [q]) = (p, rest) else {
            self.emit(i, Code::Lop3, [d, a, b, c, 0], *table as u32);
            return Ok(());
        };
        // All is found before anything is written: q may be p, and p may guard the instruction.
        let found = self.new_slot(Kind::W);
        let free = Instruction { guard: None, ..i.clone() };
        self.emit(&free, Code::Lop3, [found, a, b, c, 0], *table as u32);
        let zero = self.literal(0, Kind::W);
        let any = self.derive(i, "setp.ne.u32", &[found, zero])?;
        let q = self.slot(i, q, Kind::P)?;
        let both = self.derive(i, &format!("{combine}.pred"), &[any, q])?;
        self.emit_row(i, "mov.b32", &[d, found])?;
        let p = self.slot(i, p, Kind::P)?;
        self.emit_row(i, "mov.pred", &[p, both])
    }

    /// `prmt.b32[.mode] d, a, b, c`: the modes choose by c's two lowest bits, as a selector of four digits would.
    fn permute(&mut self, i: &Instruction<'a>, mode: Option<&&str>) -> Result<()> {
        let [d, a, b, c] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let (d, a, b) = (self.slot(i, d, Kind::W)?, self.slot(i, a, Kind::W)?, self.slot(i, b, Kind::W)?);
        let mut c = self.slot(i, c, Kind::W)?;
        if let Some(mode) = mode {
            let modes = ["f4e", "b4e", "rc8", "ecl", "ecr", "rc16"];
            let Some(mode) = modes.iter().position(|m| m == mode) else { return unsupported(i, "this mode") };
            let mode = self.literal(mode as u64, Kind::W);
            c = self.derive(i, "~prmt.selector", &[c, mode])?;
        }
        self.emit(i, Code::Prmt, [d, a, b, c, 0], 0);
        Ok(())
    }

    /// `mov.b64 d, {a, b}` and back, in any number of parts.
    pub fn pack(&mut self, i: &Instruction<'a>) -> Result<()> {
        let (bits, count) = match (i.opcode, i.operands.as_slice()) {
            ("mov.b64", [_, Operand::Vector(parts)] | [Operand::Vector(parts), _]) => (64, parts.len()),
            ("mov.b32", [_, Operand::Vector(parts)] | [Operand::Vector(parts), _]) => (32, parts.len()),
            ("mov.b16", [_, Operand::Vector(parts)] | [Operand::Vector(parts), _]) => (16, parts.len()),
            _ => return unsupported(i, "these operands"),
        };
        if !matches!((bits, count), (_, 2) | (32 | 64, 4)) {
            return unsupported(i, "this number of parts");
        }
        let kind = if bits == 64 { Kind::D } else { Kind::W };
        match i.operands.as_slice() {
            [d, Operand::Vector(parts)] => {
                let mut regs = parts.iter().map(|part| self.slot(i, part, Kind::W)).collect::<Result<Vec<Reg>>>()?;
                if let [a, b, c, d] = regs[..] {
                    let half = format!("~pack.b{}", bits / 2);
                    regs = vec![self.derive(i, &half, &[a, b])?, self.derive(i, &half, &[c, d])?];
                }
                let d = self.slot(i, d, kind)?;
                self.emit_row(i, &format!("~pack.b{bits}"), &[d, regs[0], regs[1]])
            }
            [Operand::Vector(parts), a] => {
                let a = self.slot(i, a, kind)?;
                let mut halves = vec![(a, bits, "low"), (a, bits, "high")];
                if count == 4 {
                    let [low, high] =
                        ["low", "high"].map(|half| self.derive(i, &format!("~unpack.{half}.b{bits}"), &[a]));
                    let (low, high, bits) = (low?, high?, bits / 2);
                    halves = vec![(low, bits, "low"), (low, bits, "high"), (high, bits, "low"), (high, bits, "high")];
                }
                // A part may be the register that is taken apart: all are found before one is written.
                let mut found = Vec::new();
                for (part, (from, bits, half)) in parts.iter().zip(halves) {
                    let name = format!("~unpack.{half}.b{bits}");
                    match part {
                        Operand::Symbol("_") => {}
                        _ if kind == Kind::D && count == 2 => {
                            let to = self.slot(i, part, Kind::W)?;
                            self.emit_row(i, &name, &[to, from])?;
                        }
                        _ => found.push((part, self.derive(i, &name, &[from])?)),
                    }
                }
                for (part, value) in found {
                    let to = self.slot(i, part, Kind::W)?;
                    self.emit_row(i, "mov.b32", &[to, value])?;
                }
                Ok(())
            }
            _ => unsupported(i, "these operands"),
        }
    }

    /// `mov.v4.u32 {x, y, z, w}, %tid` and the other coordinates, w being 0.
    fn coordinates(&mut self, i: &Instruction<'a>) -> Result<()> {
        let [Operand::Vector(parts), Operand::Symbol(name)] = i.operands.as_slice() else {
            return unsupported(i, "these operands");
        };
        if parts.len() != 4 || !matches!(*name, "%tid" | "%ntid" | "%ctaid" | "%nctaid") {
            return unsupported(i, "this vector");
        }
        for (part, axis) in parts.iter().zip([".x", ".y", ".z", ""]).filter(|(part, _)| **part != Operand::Symbol("_"))
        {
            let coordinate = match axis {
                "" => Operand::Integer(0),
                axis => Operand::Symbol(COORDINATES.iter().find(|c| **c == format!("{name}{axis}")).unwrap_or(name)),
            };
            self.row(i, "mov.b32", &[part, &coordinate])?;
        }
        Ok(())
    }

    /// `mov d, %clock`: a count of the warp's own, which goes on with every look at it.
    pub fn read_clock(&mut self, i: &Instruction<'a>) -> Result<()> {
        let [d, Operand::Symbol(name)] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some((_, shift, base)) = CLOCKS.iter().find(|(clock, ..)| clock == name) else {
            return unsupported(i, "this clock");
        };
        let wide = i.opcode.ends_with("64");
        let d = self.slot(i, d, if wide { Kind::D } else { Kind::W })?;
        self.emit_wide(i, &CLOCK, More { defs: vec![d], uses: vec![], imms: vec![*shift, *base, wide as i64] });
        Ok(())
    }
}
