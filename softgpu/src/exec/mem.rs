//! Loads and stores. Every access is checked: inside one allocation (or the block's shared, or the thread's local
//! memory) and aligned. What lies in a row is one range test and one copy, however the addresses came about: from a
//! scalar that is known to stand for a row, or from a vector that turns out to be one.

use super::alu::{Source, put, put_in};
use super::form::{ROW, UNIFORM, VECTOR, address, kind};
use super::stray::stray;
use super::{LANES, Level, List, NEXT, Op, SLOW, Warp, go_on, transpose};
use crate::isa::{Kind, Lane};
use crate::memory::{CONST_WINDOW, LOCAL_WINDOW, OFFSET_BITS, PARAM_WINDOW, SHARED_WINDOW, locate};
use crate::tools::{self, Touch};

pub const GLOBAL: u8 = 0;
pub const SHARED: u8 = 1;
pub const LOCAL: u8 = 2;
/// A generic address to read, and one to write: constants and parameters can only be read.
pub const GENERIC: u8 = 3;
pub const WRITE: u8 = 4;

/// The host pointer for one lane's access.
#[inline(always)]
pub fn resolve<const SPACE: u8>(w: &Warp, lane: usize, address: u64, bytes: u64) -> Option<*mut u8> {
    let window = address >> OFFSET_BITS;
    let offset = address & ((1 << OFFSET_BITS) - 1);
    // SAFETY: offsets are compared with the sizes of the ranges that they index.
    unsafe {
        let generic = SPACE == GENERIC || SPACE == WRITE;
        if SPACE == SHARED || generic && window == SHARED_WINDOW >> OFFSET_BITS {
            let at = if SPACE == SHARED { address } else { offset };
            return (at.checked_add(bytes)? <= w.shared_bytes).then(|| w.shared.add(at as usize));
        }
        if SPACE == LOCAL || generic && window == LOCAL_WINDOW >> OFFSET_BITS {
            let at = if SPACE == LOCAL { address } else { offset };
            let base = lane as u64 * w.local_bytes;
            return (at.checked_add(bytes)? <= w.local_bytes).then(|| w.local.add((base + at) as usize));
        }
        if SPACE == GENERIC && address >= CONST_WINDOW {
            let (base, size) = match address - offset {
                CONST_WINDOW => (w.constants, w.constant_bytes),
                PARAM_WINDOW => (w.params, w.param_bytes),
                _ => return None,
            };
            return (offset + bytes <= size).then(|| base.add(offset as usize).cast_mut());
        }
        locate(std::slice::from_raw_parts(w.blocks, w.block_count), address, bytes)
    }
}

/// The host pointer of what a lane sees at a generic address.
pub fn generic(w: &Warp, lane: usize, address: u64, bytes: u64) -> Option<*mut u8> {
    resolve::<GENERIC>(w, lane, address, bytes)
}

/// Where the lanes in the mask point: the place of lane 0 in a row, or one place that all share.
pub enum Range {
    Row(*mut u8),
    Same(*mut u8),
}

/// How far ahead of a row the cache is asked for what the warps to come will want, in bytes: measured, 1 KiB was better
/// than 2 and 4 by 3 to 20 %.
const AHEAD: usize = 1024;

/// Asks for the bytes that lie [`AHEAD`] of a row in global memory. The processor would ask for them too, but a few
/// hundred instructions later than in a compiled loop.
#[inline(always)]
fn ask_ahead<const SPACE: u8, const BYTES: usize>(p: *mut u8) {
    if SPACE == GLOBAL {
        ask_for::<true>(p.wrapping_add(AHEAD), BYTES * LANES);
    }
}

/// Asks the caches for bytes of global memory: the nearest one, or (`NEAR` false) the second, which has more places for
/// lines under way.
#[inline(always)]
pub fn ask_for<const NEAR: bool>(p: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let p = p.wrapping_add(line).cast();
        // SAFETY: SSE is in every x86-64, and a prefetch may be of any address.
        unsafe { if NEAR { _mm_prefetch::<_MM_HINT_T0>(p) } else { _mm_prefetch::<_MM_HINT_T1>(p) } };
    }
}

