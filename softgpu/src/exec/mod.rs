//! Executes a [`Program`]: warps of 32 lanes, one vector loop per instruction.
//!
//! Lanes that agree run together; after a divergent branch the group with the lowest pc runs first, and groups that
//! meet at the same pc run on as one, so that branches reconverge without any marks in the code.

pub mod mem;
mod sched;
pub mod warp;

pub use sched::{Launch, launch};

use crate::isa::{Kind, Lane};
use crate::memory::Block;

pub const LANES: usize = 32;
/// Program counters from here on are events, not instructions.
pub const EVENT: u32 = 0xffff_fff0;
pub const EXIT: u32 = EVENT;
pub const BARRIER: u32 = EVENT + 1;
pub const TRAP: u32 = EVENT + 2;
pub const DIVERGED: u32 = EVENT + 3;

/// Runs one instruction and says where to go on: the next pc, or an event.
pub type Handler = unsafe fn(&mut Warp, &Op, u32) -> u32;

/// One decoded instruction. `d` is the destination, `a b c e` the sources (for vectors: further destinations).
#[derive(Clone, Copy)]
pub struct Op {
    pub run: Handler,
    pub d: u16,
    pub a: u16,
    pub b: u16,
    pub c: u16,
    pub e: u16,
    pub imm: u32,
}

/// What a handler may touch. Registers: slot s is 32 words at `registers + 32·s`; 64-bit registers take two slots.
pub struct Warp {
    pub registers: *mut u32,
    pub predicates: *mut u32,
    /// Lanes that execute now, and lanes that have not exited.
    pub mask: u32,
    pub live: u32,
    pub blocks: *const Block,
    pub block_count: usize,
    pub shared: *mut u8,
    pub shared_bytes: u64,
    pub local: *mut u8,
    pub local_bytes: u64,
    /// Lanes that jump, after `DIVERGED`.
    pub taken: u32,
    /// What went wrong, in which lane, and what to do, after `TRAP`.
    pub stop: Option<(String, &'static str, u32)>,
}

impl Warp {
    pub fn trap(&mut self, what: String, help: &'static str, lane: u32) -> u32 {
        self.stop = Some((what, help, lane));
        TRAP
    }

    /// The lanes of a register, to be read one by one.
    ///
    /// # Safety
    /// `slot` must hold a register of `T`'s kind.
    #[inline(always)]
    pub unsafe fn source<T: Lane>(&self, slot: u16) -> Source<T> {
        // SAFETY: the decoder numbers slots below the sizes of the files.
        unsafe {
            match T::KIND {
                Kind::P => Source { lanes: std::ptr::null(), bits: *self.predicates.add(slot as usize) },
                _ => Source { lanes: self.registers.add(slot as usize * LANES) as *const T::Raw, bits: 0 },
            }
        }
    }

    /// # Safety
    /// As [`Warp::source`].
    #[inline(always)]
    pub unsafe fn get<T: Lane>(&self, slot: u16) -> [T; LANES] {
        let mut out = [T::default(); LANES];
        // SAFETY: the caller's; i is a lane.
        unsafe {
            let source = self.source::<T>(slot);
            for (i, out) in out.iter_mut().enumerate() {
                *out = source.lane(i);
            }
        }
        out
    }

