//! The driver as a C program sees it. Every test has a context of its own, so that a failed one stays alone.
#![allow(clippy::unwrap_used, clippy::undocumented_unsafe_blocks)] // a test of a C interface: each call is one

mod blas;
mod errors;
mod graphs;
mod memory;
mod modules;
mod order;

use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use softgpu_driver as _; // its exported functions are what is declared here

type Handle = usize;

unsafe extern "C" {
    fn cuInit(flags: c_uint) -> c_int;
    fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) -> c_int;
    fn cuCtxDestroy_v2(context: Handle) -> c_int;
    fn cuCtxSynchronize() -> c_int;
    fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> c_int;
    fn cuMemFree_v2(pointer: u64) -> c_int;
    fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, flags: c_uint) -> c_int;
    fn cuMemFreeHost(pointer: *mut c_void) -> c_int;
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> c_int;
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> c_int;
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle) -> c_int;
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle) -> c_int;
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> c_int;
    fn cuMemsetD32Async(at: u64, value: c_uint, count: usize, stream: Handle) -> c_int;
    fn cuMemsetD32_v2(at: u64, value: c_uint, count: usize) -> c_int;
    fn cuModuleLoadData(module: *mut Handle, image: *const c_void) -> c_int;
    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) -> c_int;
    fn cuStreamCreate(stream: *mut Handle, flags: c_uint) -> c_int;
    fn cuStreamSynchronize(stream: Handle) -> c_int;
    fn cuStreamQuery(stream: Handle) -> c_int;
    fn cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint) -> c_int;
    fn cuEventCreate(event: *mut Handle, flags: c_uint) -> c_int;
    fn cuEventRecord(event: Handle, stream: Handle) -> c_int;
    fn cuLaunchKernel(
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

const INVALID_VALUE: c_int = 1;
const INVALID_HANDLE: c_int = 400;
const NOT_READY: c_int = 600;
const ILLEGAL_ADDRESS: c_int = 700;

/// `add`: c[i] = a[i] + b[i] for i < n. `shared`: needs shared memory. `stray`: writes 4 bytes at `p`.
const PTX: &str = r"
.version 8.0
.target sm_80
.address_size 64
.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
    .reg .pred %p<2>;
    .reg .f32 %f<4>;
    .reg .b32 %r<6>;
    .reg .b64 %rd<11>;
    ld.param.u64 %rd1, [a];
    ld.param.u64 %rd2, [b];
    ld.param.u64 %rd3, [c];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.s32 %p1, %r5, %r1;
    @%p1 bra $L_end;
    cvta.to.global.u64 %rd4, %rd1;
    mul.wide.s32 %rd5, %r5, 4;
    add.s64 %rd6, %rd4, %rd5;
    ld.global.f32 %f1, [%rd6];
    cvta.to.global.u64 %rd7, %rd2;
    add.s64 %rd8, %rd7, %rd5;
    ld.global.f32 %f2, [%rd8];
    add.f32 %f3, %f1, %f2;
    cvta.to.global.u64 %rd9, %rd3;
    add.s64 %rd10, %rd9, %rd5;
    st.global.f32 [%rd10], %f3;
$L_end:
    ret;
}
.visible .entry stray(.param .u64 p)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [p];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, 7;
    st.global.u32 [%rd2], %r1;
    ret;
}
";

#[track_caller]
fn ok(code: c_int) {
    assert_eq!(code, 0);
}

/// A context, current on this thread.
struct Context(Handle);

impl Context {
    fn new() -> Context {
        let mut context = 0;
        ok(unsafe { cuInit(0) });
        ok(unsafe { cuCtxCreate_v2(&mut context, 0, 0) });
        Context(context)
    }

    fn alloc(&self, floats: usize) -> u64 {
        let mut pointer = 0;
        ok(unsafe { cuMemAlloc_v2(&mut pointer, 4 * floats) });
        pointer
    }

    fn upload(&self, values: &[f32]) -> u64 {
        let pointer = self.alloc(values.len());
        ok(unsafe { cuMemcpyHtoD_v2(pointer, values.as_ptr().cast(), 4 * values.len()) });
        pointer
    }

    fn read(&self, pointer: u64, floats: usize) -> Vec<f32> {
        let mut values = vec![0.0; floats];
        ok(unsafe { cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), pointer, 4 * floats) });
        values
    }

    /// Page-locked host memory.
    fn pinned(&self, floats: usize) -> &'static mut [f32] {
        let mut pointer = null_mut();
        ok(unsafe { cuMemHostAlloc(&mut pointer, 4 * floats, 0) });
        unsafe { std::slice::from_raw_parts_mut(pointer.cast(), floats) }
    }

    fn stream(&self, flags: c_uint) -> Handle {
        let mut stream = 0;
        ok(unsafe { cuStreamCreate(&mut stream, flags) });
        stream
    }

    fn event(&self) -> Handle {
        let mut event = 0;
        ok(unsafe { cuEventCreate(&mut event, 0) });
        event
    }

    fn function(&self, name: &str) -> Handle {
        let (mut module, mut function) = (0, 0);
        let (text, name) = (CString::new(PTX).unwrap(), CString::new(name).unwrap());
        ok(unsafe { cuModuleLoadData(&mut module, text.as_ptr().cast()) });
        ok(unsafe { cuModuleGetFunction(&mut function, module, name.as_ptr()) });
        function
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        unsafe { cuCtxDestroy_v2(self.0) };
    }
}

/// The pointers to arguments that a launch takes.
fn pointers<const N: usize>(args: [&dyn Argument; N]) -> [*const c_void; N] {
    args.map(|arg| arg.pointer())
}

trait Argument {
    fn pointer(&self) -> *const c_void;
}

impl Argument for u64 {
    fn pointer(&self) -> *const c_void {
        (self as *const u64).cast()
    }
}

impl Argument for c_int {
    fn pointer(&self) -> *const c_void {
        (self as *const c_int).cast()
    }
}

/// Launches `add` over `n` elements.
fn add(function: Handle, stream: Handle, [a, b, c]: [u64; 3], n: c_int) -> c_int {
    let params = pointers([&a, &b, &c, &n]);
    let blocks = (n as c_uint).div_ceil(64);
    unsafe { cuLaunchKernel(function, blocks, 1, 1, 64, 1, 1, 0, stream, params.as_ptr(), null()) }
}

fn stray(function: Handle, stream: Handle, at: u64) -> c_int {
    let params = pointers([&at]);
    unsafe { cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, stream, params.as_ptr(), null()) }
}