/// One range test for all lanes; `None` if they are scattered, or some of them stray.
///
/// # Safety
/// As [`address`].
#[inline(always)]
pub unsafe fn range<const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &Warp,
    op: &Op,
    r: *mut u8,
) -> Option<Range> {
    let (row, same) = ((BYTES * LANES) as u64, BYTES as u64);
    let aligned = |a: u64| a & (BYTES as u64 - 1) == 0;
    // SAFETY: the caller's.
    unsafe {
        if FORM != VECTOR {
            let first = address::<WIDE, BYTES, FORM>(op, r, 0);
            return match kind(FORM) {
                _ if !aligned(first) => None,
                ROW => resolve::<SPACE>(w, 0, first, row).map(Range::Row),
                _ => resolve::<SPACE>(w, 0, first, same).map(Range::Same),
            };
        }
        if SPACE == LOCAL {
            return None;
        }
        // The row or place that the first lane in the mask implies: do the others agree?
        let lane = w.mask.trailing_zeros() as usize & 31;
        let start = address::<WIDE, BYTES, FORM>(op, r, lane);
        // In local memory, the same address is another place for each lane.
        if SPACE >= GENERIC && start >> OFFSET_BITS == LOCAL_WINDOW >> OFFSET_BITS {
            return None;
        }
        let first = start.wrapping_sub((lane * BYTES) as u64);
        let (mut apart, mut different) = (0, 0);
        if w.mask == u32::MAX {
            for i in 0..LANES {
                let a = address::<WIDE, BYTES, FORM>(op, r, i);
                apart |= a ^ first.wrapping_add((i * BYTES) as u64);
                different |= a ^ start;
            }
        } else {
            for i in 0..LANES {
                let a = address::<WIDE, BYTES, FORM>(op, r, i);
                let on = 0u64.wrapping_sub((w.mask >> i & 1) as u64);
                apart |= (a ^ first.wrapping_add((i * BYTES) as u64)) & on;
                different |= (a ^ start) & on;
            }
        }
        if !aligned(start) {
            return None;
        }
        if apart == 0 {
            return resolve::<SPACE>(w, 0, first, row).map(Range::Row);
        }
        if different == 0 { resolve::<SPACE>(w, 0, start, same).map(Range::Same) } else { None }
    }
}

/// The host pointer of lane `i`'s access; the trap if it strays.
///
/// # Safety
/// As [`address`].
#[inline(always)]
unsafe fn place<const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    i: usize,
) -> Result<*mut u8, u32> {
    // SAFETY: the caller's.
    let a = unsafe { address::<WIDE, BYTES, FORM>(op, r, i) };
    match resolve::<SPACE>(w, i, a, BYTES as u64) {
        Some(p) if a & (BYTES as u64 - 1) == 0 => Ok(p),
        found => Err(stray(w, SPACE, a, BYTES as u64, i, found.is_some())),
    }
}

/// As `place`, for instructions that know their access at run time only: where `bytes` bytes at `address` lie for a
/// lane. They must be aligned to `align`, a power of two.
pub fn find(w: &mut Warp, space: u8, lane: usize, address: u64, bytes: u64, align: u64) -> Result<*mut u8, u32> {
    let found = match space {
        GLOBAL => resolve::<GLOBAL>(w, lane, address, bytes),
        SHARED => resolve::<SHARED>(w, lane, address, bytes),
        LOCAL => resolve::<LOCAL>(w, lane, address, bytes),
        GENERIC => resolve::<GENERIC>(w, lane, address, bytes),
        _ => resolve::<WRITE>(w, lane, address, bytes),
    };
    match found {
        Some(p) if address & (align - 1) == 0 => Ok(p),
        Some(_) => Err(stray(w, space, address, align, lane, true)),
        None => Err(stray(w, space, address, bytes, lane, false)),
    }
}

