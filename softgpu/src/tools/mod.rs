//! Tool mode: a launch under checkers and counters, under the names that CUDA engineers know them by.
//!
//! The plan of a kernel in tool mode has an op before every instruction that counts it, and one before every access
//! that shows it to the checkers; without tools neither exists. Blocks run one after another on one thread, in an order
//! that the seed chooses, and so do warps.

mod around;
pub mod chips;
mod classes;
mod clocks;
pub mod counters;
mod findings;
mod init;
mod marks;
mod race;
mod shadow;
mod spot;
mod sync;
mod table;

pub use findings::{Scene, Who};
pub use marks::{Mark, marks};

use crate::exec::{Fault, LANES, Warp};
use crate::ir::BarrierMode;
use crate::trap::Stop;
use around::Around;
use counters::{Counters, Counting};
use findings::Findings;
use init::Init;
use race::Race;
use spot::{Space, Spot};
use sync::Arrivals;

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

/// What tools are to see of a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Nothing,
    /// What touches memory, and what orders that.
    Accesses,
    /// Every instruction.
    All,
}

/// The bytes that a lane stores.
pub type Value<'a> = &'a dyn Fn(usize) -> [u8; 16];

/// The tools at work on one launch.
pub struct Observer<'a> {
    pub tools: Tools,
    pub scene: Scene<'a>,
    findings: Findings,
    marks: &'a [Mark],
    counting: Counting,
    init: Option<Init>,
    race: Option<Race>,
    arrivals: Arrivals,
    around: Option<Around>,
}

