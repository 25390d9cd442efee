//! `cp.async`: PTX ISA 9.0, 9.7.9.25.
//!
//! A copy may be made at any time before a wait for it ends. Usually that is at once. Deferred, it is made at that wait,
//! and the destination holds nothing of use until then: a thread that does not wait computes with NaN.

use super::access::{Reach, get, lanes, places};
use super::alu::Source;
use super::matrix::wide_levels;
use super::mbarrier;
use super::mem::{GLOBAL, SHARED, find};
use super::{LANES, List, NEXT, Warp, Wide, one_level_wide};
use crate::memory::{OFFSET_BITS, locate};
use crate::tools::Touch;

const fn wide(name: &'static str, run: super::WideFn) -> Wide {
    Wide { name, run: one_level_wide(run), waits: false, strong: false }
}

/// Operands: destination and source address, and what [`SIZED`] or [`IGNORED`] says. Constants: both offsets, the bytes
/// of a copy, and that.
pub static COPY: Wide = Wide { name: "cp.async", run: wide_levels!(start [] []), waits: false, strong: false };
pub static COMMIT: Wide = wide("cp.async.commit_group", commit);
/// Constant: groups that need not have arrived; negative: wait for those that are not in a group either.
pub static WAIT: Wide = wide("cp.async.wait_group", wait);
/// Operand: the address. Constants: offset, space, 1 for `.noinc`.
pub static ARRIVE: Wide =
    Wide { name: "cp.async.mbarrier.arrive", run: one_level_wide(arrive), waits: false, strong: true };

/// The third operand is the number of bytes to read, the others being zero; or a predicate, negated or not, under which
/// all are.
pub const SIZED: i64 = 1;
pub const IGNORED: i64 = 2;
pub const NOT_IGNORED: i64 = 3;

/// What the threads of a block have under way, in the order of its start.
#[derive(Default)]
pub struct Copies {
    pending: Vec<Pending>,
    /// Groups that each thread has committed.
    groups: Vec<u32>,
}

struct Pending {
    thread: usize,
    /// The thread's groups at the time.
    group: u32,
    what: What,
}

enum What {
    Copy {
        to: *mut u8,
        from: *const u8,
        size: usize,
        bytes: usize,
    },
    /// At an mbarrier object, when what the thread has started before is made.
    Arrive(*mut u8),
}

impl Copies {
    /// For a block that starts, if copies are deferred.
    pub fn start(&mut self, threads: usize) {
        self.pending.clear();
        self.groups.clear();
        self.groups.resize(threads, 0);
    }

    /// The thread whose copy to some of these bytes is still under way.
    pub fn writes(&self, at: *const u8, bytes: u64) -> Option<usize> {
        let found = self.pending.iter().find(|pending| match pending.what {
            What::Copy { to, size, .. } => (to as u64) < at as u64 + bytes && (at as u64) < to as u64 + size as u64,
            What::Arrive(_) => false,
        });
        found.map(|pending| pending.thread)
    }

    /// Makes those copies for which `now` holds.
    fn settle(&mut self, now: impl Fn(usize, &Pending) -> bool) {
        let mut at = 0;
        self.pending.retain(|pending| {
            let make = now(at, pending);
            at += 1;
            match pending.what {
                What::Copy { to, from, size, bytes } if make => {
                    // SAFETY: both ranges were checked when the copy was started, and outlive the block.
                    unsafe { make_copy(to, from, size, bytes) };
                    false
                }
                _ => true,
            }
        });
    }

    /// Arrivals at this object happen, with the copies before them; what is wrong if the object does not expect them.
    pub fn arrived(&mut self, object: *mut u8) -> Option<String> {
        loop {
            let is_here = |pending: &Pending| matches!(pending.what, What::Arrive(at) if at == object);
            let at = self.pending.iter().position(is_here)?;
            let thread = self.pending.remove(at).thread;
            self.settle(|k, pending| k < at && pending.thread == thread);
            // SAFETY: the object lies in shared memory, as `arrive` has checked.
            if let Err(what) = unsafe { mbarrier::arrive_once(object) } {
                return Some(what);
            }
        }
    }
}

