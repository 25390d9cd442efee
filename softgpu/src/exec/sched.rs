//! A warp: groups of lanes at their program counters. The group at the lowest one runs first, and groups that meet run
//! on as one.

use super::call::{Frames, switch};
use super::{BARRIER, CALL, DIVERGED, EVENT, Fault, List, Op, RETURN, SWITCH, TRAP, WAIT, Warp, YIELD};
use crate::plan::Program;

/// Lanes at one pc.
pub type Group = (u32, u32);

/// A warp between two turns.
#[derive(Default)]
pub struct Lanes {
    pub live: u32,
    /// Can run.
    pub groups: Vec<Group>,
    /// Wait before an instruction for other lanes of the warp.
    pub parked: Vec<Group>,
    /// Those of the parked that go on as soon as all these members are parked: at barriers of the warp.
    meeting: Vec<(Group, u32)>,
    /// Wait at barriers of the block.
    pub held: Vec<Held>,
    /// Where the group that used up the last turn is to go on.
    spent: Option<u32>,
    /// Parked groups and live lanes when those last tried in vain; what the first of them has to say.
    tried: Vec<Group>,
    calls: Frames,
    pub fault: Option<Fault>,
    /// See [`clock`](super::clock).
    pub clock: u64,
}

/// A group that waits at barrier `number`, to go on at `pc`.
#[derive(Clone, Copy)]
pub struct Held {
    pub number: usize,
    pub pc: u32,
    pub mask: u32,
    /// The op that it waits at.
    pub at: u32,
}

/// Why a warp gave way.
pub enum Outcome {
    /// All lanes have exited.
    Done,
    /// All that are left wait at barriers.
    Held,
    /// Its turn is over.
    Spent,
    Trap(u32),
}

/// What the block does when a group reaches a barrier: (op, operands, mask); an error is a trap.
pub type Arrive<'a> = &'a mut dyn FnMut(&mut Warp, &Op, &List) -> Result<Arrival, ()>;

/// Whether an arrival holds the group, and where.
pub enum Arrival {
    Passes,
    Held(usize),
}

/// Runs a warp until all its lanes have exited or wait, or for `w.turn` branches.
pub fn run(program: &Program, lanes: &mut Lanes, w: &mut Warp, file: *mut u8, arrive: Arrive) -> Outcome {
    let ops = program.ops.as_slice();
    loop {
        // Nearly always all lanes are together.
        let only = if lanes.groups.len() == 1 && lanes.spent.is_none() { lanes.groups.pop() } else { None };
        let Some((mut pc, behind)) = only.map(|(pc, _)| (pc, false)).or_else(|| lanes.choose(program)) else {
            // Those that a barrier holds may be the ones that the parked wait for.
            if !lanes.held.is_empty() {
                return Outcome::Held;
            }
            if lanes.parked.is_empty() {
                return Outcome::Done;
            }
            if !lanes.unpark() {
                w.stop = lanes.fault.take();
                return Outcome::Trap(lanes.groups[0].0);
            }
            continue;
        };
        let mut mask = only.map_or(0, |(_, mask)| mask);
        lanes.groups.retain(|&(at, group)| {
            mask |= if at == pc { group } else { 0 };
            at != pc
        });
        let limit = if behind { EVENT } else { lanes.groups.iter().map(|g| g.0).min().unwrap_or(EVENT) };
        w.mask = mask;
        let next = loop {
            let op: *const Op = &ops[pc as usize];
            // SAFETY: the plan has placed every operand of this program inside its register file, and a program ends
            // with an exit.
            let next = unsafe { ((*op).run)(w, op, file) };
            if next >= limit || behind && program.together[next as usize] {
                break next;
            }
            pc = next;
            w.turn -= 1;
            if w.turn == 0 {
                lanes.groups.push((pc, w.mask));
                lanes.spent = Some(pc);
                return Outcome::Spent;
            }
        };
        if let Some(outcome) = lanes.see_to(next, program, w, file, arrive) {
            return outcome;
        }
    }
}

/// Runs a warp whose lanes are all at `pc`, `w.mask`, as long as they stay together: the event that comes then, or the
/// pc at which the turn is over. Nearly all warps of a short kernel come to their end so, and what a
/// warp needs to wait or to part is not touched.
///
/// # Safety
/// `file` must be a register file of `program`.
#[inline(always)]
pub unsafe fn together(program: &Program, w: &mut Warp, file: *mut u8, mut pc: u32) -> u32 {
    let ops = program.ops.as_slice();
    loop {
        let op: *const Op = &ops[pc as usize];
        // SAFETY: as in `run`.
        pc = unsafe { ((*op).run)(w, op, file) };
        if pc >= EVENT {
            return pc;
        }
        w.turn -= 1;
        if w.turn == 0 {
            return pc;
        }
    }
}

/// What comes of what [`together`] has returned.
pub fn part(next: u32, program: &Program, lanes: &mut Lanes, w: &mut Warp, file: *mut u8, arrive: Arrive) -> Outcome {
    lanes.clear();
    if next < EVENT {
        lanes.groups.push((next, w.mask));
        lanes.spent = Some(next);
        return Outcome::Spent;
    }
    match lanes.see_to(next, program, w, file, arrive) {
        Some(outcome) => outcome,
        None => run(program, lanes, w, file, arrive),
    }
}