/// Shows a load or store that comes next to the tools: constants (write, space, bytes, wide, offset, strong,
/// bytes of a value, the addresses' form), registers (address, and the values of a store).
///
/// # Safety
/// The list must be a probe's, and tools must be there.
pub unsafe fn probe(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let &[write, space, bytes, wide, offset, strong, width, form] = &*list.imms else { return NEXT };
    let touch = if write != 0 { Touch::Write } else { Touch::Read };
    let access =
        tools::Access { place: list.place, touch, space: space as u8, bytes: bytes as u32, strong: strong != 0 };
    let value = |lane: usize| {
        let mut out = [0; 16];
        for (part, &at) in out.chunks_mut(width as usize).zip(&list.regs[1..]) {
            // SAFETY: the caller's; values of 8 bytes lie in doubles, others in words.
            let raw = unsafe {
                match width {
                    8 => Source::<u64>::new(r, at).lane(lane),
                    _ => Source::<u32>::new(r, at).lane(lane) as u64,
                }
            };
            part.copy_from_slice(&raw.to_le_bytes()[..part.len()]);
        }
        out
    };
    let value: Option<tools::Value> = if write != 0 { Some(&value) } else { None };
    // SAFETY: the caller's.
    let of_lane = |lane: usize| unsafe {
        let at = if form == VECTOR as i64 { lane } else { 0 };
        let address = match wide {
            0 => Source::<u32>::new(r, list.regs[0]).lane(at) as u64,
            _ => Source::<u64>::new(r, list.regs[0]).lane(at),
        };
        let row = if form == ROW as i64 { lane as i64 * bytes } else { 0 };
        let address = address.wrapping_add(row as u64);
        (if wide == 0 { address as u32 as u64 } else { address }).wrapping_add(offset as u64)
    };
    let first = w.mask.trailing_zeros() as usize % LANES;
    // SAFETY: the tools outlive the launch, which runs on one thread with them.
    let tools = unsafe { w.tools.as_mut() };
    let (even, row) = (form != VECTOR as i64, form == ROW as i64);
    if even && tools.is_some_and(|tools| tools.known(w, &access, (row, of_lane(first)), value)) {
        return NEXT;
    }
    w.show_values(&access, &std::array::from_fn(of_lane), value)
}

#[inline(always)]
fn values(op: &Op) -> [u32; 4] {
    [op.d, op.b, op.c, op.e]
}

/// `ld` of a row, or of one place that all lanes share.
///
/// # Safety
/// The constants must fit the op's access, and `level` the machine.
#[inline(always)]
pub unsafe fn load<T: Lane, const V: usize, const SPACE: u8, const WIDE: bool, const BYTES: usize, const FORM: u8>(
    w: &mut Warp,
    op: &Op,
    r: *mut u8,
    level: Level,
) -> u32 {
    // SAFETY: `range` has checked every byte.
    unsafe {
        match range::<SPACE, WIDE, BYTES, FORM>(w, op, r) {
            Some(range) => take::<T, V, SPACE, BYTES, FORM, false>(w, op, r, range, level),
            None => return SLOW,
        }
    }
    NEXT
}

/// Fills the registers of a load from where the lanes point. WHOLE: all lanes execute.
///
/// # Safety
/// The range must be the load's, as [`range`] has found it.
#[inline(always)]
pub unsafe fn take<T: Lane, const V: usize, const SPACE: u8, const BYTES: usize, const FORM: u8, const WHOLE: bool>(
    w: &Warp,
    op: &Op,
    r: *mut u8,
    range: Range,
    level: Level,
) {
    // SAFETY: the caller's; unaligned reads make no assumption on the host address.
    unsafe {
        match range {
            Range::Same(p) if kind(FORM) == UNIFORM => {
                for v in 0..V {
                    let value = (p as *const T).add(v).read_unaligned();
                    *(r.add(values(op)[v] as usize) as *mut T::Raw) = value.to_raw();
                }
            }
            Range::Same(p) => {
                for v in 0..V {
                    let value = (p as *const T).add(v).read_unaligned();
                    put_in::<T, WHOLE>(w, r, values(op)[v], &[value; LANES]);
                }
            }
            Range::Row(p) if V == 4 && BYTES == 16 => {
                ask_ahead::<SPACE, BYTES>(p);
                let from = p as *const [u32; 4];
                let register = values(op).map(|at| r.add(at as usize) as *mut [u32; LANES]);
                if WHOLE || w.mask == u32::MAX {
                    return transpose::load(level, from, register, LANES);
                }
                if w.is_whole() {
                    return transpose::load(level, from, register, w.span());
                }
                blend_rows(w, from, register);
            }
            Range::Row(p) => {
                ask_ahead::<SPACE, BYTES>(p);
                for v in 0..V {
                    let mut part = [T::default(); LANES];
                    for (i, part) in part.iter_mut().enumerate() {
                        *part = (p as *const T).add(i * V + v).read_unaligned();
                    }
                    put_in::<T, WHOLE>(w, r, values(op)[v], &part);
                }
            }
        }
    }
}

