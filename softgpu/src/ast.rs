//! What the parser makes of a module: variables, functions and kernels with their registers, labels and instructions.
//!
//! Names are resolved: registers, labels and the variables of a function are indices into its lists, so that two that
//! share a name in different scopes are two. Equality is that of what a module means: lines of the text, and the names
//! of what belongs to one function alone, do not count.

use std::collections::BTreeMap;

/// A place in the `.cu` file, from `.loc`: (file number, line).
pub type SourceLine = (u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Predicate,
    /// 8-, 16- and 32-bit registers: one 32-bit word per lane.
    Word,
    /// 64-bit registers.
    Double,
    /// 128-bit registers: two doubles per lane.
    Quad,
}

pub type Register = usize;

#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    Register(Register),
    /// Bytes or halves of a register, `b0` to `b7654` or `h0` to `h32`: of video instructions.
    Part(Register, &'a str),
    /// An immediate as the bits of the type that the instruction reads. Floats keep their own width.
    Integer(i64),
    Float32(u32),
    Float64(u64),
    /// A variable or function of the module, a parameter of the kernel, or a special register.
    Symbol(&'a str),
    /// A variable of the function: index into [`Function::variables`].
    Variable(usize),
    /// Index into [`Function::labels`].
    Label(usize),
    /// Index into [`Function::declarations`].
    Declared(usize),
    Vector(Vec<Operand<'a>>),
    /// Results or arguments of a `call`.
    List(Vec<Operand<'a>>),
    Address {
        base: Box<Operand<'a>>,
        offset: i64,
    },
    /// `[a, {b, c}]`: what textures and tensors are addressed by.
    Bracket(Vec<Operand<'a>>),
    /// `name+4`, without brackets.
    Sum(Box<Operand<'a>>, i64),
    /// `p|q`: a predicate and its second destination; `!p` is `Not`.
    Pair(Box<Operand<'a>>, Box<Operand<'a>>),
    Not(Box<Operand<'a>>),
}

impl<'a> Operand<'a> {
    /// Shows itself and all operands within.
    pub fn walk<'o>(&'o self, see: &mut impl FnMut(&'o Operand<'a>)) {
        see(self);
        match self {
            Operand::Vector(all) | Operand::List(all) | Operand::Bracket(all) => all.iter().for_each(|o| o.walk(see)),
            Operand::Address { base: inner, .. } | Operand::Sum(inner, _) | Operand::Not(inner) => inner.walk(see),
            Operand::Pair(a, b) => {
                a.walk(see);
                b.walk(see);
            }
            _ => {}
        }
    }
}

/// The operands of a `call` are always results, callee, arguments (lists even if empty), and, if there is one, the
/// prototype or the list of possible callees.
#[derive(Clone, Debug)]
pub struct Instruction<'a> {
    pub opcode: &'a str,
    /// `@p` or `@!p`: (register, negated).
    pub guard: Option<(Register, bool)>,
    pub operands: Vec<Operand<'a>>,
    pub line: u32,
    /// Index into [`Function::locs`].
    pub loc: Option<u32>,
}

/// A `.loc`.
#[derive(Clone, Debug, PartialEq)]
pub struct Loc<'a> {
    pub at: SourceLine,
    pub column: u32,
    /// `function_name`: label and offset in `.debug_str`.
    pub function: Option<(&'a str, i64)>,
    /// `inlined_at`: file, line, column.
    pub call: Option<(u32, u32, u32)>,
    /// The `.loc` of the call that it was inlined at, if the text has one: index into [`Function::locs`], always lower.
    pub outer: Option<u32>,
}

/// A line of the text. All are equal: a module means the same wherever its parts stand.
#[derive(Clone, Copy, Debug)]
pub struct Line(pub u32);

impl PartialEq for Line {
    fn eq(&self, _: &Line) -> bool {
        true
    }
}

/// A `.shared`, `.local`, `.const`, `.global` or `.param` variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable<'a> {
    pub name: &'a str,
    /// With its dot.
    pub space: &'a str,
    /// `.visible`, `.extern`, …; empty if there is none.
    pub linkage: &'a str,
    /// Type of an element, with its dot; elements are vectors of so many.
    pub ty: &'a str,
    pub lanes: usize,
    /// Declared with brackets.
    pub array: bool,
    pub bytes: usize,
    pub align: usize,
    /// `extern .shared x[]`: sized by the launch. Of other spaces: defined in another module.
    pub external: bool,
    pub managed: bool,
    /// Initial value of the first bytes; what follows is zero. Addresses are zeros here.
    pub init: Vec<u8>,
    pub addresses: Vec<Address<'a>>,
    pub line: Line,
}

/// An address within an initial value: `bytes` bytes at `at` hold (address of `name` + `addend`) >> `shift`.
#[derive(Clone, Debug, PartialEq)]
pub struct Address<'a> {
    pub at: usize,
    pub bytes: usize,
    /// A variable or a function of the module.
    pub name: &'a str,
    pub addend: i64,
    /// The generic address; otherwise that within the variable's space.
    pub generic: bool,
    pub shift: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter<'a> {
    pub name: &'a str,
    /// Type of an element, with its dot.
    pub ty: &'a str,
    pub array: bool,
    /// In a kernel's parameter space.
    pub offset: usize,
    /// 0 for `[]`: as many as the caller passes.
    pub bytes: usize,
    pub align: usize,
    /// `.ptr`: space (or nothing) and alignment (or 0) of what it points at.
    pub pointer: Option<(&'a str, usize)>,
    pub held: Held,
}

/// Where a function finds a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A kernel's: in the parameter space. Also those of prototypes.
    Nowhere,
    /// A function's `.param`: index into [`Function::variables`].
    Variable(usize),
    /// A function's `.reg`.
    Register(Register),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Label<'a> {
    pub name: &'a str,
    /// Index of the instruction that follows it.
    pub at: usize,
}

/// What a function declares by a name of its own, apart from variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration<'a> {
    pub name: &'a str,
    pub what: Declared<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Declared<'a> {
    /// `.branchtargets`: labels.
    Branches(Vec<usize>),
    /// `.calltargets`: functions.
    Calls(Vec<&'a str>),
    /// `.callprototype`.
    Prototype(Signature<'a>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature<'a> {
    pub results: Vec<Parameter<'a>>,
    pub parameters: Vec<Parameter<'a>>,
    pub noreturn: bool,
}

/// A kernel or a device function.
#[derive(Clone, Debug, Default)]
pub struct Function<'a> {
    pub name: &'a str,
    pub kernel: bool,
    /// `.visible`, `.weak`, `.extern`; empty if there is none.
    pub linkage: &'a str,
    /// Results of a function.
    pub results: Vec<Parameter<'a>>,
    pub parameters: Vec<Parameter<'a>>,
    /// `.maxntid 128, 1, 1` and its kind.
    pub directives: Vec<(&'a str, Vec<i64>)>,
    /// It has a body; otherwise it is only declared.
    pub defined: bool,
    /// Class, name and type of every register that is used, in order of first use.
    pub registers: Vec<(Class, String, &'a str)>,
    pub variables: Vec<Variable<'a>>,
    pub labels: Vec<Label<'a>>,
    pub declarations: Vec<Declaration<'a>>,
    pub locs: Vec<Loc<'a>>,
    pub body: Vec<Instruction<'a>>,
    pub line: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module<'a> {
    pub version: &'a str,
    pub targets: Vec<&'a str>,
    pub kernels: Vec<Function<'a>>,
    pub functions: Vec<Function<'a>>,
    pub variables: Vec<Variable<'a>>,
    /// (alias, function).
    pub aliases: Vec<(&'a str, &'a str)>,
    pub files: BTreeMap<u32, &'a str>,
}

impl<'a> Module<'a> {
    /// The index of the function of that name, or of that alias.
    pub fn function(&self, name: &str) -> Option<usize> {
        let name = self.aliases.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, of)| of);
        self.functions.iter().position(|f| f.name == name)
    }
}

impl Function<'_> {
    /// Of a directive such as `.maxntid 128, 2`; what it leaves out is 1.
    pub fn extents(&self, directive: &str) -> Option<[u32; 3]> {
        let (_, numbers) = self.directives.iter().find(|(name, _)| *name == directive)?;
        Some([0, 1, 2].map(|axis| numbers.get(axis).map_or(1, |&n| u32::try_from(n).unwrap_or(u32::MAX))))
    }
}

impl Instruction<'_> {
    /// The opcode's first word.
    pub fn head(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }
}

impl PartialEq for Instruction<'_> {
    fn eq(&self, o: &Self) -> bool {
        (self.opcode, self.guard, &self.operands, self.loc) == (o.opcode, o.guard, &o.operands, o.loc)
    }
}

impl PartialEq for Function<'_> {
    fn eq(&self, o: &Self) -> bool {
        let variable = |a: &Variable, b: &Variable| {
            let same = (a.space, a.ty, a.lanes, a.array, a.bytes) == (b.space, b.ty, b.lanes, b.array, b.bytes);
            same && (a.align, a.external, &a.init, &a.addresses) == (b.align, b.external, &b.init, &b.addresses)
        };
        let all = |f: &Self| (f.kernel, f.defined, f.registers.len(), f.variables.len(), f.labels.len());
        (self.name, self.linkage, all(self)) == (o.name, o.linkage, all(o))
            && (&self.results, &self.parameters, &self.directives) == (&o.results, &o.parameters, &o.directives)
            && self.registers.iter().zip(&o.registers).all(|(a, b)| (a.0, a.2) == (b.0, b.2))
            && self.variables.iter().zip(&o.variables).all(|(a, b)| variable(a, b))
            && self.labels.iter().zip(&o.labels).all(|(a, b)| a.at == b.at)
            && self.declarations.iter().map(|d| &d.what).eq(o.declarations.iter().map(|d| &d.what))
            && (&self.locs, &self.body) == (&o.locs, &o.body)
    }
}
