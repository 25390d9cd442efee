//! Control flow: PTX ISA 9.0, 9.7.12.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::ir::Code;
use crate::isa::Form;

pub static FORMS: &[Form] = &[
    Form { names: &["bra[.uni]"], decode: branch },
    Form {
        names: &["ret[.uni]", "exit"],
        decode: |d, i, _| {
            d.emit(i, Code::Exit, [0; 5], 0);
            Ok(())
        },
    },
];

fn branch<'a>(d: &mut Decoder<'_, 'a>, i: &Instruction<'a>, _: &[&str]) -> Result<()> {
    let [Operand::Label(label)] = i.operands.as_slice() else { return unsupported(i, "these operands") };
    d.emit(i, Code::Branch, [0; 5], d.kernel.labels[*label].at as u32);
    Ok(())
}
