//! `atom` and `red`: PTX ISA 9.0, 9.7.13.8 and 9.7.13.9.
//!
//! Lanes act one after the other, lowest first. Blocks run on several threads of the host, so that global memory is
//! changed by the host's atomics; shared and local memory belong to one of those threads.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use half::{bf16, f16};

use super::access::{Reach, get, lanes, places, set};
use super::{List, NEXT, Warp, Wide, one_level_wide};
use crate::tools::Touch;

/// The word that an atomic operation changes.
trait Word: Copy {
    const BYTES: usize;
    fn from_bits(bits: u64) -> Self;
    fn bits(self) -> u64;
    /// # Safety
    /// `p` must be an aligned word that only atomics change meanwhile.
    unsafe fn update(p: *mut u8, order: Ordering, f: impl Fn(Self) -> Self) -> Self;
}

macro_rules! words {
    ($($t:ty, $atomic:ty;)*) => { $(
        impl Word for $t {
            const BYTES: usize = size_of::<$t>();
            fn from_bits(bits: u64) -> $t {
                bits as $t
            }
            fn bits(self) -> u64 {
                self as u64
            }
            unsafe fn update(p: *mut u8, order: Ordering, f: impl Fn($t) -> $t) -> $t {
                // SAFETY: the caller's.
                let word = unsafe { <$atomic>::from_ptr(p as *mut $t) };
                let mut old = word.load(Ordering::Relaxed);
                loop {
                    match word.compare_exchange_weak(old, f(old), order, Ordering::Relaxed) {
                        Ok(old) => return old,
                        Err(now) => old = now,
                    }
                }
            }
        }
    )* };
}
words! {
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}

/// Constants of an atomic: space, offset, order, and whether there is a destination.
pub const RELAXED: i64 = 0;
pub const ACQUIRE: i64 = 1;
pub const RELEASE: i64 = 2;
pub const BOTH: i64 = 3;

/// Operands: the old value (if wanted), the address, `b`, and for `cas` `c`. The word becomes `f(old, b, c, global)`.
unsafe fn atomic<T: Word>(w: &mut Warp, list: &List, r: *mut u8, f: impl Fn(T, T, T, bool) -> T) -> u32 {
    let [space, offset, order, returns] = [0, 1, 2, 3].map(|k| list.imms[k]);
    let order = match order {
        RELAXED => Ordering::Relaxed,
        ACQUIRE => Ordering::Acquire,
        RELEASE => Ordering::Release,
        _ => Ordering::AcqRel,
    };
    let uses = &list.regs[returns as usize..];
    let (space, offset) = (space as u8, offset as u64);
    let words = Reach { place: list.place, touch: Touch::Atomic, strong: true, space, offset, bytes: T::BYTES as u64 };
    // SAFETY: the decoder has given every operand a register of its kind; `places` has checked every word.
    unsafe {
        let places = match places(w, r, uses[0], &words) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        let own = |p: *mut u8| {
            let inside = |base: *mut u8, bytes: u64| (p as u64).wrapping_sub(base as u64) < bytes;
            inside(w.shared, w.shared_bytes) || inside(w.local, 32 * w.local_bytes)
        };
        for lane in lanes(w.mask) {
            let operand = |k: usize| uses.get(k).map_or(0, |&at| get(r, at, T::BYTES, lane));
            let (b, c) = (T::from_bits(operand(1)), T::from_bits(operand(2)));
            let p = places[lane];
            let old = if own(p) {
                let old = (p as *const T).read_unaligned();
                (p as *mut T).write_unaligned(f(old, b, c, false));
                old
            } else {
                T::update(p, order, |old| f(old, b, c, true))
            };
            if returns != 0 {
                set(r, list.regs[0], T::BYTES, lane, old.bits());
            }
        }
    }
    NEXT
}

