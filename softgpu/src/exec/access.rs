//! Loads and stores that are described at run time, lane by lane: those that other blocks may race with (volatile,
//! relaxed, acquire, release), whose elements are accessed by the host's atomics, and vectors of eight.
//!
//! Operands: the values, and the address (64 bits). Constants: see [`Shape`].

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alu::Source;
use super::mem::{GENERIC, find};
use super::{LANES, List, NEXT, Warp, Wide, one_level_wide};
use crate::tools::{Access, Touch};

/// What orders an access among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Relaxed,
    AcquireRelease,
}

/// The constants of an access: space, bytes of an element, whether elements are extended by their sign, what to add to
/// the address, the order, whether it is a strong access, and whether the elements are the parts of one value.
struct Shape {
    space: u8,
    bytes: usize,
    signed: bool,
    offset: u64,
    acquire: bool,
    strong: bool,
    whole: bool,
}

/// Held while a value of 128 bits is accessed, for which the host has no atomics: nobody sees half of one.
static WHOLE: Mutex<()> = Mutex::new(());

impl Shape {
    fn of(list: &List) -> Shape {
        let [space, bytes, signed, offset, order, strong, whole] = [0, 1, 2, 3, 4, 5, 6].map(|k| list.imms[k]);
        Shape {
            space: space as u8,
            bytes: bytes as usize,
            signed: signed != 0,
            offset: offset as u64,
            acquire: order == Order::AcquireRelease as i64,
            strong: strong != 0,
            whole: whole != 0,
        }
    }

    /// For the time of the access, if it is of values that must not be seen in part.
    fn alone(&self) -> Option<MutexGuard<'static, ()>> {
        self.whole.then(|| WHOLE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reach(&self, place: u32, touch: Touch, bytes: u64) -> Reach {
        Reach { place, touch, strong: self.strong, space: self.space, offset: self.offset, bytes }
    }
}

static STRONG_LOAD: Wide = Wide { name: "ld", run: one_level_wide(load_lanes), waits: false, strong: true };
static PLAIN_LOAD: Wide = Wide { name: "ld", run: one_level_wide(load_lanes), waits: false, strong: false };
pub static STORE: Wide = Wide { name: "st", run: one_level_wide(store_lanes), waits: false, strong: false };

/// Of values at an address: definitions, then the address.
pub fn load(strong: bool) -> &'static Wide {
    if strong { &STRONG_LOAD } else { &PLAIN_LOAD }
}

/// # Safety
/// `p` must be `bytes` readable bytes, aligned to their number.
unsafe fn read(p: *mut u8, shape: &Shape) -> u64 {
    let order = if shape.acquire { Ordering::Acquire } else { Ordering::Relaxed };
    // SAFETY: the caller's.
    unsafe {
        match (shape.bytes, shape.signed) {
            (1, false) => AtomicU8::from_ptr(p).load(order) as u64,
            (1, true) => AtomicU8::from_ptr(p).load(order) as i8 as u64,
            (2, false) => AtomicU16::from_ptr(p as *mut u16).load(order) as u64,
            (2, true) => AtomicU16::from_ptr(p as *mut u16).load(order) as i16 as u64,
            (4, _) => AtomicU32::from_ptr(p as *mut u32).load(order) as u64,
            _ => AtomicU64::from_ptr(p as *mut u64).load(order),
        }
    }
}

/// # Safety
/// As [`read`], and writable.
unsafe fn write(p: *mut u8, shape: &Shape, value: u64) {
    let order = if shape.acquire { Ordering::Release } else { Ordering::Relaxed };
    // SAFETY: the caller's.
    unsafe {
        match shape.bytes {
            1 => AtomicU8::from_ptr(p).store(value as u8, order),
            2 => AtomicU16::from_ptr(p as *mut u16).store(value as u16, order),
            4 => AtomicU32::from_ptr(p as *mut u32).store(value as u32, order),
            _ => AtomicU64::from_ptr(p as *mut u64).store(value, order),
        }
    }
}

