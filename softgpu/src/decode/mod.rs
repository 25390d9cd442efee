//! Kernels to [`Ir`]: names to registers, labels to indices, opcodes to codes.
//!
//! Literals, parameters and special registers become registers that are filled once per launch (or block), and a
//! register that is only ever a copy of one of those, or of another register, is not copied at all.

pub mod address;
pub mod arith;
pub mod async_copy;
pub mod atomic;
pub mod calls;
pub mod compare;
pub mod control;
pub mod convert;
pub mod matrix;
pub mod memory;
pub mod pack;
mod place;
pub mod quad;
mod special;
pub mod video;
pub mod warp;

use std::collections::HashMap;

use self::calls::{Calls, Graph, Home};
pub use self::place::Place;
pub use self::special::{MULTIPROCESSORS, Order, Special};
use crate::ast::{Class, Function, Held, Instruction, Module, Operand, Register};
use crate::exec::Wide;
use crate::ir::{self, Code, Inst, Ir, More, Reg};
use crate::isa::{self, Entry, Kind, Row};
use crate::parse::type_bytes;
use crate::variables;
use crate::{LoadError, Signature};

pub type Result<T> = std::result::Result<T, LoadError>;

/// A decoded kernel.
pub struct Decoded {
    pub name: String,
    pub ir: Ir,
    /// Where the instructions come from.
    pub places: Vec<Place>,
    /// (offset, bytes) in the parameter space.
    pub parameters: Vec<(usize, usize)>,
    pub parameter_names: Vec<String>,
    /// The instruction that a launch starts with.
    pub entry: usize,
    pub shared_bytes: usize,
    /// It takes shared memory of the launch's size besides.
    pub dynamic_shared: bool,
    pub local_bytes: usize,
    /// The block that it is compiled for, `.reqntid`, and the threads of the largest, `.maxntid`.
    pub required_block: Option<[u32; 3]>,
    pub most_threads: Option<u64>,
    /// What it computes depends on the order of its blocks: they run one after the other.
    pub serial: bool,
}

