//! Global memory: allocations at synthetic addresses.
//!
//! An address is `(allocation + FIRST) << OFFSET_BITS | offset`: a stray pointer lands in no allocation or past the end
//! of one, never in a neighbour, and finding the allocation is one shift and one table look-up.
//!
//! The other spaces are windows of the generic address space, one each. Those of constants and parameters lie so high
//! that no address of another space, taken for an offset in them, is inside them.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use crate::variables::Placed;

pub(crate) const OFFSET_BITS: u32 = 36;
/// Windows 0 (null), 1 (shared) and 2 (local) are not global memory; nor is what a program of the host may have a pointer
/// to: below 2^47 on x86-64, below 2^48 on AArch64, unless it asks for more. One window lies between, so that a pointer to
/// the host's stack is none just before the first allocation.
const FIRST: u64 = (1 << (48 - OFFSET_BITS)) + 1;
pub(crate) const SHARED_WINDOW: u64 = 1 << OFFSET_BITS;
pub(crate) const LOCAL_WINDOW: u64 = 2 << OFFSET_BITS;
pub(crate) const CONST_WINDOW: u64 = 1 << 63;
pub(crate) const PARAM_WINDOW: u64 = 3 << 62;
/// Addresses of functions, which nothing can be read or written at.
const FUNCTION_WINDOW: u64 = 3 << OFFSET_BITS;
const FUNCTION_BYTES: u64 = 16;
/// So many allocations stay clear of the windows.
const MOST: usize = 1 << 26;
const ALIGN: usize = 256;

/// An allocation; `base` is null once it is freed, and `bytes` stays.
#[derive(Clone, Copy)]
pub struct Block {
    pub base: *mut u8,
    pub bytes: u64,
    /// Null in a memory that is not watched.
    pub written: Written,
}

// SAFETY: a block is a plain range of bytes; kernels race on it exactly as they would on a GPU, and the launch
// contract (one launch at a time per memory, no host access meanwhile) keeps the host out.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

/// The address of a module's function by its number.
pub(crate) fn function_address(number: usize) -> u64 {
    FUNCTION_WINDOW + number as u64 * FUNCTION_BYTES
}

/// The number of the function at an address.
pub(crate) fn function_at(address: u64) -> Option<u64> {
    let offset = address.checked_sub(FUNCTION_WINDOW).filter(|offset| *offset < 1 << OFFSET_BITS)?;
    offset.is_multiple_of(FUNCTION_BYTES).then_some(offset / FUNCTION_BYTES)
}

/// The memory of one device.
#[derive(Default)]
pub struct Memory {
    blocks: RwLock<Vec<Block>>,
    /// Variables of the modules that have been used with it, by the module's number.
    pub(crate) modules: Mutex<HashMap<u64, Arc<Placed>>>,
    /// It keeps for every byte whether somebody has written it.
    watched: bool,
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A memory that keeps for every byte whether the host or a kernel has written it, for initcheck. Every launch on
    /// it is one under tools: on one thread, and slower.
    pub fn watched() -> Memory {
        let mut memory = Memory::default();
        memory.watched = true;
        memory
    }

    pub fn is_watched(&self) -> bool {
        self.watched
    }

