//! Conversions that have no row of their own, and registers wider than what is converted: PTX ISA 9.0, 9.7.9.21, 9.4.1.

use super::{Decoder, Result, unsupported};
use crate::ast::{Class, Instruction, Operand};
use crate::ir::Reg;
use crate::isa::soft::{Mode, Type, What};
use crate::isa::{Form, Kind, Row};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "cvt.sat.u8(.s8|.u16|.s16|.u32|.s32|.u64|.s64)",
            "cvt.sat.s8(.u8|.u16|.s16|.u32|.s32|.u64|.s64)",
            "cvt.sat.u16(.s8|.s16|.u32|.s32|.u64|.s64)",
            "cvt.sat.s16(.u16|.u32|.s32|.u64|.s64)",
            "cvt.sat.u32(.s8|.s16|.s32|.u64|.s64)",
            "cvt.sat.s32(.u32|.u64|.s64)",
            "cvt.sat.u64(.s8|.s16|.s32|.s64)",
            "cvt.sat.s64.u64",
            "cvt(.rn|.rz|.rm|.rp)[.sat](.f16|.f64)(.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64)",
            "cvt(.rn|.rz|.rm|.rp).bf16(.u16|.s16|.u32|.s32|.u64|.s64)",
            "cvt(.rn|.rz|.rm|.rp)[.ftz][.sat].f32(.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64)",
            "cvt(.rni|.rzi|.rmi|.rpi)[.sat](.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64)(.f16|.f64)",
            "cvt(.rni|.rzi|.rmi|.rpi)(.u16|.s16|.u32|.s32|.u64|.s64).bf16",
            "cvt(.rni|.rzi|.rmi|.rpi)[.ftz][.sat](.u8|.s8|.u16|.s16|.u32|.s32|.u64|.s64).f32",
            "cvt[.rni|.rzi|.rmi|.rpi][.ftz][.sat].f32.f32",
            "cvt[.rni|.rzi|.rmi|.rpi][.sat](.f64.f64|.f16.f16)",
            "cvt[.rni|.rzi|.rmi|.rpi].bf16.bf16",
            "cvt[.ftz][.sat].f32.f16",
            "cvt[.ftz].f32.bf16",
            "cvt(.rn|.rz|.rm|.rp).f32.bf16",
            "cvt[.ftz][.sat].f64.f32",
            "cvt[.sat].f64.f16",
            "cvt.f64.bf16",
            "cvt(.rn|.rz|.rm|.rp)[.ftz][.sat](.f32.f64|.f16.f32)",
            "cvt(.rn|.rz|.rm|.rp)[.ftz].bf16.f32",
            "cvt(.rn|.rz).relu(.f16|.bf16).f32",
            "cvt(.rn|.rz)[.relu].satfinite(.f16|.bf16).f32",
            "cvt(.rn|.rz).satfinite.relu(.f16|.bf16).f32",
            "cvt(.rn|.rz|.rm|.rp)[.sat].f16.f64",
            "cvt(.rn|.rz|.rm|.rp).bf16.f64",
            "cvt(.rn|.rz|.rm|.rp)(.f16.bf16|.bf16.f16)",
            "cvt.rna[.satfinite].tf32.f32",
            "cvt(.rn|.rz)[.satfinite][.relu].tf32.f32",
        ],
        decode: |d, i, parts| d.convert_softly(i, parts),
    },
    Form {
        names: &[
            "cvt(.rn|.rz)[.relu][.satfinite](.f16x2|.bf16x2).f32",
            "cvt(.rn|.rz).satfinite.relu(.f16x2|.bf16x2).f32",
        ],
        decode: |d, i, parts| d.convert_pair(i, parts),
    },
    Form {
        names: &["cvt.pack.sat(.u16|.s16).s32", "cvt.pack.sat(.u8|.s8|.u4|.s4|.u2|.s2).s32.b32"],
        decode: |d, i, parts| d.convert_and_pack(i, parts),
    },
];