impl Decoded {
    pub fn signature(&self) -> Signature {
        let (parameters, shared_bytes) = (self.parameters.clone(), self.shared_bytes);
        Signature { parameters, shared_bytes, local_bytes: self.local_bytes }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Init {
    Bits(u64),
    Param {
        offset: usize,
        bytes: usize,
    },
    /// The address of a module variable, by its number.
    Variable {
        index: usize,
        offset: i64,
    },
    Special(Special),
}

/// What a register is a mere copy of.
#[derive(Clone, Copy)]
enum Source {
    Constant(Init),
    Register(Register),
}

/// Decodes one kernel; what the forms of the instruction table work on.
pub struct Decoder<'m, 'a> {
    module: &'m Module<'a>,
    /// The function that is decoded now: the kernel, or one that it calls.
    kernel: &'m Function<'a>,
    aliases: HashMap<Register, Source>,
    slot_of: HashMap<Register, Reg>,
    constants: HashMap<(Init, Kind2), Reg>,
    /// Of `add.cc` and its like, once one has been met.
    carry_flag: Option<Reg>,
    registers: Vec<ir::Register>,
    /// Variables and parameters: the address in their own space, and the space.
    addresses: HashMap<&'a str, (Init, &'static str)>,
    /// Of the current function's variables.
    homes: Vec<Home>,
    calls: Calls,
    insts: Vec<Inst>,
    places: Vec<Place>,
    /// Index of what each PTX instruction became; branches are patched with it at the end.
    starts: Vec<u32>,
    serial: bool,
}

/// Inlined calls that a report names at most.
const DEEPEST: usize = 32;

/// `Kind` as a key.
type Kind2 = u8;

/// Decodes one kernel. Errors name the first instruction that softgpu cannot run.
pub fn decode(module: &Module, kernel: &Function) -> Result<Decoded> {
    let (decoded, errors) = decode_all(module, kernel);
    errors.into_iter().next().map_or(Ok(decoded), Err)
}

/// Decodes one kernel as far as possible: everything that softgpu cannot run is among the errors, and left out.
pub fn decode_all(module: &Module, kernel: &Function) -> (Decoded, Vec<LoadError>) {
    let mut d = Decoder {
        module,
        kernel,
        aliases: HashMap::new(),
        slot_of: HashMap::new(),
        constants: HashMap::new(),
        carry_flag: None,
        registers: Vec::new(),
        addresses: HashMap::new(),
        homes: Vec::new(),
        calls: Calls::new(Graph::of(module, kernel)),
        insts: Vec::new(),
        places: Vec::new(),
        starts: Vec::new(),
        serial: false,
    };
    let shared_bytes = d.lay_out();
    for (v, index, at) in variables::indices(module) {
        let address = match v.space {
            ".const" => (Init::Bits(at as u64), "const"),
            _ => (Init::Variable { index, offset: 0 }, "global"),
        };
        d.addresses.entry(v.name).or_insert(address);
    }
    d.addresses.extend(kernel.parameters.iter().map(|p| (p.name, (Init::Bits(p.offset as u64), "param"))));
    let mut errors = Vec::new();
    let local_bytes = d.calls.local_bytes.next_multiple_of(16);
    if local_bytes > calls::MOST_LOCAL {
        let what =
            format!("`{}` takes {local_bytes} bytes of local memory, {} are possible", kernel.name, calls::MOST_LOCAL);
        errors.push(LoadError::at(kernel.line, what));
    }
    for f in d.calls.graph.order.clone() {
        d.decode_function(Some(f), &mut errors);
    }
    let entry = d.insts.len();
    d.decode_function(None, &mut errors);
    d.link();
    let mut functions: Vec<usize> = d.calls.starts.into_values().collect();
    functions.sort_unstable();
    let parameters = kernel.parameters.iter().map(|p| (p.offset, p.bytes)).collect();
    let dynamic_shared = d.calls.dynamic_shared;
    let decoded = Decoded {
        name: kernel.name.to_string(),
        ir: Ir { registers: d.registers, insts: d.insts, functions, entry },
        places: d.places,
        parameters,
        parameter_names: kernel.parameters.iter().map(|p| p.name.to_string()).collect(),
        entry,
        shared_bytes,
        dynamic_shared,
        local_bytes,
        required_block: kernel.extents(".reqntid"),
        most_threads: kernel.extents(".maxntid").map(|all| all.iter().map(|&n| n as u64).product()),
        serial: d.serial,
    };
    (decoded, errors)
}

/// Instructions whose first operand is not a destination.
fn writes_nothing(opcode: &str) -> bool {
    let word = opcode.split('.').next().unwrap_or_default();
    // `bar.red` and `barrier.red` have a result.
    !opcode.contains(".red.")
        && matches!(
            word,
            "st" | "bra"
                | "brx"
                | "ret"
                | "exit"
                | "bar"
                | "barrier"
                | "membar"
                | "fence"
                | "prefetch"
                | "trap"
                | "nanosleep"
        )
}

fn destinations(operand: &Operand, out: &mut Vec<Register>) {
    match operand {
        Operand::Register(r) | Operand::Part(r, _) => out.push(*r),
        Operand::Vector(parts) | Operand::List(parts) => parts.iter().for_each(|p| destinations(p, out)),
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
        Class::Double | Class::Quad => Kind::D,
    }
}

impl<'m, 'a> Decoder<'m, 'a> {
    fn find_aliases(&mut self) {
        let mut writes: HashMap<Register, usize> = HashMap::new();
        let mut found = Vec::new();
        for p in &self.kernel.parameters {
            if let Held::Register(register) = p.held {
                *writes.entry(register).or_default() += 1;
            }
        }
        for i in self.kernel.body.iter().filter(|i| !writes_nothing(i.opcode)) {
            found.clear();
            i.operands.first().into_iter().for_each(|o| destinations(o, &mut found));
            found.iter().for_each(|r| *writes.entry(*r).or_default() += 1);
        }
        for i in self.kernel.body.iter().filter(|i| i.guard.is_none()) {
            let [Operand::Register(to), from] = i.operands.as_slice() else { continue };
            let class = self.kernel.registers[*to].0;
            if writes.get(to) != Some(&1) || matches!(class, Class::Predicate | Class::Quad) {
                continue;
            }
            let source = match from {
                Operand::Register(r) if i.opcode.starts_with("mov.") || i.opcode.starts_with("cvta.to.global") => {
                    let same = self.kernel.registers[*r].0 == class;
                    (same && writes.get(r) == Some(&1)).then_some(Source::Register(*r))
                }
                Operand::Address { base, offset } if i.opcode.starts_with("ld.param.") => {
                    self.parameter(i, base, *offset, class).map(Source::Constant)
                }
                other if i.opcode.starts_with("mov.") => {
                    self.constant_of(other, kind_of_class(class)).map(Source::Constant)
                }
                _ => None,
            };
            if let Some(source) = source {
                self.aliases.insert(*to, source);
            }
        }
    }

