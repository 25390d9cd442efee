//! Device memory and page-locked host memory: allocation, and what a pointer is.

use std::ffi::{c_int, c_uint, c_void};

use crate::device::{ordinal, total_bytes};
use crate::entry::{api, list, put, put_if};
use crate::state::{Gpu, Handle, current, gpu};
use crate::status::{Result, Status, refuse};
use crate::work::POISON;

/// A live device allocation.
pub struct Place {
    pub context: Handle,
    pub bytes: usize,
    /// Its pool, if it is stream-ordered.
    pub pool: Option<Handle>,
    /// The host's address of page-locked memory.
    pub host: Option<usize>,
    /// A stream-ordered free is pending.
    pub freed: bool,
    /// A variable of a module: not for `cuMemFree`, and not counted as used.
    pub fixed: bool,
    pub id: u64,
}

/// Page-locked host memory, allocated here or registered.
pub struct HostRange {
    pub bytes: usize,
    pub flags: c_uint,
    /// Its device address; registered memory has none.
    pub device: Option<u64>,
}

const TYPE_HOST: c_uint = 1;
const TYPE_DEVICE: c_uint = 2;

impl Gpu {
    /// Reserves device memory, filled with poison.
    pub fn reserve(&mut self, context: Handle, bytes: usize, pool: Option<Handle>) -> Result<u64> {
        if bytes == 0 {
            return Err(Status::INVALID_VALUE);
        }
        if bytes > total_bytes().saturating_sub(self.used_bytes) {
            return Err(Status::OUT_OF_MEMORY);
        }
        let address = self.memory.alloc(bytes).map_err(|_| Status::OUT_OF_MEMORY)?;
        // SAFETY: the allocation is new, so nobody else looks at it.
        unsafe {
            let host = self.memory.host_slice(address, bytes).map_err(|_| Status::OUT_OF_MEMORY)?;
            std::ptr::write_bytes(host, POISON, bytes);
        }
        let id = self.new_id();
        let place = Place { context, bytes, pool, host: None, freed: false, fixed: false, id };
        self.places.insert(address, place);
        self.used_bytes += bytes;
        Ok(address)
    }

    /// Gives an allocation back; does nothing for an address that is none.
    pub fn release(&mut self, address: u64) {
        if let Some(place) = self.places.remove(&address).filter(|place| !place.fixed) {
            self.used_bytes -= place.bytes;
            if let Some(host) = place.host {
                self.pinned.remove(&host);
            }
            if let Some(pool) = place.pool.and_then(|pool| self.pools.get_mut(pool).ok()) {
                pool.used -= place.bytes as u64;
            }
            // It was live, so softgpu cannot refuse.
            let freed = self.memory.free(address);
            debug_assert!(freed.is_ok());
        }
    }

    /// Address and bytes of a module's variable, which is a place from now on.
    pub fn variable(&mut self, context: Handle, module: &softgpu::Module, name: &str) -> Result<(u64, usize)> {
        let found = module.global(&self.memory, name).map_err(|_| Status::OUT_OF_MEMORY)?;
        let (address, bytes) = found.ok_or(Status::NOT_FOUND)?;
        let id = self.new_id();
        let place = Place { context, bytes, pool: None, host: None, freed: false, fixed: true, id };
        self.places.entry(address).or_insert(place);
        Ok((address, bytes))
    }

    /// Frees a module's variables.
    pub fn unload(&mut self, module: &softgpu::Module) {
        module.unload(&self.memory);
        let memory = &self.memory;
        // SAFETY: only the check is wanted.
        self.places.retain(|at, place| !place.fixed || unsafe { memory.host_slice(*at, place.bytes) }.is_ok());
    }

    /// The allocation around an address.
    pub fn place_of(&self, address: u64) -> Option<(u64, &Place)> {
        let (start, place) = self.places.range(..=address).next_back()?;
        (address - start < place.bytes as u64).then_some((*start, place))
    }

    /// The page-locked range around a host address.
    pub fn pinned_at(&self, address: usize) -> Option<(usize, &HostRange)> {
        let (start, range) = self.pinned.range(..=address).next_back()?;
        (address - start < range.bytes).then_some((*start, range))
    }

    fn pin(&mut self, context: Handle, bytes: usize, flags: c_uint) -> Result<usize> {
        let address = self.reserve(context, bytes, None)?;
        // SAFETY: the pointer dies with the range, in `release`.
        let host = unsafe { self.memory.host_slice(address, bytes) }.map_err(|_| Status::OUT_OF_MEMORY)? as usize;
        if let Some(place) = self.places.get_mut(&address) {
            place.host = Some(host);
        }
        // What the host writes there nobody sees.
        self.memory.mark_written(address, bytes).map_err(|_| Status::OUT_OF_MEMORY)?;
        self.pinned.insert(host, HostRange { bytes, flags, device: Some(address) });
        Ok(host)
    }

