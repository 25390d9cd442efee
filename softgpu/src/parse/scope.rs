//! The names that a function's body declares, in scopes within scopes. PTX ISA 9.0, 5.2 and 5.5.

use std::collections::HashMap;

use super::{Parser, Result, type_bytes};
use crate::LoadError;
use crate::ast::{Class, Declared, Function, Label, Operand};
use crate::lex::Token;

/// A function in the making.
pub struct Body<'a> {
    pub function: Function<'a>,
    /// Innermost last.
    pub scopes: Vec<Scope<'a>>,
    /// Index of the current `.loc`.
    pub loc: Option<u32>,
    /// The latest `.loc` of each place, for those that are inlined at it.
    pub locs: HashMap<(u32, u32, u32), u32>,
}

#[derive(Default)]
pub struct Scope<'a> {
    names: HashMap<&'a str, Named<'a>>,
    /// `%r<4>`: type and number by prefix.
    ranges: HashMap<&'a str, (&'a str, u64)>,
    labels: HashMap<&'a str, usize>,
    declarations: HashMap<&'a str, usize>,
    /// Operands that may be labels, which may come later: (instruction, operand).
    open: Vec<(usize, usize)>,
    /// Labels that a `.branchtargets` names: (declaration, name, line).
    open_tables: Vec<(usize, &'a str, u32)>,
}

#[derive(Clone)]
enum Named<'a> {
    /// A register that nobody has used yet, so that `%r<4000000000>` costs nothing.
    Unused(&'a str),
    Register(usize),
    /// Type, how many registers make it up, and those that are used.
    Vector(&'a str, usize, [Option<usize>; 4]),
    Variable(usize),
}

fn class_of(ty: &str) -> Option<Class> {
    Some(match (ty, type_bytes(ty)) {
        (".pred", _) => Class::Predicate,
        (".b128", _) => Class::Quad,
        (_, Some(8)) => Class::Double,
        (_, Some(_)) => Class::Word,
        _ => return None,
    })
}

const LANES: [&str; 4] = ["x", "y", "z", "w"];

impl<'a> Body<'a> {
    pub fn new(function: Function<'a>) -> Body<'a> {
        let scopes = vec![Scope::default()];
        Body { function, scopes, loc: None, locs: HashMap::new() }
    }

    fn scope(&mut self) -> &mut Scope<'a> {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// False if the scope has that name already.
    pub fn declare_variable(&mut self, name: &'a str, index: usize) -> bool {
        self.scope().names.insert(name, Named::Variable(index)).is_none()
    }

    fn declare_register(&mut self, name: &'a str, ty: &'a str, lanes: usize) -> bool {
        let named = if lanes == 0 { Named::Unused(ty) } else { Named::Vector(ty, lanes, [None; 4]) };
        self.scope().names.insert(name, named).is_none()
    }

    /// False if the scope has that label already.
    pub fn declare_label(&mut self, name: &'a str) -> bool {
        let (index, at) = (self.function.labels.len(), self.function.body.len());
        self.function.labels.push(Label { name, at });
        self.scope().labels.insert(name, index).is_none()
    }

    pub fn declare_other(&mut self, name: &'a str, index: usize) -> bool {
        self.scope().declarations.insert(name, index).is_none()
    }

    /// The operand may name a label or declaration that comes later.
    pub fn leave_open(&mut self, instruction: usize, operand: usize) {
        self.scope().open.push((instruction, operand));
    }

    /// As an instruction names it.
    pub fn find(&mut self, name: &'a str) -> Option<Operand<'a>> {
        for at in (0..self.scopes.len()).rev() {
            if let Some(named) = self.scopes[at].names.get(name).cloned() {
                return Some(self.whole(at, name, named));
            }
            if let Some((vector, lane)) = name.rsplit_once('.')
                && let Some(lane) = LANES.iter().position(|l| *l == lane)
                && matches!(self.scopes[at].names.get(vector), Some(Named::Vector(_, lanes, _)) if lane < *lanes)
            {
                return Some(Operand::Register(self.lane(at, vector, lane)));
            }
            if let Some(ty) = self.scopes[at].of_range(name) {
                return Some(self.whole(at, name, Named::Unused(ty)));
            }
        }
        None
    }

    /// `%r1.h0`: parts of a register, up to four bytes or halves.
    pub fn part(&mut self, name: &'a str) -> Option<Operand<'a>> {
        let (register, part) = name.rsplit_once('.')?;
        let digits = part.strip_prefix(['b', 'h'])?;
        let known = matches!(digits.len(), 1..=4) && digits.bytes().all(|c| matches!(c, b'0'..=b'7'));
        match self.find(register).filter(|_| known)? {
            Operand::Register(register) => Some(Operand::Part(register, part)),
            _ => None,
        }
    }

    /// What was declared; an unused register becomes one of the function's.
    fn whole(&mut self, scope: usize, name: &'a str, named: Named<'a>) -> Operand<'a> {
        match named {
            Named::Variable(index) => Operand::Variable(index),
            Named::Register(register) => Operand::Register(register),
            Named::Vector(_, lanes, _) => {
                Operand::Vector((0..lanes).map(|lane| Operand::Register(self.lane(scope, name, lane))).collect())
            }
            Named::Unused(ty) => {
                let register = self.register(name.to_string(), ty);
                self.scopes[scope].names.insert(name, Named::Register(register));
                Operand::Register(register)
            }
        }
    }

    fn register(&mut self, name: String, ty: &'a str) -> usize {
        self.function.registers.push((class_of(ty).unwrap_or(Class::Word), name, ty));
        self.function.registers.len() - 1
    }

    /// One register of a vector.
    fn lane(&mut self, scope: usize, vector: &'a str, lane: usize) -> usize {
        let next = self.function.registers.len();
        let Some(Named::Vector(ty, _, used)) = self.scopes[scope].names.get_mut(vector) else { return 0 };
        if let Some(register) = used[lane] {
            return register;
        }
        used[lane] = Some(next);
        let ty = *ty;
        self.register(format!("{vector}.{}", LANES[lane]), ty)
    }

    /// Ends the innermost scope: names that it has not declared may be those of the one around it.
    pub fn close(&mut self) -> std::result::Result<(), LoadError> {
        let Some(scope) = self.scopes.pop() else { return Ok(()) };
        let outermost = self.scopes.is_empty();
        for &(instruction, operand) in &scope.open {
            let Some(i) = self.function.body.get_mut(instruction) else { continue };
            let Some(Operand::Symbol(name)) = i.operands.get(operand) else { continue };
            if let Some(&label) = scope.labels.get(name) {
                i.operands[operand] = Operand::Label(label);
            } else if let Some(&declaration) = scope.declarations.get(name) {
                i.operands[operand] = Operand::Declared(declaration);
            } else if !outermost {
                let last = self.scopes.len() - 1;
                self.scopes[last].open.push((instruction, operand));
            } else if i.head() == "bra" || i.head() == "brx" {
                return Err(LoadError::at(i.line, format!("`{}` goes to `{name}`, which is no label here", i.opcode)));
            }
        }
        for &(declaration, name, line) in &scope.open_tables {
            if let Some(&label) = scope.labels.get(name) {
                if let Some(Declared::Branches(labels)) =
                    self.function.declarations.get_mut(declaration).map(|d| &mut d.what)
                {
                    labels.push(label);
                }
            } else if outermost {
                return Err(LoadError::at(line, format!("`.branchtargets` names `{name}`, which is no label here")));
            } else {
                let last = self.scopes.len() - 1;
                self.scopes[last].open_tables.push((declaration, name, line));
            }
        }
        Ok(())
    }

    pub fn leave_table_open(&mut self, declaration: usize, name: &'a str, line: u32) {
        self.scope().open_tables.push((declaration, name, line));
    }
}

impl<'a> Scope<'a> {
    /// The type of the register `%f3` if `%f<4>` is declared.
    fn of_range(&self, name: &str) -> Option<&'a str> {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        (1..=digits.min(10)).find_map(|digits| {
            let (prefix, number) = name.split_at(name.len() - digits);
            let (ty, count) = self.ranges.get(prefix)?;
            let canonical = number == "0" || !number.starts_with('0');
            (canonical && number.parse::<u64>().ok()? < *count).then_some(*ty)
        })
    }
}

