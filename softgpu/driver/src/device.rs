//! The device: one GPU of compute capability 8.0, with the limits of an A100 (CUDA C++ Programming Guide, "Technical
//! Specifications per Compute Capability"; NVIDIA A100 whitepaper for the sizes of the chip).

use std::ffi::{c_char, c_int, c_uint};

use softgpu::{MAX_BLOCK, MAX_GRID, MAX_THREADS};

use crate::entry::{api, get, put, put_text, string};
use crate::state::{anyway, gpu};
use crate::status::{Result, Status};

pub const NAME: &str = "softgpu (compute capability 8.0)";
/// The driver speaks CUDA 13.0.
pub const VERSION: c_int = 13000;
pub const MULTIPROCESSORS: u32 = 108;
pub const WARP: u32 = 32;
/// Shared memory of a block: without asking, after asking, and taken by the system.
pub const SHARED_BYTES: usize = 48 << 10;
pub const SHARED_OPTIN_BYTES: usize = 163 << 10;
pub const SHARED_RESERVED_BYTES: usize = 1 << 10;
pub const SHARED_PER_MULTIPROCESSOR: usize = 164 << 10;
pub const REGISTERS: u32 = 65_536;
pub const MAX_WARPS: u32 = 64;
pub const MAX_BLOCKS: u32 = 32;
const UUID: [u8; 16] = *b"softgpu\0device\0\0";
const BUS_ID: &str = "0000:00:00.0";

/// Bytes of device memory: `SOFTGPU_MEMORY`, or 40 GiB, but no more than three quarters of what the host has.
pub fn total_bytes() -> usize {
    static TOTAL: std::sync::LazyLock<usize> = std::sync::LazyLock::new(|| {
        if let Some(bytes) = std::env::var("SOFTGPU_MEMORY").ok().and_then(|text| text.parse().ok()) {
            return bytes;
        }
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib =
            meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map_or(4 << 30, |kib: usize| kib * 1024 / 4 * 3).min(40 << 30)
    });
    *TOTAL
}

/// An error for any device but 0.
pub fn ordinal(device: c_int) -> Result<()> {
    if device == 0 { Ok(()) } else { Err(Status::INVALID_DEVICE) }
}

/// `CUdevice_attribute` by number. Sizes of textures and surfaces are the A100's, though there are none to use.
fn attribute(number: c_int) -> Option<c_int> {
    let [grid_x, grid_y, grid_z] = MAX_GRID.map(|n| n as c_int);
    Some(match number {
        1..=3 => MAX_THREADS as c_int,
        4 => MAX_BLOCK[2] as c_int,
        5 => grid_x,
        6 => grid_y,
        7 => grid_z,
        8 => SHARED_BYTES as c_int,
        9 => 65_536, // constant memory
        10 => WARP as c_int,
        11 => i32::MAX, // pitch
        12 | 82 => REGISTERS as c_int,
        13 => 1_410_000, // clock, kHz
        14 | 30 => 512,  // texture and surface alignment
        15 => 1,         // overlap of copies and kernels
        16 => MULTIPROCESSORS as c_int,
        19 => 1, // mapped host memory
        21 | 22 | 55 => 131_072,
        23 => 65_536,
        24..=26 => 16_384,
        27 | 28 | 42 | 45 | 46 | 52 | 53 | 56 | 57 => 32_768,
        29 | 43 | 62 | 65 => 2_048,
        31 => 1,         // concurrent kernels
        32 => 1,         // ECC
        36 => 1_215_000, // memory clock, kHz
        37 => 5_120,     // bus width, bits
        38 => 40 << 20,  // L2
        39 => (MAX_WARPS * WARP) as c_int,
        40 => 3,  // copy engines
        41 => 1,  // unified addressing: generic copies know a pointer's kind
        51 => 32, // texture pitch alignment
        69 => 1 << 28,
        70 => 131_072,
        71 => 65_000,
        72 => 2_097_120,
        75 => 8, // compute capability
        76 => 0,
        78..=80 => 1, // priorities, L1 caching of globals and locals
        81 => SHARED_PER_MULTIPROCESSOR as c_int,
        87 => 2, // f32 : f64
        90 => 1, // compute preemption
        95 => 1, // cooperative launches
        97 => SHARED_OPTIN_BYTES as c_int,
        99 => 1, // host memory can be registered
        106 => MAX_BLOCKS as c_int,
        111 => SHARED_RESERVED_BYTES as c_int,
        115 => 1,              // memory pools
        126 => 1,              // memory synchronisation domains
        130 | 131 | 134 => -1, // NUMA: none
        // Everything else of the list is absent here: peers, managed and virtual memory, clusters, interprocess, …
        17..=147 => 0,
        _ => return None,
    })
}

api! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(Status::INVALID_VALUE);
        }
        anyway().start();
        Ok(())
    }

    fn cuDriverGetVersion(version: *mut c_int) {
        put(version, VERSION)
    }

    fn cuDeviceGetCount(count: *mut c_int) {
        gpu()?;
        put(count, 1)
    }

    fn cuDeviceGet(device: *mut c_int, number: c_int) {
        gpu()?;
        ordinal(number)?;
        put(device, number)
    }

    fn cuDeviceGetName(name: *mut c_char, room: c_int, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put_text(name, room.max(0) as usize, NAME)
    }

    fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(value, attribute(number).ok_or(Status::INVALID_VALUE)?)
    }

    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(bytes, total_bytes())
    }

    fn cuDeviceComputeCapability(major: *mut c_int, minor: *mut c_int, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(major, 8)?;
        put(minor, 0)
    }

    /// `CUdevprop`: the first fourteen attributes, in their order.
    fn cuDeviceGetProperties(properties: *mut [c_int; 14], device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(properties, std::array::from_fn(|i| i as c_int + 1).map(|n| attribute(n).unwrap_or(0)))
    }

    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(uuid, UUID)
    }

    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(uuid, UUID)
    }

    fn cuDeviceGetPCIBusId(text: *mut c_char, room: c_int, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put_text(text, room.max(0) as usize, BUS_ID)
    }

    fn cuDeviceGetByPCIBusId(device: *mut c_int, text: *const c_char) {
        gpu()?;
        if string(text)? != BUS_ID {
            return Err(Status::INVALID_DEVICE);
        }
        put(device, 0)
    }

    /// There is one device, and a device is not its own peer.
    fn cuDeviceCanAccessPeer(can: *mut c_int, device: c_int, peer: c_int) {
        gpu()?;
        ordinal(device)?;
        ordinal(peer)?;
        put(can, 0)
    }

    fn cuDeviceGetP2PAttribute(_value: *mut c_int, _attribute: c_int, _from: c_int, _to: c_int) {
        gpu()?;
        Err(Status::INVALID_DEVICE)
    }

    fn cuDeviceGetExecAffinitySupport(supported: *mut c_int, _kind: c_int, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(supported, 0)
    }

    fn cuDeviceGetTexture1DLinearMaxWidth(width: *mut usize, _format: c_int, channels: c_uint, device: c_int) {
        gpu()?;
        ordinal(device)?;
        put(width, (1 << 28) / channels.max(1) as usize)
    }

    fn cuGetErrorName(code: c_int, text: *mut *const c_char) {
        let found = crate::status::texts(code);
        put(text, found.map_or(std::ptr::null(), |(name, _)| name.as_ptr()))?;
        found.map(|_| ()).ok_or(Status::INVALID_VALUE)
    }

    fn cuGetErrorString(code: c_int, text: *mut *const c_char) {
        let found = crate::status::texts(code);
        put(text, found.map_or(std::ptr::null(), |(_, what)| what.as_ptr()))?;
        found.map(|_| ()).ok_or(Status::INVALID_VALUE)
    }

    /// The tables behind `cudart` are NVIDIA's secret: programs of the runtime API need the real one.
    fn cuGetExportTable(table: *mut *const (), id: *const [u8; 16]) {
        get(id)?;
        put(table, std::ptr::null())?;
        crate::status::refuse(
            Status::NOT_FOUND,
            "cuGetExportTable: programs of the runtime API (libcudart) are not supported, only of the driver API",
        )
    }

    fn cuProfilerStart() {
        gpu().map(|_| ())
    }

    fn cuProfilerStop() {
        gpu().map(|_| ())
    }
}
