//! Which registers still matter: what each basic block needs from before it, and where each register lies in wait over
//! the straight line of instructions.
//!
//! All of it is said of one thread. Vectors may share memory by it even where lanes part: a lane writes its own lane of
//! a vector and no other. Scalars may not, because they stand for all lanes.

use crate::flow::Flow;
use crate::ir::{Inst, Ir, Reg};

/// A set of registers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Set(Vec<u64>);

impl Set {
    pub fn new(registers: usize) -> Set {
        Set(vec![0; registers.div_ceil(64)])
    }

    pub fn has(&self, register: Reg) -> bool {
        self.0[register as usize / 64] >> (register % 64) & 1 == 1
    }

    pub fn insert(&mut self, register: Reg) {
        self.0[register as usize / 64] |= 1 << (register % 64);
    }

    fn remove(&mut self, register: Reg) {
        self.0[register as usize / 64] &= !(1 << (register % 64));
    }

    pub fn add(&mut self, other: &Set) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    fn iter(&self) -> impl Iterator<Item = Reg> {
        let bits = |(at, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (64 * at + bit) as Reg)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

#[derive(Default)]
pub struct Liveness {
    /// Registers whose value at the start of a block is read later.
    pub live_in: Vec<Set>,
    /// Read and written only inside one block, each read after a write, and no lanes can join or part between the two.
    pub local: Set,
}

/// Reads of an instruction: operands, guard, and what a guarded write leaves as it was.
fn reads(inst: &Inst) -> impl Iterator<Item = Reg> {
    let kept = inst.guard.is_some().then(|| inst.defs()).into_iter().flatten();
    inst.uses().chain(inst.guard.map(|(p, _)| p)).chain(kept)
}

impl Liveness {
    pub fn analyse(ir: &Ir, flow: &Flow) -> Liveness {
        let (blocks, registers) = (flow.starts.len(), ir.registers.len());
        let mut live_in = vec![Set::new(registers); blocks];
        let mut changed = true;
        while changed {
            changed = false;
            for block in (0..blocks).rev() {
                let mut live = live_out(flow, &live_in, block, registers);
                for inst in ir.insts[flow.starts[block]..flow.end(block)].iter().rev() {
                    step(inst, &mut live);
                }
                changed |= live != live_in[block];
                live_in[block] = live;
            }
        }
        let local = local(ir, flow, &live_in);
        Liveness { live_in, local }
    }

    /// For each register, from where to where it must be kept, both ends included; `None`: it is never touched.
    /// Instruction k reads at 2k and writes at 2k + 1, so that what it writes may lie where something that it reads last
    /// lay. Wide instructions may write before they have read everything.
    pub fn spans(&self, ir: &Ir, flow: &Flow) -> Vec<Option<(u32, u32)>> {
        let mut spans: Vec<Option<(u32, u32)>> = vec![None; ir.registers.len()];
        let mut touch = |register: Reg, point: usize| {
            let span = spans[register as usize].get_or_insert((point as u32, point as u32));
            *span = (span.0.min(point as u32), span.1.max(point as u32));
        };
        for block in 0..flow.starts.len() {
            self.live_in[block].iter().for_each(|r| touch(r, 2 * flow.starts[block]));
            let out = live_out(flow, &self.live_in, block, ir.registers.len());
            out.iter().for_each(|r| touch(r, 2 * flow.end(block) - 1));
            for at in flow.starts[block]..flow.end(block) {
                let inst = &ir.insts[at];
                reads(inst).for_each(|r| touch(r, 2 * at));
                if inst.is_wide() {
                    reads(inst).for_each(|r| touch(r, 2 * at + 1));
                }
                inst.defs().for_each(|r| touch(r, 2 * at + 1));
            }
        }
        spans
    }
}

/// From what is live after an instruction to what is live before it.
fn step(inst: &Inst, live: &mut Set) {
    if inst.guard.is_none() {
        inst.defs().for_each(|r| live.remove(r));
    }
    reads(inst).for_each(|r| live.insert(r));
}

fn live_out(flow: &Flow, live_in: &[Set], block: usize, registers: usize) -> Set {
    let mut live = Set::new(registers);
    flow.successors[block].iter().for_each(|&next| live.add(&live_in[next]));
    live
}

fn local(ir: &Ir, flow: &Flow, live_in: &[Set]) -> Set {
    let registers = ir.registers.len();
    let (mut local, mut crosses) = (Set::new(registers), Set::new(registers));
    live_in.iter().for_each(|live| crosses.add(live));
    for block in 0..flow.starts.len() {
        let mut live = live_out(flow, live_in, block, registers);
        for inst in ir.insts[flow.starts[block]..flow.end(block)].iter().rev() {
            if inst.waits() {
                // Lanes may be held here while others come from before.
                let mut over = live.clone();
                inst.defs().for_each(|r| over.remove(r));
                crosses.add(&over);
            }
            step(inst, &mut live);
        }
    }
    (0..registers as Reg).filter(|&r| !crosses.has(r)).for_each(|r| local.insert(r));
    local
}
