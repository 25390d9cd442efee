//! Where the variables of functions lie.
//!
//! A `.param` variable is a register, or several, if all that is done to it is to load and store it by whole units; else
//! it lies in local memory. A function that can reach itself has a frame for each activation if it has variables in
//! memory, and its registers saved at the calls that it makes.

use std::collections::HashSet;

use super::super::{Decoder, Init, Result};
use super::passing::{promotable, unit_type, units};
use crate::ast::{Instruction, Operand};
use crate::ir::Reg;
use crate::isa::Kind;

/// Bytes of local memory for the frames of functions that can reach themselves.
pub(super) const STACK: usize = 16 * 1024;
/// Local memory of a thread: CUDA C++ Programming Guide 13.0, table of technical specifications.
pub const MOST_LOCAL: usize = 512 * 1024;

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
        self.calls.dynamic_shared = dynamic;
        if dynamic { end as usize } else { shared }
    }

    /// Makes `f`, or the kernel, the function that is decoded.
    pub(super) fn enter(&mut self, f: Option<usize>) {
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
}
