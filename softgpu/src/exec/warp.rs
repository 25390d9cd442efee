//! Control flow, barriers and shuffles.

use super::alu::{Source, put, put_mask, vector3};
use super::collective::teams;
use super::{BARRIER, DIVERGED, EXIT, Handler, LANES, List, NEXT, Op, SLOW, Warp, go_on, one_level, three_levels};

/// `bra`: to `imm`; GUARD = 0 always, 1 where predicate `a` holds, 2 where it does not. The pc after it is `e`.
#[inline(always)]
unsafe fn branch<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: `a` is a predicate.
    let taken = unsafe { chosen::<GUARD>(w, op, r) };
    if taken == w.mask {
        op.imm
    } else if taken == 0 {
        op.e
    } else {
        w.taken = taken;
        DIVERGED
    }
}

/// The executing lanes for which the guard of `op` holds.
#[inline(always)]
unsafe fn chosen<const GUARD: u32>(w: &Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: `a` is a predicate unless there is no guard.
    let p = || unsafe { *(r.add(op.a as usize) as *const u32) };
    match GUARD {
        0 => w.mask,
        1 => w.mask & p(),
        _ => w.mask & !p(),
    }
}

/// `exit`, or a jump to one, with a guard as in `branch`: the lanes leave, the others go on.
#[inline(always)]
unsafe fn exit<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: as in `branch`.
    let leaving = unsafe { chosen::<GUARD>(w, op, r) };
    if GUARD != 0 && leaving == 0 { NEXT } else { leave(w, leaving) }
}

/// Ends these of the executing lanes.
#[inline(always)]
pub fn leave(w: &mut Warp, leaving: u32) -> u32 {
    w.live &= !leaving;
    w.mask &= !leaving;
    if w.mask == 0 { EXIT } else { NEXT }
}

/// Before a guarded instruction: only the lanes in which predicate `a` holds go on; to pc `imm` if there are none.
#[inline(always)]
unsafe fn guard<const GUARD: u32>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: as in `branch`.
    let chosen = unsafe { chosen::<GUARD>(w, op, r) };
    if chosen == 0 {
        return op.imm;
    }
    w.saved = w.mask;
    w.mask = chosen;
    NEXT
}

/// After a guarded instruction.
#[inline(always)]
unsafe fn unguard(w: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    w.mask = w.saved;
    NEXT
}

#[inline(always)]
unsafe fn barrier(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    BARRIER
}

/// Runs the function of a wide instruction: see [`List`].
#[inline(always)]
unsafe fn wide(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the plan has made `imm` an index into the lists.
    unsafe {
        let list = &*w.lists.add(op.imm as usize);
        (list.run)(w, list, r)
    }
}

/// Counts an instruction, whose place is `imm` and whose guard is `c`, as in `branch`.
#[inline(always)]
unsafe fn tick(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: as in `branch`; watched programs run with tools.
    unsafe {
        let threads = match op.c {
            0 => chosen::<0>(w, op, r),
            1 => chosen::<1>(w, op, r),
            _ => chosen::<2>(w, op, r),
        };
        let threads = threads.count_ones();
        (*w.tools).tick(w, op.imm, threads);
    }
    NEXT
}

/// A clock: its count, plus `imms[1]`, shifted right by `imms[0]`, in 64 bits if `imms[2]`.
///
/// # Safety
/// `list` must have a destination of that width.
pub unsafe fn clock(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // Every look takes as long as a handful of instructions, so that what waits for a time to pass gets there.
    w.clock += 32;
    let value = w.clock.wrapping_add(list.imms[1] as u64) >> list.imms[0];
    // SAFETY: the caller's.
    unsafe {
        if list.imms[2] != 0 {
            put::<u64>(w, r, list.regs[0], &[value; LANES]);
        } else {
            put::<u32>(w, r, list.regs[0], &[value as u32; LANES]);
        }
    }
    NEXT
}

/// For lists that the scheduler reads, and nobody runs.
pub unsafe fn no_wide(_: &mut Warp, _: &List, _: *mut u8) -> u32 {
    NEXT
}

#[inline(always)]
unsafe fn nothing(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    NEXT
}

/// Back to the loop in `sched`, and on with pc `e`.
#[inline(always)]
unsafe fn fall(_: &mut Warp, op: &Op, _: *mut u8) -> u32 {
    op.e
}

pub fn branch_handlers(kind: u32) -> [Handler; 3] {
    match kind {
        0 => three_levels!(branch::<0>),
        1 => three_levels!(branch::<1>),
        _ => three_levels!(branch::<2>),
    }
}
pub fn exit_handlers(kind: u32) -> [Handler; 3] {
    match kind {
        0 => three_levels!(exit::<0>),
        1 => three_levels!(exit::<1>),
        _ => three_levels!(exit::<2>),
    }
}
pub fn guard_handlers(kind: u32) -> [Handler; 3] {
    match kind {
        0 => three_levels!(guard::<0>),
        1 => three_levels!(guard::<1>),
        _ => three_levels!(guard::<2>),
    }
}
pub fn unguard_handlers() -> [Handler; 3] {
    three_levels!(unguard)
}
pub fn barrier_handlers() -> [Handler; 3] {
    three_levels!(barrier)
}
pub fn tick_handlers() -> [Handler; 3] {
    one_level!(tick)
}
pub fn wide_handlers() -> [Handler; 3] {
    one_level!(wide)
}
pub fn nothing_handlers() -> [Handler; 3] {
    three_levels!(nothing)
}
pub fn fall_handlers() -> [Handler; 3] {
    three_levels!(fall)
}