    /// Reserves `bytes` zeroed bytes, aligned to 256. Errors: no host memory left, or over 64 GiB at once.
    pub fn alloc(&self, bytes: usize) -> Result<u64, crate::Error> {
        let failed = || crate::Error::Memory(format!("cannot allocate {bytes} bytes of device memory"));
        if bytes as u64 >= 1 << OFFSET_BITS {
            return Err(failed());
        }
        let layout = Layout::from_size_align(bytes.max(1), ALIGN).map_err(|_| failed())?;
        // SAFETY: the layout has a non-zero size.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(failed());
        }
        let mut blocks = self.blocks.write().unwrap_or_else(|e| e.into_inner());
        let written = if self.watched { Written::new(bytes as u64) } else { Written::none() };
        let mut block = Block { base, bytes: bytes as u64, written };
        if blocks.len() >= MOST {
            release(&mut block);
            return Err(failed());
        }
        blocks.push(block);
        Ok((blocks.len() as u64 - 1 + FIRST) << OFFSET_BITS)
    }

    /// Gives an allocation back. Its address is never used again. Error: `address` does not start an allocation.
    pub fn free(&self, address: u64) -> Result<(), crate::Error> {
        let mut blocks = self.blocks.write().unwrap_or_else(|e| e.into_inner());
        let index = (address >> OFFSET_BITS).wrapping_sub(FIRST) as usize;
        match blocks.get_mut(index) {
            Some(block) if !block.base.is_null() && address & ((1 << OFFSET_BITS) - 1) == 0 => {
                release(block);
                Ok(())
            }
            _ => Err(crate::Error::Memory(format!("address {address:#x} does not start a live allocation"))),
        }
    }

    /// The host pointer of `bytes` bytes at `address`.
    ///
    /// # Safety
    /// The pointer must not be used after `free`, nor while a launch runs.
    pub unsafe fn host_slice(&self, address: u64, bytes: usize) -> Result<*mut u8, crate::Error> {
        let blocks = self.blocks.read().unwrap_or_else(|e| e.into_inner());
        match locate(&blocks, address, bytes as u64) {
            Some(pointer) => Ok(pointer),
            None => Err(crate::Error::Memory(format!("{bytes} bytes at {address:#x} are not inside an allocation"))),
        }
    }

    /// Copies host data to `address`.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), crate::Error> {
        let bytes = data.len();
        // SAFETY: the range is checked, and host data never overlap device memory; nor does a launch run meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.host_slice(address, bytes)?, bytes) };
        self.mark_written(address, bytes)
    }

    /// Copies device memory to the host. Bytes that nobody has written are no error: see [`Memory::unwritten`].
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), crate::Error> {
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(self.host_slice(address, data.len())?, data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    /// Sets `bytes` bytes to `value`.
    pub fn fill(&self, address: u64, bytes: usize, value: u8) -> Result<(), crate::Error> {
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(self.host_slice(address, bytes)?, value, bytes) };
        self.mark_written(address, bytes)
    }

    /// Copies within the memory; the ranges may overlap. Bytes that nobody has written stay so.
    pub fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), crate::Error> {
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy(self.host_slice(from, bytes)?, self.host_slice(to, bytes)?, bytes) };
        let blocks = self.blocks.read().unwrap_or_else(|e| e.into_inner());
        if let (Some(a), Some(b)) = (watched_at(&blocks, to), watched_at(&blocks, from)) {
            let state: Vec<bool> = (0..bytes as u64).map(|i| b.0.first_missing(b.1 + i, 1).is_none()).collect();
            (0..bytes as u64).zip(state).for_each(|(i, on)| a.0.set(a.1 + i, 1, on));
        }
        Ok(())
    }

    /// Takes the bytes as written: by a matrix product, say, that runs on the host.
    pub fn mark_written(&self, address: u64, bytes: usize) -> Result<(), crate::Error> {
        self.mark(address, bytes, true)
    }

    /// Takes the bytes as new: those of an arena that hands them out again.
    pub fn mark_unwritten(&self, address: u64, bytes: usize) -> Result<(), crate::Error> {
        self.mark(address, bytes, false)
    }

    fn mark(&self, address: u64, bytes: usize, on: bool) -> Result<(), crate::Error> {
        // SAFETY: only the check is wanted.
        unsafe { self.host_slice(address, bytes)? };
        let blocks = self.blocks.read().unwrap_or_else(|e| e.into_inner());
        if let Some((written, offset)) = watched_at(&blocks, address) {
            written.set(offset, bytes as u64, on);
        }
        Ok(())
    }

    /// The first address of the range that nobody has written; none in a memory that is not watched.
    pub fn unwritten(&self, address: u64, bytes: usize) -> Result<Option<u64>, crate::Error> {
        // SAFETY: only the check is wanted.
        unsafe { self.host_slice(address, bytes)? };
        let blocks = self.blocks.read().unwrap_or_else(|e| e.into_inner());
        let missing = watched_at(&blocks, address).and_then(|(written, at)| written.first_missing(at, bytes as u64));
        Ok(missing.map(|offset| address >> OFFSET_BITS << OFFSET_BITS | offset))
    }

    pub(crate) fn snapshot(&self) -> Vec<Block> {
        self.blocks.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

fn release(block: &mut Block) {
    // SAFETY: allocated with this layout in `alloc`, and nulled here so that it is freed once.
    unsafe { dealloc(block.base, Layout::from_size_align_unchecked((block.bytes as usize).max(1), ALIGN)) };
    block.base = std::ptr::null_mut();
    block.written.release(block.bytes);
}

/// Where a watched memory keeps the state of a live allocation, and the offset in it.
fn watched_at(blocks: &[Block], address: u64) -> Option<(Written, u64)> {
    let block = blocks.get((address >> OFFSET_BITS).wrapping_sub(FIRST) as usize)?;
    (!block.base.is_null() && block.written.is_kept()).then_some((block.written, address & ((1 << OFFSET_BITS) - 1)))
}

/// One bit per byte of an allocation: whether somebody has written it.
#[derive(Clone, Copy)]
pub struct Written(*mut u64);

impl Written {
    pub const fn none() -> Written {
        Written(std::ptr::null_mut())
    }

    fn new(bytes: u64) -> Written {
        Written(Box::into_raw(vec![0u64; bytes.div_ceil(64).max(1) as usize].into_boxed_slice()) as *mut u64)
    }

    fn release(&mut self, bytes: u64) {
        if self.is_kept() {
            let words = std::ptr::slice_from_raw_parts_mut(self.0, bytes.div_ceil(64).max(1) as usize);
            // SAFETY: made by `new` for as many bytes; nulled here, so that it is freed once.
            drop(unsafe { Box::from_raw(words) });
            self.0 = std::ptr::null_mut();
        }
    }

    pub fn is_kept(self) -> bool {
        !self.0.is_null()
    }

    /// Over bytes that a live allocation holds. Kernels mark from the one thread that runs them.
    #[inline]
    pub fn set(self, from: u64, bytes: u64, on: bool) {
        // SAFETY: the caller's range lies inside the allocation that this was made for.
        bits(from, bytes, |word, mask| unsafe {
            let word = self.0.add(word);
            *word = if on { *word | mask } else { *word & !mask };
            true
        });
    }

    /// The first byte of the range that nobody has written.
    #[inline]
    pub fn first_missing(self, from: u64, bytes: u64) -> Option<u64> {
        let mut missing = None;
        // SAFETY: as in `set`.
        bits(from, bytes, |word, mask| unsafe {
            let holes = !*self.0.add(word) & mask;
            if holes != 0 {
                missing = Some(word as u64 * 64 + holes.trailing_zeros() as u64);
            }
            holes == 0
        });
        missing
    }
}

/// The words of a bit map that a range touches, with the bits in it, until `f` says to stop.
#[inline]
pub(crate) fn bits(from: u64, bytes: u64, mut f: impl FnMut(usize, u64) -> bool) {
    let (mut at, end) = (from, from + bytes);
    while at < end {
        let (word, low) = (at / 64, at % 64);
        let high = (end - word * 64).min(64);
        let mask = (u64::MAX >> (64 - (high - low))) << low;
        if !f(word as usize, mask) {
            return;
        }
        at = word * 64 + high;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let blocks = self.blocks.get_mut().unwrap_or_else(|e| e.into_inner());
        blocks.iter_mut().filter(|b| !b.base.is_null()).for_each(release);
    }
}

/// The host pointer behind a global address range, if all of it lies in one live allocation.
#[inline(always)]
pub(crate) fn locate(blocks: &[Block], address: u64, bytes: u64) -> Option<*mut u8> {
    let block = blocks.get((address >> OFFSET_BITS).wrapping_sub(FIRST) as usize)?;
    let offset = address & ((1 << OFFSET_BITS) - 1);
    // SAFETY: offset + bytes ≤ the block's size.
    (offset + bytes <= block.bytes && !block.base.is_null()).then(|| unsafe { block.base.add(offset as usize) })
}

/// The allocation that an address belongs to, freed or not: its number, and the offset, which may lie before its start
/// or past its end.
pub(crate) fn nearest(blocks: &[Block], address: u64) -> Option<(usize, Block, i64)> {
    let index = (address.wrapping_add(1 << (OFFSET_BITS - 1)) >> OFFSET_BITS).wrapping_sub(FIRST) as usize;
    let block = *blocks.get(index)?;
    Some((index, block, address.wrapping_sub(self::address(index, 0)) as i64))
}

/// As [`nearest`], of an address inside its allocation's window.
pub(crate) fn index(blocks: &[Block], address: u64) -> Option<(usize, Block)> {
    let index = (address >> OFFSET_BITS).wrapping_sub(FIRST) as usize;
    blocks.get(index).map(|block| (index, *block))
}

/// The address at an offset in the allocation of that number.
pub(crate) fn address(index: usize, offset: u64) -> u64 {
    (index as u64 + FIRST) << OFFSET_BITS | offset
}

/// What is wrong with a global address, and what to do.
pub(crate) fn describe(blocks: &[Block], address: u64) -> (&'static str, &'static str) {
    match nearest(blocks, address) {
        Some((_, block, _)) if block.base.is_null() => {
            ("access to freed memory", "the host has freed it before the launch: free it after the last use")
        }
        Some((_, _, offset)) if offset < 0 => ("access before an allocation", "is an index negative?"),
        Some((_, _, offset)) if offset > i32::MAX as i64 => {
            ("access far past an allocation", "has an index wrapped: is it unsigned, and below zero?")
        }
        Some(_) => ("access past an allocation", "is a bounds guard missing?"),
        None if address < 1 << 16 => {
            ("access through a null pointer", "was the pointer never set, or null on purpose?")
        }
        None => ("access outside of device memory", "is it a host pointer, or no pointer at all?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pointer of a variable of this program, and of memory that a device's allocation lies in.
    #[test]
    fn a_host_pointer_is_no_device_address() {
        let memory = Memory::new();
        let address = memory.alloc(64).unwrap_or_default();
        let blocks = memory.snapshot();
        assert!(locate(&blocks, address, 64).is_some() && address >= 1 << 48);
        for pointer in [blocks[0].base as u64, &raw const address as u64, (1 << 48) - 1, 1 << 40] {
            assert!(locate(&blocks, pointer, 1).is_none());
            assert_eq!(describe(&blocks, pointer).0, "access outside of device memory");
        }
        // The last allocation that there may be stays clear of the constants' window.
        assert!(self::address(MOST - 1, u64::MAX >> (64 - OFFSET_BITS)) < CONST_WINDOW);
    }
}
