//! `mbarrier`: PTX ISA 9.0, 9.7.13.15. An object lies in shared memory, which one thread of the host works on.

use super::access::{Reach, get, lanes, places, set};
use super::alu::put_mask;
use super::{List, NEXT, Waits, Warp, Wide, one_level_wide};
use crate::tools::Touch;

const fn wide(name: &'static str, run: super::WideFn, strong: bool) -> Wide {
    Wide { name, run: one_level_wide(run), waits: false, strong }
}

// Operands: the address, and what the comment says. First constants: offset and space.
/// The count.
pub static INIT: Wide = wide("mbarrier.init", init, false);
pub static INVAL: Wide = wide("mbarrier.inval", inval, false);
/// Definition: the state (if wanted); the count, and the transactions (if there are any). Constants: [`RETURNS`] and
/// the like, added.
pub static ARRIVE: Wide = wide("mbarrier.arrive", arrive, true);
/// The transactions. Constant: 1 if they are complete, 0 if they are expected.
pub static TRANSACT: Wide = wide("mbarrier.expect_tx", transact, true);
/// Definition: a predicate. The state, or the parity (constant: 1).
pub static TEST: Wide = wide("mbarrier.test_wait", test, true);
/// Definition and operand, no address and no constants: the count in a state.
pub static PENDING: Wide = wide("mbarrier.pending_count", pending, false);

/// What an `arrive` does besides.
pub const RETURNS: i64 = 1;
pub const DROPS: i64 = 2;
pub const NEVER_COMPLETES: i64 = 4;
pub const EXPECTS: i64 = 8;

/// Branches that a test is worth that has to be made again.
const WAIT: u64 = 1024;

/// Counts have 20 bits: PTX ISA 9.0, 9.7.13.15.2.
const MOST: u64 = (1 << 20) - 1;
const TAG: u64 = 0b01;

/// An object's 64 bits: pending 0..20, expected 20..40, transactions 40..61 (two's complement), phase 61, tag 62..64.
/// A state is those of the object at the time.
#[derive(Clone, Copy)]
pub struct Object {
    /// Arrivals that the phase waits for, and the next one will.
    pending: u64,
    expected: u64,
    transactions: i64,
    phase: u64,
}

const UNINITIALISED: &str =
    "mbarrier.init must come first, with a barrier of the block between it and the other threads";
const COUNTS: &str = "the count given to mbarrier.init must be that of the arrivals in each phase";

impl Object {
    fn of(word: u64) -> Option<Object> {
        let transactions = (word << 3) as i64 >> 43;
        let object = Object { pending: word & MOST, expected: word >> 20 & MOST, transactions, phase: word >> 61 & 1 };
        (word >> 62 == TAG).then_some(object)
    }

    fn word(self) -> u64 {
        let transactions = (self.transactions as u64 & ((1 << 21) - 1)) << 40;
        self.pending | self.expected << 20 | transactions | self.phase << 61 | TAG << 62
    }

    /// What an instruction does to the object; its first constants are offset and space.
    pub fn reach(list: &List) -> Reach {
        let (offset, space) = (list.imms[0] as u64, list.imms[1] as u8);
        Reach { place: list.place, touch: Touch::Atomic, strong: true, space, offset, bytes: 8 }
    }

    /// Completes the phase if nothing is left to wait for.
    fn advance(mut self) -> Object {
        if self.pending == 0 && self.transactions == 0 {
            self.pending = self.expected;
            self.phase ^= 1;
        }
        self
    }

    /// Arrives `count` times; an error says what is wrong.
    fn arrive(mut self, count: u64) -> Result<Object, String> {
        if count == 0 || count > self.pending {
            return Err(format!("mbarrier: {count} arrivals, but the phase waits for {} more", self.pending));
        }
        self.pending -= count;
        Ok(self.advance())
    }
}

/// Where the objects of the lanes in the mask lie, if all are in shared memory.
///
/// # Safety
/// `at` must be a 64-bit register, and the list must start with offset and space.
unsafe fn objects(w: &mut Warp, r: *mut u8, at: u32, reach: &Reach) -> Result<[*mut u8; super::LANES], u32> {
    // SAFETY: the caller's.
    let places = unsafe { places(w, r, at, reach)? };
    let outside = |p: *mut u8| (p as u64).wrapping_sub(w.shared as u64) >= w.shared_bytes;
    match lanes(w.mask).find(|&lane| outside(places[lane])) {
        Some(lane) => {
            let what = "an mbarrier object outside shared memory".to_string();
            Err(w.trap_of("synccheck", what, "declare it `__shared__`", lane as u32))
        }
        None => Ok(places),
    }
}

/// Changes each lane's object in turn; `f` gets the lane and the object, and an error of it is a trap.
///
/// # Safety
/// As [`objects`].
unsafe fn change(
    w: &mut Warp,
    list: &List,
    r: *mut u8,
    at: u32,
    f: impl Fn(usize, Object) -> Result<Object, String>,
) -> u32 {
    // SAFETY: the caller's; `objects` has checked every byte.
    unsafe {
        let places = match objects(w, r, at, &Object::reach(list)) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        w.acts();
        for lane in lanes(w.mask) {
            let p = places[lane] as *mut u64;
            let Some(object) = Object::of(p.read_unaligned()) else { return uninitialised(w, lane) };
            match f(lane, object) {
                Ok(object) => p.write_unaligned(object.word()),
                Err(what) => return w.trap_of("synccheck", what, COUNTS, lane as u32),
            }
        }
    }
    NEXT
}

fn uninitialised(w: &mut Warp, lane: usize) -> u32 {
    w.trap_of("synccheck", "an mbarrier object that is not initialised".to_string(), UNINITIALISED, lane as u32)
}

