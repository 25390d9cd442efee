//! Arithmetic that is put together from several rows, or computed by `isa::soft`: PTX ISA 9.0, 9.7.1 to 9.7.4.

use super::{Decoder, Init, Result, unsupported};
use crate::ast::Instruction;
use crate::ir::{Code, Reg};
use crate::isa::soft::{Mode, Round, Type, What};
use crate::isa::{self, Form, Kind};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "add[.rn|.rz|.rm|.rp][.ftz][.sat].f32",
            "sub[.rn|.rz|.rm|.rp][.ftz][.sat].f32",
            "mul[.rn|.rz|.rm|.rp][.ftz][.sat].f32",
            "fma(.rn|.rz|.rm|.rp)[.ftz][.sat].f32",
            "mad(.rn|.rz|.rm|.rp)[.ftz][.sat].f32",
            "add[.rn|.rz|.rm|.rp].f64",
            "sub[.rn|.rz|.rm|.rp].f64",
            "mul[.rn|.rz|.rm|.rp].f64",
            "fma(.rn|.rz|.rm|.rp).f64",
            "mad(.rn|.rz|.rm|.rp).f64",
            "div(.rn|.rz|.rm|.rp)[.ftz].f32",
            "div(.rn|.rz|.rm|.rp).f64",
            "rcp(.rn|.rz|.rm|.rp)[.ftz].f32",
            "rcp(.rn|.rz|.rm|.rp)[.ftz].f64", // `.ftz` is about f32 and f16
            "sqrt(.rn|.rz|.rm|.rp)[.ftz].f32",
            "sqrt(.rn|.rz|.rm|.rp).f64",
            "add[.rn][.ftz][.sat](.f16|.f16x2)",
            "sub[.rn][.ftz][.sat](.f16|.f16x2)",
            "mul[.rn][.ftz][.sat](.f16|.f16x2)",
            "fma.rn[.ftz][.sat|.relu](.f16|.f16x2)",
            "fma.rn[.relu](.bf16|.bf16x2)",
            "min[.ftz][.NaN][.xorsign.abs](.f32|.f16|.f16x2)",
            "max[.ftz][.NaN][.xorsign.abs](.f32|.f16|.f16x2)",
            "min[.NaN][.xorsign.abs](.bf16|.bf16x2)",
            "max[.NaN][.xorsign.abs](.bf16|.bf16x2)",
        ],
        decode: |d, i, parts| d.float(i, parts),
    },
    Form { names: &["neg.ftz(.f16|.f16x2)", "abs.ftz(.f16|.f16x2)"], decode: |d, i, parts| d.flushed(i, parts) },
    Form {
        names: &[
            "add.cc(.u32|.s32|.u64|.s64)",
            "addc[.cc](.u32|.s32|.u64|.s64)",
            "sub.cc(.u32|.s32|.u64|.s64)",
            "subc[.cc](.u32|.s32|.u64|.s64)",
            "mad(.lo|.hi).cc(.u32|.s32|.u64|.s64)",
            "madc(.lo|.hi)[.cc](.u32|.s32|.u64|.s64)",
        ],
        decode: |d, i, parts| d.carry(i, parts),
    },
    Form {
        names: &[
            "slct(.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64).s32",
            "slct[.ftz](.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64).f32",
        ],
        decode: |d, i, parts| d.select_by_sign(i, parts),
    },
];

