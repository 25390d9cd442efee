//! Tokens to a [`Module`]: names resolved through nested scopes, labels to instruction indices, `.loc` kept. PTX ISA 9.0,
//! chapters 4, 5, 7 and 11.

mod function;
mod number;
mod scope;
mod statement;
mod variable;

use crate::LoadError;
use crate::ast::{Function, Module};
use crate::lex::{Integer, Spanned, Token, lex};

type Result<T> = std::result::Result<T, LoadError>;

/// Parses PTX text. Errors name the line and what was expected there.
pub fn parse(text: &str) -> Result<Module<'_>> {
    let tokens = lex(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    parser.module()
}

struct Parser<'a> {
    tokens: Vec<Spanned<'a>>,
    at: usize,
    /// Brackets and operators that are open now.
    depth: usize,
}

/// Nothing that a compiler emits nests so deep.
const DEEPEST: usize = 64;

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
    /// Of the token that comes next.
    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.line)
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(LoadError::at(self.line(), what))
    }

    /// The error for the token that comes next.
    fn expected<T>(&self, what: &str) -> Result<T> {
        match self.peek() {
            Some(token) => self.error(format!("expected {what}, found {token}")),
            None => self.error(format!("expected {what}, but the text ends")),
        }
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).map(|t| t.token)
    }

    fn peek_at(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).map(|t| t.token)
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(Token::Mark(mark));
        self.at += found as usize;
        found
    }

    fn expect(&mut self, mark: char) -> Result<()> {
        if self.take(mark) { Ok(()) } else { self.expected(&format!("`{mark}`")) }
    }

    fn peek_word(&self) -> Option<&'a str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.peek_word() == Some(wanted);
        self.at += found as usize;
        found
    }

    fn word(&mut self, what: &str) -> Result<&'a str> {
        let Some(word) = self.peek_word() else { return self.expected(what) };
        self.at += 1;
        Ok(word)
    }

    /// A name: a word without dots.
    fn name(&mut self, what: &str) -> Result<&'a str> {
        match self.peek_word() {
            Some(word) if !word.contains(['.', ':']) => self.word(what),
            _ => self.expected(what),
        }
    }

    /// A number that counts something: a file, a line, bytes.
    fn count(&mut self, what: &str) -> Result<usize> {
        let start = self.at;
        let value = self.constant()?;
        usize::try_from(value).or_else(|_| {
            self.at = start;
            self.expected(what)
        })
    }

    fn number(&mut self, what: &str) -> Result<u32> {
        match self.peek() {
            Some(Token::Integer(Integer { bits, .. })) if u32::try_from(bits).is_ok() => {
                self.at += 1;
                Ok(bits as u32)
            }
            _ => self.expected(what),
        }
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEPEST {
            return self.error(format!("nested more than {DEEPEST} deep"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// `a, b, c`, at least one.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.take(',') {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn module(&mut self) -> Result<Module<'a>> {
        let mut module = Module::default();
        let mut linkage = "";
        while self.peek().is_some() {
            if self.take(';') {
                continue;
            }
            let word = self.word("a directive such as `.entry`")?;
            match word {
                ".version" => module.version = self.version()?,
                ".target" => module.targets = self.list(|p| p.name("a target such as `sm_80`"))?,
                ".address_size" => {
                    if self.number("`64`")? != 64 {
                        self.at -= 1;
                        return self.error("softgpu runs PTX with `.address_size 64` only");
                    }
                }
                ".file" => self.file(&mut module)?,
                ".section" => self.section()?,
                ".pragma" => self.pragma()?,
                ".visible" | ".weak" | ".extern" | ".common" => {
                    linkage = word;
                    continue;
                }
                ".entry" | ".func" => {
                    let function = self.function(word == ".entry", std::mem::take(&mut linkage))?;
                    self.add(&mut module, function)?;
                }
                ".alias" => {
                    let alias = self.name("the alias")?;
                    self.expect(',')?;
                    let of = self.name("a function")?;
                    self.expect(';')?;
                    module.aliases.push((alias, of));
                }
                ".global" | ".const" | ".shared" | ".local" => {
                    let variables = self.variables(word, std::mem::take(&mut linkage))?;
                    for variable in variables {
                        self.declare(&mut module, variable)?;
                    }
                }
                ".tex" => {
                    self.at -= 1;
                    return self.error("softgpu has no textures: read the data through a pointer");
                }
                _ => {
                    self.at -= 1;
                    return self.expected("a directive such as `.entry` that softgpu knows");
                }
            }
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<&'a str> {
        let Some(Token::Decimal(version, _)) = self.peek() else { return self.expected("a version such as `8.0`") };
        self.at += 1;
        Ok(version)
    }

    /// `.file 1 "kernels/a.cu", timestamp, size`.
    fn file(&mut self, module: &mut Module<'a>) -> Result<()> {
        let number = self.number("the file's number")?;
        let Some(Token::Text(name)) = self.peek() else { return self.expected("the file's name") };
        self.at += 1;
        while self.take(',') {
            self.constant()?;
        }
        module.files.insert(number, name);
        Ok(())
    }

    /// Debugging information for others: skipped.
    fn section(&mut self) -> Result<()> {
        self.word("the section's name")?;
        self.expect('{')?;
        let (start, mut depth) = (self.at, 1);
        while depth > 0 {
            match self.peek() {
                Some(Token::Mark('{')) => depth += 1,
                Some(Token::Mark('}')) => depth -= 1,
                Some(_) => {}
                None => {
                    self.at = start - 1;
                    return self.error("the section is not closed");
                }
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Hints for a compiler: skipped.
    fn pragma(&mut self) -> Result<()> {
        self.list(|p| match p.peek() {
            Some(Token::Text(_)) => {
                p.at += 1;
                Ok(())
            }
            _ => p.expected("a string"),
        })?;
        self.expect(';')
    }

    /// `.attribute(.managed, .unified(1, 2))`, its word already read: whether it is managed.
    fn attribute(&mut self) -> Result<bool> {
        self.expect('(')?;
        let mut managed = false;
        self.list(|p| {
            managed |= p.word("an attribute such as `.managed`")? == ".managed";
            if p.take('(') {
                p.list(|p| p.constant())?;
                p.expect(')')?;
            }
            Ok(())
        })?;
        self.expect(')')?;
        Ok(managed)
    }

    /// A definition takes the place of a declaration.
    fn add(&self, module: &mut Module<'a>, function: Function<'a>) -> Result<()> {
        if function.kernel && !function.defined {
            return Ok(());
        }
        let known = if function.kernel { &mut module.kernels } else { &mut module.functions };
        match known.iter_mut().find(|f| f.name == function.name) {
            Some(f) if f.defined && function.defined => {
                return Err(LoadError::at(function.line, format!("`{}` is defined twice", function.name)));
            }
            Some(f) if function.defined => *f = function,
            Some(_) => {}
            None => known.push(function),
        }
        Ok(())
    }

    fn declare(&self, module: &mut Module<'a>, variable: crate::ast::Variable<'a>) -> Result<()> {
        match module.variables.iter_mut().find(|v| v.name == variable.name) {
            Some(v) if v.linkage == ".extern" || v.linkage == ".common" => *v = variable,
            Some(_) if variable.linkage == ".extern" || variable.linkage == ".common" => {}
            Some(_) => return self.error(format!("`{}` is declared twice", variable.name)),
            None => module.variables.push(variable),
        }
        Ok(())
    }
}