unsafe fn init(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // Whatever lay there is not read; and nothing else on the object may happen at the same time.
    let reach = Reach { touch: Touch::Write, strong: false, ..Object::reach(list) };
    // SAFETY: the decoder has given every operand a register of its kind.
    unsafe {
        let places = match objects(w, r, list.regs[0], &reach) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        for lane in lanes(w.mask) {
            let count = get(r, list.regs[1], 4, lane);
            if !(1..=MOST).contains(&count) {
                let what = format!("mbarrier.init for {count} arrivals");
                return w.trap_of("synccheck", what, "the count lies between 1 and 2^20 - 1", lane as u32);
            }
            let object = Object { pending: count, expected: count, transactions: 0, phase: 0 };
            (places[lane] as *mut u64).write_unaligned(object.word());
        }
    }
    NEXT
}

unsafe fn inval(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: as in `init`.
    unsafe {
        let places = match objects(w, r, list.regs[0], &Object::reach(list)) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        for lane in lanes(w.mask) {
            let p = places[lane] as *mut u64;
            if Object::of(p.read_unaligned()).is_none() {
                return uninitialised(w, lane);
            }
            p.write_unaligned(u64::MAX);
        }
    }
    NEXT
}

unsafe fn arrive(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let flags = list.imms[2];
    let uses = &list.regs[(flags & RETURNS) as usize..];
    // SAFETY: as in `init`.
    unsafe {
        change(w, list, r, uses[0], |lane, mut object| {
            let count = get(r, uses[1], 4, lane);
            if flags & EXPECTS != 0 {
                object = expect(object, get(r, uses[2], 4, lane) as i64)?;
            }
            if flags & RETURNS != 0 {
                set(r, list.regs[0], 8, lane, object.word());
            }
            if flags & NEVER_COMPLETES != 0 && count >= object.pending {
                return Err(format!("mbarrier.arrive.noComplete: {count} arrivals complete the phase"));
            }
            if flags & DROPS != 0 {
                object.expected = object.expected.saturating_sub(count);
            }
            object.arrive(count)
        })
    }
}

fn expect(mut object: Object, transactions: i64) -> Result<Object, String> {
    object.transactions += transactions;
    match object.transactions.unsigned_abs() > MOST {
        true => Err(format!("mbarrier: {} transactions are expected", object.transactions)),
        false => Ok(object),
    }
}

unsafe fn transact(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let sign = if list.imms[2] == 1 { -1 } else { 1 };
    // SAFETY: as in `init`.
    unsafe {
        change(w, list, r, list.regs[0], |lane, object| {
            let count = get(r, list.regs[1], 4, lane) as u32 as i64;
            let object = expect(object, sign * count)?;
            Ok(if sign < 0 { object.advance() } else { object })
        })
    }
}

unsafe fn test(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let parity = list.imms[2] == 1;
    // SAFETY: as in `init`.
    unsafe {
        let places = match objects(w, r, list.regs[1], &Object::reach(list)) {
            Ok(places) => places,
            Err(trap) => return trap,
        };
        let (mut done, mut waits) = (0, None);
        for lane in lanes(w.mask) {
            if let Some(what) = w.copies().arrived(places[lane]) {
                return w.trap_of("synccheck", what, COUNTS, lane as u32);
            }
            let Some(object) = Object::of((places[lane] as *const u64).read_unaligned()) else {
                return uninitialised(w, lane);
            };
            let phase = match parity {
                true => get(r, list.regs[2], 4, lane) & 1,
                false => match Object::of(get(r, list.regs[2], 8, lane)) {
                    Some(state) => state.phase,
                    None => {
                        let help = "a state is what mbarrier.arrive has returned";
                        return w.trap_of(
                            "synccheck",
                            "mbarrier.test_wait: this is no state".to_string(),
                            help,
                            lane as u32,
                        );
                    }
                },
            };
            done |= ((object.phase != phase) as u32) << lane;
            let Object { pending, transactions, .. } = object;
            if object.phase == phase {
                waits = Some(Waits { arrivals: pending, transactions });
            }
        }
        put_mask(w, r, list.regs[0], done);
        if done != 0 {
            w.acts();
        }
        if done != w.mask {
            w.waits = waits;
            w.give_way(WAIT);
        }
    }
    NEXT
}

unsafe fn pending(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: as in `init`.
    unsafe {
        for lane in lanes(w.mask) {
            let count = get(r, list.regs[1], 8, lane) & MOST;
            set(r, list.regs[0], 4, lane, count);
        }
    }
    NEXT
}

/// `cp.async.mbarrier.arrive` has been executed: without `.noinc`, the phase waits for one arrival more.
///
/// # Safety
/// `p` must be 8 bytes of shared memory.
pub unsafe fn announce(p: *mut u8) -> Result<(), String> {
    // SAFETY: the caller's.
    unsafe {
        let mut object = read(p)?;
        object.pending += 1;
        if object.pending > MOST {
            return Err("mbarrier: too many arrivals are pending".into());
        }
        (p as *mut u64).write_unaligned(object.word());
    }
    Ok(())
}

/// One arrival, of copies that have been made.
///
/// # Safety
/// As [`announce`].
pub unsafe fn arrive_once(p: *mut u8) -> Result<(), String> {
    // SAFETY: the caller's.
    unsafe {
        let object = read(p)?.arrive(1)?;
        (p as *mut u64).write_unaligned(object.word());
    }
    Ok(())
}

unsafe fn read(p: *mut u8) -> Result<Object, String> {
    // SAFETY: the caller's.
    let word = unsafe { (p as *const u64).read_unaligned() };
    Object::of(word).ok_or_else(|| "an mbarrier object that is not initialised".to_string())
}
