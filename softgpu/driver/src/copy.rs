//! Copies, with the synchronisation that the driver API documents ("API synchronization behavior"):
//!
//! * from pageable memory: its content counts as of the call (the driver stages it);
//! * from page-locked memory: the content counts as of the copy, so changing it early shows;
//! * to host memory, asynchronous: poison until the stream is waited for, pageable or not (the driver *may* wait);
//! * to host memory, synchronous, and between host memories: done on return;
//! * within the device: never waits, in the forms without `Async` either.

use std::ffi::c_void;

use crate::entry::{api, get};
use crate::state::{Gpu, Handle, Session};
use crate::status::{Result, Status, refuse};
use crate::stream::on_stream;
use crate::types::{Copy2d, Copy3d};
use crate::work::{At, Copy, End, Work};

/// `CUmemorytype`.
pub const HOST: u32 = 1;
pub const DEVICE: u32 = 2;
const UNIFIED: u32 = 4;

pub fn host(address: *const c_void) -> At {
    At::Host(address as usize)
}

impl Gpu {
    /// What an address of either kind is.
    pub fn either(&self, address: u64) -> At {
        if self.place_of(address).is_some() { At::Device(address) } else { At::Host(address as usize) }
    }
}

impl Copy {
    pub fn flat(to: At, from: At, bytes: usize) -> Copy {
        let end = |at| End { at, pitch: bytes, slice: bytes };
        Copy { to: end(to), from: end(from), width: bytes, height: 1, depth: 1, guarded: false }
    }
}

/// Checks a copy and puts it into the stream; `waits` in the forms without `Async`.
fn submit(mut gpu: Session, stream: Handle, copy: Copy, waits: bool) -> Result<()> {
    if copy.bytes() == 0 {
        return Ok(());
    }
    check(&gpu, &copy)?;
    let capturing = gpu.streams.get(stream)?.capture.is_some();
    let to_host = matches!(copy.to.at, At::Host(_));
    let from_host = match copy.from.at {
        At::Host(address) => Some(address),
        _ => None,
    };
    if capturing {
        if waits {
            gpu.not_captured(stream)?;
        }
        return gpu.submit(stream, Work::Copy(copy.into()));
    }
    let memory = std::sync::Arc::clone(&gpu.memory);
    let failed = |what: String| refuse(Status::INVALID_VALUE, what);
    let copy = match from_host {
        Some(address) if !to_host && gpu.pinned_at(address).is_none() => copy.stage(&memory).or_else(failed)?,
        _ => copy,
    };
    let copy = match copy.to.at {
        At::Host(address) if from_host.is_none() && !waits => {
            copy.poison(&memory).or_else(|what| refuse(Status::INVALID_VALUE, what))?;
            Copy { guarded: gpu.pinned_at(address).is_none(), ..copy }
        }
        _ => copy,
    };
    gpu.submit(stream, Work::Copy(copy.into()))?;
    if to_host && from_host.is_some() || waits && (to_host || from_host.is_some()) {
        gpu.finish_stream(stream)?;
    }
    Ok(())
}

/// Device ranges lie in allocations, host pointers are not null, rows do not overlap.
pub fn check(gpu: &Gpu, copy: &Copy) -> Result<()> {
    for end in [&copy.to, &copy.from] {
        if matches!(end.at, At::Host(0)) {
            return Err(Status::INVALID_VALUE);
        }
        if end.pitch < copy.width && copy.height > 1 || end.slice < end.pitch * copy.height && copy.depth > 1 {
            return refuse(Status::INVALID_VALUE, format!("copy: rows of {} bytes, {} apart", copy.width, end.pitch));
        }
    }
    copy.check(&gpu.memory).or_else(|what| refuse(Status::INVALID_VALUE, format!("copy: {what}")))
}

fn flat(stream: Handle, to: At, from: At, bytes: usize, waits: bool) -> Result<()> {
    let (gpu, stream) = on_stream(stream)?;
    submit(gpu, stream, Copy::flat(to, from, bytes), waits)
}

fn unified(stream: Handle, to: u64, from: u64, bytes: usize, waits: bool) -> Result<()> {
    let (gpu, stream) = on_stream(stream)?;
    let (to, from) = (gpu.either(to), gpu.either(from));
    submit(gpu, stream, Copy::flat(to, from, bytes), waits)
}

/// One end of a 2D or 3D copy.
struct Side {
    kind: u32,
    host: usize,
    device: u64,
    pitch: usize,
    /// Rows from slice to slice.
    rows: usize,
    /// Where it starts: bytes, rows, slices.
    start: [usize; 3],
}

impl Side {
    fn end(self, gpu: &Gpu, width: usize, height: usize) -> Result<End> {
        let pitch = if self.pitch == 0 { width } else { self.pitch };
        let rows = if self.rows == 0 { height } else { self.rows };
        let offset = (self.start[2] * rows + self.start[1]) * pitch + self.start[0];
        let at = match self.kind {
            HOST => At::Host(self.host + offset),
            DEVICE => At::Device(self.device + offset as u64),
            UNIFIED => gpu.either(self.device + offset as u64),
            _ => return refuse(Status::NOT_SUPPORTED, "copy: softgpu has no CUDA arrays"),
        };
        Ok(End { at, pitch, slice: pitch * rows })
    }
}

