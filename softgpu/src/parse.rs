//! Tokens to a [`Module`]: registers resolved through nested scopes, labels to instruction indices, `.loc` kept.

use std::collections::HashMap;

use crate::LoadError;
use crate::ast::{Class, Instruction, Kernel, Module, Operand, Parameter, Register, SourceLine, Variable};
use crate::lex::{Spanned, Token, lex};

type Result<T> = std::result::Result<T, LoadError>;

/// Parses PTX text. Errors name the line and what was expected there.
pub fn parse(text: &str) -> Result<Module<'_>> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, source: None };
    parser.module()
}

struct Parser<'a> {
    tokens: Vec<Spanned<'a>>,
    at: usize,
    source: Option<SourceLine>,
}

/// The registers that are visible: innermost scope last.
type Scopes<'a> = Vec<HashMap<&'a str, Register>>;

/// Bytes of a PTX type such as `.u64`; `None` for anything else.
pub fn type_bytes(name: &str) -> Option<usize> {
    Some(match name.trim_start_matches('.') {
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" | "bf16" => 2,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return None,
    })
}

impl<'a> Parser<'a> {
    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |t| t.line)
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(LoadError::at(self.line(), what))
    }

    fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at).map(|t| &t.token)
    }

    fn next(&mut self) -> Result<Token<'a>> {
        let Some(token) = self.tokens.get(self.at) else { return self.error("the text ends too early") };
        self.at += 1;
        Ok(token.token.clone())
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.at += found as usize;
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) { Ok(()) } else { self.error(format!("expected `{mark}`, got {:?}", self.peek())) }
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.next()? {
            Token::Word(word) => Ok(word),
            other => self.error(format!("expected a name, got {other:?}")),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        let negative = self.take('-');
        match self.next()? {
            Token::Integer(value) => Ok(if negative { value.wrapping_neg() } else { value }),
            other => self.error(format!("expected an integer, got {other:?}")),
        }
    }

    fn module(&mut self) -> Result<Module<'a>> {
        let mut module = Module::default();
        while self.peek().is_some() {
            match self.word()? {
                ".version" | ".target" | ".address_size" => self.skip_line(),
                ".file" => {
                    let number = self.integer()? as u32;
                    let Token::Text(name) = self.next()? else { return self.error("`.file` needs a name") };
                    module.files.insert(number, name.to_string());
                    while self.take(',') {
                        self.integer()?;
                    }
                }
                ".section" => {
                    self.word()?;
                    self.skip_braces()?;
                }
                ".visible" | ".weak" | ".extern" | ".common" => {}
                ".entry" => {
                    let kernel = self.kernel()?;
                    module.kernels.push(kernel);
                }
                space @ (".global" | ".const" | ".shared") => {
                    let external = self.at >= 2 && self.tokens[self.at - 2].token == Token::Word(".extern");
                    let variable = self.variable(space, external)?;
                    module.variables.push(variable);
                }
                ".func" => return self.error("softgpu does not call functions; mark them `__forceinline__`"),
                other => return self.error(format!("softgpu does not know the directive `{other}`")),
            }
        }
        Ok(module)
    }

    /// Directives without a closing mark end with their line.
    fn skip_line(&mut self) {
        let line = self.tokens[self.at - 1].line;
        while self.tokens.get(self.at).is_some_and(|t| t.line == line) {
            self.at += 1;
        }
    }

    fn skip_braces(&mut self) -> Result<()> {
        self.expect('{')?;
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// `.align 4 .b8 name[64];`, the space already read. Initial values are skipped: such a variable may be declared,
    /// and is refused where it is used.
    fn variable(&mut self, space: &'a str, external: bool) -> Result<Variable<'a>> {
        let mut align = 1;
        let mut word = self.word()?;
        if word == ".align" {
            align = self.integer()? as usize;
            word = self.word()?;
        }
        let Some(size) = type_bytes(word) else { return self.error(format!("`{word}` is not a type")) };
        let name = self.word()?;
        let (mut count, mut open) = (1, false);
        while self.take('[') {
            if self.take(']') {
                open = true;
                continue;
            }
            count *= self.integer()? as usize;
            self.expect(']')?;
        }
        while !self.take(';') {
            self.next()?;
        }
        let bytes = if open { 0 } else { size * count };
        Ok(Variable { name, space, bytes, align: align.max(size), external: external || open })
    }

    fn kernel(&mut self) -> Result<Kernel<'a>> {
        let mut kernel = Kernel { name: self.word()?, ..Kernel::default() };
        if self.take('(') && !self.take(')') {
            loop {
                self.parameter(&mut kernel)?;
                if !self.take(',') {
                    break;
                }
            }
            self.expect(')')?;
        }
        while let Some(Token::Word(directive)) = self.peek().cloned() {
            if !matches!(directive, ".maxntid" | ".minnctapersm" | ".reqntid" | ".maxnreg") {
                return self.error(format!("softgpu does not know the kernel directive `{directive}`"));
            }
            self.at += 1;
            self.integer()?;
            while self.take(',') {
                self.integer()?;
            }
        }
        self.expect('{')?;
        self.source = None;
        let mut scopes = vec![HashMap::new()];
        while !scopes.is_empty() {
            self.statement(&mut kernel, &mut scopes)?;
        }
        Ok(kernel)
    }

    /// `.param .u64 .ptr .align 1 name` or `.param .align 8 .b8 name[24]`.
    fn parameter(&mut self, kernel: &mut Kernel<'a>) -> Result<()> {
        if self.word()? != ".param" {
            return self.error("expected `.param`");
        }
        let (mut align, mut size, mut name) = (0, None, "");
        while let Some(Token::Word(word)) = self.peek().cloned() {
            self.at += 1;
            match word {
                ".align" => align = self.integer()? as usize,
                ".ptr" | ".global" | ".shared" | ".const" => {}
                _ if type_bytes(word).is_some() => size = type_bytes(word),
                _ => name = word,
            }
        }
        let Some(size) = size else { return self.error("a parameter needs a type") };
        let mut bytes = size;
        if self.take('[') {
            bytes *= self.integer()? as usize;
            self.expect(']')?;
        } else {
            align = 0; // `.ptr .align` speaks of what the pointer points at
        }
        let end = kernel.parameters.last().map_or(0, |p| p.offset + p.bytes);
        kernel.parameters.push(Parameter { name, offset: end.next_multiple_of(align.max(size)), bytes });
        Ok(())
    }

    fn statement(&mut self, kernel: &mut Kernel<'a>, scopes: &mut Scopes<'a>) -> Result<()> {
        let line = self.line();
        match self.next()? {
            Token::Mark('{') => scopes.push(HashMap::new()),
            Token::Mark('}') => {
                scopes.pop();
            }
            Token::Mark(';') => {}
            Token::Mark('@') => {
                let negated = self.take('!');
                let name = self.word()?;
                let Some(register) = find(scopes, name) else { return self.error(format!("`{name}` is not declared")) };
                let opcode = self.word()?;
                self.instruction(kernel, scopes, opcode, Some((register, negated)), line)?;
            }
            Token::Word(".loc") => {
                self.source = Some((self.integer()? as u32, self.integer()? as u32));
                self.at -= 1;
                self.skip_line();
            }
            Token::Word(".pragma") => {
                self.next()?;
                self.expect(';')?;
            }
            Token::Word(".reg") => self.registers(kernel, scopes)?,
            Token::Word(space @ (".shared" | ".local")) => {
                let variable = self.variable(space, false)?;
                kernel.variables.push(variable);
            }
            Token::Word(word) if word.starts_with('.') => {
                return self.error(format!("softgpu does not know the directive `{word}`"));
            }
            Token::Word(label) if self.take(':') => {
                kernel.labels.insert(label, kernel.body.len());
            }
            Token::Word(opcode) => self.instruction(kernel, scopes, opcode, None, line)?,
            other => return self.error(format!("expected an instruction, got {other:?}")),
        }
        Ok(())
    }

    /// `.reg .f32 %f<4>;` or `.reg .pred p, q;`
    fn registers(&mut self, kernel: &mut Kernel<'a>, scopes: &mut Scopes<'a>) -> Result<()> {
        let kind = self.word()?;
        let class = match (kind, type_bytes(kind)) {
            (".pred", _) => Class::Predicate,
            (_, Some(8)) => Class::Double,
            (_, Some(_)) => Class::Word,
            _ => return self.error(format!("softgpu has no registers of type `{kind}`")),
        };
        loop {
            let name = self.word()?;
            let Some(scope) = scopes.last_mut() else { return self.error("a register outside a kernel") };
            if self.take('<') {
                let count = self.integer()?;
                self.expect('>')?;
                // `%f<4>` declares %f0 … %f3: one entry per name, looked up by its prefix.
                scope.insert(name, kernel.registers.len());
                kernel.registers.extend((0..count).map(|i| (class, format!("{name}{i}"))));
            } else {
                scope.insert(name, kernel.registers.len());
                kernel.registers.push((class, name.to_string()));
            }
            if !self.take(',') {
                break;
            }
        }
        self.expect(';')
    }

    fn instruction(
        &mut self,
        kernel: &mut Kernel<'a>,
        scopes: &Scopes<'a>,
        opcode: &'a str,
        guard: Option<(Register, bool)>,
        line: u32,
    ) -> Result<()> {
        let mut operands = Vec::new();
        while !self.take(';') {
            if !operands.is_empty() {
                self.expect(',')?;
            }
            operands.push(self.operand(kernel, scopes)?);
        }
        kernel.body.push(Instruction { opcode, guard, operands, line, source: self.source });
        Ok(())
    }

    fn operand(&mut self, kernel: &Kernel<'a>, scopes: &Scopes<'a>) -> Result<Operand<'a>> {
        let operand = match self.next()? {
            Token::Word(name) => named(kernel, scopes, name),
            Token::Integer(value) => Operand::Integer(value),
            Token::Float32(bits) => Operand::Float32(bits),
            Token::Float64(bits) => Operand::Float64(bits),
            Token::Mark('-') => Operand::Integer(self.integer()?.wrapping_neg()),
            Token::Mark('!') => Operand::Not(Box::new(self.operand(kernel, scopes)?)),
            Token::Mark('{') => {
                let mut parts = vec![self.operand(kernel, scopes)?];
                while self.take(',') {
                    parts.push(self.operand(kernel, scopes)?);
                }
                self.expect('}')?;
                Operand::Vector(parts)
            }
            Token::Mark('[') => {
                let base = Box::new(self.operand(kernel, scopes)?);
                let offset = if self.take('+') || self.peek() == Some(&Token::Mark('-')) { self.integer()? } else { 0 };
                self.expect(']')?;
                Operand::Address { base, offset }
            }
            other => return self.error(format!("expected an operand, got {other:?}")),
        };
        if self.take('|') {
            return Ok(Operand::Pair(Box::new(operand), Box::new(self.operand(kernel, scopes)?)));
        }
        Ok(operand)
    }
}

fn find(scopes: &Scopes<'_>, name: &str) -> Option<Register> {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[prefix.len()..].parse::<usize>().ok();
    scopes.iter().rev().find_map(|scope| {
        scope.get(name).copied().or_else(|| Some(scope.get(prefix)? + number.filter(|_| prefix != name)?))
    })
}

fn named<'a>(kernel: &Kernel<'a>, scopes: &Scopes<'a>, name: &'a str) -> Operand<'a> {
    match find(scopes, name) {
        // The prefix lookup must land on a register of that very name: `%f9` of `%f<4>` is not declared.
        Some(register) if kernel.registers.get(register).is_some_and(|(_, n)| n == name) => Operand::Register(register),
        _ => Operand::Symbol(name),
    }
}
