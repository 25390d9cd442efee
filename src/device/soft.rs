//! The software device: `softgpu` runs the PTX, the `gemm` crate the matrix products.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::buffer::RawMemory;
use super::gemm::{Epilogue, Gemm, HostExtras, HostOperands};
use super::kernels::{MODULES, module_of};
use super::launch::{Arg, Grid};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use softgpu::Tools;
use softgpu::counters::Counters;

/// A GPU in software, with memory of its own.
#[derive(Clone)]
pub struct SoftDevice {
    memory: Arc<softgpu::Memory>,
    /// What watches every launch; what it finds is that launch's error.
    tools: Tools,
    /// Of every launch, in order, if they are counted.
    counted: Arc<Mutex<Vec<Counters>>>,
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
        SoftDevice::with(softgpu::Memory::new(), Tools::default())
    }

    fn with(memory: softgpu::Memory, tools: Tools) -> SoftDevice {
        SoftDevice { memory: Arc::new(memory), tools, counted: Arc::default() }
    }

    /// Runs every kernel under these tools, on one thread.
    pub fn watched(tools: Tools) -> SoftDevice {
        let memory = if tools.initcheck { softgpu::Memory::watched() } else { softgpu::Memory::new() };
        SoftDevice::with(memory, tools)
    }

    /// The counters of the launches since the last call, in order; none unless the tools count.
    pub fn take_counters(&self) -> Vec<Counters> {
        std::mem::take(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn raw_memory(&self) -> Arc<dyn RawMemory> {
        Arc::clone(&self.memory) as Arc<dyn RawMemory>
    }

    pub(crate) fn write(&self, ptr: u64, data: &[u8]) -> Result<()> {
        self.memory.write(ptr, data).map_err(Error::device)
    }

    pub(crate) fn read(&self, ptr: u64, data: &mut [u8]) -> Result<()> {
        self.memory.read(ptr, data).map_err(Error::device)
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.memory.copy(to, from, bytes).map_err(Error::device)
    }

    pub(crate) fn zero(&self, ptr: u64, bytes: usize) -> Result<()> {
        self.memory.fill(ptr, bytes, 0).map_err(Error::device)
    }

    pub(crate) fn launch(&self, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        let index = module_of(kernel).ok_or_else(|| Error::device(format!("no kernel `{kernel}` in this binary")))?;
        let args: Vec<&[u8]> = args.iter().map(Arg::as_bytes).collect();
        let launch = softgpu::Launch {
            grid: grid.grid,
            block: grid.block,
            shared_bytes: grid.shared,
            args: &args,
            cooperative: false,
        };
        let report = softgpu::launch_with(module(index)?, kernel, &self.memory, &launch, &self.tools);
        let report = report.map_err(Error::device)?;
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).extend(report.counters);
        report.findings.first().map_or(Ok(()), |finding| Err(Error::device(finding)))
    }

    pub(crate) fn gemm(&self, g: &Gemm<'_>) -> Result<()> {
        let operands = self.operands(g)?;
        // SAFETY: the ranges are checked; `Gemm::check` has compared extents and sizes, and launches and products of one
        // device come one after another.
        unsafe { operands.run(g) };
        self.memory.mark_written(g.c.ptr(), g.c.bytes()).map_err(Error::device)
    }

    /// A product with its epilogue, as the GPU's library would do it.
    pub(crate) fn gemm_with(&self, g: &Gemm<'_>, e: &Epilogue<'_>) -> Result<()> {
        let (operands, (vector, _), mask) = (self.operands(g)?, e.vector(g), e.mask());
        let reads = |name, tensor| self.refuse_unwritten(name, tensor);
        let writes = |tensor: &Tensor| self.memory.mark_written(tensor.ptr(), tensor.bytes()).map_err(Error::device);
        match *e {
            Epilogue::Bias { b } | Epilogue::BiasRelu { b, .. } => reads("b", b)?,
            Epilogue::ReluGrad { db, accumulate: true, .. } | Epilogue::BiasGrad { db, accumulate: true } => {
                reads("db", db)?;
            }
            Epilogue::ReluGrad { .. } | Epilogue::BiasGrad { .. } => {}
        }
        let mask_at = mask.map_or(Ok(std::ptr::null_mut()), |mask| self.host(mask))?;
        let extras = HostExtras { vector: self.host(vector)?, mask: mask_at };
        // SAFETY: as in `gemm`; `Epilogue::check` has passed.
        unsafe { operands.run_with(g, e, extras) };
        mask.map_or(Ok(()), writes)?;
        writes(vector)?;
        writes(g.c)
    }

    fn host(&self, tensor: &Tensor) -> Result<*mut u8> {
        // SAFETY: whoever uses the pointer does so between launches, which come one after another.
        unsafe { self.memory.host_slice(tensor.ptr(), tensor.bytes()) }.map_err(Error::device)
    }

    fn operands(&self, g: &Gemm<'_>) -> Result<HostOperands> {
        let read = [("a", g.a), ("b", g.b), ("c", g.c)];
        for (name, tensor) in read.into_iter().take(if g.beta == 0.0 { 2 } else { 3 }) {
            self.refuse_unwritten(name, tensor)?;
        }
        Ok(HostOperands { a: self.host(g.a)?, b: self.host(g.b)?, c: self.host(g.c)? })
    }

    /// An error if a product would read what nobody has written, on a device that keeps book of that.
    fn refuse_unwritten(&self, name: &str, tensor: &Tensor) -> Result<()> {
        match self.memory.unwritten(tensor.ptr(), tensor.bytes()).map_err(Error::device)? {
            Some(_) => Err(Error::device(format!("initcheck: gemm reads what nobody has written of `{name}`"))),
            None => Ok(()),
        }
    }
}

impl Default for SoftDevice {
    fn default() -> Self {
        SoftDevice::new()
    }
}
