//! Control flow and uniformity: which registers hold the same value in every lane (or one that grows by a fixed step
//! from lane to lane), so that one scalar per warp is all that must be computed and kept.
//!
//! A scalar is shared by the lanes. Lanes part at a branch whose predicate differs among them, and are together again at
//! the branch's post-dominator, because the group at the lowest pc runs first, provided that every block between the two
//! lies below it. All blocks between are *divergent*. There a scalar may be written only if no lanes but those that
//! write it can read it before they write it too: see [`Flow::bar`].

use crate::decode::{Init, Special};
use crate::ir::{Code, Inst, Ir, Reg};
use crate::isa::Row;
use crate::liveness::{Liveness, Set};
use crate::range::{Range, Ranges};

/// How a register's value varies over a warp's lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// No definition looked at yet.
    Unknown,
    /// Lane i holds base + i·stride, modulo the register's width. Predicates: stride 0.
    Scalar(i32),
    Vector,
}

pub const UNIFORM: Class = Class::Scalar(0);

/// At most so many ops run without returning to the loop in `sched`.
const LONGEST_LINE: usize = 128;

/// Half-open ranges of instructions, entered only at the first and left only at the last.
#[derive(Default)]
pub struct Flow {
    pub starts: Vec<usize>,
    pub block_of: Vec<usize>,
    pub successors: Vec<Vec<usize>>,
    pub divergent: Vec<bool>,
    /// Divergent without a place that all lanes wait at for each other: there any may run ahead of any.
    pub wild: Vec<bool>,
    pub classes: Vec<Class>,
    pub live: Liveness,
    pub ranges: Ranges,
    /// Registers that some lanes may write while others still need what they hold.
    barred: Set,
}

impl Flow {
    /// `rows`: a warp's threads differ in x alone, by one from lane to lane, and the launch is one that [`Ranges`] fits.
    pub fn analyse(ir: &Ir, rows: bool) -> Flow {
        let mut flow = Flow::blocks(ir);
        let waits = flow.waits(ir);
        // Nobody knows who else is inside a function, or who runs ahead while some are: with calls, all are vectors.
        let calls = !ir.functions.is_empty();
        flow.divergent = vec![calls; flow.starts.len()];
        flow.wild = flow.divergent.clone();
        flow.barred = Set::new(ir.registers.len());
        if calls {
            (0..ir.registers.len() as Reg).for_each(|r| flow.barred.insert(r));
        }
        flow.live = Liveness::analyse(ir, &flow);
        if rows && !calls {
            flow.ranges = Ranges::analyse(ir, &flow);
        }
        let post = flow.post_dominators();
        loop {
            flow.classify(ir, rows);
            if !flow.spread(ir, &post, &waits) {
                return flow;
            }
        }
    }

    pub fn end(&self, block: usize) -> usize {
        self.starts.get(block + 1).copied().unwrap_or(self.block_of.len())
    }

    /// Instructions before which a group of lanes returns to the loop in `sched`: where others may wait for it, and here and
    /// there on a long straight line. `counted`: before an exit too, which is counted once for all that come to it.
    pub fn pauses(&self, ir: &Ir, counted: bool) -> Vec<bool> {
        let stops = self.stops(ir, counted);
        let mut line = 0;
        let pause = |at: usize| {
            line = if stops[at] || line >= LONGEST_LINE { 0 } else { line + 1 };
            line == 0 && at > 0
        };
        (0..ir.insts.len()).map(pause).collect()
    }

