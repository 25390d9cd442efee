//! NVIDIA's devices through cudarc: fatbins, launches, cuBLAS, events. Nothing is linked; a machine without a driver
//! gets a reason, not a crash.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::driver::{CudaContext, CudaStream, result, sys};

use super::buffer::RawMemory;
use super::cuda_lt::{Lt, WORKSPACE, WORKSPACE_HOPPER};
use super::gemm::{Epilogue, Gemm};
use super::kernels::{MODULES, module_of};
use super::launch::{Arg, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// The driver's answer as our error; `doing` says what was tried.
fn driver<T>(doing: &str, result: std::result::Result<T, result::DriverError>) -> Result<T> {
    result.map_err(|error| {
        let name = error.error_name().ok().and_then(|name| name.to_str().ok()).unwrap_or("unknown error");
        let text = error.error_string().ok().and_then(|text| text.to_str().ok()).unwrap_or("");
        Error::device(format!("{doing}: {name} ({text})"))
    })
}

/// Names of the GPUs, or the reason why none can be used. Asks for the library before any symbol of it: cudarc
/// panics on a missing one.
pub(crate) fn probe() -> std::result::Result<Vec<String>, String> {
    // SAFETY: opening libcuda runs its initialisers, which NVIDIA's library permits at any time.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver (libcuda.so) was found".to_owned());
    }
    let count = CudaContext::device_count().map_err(|error| format!("the NVIDIA driver cannot start: {error}"))?;
    if count == 0 {
        return Err("the NVIDIA driver sees no GPU".to_owned());
    }
    // SAFETY: as above, for cuBLAS.
    if !unsafe { cublas_sys::is_culib_present() } {
        return Err("a GPU was found, but not cuBLAS (libcublas.so of CUDA 12 or 13)".to_owned());
    }
    (0..count)
        .map(|ordinal| {
            let device = result::device::get(ordinal).map_err(|error| error.to_string())?;
            result::device::get_name(device).map_err(|error| error.to_string())
        })
        .collect()
}

struct Handles {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    cublas: cublas_sys::cublasHandle_t,
    /// None where there is no cublasLt: no product has an epilogue then.
    lt: Option<Lt>,
    scratch: Scratch,
    functions: Mutex<Functions>,
}

/// Memory of products with epilogues, made with the first of them: cublasLt's workspace, then room for a bias' gradient that
/// is to be added to another.
struct Scratch {
    workspace_bytes: usize,
    at: OnceLock<u64>,
}

/// Room for a bias' gradient; a longer one takes the plain path.
const GRADIENT_BYTES: usize = 1 << 20;

impl Scratch {
    fn new(context: &CudaContext) -> Scratch {
        let hopper = context.compute_capability().is_ok_and(|(major, _)| major >= 9);
        Scratch { workspace_bytes: if hopper { WORKSPACE_HOPPER } else { WORKSPACE }, at: OnceLock::new() }
    }

    /// Addresses of the workspace and of the gradient.
    fn get(&self, memory: &Handles) -> Result<(u64, u64)> {
        let at = match self.at.get() {
            Some(at) => *at,
            None => {
                let made = memory.raw_alloc(self.workspace_bytes + GRADIENT_BYTES)?;
                *self.at.get_or_init(|| made)
            }
        };
        Ok((at, at + self.workspace_bytes as u64))
    }
}

/// Modules are loaded with their first kernel. Addresses, as the driver's handles are not `Send`.
#[derive(Default)]
struct Functions {
    modules: HashMap<usize, usize>,
    entries: HashMap<String, usize>,
}

// SAFETY: the cuBLAS handle is used by one call at a time on one stream; the driver API itself is thread-safe.
unsafe impl Send for Handles {}
// SAFETY: as above; every use goes through the stream in order.
unsafe impl Sync for Handles {}

/// An NVIDIA GPU with one stream.
#[derive(Clone)]
pub struct CudaDevice(Arc<Handles>);

/// A recorded event; destroyed with the last owner.
pub struct CudaEvent(cudarc::driver::CudaEvent);

