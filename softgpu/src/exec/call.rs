//! Calls, returns and branches by a table; what a kernel tells the host: `printf`, `assert`, `trap`. PTX ISA 9.0, 9.7.12.

use super::alu::{Source, put};
use super::sched::Group;
use super::{CALL, Handler, LANES, List, NEXT, Op, RETURN, SWITCH, Warp, Wide, YIELD, mem, one_level, one_level_wide};
use super::{format, warp};
use crate::memory::function_at;

/// Calls within one another, and bytes that a warp's saved registers may take: more is taken for a recursion without
/// an end.
const DEEPEST: u32 = 4096;
const MOST_SAVED: usize = 16 << 20;
const OVERFLOW: &str = "does the recursion end? softgpu has room for 4,096 calls within one another";

/// A call that lanes are inside.
#[derive(Default)]
struct Frame {
    /// Where they go on.
    pc: u32,
    /// Those that have not returned.
    lanes: u32,
    /// The frame that each was in before, plus 1.
    outer: [u32; LANES],
    /// Of a function that may be called again from within: the call's operands, and its registers as they were.
    list: u32,
    saved: Vec<u8>,
}

/// The calls that a warp's lanes are inside.
#[derive(Default)]
pub struct Frames {
    all: Vec<Frame>,
    free: Vec<u32>,
    /// The innermost frame of each lane, plus 1; and how many it is inside.
    top: [u32; LANES],
    depth: [u32; LANES],
    bytes: usize,
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

/// The saved registers of a call: (offset in the register file, bytes in all, bytes of one lane, or 0 for a predicate).
fn saved(list: &List) -> impl Iterator<Item = (usize, usize, usize)> {
    let count = |at: usize| list.imms[at] as usize;
    let sizes = [(count(1), 256, 8), (count(2), 128, 4), (count(3), 4, 0)];
    let sizes = sizes.into_iter().flat_map(|(count, all, lane)| std::iter::repeat_n((all, lane), count));
    list.regs.iter().zip(sizes).map(|(&at, (all, lane))| (at as usize, all, lane))
}

impl Frames {
    pub fn clear(&mut self) {
        if self.all.is_empty() {
            return;
        }
        *self = Frames::default();
    }

    /// The executing lanes call, to return to `pc`; the groups that they make. `Err`: a trap.
    ///
    /// # Safety
    /// `list` must be a call's, number `number` of the program whose register file `file` is.
    pub unsafe fn enter(
        &mut self,
        w: &mut Warp,
        list: &List,
        number: u32,
        pc: u32,
        file: *mut u8,
        groups: &mut Vec<Group>,
    ) -> Result<(), ()> {
        let deepest = lanes(w.mask).map(|lane| self.depth[lane]).max().unwrap_or(0);
        let size: usize = saved(list).map(|(_, all, _)| all).sum();
        if deepest >= DEEPEST || self.bytes + size > MOST_SAVED {
            let lane = lanes(w.mask).find(|&lane| self.depth[lane] == deepest).unwrap_or(0);
            w.trap(format!("stack overflow: {deepest} calls within one another"), OVERFLOW, lane as u32);
            return Err(());
        }
        // SAFETY: the caller's.
        unsafe { targets(w, list, file, groups)? };
        let mut frame = Frame { pc, lanes: w.mask, list: number, ..Frame::default() };
        frame.saved.reserve_exact(size);
        for (at, all, _) in saved(list) {
            // SAFETY: the plan has placed the register there.
            frame.saved.extend_from_slice(unsafe { std::slice::from_raw_parts(file.add(at), all) });
        }
        self.bytes += size;
        let index = self.free.pop().unwrap_or(self.all.len() as u32);
        for lane in lanes(w.mask) {
            frame.outer[lane] = self.top[lane];
            self.top[lane] = index + 1;
            self.depth[lane] += 1;
        }
        match self.all.get_mut(index as usize) {
            Some(old) => *old = frame,
            None => self.all.push(frame),
        }
        Ok(())
    }

    /// The executing lanes return; the groups that they make. `Err`: one of them is in no call.
    ///
    /// # Safety
    /// `lists` must be those of the program whose register file `file` is.
    pub unsafe fn leave(
        &mut self,
        w: &mut Warp,
        lists: &[List],
        file: *mut u8,
        groups: &mut Vec<Group>,
    ) -> Result<(), ()> {
        let mut left = w.mask;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let top = self.top[first];
            let Some(frame) = (top as usize).checked_sub(1).and_then(|at| self.all.get_mut(at)) else { return Err(()) };
            let together = lanes(left).filter(|&lane| self.top[lane] == top).fold(0, |mask, lane| mask | 1 << lane);
            left &= !together;
            if !frame.saved.is_empty() {
                // SAFETY: the caller's; the registers were read from there.
                unsafe { restore(frame, &lists[frame.list as usize], file, together) };
            }
            for lane in lanes(together) {
                self.top[lane] = frame.outer[lane];
                self.depth[lane] -= 1;
            }
            frame.lanes &= !together;
            match groups.iter_mut().find(|(pc, _)| *pc == frame.pc) {
                Some((_, group)) => *group |= together,
                None => groups.push((frame.pc, together)),
            }
            if frame.lanes & w.live == 0 {
                self.bytes -= frame.saved.len();
                frame.saved = Vec::new();
                self.free.push(top - 1);
            }
        }
        Ok(())
    }
}

