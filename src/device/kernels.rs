//! The kernels in this binary: PTX for any device, fatbins for NVIDIA's, and what `ptxas` said of them.

/// One `.cu` file, compiled.
pub struct KernelModule {
    /// File stem, as in `kernels/<name>.cu`.
    pub name: &'static str,
    /// compute_80 PTX with line information.
    pub ptx: &'static str,
    /// SASS for each supported architecture and the PTX; empty in debug builds, where the driver compiles the PTX.
    pub fatbin: &'static [u8],
    /// Names of the `__global__` functions.
    pub entries: &'static [&'static str],
}

/// What `ptxas -v` said of one kernel on one architecture (release builds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelResources {
    pub kernel: &'static str,
    /// As in `sm_80`.
    pub arch: &'static str,
    pub registers: u32,
    pub spill_store_bytes: u32,
    pub spill_load_bytes: u32,
    /// Static shared memory.
    pub shared_bytes: u32,
}

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// Index in [`MODULES`] of the module with the entry `kernel`.
pub fn module_of(kernel: &str) -> Option<usize> {
    MODULES.iter().position(|module| module.entries.contains(&kernel))
}
