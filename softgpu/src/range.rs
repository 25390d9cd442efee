//! Between which bounds 32-bit integers stay: whether the lanes' indices, a base plus lane times stride, still are that
//! once they have been widened to 64 bits.
//!
//! Nothing could be said of an index without assumptions on the launch, so there are some, and a launch that breaks one
//! runs the plan that needs none: no more than [`BLOCKS`] blocks in x, and parameters that indices are made from, or
//! compared with, of at most [`SIZE`] either way.

use std::collections::HashMap;

use crate::decode::{Init, MULTIPROCESSORS, Special};
use crate::flow::Flow;
use crate::ir::{Code, Inst, Ir, Reg};
use crate::isa::Kind;

pub const BLOCKS: u32 = 1 << 20;
pub const SIZE: i32 = 1 << 30;

/// Both ends included, as signed numbers.
pub type Range = (i64, i64);
const ALL: Range = (i32::MIN as i64, i32::MAX as i64);

/// Bounds that a loop's variable is widened to.
const LOWER: [i64; 3] = [0, -(SIZE as i64), ALL.0];
const UPPER: [i64; 3] = [1023, SIZE as i64 - 1, ALL.1];

/// Of the operands of widening instructions: (instruction, field).
#[derive(Default)]
pub struct Ranges {
    /// What the arithmetic alone allows, for any lane, whether it comes to the instruction or not.
    any: HashMap<(usize, usize), Range>,
    /// For lanes that come there, by the branches that they have taken.
    there: HashMap<(usize, usize), Range>,
    /// Offsets of the parameters that the assumption is made of.
    pub assumed: Vec<usize>,
}

impl Ranges {
    pub fn analyse(ir: &Ir, flow: &Flow) -> Ranges {
        let slice = Slice::of(ir);
        if slice.widening.is_empty() {
            return Ranges::default();
        }
        let assumed = ir.registers.iter().zip(&slice.index).filter_map(|(register, index)| match register.init {
            Some(Init::Param { offset, bytes: 4 }) if index.is_some() => Some(offset),
            _ => None,
        });
        let assumed = assumed.collect();
        let [any, there] = [false, true].map(|refine| Solver { ir, flow, slice: &slice, refine }.solve());
        Ranges { any, there, assumed }
    }

    /// Whether base + lane · stride, operand `field` of instruction `at`, stays within `bounds` from lane 0 to lane 31.
    /// Lanes that never come to the instruction count: the base is lane 0's, or what lane 0 would have.
    pub fn holds(&self, at: usize, field: usize, stride: i64, bounds: Range) -> bool {
        let inside = |range: Option<&Range>, margin: i64| {
            range.is_some_and(|(low, high)| low - margin >= bounds.0 && high + margin <= bounds.1)
        };
        // The bounds of all integers are those of nothing known, or of what may have wrapped.
        let any = self.any.get(&(at, field)).filter(|&&range| range != ALL);
        inside(any, 0) || inside(self.there.get(&(at, field)), 31 * stride.abs())
    }
}

/// The registers that matter.
struct Slice {
    widening: Vec<(usize, usize)>,
    /// Number of a register in the slice.
    index: Vec<Option<usize>>,
    count: usize,
}

fn name(inst: &Inst) -> &'static str {
    match inst.code {
        Code::Row(row) => row.names[0],
        _ => "",
    }
}

/// Comparison and whether it is signed.
fn comparison(inst: &Inst) -> Option<(&'static str, bool)> {
    let (cmp, ty) = name(inst).strip_prefix("setp.")?.split_once('.')?;
    matches!(ty, "s32" | "u32").then_some((cmp, ty == "s32" || cmp == "eq"))
}

impl Slice {
    fn of(ir: &Ir) -> Slice {
        let is_word = |r: Reg| ir.registers[r as usize].kind == Kind::W;
        let mut slice = Slice { widening: Vec::new(), index: vec![None; ir.registers.len()], count: 0 };
        for (at, inst) in ir.insts.iter().enumerate() {
            let fields: &[usize] = match name(inst) {
                "cvt.s64.s32" | "cvt.u64.u32" => &[1],
                "mul.wide.s32" | "mul.wide.u32" | "mad.wide.s32" | "mad.wide.u32" => &[1, 2],
                _ => continue,
            };
            slice.widening.extend(fields.iter().map(|&field| (at, field)));
            fields.iter().for_each(|&field| slice.insert(inst.s[field]));
        }
        let mut before = usize::MAX;
        while before != slice.count {
            before = slice.count;
            for inst in &ir.insts {
                let made = matches!(inst.code, Code::Row(_)) && slice.index[inst.s[0] as usize].is_some();
                let compared = comparison(inst).is_some() && inst.uses().any(|r| slice.index[r as usize].is_some());
                if made || compared {
                    inst.uses().filter(|&r| is_word(r)).for_each(|r| slice.insert(r));
                }
            }
        }
        slice
    }