    /// Instructions before which a group of lanes may wait for others that come along the straight line.
    fn stops(&self, ir: &Ir, counted: bool) -> Vec<bool> {
        let insts = &ir.insts;
        let mut stops = vec![false; insts.len() + 1];
        for inst in insts.iter().filter(|inst| inst.code == Code::Switch) {
            inst.targets().for_each(|target| stops[target] = true);
        }
        // Nobody goes on where an exit leads.
        let stay = |(_, inst): &(usize, &Inst)| inst.code == Code::Branch && (counted || !ir.leaves(inst));
        for (at, inst) in insts.iter().enumerate().filter(stay) {
            let uniform = inst.guard.is_none_or(|(p, _)| self.class(p) == UNIFORM);
            if !uniform || self.divergent[self.block_of[at]] {
                stops[inst.imm as usize] = true;
                stops[at + 1] = true;
            }
        }
        // After these, the loop in `sched` has control anyway.
        for (at, inst) in insts.iter().enumerate() {
            let calls = matches!(inst.code, Code::Call | Code::Return | Code::Switch | Code::Yield);
            let returns = calls || matches!(inst.code, Code::Branch | Code::Barrier(_));
            stops[at + 1] &= !(returns || inst.code == Code::Exit && inst.guard.is_none());
        }
        // Lines count from the start of a wild block, so that none ends inside a short one: see `Flow::bar`.
        let wild = (0..self.starts.len()).filter(|&block| self.wild[block]);
        wild.for_each(|block| stops[self.starts[block]] = true);
        stops
    }

    pub fn class(&self, register: Reg) -> Class {
        self.classes[register as usize]
    }

    fn blocks(ir: &Ir) -> Flow {
        let insts = ir.insts.as_slice();
        let n = insts.len();
        let mut leader = vec![false; n + 1];
        leader[0] = true;
        ir.functions.iter().chain([&ir.entry]).for_each(|&start| leader[start] = true);
        for (at, inst) in insts.iter().enumerate() {
            match inst.code {
                Code::Branch => {
                    leader[inst.imm as usize] = true;
                    leader[at + 1] = true;
                }
                Code::Switch => {
                    inst.targets().for_each(|target| leader[target] = true);
                    leader[at + 1] = true;
                }
                Code::Exit | Code::Barrier(_) | Code::Call | Code::Return | Code::Yield => leader[at + 1] = true,
                _ => {}
            }
        }
        let starts: Vec<usize> = (0..n).filter(|&at| leader[at]).collect();
        let mut block_of = vec![0; n];
        for (block, &start) in starts.iter().enumerate() {
            let end = starts.get(block + 1).copied().unwrap_or(n);
            block_of[start..end].fill(block);
        }
        let leaves = |at: usize| insts[at].code == Code::Exit && insts[at].guard.is_none();
        let successors = (0..starts.len())
            .map(|block| {
                let last = starts.get(block + 1).copied().unwrap_or(n) - 1;
                let inst = &insts[last];
                let mut out = Vec::new();
                // A lane that jumps to a bare exit leaves at once, so that edge parts nobody.
                if inst.code == Code::Branch && !leaves(inst.imm as usize) {
                    out.push(block_of[inst.imm as usize]);
                }
                if inst.code == Code::Switch {
                    inst.targets().for_each(|target| out.push(block_of[target]));
                    out.sort_unstable();
                    out.dedup();
                }
                // A call comes back, as far as its function knows.
                let ends = matches!(inst.code, Code::Switch | Code::Return);
                let falls = !(ends || matches!(inst.code, Code::Branch | Code::Exit) && inst.guard.is_none());
                if falls && last + 1 < n && !out.contains(&block_of[last + 1]) {
                    out.push(block_of[last + 1]);
                }
                out
            })
            .collect();
        Flow { starts, block_of, successors, ..Flow::default() }
    }

    /// The nearest post-dominator of each block; `None`: lanes may leave, or run for ever, without passing one.
    fn post_dominators(&self) -> Vec<Option<usize>> {
        let n = self.starts.len();
        // sets[b]: blocks that every path from b to an exit passes, b among them.
        let mut sets = vec![vec![true; n]; n];
        for (b, set) in sets.iter_mut().enumerate().filter(|(b, _)| self.successors[*b].is_empty()) {
            *set = (0..n).map(|k| k == b).collect();
        }
        let mut changed = true;
        while changed {
            changed = false;
            for b in (0..n).rev().filter(|&b| !self.successors[b].is_empty()) {
                let next: Vec<bool> =
                    (0..n).map(|k| k == b || self.successors[b].iter().all(|&s| sets[s][k])).collect();
                changed |= next != sets[b];
                sets[b] = next;
            }
        }
        // They form a chain; the nearest has all the others in its own set.
        let nearest =
            |b: usize| (0..n).filter(|&k| k != b && sets[b][k]).max_by_key(|&k| sets[k].iter().filter(|&&x| x).count());
        let ends = |b: usize| {
            let reached = self.reachable(b, None);
            (0..n).any(|k| reached[k] && self.successors[k].is_empty())
        };
        (0..n).map(|b| nearest(b).filter(|_| ends(b))).collect()
    }

