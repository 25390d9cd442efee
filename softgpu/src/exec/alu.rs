//! Arithmetic: one loop over the lanes per row of the table, or one computation for all of them.
//!
//! Loops, not iterator chains or `from_fn`: whatever is not inlined into the handler is compiled without its vector
//! instructions. Results are collected before they are written, since a destination may be a source.

use super::{Handler, LANES, NEXT, Op, Warp, three_levels};
use crate::isa::{Kind, Lane, math::plain};

/// A register's lanes: words in memory, or the bits of a predicate.
pub struct Source<T: Lane> {
    lanes: *const T::Raw,
    bits: u32,
}

impl<T: Lane> Source<T> {
    /// # Safety
    /// `at` must be a register of `T`'s kind.
    #[inline(always)]
    pub unsafe fn new(r: *mut u8, at: u32) -> Source<T> {
        // SAFETY: the caller's.
        unsafe {
            let lanes = r.add(at as usize);
            match T::KIND {
                Kind::P => Source { lanes: std::ptr::null(), bits: *(lanes as *const u32) },
                _ => Source { lanes: lanes as *const T::Raw, bits: 0 },
            }
        }
    }

    /// # Safety
    /// `i` must be a lane.
    #[inline(always)]
    pub unsafe fn lane(&self, i: usize) -> T {
        match T::KIND {
            Kind::P => T::from_bit(self.bits >> i & 1),
            // SAFETY: `lanes` starts 32 of them.
            _ => T::from_raw(unsafe { *self.lanes.add(i) }),
        }
    }

    /// # Safety
    /// As [`Source::new`].
    #[inline(always)]
    pub unsafe fn all(r: *mut u8, at: u32) -> [T; LANES] {
        let mut out = [T::default(); LANES];
        // SAFETY: the caller's; i is a lane.
        unsafe {
            let source = Source::<T>::new(r, at);
            for (i, out) in out.iter_mut().enumerate() {
                *out = source.lane(i);
            }
        }
        out
    }
}

/// Writes the lanes in the mask.
///
/// # Safety
/// As [`Source::new`].
#[inline(always)]
pub unsafe fn put<T: Lane>(w: &Warp, r: *mut u8, at: u32, values: &[T; LANES]) {
    // SAFETY: the caller's.
    unsafe { put_in::<T, false>(w, r, at, values) }
}

/// As [`put`]; WHOLE: the mask is known to have all lanes.
///
/// # Safety
/// As [`put`].
#[inline(always)]
pub unsafe fn put_in<T: Lane, const WHOLE: bool>(w: &Warp, r: *mut u8, at: u32, values: &[T; LANES]) {
    // SAFETY: the caller's; the raw form of a lane of kind P is u32.
    unsafe {
        let to = r.add(at as usize);
        if let Kind::P = T::KIND {
            let mut bytes = [0; LANES];
            for (byte, v) in bytes.iter_mut().zip(values) {
                *byte = v.bit() as u8;
            }
            put_mask(w, r, at, gather(&bytes));
            return;
        }
        let mut raw = [T::Raw::default(); LANES];
        for (raw, v) in raw.iter_mut().zip(values) {
            *raw = v.to_raw();
        }
        let to = to as *mut [T::Raw; LANES];
        if !WHOLE && !w.is_whole() {
            let old = *to;
            for (i, (raw, old)) in raw.iter_mut().zip(old).enumerate() {
                *raw = T::blend(w.mask >> i & 1, *raw, old);
            }
        }
        *to = raw; // lanes that have exited hold rubbish, unread
    }
}

/// One bit of each lane, 0 or 1, as a predicate.
#[inline(always)]
pub fn gather(bytes: &[u8; LANES]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: SSE2 is in every x86-64; both halves lie inside the array.
        let half = |at: usize| unsafe {
            let lanes = _mm_loadu_si128(bytes.as_ptr().add(at).cast());
            _mm_movemask_epi8(_mm_slli_epi16::<7>(lanes)) as u32
        };
        half(0) | half(16) << 16
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut bits = 0;
        for (i, byte) in bytes.iter().enumerate() {
            bits |= (*byte as u32) << i;
        }
        bits
    }
}

/// # Safety
/// `at` must be a predicate.
#[inline(always)]
pub unsafe fn put_mask(w: &Warp, r: *mut u8, at: u32, bits: u32) {
    // SAFETY: the caller's.
    unsafe {
        let p = r.add(at as usize) as *mut u32;
        let kept = w.live & !w.mask; // not those that have exited: a uniform predicate is read in any lane
        *p = *p & kept | bits & !kept;
    }
}