impl RawMemory for Handles {
    fn raw_alloc(&self, bytes: usize) -> Result<u64> {
        driver("bind context", self.context.bind_to_thread())?;
        // SAFETY: a plain allocation; the driver refuses 0 bytes, so one byte stands for an empty tensor.
        driver(&format!("allocate {bytes} bytes"), unsafe { result::malloc_sync(bytes.max(1)) })
            .map_err(|error| error.hint("the GPU's memory is full: use a smaller --max-tokens or a smaller model"))
    }

    fn raw_free(&self, ptr: u64) {
        // Freeing waits for the device, so kernels that still use the memory are safe. There is nobody to tell of an
        // error: the context is gone with it.
        let bound = self.context.bind_to_thread();
        // SAFETY: `ptr` came from `raw_alloc` and is freed once.
        let freed = bound.and_then(|()| unsafe { result::free_sync(ptr) });
        debug_assert!(freed.is_ok());
    }
}

impl CudaDevice {
    pub(crate) fn open(number: usize) -> Result<CudaDevice> {
        let gpus = probe().map_err(|reason| Error::device(reason).hint("use --device soft to run without a GPU"))?;
        if number >= gpus.len() {
            let numbers = format!("this machine has cuda:0 to cuda:{}", gpus.len() - 1);
            return Err(Error::usage(format!("there is no cuda:{number}")).hint(numbers));
        }
        let context = driver("open the GPU", CudaContext::new(number))?;
        // SAFETY: there is one stream, and the host waits before it reads: no tracking between streams is needed, and
        // it would cost about ten driver calls a launch.
        unsafe { context.disable_event_tracking() };
        let stream = driver("create a stream", context.new_stream())?;
        let cublas = cublas::create_handle().map_err(|error| Error::device(format!("cuBLAS: {error:?}")))?;
        // SAFETY: both handles are alive; cudarc's stream types are one and the same.
        unsafe { cublas::set_stream(cublas, stream.cu_stream() as cublas_sys::cudaStream_t) }
            .map_err(|error| Error::device(format!("cuBLAS: {error:?}")))?;
        let (functions, scratch) = (Mutex::new(Functions::default()), Scratch::new(&context));
        let lt = Lt::open(scratch.workspace_bytes);
        Ok(CudaDevice(Arc::new(Handles { context, stream, cublas, lt, scratch, functions })))
    }

    pub(crate) fn raw_memory(&self) -> Arc<dyn RawMemory> {
        Arc::clone(&self.0) as Arc<dyn RawMemory>
    }

    pub(crate) fn name(&self) -> String {
        self.0.context.name().unwrap_or_else(|_| "NVIDIA GPU".to_owned())
    }

    fn bind(&self) -> Result<()> {
        driver("bind context", self.0.context.bind_to_thread())
    }

    pub(crate) fn write(&self, ptr: u64, data: &[u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's tensor has `data.len()` bytes. The host slice may die after this call, so wait.
        driver("copy to the GPU", unsafe { result::memcpy_htod_async(ptr, data, self.0.stream.cu_stream()) })?;
        self.synchronize()
    }

    pub(crate) fn read(&self, ptr: u64, data: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's tensor has `data.len()` bytes, and the copy has ended before `data` is looked at.
        driver("copy from the GPU", unsafe { result::memcpy_dtoh_async(data, ptr, self.0.stream.cu_stream()) })?;
        self.synchronize()
    }

    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: both tensors have `bytes` bytes.
        driver("copy on the GPU", unsafe { result::memcpy_dtod_async(to, from, bytes, self.0.stream.cu_stream()) })
    }

    pub(crate) fn zero(&self, ptr: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the tensor has `bytes` bytes.
        driver("fill on the GPU", unsafe { result::memset_d8_async(ptr, 0, bytes, self.0.stream.cu_stream()) })
    }