impl<'a> Observer<'a> {
    /// `keep`: memory is a watched one, so that what is written must be noted even if nobody asks now.
    pub fn new(tools: Tools, scene: Scene<'a>, marks: &'a [Mark], keep: bool) -> Observer<'a> {
        Observer {
            tools,
            scene,
            findings: Findings::default(),
            marks,
            counting: Counting::new(if tools.counters { scene.decoded.places.len() } else { 0 }),
            init: (tools.initcheck || keep).then(|| Init::new(&scene)),
            race: tools.racecheck.then(|| Race::new(&scene)),
            arrivals: Arrivals::default(),
            around: tools.synccheck.then(|| Around::new(&scene)),
        }
    }

    pub fn report(mut self) -> Report {
        let Scene { decoded, launch, .. } = self.scene;
        let shared = decoded.shared_bytes as u64 + launch.shared_bytes as u64;
        let counters = self.tools.counters;
        let counters = counters.then(|| self.counting.finish(decoded, launch.grid, launch.block, shared));
        Report { findings: self.findings.take(), counters }
    }

    /// A warp executes an instruction; so many threads pass its guard.
    pub fn tick(&mut self, warp: &Warp, place: u32, threads: u32) {
        if self.tools.counters {
            self.counting.tick(place, warp.mask.count_ones(), threads);
        }
        let mark = self.marks[place as usize];
        if mark.orders() {
            self.orders(warp, mark, threads);
        }
    }

    #[cold]
    fn orders(&mut self, warp: &Warp, mark: Mark, threads: u32) {
        let Some(clocks) = self.race.as_mut().and_then(|race| race.clocks(warp.block)).filter(|_| threads > 0) else {
            return;
        };
        match mark.has(Mark::FENCE) {
            true => clocks.fence(warp.index as usize, mark.has(Mark::BLOCK)),
            false => clocks.advance(warp.index as usize),
        }
    }

    /// The lanes in the warp's mask access memory, about to happen; a fault stops the kernel. `value`: what they store,
    /// if it is known.
    pub fn access(
        &mut self,
        warp: &Warp,
        access: &Access,
        addresses: &[u64; LANES],
        value: Option<Value>,
    ) -> Option<Fault> {
        if self.tools.counters {
            self.counting.access(access, warp.mask, addresses);
        }
        if warp.mask == 0 || self.init.is_none() && self.race.is_none() && self.around.is_none() {
            return None;
        }
        let sizes = [warp.shared_bytes, warp.local_bytes];
        let find = |mask| spot::find(access.space, access.bytes as u64, mask, addresses, &self.scene, sizes);
        if let Some(spot) = find(warp.mask) {
            self.spot(warp, access, &spot, value);
            return None;
        }
        // Lanes in several allocations or spaces; one that strays stops the kernel by itself.
        let spots: Option<Vec<Spot>> = (0..LANES).filter(|i| warp.mask >> i & 1 == 1).map(|i| find(1 << i)).collect();
        spots.into_iter().flatten().for_each(|spot| self.spot(warp, access, &spot, value));
        None
    }

    /// As [`Observer::access`], of lanes that the program is known to point at one address, or at a row that begins there,
    /// if nobody counts; false: not done.
    pub fn known(&mut self, warp: &Warp, access: &Access, first: (bool, u64), value: Option<Value>) -> bool {
        if self.tools.counters || warp.mask == 0 {
            return false;
        }
        let sizes = [warp.shared_bytes, warp.local_bytes];
        let spot = spot::known(access.space, access.bytes as u64, warp.mask, first, &self.scene, sizes);
        spot.inspect(|spot| self.spot(warp, access, spot, value)).is_some()
    }

    fn spot(&mut self, warp: &Warp, access: &Access, spot: &Spot, value: Option<Value>) {
        let out = (&self.scene, &mut self.findings);
        if self.tools.synccheck && warp.deferred && spot.space == Space::Shared && access.touch == Touch::Read {
            sync::pending(out.0, out.1, warp, access, spot);
        }
        if let Some(around) = &mut self.around
            && access.touch == Touch::Read
            && spot.space != Space::Local
        {
            around.read(warp, access.place);
        }
        if let Some(init) = &mut self.init {
            let uses = !self.marks[access.place as usize].has(Mark::PASSES);
            init.access(warp, access, spot, self.tools.initcheck && uses, (out.0, out.1));
        }
        if let Some(race) = &mut self.race {
            race.access(warp, access, self.marks[access.place as usize], spot, value, (out.0, out.1));
        }
    }

    /// A block begins, its shared and local memory unwritten.
    pub fn block_starts(&mut self, block: u64) {
        self.init.iter_mut().for_each(|init| init.block_starts(block));
        self.race.iter_mut().for_each(|race| race.block_starts(block));
    }

    /// All its threads have exited.
    pub fn block_ends(&mut self, block: u64) {
        self.init.iter_mut().for_each(|init| init.block_ends(block));
        self.race.iter_mut().for_each(|race| race.block_ends(block));
        self.around.iter_mut().for_each(|around| around.block_ends(block));
    }

    /// The lanes in the warp's mask reach a barrier of the block.
    pub fn arrives(&mut self, warp: &Warp, place: u32, number: usize, mode: BarrierMode) {
        if let Some(clocks) = self.race.as_mut().and_then(|race| race.clocks(warp.block)) {
            clocks.arrive(warp.index as usize, number, mode != BarrierMode::Arrive);
        }
        if self.tools.counters {
            self.counting.arrive(place);
        }
        if self.tools.synccheck {
            self.arrivals.come(warp, place, number);
        }
        self.around.iter_mut().for_each(|around| around.forget(warp.block, warp.index, warp.mask));
    }

    /// A branch by a table sends the warp's threads to several places.
    pub fn parts(&mut self, place: u32) {
        if self.tools.counters {
            self.counting.part(place);
        }
    }

    /// A barrier opens, of the whole block if it has no count.
    pub fn opens(&mut self, block: u64, number: usize, whole: bool) {
        if let Some(clocks) = self.race.as_mut().and_then(|race| race.clocks(block)) {
            clocks.open(number);
        }
        if self.tools.synccheck {
            let aligned = |place: u32| self.marks[place as usize].has(Mark::ALIGNED);
            let out = (&self.scene, &mut self.findings);
            let around = self.around.as_mut().filter(|_| whole);
            self.arrivals.open(block, number, aligned, around, out);
        }
    }

    /// The lanes of a shuffle read from lanes: those that do not are set to themselves.
    pub fn shuffles(&mut self, warp: &Warp, place: u32, members: &[u32; LANES], from: &[u32; LANES]) {
        if self.tools.synccheck {
            sync::shuffle(&self.scene, &mut self.findings, warp, place, members, from);
        }
    }
}
