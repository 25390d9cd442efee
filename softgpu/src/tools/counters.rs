//! What a launch did, counted: by instruction, by source line, and in all. Definitions are those of the vendor's
//! profiler where it has one; its names stand beside them in `COUNTERS.md`.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::classes::{Class, Product, flops};
use super::{Access, Touch};
use crate::decode::{Decoded, Place};
use crate::exec::LANES;
use crate::exec::mem::{GENERIC, GLOBAL, LOCAL, SHARED};
use crate::ir::Code;
use crate::memory::{CONST_WINDOW, LOCAL_WINDOW, OFFSET_BITS, PARAM_WINDOW, SHARED_WINDOW};

/// Bytes of a sector, the unit in which global memory is moved.
const SECTOR: u64 = 32;
/// Banks of shared memory, each 4 bytes wide.
const BANKS: usize = 32;

/// Traffic of one kind: loads or stores of one space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Warp instructions that touched the space with at least one thread.
    pub requests: u64,
    /// Global and local memory: sectors of 32 bytes, distinct within a request.
    pub sectors: u64,
    /// Sum over the threads of what they asked for.
    pub bytes_asked: u64,
    /// Bytes of a request that are distinct.
    pub bytes_distinct: u64,
    /// Shared memory: passes that the banks need, and the passes that they would need without conflicts.
    pub wavefronts: u64,
    pub wavefronts_ideal: u64,
}

impl Traffic {
    /// Of what was moved, the part that was asked for: distinct bytes over sectors · 32.
    pub fn sector_efficiency(&self) -> f64 {
        if self.sectors == 0 { 1.0 } else { self.bytes_distinct as f64 / (self.sectors * SECTOR) as f64 }
    }

    /// [`Traffic::sector_efficiency`], or in shared memory the least wavefronts over those that it took; none without
    /// traffic.
    pub fn efficiency(&self) -> Option<f64> {
        match (self.sectors, self.wavefronts) {
            (0, 0) => None,
            (0, taken) => Some(self.wavefronts_ideal as f64 / taken as f64),
            _ => Some(self.sector_efficiency()),
        }
    }

    pub fn bank_conflicts(&self) -> u64 {
        self.wavefronts - self.wavefronts_ideal
    }

    pub(super) fn add(&mut self, other: &Traffic) {
        self.requests += other.requests;
        self.sectors += other.sectors;
        self.bytes_asked += other.bytes_asked;
        self.bytes_distinct += other.bytes_distinct;
        self.wavefronts += other.wavefronts;
        self.wavefronts_ideal += other.wavefronts_ideal;
    }
}

/// What was counted, and the figures that follow from it, so that every reader has the same.
impl Serialize for Traffic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = serializer.serialize_struct("Traffic", 8)?;
        record.serialize_field("requests", &self.requests)?;
        record.serialize_field("sectors", &self.sectors)?;
        record.serialize_field("bytes_asked", &self.bytes_asked)?;
        record.serialize_field("bytes_distinct", &self.bytes_distinct)?;
        record.serialize_field("wavefronts", &self.wavefronts)?;
        record.serialize_field("wavefronts_ideal", &self.wavefronts_ideal)?;
        record.serialize_field("efficiency", &self.efficiency())?;
        record.serialize_field("bank_conflicts", &self.bank_conflicts())?;
        record.end()
    }
}