impl<'a> Parser<'a> {
    /// `.reg .f32 %f<4>;`, `.reg .pred p, q;` or `.reg .v2 .b32 v;`, its word already read.
    pub fn registers(&mut self, body: &mut Body<'a>) -> Result<()> {
        let mut lanes = 0;
        if let Some(vector @ (".v2" | ".v4")) = self.peek_word() {
            self.at += 1;
            lanes = if vector == ".v2" { 2 } else { 4 };
        }
        let Some(ty) = self.peek_word().filter(|ty| class_of(ty).is_some()) else {
            return self.expected("a type such as `.b32`");
        };
        self.at += 1;
        self.list(|p| {
            let name = p.name("a register's name")?;
            let new = if p.take('<') {
                let Some(Token::Integer(count)) = p.peek() else { return p.expected("how many registers") };
                p.at += 1;
                p.expect('>')?;
                body.scope().ranges.insert(name, (ty, count.bits as u64)).is_none()
            } else {
                body.declare_register(name, ty, lanes)
            };
            if new { Ok(()) } else { p.error(format!("`{name}` is declared twice")) }
        })?;
        self.expect(';')
    }

    /// A register that is a function's parameter.
    pub fn parameter_register(&mut self, body: &mut Body<'a>, name: &'a str, ty: &'a str) -> Result<usize> {
        if class_of(ty).is_none() || !body.declare_register(name, ty, 0) {
            return self.error(format!("`{name}` is no register of type `{ty}`"));
        }
        match body.find(name) {
            Some(Operand::Register(register)) => Ok(register),
            _ => self.error(format!("`{name}` is no register")),
        }
    }
}
