//! A module back to PTX text, which parses to the same module. Names that several scopes share become several names.

use std::collections::HashSet;
use std::fmt::{self, Write};

use crate::ast::{
    Address, Declared, Function, Held, Instruction, Loc, Module, Operand, Parameter, Signature, Variable,
};

/// PTX text of a module.
pub fn print(module: &Module) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_module(&mut out, module);
    out
}

fn write_module(out: &mut String, m: &Module) -> fmt::Result {
    if !m.version.is_empty() {
        writeln!(out, ".version {}", m.version)?;
    }
    if !m.targets.is_empty() {
        writeln!(out, ".target {}", m.targets.join(", "))?;
    }
    writeln!(out, ".address_size 64")?;
    for (number, name) in &m.files {
        writeln!(out, ".file {number} \"{name}\"")?;
    }
    // Declared first: tables and calls may name functions that come later.
    for f in &m.functions {
        header(out, f, &Names::new(f))?;
        writeln!(out, ";")?;
    }
    for v in &m.variables {
        variable(out, v, v.name)?;
    }
    for f in m.functions.iter().chain(&m.kernels).filter(|f| f.defined || f.kernel) {
        function(out, f)?;
    }
    m.aliases.iter().try_for_each(|(alias, of)| writeln!(out, ".alias {alias}, {of};"))
}

/// What everything in a function is called: the name that it has, or one made of it if that is taken.
struct Names {
    registers: Vec<String>,
    variables: Vec<String>,
    labels: Vec<String>,
    declarations: Vec<String>,
}

impl Names {
    fn new(f: &Function) -> Names {
        // What the function names of the module's must not become its own.
        let mut taken: HashSet<String> = HashSet::new();
        for operand in f.body.iter().flat_map(|i| &i.operands) {
            operand.walk(&mut |o| {
                if let Operand::Symbol(name) = o {
                    taken.insert(name.to_string());
                }
            });
        }
        let mut unique = |name: &str| {
            let name = name.replace('.', "$");
            let mut tries = std::iter::once(name.clone()).chain((1..).map(|n| format!("{name}${n}")));
            // The second iterator never ends.
            let new = tries.find(|name| !taken.contains(name)).unwrap_or(name.clone());
            taken.insert(new.clone());
            new
        };
        // The names of parameters are seen from outside: they come first.
        let variables: Vec<_> =
            f.variables.iter().map(|v| if v.name == "_" { "_".into() } else { unique(v.name) }).collect();
        Names {
            variables,
            registers: f.registers.iter().map(|(_, name, _)| unique(name)).collect(),
            labels: f.labels.iter().map(|l| unique(l.name)).collect(),
            declarations: f.declarations.iter().map(|d| unique(d.name)).collect(),
        }
    }
}

fn variable(out: &mut String, v: &Variable, name: &str) -> fmt::Result {
    if !v.linkage.is_empty() {
        write!(out, "{} ", v.linkage)?;
    }
    write!(out, "{} ", v.space)?;
    if v.managed {
        write!(out, ".attribute(.managed) ")?;
    }
    write!(out, ".align {} ", v.align)?;
    if v.lanes > 1 {
        write!(out, ".v{} ", v.lanes)?;
    }
    write!(out, "{} {name}", v.ty)?;
    let size = (element_bytes(v.ty) * v.lanes).max(1);
    if v.array && v.bytes == 0 {
        write!(out, "[]")?;
    } else if v.array {
        write!(out, "[{}]", v.bytes / size)?;
    }
    if !v.init.is_empty() {
        write!(out, " = ")?;
        initial(out, v)?;
    }
    writeln!(out, ";")
}

fn element_bytes(ty: &str) -> usize {
    crate::parse::type_bytes(ty).unwrap_or(16)
}

fn initial(out: &mut String, v: &Variable) -> fmt::Result {
    let size = element_bytes(v.ty);
    let element = |out: &mut String, at: usize| match v.addresses.iter().find(|a| a.at == at) {
        Some(address) => write_address(out, address, size),
        None => {
            let mut raw = [0; 16];
            raw[..size].copy_from_slice(&v.init[at..at + size]);
            let bits = u128::from_le_bytes(raw) as u64;
            match v.ty {
                ".f32" => write!(out, "0f{bits:08X}"),
                ".f64" => write!(out, "0d{bits:016X}"),
                _ => write!(out, "{bits}"),
            }
        }
    };
    let row = size * v.lanes;
    if !v.array && v.lanes == 1 {
        return element(out, 0);
    }
    write!(out, "{{")?;
    for at in (0..v.init.len()).step_by(size) {
        if v.array && v.lanes > 1 && at % row == 0 {
            write!(out, "{{")?;
        }
        element(out, at)?;
        if v.array && v.lanes > 1 && (at + size).is_multiple_of(row) {
            write!(out, "}}")?;
        }
        if at + size < v.init.len() {
            write!(out, ", ")?;
        }
    }
    if v.array && v.lanes > 1 && !v.init.len().is_multiple_of(row) {
        write!(out, "}}")?;
    }
    write!(out, "}}")
}

