//! Warps of a block that run as one, instruction by instruction, as long as all their lanes go the same way: what a
//! handler costs beside its work, a few of them pay once for all.
//!
//! A gang runs the ops of its program at their pcs, over the register files of its warps, with handlers of its own. What
//! would part its warps, or might trap, or needs to know which warp it is, is left undone: the gang splits before it, and
//! each warp goes on alone from there, with its registers where they have always been.

use super::{EVENT, Handler, Level, NEXT, Op, Warp, one_level, three_levels};
use crate::plan::Program;

/// Warps of a gang.
pub const GANG: usize = 4;
/// The gang splits before the op.
pub const SPLIT: u32 = EVENT + 12;
/// What the op after a single one returns to whoever called that one.
const BACK: u32 = EVENT + 13;

/// What a gang does with an op.
#[derive(Clone, Copy)]
pub enum Gangs {
    Split,
    /// As a warp alone: the op touches no register.
    Alike,
    /// The op is run for one warp after the other. It must not end in an event that it may not be run again after.
    Each,
    Own([Handler; 3]),
}

/// What runs an op.
#[derive(Clone, Copy)]
pub struct Way {
    /// For a warp alone.
    pub alone: [Handler; 3],
    pub gang: Gangs,
}

impl Way {
    pub const fn alike(alone: [Handler; 3]) -> Way {
        Way { alone, gang: Gangs::Alike }
    }

    pub const fn each(alone: [Handler; 3]) -> Way {
        Way { alone, gang: Gangs::Each }
    }
}

/// For a warp alone.
impl From<[Handler; 3]> for Way {
    fn from(alone: [Handler; 3]) -> Way {
        Way { alone, gang: Gangs::Split }
    }
}

/// A program as gangs run it: op by op what a warp alone runs, under the same pcs.
pub struct Ganged {
    pub ops: Vec<Op>,
    /// Ops for [`Gangs::Each`], and what returns behind them.
    singles: Vec<[Op; 2]>,
}

impl Ganged {
    pub fn new(ops: &[Op], gangs: &[Gangs], level: Level) -> Ganged {
        let mut ganged = Ganged { ops: Vec::with_capacity(ops.len()), singles: Vec::new() };
        for (&op, gangs) in ops.iter().zip(gangs) {
            ganged.ops.push(match gangs {
                Gangs::Split => Op { run: split_handler(), ..op },
                Gangs::Alike => op,
                Gangs::Own(handlers) => Op { run: handlers[level as usize], ..op },
                Gangs::Each => {
                    ganged.singles.push([op, Op { run: back, ..op }]);
                    Op { run: each_handler(), imm: ganged.singles.len() as u32 - 1, ..op }
                }
            });
        }
        ganged
    }
}

/// Runs a gang from the start of the kernel: [`EXIT`](super::EXIT) if all its warps come to their ends together, or the pc
/// from which each goes on alone.
///
/// # Safety
/// `file` must be the register file of the first of `GANG` warps of `program`, all of whose lanes are at its start.
pub unsafe fn march(program: &Program, w: &mut Warp, file: *mut u8) -> u32 {
    let Some(ganged) = &program.ganged else { return program.entry };
    (w.stride, w.singles) = (program.bytes, ganged.singles.as_ptr().cast());
    let ops = ganged.ops.as_slice();
    let mut pc = program.entry;
    loop {
        let op: *const Op = &ops[pc as usize];
        // SAFETY: the ops are the program's, at the same pcs; the caller's.
        let next = unsafe { ((*op).run)(w, op, file) };
        if next == SPLIT {
            // SAFETY: whoever returns an event leaves its op, one of `ops`, in `at`.
            return unsafe { w.at.offset_from(ops.as_ptr()) as u32 };
        }
        if next >= EVENT {
            return next;
        }
        pc = next;
        // A turn must not end here: what is left of it is for each of the warps to end.
        if w.turn == 1 {
            return pc;
        }
        w.turn -= 1;
    }
}

