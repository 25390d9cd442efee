//! From [`Ir`] to a [`Program`]: what is kept as a scalar, where registers lie, and which handler runs each instruction.

use crate::decode::{Decoded, Init, Place, Special};
use crate::exec::compare::compare_way;
use crate::exec::form::{Form, Sum};
use crate::exec::gang::{Ganged, Gangs, Way, branch_way, exit_way, guard_way};
use crate::exec::mem_handlers::{load_way, store_way};
use crate::exec::runs::{self, Product};
use crate::exec::single::product_way;
use crate::exec::{Level, List, Op, WideFn, call, collective, expand_handlers, mem, warp};
use crate::flow::{Class, Flow, UNIFORM};
use crate::fold::Folds;
use crate::ir::{Access, Code, Inst, Ir, Reg, VALUES};
use crate::isa::Kind;
use crate::range::{BLOCKS, SIZE};
use crate::tools::{Mark, Watch, marks};

/// A kernel ready to run.
pub struct Program {
    pub ops: Vec<Op>,
    /// The same for warps that run as one; without tools only.
    pub ganged: Option<Ganged>,
    /// Where a kernel starts.
    pub entry: u32,
    /// Operands of barriers and wide instructions.
    pub lists: Vec<List>,
    /// Whether no lanes may come to an op while others are behind it.
    pub together: Vec<bool>,
    /// Index into the decoded kernel's places for each op.
    pub places: Vec<u32>,
    /// Size of a warp's register file, a multiple of 128.
    pub bytes: usize,
    /// What no instruction writes: place and value.
    pub inits: Vec<(usize, Home, Init)>,
    /// Such as changes from block to block: place, and axis of the block's index (3: its multiprocessor).
    pub block_inits: Vec<(usize, Home, usize)>,
    /// Parameters, by their offsets, that [`crate::range`] assumes something of.
    assumed: Vec<usize>,
}

impl Program {
    /// Whether a launch is one that a plan for rows was made for.
    pub fn fits(&self, grid: [u32; 3], block: [u32; 3], params: &[u8]) -> bool {
        let rows = block[0].is_multiple_of(32) || block[1] == 1 && block[2] == 1;
        let small = |&at: &usize| {
            let value = params.get(at..at + 4).map_or([0; 4], |bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
            (-SIZE..=SIZE).contains(&i32::from_le_bytes(value))
        };
        rows && grid[0] <= BLOCKS && self.assumed.iter().all(small)
    }
}

/// How a register lies in the register file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    Mask,
    Words,
    Doubles,
    Cell,
}

impl Home {
    fn bytes(self) -> usize {
        match self {
            Home::Mask => 4,
            Home::Words => 128,
            Home::Doubles => 256,
            Home::Cell => 8,
        }
    }
}

/// What a program is planned for.
#[derive(Clone, Copy)]
pub struct Mode {
    /// A warp's threads differ in x alone, by one from lane to lane.
    pub rows: bool,
    pub watch: Watch,
}

/// No op: never read.
const NOWHERE: u32 = u32::MAX;

struct Planner<'a> {
    ir: &'a Ir,
    flow: &'a Flow,
    folds: Folds,
    level: Level,
    watch: Watch,
    /// Instructions that are counted before they run, by place.
    ticks: Vec<bool>,
    /// Kept as a scalar; and whether a vector copy is needed too.
    scalar: Vec<bool>,
    vector: Vec<bool>,
    /// Under counters: a vector though it could be a scalar, as it comes from a load.
    loaded: Vec<bool>,
    cells: Vec<u32>,
    vectors: Vec<u32>,
    ops: Vec<Op>,
    gangs: Vec<Gangs>,
    /// Multiply-adds with a factor in a cell.
    products: Vec<Product>,
    lists: Vec<List>,
    places: Vec<u32>,
    /// First op of each instruction, and fields of ops that are to hold such a pc: (op, field, instruction).
    starts: Vec<u32>,
    patches: Vec<(usize, Field, usize)>,
    /// Constants of lists that are to hold such a pc: (list, constant).
    list_patches: Vec<(u32, usize)>,
}