/// Fills the lanes in the mask from rows of four.
///
/// # Safety
/// As [`transpose::load`].
#[inline(never)]
unsafe fn blend_rows(w: &Warp, from: *const [u32; 4], register: [*mut [u32; LANES]; 4]) {
    for i in (0..LANES).filter(|i| w.mask >> i & 1 != 0) {
        // SAFETY: the caller's.
        unsafe {
            let row = from.add(i).read_unaligned();
            (0..4).for_each(|v| (*register[v])[i] = row[v]);
        }
    }
}

/// [`load`] lane by lane; a trap before anything is written.
///
/// # Safety
/// As [`load`].
#[inline(never)] // else the handlers would save registers for it
pub unsafe fn load_scattered<
    T: Lane,
    const V: usize,
    const SPACE: u8,
    const WIDE: bool,
    const BYTES: usize,
    const FORM: u8,
>(
    w: &mut Warp,
    op: *const Op,
    r: *mut u8,
) -> u32 {
    // SAFETY: as in `load`.
    unsafe { go_on(load_lanes::<T, V, SPACE, WIDE, BYTES, FORM>(w, &*op, r), w, op, r) }
}

/// What [`load_scattered`] does.
///
/// # Safety
/// As [`load`].
#[inline(never)]
pub unsafe fn load_lanes<
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
) -> u32 {
    let mut parts = [[T::default(); LANES]; V];
    // SAFETY: as in `load`.
    unsafe {
        for i in 0..LANES {
            if w.mask >> i & 1 == 0 {
                continue;
            }
            let p = match place::<SPACE, WIDE, BYTES, FORM>(w, op, r, i) {
                Ok(p) => p as *const T,
                Err(trap) => return trap,
            };
            for (v, part) in parts.iter_mut().enumerate() {
                part[i] = p.add(v).read_unaligned();
            }
        }
        for (v, part) in parts.iter().enumerate() {
            put::<T>(w, r, values(op)[v], part);
        }
    }
    NEXT
}

/// `st`, as [`load`].
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
        match range::<SPACE, WIDE, BYTES, FORM>(w, op, r) {
            Some(range) => give::<T, V, SPACE, BYTES, false>(w, op, r, range, level),
            None => return SLOW,
        }
    }
    NEXT
}

/// Writes the registers of a store to where the lanes point.
///
/// # Safety
/// As [`take`].
#[inline(always)]
pub unsafe fn give<T: Lane, const V: usize, const SPACE: u8, const BYTES: usize, const WHOLE: bool>(
    w: &Warp,
    op: &Op,
    r: *mut u8,
    range: Range,
    level: Level,
) {
    // SAFETY: as in `take`.
    unsafe {
        match range {
            Range::Row(p) if WHOLE || w.mask == u32::MAX => {
                ask_ahead::<SPACE, BYTES>(p);
                if V == 4 && BYTES == 16 {
                    let register = values(op).map(|at| r.add(at as usize) as *const [u32; LANES]);
                    return transpose::store(level, p as *mut [u32; 4], register, LANES);
                }
                let mut all = [[T::default(); V]; LANES];
                for (i, all) in all.iter_mut().enumerate() {
                    for (v, one) in all.iter_mut().enumerate() {
                        *one = value(op, r, v, i);
                    }
                }
                (p as *mut [[T; V]; LANES]).write_unaligned(all);
            }
            // Only the lanes in the mask: other threads may be writing between them.
            Range::Row(p) if V == 4 && BYTES == 16 && w.mask & w.mask.wrapping_add(1) == 0 => {
                let register = values(op).map(|at| r.add(at as usize) as *const [u32; LANES]);
                transpose::store(level, p as *mut [u32; 4], register, w.span());
            }
            Range::Row(p) => {
                let mut left = w.mask;
                while left != 0 {
                    let i = left.trailing_zeros() as usize;
                    left &= left - 1;
                    for v in 0..V {
                        (p as *mut T).add(i * V + v).write_unaligned(value(op, r, v, i));
                    }
                }
            }
            Range::Same(p) => {
                let last = if WHOLE { 31 } else { 31 - w.mask.leading_zeros() as usize }; // the last lane wins
                for v in 0..V {
                    (p as *mut T).add(v).write_unaligned(value(op, r, v, last));
                }
            }
        }
    }
}