    fn insert(&mut self, register: Reg) {
        if self.index[register as usize].is_none() {
            self.index[register as usize] = Some(self.count);
            self.count += 1;
        }
    }
}

type State = Vec<Range>;

struct Solver<'a> {
    ir: &'a Ir,
    flow: &'a Flow,
    slice: &'a Slice,
    /// Takes branches into account.
    refine: bool,
}

impl Solver<'_> {
    fn solve(&self) -> HashMap<(usize, usize), Range> {
        let blocks = self.flow.starts.len();
        let mut states: Vec<Option<State>> = vec![None; blocks];
        let mut visits = vec![0; blocks];
        let mut start = vec![ALL; self.slice.count];
        for (register, index) in self.ir.registers.iter().zip(&self.slice.index) {
            if let (Some(init), Some(index)) = (register.init, index) {
                start[*index] = initial(init);
            }
        }
        let mut todo = std::collections::BTreeSet::new();
        for block in (0..blocks).filter(|&block| !self.flow.successors.iter().any(|next| next.contains(&block))) {
            states[block] = Some(start.clone());
            todo.insert(block);
        }
        if states[0].is_none() {
            states[0] = Some(start);
            todo.insert(0);
        }
        while let Some(block) = todo.pop_first() {
            let Some(mut state) = states[block].clone() else { continue };
            let (from, to) = (self.flow.starts[block], self.flow.end(block));
            self.ir.insts[from..to].iter().for_each(|inst| self.step(inst, &mut state));
            for &next in &self.flow.successors[block] {
                let arrives = self.refined(block, next, &state);
                let changed = match &mut states[next] {
                    Some(old) => join(old, &arrives, visits[next] > 2),
                    none => {
                        *none = Some(arrives);
                        true
                    }
                };
                if changed {
                    visits[next] += 1;
                    todo.insert(next);
                }
            }
        }
        self.read(&states)
    }

    fn read(&self, states: &[Option<State>]) -> HashMap<(usize, usize), Range> {
        let mut found = HashMap::new();
        let mut widening = self.slice.widening.iter().peekable();
        for (block, state) in states.iter().enumerate() {
            let mut state = state.clone().unwrap_or_else(|| vec![ALL; self.slice.count]);
            for at in self.flow.starts[block]..self.flow.end(block) {
                while let Some(&(_, field)) = widening.next_if(|(of, _)| *of == at) {
                    found.insert((at, field), self.range(self.ir.insts[at].s[field], &state));
                }
                self.step(&self.ir.insts[at], &mut state);
            }
        }
        found
    }

    fn range(&self, register: Reg, state: &State) -> Range {
        self.slice.index[register as usize].map_or(ALL, |index| state[index])
    }

    fn step(&self, inst: &Inst, state: &mut State) {
        for def in inst.defs() {
            let Some(index) = self.slice.index[def as usize] else { continue };
            let operand = |field: usize| self.range(inst.s[field], state);
            let new = result(name(inst), operand).filter(|&(low, high)| low >= ALL.0 && high <= ALL.1).unwrap_or(ALL);
            let old = state[index];
            state[index] = if inst.guard.is_some() { (old.0.min(new.0), old.1.max(new.1)) } else { new };
        }
    }

    /// The state at the start of `next`, as far as the branch that leads there tells.
    fn refined(&self, block: usize, next: usize, state: &State) -> State {
        let mut state = state.clone();
        let (from, last) = (self.flow.starts[block], self.flow.end(block) - 1);
        let branch = &self.ir.insts[last];
        let Some((p, negated)) = branch.guard.filter(|_| self.refine && branch.code == Code::Branch) else {
            return state;
        };
        let taken = self.flow.block_of[branch.imm as usize];
        let Some(set) = (from..last).rev().find(|&at| self.ir.insts[at].defs().any(|d| d == p)) else { return state };
        let compare = &self.ir.insts[set];
        let since = |r: Reg| self.ir.insts[set..last].iter().any(|inst| inst.defs().any(|d| d == r));
        let both = taken == last + 1;
        let Some((cmp, signed)) = comparison(compare) else { return state };
        if both || compare.guard.is_some() || since(compare.s[1]) || since(compare.s[2]) {
            return state;
        }
        let holds = (taken == next) != negated;
        let (a, b) = (compare.s[1], compare.s[2]);
        // As a < b or a ≤ b, or with the operands exchanged.
        let (less, more, strict) = match (cmp, holds) {
            ("lt", true) | ("ge", false) => (a, b, 1),
            ("le", true) | ("gt", false) => (a, b, 0),
            ("gt", true) | ("le", false) => (b, a, 1),
            ("ge", true) | ("lt", false) => (b, a, 0),
            _ => return state,
        };
        let (mut low, mut high) = (self.range(less, &state), self.range(more, &state));
        if !signed {
            // Below what is no negative number when signed: none itself.
            if high.0 < 0 {
                return state;
            }
            low.0 = low.0.max(0);
        }
        (low.1, high.0) = (low.1.min(high.1 - strict), high.0.max(low.0 + strict));
        for (register, range) in [(less, low), (more, high)] {
            if let Some(index) = self.slice.index[register as usize].filter(|_| range.0 <= range.1) {
                state[index] = range;
            }
        }
        state
    }
}

