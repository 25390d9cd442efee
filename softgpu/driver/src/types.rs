//! The structs of `cuda.h` that calls pass, with plain numbers where the header has enums: a caller may pass anything.

use std::ffi::{c_uint, c_void};

use crate::state::Handle;

/// `CUDA_MEMCPY2D_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy2d {
    pub from_x: usize,
    pub from_y: usize,
    pub from_kind: c_uint,
    pub from_host: usize,
    pub from_device: u64,
    pub from_array: Handle,
    pub from_pitch: usize,
    pub to_x: usize,
    pub to_y: usize,
    pub to_kind: c_uint,
    pub to_host: usize,
    pub to_device: u64,
    pub to_array: Handle,
    pub to_pitch: usize,
    pub width: usize,
    pub height: usize,
}

/// `CUDA_MEMCPY3D_v2`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Copy3d {
    pub from_x: usize,
    pub from_y: usize,
    pub from_z: usize,
    pub from_level: usize,
    pub from_kind: c_uint,
    pub from_host: usize,
    pub from_device: u64,
    pub from_array: Handle,
    pub reserved0: usize,
    pub from_pitch: usize,
    pub from_height: usize,
    pub to_x: usize,
    pub to_y: usize,
    pub to_z: usize,
    pub to_level: usize,
    pub to_kind: c_uint,
    pub to_host: usize,
    pub to_device: u64,
    pub to_array: Handle,
    pub reserved1: usize,
    pub to_pitch: usize,
    pub to_height: usize,
    pub width: usize,
    pub height: usize,
    pub depth: usize,
}

/// `CUDA_KERNEL_NODE_PARAMS` of version 1. Version 2 has a kernel (for functions of libraries) and a context behind.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KernelParams {
    pub function: Handle,
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    pub params: *const *const c_void,
    pub extra: *const usize,
}

/// `CUDA_MEMSET_NODE_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FillParams {
    pub to: u64,
    pub pitch: usize,
    pub value: c_uint,
    pub size: c_uint,
    pub width: usize,
    pub height: usize,
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared_bytes: c_uint,
    pub stream: Handle,
    pub attributes: *const LaunchAttribute,
    pub count: c_uint,
}

/// `CUlaunchAttribute`: a number, and a union of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LaunchAttribute {
    pub id: c_uint,
    pub pad: c_uint,
    pub value: [c_uint; 16],
}

// As the header says on 64-bit platforms.
const _: () = {
    assert!(size_of::<Copy2d>() == 128);
    assert!(size_of::<Copy3d>() == 200);
    assert!(size_of::<KernelParams>() == 56);
    assert!(size_of::<FillParams>() == 40);
    assert!(size_of::<LaunchConfig>() == 56);
    assert!(size_of::<LaunchAttribute>() == 72);
};
