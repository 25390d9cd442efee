//! Modules, and functions with their attributes.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use crate::device::{SHARED_BYTES, SHARED_OPTIN_BYTES};
use crate::entry::{api, list, put, put_if, put_text, string};
use crate::image::{self, Image, Kernel};
use crate::state::{Gpu, Handle, current};
use crate::status::{Result, Status, refuse};
use crate::tools::lost;

pub struct LoadedModule {
    pub context: Handle,
    pub image: Arc<Image>,
    pub functions: HashMap<String, Handle>,
}

/// An image outside of contexts (`cuLibraryLoadData`).
pub struct Library {
    pub image: Arc<Image>,
    pub functions: HashMap<String, Handle>,
    /// Its module, once asked for.
    pub module: Option<Handle>,
}

/// A `CUfunction` of a module, or a `CUkernel` of a library (which launches as a function does).
pub struct Function {
    pub kernel: Arc<Kernel>,
    /// None for a library's.
    pub context: Option<Handle>,
    pub module: Option<Handle>,
    pub library: Option<Handle>,
    /// Dynamic shared memory that a launch may ask for.
    pub max_dynamic: usize,
    pub carveout: c_int,
}

impl Function {
    pub fn new(kernel: &Arc<Kernel>, context: Option<Handle>) -> Function {
        let max_dynamic = SHARED_BYTES.saturating_sub(kernel.signature.shared_bytes);
        let kernel = Arc::clone(kernel);
        Function { kernel, context, module: None, library: None, max_dynamic, carveout: -1 }
    }

    pub fn attribute(&self, attribute: c_int) -> Result<c_int> {
        let (kernel, signature) = (&self.kernel, &self.kernel.signature);
        Ok(match attribute {
            0 => kernel.max_threads as c_int,
            1 => signature.shared_bytes as c_int,
            2 => 0, // constant memory of the user
            3 => signature.local_bytes as c_int,
            4 => kernel.registers as c_int,
            5 => kernel.ptx_version as c_int,
            6 => kernel.target as c_int,
            7 => 0,
            8 => self.max_dynamic as c_int,
            9 => self.carveout,
            10..=15 => 0, // clusters
            _ => return Err(Status::INVALID_VALUE),
        })
    }

    pub fn set_attribute(&mut self, attribute: c_int, value: c_int) -> Result<()> {
        let most = SHARED_OPTIN_BYTES.saturating_sub(self.kernel.signature.shared_bytes);
        match attribute {
            8 if (0..=most as c_int).contains(&value) => self.max_dynamic = value as usize,
            8 => {
                let name = &self.kernel.name;
                let what = format!("`{name}`: {value} bytes of dynamic shared memory, at most {most} are possible");
                return refuse(Status::INVALID_VALUE, what);
            }
            9 if (-1..=100).contains(&value) => self.carveout = value,
            10..=15 if value == 0 => {}
            _ => return Err(Status::INVALID_VALUE),
        }
        Ok(())
    }
}

/// `CUjit_option`: where the JIT's error log goes.
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;

/// Loads text; what is wrong goes to stderr and to the log buffer in the JIT options.
///
/// # Safety
/// The options are as the driver API asks.
pub unsafe fn load(
    image: Result<image::Read>,
    (count, options, values): (c_uint, *const c_int, *mut *mut c_void),
) -> Result<Arc<Image>> {
    let (text, cubins) = image?;
    image::load(&text, &cubins).map(Arc::new).or_else(|(status, what)| {
        lost(format!("cannot load the module: {what}"));
        // SAFETY: the caller's promise.
        unsafe {
            let options = list(options, count as usize)?;
            let at = |wanted: c_int| options.iter().position(|option| *option == wanted);
            if let (Some(buffer), Some(bytes)) = (at(ERROR_LOG), at(ERROR_LOG_BYTES)) {
                let room = values.add(bytes).read() as usize as u32 as usize;
                let written = what.len().min(room.saturating_sub(1));
                if put_text(values.add(buffer).read() as *mut c_char, room, &what).is_ok() {
                    values.add(bytes).write(written as *mut c_void);
                }
            }
        }
        Err(status)
    })
}

impl Gpu {
    pub fn add_module(&mut self, context: Handle, image: Arc<Image>) -> Handle {
        self.modules.add(LoadedModule { context, image, functions: HashMap::new() })
    }

    /// A module's function by name: the same handle each time.
    pub fn function_of(&mut self, module: Handle, name: &str) -> Result<Handle> {
        let this = self.modules.get(module)?;
        if let Some(function) = this.functions.get(name) {
            return Ok(*function);
        }
        let kernel = this.image.kernels.get(name).ok_or(Status::NOT_FOUND)?;
        let function = Function { module: Some(module), ..Function::new(kernel, Some(this.context)) };
        let handle = self.functions.add(function);
        self.modules.get_mut(module)?.functions.insert(name.to_owned(), handle);
        Ok(handle)
    }
}

/// # Safety
/// As [`load`] and [`image::ptx_of`].
unsafe fn load_data(
    module: *mut Handle,
    data: *const c_void,
    options: (c_uint, *const c_int, *mut *mut c_void),
) -> Result<()> {
    current()?;
    // SAFETY: the caller's promise.
    let image = unsafe { load(image::ptx_of(data as *const u8), options) }?;
    let (mut gpu, context) = current()?;
    let handle = gpu.add_module(context, image);
    // SAFETY: the caller's promise.
    unsafe { put(module, handle) }
}

pub const NO_OPTIONS: (c_uint, *const c_int, *mut *mut c_void) = (0, std::ptr::null(), std::ptr::null_mut());

