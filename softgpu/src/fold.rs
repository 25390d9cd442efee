//! Instructions that another one does along with its own work, so that no handler is run for them: `p[i]` is a
//! `mul.wide`, an `add` and a load, `if (i < n)` a comparison and a branch, and short kernels are made of these.

use crate::decode::Init;
use crate::exec::compare::{exit_way, jump_way};
use crate::exec::form::Sum;
use crate::exec::gang::Way;
use crate::exec::mem::GLOBAL;
use crate::flow::{Class, Flow};
use crate::ir::{Code, Inst, Ir, Reg};
use crate::tools::Watch;

/// What is folded into what, by instruction.
pub struct Folds {
    gone: Vec<bool>,
    /// Of a load or store: what it adds to which scalar.
    sums: Vec<Option<(Sum, [Reg; 2])>>,
    /// Of a branch that does the comparison before it: what runs both.
    jumps: Vec<Option<Way>>,
    /// A multiply-add that adds to what the one before it has computed, which nothing else reads.
    chained: Vec<bool>,
}

/// Where a register is written and read.
#[derive(Clone, Default)]
struct Places {
    defs: Vec<usize>,
    /// Once for every field that reads it.
    uses: Vec<usize>,
}

struct Folder<'a> {
    ir: &'a Ir,
    flow: &'a Flow,
    pauses: &'a [bool],
    places: Vec<Places>,
    folds: Folds,
}

impl Folds {
    fn none(ir: &Ir) -> Folds {
        let n = ir.insts.len();
        Folds { gone: vec![false; n], sums: vec![None; n], jumps: vec![None; n], chained: vec![false; n] }
    }

    /// What tools want to see stays as it is. `pauses`: before these, a warp's lanes may be left for others of the warp.
    pub fn analyse(ir: &Ir, flow: &Flow, pauses: &[bool], watch: Watch) -> Folds {
        if watch == Watch::All {
            return Folds::none(ir);
        }
        let mut places = vec![Places::default(); ir.registers.len()];
        for (at, inst) in ir.insts.iter().enumerate() {
            inst.defs().for_each(|d| places[d as usize].defs.push(at));
            inst.uses().chain(inst.guard.map(|(p, _)| p)).for_each(|r| places[r as usize].uses.push(at));
        }
        let mut folder = Folder { ir, flow, pauses, places, folds: Folds::none(ir) };
        (0..ir.insts.len()).for_each(|at| folder.chain(at));
        if watch == Watch::Accesses {
            return folder.folds;
        }
        for at in 0..ir.insts.len() {
            folder.sum(at);
            folder.jump(at);
        }
        (0..ir.insts.len()).for_each(|at| folder.product(at));
        folder.folds
    }

    /// Another instruction does this one.
    pub fn gone(&self, at: usize) -> bool {
        self.gone[at]
    }

    /// What the load or store adds, and to which scalar: the scalar first.
    pub fn sum(&self, at: usize) -> Option<(Sum, [Reg; 2])> {
        self.sums[at]
    }

    /// What runs a branch and the comparison before it, if it does that too.
    pub fn jump(&self, at: usize) -> Option<Way> {
        self.jumps[at]
    }

    /// Whether the sum that a multiply-add adds to need not be stored: see [`runs`](crate::exec::runs).
    pub fn chained(&self, at: usize) -> bool {
        self.chained[at]
    }
}

