//! Loads and stores: PTX ISA 9.0, 9.7.9.8 to 9.7.9.13. Caches are not modelled: cache operators, eviction priorities,
//! prefetch sizes and cache policies are read and have no effect.

use super::{Decoder, Init, Result, unsupported};
use crate::ast::{Class, Instruction, Operand};
use crate::exec::access;
use crate::exec::mem::{self, GENERIC, GLOBAL, SHARED, WRITE};
use crate::ir::{Access, Code, More, Reg};
use crate::isa::{self, Form, Kind};
use crate::memory::{CONST_WINDOW, PARAM_WINDOW};

macro_rules! types {
    () => {
        "[.v2|.v4|.v8](.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64)"
    };
}
macro_rules! scalars {
    () => {
        "(.b8|.u8|.s8|.b16|.u16|.s16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64|.b128)"
    };
}
/// Each opcode with every type; `.b128` has no vectors.
macro_rules! of_all_types {
    ($([$($head:expr),+])*) => {
        &[$(concat!($($head,)+ types!()), concat!($($head,)+ ".b128")),*]
    };
}
macro_rules! priority {
    () => {
        "(.L1::evict_normal|.L1::evict_unchanged|.L1::evict_first|.L1::evict_last|.L1::no_allocate)"
    };
}
macro_rules! sizes {
    () => {
        "[.L2::64B|.L2::128B|.L2::256B]"
    };
}
macro_rules! scopes {
    () => {
        "(.cta|.cluster|.gpu|.sys)"
    };
}
macro_rules! shareable {
    () => {
        "[.global|.shared|.shared::cta|.shared::cluster]"
    };
}

const LOAD: Form = Form {
    names: of_all_types! {
        [
            "ld[.weak][.global|.shared|.shared::cta|.shared::cluster|.local|.const|.param|.param::entry|.param::func]",
            "[.ca|.cg|.cs|.lu|.cv]"
        ]
        ["ld[.weak][.global](.ca|.cg|.cs|.lu|.cv)(.L2::64B|.L2::128B|.L2::256B)"]
        ["ld[.weak][.global](.L2::64B|.L2::128B|.L2::256B)"]
        ["ld[.weak][.global][.ca|.cg|.cs|.lu|.cv].L2::cache_hint", sizes!()]
        ["ld[.weak][.global]", priority!(), "[.L2::cache_hint]", sizes!()]
        ["ld.global[.ca|.cg|.cs].nc[.L2::cache_hint]", sizes!()]
        ["ld.global.nc", priority!(), "[.L2::cache_hint]", sizes!()]
        ["ld.global", priority!(), ".nc[.L2::cache_hint]", sizes!()]
        ["ld.volatile[.global|.shared|.shared::cta|.shared::cluster|.local|.const|.param]", sizes!()]
        ["ld(.relaxed|.acquire)", scopes!(), shareable!()]
        ["ld(.relaxed|.acquire)", scopes!(), "[.global](.L2::64B|.L2::128B|.L2::256B)"]
        ["ld(.relaxed|.acquire)", scopes!(), "[.global]", priority!(), "[.L2::cache_hint]", sizes!()]
        ["ld(.relaxed|.acquire)", scopes!(), "[.global].L2::cache_hint", sizes!()]
        ["ldu[.global]"]
    },
    decode: |d, i, parts| d.memory(i, &parts[1..], true),
};

const STORE: Form = Form {
    names: of_all_types! {
        ["st[.weak][.global|.shared|.shared::cta|.shared::cluster|.local][.wb|.cg|.cs|.wt]"]
        ["st[.weak][.global][.wb|.cg|.cs|.wt].L2::cache_hint"]
        ["st[.weak][.global]", priority!(), "[.L2::cache_hint]"]
        ["st.volatile[.global|.shared|.shared::cta|.shared::cluster|.local]"]
        ["st(.relaxed|.release)", scopes!(), shareable!()]
        ["st(.relaxed|.release)", scopes!(), "[.global]", priority!(), "[.L2::cache_hint]"]
        ["st(.relaxed|.release)", scopes!(), "[.global].L2::cache_hint"]
    },
    decode: |d, i, parts| d.memory(i, &parts[1..], false),
};

pub static FORMS: &[Form] = &[
    LOAD,
    STORE,
    // Of memory that a device maps: scalars alone.
    Form {
        names: &[concat!("ld.mmio.relaxed.sys[.global]", scalars!())],
        decode: |d, i, parts| d.memory(i, &parts[1..], true),
    },
    Form {
        names: &[concat!("st.mmio.relaxed.sys[.global]", scalars!())],
        decode: |d, i, parts| d.memory(i, &parts[1..], false),
    },
];

/// An address operand: its base register, whether that has 64 bits, a constant to add, and the space as `exec::mem`
/// numbers them.
#[derive(Clone, Copy)]
pub struct Place {
    pub base: Reg,
    pub wide: bool,
    pub offset: i32,
    pub space: u8,
}

/// A double, and the word that it is extended from.
type Extended = (Reg, Reg);

