//! What a kernel that strays does to its context, and launches that are refused.

use super::*;

unsafe extern "C" {
    fn cuMemFreeAsync(pointer: u64, stream: Handle) -> c_int;
    fn cuMemAllocAsync(pointer: *mut u64, bytes: usize, stream: Handle) -> c_int;
    fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) -> c_int;
    fn cuGetErrorName(code: c_int, text: *mut *const c_char) -> c_int;
    fn cuGetErrorString(code: c_int, text: *mut *const c_char) -> c_int;
    fn cuCtxGetCurrent(context: *mut Handle) -> c_int;
    fn cuStreamDestroy_v2(stream: Handle) -> c_int;
}

#[test]
fn a_stray_store_stops_its_context_for_good_and_no_other() {
    let gpu = Context::new();
    let (function, memory) = (gpu.function("stray"), gpu.alloc(4));
    ok(stray(function, 0, memory + 12));
    ok(unsafe { cuCtxSynchronize() });
    ok(stray(function, 0, memory + 16)); // asked for without an error: nothing has run
    assert_eq!(unsafe { cuCtxSynchronize() }, ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuCtxSynchronize() }, ILLEGAL_ADDRESS);
    let mut pointer = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(&mut pointer, 4) }, ILLEGAL_ADDRESS);
    drop(gpu);
    let other = Context::new();
    let function = other.function("stray");
    ok(stray(function, 0, other.alloc(1)));
    ok(unsafe { cuCtxSynchronize() });
}

#[test]
fn memory_freed_in_a_stream_is_gone_for_later_work() {
    let gpu = Context::new();
    let (function, stream, mut pointer) = (gpu.function("stray"), gpu.stream(0), 0);
    ok(unsafe { cuMemAllocAsync(&mut pointer, 64, stream) });
    ok(stray(function, stream, pointer));
    ok(unsafe { cuMemFreeAsync(pointer, stream) });
    assert_eq!(unsafe { cuMemFreeAsync(pointer, stream) }, INVALID_VALUE, "freed twice");
    ok(unsafe { cuStreamSynchronize(stream) });
    ok(stray(function, stream, pointer));
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, ILLEGAL_ADDRESS);
}

#[test]
fn copies_past_the_end_are_refused_at_once() {
    let gpu = Context::new();
    let (memory, host) = (gpu.alloc(4), [0.0f32; 8]);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(memory, host.as_ptr().cast(), 20) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(memory, null(), 4) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(0x1234, host.as_ptr().cast(), 4) }, INVALID_VALUE);
    assert_eq!(unsafe { cuMemsetD32_v2(memory + 2, 0, 1) }, INVALID_VALUE, "not a multiple of 4");
    assert_eq!(unsafe { cuMemFree_v2(memory + 4) }, INVALID_VALUE);
    ok(unsafe { cuMemFree_v2(memory) });
    assert_eq!(unsafe { cuMemFree_v2(memory) }, INVALID_VALUE);
}

#[test]
fn launches_beyond_the_device_are_refused() {
    let gpu = Context::new();
    let (function, at) = (gpu.function("stray"), gpu.alloc(1));
    let params = pointers([&at]);
    let launch = |grid: [c_uint; 3], block: [c_uint; 3], shared: c_uint| unsafe {
        let ([gx, gy, gz], [bx, by, bz]) = (grid, block);
        cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, 0, params.as_ptr(), null())
    };
    ok(launch([1, 1, 1], [1024, 1, 1], 48 << 10));
    for (grid, block) in [
        ([0, 1, 1], [1, 1, 1]),
        ([1, 65_536, 1], [1, 1, 1]),
        ([1, 1, 65_536], [1, 1, 1]),
        ([1, 1, 1], [0, 1, 1]),
        ([1, 1, 1], [1025, 1, 1]),
        ([1, 1, 1], [32, 33, 1]),
        ([1, 1, 1], [1, 1, 65]),
    ] {
        assert_eq!(launch(grid, block, 0), INVALID_VALUE, "grid {grid:?}, block {block:?}");
    }
    const MAX_DYNAMIC: c_int = 8;
    assert_eq!(launch([1, 1, 1], [1, 1, 1], (48 << 10) + 1), INVALID_VALUE);
    assert_eq!(unsafe { cuFuncSetAttribute(function, MAX_DYNAMIC, (163 << 10) + 1) }, INVALID_VALUE);
    ok(unsafe { cuFuncSetAttribute(function, MAX_DYNAMIC, 163 << 10) });
    ok(launch([1, 1, 1], [1, 1, 1], 163 << 10));
    ok(unsafe { cuCtxSynchronize() });
}

#[test]
fn arguments_are_counted_and_measured() {
    let gpu = Context::new();
    let function = gpu.function("add");
    let [a, b, c] = [gpu.upload(&[1.0; 8]), gpu.upload(&[2.0; 8]), gpu.alloc(8)];
    let launch = |params: *const *const c_void, extra: *const *const c_void| unsafe {
        cuLaunchKernel(function, 1, 1, 1, 8, 1, 1, 0, 0, params, extra)
    };
    assert_eq!(launch(null(), null()), INVALID_VALUE);
    let missing = [a.pointer(), b.pointer(), null(), null()];
    assert_eq!(launch(missing.as_ptr(), null()), INVALID_VALUE);
    // The same arguments in one buffer: CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END.
    let (mark, buffer) = (std::ptr::without_provenance::<c_void>, [a, b, c, 8]);
    for (bytes, expected) in [(24usize, INVALID_VALUE), (28, 0), (32, 0), (48, INVALID_VALUE)] {
        let extra = [mark(1), buffer.as_ptr().cast(), mark(2), (&raw const bytes).cast(), null()];
        assert_eq!(launch(null(), extra.as_ptr()), expected, "{bytes} bytes");
    }
    assert_eq!(gpu.read(c, 8), [3.0; 8]);
}

#[test]
fn handles_are_known() {
    let gpu = Context::new();
    let stream = gpu.stream(0);
    ok(unsafe { cuStreamDestroy_v2(stream) });
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, INVALID_HANDLE);
    assert_eq!(unsafe { cuStreamSynchronize(0xdead_beef) }, INVALID_HANDLE);
    assert_eq!(unsafe { cuEventRecord(stream, 0) }, INVALID_HANDLE);
    drop(gpu);
    let mut context = 1;
    ok(unsafe { cuCtxGetCurrent(&mut context) });
    assert_eq!(context, 0);
    const INVALID_CONTEXT: c_int = 201;
    assert_eq!(unsafe { cuCtxSynchronize() }, INVALID_CONTEXT);
}

#[test]
fn codes_have_names_and_texts() {
    let text = |code, function: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int| unsafe {
        let mut text = null();
        let result = function(code, &mut text);
        (result, (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text).to_str().unwrap()))
    };
    assert_eq!(text(700, cuGetErrorName), (0, Some("CUDA_ERROR_ILLEGAL_ADDRESS")));
    assert_eq!(text(700, cuGetErrorString), (0, Some("an illegal memory access was encountered")));
    assert_eq!(text(0, cuGetErrorName), (0, Some("CUDA_SUCCESS")));
    assert_eq!(text(12345, cuGetErrorName), (INVALID_VALUE, None));
}
