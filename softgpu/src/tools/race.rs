//! racecheck: accesses to one place, one of them a write, that nothing orders.
//!
//! What orders: a barrier, those that meet at it; a fence and a strong access after it, those that read what that one
//! wrote (see [`clocks`](super::clocks)); the end of a kernel, everything. Within a warp, what lanes do in different
//! instructions is ordered by `bar.warp.sync` alone, as lanes may run apart since sm_70. Two strong accesses (volatile,
//! relaxed, atomic) do not race with each other; a strong and a plain one do, unless the plain one begins a loop around
//! `atom.cas`, which compares what it has read. Writes of the same value to one place are no race, be they of lanes in one
//! instruction or of warps.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::clocks::{Clocks, Knowledge, Passage};
use super::findings::{BETWEEN, Findings, Scene, WITHIN, Who};
use super::marks::Mark;
use super::shadow::{ATOMIC, BENEATH, Cell, LINE, Lines, PLAIN, Readers, STRONG, Shadow, Stamp};
use super::spot::{Shape, Space, Spot};
use super::{Access, Touch};
use crate::exec::{LANES, Warp};
use crate::trap::Stop;

/// A hash for small numbers.
#[derive(Default)]
pub struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_usize(byte as usize));
    }

    fn write_usize(&mut self, n: usize) {
        self.0 = (self.0.rotate_left(5) ^ n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The race detector of one launch.
pub struct Race {
    warps: u32,
    /// By allocation, of those that the launch touches.
    global: HashMap<usize, Shadow, BuildHasherDefault<Multiply>>,
    passages: HashMap<u64, Passage>,
    blocks: Vec<BlockRace>,
    conflicts: Vec<Conflict>,
}

struct BlockRace {
    index: u64,
    clocks: Clocks,
    shared: Shadow,
}

/// An earlier access that the present one races with.
struct Conflict {
    earlier: Stamp,
    wrote: bool,
    /// Of the present one.
    lane: u32,
    /// Byte offset of the word or line.
    at: u64,
}

/// Who accesses now, and what it knows.
struct Now<'a> {
    actor: u32,
    base: u32,
    clock: u32,
    known: &'a Knowledge,
    stamp: Stamp,
    writes: bool,
}

/// How an earlier access stands to the present one.
#[derive(PartialEq)]
enum Order {
    Before,
    /// Of the same warp, with nothing in between that brings its lanes together.
    SameWarp,
    None,
}

impl Now<'_> {
    #[inline]
    fn order(&self, earlier: Stamp) -> Order {
        if earlier.actor == self.actor {
            return if earlier.clock < self.clock { Order::Before } else { Order::SameWarp };
        }
        let warp = earlier.actor.wrapping_sub(self.base) as usize;
        let known = match self.known.block.get(warp) {
            Some(&clock) => clock,
            None => self.known.foreign.as_ref().and_then(|f| f.get(&earlier.actor)).copied().unwrap_or(0),
        };
        if known >= earlier.clock { Order::Before } else { Order::None }
    }

    /// Whether the present access, as `stamp` has it, races with an earlier one to the same bytes.
    #[inline(always)]
    fn races(&self, earlier: Stamp, stamp: Stamp, line: bool) -> bool {
        if earlier.clock == 0 || !earlier.is_plain() && !stamp.is_plain() {
            return false;
        }
        match self.order(earlier) {
            Order::Before => false,
            Order::None => line || earlier.extent() & stamp.extent() != 0,
            Order::SameWarp if line => (earlier.lane(), earlier.extent()) != (stamp.lane(), stamp.extent()),
            Order::SameWarp => {
                let apart = stamp.many() || earlier.lane() != stamp.lane();
                (earlier.is_shared() || !earlier.many() && apart) && earlier.extent() & stamp.extent() != 0
            }
        }
    }

    /// The same, not inlined once more: of the readers before the last two, which few places have.
    #[cold]
    fn races_rarely(&self, earlier: Stamp, stamp: Stamp, line: bool) -> bool {
        self.races(earlier, stamp, line)
    }

    #[inline(always)] // a stamp that is passed in memory waits for its parts to be stored
    fn check(&self, cell: &Cell, readers: &Readers, stamp: Stamp, line: bool, (at, out): (u64, &mut Vec<Conflict>)) {
        let mut found = |earlier, wrote| out.push(Conflict { earlier, wrote, lane: stamp.lane(), at });
        if self.races(cell.write, stamp, line) {
            found(cell.write, true);
        }
        if self.writes {
            cell.reads.iter().filter(|read| self.races(**read, stamp, line)).for_each(|read| found(*read, false));
            if cell.has_earlier() {
                readers
                    .of(cell)
                    .filter(|read| self.races_rarely(*read, stamp, line))
                    .for_each(|read| found(read, false));
            }
        }
    }

    #[inline(always)]
    fn mark(&self, cell: &mut Cell, readers: &mut Readers, stamp: Stamp, line: bool) {
        if self.writes {
            let old = cell.write;
            let same = (old.actor, old.clock) == (stamp.actor, stamp.clock);
            if !line && same && old.extent() & stamp.extent() == 0 {
                // Other bytes of the word, by another lane: together they have no lane that could be told apart.
                let bytes = old.extent() | stamp.extent();
                cell.write = stamp.by(stamp.lane(), bytes, true);
            } else {
                cell.write = stamp;
            }
            if line || stamp.extent() == 15 {
                let beneath = if stamp.strength() == ATOMIC { beneath(cell.reads[0], old, stamp) } else { None };
                cell.forget_readers();
                cell.reads[0] = beneath.unwrap_or_default();
            }
            return;
        }
        let last = cell.reads[0];
        if last.clock != 0 && self.order(last) != Order::Before {
            if last.actor != self.actor {
                let before = std::mem::replace(&mut cell.reads[1], last);
                let of_this_block = (before.actor.wrapping_sub(self.base) as usize) < self.known.block.len();
                if of_this_block && before.clock != 0 && self.order(before) == Order::None {
                    readers.keep(cell, before);
                }
            } else if !line && (last.lane() != stamp.lane() || last.extent() != stamp.extent()) {
                let bytes = last.extent() | stamp.extent();
                // If one of them goes on to write, it is the first lane more often than not: the other is worth naming.
                let named = if last.lane() > stamp.lane() { last } else { stamp };
                let both = named.by(named.lane(), bytes, true);
                let same = last.lane() != stamp.lane() && last.extent() == stamp.extent();
                cell.reads[0] = if last.is_shared() || same && !last.many() { both.shared() } else { both };
                return;
            }
        }
        cell.reads[0] = stamp;
    }
}