    /// A scalar `ld.param` as a constant; vector loads and those that extend a sign are not folded.
    fn parameter(&self, i: &Instruction, base: &Operand, offset: i64, class: Class) -> Option<Init> {
        let Operand::Symbol(name) = base else { return None };
        let ty = i.opcode.strip_prefix("ld.param.")?;
        let p = self.kernel.parameters.iter().find(|p| p.name == *name)?;
        let whole = if class == Class::Double { 8 } else { 4 };
        let bytes = type_bytes(ty).filter(|&n| !(ty.starts_with('s') && n < whole))?;
        let at = usize::try_from(offset).ok().filter(|at| at + bytes <= p.bytes)?;
        Some(Init::Param { offset: p.offset + at, bytes })
    }

    /// Where the variable, parameter or function of that name lies, in its own space.
    pub fn address_of(&self, name: &str) -> Option<Init> {
        match self.addresses.get(name) {
            Some((init, _)) => Some(*init),
            None => Some(Init::Bits(function_address(self.module, name)?)),
        }
    }

    pub fn constant(&self, operand: &Operand) -> Option<Init> {
        Some(match operand {
            Operand::Integer(v) => Init::Bits(*v as u64),
            Operand::Float32(bits) => Init::Bits(*bits as u64),
            Operand::Float64(bits) => Init::Bits(*bits),
            Operand::Symbol(name) => match special::find(name) {
                Some(init) => init,
                None if *name == "WARP_SZ" => Init::Bits(32),
                None => self.address_of(name)?,
            },
            Operand::Sum(base, offset) => match self.constant(base)? {
                Init::Bits(at) => Init::Bits(at.wrapping_add(*offset as u64)),
                Init::Variable { index, offset: at } => Init::Variable { index, offset: at.wrapping_add(*offset) },
                _ => return None,
            },
            Operand::Variable(v) => Init::Bits(self.own_address(*v)?),
            _ => return None,
        })
    }

    /// A constant for a register of that kind: a float literal of the other width is converted (PTX ISA 9.0, 4.5.2).
    pub fn constant_of(&self, operand: &Operand, kind: Kind) -> Option<Init> {
        match (operand, kind) {
            (Operand::Float32(bits), Kind::D) => Some(Init::Bits((f32::from_bits(*bits) as f64).to_bits())),
            (Operand::Float64(bits), Kind::W) => Some(Init::Bits((f64::from_bits(*bits) as f32).to_bits() as u64)),
            _ => self.constant(operand),
        }
    }

    pub fn constant_slot(&mut self, init: Init, kind: Kind) -> Reg {
        if let Some(slot) = self.constants.get(&(init, kind as Kind2)) {
            return *slot;
        }
        let slot = self.new_slot(kind);
        self.constants.insert((init, kind as Kind2), slot);
        self.registers[slot as usize].init = Some(init);
        slot
    }

    pub fn class(&self, register: Register) -> Class {
        self.kernel.registers[register].0
    }

    pub fn new_slot(&mut self, kind: Kind) -> Reg {
        self.registers.push(ir::Register { kind, init: None });
        self.registers.len() as Reg - 1
    }

    pub fn register_slot(&mut self, register: Register) -> Reg {
        if let Some(slot) = self.slot_of.get(&register) {
            return *slot;
        }
        let kind = kind_of_class(self.kernel.registers[register].0);
        // Registers that are only copies of each other hold nothing: the walk along them has an end all the same.
        let mut source = register;
        let mut constant = None;
        for _ in 0..=self.aliases.len() {
            match self.aliases.get(&source).copied() {
                Some(Source::Register(from)) => source = from,
                Some(Source::Constant(init)) => constant = Some(init),
                None => {}
            }
            if constant.is_some() || !self.aliases.contains_key(&source) {
                break;
            }
        }
        let slot = match (constant, self.slot_of.get(&source).copied()) {
            (Some(init), _) => self.constant_slot(init, kind),
            (None, Some(slot)) => slot,
            (None, None) => self.new_slot(kind),
        };
        self.slot_of.insert(source, slot);
        self.slot_of.insert(register, slot);
        slot
    }

