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
/// Windows 0 (null), 1 (shared) and 2 (local) are not global memory.
const FIRST: u64 = 16;
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

#[derive(Clone, Copy)]
pub struct Block {
    pub base: *mut u8,
    pub bytes: u64,
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
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
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
        if blocks.len() >= MOST {
            release(&mut Block { base, bytes: bytes as u64 });
            return Err(failed());
        }
        blocks.push(Block { base, bytes: bytes as u64 });
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

    /// Copies from the host.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), crate::Error> {
        // SAFETY: the range is checked, and device memory never overlaps host data.
        unsafe {
            let to = self.host_slice(address, data.len())?;
            std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        }
        Ok(())
    }

    /// Copies to the host.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), crate::Error> {
        // SAFETY: as in `write`.
        unsafe {
            let from = self.host_slice(address, data.len())?;
            std::ptr::copy_nonoverlapping(from, data.as_mut_ptr(), data.len());
        }
        Ok(())
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

    pub(crate) fn snapshot(&self) -> Vec<Block> {
        self.blocks.read().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

fn release(block: &mut Block) {
    // SAFETY: allocated with this layout in `alloc`, and nulled here so that it is freed once.
    unsafe { dealloc(block.base, Layout::from_size_align_unchecked((block.bytes as usize).max(1), ALIGN)) };
    *block = Block { base: std::ptr::null_mut(), bytes: 0 };
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

/// What is wrong with a global address, in words.
pub(crate) fn describe(blocks: &[Block], address: u64, bytes: u64) -> String {
    match blocks.get((address >> OFFSET_BITS).wrapping_sub(FIRST) as usize) {
        Some(block) if !block.base.is_null() => {
            let offset = address & ((1 << OFFSET_BITS) - 1);
            format!("{bytes} bytes at +{offset} of an allocation of {}", block.bytes)
        }
        Some(_) => format!("{bytes} bytes at {address:#x}, which has been freed"),
        None if address < 1 << 16 => format!("{bytes} bytes at {address:#x}, a null pointer or an offset from one"),
        None => format!("{bytes} bytes at {address:#x}, which is no device address"),
    }
}