/// Lane `i` of the `v`-th value of a store.
///
/// # Safety
/// `T` must be of the register's kind.
#[inline(always)]
unsafe fn value<T: Lane>(op: &Op, r: *mut u8, v: usize, i: usize) -> T {
    // SAFETY: the caller's.
    T::from_raw(unsafe { *(r.add(values(op)[v] as usize) as *const T::Raw).add(i) })
}

/// [`store`] lane by lane; a trap before anything is written.
///
/// # Safety
/// As [`load`].
#[inline(never)] // else the handlers would save registers for it
pub unsafe fn store_scattered<
    T: Lane,
    const V: usize,
    const SPACE: u8,
    const WIDE: bool,
    const BYTES: usize,
    const FORM: u8,
>(
    w: &mut Warp,
    op: *const Op,
    r: *mut u8,
) -> u32 {
    // SAFETY: as in `store`.
    unsafe { go_on(store_lanes::<T, V, SPACE, WIDE, BYTES, FORM>(w, &*op, r), w, op, r) }
}

/// What [`store_scattered`] does.
///
/// # Safety
/// As [`load`].
#[inline(never)]
pub unsafe fn store_lanes<
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
) -> u32 {
    let mut places = [std::ptr::null_mut::<T>(); LANES];
    // SAFETY: as in `load`.
    unsafe {
        for (i, to) in places.iter_mut().enumerate() {
            if w.mask >> i & 1 == 0 {
                continue;
            }
            match place::<SPACE, WIDE, BYTES, FORM>(w, op, r, i) {
                Ok(p) => *to = p as *mut T,
                Err(trap) => return trap,
            }
        }
        for (i, to) in places.iter().enumerate().filter(|(_, to)| !to.is_null()) {
            for v in 0..V {
                to.add(v).write_unaligned(value(op, r, v, i));
            }
        }
    }
    NEXT
}

/// The number of a space by its PTX name (`""`: generic), to read or to write. Constants and parameters are read
/// through their generic windows.
pub fn space(name: &str, write: bool) -> Option<u8> {
    Some(match name {
        "global" => GLOBAL,
        "shared" | "shared::cta" | "shared::cluster" => SHARED,
        "local" => LOCAL,
        "" if write => WRITE,
        "const" | "param" | "param::entry" | "param::func" if write => return None,
        "" | "const" | "param" | "param::entry" | "param::func" => GENERIC,
        _ => return None,
    })
}

/// The memory type of that name, if `v` values of it can be loaded or stored at once.
pub fn known(ty: &str, v: usize) -> Option<&'static str> {
    #[rustfmt::skip]
    const TYPES: [(&str, usize); 14] = [
        ("u8", 1), ("b8", 1), ("s8", 1), ("u16", 2), ("b16", 2), ("s16", 2), ("u32", 4),
        ("b32", 4), ("s32", 4), ("f32", 4), ("u64", 8), ("b64", 8), ("s64", 8), ("f64", 8),
    ];
    TYPES
        .into_iter()
        .find(|&(name, bytes)| name == ty && matches!(v, 1 | 2 | 4 | 8) && v * bytes <= 16)
        .map(|(name, _)| name)
}

/// Bytes of a memory type.
pub fn bytes_of(ty: &str) -> usize {
    crate::parse::type_bytes(ty).unwrap_or(4)
}

/// The register kind that a memory type is held in.
pub fn kind_of(ty: &str) -> Kind {
    if ty.ends_with("64") { Kind::D } else { Kind::W }
}
