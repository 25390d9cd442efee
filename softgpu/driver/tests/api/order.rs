//! What runs when: nothing before somebody waits, and then what the streams' order says.

use super::*;

unsafe extern "C" {
    fn cuLaunchHostFunc(stream: Handle, function: unsafe extern "C" fn(*mut c_void), data: *mut c_void) -> c_int;
    fn cuEventQuery(event: Handle) -> c_int;
    fn cuEventSynchronize(event: Handle) -> c_int;
    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> c_int;
    fn cuLaunchKernel_ptsz(
        function: Handle,
        gx: c_uint,
        gy: c_uint,
        gz: c_uint,
        bx: c_uint,
        by: c_uint,
        bz: c_uint,
        shared_bytes: c_uint,
        stream: Handle,
        params: *const *const c_void,
        extra: *const *const c_void,
    ) -> c_int;
}

const NON_BLOCKING: c_uint = 1;

#[test]
fn what_is_read_early_is_poison() {
    let gpu = Context::new();
    let (function, stream) = (gpu.function("add"), gpu.stream(NON_BLOCKING));
    let buffers = [gpu.upload(&[1.0; 100]), gpu.upload(&[2.0; 100]), gpu.alloc(100)];
    for pinned in [true, false] {
        let mut pageable = vec![0.0f32; 100];
        let to = if pinned { gpu.pinned(100) } else { &mut pageable[..] };
        ok(add(function, stream, buffers, 100));
        ok(unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), buffers[2], 400, stream) });
        assert!(to.iter().all(|value| value.is_nan()), "before the synchronisation");
        ok(unsafe { cuStreamSynchronize(stream) });
        assert_eq!(*to, [3.0; 100]);
    }
}

#[test]
fn a_destination_that_is_changed_early_is_left_alone() {
    let gpu = Context::new();
    let (stream, from) = (gpu.stream(0), gpu.upload(&[1.0; 4]));
    let mut to = vec![0.0f32; 4];
    ok(unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, 16, stream) });
    to[3] = 9.0;
    ok(unsafe { cuStreamSynchronize(stream) });
    assert!(to[0].is_nan() && to[3] == 9.0, "{to:?}");
    // Memory that is gone altogether: larger than what the allocator keeps.
    let mut gone = vec![0.0f32; 16 << 20];
    let large = gpu.alloc(16 << 20);
    ok(unsafe { cuMemcpyDtoHAsync_v2(gone.as_mut_ptr().cast(), large, 64 << 20, stream) });
    drop(gone);
    ok(unsafe { cuStreamSynchronize(stream) });
}

#[test]
fn new_memory_is_poison() {
    let gpu = Context::new();
    let fresh = gpu.alloc(100);
    assert!(gpu.read(fresh, 100).iter().all(|value| value.to_bits() == u32::MAX));
}

#[test]
fn page_locked_sources_are_read_late_and_pageable_ones_at_the_call() {
    let gpu = Context::new();
    let (stream, to) = (gpu.stream(0), gpu.alloc(4));
    let mut pageable = [1.0f32; 4];
    ok(unsafe { cuMemcpyHtoDAsync_v2(to, pageable.as_ptr().cast(), 16, stream) });
    pageable.fill(2.0);
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!((gpu.read(to, 4), pageable[0]), (vec![1.0; 4], 2.0));
    let pinned = gpu.pinned(4);
    pinned.fill(3.0);
    ok(unsafe { cuMemcpyHtoDAsync_v2(to, pinned.as_ptr().cast(), 16, stream) });
    pinned.fill(4.0);
    ok(unsafe { cuStreamSynchronize(stream) });
    assert_eq!(gpu.read(to, 4), [4.0; 4], "changed before the copy ended");
}

#[test]
fn streams_know_of_each_other_through_events_only() {
    let gpu = Context::new();
    let (a, b, event) = (gpu.stream(NON_BLOCKING), gpu.stream(NON_BLOCKING), gpu.event());
    let (from, to) = (gpu.upload(&[0.0; 8]), gpu.alloc(8));
    let one = 1f32.to_bits();
    ok(unsafe { cuMemsetD32Async(from, one, 8, a) });
    ok(unsafe { cuMemcpyDtoDAsync_v2(to, from, 32, b) });
    ok(unsafe { cuStreamSynchronize(b) });
    assert_eq!(gpu.read(to, 8), [0.0; 8], "without an event, the copy is first");
    ok(unsafe { cuEventRecord(event, a) });
    ok(unsafe { cuStreamWaitEvent(b, event, 0) });
    ok(unsafe { cuMemcpyDtoDAsync_v2(to, from, 32, b) });
    ok(unsafe { cuStreamSynchronize(b) });
    assert_eq!(gpu.read(to, 8), [1.0; 8]);
}

