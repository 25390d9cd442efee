//! What lanes and warps do together: shuffles, votes, reductions, barriers. PTX ISA 9.0, 9.7.9.6 and 9.7.13.

use super::{Decoder, Result, unsupported};
use crate::ast::{Instruction, Operand};
use crate::exec::{Wide, collective, warp};
use crate::ir::{BarrierMode, Code, More, Reg};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form { names: &["shfl.sync(.up|.down|.bfly|.idx).b32"], decode: |d, i, parts| d.shuffle(i, parts[2]) },
    Form {
        names: &["vote.sync(.any|.all|.uni).pred", "vote.sync.ballot.b32"],
        decode: |d, i, parts| d.vote(i, parts[2]),
    },
    Form {
        names: &["match.any.sync(.b32|.b64)", "match.all.sync(.b32|.b64)"],
        decode: |d, i, parts| d.compare_lanes(i, parts[1] == "all", parts[3] == "b64"),
    },
    Form {
        names: &["redux.sync.add(.u32|.s32)", "redux.sync(.min|.max)(.u32|.s32)", "redux.sync(.and|.or|.xor).b32"],
        decode: |d, i, parts| match collective::reduction(parts[2], parts[3]) {
            Some(wide) => d.words(i, wide, 1),
            None => unsupported(i, "this reduction"),
        },
    },
    Form { names: &["activemask.b32"], decode: |d, i, _| d.words(i, &collective::ACTIVE_MASK, 1) },
    Form { names: &["fns.b32"], decode: |d, i, _| d.words(i, &collective::FIND_NTH_SET, 1) },
    Form { names: &["elect.sync"], decode: |d, i, _| d.elect(i) },
    Form { names: &["bar.warp.sync"], decode: |d, i, _| d.words(i, &collective::WARP_BARRIER, 0) },
    Form {
        names: &["bar[.cta](.sync|.arrive)", "barrier[.cta](.sync|.arrive)[.aligned]"],
        decode: |d, i, parts| {
            let mode = if parts.contains(&"arrive") { BarrierMode::Arrive } else { BarrierMode::Sync };
            d.barrier(i, mode)
        },
    },
    Form {
        names: &[
            "bar[.cta].red(.and|.or).pred",
            "bar[.cta].red.popc.u32",
            "barrier[.cta].red(.and|.or)[.aligned].pred",
            "barrier[.cta].red.popc[.aligned].u32",
        ],
        decode: |d, i, parts| {
            let mode = match parts {
                parts if parts.contains(&"and") => BarrierMode::And,
                parts if parts.contains(&"or") => BarrierMode::Or,
                _ => BarrierMode::Popc,
            };
            d.barrier(i, mode)
        },
    },
    // Launches follow each other here: what this one depends on has ended.
    Form {
        names: &["griddepcontrol(.wait|.launch_dependents)"],
        decode: |d, i, _| {
            d.emit(i, Code::Nothing, [0; 5], 0);
            Ok(())
        },
    },
];

/// Why an instruction that is not in the table never will be.
pub fn refused(opcode: &str) -> Option<&'static str> {
    const TEXTURES: &str = "softgpu has no textures; read the data through a pointer";
    const SURFACES: &str = "softgpu has no surfaces; read and write the data through a pointer";
    const REFUSED: [(&str, &str); 15] = [
        ("shfl.sync", ""),
        ("vote.sync", ""),
        ("shfl", "without `.sync` it names no members and GPUs since sm_70 do not have it; use `shfl.sync`"),
        ("vote", "without `.sync` it names no members and GPUs since sm_70 do not have it; use `vote.sync`"),
        ("barrier.cluster", "clusters of blocks need sm_90, and softgpu has none; compile for sm_80"),
        ("tex", TEXTURES),
        ("tld4", TEXTURES),
        ("txq", TEXTURES),
        ("suld", SURFACES),
        ("sust", SURFACES),
        ("sured", SURFACES),
        ("suq", SURFACES),
        ("setmaxnreg", "it is for warp groups of sm_90a, which softgpu has none of; compile for sm_80"),
        ("wgmma", "warp groups and their descriptors need sm_90a, and softgpu has none; compile for sm_80"),
        ("tcgen05", "tensor memory needs sm_100a, and softgpu has none; compile for sm_80"),
    ];
    let begins = |word: &str| opcode.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    REFUSED.into_iter().find(|(word, _)| begins(word)).map(|(_, why)| why).filter(|why| !why.is_empty())
}

/// `d|p`, or `d` alone.
fn pair<'o, 'a>(operand: &'o Operand<'a>) -> (&'o Operand<'a>, Option<&'o Operand<'a>>) {
    match operand {
        Operand::Pair(d, p) => (d, Some(p)),
        d => (d, None),
    }
}

