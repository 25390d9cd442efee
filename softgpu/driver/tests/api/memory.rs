//! Allocations, copies with pitches, page-locked memory, pointers.

use super::*;

unsafe extern "C" {
    fn cuMemAllocPitch_v2(pointer: *mut u64, pitch: *mut usize, width: usize, height: usize, element: c_uint) -> c_int;
    fn cuMemcpy2D_v2(copy: *const Copy2d) -> c_int;
    fn cuMemcpy(to: u64, from: u64, bytes: usize) -> c_int;
    fn cuMemsetD2D8_v2(at: u64, pitch: usize, value: u8, width: usize, height: usize) -> c_int;
    fn cuMemsetD16_v2(at: u64, value: u16, count: usize) -> c_int;
    fn cuMemHostGetDevicePointer_v2(device: *mut u64, host: *mut c_void, flags: c_uint) -> c_int;
    fn cuMemHostRegister_v2(host: *mut c_void, bytes: usize, flags: c_uint) -> c_int;
    fn cuMemHostUnregister(host: *mut c_void) -> c_int;
    fn cuPointerGetAttribute(data: *mut c_void, attribute: c_int, pointer: u64) -> c_int;
    fn cuMemGetAddressRange_v2(base: *mut u64, bytes: *mut usize, pointer: u64) -> c_int;
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_int;
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) -> c_int;
    fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int) -> c_int;
    fn cuMemPoolGetAttribute(pool: Handle, attribute: c_int, value: *mut c_void) -> c_int;
    fn cuMemAllocFromPoolAsync(pointer: *mut u64, bytes: usize, pool: Handle, stream: Handle) -> c_int;
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Default)]
struct Copy2d {
    from_x: usize,
    from_y: usize,
    from_kind: c_uint,
    from_host: usize,
    from_device: u64,
    from_array: Handle,
    from_pitch: usize,
    to_x: usize,
    to_y: usize,
    to_kind: c_uint,
    to_host: usize,
    to_device: u64,
    to_array: Handle,
    to_pitch: usize,
    width: usize,
    height: usize,
}

const HOST: c_uint = 1;
const DEVICE: c_uint = 2;

#[test]
fn rectangles_are_copied_and_filled() {
    let _gpu = Context::new();
    let (mut pitched, mut pitch) = (0, 0);
    ok(unsafe { cuMemAllocPitch_v2(&mut pitched, &mut pitch, 6, 4, 4) });
    assert!(pitch >= 6 && pitch.is_multiple_of(256), "{pitch}");
    ok(unsafe { cuMemsetD2D8_v2(pitched, pitch, 9, 6, 4) });
    // Bytes 1..4 of rows 1..3 from a host image with rows of 5.
    let image: Vec<u8> = (0..20).collect();
    let copy = Copy2d {
        from_x: 1,
        from_y: 1,
        from_kind: HOST,
        from_host: image.as_ptr() as usize,
        from_pitch: 5,
        to_x: 2,
        to_y: 1,
        to_kind: DEVICE,
        to_device: pitched,
        to_pitch: pitch,
        width: 3,
        height: 2,
        ..Copy2d::default()
    };
    ok(unsafe { cuMemcpy2D_v2(&copy) });
    let mut back = [0u8; 24];
    let copy = Copy2d {
        from_kind: DEVICE,
        from_device: pitched,
        from_pitch: pitch,
        to_kind: HOST,
        to_host: back.as_mut_ptr() as usize,
        width: 6,
        height: 4,
        ..Copy2d::default()
    };
    ok(unsafe { cuMemcpy2D_v2(&copy) });
    #[rustfmt::skip]
    assert_eq!(back, [
        9, 9, 9, 9, 9, 9,
        9, 9, 6, 7, 8, 9,
        9, 9, 11, 12, 13, 9,
        9, 9, 9, 9, 9, 9,
    ]);
}

#[test]
fn generic_copies_know_the_kind_of_a_pointer() {
    let gpu = Context::new();
    let (device, from, mut to) = (gpu.alloc(4), [1.0f32, 2.0, 3.0, 4.0], [0.0f32; 4]);
    ok(unsafe { cuMemcpy(device, from.as_ptr() as u64, 16) });
    ok(unsafe { cuMemcpy(to.as_mut_ptr() as u64, device, 16) });
    assert_eq!(to, from);
    ok(unsafe { cuMemsetD16_v2(device, 0x1234, 2) });
    assert_eq!(gpu.read(device, 1)[0].to_bits(), 0x1234_1234);
}

