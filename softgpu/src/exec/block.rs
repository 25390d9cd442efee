//! A block: its warps, its shared memory, and its barriers.

mod dash;
mod stuck;

use super::async_copy::Copies;
use super::gang::GANG;
use super::launch::Job;
use super::sched::{Arrival, Lanes, Outcome, part, run};
use super::{Fault, LANES, List, Op, Waits, Warp, fill};
use crate::decode::{Init, MULTIPROCESSORS, Order, Special};
use crate::ir::BarrierMode;
use crate::plan::Home;
use crate::tools::Observer;
use crate::trap::Stop;
use dash::{Split, Start};

/// Barriers of a block: PTX ISA 9.0, 9.7.13.1.
const BARRIERS: usize = 16;

/// One register of a warp.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Slot([u32; LANES]);

/// A block in work, or the room for one.
pub struct Block<'a> {
    job: &'a Job<'a>,
    /// Its turn among the blocks of the launch, and its number in the grid.
    pub position: u64,
    index: u64,
    registers: Vec<Slot>,
    shared: Vec<Slot>,
    local: Vec<u64>,
    warps: Vec<Lanes>,
    barriers: [Barrier; BARRIERS],
    /// Since the block started: no warp has had its first turn; one has done more than run to its end; a thread has come
    /// to a barrier.
    fresh: bool,
    stirred: bool,
    met: bool,
    /// The warps in their order in a round.
    order: Vec<Start>,
    /// So many of them start in gangs; and where those of the gang that has split last go on.
    gangs: usize,
    split: Split,
    /// Warps in their order that have ended before the first round.
    ended: usize,
    copies: Copies,
    /// Branches left before the block is stopped as one that never ends.
    budget: u64,
    /// Rounds, one after the other, in which nobody did more than wait; and by warp, of those the last with an mbarrier that it
    /// tested.
    vain: u32,
    tested: Vec<u32>,
}

/// Rounds of its warps in one turn of a block: they may wait for each other that often, and for another block at most
/// so long.
const ROUNDS: usize = 1024;

/// Whether a block has ended with its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ended,
    Goes,
}

/// Who has arrived at a barrier since it last opened.
#[derive(Default)]
struct Barrier {
    /// (warp, lanes).
    arrived: Vec<(usize, u32)>,
    /// Threads that it waits for; 0: all of the block.
    count: u32,
    mode: Option<BarrierMode>,
    /// Of a reduction: threads whose predicate holds; and threads that came with one.
    votes: u32,
    voters: u32,
}

/// Branches before a test of an mbarrier, or a sleep, in a loop that does nothing else.
const SPIN: u64 = 16;

const ENDLESS: &str = "the block has used up its `--budget` of branches: is a loop without an end, or does it wait for a block that has not started?";

