//! Control flow, barriers, and what lanes do together: shuffles and votes.

use super::{BARRIER, DIVERGED, EXIT, Handler, LANES, Op, Warp, three_levels};

const TOGETHER: &str = "the lanes named in the member mask must reach the instruction together: is it inside a branch?";

/// `bra`: to `imm`; `c` = 0 always, 1 where predicate `a` holds, 2 where it does not.
#[inline(always)]
unsafe fn branch(w: &mut Warp, op: &Op, pc: u32) -> u32 {
    let taken = match op.c {
        0 => w.mask,
        // SAFETY: `a` is a predicate slot.
        c => w.mask & unsafe { *w.predicates.add(op.a as usize) } ^ if c == 2 { w.mask } else { 0 },
    };
    if taken == w.mask {
        op.imm
    } else if taken == 0 {
        pc + 1
    } else {
        w.taken = taken;
        DIVERGED
    }
}

#[inline(always)]
unsafe fn exit(_: &mut Warp, _: &Op, _: u32) -> u32 {
    EXIT
}

#[inline(always)]
unsafe fn barrier(_: &mut Warp, _: &Op, _: u32) -> u32 {
    BARRIER
}

#[inline(always)]
unsafe fn nothing(_: &mut Warp, _: &Op, pc: u32) -> u32 {
    pc + 1
}

pub fn branch_handlers() -> [Handler; 3] {
    three_levels!(branch)
}
pub fn exit_handlers() -> [Handler; 3] {
    three_levels!(exit)
}
pub fn barrier_handlers() -> [Handler; 3] {
    three_levels!(barrier)
}
pub fn nothing_handlers() -> [Handler; 3] {
    three_levels!(nothing)
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const BFLY: u8 = 2;
const IDX: u8 = 3;

/// `shfl.sync`: d = a from the lane that mode, b and the clamp c choose; predicate `imm` (0 = none, else slot + 1)
/// says whether that lane was in range. PTX ISA 9.0, 9.7.9.6.
#[inline(always)]
unsafe fn shuffle<const MODE: u8>(w: &mut Warp, op: &Op, pc: u32) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        let (a, b, c, members) = (w.get::<u32>(op.a), w.get::<u32>(op.b), w.get::<u32>(op.c), w.get::<u32>(op.e));
        let lane = w.mask.trailing_zeros();
        let members = members[lane as usize];
        if members & w.live & !w.mask != 0 || w.mask & !members != 0 {
            let what = format!("shfl.sync: member mask {members:#x}, executing lanes {:#x}", w.mask);
            return w.trap(what, TOGETHER, lane);
        }
        let (mut out, mut inside) = ([0; LANES], [false; LANES]);
        for i in 0..LANES as u32 {
            let (b, clamp, segment) = (b[i as usize] & 31, c[i as usize] & 31, c[i as usize] >> 8 & 31);
            let max = i & segment | clamp & !segment;
            let (from, ok) = match MODE {
                UP => (i.wrapping_sub(b), i as i32 - b as i32 >= max as i32),
                DOWN => (i + b, i + b <= max),
                BFLY => (i ^ b, i ^ b <= max),
                _ => {
                    let from = i & segment | b & !segment;
                    (from, from <= max)
                }
            };
            out[i as usize] = a[if ok { from & 31 } else { i } as usize];
            inside[i as usize] = ok;
        }
        w.put(op.d, &out);
        if op.imm != 0 {
            w.put(op.imm as u16 - 1, &inside);
        }
    }
    pc + 1
}

/// The handlers of `shfl.sync` by mode; `None` for an unknown mode.
pub fn shuffle_handlers(mode: &str) -> Option<[Handler; 3]> {
    Some(match mode {
        "up" => three_levels!(shuffle::<UP>),
        "down" => three_levels!(shuffle::<DOWN>),
        "bfly" => three_levels!(shuffle::<BFLY>),
        "idx" => three_levels!(shuffle::<IDX>),
        _ => return None,
    })
}

const ANY: u8 = 0;
const ALL: u8 = 1;
const BALLOT: u8 = 2;

/// `vote.sync`: over predicate `a` (negated if c = 1) and member mask `b`.
#[inline(always)]
unsafe fn vote<const MODE: u8>(w: &mut Warp, op: &Op, pc: u32) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        let lane = w.mask.trailing_zeros();
        let members = w.get::<u32>(op.b)[lane as usize];
        if members & w.live & !w.mask != 0 {
            let what = format!("vote.sync: member mask {members:#x}, executing lanes {:#x}", w.mask);
            return w.trap(what, TOGETHER, lane);
        }
        let p = *w.predicates.add(op.a as usize) ^ if op.c == 1 { u32::MAX } else { 0 };
        let votes = p & members & w.mask;
        match MODE {
            ANY => w.put(op.d, &[votes != 0; LANES]),
            ALL => w.put(op.d, &[votes == members & w.mask; LANES]),
            _ => w.put(op.d, &[votes; LANES]),
        }
    }
    pc + 1
}

pub fn vote_handlers(mode: &str) -> Option<[Handler; 3]> {
    Some(match mode {
        "any" => three_levels!(vote::<ANY>),
        "all" => three_levels!(vote::<ALL>),
        "ballot" => three_levels!(vote::<BALLOT>),
        _ => return None,
    })
}

/// `lop3.b32`: bit i of the result is bit (4a + 2b + c) of the table `imm`.
#[inline(always)]
unsafe fn lop3(w: &mut Warp, op: &Op, pc: u32) -> u32 {
    let table = op.imm;
    // SAFETY: the decoder has checked the slots.
    unsafe {
        super::alu3::<u32, u32, u32, u32>(w, op, |a, b, c| {
            let mut out = 0;
            for term in 0..8 {
                let pick = |bit: u32, x: u32| if term & bit != 0 { x } else { !x };
                let on = 0u32.wrapping_sub(table >> term & 1);
                out |= on & pick(4, a) & pick(2, b) & pick(1, c);
            }
            out
        });
    }
    pc + 1
}

/// `prmt.b32`, default mode: byte i is byte `c[4i..4i+2]` of b:a, or its sign if bit 3 is set.
#[inline(always)]
unsafe fn prmt(w: &mut Warp, op: &Op, pc: u32) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        super::alu3::<u32, u32, u32, u32>(w, op, |a, b, c| {
            let bytes = (b as u64) << 32 | a as u64;
            let mut out = 0;
            for i in 0..4 {
                let select = c >> (4 * i);
                let byte = (bytes >> (8 * (select & 7))) as u8;
                let byte = if select & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
                out |= (byte as u32) << (8 * i);
            }
            out
        });
    }
    pc + 1
}

pub fn lop3_handlers() -> [Handler; 3] {
    three_levels!(lop3)
}
pub fn prmt_handlers() -> [Handler; 3] {
    three_levels!(prmt)
}
