//! How arguments and results travel: in registers of their own, one for each unit of a parameter.

use std::collections::HashMap;

use super::super::{Decoder, Init, Kind2, Result, unsupported};
use super::frames::{Home, STACK};
use super::graph::{is_call, named, prototype, shape};
use crate::LoadError;
use crate::ast::{Class, Function, Held, Instruction, Module, Operand, Parameter, Variable};
use crate::exec::call;
use crate::exec::mem::{self, LOCAL};
use crate::ir::{Access, Code, More, Reg};
use crate::isa::Kind;

/// A larger `.param` variable stays in memory.
const MOST_PROMOTED: usize = 256;

/// A parameter's size as units of one register each: bytes of a unit, and how many.
pub(super) fn units(bytes: usize) -> (usize, usize) {
    let unit = [8, 4, 2, 1].into_iter().find(|&unit| bytes.is_multiple_of(unit)).unwrap_or(1);
    (unit, bytes / unit)
}

pub(super) fn unit_type(unit: usize) -> (&'static str, Kind) {
    match unit {
        8 => ("b64", Kind::D),
        4 => ("b32", Kind::W),
        2 => ("b16", Kind::W),
        _ => ("b8", Kind::W),
    }
}

/// Which `.param` variables of a function may be registers.
pub(super) fn promotable(module: &Module, f: &Function) -> Vec<bool> {
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

impl<'a> Decoder<'_, 'a> {
    pub(super) fn step_of(&mut self, i: &Instruction, kind: Kind, to: Reg, from: Reg) -> Result<()> {
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
    pub(super) fn prologue(&mut self, i: &Instruction<'a>) -> Result<()> {
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
    pub(super) fn transfers_of(
        &mut self,
        p: &Parameter,
        results: bool,
        numbers: &mut HashMap<Kind2, usize>,
    ) -> Vec<Reg> {
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

    /// What an argument holds, one register for each unit of the parameter; of a `[]` parameter, so many.
    pub(super) fn take(
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
    pub(super) fn put(
        &mut self,
        i: &Instruction<'a>,
        operand: &Operand<'a>,
        p: &Parameter,
        values: &[Reg],
    ) -> Result<()> {
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
pub(super) fn held<'a>(p: &Parameter) -> Operand<'a> {
    match p.held {
        Held::Variable(v) => Operand::Variable(v),
        Held::Register(r) => Operand::Register(r),
        Held::Nowhere => Operand::Symbol("_"),
    }
}