/// The plain write of the same warp that an atomic leaves its mark on, if others can still race with it.
fn beneath(read: Stamp, written: Stamp, now: Stamp) -> Option<Stamp> {
    let own = |stamp: &Stamp| stamp.clock != 0 && stamp.actor == now.actor;
    let written = Some(written).filter(|written| own(written) && written.strength() == PLAIN).map(Stamp::beneath);
    written.or(Some(read).filter(|read| own(read) && read.strength() == BENEATH))
}

const CHECK: u8 = 1;
const MARK: u8 = 2;
const BOTH: u8 = 3;

/// Lanes from `lane` on touch `bytes` bytes at `from`, 2^`log2` each; or all of them together (`many`).
struct Stretch {
    from: u64,
    bytes: u64,
    lane: u32,
    log2: u32,
    many: bool,
}

#[inline]
fn visit<const PHASES: u8>(now: &Now, shadow: &mut Shadow, s: &Stretch, conflicts: &mut Vec<Conflict>) {
    let end = s.from + s.bytes;
    let mut at = s.from;
    while at < end {
        let line = at / LINE * LINE;
        let stop = end.min(line + LINE);
        let lane = s.lane + ((at - s.from) >> s.log2) as u32;
        let covers = at == line && stop == line + LINE && !s.many;
        let stamp = now.stamp.by(lane, s.log2, false);
        let Shadow { lines, readers } = shadow;
        if covers && let Some(cell) = lines.whole(line) {
            if PHASES & CHECK != 0 {
                now.check(cell, readers, stamp, true, (line, conflicts));
            }
            if PHASES & MARK != 0 {
                now.mark(cell, readers, stamp, true);
            }
        } else {
            words::<PHASES>(now, (lines, readers), s, (at, stop), conflicts);
            if covers && now.writes && PHASES & MARK != 0 {
                lines.unite(line, stamp);
            }
        }
        at = stop;
    }
}

