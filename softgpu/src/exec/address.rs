//! Address spaces, fences, and hints that have an effect.

use std::sync::atomic::{Ordering, fence};

use super::access::{Reach, lanes, places};
use super::alu::{Source, put_mask};
use super::{LANES, List, NEXT, Warp, Wide, one_level_wide};
use crate::memory::{CONST_WINDOW, LOCAL_WINDOW, OFFSET_BITS, SHARED_WINDOW};
use crate::tools::Touch;

/// Destination predicate; a generic address. Constant: the window asked about, 0 for global memory.
pub static IS_SPACE: Wide = Wide { name: "isspacep", run: one_level_wide(is_space), waits: false, strong: false };
/// Constant: [`BLOCK`], [`CONSISTENT`] or 0.
pub static FENCE: Wide = Wide { name: "fence", run: one_level_wide(fence_all), waits: false, strong: false };
/// An address; what lies there for 128 bytes is lost. Constants: the offset, the space.
pub static DISCARD: Wide = Wide { name: "discard", run: one_level_wide(discard), waits: false, strong: false };

/// Within the block, whose threads see each other's accesses in program order anyway: one thread of the host runs them.
pub const BLOCK: i64 = 2;
pub const CONSISTENT: i64 = 1;

unsafe fn is_space(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let asked = list.imms[0] as u64;
    // SAFETY: the decoder has given every operand a register of its kind.
    unsafe {
        let addresses = Source::<u64>::all(r, list.regs[1]);
        let mut bits = 0;
        for (i, address) in addresses.iter().enumerate().take(LANES) {
            let window = address >> OFFSET_BITS << OFFSET_BITS;
            // The window of parameters lies inside that of global memory: PTX ISA 9.0, 5.1.
            let is = match asked {
                0 => !matches!(window, SHARED_WINDOW | LOCAL_WINDOW | CONST_WINDOW),
                asked => window == asked,
            };
            bits |= (is as u32) << i;
        }
        put_mask(w, r, list.regs[0], bits & w.mask);
    }
    NEXT
}

unsafe fn fence_all(_: &mut Warp, list: &List, _: *mut u8) -> u32 {
    match list.imms[0] {
        BLOCK => {}
        CONSISTENT => fence(Ordering::SeqCst),
        _ => fence(Ordering::AcqRel),
    }
    NEXT
}

/// Bytes that `discard` and `applypriority` speak of.
const LINE: usize = 128;

unsafe fn discard(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let (offset, space) = (list.imms[0] as u64, list.imms[1] as u8);
    let lines = Reach { place: list.place, touch: Touch::Write, strong: false, space, offset, bytes: LINE as u64 };
    // SAFETY: the decoder has given every operand a register of its kind; `places` has checked every byte.
    unsafe {
        match places(w, r, list.regs[0], &lines) {
            Ok(places) => lanes(w.mask).for_each(|lane| places[lane].write_bytes(u8::MAX, LINE)),
            Err(trap) => return trap,
        }
    }
    NEXT
}