    /// One attribute of a pointer, as the bytes that the caller gets.
    fn attribute(&self, attribute: c_int, pointer: u64) -> Result<Vec<u8>> {
        let (start, place, host) = match (self.place_of(pointer), self.pinned_at(pointer as usize)) {
            (Some((start, place)), _) => (start, Some(place), place.host.map(|host| host + (pointer - start) as usize)),
            (None, Some((start, range))) => {
                (start as u64, range.device.and_then(|at| self.places.get(&at)), Some(pointer as usize))
            }
            (None, None) => return Err(Status::INVALID_VALUE),
        };
        let pinned = host.and_then(|host| self.pinned_at(host));
        let bytes = place.map_or(pinned.map_or(0, |(_, range)| range.bytes), |place| place.bytes);
        let device = match pinned {
            Some((host_start, range)) => range.device.map(|at| at + (host.unwrap_or(0) - host_start) as u64),
            None => Some(pointer),
        };
        let word = |value: u64| Ok(value.to_le_bytes().to_vec());
        let int = |value: u32| Ok(value.to_le_bytes().to_vec());
        match attribute {
            1 => word(place.map_or(0, |place| place.context as u64)),
            2 => int(if pinned.is_some() { TYPE_HOST } else { TYPE_DEVICE }),
            3 => device.map_or(Err(Status::INVALID_VALUE), word),
            4 => host.map_or(Err(Status::INVALID_VALUE), |host| word(host as u64)),
            6 | 8 => Ok(vec![0]), // synchronous operations, managed
            7 | 20 => word(place.map_or(0, |place| place.id)),
            9 => int(0),
            10 | 15 => Ok(vec![0]), // interprocess, RDMA
            11 | 19 => word(start),
            12 | 18 => word(bytes as u64),
            13 => Ok(vec![1]),
            14 => word(0),
            16 => int(3), // readable and writable
            17 => word(place.and_then(|place| place.pool).unwrap_or(0) as u64),
            _ => Err(Status::INVALID_VALUE),
        }
    }
}

unsafe fn host_alloc(pointer: *mut usize, bytes: usize, flags: c_uint) -> Result<()> {
    let (mut gpu, context) = current()?;
    if flags & !7 != 0 {
        return Err(Status::INVALID_VALUE);
    }
    gpu.no_capture_anywhere()?;
    let host = gpu.pin(context, bytes, flags | 2)?;
    // SAFETY: the caller's promise.
    unsafe { put(pointer, host) }
}