impl<'a> Decoder<'_, 'a> {
    /// A conversion by a row. Registers may be wider than the types; the result is then extended as its type is.
    pub fn convert(&mut self, i: &Instruction<'a>, row: &'static Row, operands: &[&Operand<'a>]) -> Result<()> {
        let [d, sources @ ..] = operands else { return unsupported(i, "these operands") };
        if row.kinds.len() != operands.len() {
            return unsupported(i, "these operands");
        }
        let mut regs = vec![0];
        for (source, kind) in sources.iter().zip(&row.kinds[1..]) {
            regs.push(self.narrowed(i, source, *kind)?);
        }
        self.converted(i, row.names[0], row.kinds[0], d, regs)
    }

    fn converted(
        &mut self,
        i: &Instruction<'a>,
        name: &str,
        kind: Kind,
        d: &Operand,
        mut regs: Vec<Reg>,
    ) -> Result<()> {
        // A pattern's first spelling will do: it is the row that is meant.
        let name = crate::isa::spellings(name).swap_remove(0);
        match d {
            Operand::Register(r) if kind == Kind::W && self.class(*r) == Class::Double => {
                let narrow = self.derive(i, &name, &regs[1..])?;
                let ty = i.opcode.rsplit('.').nth(1).unwrap_or_default();
                let extend = if ty.starts_with('s') { "cvt.s64.s32" } else { "cvt.u64.u32" };
                let d = self.slot(i, d, Kind::D)?;
                self.emit_row(i, extend, &[d, narrow])
            }
            _ => {
                regs[0] = self.slot(i, d, kind)?;
                self.emit_row(i, &name, &regs)
            }
        }
    }

    /// `cvt[.rnd][.ftz][.sat][.relu].dtype.atype d, a` by `isa::soft`.
    fn convert_softly(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let ([_, modifiers @ .., to, from], [d, a]) = (parts, i.operands.as_slice()) else {
            return unsupported(i, "these operands");
        };
        let (Some(to), Some(from)) = (Type::of(to), Type::of(from)) else { return unsupported(i, "the types") };
        let mut mode = Mode { from, ..Mode::new(What::Convert, to) };
        self.modify(i, &mut mode, modifiers)?;
        let kind = |ty: Type| if ty.bits() == 64 { Kind::D } else { Kind::W };
        let name = match (kind(to), kind(from)) {
            (Kind::D, Kind::D) => "~soft1.d",
            (Kind::D, _) => "~soft1.widen",
            (_, Kind::D) => "~soft1.narrow",
            _ => "~soft1.w",
        };
        let a = self.narrowed(i, a, kind(from))?;
        let mode = self.literal(mode.word() as u64, Kind::W);
        self.converted(i, name, kind(to), d, vec![0, a, mode])
    }

    /// `cvt.pack.sat.type.s32[.b32] d, a, b[, c]`: a and b, saturated, above the low bits of c.
    fn convert_and_pack(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let [_, _, _, ty, ..] = parts else { return unsupported(i, "it without a type") };
        let [d, a, b, below @ ..] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let c = match (below, parts.len()) {
            ([c], 6) => self.slot(i, c, Kind::W)?,
            ([], 5) => self.literal(0, Kind::W),
            _ => return unsupported(i, "these operands"),
        };
        let (d, a, b) = (self.slot(i, d, Kind::W)?, self.slot(i, a, Kind::W)?, self.slot(i, b, Kind::W)?);
        let bits: u64 = ty[1..].parse().unwrap_or(16);
        let (low, high) = match ty.as_bytes()[0] {
            b's' => (-1i64 << (bits - 1), (1 << (bits - 1)) - 1),
            _ => (0, (1 << bits) - 1),
        };
        let [low, high, mask, width] =
            [low as u32 as u64, high, (1 << bits) - 1, bits].map(|value| self.literal(value, Kind::W));
        let mut packed = c;
        for operand in [a, b] {
            let limited = self.derive(i, "max.s32", &[operand, low])?;
            let limited = self.derive(i, "min.s32", &[limited, high])?;
            let limited = self.derive(i, "and.b32", &[limited, mask])?;
            let shifted = self.derive(i, "shl.b32", &[packed, width])?;
            packed = self.derive(i, "or.b32", &[shifted, limited])?;
        }
        self.emit_row(i, "mov.b32", &[d, packed])
    }

    /// `cvt.rnd[.relu].f16x2.f32 d, a, b`: a becomes the upper half.
    fn convert_pair(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let ([_, modifiers @ .., to, _], [d, a, b]) = (parts, i.operands.as_slice()) else {
            return unsupported(i, "these operands");
        };
        let Some(to) = Type::of(to.trim_end_matches("x2")) else { return unsupported(i, "the type") };
        let mut mode = Mode { from: Type::F32, ..Mode::new(What::Convert, to) };
        self.modify(i, &mut mode, modifiers)?;
        let mode = self.literal(mode.word() as u64, Kind::W);
        let (d, a, b) = (self.slot(i, d, Kind::W)?, self.slot(i, a, Kind::W)?, self.slot(i, b, Kind::W)?);
        let [a, b] = [self.derive(i, "~soft1.w", &[a, mode])?, self.derive(i, "~soft1.w", &[b, mode])?];
        self.emit_row(i, "~pack.b32", &[d, b, a])
    }
}