/// A predicate, and whether it is negated.
fn negation<'o, 'a>(operand: &'o Operand<'a>) -> (&'o Operand<'a>, bool) {
    match operand {
        Operand::Not(p) => (p, true),
        p => (p, false),
    }
}

impl<'a> Decoder<'_, 'a> {
    fn shuffle(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, a, b, c, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = warp::shuffle_mode(mode) else { return unsupported(i, "this mode") };
        let (d, p) = pair(d);
        let mut s = [self.destination(i, d, Kind::W)?, 0, 0, 0, 0];
        for (at, operand) in [a, b, c, members].into_iter().enumerate() {
            s[at + 1] = self.slot(i, operand, Kind::W)?;
        }
        let imm = p.map(|p| self.destination(i, p, Kind::P)).transpose()?.map_or(0, |slot| slot + 1);
        self.emit(i, Code::Shuffle(mode), s, imm);
        Ok(())
    }

    fn vote(&mut self, i: &Instruction, mode: &str) -> Result<()> {
        let [d, p, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let Some(mode) = collective::vote_mode(mode) else { return unsupported(i, "this mode") };
        let (p, negated) = negation(p);
        let d = self.destination(i, d, if mode == "ballot" { Kind::W } else { Kind::P })?;
        let (p, members) = (self.slot(i, p, Kind::P)?, self.slot(i, members, Kind::W)?);
        self.emit(i, Code::Vote(mode), [d, p, members, 0, 0], negated as u32);
        Ok(())
    }

    /// A wide instruction whose operands are all words, the first `results` of them written.
    fn words(&mut self, i: &Instruction, wide: &'static Wide, results: usize) -> Result<()> {
        let takes = match wide.name {
            "fns" => 4,
            "activemask" | "bar.warp.sync" => 1,
            _ => 3,
        };
        if i.operands.len() != takes {
            return unsupported(i, &format!("{} operands (it takes {takes})", i.operands.len()));
        }
        let (defs, uses) = i.operands.split_at(results);
        let defs = defs.iter().map(|o| self.destination(i, o, Kind::W)).collect::<Result<Vec<Reg>>>()?;
        let uses = uses.iter().map(|o| self.slot(i, o, Kind::W)).collect::<Result<Vec<Reg>>>()?;
        self.emit_wide(i, wide, More { defs, uses, imms: vec![] });
        Ok(())
    }

    /// `match.any.sync d, a, members` and `match.all.sync d[|p], a, members`.
    fn compare_lanes(&mut self, i: &Instruction, all: bool, wide: bool) -> Result<()> {
        let [d, a, members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let (d, p) = pair(d);
        let mut defs = vec![self.destination(i, d, Kind::W)?];
        match p {
            Some(p) if all => defs.push(self.destination(i, p, Kind::P)?),
            None if all => defs.push(self.new_slot(Kind::P)),
            None => {}
            Some(_) => return unsupported(i, "a predicate result"),
        }
        let kind = if wide { Kind::D } else { Kind::W };
        let uses = vec![self.slot(i, a, kind)?, self.slot(i, members, Kind::W)?];
        self.emit_wide(i, collective::matching(all, wide), More { defs, uses, imms: vec![] });
        Ok(())
    }

    /// `elect.sync d|p, members`.
    fn elect(&mut self, i: &Instruction) -> Result<()> {
        let [Operand::Pair(d, p), members] = i.operands.as_slice() else { return unsupported(i, "these operands") };
        let defs = vec![self.destination(i, d, Kind::W)?, self.destination(i, p, Kind::P)?];
        let uses = vec![self.slot(i, members, Kind::W)?];
        self.emit_wide(i, &collective::ELECT, More { defs, uses, imms: vec![] });
        Ok(())
    }

    /// `bar.sync a[, b]`, `bar.arrive a, b`, `bar.red d, a[, b], [!]p`.
    fn barrier(&mut self, i: &Instruction<'a>, mode: BarrierMode) -> Result<()> {
        let (defs, p, rest) = match (mode.results(), i.operands.as_slice()) {
            (0, rest) => (vec![], None, rest),
            (_, [d, rest @ .., p]) => {
                let kind = if mode == BarrierMode::Popc { Kind::W } else { Kind::P };
                (vec![self.destination(i, d, kind)?], Some(negation(p)), rest)
            }
            _ => return unsupported(i, "these operands"),
        };
        let all = Operand::Integer(0);
        let (number, count) = match rest {
            [number] if mode != BarrierMode::Arrive => (number, &all),
            [number, count] => (number, count),
            _ => return unsupported(i, "these operands"),
        };
        let mut uses = vec![self.slot(i, number, Kind::W)?, self.slot(i, count, Kind::W)?];
        let mut imms = vec![];
        if let Some((p, negated)) = p {
            uses.push(self.slot(i, p, Kind::P)?);
            imms.push(negated as i64);
        }
        self.emit_more(i, Code::Barrier(mode), More { defs, uses, imms });
        Ok(())
    }
}