/// Takes `new` into `old`; whether that changed it. Bounds that keep growing go to the next of a few.
fn join(old: &mut State, new: &State, widen: bool) -> bool {
    let mut changed = false;
    for (old, new) in old.iter_mut().zip(new) {
        if new.0 < old.0 {
            old.0 = if widen { LOWER.into_iter().find(|&bound| bound <= new.0).unwrap_or(ALL.0) } else { new.0 };
            changed = true;
        }
        if new.1 > old.1 {
            old.1 = if widen { UPPER.into_iter().find(|&bound| bound >= new.1).unwrap_or(ALL.1) } else { new.1 };
            changed = true;
        }
    }
    changed
}

fn initial(init: Init) -> Range {
    match init {
        Init::Bits(bits) => (bits as u32 as i32 as i64, bits as u32 as i32 as i64),
        Init::Param { bytes: 4, .. } => (-(SIZE as i64), SIZE as i64),
        Init::Param { bytes, .. } => {
            if bytes < 4 {
                (0, (1 << (8 * bytes)) - 1)
            } else {
                ALL
            }
        }
        Init::Variable { .. } => ALL,
        Init::Special(special) => match special {
            Special::Thread(_) => (0, 1023),
            Special::Threads(_) => (1, 1024),
            Special::Block(_) => (0, BLOCKS as i64 - 1),
            Special::Blocks(_) => (1, BLOCKS as i64),
            Special::Lane | Special::Warp => (0, 31),
            Special::Multiprocessor => (0, MULTIPROCESSORS as i64 - 1),
            Special::DynamicShared | Special::TotalShared => (0, i32::MAX as i64),
            Special::Lanes(_) | Special::GridBarrier(_) => ALL,
        },
    }
}

/// Of an arithmetic instruction; `None`, or beyond 32 bits: anything.
fn result(name: &str, operand: impl Fn(usize) -> Range) -> Option<Range> {
    let constant = |field: usize| Some(operand(field)).filter(|(low, high)| low == high).map(|(low, _)| low);
    let add = |a: Range, b: Range| (a.0 + b.0, a.1 + b.1);
    let product = |a: Range, b: Range| {
        let corners = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
        corners.into_iter().fold((i64::MAX, i64::MIN), |(low, high), c| (low.min(c), high.max(c)))
    };
    let shift = |field: usize| constant(field).filter(|k| (0..32).contains(k));
    let (a, b) = (|| operand(1), || operand(2));
    Some(match name {
        "mov.b32" => a(),
        "add.u32" => add(a(), b()),
        "sub.u32" => (a().0 - b().1, a().1 - b().0),
        "neg.s32" => (-a().1, -a().0),
        "not.b32" => (-1 - a().1, -1 - a().0),
        "mul.lo.u32" => product(a(), b()),
        "mad.lo.u32" => add(product(a(), b()), operand(3)),
        "shl.b32" => product(a(), (1 << shift(2)?, 1 << shift(2)?)),
        "shr.s32" => (a().0 >> shift(2)?, a().1 >> shift(2)?),
        "shr.u32" if a().0 >= 0 => (a().0 >> shift(2)?, a().1 >> shift(2)?),
        "shr.u32" if shift(2)? > 0 => (0, (1 << (32 - shift(2)?)) - 1),
        "and.b32" if a().0 >= 0 && b().0 >= 0 => (0, a().1.min(b().1)),
        "and.b32" if a().0 >= 0 => (0, a().1),
        "and.b32" if b().0 >= 0 => (0, b().1),
        "or.b32" | "xor.b32" if a().0 >= 0 && b().0 >= 0 => {
            (0, (a().1.max(b().1) as u64 + 1).next_power_of_two() as i64 - 1)
        }
        "min.s32" => (a().0.min(b().0), a().1.min(b().1)),
        "max.s32" => (a().0.max(b().0), a().1.max(b().1)),
        "div.s32" | "div.u32" if a().0 >= 0 && constant(2)? > 0 => (a().0 / constant(2)?, a().1 / constant(2)?),
        "rem.s32" | "rem.u32" if a().0 >= 0 && constant(2)? > 0 => (0, constant(2)? - 1),
        "selp.b32" => (a().0.min(b().0), a().1.max(b().1)),
        _ => return None,
    })
}