const UP: u8 = 0;
const DOWN: u8 = 1;
const BFLY: u8 = 2;
const IDX: u8 = 3;

/// `shfl.sync`: d = a from the lane that mode, b and the clamp c choose; predicate `imm` (0 = none, else slot + 1)
/// says whether that lane was in range. PTX ISA 9.0, 9.7.9.6.
#[inline(always)]
unsafe fn shuffle<const MODE: u8>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        if let Err(event) = teams(w, r, op.e, "shfl.sync") {
            return event;
        }
        let lanes = |at: u32| &*(r.add(at as usize) as *const [u32; LANES]);
        let Some((out, inside)) = fixed::<MODE>(lanes(op.a), lanes(op.b), lanes(op.c)) else {
            return any_shuffle::<MODE>(w, op, r);
        };
        put(w, r, op.d, &out);
        if op.imm != 0 {
            put_mask(w, r, op.imm - 1, inside);
        }
    }
    NEXT
}

/// As PTX has it, lane by lane.
///
/// # Safety
/// As [`shuffle`].
#[inline(never)]
unsafe fn any_shuffle<const MODE: u8>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        let (a, b, c) = (Source::<u32>::all(r, op.a), Source::<u32>::all(r, op.b), Source::<u32>::all(r, op.c));
        let (mut out, mut inside) = ([0; LANES], [false; LANES]);
        for i in 0..LANES as u32 {
            let (from, ok) = source_lane(MODE, i, b[i as usize], c[i as usize]);
            out[i as usize] = a[if ok { from & 31 } else { i } as usize];
            inside[i as usize] = ok;
        }
        put(w, r, op.d, &out);
        if op.imm != 0 {
            put(w, r, op.imm - 1, &inside);
        }
    }
    NEXT
}

/// A shuffle over the whole warp by a power of two, or from one lane, the same for all: the steps of every reduction
/// and broadcast, as moves of vectors. The values, and the lanes whose source was in range.
#[inline(always)]
fn fixed<const MODE: u8>(a: &[u32; LANES], b: &[u32; LANES], c: &[u32; LANES]) -> Option<([u32; LANES], u32)> {
    let mut differ = 0;
    for i in 0..LANES {
        differ |= (b[i] ^ b[0]) | (c[i] ^ c[0]);
    }
    let b = b[0] & 31;
    if differ != 0 || !fits::<MODE>(b, c[0]) {
        return None;
    }
    if MODE == IDX {
        return Some(([a[b as usize]; LANES], u32::MAX));
    }
    match b {
        1 => Some(step::<MODE, 1>(a)),
        2 => Some(step::<MODE, 2>(a)),
        4 => Some(step::<MODE, 4>(a)),
        8 => Some(step::<MODE, 8>(a)),
        16 => Some(step::<MODE, 16>(a)),
        _ => None,
    }
}

/// Whether the clamp `c` lets a shuffle by `b` read across the whole warp. Any width is as good as the whole warp for a
/// butterfly that does not leave it.
#[inline(always)]
fn fits<const MODE: u8>(b: u32, c: u32) -> bool {
    let (clamp, segment) = (c & 31, c >> 8 & 31);
    match MODE {
        UP => clamp == 0 && segment == 0,
        BFLY => clamp == 31 && segment & b == 0,
        _ => clamp == 31 && segment == 0,
    }
}

#[inline(always)]
fn step<const MODE: u8, const B: usize>(a: &[u32; LANES]) -> ([u32; LANES], u32) {
    let mut out = [0; LANES];
    for i in 0..LANES {
        out[i] = match MODE {
            UP => a[if i >= B { i - B } else { i }],
            DOWN => a[if i + B < LANES { i + B } else { i }],
            _ => a[i ^ B],
        };
    }
    let inside = match MODE {
        UP => u32::MAX << B,
        DOWN => u32::MAX >> B,
        _ => u32::MAX,
    };
    (out, inside)
}

/// A [`step`] of a whole warp, known when the kernel was planned: nothing to find out but that all lanes are here.
#[inline(always)]
unsafe fn step_of_all<const MODE: u8, const B: usize>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    if w.mask != u32::MAX {
        return SLOW;
    }
    // SAFETY: the decoder has checked the slots.
    unsafe {
        let (out, inside) = step::<MODE, B>(&*(r.add(op.a as usize) as *const [u32; LANES]));
        put(w, r, op.d, &out);
        if op.imm != 0 {
            put_mask(w, r, op.imm - 1, inside);
        }
    }
    NEXT
}

