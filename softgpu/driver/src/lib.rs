//! The CUDA driver API, cuBLAS and cublasLt on top of softgpu, in one shared object: for tests of programs that use
//! them, on machines without a GPU.
//!
//! ```text
//! cu*        entry ─→ state (contexts, handles) ─→ queue: work per stream ─at a synchronisation→ work ─→ softgpu
//! cublas*    blas, blas_lt ─────────────────────────────┘                                          └─→ softgpu-blas
//! ```
//! Work waits in its stream until something waits for it, and then only that and what it depends on is run. So a
//! missing synchronisation, or a missing event between two streams, shows as old or poisoned data, every time. What is
//! left when the process ends is run then.
//!
//! One function is one row of [`entry::api`]; `SOFTGPU_TRACE=1` prints every call and its result.

mod blas;
mod blas_lt;
mod capture;
mod context;
mod copy;
mod device;
mod entry;
mod event;
mod exit;
mod fill;
mod graph;
mod graph_nodes;
mod image;
mod launch;
mod library;
mod link;
mod memory;
mod module;
mod occupancy;
mod pool;
mod proc;
mod queue;
mod refused;
mod state;
mod status;
mod stream;
mod tools;
mod types;
mod work;

/// Names that tests may ask for: every function that the driver exports.
pub fn exported() -> impl Iterator<Item = &'static str> {
    proc::symbols().map(|symbol| symbol.name)
}
