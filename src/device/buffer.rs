//! Device memory: an arena that hands out offsets within a few large driver allocations.
//!
//! Tensors come and go in every step; the driver is asked only until the arena has grown to the largest step.
//! First fit by address over a coalescing free list, so the same sequence of requests gives the same addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Result;

/// Addresses are multiples of this, enough for any vector access and for cuBLAS's best kernels.
const ALIGN: usize = 256;
/// Smallest piece asked of the driver.
const CHUNK_BYTES: usize = 64 << 20;

/// What the arena needs of a device.
pub(crate) trait RawMemory: Send + Sync {
    fn raw_alloc(&self, bytes: usize) -> Result<u64>;
    fn raw_free(&self, ptr: u64);
}

/// How the arena divides memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Tensors share large chunks: fast, for runs.
    Arena,
    /// Each tensor is a driver allocation of exactly its size, so that softgpu sees every access past its end: for tests.
    Separate,
}

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Parameters,
    /// The matrices in a 2-byte type.
    WeightCopy,
    Gradients,
    Optimizer,
    /// What the forward pass keeps for the backward pass.
    Activations,
    ActivationGradients,
    /// The batch, and what lives no longer than one op.
    Workspace,
}

impl Purpose {
    pub const ALL: [Purpose; 7] = [
        Purpose::Parameters,
        Purpose::WeightCopy,
        Purpose::Gradients,
        Purpose::Optimizer,
        Purpose::Activations,
        Purpose::ActivationGradients,
        Purpose::Workspace,
    ];

    /// Words for a report.
    pub fn describe(self) -> &'static str {
        match self {
            Purpose::Parameters => "parameters",
            Purpose::WeightCopy => "2-byte copy of them",
            Purpose::Gradients => "their gradients",
            Purpose::Optimizer => "optimiser state",
            Purpose::Activations => "activations",
            Purpose::ActivationGradients => "gradients of activations",
            Purpose::Workspace => "batch and workspace",
        }
    }
}

/// Bytes by purpose, in the order of [`Purpose::ALL`].
pub type ByPurpose = [usize; Purpose::ALL.len()];

struct State {
    free: BTreeMap<u64, usize>,
    chunks: Vec<u64>,
    total_bytes: usize,
    used: ByPurpose,
    peak: ByPurpose,
}

/// Bytes in use now, at the highest point and what for, and taken from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    pub used_bytes: usize,
    pub peak_bytes: usize,
    pub peak: ByPurpose,
    pub total_bytes: usize,
}

pub(crate) struct Arena {
    raw: Arc<dyn RawMemory>,
    allocation: Allocation,
    state: Mutex<State>,
}

