//! What the lanes of a warp do together beside shuffles: `vote match redux elect activemask bar.warp.sync`, and `fns`.
//! PTX ISA 9.0, 9.7.13.

use super::alu::{Source, put, put_mask};
use super::{Handler, LANES, List, NEXT, Op, WAIT, Warp, Wide, WideFn, three_levels};

const TOGETHER: &str = "the lanes named in the member mask must reach the instruction together: is it inside a branch?";
const OUTSIDE: &str = "a lane that executes the instruction must name itself in the member mask";
const AGREE: &str = "all lanes named in a member mask must give the same mask";

/// The executing lanes, parted by the member masks that they give: each item is one set of lanes that work together.
pub struct Teams {
    masks: [u32; LANES],
    left: u32,
}

impl Iterator for Teams {
    type Item = u32;

    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        let team = self.masks[self.left.trailing_zeros() as usize & 31] & self.left;
        self.left &= !team;
        Some(team)
    }
}

/// Who works with whom, by the member masks at `at`. Lanes with different masks may execute one instruction, as those of
/// the tiles of cooperative groups do. An event: members are missing, or a lane is not in its own mask.
///
/// # Safety
/// `at` must be a word register.
#[inline(always)]
pub unsafe fn teams(w: &mut Warp, r: *mut u8, at: u32, name: &str) -> Result<Teams, u32> {
    // SAFETY: the caller's.
    unsafe {
        let masks = Source::<u32>::all(r, at);
        let first = masks[w.mask.trailing_zeros() as usize & 31];
        let mut different = 0;
        for mask in masks {
            different |= mask ^ first;
        }
        if different == 0 && first & w.live == w.mask {
            return Ok(Teams { masks, left: w.mask });
        }
        parted(w, masks, name)
    }
}

/// As [`teams`], where the masks differ or members are missing.
#[cold]
#[inline(never)]
fn parted(w: &mut Warp, masks: [u32; LANES], name: &str) -> Result<Teams, u32> {
    let mut left = w.mask;
    while left != 0 {
        let lane = left.trailing_zeros();
        let mask = masks[lane as usize & 31];
        let same = (0..LANES).fold(0, |set, i| set | ((masks[i] == mask) as u32) << i);
        let others = mask & w.mask & !same;
        let said = || format!("{name}: member mask {mask:#x}, executing lanes {:#x}", w.mask);
        if mask >> lane & 1 == 0 {
            let what = said();
            return Err(w.trap_of("synccheck", what, OUTSIDE, lane));
        }
        if mask & w.live & !w.mask != 0 {
            let what = said();
            return Err(w.wait(what, TOGETHER));
        }
        if others != 0 {
            let other = others.trailing_zeros();
            let what = format!("{}, lane {other} says {:#x}", said(), masks[other as usize & 31]);
            return Err(w.trap_of("synccheck", what, AGREE, lane));
        }
        left &= !mask;
    }
    Ok(Teams { masks, left: w.mask })
}

const ANY: u8 = 0;
const ALL: u8 = 1;
const UNI: u8 = 2;
const BALLOT: u8 = 3;

/// `vote.sync`: over predicate `a` (negated if `imm` = 1) and member mask `b`.
#[inline(always)]
unsafe fn vote<const MODE: u8>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        let teams = match teams(w, r, op.b, "vote.sync") {
            Ok(teams) => teams,
            Err(event) => return event,
        };
        let p = *(r.add(op.a as usize) as *const u32) ^ if op.imm == 1 { u32::MAX } else { 0 };
        let (mut bits, mut ballots) = (0, [0; LANES]);
        for team in teams {
            let votes = p & team;
            let holds = match MODE {
                ANY => votes != 0,
                ALL => votes == team,
                UNI => votes == team || votes == 0,
                _ => {
                    for (i, ballot) in ballots.iter_mut().enumerate() {
                        *ballot |= votes & 0u32.wrapping_sub(team >> i & 1);
                    }
                    false
                }
            };
            bits |= if holds { team } else { 0 };
        }
        match MODE {
            BALLOT => put(w, r, op.d, &ballots),
            // Lanes that have exited too: a predicate that is the same for all may be read in any lane.
            _ => put_mask(w, r, op.d, if bits == w.mask { u32::MAX } else { bits }),
        }
    }
    NEXT
}