fn write_address(out: &mut String, a: &Address, size: usize) -> fmt::Result {
    let masked = a.bytes != size || a.shift != 0 || a.bytes == 1;
    if masked {
        write!(out, "{:#x}(", 0xffu64 << a.shift)?;
    }
    if a.generic {
        write!(out, "generic({})", a.name)?;
    } else {
        write!(out, "{}", a.name)?;
    }
    if a.addend != 0 {
        write!(out, "{:+}", a.addend)?;
    }
    if masked { write!(out, ")") } else { Ok(()) }
}

fn parameter(out: &mut String, p: &Parameter, names: Option<&Names>) -> fmt::Result {
    let name = match (p.held, names) {
        (Held::Register(r), Some(names)) => {
            return write!(out, ".reg {} {}", p.ty, names.registers[r]);
        }
        (Held::Variable(v), Some(names)) => names.variables[v].as_str(),
        _ => p.name,
    };
    write!(out, ".param ")?;
    if p.align > element_bytes(p.ty) {
        write!(out, ".align {} ", p.align)?;
    }
    write!(out, "{} ", p.ty)?;
    if let Some((space, align)) = p.pointer {
        write!(out, ".ptr ")?;
        if !space.is_empty() {
            write!(out, "{space} ")?;
        }
        if align > 0 {
            write!(out, ".align {align} ")?;
        }
    }
    write!(out, "{name}")?;
    match p.array {
        true if p.bytes == 0 => write!(out, "[]"),
        true => write!(out, "[{}]", p.bytes / element_bytes(p.ty)),
        false => Ok(()),
    }
}

fn parameters(out: &mut String, all: &[Parameter], names: Option<&Names>) -> fmt::Result {
    write!(out, "(")?;
    for (at, p) in all.iter().enumerate() {
        if at > 0 {
            write!(out, ", ")?;
        }
        parameter(out, p, names)?;
    }
    write!(out, ")")
}

fn header(out: &mut String, f: &Function, names: &Names) -> fmt::Result {
    if !f.linkage.is_empty() {
        write!(out, "{} ", f.linkage)?;
    }
    write!(out, "{} ", if f.kernel { ".entry" } else { ".func" })?;
    if !f.results.is_empty() {
        parameters(out, &f.results, Some(names))?;
        write!(out, " ")?;
    }
    write!(out, "{} ", f.name)?;
    parameters(out, &f.parameters, Some(names))?;
    for (directive, numbers) in &f.directives {
        write!(out, "\n{directive} {}", join(numbers))?;
    }
    Ok(())
}

fn join<T: ToString>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn signature(out: &mut String, s: &Signature) -> fmt::Result {
    if !s.results.is_empty() {
        parameters(out, &s.results, None)?;
    }
    write!(out, " _ ")?;
    parameters(out, &s.parameters, None)?;
    write!(out, "{}", if s.noreturn { " .noreturn" } else { "" })
}

fn function(out: &mut String, f: &Function) -> fmt::Result {
    let names = Names::new(f);
    header(out, f, &names)?;
    if !f.defined {
        return writeln!(out, ";");
    }
    writeln!(out, "\n{{")?;
    let held = |held: Held| f.results.iter().chain(&f.parameters).any(|p| p.held == held);
    for (at, (_, _, ty)) in f.registers.iter().enumerate().filter(|(at, _)| !held(Held::Register(*at))) {
        writeln!(out, "\t.reg {ty} {};", names.registers[at])?;
    }
    for (at, v) in f.variables.iter().enumerate().filter(|(at, _)| !held(Held::Variable(*at))) {
        write!(out, "\t")?;
        variable(out, v, &names.variables[at])?;
    }
    for (declaration, name) in f.declarations.iter().zip(&names.declarations) {
        write!(out, "{name}: ")?;
        match &declaration.what {
            Declared::Branches(labels) => {
                let labels: Vec<&str> = labels.iter().map(|&l| names.labels[l].as_str()).collect();
                write!(out, ".branchtargets {}", labels.join(", "))?;
            }
            Declared::Calls(functions) => write!(out, ".calltargets {}", functions.join(", "))?,
            Declared::Prototype(prototype) => {
                write!(out, ".callprototype ")?;
                signature(out, prototype)?;
            }
        }
        writeln!(out, ";")?;
    }
    let mut locs = 0;
    let mut loc = |out: &mut String, until: usize| {
        let new = f.locs.iter().take(until).skip(locs).try_for_each(|l| write_loc(out, l));
        locs = locs.max(until);
        new
    };
    for (at, i) in f.body.iter().enumerate() {
        write_labels(out, f, &names, at)?;
        loc(out, i.loc.map_or(0, |l| l as usize + 1))?;
        write!(out, "\t")?;
        instruction(out, i, &names)?;
        writeln!(out, ";")?;
    }
    write_labels(out, f, &names, f.body.len())?;
    loc(out, f.locs.len())?;
    writeln!(out, "}}")
}