    fn function(&self, kernel: &str) -> Result<sys::CUfunction> {
        let mut functions = self.0.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.entries.get(kernel) {
            return Ok(*function as sys::CUfunction);
        }
        let index = module_of(kernel).ok_or_else(|| Error::device(format!("no kernel `{kernel}` in this binary")))?;
        let module = match functions.modules.get(&index) {
            Some(module) => *module as sys::CUmodule,
            None => {
                let module = load(index)?;
                functions.modules.insert(index, module as usize);
                module
            }
        };
        let name = CString::new(kernel).map_err(|_| Error::device("a kernel name with a zero byte"))?;
        // SAFETY: the module stays loaded as long as the context.
        let function = driver(kernel, unsafe { result::module::get_function(module, name) })?;
        functions.entries.insert(kernel.to_owned(), function as usize);
        Ok(function)
    }

    /// # Safety
    /// As [`super::Device::launch`].
    pub(crate) unsafe fn launch(&self, kernel: &str, grid: Grid, args: &[Arg]) -> Result<()> {
        self.bind()?;
        let function = self.function(kernel)?;
        let mut params: Vec<*mut c_void> = args.iter().map(|arg| arg.as_bytes().as_ptr() as *mut c_void).collect();
        let ([gx, gy, gz], [bx, by, bz]) = (grid.grid, grid.block);
        if grid.shared > 48 << 10 {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is alive.
            let set = unsafe { result::function::set_function_attribute(function, attribute, grid.shared as i32) };
            driver(kernel, set)?;
        }
        let stream = self.0.stream.cu_stream();
        // SAFETY: the caller vouches for the arguments; the driver copies them before it returns.
        let launched =
            unsafe { result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), grid.shared, stream, &mut params) };
        driver(kernel, launched)
    }

    /// cuBLAS is column-major: a row-major `C = A·B` is `Cᵀ = Bᵀ·Aᵀ` to it, without moving anything.
    pub(crate) fn gemm(&self, g: &Gemm<'_>) -> Result<()> {
        use cublas_sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
        self.bind()?;
        let int = |extent: usize| i32::try_from(extent).map_err(|_| Error::device(format!("gemm: extent {extent}")));
        let (m, n, k) = (int(g.m)?, int(g.n)?, int(g.k)?);
        let (op_a, lda) = if g.ta { (CUBLAS_OP_T, m) } else { (CUBLAS_OP_N, k) };
        let (op_b, ldb) = if g.tb { (CUBLAS_OP_T, k) } else { (CUBLAS_OP_N, n) };
        let (alpha, beta) = (1.0f32, g.beta);
        let f32s = g.a.dtype() == DType::F32;
        let ([to, left, right], ldb, lda) = ([g.c, g.b, g.a], ldb.max(1), lda.max(1));
        // SAFETY: `Gemm::check` has compared extents, sizes and types; alpha and beta are host scalars, read before return.
        unsafe {
            if f32s {
                let (b, a, c) = (left.ptr() as *const f32, right.ptr() as *const f32, to.ptr() as *mut f32);
                cublas::sgemm(self.0.cublas, op_b, op_a, n, m, k, &alpha, b, ldb, a, lda, &beta, c, n)
            } else {
                let (b, a, c) = (left.ptr() as *const c_void, right.ptr() as *const c_void, to.ptr() as *mut c_void);
                let [ty, c_type] = [right.dtype(), to.dtype()].map(cuda_type);
                let (alpha, beta) = ((&raw const alpha).cast(), (&raw const beta).cast());
                let compute = cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
                let algorithm = cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
                #[rustfmt::skip]
                let done = cublas::gemm_ex(
                    self.0.cublas, op_b, op_a, n, m, k, alpha, b, ty, ldb, a, ty, lda, beta, c, c_type, n, compute, algorithm,
                );
                done
            }
        }
        .map_err(|error| Error::device(format!("gemm [{m}, {k}]·[{k}, {n}]: {error:?}")))
    }

    pub(crate) fn has_epilogues(&self) -> bool {
        self.0.lt.is_some()
    }

    /// Whether [`CudaDevice::gemm_with`] does this one, of which `Epilogue::fits` says that it may.
    pub(crate) fn does(&self, g: &Gemm<'_>, e: &Epilogue<'_>) -> Result<bool> {
        self.bind()?;
        Ok(e.vector(g).0.bytes() <= GRADIENT_BYTES && self.0.lt.as_ref().is_some_and(|lt| lt.does(g, e)))
    }

    /// A product with its epilogue; a gradient that is to be added to another one makes a detour.
    pub(crate) fn gemm_with(&self, g: &Gemm<'_>, e: &Epilogue<'_>) -> Result<()> {
        let Some(lt) = &self.0.lt else {
            return Err(Error::device("a product with an epilogue, without cublasLt"));
        };
        self.bind()?;
        let (workspace, detour) = self.0.scratch.get(&self.0)?;
        let (vector, _) = e.vector(g);
        let adds =
            matches!(e, Epilogue::ReluGrad { accumulate: true, .. } | Epilogue::BiasGrad { accumulate: true, .. });
        let to = if adds { detour } else { vector.ptr() };
        // SAFETY: checked by the caller; `does` compares the vector with the room for it. There is one stream.
        unsafe { lt.run(g, e, to, workspace, self.0.stream.cu_stream() as _) }?;
        if adds { self.add(vector, detour) } else { Ok(()) }
    }

    /// `to += from`, summed in f32 and rounded once.
    fn add(&self, to: &Tensor, from: u64) -> Result<()> {
        let n = i32::try_from(to.numel()).map_err(|_| Error::device(format!("add: {} elements", to.numel())))?;
        let (one, ty, f32s) = (1.0f32, cuda_type(to.dtype()), cublas_sys::cudaDataType::CUDA_R_32F);
        let (alpha, from, at) = ((&raw const one).cast(), from as *const c_void, to.ptr() as *mut c_void);
        // SAFETY: both have `n` elements of this type; alpha is a host scalar, read before return.
        let added = unsafe { cublas_sys::cublasAxpyEx(self.0.cublas, n, alpha, f32s, from, ty, 1, at, ty, 1, f32s) };
        added.result().map_err(|error| Error::device(format!("add [{n}]: {error:?}")))
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        driver("wait for the GPU", self.0.stream.synchronize())
    }

    pub(crate) fn event(&self) -> Result<CudaEvent> {
        let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        driver("record an event", self.0.stream.record_event(timed)).map(CudaEvent)
    }

    /// `cuEventElapsedTime_v2` is absent before driver 12.8, and cudarc panics on an absent symbol; the first version
    /// is in every driver.
    pub(crate) fn elapsed_ms(&self, start: &CudaEvent, end: &CudaEvent) -> Result<f32> {
        self.bind()?;
        driver("wait for an event", end.0.synchronize())?;
        driver("time an event", start.0.elapsed_ms(&end.0))
    }
}

