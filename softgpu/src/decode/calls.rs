//! Functions: which of them a kernel needs, where their variables lie, and how arguments and results travel. PTX ISA
//! 9.0, 7.1 and 9.7.12.4 to 9.7.12.7.
//!
//! A kernel's functions are part of its own stream of instructions, callees before callers where the call graph allows
//! it and the kernel last, so that the scheduler, which runs the lowest pc first, waits for lanes inside a callee.
//! Arguments and results travel in registers of their own. A `.param` variable is a register too, if all that is done
//! to it is to load and store it by whole units; else it lies in local memory. A function that can reach itself gets
//! its registers saved at the calls that it makes, and a frame for each activation if it has variables in memory.
//!
//! Longer than 600 lines: the call graph, frames and argument passing grew together; to be split along these three.

use std::collections::{HashMap, HashSet};

use super::{Decoder, Init, Kind2, Result, unsupported};
use crate::LoadError;
use crate::ast::{Class, Declared, Function, Held, Instruction, Module, Operand, Parameter, Variable};
use crate::exec::call;
use crate::exec::mem::{self, LOCAL};
use crate::ir::{Access, Code, More, Reg};
use crate::isa::Kind;

/// Bytes of local memory for the frames of functions that can reach themselves.
pub const STACK: usize = 16 * 1024;
/// Local memory of a thread: CUDA C++ Programming Guide 13.0, table of technical specifications.
pub const MOST_LOCAL: usize = 512 * 1024;
/// A larger `.param` variable stays in memory.
const MOST_PROMOTED: usize = 256;

/// Where a variable of a function lies.
#[derive(Clone, Debug)]
pub enum Home {
    /// At an address of its space.
    At(u64),
    /// At an offset in the activation's frame.
    Frame(u64),
    /// In registers, one for each unit.
    Registers(Vec<Reg>),
    /// As `Registers`, which it has not got yet.
    Promoted,
}

/// The functions that a kernel needs.
pub struct Graph {
    /// Callees before callers.
    pub order: Vec<usize>,
    /// Reached by calls that name them: what softgpu lacks for them is an error, not a trap.
    pub certain: HashSet<usize>,
    pub recursive: HashSet<usize>,
    /// May be called through pointers.
    pub targets: Vec<usize>,
    /// Most bytes that calls pass in a function's `[]` parameter.
    pub variadic: HashMap<usize, usize>,
}

/// What a call looks like from outside: bytes of results and parameters.
type Shape = (Vec<usize>, Vec<usize>);

fn shape(results: &[Parameter], parameters: &[Parameter]) -> Shape {
    let bytes = |all: &[Parameter]| all.iter().map(|p| p.bytes).collect();
    (bytes(results), bytes(parameters))
}

fn is_call(i: &Instruction) -> bool {
    i.head() == "call" && i.operands.len() >= 3
}

/// The function of the module that a call names.
fn named(module: &Module, i: &Instruction) -> Option<usize> {
    match i.operands.get(1) {
        Some(Operand::Symbol(name)) if is_call(i) => module.function(name).filter(|&f| module.functions[f].defined),
        _ => None,
    }
}

/// Parameters of a call through a pointer: its prototype, or those of the first function that it lists.
fn prototype<'m, 'a>(
    module: &'m Module<'a>,
    function: &'m Function<'a>,
    i: &Instruction,
) -> Option<(&'m [Parameter<'a>], &'m [Parameter<'a>])> {
    let Some(Operand::Declared(at)) = i.operands.get(3) else { return None };
    match &function.declarations.get(*at)?.what {
        Declared::Prototype(p) => Some((&p.results, &p.parameters)),
        Declared::Calls(names) => {
            let f = &module.functions[module.function(names.first()?)?];
            Some((&f.results, &f.parameters))
        }
        Declared::Branches(_) => None,
    }
}

fn points(i: &Instruction) -> bool {
    is_call(i) && matches!(i.operands[1], Operand::Register(_))
}

