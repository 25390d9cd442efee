//! Comparisons of scalars whose strides may differ: the bounds check of nearly every kernel, nearly always true, or false, in
//! all lanes. Alone, and with the branch or exit that they decide.

use super::alu::{cell, gather, put_mask};
use super::gang::{GANG, Gangs, SPLIT, Way, file};
use super::warp::leave;
use super::{DIVERGED, EXIT, LANES, NEXT, Op, SLOW, Warp, go_on, next, three_levels};

const LT: u8 = 0;
const LE: u8 = 1;
const GT: u8 = 2;
const GE: u8 = 3;
const EQ: u8 = 4;
const NE: u8 = 5;

#[inline(always)]
fn holds<const CMP: u8, const SIGNED: bool>(x: u32, y: u32) -> bool {
    let order = if SIGNED { (x as i32).cmp(&(y as i32)) } else { x.cmp(&y) };
    match CMP {
        LT => order.is_lt(),
        LE => order.is_le(),
        GT => order.is_gt(),
        GE => order.is_ge(),
        EQ => x == y,
        _ => x != y,
    }
}

/// Cell `a` + lane · stride `of_a` compared with cell `b` + lane · stride `of_b`, as 32-bit integers, if it comes out the
/// same in all lanes and two comparisons show it.
///
/// # Safety
/// `a` and `b` of `op` must be cells of words.
#[inline(always)]
unsafe fn agreed<const CMP: u8, const SIGNED: bool>(op: &Op, r: *mut u8, of_a: u32, of_b: u32) -> Option<bool> {
    // SAFETY: the caller's.
    let (a, b) = unsafe { (cell::<u32>(r, op.a), cell::<u32>(r, op.b)) };
    let first = holds::<CMP, SIGNED>(a, b);
    if of_a | of_b == 0 {
        return Some(first);
    }
    if CMP >= EQ {
        return None;
    }
    // Where no lane wraps, the difference grows evenly: what holds at both ends holds between.
    let last = |x: u32, by: u32| {
        let by = (by as i32).checked_mul(LANES as i32 - 1)?;
        if SIGNED { (x as i32).checked_add(by).map(|x| x as u32) } else { x.checked_add_signed(by) }
    };
    (holds::<CMP, SIGNED>(last(a, of_a)?, last(b, of_b)?) == first).then_some(first)
}

/// The same, lane by lane.
///
/// # Safety
/// As [`agreed`].
#[inline(never)]
unsafe fn lanes<const CMP: u8, const SIGNED: bool>(op: &Op, r: *mut u8, of_a: u32, of_b: u32) -> u32 {
    // SAFETY: the caller's.
    let (x, y) = unsafe { (cell::<u32>(r, op.a), cell::<u32>(r, op.b)) };
    let mut bytes = [0; LANES];
    for (i, byte) in bytes.iter_mut().enumerate() {
        let x = x.wrapping_add(of_a.wrapping_mul(i as u32));
        let y = y.wrapping_add(of_b.wrapping_mul(i as u32));
        *byte = holds::<CMP, SIGNED>(x, y) as u8;
    }
    gather(&bytes)
}

/// Predicate `d` = the comparison, with strides `imm` and `e`.
#[inline(always)]
unsafe fn compare<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the plan has chosen cells, and `d` is a predicate.
    unsafe {
        match agreed::<CMP, SIGNED>(op, r, op.imm, op.e) {
            Some(holds) => put_mask(w, r, op.d, 0u32.wrapping_sub(holds as u32)),
            None => return SLOW,
        }
    }
    NEXT
}

/// As [`compare`].
///
/// # Safety
/// Of a handler.
#[inline(never)]
unsafe fn compare_lanes<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: as in `compare`.
    unsafe {
        put_mask(w, r, (*op).d, lanes::<CMP, SIGNED>(&*op, r, (*op).imm, (*op).e));
        next(w, op, r)
    }
}

/// `bra` to `imm` where the comparison holds, with strides `c` and `d`. The pc after it is `e`.
#[inline(always)]
unsafe fn jump<const CMP: u8, const SIGNED: bool>(_: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the plan has chosen cells.
    match unsafe { agreed::<CMP, SIGNED>(op, r, op.c, op.d) } {
        Some(true) => op.imm,
        Some(false) => op.e,
        None => SLOW,
    }
}

/// As [`jump`].
///
/// # Safety
/// Of a handler.
#[inline(never)]
unsafe fn jump_lanes<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: as in `jump`.
    unsafe {
        let taken = w.mask & lanes::<CMP, SIGNED>(&*op, r, (*op).c, (*op).d);
        if taken == 0 {
            return (*op).e;
        }
        if taken == w.mask {
            return (*op).imm;
        }
        (w.taken, w.at) = (taken, op);
    }
    DIVERGED
}

/// `exit` where the comparison holds, with strides `c` and `d`: those lanes leave, the others go on.
#[inline(always)]
unsafe fn exit<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the plan has chosen cells.
    match unsafe { agreed::<CMP, SIGNED>(op, r, op.c, op.d) } {
        Some(true) => leave(w, w.mask),
        Some(false) => NEXT,
        None => SLOW,
    }
}

/// As [`exit`].
///
/// # Safety
/// Of a handler.
#[inline(never)]
unsafe fn exit_lanes<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: as in `exit`.
    unsafe {
        let leaving = w.mask & lanes::<CMP, SIGNED>(&*op, r, (*op).c, (*op).d);
        go_on(leave(w, leaving), w, op, r)
    }
}

