//! Findings: one per checker and pair of instructions, with a count; and who is who in them.

use std::collections::HashMap;

use crate::decode::Decoded;
use crate::exec::{LANES, Launch};
use crate::memory;
use crate::trap::{Side, Stop};

/// Kinds of races: of lanes of one warp, and of warps.
pub const WITHIN: &str = "racecheck within a warp";
pub const BETWEEN: &str = "racecheck";

/// In the order of their discovery.
#[derive(Default)]
pub struct Findings {
    list: Vec<Stop>,
    index: HashMap<(&'static str, u32, u32), usize>,
    /// By place: the first place of the same instruction and line, as loops are unrolled.
    firsts: Vec<u32>,
}

impl Findings {
    /// Counts a finding of that kind at those two places, in either order, and makes the report of the first one.
    pub fn add(&mut self, kind: &'static str, scene: &Scene, (here, there): (u32, u32), make: impl FnOnce() -> Stop) {
        let [here, there] = [here, there].map(|place| self.first(scene, place));
        let (here, there) = (here.min(there), here.max(there));
        match self.index.get(&(kind, here, there)) {
            Some(&at) => self.list[at].count += 1,
            None => {
                self.index.insert((kind, here, there), self.list.len());
                self.list.push(make());
            }
        }
    }

    /// The first place of the same instruction and line.
    pub fn first(&mut self, scene: &Scene, place: u32) -> u32 {
        if self.firsts.is_empty() {
            let mut known = HashMap::new();
            let places = (0..).zip(&scene.decoded.places);
            self.firsts = places
                .map(|(at, place)| match place.source {
                    Some(_) => *known.entry((&place.source, &place.inlined, &place.text)).or_insert(at),
                    None => at,
                })
                .collect();
        }
        self.firsts[place as usize]
    }

    /// All of them, without races of a warp's own lanes at lines where warps race, too: what orders those orders lanes.
    pub fn take(&mut self) -> Vec<Stop> {
        let hidden = |&(kind, a, b): &(&str, u32, u32)| kind == WITHIN && self.index.contains_key(&(BETWEEN, a, b));
        let mut hidden: Vec<usize> = self.index.iter().filter(|(key, _)| hidden(key)).map(|(_, at)| *at).collect();
        hidden.sort_unstable();
        hidden.into_iter().rev().for_each(|at| drop(self.list.remove(at)));
        self.index.clear();
        std::mem::take(&mut self.list)
    }
}

/// What a report needs to know of a launch.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub decoded: &'a Decoded,
    pub launch: &'a Launch<'a>,
    pub blocks: &'a [memory::Block],
    pub params: &'a [u8],
    /// Of the module's variables, by their addresses.
    pub variables: &'a [(u64, String)],
}

/// A thread: block of the grid, warp of the block, lane.
#[derive(Clone, Copy)]
pub struct Who {
    pub block: u64,
    pub warp: u32,
    pub lane: u32,
}

impl Scene<'_> {
    pub fn block(&self, index: u64) -> [u32; 3] {
        let [x, y, _] = self.launch.grid.map(u64::from);
        [index % x, index / x % y, index / (x * y)].map(|i| i as u32)
    }

    pub fn thread(&self, warp: u32, lane: u32) -> [u32; 3] {
        let ([x, y, _], t) = (self.launch.block, warp * LANES as u32 + lane);
        [t % x, t / x % y, t / (x * y)]
    }

    pub fn side(&self, role: impl Into<String>, who: Who, place: u32) -> Side {
        let at = &self.decoded.places[place as usize];
        Side {
            role: role.into(),
            block: self.block(who.block),
            thread: self.thread(who.warp, who.lane),
            instruction: at.text.clone(),
            ptx_line: at.line,
            source: at.source.clone(),
            inlined: at.inlined.clone(),
        }
    }

    /// A report of `who` at `place`.
    pub fn stop(&self, checker: &'static str, what: String, help: &'static str, who: Who, place: u32) -> Stop {
        let Side { block, thread, instruction, ptx_line, source, inlined, .. } = self.side("", who, place);
        Stop {
            checker,
            what,
            help,
            kernel: self.decoded.name.clone(),
            block,
            thread,
            instruction,
            ptx_line,
            source,
            inlined,
            role: String::new(),
            others: Vec::new(),
            notes: Vec::new(),
            count: 1,
            before: Vec::new(),
        }
    }

    /// "+12 of argument 0 (`out`), an allocation of 256 bytes": a place in global memory as the caller knows it.
    pub fn global(&self, address: u64) -> String {
        let Some((number, block, offset)) = memory::nearest(self.blocks, address) else {
            return format!("{address:#x}");
        };
        let size = match block.base.is_null() {
            true => format!("an allocation of {} bytes that has been freed", block.bytes),
            false => format!("an allocation of {} bytes", block.bytes),
        };
        if let Some((_, name)) = self.variables.iter().find(|(at, _)| *at == memory::address(number, 0)) {
            return format!("{offset:+} of the variable `{name}`, {size}");
        }
        let pointers = self.decoded.parameters.iter().enumerate().filter(|(_, (_, bytes))| *bytes == 8);
        let pointers = pointers.filter_map(|(index, (at, _))| {
            let value = u64::from_le_bytes(self.params.get(*at..at + 8)?.try_into().ok()?);
            let from = value.wrapping_sub(memory::address(number, 0));
            (from <= block.bytes).then_some((index, from as i64))
        });
        // The nearest below, else the nearest above.
        let nearest = pointers.min_by_key(|&(_, from)| (from > offset, from.abs_diff(offset)));
        let Some((index, from)) = nearest else { return format!("{offset:+} of {size} that no argument points to") };
        let start = if from == 0 { String::new() } else { format!("which points to +{from} of ") };
        format!("{:+} of argument {index}{}, {start}{size}", offset - from, self.argument_name(index))
    }

    /// " (`data`)", unless nvcc has made the name up.
    fn argument_name(&self, index: usize) -> String {
        let name = self.decoded.parameter_names.get(index).map_or("", String::as_str);
        let made_up = name.strip_prefix(self.decoded.name.as_str()).is_some_and(|rest| rest.starts_with("_param_"));
        if name.is_empty() || made_up { String::new() } else { format!(" (`{name}`)") }
    }
}