/// The modes of `vote.sync`.
pub fn vote_mode(mode: &str) -> Option<&'static str> {
    ["any", "all", "uni", "ballot"].into_iter().find(|m| *m == mode)
}
pub fn vote_handlers(mode: &str) -> [Handler; 3] {
    match mode {
        "any" => three_levels!(vote::<ANY>),
        "all" => three_levels!(vote::<ALL>),
        "uni" => three_levels!(vote::<UNI>),
        _ => three_levels!(vote::<BALLOT>),
    }
}

/// A wide instruction of lanes that wait for each other, the same for all levels.
const fn together(name: &'static str, run: WideFn) -> Wide {
    Wide { name, run: [run; 3], waits: true, strong: false }
}
/// One that no lane waits in.
const fn alone(name: &'static str, run: WideFn) -> Wide {
    Wide { name, run: [run; 3], waits: false, strong: false }
}

macro_rules! teams {
    ($w:ident, $r:ident, $at:expr, $name:literal) => {
        match teams($w, $r, $at, $name) {
            Ok(teams) => teams,
            Err(event) => return event,
        }
    };
}

/// Lanes of a set, lowest first.
fn lanes(set: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |i| set >> i & 1 == 1)
}

/// The compared values of `match`: words or doubles.
///
/// # Safety
/// `at` must be a register of that width.
unsafe fn values<const WIDE: bool>(r: *mut u8, at: u32) -> [u64; LANES] {
    // SAFETY: the caller's.
    unsafe { if WIDE { Source::<u64>::all(r, at) } else { Source::<u32>::all(r, at).map(u64::from) } }
}

/// `match.any.sync d, a, members`: the members with the same value. 9.7.13.10.
unsafe fn match_any<const WIDE: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [d, a, members] = [0, 1, 2].map(|k| list.regs[k]);
    // SAFETY: the decoder has given the operands registers of these kinds.
    unsafe {
        let a = values::<WIDE>(r, a);
        let mut out = [0; LANES];
        for team in teams!(w, r, members, "match.any.sync") {
            for i in lanes(team) {
                out[i] = lanes(team).filter(|&j| a[j] == a[i]).fold(0, |set, j| set | 1 << j);
            }
        }
        put::<u32>(w, r, d, &out);
    }
    NEXT
}

/// `match.all.sync d|p, a, members`: all members and true if they have one value, else 0 and false.
unsafe fn match_all<const WIDE: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [d, p, a, members] = [0, 1, 2, 3].map(|k| list.regs[k]);
    // SAFETY: as above.
    unsafe {
        let a = values::<WIDE>(r, a);
        let (mut out, mut bits) = ([0; LANES], 0);
        for team in teams!(w, r, members, "match.all.sync") {
            let first = a[team.trailing_zeros() as usize & 31];
            if lanes(team).all(|i| a[i] == first) {
                lanes(team).for_each(|i| out[i] = team);
                bits |= team;
            }
        }
        put::<u32>(w, r, d, &out);
        put_mask(w, r, p, bits);
    }
    NEXT
}

const ADD: u8 = 0;
const MIN: u8 = 1;
const MAX: u8 = 2;
const MIN_SIGNED: u8 = 3;
const MAX_SIGNED: u8 = 4;
const AND: u8 = 5;
const OR: u8 = 6;
const XOR: u8 = 7;

/// `redux.sync d, a, members`. 9.7.13.11.
unsafe fn redux<const OP: u8>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [d, a, members] = [0, 1, 2].map(|k| list.regs[k]);
    // SAFETY: as above.
    unsafe {
        let a = Source::<u32>::all(r, a);
        let mut out = [0; LANES];
        for team in teams!(w, r, members, "redux.sync") {
            let all = lanes(team).map(|i| a[i]).reduce(|x, y| match OP {
                ADD => x.wrapping_add(y),
                MIN => x.min(y),
                MAX => x.max(y),
                MIN_SIGNED => (x as i32).min(y as i32) as u32,
                MAX_SIGNED => (x as i32).max(y as i32) as u32,
                AND => x & y,
                OR => x | y,
                _ => x ^ y,
            });
            lanes(team).for_each(|i| out[i] = all.unwrap_or(0));
        }
        put::<u32>(w, r, d, &out);
    }
    NEXT
}