fn words<const PHASES: u8>(
    now: &Now,
    (lines, readers): (&mut Lines, &mut Readers),
    s: &Stretch,
    (at, stop): (u64, u64),
    conflicts: &mut Vec<Conflict>,
) {
    let cells = lines.words(at, readers);
    for word in at / 4..stop.div_ceil(4) {
        let (low, high) = (at.max(word * 4), stop.min(word * 4 + 4));
        let bytes = (15 >> (4 - (high - low))) << (low - word * 4);
        let lane = if s.many { s.lane } else { s.lane + ((low - s.from) >> s.log2) as u32 };
        let several = s.many || s.log2 < 2 && high - low > 1 << s.log2;
        let stamp = now.stamp.by(lane, bytes as u32, several);
        let stamp = if s.many && !now.writes { stamp.shared() } else { stamp };
        let cell = &mut cells[(word % (LINE / 4)) as usize];
        if PHASES & CHECK != 0 {
            now.check(cell, readers, stamp, false, (word * 4, conflicts));
        }
        if PHASES & MARK != 0 {
            now.mark(cell, readers, stamp, false);
        }
    }
}

impl Race {
    pub fn new(scene: &Scene) -> Race {
        let threads: u32 = scene.launch.block.iter().product();
        Race {
            warps: threads.div_ceil(LANES as u32),
            global: HashMap::default(),
            passages: HashMap::new(),
            blocks: Vec::new(),
            conflicts: Vec::new(),
        }
    }

    pub fn block_starts(&mut self, index: u64) {
        let clocks = Clocks::new((index * self.warps as u64) as u32, self.warps as usize);
        let shared = Shadow { readers: Readers::of_block(), ..Shadow::default() };
        self.blocks.push(BlockRace { index, clocks, shared });
    }

    pub fn block_ends(&mut self, index: u64) {
        self.blocks.retain(|block| block.index != index);
    }

    pub fn clocks(&mut self, index: u64) -> Option<&mut Clocks> {
        self.blocks.iter_mut().find(|block| block.index == index).map(|block| &mut block.clocks)
    }

    /// The lanes access memory, all inside of it. `value` gives the bytes that a lane stores.
    pub fn access(
        &mut self,
        warp: &Warp,
        access: &Access,
        mark: Mark,
        spot: &Spot,
        value: Option<&dyn Fn(usize) -> [u8; 16]>,
        (scene, findings): (&Scene, &mut Findings),
    ) {
        let Spot { space, ref shape, mask } = *spot;
        let Some(block) = self.blocks.iter_mut().find(|block| block.index == warp.block) else { return };
        let index = warp.index as usize;
        let strong = access.strong || mark.has(Mark::STRONG);
        let strength = match access.touch {
            Touch::Atomic => ATOMIC,
            _ if strong || mark.has(Mark::COMPARED) => STRONG,
            _ => PLAIN,
        };
        let (actor, clock) = (block.clocks.base + warp.index, block.clocks.clock(index));
        let shadow = match space {
            Space::Global(allocation) => self.global.entry(allocation).or_default(),
            Space::Shared => &mut block.shared,
            Space::Local => return,
        };
        let now = Now {
            actor,
            base: block.clocks.base,
            clock,
            known: &block.clocks.warps[index],
            stamp: Stamp::new(actor, clock, access.place, strength),
            writes: access.touch != Touch::Read,
        };
        let (bytes, log2) = (access.bytes as u64, access.bytes.trailing_zeros());
        let found = &mut self.conflicts;
        let mut within = false;
        match *shape {
            Shape::Row { lane, lanes, from } => {
                visit::<BOTH>(
                    &now,
                    shadow,
                    &Stretch { from, bytes: bytes * lanes as u64, lane, log2, many: false },
                    found,
                );
            }
            Shape::Same { lane, from } => {
                let many = !mask.is_power_of_two();
                // Of readers the last one: where one lane goes on to write, it is the first more often than not.
                let lane = if now.writes { lane } else { mask.ilog2() };
                visit::<BOTH>(&now, shadow, &Stretch { from, bytes, lane, log2, many }, found);
                within = now.writes;
            }
            Shape::Scattered(ref offsets) => {
                let lanes = || spot.lanes();
                let one = |lane: usize| Stretch { from: offsets[lane], bytes, lane: lane as u32, log2, many: false };
                // What one lane writes is no earlier access to the others; that it reads is nothing to them.
                if now.writes {
                    lanes().for_each(|lane| visit::<CHECK>(&now, shadow, &one(lane), found));
                    lanes().for_each(|lane| visit::<MARK>(&now, shadow, &one(lane), found));
                } else {
                    lanes().for_each(|lane| visit::<BOTH>(&now, shadow, &one(lane), found));
                }
                within = now.writes;
            }
        }
        let place = access.place;
        if let (true, Some(value)) = (within && strength != ATOMIC, value)
            && let Some((a, b, at)) = differ(mask, shape, bytes, value)
        {
            findings.add("racecheck lanes", scene, (place, place), || {
                let who = |lane| Who { block: warp.block, warp: warp.index, lane };
                let what = format!(
                    "two lanes write different values to the same {} in one instruction (WAW): {} and {}",
                    space.place(scene, at, bytes),
                    number(&value(a as usize), access.bytes),
                    number(&value(b as usize), access.bytes)
                );
                let mut stop = scene.stop("racecheck", what, ONE_INSTRUCTION, who(b), place);
                stop.role = "writes".into();
                stop.others.push(scene.side("writes", who(a), place));
                stop
            });
        }
        if let (false, Some(value)) = (found.is_empty(), value)
            && access.touch == Touch::Write
            && changes_nothing(warp, spot, bytes, value, scene)
        {
            found.retain(|conflict| !conflict.wrote);
        }
        if !found.is_empty() {
            report(found, warp, access, spot, self.warps, (scene, findings));
            found.clear();
        }
        if strong || access.touch == Touch::Atomic {
            self.order(warp, mark, spot, access);
        }
    }