    /// The slot of a source operand of `kind`. A predicate constant has its own.
    pub fn slot(&mut self, i: &Instruction, operand: &Operand, kind: Kind) -> Result<Reg> {
        if let Operand::Register(r) = operand {
            let (class, name, ty) = &self.kernel.registers[*r];
            if *class == Class::Quad {
                return unsupported(i, &format!("registers of type `{ty}`"));
            }
            if kind_of_class(*class) != kind {
                return refused(i, &format!("`{name}` has another width than the instruction"));
            }
            return Ok(self.register_slot(*r));
        }
        if let (Operand::Not(p), Kind::P) = (operand, kind) {
            let p = self.slot(i, p, kind)?;
            return self.derive(i, "not.pred", &[p]);
        }
        let (inner, addend) =
            if let Operand::Sum(inner, addend) = operand { (&**inner, *addend) } else { (operand, 0) };
        if let Operand::Variable(v) = inner
            && let Some(sum) = self.frame_address(i, *v, addend, kind)?
        {
            return Ok(sum);
        }
        match (self.constant_of(operand, kind), operand) {
            (Some(init), _) => Ok(self.constant_slot(init, kind)),
            (None, Operand::Symbol(name)) if !name.starts_with('%') => {
                unsupported(i, &format!("`{name}`: the module does not define it (softgpu links no modules)"))
            }
            (None, Operand::Symbol(name)) => {
                refused(i, &format!("`{name}` is no register that is declared, and no special register that it knows"))
            }
            _ => unsupported(i, "this kind of operand here"),
        }
    }

    /// As [`Decoder::slot`], for a destination, which may be `_`: a value that nobody wants.
    pub fn destination(&mut self, i: &Instruction, operand: &Operand, kind: Kind) -> Result<Reg> {
        if *operand == Operand::Symbol("_") { Ok(self.new_slot(kind)) } else { self.slot(i, operand, kind) }
    }

    /// Adds an instruction. One that waits for other lanes or warps is never guarded: its guard becomes a branch.
    pub fn emit(&mut self, i: &Instruction, code: Code, s: [Reg; 5], imm: u32) {
        self.push(i, Inst { code, s, imm, guard: None, place: 0, more: None });
    }

    /// Adds an instruction with any number of operands, which are held as vectors.
    pub fn emit_wide(&mut self, i: &Instruction, wide: &'static Wide, more: More) {
        self.emit_more(i, Code::Wide(wide), more);
    }

    pub fn emit_more(&mut self, i: &Instruction, code: Code, more: More) {
        self.push(i, Inst { code, s: [0; 5], imm: 0, guard: None, place: 0, more: Some(Box::new(more)) });
    }

    fn push(&mut self, i: &Instruction, inst: Inst) {
        let place = self.place_of(i);
        let mut guard = i.guard.map(|(register, negated)| (self.register_slot(register), negated));
        if (inst.waits() || inst.code == Code::Yield)
            && let Some((p, negated)) = guard.take()
        {
            // `starts` has this instruction's entry already: its length is the number of the next one.
            let past = self.starts.len() as u32;
            let guard = Some((p, !negated));
            self.insts.push(Inst { code: Code::Branch, s: [0; 5], imm: past, guard, place, more: None });
        }
        self.insts.push(Inst { guard, place, ..inst });
    }

    /// One place for all that a PTX instruction becomes, so that it is counted once.
    fn place_of(&mut self, i: &Instruction) -> u32 {
        let goes_on = self.starts.last().is_some_and(|&start| (start as usize) < self.insts.len());
        if !goes_on {
            let mut inlined = self.sources(i);
            let source = (!inlined.is_empty()).then(|| inlined.remove(0));
            let text = format!("{}{}", if i.guard.is_some() { "@p " } else { "" }, i.opcode);
            // What a function starts and ends with has no number in its body.
            let said = (1..=self.kernel.body.len()).contains(&self.starts.len());
            let counted = said && !place::is_copy(i.opcode);
            self.places.push(Place { line: i.line, source, inlined, text, counted, compared: false });
        }
        self.places.len() as u32 - 1
    }

