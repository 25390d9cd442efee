//! Kernels and functions: headers, parameters, prototypes. PTX ISA 9.0, 5.1.6, 7.1, 11.2 and 11.4.

use super::scope::Body;
use super::{Parser, Result, type_bytes};
use crate::ast::{Function, Held, Line, Parameter, Signature, Variable};
use crate::lex::Token;

/// Directives between a function's header and its body, with as many numbers as they like.
const DIRECTIVES: [&str; 11] = [
    ".maxnreg",
    ".maxntid",
    ".reqntid",
    ".minnctapersm",
    ".maxnctapersm",
    ".maxclusterrank",
    ".reqnctapercluster",
    ".explicitcluster",
    ".blocksareclusters",
    ".noreturn",
    ".abi_preserve",
];

/// A parameter as it is declared.
struct Declaration<'a> {
    parameter: Parameter<'a>,
    /// `.reg`, not `.param`.
    register: bool,
}

impl<'a> Parser<'a> {
    /// A kernel or function from its name on: a definition, or a declaration.
    pub fn function(&mut self, kernel: bool, linkage: &'a str) -> Result<Function<'a>> {
        let line = self.line();
        while !kernel && self.take_word(".attribute") {
            self.attribute()?;
        }
        let results = if kernel { Vec::new() } else { self.parameters()? };
        let name = self.name("the function's name")?;
        let parameters = self.parameters()?;
        let mut body = Body::new(Function { name, kernel, linkage, line, ..Function::default() });
        body.function.results = self.hold(&mut body, results)?;
        body.function.parameters = self.hold(&mut body, parameters)?;
        self.directives(&mut body.function)?;
        if self.take(';') {
            return Ok(body.function);
        }
        if !self.take('{') {
            return self.expected("`{` or `;`");
        }
        body.function.defined = true;
        while !body.scopes.is_empty() {
            self.statement(&mut body)?;
        }
        Ok(body.function)
    }

    fn directives(&mut self, function: &mut Function<'a>) -> Result<()> {
        while let Some(word) = self.peek_word() {
            self.at += 1;
            if word == ".pragma" {
                self.pragma()?;
                continue;
            }
            if !DIRECTIVES.contains(&word) {
                self.at -= 1;
                return self.expected("`{`, `;` or a directive such as `.maxntid` that softgpu knows");
            }
            let some = matches!(self.peek(), Some(Token::Integer(_) | Token::Mark('(' | '-')));
            let numbers = if some { self.list(|p| p.constant())? } else { Vec::new() };
            function.directives.push((word, numbers));
        }
        Ok(())
    }

    /// `(.param .b32 a, .reg .pred p)`, or nothing.
    fn parameters(&mut self) -> Result<Vec<Declaration<'a>>> {
        if !self.take('(') || self.take(')') {
            return Ok(Vec::new());
        }
        let all = self.list(Self::parameter)?;
        self.expect(')')?;
        Ok(all)
    }

    /// `.param .u64 .ptr .align 1 name` or `.param .align 8 .b8 name[24]`.
    fn parameter(&mut self) -> Result<Declaration<'a>> {
        let register = match self.peek_word() {
            Some(".param") => false,
            Some(".reg") => true,
            _ => return self.expected("`.param`"),
        };
        self.at += 1;
        let (mut align, mut ty, mut pointer) = (0, None, None);
        while let Some(word) = self.peek_word().filter(|word| word.starts_with('.')) {
            self.at += 1;
            match word {
                ".align" if pointer.is_some() => pointer = pointer.map(|(space, _)| (space, 0)),
                ".align" => {}
                ".ptr" => pointer = Some(("", 0)),
                ".global" | ".shared" | ".const" | ".local" | ".generic" if pointer.is_some() => {
                    pointer = pointer.map(|(_, align)| (word, align));
                }
                ".texref" | ".samplerref" | ".surfref" => {
                    self.at -= 1;
                    return self.error("softgpu has no textures: read the data through a pointer");
                }
                _ if type_bytes(word).is_some() || word == ".b128" || register && word == ".pred" => ty = Some(word),
                _ => {
                    self.at -= 1;
                    return self.expected("a parameter's type such as `.b64`");
                }
            }
            if word == ".align" {
                let value = self.alignment()?;
                match &mut pointer {
                    Some((_, of_target)) => *of_target = value,
                    None => align = value,
                }
            }
        }
        let Some(ty) = ty else { return self.expected("a parameter's type such as `.b64`") };
        let size = type_bytes(ty).unwrap_or(16);
        let name = self.name("a parameter's name")?;
        let (mut bytes, mut array) = (size, false);
        while self.take('[') {
            array = true;
            let count = if self.peek() == Some(Token::Mark(']')) { 0 } else { self.count("a size")? };
            self.expect(']')?;
            let Some(all) = bytes.checked_mul(count).filter(|&all| all <= 1 << 20) else {
                return self.error(format!("the parameter `{name}` is larger than a kernel can take"));
            };
            bytes = all;
        }
        let align = align.max(size);
        let parameter = Parameter { name, ty, array, offset: 0, bytes, align, pointer, held: Held::Nowhere };
        Ok(Declaration { parameter, register })
    }

    /// Gives the parameters their places: a kernel's in the parameter space, a function's in variables and registers.
    fn hold(&mut self, body: &mut Body<'a>, declared: Vec<Declaration<'a>>) -> Result<Vec<Parameter<'a>>> {
        let mut end = 0usize;
        let mut held = Vec::with_capacity(declared.len());
        for Declaration { mut parameter, register } in declared {
            let p = &mut parameter;
            p.offset = end.next_multiple_of(p.align);
            end = p.offset + p.bytes;
            if body.function.kernel {
                if register {
                    return self.error("a kernel's parameters are `.param`");
                }
                if held.iter().any(|q: &Parameter| q.name == p.name) {
                    return self.error(format!("`{}` is declared twice", p.name));
                }
            } else if register {
                p.held = Held::Register(self.parameter_register(body, p.name, p.ty)?);
            } else {
                let index = body.function.variables.len();
                body.function.variables.push(variable(p));
                p.held = Held::Variable(index);
                if p.name != "_" && !body.declare_variable(p.name, index) {
                    return self.error(format!("`{}` is declared twice", p.name));
                }
            }
            held.push(parameter);
        }
        Ok(held)
    }

    /// `name: .callprototype (.param .b32 _) _ (.param .b32 _);`, from the parentheses on.
    pub fn prototype(&mut self) -> Result<Signature<'a>> {
        let plain = |all: Vec<Declaration<'a>>| all.into_iter().map(|d| d.parameter).collect();
        let results = plain(self.parameters()?);
        self.name("the `_` of a prototype")?;
        let parameters = plain(self.parameters()?);
        let mut other = Function::default();
        self.directives(&mut other)?;
        self.expect(';')?;
        let noreturn = other.directives.iter().any(|(name, _)| *name == ".noreturn");
        Ok(Signature { results, parameters, noreturn })
    }
}

/// The variable that holds a function's parameter.
fn variable<'a>(p: &Parameter<'a>) -> Variable<'a> {
    Variable {
        name: p.name,
        space: ".param",
        linkage: "",
        ty: p.ty,
        lanes: 1,
        array: p.array,
        bytes: p.bytes,
        align: p.align,
        external: p.array && p.bytes == 0,
        managed: false,
        init: Vec::new(),
        addresses: Vec::new(),
        line: Line(0),
    }
}
