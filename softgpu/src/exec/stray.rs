//! What is wrong with an access.

use super::mem::{GENERIC, GLOBAL, LOCAL, SHARED, WRITE};
use super::{Fault, TRAP, Warp};
use crate::memory::{CONST_WINDOW, LOCAL_WINDOW, OFFSET_BITS, PARAM_WINDOW, SHARED_WINDOW, describe};

/// The window of an address, and the offset there.
pub fn split(space: u8, address: u64) -> (u64, u64) {
    match space {
        SHARED => (SHARED_WINDOW, address),
        LOCAL => (LOCAL_WINDOW, address),
        _ => (address >> OFFSET_BITS << OFFSET_BITS, address & ((1 << OFFSET_BITS) - 1)),
    }
}

/// The trap for a misaligned access; `what` ends where the place follows.
#[cold]
pub fn uneven(w: &mut Warp, (window, offset): (u64, u64), what: String, help: &'static str, lane: usize) -> u32 {
    let name = match window {
        SHARED_WINDOW => "shared",
        LOCAL_WINDOW => "local",
        _ => {
            let fault = Fault::new(what, help, lane as u32).of("memcheck");
            w.stop = Some(Fault { near: Some(window | offset), ..fault });
            return TRAP;
        }
    };
    w.trap_of("memcheck", format!("{what} +{offset} of {name} memory"), help, lane as u32)
}

/// The trap for a lane's access that is outside of everything, or misaligned.
#[cold]
#[inline(never)]
pub fn stray(w: &mut Warp, space: u8, address: u64, bytes: u64, lane: usize, misaligned: bool) -> u32 {
    let size = |bytes: u64| format!("{bytes} byte{}", if bytes == 1 { "" } else { "s" });
    let accessed = size(bytes);
    let (window, offset) = split(space, address);
    if misaligned {
        let what = format!("misaligned access: {accessed}, whose address {bytes} must divide, at");
        let help = "vector accesses need their whole size as alignment: check odd row lengths";
        return uneven(w, (window, offset), what, help, lane);
    }
    let (name, room) = match window {
        SHARED_WINDOW => ("shared", w.shared_bytes),
        LOCAL_WINDOW => ("local", w.local_bytes),
        CONST_WINDOW => ("constant", w.constant_bytes),
        PARAM_WINDOW => ("parameter", w.param_bytes),
        _ => ("", 0),
    };
    const SPACES: &str = "the address is generic, or of another space: is a `cvta.to` missing?";
    let (what, help) = if space == GLOBAL && !name.is_empty() {
        let what = format!("a global access to {name} memory: {accessed} at +{offset}");
        (what, "the pointer is generic: access it without `.global`")
    } else if space == GENERIC && name.is_empty() && address >= CONST_WINDOW {
        (format!("a constant or parameter access outside its space: {accessed} at {address:#x}"), SPACES)
    } else if name.is_empty() {
        // SAFETY: the table outlives the launch.
        let blocks = unsafe { std::slice::from_raw_parts(w.blocks, w.block_count) };
        let (what, help) = describe(blocks, address);
        let fault = Fault::new(format!("{what}: {accessed} at"), help, lane as u32).of("memcheck");
        w.stop = Some(Fault { near: Some(address), ..fault });
        return TRAP;
    } else if space == WRITE && window >= CONST_WINDOW {
        let what = format!("a write to {name} memory: {accessed} at +{offset} of {}", size(room));
        (what, "constants and parameters can only be read")
    } else if space < GENERIC && (offset as i64).unsigned_abs() >> OFFSET_BITS != 0 {
        (format!("a {name} access outside {name} memory: {accessed} at {address:#x}"), SPACES)
    } else {
        let what = format!("access past {name} memory: {accessed} at {:+} of {}", offset as i64, size(room));
        let help = match name {
            "shared" => "is an index too large, or the launch's dynamic shared memory too small?",
            "local" => "is an index too large for an array of the thread?",
            _ => "is an index too large?",
        };
        (what, help)
    };
    w.trap_of("memcheck", what, help, lane as u32)
}
