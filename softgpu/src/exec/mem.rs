//! Loads and stores. Every access is checked: inside one allocation (or the block's shared, or the thread's local
//! memory) and aligned. Consecutive addresses are one range test and one copy.

use super::{Handler, LANES, Op, Warp, three_levels};
use crate::isa::{Kind, Lane};
use crate::memory::{LOCAL_WINDOW, OFFSET_BITS, SHARED_WINDOW, describe, locate};

pub const GLOBAL: u8 = 0;
pub const SHARED: u8 = 1;
pub const LOCAL: u8 = 2;
pub const GENERIC: u8 = 3;

/// The host pointer for one lane's access.
#[inline(always)]
fn resolve<const SPACE: u8>(w: &Warp, lane: usize, address: u64, bytes: u64) -> Option<*mut u8> {
    let window = address >> OFFSET_BITS;
    let offset = address & ((1 << OFFSET_BITS) - 1);
    // SAFETY: offsets are compared with the sizes of the ranges that they index.
    unsafe {
        if SPACE == SHARED || SPACE == GENERIC && window == SHARED_WINDOW >> OFFSET_BITS {
            let at = if SPACE == SHARED { address } else { offset };
            return (at.checked_add(bytes)? <= w.shared_bytes).then(|| w.shared.add(at as usize));
        }
        if SPACE == LOCAL || SPACE == GENERIC && window == LOCAL_WINDOW >> OFFSET_BITS {
            let at = if SPACE == LOCAL { address } else { offset };
            let base = lane as u64 * w.local_bytes;
            return (at.checked_add(bytes)? <= w.local_bytes).then(|| w.local.add((base + at) as usize));
        }
        locate(std::slice::from_raw_parts(w.blocks, w.block_count), address, bytes)
    }
}

/// Host pointers of a warp's access: one for all lanes in a row, or one per lane.
#[expect(clippy::large_enum_variant, reason = "it lives in registers or on the stack for one instruction")]
enum Range {
    Consecutive(*mut u8),
    Same(*mut u8),
    Scattered([*mut u8; LANES]),
}

#[inline(always)]
unsafe fn range<const SPACE: u8, const BYTES: usize>(w: &mut Warp, address: &[u64; LANES]) -> Result<Range, u32> {
    let first = address[0];
    if w.mask == u32::MAX && first.is_multiple_of(BYTES as u64) && SPACE != LOCAL {
        let (mut apart, mut different) = (0, 0);
        for (i, &a) in address.iter().enumerate() {
            apart |= a ^ first.wrapping_add((i * BYTES) as u64);
            different |= a ^ first;
        }
        if apart == 0
            && let Some(p) = resolve::<SPACE>(w, 0, first, (BYTES * LANES) as u64)
        {
            return Ok(Range::Consecutive(p));
        }
        if different == 0
            && let Some(p) = resolve::<SPACE>(w, 0, first, BYTES as u64)
        {
            return Ok(Range::Same(p));
        }
    }
    let mut pointers = [std::ptr::null_mut(); LANES];
    for (i, (&a, pointer)) in address.iter().zip(&mut pointers).enumerate() {
        if w.mask >> i & 1 == 0 {
            continue;
        }
        match resolve::<SPACE>(w, i, a, BYTES as u64) {
            Some(p) if a.is_multiple_of(BYTES as u64) => *pointer = p,
            found => return Err(stray(w, SPACE, a, BYTES as u64, i, found.is_some())),
        }
    }
    Ok(Range::Scattered(pointers))
}

#[cold]
fn stray(w: &mut Warp, space: u8, address: u64, bytes: u64, lane: usize, misaligned: bool) -> u32 {
    if misaligned {
        let what =
            format!("misaligned access: {bytes} bytes at an address that {bytes} does not divide ({address:#x})");
        return w.trap(what, "vector accesses need their whole size as alignment: check odd row lengths", lane as u32);
    }
    // SAFETY: the table outlives the launch.
    let blocks = unsafe { std::slice::from_raw_parts(w.blocks, w.block_count) };
    let what = match space {
        SHARED => format!("access past shared memory: {bytes} bytes at +{address} of {}", w.shared_bytes),
        LOCAL => format!("access past local memory: {bytes} bytes at +{address} of {}", w.local_bytes),
        _ => format!("access past an allocation: {}", describe(blocks, address, bytes)),
    };
    w.trap(what, "is a bounds guard missing?", lane as u32)
}

#[inline(always)]
unsafe fn addresses<const WIDE: bool>(w: &Warp, op: &Op) -> [u64; LANES] {
    let offset = op.imm as i32 as i64 as u64;
    let mut out = [0; LANES];
    // SAFETY: the decoder has chosen WIDE by the register's kind.
    unsafe {
        if WIDE {
            let a = w.source::<u64>(op.a);
            for (i, out) in out.iter_mut().enumerate() {
                *out = a.lane(i).wrapping_add(offset);
            }
        } else {
            let a = w.source::<u32>(op.a);
            for (i, out) in out.iter_mut().enumerate() {
                *out = (a.lane(i) as u64).wrapping_add(offset);
            }
        }
    }
    out
}

