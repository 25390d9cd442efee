//! Kernels to [`Ir`]: names to registers, labels to indices, opcodes to codes.
//!
//! Literals, parameters and special registers become registers that are filled once per launch (or block), and a
//! register that is only ever a copy of one of those, or of another register, is not copied at all.

use std::collections::HashMap;

use crate::LoadError;
use crate::ast::{Class, Instruction, Kernel, Module, Operand, Register, Variable};
use crate::exec::{mem, warp};
use crate::ir::{self, Access, Code, Inst, Ir, Reg};
use crate::isa::{Kind, ROWS, find};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};
use crate::parse::type_bytes;

type Result<T> = std::result::Result<T, LoadError>;

/// A decoded kernel.
pub struct Decoded {
    pub name: String,
    pub ir: Ir,
    /// Where the instructions come from.
    pub places: Vec<Place>,
    /// (offset, bytes) in the parameter space.
    pub parameters: Vec<(usize, usize)>,
    pub shared_bytes: usize,
    pub local_bytes: usize,
}

#[derive(Clone)]
pub struct Place {
    pub line: u32,
    pub source: Option<(String, u32)>,
    pub text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Init {
    Bits(u64),
    Param { offset: usize, bytes: usize },
    Special(Special),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Special {
    Thread(usize),
    Block(usize),
    Threads(usize),
    Blocks(usize),
    Lane,
    Warp,
}

/// What a register is a mere copy of.
#[derive(Clone, Copy)]
enum Source {
    Constant(Init),
    Register(Register),
}

struct Decoder<'m, 'a> {
    module: &'m Module<'a>,
    kernel: &'m Kernel<'a>,
    aliases: HashMap<Register, Source>,
    slot_of: HashMap<Register, Reg>,
    constants: HashMap<(Init, Kind2), Reg>,
    registers: Vec<ir::Register>,
    addresses: HashMap<&'a str, u64>,
    insts: Vec<Inst>,
    places: Vec<Place>,
    /// Index of what each PTX instruction became; branches are patched with it at the end.
    starts: Vec<u32>,
}

/// `Kind` as a key.
type Kind2 = u8;

/// Decodes one kernel. Errors name the first instruction that softgpu cannot run.
pub fn decode(module: &Module, kernel: &Kernel) -> Result<Decoded> {
    let mut d = Decoder {
        module,
        kernel,
        aliases: HashMap::new(),
        slot_of: HashMap::new(),
        constants: HashMap::new(),
        registers: Vec::new(),
        addresses: HashMap::new(),
        insts: Vec::new(),
        places: Vec::new(),
        starts: Vec::new(),
    };
    let is_shared = |v: &&Variable| v.space == ".shared";
    let shared = kernel.variables.iter().chain(&module.variables).filter(is_shared);
    let shared_bytes = d.lay_out(shared);
    let local_bytes = d.lay_out(kernel.variables.iter().filter(|v| v.space == ".local"));
    d.find_aliases();
    for instruction in &kernel.body {
        d.starts.push(d.insts.len() as u32);
        d.instruction(instruction)?;
    }
    d.starts.push(d.insts.len() as u32);
    let end = Instruction { opcode: "ret", guard: None, operands: vec![], line: 0, source: None };
    d.instruction(&end)?;
    for inst in d.insts.iter_mut().filter(|inst| inst.code == Code::Branch) {
        inst.imm = d.starts[inst.imm as usize];
    }
    let parameters = kernel.parameters.iter().map(|p| (p.offset, p.bytes)).collect();
    Ok(Decoded {
        name: kernel.name.to_string(),
        ir: Ir { registers: d.registers, insts: d.insts },
        places: d.places,
        parameters,
        shared_bytes,
        local_bytes: local_bytes.next_multiple_of(16),
    })
}

/// Instructions whose first operand is not a destination.
fn writes_nothing(opcode: &str) -> bool {
    let word = opcode.split('.').next().unwrap_or_default();
    matches!(word, "st" | "bra" | "ret" | "exit" | "bar" | "barrier" | "membar" | "fence" | "prefetch" | "trap")
}

fn destinations(operand: &Operand, out: &mut Vec<Register>) {
    match operand {
        Operand::Register(r) => out.push(*r),
        Operand::Vector(parts) => parts.iter().for_each(|p| destinations(p, out)),
        Operand::Pair(a, b) => {
            destinations(a, out);
            destinations(b, out);
        }
        _ => {}
    }
}

fn kind_of_class(class: Class) -> Kind {
    match class {
        Class::Predicate => Kind::P,
        Class::Word => Kind::W,
        Class::Double => Kind::D,
    }
}

impl<'m, 'a> Decoder<'m, 'a> {
    /// Addresses of the variables of one space; its size. A variable sized by the launch comes after all others.
    fn lay_out(&mut self, variables: impl Iterator<Item = &'m Variable<'a>> + Clone) -> usize
    where
        'a: 'm,
    {
        let mut end = 0;
        for v in variables.clone().filter(|v| !v.external) {
            let at = usize::next_multiple_of(end, v.align);
            self.addresses.insert(v.name, at as u64);
            end = at + v.bytes;
        }
        for v in variables.filter(|v| v.external) {
            end = end.next_multiple_of(16);
            self.addresses.insert(v.name, end as u64);
        }
        end
    }

    fn find_aliases(&mut self) {
        let mut writes: HashMap<Register, usize> = HashMap::new();
        let mut found = Vec::new();
        for i in self.kernel.body.iter().filter(|i| !writes_nothing(i.opcode)) {
            found.clear();
            i.operands.first().into_iter().for_each(|o| destinations(o, &mut found));
            found.iter().for_each(|r| *writes.entry(*r).or_default() += 1);
        }
        for i in self.kernel.body.iter().filter(|i| i.guard.is_none()) {
            let [Operand::Register(to), from] = i.operands.as_slice() else { continue };
            let class = self.kernel.registers[*to].0;
            if writes.get(to) != Some(&1) || class == Class::Predicate {
                continue;
            }
            let source = match from {
                Operand::Register(r) if i.opcode.starts_with("mov.") || i.opcode.starts_with("cvta.to.global") => {
                    let same = self.kernel.registers[*r].0 == class;
                    (same && writes.get(r) == Some(&1)).then_some(Source::Register(*r))
                }
                Operand::Address { base, offset } if i.opcode.starts_with("ld.param.") => {
                    self.parameter(i, base, *offset).map(Source::Constant)
                }
                other if i.opcode.starts_with("mov.") => self.constant(other).map(Source::Constant),
                _ => None,
            };
            if let Some(source) = source {
                self.aliases.insert(*to, source);
            }
        }
    }

    /// A scalar `ld.param` as a constant; signed and vector loads are not folded.
    fn parameter(&self, i: &Instruction, base: &Operand, offset: i64) -> Option<Init> {
        let Operand::Symbol(name) = base else { return None };
        let ty = i.opcode.strip_prefix("ld.param.")?;
        let p = self.kernel.parameters.iter().find(|p| p.name == *name)?;
        let bytes = type_bytes(ty).filter(|&n| !(ty.starts_with('s') && n < 4))?;
        let at = usize::try_from(offset).ok().filter(|at| at + bytes <= p.bytes)?;
        Some(Init::Param { offset: p.offset + at, bytes })
    }

    fn constant(&self, operand: &Operand) -> Option<Init> {
        Some(match operand {
            Operand::Integer(v) => Init::Bits(*v as u64),
            Operand::Float32(bits) => Init::Bits(*bits as u64),
            Operand::Float64(bits) => Init::Bits(*bits),
            Operand::Symbol(name) => match special(name) {
                Some(s) => Init::Special(s),
                None if *name == "WARP_SZ" => Init::Bits(32),
                None => Init::Bits(*self.addresses.get(name)?),
            },
            _ => return None,
        })
    }

    fn constant_slot(&mut self, init: Init, kind: Kind) -> Reg {
        if let Some(slot) = self.constants.get(&(init, kind as Kind2)) {
            return *slot;
        }
        let slot = self.new_slot(kind);
        self.constants.insert((init, kind as Kind2), slot);
        self.registers[slot as usize].init = Some(init);
        slot
    }

    fn new_slot(&mut self, kind: Kind) -> Reg {
        self.registers.push(ir::Register { kind, init: None });
        self.registers.len() as Reg - 1
    }

    fn register_slot(&mut self, register: Register) -> Reg {
        if let Some(slot) = self.slot_of.get(&register) {
            return *slot;
        }
        let kind = kind_of_class(self.kernel.registers[register].0);
        let slot = match self.aliases.get(&register).copied() {
            Some(Source::Register(from)) => self.register_slot(from),
            Some(Source::Constant(init)) => self.constant_slot(init, kind),
            None => self.new_slot(kind),
        };
        self.slot_of.insert(register, slot);
        slot
    }

    /// The slot of a source operand of `kind`. A predicate constant has its own.
    fn slot(&mut self, i: &Instruction, operand: &Operand, kind: Kind) -> Result<Reg> {
        if let Operand::Register(r) = operand {
            let (class, name) = &self.kernel.registers[*r];
            if kind_of_class(*class) != kind {
                return unsupported(i, &format!("`{name}` has another width than the instruction"));
            }
            return Ok(self.register_slot(*r));
        }
        match self.constant(operand) {
            Some(init) => Ok(self.constant_slot(init, kind)),
            None => unsupported(i, &format!("the operand {operand:?}")),
        }
    }

    fn emit(&mut self, i: &Instruction, code: Code, s: [Reg; 5], imm: u32) {
        let guard = i.guard.map(|(register, negated)| (self.register_slot(register), negated));
        self.insts.push(Inst { code, s, imm, guard, place: self.places.len() as u32 });
        let source = i.source.map(|(file, line)| {
            let name = self.module.files.get(&file).map_or("?", |path| short(path));
            (name.to_string(), line)
        });
        let text = format!("{}{}", if i.guard.is_some() { "@p " } else { "" }, i.opcode);
        self.places.push(Place { line: i.line, source, text });
    }

    /// An arithmetic row by its canonical name.
    fn row(&mut self, i: &Instruction, name: &str, operands: &[&Operand]) -> Result<()> {
        let Some(at) = find(name) else {
            return unsupported(i, "the instruction");
        };
        let row = &ROWS[at];
        if row.kinds.len() != operands.len() {
            return unsupported(i, &format!("{} operands (it takes {})", operands.len(), row.kinds.len()));
        }
        let mut s = [0; 5];
        for (field, (operand, kind)) in operands.iter().zip(row.kinds).enumerate() {
            s[field] = self.slot(i, operand, *kind)?;
        }
        self.emit(i, Code::Row(at), s, 0);
        Ok(())
    }

    fn instruction(&mut self, i: &Instruction<'a>) -> Result<()> {
        let parts: Vec<&str> = i.opcode.split('.').collect();
        if let ("bra", Some(Operand::Symbol(label))) = (parts[0], i.operands.first()) {
            let Some(&target) = self.kernel.labels.get(label) else {
                return unsupported(i, &format!("the label `{label}`, which is nowhere"));
            };
            self.emit(i, Code::Branch, [0; 5], target as u32);
            return Ok(());
        }
        if let [Operand::Register(to), ..] = i.operands.as_slice()
            && !writes_nothing(i.opcode)
            && self.aliases.contains_key(to)
        {
            return Ok(());
        }
        let operands: Vec<&Operand> = i.operands.iter().collect();
        match parts.as_slice() {
            ["ret"] | ["exit"] => self.emit(i, Code::Exit, [0; 5], 0),
            ["bar", "sync"] | ["barrier", "sync", ..] | ["bar", "cta", "sync"] => {
                if i.operands != [Operand::Integer(0)] {
                    return unsupported(i, "a barrier other than 0, or one that counts threads,");
                }
                if i.guard.is_some() {
                    return unsupported(i, "a barrier under a guard");
                }
                self.emit(i, Code::Barrier, [0; 5], 0);
            }
            ["bar", "warp", "sync"] | ["membar", ..] | ["fence", ..] => {
                self.emit(i, Code::Nothing, [0; 5], 0);
            }
            ["ld", rest @ ..] => return self.memory(i, rest, true),
            ["st", rest @ ..] => return self.memory(i, rest, false),
            ["cvta", "to", ..] | ["cvta", ..] => return self.convert_address(i, &parts),
            ["shfl", "sync", mode, "b32"] => return self.shuffle(i, mode),
            ["vote", "sync", mode, _] => return self.vote(i, mode),
            ["lop3", "b32"] | ["prmt", "b32"] => return self.bitwise(i, parts[0] == "lop3"),
            ["setp", ..] => return self.compare(i, &parts),
            ["mov", "b64"] | ["mov", "b32"] if i.operands.iter().any(|o| matches!(o, Operand::Vector(_))) => {
                return self.pack(i);
            }
            _ => return self.row(i, &canonical(i.opcode), &operands),
        }
        Ok(())
    }

    /// `ld` and `st`: `[.volatile|.relaxed.scope] .space [.cache…] [.v2|.v4] .type`.
    fn memory(&mut self, i: &Instruction, parts: &[&str], load: bool) -> Result<()> {
        let (mut space, mut v) = (mem::GENERIC, 1);
        let Some((ty, modifiers)) = parts.split_last() else { return unsupported(i, "an access without a type") };
        for part in modifiers {
            match *part {
                "global" => space = mem::GLOBAL,
                "shared" => space = mem::SHARED,
                "local" => space = mem::LOCAL,
                "v2" => v = 2,
                "v4" => v = 4,
                "nc" | "ca" | "cg" | "cs" | "wt" | "wb" | "volatile" | "L1::no_allocate" => {}
                other => return unsupported(i, &format!("`.{other}`")),
            }
        }
        let (value, address) = match i.operands.as_slice() {
            [value, address] if load => (value, address),
            [address, value] => (value, address),
            _ => return unsupported(i, "these operands"),
        };
        let Operand::Address { base, offset } = address else { return unsupported(i, "this address") };
        let wide = match &**base {
            Operand::Register(r) => self.kernel.registers[*r].0 == Class::Double,
            _ => true,
        };
        if !wide && space != mem::SHARED {
            return unsupported(i, "a 32-bit address outside shared memory");
        }
        let values: Vec<&Operand> = match value {
            Operand::Vector(parts) => parts.iter().collect(),
            one => vec![one],
        };
        let Some(ty) = mem::known(ty, v).filter(|_| values.len() == v) else {
            return unsupported(i, "this access");
        };
        let (mut s, mut widened) = ([0; 4], Vec::new());
        for (at, value) in values.into_iter().enumerate() {
            let is_double = matches!(value, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Double);
            if load && is_double && mem::kind_of(ty) == Kind::W {
                // A register may be wider than the value: PTX ISA 9.0, 9.4.1. Loaded beside it, then extended.
                s[at] = self.new_slot(Kind::W);
                widened.push((self.slot(i, value, Kind::D)?, s[at]));
            } else {
                s[at] = self.slot(i, value, mem::kind_of(ty))?;
            }
        }
        let a = self.slot(i, base, if wide { Kind::D } else { Kind::W })?;
        let Ok(offset) = i32::try_from(*offset) else { return unsupported(i, "an offset beyond 31 bits") };
        let access = Access { ty, v, space, wide };
        let code = if load { Code::Load(access) } else { Code::Store(access) };
        self.emit(i, code, [s[0], a, s[1], s[2], s[3]], offset as u32);
        let extend = if ty.starts_with('s') { "cvt.s64.s32" } else { "cvt.u64.u32" };
        for (wide, narrow) in widened {
            let Some(row) = find(extend) else { return unsupported(i, extend) };
            self.emit(i, Code::Row(row), [wide, narrow, 0, 0, 0], 0);
        }
        Ok(())
    }

    fn convert_address(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let to = parts[1] == "to";
        let window = match parts[1 + to as usize] {
            "global" => 0,
            "shared" => SHARED_WINDOW,
            "local" => LOCAL_WINDOW,
            other => return unsupported(i, &format!("the space `{other}`")),
        };
        let window = Operand::Integer(window as i64);
        let name = if to { "sub.u64" } else { "add.u64" };
        let [d, a] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        self.row(i, name, &[d, a, &window])
    }

    fn shuffle(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, a, b, c, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = warp::shuffle_mode(mode) else { return unsupported(i, "this mode") };
        let (d, p) = match d {
            Operand::Pair(d, p) => (&**d, Some(&**p)),
            d => (d, None),
        };
        let mut s = [0; 5];
        for (at, operand) in [d, a, b, c, members].into_iter().enumerate() {
            s[at] = self.slot(i, operand, Kind::W)?;
        }
        let imm = p.map(|p| self.slot(i, p, Kind::P)).transpose()?.map_or(0, |slot| slot + 1);
        self.emit(i, Code::Shuffle(mode), s, imm);
        Ok(())
    }

    fn vote(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, p, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = warp::vote_mode(mode) else { return unsupported(i, "this mode") };
        let (p, negated) = match p {
            Operand::Not(p) => (&**p, 1),
            p => (p, 0),
        };
        let d = self.slot(i, d, if mode == "ballot" { Kind::W } else { Kind::P })?;
        let (p, members) = (self.slot(i, p, Kind::P)?, self.slot(i, members, Kind::W)?);
        self.emit(i, Code::Vote(mode), [d, p, members, 0, 0], negated);
        Ok(())
    }

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
        let Some(row) = find(&format!("setp.{cmp}.{ty}")) else {
            return unsupported(i, "this comparison");
        };
        let target = if combine.is_some() { self.new_slot(Kind::P) } else { self.slot(i, d, Kind::P)? };
        let (a, b) = (self.slot(i, a, ROWS[row].kinds[1])?, self.slot(i, b, ROWS[row].kinds[2])?);
        self.emit(i, Code::Row(row), [target, a, b, 0, 0], 0);
        let (Some(combine), [c]) = (combine, rest) else {
            return if combine.is_none() && rest.is_empty() { Ok(()) } else { unsupported(i, "these operands") };
        };
        let Some(row) = find(&format!("{combine}.pred")) else { return unsupported(i, combine) };
        let (d, c) = (self.slot(i, d, Kind::P)?, self.slot(i, c, Kind::P)?);
        self.emit(i, Code::Row(row), [d, target, c, 0, 0], 0);
        Ok(())
    }

    /// `mov.b64 %rd, {%r1, %r2}` and back.
    fn pack(&mut self, i: &Instruction) -> Result<()> {
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

/// Rounding to nearest is the default of arithmetic: `add.rn.f32` is `add.f32`. Anything else keeps its name.
fn canonical(opcode: &str) -> String {
    let word = opcode.split('.').next().unwrap_or_default();
    if matches!(word, "add" | "sub" | "mul" | "fma" | "div" | "rcp" | "sqrt") {
        return opcode.replacen(".rn.", ".", 1);
    }
    opcode.to_string()
}

fn special(name: &str) -> Option<Special> {
    let axis = || match name.chars().last() {
        Some('x') => Some(0),
        Some('y') => Some(1),
        Some('z') => Some(2),
        _ => None,
    };
    Some(match name.split('.').next()? {
        "%tid" => Special::Thread(axis()?),
        "%ctaid" => Special::Block(axis()?),
        "%ntid" => Special::Threads(axis()?),
        "%nctaid" => Special::Blocks(axis()?),
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        _ => return None,
    })
}

/// `kernels/embed.cu` of a longer path: the last two parts.
fn short(path: &str) -> &str {
    path.rmatch_indices('/').nth(1).map_or(path, |(at, _)| &path[at + 1..])
}

fn unsupported<T>(i: &Instruction, what: &str) -> Result<T> {
    Err(LoadError::at(i.line, format!("softgpu cannot run `{}`: it does not know {what}", i.opcode)))
}
