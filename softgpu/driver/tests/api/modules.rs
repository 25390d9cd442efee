//! Images of every kind, functions, the linker, libraries, and `cuGetProcAddress`.

use super::*;

unsafe extern "C" {
    fn cuModuleLoadDataEx(
        module: *mut Handle,
        image: *const c_void,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) -> c_int;
    fn cuModuleUnload(module: Handle) -> c_int;
    fn cuModuleGetGlobal_v2(pointer: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) -> c_int;
    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: Handle) -> c_int;
    fn cuFuncGetParamInfo(function: Handle, index: usize, offset: *mut usize, bytes: *mut usize) -> c_int;
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        count: *mut c_int,
        function: Handle,
        threads: c_int,
        dynamic: usize,
    ) -> c_int;
    fn cuLinkCreate_v2(n: c_uint, options: *const c_int, values: *mut *mut c_void, linker: *mut Handle) -> c_int;
    fn cuLinkAddData_v2(
        linker: Handle,
        kind: c_int,
        data: *const c_void,
        bytes: usize,
        name: *const c_char,
        count: c_uint,
        options: *const c_int,
        values: *mut *mut c_void,
    ) -> c_int;
    fn cuLinkComplete(linker: Handle, image: *mut *const c_void, bytes: *mut usize) -> c_int;
    fn cuLibraryLoadData(
        library: *mut Handle,
        code: *const c_void,
        options: *const c_int,
        values: *mut *mut c_void,
        count: c_uint,
        library_options: *const c_int,
        library_values: *mut *mut c_void,
        library_count: c_uint,
    ) -> c_int;
    fn cuLibraryGetKernel(kernel: *mut Handle, library: Handle, name: *const c_char) -> c_int;
    fn cuLibraryUnload(library: Handle) -> c_int;
    fn cuGetProcAddress_v2(
        name: *const c_char,
        function: *mut *const c_void,
        version: c_int,
        flags: u64,
        status: *mut c_int,
    ) -> c_int;
}

const NO_BINARY: c_int = 209;
const INVALID_PTX: c_int = 218;
const NOT_FOUND: c_int = 500;
const NOT_SUPPORTED: c_int = 801;

/// A fatbin with a cubin for a later device and the test's PTX for `architecture`, stored as it is or with zstd.
fn fatbin(architecture: u32, packed: bool) -> Vec<u8> {
    let entry = |kind: u16, architecture: u32, payload: &[u8], unpacked: usize, flags: u64| {
        let padded = payload.len().next_multiple_of(8);
        let mut entry = Vec::new();
        entry.extend(kind.to_le_bytes());
        entry.extend(0x0101u16.to_le_bytes());
        entry.extend(64u32.to_le_bytes());
        entry.extend((padded as u64).to_le_bytes());
        entry.extend((if flags & 0x8000 != 0 { payload.len() as u32 } else { 0 }).to_le_bytes());
        entry.extend([0; 8]);
        entry.extend(architecture.to_le_bytes());
        entry.extend([0; 8]);
        entry.extend(flags.to_le_bytes());
        entry.extend([0; 8]);
        entry.extend((unpacked as u64).to_le_bytes());
        entry.extend(payload);
        entry.resize(64 + padded, 0);
        entry
    };
    let text = PTX.as_bytes();
    let compressed = ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
    let mut body = entry(2, 90, b"\x7fELF....", 0, 0x11);
    body.extend(match packed {
        true => entry(1, architecture, &compressed, text.len(), 0x8011),
        false => entry(1, architecture, text, 0, 0x11),
    });
    let mut fatbin = Vec::new();
    fatbin.extend(0xba55_ed50u32.to_le_bytes());
    fatbin.extend(1u16.to_le_bytes());
    fatbin.extend(16u16.to_le_bytes());
    fatbin.extend((body.len() as u64).to_le_bytes());
    fatbin.extend(body);
    fatbin
}

fn load(image: &[u8]) -> (c_int, Handle) {
    let mut module = 0;
    (unsafe { cuModuleLoadData(&mut module, image.as_ptr().cast()) }, module)
}