/// # Safety
/// `size` bytes must be writable at `to`, `bytes` readable at `from`.
unsafe fn make_copy(to: *mut u8, from: *const u8, size: usize, bytes: usize) {
    // SAFETY: the caller's; shared and global memory do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, bytes);
        to.add(bytes).write_bytes(0, size - bytes);
    }
}

impl Warp {
    /// What its block has under way.
    pub fn copies(&mut self) -> &mut Copies {
        // SAFETY: the block's, which one thread of the host works on and no one else borrows.
        unsafe { &mut *self.copies }
    }

    fn thread(&self, lane: usize) -> usize {
        self.index as usize * LANES + lane
    }
}

/// Copies by all lanes of whole pieces, which is what kernels do: at once, if nobody watches.
///
/// # Safety
/// The decoder must have given every operand a register of its kind.
#[inline(always)]
unsafe fn start<const FAST: bool>(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let plain = w.mask == u32::MAX && !w.deferred && w.tools.is_null() && list.imms[3] == 0;
    // SAFETY: the caller's.
    unsafe {
        let made = match list.imms[2] {
            _ if !plain => false,
            4 => at_once::<4>(w, list, r),
            8 => at_once::<8>(w, list, r),
            _ => at_once::<16>(w, list, r),
        };
        if made { NEXT } else { copy(w, list, r) }
    }
}

/// Makes the copies if all lie inside shared memory and one allocation; otherwise does nothing.
///
/// # Safety
/// As [`start`].
#[inline(always)]
unsafe fn at_once<const SIZE: usize>(w: &Warp, list: &List, r: *mut u8) -> bool {
    // SAFETY: the caller's; both ranges are compared with what they lie in.
    unsafe {
        let register = |at: usize| &*(r.add(list.regs[at] as usize) as *const [u64; LANES]);
        let (to, from) = (register(0), register(1));
        let (to_offset, from_offset) = (list.imms[0] as u64, list.imms[1] as u64);
        let first = from[0].wrapping_add(from_offset) >> OFFSET_BITS << OFFSET_BITS;
        let (mut low, mut beyond, mut to_end, mut from_end) = (0, 0, 0, 0);
        for i in 0..LANES {
            let (to, from) = (to[i].wrapping_add(to_offset), from[i].wrapping_add(from_offset).wrapping_sub(first));
            low |= to | from;
            beyond |= to >> 32 | from >> OFFSET_BITS;
            to_end = to_end.max(to as u32);
            from_end = from_end.max(from as i64);
        }
        let size = SIZE as u64;
        if low & (size - 1) != 0 || beyond != 0 || to_end as u64 + size > w.shared_bytes {
            return false;
        }
        let blocks = std::slice::from_raw_parts(w.blocks, w.block_count);
        let Some(base) = locate(blocks, first, from_end as u64 + size) else { return false };
        for i in 0..LANES {
            let from = base.add(from[i].wrapping_add(from_offset).wrapping_sub(first) as usize) as *const [u8; SIZE];
            *(w.shared.add(to[i].wrapping_add(to_offset) as usize) as *mut [u8; SIZE]) = *from;
        }
    }
    true
}

