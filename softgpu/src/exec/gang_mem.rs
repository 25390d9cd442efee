//! Loads and stores of a gang: where addresses are scalars, one range test for all its warps if their rows lie side by
//! side, as those of neighbours nearly always do; where they are vectors, warp by warp.

use super::form::{ROW, address, kind};
use super::gang::{GANG, SPLIT, file};
use super::mem::{GLOBAL, Range, ask_for, give, load_lanes, range, resolve, store_lanes, take};
use super::{LANES, Level, NEXT, Op, Warp};
use crate::isa::Lane;

/// Where each warp's row, or the place that its lanes share, lies; `None` if some stray or are not aligned.
///
/// # Safety
/// As [`range`], whose FORM must not be a vector.
#[inline(always)]
unsafe fn places<const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &Warp,
    op: &Op,
    r: *mut u8,
) -> Option<[*mut u8; GANG]> {
    let step = if kind(FORM) == ROW { BYTES * LANES } else { 0 };
    let mut places = [std::ptr::null_mut(); GANG];
    // SAFETY: the caller's.
    unsafe {
        let first = address::<WIDE, BYTES, FORM>(op, r, 0);
        let mut apart = first & (BYTES as u64 - 1);
        for k in 1..GANG {
            apart |= address::<WIDE, BYTES, FORM>(op, file(w, r, k), 0) ^ first.wrapping_add((k * step) as u64);
        }
        if apart == 0 {
            let bytes = if kind(FORM) == ROW { GANG * step } else { BYTES };
            if let Some(p) = resolve::<SPACE>(w, 0, first, bytes as u64) {
                for (k, place) in places.iter_mut().enumerate() {
                    *place = p.add(k * step);
                }
                return Some(places);
            }
        }
        for (k, place) in places.iter_mut().enumerate() {
            match range::<SPACE, WIDE, BYTES, FORM>(w, op, file(w, r, k))? {
                Range::Row(p) | Range::Same(p) => *place = p,
            }
        }
    }
    Some(places)
}

/// What FORM makes of a place.
#[inline(always)]
fn at<const FORM: u8>(place: *mut u8) -> Range {
    if kind(FORM) == ROW { Range::Row(place) } else { Range::Same(place) }
}

/// Asks for what the next gang but one is likely to load, if this one's rows are one piece: what a warp asks for is within
/// its gang, or just behind. The machine's own prefetching falls behind on kernels that do little with what they load: it
/// sees a few hundred bytes or two thousand of one array, and then of another.
#[inline(always)]
fn look_ahead<const BYTES: usize>(rows: [*mut u8; GANG]) {
    let bytes = GANG * BYTES * LANES;
    if rows[GANG - 1] == rows[0].wrapping_add(bytes - BYTES * LANES) {
        ask_for::<false>(rows[0].wrapping_add(2 * bytes), bytes);
    }
}

/// [`mem::load`](super::mem::load) of a gang.
///
/// # Safety
/// As there, for every warp of the gang.
#[inline(always)]
pub unsafe fn load<T: Lane, const V: usize, const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    // SAFETY: `places` has checked every byte.
    unsafe {
        let Some(places) = places::<SPACE, WIDE, BYTES, FORM>(w, op, r) else { return SPLIT };
        if SPACE == GLOBAL && kind(FORM) == ROW {
            look_ahead::<BYTES>(places);
        }
        for (k, &place) in places.iter().enumerate() {
            take::<T, V, SPACE, BYTES, FORM, true>(w, op, file(w, r, k), at::<FORM>(place), level);
        }
    }
    NEXT
}

/// [`mem::store`](super::mem::store) of a gang.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn store<T: Lane, const V: usize, const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    // SAFETY: as in `load`.
    unsafe {
        let Some(places) = places::<SPACE, WIDE, BYTES, FORM>(w, op, r) else { return SPLIT };
        for (k, &place) in places.iter().enumerate() {
            give::<T, V, SPACE, BYTES, true>(w, op, file(w, r, k), at::<FORM>(place), level);
        }
    }
    NEXT
}

/// [`mem::load`](super::mem::load) of a gang, whose lanes' addresses are vectors. What it loads must not lie where they do:
/// if one warp strays, those before it load once more.
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn load_at<
    T: Lane,
    const V: usize,
    const SPACE: u8,
    const WIDE: bool,
    const BYTES: usize,
    const FORM: u8,
>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    for k in 0..GANG {
        // SAFETY: `range` has checked every byte, or `load_lanes` does.
        unsafe {
            let r = file(w, r, k);
            match range::<SPACE, WIDE, BYTES, FORM>(w, op, r) {
                Some(range) => take::<T, V, SPACE, BYTES, FORM, true>(w, op, r, range, level),
                None if load_lanes::<T, V, SPACE, WIDE, BYTES, FORM>(w, op, r) != NEXT => return strays(w),
                None => {}
            }
        }
    }
    NEXT
}

/// [`mem::store`](super::mem::store) of a gang, as [`load_at`].
///
/// # Safety
/// As [`load`].
#[inline(always)]
pub unsafe fn store_at<
    T: Lane,
    const V: usize,
    const SPACE: u8,
    const WIDE: bool,
    const BYTES: usize,
    const FORM: u8,
>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    for k in 0..GANG {
        // SAFETY: as in `load_at`.
        unsafe {
            let r = file(w, r, k);
            match range::<SPACE, WIDE, BYTES, FORM>(w, op, r) {
                Some(range) => give::<T, V, SPACE, BYTES, true>(w, op, r, range, level),
                None if store_lanes::<T, V, SPACE, WIDE, BYTES, FORM>(w, op, r) != NEXT => return strays(w),
                None => {}
            }
        }
    }
    NEXT
}

/// The warp that strays will say so when it is alone.
#[cold]
#[inline(never)]
fn strays(w: &mut Warp) -> u32 {
    w.stop = None;
    SPLIT
}
