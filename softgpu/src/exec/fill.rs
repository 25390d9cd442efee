//! What a block's warps start with.

use super::LANES;
use crate::plan::{Home, Program};

/// Fills the registers of one warp that hold the block's index, or its multiprocessor: x, y, z, `%smid`. This runs once per
/// warp, and short kernels live no longer than that: no general code here.
///
/// # Safety
/// `file` must be a register file of `program`, aligned as vectors are.
pub unsafe fn of_block(program: &Program, file: *mut u8, block: &[u32; 4]) {
    for &(at, home, axis) in &program.block_inits {
        // SAFETY: the plan has placed the register at `at`; the caller's.
        unsafe {
            let to = file.add(at);
            match home {
                Home::Mask => *to.cast::<u32>() = if block[axis] != 0 { u32::MAX } else { 0 },
                Home::Words => *to.cast::<[u32; LANES]>() = [block[axis]; LANES],
                Home::Doubles => *to.cast::<[u64; LANES]>() = [block[axis] as u64; LANES],
                Home::Cell => *to.cast::<u64>() = block[axis] as u64,
            }
        }
    }
}
