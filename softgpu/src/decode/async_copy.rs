//! Asynchronous copies and the barriers that they arrive at: PTX ISA 9.0, 9.7.9.25 and 9.7.13.15.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::exec::{async_copy, mbarrier};
use crate::ir::More;
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form {
        names: &["cp.async(.ca|.cg)(.shared|.shared::cta).global[.L2::cache_hint][.L2::64B|.L2::128B|.L2::256B]"],
        decode: |d, i, parts| d.async_copy(i, parts),
    },
    Form { names: &["cp.async(.commit_group|.wait_group|.wait_all)"], decode: |d, i, parts| d.async_wait(i, parts[2]) },
    Form {
        names: &["cp.async.mbarrier.arrive[.noinc][.shared|.shared::cta].b64"],
        decode: |d, i, parts| {
            let (address, []) = d.barrier_operands(i, &i.operands)?;
            let mut more = d.object(i, parts, address)?;
            more.imms.push(parts.contains(&"noinc") as i64);
            d.emit_wide(i, &async_copy::ARRIVE, more);
            Ok(())
        },
    },
    Form {
        names: &["mbarrier.init[.shared|.shared::cta].b64"],
        decode: |d, i, parts| {
            let (address, [count]) = d.barrier_operands(i, &i.operands)?;
            let mut more = d.object(i, parts, address)?;
            more.uses.push(d.narrowed(i, count, Kind::W)?);
            d.emit_wide(i, &mbarrier::INIT, more);
            Ok(())
        },
    },
    Form {
        names: &["mbarrier.inval[.shared|.shared::cta].b64"],
        decode: |d, i, parts| {
            let (address, []) = d.barrier_operands(i, &i.operands)?;
            let more = d.object(i, parts, address)?;
            d.emit_wide(i, &mbarrier::INVAL, more);
            Ok(())
        },
    },
    Form {
        names: &[
            "mbarrier(.arrive|.arrive_drop)[.expect_tx][.release.cta|.release.cluster|.relaxed.cta|.relaxed.cluster][.shared|.shared::cta|.shared::cluster].b64",
            "mbarrier(.arrive|.arrive_drop).noComplete[.release.cta][.shared|.shared::cta].b64",
        ],
        decode: |d, i, parts| d.arrival(i, parts),
    },
    Form {
        names: &[
            "mbarrier(.test_wait|.try_wait)[.parity][.acquire.cta|.acquire.cluster|.relaxed.cta|.relaxed.cluster][.shared|.shared::cta].b64",
        ],
        decode: |d, i, parts| d.test(i, parts),
    },
    Form {
        names: &[
            "mbarrier(.expect_tx|.complete_tx)[.relaxed.cta|.relaxed.cluster][.shared|.shared::cta|.shared::cluster].b64",
        ],
        decode: |d, i, parts| {
            let (address, [count]) = d.barrier_operands(i, &i.operands)?;
            let mut more = d.object(i, parts, address)?;
            more.uses.push(d.narrowed(i, count, Kind::W)?);
            more.imms.push((parts[1] == "complete_tx") as i64);
            d.emit_wide(i, &mbarrier::TRANSACT, more);
            Ok(())
        },
    },
    Form {
        names: &["mbarrier.pending_count.b64"],
        decode: |d, i, _| {
            let [count, state] = i.operands.as_slice() else { return unsupported(i, "these operands") };
            let (count, state) = (d.slot(i, count, Kind::W)?, d.slot(i, state, Kind::D)?);
            d.emit_wide(i, &mbarrier::PENDING, More { defs: vec![count], uses: vec![state], imms: vec![] });
            Ok(())
        },
    },
];

