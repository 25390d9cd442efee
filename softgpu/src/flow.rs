//! Control flow and uniformity: which registers hold the same value in every lane (or one that grows by a fixed step
//! from lane to lane), so that one scalar per warp is all that must be computed and kept.
//!
//! A scalar is shared by the lanes, so it may only be written where all live lanes are together. Lanes part at a branch
//! whose predicate differs among them, and are together again at the branch's post-dominator, because the group at the
//! lowest pc runs first, provided that every block between the two lies below it. All blocks between are *divergent*.

use crate::decode::{Init, Special};
use crate::ir::{Code, Inst, Ir, Reg};
use crate::isa::Row;

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

/// Half-open ranges of instructions, entered only at the first and left only at the last.
pub struct Flow {
    pub starts: Vec<usize>,
    pub block_of: Vec<usize>,
    pub successors: Vec<Vec<usize>>,
    pub divergent: Vec<bool>,
    pub classes: Vec<Class>,
}

impl Flow {
    /// `rows`: a warp's threads differ in x alone, by one from lane to lane.
    pub fn analyse(ir: &Ir, rows: bool) -> Flow {
        let mut flow = Flow::blocks(&ir.insts);
        flow.divergent = vec![false; flow.starts.len()];
        let post = flow.post_dominators();
        loop {
            flow.classify(ir, rows);
            if !flow.spread(ir, &post) {
                return flow;
            }
        }
    }

    pub fn end(&self, block: usize) -> usize {
        self.starts.get(block + 1).copied().unwrap_or(self.block_of.len())
    }

    pub fn class(&self, register: Reg) -> Class {
        self.classes[register as usize]
    }

    fn blocks(insts: &[Inst]) -> Flow {
        let n = insts.len();
        let mut leader = vec![false; n + 1];
        leader[0] = true;
        for (at, inst) in insts.iter().enumerate() {
            match inst.code {
                Code::Branch => {
                    leader[inst.imm as usize] = true;
                    leader[at + 1] = true;
                }
                Code::Exit | Code::Barrier(_) => leader[at + 1] = true,
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
                let falls = !(matches!(inst.code, Code::Branch | Code::Exit) && inst.guard.is_none());
                if falls && last + 1 < n && !out.contains(&block_of[last + 1]) {
                    out.push(block_of[last + 1]);
                }
                out
            })
            .collect();
        Flow { starts, block_of, successors, divergent: Vec::new(), classes: Vec::new() }
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

    /// Marks the blocks between divergent branches and where their lanes meet. True if there are new ones.
    fn spread(&mut self, ir: &Ir, post: &[Option<usize>]) -> bool {
        let mut changed = false;
        for (b, &meet) in post.iter().enumerate() {
            let last = &ir.insts[self.end(b) - 1];
            let parts = last.code == Code::Branch && last.guard.is_some_and(|(p, _)| self.class(p) != UNIFORM);
            if !parts || self.successors[b].len() < 2 {
                continue;
            }
            let mut region = self.reachable(b, meet);
            let blocks = || (0..self.starts.len()).filter(|&k| region[k]);
            let waits = |k: usize| ir.insts[self.starts[k]..self.end(k)].iter().any(|i| i.waits() || i.strong());
            if meet.is_none_or(|meet| blocks().any(|k| k > meet || waits(k))) {
                region = self.reachable(b, None);
            }
            for (divergent, inside) in self.divergent.iter_mut().zip(region) {
                changed |= inside && !*divergent;
                *divergent |= inside;
            }
        }
        changed
    }

    fn classify(&mut self, ir: &Ir, rows: bool) {
        let initial = |r: &crate::ir::Register| r.init.map_or(Class::Unknown, |init| class_of(init, rows));
        self.classes = ir.registers.iter().map(initial).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for (at, inst) in ir.insts.iter().enumerate() {
                let together = !self.divergent[self.block_of[at]]
                    && inst.guard.is_none_or(|(p, _)| matches!(self.class(p), UNIFORM | Class::Unknown));
                let result = if together { self.result(ir, inst) } else { Class::Vector };
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
        // Never written: zeros, the same in every lane.
        for class in &mut self.classes {
            if *class == Class::Unknown {
                *class = Class::Vector;
            }
        }
    }

    fn result(&self, ir: &Ir, inst: &Inst) -> Class {
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
                    self.affine(ir, inst, row).map_or(Class::Vector, Class::Scalar)
                }
            }
            _ => Class::Vector,
        }
    }

    /// The stride of a result whose operands are all scalars. Arithmetic modulo 2^32 (or 2^64) keeps strides exactly;
    /// what widens a register does only if no lane wraps, which is known of thread numbers alone.
    fn affine(&self, ir: &Ir, inst: &Inst, row: &Row) -> Option<i32> {
        let stride = |field: usize| match self.class(inst.s[field]) {
            Class::Scalar(stride) => stride as i64,
            _ => 0,
        };
        let constant = |field: usize| match ir.registers[inst.s[field] as usize].init {
            Some(Init::Bits(bits)) => Some(bits),
            _ => None,
        };
        let small = |field: usize| {
            let init = ir.registers[inst.s[field] as usize].init;
            stride(field) == 0 || matches!(init, Some(Init::Special(Special::Thread(0) | Special::Lane)))
        };
        let factor = |field: usize| constant(field).map(|bits| bits as u32 as i32 as i64);
        let product = |a: usize, b: usize| match (stride(a), stride(b)) {
            (s, 0) => Some(s * factor(b)?),
            (0, s) => Some(s * factor(a)?),
            _ => None,
        };
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
            "cvt.u64.u32" | "cvt.s64.s32" if small(1) => (true, stride(1)),
            // The factor is below 2^20, a thread number below 2^10: no sign, no wrap.
            "mul.wide.u32" | "mul.wide.s32" if small(1) && small(2) => {
                (true, product(1, 2).filter(|_| constant(1).or(constant(2)).is_some_and(|c| c < 1 << 20))?)
            }
            "mad.wide.u32" | "mad.wide.s32" if small(1) && small(2) => {
                let product = if stride(1) == 0 && stride(2) == 0 { Some(0) } else { product(1, 2) };
                let bounded = constant(1).or(constant(2)).is_some_and(|c| c < 1 << 20);
                (true, product.filter(|&p| p == 0 || bounded)? + stride(3))
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
