//! The first turns of a block's warps, which most warps end in: in gangs, and alone.

use super::Block;
use crate::exec::gang::{self, GANG};
use crate::exec::launch::Job;
use crate::exec::sched::together;
use crate::exec::{EXIT, LANES, Warp};

/// What a warp starts with: its lanes, and the offsets of its registers and of its local memory.
#[derive(Clone, Copy)]
pub struct Start {
    pub index: u32,
    pub live: u32,
    pub file: usize,
    pub local: usize,
}

/// Where a gang has split: up to this place in the order, warps go on from `pc` with what is left of their turn.
#[derive(Clone, Copy, Default)]
pub struct Split {
    pub until: usize,
    pub pc: u32,
    pub turn: u64,
}

impl Start {
    pub fn of(warp: usize, job: &Job) -> Start {
        let lanes = (job.threads - warp * LANES).min(LANES);
        let (file, local) = (warp * job.program.bytes, warp * LANES * job.decoded.local_bytes);
        Start { index: warp as u32, live: u32::MAX >> (LANES - lanes), file, local }
    }
}

impl Block<'_> {
    /// The first turns of the warps from the `k`-th on, up to the first one that does more than run to its end: what it
    /// did, and `k` is that warp then.
    pub fn dash(&mut self, w: &mut Warp, k: &mut usize, branches: u64) -> Option<u32> {
        while *k < self.gangs {
            if *k >= self.split.until && self.gang(w, *k, branches) {
                *k += GANG;
                continue;
            }
            let Split { until, pc, turn } = self.split;
            let event = self.singles(w, k, until, pc, turn);
            if event.is_some() {
                return event;
            }
        }
        match self.order.len() {
            until if *k < until => self.singles(w, k, until, self.job.program.entry, branches),
            _ => None,
        }
    }

    /// The first turns of the gangs up to one that splits. Nearly all just run to their ends, and many blocks are nothing
    /// else.
    #[inline(always)]
    pub fn march(&mut self, w: &mut Warp, branches: u64) {
        while self.ended < self.gangs && self.gang(w, self.ended, branches) {
            self.ended += GANG;
        }
    }

    /// The first turn of the gang at the `k`-th place; whether it has come to its end as one. Otherwise it has split.
    #[inline(never)]
    fn gang(&mut self, w: &mut Warp, k: usize, branches: u64) -> bool {
        let [files, _] = self.buffers(0);
        (w.live, w.mask, w.index) = (u32::MAX, u32::MAX, k as u32);
        (w.turn, w.given, w.clock) = (branches, 0, 0);
        // SAFETY: the register files of `GANG` warps, which lie one behind the other in the order of the warps.
        let next = unsafe { gang::march(self.job.program, w, files.add(self.order[k].file)) };
        if next == EXIT {
            if self.stirred {
                self.order[k..k + GANG].iter().for_each(|start| self.warps[start.index as usize].live = 0);
            }
            return true;
        }
        self.split = Split { until: k + GANG, pc: next, turn: w.turn };
        false
    }

    /// First turns from `pc` on, of the warps from the `k`-th to `until`, as [`Block::dash`]. A loop that short kernels
    /// spend most of their time in: no general code here.
    #[inline(never)]
    fn singles(&mut self, w: &mut Warp, k: &mut usize, until: usize, pc: u32, branches: u64) -> Option<u32> {
        let program = self.job.program;
        let [files, locals] = self.buffers(0);
        let order = &self.order[*k..until];
        let (mut ended, mut event) = (order.len(), None);
        for (k, start) in order.iter().enumerate() {
            // The gang may have split under a guard, which all lanes had passed: `saved` is what comes after it.
            (w.live, w.mask, w.saved, w.index) = (start.live, start.live, start.live, start.index);
            // Only a warp that gives way, or looks at the clock, changes the last two.
            (w.turn, w.given, w.clock) = (branches, 0, 0);
            // SAFETY: the register file and local memory of this warp, and nobody else's, as in `buffers`.
            let next = unsafe {
                w.local = locals.add(start.local);
                together(program, w, files.add(start.file), pc)
            };
            if next != EXIT || !w.printed.is_empty() {
                (ended, event) = (k, Some(next));
                let lanes = &mut self.warps[start.index as usize];
                (lanes.live, lanes.clock) = (w.live, w.clock);
                break;
            }
        }
        // Of a block all of whose warps just run to their ends, nobody asks which of them have.
        let unmarked = if self.stirred { *k } else { 0 };
        *k += ended;
        self.stirred |= event.is_some();
        if self.stirred {
            self.order[unmarked..*k].iter().for_each(|start| self.warps[start.index as usize].live = 0);
        }
        event
    }
}
