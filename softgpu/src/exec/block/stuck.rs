//! Blocks that cannot go on: who waits where, and for what.

use super::super::{Fault, Waits};
use super::{Block, Lanes};
use crate::tools::Who;
use crate::trap::Stop;

/// Rounds of nothing but waiting after which it is in vain, and turns between two tests of an mbarrier by a warp that sleeps.
const PATIENCE: u32 = 4096;
const SLEEPS: u32 = 16;

const LACKING: &str = "is an arrive skipped, or the wrong phase waited for? the count given to mbarrier.init must be that of the \
                       arrivals in each phase";
const INCOMPLETE: &str =
    "threads wait at a barrier for others that never come: is it inside a branch that not all of them take?";

impl Block<'_> {
    /// Threads wait, and nothing can go on.
    pub(super) fn stuck(&mut self) -> Box<Stop> {
        if let Some(warp) = self.warps.iter().position(|lanes| !lanes.parked.is_empty()) {
            let fault = self.warps[warp].fault.take();
            let at = self.warps[warp].parked[0].0;
            return self.with_others(self.report(warp, at, fault), warp, at);
        }
        let Some(warp) = self.warps.iter().position(|lanes| !lanes.held.is_empty()) else {
            return self.report(0, 0, None);
        };
        let held = self.warps[warp].held[0];
        let barrier = &self.barriers[held.number];
        let (missing, here) = (barrier.missing(&self.warps), barrier.threads(&self.warps));
        let what = format!("deadlock: barrier {} waits for {} threads, {here} have come", held.number, here + missing);
        let fault = Fault::new(what, INCOMPLETE, held.mask.trailing_zeros()).of("synccheck");
        let mut stop = self.with_others(self.report(warp, held.at, Some(fault)), warp, held.at);
        stop.role = "waits".into();
        stop
    }

    /// After a round; `vain`: all have waited, at barriers or as warps that test an mbarrier or sleep and do nothing else.
    /// `waits`: the first of those that have tested one. Nobody but the block's threads arrives there.
    pub(super) fn waits_in_vain(&mut self, vain: bool, waits: Option<(usize, Waits)>) -> Option<Box<Stop>> {
        if self.vain == 0 {
            self.tested.fill(0);
        }
        self.vain = if vain { self.vain + 1 } else { 0 };
        let (warp, waits) = waits.filter(|_| self.vain > PATIENCE)?;
        // Whoever only sleeps may wait for other blocks.
        let waits_here = |(lanes, &at): (&Lanes, &u32)| lanes.groups.is_empty() || at + SLEEPS > self.vain;
        self.warps.iter().zip(&self.tested).all(waits_here).then(|| self.stuck_at_mbarrier(warp, waits))
    }

    /// All wait, and only they could arrive at the mbarrier.
    fn stuck_at_mbarrier(&self, warp: usize, waits: Waits) -> Box<Stop> {
        let (pc, mask) = self.warps[warp].groups.last().copied().unwrap_or_default();
        let more = match waits {
            Waits { arrivals: 0, transactions, .. } => format!("{transactions} bytes of transactions"),
            Waits { arrivals: 1, .. } => "1 more arrival".to_string(),
            Waits { arrivals, .. } => format!("{arrivals} more arrivals"),
        };
        let what = format!(
            "deadlock: an mbarrier waits for {more}, and all other threads of the block wait, too, or have exited"
        );
        let fault = Fault::new(what, LACKING, mask.trailing_zeros()).of("synccheck");
        let mut stop = self.with_others(self.report(warp, pc, Some(fault)), warp, pc);
        stop.role = "waits".into();
        stop
    }

    /// Adds where the other threads of the block are: waiting, or gone.
    pub(super) fn with_others(&self, mut stop: Box<Stop>, of: usize, but: u32) -> Box<Stop> {
        let place = |at: u32| self.job.program.places[at as usize];
        // (place, barrier, first thread, threads).
        let mut waiting: Vec<(u32, Option<usize>, Who, u32)> = Vec::new();
        let mut exited = self.job.threads as u32;
        for (warp, lanes) in self.warps.iter().enumerate() {
            exited -= lanes.live.count_ones();
            let held = lanes.held.iter().map(|held| (held.at, Some(held.number), held.mask));
            // The groups of a warp that waits in vain have just tried; those of others can run.
            let tried = if warp == of || self.vain > PATIENCE { lanes.groups.as_slice() } else { &[] };
            let parked = lanes.parked.iter().chain(tried).map(|&(at, mask)| (at, None, mask));
            for (at, number, mask) in held.chain(parked).filter(|(at, ..)| place(*at) != place(but)) {
                match waiting.iter_mut().find(|w| (w.0, w.1) == (place(at), number)) {
                    Some(found) => found.3 += mask.count_ones(),
                    None => {
                        let who = Who { block: self.index, warp: warp as u32, lane: mask.trailing_zeros() };
                        waiting.push((place(at), number, who, mask.count_ones()));
                    }
                }
            }
        }
        let scene = self.job.scene();
        for (place, number, who, threads) in waiting {
            let plural = if threads == 1 { " waits" } else { "s wait" };
            let role = match number {
                Some(number) => format!("{threads} thread{plural} at barrier {number}"),
                None => format!("{threads} thread{plural} here"),
            };
            stop.others.push(scene.side(role, who, place));
        }
        if exited > 0 {
            stop.notes.push(format!("{exited} thread{} exited", if exited == 1 { " has" } else { "s have" }));
        }
        stop
    }

    pub(super) fn report(&self, warp: usize, pc: u32, fault: Option<Fault>) -> Box<Stop> {
        let bug = || Fault::new("stopped".into(), "this is a bug in softgpu: please report it", 0);
        let Fault { checker, mut what, help, lane, near } = fault.unwrap_or_else(bug);
        let place = self.job.program.places[pc as usize];
        let who = Who { block: self.index, warp: warp as u32, lane };
        let scene = self.job.scene();
        if let Some(address) = near {
            what = format!("{what} {}", scene.global(address));
        }
        Box::new(scene.stop(checker, what, help, who, place))
    }
}
