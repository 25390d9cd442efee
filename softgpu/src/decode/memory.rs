//! Loads, stores and addresses: PTX ISA 9.0, 9.7.9.

use super::{Decoder, Result, unsupported};
use crate::ast::{Class, Instruction, Operand};
use crate::exec::mem;
use crate::ir::{Access, Code};
use crate::isa::{self, Form, Kind};
use crate::memory::{LOCAL_WINDOW, SHARED_WINDOW};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "ld[.volatile][.global|.shared|.local][.ca|.cg|.cs][.nc][.L1::no_allocate][.v2|.v4](.b8|.u8|.s8|.b16|.u16|.s16|.f16|.bf16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64)",
        ],
        decode: |d, i, parts| d.memory(i, &parts[1..], true),
    },
    Form {
        names: &[
            "st[.volatile][.global|.shared|.local][.wb|.cg|.cs|.wt][.L1::no_allocate][.v2|.v4](.b8|.u8|.s8|.b16|.u16|.s16|.f16|.bf16|.b32|.u32|.s32|.f32|.b64|.u64|.s64|.f64)",
        ],
        decode: |d, i, parts| d.memory(i, &parts[1..], false),
    },
    Form { names: &["cvta[.to](.global|.shared|.local).u64"], decode: |d, i, parts| d.convert_address(i, parts) },
    Form {
        names: &["membar(.cta|.gl|.sys)", "fence[.sc|.acq_rel](.cta|.gpu|.sys)"],
        decode: |d, i, _| {
            d.emit(i, Code::Nothing, [0; 5], 0);
            Ok(())
        },
    },
];

impl<'a> Decoder<'_, 'a> {
    /// `ld` and `st`: `[.volatile|.relaxed.scope] .space [.cache…] [.v2|.v4] .type`.
    fn memory(&mut self, i: &Instruction, parts: &[&str], load: bool) -> Result<()> {
        let (mut space, mut v, mut strong) = (mem::GENERIC, 1, false);
        let Some((ty, modifiers)) = parts.split_last() else { return unsupported(i, "an access without a type") };
        for part in modifiers {
            match *part {
                "global" => space = mem::GLOBAL,
                "shared" => space = mem::SHARED,
                "local" => space = mem::LOCAL,
                "v2" => v = 2,
                "v4" => v = 4,
                "volatile" => strong = true,
                "nc" | "ca" | "cg" | "cs" | "wt" | "wb" | "L1::no_allocate" => {}
                other => return unsupported(i, &format!("`.{other}`")),
            }
        }
        let (value, address) = match i.operands.as_slice() {
            [value, address] if load => (value, address),
            [address, value] => (value, address),
            _ => return unsupported(i, "these operands"),
        };
        let Operand::Address { base, offset } = address else { return unsupported(i, "this address") };
        let wide = match &**base {
            Operand::Register(r) => self.kernel.registers[*r].0 == Class::Double,
            _ => true,
        };
        if !wide && space != mem::SHARED {
            return unsupported(i, "a 32-bit address outside shared memory");
        }
        let values: Vec<&Operand> = match value {
            Operand::Vector(parts) => parts.iter().collect(),
            one => vec![one],
        };
        let Some(ty) = mem::known(ty, v).filter(|_| values.len() == v) else {
            return unsupported(i, "this access");
        };
        let (mut s, mut widened) = ([0; 4], Vec::new());
        for (at, value) in values.into_iter().enumerate() {
            let is_double = matches!(value, Operand::Register(r) if self.kernel.registers[*r].0 == Class::Double);
            if load && is_double && mem::kind_of(ty) == Kind::W {
                // A register may be wider than the value: PTX ISA 9.0, 9.4.1. Loaded beside it, then extended.
                s[at] = self.new_slot(Kind::W);
                widened.push((self.slot(i, value, Kind::D)?, s[at]));
            } else {
                s[at] = self.slot(i, value, mem::kind_of(ty))?;
            }
        }
        let a = self.slot(i, base, if wide { Kind::D } else { Kind::W })?;
        let Ok(offset) = i32::try_from(*offset) else { return unsupported(i, "an offset beyond 31 bits") };
        let access = Access { ty, v, space, wide, strong };
        let code = if load { Code::Load(access) } else { Code::Store(access) };
        self.emit(i, code, [s[0], a, s[1], s[2], s[3]], offset as u32);
        let extend = if ty.starts_with('s') { "cvt.s64.s32" } else { "cvt.u64.u32" };
        for (wide, narrow) in widened {
            let Some(row) = isa::row(extend) else { return unsupported(i, extend) };
            self.emit(i, Code::Row(row), [wide, narrow, 0, 0, 0], 0);
        }
        Ok(())
    }

    fn convert_address(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let to = parts[1] == "to";
        let window = match parts[1 + to as usize] {
            "global" => 0,
            "shared" => SHARED_WINDOW,
            "local" => LOCAL_WINDOW,
            other => return unsupported(i, &format!("the space `{other}`")),
        };
        let window = Operand::Integer(window as i64);
        let name = if to { "sub.u64" } else { "add.u64" };
        let [d, a] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        self.row(i, name, &[d, a, &window])
    }
}
