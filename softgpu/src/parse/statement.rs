//! The statements of a body: instructions, declarations, labels. PTX ISA 9.0, 4.3 and 6.4.

use super::scope::Body;
use super::{DEEPEST, Parser, Result};
use crate::ast::{Class, Declaration, Declared, Instruction, Loc, Operand, Register};
use crate::lex::Token;

impl<'a> Parser<'a> {
    pub fn statement(&mut self, body: &mut Body<'a>) -> Result<()> {
        let line = self.line();
        let Some(token) = self.peek() else { return self.expected("`}`") };
        match token {
            Token::Mark('{') => {
                if body.scopes.len() == DEEPEST {
                    return self.error(format!("nested more than {DEEPEST} deep"));
                }
                self.at += 1;
                body.scopes.push(Default::default());
            }
            Token::Mark('}') => {
                self.at += 1;
                body.close()?;
            }
            Token::Mark(';') => self.at += 1,
            Token::Mark('@') => {
                self.at += 1;
                let guard = self.guard(body)?;
                let opcode = self.word("an instruction")?;
                self.instruction(body, opcode, Some(guard), line)?;
            }
            Token::Word(word) if word.starts_with('.') => {
                self.at += 1;
                self.directive(body, word)?;
            }
            Token::Word(_) if self.peek_at(1) == Some(Token::Mark(':')) => {
                let name = self.name("a label")?;
                self.at += 1;
                self.label(body, name)?;
            }
            Token::Word(opcode) => {
                self.at += 1;
                self.instruction(body, opcode, None, line)?;
            }
            _ => return self.expected("an instruction"),
        }
        Ok(())
    }

    /// What stands after `@`.
    fn guard(&mut self, body: &mut Body<'a>) -> Result<(Register, bool)> {
        let negated = self.take('!');
        let name = self.name("a predicate")?;
        match body.find(name) {
            Some(Operand::Register(register)) if body.function.registers[register].0 == Class::Predicate => {
                Ok((register, negated))
            }
            _ => {
                self.at -= 1;
                self.expected("a predicate that is declared")
            }
        }
    }

    fn directive(&mut self, body: &mut Body<'a>, word: &'a str) -> Result<()> {
        match word {
            ".loc" => self.loc(body),
            ".pragma" => self.pragma(),
            ".reg" => self.registers(body),
            ".shared" | ".local" | ".param" | ".global" | ".const" => {
                for variable in self.variables(word, "")? {
                    if matches!(word, ".global" | ".const") {
                        return self.error(format!("softgpu takes `{word}` variables outside of functions only"));
                    }
                    let (name, index) = (variable.name, body.function.variables.len());
                    body.function.variables.push(variable);
                    if !body.declare_variable(name, index) {
                        return self.error(format!("`{name}` is declared twice"));
                    }
                }
                Ok(())
            }
            _ => {
                self.at -= 1;
                self.expected("an instruction or a directive that softgpu knows")
            }
        }
    }

    /// `.loc 2 112 3, function_name $L__info_string0, inlined_at 1 11 5`.
    fn loc(&mut self, body: &mut Body<'a>) -> Result<()> {
        let line = self.line();
        let triple = |p: &mut Self| -> Result<(u32, u32, u32)> {
            let (file, at) = (p.number("a file's number")?, p.number("a line's number")?);
            let column = matches!(p.peek(), Some(Token::Integer(_))) && p.line() == line;
            Ok((file, at, if column { p.number("a column")? } else { 0 }))
        };
        let (file, at, column) = triple(self)?;
        let mut loc = Loc { at: (file, at), column, function: None, call: None, outer: None };
        while self.take(',') {
            match self.peek_word() {
                Some("function_name") => {
                    self.at += 1;
                    let name = self.name("a label of `.debug_str`")?;
                    loc.function = Some((name, self.addend()?));
                }
                Some("inlined_at") => {
                    self.at += 1;
                    let call = triple(self)?;
                    loc.call = Some(call);
                    loc.outer = body.locs.get(&call).copied();
                }
                _ => return self.expected("`function_name` or `inlined_at`"),
            }
        }
        // The compiler knows of no line: the one before is the nearest.
        if at == 0 {
            return Ok(());
        }
        let index = body.function.locs.len() as u32;
        body.locs.insert((file, at, column), index);
        body.function.locs.push(loc);
        body.loc = Some(index);
        Ok(())
    }

    /// A label, or a declaration that has a name before it.
    fn label(&mut self, body: &mut Body<'a>, name: &'a str) -> Result<()> {
        let index = body.function.declarations.len();
        let what = match self.peek_word() {
            Some(".branchtargets") => {
                self.at += 1;
                self.list(|p| {
                    let (label, line) = (p.name("a label")?, p.line());
                    body.leave_table_open(index, label, line);
                    Ok(())
                })?;
                self.expect(';')?;
                Declared::Branches(Vec::new())
            }
            Some(".calltargets") => {
                self.at += 1;
                let names = self.list(|p| p.name("a function"))?;
                self.expect(';')?;
                Declared::Calls(names)
            }
            Some(".callprototype") => {
                self.at += 1;
                Declared::Prototype(self.prototype()?)
            }
            _ if body.declare_label(name) => return Ok(()),
            _ => return self.error(format!("the label `{name}` stands twice")),
        };
        body.function.declarations.push(Declaration { name, what });
        if body.declare_other(name, index) { Ok(()) } else { self.error(format!("`{name}` is declared twice")) }
    }