/// A scalar: one lane's value, in a cell. A predicate is the mask of all lanes either way.
///
/// # Safety
/// `at` must be a cell (or predicate) of `T`'s kind.
#[inline(always)]
pub unsafe fn cell<T: Lane>(r: *mut u8, at: u32) -> T {
    // SAFETY: the caller's.
    unsafe {
        let cell = r.add(at as usize);
        match T::KIND {
            Kind::P => T::from_bit(*(cell as *const u32) & 1),
            _ => T::from_raw(*(cell as *const T::Raw)),
        }
    }
}

/// # Safety
/// As [`cell`].
#[inline(always)]
unsafe fn put_cell<T: Lane>(r: *mut u8, at: u32, value: T) {
    // SAFETY: the caller's.
    unsafe {
        let cell = r.add(at as usize);
        match T::KIND {
            Kind::P => *(cell as *mut u32) = 0u32.wrapping_sub(value.bit()),
            _ => *(cell as *mut T::Raw) = value.to_raw(),
        }
    }
}

macro_rules! shapes {
    ($($vector:ident $scalar:ident ($($t:ident $x:ident),+);)*) => { $(
        /// # Safety
        /// `op`'s operands must be registers of the types' kinds.
        #[inline(always)]
        pub unsafe fn $vector<D: Lane, $($t: Lane),+>(w: &Warp, op: &Op, r: *mut u8, f: impl Fn($($t),+) -> D) {
            // SAFETY: the caller's.
            unsafe {
                if D::WHOLE {
                    let word = f($($t::from_word(*(r.add(op.$x as usize) as *const u32))),+).word();
                    return put_mask(w, r, op.d, word);
                }
                $(let $x = Source::<$t>::new(r, op.$x);)+
                let mut out = [D::default(); LANES];
                for (i, out) in out.iter_mut().enumerate() {
                    *out = f($($x.lane(i)),+);
                }
                put(w, r, op.d, &out);
            }
        }

        /// # Safety
        /// `op`'s operands must be cells of the types' kinds.
        #[inline(always)]
        pub unsafe fn $scalar<D: Lane, $($t: Lane),+>(op: &Op, r: *mut u8, f: impl Fn($($t),+) -> D) {
            // SAFETY: the caller's.
            unsafe { put_cell(r, op.d, f($(cell::<$t>(r, op.$x)),+)) }
        }
    )* };
}
shapes! {
    vector1 scalar1 (A a);
    vector2 scalar2 (A a, B b);
    vector3 scalar3 (A a, B b, C c);
    vector4 scalar4 (A a, B b, C c, E e);
}

/// Vector `a` times cell `b`, and plus vector `c` if ADD: the rows `mul.f32` and `fma.rn.f32`, where `b` is the same for
/// all lanes.
///
/// # Safety
/// `a` and `c` must be vectors of words, `b` a cell.
#[inline(always)]
pub unsafe fn product<const ADD: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the caller's.
    unsafe {
        let b = cell::<f32>(r, op.b);
        let a = Source::<f32>::new(r, op.a);
        let c = Source::<f32>::new(r, if ADD { op.c } else { op.a });
        let mut out = [0.0; LANES];
        for (i, out) in out.iter_mut().enumerate() {
            *out = plain(if ADD { a.lane(i).mul_add(b, c.lane(i)) } else { a.lane(i) * b });
        }
        put(w, r, op.d, &out);
    }
    NEXT
}

/// A vector from a scalar: lane i is cell `a` + i · stride `imm`.
#[inline(always)]
unsafe fn expand<const WIDE: bool>(w: &mut Warp, op: &Op, r: *mut u8) -> u32 {
    // SAFETY: the plan has chosen WIDE by the register's kind.
    unsafe {
        if WIDE {
            let (base, stride) = (cell::<u64>(r, op.a), op.imm as i32 as i64 as u64);
            let mut out = [0; LANES];
            for (i, out) in out.iter_mut().enumerate() {
                *out = base.wrapping_add(stride.wrapping_mul(i as u64));
            }
            put::<u64>(w, r, op.d, &out);
        } else {
            let base = cell::<u32>(r, op.a);
            let mut out = [0; LANES];
            for (i, out) in out.iter_mut().enumerate() {
                *out = base.wrapping_add(op.imm.wrapping_mul(i as u32));
            }
            put::<u32>(w, r, op.d, &out);
        }
    }
    NEXT
}

pub fn expand_handlers(wide: bool) -> [Handler; 3] {
    if wide { three_levels!(expand::<true>) } else { three_levels!(expand::<false>) }
}
