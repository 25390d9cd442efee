//! What happens before what: vector clocks of the warps of a block, and what they know of other blocks.
//!
//! A warp's clock counts the points at which others may learn of what it did: barriers, fences, releases. An access at
//! count c of warp a is ordered before what warp b does once b knows of c. Within a block barriers pass knowledge on;
//! between any two warps, a fence followed by a strong write does, to whoever reads that place with a strong read.
//! The reader needs no fence here: CUDA's own samples leave it out, and no GPU has been seen to mind.

use std::collections::HashMap;
use std::rc::Rc;

/// By warp of the launch: the count known of.
pub type Known = HashMap<u32, u32>;

/// What a warp knows: of its own block, and of others.
#[derive(Clone, Default)]
pub struct Knowledge {
    pub block: Vec<u32>,
    pub foreign: Option<Rc<Known>>,
}

impl Knowledge {
    pub fn join(&mut self, other: &Knowledge) {
        if self.block.len() < other.block.len() {
            self.block.resize(other.block.len(), 0);
        }
        self.block.iter_mut().zip(&other.block).for_each(|(a, b)| *a = (*a).max(*b));
        join_foreign(&mut self.foreign, other.foreign.as_ref());
    }
}

fn join_foreign(to: &mut Option<Rc<Known>>, from: Option<&Rc<Known>>) {
    let Some(from) = from else { return };
    match to {
        None => *to = Some(Rc::clone(from)),
        Some(to) if Rc::ptr_eq(to, from) => {}
        Some(to) => {
            let covers = |a: &Known, b: &Known| b.iter().all(|(actor, clock)| a.get(actor) >= Some(clock));
            if from.len() >= to.len() && covers(from, to) {
                *to = Rc::clone(from);
            } else if !covers(to, from) {
                let to = Rc::make_mut(to);
                from.iter().for_each(|(&actor, &clock)| raise(to, actor, clock));
            }
        }
    }
}

fn raise(known: &mut Known, actor: u32, clock: u32) {
    let old = known.entry(actor).or_default();
    *old = (*old).max(clock);
}

/// A place through which knowledge goes: what releases have left there, for all, and for the same block alone.
#[derive(Default)]
pub struct Passage {
    wide: Option<Rc<Known>>,
    narrow: HashMap<u32, Knowledge>,
}

impl Passage {
    /// `base`: the number of the block's first warp.
    pub fn leave(&mut self, released: &Knowledge, base: u32, block_only: bool) {
        if block_only {
            self.narrow.entry(base).or_default().join(released);
            return;
        }
        join_foreign(&mut self.wide, released.foreign.as_ref());
        let wide = Rc::make_mut(self.wide.get_or_insert_default());
        released.block.iter().enumerate().filter(|(_, clock)| **clock > 0).for_each(|(warp, &clock)| {
            raise(wide, base + warp as u32, clock);
        });
    }

    pub fn take(&self, to: &mut Knowledge, base: u32) {
        if let Some(narrow) = self.narrow.get(&base) {
            to.join(narrow);
        }
        let Some(wide) = &self.wide else { return };
        for (warp, clock) in to.block.iter_mut().enumerate() {
            *clock = (*clock).max(wide.get(&(base + warp as u32)).copied().unwrap_or(0));
        }
        join_foreign(&mut to.foreign, Some(wide));
    }
}

/// Who has come to a barrier of the block since it last opened.
#[derive(Default)]
struct Meeting {
    joined: Knowledge,
    /// Warps that it holds.
    held: u64,
}

/// The clocks of one block.
pub struct Clocks {
    pub base: u32,
    pub warps: Vec<Knowledge>,
    /// What each warp knew at its last fence, for the block and for all.
    fenced: Vec<[Option<Rc<Knowledge>>; 2]>,
    meetings: Vec<Meeting>,
    passages: HashMap<u64, Passage>,
}

impl Clocks {
    pub fn new(base: u32, warps: usize) -> Clocks {
        let start = |warp: usize| {
            let mut block = vec![0; warps];
            block[warp] = 1;
            Knowledge { block, foreign: None }
        };
        Clocks {
            base,
            warps: (0..warps).map(start).collect(),
            fenced: (0..warps).map(|_| [None, None]).collect(),
            meetings: (0..16).map(|_| Meeting::default()).collect(),
            passages: HashMap::new(),
        }
    }

    pub fn clock(&self, warp: usize) -> u32 {
        self.warps[warp].block[warp]
    }

    /// What the warp does from now on is not what others have been told of.
    pub fn advance(&mut self, warp: usize) {
        self.warps[warp].block[warp] += 1;
    }

    pub fn arrive(&mut self, warp: usize, barrier: usize, held: bool) {
        let meeting = &mut self.meetings[barrier];
        meeting.joined.join(&self.warps[warp]);
        meeting.held |= (held as u64) << warp;
        self.advance(warp);
    }

    pub fn open(&mut self, barrier: usize) {
        let meeting = std::mem::take(&mut self.meetings[barrier]);
        for (_, warp) in self.warps.iter_mut().enumerate().filter(|(warp, _)| meeting.held >> warp & 1 == 1) {
            warp.join(&meeting.joined);
        }
    }

    pub fn fence(&mut self, warp: usize, block_only: bool) {
        let known = Rc::new(self.warps[warp].clone());
        if !block_only {
            self.fenced[warp][1] = Some(Rc::clone(&known));
        }
        self.fenced[warp][0] = Some(known);
        self.advance(warp);
    }

    /// A strong access of the warp to a place: it learns what was left there if it reads, and leaves what it knew at its
    /// last fence if it writes. `global` has the passages of global memory.
    pub fn pass(
        &mut self,
        warp: usize,
        at: u64,
        reads: bool,
        writes: bool,
        global: Option<&mut HashMap<u64, Passage>>,
    ) {
        let passages = global.unwrap_or(&mut self.passages);
        if reads && let Some(passage) = passages.get(&at) {
            passage.take(&mut self.warps[warp], self.base);
        }
        let [narrow, wide] = &self.fenced[warp];
        if writes && narrow.is_some() {
            let passage = passages.entry(at).or_default();
            if let Some(wide) = wide {
                passage.leave(wide, self.base, false);
            }
            if let Some(narrow) = narrow
                && !wide.as_ref().is_some_and(|wide| Rc::ptr_eq(wide, narrow))
            {
                passage.leave(narrow, self.base, true);
            }
        }
    }
}
