//! Atomic operations: PTX ISA 9.0, 9.7.13.8 and 9.7.13.9.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::exec::atomic;
use crate::ir::More;
use crate::isa::{Form, Kind};

/// In the orders that compilers write them: order, scope and space before the operation; the space first; the
/// operation first.
macro_rules! names {
    ($head:literal; $($op:literal $rest:literal)*) => { &[ $(
        concat!(
            $head, "[.relaxed|.acquire|.release|.acq_rel][.cta|.cluster|.gpu|.sys]",
            "[.global|.shared|.shared::cta|.shared::cluster]", $op, $rest
        ),
        concat!(
            $head, "(.global|.shared|.shared::cta|.shared::cluster)(.relaxed|.acquire|.release|.acq_rel)",
            "[.cta|.cluster|.gpu|.sys]", $op, $rest
        ),
        concat!(
            $head, "(.global|.shared|.shared::cta|.shared::cluster)(.cta|.cluster|.gpu|.sys)",
            "[.relaxed|.acquire|.release|.acq_rel]", $op, $rest
        ),
        concat!(
            $head, $op, "(.relaxed|.acquire|.release|.acq_rel)(.cta|.cluster|.gpu|.sys)",
            "[.global|.shared|.shared::cta|.shared::cluster]", $rest
        ),
    )* ] };
}

pub static FORMS: &[Form] = &[
    Form {
        names: names!("atom";
            ".add" "[.L2::cache_hint](.u32|.s32|.u64)"
            "(.min|.max)" "[.L2::cache_hint](.u32|.s32|.u64|.s64)"
            ".add" "[.L2::cache_hint](.f32|.f64)"
            ".add" ".noftz[.L2::cache_hint](.f16|.f16x2|.bf16|.bf16x2)"
            "(.inc|.dec)" "[.L2::cache_hint].u32"
            "(.and|.or|.xor)" "[.L2::cache_hint](.b32|.b64)"
            ".exch" "[.L2::cache_hint](.b32|.b64)"
            ".cas" "[.L2::cache_hint](.b16|.b32|.b64)"),
        decode: |d, i, parts| d.atomic(i, parts, true),
    },
    Form {
        names: names!("red";
            ".add" "[.L2::cache_hint](.u32|.s32|.u64)"
            "(.min|.max)" "[.L2::cache_hint](.u32|.s32|.u64|.s64)"
            ".add" "[.L2::cache_hint](.f32|.f64)"
            ".add" ".noftz[.L2::cache_hint](.f16|.f16x2|.bf16|.bf16x2)"
            "(.inc|.dec)" "[.L2::cache_hint].u32"
            "(.and|.or|.xor)" "[.L2::cache_hint](.b32|.b64)"),
        decode: |d, i, parts| d.atomic(i, parts, false),
    },
];

impl<'a> Decoder<'_, 'a> {
    /// `atom d, [a], b[, c][, policy]` and `red [a], b[, policy]`.
    fn atomic(&mut self, i: &Instruction<'a>, parts: &[&str], returns: bool) -> Result<()> {
        let (mut space, mut order, mut op, mut policy) = ("", atomic::RELAXED, "", false);
        let ty = parts[parts.len() - 1];
        for &part in &parts[1..parts.len() - 1] {
            match part {
                "acquire" => order = atomic::ACQUIRE,
                "release" => order = atomic::RELEASE,
                "acq_rel" => order = atomic::BOTH,
                "relaxed" | "noftz" | "cta" | "cluster" | "gpu" | "sys" => {}
                "L2::cache_hint" => policy = true,
                "global" | "shared" | "shared::cta" | "shared::cluster" => space = part,
                other => op = other,
            }
        }
        let Some(wides) = atomic::find(op, ty) else { return unsupported(i, "this operation on this type") };
        let (d, rest) = match i.operands.as_slice() {
            [d, rest @ ..] if returns => (Some(d).filter(|d| **d != Operand::Symbol("_")), rest),
            rest => (None, rest),
        };
        let Some((address, values)) = rest.split_first() else { return unsupported(i, "these operands") };
        let count = 1 + (op == "cas") as usize;
        if values.len() != count + policy as usize {
            return unsupported(i, &format!("{} operands", i.operands.len()));
        }
        // What such operations come to depends on the order of the blocks: see `launch`.
        let shared = space.starts_with("shared");
        self.serial |= !shared && (op == "cas" || op == "add" && ty.contains('f'));
        let place = self.place(i, address, space, true, true)?;
        let kind = if ty.ends_with("64") { Kind::D } else { Kind::W };
        let mut uses = vec![place.base];
        for value in &values[..count] {
            uses.push(self.narrowed(i, value, kind)?);
        }
        if let Some(policy) = values.get(count) {
            self.slot(i, policy, Kind::D)?;
        }
        let mut defs = Vec::new();
        if let Some(d) = d {
            defs.push(self.slot(i, d, kind)?);
        }
        let imms = vec![place.space as i64, place.offset as i64, order, defs.len() as i64];
        self.emit_wide(i, &wides[defs.is_empty() as usize], More { defs, uses, imms });
        Ok(())
    }
}