/// `activemask.b32 d`: the lanes that execute now. 9.7.13.9.
unsafe fn active_mask(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: as above.
    unsafe { put::<u32>(w, r, list.regs[0], &[w.mask; LANES]) };
    NEXT
}

/// `elect.sync d|p, members`: the lowest member leads (the ISA leaves the choice open). 9.7.13.15.
unsafe fn elect(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [d, p, members] = [0, 1, 2].map(|k| list.regs[k]);
    // SAFETY: as above.
    unsafe {
        let (mut out, mut bits) = ([0; LANES], 0);
        for team in teams!(w, r, members, "elect.sync") {
            lanes(team).for_each(|i| out[i] = team.trailing_zeros());
            bits |= team & team.wrapping_neg();
        }
        put::<u32>(w, r, d, &out);
        put_mask(w, r, p, bits);
    }
    NEXT
}

/// `bar.warp.sync members`. The members may be at other instructions of this kind, which only the scheduler sees. Memory
/// needs nothing: what a lane has stored, all others see.
unsafe fn warp_barrier(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: as above.
    unsafe {
        let Err(event) = teams(w, r, list.regs[0], "bar.warp.sync") else { return NEXT };
        let masks = Source::<u32>::all(r, list.regs[0]);
        let first = masks[w.mask.trailing_zeros() as usize & 31];
        if event == WAIT && lanes(w.mask).all(|i| masks[i] == first) {
            w.meets = first;
        }
        event
    }
}

/// `fns.b32 d, mask, base, offset`: the bit that is the offset-th set one from bit `base`, upwards or downwards. 9.7.1.
unsafe fn find_nth_set(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [d, mask, base, offset] = [0, 1, 2, 3].map(|k| list.regs[k]);
    // SAFETY: as above.
    unsafe {
        let [mask, base] = [mask, base].map(|at| Source::<u32>::all(r, at));
        let offset = Source::<i32>::all(r, offset);
        let mut out = [u32::MAX; LANES];
        for i in 0..LANES {
            let set = |at: &u32| mask[i] >> at & 1 == 1;
            let nth = (offset[i].unsigned_abs() as usize).saturating_sub(1);
            let base = base[i].min(32);
            let found = match offset[i] {
                0 => (base..(base + 1).min(32)).find(set),
                1.. => (base..32).filter(set).nth(nth),
                _ => (0..(base + 1).min(32)).rev().filter(set).nth(nth),
            };
            out[i] = found.unwrap_or(u32::MAX);
        }
        put::<u32>(w, r, d, &out);
    }
    NEXT
}

pub static ACTIVE_MASK: Wide = alone("activemask", active_mask);
pub static FIND_NTH_SET: Wide = alone("fns", find_nth_set);
pub static ELECT: Wide = together("elect.sync", elect);
pub static WARP_BARRIER: Wide = together("bar.warp.sync", warp_barrier);

/// `match.any.sync` and `match.all.sync`, over words and doubles.
pub fn matching(all: bool, wide: bool) -> &'static Wide {
    static MATCH: [[Wide; 2]; 2] = [
        [together("match.any.sync", match_any::<false>), together("match.any.sync", match_any::<true>)],
        [together("match.all.sync", match_all::<false>), together("match.all.sync", match_all::<true>)],
    ];
    &MATCH[all as usize][wide as usize]
}

/// `redux.sync` by operation and type.
pub fn reduction(op: &str, ty: &str) -> Option<&'static Wide> {
    const fn of(run: WideFn) -> Wide {
        together("redux.sync", run)
    }
    static REDUX: [Wide; 8] = [
        of(redux::<ADD>),
        of(redux::<MIN>),
        of(redux::<MAX>),
        of(redux::<MIN_SIGNED>),
        of(redux::<MAX_SIGNED>),
        of(redux::<AND>),
        of(redux::<OR>),
        of(redux::<XOR>),
    ];
    let at = match (op, ty) {
        ("add", "u32" | "s32") => ADD,
        ("min", "u32") => MIN,
        ("max", "u32") => MAX,
        ("min", "s32") => MIN_SIGNED,
        ("max", "s32") => MAX_SIGNED,
        ("and", "b32") => AND,
        ("or", "b32") => OR,
        ("xor", "b32") => XOR,
        _ => return None,
    };
    Some(&REDUX[at as usize])
}