/// Where the lanes in the mask access `bytes` bytes, aligned to `align`, at the address in register `at`; the others
/// get null. A trap before anything is done.
///
/// # Safety
/// `at` must be a 64-bit register.
pub unsafe fn places(w: &mut Warp, r: *mut u8, at: u32, to: &Reach) -> Result<[*mut u8; LANES], u32> {
    let mut places = [std::ptr::null_mut(); LANES];
    // SAFETY: the caller's.
    let addresses = unsafe { Source::<u64>::all(r, at) }.map(|address| address.wrapping_add(to.offset));
    to.show(w, &addresses)?;
    for lane in lanes(w.mask) {
        places[lane] = find(w, to.space, lane, addresses[lane], to.bytes, to.bytes)?;
    }
    Ok(places)
}

/// An access of the lanes of a warp, each to `bytes` bytes, aligned to their number, at `offset` from its address.
pub struct Reach {
    /// The instruction's.
    pub place: u32,
    pub touch: Touch,
    pub strong: bool,
    pub space: u8,
    pub offset: u64,
    pub bytes: u64,
}

impl Reach {
    /// Shows it to the tools, if there are any; an error is a trap.
    pub fn show(&self, w: &mut Warp, addresses: &[u64; LANES]) -> Result<(), u32> {
        if w.tools.is_null() {
            return Ok(());
        }
        let &Reach { place, touch, strong, space, bytes, .. } = self;
        let access = Access { place, touch, space: space.min(GENERIC), bytes: bytes as u32, strong };
        match w.show(&access, addresses) {
            NEXT => Ok(()),
            trap => Err(trap),
        }
    }
}

/// The lanes of a mask.
pub fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// One lane of a register of `bytes` bytes per value, extended to 64 bits.
///
/// # Safety
/// `at` must be such a register: up to 4 bytes, 32 bits wide.
pub unsafe fn get(r: *mut u8, at: u32, bytes: usize, lane: usize) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        let at = r.add(at as usize);
        if bytes == 8 { *(at as *const u64).add(lane) } else { *(at as *const u32).add(lane) as u64 }
    }
}

/// Writes one lane of a register.
///
/// # Safety
/// As [`get`].
pub unsafe fn set(r: *mut u8, at: u32, bytes: usize, lane: usize, value: u64) {
    // SAFETY: the caller's.
    unsafe {
        let at = r.add(at as usize);
        if bytes == 8 { *(at as *mut u64).add(lane) = value } else { *(at as *mut u32).add(lane) = value as u32 }
    }
}

unsafe fn load_lanes(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let shape = Shape::of(list);
    let Some((&at, values)) = list.regs.split_last() else { return NEXT };
    let whole = (values.len() * shape.bytes) as u64;
    // SAFETY: the decoder has given every operand a register of its kind; `places` has checked every byte.
    unsafe {
        let places = match places(w, r, at, &shape.reach(list.place, Touch::Read, whole)) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        let _alone = shape.alone();
        for lane in lanes(w.mask) {
            for (v, &to) in values.iter().enumerate() {
                set(r, to, shape.bytes, lane, read(places[lane].add(v * shape.bytes), &shape));
            }
        }
    }
    NEXT
}

unsafe fn store_lanes(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let shape = Shape::of(list);
    let Some((&at, values)) = list.regs.split_first() else { return NEXT };
    let whole = (values.len() * shape.bytes) as u64;
    // SAFETY: as in `load_lanes`.
    unsafe {
        let places = match places(w, r, at, &shape.reach(list.place, Touch::Write, whole)) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        let _alone = shape.alone();
        for lane in lanes(w.mask) {
            for (v, &from) in values.iter().enumerate() {
                write(places[lane].add(v * shape.bytes), &shape, get(r, from, shape.bytes, lane));
            }
        }
    }
    NEXT
}