    /// A strong access passes on what the warp knows, and takes what others have left.
    fn order(&mut self, warp: &Warp, mark: Mark, spot: &Spot, access: &Access) {
        let Some(block) = self.blocks.iter_mut().find(|block| block.index == warp.block) else { return };
        let index = warp.index as usize;
        if mark.has(Mark::RELEASE) {
            block.clocks.fence(index, mark.has(Mark::BLOCK));
        }
        let (reads, writes) = (access.touch != Touch::Write, access.touch != Touch::Read);
        let mut last = None;
        for lane in spot.lanes() {
            let offset = spot.shape.offset(lane, access.bytes as u64);
            if last.replace(offset) == Some(offset) {
                continue;
            }
            match spot.space {
                Space::Global(allocation) => {
                    let at = (allocation as u64) << crate::memory::OFFSET_BITS | offset;
                    block.clocks.pass(index, at, reads, writes, Some(&mut self.passages));
                }
                _ => block.clocks.pass(index, offset, reads, writes, None),
            }
        }
    }
}

/// Whether memory holds already what the lanes are about to store: of two warps that write the same value, neither matters.
fn changes_nothing(warp: &Warp, spot: &Spot, bytes: u64, value: &dyn Fn(usize) -> [u8; 16], scene: &Scene) -> bool {
    let start = match spot.space {
        Space::Global(index) => scene.blocks[index].base,
        Space::Shared => warp.shared,
        Space::Local => return false,
    };
    spot.lanes().all(|lane| {
        // SAFETY: the access lies within its allocation, or there would be no spot; nothing else runs meanwhile.
        let there =
            unsafe { std::slice::from_raw_parts(start.add(spot.shape.offset(lane, bytes) as usize), bytes as usize) };
        there == &value(lane)[..bytes as usize]
    })
}

/// Two lanes that store different values to one place, and where.
fn differ(mask: u32, shape: &Shape, bytes: u64, value: &dyn Fn(usize) -> [u8; 16]) -> Option<(u32, u32, u64)> {
    let on = |lane: &usize| mask >> lane & 1 == 1;
    match shape {
        Shape::Row { .. } => None,
        Shape::Same { from, .. } => {
            let first = mask.trailing_zeros() as usize;
            let a = value(first);
            let other = (first + 1..LANES).filter(on).find(|&b| value(b)[..bytes as usize] != a[..bytes as usize])?;
            Some((first as u32, other as u32, *from))
        }
        Shape::Scattered(offsets) => {
            let mut last = None;
            let rising = (0..LANES).filter(on).all(|lane| {
                let before = last.replace(offsets[lane]);
                before.is_none_or(|before| offsets[lane] >= before + bytes)
            });
            if rising {
                return None;
            }
            (0..LANES).filter(on).find_map(|b| {
                let a = (0..b).filter(on).find(|&a| offsets[a] == offsets[b])?;
                (value(a)[..bytes as usize] != value(b)[..bytes as usize]).then_some((a as u32, b as u32, offsets[b]))
            })
        }
    }
}

fn number(value: &[u8; 16], bytes: u32) -> String {
    match bytes {
        1 | 2 | 4 | 8 => {
            let raw = u64::from_le_bytes(std::array::from_fn(|i| if i < bytes as usize { value[i] } else { 0 }));
            format!("{raw:#x}")
        }
        _ => format!("{:#x}…", u32::from_le_bytes([value[0], value[1], value[2], value[3]])),
    }
}