/// What comes out in all lanes of all warps of a gang, if the bounds of both sides show it.
///
/// # Safety
/// As [`agreed`].
#[inline(always)]
unsafe fn agreed_gang<const CMP: u8, const SIGNED: bool>(w: &Warp, op: &Op, r: *mut u8) -> Option<bool> {
    let widened = |x: u32| if SIGNED { x as i32 as i64 } else { x as i64 };
    // The least and the greatest value of a side, if no lane wraps.
    let bounds = |at: u32, stride: u32| {
        // SAFETY: the caller's.
        let first = widened(unsafe { cell::<u32>(r, at) });
        let (mut low, mut high) = (first, first);
        for k in 1..GANG {
            // SAFETY: the caller's.
            let x = widened(unsafe { cell::<u32>(file(w, r, k), at) });
            (low, high) = (low.min(x), high.max(x));
        }
        let last = stride as i32 as i64 * (LANES as i64 - 1);
        let (low, high) = (low + last.min(0), high + last.max(0));
        let (least, most) = if SIGNED { (i32::MIN as i64, i32::MAX as i64) } else { (0, u32::MAX as i64) };
        (low >= least && high <= most).then_some((low, high))
    };
    let (a, b) = (bounds(op.a, op.c)?, bounds(op.b, op.d)?);
    let (always, never) = match CMP {
        LT => (a.1 < b.0, a.0 >= b.1),
        LE => (a.1 <= b.0, a.0 > b.1),
        GT => (a.0 > b.1, a.1 <= b.0),
        GE => (a.0 >= b.1, a.1 < b.0),
        _ => {
            let (same, apart) = (a.0 == a.1 && a == b, a.1 < b.0 || b.1 < a.0);
            if CMP == EQ { (same, apart) } else { (apart, same) }
        }
    };
    if always == never { None } else { Some(always) }
}

/// [`jump`] of a gang.
#[inline(always)]
unsafe fn jump_gang<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: as there.
    match unsafe { agreed_gang::<CMP, SIGNED>(w, op, r) } {
        Some(true) => op.imm,
        Some(false) => op.e,
        None => SPLIT,
    }
}

/// [`exit`] of a gang.
#[inline(always)]
unsafe fn exit_gang<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: as there.
    match unsafe { agreed_gang::<CMP, SIGNED>(w, op, r) } {
        Some(true) => EXIT,
        Some(false) => NEXT,
        None => SPLIT,
    }
}

/// [`compare`] of a gang.
#[inline(always)]
unsafe fn compare_gang<const CMP: u8, const SIGNED: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    for k in 0..GANG {
        // SAFETY: as there.
        unsafe {
            let r = file(w, r, k);
            let bits = match agreed::<CMP, SIGNED>(op, r, op.imm, op.e) {
                Some(holds) => 0u32.wrapping_sub(holds as u32),
                None => lanes::<CMP, SIGNED>(op, r, op.imm, op.e),
            };
            put_mask(w, r, op.d, bits);
        }
    }
    NEXT
}

/// What runs a comparison, by its name in the table.
macro_rules! by_name {
    (@way $body:ident, $slow:ident, $gang:ident, $cmp:ident, $signed:literal) => {
        Way {
            alone: three_levels!(slow [$slow::<$cmp, $signed>] $body::<$cmp, $signed>),
            gang: Gangs::Own(three_levels!($gang::<$cmp, $signed>)),
        }
    };
    ($name:expr, $body:ident, $slow:ident, $gang:ident) => {
        Some(match $name {
            "setp.lt.s32" => by_name!(@way $body, $slow, $gang, LT, true),
            "setp.le.s32" => by_name!(@way $body, $slow, $gang, LE, true),
            "setp.gt.s32" => by_name!(@way $body, $slow, $gang, GT, true),
            "setp.ge.s32" => by_name!(@way $body, $slow, $gang, GE, true),
            "setp.lt.u32" => by_name!(@way $body, $slow, $gang, LT, false),
            "setp.le.u32" => by_name!(@way $body, $slow, $gang, LE, false),
            "setp.gt.u32" => by_name!(@way $body, $slow, $gang, GT, false),
            "setp.ge.u32" => by_name!(@way $body, $slow, $gang, GE, false),
            "setp.eq.u32" => by_name!(@way $body, $slow, $gang, EQ, false),
            "setp.ne.u32" => by_name!(@way $body, $slow, $gang, NE, false),
            _ => return None,
        })
    };
}

/// What runs a comparison of scalars, by its name in the table.
pub fn compare_way(name: &str) -> Option<Way> {
    by_name!(name, compare, compare_lanes, compare_gang)
}

/// A comparison and the branch that is taken where it holds, or (`negated`) where it does not.
pub fn jump_way(name: &str, negated: bool) -> Option<Way> {
    by_name!(if negated { opposite(name)? } else { name }, jump, jump_lanes, jump_gang)
}

/// As [`jump_way`], where the branch leads out of the kernel.
pub fn exit_way(name: &str, negated: bool) -> Option<Way> {
    by_name!(if negated { opposite(name)? } else { name }, exit, exit_lanes, exit_gang)
}

/// The comparison that holds where this one does not.
fn opposite(name: &str) -> Option<&'static str> {
    const PAIRS: [[&str; 2]; 5] = [
        ["setp.lt.s32", "setp.ge.s32"],
        ["setp.le.s32", "setp.gt.s32"],
        ["setp.lt.u32", "setp.ge.u32"],
        ["setp.le.u32", "setp.gt.u32"],
        ["setp.eq.u32", "setp.ne.u32"],
    ];
    let other = |pair: [&'static str; 2]| match pair {
        [one, other] if one == name => Some(other),
        [other, one] if one == name => Some(other),
        _ => None,
    };
    PAIRS.into_iter().find_map(other)
}