/// `operation type…: word, new value;` with `(old, b, c, global)`.
macro_rules! operations {
    ($($op:literal $($ty:literal)|+ => $t:ty, |$old:pat_param, $b:pat_param, $c:pat_param, $global:pat_param| $new:expr;)*) => {
        /// The operation of that name on that type: with a result, and without.
        pub fn find(op: &str, ty: &str) -> Option<&'static [Wide; 2]> {
            match (op, ty) {
                $( ($op, $($ty)|+) => {
                    unsafe fn run(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
                        // SAFETY: the decoder's lists are what `atomic` asks for.
                        unsafe { atomic::<$t>(w, list, r, |$old, $b, $c, $global| $new) }
                    }
                    static WIDE: [Wide; 2] = [
                        Wide { name: concat!("atom.", $op), run: one_level_wide(run), waits: false, strong: true },
                        Wide { name: concat!("red.", $op), run: one_level_wide(run), waits: false, strong: false },
                    ];
                    Some(&WIDE)
                } )*
                _ => None,
            }
        }
    };
}
operations! {
    "add" "u32" | "s32" => u32, |a, b, _, _| a.wrapping_add(b);
    "add" "u64" => u64, |a, b, _, _| a.wrapping_add(b);
    "add" "f32" => u32, |a, b, _, global| add_f32(a, b, global);
    "add" "f64" => u64, |a, b, _, _| (f64::from_bits(a) + f64::from_bits(b)).to_bits();
    "add" "f16" => u16, |a, b, _, _| add_f16(a, b);
    "add" "bf16" => u16, |a, b, _, _| add_bf16(a, b);
    "add" "f16x2" => u32, |a, b, _, _| halves(a, b, add_f16);
    "add" "bf16x2" => u32, |a, b, _, _| halves(a, b, add_bf16);
    "min" "u32" => u32, |a, b, _, _| a.min(b);
    "min" "s32" => u32, |a, b, _, _| (a as i32).min(b as i32) as u32;
    "min" "u64" => u64, |a, b, _, _| a.min(b);
    "min" "s64" => u64, |a, b, _, _| (a as i64).min(b as i64) as u64;
    "max" "u32" => u32, |a, b, _, _| a.max(b);
    "max" "s32" => u32, |a, b, _, _| (a as i32).max(b as i32) as u32;
    "max" "u64" => u64, |a, b, _, _| a.max(b);
    "max" "s64" => u64, |a, b, _, _| (a as i64).max(b as i64) as u64;
    "inc" "u32" => u32, |a, b, _, _| if a >= b { 0 } else { a + 1 };
    "dec" "u32" => u32, |a, b, _, _| if a == 0 || a > b { b } else { a - 1 };
    "and" "b32" => u32, |a, b, _, _| a & b;
    "and" "b64" => u64, |a, b, _, _| a & b;
    "or" "b32" => u32, |a, b, _, _| a | b;
    "or" "b64" => u64, |a, b, _, _| a | b;
    "xor" "b32" => u32, |a, b, _, _| a ^ b;
    "xor" "b64" => u64, |a, b, _, _| a ^ b;
    "exch" "b32" => u32, |_, b, _, _| b;
    "exch" "b64" => u64, |_, b, _, _| b;
    "cas" "b16" => u16, |a, b, c, _| if a == b { c } else { a };
    "cas" "b32" => u32, |a, b, c, _| if a == b { c } else { a };
    "cas" "b64" => u64, |a, b, c, _| if a == b { c } else { a };
}

/// Global memory flushes subnormal operands and sums, shared memory does not: PTX ISA 9.0, 9.7.13.8.
fn add_f32(a: u32, b: u32, global: bool) -> u32 {
    let flush = |bits: u32| if global && bits & 0x7f80_0000 == 0 { bits & 1 << 31 } else { bits };
    let sum = f32::from_bits(flush(a)) + f32::from_bits(flush(b));
    if sum.is_nan() { 0x7fff_ffff } else { flush(sum.to_bits()) }
}

/// f32 has more than twice the digits, so that rounding twice is rounding once.
fn add_f16(a: u16, b: u16) -> u16 {
    let sum = f16::from_f32(f16::from_bits(a).to_f32() + f16::from_bits(b).to_f32());
    if sum.is_nan() { 0x7fff } else { sum.to_bits() }
}

fn add_bf16(a: u16, b: u16) -> u16 {
    let sum = bf16::from_f32(bf16::from_bits(a).to_f32() + bf16::from_bits(b).to_f32());
    if sum.is_nan() { 0x7fff } else { sum.to_bits() }
}

fn halves(a: u32, b: u32, f: fn(u16, u16) -> u16) -> u32 {
    (f((a >> 16) as u16, (b >> 16) as u16) as u32) << 16 | f(a as u16, b as u16) as u32
}