impl Graph {
    pub fn of(module: &Module, kernel: &Function) -> Graph {
        let n = module.functions.len();
        let direct: Vec<Vec<usize>> =
            module.functions.iter().map(|f| f.body.iter().filter_map(|i| named(module, i)).collect()).collect();
        let roots: Vec<usize> = kernel.body.iter().filter_map(|i| named(module, i)).collect();
        let certain = reach(&roots, &direct);
        // What may be called through a pointer: functions whose address is taken, by their shape.
        let mut all = certain.clone();
        let mut targets: Vec<usize>;
        loop {
            let bodies = || all.iter().map(|&f| &module.functions[f]).chain([kernel]);
            let shapes: HashSet<Shape> = bodies()
                .flat_map(|f| f.body.iter().filter(|i| points(i)).filter_map(|i| prototype(module, f, i)))
                .map(|(results, parameters)| shape(results, parameters))
                .collect();
            let mut taken: HashSet<usize> = HashSet::new();
            let mut take = |name: &str| taken.extend(module.function(name).filter(|&f| module.functions[f].defined));
            module.variables.iter().flat_map(|v| &v.addresses).for_each(|a| take(a.name));
            for f in bodies() {
                for i in &f.body {
                    for (_, operand) in i.operands.iter().enumerate().filter(|(at, _)| !is_call(i) || *at != 1) {
                        operand.walk(&mut |o| {
                            if let Operand::Symbol(name) = o {
                                take(name);
                            }
                        });
                    }
                }
                for declaration in &f.declarations {
                    if let Declared::Calls(names) = &declaration.what {
                        names.iter().for_each(|name| take(name));
                    }
                }
            }
            targets = (0..n)
                .filter(|f| taken.contains(f))
                .filter(|&f| shapes.contains(&shape(&module.functions[f].results, &module.functions[f].parameters)))
                .collect();
            let before = all.len();
            all.extend(reach(&targets, &direct));
            if all.len() == before {
                break;
            }
        }
        let mut edges = direct;
        for &f in &all {
            if module.functions[f].body.iter().any(points) {
                edges[f].extend(&targets);
            }
        }
        let recursive = all.iter().copied().filter(|&f| reach(&edges[f], &edges).contains(&f)).collect();
        let mut from = roots;
        from.extend(&targets);
        let order = post_order(&from, &edges);
        let mut graph = Graph { order, certain, recursive, targets, variadic: HashMap::new() };
        for f in module.functions.iter().chain([kernel]) {
            for i in &f.body {
                graph.count_variadic(module, f, i);
            }
        }
        graph
    }

    /// Calls with a `[]` parameter: how many bytes they pass.
    fn count_variadic(&mut self, module: &Module, f: &Function, i: &Instruction) {
        let (Some(callee), Some(Operand::List(arguments))) = (named(module, i), i.operands.get(2)) else { return };
        let open = module.functions[callee].parameters.iter().position(|p| p.array && p.bytes == 0);
        let Some(Operand::Variable(v)) = open.and_then(|at| arguments.get(at)) else { return };
        let most = self.variadic.entry(callee).or_default();
        *most = f.variables[*v].bytes.max(*most);
    }
}

/// Everything that is reached from there, itself included.
fn reach(from: &[usize], edges: &[Vec<usize>]) -> HashSet<usize> {
    let (mut seen, mut todo) = (HashSet::new(), from.to_vec());
    while let Some(f) = todo.pop() {
        if seen.insert(f) {
            todo.extend(&edges[f]);
        }
    }
    seen
}

fn post_order(from: &[usize], edges: &[Vec<usize>]) -> Vec<usize> {
    let (mut seen, mut order) = (HashSet::new(), Vec::new());
    for &root in from {
        let mut path = Vec::new();
        if seen.insert(root) {
            path.push((root, 0));
        }
        while let Some((f, next)) = path.last_mut() {
            match edges[*f].get(*next) {
                Some(&to) => {
                    *next += 1;
                    if seen.insert(to) {
                        path.push((to, 0));
                    }
                }
                None => {
                    order.push(*f);
                    path.pop();
                }
            }
        }
    }
    order
}

/// A parameter's size as units of one register each: bytes of a unit, and how many.
pub fn units(bytes: usize) -> (usize, usize) {
    let unit = [8, 4, 2, 1].into_iter().find(|&unit| bytes.is_multiple_of(unit)).unwrap_or(1);
    (unit, bytes / unit)
}

fn unit_type(unit: usize) -> (&'static str, Kind) {
    match unit {
        8 => ("b64", Kind::D),
        4 => ("b32", Kind::W),
        2 => ("b16", Kind::W),
        _ => ("b8", Kind::W),
    }
}

