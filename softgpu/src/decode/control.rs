//! Control flow: PTX ISA 9.0, 9.7.12, and what else says how a thread goes on.

use super::{Decoder, Result, unsupported};
use crate::ast::{Declared, Instruction, Operand};
use crate::exec::call;
use crate::ir::{Code, More};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form { names: &["bra[.uni]"], decode: branch },
    Form { names: &["brx.idx[.uni]"], decode: switch },
    Form { names: &["call[.uni]"], decode: |d, i, _| d.call(i) },
    Form { names: &["ret[.uni]"], decode: |d, i, _| d.leave(i) },
    Form { names: &["exit"], decode: |d, i, _| plain(d, i, Code::Exit) },
    Form {
        names: &["trap"],
        decode: |d, i, _| {
            d.emit_wide(i, &call::TRAPPED, More::default());
            Ok(())
        },
    },
    Form { names: &["brkpt", "pmevent[.mask]"], decode: |d, i, _| plain(d, i, Code::Nothing) },
    Form { names: &["nanosleep.u32"], decode: |d, i, _| plain(d, i, Code::Yield) },
    Form {
        names: &[
            "st.param[::func][.v2|.v4](.b8|.u8|.s8|.b16|.u16|.s16|.f16|.bf16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64)",
        ],
        decode: |d, i, parts| d.memory(i, &parts[1..], false),
    },
];

fn plain<'a>(d: &mut Decoder<'_, 'a>, i: &Instruction<'a>, code: Code) -> Result<()> {
    d.emit(i, code, [0; 5], 0);
    Ok(())
}

fn branch<'a>(d: &mut Decoder<'_, 'a>, i: &Instruction<'a>, _: &[&str]) -> Result<()> {
    let [Operand::Label(label)] = i.operands.as_slice() else { return unsupported(i, "these operands") };
    d.emit(i, Code::Branch, [0; 5], d.kernel.labels[*label].at as u32);
    Ok(())
}

/// `brx.idx i, table`.
fn switch<'a>(d: &mut Decoder<'_, 'a>, i: &Instruction<'a>, _: &[&str]) -> Result<()> {
    let [index, Operand::Declared(table)] = i.operands.as_slice() else { return unsupported(i, "these operands") };
    let Some(Declared::Branches(labels)) = d.kernel.declarations.get(*table).map(|d| &d.what) else {
        return unsupported(i, "a table that is no `.branchtargets`");
    };
    let i = &d.around(i);
    let imms = labels.iter().map(|&label| d.kernel.labels[label].at as i64).collect();
    let uses = vec![d.slot(i, index, Kind::W)?];
    d.emit_more(i, Code::Switch, More { uses, imms, ..More::default() });
    Ok(())
}
