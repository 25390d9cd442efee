//! Kernel launches: limits and arguments are checked when the program asks, the kernel runs when it is waited for.

use std::ffi::{c_uint, c_void};
use std::sync::Arc;

use softgpu::{Error, Memory, limits};

use crate::device::MULTIPROCESSORS;
use crate::entry::{api, get, list};
use crate::image::Kernel;
use crate::occupancy::blocks_per_multiprocessor;
use crate::state::{Gpu, Handle};
use crate::status::{Result, Status, refuse_launch};
use crate::stream::on_stream;
use crate::types::LaunchConfig;
use crate::work::{Failure, Work};

/// A launch, with a copy of its arguments.
#[derive(Clone)]
pub struct KernelLaunch {
    pub function: Handle,
    pub kernel: Arc<Kernel>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub args: Vec<Vec<u8>>,
    pub cooperative: bool,
}

/// Runs a kernel; the report of one that strays is for the context.
pub fn run_kernel(launch: &KernelLaunch, memory: &Memory) -> std::result::Result<(), Failure> {
    crate::tools::run(launch, memory).map_err(|error| Failure { status: status_of(&error), report: error.to_string() })
}

/// The code that a GPU gives for what a kernel did.
fn status_of(error: &Error) -> Status {
    let Error::Stopped(stop) = error else { return Status::LAUNCH_FAILED };
    let says = |words: &[&str]| words.iter().any(|word| stop.what.contains(word));
    if says(&["aligned", "alignment"]) {
        Status::MISALIGNED_ADDRESS
    } else if says(&["does not end", "deadlock"]) {
        Status::LAUNCH_TIMEOUT
    } else if says(&["assert"]) {
        Status::ASSERT
    } else if says(&["bytes at", "address", "allocation"]) {
        Status::ILLEGAL_ADDRESS
    } else {
        Status::LAUNCH_FAILED
    }
}

/// Marks in `extra`.
const EXTRA_END: usize = 0;
const EXTRA_BUFFER: usize = 1;
const EXTRA_BYTES: usize = 2;

/// The arguments, each as its bytes: from pointers to them, or from one buffer laid out as the parameter space.
///
/// # Safety
/// As `cuLaunchKernel` asks.
pub unsafe fn arguments(kernel: &Kernel, params: *const *const c_void, extra: *const usize) -> Result<Vec<Vec<u8>>> {
    let (name, parameters) = (&kernel.name, &kernel.signature.parameters);
    if !params.is_null() && !extra.is_null() {
        return refuse_launch(Status::INVALID_VALUE, format!("`{name}`: both kernelParams and extra are given"));
    }
    if !params.is_null() {
        // SAFETY: the caller's promise: one pointer for each parameter.
        return unsafe { list(params, parameters.len()) }?
            .into_iter()
            .zip(parameters)
            .enumerate()
            .map(|(index, (from, (_, bytes)))| match from.is_null() {
                true => refuse_launch(Status::INVALID_VALUE, format!("`{name}`: kernelParams[{index}] is null")),
                // SAFETY: it points to a value of the parameter's size.
                false => Ok(unsafe { std::slice::from_raw_parts(from as *const u8, *bytes) }.to_vec()),
            })
            .collect();
    }
    if extra.is_null() {
        let count = parameters.len();
        return match count {
            0 => Ok(Vec::new()),
            _ => refuse_launch(Status::INVALID_VALUE, format!("`{name}`: no arguments are given, it takes {count}")),
        };
    }
    let (mut buffer, mut bytes, mut at) = (0, 0, extra);
    // SAFETY: pairs of mark and value up to the end mark.
    unsafe {
        while *at != EXTRA_END {
            match *at {
                EXTRA_BUFFER => buffer = *at.add(1),
                EXTRA_BYTES => bytes = *(*at.add(1) as *const usize),
                _ => return Err(Status::INVALID_VALUE),
            }
            at = at.add(2);
        }
    }
    let needed = parameters.last().map_or(0, |(offset, bytes)| offset + bytes);
    if bytes < needed || bytes > needed.next_multiple_of(16) || buffer == 0 && needed > 0 {
        let what = format!("`{name}`: the buffer in extra has {bytes} bytes, the parameters take {needed}");
        return refuse_launch(Status::INVALID_VALUE, what);
    }
    // SAFETY: the caller's promise: the buffer has `bytes` bytes.
    let all = unsafe { std::slice::from_raw_parts(buffer as *const u8, bytes) };
    Ok(parameters.iter().map(|(offset, bytes)| all[*offset..offset + bytes].to_vec()).collect())
}