    /// The end of a file's path, long enough to be no other's.
    fn file_name(&self, file: u32) -> String {
        let files = &self.module.files;
        let Some(path) = files.get(&file) else { return "?".into() };
        let others = |end: &str| files.values().any(|other| other != path && other.ends_with(end));
        let mut ends = path.rmatch_indices('/').skip(1).map(|(at, _)| &path[at + 1..]);
        ends.find(|end| !others(end)).unwrap_or(path).to_string()
    }

    /// Lines of the `.cu` text that an instruction comes from, innermost first. Line 0 is nobody's.
    fn sources(&self, i: &Instruction) -> Vec<(String, u32)> {
        let (mut lines, mut next) = (Vec::new(), i.loc);
        while let Some(loc) = next.filter(|_| lines.len() < DEEPEST).and_then(|at| self.kernel.locs.get(at as usize)) {
            let (file, line) = loc.at;
            if line > 0 || lines.is_empty() {
                lines.push((self.file_name(file), line));
            }
            // A call that no `.loc` stands for is known all the same.
            if let (None, Some((file, line, _))) = (loc.outer, loc.call) {
                lines.push((self.file_name(file), line));
            }
            next = loc.outer;
        }
        lines
    }

    /// The row of that name with these operands, destination first.
    pub fn row(&mut self, i: &Instruction, name: &str, operands: &[&Operand]) -> Result<()> {
        match isa::row(name) {
            Some(row) => self.operate(i, row, operands),
            None => unsupported(i, "the instruction"),
        }
    }

    fn operate(&mut self, i: &Instruction, row: &'static Row, operands: &[&Operand]) -> Result<()> {
        if row.kinds.len() != operands.len() {
            return unsupported(i, &format!("{} operands (it takes {})", operands.len(), row.kinds.len()));
        }
        let mut s = [0; 5];
        for (field, (operand, kind)) in operands.iter().zip(row.kinds).enumerate() {
            s[field] = self.slot(i, operand, *kind)?;
        }
        self.emit(i, Code::Row(row), s, 0);
        Ok(())
    }

    fn instruction(&mut self, i: &Instruction<'a>) -> Result<()> {
        if let [Operand::Register(to), ..] = i.operands.as_slice()
            && !writes_nothing(i.opcode)
            && self.aliases.contains_key(to)
        {
            return Ok(());
        }
        match isa::find(i.opcode) {
            Some(Entry::Row(row)) => {
                let operands: Vec<&Operand> = i.operands.iter().collect();
                // Spelt like a copy: `mov.b64 %rd, {%r1, %r2}`, `mov.u32 %r, %clock`; like whole registers: `vabsdiff4 %r.b0`;
                // like one destination: `setp p|q`.
                match operands.as_slice() {
                    [Operand::Vector(_), _] | [_, Operand::Vector(_)] => self.pack(i),
                    [_, from] if pack::changes(from) => self.read_clock(i),
                    all if i.opcode.starts_with('v') && all.iter().any(|o| matches!(o, Operand::Part(..))) => {
                        self.video(i, &i.opcode.split('.').collect::<Vec<_>>(), 3)
                    }
                    [Operand::Pair(..), ..] if i.opcode.starts_with("setp.") => {
                        self.set_predicate(i, &i.opcode.split('.').collect::<Vec<_>>())
                    }
                    _ if i.opcode.starts_with("cvt.") => self.convert(i, row, &operands),
                    _ => self.operate(i, row, &operands),
                }
            }
            Some(Entry::Form(form)) => {
                let parts: Vec<&str> = i.opcode.split('.').collect();
                (form.decode)(self, i, &parts)
            }
            None => match warp::refused(i.opcode) {
                Some(why) => refused(i, why),
                None => unsupported(i, "the instruction"),
            },
        }
    }
}

/// The address of a function, for those that are called through a pointer.
pub fn function_address(module: &Module, name: &str) -> Option<u64> {
    module.function(name).filter(|&f| module.functions[f].defined).map(crate::memory::function_address)
}

pub fn unsupported<T>(i: &Instruction, what: &str) -> Result<T> {
    refused(i, &format!("it does not know {what}"))
}

fn refused<T>(i: &Instruction, why: &str) -> Result<T> {
    Err(LoadError::at(i.line, format!("softgpu cannot run `{}`: {why}", i.opcode)))
}