impl<'a> Block<'a> {
    pub fn new(job: &'a Job<'a>) -> Block<'a> {
        let warps = job.threads.div_ceil(LANES);
        let program = job.program;
        // In the order that a seed chooses, neighbours are apart.
        let ganged = program.ganged.is_some() && job.tools.is_null() && job.seed == 0;
        let mut block = Block {
            job,
            position: 0,
            index: 0,
            gangs: if ganged { job.threads / LANES / GANG * GANG } else { 0 },
            split: Split::default(),
            ended: 0,
            order: (0..warps).map(|warp| Start::of(warp, job)).collect(),
            fresh: false,
            stirred: true,
            met: false,
            registers: vec![Slot([0; LANES]); warps * (program.bytes / size_of::<Slot>())],
            shared: vec![Slot([0; LANES]); job.shared.div_ceil(4 * LANES)],
            local: vec![0; (warps * LANES * job.decoded.local_bytes).div_ceil(8)],
            warps: (0..warps).map(|_| Lanes::default()).collect(),
            barriers: Default::default(),
            copies: Copies::default(),
            budget: 0,
            vain: 0,
            tested: vec![0; warps],
        };
        for warp in 0..warps {
            block.constants(warp);
        }
        block
    }

    /// Makes this the block of that index, at its start.
    pub fn start(&mut self, position: u64, index: u64) {
        let [gx, gy, _] = self.job.launch.grid.map(u64::from);
        (self.position, self.index) = (position, index);
        if self.job.seed != 0 {
            self.order.sort_by_key(|start| start.index);
            let mut state = self.job.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for left in (1..self.order.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.order.swap(left, (state >> 33) as usize % (left + 1));
            }
        }
        // Divisions are slow, and most grids are a line.
        let [x, y, z] = match gx > index {
            true => [index as u32, 0, 0],
            false => [index % gx, index / gx % gy, index / (gx * gy)].map(|i| i as u32),
        };
        let (files, warps) = (self.registers.as_mut_ptr().cast::<u8>(), self.warps.len());
        // SAFETY: the register files of all warps, as `new` has made them.
        unsafe { fill::of_block(self.job.program, files, warps, &[x, y, z, (index % MULTIPROCESSORS as u64) as u32]) };
        self.budget = self.job.budget;
        (self.fresh, self.split, self.ended, self.vain) = (true, Split::default(), 0, 0);
        if std::mem::take(&mut self.met) {
            self.barriers = Default::default();
        }
        if self.job.deferred {
            self.copies.start(self.warps.len() * LANES);
        }
        // Shared memory starts as NaN everywhere: a kernel that reads what nobody wrote gets the same wrong answer always.
        self.shared.fill(Slot([u32::MAX; LANES]));
        if std::mem::take(&mut self.stirred) {
            self.order.iter().for_each(|start| self.warps[start.index as usize].live = start.live);
        }
        self.observe(|tools| tools.block_starts(index));
    }

    /// Runs until the block ends or some warp has used up its turn of so many branches. `w` is [`nobody`].
    pub fn turn(&mut self, w: &mut Warp, branches: u64) -> Result<Turn, Box<Stop>> {
        (w.block, w.shared, w.copies) = (self.index, self.shared.as_mut_ptr().cast(), &mut self.copies);
        if self.fresh {
            self.march(w, branches);
            if self.ended == self.order.len() {
                return Ok(Turn::Ended); // without tools: under them there are no gangs
            }
        }
        self.rounds(w, branches)
    }

    #[inline(never)]
    fn rounds(&mut self, w: &mut Warp, branches: u64) -> Result<Turn, Box<Stop>> {
        for _ in 0..ROUNDS {
            match self.round(w, branches)? {
                (Turn::Goes, 0) => {}
                (turn, _) => return Ok(turn),
            }
        }
        Ok(Turn::Goes)
    }

    /// Runs every warp until it waits, ends, gives way or has used up its turn; how many have used it up.
    fn round(&mut self, w: &mut Warp, branches: u64) -> Result<(Turn, usize), Box<Stop>> {
        let (mut spent, mut waiting) = (0, 0);
        let mut waits: Option<(usize, Waits)> = None;
        let mut vain = true;
        let first = std::mem::take(&mut self.fresh);
        let mut k = if first { self.ended } else { 0 };
        while k < self.order.len() {
            let event = if first { self.dash(w, &mut k, branches) } else { None };
            if first && event.is_none() {
                break;
            }
            let warp = self.order[k].index as usize;
            k += 1;
            let ended = self.warps[warp].live == 0;
            let outcome = self.warp(w, warp, event, branches);
            let (idle, waited) = (w.idle.take(), w.waits.take());
            vain &= match outcome {
                Outcome::Done => ended,
                Outcome::Held => w.turn == branches,
                Outcome::Spent => idle.is_some_and(|left| branches.saturating_sub(left) <= SPIN),
                Outcome::Trap(_) => false,
            };
            if let Some(waited) = waited {
                self.tested[warp] = self.vain;
                waits = waits.or(Some((warp, waited)));
            }
            let (used, given) = (branches.saturating_sub(w.turn + w.given), w.given);
            let fault = if let Outcome::Trap(_) = outcome { w.stop.take() } else { None };
            match outcome {
                Outcome::Done | Outcome::Held => {}
                Outcome::Spent => {
                    if given == 0 {
                        spent += 1
                    } else {
                        waiting += 1
                    }
                    self.budget = self.budget.saturating_sub(used);
                    if self.budget == 0 {
                        let lane = self.warps[warp].groups.last().map_or(0, |g| g.1.trailing_zeros());
                        let pc = self.warps[warp].groups.last().map_or(0, |g| g.0);
                        let fault = Fault::new("the kernel does not end".into(), ENDLESS, lane).of("synccheck");
                        return Err(self.with_others(self.report(warp, pc, Some(fault)), warp, pc));
                    }
                }
                Outcome::Trap(pc) => {
                    // Whoever waits in vain waits for somebody.
                    let waits = fault.as_ref().is_some_and(|fault| fault.checker == "synccheck");
                    let stop = self.report(warp, pc, fault);
                    return Err(if waits { self.with_others(stop, warp, pc) } else { stop });
                }
            }
        }
        let opened = if self.met { self.open() } else { 0 };
        if !self.stirred || self.warps.iter().all(|lanes| lanes.live == 0) {
            self.observe(|tools| tools.block_ends(self.index));
            return Ok((Turn::Ended, spent));
        }
        if opened == 0 && spent == 0 && waiting == 0 {
            return Err(self.stuck());
        }
        match self.waits_in_vain(vain && opened == 0, waits) {
            Some(stop) => Err(stop),
            None => Ok((Turn::Goes, spent)),
        }
    }

    /// The offsets of a warp's registers and of its local memory.
    #[inline(always)]
    fn buffers(&mut self, index: usize) -> [*mut u8; 2] {
        // SAFETY: the offsets lie inside buffers sized for all warps of the block.
        unsafe {
            let local = self.local.as_mut_ptr().cast::<u8>().add(index * LANES * self.job.decoded.local_bytes);
            [self.registers.as_mut_ptr().cast::<u8>().add(index * self.job.program.bytes), local]
        }
    }

    /// One turn of a warp; what is left of its first one, after that event.
    fn warp(&mut self, w: &mut Warp, index: usize, event: Option<u32>, branches: u64) -> Outcome {
        let program = self.job.program;
        let [file, local] = self.buffers(index);
        let lanes = &mut self.warps[index];
        let (barriers, met) = (&mut self.barriers, &mut self.met);
        let mut arrive = |w: &mut Warp, _: &Op, list: &List| {
            *met = true;
            // SAFETY: the list is a barrier's, of this program, whose register file `file` is.
            unsafe { arrive(barriers, index, w, list, file) }
        };
        let outcome = match event {
            Some(event) => part(event, program, lanes, w, file, &mut arrive),
            None => {
                (w.live, w.local, w.index, w.clock) = (lanes.live, local, index as u32, lanes.clock);
                (w.turn, w.given) = (branches, 0);
                run(program, lanes, w, file, &mut arrive)
            }
        };
        (lanes.live, lanes.clock) = (w.live, w.clock);
        if !w.printed.is_empty() {
            self.job.output.add(self.index, &mut w.printed);
        }
        outcome
    }

    /// Opens the barriers that are complete; how many.
    fn open(&mut self) -> usize {
        let mut opened = 0;
        for number in 0..BARRIERS {
            let barrier = &self.barriers[number];
            if barrier.arrived.is_empty() || barrier.missing(&self.warps) > 0 {
                continue;
            }
            opened += 1;
            let barrier = std::mem::take(&mut self.barriers[number]);
            self.observe(|tools| tools.opens(self.index, number, barrier.count == 0));
            for warp in 0..self.warps.len() {
                let held: Vec<_> = self.warps[warp].held.iter().filter(|held| held.number == number).copied().collect();
                for held in held {
                    self.deliver(warp, held.at, held.mask, &barrier);
                }
                self.warps[warp].release(number);
            }
        }
        opened
    }

    fn observe(&self, f: impl FnOnce(&mut Observer)) {
        // SAFETY: the tools outlive the launch, whose blocks run on one thread if there are any.
        if let Some(tools) = unsafe { self.job.tools.as_mut() } {
            f(tools);
        }
    }

    /// Writes what a reduction has come to into the registers of those it holds.
    fn deliver(&mut self, warp: usize, at: u32, mask: u32, barrier: &Barrier) {
        let program = self.job.program;
        let list = &program.lists[program.ops[at as usize].imm as usize];
        let mode = BarrierMode::of(list.imms[0]);
        let mut put = |value: u32| {
            let at = warp * program.bytes + list.regs[0] as usize;
            let file: &mut [u8] = bytemuck::cast_slice_mut(&mut self.registers);
            if mode == BarrierMode::Popc {
                for lane in (0..LANES).filter(|lane| mask >> lane & 1 == 1) {
                    file[at + 4 * lane..at + 4 * lane + 4].copy_from_slice(&value.to_ne_bytes());
                }
            } else {
                let old = u32::from_ne_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
                let new = old & !mask | if value != 0 { mask } else { 0 };
                file[at..at + 4].copy_from_slice(&new.to_ne_bytes());
            }
        };
        match mode {
            BarrierMode::And => put((barrier.votes == barrier.voters) as u32),
            BarrierMode::Or => put((barrier.votes != 0) as u32),
            BarrierMode::Popc => put(barrier.votes),
            BarrierMode::Sync | BarrierMode::Arrive => {}
        }
    }

    /// Fills the slots that no instruction writes: literals, parameters, special registers. What changes from block to
    /// block is filled by [`fill::of_block`].
    fn constants(&mut self, warp: usize) {
        let program = self.job.program;
        let (grid, threads) = (self.job.launch.grid, self.job.launch.block);
        for &(at, home, init) in &program.inits {
            let value = |lane: usize| -> u64 {
                let t = (warp * LANES + lane) as u32;
                match init {
                    Init::Bits(bits) => bits,
                    Init::Variable { index, offset } => self.job.variables.addresses[index].wrapping_add(offset as u64),
                    Init::Param { offset, bytes } => {
                        let mut raw = [0; 8];
                        raw[..bytes].copy_from_slice(&self.job.params[offset..offset + bytes]);
                        u64::from_le_bytes(raw)
                    }
                    Init::Special(special) => {
                        (match special {
                            Special::Thread(0) => t % threads[0],
                            Special::Thread(1) => t / threads[0] % threads[1],
                            Special::Thread(_) => t / (threads[0] * threads[1]),
                            // Filled per block.
                            Special::Block(_) | Special::Multiprocessor => 0,
                            Special::Threads(axis) => threads[axis],
                            Special::Blocks(axis) => grid[axis],
                            Special::Lane => lane as u32,
                            Special::Warp => warp as u32,
                            Special::Lanes(Order::Equal) => 1 << lane,
                            Special::Lanes(Order::Less) => (1 << lane) - 1,
                            Special::Lanes(Order::LessOrEqual) => u32::MAX >> (31 - lane),
                            Special::Lanes(Order::GreaterOrEqual) => u32::MAX << lane,
                            Special::Lanes(Order::Greater) => u32::MAX << lane << 1,
                            Special::DynamicShared => self.job.launch.shared_bytes,
                            Special::TotalShared => self.job.shared as u32,
                            Special::GridBarrier(0) => (self.job.barrier >> 32) as u32,
                            Special::GridBarrier(_) => self.job.barrier as u32,
                        }) as u64
                    }
                }
            };
            let at = warp * program.bytes + at;
            let file: &mut [u8] = bytemuck::cast_slice_mut(&mut self.registers);
            match home {
                Home::Mask => {
                    let mask = if value(0) != 0 { u32::MAX } else { 0 };
                    file[at..at + 4].copy_from_slice(&mask.to_ne_bytes());
                }
                Home::Words => {
                    let words: [u32; LANES] = std::array::from_fn(|i| value(i) as u32);
                    file[at..at + 128].copy_from_slice(bytemuck::cast_slice(&words));
                }
                Home::Doubles => {
                    let doubles: [u64; LANES] = std::array::from_fn(value);
                    file[at..at + 256].copy_from_slice(bytemuck::cast_slice(&doubles));
                }
                Home::Cell => file[at..at + 8].copy_from_slice(&value(0).to_ne_bytes()),
            }
        }
    }
}