/// Which `.param` variables of a function may be registers.
fn promotable(module: &Module, f: &Function) -> Vec<bool> {
    let fits = |v: &Variable| v.space == ".param" && !v.external && v.bytes > 0 && v.bytes <= MOST_PROMOTED;
    let mut yes: Vec<bool> = f.variables.iter().map(fits).collect();
    for i in &f.body {
        let mut used = Vec::new();
        let accesses = (i.opcode.starts_with("ld.param") || i.opcode.starts_with("st.param")) && i.operands.len() == 2;
        for (at, operand) in i.operands.iter().enumerate() {
            match operand {
                Operand::Address { base, offset } if accesses => match **base {
                    Operand::Variable(v) => {
                        let ty = i.opcode.rsplit('.').next().unwrap_or_default();
                        let size = crate::parse::type_bytes(ty).unwrap_or(0);
                        let lanes = if let Operand::Vector(parts) = &i.operands[1 - at] { parts.len() } else { 1 };
                        let (unit, _) = units(f.variables[v].bytes);
                        let end = offset.checked_add((size * lanes) as i64);
                        let inside = *offset >= 0 && end.is_some_and(|end| end <= f.variables[v].bytes as i64);
                        if size != unit || !inside || offset % unit as i64 != 0 {
                            used.push(v);
                        }
                    }
                    _ => operand.walk(&mut |o| used.extend(variable(o))),
                },
                // Whole arguments and results, but not those of a `[]` parameter.
                Operand::List(all) if is_call(i) => {
                    let callee = named(module, i).map(|callee| module.functions[callee].parameters.as_slice());
                    let formals = callee.or_else(|| prototype(module, f, i).map(|(_, parameters)| parameters));
                    for (k, o) in all.iter().enumerate() {
                        let open = formals.and_then(|p| p.get(k)).is_some_and(|p| p.array && p.bytes == 0);
                        if at == 2 && open || !matches!(o, Operand::Variable(_)) {
                            o.walk(&mut |o| used.extend(variable(o)));
                        }
                    }
                }
                _ => operand.walk(&mut |o| used.extend(variable(o))),
            }
        }
        used.into_iter().for_each(|v| yes[v] = false);
    }
    yes
}

fn variable(operand: &Operand) -> Option<usize> {
    if let Operand::Variable(v) = operand { Some(*v) } else { None }
}

/// What the decoder knows of a kernel's functions.
pub struct Calls {
    pub graph: Graph,
    /// Of every function's variables; the kernel's are at the end.
    homes: Vec<Vec<Home>>,
    frames: HashMap<usize, u64>,
    /// First instruction of each function.
    pub starts: HashMap<usize, usize>,
    /// By direction (results?), kind and number.
    transfers: HashMap<(bool, Kind2, usize), Reg>,
    /// End of the frames in use, if there are any.
    frame_pointer: Option<Reg>,
    /// Of the current function: its number, and where its frame starts.
    pub current: Option<usize>,
    base: Option<Reg>,
    pub local_bytes: usize,
}

impl Calls {
    pub fn new(graph: Graph) -> Calls {
        Calls {
            graph,
            homes: Vec::new(),
            frames: HashMap::new(),
            starts: HashMap::new(),
            transfers: HashMap::new(),
            frame_pointer: None,
            current: None,
            base: None,
            local_bytes: 0,
        }
    }
}

