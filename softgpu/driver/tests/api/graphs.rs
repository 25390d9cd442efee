//! Graphs: captured, built by hand, launched more than once; and captures that go wrong.

use super::*;

unsafe extern "C" {
    fn cuStreamBeginCapture_v2(stream: Handle, mode: c_int) -> c_int;
    fn cuStreamEndCapture(stream: Handle, graph: *mut Handle) -> c_int;
    fn cuStreamIsCapturing(stream: Handle, status: *mut c_int) -> c_int;
    fn cuGraphInstantiateWithFlags(exec: *mut Handle, graph: Handle, flags: u64) -> c_int;
    fn cuGraphLaunch(exec: Handle, stream: Handle) -> c_int;
    fn cuGraphDestroy(graph: Handle) -> c_int;
    fn cuGraphExecDestroy(exec: Handle) -> c_int;
    fn cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: *mut usize) -> c_int;
    fn cuGraphGetEdges(graph: Handle, from: *mut Handle, to: *mut Handle, count: *mut usize) -> c_int;
    fn cuGraphNodeGetType(node: Handle, kind: *mut c_int) -> c_int;
    fn cuGraphCreate(graph: *mut Handle, flags: c_uint) -> c_int;
    fn cuGraphAddKernelNode_v2(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const KernelParams,
    ) -> c_int;
    fn cuGraphAddMemsetNode(
        node: *mut Handle,
        graph: Handle,
        after: *const Handle,
        count: usize,
        params: *const FillParams,
        context: Handle,
    ) -> c_int;
    fn cuGraphAddDependencies_v2(
        graph: Handle,
        from: *const Handle,
        to: *const Handle,
        data: *const c_void,
        count: usize,
    ) -> c_int;
}

#[repr(C)]
struct KernelParams {
    function: Handle,
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    params: *const *const c_void,
    extra: *const *const c_void,
    kernel: Handle,
    context: Handle,
}

#[repr(C)]
struct FillParams {
    to: u64,
    pitch: usize,
    value: c_uint,
    size: c_uint,
    width: usize,
    height: usize,
}

/// Captures of mode global forbid allocations in all threads, and so in the other tests.
const THREAD_LOCAL: c_int = 1;
const UNSUPPORTED: c_int = 900;
const INVALIDATED: c_int = 901;
const UNJOINED: c_int = 904;

#[test]
fn captured_work_runs_at_each_launch_and_not_before() {
    let gpu = Context::new();
    let (function, stream, side) = (gpu.function("add"), gpu.stream(1), gpu.stream(1));
    let (fork, join) = (gpu.event(), gpu.event());
    let [a, b, sum] = [gpu.upload(&[1.0; 64]), gpu.upload(&[2.0; 64]), gpu.upload(&[0.0; 64])];
    let out = gpu.pinned(64);
    out.fill(0.0);
    ok(unsafe { cuStreamBeginCapture_v2(stream, THREAD_LOCAL) });
    ok(unsafe { cuEventRecord(fork, stream) });
    ok(unsafe { cuStreamWaitEvent(side, fork, 0) });
    ok(unsafe { cuMemsetD32Async(b, 5f32.to_bits(), 64, side) });
    ok(unsafe { cuEventRecord(join, side) });
    ok(unsafe { cuStreamWaitEvent(stream, join, 0) });
    ok(add(function, stream, [a, b, sum], 64));
    ok(unsafe { cuMemcpyDtoHAsync_v2(out.as_mut_ptr().cast(), sum, 256, stream) });
    let (mut status, mut graph, mut exec, mut count) = (0, 0, 0, 0);
    ok(unsafe { cuStreamIsCapturing(side, &mut status) });
    assert_eq!(status, 1);
    ok(unsafe { cuStreamEndCapture(stream, &mut graph) });
    ok(unsafe { cuGraphGetNodes(graph, null_mut(), &mut count) });
    let mut nodes = vec![0; count];
    ok(unsafe { cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count) });
    let kinds: Vec<c_int> = nodes
        .iter()
        .map(|node| {
            let mut kind = -1;
            ok(unsafe { cuGraphNodeGetType(*node, &mut kind) });
            kind
        })
        .collect();
    assert_eq!(kinds, [2, 0, 1], "memset, kernel, memcpy");
    ok(unsafe { cuGraphGetEdges(graph, null_mut(), null_mut(), &mut count) });
    assert_eq!(count, 2);
    ok(unsafe { cuGraphInstantiateWithFlags(&mut exec, graph, 0) });
    ok(unsafe { cuGraphDestroy(graph) });
    assert_eq!((gpu.read(sum, 64), out[0]), (vec![0.0; 64], 0.0), "nothing has run");
    for (value, expected) in [(1f32, 6.0), (10.0, 15.0)] {
        ok(unsafe { cuMemsetD32Async(a, value.to_bits(), 64, stream) });
        ok(unsafe { cuGraphLaunch(exec, stream) });
        ok(unsafe { cuStreamSynchronize(stream) });
        assert_eq!(*out, [expected; 64]);
    }
    ok(unsafe { cuGraphExecDestroy(exec) });
    assert_eq!(unsafe { cuGraphLaunch(exec, stream) }, INVALID_HANDLE);
}