    fn instruction(
        &mut self,
        body: &mut Body<'a>,
        opcode: &'a str,
        guard: Option<(Register, bool)>,
        line: u32,
    ) -> Result<()> {
        if opcode.starts_with(['%', '$', '.']) {
            self.at -= 1;
            return self.expected("an instruction");
        }
        let mut i = Instruction { opcode, guard, operands: Vec::new(), line, loc: body.loc };
        let (head, at) = (i.head(), body.function.body.len());
        let (call, jump) = (head == "call", matches!(head, "bra" | "brx"));
        i.operands = if call { self.call(body)? } else { self.operands(body)? };
        for operand in 0..i.operands.len() {
            if jump || call && operand == 3 {
                body.leave_open(at, operand);
            }
        }
        body.function.body.push(i);
        Ok(())
    }

    fn operands(&mut self, body: &mut Body<'a>) -> Result<Vec<Operand<'a>>> {
        let mut operands = Vec::new();
        while !self.take(';') {
            if !operands.is_empty() && !self.take(',') {
                return self.expected("`,` or `;`");
            }
            operands.push(self.operand(body)?);
        }
        Ok(operands)
    }

    /// `(results), callee, (arguments), prototype;` where all but the callee may be left out.
    fn call(&mut self, body: &mut Body<'a>) -> Result<Vec<Operand<'a>>> {
        let results = self.call_list(body)?;
        if results.is_some() {
            self.expect(',')?;
        }
        let callee = self.operand(body)?;
        let (mut arguments, mut prototype) = (None, None);
        if self.take(',') {
            arguments = self.call_list(body)?;
            if arguments.is_none() || self.take(',') {
                prototype = Some(Operand::Symbol(self.name("a prototype")?));
            }
        }
        self.expect(';')?;
        let list = |all: Option<_>| Operand::List(all.unwrap_or_default());
        Ok([list(results), callee, list(arguments)].into_iter().chain(prototype).collect())
    }

    fn call_list(&mut self, body: &mut Body<'a>) -> Result<Option<Vec<Operand<'a>>>> {
        if !self.take('(') {
            return Ok(None);
        }
        if self.take(')') {
            return Ok(Some(Vec::new()));
        }
        let all = self.list(|p| p.operand(body))?;
        self.expect(')')?;
        Ok(Some(all))
    }

    fn operand(&mut self, body: &mut Body<'a>) -> Result<Operand<'a>> {
        let operand = match self.peek() {
            Some(Token::Word("WARP_SZ")) if matches!(self.peek_at(1), Some(Token::Mark(c)) if !",;]})".contains(c)) => {
                Operand::Integer(self.constant()?)
            }
            Some(Token::Word(name)) if !name.starts_with('.') => {
                self.at += 1;
                let named = body.find(name).or_else(|| body.part(name)).unwrap_or(Operand::Symbol(name));
                match self.peek() {
                    Some(Token::Mark('+' | '-'))
                        if !matches!(named, Operand::Register(_) | Operand::Part(..) | Operand::Vector(_)) =>
                    {
                        Operand::Sum(Box::new(named), self.addend()?)
                    }
                    _ => named,
                }
            }
            Some(Token::Float32(_) | Token::Float64(_) | Token::Decimal(..)) => self.float_operand(false),
            Some(Token::Mark('-'))
                if matches!(self.peek_at(1), Some(Token::Float32(_) | Token::Float64(_) | Token::Decimal(..))) =>
            {
                self.at += 1;
                self.float_operand(true)
            }
            Some(Token::Mark('!')) if matches!(self.peek_at(1), Some(Token::Word(word)) if word != "WARP_SZ") => {
                self.at += 1;
                Operand::Not(Box::new(self.nested(|p| p.operand(body))?))
            }
            Some(Token::Integer(_) | Token::Mark('-' | '+' | '(' | '~' | '!')) => Operand::Integer(self.constant()?),
            Some(Token::Mark('{')) => {
                self.at += 1;
                let parts = self.nested(|p| p.list(|p| p.operand(body)))?;
                self.expect('}')?;
                Operand::Vector(parts)
            }
            Some(Token::Mark('[')) => {
                self.at += 1;
                self.nested(|p| p.address(body))?
            }
            _ => return self.expected("an operand"),
        };
        if self.take('|') {
            let second = self.nested(|p| p.operand(body))?;
            return Ok(Operand::Pair(Box::new(operand), Box::new(second)));
        }
        Ok(operand)
    }

    fn float_operand(&mut self, negative: bool) -> Operand<'a> {
        let token = self.peek();
        self.at += 1;
        match token {
            Some(Token::Float32(bits)) => Operand::Float32(bits ^ (negative as u32) << 31),
            Some(Token::Float64(bits) | Token::Decimal(_, bits)) => Operand::Float64(bits ^ (negative as u64) << 63),
            _ => Operand::Integer(0),
        }
    }

    /// What stands between brackets, the first already read.
    fn address(&mut self, body: &mut Body<'a>) -> Result<Operand<'a>> {
        let first = self.operand(body)?;
        if self.take(',') {
            let mut parts = vec![first];
            parts.extend(self.list(|p| p.operand(body))?);
            self.expect(']')?;
            return Ok(Operand::Bracket(parts));
        }
        let (base, mut offset) = match first {
            Operand::Sum(base, offset) => (*base, offset),
            base => (base, 0),
        };
        if matches!(base, Operand::Register(_)) {
            offset = self.addend()?;
        }
        self.expect(']')?;
        Ok(Operand::Address { base: Box::new(base), offset })
    }
}