impl Gpu {
    /// Refuses what a device of compute capability 8.0 refuses.
    pub fn check_launch(&self, launch: &KernelLaunch) -> Result<()> {
        let function = self.functions.get(launch.function)?;
        let (kernel, name) = (&launch.kernel, &launch.kernel.name);
        if let Some(why) = kernel.module.refusal(name) {
            return refuse_launch(Status::NOT_SUPPORTED, format!("cannot launch `{name}`: {why}"));
        }
        let KernelLaunch { grid, block, shared_bytes, .. } = launch;
        let invalid = |what: String| refuse_launch(Status::INVALID_VALUE, format!("`{name}`: {what}"));
        let threads = match limits(*grid, *block) {
            Ok(threads) => threads,
            Err(why) => return invalid(why.to_string()),
        };
        if kernel.required_block.is_some_and(|required| required != *block) {
            return invalid(format!(
                "block {block:?}, where the kernel's .reqntid asks for {:?}",
                kernel.required_block
            ));
        }
        if *shared_bytes as usize > function.max_dynamic {
            let most = function.max_dynamic;
            return invalid(format!(
                "{shared_bytes} bytes of dynamic shared memory, {most} are allowed: raise \
                 CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES first"
            ));
        }
        if threads > u64::from(kernel.max_threads) {
            let (most, registers) = (kernel.max_threads, kernel.registers);
            return refuse_launch(
                Status::LAUNCH_OUT_OF_RESOURCES,
                format!("`{name}`: {threads} threads, at most {most} are possible ({registers} registers a thread)"),
            );
        }
        let blocks: u64 = grid.iter().map(|&n| u64::from(n)).product();
        let most = MULTIPROCESSORS * blocks_per_multiprocessor(kernel, threads as u32, *shared_bytes as usize);
        if launch.cooperative && blocks > u64::from(most) {
            return refuse_launch(
                Status::COOPERATIVE_LAUNCH_TOO_LARGE,
                format!(
                    "`{name}`: a cooperative launch of {blocks} blocks, and the device holds {most} of them at once"
                ),
            );
        }
        Ok(())
    }
}

/// Sizes of a launch.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub cooperative: bool,
}

/// # Safety
/// As `cuLaunchKernel` asks.
pub unsafe fn prepare(
    gpu: &Gpu,
    function: Handle,
    Sizes { grid, block, shared_bytes, cooperative }: Sizes,
    (params, extra): (*const *const c_void, *const usize),
) -> Result<KernelLaunch> {
    let kernel = Arc::clone(&gpu.functions.get(function)?.kernel);
    // SAFETY: the caller's promise.
    let args = unsafe { arguments(&kernel, params, extra) }?;
    let launch = KernelLaunch { function, kernel, grid, block, shared_bytes, args, cooperative };
    gpu.check_launch(&launch)?;
    Ok(launch)
}

unsafe fn launch(
    function: Handle,
    sizes: Sizes,
    stream: Handle,
    arguments: (*const *const c_void, *const usize),
) -> Result<()> {
    let (mut gpu, stream) = on_stream(stream)?;
    if gpu.functions.get(function)?.context.is_some_and(|c| gpu.streams.get(stream).map(|s| s.context) != Ok(c)) {
        return refuse_launch(Status::INVALID_HANDLE, "a launch whose function and stream are of different contexts");
    }
    // SAFETY: the caller's promise.
    let launch = unsafe { prepare(&gpu, function, sizes, arguments) }?;
    gpu.submit(stream, Work::Launch(Arc::new(launch)))
}

/// `CUlaunchAttributeID`.
const COOPERATIVE: c_uint = 2;
const CLUSTER: c_uint = 4;

api! {
    fn cuLaunchKernel | cuLaunchKernel_ptsz(
        function: Handle, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared_bytes: c_uint,
        stream: Handle, params: *const *const c_void, extra: *const usize,
    ) {
        let sizes = Sizes { grid: [gx, gy, gz], block: [bx, by, bz], shared_bytes, cooperative: false };
        launch(function, sizes, stream, (params, extra))
    }

    fn cuLaunchCooperativeKernel | cuLaunchCooperativeKernel_ptsz(
        function: Handle, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared_bytes: c_uint,
        stream: Handle, params: *const *const c_void,
    ) {
        let sizes = Sizes { grid: [gx, gy, gz], block: [bx, by, bz], shared_bytes, cooperative: true };
        launch(function, sizes, stream, (params, std::ptr::null()))
    }

    /// Of the attributes, cooperation matters, and clusters, which do not exist before compute capability 9.0.
    fn cuLaunchKernelEx | cuLaunchKernelEx_ptsz(
        config: *const LaunchConfig, function: Handle, params: *const *const c_void, extra: *const usize,
    ) {
        let c = get(config)?;
        let mut cooperative = false;
        for attribute in list(c.attributes, c.count as usize)? {
            let value = attribute.value;
            match attribute.id {
                COOPERATIVE => cooperative = value[0] != 0,
                CLUSTER if value[..3] != [1; 3] => {
                    return refuse_launch(Status::INVALID_CLUSTER_SIZE, "compute capability 8.0 has no clusters");
                }
                _ => {}
            }
        }
        let sizes = Sizes { grid: c.grid, block: c.block, shared_bytes: c.shared_bytes, cooperative };
        launch(function, sizes, c.stream, (params, extra))
    }
}