fn write_labels(out: &mut String, f: &Function, names: &Names, at: usize) -> fmt::Result {
    let mut here = f.labels.iter().zip(&names.labels).filter(|(label, _)| label.at == at);
    here.try_for_each(|(_, name)| writeln!(out, "{name}:"))
}

fn write_loc(out: &mut String, l: &Loc) -> fmt::Result {
    write!(out, "\t.loc {} {} {}", l.at.0, l.at.1, l.column)?;
    if let Some((name, offset)) = l.function {
        write!(out, ", function_name {name}")?;
        if offset != 0 {
            write!(out, "{offset:+}")?;
        }
    }
    if let Some((file, line, column)) = l.call {
        write!(out, ", inlined_at {file} {line} {column}")?;
    }
    writeln!(out)
}

fn instruction(out: &mut String, i: &Instruction, names: &Names) -> fmt::Result {
    if let Some((register, negated)) = i.guard {
        write!(out, "@{}{} ", if negated { "!" } else { "" }, names.registers[register])?;
    }
    write!(out, "{}", i.opcode)?;
    if let (true, [results, callee, arguments, rest @ ..]) = (i.head() == "call", i.operands.as_slice()) {
        let empty = |list: &Operand| matches!(list, Operand::List(all) if all.is_empty());
        write!(out, " ")?;
        if !empty(results) {
            operand(out, results, names)?;
            write!(out, ", ")?;
        }
        operand(out, callee, names)?;
        for more in std::iter::once(arguments).filter(|a| !empty(a) || !rest.is_empty()).chain(rest) {
            write!(out, ", ")?;
            operand(out, more, names)?;
        }
        return Ok(());
    }
    for (at, o) in i.operands.iter().enumerate() {
        write!(out, "{}", if at == 0 { " " } else { ", " })?;
        operand(out, o, names)?;
    }
    Ok(())
}

fn operand(out: &mut String, o: &Operand, names: &Names) -> fmt::Result {
    let parts = |out: &mut String, open: &str, all: &[Operand], close: &str| {
        write!(out, "{open}")?;
        for (at, part) in all.iter().enumerate() {
            write!(out, "{}", if at == 0 { "" } else { ", " })?;
            operand(out, part, names)?;
        }
        write!(out, "{close}")
    };
    match o {
        Operand::Register(r) => write!(out, "{}", names.registers[*r]),
        Operand::Part(r, part) => write!(out, "{}.{part}", names.registers[*r]),
        Operand::Integer(value) => write!(out, "{value}"),
        Operand::Float32(bits) => write!(out, "0f{bits:08X}"),
        Operand::Float64(bits) => write!(out, "0d{bits:016X}"),
        Operand::Symbol(name) => write!(out, "{name}"),
        Operand::Variable(v) => write!(out, "{}", names.variables[*v]),
        Operand::Label(l) => write!(out, "{}", names.labels[*l]),
        Operand::Declared(d) => write!(out, "{}", names.declarations[*d]),
        Operand::Vector(all) => parts(out, "{", all, "}"),
        Operand::List(all) => parts(out, "(", all, ")"),
        Operand::Bracket(all) => parts(out, "[", all, "]"),
        Operand::Address { base, offset } => {
            write!(out, "[")?;
            operand(out, base, names)?;
            if *offset != 0 {
                write!(out, "{offset:+}")?;
            }
            write!(out, "]")
        }
        Operand::Sum(base, addend) => {
            operand(out, base, names)?;
            write!(out, "{addend:+}")
        }
        Operand::Pair(a, b) => {
            operand(out, a, names)?;
            write!(out, "|")?;
            operand(out, b, names)
        }
        Operand::Not(a) => {
            write!(out, "!")?;
            operand(out, a, names)
        }
    }
}
