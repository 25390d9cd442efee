//! What the parser makes of a module: kernels with their registers, labels and instructions.

use std::collections::HashMap;

/// A place in the `.cu` file, from `.loc`: (file number, line).
pub type SourceLine = (u32, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Predicate,
    /// 8-, 16- and 32-bit registers: one 32-bit word per lane.
    Word,
    /// 64-bit registers.
    Double,
}

pub type Register = usize;

#[derive(Clone, Debug, PartialEq)]
pub enum Operand<'a> {
    Register(Register),
    /// An immediate as the bits of the type that the instruction reads. Floats keep their own width.
    Integer(i64),
    Float32(u32),
    Float64(u64),
    /// A label, variable, parameter or special register.
    Symbol(&'a str),
    Vector(Vec<Operand<'a>>),
    Address {
        base: Box<Operand<'a>>,
        offset: i64,
    },
    /// `p|q`: a predicate and its second destination; `!p` is `Not`.
    Pair(Box<Operand<'a>>, Box<Operand<'a>>),
    Not(Box<Operand<'a>>),
}

#[derive(Clone, Debug)]
pub struct Instruction<'a> {
    pub opcode: &'a str,
    /// `@p` or `@!p`: (register, negated).
    pub guard: Option<(Register, bool)>,
    pub operands: Vec<Operand<'a>>,
    pub line: u32,
    pub source: Option<SourceLine>,
}

/// A `.shared`, `.local`, `.const` or `.global` variable.
#[derive(Clone, Debug)]
pub struct Variable<'a> {
    pub name: &'a str,
    pub space: &'a str,
    pub bytes: usize,
    pub align: usize,
    /// `extern .shared x[]`: sized by the launch.
    pub external: bool,
}

#[derive(Clone, Debug)]
pub struct Parameter<'a> {
    pub name: &'a str,
    pub offset: usize,
    pub bytes: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Kernel<'a> {
    pub name: &'a str,
    pub parameters: Vec<Parameter<'a>>,
    /// Class and name of every register, in order of declaration.
    pub registers: Vec<(Class, String)>,
    pub variables: Vec<Variable<'a>>,
    /// Label to the index of the instruction that follows it.
    pub labels: HashMap<&'a str, usize>,
    pub body: Vec<Instruction<'a>>,
}

#[derive(Clone, Debug, Default)]
pub struct Module<'a> {
    pub kernels: Vec<Kernel<'a>>,
    pub variables: Vec<Variable<'a>>,
    pub files: HashMap<u32, String>,
}