/// What runs a launch's warps, but for what a block and each of its warps give it.
pub fn nobody(job: &Job) -> Warp {
    Warp {
        mask: 0,
        live: 0,
        taken: 0,
        saved: 0,
        at: std::ptr::null(),
        blocks: job.blocks.as_ptr(),
        block_count: job.blocks.len(),
        shared: std::ptr::null_mut(),
        shared_bytes: job.shared as u64,
        local: std::ptr::null_mut(),
        local_bytes: job.decoded.local_bytes as u64,
        constants: job.variables.constants.base,
        constant_bytes: job.variables.constants.bytes,
        params: job.params.as_ptr(),
        param_bytes: job.params.len() as u64,
        copies: std::ptr::null_mut(),
        deferred: job.deferred,
        turn: 0,
        given: 0,
        idle: None,
        waits: None,
        lists: job.program.lists.as_ptr(),
        stride: 0,
        singles: std::ptr::null(),
        block: 0,
        index: 0,
        tools: job.tools,
        clock: 0,
        meets: 0,
        printed: Vec::new(),
        stop: None,
    }
}

impl Barrier {
    /// Threads that have come and are not gone, and lanes that do not exist in the warps that have come.
    fn threads(&self, warps: &[Lanes]) -> u32 {
        let came: u32 = self.arrived.iter().map(|(_, mask)| mask.count_ones()).sum();
        let absent = |warp: usize| {
            let mask = self.arrived.iter().filter(|(w, _)| *w == warp).fold(0, |mask, (_, m)| mask | m);
            if mask == 0 { 0 } else { (!warps[warp].live & !mask).count_ones() }
        };
        came + (0..warps.len()).map(absent).sum::<u32>()
    }