/// # Safety
/// As [`Frames::leave`].
unsafe fn restore(frame: &Frame, list: &List, file: *mut u8, mask: u32) {
    let mut from = 0;
    for (at, all, size) in saved(list) {
        let old = &frame.saved[from..from + all];
        from += all;
        // SAFETY: the caller's; a register has `all` bytes.
        unsafe {
            let to = std::slice::from_raw_parts_mut(file.add(at), all);
            if size == 0 {
                let word = |bytes: &[u8]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let new = word(to) & !mask | word(old) & mask;
                to.copy_from_slice(&new.to_ne_bytes());
            } else {
                for lane in lanes(mask) {
                    to[lane * size..][..size].copy_from_slice(&old[lane * size..][..size]);
                }
            }
        }
    }
}

/// Where the executing lanes call to.
///
/// # Safety
/// As [`Frames::enter`].
unsafe fn targets(w: &mut Warp, list: &List, file: *mut u8, groups: &mut Vec<Group>) -> Result<(), ()> {
    if list.imms[0] >= 0 {
        groups.push((list.imms[0] as u32, w.mask));
        return Ok(());
    }
    let saved = list.imms[1..4].iter().sum::<i64>() as usize;
    // SAFETY: the use after the saved registers is a double.
    let addresses = unsafe { Source::<u64>::all(file, list.regs[saved]) };
    let mut left = w.mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        let address = addresses[lane];
        let same = lanes(left).filter(|&lane| addresses[lane] == address).fold(0, |mask, lane| mask | 1 << lane);
        left &= !same;
        let Some(number) = function_at(address) else {
            let what = format!("call through a pointer that is no function's address ({address:#x})");
            w.trap(what, "is the table of functions filled in, and the index inside it?", lane as u32);
            return Err(());
        };
        let known = list.imms[4..].chunks(2).find(|pair| pair[0] as u64 == number && pair[1] >= 0);
        let Some(pair) = known else {
            let what = "call through a pointer to a function with other parameters or results".to_string();
            w.trap(what, "was the pointer cast to a function type that is not its own?", lane as u32);
            return Err(());
        };
        groups.push((pair[1] as u32, same));
    }
    Ok(())
}

/// `brx.idx`: the groups that the executing lanes make. `Err`: a trap.
///
/// # Safety
/// `list` must be a table's, and `file` the register file that it speaks of.
pub unsafe fn switch(w: &mut Warp, list: &List, file: *mut u8, groups: &mut Vec<Group>) -> Result<bool, ()> {
    // SAFETY: the caller's; the index is a word.
    let indices = unsafe { Source::<u32>::all(file, list.regs[0]) };
    let (mut left, mut first, mut parted) = (w.mask, None, false);
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        let index = indices[lane];
        let Some(&pc) = list.imms.get(index as usize) else {
            let what = format!("brx.idx: index {index} in a table of {} labels", list.imms.len());
            w.trap(what, "the index of a branch table must lie inside it", lane as u32);
            return Err(());
        };
        let same = lanes(left).filter(|&lane| indices[lane] == index).fold(0, |mask, lane| mask | 1 << lane);
        left &= !same;
        parted |= *first.get_or_insert(pc) != pc;
        match groups.iter_mut().find(|(at, _)| *at == pc as u32) {
            Some((_, group)) => *group |= same,
            None => groups.push((pc as u32, same)),
        }
    }
    Ok(parted)
}

#[inline(always)]
unsafe fn call(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    CALL
}
#[inline(always)]
unsafe fn ret(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    RETURN
}
#[inline(always)]
unsafe fn table(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    SWITCH
}
#[inline(always)]
unsafe fn give_way(_: &mut Warp, _: &Op, _: *mut u8) -> u32 {
    YIELD
}

pub fn call_handlers() -> [Handler; 3] {
    one_level!(call)
}
pub fn return_handlers() -> [Handler; 3] {
    one_level!(ret)
}
pub fn switch_handlers() -> [Handler; 3] {
    one_level!(table)
}
pub fn yield_handlers() -> [Handler; 3] {
    one_level!(give_way)
}
/// For lists that the scheduler reads.
pub use warp::no_wide;