unsafe fn copy(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let [to_offset, from_offset, size, mode] = [0, 1, 2, 3].map(|k| list.imms[k]);
    let size = size as u64;
    let reach = |touch, space, offset: i64| Reach {
        place: list.place,
        touch,
        strong: false,
        space,
        offset: offset as u64,
        bytes: size,
    };
    let mut from = [std::ptr::null_mut::<u8>(); LANES];
    let mut bytes = [size; LANES];
    // SAFETY: the decoder has given every operand a register of its kind; every byte is checked before the first copy.
    unsafe {
        let to = match places(w, r, list.regs[0], &reach(Touch::Write, SHARED, to_offset)) {
            Ok(to) => to,
            Err(trap) => return trap,
        };
        let addresses = Source::<u64>::all(r, list.regs[1]).map(|a| a.wrapping_add(from_offset as u64));
        for lane in lanes(w.mask) {
            bytes[lane] = match mode {
                SIZED => get(r, list.regs[2], 4, lane),
                IGNORED | NOT_IGNORED => {
                    let ignored = *(r.add(list.regs[2] as usize) as *const u32) >> lane & 1 == (mode == IGNORED) as u32;
                    if ignored { 0 } else { size }
                }
                _ => size,
            };
            if bytes[lane] > size {
                let what = format!("cp.async: {} bytes to read for a copy of {size}", bytes[lane]);
                return w.trap(what, "the size of the source cannot be larger than that of the copy", lane as u32);
            }
        }
        let (mask, readers) = (w.mask, readers(w.mask, &bytes));
        let mut rest = readers;
        while rest != 0 && !w.tools.is_null() {
            let read = bytes[rest.trailing_zeros() as usize];
            w.mask = lanes(rest).filter(|&lane| bytes[lane] == read).fold(0, |same, lane| same | 1 << lane);
            rest &= !w.mask;
            let shown = Reach { bytes: read, ..reach(Touch::Read, GLOBAL, from_offset) }.show(w, &addresses);
            w.mask = mask;
            if let Err(trap) = shown {
                return trap;
            }
        }
        for lane in lanes(readers) {
            from[lane] = match find(w, GLOBAL, lane, addresses[lane], bytes[lane], size) {
                Ok(from) => from,
                Err(trap) => return trap,
            };
        }
        for lane in lanes(w.mask) {
            let (to, from, size, bytes) = (to[lane], from[lane], size as usize, bytes[lane] as usize);
            if !w.deferred {
                if bytes > 0 {
                    std::ptr::copy_nonoverlapping(from, to, bytes);
                }
                to.add(bytes).write_bytes(0, size - bytes);
                continue;
            }
            to.write_bytes(u8::MAX, size);
            let thread = w.thread(lane);
            let copies = w.copies();
            let from = if bytes > 0 { from } else { to };
            let group = copies.groups[thread];
            copies.pending.push(Pending { thread, group, what: What::Copy { to, from, size, bytes } });
        }
    }
    NEXT
}

/// The lanes that read anything.
fn readers(mask: u32, bytes: &[u64; LANES]) -> u32 {
    lanes(mask).filter(|&lane| bytes[lane] > 0).fold(0, |readers, lane| readers | 1 << lane)
}

unsafe fn commit(w: &mut Warp, _: &List, _: *mut u8) -> u32 {
    if w.deferred {
        for lane in lanes(w.mask) {
            let thread = w.thread(lane);
            w.copies().groups[thread] += 1;
        }
    }
    NEXT
}

unsafe fn wait(w: &mut Warp, list: &List, _: *mut u8) -> u32 {
    if w.deferred {
        let (mask, first, allowed) = (w.mask, w.thread(0), list.imms[0]);
        let copies = w.copies();
        let groups = std::mem::take(&mut copies.groups);
        copies.settle(|_, pending| {
            let lane = pending.thread.wrapping_sub(first);
            let waits = lane < LANES && mask >> lane & 1 == 1;
            waits && (pending.group as i64) < groups[pending.thread] as i64 - allowed
        });
        copies.groups = groups;
    }
    NEXT
}

unsafe fn arrive(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let noinc = list.imms[2];
    // SAFETY: as in `copy`.
    unsafe {
        let objects = match places(w, r, list.regs[0], &mbarrier::Object::reach(list)) {
            Ok(objects) => objects,
            Err(trap) => return trap,
        };
        for lane in lanes(w.mask) {
            let object = objects[lane];
            if (object as u64).wrapping_sub(w.shared as u64) >= w.shared_bytes {
                return w.trap_of(
                    "synccheck",
                    "an mbarrier object outside shared memory".into(),
                    "declare it `__shared__`",
                    lane as u32,
                );
            }
            let mut result = if noinc == 1 { Ok(()) } else { mbarrier::announce(object) };
            if result.is_ok() && !w.deferred {
                result = mbarrier::arrive_once(object);
            }
            if let Err(what) = result {
                let help = "was mbarrier.init executed, and for as many arrivals as there are?";
                return w.trap_of("synccheck", what, help, lane as u32);
            }
            if w.deferred {
                let thread = w.thread(lane);
                let copies = w.copies();
                let group = copies.groups[thread];
                copies.pending.push(Pending { thread, group, what: What::Arrive(object) });
            }
        }
    }
    NEXT
}