#[derive(Clone, Copy)]
enum Field {
    Imm,
    E,
}

pub fn plan(decoded: &Decoded, level: Level, mode: Mode) -> Program {
    let ir = &decoded.ir;
    let flow = Flow::analyse(ir, mode.rows);
    let pauses = flow.pauses(ir, mode.watch == Watch::All);
    let n = ir.registers.len();
    let watched = mode.watch != Watch::Nothing;
    let marks = if watched { marks(&decoded.places) } else { Vec::new() };
    let ticks = |(mark, place): (&Mark, &Place)| place.counted && (mode.watch == Watch::All || mark.orders());
    let mut p = Planner {
        ir,
        flow: &flow,
        folds: Folds::analyse(ir, &flow, &pauses, mode.watch),
        level,
        watch: mode.watch,
        ticks: marks.iter().zip(&decoded.places).map(ticks).collect(),
        scalar: vec![false; n],
        vector: vec![false; n],
        loaded: vec![false; n],
        cells: vec![NOWHERE; n],
        vectors: vec![NOWHERE; n],
        ops: Vec::new(),
        gangs: Vec::new(),
        products: Vec::new(),
        lists: Vec::new(),
        places: Vec::new(),
        starts: Vec::new(),
        patches: Vec::new(),
        list_patches: Vec::new(),
    };
    p.choose();
    // What a caller keeps is not among what its functions know of: with calls, nothing shares a place.
    let spans = if ir.functions.is_empty() { flow.live.spans(ir, &flow) } else { vec![Some((0, u32::MAX)); n] };
    let bytes = p.lay_out(&spans);
    for (at, inst) in ir.insts.iter().enumerate() {
        if pauses[at] {
            // Lanes that come here by a jump are not sent through this op.
            let e = p.ops.len() as u32 + 1;
            p.push(inst, Way::alike(warp::fall_handlers()), [0, 0, 0, 0, e], 0);
        }
        p.starts.push(p.ops.len() as u32);
        if !p.folds.gone(at) {
            p.instruction(at, inst);
        }
    }
    for &(op, field, inst) in &p.patches {
        let pc = p.starts[inst];
        match field {
            Field::Imm => p.ops[op].imm = pc,
            Field::E => p.ops[op].e = pc,
        }
    }
    let (mut inits, mut block_inits) = (Vec::new(), Vec::new());
    for (at, home, init) in p.inits() {
        match init {
            Init::Special(Special::Block(axis)) => block_inits.push((at, home, axis)),
            Init::Special(Special::Multiprocessor) => block_inits.push((at, home, 3)),
            _ => inits.push((at, home, init)),
        }
    }
    for &(list, at) in &p.list_patches {
        let pc = &mut p.lists[list as usize].imms[at];
        *pc = p.starts.get(*pc as usize).map_or(-1, |&pc| pc as i64);
    }
    let entry = p.starts[decoded.entry];
    let mut together = vec![true; p.ops.len()];
    for (inst, &start) in p.starts.iter().enumerate() {
        let end = p.starts.get(inst + 1).map_or(p.ops.len(), |&end| end as usize);
        together[start as usize..end].fill(!flow.wild[flow.block_of[inst]]);
    }
    if mode.watch != Watch::All {
        runs::join(&mut p.ops, &mut p.gangs, &p.products, level);
    }
    let ganged = (!watched && decoded.local_bytes == 0).then(|| Ganged::new(&p.ops, &p.gangs, level));
    let (ops, lists, places) = (p.ops, p.lists, p.places);
    Program { ops, ganged, entry, lists, together, places, bytes, inits, block_inits, assumed: flow.ranges.assumed }
}