/// Opens a frame: the end of those in use, and the same before. Constants: bytes, and the end of local memory.
pub static FRAME: Wide = Wide { name: "frame", run: one_level_wide(frame), waits: false, strong: false };
/// `trap`.
pub static TRAPPED: Wide = Wide { name: "trap", run: one_level_wide(trapped), waits: false, strong: false };
/// A function that was found to be impossible when it was decoded; the place says why.
pub static REFUSED: Wide = Wide { name: "refused", run: one_level_wide(refused), waits: false, strong: false };
/// `vprintf`: the result; format and arguments.
pub static PRINT: Wide = Wide { name: "vprintf", run: one_level_wide(print), waits: false, strong: false };
/// `__assertfail`: message, file, line, function, bytes of a character.
pub static ASSERT: Wide = Wide { name: "__assertfail", run: one_level_wide(assert), waits: false, strong: false };

unsafe fn frame(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let (bytes, limit) = (list.imms[0] as u64, list.imms[1] as u64);
    // SAFETY: the decoder has given every operand a register of its kind.
    unsafe {
        let old = Source::<u64>::all(r, list.regs[1]);
        if let Some(lane) = lanes(w.mask).find(|&lane| old[lane].saturating_add(bytes) > limit) {
            let what = "stack overflow: no local memory left for another call".to_string();
            return w.trap(what, "does the recursion end? softgpu has a stack of 16 KiB for each thread", lane as u32);
        }
        put(w, r, list.regs[0], &old.map(|old| old.wrapping_add(bytes)));
    }
    NEXT
}

unsafe fn trapped(w: &mut Warp, _: &List, _: *mut u8) -> u32 {
    let lane = w.mask.trailing_zeros();
    w.trap("the kernel stopped itself with `trap`".into(), "what does the code check before it gives up?", lane)
}

unsafe fn refused(w: &mut Warp, _: &List, _: *mut u8) -> u32 {
    let lane = w.mask.trailing_zeros();
    let what = "a function that softgpu cannot run was called through a pointer".to_string();
    w.trap(what, "the function's name and what softgpu lacks for it stand below", lane)
}

/// The device memory that a lane sees, a few bytes at a time.
fn read<const N: usize>(w: &Warp, lane: usize, address: u64) -> Option<[u8; N]> {
    let from = mem::generic(w, lane, address, N as u64)?;
    // SAFETY: so many bytes are there.
    Some(unsafe { (from as *const [u8; N]).read_unaligned() })
}

/// A string that ends with a null byte. `Err`: the address that is no memory.
fn string(w: &Warp, lane: usize, address: u64) -> Result<Vec<u8>, u64> {
    const LONGEST: u64 = 1 << 20;
    let mut text = Vec::new();
    for at in 0..LONGEST {
        let address = address.wrapping_add(at);
        match read::<1>(w, lane, address).ok_or(address)? {
            [0] => break,
            [byte] => text.push(byte),
        }
    }
    Ok(text)
}

unsafe fn print(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    // SAFETY: the decoder has given every operand a register of its kind.
    let (formats, arguments) = unsafe { (Source::<u64>::all(r, list.regs[1]), Source::<u64>::all(r, list.regs[2])) };
    let mut results = [0u32; LANES];
    for lane in lanes(w.mask) {
        if formats[lane] == 0 {
            results[lane] = -1i32 as u32;
            continue;
        }
        let mut at = arguments[lane];
        let mut next = |bytes: u64| -> Result<u64, u64> {
            at = at.next_multiple_of(bytes);
            let missing = at;
            at = at.wrapping_add(bytes);
            match bytes {
                4 => read::<4>(w, lane, missing).map(|raw| u32::from_le_bytes(raw) as u64).ok_or(missing),
                _ => read::<8>(w, lane, missing).map(u64::from_le_bytes).ok_or(missing),
            }
        };
        let text = string(w, lane, formats[lane]).and_then(|f| format::format(&f, &mut next, &|s| string(w, lane, s)));
        match text {
            Ok((text, count)) => {
                results[lane] = count;
                w.printed.extend(text);
            }
            Err(address) => {
                let what = format!("printf reads at {address:#x}, which is no memory");
                return w.trap(what, "do the arguments fit the format, and is every %s a device string?", lane as u32);
            }
        }
    }
    // SAFETY: as above.
    unsafe { put(w, r, list.regs[0], &results) };
    NEXT
}

unsafe fn assert(w: &mut Warp, list: &List, r: *mut u8) -> u32 {
    let lane = w.mask.trailing_zeros();
    // SAFETY: the decoder has given every operand a register of its kind.
    let (double, line) = unsafe {
        let double = |at: usize| Source::<u64>::all(r, list.regs[at])[lane as usize];
        ([double(0), double(1), double(3)], Source::<u32>::all(r, list.regs[2])[lane as usize])
    };
    let text = |address: u64| match string(w, lane as usize, address) {
        Ok(text) if address != 0 => String::from_utf8_lossy(&text).into_owned(),
        _ => "?".into(),
    };
    let [message, file, function] = double.map(text);
    let what = format!("assertion `{message}` failed in `{function}` ({file}:{line})");
    w.trap(what, "the condition did not hold in this thread", lane)
}