/// What is counted of an instruction, a line, or a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Instructions that warps executed; that threads did, those whose guard failed among them; and without these.
    pub warp_instructions: u64,
    pub active_thread_instructions: u64,
    pub thread_instructions: u64,
    /// Of these warp instructions, those of which any thread passed the guard.
    #[serde(skip)]
    warps_that_pass: u64,
    /// Branches, and those at which the threads of a warp parted.
    pub branches: u64,
    pub divergent_branches: u64,
    /// Barriers of the block that warps reached.
    pub barriers: u64,
    /// Atomics and reductions of warps, and of threads.
    pub atomic_requests: u64,
    pub atomics: u64,
    pub global_loads: Traffic,
    pub global_stores: Traffic,
    pub shared_loads: Traffic,
    pub shared_stores: Traffic,
    /// Of atomics and reductions: neither loads nor stores.
    pub global_atomics: Traffic,
    pub shared_atomics: Traffic,
    pub local_loads: Traffic,
    pub local_stores: Traffic,
    /// Floating-point operations of threads by unit; a fused multiply-add is two, a matrix product 2·m·n·k.
    pub flops: BTreeMap<Class, u64>,
    /// Of those of [`Class::Tensor`], by what they multiply and sum.
    #[serde(rename = "tensor_flops")]
    pub products: BTreeMap<Product, u64>,
    /// Warp instructions by class.
    pub instructions: BTreeMap<Class, u64>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.warp_instructions += other.warp_instructions;
        self.active_thread_instructions += other.active_thread_instructions;
        self.thread_instructions += other.thread_instructions;
        self.warps_that_pass += other.warps_that_pass;
        self.branches += other.branches;
        self.divergent_branches += other.divergent_branches;
        self.barriers += other.barriers;
        self.atomic_requests += other.atomic_requests;
        self.atomics += other.atomics;
        for (mine, its) in [
            (&mut self.global_loads, &other.global_loads),
            (&mut self.global_stores, &other.global_stores),
            (&mut self.shared_loads, &other.shared_loads),
            (&mut self.shared_stores, &other.shared_stores),
            (&mut self.global_atomics, &other.global_atomics),
            (&mut self.shared_atomics, &other.shared_atomics),
            (&mut self.local_loads, &other.local_loads),
            (&mut self.local_stores, &other.local_stores),
        ] {
            mine.add(its);
        }
        other.flops.iter().for_each(|(class, n)| *self.flops.entry(*class).or_default() += n);
        other.products.iter().for_each(|(product, n)| *self.products.entry(*product).or_default() += n);
        other.instructions.iter().for_each(|(class, n)| *self.instructions.entry(*class).or_default() += n);
    }

    /// Threads of a warp that were active at an instruction on average, of 32.
    pub fn active_threads(&self) -> f64 {
        self.active_thread_instructions as f64 / self.warp_instructions.max(1) as f64
    }

    /// The same without those whose guard failed.
    pub fn not_predicated_off(&self) -> f64 {
        self.thread_instructions as f64 / self.warp_instructions.max(1) as f64
    }
}

/// An instruction, with its counts.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// `file` and line of the source, or the PTX line where the source is not known.
    pub file: String,
    pub line: u32,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Counts of one launch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    pub kernel: String,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Static and dynamic, of a block.
    pub shared_bytes: u64,
    pub total: Counts,
    /// Bytes of global memory that the launch read or wrote at least once, in whole sectors: what a perfect cache would
    /// move.
    pub footprint_read: u64,
    pub footprint_written: u64,
    /// By source line, those of most warp instructions first.
    pub lines: Vec<Line>,
}

/// The counting of one launch.
#[derive(Default)]
pub struct Counting {
    by_place: Vec<Counts>,
    /// The instruction that was counted last is one of which the guard let only some threads pass.
    parted: bool,
    read: Sectors,
    written: Sectors,
}

impl Counting {
    pub fn new(places: usize) -> Counting {
        Counting { by_place: vec![Counts::default(); places], ..Counting::default() }
    }

    /// A warp executes an instruction with `active` threads, of which `chosen` pass its guard.
    #[inline]
    pub fn tick(&mut self, place: u32, active: u32, chosen: u32) {
        let counts = &mut self.by_place[place as usize];
        counts.warp_instructions += 1;
        counts.active_thread_instructions += active as u64;
        counts.thread_instructions += chosen as u64;
        counts.warps_that_pass += (chosen > 0) as u64;
        self.parted = 0 < chosen && chosen < active;
        counts.divergent_branches += self.parted as u64;
    }

    /// A branch by a table, just counted, sends a warp's threads to several places.
    pub fn part(&mut self, place: u32) {
        if let Some(counts) = self.by_place.get_mut(place as usize).filter(|_| !self.parted) {
            counts.divergent_branches += 1;
        }
    }

    /// A warp reaches a barrier of the block.
    pub fn arrive(&mut self, place: u32) {
        self.by_place[place as usize].barriers += 1;
    }

    /// The lanes in the mask access memory.
    pub fn access(&mut self, access: &Access, mask: u32, addresses: &[u64; LANES]) {
        let bytes = access.bytes as u64;
        // Constants and parameters, in windows of their own, come through a cache of their own.
        let space = |a: u64| match (access.space, a >> OFFSET_BITS << OFFSET_BITS) {
            (GENERIC, SHARED_WINDOW) => SHARED,
            (GENERIC, LOCAL_WINDOW) => LOCAL,
            (GENERIC, CONST_WINDOW | PARAM_WINDOW) => GENERIC,
            (GENERIC, _) => GLOBAL,
            (space, _) => space,
        };
        for kind in [GLOBAL, SHARED, LOCAL] {
            let mut lanes = 0;
            for lane in (0..LANES).filter(|lane| mask >> lane & 1 == 1) {
                lanes |= ((space(addresses[lane]) == kind) as u32) << lane;
            }
            if lanes == 0 {
                continue;
            }
            let traffic = match kind {
                GLOBAL => self.global(access.touch, lanes, addresses, bytes),
                SHARED => shared(lanes, addresses, bytes),
                _ => local(lanes, addresses, bytes),
            };
            let counts = &mut self.by_place[access.place as usize];
            let atomic = access.touch == Touch::Atomic;
            if atomic {
                counts.atomic_requests += 1;
                counts.atomics += lanes.count_ones() as u64;
            }
            let reads = access.touch != Touch::Write;
            match kind {
                GLOBAL if atomic => &mut counts.global_atomics,
                SHARED if atomic => &mut counts.shared_atomics,
                GLOBAL if reads => &mut counts.global_loads,
                GLOBAL => &mut counts.global_stores,
                SHARED if reads => &mut counts.shared_loads,
                SHARED => &mut counts.shared_stores,
                _ if reads => &mut counts.local_loads,
                _ => &mut counts.local_stores,
            }
            .add(&traffic);
        }
    }

