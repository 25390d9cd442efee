//! What a block's warps start with.

use super::LANES;
use crate::plan::{Home, Program};

/// Fills the registers of all warps that hold the block's index, or its multiprocessor: x, y, z, `%smid`. One register
/// after the other: short kernels live no longer than a few of these loops.
///
/// # Safety
/// `files` must be the register files of `warps` warps of `program`, aligned as vectors are.
pub unsafe fn of_block(program: &Program, files: *mut u8, warps: usize, block: &[u32; 4]) {
    for &(at, home, axis) in &program.block_inits {
        let value = block[axis];
        for warp in 0..warps {
            // SAFETY: the plan has placed the register at `at` of each file; the caller's.
            unsafe {
                let to = files.add(warp * program.bytes + at);
                match home {
                    Home::Mask => *to.cast::<u32>() = if value != 0 { u32::MAX } else { 0 },
                    Home::Words => *to.cast::<[u32; LANES]>() = [value; LANES],
                    Home::Doubles => *to.cast::<[u64; LANES]>() = [value as u64; LANES],
                    Home::Cell => *to.cast::<u64>() = value as u64,
                }
            }
        }
    }
}
