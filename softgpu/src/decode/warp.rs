//! What lanes and warps do together: shuffles, votes, barriers. PTX ISA 9.0, 9.7.9.6 and 9.7.13.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::exec::warp;
use crate::ir::{BarrierMode, Code, More};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form { names: &["shfl.sync(.up|.down|.bfly|.idx).b32"], decode: |d, i, parts| d.shuffle(i, parts[2]) },
    Form { names: &["vote.sync(.any|.all).pred", "vote.sync.ballot.b32"], decode: |d, i, parts| d.vote(i, parts[2]) },
    Form { names: &["bar[.cta].sync", "barrier[.cta].sync[.aligned]"], decode: |d, i, _| d.barrier(i) },
    Form {
        names: &["bar.warp.sync"],
        decode: |d, i, _| {
            d.emit(i, Code::Nothing, [0; 5], 0);
            Ok(())
        },
    },
];

impl<'a> Decoder<'_, 'a> {
    fn shuffle(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, a, b, c, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = warp::shuffle_mode(mode) else { return unsupported(i, "this mode") };
        let (d, p) = match d {
            Operand::Pair(d, p) => (&**d, Some(&**p)),
            d => (d, None),
        };
        let mut s = [0; 5];
        for (at, operand) in [d, a, b, c, members].into_iter().enumerate() {
            s[at] = self.slot(i, operand, Kind::W)?;
        }
        let imm = p.map(|p| self.slot(i, p, Kind::P)).transpose()?.map_or(0, |slot| slot + 1);
        self.emit(i, Code::Shuffle(mode), s, imm);
        Ok(())
    }

    fn vote(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, p, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = warp::vote_mode(mode) else { return unsupported(i, "this mode") };
        let (p, negated) = match p {
            Operand::Not(p) => (&**p, 1),
            p => (p, 0),
        };
        let d = self.slot(i, d, if mode == "ballot" { Kind::W } else { Kind::P })?;
        let (p, members) = (self.slot(i, p, Kind::P)?, self.slot(i, members, Kind::W)?);
        self.emit(i, Code::Vote(mode), [d, p, members, 0, 0], negated);
        Ok(())
    }

    /// `bar.sync a[, b]`.
    fn barrier(&mut self, i: &Instruction<'a>) -> Result<()> {
        let all = Operand::Integer(0);
        let (number, count) = match i.operands.as_slice() {
            [number] => (number, &all),
            [number, count] => (number, count),
            _ => return unsupported(i, "these operands"),
        };
        let uses = vec![self.slot(i, number, Kind::W)?, self.slot(i, count, Kind::W)?];
        self.emit_more(i, Code::Barrier(BarrierMode::Sync), More { uses, ..More::default() });
        Ok(())
    }
}
