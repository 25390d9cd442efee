//! initcheck: reads of bytes that nobody has written since the memory was made (global), the block began (shared) or
//! the thread did (local).

use super::findings::{Findings, Scene, Who};
use super::spot::{Shape, Space, Spot};
use super::{Access, Touch};
use crate::exec::{LANES, Warp};
use crate::memory::bits;

const GLOBAL: &str =
    "write it before, from the host (a copy or a fill) or by a kernel: allocations hold anything at first";
const SHARED: &str = "shared memory holds anything when a block starts: is a loop that fills it too short?";
const LOCAL: &str = "initialise the variable, or the whole array";

/// What has been written of the memory of the blocks in work.
#[derive(Default)]
pub struct Init {
    blocks: Vec<BlockInit>,
    shared_bytes: u64,
    local_bytes: u64,
    warps: u64,
}

struct BlockInit {
    index: u64,
    shared: Vec<u64>,
    /// Thread by thread.
    local: Vec<u64>,
}

/// Sets the bits, if told to; the first byte before that was not set.
fn pass(map: &mut [u64], from: u64, bytes: u64, reads: bool, writes: bool) -> Option<u64> {
    let mut missing = None;
    bits(from, bytes, |word, mask| {
        let holes = !map[word] & mask;
        if reads && holes != 0 && missing.is_none() {
            missing = Some(word as u64 * 64 + holes.trailing_zeros() as u64);
        }
        if writes {
            map[word] |= mask;
        }
        writes || missing.is_none()
    });
    missing
}

impl Init {
    pub fn new(scene: &Scene) -> Init {
        let shared_bytes = scene.decoded.shared_bytes as u64 + scene.launch.shared_bytes as u64;
        let threads: u32 = scene.launch.block.iter().product();
        let local_bytes = scene.decoded.local_bytes as u64;
        Init { blocks: Vec::new(), shared_bytes, local_bytes, warps: threads.div_ceil(LANES as u32) as u64 }
    }

    pub fn block_starts(&mut self, index: u64) {
        let words = |bytes: u64| vec![0; bytes.div_ceil(64) as usize];
        let local = self.warps * LANES as u64 * self.local_bytes;
        self.blocks.push(BlockInit { index, shared: words(self.shared_bytes), local: words(local) });
    }

    pub fn block_ends(&mut self, index: u64) {
        self.blocks.retain(|block| block.index != index);
    }

    /// The lanes access memory, all inside of it. Findings are wanted only if `report` is set.
    pub fn access(
        &mut self,
        warp: &Warp,
        access: &Access,
        spot: &Spot,
        report: bool,
        (scene, findings): (&Scene, &mut Findings),
    ) {
        let Spot { space, ref shape, .. } = *spot;
        let (reads, writes) = (access.touch != Touch::Write && report, access.touch != Touch::Read);
        let bytes = access.bytes as u64;
        let Some(block) = self.blocks.iter_mut().find(|block| block.index == warp.block) else { return };
        let mut range = |lane: usize, from: u64, bytes: u64| -> Option<u64> {
            match space {
                Space::Global(index) => {
                    let written = scene.blocks[index].written;
                    if !written.is_kept() {
                        return None;
                    }
                    let missing = if reads { written.first_missing(from, bytes) } else { None };
                    if writes {
                        written.set(from, bytes, true);
                    }
                    missing
                }
                Space::Shared => pass(&mut block.shared, from, bytes, reads, writes),
                Space::Local => {
                    let thread = warp.index as u64 * LANES as u64 + lane as u64;
                    let base = thread * self.local_bytes;
                    pass(&mut block.local, base + from, bytes, reads, writes).map(|at| at - base)
                }
            }
        };
        let lanes = || spot.lanes();
        let found = match *shape {
            _ if space == Space::Local => lanes().fold(None, |found, lane| {
                let missing = range(lane, shape.offset(lane, bytes), bytes);
                found.or(missing.map(|at| (lane as u32, at)))
            }),
            Shape::Row { lane, lanes, from } => {
                let missing = range(0, from, bytes * lanes as u64);
                missing.map(|at| (lane + ((at - from) / bytes) as u32, at))
            }
            Shape::Same { lane, from } => range(0, from, bytes).map(|at| (lane, at)),
            Shape::Scattered(ref offsets) => lanes().fold(None, |found, lane| {
                let missing = range(0, offsets[lane], bytes);
                found.or(missing.map(|at| (lane as u32, at)))
            }),
        };
        let Some((lane, at)) = found else { return };
        findings.add("initcheck", scene, (access.place, access.place), || {
            let from = shape.offset(lane as usize, bytes);
            let mut what = format!("read of what nobody has written: {}", space.place(scene, from, bytes));
            if at != from {
                what += &format!(" (the first {} are written)", at - from);
            }
            let help = match space {
                Space::Global(_) => GLOBAL,
                Space::Shared => SHARED,
                Space::Local => LOCAL,
            };
            scene.stop("initcheck", what, help, Who { block: warp.block, warp: warp.index, lane }, access.place)
        });
    }
}
