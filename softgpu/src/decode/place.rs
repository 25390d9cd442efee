//! What reports say of an instruction: where it stands.

use std::collections::HashMap;

use crate::ast::{Function, Instruction, Operand, Register};

#[derive(Clone)]
pub struct Place {
    pub line: u32,
    /// File and line of the `.cu` text.
    pub source: Option<(String, u32)>,
    /// Of code that was inlined: where the calls stand, innermost first.
    pub inlined: Vec<(String, u32)>,
    pub text: String,
    /// False for no PTX instruction, what a function starts with or ends with unsaid, and for those that
    /// [`is_copy`] names.
    pub counted: bool,
    /// A plain load whose value an `atom.cas` at the same address compares before anything comes of it.
    pub compared: bool,
}

/// Copies of registers, literals and parameters, and addresses in another space. Many are folded away when a kernel is
/// loaded, and a GPU's assembler does the same; so that counts do not hang on which, none is counted.
pub fn is_copy(opcode: &str) -> bool {
    let mut parts = opcode.split('.');
    match parts.next() {
        Some("mov" | "cvta") => true,
        Some("ld" | "st") => parts.any(|part| part == "param" || part.starts_with("param::")),
        _ => false,
    }
}

/// Which instructions of a function are loads that begin a loop around `atom.cas`: `old = *p; do { … atomicCAS(p, old, …) }`.
/// What such a load reads may be out of date, or torn: then the comparison fails, and the loop goes on with what is there.
pub fn compared(function: &Function) -> Vec<bool> {
    let is_swap = |i: &Instruction| i.head() == "atom" && i.opcode.split('.').any(|part| part == "cas");
    if !function.body.iter().any(is_swap) {
        return vec![false; function.body.len()];
    }
    let (mut group, sums) = (Groups::default(), sums(function));
    // `[p+8]`, or `[q]` where q is p + 8, as (p, 8).
    let place = |operand: &Operand| match operand {
        Operand::Address { base, offset } => match **base {
            Operand::Register(r) => {
                let (base, more) = sums.get(&r).copied().unwrap_or((r, 0));
                Some((base, offset.wrapping_add(more)))
            }
            _ => None,
        },
        _ => None,
    };
    for i in function.body.iter().filter(|i| i.head() == "mov") {
        if let [Operand::Register(to), Operand::Register(from)] = i.operands.as_slice() {
            group.join(*to, *from);
        }
    }
    let swaps: Vec<_> = function
        .body
        .iter()
        .filter(|i| is_swap(i))
        .filter_map(|i| match i.operands.as_slice() {
            [_, at, Operand::Register(compared), ..] => Some((place(at)?, group.of(*compared))),
            _ => None,
        })
        .collect();
    let is_compared = |operands: &[Operand]| match operands {
        [Operand::Register(to), at] => place(at).is_some_and(|at| swaps.contains(&(at, group.of(*to)))),
        _ => false,
    };
    function.body.iter().map(|i| i.head() == "ld" && is_compared(&i.operands)).collect()
}

/// Registers that are another one plus a number, and nothing else anywhere.
fn sums(function: &Function) -> HashMap<Register, (Register, i64)> {
    let (mut sums, mut writes) = (HashMap::new(), HashMap::<Register, u32>::new());
    for i in &function.body {
        if let Some(Operand::Register(to)) = i.operands.first() {
            *writes.entry(*to).or_default() += 1;
        }
        if let [Operand::Register(to), Operand::Register(from), Operand::Integer(more)] = i.operands.as_slice()
            && i.guard.is_none()
            && i.head() == "add"
        {
            sums.insert(*to, (*from, *more));
        }
    }
    sums.retain(|to, _| writes[to] == 1);
    sums
}

/// Registers that hold copies of one another, whatever the order of the code.
#[derive(Default)]
struct Groups(HashMap<Register, Register>);

impl Groups {
    fn of(&self, mut register: Register) -> Register {
        while let Some(&up) = self.0.get(&register) {
            register = up;
        }
        register
    }

    fn join(&mut self, a: Register, b: Register) {
        let (a, b) = (self.of(a), self.of(b));
        if a != b {
            self.0.insert(a, b);
        }
    }
}