    fn global(&mut self, touch: Touch, lanes: u32, addresses: &[u64; LANES], bytes: u64) -> Traffic {
        let (read, written) = (&mut self.read, &mut self.written);
        sectors(lanes, addresses, bytes, |sector| {
            if touch != Touch::Write {
                read.insert(sector);
            }
            if touch != Touch::Read {
                written.insert(sector);
            }
        })
    }

    /// The counts, by instruction summed up to lines and in all.
    pub fn finish(mut self, decoded: &Decoded, grid: [u32; 3], block: [u32; 3], shared_bytes: u64) -> Counters {
        for inst in &decoded.ir.insts {
            let counts = &mut self.by_place[inst.place as usize];
            // A jump around what it guards is none of the kernel's: the last of a place says what it is.
            let branch = matches!(inst.code, Code::Branch | Code::Switch);
            counts.branches = if branch { counts.warp_instructions } else { 0 };
            counts.divergent_branches *= branch as u64;
        }
        let mut total = Counts::default();
        let mut lines = HashMap::<(String, u32), Counts>::new();
        for (place, counts) in decoded.places.iter().zip(&mut self.by_place) {
            if *counts == Counts::default() {
                continue;
            }
            let (class, flops) = flops(opcode(place));
            let unit = if class == Class::Tensor { counts.warps_that_pass } else { counts.thread_instructions };
            if counts.warp_instructions > 0 {
                counts.instructions.insert(class, counts.warp_instructions);
            }
            let done = flops * unit;
            if done > 0 {
                counts.flops.insert(class, done);
                if class == Class::Tensor {
                    counts.products.insert(Product::of(opcode(place)), done);
                }
            }
            total.add(counts);
            let line = place.source.clone().unwrap_or_else(|| ("PTX".into(), place.line));
            lines.entry(line).or_default().add(counts);
        }
        let mut lines: Vec<_> = lines.into_iter().map(|((file, line), counts)| Line { file, line, counts }).collect();
        lines.sort_by(|a, b| {
            let key = |line: &Line| (std::cmp::Reverse(line.counts.warp_instructions), line.file.clone(), line.line);
            key(a).cmp(&key(b))
        });
        Counters {
            kernel: decoded.name.clone(),
            grid,
            block,
            shared_bytes,
            total,
            footprint_read: self.read.count * SECTOR,
            footprint_written: self.written.count * SECTOR,
            lines,
        }
    }
}

/// The opcode of an instruction, its guard aside.
fn opcode(place: &Place) -> &str {
    place.text.split_whitespace().find(|word| !word.starts_with('@')).unwrap_or_default()
}

/// Sectors and bytes of a request to global memory.
fn sectors(lanes: u32, addresses: &[u64; LANES], bytes: u64, each: impl FnMut(u64)) -> Traffic {
    let lanes = (0..LANES).filter(|lane| lanes >> lane & 1 == 1);
    moved(lanes.map(|lane| (addresses[lane], addresses[lane] + bytes)).collect(), each)
}

/// Sectors of a request to local memory, where word after word of 4 bytes lies interleaved across the 32 lanes.
fn local(lanes: u32, addresses: &[u64; LANES], bytes: u64) -> Traffic {
    let mut spans = Vec::with_capacity(LANES);
    for lane in (0..LANES).filter(|lane| lanes >> lane & 1 == 1) {
        let offset = addresses[lane] & ((1 << OFFSET_BITS) - 1);
        for at in (offset..offset + bytes).step_by(4) {
            let from = (at / 4 * LANES as u64 + lane as u64) * 4 + at % 4;
            spans.push((from, from + bytes.min(4)));
        }
    }
    moved(spans, |_| {})
}