    /// Blocks that are reached from `from`'s successors without passing through `until`.
    fn reachable(&self, from: usize, until: Option<usize>) -> Vec<bool> {
        let mut seen = vec![false; self.starts.len()];
        let mut todo: Vec<usize> = self.successors[from].clone();
        while let Some(b) = todo.pop() {
            if Some(b) != until && !seen[b] {
                seen[b] = true;
                todo.extend(&self.successors[b]);
            }
        }
        seen
    }

    /// Blocks in which lanes may be held until others come, or another thread may be waited for: here, or in a function
    /// that is called.
    fn waits(&self, ir: &Ir) -> Vec<bool> {
        let blocks = self.starts.len();
        let own = |b: usize| ir.insts[self.starts[b]..self.end(b)].iter().any(|i| i.waits() || i.strong());
        let mut waits: Vec<bool> = (0..blocks).map(own).collect();
        // A function's blocks lie together, up to the next function's.
        let function_of = |at: usize| ir.functions.partition_point(|&start| start <= at);
        let calls: Vec<usize> = (0..blocks).filter(|&b| ir.insts[self.end(b) - 1].code == Code::Call).collect();
        let mut changed = !calls.is_empty();
        while changed {
            changed = false;
            let mut functions = vec![false; ir.functions.len() + 1];
            for (b, &start) in self.starts.iter().enumerate().filter(|(_, start)| **start < ir.entry) {
                functions[function_of(start)] |= waits[b];
            }
            for &b in &calls {
                let new = ir.insts[self.end(b) - 1].targets().any(|target| functions[function_of(target)]);
                changed |= new && !waits[b];
                waits[b] |= new;
            }
        }
        waits
    }

    /// Marks the blocks between divergent branches and where their lanes meet. True if there are new ones.
    fn spread(&mut self, ir: &Ir, post: &[Option<usize>], waits: &[bool]) -> bool {
        let mut changed = false;
        for (b, &meet) in post.iter().enumerate() {
            let last = &ir.insts[self.end(b) - 1];
            let parts = match (last.code, last.guard) {
                (Code::Branch, Some((p, _))) => self.class(p) != UNIFORM,
                (Code::Switch, _) => last.uses().any(|index| self.class(index) != UNIFORM),
                _ => false,
            };
            if !parts || self.successors[b].len() < 2 {
                continue;
            }
            let mut region = self.reachable(b, meet);
            let mut together_at = meet;
            let blocks = || (0..self.starts.len()).filter(|&k| region[k]);
            if meet.is_none_or(|meet| blocks().any(|k| k > meet || waits[k])) {
                region = self.reachable(b, None);
                together_at = None;
            }
            changed |= self.bar(ir, b, together_at, &region);
            for k in (0..region.len()).filter(|&k| region[k]) {
                changed |= !self.divergent[k];
                self.divergent[k] = true;
                self.wild[k] |= together_at.is_none();
            }
        }
        changed
    }