pub fn read_file(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).or_else(|error| refuse(Status::FILE_NOT_FOUND, format!("{path}: {error}")))
}

api! {
    fn cuModuleLoad(module: *mut Handle, path: *const c_char) {
        current()?;
        let image = load(image::ptx_of_bytes(&read_file(&string(path)?)?), NO_OPTIONS)?;
        let (mut gpu, context) = current()?;
        put(module, gpu.add_module(context, image))
    }

    /// PTX text, or a fatbin with PTX.
    fn cuModuleLoadData(module: *mut Handle, image: *const c_void) {
        load_data(module, image, NO_OPTIONS)
    }

    /// As above; of the JIT options the error log is served, the others do not matter here.
    fn cuModuleLoadDataEx(
        module: *mut Handle, image: *const c_void, count: c_uint, options: *const c_int, values: *mut *mut c_void,
    ) {
        load_data(module, image, (count, options, values))
    }

    fn cuModuleLoadFatBinary(module: *mut Handle, image: *const c_void) {
        load_data(module, image, NO_OPTIONS)
    }

    /// Waits for the context, as its kernels may be running.
    fn cuModuleUnload(module: Handle) {
        let (mut gpu, context) = current()?;
        gpu.modules.get(module)?;
        gpu.finish_context(context)?;
        let image = gpu.modules.remove(module)?.image;
        gpu.unload(&image.module);
        gpu.functions.retain(|function| function.module != Some(module));
        Ok(())
    }

    /// Modules are loaded eagerly, so that what cannot run is known at once.
    fn cuModuleGetLoadingMode(mode: *mut c_int) {
        put(mode, 1)
    }

    fn cuModuleGetFunction(function: *mut Handle, module: Handle, name: *const c_char) {
        let (mut gpu, _) = current()?;
        let handle = gpu.function_of(module, &string(name)?)?;
        put(function, handle)
    }

    fn cuModuleGetFunctionCount(count: *mut c_uint, module: Handle) {
        let (gpu, _) = current()?;
        put(count, gpu.modules.get(module)?.image.order.len() as c_uint)
    }

    fn cuModuleEnumerateFunctions(functions: *mut Handle, count: c_uint, module: Handle) {
        let (mut gpu, _) = current()?;
        let image = Arc::clone(&gpu.modules.get(module)?.image);
        for (index, name) in image.order.iter().take(count as usize).enumerate() {
            let handle = gpu.function_of(module, name)?;
            put(functions.add(index), handle)?;
        }
        Ok(())
    }

    fn cuModuleGetGlobal_v2(pointer: *mut u64, bytes: *mut usize, module: Handle, name: *const c_char) {
        let (mut gpu, _) = current()?;
        let LoadedModule { context, image, .. } = gpu.modules.get(module)?;
        let (context, image) = (*context, Arc::clone(image));
        let (address, size) = gpu.variable(context, &image.module, &string(name)?)?;
        put_if(pointer, address);
        put_if(bytes, size);
        Ok(())
    }

    fn cuFuncGetAttribute(value: *mut c_int, attribute: c_int, function: Handle) {
        let (gpu, _) = current()?;
        put(value, gpu.functions.get(function)?.attribute(attribute)?)
    }

    fn cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int) {
        let (mut gpu, _) = current()?;
        gpu.functions.get_mut(function)?.set_attribute(attribute, value)
    }

    /// A hint.
    fn cuFuncSetCacheConfig(function: Handle, _config: c_int) {
        let (gpu, _) = current()?;
        gpu.functions.get(function).map(|_| ())
    }

    /// A hint.
    fn cuFuncSetSharedMemConfig(function: Handle, _config: c_int) {
        let (gpu, _) = current()?;
        gpu.functions.get(function).map(|_| ())
    }

    fn cuFuncGetModule(module: *mut Handle, function: Handle) {
        let (gpu, _) = current()?;
        put(module, gpu.functions.get(function)?.module.ok_or(Status::INVALID_HANDLE)?)
    }

    fn cuFuncGetName(name: *mut *const c_char, function: Handle) {
        let (gpu, _) = current()?;
        put(name, name_of(gpu.functions.get(function)?))
    }

    fn cuFuncGetParamInfo(function: Handle, index: usize, offset: *mut usize, bytes: *mut usize) {
        let (gpu, _) = current()?;
        parameter(gpu.functions.get(function)?, index, offset, bytes)
    }

    fn cuFuncIsLoaded(state: *mut c_int, function: Handle) {
        let (gpu, _) = current()?;
        gpu.functions.get(function)?;
        put(state, 1)
    }

    fn cuFuncLoad(function: Handle) {
        let (gpu, _) = current()?;
        gpu.functions.get(function).map(|_| ())
    }
}

/// A name that lives as long as the process, as the API asks of one of a loaded function.
pub fn name_of(function: &Function) -> *const c_char {
    use std::sync::{LazyLock, Mutex, PoisonError};
    static NAMES: LazyLock<Mutex<HashMap<String, std::ffi::CString>>> = LazyLock::new(Mutex::default);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let name = &function.kernel.name;
    names.entry(name.clone()).or_insert_with(|| std::ffi::CString::new(name.as_str()).unwrap_or_default()).as_ptr()
}

/// # Safety
/// The pointers are null or valid.
pub unsafe fn parameter(function: &Function, index: usize, offset: *mut usize, bytes: *mut usize) -> Result<()> {
    let (at, size) = *function.kernel.signature.parameters.get(index).ok_or(Status::INVALID_VALUE)?;
    // SAFETY: the caller's promise.
    unsafe {
        put(offset, at)?;
        put_if(bytes, size);
    }
    Ok(())
}