/// The register file of the `k`-th warp of a gang whose first has `r`.
///
/// # Safety
/// `k` must be a warp of the gang.
#[inline(always)]
pub unsafe fn file(w: &Warp, r: *mut u8, k: usize) -> *mut u8 {
    // SAFETY: the files lie one behind the other.
    unsafe { r.add(k * w.stride) }
}

unsafe fn back(_: &mut Warp, _: *const Op, _: *mut u8) -> u32 {
    BACK
}

#[inline(always)]
unsafe fn split(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    SPLIT
}

fn split_handler() -> Handler {
    one_level!(split)[0]
}

#[inline(always)]
unsafe fn each(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    for k in 0..GANG {
        // SAFETY: the plan has made `imm` an index into the singles, whose operands every file of the gang has.
        unsafe {
            let single = w.singles.add(2 * op.imm as usize);
            if ((*single).run)(w, single, file(w, r, k)) != BACK {
                w.stop = None;
                return SPLIT;
            }
        }
    }
    NEXT
}

fn each_handler() -> Handler {
    one_level!(each)[0]
}

/// Whether a guard's predicate `a`, or its opposite (GUARD = 2), holds in all lanes of all warps, or in none.
///
/// # Safety
/// `a` must be a predicate.
#[inline(always)]
unsafe fn agreed<const GUARD: u32>(w: &Warp, op: &Op, r: *mut u8) -> Option<bool> {
    let (mut any, mut all) = (0, u32::MAX);
    for k in 0..GANG {
        // SAFETY: the caller's.
        let p = unsafe { *(file(w, r, k).add(op.a as usize) as *const u32) };
        (any, all) = (any | p, all & p);
    }
    match (any, all) {
        (0, _) => Some(GUARD == 2),
        (_, u32::MAX) => Some(GUARD == 1),
        _ => None,
    }
}

/// `bra` with a guard: to `imm`, or on to `e`.
#[inline(always)]
unsafe fn branch<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: `a` is a predicate.
    match unsafe { agreed::<GUARD>(w, op, r) } {
        Some(true) => op.imm,
        Some(false) => op.e,
        None => SPLIT,
    }
}

/// `exit` with a guard.
#[inline(always)]
unsafe fn exit<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: `a` is a predicate.
    match unsafe { agreed::<GUARD>(w, op, r) } {
        Some(true) => super::EXIT,
        Some(false) => NEXT,
        None => SPLIT,
    }
}

/// Before a guarded instruction.
#[inline(always)]
unsafe fn guard<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    w.saved = w.mask;
    // SAFETY: `a` is a predicate.
    match unsafe { agreed::<GUARD>(w, op, r) } {
        Some(true) => NEXT,
        Some(false) => op.imm,
        None => SPLIT,
    }
}

/// What runs `bra`, `exit` and what comes before a guarded instruction, by the guard: as in [`super::warp`].
pub fn branch_way(kind: u32) -> Way {
    let gang = match kind {
        0 => Gangs::Alike,
        1 => Gangs::Own(three_levels!(branch::<1>)),
        _ => Gangs::Own(three_levels!(branch::<2>)),
    };
    Way { alone: super::warp::branch_handlers(kind), gang }
}
pub fn exit_way(kind: u32) -> Way {
    let gang = match kind {
        0 => Gangs::Alike,
        1 => Gangs::Own(three_levels!(exit::<1>)),
        _ => Gangs::Own(three_levels!(exit::<2>)),
    };
    Way { alone: super::warp::exit_handlers(kind), gang }
}
pub fn guard_way(kind: u32) -> Way {
    let gang = match kind {
        1 => Gangs::Own(three_levels!(guard::<1>)),
        _ => Gangs::Own(three_levels!(guard::<2>)),
    };
    Way { alone: super::warp::guard_handlers(kind), gang }
}