    fn missing(&self, warps: &[Lanes]) -> u32 {
        if self.count > 0 {
            return self.count.saturating_sub(self.threads(warps));
        }
        let mut live: Vec<u32> = warps.iter().map(|lanes| lanes.live).collect();
        self.arrived.iter().for_each(|&(warp, mask)| live[warp] &= !mask);
        live.into_iter().map(u32::count_ones).sum()
    }
}

/// A group reaches a barrier; the operands are those of [`BarrierMode`].
///
/// # Safety
/// `list` must be a barrier's, and `file` the register file that it speaks of.
unsafe fn arrive(
    barriers: &mut [Barrier; BARRIERS],
    warp: usize,
    w: &mut Warp,
    list: &List,
    file: *mut u8,
) -> Result<Arrival, ()> {
    let mode = BarrierMode::of(list.imms[0]);
    let uses = &list.regs[mode.results()..];
    let lane = w.mask.trailing_zeros();
    // SAFETY: the caller's; number and count are words, the same in all lanes as the ISA demands.
    let word = |at: u32| unsafe { *(file.add(at as usize) as *const u32).add(lane as usize) };
    let (number, count) = (word(uses[0]) as usize, word(uses[1]));
    let Some(barrier) = barriers.get_mut(number) else {
        w.trap_of("synccheck", format!("barrier {number} does not exist"), "a block has barriers 0 to 15", lane);
        return Err(());
    };
    if !count.is_multiple_of(LANES as u32) || count == 0 && mode == BarrierMode::Arrive {
        w.trap_of(
            "synccheck",
            format!("a barrier for {count} threads"),
            "the number of threads must be a multiple of 32",
            lane,
        );
        return Err(());
    }
    let kind = |mode| if mode == BarrierMode::Arrive { BarrierMode::Sync } else { mode };
    let first = *barrier.mode.get_or_insert(kind(mode));
    if barrier.arrived.is_empty() {
        barrier.count = count;
    } else if barrier.count != count || first != kind(mode) {
        let what =
            format!("threads meet at barrier {number} with different counts or kinds ({} and {count})", barrier.count);
        w.trap_of(
            "synccheck",
            what,
            "all that meet at a barrier must agree on what it is and how many it waits for",
            lane,
        );
        return Err(());
    }
    barrier.arrived.push((warp, w.mask));
    // SAFETY: the tools outlive the launch.
    if let Some(tools) = unsafe { w.tools.as_mut() } {
        tools.arrives(w, list.place, number, mode);
    }
    if mode.results() == 1 {
        // SAFETY: the third use of a reduction is a predicate.
        let p = unsafe { *(file.add(uses[2] as usize) as *const u32) } ^ 0u32.wrapping_sub(list.imms[1] as u32);
        barrier.votes += (p & w.mask).count_ones();
        barrier.voters += w.mask.count_ones();
    }
    Ok(if mode == BarrierMode::Arrive { Arrival::Passes } else { Arrival::Held(number) })
}
