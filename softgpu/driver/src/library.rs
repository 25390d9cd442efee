//! Libraries: modules outside of contexts (`cuLibrary*`), and their kernels.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::Arc;

use crate::device::ordinal;
use crate::entry::{api, put, put_if, string};
use crate::image::{self, Image};
use crate::module::{Function, Library, load, name_of, parameter, read_file};
use crate::state::{Gpu, Handle, current, gpu};
use crate::status::{Result, Status};

impl Gpu {
    fn add_library(&mut self, image: Arc<Image>) -> Handle {
        self.libraries.add(Library { image, functions: HashMap::new(), module: None })
    }

    fn kernel_of(&mut self, library: Handle, name: &str) -> Result<Handle> {
        let this = self.libraries.get(library)?;
        if let Some(kernel) = this.functions.get(name) {
            return Ok(*kernel);
        }
        let kernel = this.image.kernels.get(name).ok_or(Status::NOT_FOUND)?;
        let handle = self.functions.add(Function { library: Some(library), ..Function::new(kernel, None) });
        self.libraries.get_mut(library)?.functions.insert(name.to_owned(), handle);
        Ok(handle)
    }
}

api! {
    /// As `cuModuleLoadDataEx`, for every context.
    fn cuLibraryLoadData(
        library: *mut Handle, code: *const c_void, options: *const c_int, values: *mut *mut c_void, count: c_uint,
        _library_options: *const c_int, _library_values: *mut *mut c_void, _library_count: c_uint,
    ) {
        gpu()?;
        let image = load(image::ptx_of(code as *const u8), (count, options, values))?;
        put(library, gpu()?.add_library(image))
    }

    fn cuLibraryLoadFromFile(
        library: *mut Handle, path: *const c_char, options: *const c_int, values: *mut *mut c_void, count: c_uint,
        _library_options: *const c_int, _library_values: *mut *mut c_void, _library_count: c_uint,
    ) {
        gpu()?;
        let image = load(image::ptx_of_bytes(&read_file(&string(path)?)?), (count, options, values))?;
        put(library, gpu()?.add_library(image))
    }

    /// Waits for all contexts, as its kernels may be running.
    fn cuLibraryUnload(library: Handle) {
        let mut gpu = gpu()?;
        gpu.libraries.get(library)?;
        let contexts: Vec<Handle> = gpu.contexts.iter().map(|(context, _)| context).collect();
        for context in contexts {
            // Its failure, if any, shows in its own calls.
            let _ = gpu.finish_context(context);
        }
        let Library { image, module, .. } = gpu.libraries.remove(library)?;
        gpu.unload(&image.module);
        gpu.functions.retain(|f| f.library != Some(library) && (module.is_none() || f.module != module));
        if let Some(module) = module {
            // Gone already if its context is.
            let _ = gpu.modules.remove(module);
        }
        Ok(())
    }

    fn cuLibraryGetKernel(kernel: *mut Handle, library: Handle, name: *const c_char) {
        let handle = gpu()?.kernel_of(library, &string(name)?)?;
        put(kernel, handle)
    }

    fn cuLibraryGetKernelCount(count: *mut c_uint, library: Handle) {
        put(count, gpu()?.libraries.get(library)?.image.order.len() as c_uint)
    }

    fn cuLibraryEnumerateKernels(kernels: *mut Handle, count: c_uint, library: Handle) {
        let mut gpu = gpu()?;
        let image = Arc::clone(&gpu.libraries.get(library)?.image);
        for (index, name) in image.order.iter().take(count as usize).enumerate() {
            put(kernels.add(index), gpu.kernel_of(library, name)?)?;
        }
        Ok(())
    }

    /// The library as a module of the current context.
    fn cuLibraryGetModule(module: *mut Handle, library: Handle) {
        let (mut gpu, context) = current()?;
        let this = gpu.libraries.get(library)?;
        let known = this.module.filter(|module| gpu.modules.get(*module).is_ok_and(|m| m.context == context));
        let handle = match known {
            Some(handle) => handle,
            None => {
                let image = Arc::clone(&this.image);
                let handle = gpu.add_module(context, image);
                gpu.libraries.get_mut(library)?.module = Some(handle);
                handle
            }
        };
        put(module, handle)
    }

    /// As `cuModuleGetGlobal`, but one variable for all contexts.
    fn cuLibraryGetGlobal(pointer: *mut u64, bytes: *mut usize, library: Handle, name: *const c_char) {
        let (mut gpu, context) = current()?;
        let image = Arc::clone(&gpu.libraries.get(library)?.image);
        let (address, size) = gpu.variable(context, &image.module, &string(name)?)?;
        put_if(pointer, address);
        put_if(bytes, size);
        Ok(())
    }

    fn cuLibraryGetManaged(_pointer: *mut u64, _bytes: *mut usize, library: Handle, _name: *const c_char) {
        gpu()?.libraries.get(library)?;
        Err(Status::NOT_FOUND)
    }

    fn cuLibraryGetUnifiedFunction(_pointer: *mut *mut c_void, library: Handle, _name: *const c_char) {
        gpu()?.libraries.get(library)?;
        Err(Status::NOT_FOUND)
    }

    /// A kernel launches as a function does: it is its own function.
    fn cuKernelGetFunction(function: *mut Handle, kernel: Handle) {
        let (gpu, _) = current()?;
        gpu.functions.get(kernel)?;
        put(function, kernel)
    }

    fn cuKernelGetLibrary(library: *mut Handle, kernel: Handle) {
        put(library, gpu()?.functions.get(kernel)?.library.ok_or(Status::INVALID_HANDLE)?)
    }

    fn cuKernelGetAttribute(value: *mut c_int, attribute: c_int, kernel: Handle, device: c_int) {
        ordinal(device)?;
        put(value, gpu()?.functions.get(kernel)?.attribute(attribute)?)
    }

    fn cuKernelSetAttribute(attribute: c_int, value: c_int, kernel: Handle, device: c_int) {
        ordinal(device)?;
        gpu()?.functions.get_mut(kernel)?.set_attribute(attribute, value)
    }

    /// A hint.
    fn cuKernelSetCacheConfig(kernel: Handle, _config: c_int, device: c_int) {
        ordinal(device)?;
        gpu()?.functions.get(kernel).map(|_| ())
    }

    fn cuKernelGetName(name: *mut *const c_char, kernel: Handle) {
        put(name, name_of(gpu()?.functions.get(kernel)?))
    }

    fn cuKernelGetParamInfo(kernel: Handle, index: usize, offset: *mut usize, bytes: *mut usize) {
        parameter(gpu()?.functions.get(kernel)?, index, offset, bytes)
    }
}