impl<'a> Decoder<'_, 'a> {
    /// A literal in a register.
    pub fn literal(&mut self, value: u64, kind: Kind) -> Reg {
        self.constant_slot(Init::Bits(value), kind)
    }

    /// Adds the row of that name over registers, destination first.
    pub fn emit_row(&mut self, i: &Instruction, name: &str, regs: &[Reg]) -> Result<()> {
        let Some(row) = isa::row(name) else { return unsupported(i, name) };
        let mut s = [0; 5];
        s[..regs.len()].copy_from_slice(regs);
        self.emit(i, Code::Row(row), s, 0);
        Ok(())
    }

    /// The result of a row in a register of its own; never guarded, since nobody sees it.
    pub fn derive(&mut self, i: &Instruction, name: &str, sources: &[Reg]) -> Result<Reg> {
        let Some(row) = isa::row(name) else { return unsupported(i, name) };
        let to = self.new_slot(row.kinds[0]);
        let regs: Vec<Reg> = std::iter::once(to).chain(sources.iter().copied()).collect();
        self.emit_row(&Instruction { guard: None, ..i.clone() }, name, &regs)?;
        Ok(to)
    }

    /// `op[.rnd][.ftz][.sat][.relu][.NaN][.xorsign.abs].type`.
    fn float(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let Some((ty, modifiers)) = parts[1..].split_last() else { return unsupported(i, "it without a type") };
        let pair = ty.ends_with("x2");
        let Some(ty) = Type::of(ty.trim_end_matches("x2")) else { return unsupported(i, "the type") };
        let what = match parts[0] {
            "add" => What::Add,
            "sub" => What::Sub,
            "mul" => What::Mul,
            "fma" | "mad" => What::Fma,
            "div" | "rcp" => What::Div,
            "sqrt" => What::Sqrt,
            "min" => What::Min,
            _ => What::Max,
        };
        let mut mode = Mode { pair, ..Mode::new(what, ty) };
        self.modify(i, &mut mode, modifiers)?;
        let kind = if ty == Type::F64 { Kind::D } else { Kind::W };
        let one = match kind {
            Kind::D => 1f64.to_bits(),
            _ => 1f32.to_bits() as u64,
        };
        let mut sources = if parts[0] == "rcp" { vec![self.literal(one, kind)] } else { Vec::new() };
        let [d, operands @ ..] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        for operand in operands {
            sources.push(self.slot(i, operand, kind)?);
        }
        let expected = match what {
            What::Fma => 3,
            What::Sqrt => 1,
            _ => 2,
        };
        if sources.len() != expected {
            return unsupported(i, "these operands");
        }
        let d = self.slot(i, d, kind)?;
        let suffix = if kind == Kind::D { "d" } else { "w" };
        sources.push(self.literal(mode.word() as u64, Kind::W));
        let regs: Vec<Reg> = std::iter::once(d).chain(sources).collect();
        self.emit_row(i, &format!("~soft{expected}.{suffix}"), &regs)
    }

    /// Reads modifiers into a mode.
    pub fn modify(&mut self, i: &Instruction, mode: &mut Mode, modifiers: &[&str]) -> Result<()> {
        for modifier in modifiers {
            match *modifier {
                "ftz" => mode.ftz = true,
                "sat" => mode.sat = true,
                "relu" => mode.relu = true,
                "NaN" => mode.nan = true,
                "xorsign" => mode.xorsign = true,
                "satfinite" => mode.satfinite = true,
                "abs" => {}
                round => match Round::of(round) {
                    Some(round) => mode.round = round,
                    None => return unsupported(i, &format!("`.{round}`")),
                },
            }
        }
        Ok(())
    }

    /// `neg.ftz` and `abs.ftz` of halves.
    fn flushed(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let [d, a] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let mode = Mode { ftz: true, pair: parts[2] == "f16x2", ..Mode::new(What::Convert, Type::F16) };
        let (d, a) = (self.slot(i, d, Kind::W)?, self.slot(i, a, Kind::W)?);
        let mode = self.literal(mode.word() as u64, Kind::W);
        let clean = self.derive(i, "~soft1.w", &[a, mode])?;
        self.emit_row(i, &format!("{}.f16x2", parts[0]), &[d, clean])
    }

    /// The carry flag, a predicate of the kernel.
    fn flag(&mut self) -> Reg {
        if let Some(flag) = self.carry_flag {
            return flag;
        }
        let flag = self.new_slot(Kind::P);
        self.carry_flag = Some(flag);
        flag
    }

    /// `add.cc` and its like: PTX ISA 9.0, 9.7.2. A subtraction adds the complement, and its carry is that of this sum,
    /// set where nothing was borrowed: the ISA leaves the flag's sense open, but the 128-bit division that nvcc writes
    /// goes on from `subc.cc` with `addc`.
    fn carry(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let ty = parts[parts.len() - 1];
        let (kind, width) = if ty.ends_with("64") { (Kind::D, "64") } else { (Kind::W, "32") };
        let (takes, gives) = (parts[0].ends_with('c'), parts.contains(&"cc"));
        let Some((d, sources)) = i.operands.split_first() else { return unsupported(i, "these operands") };
        let mut sources = sources.iter().map(|s| self.slot(i, s, kind)).collect::<Result<Vec<Reg>>>()?;
        let d = self.slot(i, d, kind)?;
        if parts[0].starts_with("mad") && sources.len() == 3 {
            let product = self.derive(i, &format!("mul.{}.{ty}", parts[1]), &sources[..2])?;
            sources = vec![product, sources[2]];
        }
        let [a, b] = sources[..] else { return unsupported(i, "these operands") };
        let op = if parts[0].starts_with("sub") { "sub" } else { "add" };
        let flag = self.flag();
        let taken = if takes { flag } else { self.literal((op == "sub") as u64, Kind::P) };
        // The flag is found before the destination, which may be a source, is written.
        let given = gives.then(|| self.derive(i, &format!("~carry.{op}.{width}"), &[a, b, taken])).transpose()?;
        self.emit_row(i, &format!("~{op}c.{width}"), &[d, a, b, taken])?;
        match given {
            Some(given) => self.emit_row(i, "mov.pred", &[flag, given]),
            None => Ok(()),
        }
    }

    /// `slct d, a, b, c`: a if c ≥ 0, else b (also where c is NaN; −0 counts as 0).
    fn select_by_sign(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let [d, a, b, c] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let (ty, by) = (parts[parts.len() - 2], parts[parts.len() - 1]);
        let kind = if ty.ends_with("64") { Kind::D } else { Kind::W };
        let (d, a, b) = (self.slot(i, d, kind)?, self.slot(i, a, kind)?, self.slot(i, b, kind)?);
        let mut c = self.slot(i, c, Kind::W)?;
        if parts.contains(&"ftz") {
            c = self.derive(i, "~flush.f32", &[c])?;
        }
        let zero = self.literal(0, Kind::W);
        let p = self.derive(i, &format!("setp.ge.{by}"), &[c, zero])?;
        self.emit_row(i, if kind == Kind::D { "selp.b64" } else { "selp.b32" }, &[d, a, b, p])
    }
}
