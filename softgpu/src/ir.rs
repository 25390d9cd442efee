//! A kernel between parsing and execution: instructions over numbered registers, not yet placed anywhere.

use crate::decode::Init;
use crate::exec::Wide;
use crate::exec::mem::{GLOBAL, SHARED};
use crate::isa::{Kind, Row};

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
    Row(&'static Row),
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
    /// To a function. Constants: its first instruction, or -1 if register `uses[0]` holds its address; how many doubles,
    /// words and predicates are saved (the definitions, which are the last uses too); and, for each function that a
    /// pointer may lead to, its number and first instruction.
    Call,
    /// From a function to after the call.
    Return,
    /// To the instruction that `uses[0]` chooses among the constants.
    Switch,
    /// Gives way to others.
    Yield,
    /// Of the whole block; operands as in [`BarrierMode`].
    Barrier(BarrierMode),
    /// Operands in `more`.
    Wide(&'static Wide),
    Nothing,
}

/// What comes of a barrier. Uses: its number, how many threads it counts (0: all), and for a reduction the predicate;
/// one definition for a reduction. Constants: the mode, and whether the predicate is negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarrierMode {
    Sync,
    /// Counts the threads, and does not hold them.
    Arrive,
    And,
    Or,
    Popc,
}

impl BarrierMode {
    /// By the constant that stands for it.
    pub fn of(number: i64) -> BarrierMode {
        [BarrierMode::Sync, BarrierMode::Arrive, BarrierMode::And, BarrierMode::Or, BarrierMode::Popc]
            [(number & 7).min(4) as usize]
    }

    /// Registers that it writes.
    pub fn results(self) -> usize {
        matches!(self, BarrierMode::And | BarrierMode::Or | BarrierMode::Popc) as usize
    }
}

/// Operands of instructions that have many, or that are rare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct More {
    pub defs: Vec<Reg>,
    pub uses: Vec<Reg>,
    pub imms: Vec<i64>,
}

/// A load or store: memory type, number of values, space (see `exec::mem`), and whether the address has 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    pub ty: &'static str,
    pub v: usize,
    pub space: u8,
    pub wide: bool,
    /// Volatile, relaxed or acquire: another thread may be waited for in a loop around it.
    pub strong: bool,
}

impl Access {
    /// Of one lane.
    pub fn bytes(&self) -> usize {
        self.v * crate::parse::type_bytes(self.ty).unwrap_or(0)
    }

    /// Values of 4 or 2 bytes in global or shared memory: the accesses that have handlers for scalar addresses.
    pub fn is_plain(&self) -> bool {
        matches!(self.ty, "u32" | "b32" | "s32" | "f32" | "u16" | "b16") && matches!(self.space, GLOBAL | SHARED)
    }
}

#[derive(Clone, Debug)]
pub struct Inst {
    pub code: Code,
    pub s: [Reg; 5],
    pub imm: u32,
    /// Runs only where the predicate holds (negated: does not).
    pub guard: Option<(Reg, bool)>,
    /// Index into the places: where it comes from.
    pub place: u32,
    /// Of `Barrier` and `Wide`.
    pub more: Option<Box<More>>,
}

pub struct Ir {
    pub registers: Vec<Register>,
    /// Functions first, then the kernel.
    pub insts: Vec<Inst>,
    /// First instructions of the functions, in order.
    pub functions: Vec<usize>,
    /// The kernel's first instruction.
    pub entry: usize,
}

impl Ir {
    /// Whether the branch jumps to a bare exit, and so leaves.
    pub fn leaves(&self, branch: &Inst) -> bool {
        let target = &self.insts[branch.imm as usize];
        target.code == Code::Exit && target.guard.is_none()
    }
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
        let more = self.more.iter().flat_map(|more| more.defs.iter().copied());
        VALUES.into_iter().take(count).map(move |at| s[at]).chain((extra != 0).then(|| extra - 1)).chain(more)
    }

    /// Registers read, the guard aside.
    pub fn uses(&self) -> impl Iterator<Item = Reg> {
        let more = self.more.iter().flat_map(|more| more.uses.iter().copied());
        self.used_fields().iter().map(|&field| self.s[field]).chain(more)
    }

    /// Another thread may be waited for in a loop around it.
    pub fn strong(&self) -> bool {
        match self.code {
            Code::Load(access) => access.strong,
            Code::Wide(wide) => wide.strong,
            _ => false,
        }
    }

    /// Instructions that it goes to, apart from the next: those of a call are the functions' first.
    pub fn targets(&self) -> impl Iterator<Item = usize> {
        let imms = self.more.as_ref().map_or(&[][..], |more| &more.imms[..]);
        let (branch, (first, rest)) = match self.code {
            Code::Branch => (Some(self.imm as i64), (&[][..], &[][..])),
            Code::Switch => (None, (imms, &[][..])),
            Code::Call => (None, (&imms[..1], &imms[4..])),
            _ => (None, (&[][..], &[][..])),
        };
        let all = branch.into_iter().chain(first.iter().copied()).chain(rest.iter().copied().skip(1).step_by(2));
        all.filter(|&at| at >= 0).map(|at| at as usize)
    }

    /// Lanes may be held here until others come.
    pub fn waits(&self) -> bool {
        match self.code {
            Code::Barrier(_) | Code::Shuffle(_) | Code::Vote(_) => true,
            Code::Wide(wide) => wide.waits,
            _ => false,
        }
    }

    /// Runs from a list of operands, and may write some before it has read all.
    pub fn is_wide(&self) -> bool {
        matches!(self.code, Code::Wide(_))
    }

    /// Fields of `s` that are read; the guard comes on top.
    pub fn used_fields(&self) -> &'static [usize] {
        match self.code {
            Code::Row(row) => &[1, 2, 3, 4][..row.kinds.len() - 1],
            Code::Load(_) => &[1],
            Code::Store(access) => match access.v {
                1 => &[0, 1],
                2 => &[0, 1, 2],
                _ => &[0, 1, 2, 3, 4],
            },
            Code::Shuffle(_) => &[1, 2, 3, 4],
            Code::Vote(_) => &[1, 2],
            Code::Lop3 | Code::Prmt => &[1, 2, 3],
            Code::Branch | Code::Exit | Code::Call | Code::Return | Code::Switch | Code::Yield => &[],
            Code::Barrier(_) | Code::Wide(_) | Code::Nothing => &[],
        }
    }
}