api! {
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        let (gpu, _) = current()?;
        put(free, total_bytes().saturating_sub(gpu.used_bytes))?;
        put(total, total_bytes())
    }

    /// The memory holds poison: NaN as a float, −1 as an integer.
    fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) {
        let (mut gpu, context) = current()?;
        gpu.no_capture_anywhere()?;
        let address = gpu.reserve(context, bytes, None)?;
        put(pointer, address)
    }

    /// Rows are a multiple of 512 bytes apart.
    fn cuMemAllocPitch_v2(pointer: *mut u64, pitch: *mut usize, width: usize, height: usize, element: c_uint) {
        let (mut gpu, context) = current()?;
        if !matches!(element, 4 | 8 | 16) || width == 0 || height == 0 {
            return Err(Status::INVALID_VALUE);
        }
        gpu.no_capture_anywhere()?;
        let row = width.next_multiple_of(512);
        put(pitch, row)?;
        let address = gpu.reserve(context, row.checked_mul(height).ok_or(Status::OUT_OF_MEMORY)?, None)?;
        put(pointer, address)
    }

    /// Waits for the device first, as kernels may still use the memory; not for stream-ordered memory, where the
    /// program has to know that nothing does.
    fn cuMemFree_v2(pointer: u64) {
        let (mut gpu, context) = current()?;
        if pointer == 0 {
            return Ok(());
        }
        let Some(place) = gpu.places.get(&pointer).filter(|p| !p.freed && !p.fixed && p.host.is_none()) else {
            return refuse(Status::INVALID_VALUE, format!("cuMemFree: {pointer:#x} does not start a live allocation"));
        };
        if place.pool.is_none() {
            gpu.no_capture_anywhere()?;
            gpu.finish_context(context)?;
        }
        gpu.release(pointer);
        Ok(())
    }

    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, pointer: u64) {
        let (gpu, _) = current()?;
        let (start, place) = gpu.place_of(pointer).ok_or(Status::NOT_FOUND)?;
        put_if(base, start);
        put_if(bytes, place.bytes);
        Ok(())
    }

    fn cuMemAllocHost_v2(pointer: *mut usize, bytes: usize) {
        host_alloc(pointer, bytes, 0)
    }

    /// Page-locked and mapped. The device address is another than the host's: ask `cuMemHostGetDevicePointer`.
    fn cuMemHostAlloc(pointer: *mut usize, bytes: usize, flags: c_uint) {
        host_alloc(pointer, bytes, flags)
    }

    fn cuMemFreeHost(pointer: usize) {
        let (mut gpu, context) = current()?;
        let device = gpu.pinned.get(&pointer).and_then(|range| range.device).ok_or(Status::INVALID_VALUE)?;
        gpu.finish_context(context)?;
        gpu.release(device);
        Ok(())
    }

    fn cuMemHostGetDevicePointer_v2(device: *mut u64, host: usize, flags: c_uint) {
        let (gpu, _) = current()?;
        let (start, range) = gpu.pinned_at(host).filter(|_| flags == 0).ok_or(Status::INVALID_VALUE)?;
        match range.device {
            Some(address) => put(device, address + (host - start) as u64),
            None => refuse(
                Status::NOT_SUPPORTED,
                "cuMemHostGetDevicePointer: registered memory has no device address; use memory of cuMemHostAlloc",
            ),
        }
    }

    fn cuMemHostGetFlags(flags: *mut c_uint, host: usize) {
        let (gpu, _) = current()?;
        put(flags, gpu.pinned_at(host).ok_or(Status::INVALID_VALUE)?.1.flags)
    }

    /// Copies from and to the range are as from and to page-locked memory; kernels cannot reach it.
    fn cuMemHostRegister_v2(host: usize, bytes: usize, flags: c_uint) {
        let (mut gpu, _) = current()?;
        if host == 0 || bytes == 0 || flags & !0xf != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let overlaps = gpu.pinned.range(..host + bytes).next_back().is_some_and(|(at, range)| at + range.bytes > host);
        if overlaps {
            return Err(Status::HOST_MEMORY_ALREADY_REGISTERED);
        }
        gpu.pinned.insert(host, HostRange { bytes, flags, device: None });
        Ok(())
    }

    fn cuMemHostUnregister(host: usize) {
        let (mut gpu, context) = current()?;
        if gpu.pinned.get(&host).is_none_or(|range| range.device.is_some()) {
            return Err(Status::HOST_MEMORY_NOT_REGISTERED);
        }
        gpu.finish_context(context)?;
        gpu.pinned.remove(&host);
        Ok(())
    }

    /// softgpu's addresses are not the host's, so no pointer can serve both.
    fn cuMemAllocManaged(_pointer: *mut u64, _bytes: usize, _flags: c_uint) {
        current()?;
        refuse(Status::NOT_SUPPORTED, "cuMemAllocManaged: softgpu has no managed memory; copy explicitly")
    }

    fn cuPointerGetAttribute(data: *mut c_void, attribute: c_int, pointer: u64) {
        let value = gpu()?.attribute(attribute, pointer)?;
        if data.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        std::ptr::copy_nonoverlapping(value.as_ptr(), data as *mut u8, value.len());
        Ok(())
    }

    /// Zeros for a pointer that the driver does not know.
    fn cuPointerGetAttributes(count: c_uint, attributes: *const c_int, data: *mut *mut c_void, pointer: u64) {
        let gpu = gpu()?;
        let attributes = list(attributes, count as usize)?;
        for (attribute, to) in attributes.into_iter().zip(list(data, count as usize)?) {
            let value = match gpu.attribute(attribute, pointer) {
                Ok(value) => value,
                Err(_) if matches!(attribute, 1 | 3 | 4 | 7 | 11 | 12 | 14 | 17..=20) => vec![0; 8],
                Err(_) if attribute == 9 => (-2i32).to_le_bytes().to_vec(),
                Err(_) if matches!(attribute, 2 | 16) => vec![0; 4],
                Err(_) => vec![0],
            };
            std::ptr::copy_nonoverlapping(value.as_ptr(), to as *mut u8, value.len());
        }
        Ok(())
    }

    /// Synchronous memory operations are what they are.
    fn cuPointerSetAttribute(_value: *const c_void, attribute: c_int, pointer: u64) {
        let gpu = gpu()?;
        gpu.place_of(pointer).filter(|_| attribute == 6).map(|_| ()).ok_or(Status::INVALID_VALUE)
    }

    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int) {
        let gpu = gpu()?;
        ordinal(device)?;
        put(pool, gpu.default_pool)
    }
}