impl<'a> Decoder<'_, 'a> {
    /// `cp.async [to], [from], size[, bytes or ignored][, policy]`.
    fn async_copy(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let operands = match i.operands.as_slice() {
            [rest @ .., policy] if parts.contains(&"L2::cache_hint") => {
                self.slot(i, policy, Kind::D)?;
                rest
            }
            all => all,
        };
        let [to, from, Operand::Integer(size), rest @ ..] = operands else { return unsupported(i, "these operands") };
        let possible: &[i64] = if parts[2] == "cg" { &[16] } else { &[4, 8, 16] };
        if !possible.contains(size) {
            return unsupported(i, &format!("copies of {size} bytes"));
        }
        let (to, from) = (self.place(i, to, parts[3], true, true)?, self.place(i, from, "global", false, true)?);
        let mut more = More {
            defs: vec![],
            uses: vec![to.base, from.base],
            imms: vec![to.offset as i64, from.offset as i64, *size],
        };
        let mode = match rest {
            [] => 0,
            [Operand::Not(p)] => {
                more.uses.push(self.slot(i, p, Kind::P)?);
                async_copy::NOT_IGNORED
            }
            [p] if self.is_predicate(p) => {
                more.uses.push(self.slot(i, p, Kind::P)?);
                async_copy::IGNORED
            }
            [bytes] => {
                more.uses.push(self.narrowed(i, bytes, Kind::W)?);
                async_copy::SIZED
            }
            _ => return unsupported(i, "these operands"),
        };
        more.imms.push(mode);
        self.emit_wide(i, &async_copy::COPY, more);
        Ok(())
    }

    fn is_predicate(&self, operand: &Operand) -> bool {
        matches!(operand, Operand::Register(r) if self.kernel.registers[*r].0 == crate::ast::Class::Predicate)
    }

    fn async_wait(&mut self, i: &Instruction<'a>, what: &str) -> Result<()> {
        let (wide, imms) = match (what, i.operands.as_slice()) {
            ("commit_group", []) => (&async_copy::COMMIT, vec![]),
            ("wait_all", []) => (&async_copy::WAIT, vec![-1]),
            ("wait_group", [Operand::Integer(n)]) if *n >= 0 => (&async_copy::WAIT, vec![*n]),
            _ => return unsupported(i, "these operands"),
        };
        self.emit_wide(i, wide, More { imms, ..More::default() });
        Ok(())
    }

    /// An address and `N` operands more.
    fn barrier_operands<'i, const N: usize>(
        &self,
        i: &Instruction<'a>,
        operands: &'i [Operand<'a>],
    ) -> Result<(&'i Operand<'a>, &'i [Operand<'a>; N])> {
        let Some((address, rest)) = operands.split_first() else { return unsupported(i, "these operands") };
        match rest.try_into() {
            Ok(rest) => Ok((address, rest)),
            Err(_) => unsupported(i, &format!("{} operands", i.operands.len())),
        }
    }

    /// The address of an mbarrier object, and the constants that come first.
    fn object(&mut self, i: &Instruction<'a>, parts: &[&str], address: &Operand) -> Result<More> {
        let space = parts.iter().find(|part| part.starts_with("shared")).copied().unwrap_or("");
        let place = self.place(i, address, space, true, true)?;
        Ok(More { defs: vec![], uses: vec![place.base], imms: vec![place.offset as i64, place.space as i64] })
    }

    /// `mbarrier.arrive state, [a][, count]`; with `.expect_tx`, the third is the transactions.
    fn arrival(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let (state, address, third) = match i.operands.as_slice() {
            [address @ Operand::Address { .. }] => (None, address, None),
            [state, address] => (Some(state), address, None),
            [state, address, third] => (Some(state), address, Some(third)),
            _ => return unsupported(i, "these operands"),
        };
        let mut more = self.object(i, parts, address)?;
        let mut flags = 0;
        if let Some(state) = state.filter(|state| **state != Operand::Symbol("_")) {
            more.defs.push(self.slot(i, state, Kind::D)?);
            flags |= mbarrier::RETURNS;
        }
        let one = Operand::Integer(1);
        let expects = parts.contains(&"expect_tx");
        more.uses.push(self.narrowed(i, third.filter(|_| !expects).unwrap_or(&one), Kind::W)?);
        if expects {
            let Some(transactions) = third else { return unsupported(i, "these operands") };
            more.uses.push(self.narrowed(i, transactions, Kind::W)?);
            flags |= mbarrier::EXPECTS;
        }
        if parts[1] == "arrive_drop" {
            flags |= mbarrier::DROPS;
        }
        if parts.contains(&"noComplete") {
            flags |= mbarrier::NEVER_COMPLETES;
        }
        more.imms.push(flags);
        self.emit_wide(i, &mbarrier::ARRIVE, more);
        Ok(())
    }

    /// `mbarrier.test_wait p, [a], state` and `try_wait`, which may give up at any time and so need not wait at all.
    fn test(&mut self, i: &Instruction<'a>, parts: &[&str]) -> Result<()> {
        let (p, address, phase) = match i.operands.as_slice() {
            [p, address, phase] => (p, address, phase),
            [p, address, phase, _] if parts[1] == "try_wait" => (p, address, phase),
            _ => return unsupported(i, "these operands"),
        };
        let parity = parts.contains(&"parity");
        let mut more = self.object(i, parts, address)?;
        more.defs.push(self.slot(i, p, Kind::P)?);
        more.uses.push(if parity { self.narrowed(i, phase, Kind::W)? } else { self.slot(i, phase, Kind::D)? });
        more.imms.push(parity as i64);
        self.emit_wide(i, &mbarrier::TEST, more);
        Ok(())
    }
}
