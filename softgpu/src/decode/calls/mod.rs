//! Functions: what comes of them in a kernel. PTX ISA 9.0, 7.1 and 9.7.12.4 to 9.7.12.7.
//!
//! A kernel's functions are part of its own stream of instructions, callees before callers where the call graph allows
//! it and the kernel last, so that the scheduler, which runs the lowest pc first, waits for lanes inside a callee. Which
//! functions those are says [`graph`], where their variables lie [`frames`], how arguments and results travel
//! [`passing`].

mod frames;
mod graph;
mod passing;

use std::collections::{HashMap, HashSet};

use super::place;
use super::{Decoder, Kind2, Result};
use crate::LoadError;
use crate::ast::Instruction;
use crate::exec::call;
use crate::ir::{Code, More, Reg};
use crate::isa::Kind;

pub use frames::{Home, MOST_LOCAL};
pub use graph::Graph;

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
    /// A shared variable is as large as the launch says.
    pub dynamic_shared: bool,
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
            dynamic_shared: false,
        }
    }
}

impl<'a> Decoder<'_, 'a> {
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
        let compared = place::compared(function);
        for at in self.starts.windows(2).zip(compared).filter(|(at, yes)| *yes && at[0] < at[1]).map(|(at, _)| at[0]) {
            self.places[self.insts[at as usize].place as usize].compared = true;
        }
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
            let values = self.take(i, &passing::held(p), p, None)?;
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
}