fn cuda_type(dtype: DType) -> cublas_sys::cudaDataType {
    match dtype {
        DType::F16 => cublas_sys::cudaDataType::CUDA_R_16F,
        DType::BF16 => cublas_sys::cudaDataType::CUDA_R_16BF,
        DType::F32 | DType::I32 => cublas_sys::cudaDataType::CUDA_R_32F, // `Gemm::check` refuses integers
    }
}

/// Loads the fatbin, or the PTX in builds without one.
fn load(index: usize) -> Result<sys::CUmodule> {
    let module = &MODULES[index];
    let ptx;
    let image = if module.fatbin.is_empty() {
        ptx = CString::new(module.ptx).map_err(|_| Error::device("PTX with a zero byte"))?;
        ptx.as_ptr() as *const c_void
    } else {
        module.fatbin.as_ptr() as *const c_void
    };
    // SAFETY: a fatbin carries its length, PTX ends in a zero byte.
    driver(&format!("load kernels/{}.cu", module.name), unsafe { result::module::load_data(image) })
}

impl Drop for Handles {
    fn drop(&mut self) {
        let synchronized = self.stream.synchronize();
        // SAFETY: the handle is destroyed once, after its last work. Errors at the end of a process help nobody.
        let destroyed = unsafe { cublas::destroy_handle(self.cublas) };
        debug_assert!(synchronized.is_ok() && destroyed.is_ok());
        if let Some(scratch) = self.scratch.at.get() {
            self.raw_free(*scratch);
        }
    }
}