    /// Bars from being scalars what the lanes that part at the end of block `b` write in `region`, unless it is safe until
    /// they meet: it never outlives a block, or nothing needs it where they meet and only one of the two sides has it.
    /// Without a place to meet, lanes may come anywhere at any time; but not into the middle of a block that is short
    /// enough to run in one go. True if there are new ones.
    fn bar(&mut self, ir: &Ir, b: usize, meet: Option<usize>, region: &[bool]) -> bool {
        let insts = |k: usize| &ir.insts[self.starts[k]..self.end(k)];
        let touched = |&side: &usize| {
            let mut touched = Set::new(ir.registers.len());
            if Some(side) == meet {
                return touched;
            }
            let mut inside = self.reachable(side, meet);
            inside[side] = true;
            for k in (0..inside.len()).filter(|&k| inside[k]) {
                touched.add(&self.live.live_in[k]);
                insts(k).iter().flat_map(|i| i.defs().chain(i.uses())).for_each(|r| touched.insert(r));
            }
            touched
        };
        let sides: Vec<Set> = self.successors[b].iter().map(touched).collect();
        let safe = |r: Reg| match meet {
            _ if self.live.local.has(r) => true,
            Some(meet) => !self.live.live_in[meet].has(r) && sides.iter().filter(|side| side.has(r)).count() < 2,
            None => false,
        };
        let blocks = (0..region.len()).filter(|&k| region[k]);
        let barred = |k: usize| {
            let long = meet.is_none() && insts(k).len() > LONGEST_LINE;
            insts(k).iter().flat_map(Inst::defs).filter(move |&r| long || !safe(r))
        };
        let barred: Vec<Reg> = blocks.flat_map(barred).collect();
        let before = self.barred.clone();
        barred.into_iter().for_each(|r| self.barred.insert(r));
        self.barred != before
    }

    fn classify(&mut self, ir: &Ir, rows: bool) {
        let initial = |r: &crate::ir::Register| r.init.map_or(Class::Unknown, |init| class_of(init, rows));
        self.classes = ir.registers.iter().map(initial).collect();
        self.settle(ir);
        // Never written, or only from what never is: zeros. What was made of it along with others must know, too.
        if self.classes.contains(&Class::Unknown) {
            let vector = |class: &mut Class| *class = if *class == Class::Unknown { Class::Vector } else { *class };
            self.classes.iter_mut().for_each(vector);
            self.settle(ir);
        }
    }

    /// Meets the classes of all definitions until nothing changes.
    fn settle(&mut self, ir: &Ir) {
        let mut changed = true;
        while changed {
            changed = false;
            for (at, inst) in ir.insts.iter().enumerate() {
                let apart = self.divergent[self.block_of[at]];
                let barred = |flow: &Flow| {
                    // A vote writes the bits of the lanes that take part, a scalar predicate those of all.
                    inst.defs().any(|d| flow.barred.has(d)) || matches!(inst.code, Code::Vote(_))
                };
                let guarded = inst.guard.is_some_and(|(p, _)| !matches!(self.class(p), UNIFORM | Class::Unknown));
                let mut result =
                    if guarded || apart && barred(self) { Class::Vector } else { self.result(ir, at, inst) };
                // The values of one load are scalars together.
                if matches!(inst.code, Code::Load(_)) && inst.defs().any(|d| self.class(d) == Class::Vector) {
                    result = Class::Vector;
                }
                for (nth, def) in inst.defs().enumerate() {
                    // A shuffle's predicate and all its kin stay vectors.
                    let new = if nth > 0 && matches!(inst.code, Code::Shuffle(_)) { Class::Vector } else { result };
                    let old = self.classes[def as usize];
                    let met = match (old, new) {
                        (Class::Unknown, x) | (x, Class::Unknown) => x,
                        (x, y) if x == y => x,
                        _ => Class::Vector,
                    };
                    changed |= met != old;
                    self.classes[def as usize] = met;
                }
            }
        }
    }

    fn result(&self, ir: &Ir, at: usize, inst: &Inst) -> Class {
        let mut classes = inst.used_fields().iter().map(|&f| self.class(inst.s[f]));
        match inst.code {
            Code::Vote("ballot") | Code::Shuffle(_) | Code::Lop3 | Code::Prmt => Class::Vector,
            // Of lanes with different member masks, each set has its own answer.
            Code::Vote(_) => match self.class(inst.s[2]) {
                Class::Scalar(0) => UNIFORM,
                Class::Unknown => Class::Unknown,
                _ => Class::Vector,
            },
            Code::Load(access) => match self.class(inst.s[1]) {
                _ if !access.is_plain() => Class::Vector,
                Class::Scalar(0) => UNIFORM,
                Class::Unknown => Class::Unknown,
                _ => Class::Vector,
            },
            Code::Row(row) => {
                if classes.clone().any(|c| c == Class::Vector) {
                    Class::Vector
                } else if classes.clone().any(|c| c == Class::Unknown) {
                    Class::Unknown
                } else if classes.all(|c| c == UNIFORM) {
                    UNIFORM
                } else {
                    self.affine(ir, at, inst, row).map_or(Class::Vector, Class::Scalar)
                }
            }
            _ => Class::Vector,
        }
    }