    /// Writes the lanes in `mask`. Loops, not iterator chains or `from_fn`: whatever is not inlined into the handler is
    /// compiled without its vector instructions.
    ///
    /// # Safety
    /// As [`Warp::source`].
    #[inline(always)]
    pub unsafe fn put<T: Lane>(&mut self, slot: u16, values: &[T; LANES]) {
        // SAFETY: as in `source`; a lane's raw form is u32 for kind P.
        unsafe {
            if let Kind::P = T::KIND {
                let mut bits = 0;
                for (i, v) in values.iter().enumerate() {
                    bits |= v.bit() << i;
                }
                let p = self.predicates.add(slot as usize);
                *p = *p & !self.mask | bits & self.mask;
                return;
            }
            let mut raw = [T::Raw::default(); LANES];
            for (raw, v) in raw.iter_mut().zip(values) {
                *raw = v.to_raw();
            }
            let out = self.registers.add(slot as usize * LANES) as *mut [T::Raw; LANES];
            if self.mask != self.live {
                let old = *out;
                for (i, (raw, old)) in raw.iter_mut().zip(old).enumerate() {
                    *raw = T::blend(self.mask >> i & 1, *raw, old);
                }
            }
            *out = raw; // lanes that have exited hold rubbish, unread
        }
    }
}

/// A register's lanes: words in memory, or the bits of a predicate.
pub struct Source<T: Lane> {
    lanes: *const T::Raw,
    bits: u32,
}

impl<T: Lane> Source<T> {
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
}

/// # Safety
/// `op`'s slots must hold registers of the kinds of `D` and `A`.
#[inline(always)]
pub unsafe fn alu1<D: Lane, A: Lane>(w: &mut Warp, op: &Op, f: impl Fn(A) -> D) {
    // SAFETY: the caller's. The result is written after all lanes are read: `d` may be a source.
    unsafe {
        let a = w.source::<A>(op.a);
        let mut out = [D::default(); LANES];
        for (i, out) in out.iter_mut().enumerate() {
            *out = f(a.lane(i));
        }
        w.put(op.d, &out);
    }
}

/// # Safety
/// As [`alu1`].
#[inline(always)]
pub unsafe fn alu2<D: Lane, A: Lane, B: Lane>(w: &mut Warp, op: &Op, f: impl Fn(A, B) -> D) {
    // SAFETY: as in `alu1`.
    unsafe {
        let (a, b) = (w.source::<A>(op.a), w.source::<B>(op.b));
        let mut out = [D::default(); LANES];
        for (i, out) in out.iter_mut().enumerate() {
            *out = f(a.lane(i), b.lane(i));
        }
        w.put(op.d, &out);
    }
}

/// # Safety
/// As [`alu1`].
#[inline(always)]
pub unsafe fn alu3<D: Lane, A: Lane, B: Lane, C: Lane>(w: &mut Warp, op: &Op, f: impl Fn(A, B, C) -> D) {
    // SAFETY: as in `alu1`.
    unsafe {
        let (a, b, c) = (w.source::<A>(op.a), w.source::<B>(op.b), w.source::<C>(op.c));
        let mut out = [D::default(); LANES];
        for (i, out) in out.iter_mut().enumerate() {
            *out = f(a.lane(i), b.lane(i), c.lane(i));
        }
        w.put(op.d, &out);
    }
}

/// The vector instructions that handlers are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Baseline,
    Avx2,
    Avx512,
}

impl Level {
    /// The best that this machine has.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => Level::Avx512,
                (true, false) => Level::Avx2,
                _ => Level::Baseline,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::Baseline
    }
}

/// The baseline, AVX2 and AVX-512 copies of an `#[inline(always)]` handler.
macro_rules! three_levels {
    ($($body:tt)+) => {{
        use $crate::exec::{Handler, Op, Warp};
        unsafe fn baseline(w: &mut Warp, op: &Op, pc: u32) -> u32 {
            // SAFETY: handlers run only on operands that the decoder has checked.
            unsafe { $($body)+(w, op, pc) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx2(w: &mut Warp, op: &Op, pc: u32) -> u32 {
            // SAFETY: as above; `level` has found the features.
            unsafe { $($body)+(w, op, pc) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx512(w: &mut Warp, op: &Op, pc: u32) -> u32 {
            // SAFETY: as above; `level` has found the features.
            unsafe { $($body)+(w, op, pc) }
        }
        #[cfg(target_arch = "x86_64")]
        { [baseline as Handler, avx2 as Handler, avx512 as Handler] }
        #[cfg(not(target_arch = "x86_64"))]
        { [baseline as Handler; 3] }
    }};
}
pub(crate) use three_levels;