#[inline(always)]
fn slots(op: &Op) -> [u16; 4] {
    [op.d, op.b, op.c, op.e]
}

#[inline(always)]
unsafe fn load<T: Lane, const V: usize, const SPACE: u8, const WIDE: bool, const BYTES: usize>(
    w: &mut Warp,
    op: &Op,
    pc: u32,
) -> u32 {
    // SAFETY: `range` has checked every byte; unaligned reads make no assumption on the host address.
    unsafe {
        let address = addresses::<WIDE>(w, op);
        let data: [[T; V]; LANES] = match range::<SPACE, BYTES>(w, &address) {
            Ok(Range::Consecutive(p)) => (p as *const [[T; V]; LANES]).read_unaligned(),
            Ok(Range::Same(p)) => [(p as *const [T; V]).read_unaligned(); LANES],
            Ok(Range::Scattered(p)) => std::array::from_fn(|i| {
                if p[i].is_null() { [T::default(); V] } else { (p[i] as *const [T; V]).read_unaligned() }
            }),
            Err(trap) => return trap,
        };
        for (v, slot) in slots(op).into_iter().take(V).enumerate() {
            let mut part = [T::default(); LANES];
            for (part, data) in part.iter_mut().zip(&data) {
                *part = data[v];
            }
            w.put::<T>(slot, &part);
        }
    }
    pc + 1
}

#[inline(always)]
unsafe fn store<T: Lane, const V: usize, const SPACE: u8, const WIDE: bool, const BYTES: usize>(
    w: &mut Warp,
    op: &Op,
    pc: u32,
) -> u32 {
    // SAFETY: as in `load`.
    unsafe {
        let address = addresses::<WIDE>(w, op);
        let range = match range::<SPACE, BYTES>(w, &address) {
            Ok(range) => range,
            Err(trap) => return trap,
        };
        let parts: [[T; LANES]; V] = std::array::from_fn(|v| w.get::<T>(slots(op)[v]));
        let lane = |i: usize| -> [T; V] { std::array::from_fn(|v| parts[v][i]) };
        match range {
            Range::Consecutive(p) => {
                let data: [[T; V]; LANES] = std::array::from_fn(lane);
                (p as *mut [[T; V]; LANES]).write_unaligned(data);
            }
            Range::Same(p) => (p as *mut [T; V]).write_unaligned(lane(LANES - 1)), // the last lane wins
            Range::Scattered(p) => {
                for (i, &p) in p.iter().enumerate().filter(|(_, p)| !p.is_null()) {
                    (p as *mut [T; V]).write_unaligned(lane(i));
                }
            }
        }
    }
    pc + 1
}

macro_rules! table {
    ($op:ident, $ty:expr, $v:expr, $space:expr, $wide:expr; $($t:ty, $name:pat, $bytes:literal;)*) => {
        match $ty { $( $name => match $v {
            1 => Some(table!(@space $op, $t, 1, $space, $wide, $bytes)),
            2 if $bytes < 16 => Some(table!(@space $op, $t, 2, $space, $wide, { 2 * $bytes })),
            4 if $bytes < 8 => Some(table!(@space $op, $t, 4, $space, $wide, { 4 * $bytes })),
            _ => None,
        }, )* _ => None }
    };
    (@space $op:ident, $t:ty, $v:literal, $space:expr, $wide:expr, $bytes:expr) => {
        match ($space, $wide) {
            (GLOBAL, _) => three_levels!($op::<$t, $v, GLOBAL, true, $bytes>),
            (SHARED, true) => three_levels!($op::<$t, $v, SHARED, true, $bytes>),
            (SHARED, false) => three_levels!($op::<$t, $v, SHARED, false, $bytes>),
            (LOCAL, _) => three_levels!($op::<$t, $v, LOCAL, true, $bytes>),
            _ => three_levels!($op::<$t, $v, GENERIC, true, $bytes>),
        }
    };
}

/// The handlers of `ld` for a memory type (`u8` … `f64`), 1, 2 or 4 values and a space.
pub fn load_handlers(ty: &str, v: usize, space: u8, wide: bool) -> Option<[Handler; 3]> {
    table!(load, ty, v, space, wide;
        u8, "u8" | "b8", 1; i8, "s8", 1; u16, "u16" | "b16" | "f16" | "bf16", 2; i16, "s16", 2;
        u32, "u32" | "b32" | "s32" | "f32", 4; u64, "u64" | "b64" | "s64" | "f64", 8;)
}

/// The handlers of `st`, as [`load_handlers`].
pub fn store_handlers(ty: &str, v: usize, space: u8, wide: bool) -> Option<[Handler; 3]> {
    table!(store, ty, v, space, wide;
        u8, "u8" | "b8" | "s8", 1; u16, "u16" | "b16" | "s16" | "f16" | "bf16", 2;
        u32, "u32" | "b32" | "s32" | "f32", 4; u64, "u64" | "b64" | "s64" | "f64", 8;)
}

/// The register kind that a memory type is held in.
pub fn kind_of(ty: &str) -> Kind {
    if ty.ends_with("64") { Kind::D } else { Kind::W }
}