const ONE_INSTRUCTION: &str = "which of the values stays is undefined: let one lane write, or use an atomic";
const ONE_WARP: &str = "lanes of a warp may run apart: put a __syncwarp() between the two";
const ONE_BLOCK: &str = "warps run in any order: put a barrier such as __syncthreads() between the two";
const BLOCKS: &str = "blocks run in any order: give each a place of its own, use atomics, or have the thread that tells the \
                      others execute __threadfence() right before it does, after any barrier";
/// Of a line that reads and writes.
const ONE_LINE: &str = "if they all change one place, use an atomic such as atomicAdd(); else put a barrier such as \
                        __syncthreads() between the reads and the writes";
const ONE_LINE_OF_A_WARP: &str = "if they all change one place, use an atomic such as atomicAdd(); else put a __syncwarp() \
                                  between the reads and the writes";
const MIXED: &str = "one side is atomic or volatile, the other is not: make both so, or order them";
const MIXED_IN_BLOCK: &str = "one side is atomic or volatile, the other is not: make both so, or put a barrier such as \
                              __syncthreads() between the two";

fn report(
    found: &[Conflict],
    warp: &Warp,
    access: &Access,
    spot: &Spot,
    warps: u32,
    (scene, findings): (&Scene, &mut Findings),
) {
    let actor = (warp.block * warps as u64) as u32 + warp.index;
    let pair = |conflict: &Conflict| (conflict.earlier.place(), conflict.wrote, conflict.earlier.actor == actor);
    let mut seen: Vec<(u32, bool, bool)> = Vec::new();
    for conflict in found {
        let earlier = conflict.earlier;
        let wrote = conflict.wrote || earlier.strength() == BENEATH;
        if seen.contains(&pair(conflict)) {
            continue;
        }
        seen.push(pair(conflict));
        let writes = access.touch != Touch::Read && (access.touch == Touch::Write || !wrote || earlier.is_plain());
        let kind = match (wrote, writes) {
            (true, true) => "WAW",
            (true, false) => "RAW",
            _ => "WAR",
        };
        let kind_of_pair = if earlier.actor == actor { WITHIN } else { BETWEEN };
        findings.add(kind_of_pair, scene, (access.place, earlier.place()), || {
            let twice = earlier.actor == actor && earlier.lane() == conflict.lane;
            let another = spot.lanes().find(|lane| *lane as u32 != conflict.lane);
            let lane = match spot.shape {
                Shape::Same { .. } if twice => another.map_or(conflict.lane, |lane| lane as u32),
                _ => conflict.lane,
            };
            let here = Who { block: warp.block, warp: warp.index, lane };
            let there =
                Who { block: (earlier.actor / warps) as u64, warp: earlier.actor % warps, lane: earlier.lane() };
            let (between, help) = match (here.block == there.block, here.warp == there.warp) {
                (false, _) => ("two blocks", BLOCKS),
                (true, false) => ("two warps", ONE_BLOCK),
                (true, true) => ("two lanes of a warp", ONE_WARP),
            };
            let strong = access.touch == Touch::Atomic || access.strong;
            let one_line = !(wrote && access.touch == Touch::Write) && {
                let [a, b] = [access.place, earlier.place()].map(|place| &scene.decoded.places[place as usize]);
                a.source.is_some() && (&a.source, &a.inlined) == (&b.source, &b.inlined)
            };
            let help = match (strong == earlier.is_plain(), here.block == there.block) {
                (true, false) => MIXED,
                (true, true) if here.warp != there.warp => MIXED_IN_BLOCK,
                (_, true) if one_line && here.warp == there.warp => ONE_LINE_OF_A_WARP,
                (_, true) if one_line => ONE_LINE,
                _ => help,
            };
            let where_ = spot.space.place(scene, conflict.at, 4.min(access.bytes as u64));
            let what = format!("race between {between} ({kind}) on {where_}");
            let mut stop: Stop = scene.stop("racecheck", what, help, here, access.place);
            stop.role = match access.touch {
                Touch::Read => "reads",
                Touch::Write => "writes",
                Touch::Atomic => "updates",
            }
            .into();
            let role = match (wrote, earlier.strength()) {
                (true, ATOMIC) => "updated before",
                (true, _) => "wrote before",
                (false, _) if twice && lane == conflict.lane => "read before, as did other lanes",
                (false, _) => "read before",
            };
            stop.others.push(scene.side(role, there, earlier.place()));
            stop
        });
    }
}
