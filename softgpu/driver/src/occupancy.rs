//! Occupancy on compute capability 8.0: blocks that fit a multiprocessor by threads, registers and shared memory
//! (CUDA C++ Best Practices Guide, "Occupancy"; allocation units as in `cuda_occupancy.h`).

use std::ffi::{c_int, c_uint};

use crate::device::{
    MAX_BLOCKS, MAX_WARPS, MULTIPROCESSORS, REGISTERS, SHARED_PER_MULTIPROCESSOR, SHARED_RESERVED_BYTES, WARP,
};
use crate::entry::{api, put};
use crate::image::Kernel;
use crate::state::{Handle, current};
use crate::status::{Result, Status};

/// Registers of a warp come in units of this many, shared memory of a block in units of so many bytes.
const REGISTER_UNIT: u32 = 256;
const SHARED_UNIT: usize = 128;
/// Warps are spread over four partitions, each with a quarter of the registers.
const PARTITIONS: u32 = 4;

/// Blocks of `threads` threads and `dynamic` bytes of shared memory that run at once on a multiprocessor.
pub fn blocks_per_multiprocessor(kernel: &Kernel, threads: u32, dynamic: usize) -> u32 {
    let warps = threads.div_ceil(WARP).max(1);
    let by_warps = MAX_WARPS / warps;
    let per_warp = (kernel.registers.max(1) * WARP).next_multiple_of(REGISTER_UNIT);
    let by_registers = REGISTERS / PARTITIONS / per_warp * PARTITIONS / warps;
    let shared = kernel.signature.shared_bytes + dynamic + SHARED_RESERVED_BYTES;
    let by_shared = (SHARED_PER_MULTIPROCESSOR / shared.next_multiple_of(SHARED_UNIT)) as u32;
    by_warps.min(by_registers).min(by_shared).min(MAX_BLOCKS)
}

unsafe fn blocks(count: *mut c_int, function: Handle, threads: c_int, dynamic: usize) -> Result<()> {
    let (gpu, _) = current()?;
    let kernel = &gpu.functions.get(function)?.kernel;
    let threads = u32::try_from(threads).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
    let fits = threads <= kernel.max_threads;
    // SAFETY: the caller's promise.
    unsafe { put(count, if fits { blocks_per_multiprocessor(kernel, threads, dynamic) as c_int } else { 0 }) }
}

/// Dynamic shared memory of a block, by its threads.
type SharedOf = unsafe extern "C" fn(c_int) -> usize;

unsafe fn best_block(
    min_grid: *mut c_int,
    block: *mut c_int,
    function: Handle,
    shared_of: Option<SharedOf>,
    dynamic: usize,
    limit: c_int,
) -> Result<()> {
    let kernel = {
        let (gpu, _) = current()?;
        std::sync::Arc::clone(&gpu.functions.get(function)?.kernel)
    };
    let most = if limit > 0 { kernel.max_threads.min(limit as u32) } else { kernel.max_threads };
    let mut best = (0, 0, 0);
    // From the largest down, in whole warps: of equals, the largest block wins.
    for threads in std::iter::once(most).chain((1..=most / WARP).rev().map(|warps| warps * WARP)) {
        // SAFETY: the program's function, called with a block size, as documented.
        let dynamic = shared_of.map_or(dynamic, |shared_of| unsafe { shared_of(threads as c_int) });
        let count = blocks_per_multiprocessor(&kernel, threads, dynamic);
        if count * threads > best.0 {
            best = (count * threads, threads, count);
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        put(min_grid, (best.2 * MULTIPROCESSORS) as c_int)?;
        put(block, best.1 as c_int)
    }
}

api! {
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        count: *mut c_int, function: Handle, threads: c_int, dynamic: usize,
    ) {
        blocks(count, function, threads, dynamic)
    }

    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        count: *mut c_int, function: Handle, threads: c_int, dynamic: usize, _flags: c_uint,
    ) {
        blocks(count, function, threads, dynamic)
    }

    fn cuOccupancyMaxPotentialBlockSize(
        min_grid: *mut c_int, block: *mut c_int, function: Handle, shared_of: Option<SharedOf>, dynamic: usize,
        limit: c_int,
    ) {
        best_block(min_grid, block, function, shared_of, dynamic, limit)
    }

    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        min_grid: *mut c_int, block: *mut c_int, function: Handle, shared_of: Option<SharedOf>, dynamic: usize,
        limit: c_int, _flags: c_uint,
    ) {
        best_block(min_grid, block, function, shared_of, dynamic, limit)
    }

    /// The dynamic shared memory with which `count` blocks still fit a multiprocessor.
    fn cuOccupancyAvailableDynamicSMemPerBlock(dynamic: *mut usize, function: Handle, count: c_int, _threads: c_int) {
        let (gpu, _) = current()?;
        let function = gpu.functions.get(function)?;
        let count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(Status::INVALID_VALUE)?;
        let block = SHARED_PER_MULTIPROCESSOR / count / SHARED_UNIT * SHARED_UNIT;
        let fixed = function.kernel.signature.shared_bytes + SHARED_RESERVED_BYTES;
        put(dynamic, block.saturating_sub(fixed).min(function.max_dynamic))
    }
}