impl<'a> Decoder<'_, 'a> {
    /// Gives all variables of the kernel's and its functions' own their places; bytes of static shared memory.
    pub fn lay_out(&mut self) -> usize {
        let module = self.module;
        let functions: Vec<Option<usize>> = self.calls.graph.order.iter().copied().map(Some).chain([None]).collect();
        let kernel = self.kernel;
        let of = |f: Option<usize>| f.map_or(kernel, |f| &module.functions[f]);
        let (mut shared, mut local) = (0usize, 0usize);
        let mut used = HashSet::new();
        let mut homes = Vec::new();
        for &f in &functions {
            let function = of(f);
            let framed = f.is_some_and(|f| self.calls.graph.recursive.contains(&f));
            let promoted = promotable(module, function);
            let mut frame = 0u64;
            homes.push(Vec::with_capacity(function.variables.len()));
            for (v, promoted) in function.variables.iter().zip(promoted) {
                let open = f.and_then(|f| self.calls.graph.variadic.get(&f)).copied().unwrap_or(0);
                // Whole units of 8 bytes are copied to and from a `[]` parameter.
                let (bytes, align) = match v.space {
                    ".param" => ((if v.external { open } else { v.bytes }).next_multiple_of(8), v.align.max(8)),
                    _ => (v.bytes, v.align),
                };
                let end = if v.space == ".shared" { &mut shared } else { &mut local };
                let last = homes.len() - 1;
                homes[last].push(if promoted {
                    Home::Promoted
                } else if framed && v.space != ".shared" {
                    let at = frame.next_multiple_of(align.max(1) as u64);
                    frame = at + bytes as u64;
                    Home::Frame(at)
                } else if v.space == ".shared" && v.external {
                    Home::At(u64::MAX)
                } else {
                    let at = end.next_multiple_of(align.max(1));
                    *end = at + bytes;
                    Home::At(at as u64)
                });
            }
            if let (Some(f), true) = (f, frame > 0) {
                self.calls.frames.insert(f, frame.next_multiple_of(16));
            }
            for operand in function.body.iter().flat_map(|i| &i.operands) {
                operand.walk(&mut |o| {
                    if let Operand::Symbol(name) = o {
                        used.insert(*name);
                    }
                });
            }
        }
        // Of the module's shared variables, a kernel pays for those that it names.
        for v in module.variables.iter().filter(|v| v.space == ".shared" && !v.external && used.contains(v.name)) {
            let at = shared.next_multiple_of(v.align);
            self.addresses.insert(v.name, (Init::Bits(at as u64), "shared"));
            shared = at + v.bytes;
        }
        // What the launch sizes comes after all others.
        let end = shared.next_multiple_of(16) as u64;
        let mut dynamic = false;
        for v in module.variables.iter().filter(|v| v.space == ".shared" && v.external) {
            dynamic |= used.contains(v.name);
            self.addresses.insert(v.name, (Init::Bits(end), "shared"));
        }
        for home in homes.iter_mut().flatten() {
            if matches!(home, Home::At(u64::MAX)) {
                *home = Home::At(end);
                dynamic = true;
            }
        }
        let frames = if self.calls.frames.is_empty() { 0 } else { STACK };
        if frames > 0 {
            self.calls.frame_pointer = Some(self.new_slot(Kind::D));
        }
        self.calls.homes = homes;
        self.calls.local_bytes = local.next_multiple_of(16) + frames;
        if dynamic { end as usize } else { shared }
    }

    /// Makes `f`, or the kernel, the function that is decoded.
    fn enter(&mut self, f: Option<usize>) {
        self.aliases.clear();
        self.slot_of.clear();
        self.starts.clear();
        let at = match f {
            Some(f) => self.calls.graph.order.iter().position(|&g| g == f).unwrap_or(0),
            None => self.calls.graph.order.len(),
        };
        self.homes = std::mem::take(&mut self.calls.homes[at]);
        self.calls.current = f;
        self.calls.base = None;
        for v in 0..self.homes.len() {
            if matches!(self.homes[v], Home::Promoted) {
                let (unit, count) = units(self.kernel.variables[v].bytes);
                self.homes[v] = Home::Registers((0..count).map(|_| self.new_slot(unit_type(unit).1)).collect());
            }
        }
    }

    /// Decodes a function, or, at last, the kernel. What softgpu cannot run is an error, or, of a function that is only
    /// ever called through a pointer, a trap there.
    pub fn decode_function(&mut self, f: Option<usize>, errors: &mut Vec<LoadError>) {
        let (first, first_register) = (self.insts.len(), self.registers.len());
        let module = self.module;
        let kernel = self.kernel;
        let function = f.map_or(kernel, |f| &module.functions[f]);
        self.kernel = function;
        self.enter(f);
        if let Some(f) = f {
            self.calls.starts.insert(f, first);
        }
        let edge = |opcode| Instruction { opcode, guard: None, operands: vec![], line: function.line, loc: None };
        let mut own = Vec::new();
        own.extend(self.prologue(&edge(function.name)).err());
        self.find_aliases();
        for instruction in &function.body {
            self.starts.push(self.insts.len() as u32);
            own.extend(self.instruction(instruction).err());
        }
        self.starts.push(self.insts.len() as u32);
        own.extend(self.leave(&edge("ret")).err());
        let uncertain = f.filter(|f| !self.calls.graph.certain.contains(f));
        if let (Some(_), Some(error)) = (uncertain, own.first()) {
            self.insts.truncate(first);
            let text = format!("{}` (`{}`)", function.name, error.what);
            self.emit_wide(&edge("call"), &call::REFUSED, More::default());
            if let Some(place) = self.places.last_mut() {
                (place.text, place.line) = (text, error.line);
            }
            self.emit(&edge("ret"), Code::Return, [0; 5], 0);
        } else {
            errors.append(&mut own);
        }
        for inst in &mut self.insts[first..] {
            match (inst.code, &mut inst.more) {
                (Code::Branch, _) => inst.imm = self.starts[inst.imm as usize],
                (Code::Switch, Some(more)) => {
                    more.imms.iter_mut().for_each(|imm| *imm = self.starts[*imm as usize] as i64);
                }
                _ => {}
            }
        }
        if f.is_some_and(|f| self.calls.graph.recursive.contains(&f)) {
            self.save_at_calls(first, first_register);
        }
        self.kernel = kernel;
    }

    /// Has the calls since `first` save the function's own registers, those since `first_register`.
    fn save_at_calls(&mut self, first: usize, first_register: usize) {
        let shared: HashSet<Reg> = self.calls.transfers.values().copied().chain(self.calls.frame_pointer).collect();
        let own = |kind: Kind| {
            let all = first_register..self.registers.len();
            let own = all.filter(|&r| self.registers[r].kind == kind && self.registers[r].init.is_none());
            own.map(|r| r as Reg).filter(|r| !shared.contains(r)).collect::<Vec<Reg>>()
        };
        let kinds = [Kind::D, Kind::W, Kind::P].map(own);
        for inst in self.insts[first..].iter_mut().filter(|inst| inst.code == Code::Call) {
            let Some(more) = &mut inst.more else { continue };
            for (at, registers) in kinds.iter().enumerate() {
                more.imms[1 + at] = registers.len() as i64;
                more.defs.extend(registers);
                more.uses.extend(registers);
            }
        }
    }

    /// Once all functions have their places: calls get those of their callees.
    pub fn link(&mut self) {
        for inst in self.insts.iter_mut().filter(|inst| inst.code == Code::Call) {
            let Some(more) = &mut inst.more else { continue };
            let start = |f: i64| self.calls.starts.get(&(f as usize)).map_or(-1, |&start| start as i64);
            if more.imms[0] >= 0 {
                more.imms[0] = start(more.imms[0]);
            }
            for pair in more.imms[4..].chunks_mut(2) {
                pair[1] = start(pair[0]);
            }
        }
    }

    fn step_of(&mut self, i: &Instruction, kind: Kind, to: Reg, from: Reg) -> Result<()> {
        let name = match kind {
            Kind::W => "mov.b32",
            Kind::D => "mov.b64",
            Kind::P => "mov.pred",
        };
        self.step(i, name, [to, from, 0, 0, 0])
    }

    fn transfer(&mut self, results: bool, kind: Kind, number: usize) -> Reg {
        let key = (results, kind as Kind2, number);
        if let Some(&slot) = self.calls.transfers.get(&key) {
            return slot;
        }
        let slot = self.new_slot(kind);
        self.calls.transfers.insert(key, slot);
        slot
    }

    /// Takes what was passed to the current function; opens its frame.
    fn prologue(&mut self, i: &Instruction<'a>) -> Result<()> {
        let Some(f) = self.calls.current else {
            if let Some(pointer) = self.calls.frame_pointer {
                let bottom = self.calls.local_bytes - STACK;
                let bottom = self.constant_slot(Init::Bits(bottom as u64), Kind::D);
                self.step(i, "mov.b64", [pointer, bottom, 0, 0, 0])?;
            }
            return Ok(());
        };
        if let (Some(&bytes), Some(pointer)) = (self.calls.frames.get(&f), self.calls.frame_pointer) {
            let base = self.new_slot(Kind::D);
            self.calls.base = Some(base);
            self.step(i, "mov.b64", [base, pointer, 0, 0, 0])?;
            let imms = vec![bytes as i64, self.calls.local_bytes as i64];
            self.emit_wide(i, &call::FRAME, More { defs: vec![pointer], uses: vec![pointer], imms });
        }
        let function = self.kernel;
        let mut numbers = HashMap::new();
        for p in &function.parameters {
            let values = self.transfers_of(p, false, &mut numbers);
            self.put(i, &held(p), p, &values)?;
        }
        Ok(())
    }

    /// The registers that a parameter or result travels in.
    fn transfers_of(&mut self, p: &Parameter, results: bool, numbers: &mut HashMap<Kind2, usize>) -> Vec<Reg> {
        let (kind, count) = match () {
            _ if p.ty == ".pred" => (Kind::P, 1),
            _ if p.array && p.bytes == 0 => {
                let most = self.calls.graph.variadic.values().copied().max().unwrap_or(0);
                (Kind::D, most.div_ceil(8))
            }
            _ => {
                let (unit, count) = units(p.bytes);
                (unit_type(unit).1, count)
            }
        };
        let number = numbers.entry(kind as Kind2).or_default();
        let first = *number;
        *number += count;
        (first..first + count).map(|number| self.transfer(results, kind, number)).collect()
    }

    /// `ret` of the kernel, or of a function: what it results in goes on its way.
    pub fn leave(&mut self, i: &Instruction<'a>) -> Result<()> {
        if self.calls.current.is_none() {
            self.emit(i, Code::Exit, [0; 5], 0);
            return Ok(());
        }
        let i = &self.around(i);
        let function = self.kernel;
        let mut numbers = HashMap::new();
        for p in &function.results {
            let values = self.take(i, &held(p), p, None)?;
            let to = self.transfers_of(p, true, &mut numbers);
            for (&(kind, value), to) in values.iter().zip(to) {
                self.step_of(i, kind, to, value)?;
            }
        }
        if let (Some(base), Some(pointer)) = (self.calls.base, self.calls.frame_pointer) {
            self.step(i, "mov.b64", [pointer, base, 0, 0, 0])?;
        }
        self.emit(i, Code::Return, [0; 5], 0);
        Ok(())
    }

    /// A branch around what comes of a guarded instruction; the instruction without its guard.
    pub fn around(&mut self, i: &Instruction<'a>) -> Instruction<'a> {
        let mut i = i.clone();
        if let Some((p, negated)) = i.guard {
            let past = self.starts.len() as u32;
            let branch = Instruction { guard: Some((p, !negated)), ..i.clone() };
            self.emit(&branch, Code::Branch, [0; 5], past);
            i.guard = None;
        }
        i
    }

    /// What an argument holds, one register for each unit of the parameter; of a `[]` parameter, so many.
    fn take(
        &mut self,
        i: &Instruction<'a>,
        operand: &Operand<'a>,
        p: &Parameter,
        open: Option<usize>,
    ) -> Result<Vec<(Kind, Reg)>> {
        let Operand::Variable(v) = operand else {
            let kind = if p.ty == ".pred" { Kind::P } else { unit_type(units(p.bytes).0).1 };
            if open.is_some() || p.ty != ".pred" && units(p.bytes).1 != 1 {
                return unsupported(i, "a register or number for a parameter that is an array");
            }
            return Ok(vec![(kind, self.slot(i, operand, kind)?)]);
        };
        let bytes = self.kernel.variables[*v].bytes;
        if open.is_none() && bytes != p.bytes {
            return unsupported(i, &format!("{bytes} bytes for a parameter of {}", p.bytes));
        }
        let (unit, count) = open.map_or(units(bytes), |_| (8, bytes.div_ceil(8)));
        let (ty, kind) = unit_type(unit);
        if let Home::Registers(registers) = &self.homes[*v] {
            return Ok(registers.iter().map(|&r| (kind, r)).collect());
        }
        let base = self.slot(i, operand, Kind::D)?;
        let mut values = Vec::new();
        for k in 0..count {
            let value = self.new_slot(kind);
            self.emit(i, Code::Load(local(ty)), [value, base, 0, 0, 0], (k * unit) as u32);
            values.push((kind, value));
        }
        Ok(values)
    }

    /// Puts a parameter's or result's units where they belong.
    fn put(&mut self, i: &Instruction<'a>, operand: &Operand<'a>, p: &Parameter, values: &[Reg]) -> Result<()> {
        let open = p.array && p.bytes == 0;
        let (unit, _) = if open { (8, 0) } else { units(p.bytes) };
        let (ty, kind) = unit_type(unit);
        let Operand::Variable(v) = operand else {
            if *operand == Operand::Symbol("_") {
                return Ok(());
            }
            let kind = if p.ty == ".pred" { Kind::P } else { kind };
            let to = self.slot(i, operand, kind)?;
            return match values {
                [value] => self.step_of(i, kind, to, *value),
                _ => unsupported(i, "a register for a result that is an array"),
            };
        };
        let bytes = self.kernel.variables[*v].bytes;
        if !open && bytes != p.bytes {
            return unsupported(i, &format!("{bytes} bytes for a result of {}", p.bytes));
        }
        if let Home::Registers(registers) = self.homes[*v].clone() {
            for (&to, &from) in registers.iter().zip(values) {
                self.step_of(i, kind, to, from)?;
            }
            return Ok(());
        }
        let most = self.calls.current.and_then(|f| self.calls.graph.variadic.get(&f)).copied().unwrap_or(0);
        let count = if open { most.div_ceil(8).min(values.len()) } else { values.len() };
        let base = self.slot(i, operand, Kind::D)?;
        for (k, &value) in values[..count].iter().enumerate() {
            self.emit(i, Code::Store(local(ty)), [value, base, 0, 0, 0], (k * unit) as u32);
        }
        Ok(())
    }

    pub fn call(&mut self, i: &Instruction<'a>) -> Result<()> {
        let [Operand::List(results), callee, Operand::List(arguments), ..] = i.operands.as_slice() else {
            return unsupported(i, "these operands");
        };
        let i = &self.around(i);
        let module = self.module;
        let target = named(module, i);
        if let (Operand::Symbol(name), None) = (callee, target) {
            return self.builtin(i, name, results, arguments);
        }
        let formals = match target {
            Some(f) => Some((module.functions[f].results.as_slice(), module.functions[f].parameters.as_slice())),
            None => prototype(module, self.kernel, i),
        };
        let Some((formal_results, formal_parameters)) = formals else {
            return unsupported(i, "a call through a pointer without a prototype");
        };
        if formal_results.len() != results.len() || formal_parameters.len() != arguments.len() {
            let (r, p) = (formal_results.len(), formal_parameters.len());
            return unsupported(i, &format!("a call with other than {p} arguments and {r} results"));
        }
        let (mut numbers, mut moves) = (HashMap::new(), Vec::new());
        for (p, argument) in formal_parameters.iter().zip(arguments) {
            let open = (p.array && p.bytes == 0).then_some(0);
            let values = self.take(i, argument, p, open)?;
            let to = self.transfers_of(p, false, &mut numbers);
            moves.extend(values.into_iter().zip(to));
        }
        for ((kind, from), to) in moves {
            self.step_of(i, kind, to, from)?;
        }
        let mut more = More { imms: vec![target.map_or(-1, |f| f as i64), 0, 0, 0], ..More::default() };
        if target.is_none() {
            more.uses.push(self.slot(i, callee, Kind::D)?);
            let wanted = shape(formal_results, formal_parameters);
            for &f in &self.calls.graph.targets {
                let f_shape = shape(&module.functions[f].results, &module.functions[f].parameters);
                if f_shape == wanted {
                    more.imms.extend([f as i64, -1]);
                }
            }
        }
        self.emit_more(i, Code::Call, more);
        if let (Operand::Symbol(name), Some(place)) = (callee, self.places.last_mut()) {
            place.text = format!("{} {name}", place.text);
        }
        let mut numbers = HashMap::new();
        for (p, result) in formal_results.iter().zip(results) {
            let values = self.transfers_of(p, true, &mut numbers);
            self.put(i, result, p, &values)?;
        }
        Ok(())
    }

    /// What CUDA's own runtime would bring along: PTX ISA 9.0, 10 and CUDA C++ Programming Guide 13.0, 10.33 to 10.35.
    fn builtin(
        &mut self,
        i: &Instruction<'a>,
        name: &str,
        results: &[Operand<'a>],
        arguments: &[Operand<'a>],
    ) -> Result<()> {
        let value = |ty, bytes| Parameter {
            name: "",
            ty,
            array: false,
            offset: 0,
            bytes,
            align: bytes,
            pointer: None,
            held: Held::Nowhere,
        };
        let (word, double) = (value(".b32", 4), value(".b64", 8));
        let formals: &[&Parameter] = match name {
            "vprintf" => &[&double, &double],
            "__assertfail" => &[&double, &double, &word, &double, &double],
            "malloc" | "free" | "__nv_malloc" | "__nv_free" => {
                return Err(LoadError::at(
                    i.line,
                    format!(
                        "`{name}` on the device is not part of softgpu: allocate on the host and pass a pointer to the kernel"
                    ),
                ));
            }
            _ => {
                return Err(LoadError::at(
                    i.line,
                    format!(
                        "the module calls `{name}` and does not define it: softgpu links no modules (compile it without `-rdc=true`, or into one PTX text)"
                    ),
                ));
            }
        };
        if arguments.len() != formals.len() || results.len() > 1 {
            return unsupported(i, "these arguments");
        }
        let mut more = More::default();
        for (p, argument) in formals.iter().zip(arguments) {
            more.uses.extend(self.take(i, argument, p, None)?.iter().map(|&(_, register)| register));
        }
        let result = self.new_slot(Kind::W);
        if name == "vprintf" {
            more.defs.push(result);
            self.emit_wide(i, &call::PRINT, more);
        } else {
            self.emit_wide(i, &call::ASSERT, more);
        }
        if let Some(place) = self.places.last_mut() {
            place.text = format!("{} {name}", place.text);
        }
        match results {
            [to] if name == "vprintf" => self.put(i, to, &word, &[result]),
            _ => Ok(()),
        }
    }

    /// A variable's address in its space, if that is the same for every activation of its function.
    pub fn own_address(&self, v: usize) -> Option<u64> {
        match self.homes.get(v)? {
            Home::At(at) => Some(*at),
            _ => None,
        }
    }

    /// A variable's address in its activation's frame.
    pub fn frame_address(&mut self, i: &Instruction, v: usize, addend: i64, kind: Kind) -> Result<Option<Reg>> {
        let (Some(Home::Frame(at)), Some(base)) = (self.homes.get(v), self.calls.base) else { return Ok(None) };
        let more = self.constant_slot(Init::Bits(at.wrapping_add(addend as u64)), Kind::D);
        let sum = self.new_slot(Kind::D);
        self.step(i, "add.u64", [sum, base, more, 0, 0])?;
        if kind != Kind::W {
            return Ok(Some(sum));
        }
        let narrow = self.new_slot(Kind::W);
        self.step(i, "cvt.u32.u64", [narrow, sum, 0, 0, 0])?;
        Ok(Some(narrow))
    }

    /// `ld.param` and `st.param` of a variable that is held in registers: true if this is one.
    pub fn promoted(&mut self, i: &Instruction<'a>, load: bool) -> Result<bool> {
        let [first, second] = i.operands.as_slice() else { return Ok(false) };
        let (value, address) = if load { (first, second) } else { (second, first) };
        let Operand::Address { base, offset } = address else { return Ok(false) };
        let Some(Home::Registers(registers)) = variable(base).and_then(|v| self.homes.get(v)).cloned() else {
            return Ok(false);
        };
        let ty = i.opcode.rsplit('.').next().unwrap_or_default();
        let size = crate::parse::type_bytes(ty).unwrap_or(1);
        let values = match value {
            Operand::Vector(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let kind = mem::kind_of(ty);
        for (value, &register) in values.iter().zip(&registers[*offset as usize / size..]) {
            if !load {
                let from = self.narrowed(i, value, kind)?;
                self.step_of(i, kind, register, from)?;
                continue;
            }
            let wide = matches!(value, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Double)
                && kind == Kind::W;
            let sign = if ty.starts_with('s') { 's' } else { 'u' };
            let narrow = if wide { self.new_slot(Kind::W) } else { self.destination(i, value, kind)? };
            match size {
                1 | 2 => {
                    self.step(i, &format!("cvt.{sign}32.{sign}{}", 8 * size), [narrow, register, 0, 0, 0])?;
                }
                _ => self.step_of(i, kind, narrow, register)?,
            }
            if wide {
                let to = self.slot(i, value, Kind::D)?;
                self.step(i, &format!("cvt.{sign}64.{sign}32"), [to, narrow, 0, 0, 0])?;
            }
        }
        Ok(true)
    }
}

fn local(ty: &'static str) -> Access {
    Access { ty, v: 1, space: LOCAL, wide: true, strong: false }
}

/// The operand by which a function's parameter is named inside it.
fn held<'a>(p: &Parameter) -> Operand<'a> {
    match p.held {
        Held::Variable(v) => Operand::Variable(v),
        Held::Register(r) => Operand::Register(r),
        Held::Nowhere => Operand::Symbol("_"),
    }
}