impl Folder<'_> {
    fn inst(&self, at: usize) -> &Inst {
        &self.ir.insts[at]
    }

    /// The name of an instruction that runs for all lanes.
    fn name(&self, at: usize) -> &'static str {
        match self.inst(at).code {
            Code::Row(row) if self.inst(at).guard.is_none() => row.names[0],
            _ => "",
        }
    }

    fn is_scalar(&self, r: Reg) -> bool {
        matches!(self.flow.class(r), Class::Scalar(_))
    }

    /// Whether what is read at `from` is still there at `to`, and the lanes that come to one come to the other with
    /// nobody of the warp running in between: a scalar is there for those who write it, as long as they need it.
    fn kept(&self, registers: &[Reg], from: usize, to: usize) -> bool {
        from < to
            && self.flow.block_of[from] == self.flow.block_of[to]
            && !self.pauses[from + 1..=to].contains(&true)
            && (from..to).all(|at| {
                let inst = self.inst(at);
                !inst.waits() && inst.defs().all(|d| !registers.contains(&d))
            })
    }

    /// Folds a sum into the loads and stores whose address it is, if it is nothing else.
    fn sum(&mut self, at: usize) {
        let &Inst { s: [address, a, b, ..], .. } = self.inst(at);
        if self.name(at) != "add.u64" || ![address, a, b].iter().all(|&r| self.is_scalar(r)) {
            return;
        }
        let Places { defs, uses } = &self.places[address as usize];
        let takes = |&to: &usize| {
            let inst = self.inst(to);
            let (Code::Load(access) | Code::Store(access)) = inst.code else { return false };
            let even = match self.flow.class(address) {
                Class::Scalar(stride) => stride == 0 || stride as usize == access.bytes(),
                _ => false,
            };
            let plain = access.is_plain() && access.wide && access.space == GLOBAL;
            even && plain && inst.s[1] == address && inst.imm == 0 && self.kept(&[a, b], at, to)
        };
        if defs.len() > 1 || !uses.iter().all(takes) {
            return;
        }
        for to in uses.clone() {
            self.folds.sums[to] = Some((Sum::Offset, [a, b]));
        }
        self.folds.gone[at] = true;
    }

    /// Folds a product into the loads and stores that add it, if it is an index times their size and they alone read it.
    fn product(&mut self, at: usize) {
        if self.name(at) != "mul.wide.s32" {
            return;
        }
        let &Inst { s: [product, x, y, ..], .. } = self.inst(at);
        let constant = |r: Reg| match self.ir.registers[r as usize].init {
            Some(Init::Bits(bits)) => Some(bits as usize),
            _ => None,
        };
        let (index, size) = match (constant(x), constant(y)) {
            (_, Some(size)) => (x, size),
            (Some(size), _) => (y, size),
            _ => return,
        };
        let Places { defs, uses } = &self.places[product as usize];
        // The sums are gone already: what they are folded into reads the product in their place.
        if defs.len() > 1 || !self.is_scalar(index) || !uses.iter().all(|&sum| self.folds.gone[sum]) {
            return;
        }
        let mut accesses = Vec::new();
        for &sum in uses {
            let &Inst { s: [address, a, b, ..], .. } = self.inst(sum);
            let base = if a == product { b } else { a };
            accesses.extend(self.places[address as usize].uses.iter().map(|&to| (to, base)));
        }
        let takes = |&(to, base): &(usize, Reg)| match self.inst(to).code {
            Code::Load(access) | Code::Store(access) => {
                base != product && access.bytes() == size && self.kept(&[index], at, to)
            }
            _ => false,
        };
        if accesses.iter().all(takes) {
            for (to, base) in accesses {
                self.folds.sums[to] = Some((Sum::Index, [base, index]));
            }
            self.folds.gone[at] = true;
        }
    }

    /// Folds the comparison right before a branch into it, if that is all it is for.
    fn jump(&mut self, at: usize) {
        let inst = self.inst(at);
        let (Code::Branch, Some((p, negated)), Some(before)) = (inst.code, inst.guard, at.checked_sub(1)) else {
            return;
        };
        let compare = self.inst(before);
        let way = if self.ir.leaves(inst) { exit_way } else { jump_way };
        let Some(way) = way(self.name(before), negated) else { return };
        let Places { defs, uses } = &self.places[p as usize];
        let alone = compare.s[0] == p && defs.len() == 1 && uses.len() == 1;
        if alone && compare.uses().all(|r| self.is_scalar(r)) && self.kept(&[], before, at) {
            self.folds.jumps[at] = Some(way);
            self.folds.gone[before] = true;
        }
    }

    /// Finds a multiply-add whose sum goes to the next one alone.
    fn chain(&mut self, at: usize) {
        const FMA: &str = "fma.rn.f32";
        let Some(before) = at.checked_sub(1).filter(|&before| self.name(before) == FMA && self.name(at) == FMA) else {
            return;
        };
        let sum = self.inst(before).s[0];
        let Places { defs, uses } = &self.places[sum as usize];
        let alone = self.inst(at).s[3] == sum && defs.len() == 1 && uses.len() == 1;
        self.folds.chained[at] = alone && self.kept(&[], before, at);
    }
}