#[test]
fn page_locked_memory_is_mapped() {
    let gpu = Context::new();
    let (function, host, mut device) = (gpu.function("stray"), gpu.pinned(4), 0);
    host.fill(0.0);
    ok(unsafe { cuMemHostGetDevicePointer_v2(&mut device, host.as_mut_ptr().cast(), 0) });
    ok(stray(function, 0, device + 8));
    ok(unsafe { cuCtxSynchronize() });
    assert_eq!(host[2].to_bits(), 7);
    let (mut kind, mut address) = (0, 0u64);
    ok(unsafe { cuPointerGetAttribute((&raw mut kind).cast(), 2, host.as_ptr() as u64) });
    ok(unsafe { cuPointerGetAttribute((&raw mut address).cast(), 3, host.as_ptr() as u64 + 4) });
    assert_eq!((kind as c_uint, address), (HOST, device + 4));
    ok(unsafe { cuMemFreeHost(host.as_mut_ptr().cast()) });
    assert_eq!(unsafe { cuMemFreeHost(host.as_mut_ptr().cast()) }, INVALID_VALUE);
}

#[test]
fn registered_memory_is_page_locked_until_it_is_unregistered() {
    let gpu = Context::new();
    let (stream, to) = (gpu.stream(0), gpu.alloc(4));
    let mut host = vec![1.0f32; 4];
    let pointer: *mut c_void = host.as_mut_ptr().cast();
    ok(unsafe { cuMemHostRegister_v2(pointer, 16, 0) });
    assert_eq!(unsafe { cuMemHostRegister_v2(pointer, 16, 0) }, 712);
    ok(unsafe { cuMemcpyHtoDAsync_v2(to, pointer, 16, stream) });
    host.fill(2.0);
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(gpu.read(to, 4), [2.0; 4]);
    ok(unsafe { cuMemHostUnregister(pointer) });
    assert_eq!(unsafe { cuMemHostUnregister(pointer) }, 713);
}

#[test]
fn pointers_say_where_they_belong() {
    let gpu = Context::new();
    let memory = gpu.alloc(64);
    let (mut base, mut bytes, mut context, mut kind) = (0, 0, 0usize, 0u32);
    ok(unsafe { cuMemGetAddressRange_v2(&mut base, &mut bytes, memory + 100) });
    assert_eq!((base, bytes), (memory, 256));
    ok(unsafe { cuPointerGetAttribute((&raw mut context).cast(), 1, memory + 255) });
    ok(unsafe { cuPointerGetAttribute((&raw mut kind).cast(), 2, memory) });
    assert_eq!((context, kind), (gpu.0, DEVICE));
    assert_eq!(unsafe { cuPointerGetAttribute((&raw mut kind).cast(), 2, memory + 256) }, INVALID_VALUE);
    let (mut free, mut total) = (0, 0);
    ok(unsafe { cuMemGetInfo_v2(&mut free, &mut total) });
    assert!(free < total);
    let mut pointer = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(&mut pointer, total + 1) }, 2, "more than the device has");
    assert_eq!(unsafe { cuMemAlloc_v2(&mut pointer, 0) }, INVALID_VALUE);
}

#[test]
fn pools_count_what_they_gave() {
    let gpu = Context::new();
    let (stream, mut pool, mut pointer, mut used) = (gpu.stream(0), 0, 0, 0u64);
    ok(unsafe { cuDeviceGetDefaultMemPool(&mut pool, 0) });
    ok(unsafe { cuMemAllocFromPoolAsync(&mut pointer, 1000, pool, stream) });
    const USED: c_int = 7;
    ok(unsafe { cuMemPoolGetAttribute(pool, USED, (&raw mut used).cast()) });
    assert!(used >= 1000);
}

#[test]
fn the_device_is_of_compute_capability_8_0() {
    let _gpu = Context::new();
    // Threads, block x y z, grid x y z, shared memory, warp, shared memory after asking, capability.
    let expected = [
        (1, 1024),
        (2, 1024),
        (3, 1024),
        (4, 64),
        (5, i32::MAX),
        (6, 65_535),
        (7, 65_535),
        (8, 48 << 10),
        (10, 32),
        (97, 163 << 10),
        (75, 8),
        (76, 0),
    ];
    for (attribute, expected) in expected {
        let mut value = -1;
        ok(unsafe { cuDeviceGetAttribute(&mut value, attribute, 0) });
        assert_eq!(value, expected, "attribute {attribute}");
    }
    let mut value = 0;
    assert_eq!(unsafe { cuDeviceGetAttribute(&mut value, 1, 1) }, 101, "there is one device");
    assert_eq!(unsafe { cuDeviceGetAttribute(&mut value, 1000, 0) }, INVALID_VALUE);
}
