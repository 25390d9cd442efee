//! A kernel between parsing and execution: instructions over numbered registers, not yet placed anywhere.

use crate::decode::Init;
use crate::exec::mem::{GLOBAL, SHARED};
use crate::isa::{Kind, ROWS};

/// Index into [`Ir::registers`].
pub type Reg = u32;

/// A register: its kind, and the value that it holds from the start if no instruction writes it.
#[derive(Clone, Copy)]
pub struct Register {
    pub kind: Kind,
    pub init: Option<Init>,
}

/// What an instruction does. The operands' meaning goes by the code; see [`Inst::defs`] and [`Inst::uses`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// A row of the table: `s[0]` from the others.
    Row(usize),
    /// `v` values (`s[0] s[2] s[3] s[4]`) at address `s[1]` + `imm`.
    Load(Access),
    Store(Access),
    /// `s[0]` from `s[1] s[2] s[3]` and members `s[4]`; `imm` is 0 or a predicate's number + 1.
    Shuffle(&'static str),
    /// `s[0]` from predicate `s[1]` (negated if `imm`) and members `s[2]`.
    Vote(&'static str),
    Lop3,
    Prmt,
    /// To instruction `imm`: always, or where `guard` holds.
    Branch,
    Exit,
    Barrier,
    Nothing,
}

/// A load or store: memory type, number of values, space (see `exec::mem`), and whether the address has 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    pub ty: &'static str,
    pub v: usize,
    pub space: u8,
    pub wide: bool,
}

impl Access {
    /// 4-byte values in global or shared memory: the accesses that have handlers for scalar addresses.
    pub fn is_plain(&self) -> bool {
        matches!(self.ty, "u32" | "b32" | "s32" | "f32") && matches!(self.space, GLOBAL | SHARED)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Inst {
    pub code: Code,
    pub s: [Reg; 5],
    pub imm: u32,
    /// Runs only where the predicate holds (negated: does not).
    pub guard: Option<(Reg, bool)>,
    /// Index into the places: where it comes from.
    pub place: u32,
}

pub struct Ir {
    pub registers: Vec<Register>,
    pub insts: Vec<Inst>,
}

/// Fields of the values of a load or store.
pub const VALUES: [usize; 4] = [0, 2, 3, 4];

impl Inst {
    /// Registers written.
    pub fn defs(&self) -> impl Iterator<Item = Reg> {
        let (count, extra) = match self.code {
            Code::Load(access) => (access.v, 0),
            Code::Shuffle(_) => (1, self.imm),
            Code::Row(_) | Code::Vote(_) | Code::Lop3 | Code::Prmt => (1, 0),
            _ => (0, 0),
        };
        let s = self.s;
        VALUES.into_iter().take(count).map(move |at| s[at]).chain((extra != 0).then(|| extra - 1))
    }

    /// Fields of `s` that are read; the guard comes on top.
    pub fn used_fields(&self) -> &'static [usize] {
        match self.code {
            Code::Row(row) => &[1, 2, 3][..ROWS[row].kinds.len() - 1],
            Code::Load(_) => &[1],
            Code::Store(access) => match access.v {
                1 => &[0, 1],
                2 => &[0, 1, 2],
                _ => &[0, 1, 2, 3, 4],
            },
            Code::Shuffle(_) => &[1, 2, 3, 4],
            Code::Vote(_) => &[1, 2],
            Code::Lop3 | Code::Prmt => &[1, 2, 3],
            Code::Branch | Code::Exit | Code::Barrier | Code::Nothing => &[],
        }
    }
}