#[test]
fn a_capture_that_waits_or_forks_without_joining_is_refused() {
    let gpu = Context::new();
    let (stream, side, event, mut graph) = (gpu.stream(1), gpu.stream(1), gpu.event(), 1);
    let memory = gpu.alloc(4);
    ok(unsafe { cuStreamBeginCapture_v2(stream, THREAD_LOCAL) });
    assert_eq!(unsafe { cuStreamSynchronize(stream) }, UNSUPPORTED);
    assert_eq!(unsafe { cuMemsetD32Async(memory, 0, 4, stream) }, INVALIDATED);
    assert_eq!(unsafe { cuStreamEndCapture(stream, &mut graph) }, INVALIDATED);
    assert_eq!(graph, 0);
    ok(unsafe { cuStreamBeginCapture_v2(stream, THREAD_LOCAL) });
    ok(unsafe { cuEventRecord(event, stream) });
    ok(unsafe { cuStreamWaitEvent(side, event, 0) });
    ok(unsafe { cuMemsetD32Async(memory, 0, 4, side) });
    assert_eq!(unsafe { cuStreamEndCapture(stream, &mut graph) }, UNJOINED);
    // Both streams work as before.
    ok(unsafe { cuMemsetD32Async(memory, 0, 4, side) });
    ok(unsafe { cuCtxSynchronize() });
}

#[test]
fn nodes_run_in_the_order_of_their_edges() {
    let gpu = Context::new();
    let (function, stream) = (gpu.function("add"), gpu.stream(0));
    let [a, b, sum] = [gpu.upload(&[1.0; 8]), gpu.upload(&[0.0; 8]), gpu.alloc(8)];
    let (mut graph, mut kernel, mut fill, mut exec) = (0, 0, 0, 0);
    ok(unsafe { cuGraphCreate(&mut graph, 0) });
    let count = 8;
    let arguments = pointers([&a, &b, &sum, &count]);
    let params = KernelParams {
        function,
        grid: [1; 3],
        block: [8, 1, 1],
        shared_bytes: 0,
        params: arguments.as_ptr(),
        extra: null(),
        kernel: 0,
        context: 0,
    };
    ok(unsafe { cuGraphAddKernelNode_v2(&mut kernel, graph, null(), 0, &params) });
    let params = FillParams { to: b, pitch: 0, value: 4f32.to_bits(), size: 4, width: 8, height: 1 };
    ok(unsafe { cuGraphAddMemsetNode(&mut fill, graph, null(), 0, &params, 0) });
    // The kernel was added first, and comes second.
    ok(unsafe { cuGraphAddDependencies_v2(graph, &fill, &kernel, null(), 1) });
    ok(unsafe { cuGraphInstantiateWithFlags(&mut exec, graph, 0) });
    ok(unsafe { cuGraphLaunch(exec, stream) });
    assert_eq!(gpu.read(sum, 8), [5.0; 8]);
    ok(unsafe { cuGraphAddDependencies_v2(graph, &kernel, &fill, null(), 1) });
    assert_eq!(unsafe { cuGraphInstantiateWithFlags(&mut exec, graph, 0) }, INVALID_VALUE, "a circle");
}