pub fn of_2d(gpu: &Gpu, c: &Copy2d) -> Result<Copy> {
    let (width, height) = (c.width, c.height);
    let from = Side {
        kind: c.from_kind,
        host: c.from_host,
        device: c.from_device,
        pitch: c.from_pitch,
        rows: 0,
        start: [c.from_x, c.from_y, 0],
    };
    let to = Side {
        kind: c.to_kind,
        host: c.to_host,
        device: c.to_device,
        pitch: c.to_pitch,
        rows: 0,
        start: [c.to_x, c.to_y, 0],
    };
    Ok(Copy {
        to: to.end(gpu, width, height)?,
        from: from.end(gpu, width, height)?,
        width,
        height,
        depth: 1,
        guarded: false,
    })
}

pub fn of_3d(gpu: &Gpu, c: &Copy3d) -> Result<Copy> {
    let (width, height, depth) = (c.width, c.height, c.depth);
    let from = Side {
        kind: c.from_kind,
        host: c.from_host,
        device: c.from_device,
        pitch: c.from_pitch,
        rows: c.from_height,
        start: [c.from_x, c.from_y, c.from_z],
    };
    let to = Side {
        kind: c.to_kind,
        host: c.to_host,
        device: c.to_device,
        pitch: c.to_pitch,
        rows: c.to_height,
        start: [c.to_x, c.to_y, c.to_z],
    };
    Ok(Copy {
        to: to.end(gpu, width, height)?,
        from: from.end(gpu, width, height)?,
        width,
        height,
        depth,
        guarded: false,
    })
}

unsafe fn plane(stream: Handle, copy: *const Copy2d, waits: bool) -> Result<()> {
    let (gpu, stream) = on_stream(stream)?;
    // SAFETY: the caller's promise.
    let copy = of_2d(&gpu, &unsafe { get(copy) }?)?;
    submit(gpu, stream, copy, waits)
}

unsafe fn volume(stream: Handle, copy: *const Copy3d, waits: bool) -> Result<()> {
    let (gpu, stream) = on_stream(stream)?;
    // SAFETY: the caller's promise.
    let copy = of_3d(&gpu, &unsafe { get(copy) }?)?;
    submit(gpu, stream, copy, waits)
}

api! {
    fn cuMemcpy | cuMemcpy_ptds(to: u64, from: u64, bytes: usize) {
        unified(0, to, from, bytes, true)
    }

    fn cuMemcpyAsync | cuMemcpyAsync_ptsz(to: u64, from: u64, bytes: usize, stream: Handle) {
        unified(stream, to, from, bytes, false)
    }

    /// Contexts share the one device's memory.
    fn cuMemcpyPeer | cuMemcpyPeer_ptds(to: u64, _to_context: Handle, from: u64, _from_context: Handle, bytes: usize) {
        unified(0, to, from, bytes, true)
    }

    fn cuMemcpyPeerAsync | cuMemcpyPeerAsync_ptsz(
        to: u64, _to_context: Handle, from: u64, _from_context: Handle, bytes: usize, stream: Handle,
    ) {
        unified(stream, to, from, bytes, false)
    }

    fn cuMemcpyHtoD_v2 | cuMemcpyHtoD_v2_ptds(to: u64, from: *const c_void, bytes: usize) {
        flat(0, At::Device(to), host(from), bytes, true)
    }

    fn cuMemcpyHtoDAsync_v2 | cuMemcpyHtoDAsync_v2_ptsz(to: u64, from: *const c_void, bytes: usize, stream: Handle) {
        flat(stream, At::Device(to), host(from), bytes, false)
    }

    fn cuMemcpyDtoH_v2 | cuMemcpyDtoH_v2_ptds(to: *mut c_void, from: u64, bytes: usize) {
        flat(0, host(to), At::Device(from), bytes, true)
    }

    fn cuMemcpyDtoHAsync_v2 | cuMemcpyDtoHAsync_v2_ptsz(to: *mut c_void, from: u64, bytes: usize, stream: Handle) {
        flat(stream, host(to), At::Device(from), bytes, false)
    }

    fn cuMemcpyDtoD_v2 | cuMemcpyDtoD_v2_ptds(to: u64, from: u64, bytes: usize) {
        flat(0, At::Device(to), At::Device(from), bytes, true)
    }

    fn cuMemcpyDtoDAsync_v2 | cuMemcpyDtoDAsync_v2_ptsz(to: u64, from: u64, bytes: usize, stream: Handle) {
        flat(stream, At::Device(to), At::Device(from), bytes, false)
    }

    fn cuMemcpy2D_v2 | cuMemcpy2D_v2_ptds(copy: *const Copy2d) {
        plane(0, copy, true)
    }

    fn cuMemcpy2DUnaligned_v2 | cuMemcpy2DUnaligned_v2_ptds(copy: *const Copy2d) {
        plane(0, copy, true)
    }

    fn cuMemcpy2DAsync_v2 | cuMemcpy2DAsync_v2_ptsz(copy: *const Copy2d, stream: Handle) {
        plane(stream, copy, false)
    }

    fn cuMemcpy3D_v2 | cuMemcpy3D_v2_ptds(copy: *const Copy3d) {
        volume(0, copy, true)
    }

    fn cuMemcpy3DAsync_v2 | cuMemcpy3DAsync_v2_ptsz(copy: *const Copy3d, stream: Handle) {
        volume(stream, copy, false)
    }
}