#[test]
fn the_legacy_stream_waits_for_blocking_streams_only() {
    let gpu = Context::new();
    for (flags, seen) in [(0, 1.0), (NON_BLOCKING, 0.0)] {
        let (stream, from, to) = (gpu.stream(flags), gpu.upload(&[0.0; 8]), gpu.alloc(8));
        ok(unsafe { cuMemsetD32Async(from, 1f32.to_bits(), 8, stream) });
        ok(unsafe { cuMemcpyDtoDAsync_v2(to, from, 32, 0) });
        assert_eq!(gpu.read(to, 8), [seen; 8], "legacy after a stream of flags {flags}");
        ok(unsafe { cuCtxSynchronize() });
        // And the other way: the stream after the legacy one.
        ok(unsafe { cuMemsetD32_v2(from, 5f32.to_bits(), 8) });
        ok(unsafe { cuMemcpyDtoDAsync_v2(to, from, 32, stream) });
        ok(unsafe { cuStreamSynchronize(stream) });
        let seen = if flags == 0 { 5.0 } else { 1.0 };
        assert_eq!(gpu.read(to, 8), [seen; 8], "a stream of flags {flags} after the legacy one");
    }
}

#[test]
fn a_threads_own_stream_is_a_blocking_one() {
    let gpu = Context::new();
    let function = gpu.function("add");
    let [a, b, c] = [gpu.upload(&[1.0; 64]), gpu.upload(&[2.0; 64]), gpu.upload(&[0.0; 64])];
    let count = 64;
    let params = pointers([&a, &b, &c, &count]);
    ok(unsafe { cuLaunchKernel_ptsz(function, 1, 1, 1, 64, 1, 1, 0, 0, params.as_ptr(), null()) });
    const PER_THREAD: Handle = 2;
    assert_eq!(unsafe { cuStreamQuery(PER_THREAD) }, NOT_READY);
    assert_eq!(gpu.read(c, 64), [3.0; 64], "the legacy stream waits for it");
}

#[test]
fn polling_gets_there() {
    let gpu = Context::new();
    let (stream, start, end, to) = (gpu.stream(0), gpu.event(), gpu.event(), gpu.alloc(8));
    assert_eq!(unsafe { cuEventQuery(end) }, 0, "never recorded");
    ok(unsafe { cuEventRecord(start, stream) });
    ok(unsafe { cuMemsetD32Async(to, 1, 8, stream) });
    ok(unsafe { cuEventRecord(end, stream) });
    let mut milliseconds = -1.0;
    assert_eq!(unsafe { cuEventElapsedTime(&mut milliseconds, start, end) }, NOT_READY);
    let polls = (0..100).take_while(|_| unsafe { cuEventQuery(end) } == NOT_READY).count();
    assert_eq!(polls, 3, "one piece of work a query");
    assert_eq!(unsafe { cuStreamQuery(stream) }, 0);
    ok(unsafe { cuEventElapsedTime(&mut milliseconds, start, end) });
    assert!((0.0..1e4).contains(&milliseconds), "{milliseconds}");
    ok(unsafe { cuEventRecord(end, stream) });
    ok(unsafe { cuEventSynchronize(end) });
}

#[test]
fn host_functions_run_in_order_without_a_wait_and_may_not_call() {
    static SEEN: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    unsafe extern "C" fn look(data: *mut c_void) {
        let first = unsafe { *data.cast::<f32>() };
        let code = unsafe { cuCtxSynchronize() };
        SEEN.store(first as i32 * 1000 + code, std::sync::atomic::Ordering::SeqCst);
    }
    let gpu = Context::new();
    let (stream, from, to) = (gpu.stream(0), gpu.upload(&[7.0; 4]), gpu.pinned(4));
    ok(unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), from, 16, stream) });
    ok(unsafe { cuLaunchHostFunc(stream, look, to.as_mut_ptr().cast()) });
    let began = std::time::Instant::now();
    while SEEN.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        assert!(began.elapsed().as_secs() < 10, "nobody called the host function");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    const NOT_PERMITTED: i32 = 800;
    assert_eq!(SEEN.load(std::sync::atomic::Ordering::SeqCst), 7000 + NOT_PERMITTED);
}
