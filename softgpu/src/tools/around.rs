//! Threads that go around a barrier of the whole block. A thread that has exited counts as arrived, so that the barrier
//! opens; but one that skips it and then runs on with what those do that came may not have been meant to.
//!
//! What tells it from an early return is where it goes: to read something in code that follows the barrier for the
//! others, too. A write there tells nothing, as compilers join one before a return with that at the end. Of its way, the
//! last read is enough: what follows the barrier and never leads back to it leads to nothing else.

use std::collections::HashMap;

use super::findings::{Findings, Scene, Who};
use crate::exec::{LANES, Warp};
use crate::ir::{Code, Inst, Ir};

/// What the threads of the blocks that run have read since they last came to a barrier.
pub struct Around {
    /// The block that ran last if it has not ended, and its warps; none if the kernel has no barrier.
    block: Option<u64>,
    trails: Vec<Trail>,
    /// Of other blocks that are under way.
    others: HashMap<u64, Vec<Trail>>,
    /// By the place of a barrier, whether a place comes behind it and never before it.
    behind: HashMap<u32, Vec<bool>>,
}

/// Of a warp.
#[derive(Clone)]
struct Trail {
    /// Lanes that have read something, and where last.
    lanes: u32,
    last: [u32; LANES],
}

impl Around {
    pub fn new(scene: &Scene) -> Around {
        let barrier = |inst: &Inst| matches!(inst.code, Code::Barrier(_));
        let threads: u32 = scene.launch.block.iter().product();
        let any = scene.decoded.ir.insts.iter().any(barrier);
        let warps = if any { (threads as usize).div_ceil(LANES) } else { 0 };
        let (others, behind) = Default::default();
        Around { block: None, trails: vec![Trail::default(); warps], others, behind }
    }

    pub fn read(&mut self, warp: &Warp, place: u32) {
        self.turn_to(warp.block);
        let Some(trail) = self.trails.get_mut(warp.index as usize) else { return };
        trail.lanes |= warp.mask;
        match warp.mask {
            u32::MAX => trail.last = [place; LANES],
            mask => (0..LANES).filter(|lane| mask >> lane & 1 == 1).for_each(|lane| trail.last[lane] = place),
        }
    }

    fn turn_to(&mut self, block: u64) {
        if self.block == Some(block) || self.trails.is_empty() {
            return;
        }
        let fresh = || vec![Trail::default(); self.trails.len()];
        let trails = self.others.remove(&block).unwrap_or_else(fresh);
        let before = std::mem::replace(&mut self.trails, trails);
        if let Some(left) = self.block.replace(block) {
            self.others.insert(left, before);
        }
    }

    /// Lanes have come to a barrier, or are not to be told of.
    pub fn forget(&mut self, block: u64, warp: u32, lanes: u32) {
        self.turn_to(block);
        self.trails[warp as usize].lanes &= !lanes;
    }

    pub fn block_ends(&mut self, block: u64) {
        self.turn_to(block);
        self.block = None;
    }

    /// A barrier opens for which the whole block has come or exited: `came` to the instruction at `place`.
    pub fn open(&mut self, came: Who, place: u32, (scene, findings): (&Scene, &mut Findings)) {
        self.turn_to(came.block);
        if self.trails.iter().all(|trail| trail.lanes == 0) {
            return;
        }
        let behind =
            self.behind.entry(place).or_insert_with(|| behind(&scene.decoded.ir, place, scene.decoded.places.len()));
        let mut gone = Vec::new();
        for (warp, trail) in (0..).zip(&mut self.trails) {
            // Whoever is left has exited; once is enough.
            let left = trail.lanes;
            for lane in (0..LANES).filter(|lane| left >> lane & 1 == 1) {
                if behind[trail.last[lane] as usize] {
                    gone.push((Who { block: came.block, warp, lane: lane as u32 }, trail.last[lane]));
                    trail.lanes &= !(1 << lane);
                }
            }
        }
        let Some(&(who, there)) = gone.first() else { return };
        findings.add("barrier skipped", scene, (place, place), || {
            let go = if gone.len() == 1 { "goes around it and runs" } else { "go around it and run" };
            let what = format!("not all threads of the block come to a barrier: {} {go} on", gone.len());
            let mut stop = scene.stop("synccheck", what, HELP, came, place);
            stop.role = "comes to it".to_string();
            stop.others.push(scene.side("goes around it, to", who, there));
            stop
        });
    }
}

const HELP: &str = "all threads of the block must come to __syncthreads(), or return before it: move it out of the branch \
                    or loop, or let those that need it meet at a barrier with a count";

impl Default for Trail {
    fn default() -> Trail {
        Trail { lanes: 0, last: [0; LANES] }
    }
}

/// By place, whether an instruction follows the barrier at `place` and does not lead to it again.
fn behind(ir: &Ir, place: u32, places: usize) -> Vec<bool> {
    let insts = &ir.insts;
    let next = |at: usize| {
        let inst = &insts[at];
        let leaves = matches!(inst.code, Code::Exit | Code::Return | Code::Branch) && inst.guard.is_none();
        let on = (!leaves && inst.code != Code::Switch && at + 1 < insts.len()).then_some(at + 1);
        // A call comes back; what the function does is not followed.
        let targets = (inst.code != Code::Call).then(|| inst.targets());
        targets.into_iter().flatten().chain(on).collect::<Vec<usize>>()
    };
    let mut before = vec![Vec::new(); insts.len()];
    (0..insts.len()).for_each(|at| next(at).into_iter().for_each(|to| before[to].push(at)));
    let barriers: Vec<usize> = (0..insts.len()).filter(|&at| insts[at].place == place).collect();
    let after = reached(&barriers, insts.len(), next);
    let until = reached(&barriers, insts.len(), |at| before[at].clone());
    let mut behind = vec![false; places];
    for at in (0..insts.len()).filter(|&at| after[at] && !until[at] && insts[at].place != place) {
        behind[insts[at].place as usize] = true;
    }
    behind
}

/// What one or more steps lead to.
fn reached(from: &[usize], count: usize, step: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut seen = vec![false; count];
    let mut open = from.to_vec();
    while let Some(at) = open.pop() {
        for to in step(at) {
            if !std::mem::replace(&mut seen[to], true) {
                open.push(to);
            }
        }
    }
    seen
}