/// Branches that a `nanosleep` counts for.
const PAUSE: u64 = 256;

impl Lanes {
    /// What comes of an event, or of a group that meets another one; how the turn ends, if it does.
    fn see_to(&mut self, next: u32, program: &Program, w: &mut Warp, file: *mut u8, arrive: Arrive) -> Option<Outcome> {
        if next < EVENT {
            self.groups.push((next, w.mask));
            return None;
        }
        // SAFETY: a handler that returns an event leaves its op, one of `ops`, in `at`.
        let (at, op) = unsafe { (w.at.offset_from(program.ops.as_ptr()) as u32, &*w.at) };
        match next {
            BARRIER => {
                w.acts();
                match arrive(w, op, &program.lists[op.imm as usize]) {
                    Ok(Arrival::Passes) => self.groups.push((op.e, w.mask)),
                    Ok(Arrival::Held(number)) => self.held.push(Held { number, pc: op.e, mask: w.mask, at }),
                    Err(()) => return Some(Outcome::Trap(at)),
                }
            }
            WAIT => self.park(at, w),
            TRAP => return Some(Outcome::Trap(at)),
            DIVERGED => self.groups.extend([(op.imm, w.taken), (op.e, w.mask & !w.taken)]),
            CALL | RETURN | SWITCH => {
                if self.jump(next, program, op, w, file).is_err() {
                    return Some(Outcome::Trap(at));
                }
                // These come without an end in a recursion or a loop around a table.
                w.turn -= 1;
                if w.turn == 0 {
                    return Some(Outcome::Spent);
                }
            }
            YIELD => {
                self.groups.push((op.e, w.mask));
                self.spent = Some(op.e);
                w.give_way(PAUSE);
                return Some(Outcome::Spent);
            }
            _ => {} // EXIT
        }
        None
    }

    /// Calls, returns, and branches by a table.
    fn jump(&mut self, event: u32, program: &Program, op: &Op, w: &mut Warp, file: *mut u8) -> Result<(), ()> {
        let groups = &mut self.groups;
        // SAFETY: the op is of this program, whose register file `file` is; its list is of the op's kind.
        unsafe {
            match event {
                CALL => self.calls.enter(w, &program.lists[op.imm as usize], op.imm, op.e, file, groups),
                RETURN => self.calls.leave(w, &program.lists, file, groups),
                _ => {
                    let list = &program.lists[op.imm as usize];
                    let parted = switch(w, list, file, groups)?;
                    if let (true, Some(tools)) = (parted, w.tools.as_mut()) {
                        tools.parts(list.place);
                    }
                    Ok(())
                }
            }
        }
    }

    /// No groups, and nothing of those before.
    fn clear(&mut self) {
        self.groups.clear();
        self.parked.clear();
        self.meeting.clear();
        self.held.clear();
        self.tried.clear();
        self.calls.clear();
        self.spent = None;
    }

    /// The group to run: the one at the lowest pc, or, if that has used up the last turn (does it wait for the others?),
    /// one that is ahead of it, which is then true. That one may not run where all lanes are taken to be together.
    fn choose(&mut self, program: &Program) -> Option<(u32, bool)> {
        let spent = self.spent.take();
        let pcs = || self.groups.iter().map(|g| g.0);
        let ahead = spent.and_then(|at| pcs().filter(|&pc| pc != at && !program.together[pc as usize]).min());
        ahead.map(|pc| (pc, true)).or_else(|| pcs().min().map(|pc| (pc, false)))
    }

    fn park(&mut self, pc: u32, w: &mut Warp) {
        let fault = w.stop.take();
        if self.parked.is_empty() {
            self.fault = fault;
        }
        self.parked.push((pc, w.mask));
        let members = std::mem::take(&mut w.meets);
        if members != 0 {
            self.meeting.push(((pc, w.mask), members));
            self.meet(members & w.live, members);
        }
    }

    /// Lets go those that wait for these members, if all that live are here.
    fn meet(&mut self, living: u32, members: u32) {
        let ours = |meeting: &(Group, u32)| meeting.1 == members;
        let here = self.meeting.iter().filter(|m| ours(m)).fold(0, |here, ((_, mask), _)| here | mask);
        if living & !here == 0 {
            for ((pc, mask), _) in self.meeting.extract_if(.., |m| ours(m)) {
                self.parked.retain(|&group| group != (pc, mask));
                self.groups.push((pc + 1, mask));
            }
        }
    }

    /// Lets parked groups try again, those at one pc together. False if just these have tried already, with nobody
    /// having left since: they wait in vain.
    fn unpark(&mut self) -> bool {
        self.meeting.clear();
        for (pc, mask) in self.parked.drain(..) {
            match self.groups.iter_mut().find(|(at, _)| *at == pc) {
                Some((_, group)) => *group |= mask,
                None => self.groups.push((pc, mask)),
            }
        }
        self.groups.sort_unstable();
        self.groups.push((EVENT, self.live));
        let changed = self.groups != self.tried;
        self.tried.clone_from(&self.groups);
        self.groups.pop();
        changed
    }

    /// Lets go those that barrier `number` holds; their lanes.
    pub fn release(&mut self, number: usize) -> u32 {
        let mut lanes = 0;
        for held in self.held.extract_if(.., |held| held.number == number) {
            self.groups.push((held.pc, held.mask));
            lanes |= held.mask;
        }
        lanes
    }
}