#[test]
fn ptx_is_found_in_every_container() {
    let gpu = Context::new();
    let plain = CString::new(PTX).unwrap();
    let mut images = vec![plain.as_bytes_with_nul().to_vec(), fatbin(80, false), fatbin(75, true)];
    // `__fatBinC_Wrapper_t`.
    let (inner, magic) = (fatbin(80, true), 0x4662_43b1_u64 | 1 << 32);
    images.push([magic, inner.as_ptr() as u64, 0].iter().flat_map(|word| word.to_le_bytes()).collect());
    for image in images {
        let (code, module) = load(&image);
        ok(code);
        let mut function = 0;
        ok(unsafe { cuModuleGetFunction(&mut function, module, c"add".as_ptr()) });
        let [a, b, c] = [gpu.upload(&[1.0; 8]), gpu.upload(&[2.0; 8]), gpu.alloc(8)];
        ok(add(function, 0, [a, b, c], 8));
        assert_eq!(gpu.read(c, 8), [3.0; 8]);
        assert_eq!(unsafe { cuModuleGetFunction(&mut function, module, c"sub".as_ptr()) }, NOT_FOUND);
        ok(unsafe { cuModuleUnload(module) });
        assert_eq!(add(function, 0, [a, b, c], 8), INVALID_HANDLE);
    }
}

#[test]
fn images_that_cannot_run_are_refused() {
    let _gpu = Context::new();
    assert_eq!(load(b"\x7fELF\x02\x01\x01\0").0, NO_BINARY, "a cubin");
    assert_eq!(load(&fatbin(90, false)).0, NO_BINARY, "PTX for a later device");
    assert_eq!(load(b"hello\0").0, 200);
    assert_eq!(load(b".version 8.0\n.target sm_90\n.address_size 64\n\0").0, NO_BINARY);
    let mut damaged = fatbin(80, true);
    let end = damaged.len() - 40;
    damaged[end..].fill(0);
    assert_ne!(load(&damaged).0, 0);
}

#[test]
fn the_jit_says_what_is_wrong_in_its_log() {
    let _gpu = Context::new();
    let text = c".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n  mov.b32 %r1\n  ret;\n}\n";
    let mut log = [0u8; 200];
    let (options, mut values) = ([5, 6], [log.as_mut_ptr() as *mut c_void, log.len() as *mut c_void]);
    let mut module = 0;
    let code =
        unsafe { cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 2, options.as_ptr(), values.as_mut_ptr()) };
    assert_eq!(code, INVALID_PTX);
    let written = String::from_utf8_lossy(&log[..values[1] as usize]).into_owned();
    assert!(written.contains("line 7"), "{written}");
}

/// A kernel with an instruction that softgpu lacks does not keep the others from running; its launch is refused.
#[test]
fn a_kernel_that_cannot_run_is_refused_at_its_launch() {
    let gpu = Context::new();
    let bad = ".visible .entry bad(.param .u64 p)\n{\n  sured.b.add [a], 1;\n  ret;\n}\n";
    let (code, module) = load(format!("{PTX}{bad}\0").as_bytes());
    ok(code);
    let (mut function, mut value) = (0, 0);
    ok(unsafe { cuModuleGetFunction(&mut function, module, c"bad".as_ptr()) });
    ok(unsafe { cuFuncGetAttribute(&mut value, 1, function) });
    let a = gpu.upload(&[1.0; 8]);
    let params = pointers([&a]);
    let code = unsafe { cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, 0, params.as_ptr(), null()) };
    assert_eq!(code, NOT_SUPPORTED);
    ok(unsafe { cuModuleGetFunction(&mut function, module, c"add".as_ptr()) });
    let c = gpu.alloc(8);
    ok(add(function, 0, [a, a, c], 8));
    assert_eq!(gpu.read(c, 8), [2.0; 8]);
}

#[test]
fn functions_tell_their_size() {
    let gpu = Context::new();
    let function = gpu.function("add");
    let attribute = |number| {
        let mut value = -1;
        ok(unsafe { cuFuncGetAttribute(&mut value, number, function) });
        value
    };
    // Threads, shared, constant, local memory, dynamic shared memory.
    assert_eq!([0, 1, 2, 3, 8].map(attribute), [1024, 0, 0, 0, 48 << 10]);
    let (mut offset, mut bytes) = (0, 0);
    ok(unsafe { cuFuncGetParamInfo(function, 3, &mut offset, &mut bytes) });
    assert_eq!((offset, bytes), (24, 4));
    assert_eq!(unsafe { cuFuncGetParamInfo(function, 4, &mut offset, &mut bytes) }, INVALID_VALUE);
    // 32 registers: 2,048 threads fit. 40 KiB of shared memory and 1 KiB for the system: 4 blocks in 164 KiB.
    for (threads, dynamic, expected) in [(256, 0, 8), (1024, 0, 2), (32, 0, 32), (256, 40 << 10, 4)] {
        let mut blocks = 0;
        ok(unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, function, threads, dynamic) });
        assert_eq!(blocks, expected, "{threads} threads, {dynamic} bytes");
    }
}