/// What an opcode's modifiers say about an access.
struct Modifiers<'a> {
    space: &'a str,
    v: usize,
    strong: bool,
    order: access::Order,
    policy: bool,
}

impl<'a> Modifiers<'a> {
    fn read(parts: &[&'a str]) -> Modifiers<'a> {
        let mut m = Modifiers { space: "", v: 1, strong: false, order: access::Order::Relaxed, policy: false };
        for &part in parts {
            match part {
                "v2" | "v4" | "v8" => m.v = (part.as_bytes()[1] - b'0') as usize,
                "volatile" | "relaxed" => m.strong = true,
                "acquire" | "release" => (m.strong, m.order) = (true, access::Order::AcquireRelease),
                "L2::cache_hint" => m.policy = true,
                _ if mem::space(part, false).is_some() => m.space = part,
                _ => {}
            }
        }
        m
    }
}

impl<'a> Decoder<'_, 'a> {
    /// Adds the row of that name over slots.
    pub fn step(&mut self, i: &Instruction, name: &str, s: [Reg; 5]) -> Result<()> {
        let Some(row) = isa::row(name) else { return unsupported(i, name) };
        self.emit(i, Code::Row(row), s, 0);
        Ok(())
    }

    /// As [`Decoder::slot`] for a value of `kind` to be read, from a register that may be wider.
    pub fn narrowed(&mut self, i: &Instruction, operand: &Operand, kind: Kind) -> Result<Reg> {
        let is_double = matches!(operand, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Double);
        if kind != Kind::W || !is_double {
            return self.slot(i, operand, kind);
        }
        let (wide, narrow) = (self.slot(i, operand, Kind::D)?, self.new_slot(Kind::W));
        self.step(i, "cvt.u32.u64", [narrow, wide, 0, 0, 0])?;
        Ok(narrow)
    }

    /// A register's value as 64 bits; a 32-bit one is extended with zeros (PTX ISA 9.0, 6.4.1).
    pub fn widened(&mut self, i: &Instruction, operand: &Operand) -> Result<Reg> {
        let is_word = matches!(operand, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Word);
        if !is_word {
            return self.slot(i, operand, Kind::D);
        }
        let (narrow, wide) = (self.slot(i, operand, Kind::W)?, self.new_slot(Kind::D));
        self.step(i, "cvt.u64.u32", [wide, narrow, 0, 0, 0])?;
        Ok(wide)
    }

    /// The place that an address operand names in the space of that PTX name (`""`: generic). Constants and parameters
    /// are read through their generic windows. With `wide`, the base has 64 bits.
    pub fn place(&mut self, i: &Instruction, operand: &Operand, space: &str, write: bool, wide: bool) -> Result<Place> {
        let Operand::Address { base, offset } = operand else { return unsupported(i, "this address") };
        let Some(number) = mem::space(space, write) else { return unsupported(i, &format!("`.{space}`")) };
        let (kind_of_space, window) = match space {
            "const" => ("const", CONST_WINDOW),
            _ if space.starts_with("param") => ("param", PARAM_WINDOW),
            _ if space.starts_with("shared") => ("shared", 0),
            "" => ("global", 0), // a generic address is one of global memory
            _ => (space, 0),
        };
        let (offset, mut base) = match &**base {
            Operand::Symbol(name) => {
                match self.addresses.get(name) {
                    Some((_, lies)) if *lies != kind_of_space => {
                        return unsupported(i, &format!("`{name}` here: it lies in `.{lies}`"));
                    }
                    _ => {}
                }
                let Some(init) = self.address_of(name) else {
                    return unsupported(
                        i,
                        &format!("`{name}`: the module does not define it (softgpu links no modules)"),
                    );
                };
                (*offset, Place { base: self.constant_slot(init, Kind::D), wide: true, offset: 0, space: number })
            }
            register @ Operand::Register(r)
                if self.kernel.registers[*r].0 == Class::Word && !wide && number == SHARED =>
            {
                (*offset, Place { base: self.slot(i, register, Kind::W)?, wide: false, offset: 0, space: number })
            }
            // A function's parameters, and those that it passes, lie in local memory.
            Operand::Variable(index)
                if !matches!(
                    (&self.kernel.variables[*index].space[1..], kind_of_space),
                    (lies, space) if lies == space || (lies, space) == ("param", "local")
                ) =>
            {
                let v = &self.kernel.variables[*index];
                return unsupported(i, &format!("`{}` here: it lies in `{}`", v.name, v.space));
            }
            other => (*offset, Place { base: self.widened(i, other)?, wide: true, offset: 0, space: number }),
        };
        let beyond = i32::try_from(offset).is_err();
        if beyond && !base.wide {
            let wide = self.new_slot(Kind::D);
            self.step(i, "cvt.u64.u32", [wide, base.base, 0, 0, 0])?;
            base = Place { base: wide, wide: true, ..base };
        }
        let more = window.wrapping_add(if beyond { offset as u64 } else { 0 });
        if more != 0 {
            let sum = match self.registers[base.base as usize].init {
                Some(Init::Bits(at)) => self.constant_slot(Init::Bits(at.wrapping_add(more)), Kind::D),
                _ => {
                    let (sum, more) = (self.new_slot(Kind::D), self.constant_slot(Init::Bits(more), Kind::D));
                    self.step(i, "add.u64", [sum, base.base, more, 0, 0])?;
                    sum
                }
            };
            base.base = sum;
        }
        base.offset = if beyond { 0 } else { offset as i32 };
        Ok(base)
    }

    /// The registers of the values of an access, and those that are loaded beside wider ones.
    fn values(
        &mut self,
        i: &Instruction<'a>,
        values: &[Operand<'a>],
        ty: &str,
        load: bool,
    ) -> Result<(Vec<Reg>, Vec<Extended>)> {
        let (mut registers, mut extended) = (Vec::new(), Vec::new());
        for value in values {
            let is_double = matches!(value, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Double);
            if !load {
                registers.push(self.narrowed(i, value, mem::kind_of(ty))?);
            } else if is_double && mem::kind_of(ty) == Kind::W {
                // A register may be wider than the value: PTX ISA 9.0, 9.4.1. Loaded beside it, then extended.
                registers.push(self.new_slot(Kind::W));
                extended.push((self.slot(i, value, Kind::D)?, registers[registers.len() - 1]));
            } else {
                registers.push(self.destination(i, value, mem::kind_of(ty))?);
            }
        }
        Ok((registers, extended))
    }

    /// `ld` and `st`.
    pub fn memory(&mut self, i: &Instruction<'a>, parts: &[&str], load: bool) -> Result<()> {
        let Some((ty, modifiers)) = parts.split_last() else { return unsupported(i, "an access without a type") };
        let mut m = Modifiers::read(modifiers);
        if m.space.starts_with("param") {
            if self.promoted(i, load)? {
                return Ok(());
            }
            // A function's own parameters and those that it passes lie in local memory.
            let kernels = |base: &Operand| self.calls.current.is_none() && !matches!(base, Operand::Variable(_));
            let own = |o: &Operand| matches!(o, Operand::Address { base, .. } if !kernels(base));
            if !load || i.operands.iter().any(own) {
                m.space = "local";
            }
        }
        let operands = match i.operands.as_slice() {
            [rest @ .., policy] if m.policy => {
                self.slot(i, policy, Kind::D)?;
                rest
            }
            all => all,
        };
        let (value, address) = match operands {
            [value, address] if load => (value, address),
            [address, value] => (value, address),
            _ => return unsupported(i, "these operands"),
        };
        // 128 bits lie in two doubles, and are accessed as two are, but as one.
        let whole = *ty == "b128";
        let count = if whole { 2 } else { m.v };
        let Some(ty) = mem::known(if whole { "b64" } else { ty }, count) else {
            return unsupported(i, "this access (at most 16 bytes)");
        };
        // A block is run by one thread of the host: only what other blocks see needs its atomics.
        let space = mem::space(m.space, !load);
        let shared = matches!(space, Some(GLOBAL | GENERIC | WRITE));
        let at_run_time = m.strong && shared || count == 8;
        let place = self.place(i, address, m.space, !load, at_run_time)?;
        let (mut registers, extended) = match value {
            quad if whole => (self.halves(i, quad, load)?.to_vec(), Vec::new()),
            Operand::Vector(parts) if parts.len() == count => self.values(i, parts, ty, load)?,
            one if count == 1 => self.values(i, std::slice::from_ref(one), ty, load)?,
            _ => return unsupported(i, "this number of values"),
        };
        if at_run_time {
            let imms = vec![
                place.space as i64,
                mem::bytes_of(ty) as i64,
                ty.starts_with('s') as i64,
                place.offset as i64,
                m.order as i64,
                m.strong as i64,
                whole as i64,
            ];
            match load {
                true => {
                    self.emit_wide(i, access::load(m.strong), More { defs: registers, uses: vec![place.base], imms })
                }
                false => {
                    registers.insert(0, place.base);
                    self.emit_wide(i, &access::STORE, More { defs: vec![], uses: registers, imms });
                }
            }
        } else {
            registers.resize(4, 0);
            let access = Access { ty, v: count, space: place.space.min(GENERIC), wide: place.wide, strong: m.strong };
            let code = if load { Code::Load(access) } else { Code::Store(access) };
            let [first, second, third, fourth] = [registers[0], registers[1], registers[2], registers[3]];
            self.emit(i, code, [first, place.base, second, third, fourth], place.offset as u32);
        }
        let extend = if ty.starts_with('s') { "cvt.s64.s32" } else { "cvt.u64.u32" };
        for (wide, narrow) in extended {
            self.step(i, extend, [wide, narrow, 0, 0, 0])?;
        }
        Ok(())
    }
}

/// The spaces whose addresses are offsets, and the windows of the generic space that they are.
pub fn window(space: &str) -> Option<u64> {
    use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};
    Some(match space {
        "global" => 0,
        "shared" | "shared::cta" | "shared::cluster" => SHARED_WINDOW,
        "local" => LOCAL_WINDOW,
        "const" => CONST_WINDOW,
        "param" | "param::entry" => PARAM_WINDOW,
        _ => return None,
    })
}