/// The slow twin of [`step_of_all`].
unsafe fn step_of_some<const MODE: u8>(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: as in `shuffle`, whose operands the op has.
    unsafe { go_on(shuffle::<MODE>(w, &*op, r), w, op, r) }
}

/// The handlers of a shuffle that names all lanes, by `b` with the clamp `c`, if they are constants for which there is a
/// [`step`]. As [`shuffle_handlers`] otherwise.
pub fn step_handlers(mode: &str, b: u32, c: u32) -> Option<[Handler; 3]> {
    macro_rules! steps {
        ($mode:ident: $($b:literal)+) => {
            match b {
                $($b => Some(three_levels!(slow [step_of_some::<$mode>] step_of_all::<$mode, $b>)),)+
                _ => None,
            }
        };
    }
    match mode {
        "up" if fits::<UP>(b, c) => steps!(UP: 1 2 4 8 16),
        "down" if fits::<DOWN>(b, c) => steps!(DOWN: 1 2 4 8 16),
        "bfly" if fits::<BFLY>(b, c) => steps!(BFLY: 1 2 4 8 16),
        _ => None,
    }
}

/// The modes of `shfl.sync`; `None` for an unknown one.
pub fn shuffle_mode(mode: &str) -> Option<&'static str> {
    ["up", "down", "bfly", "idx"].into_iter().find(|m| *m == mode)
}
pub fn shuffle_handlers(mode: &str) -> [Handler; 3] {
    match mode {
        "up" => three_levels!(shuffle::<UP>),
        "down" => three_levels!(shuffle::<DOWN>),
        "bfly" => three_levels!(shuffle::<BFLY>),
        _ => three_levels!(shuffle::<IDX>),
    }
}

/// Shows the tools the lanes that a shuffle reads from: constants (its mode), registers (members, `b`, `c`).
///
/// # Safety
/// The list must be a probe's, and tools must be there.
pub unsafe fn probe(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        // Once those have come who will: others may have exited meanwhile.
        if let Err(event) = teams(w, r, list.regs[0], "shfl.sync") {
            return event;
        }
        let members = Source::<u32>::all(r, list.regs[0]);
        let (b, c) = (Source::<u32>::all(r, list.regs[1]), Source::<u32>::all(r, list.regs[2]));
        let from = std::array::from_fn(|i| {
            let (from, ok) = source_lane(list.imms[0] as u8, i as u32, b[i], c[i]);
            if ok { from & 31 } else { i as u32 }
        });
        (*w.tools).shuffles(w, list.place, &members, &from);
    }
    NEXT
}

/// The lane that lane `i` of a shuffle reads from, and whether that is in range: PTX ISA 9.0, 9.7.9.6.
#[inline(always)]
fn source_lane(mode: u8, i: u32, b: u32, c: u32) -> (u32, bool) {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let max = i & segment | clamp & !segment;
    match mode {
        UP => (i.wrapping_sub(b), i as i32 - b as i32 >= max as i32),
        DOWN => (i + b, i + b <= max),
        BFLY => (i ^ b, i ^ b <= max),
        _ => {
            let from = i & segment | b & !segment;
            (from, from <= max)
        }
    }
}

/// The constant of a probe for that mode.
pub fn shuffle_number(mode: &str) -> u8 {
    ["up", "down", "bfly", "idx"].into_iter().position(|m| m == mode).unwrap_or(3) as u8
}

/// `lop3.b32`: bit i of the result is bit (4a + 2b + c) of the table `imm`.
#[inline(always)]
unsafe fn lop3(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    let table = op.imm;
    // SAFETY: the decoder has checked the slots.
    unsafe {
        vector3::<u32, u32, u32, u32>(
            w,
            op,
            r,
            #[inline(always)]
            |a, b, c| {
                let mut out = 0;
                for term in 0..8 {
                    let pick = |bit: u32, x: u32| if term & bit != 0 { x } else { !x };
                    let on = 0u32.wrapping_sub(table >> term & 1);
                    out |= on & pick(4, a) & pick(2, b) & pick(1, c);
                }
                out
            },
        );
    }
    NEXT
}

/// `prmt.b32`, default mode: byte i is byte `c[4i..4i+2]` of b:a, or its sign if bit 3 is set.
#[inline(always)]
unsafe fn prmt(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the decoder has checked the slots.
    unsafe {
        vector3::<u32, u32, u32, u32>(
            w,
            op,
            r,
            #[inline(always)]
            |a, b, c| {
                let bytes = (b as u64) << 32 | a as u64;
                let mut out = 0;
                for i in 0..4 {
                    let select = c >> (4 * i);
                    let byte = (bytes >> (8 * (select & 7))) as u8;
                    let byte = if select & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
                    out |= (byte as u32) << (8 * i);
                }
                out
            },
        );
    }
    NEXT
}

pub fn lop3_handlers() -> [Handler; 3] {
    three_levels!(lop3)
}
pub fn prmt_handlers() -> [Handler; 3] {
    three_levels!(prmt)
}
