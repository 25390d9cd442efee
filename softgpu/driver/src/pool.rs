//! Memory pools and stream-ordered allocation.

use std::ffi::{c_int, c_void};

use crate::device::ordinal;
use crate::entry::{api, get, put};
use crate::state::{Gpu, Handle, gpu};
use crate::status::{Result, Status, refuse};
use crate::stream::on_stream;
use crate::work::Work;

/// A pool. Its memory is the device's; only the counts are its own.
#[derive(Default)]
pub struct Pool {
    pub used: u64,
    pub highest: u64,
    release_threshold: u64,
    /// The three reuse policies, switched off where true.
    no_reuse: [bool; 3],
}

impl Gpu {
    /// Memory of a pool: the address is there at once, and valid for work after this point of the stream.
    fn alloc_async(&mut self, bytes: usize, pool: Handle, stream: Handle) -> Result<u64> {
        self.no_capture_support(stream)?;
        let context = self.streams.get(stream)?.context;
        self.pools.get(pool).map_err(|_| Status::INVALID_VALUE)?;
        let address = self.reserve(context, bytes, Some(pool))?;
        let pool = self.pools.get_mut(pool)?;
        pool.used += bytes as u64;
        pool.highest = pool.highest.max(pool.used);
        Ok(address)
    }
}

api! {
    fn cuMemAllocAsync | cuMemAllocAsync_ptsz(pointer: *mut u64, bytes: usize, stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        let pool = gpu.current_pool;
        put(pointer, gpu.alloc_async(bytes, pool, stream)?)
    }

    fn cuMemAllocFromPoolAsync | cuMemAllocFromPoolAsync_ptsz(
        pointer: *mut u64, bytes: usize, pool: Handle, stream: Handle,
    ) {
        let (mut gpu, stream) = on_stream(stream)?;
        put(pointer, gpu.alloc_async(bytes, pool, stream)?)
    }

    /// Frees after the stream's work so far.
    fn cuMemFreeAsync | cuMemFreeAsync_ptsz(pointer: u64, stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        if pointer == 0 {
            return Ok(());
        }
        gpu.no_capture_support(stream)?;
        let place = gpu.places.get_mut(&pointer).filter(|place| !place.freed && !place.fixed && place.host.is_none());
        let Some(place) = place else {
            return refuse(
                Status::INVALID_VALUE,
                format!("cuMemFreeAsync: {pointer:#x} does not start a live allocation"),
            );
        };
        place.freed = true;
        gpu.submit(stream, Work::Free(pointer))
    }

    fn cuDeviceGetMemPool(pool: *mut Handle, device: c_int) {
        let gpu = gpu()?;
        ordinal(device)?;
        put(pool, gpu.current_pool)
    }

    fn cuDeviceSetMemPool(device: c_int, pool: Handle) {
        let mut gpu = gpu()?;
        ordinal(device)?;
        gpu.pools.get(pool).map_err(|_| Status::INVALID_VALUE)?;
        gpu.current_pool = pool;
        Ok(())
    }

    /// Only pinned allocations on device 0 that no other process sees: `CUmemPoolProps` starts with the kind of
    /// allocation (1: pinned), of handle (0: none), of location (1: device), and its number.
    fn cuMemPoolCreate(pool: *mut Handle, properties: *const [c_int; 4]) {
        let mut gpu = gpu()?;
        let [kind, shared, location, device] = get(properties)?;
        if [kind, shared, location, device] != [1, 0, 1, 0] {
            return refuse(Status::NOT_SUPPORTED, "cuMemPoolCreate: only pinned, unshared memory of device 0");
        }
        let handle = gpu.pools.add(Pool::default());
        put(pool, handle)
    }

    fn cuMemPoolDestroy(pool: Handle) {
        let mut gpu = gpu()?;
        if pool == gpu.default_pool {
            return Err(Status::INVALID_VALUE);
        }
        gpu.pools.remove(pool).map_err(|_| Status::INVALID_VALUE)?;
        if gpu.current_pool == pool {
            gpu.current_pool = gpu.default_pool;
        }
        Ok(())
    }

    /// Freed memory is given back at once, so there is nothing to trim.
    fn cuMemPoolTrimTo(pool: Handle, _bytes: usize) {
        gpu()?.pools.get(pool).map(|_| ()).map_err(|_| Status::INVALID_VALUE)
    }

    fn cuMemPoolSetAttribute(pool: Handle, attribute: c_int, value: *mut c_void) {
        let mut gpu = gpu()?;
        let pool = gpu.pools.get_mut(pool).map_err(|_| Status::INVALID_VALUE)?;
        match attribute {
            1..=3 => pool.no_reuse[attribute as usize - 1] = get(value as *const c_int)? == 0,
            4 => pool.release_threshold = get(value as *const u64)?,
            // High-water marks can only be reset.
            6 | 8 if get(value as *const u64)? == 0 => pool.highest = pool.used,
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(())
    }

    fn cuMemPoolGetAttribute(pool: Handle, attribute: c_int, value: *mut c_void) {
        let gpu = gpu()?;
        let pool = gpu.pools.get(pool).map_err(|_| Status::INVALID_VALUE)?;
        match attribute {
            1..=3 => put(value as *mut c_int, c_int::from(!pool.no_reuse[attribute as usize - 1])),
            4 => put(value as *mut u64, pool.release_threshold),
            5 | 7 => put(value as *mut u64, pool.used),
            6 | 8 => put(value as *mut u64, pool.highest),
            _ => Err(Status::INVALID_VALUE),
        }
    }

    /// The one device has access already.
    fn cuMemPoolSetAccess(pool: Handle, _access: *const c_void, _count: usize) {
        gpu()?.pools.get(pool).map(|_| ()).map_err(|_| Status::INVALID_VALUE)
    }

    /// Readable and writable from device 0; the location is (1: device, number).
    fn cuMemPoolGetAccess(flags: *mut c_int, pool: Handle, location: *const [c_int; 2]) {
        gpu()?.pools.get(pool).map_err(|_| Status::INVALID_VALUE)?;
        if get(location)? != [1, 0] {
            return Err(Status::INVALID_VALUE);
        }
        put(flags, 3)
    }
}