    /// The stride of a result whose operands are all scalars. Arithmetic modulo 2^32 (or 2^64) keeps strides exactly;
    /// what widens a register does only if no lane wraps.
    fn affine(&self, ir: &Ir, at: usize, inst: &Inst, row: &Row) -> Option<i32> {
        let stride = |field: usize| match self.class(inst.s[field]) {
            Class::Scalar(stride) => stride as i64,
            _ => 0,
        };
        let constant = |field: usize| match ir.registers[inst.s[field] as usize].init {
            Some(Init::Bits(bits)) => Some(bits),
            _ => None,
        };
        const SIGNED: Range = (i32::MIN as i64, i32::MAX as i64);
        // Above the signed ones nothing is known.
        const UNSIGNED: Range = (0, i32::MAX as i64);
        let within = |field: usize, bounds: Range| {
            let init = ir.registers[inst.s[field] as usize].init;
            stride(field) == 0
                || matches!(init, Some(Init::Special(Special::Thread(0) | Special::Lane)))
                || self.ranges.holds(at, field, stride(field), bounds)
        };
        let factor = |field: usize| constant(field).map(|bits| bits as u32 as i32 as i64);
        let product = |a: usize, b: usize| match (stride(a), stride(b)) {
            (0, 0) => Some(0),
            (s, 0) => Some(s * factor(b)?),
            (0, s) => Some(s * factor(a)?),
            _ => None,
        };
        let positive = || [1, 2].into_iter().all(|field| constant(field).is_none_or(|c| c < 1 << 31));
        let (wide, stride) = match row.names[0] {
            "mov.b32" => (false, stride(1)),
            "mov.b64" => (true, stride(1)),
            "add.u32" => (false, stride(1) + stride(2)),
            "add.u64" => (true, stride(1) + stride(2)),
            "sub.u32" => (false, stride(1) - stride(2)),
            "sub.u64" => (true, stride(1) - stride(2)),
            "neg.s32" | "not.b32" => (false, -stride(1)),
            "shl.b32" if stride(2) == 0 => (false, stride(1) << constant(2).filter(|&c| c < 31)?),
            "shl.b64" if stride(2) == 0 => (true, stride(1) << constant(2).filter(|&c| c < 31)?),
            "mul.lo.u32" => (false, product(1, 2)?),
            "mul.lo.u64" => (true, product(1, 2).filter(|_| constant(1).or(constant(2)).is_some_and(|c| c < 1 << 31))?),
            "mad.lo.u32" => (false, product(1, 2)? + stride(3)),
            "cvt.u32.u64" => (false, stride(1)),
            "cvt.s64.s32" if within(1, SIGNED) => (true, stride(1)),
            "cvt.u64.u32" if within(1, UNSIGNED) => (true, stride(1)),
            "mul.wide.s32" if within(1, SIGNED) && within(2, SIGNED) => (true, product(1, 2)?),
            "mad.wide.s32" if within(1, SIGNED) && within(2, SIGNED) => (true, product(1, 2)? + stride(3)),
            // A factor that is a negative number when signed is not what `product` takes it for.
            "mul.wide.u32" if within(1, UNSIGNED) && within(2, UNSIGNED) && positive() => (true, product(1, 2)?),
            "mad.wide.u32" if within(1, UNSIGNED) && within(2, UNSIGNED) && positive() => {
                (true, product(1, 2)? + stride(3))
            }
            _ => return None,
        };
        if wide { i32::try_from(stride).ok() } else { Some(stride as i32) }
    }
}

fn class_of(init: Init, rows: bool) -> Class {
    match init {
        Init::Special(Special::Lane) => Class::Scalar(1),
        Init::Special(Special::Thread(0)) if rows => Class::Scalar(1),
        Init::Special(Special::Thread(_)) if !rows => Class::Vector,
        Init::Special(Special::Lanes(_)) => Class::Vector,
        _ => UNIFORM,
    }
}