/// Sectors and bytes of a request: from where to where each part of it goes.
fn moved(mut spans: Vec<(u64, u64)>, mut each: impl FnMut(u64)) -> Traffic {
    let asked = spans.iter().map(|(from, to)| to - from).sum();
    if !spans.is_sorted() {
        spans.sort_unstable();
    }
    let (mut distinct, mut count, mut end, mut next) = (0, 0, 0, 0);
    for (from, to) in spans {
        distinct += to.saturating_sub(from.max(end));
        end = end.max(to);
        for sector in (from / SECTOR).max(next)..to.div_ceil(SECTOR) {
            each(sector);
            count += 1;
            next = sector + 1;
        }
    }
    Traffic { requests: 1, sectors: count, bytes_asked: asked, bytes_distinct: distinct, ..Traffic::default() }
}

/// Wavefronts of a request to shared memory: accesses of 8 bytes go by half warps, those of 16 by quarters; within one of
/// these, words of one bank take turns, and threads that want the same word are served together.
fn shared(lanes: u32, addresses: &[u64; LANES], bytes: u64) -> Traffic {
    let group = LANES / (bytes / 4).clamp(1, 4) as usize;
    let mut traffic = sectors(lanes, addresses, bytes, |_| {});
    traffic.sectors = 0;
    for first in (0..LANES).step_by(group) {
        let mut words: Vec<u64> = Vec::with_capacity(LANES);
        for lane in (first..first + group).filter(|lane| lanes >> lane & 1 == 1) {
            let offset = addresses[lane] & ((1 << OFFSET_BITS) - 1);
            words.extend(offset / 4..(offset + bytes).div_ceil(4));
        }
        if words.is_empty() {
            continue;
        }
        words.sort_unstable();
        words.dedup();
        let mut banks = [0u64; BANKS];
        words.iter().for_each(|word| banks[*word as usize % BANKS] += 1);
        traffic.wavefronts += banks.into_iter().max().unwrap_or(0);
        traffic.wavefronts_ideal += (words.len() as u64).div_ceil(BANKS as u64);
    }
    traffic
}

/// A set of sectors.
#[derive(Default)]
struct Sectors {
    /// 4,096 of them at a time.
    chunks: HashMap<u64, Box<[u64; 64]>>,
    count: u64,
}

impl Sectors {
    fn insert(&mut self, sector: u64) {
        let bits = self.chunks.entry(sector >> 12).or_insert_with(|| Box::new([0; 64]));
        let (word, bit) = (&mut bits[(sector >> 6 & 63) as usize], 1 << (sector & 63));
        self.count += (*word & bit == 0) as u64;
        *word |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(stride: u64) -> [u64; LANES] {
        std::array::from_fn(|i| crate::memory::address(0, 0) + stride * i as u64)
    }

    #[test]
    fn sectors_are_those_that_a_request_touches() {
        let of = |addresses: &[u64; LANES], bytes| {
            let t = sectors(u32::MAX, addresses, bytes, |_| {});
            (t.sectors, t.bytes_asked, t.bytes_distinct)
        };
        assert_eq!(of(&rows(4), 4), (4, 128, 128));
        assert_eq!(of(&rows(0), 4), (1, 128, 4));
        assert_eq!(of(&rows(16), 16), (16, 512, 512));
        assert_eq!(of(&rows(128), 4), (32, 128, 128));
        assert_eq!(of(&rows(2), 2), (2, 64, 64));
        // Not aligned to a sector: one more.
        assert_eq!(of(&rows(4).map(|a| a + 4), 4), (5, 128, 128));
        let mut backwards = rows(4);
        backwards.reverse();
        assert_eq!(of(&backwards, 4), (4, 128, 128));
    }

    #[test]
    fn local_memory_lies_interleaved_word_by_word() {
        let of = |stride, bytes| {
            let t = local(u32::MAX, &rows(stride), bytes);
            (t.sectors, t.bytes_distinct)
        };
        assert_eq!([of(0, 4), of(0, 8), of(0, 16)], [(4, 128), (8, 256), (16, 512)]);
        // One byte of each word; a word of each lane's own choice.
        assert_eq!(of(0, 1), (4, 32));
        assert_eq!(of(4, 4), (32, 128));
    }

    #[test]
    fn bank_conflicts_are_words_of_one_bank() {
        let of = |stride, bytes| {
            let t = shared(u32::MAX, &rows(stride), bytes);
            (t.wavefronts, t.wavefronts_ideal)
        };
        assert_eq!(of(4, 4), (1, 1));
        assert_eq!(of(0, 4), (1, 1));
        assert_eq!(of(8, 4), (2, 1));
        assert_eq!(of(128, 4), (32, 1));
        assert_eq!(of(132, 4), (1, 1));
        assert_eq!(of(8, 8), (2, 2));
        assert_eq!(of(16, 16), (4, 4));
        assert_eq!(of(2, 2), (1, 1));
        assert_eq!(of(512, 16), (32, 4));
    }
}
