//! The software device: `softgpu` runs the PTX, the `gemm` crate the matrix products.

use std::sync::{Arc, OnceLock};

use super::buffer::RawMemory;
use super::gemm::{Gemm, HostOperands};
use super::kernels::{MODULES, module_of};
use super::launch::{Arg, Grid};
use crate::error::{Error, Result};

/// A GPU in software, with memory of its own.
#[derive(Clone)]
pub struct SoftDevice {
    memory: Arc<softgpu::Memory>,
}

impl RawMemory for softgpu::Memory {
    fn raw_alloc(&self, bytes: usize) -> Result<u64> {
        self.alloc(bytes).map_err(Error::device)
    }

    fn raw_free(&self, ptr: u64) {
        // A block is freed once, by its owner; an error here would be a bug in the arena, with nobody left to tell.
        let freed = self.free(ptr);
        debug_assert!(freed.is_ok());
    }
}

/// Loads the module on first use: a process that only translates text into ids never parses a kernel.
fn module(index: usize) -> Result<&'static softgpu::Module> {
    static LOADED: OnceLock<Vec<OnceLock<std::result::Result<softgpu::Module, String>>>> = OnceLock::new();
    let slots = LOADED.get_or_init(|| MODULES.iter().map(|_| OnceLock::new()).collect());
    let loaded =
        slots[index].get_or_init(|| softgpu::Module::load(MODULES[index].ptx).map_err(|error| error.to_string()));
    loaded.as_ref().map_err(|error| Error::device(format!("kernels/{}.cu: {error}", MODULES[index].name)))
}

impl SoftDevice {
    pub fn new() -> SoftDevice {
        SoftDevice { memory: Arc::new(softgpu::Memory::new()) }
    }

    pub(crate) fn raw_memory(&self) -> Arc<dyn RawMemory> {
        Arc::clone(&self.memory) as Arc<dyn RawMemory>
    }

    fn host(&self, ptr: u64, bytes: usize) -> Result<*mut u8> {
        // SAFETY: the range is checked; who reads or writes through the pointer keeps to one user at a time.
        unsafe { self.memory.host_slice(ptr, bytes) }.map_err(Error::device)
    }

    pub(crate) fn write(&self, ptr: u64, data: &[u8]) -> Result<()> {
        let to = self.host(ptr, data.len())?;
        // SAFETY: `to` covers `data.len()` bytes of device memory, which never overlap host data.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Ok(())
    }

    pub(crate) fn read(&self, ptr: u64, data: &mut [u8]) -> Result<()> {
        let from = self.host(ptr, data.len())?;
        // SAFETY: as in `write`.
        unsafe { std::ptr::copy_nonoverlapping(from, data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let (to, from) = (self.host(to, bytes)?, self.host(from, bytes)?);
        // SAFETY: both ranges are checked; they may overlap.
        unsafe { std::ptr::copy(from, to, bytes) };
        Ok(())
    }

    pub(crate) fn zero(&self, ptr: u64, bytes: usize) -> Result<()> {
        let to = self.host(ptr, bytes)?;
        // SAFETY: `to` covers `bytes` bytes.
        unsafe { std::ptr::write_bytes(to, 0, bytes) };
        Ok(())
    }

    pub(crate) fn launch(&self, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        let index = module_of(kernel).ok_or_else(|| Error::device(format!("no kernel `{kernel}` in this binary")))?;
        let args: Vec<&[u8]> = args.iter().map(Arg::as_bytes).collect();
        let launch = softgpu::Launch { grid: grid.grid, block: grid.block, shared_bytes: grid.shared, args: &args };
        softgpu::launch(module(index)?, kernel, &self.memory, &launch).map_err(Error::device)
    }

    pub(crate) fn gemm(&self, g: &Gemm<'_>) -> Result<()> {
        let operands = HostOperands {
            a: self.host(g.a.ptr(), g.a.bytes())? as *const f32,
            b: self.host(g.b.ptr(), g.b.bytes())? as *const f32,
            c: self.host(g.c.ptr(), g.c.bytes())? as *mut f32,
        };
        // SAFETY: `Gemm::check` has compared extents and sizes; launches of one device come one after another.
        unsafe { operands.run(g) };
        Ok(())
    }
}

impl Default for SoftDevice {
    fn default() -> Self {
        SoftDevice::new()
    }
}