impl Arena {
    pub fn new(raw: Arc<dyn RawMemory>, allocation: Allocation) -> Arc<Self> {
        let state = State {
            free: BTreeMap::new(),
            chunks: Vec::new(),
            total_bytes: 0,
            used: ByPurpose::default(),
            peak: ByPurpose::default(),
        };
        Arc::new(Arena { raw, allocation, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn memory_use(&self) -> MemoryUse {
        let state = self.lock();
        MemoryUse {
            used_bytes: state.used.iter().sum(),
            peak_bytes: state.peak.iter().sum(),
            peak: state.peak,
            total_bytes: state.total_bytes,
        }
    }

    /// `bytes` of uninitialised device memory for `purpose`.
    pub fn alloc(self: &Arc<Self>, bytes: usize, purpose: Purpose) -> Result<Buffer> {
        let reserved = bytes.next_multiple_of(ALIGN).max(ALIGN);
        let mut state = self.lock();
        let ptr = match self.allocation {
            Allocation::Separate => {
                state.total_bytes += bytes;
                self.raw.raw_alloc(bytes)?
            }
            Allocation::Arena => self.take(&mut state, reserved)?,
        };
        state.used[purpose as usize] += reserved;
        if state.used.iter().sum::<usize>() > state.peak.iter().sum() {
            state.peak = state.used;
        }
        let block = Block { arena: Arc::clone(self), ptr, bytes, reserved, purpose };
        Ok(Buffer { block: Arc::new(block), offset: 0, bytes })
    }

    fn take(&self, state: &mut State, reserved: usize) -> Result<u64> {
        let fit = state.free.iter().find(|(_, size)| **size >= reserved).map(|(ptr, size)| (*ptr, *size));
        let (ptr, size) = match fit {
            Some(range) => range,
            None => {
                let chunk = reserved.max(CHUNK_BYTES);
                let ptr = self.raw.raw_alloc(chunk)?;
                state.chunks.push(ptr);
                state.total_bytes += chunk;
                (ptr, chunk)
            }
        };
        state.free.remove(&ptr);
        if size > reserved {
            state.free.insert(ptr + reserved as u64, size - reserved);
        }
        Ok(ptr)
    }

    fn give_back(&self, block: &Block) {
        let mut state = self.lock();
        state.used[block.purpose as usize] -= block.reserved;
        if self.allocation == Allocation::Separate {
            state.total_bytes -= block.bytes;
            self.raw.raw_free(block.ptr);
            return;
        }
        let (mut ptr, mut size) = (block.ptr, block.reserved);
        // Chunks are driver allocations of their own: ranges join only within one.
        if let Some((&before, &bytes)) = state.free.range(..ptr).next_back()
            && before + bytes as u64 == ptr
            && !state.chunks.contains(&ptr)
        {
            state.free.remove(&before);
            (ptr, size) = (before, size + bytes);
        }
        let end = ptr + size as u64;
        if !state.chunks.contains(&end)
            && let Some(bytes) = state.free.remove(&end)
        {
            size += bytes;
        }
        state.free.insert(ptr, size);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for ptr in &state.chunks {
            self.raw.raw_free(*ptr);
        }
    }
}

struct Block {
    arena: Arc<Arena>,
    ptr: u64,
    bytes: usize,
    reserved: usize,
    purpose: Purpose,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.arena.give_back(self);
    }
}

/// A range of device memory. Clones and slices share it; it returns to the arena with the last of them.
#[derive(Clone)]
pub struct Buffer {
    block: Arc<Block>,
    offset: usize,
    bytes: usize,
}

impl Buffer {
    /// Device address of the first byte.
    pub fn ptr(&self) -> u64 {
        self.block.ptr + self.offset as u64
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The `bytes` bytes from `offset` on. Panics past the end; `Tensor::view` checks with an error.
    pub(crate) fn slice(&self, offset: usize, bytes: usize) -> Buffer {
        assert!(offset + bytes <= self.bytes, "slice past the end of a buffer");
        Buffer { block: Arc::clone(&self.block), offset: self.offset + offset, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Fake(AtomicU64);

    impl RawMemory for Fake {
        fn raw_alloc(&self, bytes: usize) -> Result<u64> {
            Ok(self.0.fetch_add(bytes as u64, Ordering::Relaxed))
        }
        fn raw_free(&self, _: u64) {}
    }

    #[test]
    fn freed_ranges_join_and_are_used_again() {
        let arena = Arena::new(Arc::new(Fake(AtomicU64::new(4096))), Allocation::Arena);
        let (a, b, c) = (
            arena.alloc(100, Purpose::Workspace).unwrap(),
            arena.alloc(300, Purpose::Workspace).unwrap(),
            arena.alloc(10, Purpose::Workspace).unwrap(),
        );
        assert_eq!([a.ptr(), b.ptr(), c.ptr()], [4096, 4352, 4864]);
        drop(a);
        drop(b);
        assert_eq!(arena.alloc(700, Purpose::Workspace).unwrap().ptr(), 4096);
        drop(c);
        assert_eq!(arena.memory_use().used_bytes, 0);
        assert_eq!(arena.alloc(CHUNK_BYTES, Purpose::Workspace).unwrap().ptr(), 4096);
        assert_eq!(arena.memory_use().total_bytes, CHUNK_BYTES);
    }

    #[test]
    fn neighbouring_chunks_stay_apart() {
        let arena = Arena::new(Arc::new(Fake(AtomicU64::new(4096))), Allocation::Arena);
        let (a, b) = (
            arena.alloc(CHUNK_BYTES, Purpose::Workspace).unwrap(),
            arena.alloc(CHUNK_BYTES, Purpose::Workspace).unwrap(),
        );
        drop((a, b));
        let c = arena.alloc(CHUNK_BYTES + 1, Purpose::Workspace).unwrap();
        assert_eq!(c.ptr(), 4096 + 2 * CHUNK_BYTES as u64);
    }
}