#[test]
fn the_linker_gives_what_loads() {
    let gpu = Context::new();
    let (mut linker, mut image, mut bytes) = (0, null(), 0);
    ok(unsafe { cuLinkCreate_v2(0, null(), null_mut(), &mut linker) });
    let text = CString::new(PTX).unwrap();
    let length = text.as_bytes_with_nul().len();
    let add_data =
        |kind| unsafe { cuLinkAddData_v2(linker, kind, text.as_ptr().cast(), length, null(), 0, null(), null_mut()) };
    assert_eq!(add_data(3), NO_BINARY, "an object");
    ok(add_data(1));
    ok(unsafe { cuLinkComplete(linker, &mut image, &mut bytes) });
    let (mut module, mut function) = (0, 0);
    ok(unsafe { cuModuleLoadData(&mut module, image) });
    ok(unsafe { cuModuleGetFunction(&mut function, module, c"add".as_ptr()) });
    drop(gpu);
}

#[test]
fn variables_have_addresses_and_values() {
    let gpu = Context::new();
    let text =
        c".version 8.0\n.target sm_80\n.address_size 64\n.visible .global .align 4 .f32 table[3] = {1.0, 2.0, 3.0};\n";
    let (code, module) = load(text.to_bytes_with_nul());
    ok(code);
    let (mut at, mut bytes) = (0, 0);
    ok(unsafe { cuModuleGetGlobal_v2(&mut at, &mut bytes, module, c"table".as_ptr()) });
    assert_eq!((bytes, gpu.read(at, 3)), (12, vec![1.0, 2.0, 3.0]));
    assert_eq!(unsafe { cuModuleGetGlobal_v2(&mut at, &mut bytes, module, c"chair".as_ptr()) }, NOT_FOUND);
    assert_eq!(unsafe { cuMemFree_v2(at) }, INVALID_VALUE, "it is the module's");
    ok(unsafe { cuModuleUnload(module) });
    assert_eq!(unsafe { cuMemsetD32_v2(at, 0, 1) }, INVALID_VALUE);
}

#[test]
fn libraries_serve_every_context() {
    let gpu = Context::new();
    let (mut library, mut kernel) = (0, 0);
    let text = CString::new(PTX).unwrap();
    let code = text.as_ptr().cast();
    ok(unsafe { cuLibraryLoadData(&mut library, code, null(), null_mut(), 0, null(), null_mut(), 0) });
    ok(unsafe { cuLibraryGetKernel(&mut kernel, library, c"add".as_ptr()) });
    drop(gpu);
    let gpu = Context::new();
    let buffers = [gpu.upload(&[1.0; 8]), gpu.upload(&[2.0; 8]), gpu.alloc(8)];
    ok(add(kernel, 0, buffers, 8));
    assert_eq!(gpu.read(buffers[2], 8), [3.0; 8]);
    ok(unsafe { cuLibraryUnload(library) });
    assert_eq!(add(kernel, 0, buffers, 8), INVALID_HANDLE);
}

#[test]
fn addresses_are_given_by_name_and_version() {
    let find = |name: &std::ffi::CStr, version, flags| {
        let (mut function, mut status) = (null(), -1);
        let code = unsafe { cuGetProcAddress_v2(name.as_ptr(), &mut function, version, flags, &mut status) };
        (code, function, status)
    };
    assert_eq!(find(c"cuMemAlloc", 12000, 0), (0, cuMemAlloc_v2 as *const c_void, 0));
    assert_eq!(find(c"cuMemAlloc", 2000, 0), (0, null(), 2));
    assert_eq!(find(c"cuMemAllocate", 12000, 0), (0, null(), 1));
    let (_, legacy, _) = find(c"cuLaunchKernel", 12000, 1);
    let (_, own, _) = find(c"cuLaunchKernel", 12000, 2);
    assert_eq!(legacy, cuLaunchKernel as *const c_void);
    assert_ne!(own, legacy);
}