impl Planner<'_> {
    fn stride(&self, register: Reg) -> Option<i32> {
        match self.flow.class(register) {
            Class::Scalar(stride) => Some(stride),
            _ => None,
        }
    }

    fn kind(&self, register: Reg) -> Kind {
        self.ir.registers[register as usize].kind
    }

    /// One scalar computation stands for all lanes.
    fn is_scalar(&self, inst: &Inst) -> bool {
        match inst.code {
            Code::Row(_) if self.kind(inst.s[0]) == Kind::P => {
                self.flow.class(inst.s[0]) == UNIFORM && self.operands_are_scalar(inst)
            }
            Code::Row(_) => self.scalar[inst.s[0] as usize],
            Code::Load(_) => inst.defs().any(|d| self.scalar[d as usize]),
            _ => false,
        }
    }

    /// A comparison of scalars that comes out differently from lane to lane.
    fn compares(&self, inst: &Inst) -> Option<Way> {
        let Code::Row(row) = inst.code else { return None };
        let of_scalars = || inst.uses().all(|r| self.scalar[r as usize]) && inst.guard.is_none();
        if self.is_scalar(inst) || !of_scalars() {
            return None;
        }
        compare_way(row.names[0])
    }

    /// Predicates are masks either way.
    fn operands_are_scalar(&self, inst: &Inst) -> bool {
        let mut operands = inst.used_fields().iter().map(|&field| inst.s[field]);
        operands.all(|r| self.kind(r) == Kind::P || self.stride(r).is_some() && !self.loaded[r as usize])
    }

    /// The operand, of the two that a product multiplies, that is the same for all lanes while the other is not: read
    /// from its cell, it need not be written as a vector, as the inner loops of matrix products and attention would.
    fn factor(&self, inst: &Inst) -> Option<(usize, Way)> {
        let Code::Row(row) = inst.code else { return None };
        let way = product_way(row.names[0])?;
        let same = |&field: &usize| {
            let r = inst.s[field];
            self.scalar[r as usize] && self.stride(r) == Some(0)
        };
        let field = [2, 1].into_iter().find(same)?;
        if self.is_scalar(inst) { None } else { Some((field, way)) }
    }

    fn form(&self, access: Access, inst: &Inst) -> Form {
        match self.stride(inst.s[1]) {
            _ if self.watch == Watch::All || !access.is_plain() => Form::Vector,
            Some(0) if self.is_scalar(inst) => Form::Uniform,
            Some(0) => Form::Same,
            Some(stride) if stride as usize == access.bytes() => Form::Row,
            _ => Form::Vector,
        }
    }

    /// Fields of `s` that are read as scalars; the others are read as vectors (predicates are both).
    fn reads_cell(&self, inst: &Inst, field: usize) -> bool {
        match inst.code {
            Code::Load(access) | Code::Store(access) => field == 1 && self.form(access, inst) != Form::Vector,
            _ => {
                let factor = self.factor(inst).is_some_and(|(factor, _)| factor == field);
                factor || self.is_scalar(inst) || self.compares(inst).is_some()
            }
        }
    }

    /// Scalars that an instruction reads for those that it does along with its own work.
    fn folded(&self, at: usize) -> impl Iterator<Item = Reg> {
        let sum = self.folds.sum(at).map(|(_, operands)| operands);
        let compared = self.folds.jump(at).map(|_| [1, 2].map(|field| self.ir.insts[at - 1].s[field]));
        sum.into_iter().chain(compared).flatten()
    }

    /// Keeps as scalars those registers that something reads as such.
    fn choose(&mut self) {
        let n = self.ir.registers.len();
        self.scalar = (0..n as Reg).map(|r| self.stride(r).is_some() && self.kind(r) != Kind::P).collect();
        if self.watch == Watch::All {
            // Loads leave vectors there, and so does what is computed from them.
            let loads = self.ir.insts.iter().filter(|inst| matches!(inst.code, Code::Load(_)));
            loads.flat_map(Inst::defs).for_each(|d| self.loaded[d as usize] = true);
            let mut count = 0;
            while count != self.loaded.iter().filter(|&&loaded| loaded).count() {
                count = self.loaded.iter().filter(|&&loaded| loaded).count();
                for inst in self.ir.insts.iter().filter(|inst| matches!(inst.code, Code::Row(_))) {
                    let d = inst.s[0] as usize;
                    self.loaded[d] |= !self.operands_are_scalar(inst) && self.kind(inst.s[0]) != Kind::P;
                }
            }
            (0..n).filter(|&r| self.loaded[r]).for_each(|r| self.scalar[r] = false);
        }
        loop {
            let (mut cell, mut vector) = (vec![false; n], vec![false; n]);
            for (at, inst) in self.ir.insts.iter().enumerate().filter(|&(at, _)| !self.folds.gone(at)) {
                let sum = self.folds.sum(at).is_some();
                for &field in inst.used_fields().iter().filter(|&&field| !sum || field != 1) {
                    let used = if self.reads_cell(inst, field) { &mut cell } else { &mut vector };
                    used[inst.s[field] as usize] = true;
                }
                self.folded(at).for_each(|r| cell[r as usize] = true);
                inst.more.iter().flat_map(|more| &more.uses).for_each(|&r| vector[r as usize] = true);
            }
            // The values of one load are scalars together.
            let loads = || self.ir.insts.iter().filter(|i| matches!(i.code, Code::Load(_)));
            let mixed = |cell: &[bool]| {
                let part = |i: &&Inst| {
                    let mut defs = i.defs().map(|d| cell[d as usize]);
                    let first = defs.next();
                    defs.any(|other| Some(other) != first)
                };
                loads().filter(part).flat_map(|i| i.defs()).collect::<Vec<_>>()
            };
            cell.iter_mut().zip(&self.scalar).for_each(|(cell, scalar)| *cell &= scalar);
            loop {
                let more = mixed(&cell);
                if more.is_empty() {
                    break;
                }
                more.into_iter().for_each(|d| cell[d as usize] = true);
            }
            let next: Vec<bool> = (0..n).map(|r| self.scalar[r] && cell[r]).collect();
            let stable = next == self.scalar;
            self.scalar = next;
            if stable {
                self.vector = (0..n).map(|r| vector[r] || !self.scalar[r]).collect();
                return;
            }
        }
    }

    /// Gives every register its place; the size of the register file. Vectors that are not needed at the same time lie
    /// in the same place, so that the file of a large kernel stays in the cache; constants keep theirs.
    fn lay_out(&mut self, spans: &[Option<(u32, u32)>]) -> usize {
        let mut end = 0;
        let mut place = |home: Home| {
            end += home.bytes();
            (end - home.bytes()) as u32
        };
        for (kind, home) in [(Kind::D, Home::Doubles), (Kind::W, Home::Words), (Kind::P, Home::Mask)] {
            let of_kind = |r: &usize| self.ir.registers[*r].kind == kind && (self.vector[*r] || kind == Kind::P);
            let mut passing = Vec::new();
            for r in (0..self.vectors.len()).filter(of_kind) {
                match spans[r] {
                    Some(span) if kind != Kind::P && self.ir.registers[r].init.is_none() => passing.push((span, r)),
                    _ => self.vectors[r] = place(home),
                }
            }
            passing.sort_unstable();
            // Last point of use of each place handed out so far.
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for ((from, to), r) in passing {
                // The one that was used last is the one most likely to be in the cache.
                let free = taken.iter_mut().filter(|(last, _)| *last < from).max_by_key(|(last, _)| *last);
                self.vectors[r] = match free {
                    Some(slot) => {
                        slot.0 = to;
                        slot.1
                    }
                    None => {
                        let at = place(home);
                        taken.push((to, at));
                        at
                    }
                };
            }
        }
        let odd = end % Home::Cell.bytes();
        end += odd;
        for r in 0..self.cells.len() {
            if self.scalar[r] {
                self.cells[r] = end as u32;
                end += Home::Cell.bytes();
            }
        }
        end.next_multiple_of(Home::Words.bytes())
    }

    fn inits(&self) -> Vec<(usize, Home, Init)> {
        let mut inits = Vec::new();
        for (r, register) in self.ir.registers.iter().enumerate() {
            let Some(init) = register.init else { continue };
            let home = match register.kind {
                Kind::P => Home::Mask,
                Kind::W => Home::Words,
                Kind::D => Home::Doubles,
            };
            if self.vectors[r] != NOWHERE {
                inits.push((self.vectors[r] as usize, home, init));
            }
            if self.cells[r] != NOWHERE {
                inits.push((self.cells[r] as usize, Home::Cell, init));
            }
        }
        inits
    }

    fn push(&mut self, inst: &Inst, way: impl Into<Way>, [d, a, b, c, e]: [u32; 5], imm: u32) {
        let way = way.into();
        self.ops.push(Op { run: way.alone[self.level as usize], d, a, b, c, e, imm });
        self.gangs.push(way.gang);
        self.places.push(inst.place);
    }

    /// What runs a shuffle whose operands are constants, if it is a step of a reduction over the whole warp.
    fn step(&self, inst: &Inst, mode: &str) -> Option<Way> {
        let constant = |field: usize| match self.ir.registers[inst.s[field] as usize].init {
            Some(Init::Bits(value)) => Some(value as u32),
            _ => None,
        };
        let [b, c, members] = [constant(2)?, constant(3)?, constant(4)?];
        if members == u32::MAX { warp::step_handlers(mode, b, c).map(Way::each) } else { None }
    }

    /// The operands of an instruction that has them in `more`; `first` before its own constants.
    fn list<const N: usize>(&mut self, inst: &Inst, first: [i64; N], run: WideFn) -> u32 {
        let (mut regs, mut imms) = (Vec::new(), first.to_vec());
        if let Some(more) = &inst.more {
            regs.extend(more.defs.iter().chain(&more.uses).map(|&r| self.vectors[r as usize]));
            imms.extend(&more.imms);
        }
        self.lists.push(List { run, regs: regs.into(), imms: imms.into(), place: inst.place });
        self.lists.len() as u32 - 1
    }

    /// What shows a load or store to the tools.
    fn probe(&mut self, inst: &Inst, access: Access) -> u32 {
        let write = matches!(inst.code, Code::Store(_)) as i64;
        let values = VALUES.iter().take(if write != 0 { access.v } else { 0 });
        let form = self.form(access, inst);
        let address = if form == Form::Vector { &self.vectors } else { &self.cells }[inst.s[1] as usize];
        let values = values.map(|&field| self.vectors[inst.s[field] as usize]);
        let regs = std::iter::once(address).chain(values).collect();
        let (space, bytes) = (access.space as i64, access.bytes() as i64);
        let (offset, strong, width) = (inst.imm as i32 as i64, access.strong as i64, bytes / access.v as i64);
        let imms = [write, space, bytes, access.wide as i64, offset, strong, width, form as i64].into();
        self.lists.push(List { run: mem::probe, regs, imms, place: inst.place });
        self.lists.len() as u32 - 1
    }

    /// What shows the lanes that a shuffle reads from to the tools.
    fn probe_shuffle(&mut self, inst: &Inst, mode: &str) -> u32 {
        let regs = [4, 2, 3].iter().map(|&field| self.vectors[inst.s[field] as usize]).collect();
        let imms = [warp::shuffle_number(mode) as i64].into();
        self.lists.push(List { run: warp::probe, regs, imms, place: inst.place });
        self.lists.len() as u32 - 1
    }

    /// Counts a PTX instruction, at the first of what it has become.
    fn tick(&mut self, at: usize, inst: &Inst, [a, c]: [u32; 2]) {
        let same = |other: Option<&Inst>| other.is_some_and(|other| other.place == inst.place);
        let first = !same(at.checked_sub(1).and_then(|before| self.ir.insts.get(before)));
        if first && self.ticks.get(inst.place as usize) == Some(&true) {
            // Lanes whose guard fails jump around what waits: it is the others that execute it.
            let around = inst.code == Code::Branch && same(self.ir.insts.get(at + 1));
            self.push(inst, warp::tick_handlers(), [0, a, 0, if around { 3 - c } else { c }, 0], inst.place);
        }
    }

    fn instruction(&mut self, at: usize, inst: &Inst) {
        let after = at + 1;
        let (a, c) = match inst.guard {
            Some((p, negated)) => (self.vectors[p as usize], 1 + negated as u32),
            None => (0, 0),
        };
        self.tick(at, inst, [a, c]);
        if let Some(way) = self.folds.jump(at) {
            return self.jump(at, inst, way);
        }
        match inst.code {
            Code::Branch if self.leaves(inst) => self.push(inst, exit_way(c), [0, a, 0, 0, 0], 0),
            Code::Exit => self.push(inst, exit_way(c), [0, a, 0, 0, 0], 0),
            Code::Branch => {
                self.patches.push((self.ops.len(), Field::Imm, inst.imm as usize));
                self.patches.push((self.ops.len(), Field::E, after));
                self.push(inst, branch_way(c), [0, a, 0, 0, 0], 0);
            }
            Code::Call | Code::Switch => {
                self.patches.push((self.ops.len(), Field::E, after));
                let list = self.list(inst, [], call::no_wide);
                let count = self.lists[list as usize].imms.len();
                let pcs: Vec<usize> = match inst.code {
                    Code::Switch => (0..count).collect(),
                    _ => std::iter::once(0).chain((5..count).step_by(2)).collect(),
                };
                self.list_patches.extend(pcs.into_iter().map(|at| (list, at)));
                let handlers = if inst.code == Code::Call { call::call_handlers() } else { call::switch_handlers() };
                self.push(inst, handlers, [0; 5], list);
            }
            Code::Return => self.push(inst, call::return_handlers(), [0; 5], 0),
            Code::Yield => {
                self.patches.push((self.ops.len(), Field::E, after));
                self.push(inst, call::yield_handlers(), [0; 5], 0);
            }
            Code::Barrier(mode) => {
                self.patches.push((self.ops.len(), Field::E, after));
                let list = self.list(inst, [mode as i64], warp::no_wide);
                self.push(inst, warp::barrier_handlers(), [0; 5], list);
            }
            _ if inst.guard.is_some() => {
                self.patches.push((self.ops.len(), Field::Imm, after));
                self.push(inst, guard_way(c), [0, a, 0, 0, 0], 0);
                self.plain(at, inst);
                self.push(inst, Way::alike(warp::unguard_handlers()), [0; 5], 0);
            }
            _ => self.plain(at, inst),
        }
    }

    /// Whether a branch is an exit itself: not where instructions are counted, as its target is one of them, which lanes
    /// reach together.
    fn leaves(&self, inst: &Inst) -> bool {
        self.watch != Watch::All && self.ir.leaves(inst)
    }

    /// A branch that does the comparison before it.
    fn jump(&mut self, at: usize, inst: &Inst, way: Way) {
        let compared = &self.ir.insts[at - 1];
        let [a, b] = [1, 2].map(|field| self.cells[compared.s[field] as usize]);
        let [of_a, of_b] = [1, 2].map(|field| self.stride(compared.s[field]).unwrap_or(0) as u32);
        if !self.leaves(inst) {
            self.patches.push((self.ops.len(), Field::Imm, inst.imm as usize));
            self.patches.push((self.ops.len(), Field::E, at + 1));
        }
        self.push(inst, way, [of_b, a, b, of_a, 0], 0);
    }

    /// An instruction without control flow, and vector copies of the scalars that it writes.
    fn plain(&mut self, at: usize, inst: &Inst) {
        if let (true, Code::Load(access) | Code::Store(access)) = (self.watch != Watch::Nothing, inst.code) {
            let list = self.probe(inst, access);
            self.push(inst, warp::wide_handlers(), [0; 5], list);
        }
        if let (true, Code::Shuffle(mode)) = (self.watch != Watch::Nothing, inst.code) {
            let list = self.probe_shuffle(inst, mode);
            self.push(inst, warp::wide_handlers(), [0; 5], list);
        }
        let scalar = self.is_scalar(inst);
        let mut s = [0; 5];
        for &field in inst.used_fields() {
            let r = inst.s[field] as usize;
            let cell = self.reads_cell(inst, field) && self.ir.registers[r].kind != Kind::P;
            s[field] = if cell { self.cells[r] } else { self.vectors[r] };
        }
        for (def, field) in inst.defs().zip(VALUES) {
            let cell = scalar && self.kind(def) != Kind::P;
            s[field] = if cell { self.cells[def as usize] } else { self.vectors[def as usize] };
        }
        let (mut sum, mut imm) = (Sum::None, inst.imm);
        if let Some((how, [base, more])) = self.folds.sum(at) {
            (sum, s[1], imm) = (how, self.cells[base as usize], self.cells[more as usize]);
        }
        if let Some(way) = self.compares(inst) {
            let [of_a, of_b] = [1, 2].map(|field| self.stride(inst.s[field]).unwrap_or(0) as u32);
            return self.push(inst, way, [s[0], s[1], s[2], 0, of_b], of_a);
        }
        if let Some((field, way)) = self.factor(inst) {
            let [factor, other] = [s[field], s[3 - field]];
            if inst.used_fields().len() == 3 {
                self.products.push(Product { op: self.ops.len(), chained: self.folds.chained(at) });
            }
            return self.push(inst, way, [s[0], other, factor, s[3], 0], 0);
        }
        let (way, imm) = match inst.code {
            Code::Row(row) if scalar => (row.scalar, 0),
            Code::Row(row) => (row.vector, 0),
            Code::Wide(wide) => (warp::wide_handlers().into(), self.list(inst, [], wide.run[self.level as usize])),
            Code::Load(access) => {
                let way = load_way(access, self.form(access, inst), sum);
                let over = inst.defs().zip(VALUES).any(|(_, field)| s[field] == s[1]);
                (if over { Way::from(way.alone) } else { way }, imm)
            }
            Code::Store(access) => (store_way(access, self.form(access, inst), sum), imm),
            Code::Shuffle(mode) => {
                let p = if inst.imm == 0 { 0 } else { self.vectors[inst.imm as usize - 1] + 1 };
                (self.step(inst, mode).unwrap_or_else(|| warp::shuffle_handlers(mode).into()), p)
            }
            Code::Vote(mode) => (collective::vote_handlers(mode).into(), inst.imm),
            Code::Lop3 => (Way::each(warp::lop3_handlers()), inst.imm),
            Code::Prmt => (Way::each(warp::prmt_handlers()), 0),
            _ => (Way::alike(warp::nothing_handlers()), 0),
        };
        // The shuffle's second destination is in `imm`.
        if matches!(inst.code, Code::Shuffle(_)) {
            s[2] = self.vectors[inst.s[2] as usize];
        }
        self.push(inst, way, s, imm);
        for def in inst.defs().filter(|_| scalar) {
            let (r, kind) = (def as usize, self.kind(def));
            if kind != Kind::P && self.vector[r] {
                let stride = self.stride(def).unwrap_or(0);
                let wide = kind == Kind::D;
                let places = [self.vectors[r], self.cells[r], 0, 0, 0];
                self.push(inst, Way::each(expand_handlers(wide)), places, stride as u32);
            }
        }
    }
}
