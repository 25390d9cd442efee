//! Memsets. On device memory they never wait, in the forms without `Async` either.

use std::ffi::{c_uchar, c_uint, c_ushort};

use crate::entry::api;
use crate::state::{Gpu, Handle};
use crate::status::{Result, Status, refuse};
use crate::stream::on_stream;
use crate::work::{At, Fill, Work};

/// Checks that a fill is aligned and inside an allocation.
pub fn check(gpu: &Gpu, fill: &Fill) -> Result<()> {
    if let At::Device(address) = fill.at
        && !(address.is_multiple_of(fill.size as u64) && (fill.height == 1 || fill.pitch.is_multiple_of(fill.size)))
    {
        return refuse(Status::INVALID_VALUE, format!("memset: {address:#x} is no multiple of {} bytes", fill.size));
    }
    if fill.height > 1 && fill.pitch < fill.width * fill.size {
        return Err(Status::INVALID_VALUE);
    }
    fill.check(&gpu.memory).or_else(|what| refuse(Status::INVALID_VALUE, format!("memset: {what}")))
}

fn fill(stream: Handle, at: u64, size: usize, value: u32, [width, height, pitch]: [usize; 3]) -> Result<()> {
    let (mut gpu, stream) = on_stream(stream)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    // A page-locked host address means its device memory.
    let at = match gpu.pinned_at(at as usize) {
        Some((start, range)) if gpu.place_of(at).is_none() => range.device.map_or(at, |to| to + at - start as u64),
        _ => at,
    };
    let fill = Fill { at: At::Device(at), pitch, size, value, width, height };
    check(&gpu, &fill)?;
    gpu.submit(stream, Work::Fill(fill))
}

api! {
    fn cuMemsetD8_v2 | cuMemsetD8_v2_ptds(at: u64, value: c_uchar, count: usize) {
        fill(0, at, 1, value.into(), [count, 1, 0])
    }

    fn cuMemsetD16_v2 | cuMemsetD16_v2_ptds(at: u64, value: c_ushort, count: usize) {
        fill(0, at, 2, value.into(), [count, 1, 0])
    }

    fn cuMemsetD32_v2 | cuMemsetD32_v2_ptds(at: u64, value: c_uint, count: usize) {
        fill(0, at, 4, value, [count, 1, 0])
    }

    fn cuMemsetD2D8_v2 | cuMemsetD2D8_v2_ptds(at: u64, pitch: usize, value: c_uchar, width: usize, height: usize) {
        fill(0, at, 1, value.into(), [width, height, pitch])
    }

    fn cuMemsetD2D16_v2 | cuMemsetD2D16_v2_ptds(at: u64, pitch: usize, value: c_ushort, width: usize, height: usize) {
        fill(0, at, 2, value.into(), [width, height, pitch])
    }

    fn cuMemsetD2D32_v2 | cuMemsetD2D32_v2_ptds(at: u64, pitch: usize, value: c_uint, width: usize, height: usize) {
        fill(0, at, 4, value, [width, height, pitch])
    }

    fn cuMemsetD8Async | cuMemsetD8Async_ptsz(at: u64, value: c_uchar, count: usize, stream: Handle) {
        fill(stream, at, 1, value.into(), [count, 1, 0])
    }

    fn cuMemsetD16Async | cuMemsetD16Async_ptsz(at: u64, value: c_ushort, count: usize, stream: Handle) {
        fill(stream, at, 2, value.into(), [count, 1, 0])
    }

    fn cuMemsetD32Async | cuMemsetD32Async_ptsz(at: u64, value: c_uint, count: usize, stream: Handle) {
        fill(stream, at, 4, value, [count, 1, 0])
    }

    fn cuMemsetD2D8Async | cuMemsetD2D8Async_ptsz(
        at: u64, pitch: usize, value: c_uchar, width: usize, height: usize, stream: Handle,
    ) {
        fill(stream, at, 1, value.into(), [width, height, pitch])
    }

    fn cuMemsetD2D16Async | cuMemsetD2D16Async_ptsz(
        at: u64, pitch: usize, value: c_ushort, width: usize, height: usize, stream: Handle,
    ) {
        fill(stream, at, 2, value.into(), [width, height, pitch])
    }

    fn cuMemsetD2D32Async | cuMemsetD2D32Async_ptsz(
        at: u64, pitch: usize, value: c_uint, width: usize, height: usize, stream: Handle,
    ) {
        fill(stream, at, 4, value, [width, height, pitch])
    }
}
