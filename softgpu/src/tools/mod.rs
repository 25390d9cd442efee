//! Tool mode: a launch under checkers and counters, under the names that CUDA engineers know them by.
//!
//! The plan of a kernel in tool mode has an op before every instruction that counts it, and one before every access
//! that shows it to the checkers; without tools neither exists. Blocks run one after another on one thread, in an order
//! that the seed chooses, and so do warps.

pub mod chips;
mod classes;
pub mod counters;
mod table;

use counters::{Counters, Counting};

use crate::decode::Decoded;
use crate::exec::{Fault, LANES, Launch, Warp};
use crate::ir::BarrierMode;
use crate::trap::Stop;

/// What watches a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// Accesses outside of allocations, misaligned, after free, in the wrong space. Such an access always stops the
    /// kernel; this one says more about it.
    pub memcheck: bool,
    /// Reads of memory that nobody has written.
    pub initcheck: bool,
    /// Accesses to one place that no barrier, atomic or fence puts in order.
    pub racecheck: bool,
    /// Barriers and warp instructions that not all threads reach as they must.
    pub synccheck: bool,
    pub counters: bool,
    /// Order of blocks and warps; 0 is the order of their numbers.
    pub seed: u64,
}

impl Tools {
    /// All four checkers.
    pub fn checks() -> Tools {
        Tools { memcheck: true, initcheck: true, racecheck: true, synccheck: true, ..Tools::default() }
    }

    pub fn any(&self) -> bool {
        self.memcheck || self.initcheck || self.racecheck || self.synccheck || self.counters || self.seed != 0
    }

    /// The checkers that are on, as [`Tools::check`] takes them.
    pub fn list(&self) -> String {
        let checkers = [
            ("memcheck", self.memcheck),
            ("initcheck", self.initcheck),
            ("racecheck", self.racecheck),
            ("synccheck", self.synccheck),
        ];
        let on: Vec<&str> = checkers.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        on.join(",")
    }

    /// Switches on the checkers of a list such as `memcheck,racecheck`, or `all`. Error: a name that is none of them.
    pub fn check(mut self, list: &str) -> Result<Tools, String> {
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "memcheck" => self.memcheck = true,
                "initcheck" => self.initcheck = true,
                "racecheck" => self.racecheck = true,
                "synccheck" => self.synccheck = true,
                "all" => self = Tools { counters: self.counters, seed: self.seed, ..Tools::checks() },
                other => {
                    return Err(format!("`{other}` is no checker: memcheck, initcheck, racecheck, synccheck or all"));
                }
            }
        }
        Ok(self)
    }
}

/// What the tools have seen in a launch that came to its end.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of their discovery; one for each pair of instructions, however often it happened.
    pub findings: Vec<Stop>,
    pub counters: Option<Counters>,
}

/// How memory is touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    Read,
    Write,
    /// Read and written in one step that others cannot come between.
    Atomic,
}

/// One access of a warp: what the instruction at `place` does, with `bytes` bytes per lane.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub place: u32,
    pub touch: Touch,
    /// See `exec::mem`; the lanes of a generic access say where it goes by their addresses.
    pub space: u8,
    pub bytes: u32,
    /// Volatile, relaxed or stronger.
    pub strong: bool,
}

/// The tools at work on one launch.
pub struct Observer<'a> {
    pub tools: Tools,
    pub decoded: &'a Decoded,
    pub launch: &'a Launch<'a>,
    pub findings: Vec<Stop>,
    counting: Counting,
}

impl<'a> Observer<'a> {
    pub fn new(tools: Tools, decoded: &'a Decoded, launch: &'a Launch<'a>) -> Observer<'a> {
        Observer { tools, decoded, launch, findings: Vec::new(), counting: Counting::new(decoded.places.len()) }
    }

    pub fn report(self) -> Report {
        let (decoded, launch) = (self.decoded, self.launch);
        let shared = decoded.shared_bytes as u64 + launch.shared_bytes as u64;
        let counters = self.tools.counters;
        let counters = counters.then(|| self.counting.finish(decoded, launch.grid, launch.block, shared));
        Report { findings: self.findings, counters }
    }

    /// A warp executes an instruction with `active` threads, of which `chosen` pass its guard.
    pub fn tick(&mut self, place: u32, active: u32, chosen: u32) {
        if self.tools.counters {
            self.counting.tick(place, active, chosen);
        }
    }

    /// The lanes in the warp's mask access memory, about to happen; a fault stops the kernel.
    pub fn access(&mut self, warp: &Warp, access: &Access, addresses: &[u64; LANES]) -> Option<Fault> {
        if self.tools.counters {
            self.counting.access(access, warp.mask, addresses);
        }
        None
    }

    /// A block begins, its shared and local memory unwritten.
    pub fn block_starts(&mut self, _block: u64) {}

    /// All its threads have exited.
    pub fn block_ends(&mut self, _block: u64) {}

    /// The lanes in the warp's mask reach a barrier of the block.
    pub fn arrives(&mut self, _warp: &Warp, _place: u32, _number: usize, _mode: BarrierMode) {}

    /// A barrier opens: (warp, lanes) that it had held or counted.
    pub fn opens(&mut self, _block: u64, _number: usize, _arrived: &[(usize, u32)]) {}

    /// Lanes of a warp meet at a warp instruction with this member mask.
    pub fn meets(&mut self, _warp: &Warp, _place: u32, _members: u32) {}

    /// A memory fence of the lanes in the warp's mask.
    pub fn fence(&mut self, _warp: &Warp, _place: u32) {}
}
