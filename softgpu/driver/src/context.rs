//! Contexts: the primary one, created ones, and the stack of each thread.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::sync::Arc;

use crate::entry::{api, put, put_if};
use crate::state::{CURRENT, Context, Gpu, Handle, Session, current, current_handle, gpu};
use crate::status::{Result, Status};
use crate::stream::{Kind, PRIORITIES};
use crate::{device::ordinal, stream::on_stream};

/// Limits by `CUlimit`: stack, printf buffer, heap, pending launches and depth of nested kernels, L2 granularity.
const LIMITS: [(i32, usize); 6] = [(0, 1024), (1, 1 << 20), (2, 8 << 20), (4, 2048), (5, 64), (6, 0)];
/// `CUctx_flags`: scheduling (3 bits), mapped host memory, local memory kept, coredumps, synchronous memory operations.
const FLAGS: c_uint = 0xff;

impl Gpu {
    pub fn start(&mut self) {
        if !self.initialised {
            self.initialised = true;
            self.memory = Arc::new(crate::tools::memory());
            self.default_pool = self.pools.add(crate::pool::Pool::default());
            self.current_pool = self.default_pool;
            crate::exit::finish_at_exit();
        }
    }

    pub fn new_context(&mut self, flags: u32, primary: bool) -> Result<Handle> {
        if flags & !FLAGS != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let id = self.new_id();
        let handle = self.contexts.add(Context {
            flags,
            legacy: 0,
            failed: None,
            limits: HashMap::from(LIMITS),
            cache_config: 0,
            shared_config: 0,
            primary,
            id,
        });
        let legacy = self.new_stream(handle, Kind::Legacy, 0);
        self.contexts.get_mut(handle)?.legacy = legacy;
        Ok(handle)
    }

    /// Frees a context and everything in it.
    pub fn end_context(&mut self, context: Handle) {
        // A handle that is gone already is none of our business here.
        let _ = self.contexts.remove(context);
        self.streams.retain(|stream| stream.context != context);
        self.events.retain(|event| event.context != context);
        let images: Vec<_> =
            self.modules.iter().filter(|(_, m)| m.context == context).map(|(_, m)| m.image.clone()).collect();
        self.modules.retain(|module| module.context != context);
        for image in images {
            // A library's module goes on elsewhere.
            if !self.libraries.iter().any(|(_, library)| Arc::ptr_eq(&library.image, &image)) {
                self.unload(&image.module);
            }
        }
        self.functions.retain(|function| function.context != Some(context));
        let lost: Vec<u64> =
            self.places.iter().filter(|(_, place)| place.context == context).map(|(address, _)| *address).collect();
        lost.into_iter().for_each(|address| self.release(address));
    }
}

/// Takes a context away: its work is finished first, as its memory may be in use.
fn end(gpu: &mut Session, context: Handle) -> Result<()> {
    // What the last work did is of no interest any more.
    let _ = gpu.finish_context(context);
    gpu.drop_work(context);
    gpu.end_context(context);
    Ok(())
}

fn set_current(context: Handle) {
    CURRENT.with_borrow_mut(|stack| {
        stack.pop();
        if context != 0 {
            stack.push(context);
        }
    });
}

unsafe fn create(context: *mut Handle, flags: c_uint, device: c_int) -> Result<()> {
    let mut gpu = gpu()?;
    ordinal(device)?;
    let handle = gpu.new_context(flags, false)?;
    CURRENT.with_borrow_mut(|stack| stack.push(handle));
    // SAFETY: the caller's promise.
    unsafe { put(context, handle) }
}

fn reset(device: c_int) -> Result<()> {
    let mut gpu = gpu()?;
    ordinal(device)?;
    if let Some((handle, count)) = gpu.primary.take() {
        end(&mut gpu, handle)?;
        if count > 0 {
            // Those who hold it keep it, empty.
            let flags = gpu.primary_flags;
            let fresh = gpu.new_context(flags, true)?;
            gpu.contexts.rename(fresh, handle);
            let legacy = gpu.contexts.get(handle)?.legacy;
            gpu.streams.get_mut(legacy)?.context = handle;
            gpu.primary = Some((handle, count));
        }
    }
    Ok(())
}

fn release(device: c_int) -> Result<()> {
    let mut gpu = gpu()?;
    ordinal(device)?;
    let Some((handle, count)) = gpu.primary else { return Err(Status::INVALID_CONTEXT) };
    gpu.primary = (count > 1).then_some((handle, count - 1));
    if count > 1 { Ok(()) } else { end(&mut gpu, handle) }
}

fn set_primary_flags(device: c_int, flags: c_uint) -> Result<()> {
    let mut gpu = gpu()?;
    ordinal(device)?;
    if flags & !FLAGS != 0 {
        return Err(Status::INVALID_VALUE);
    }
    gpu.primary_flags = flags;
    if let Some((handle, _)) = gpu.primary {
        gpu.contexts.get_mut(handle)?.flags = flags;
    }
    Ok(())
}

api! {
    fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: c_int) {
        let mut gpu = gpu()?;
        ordinal(device)?;
        let (handle, count) = match gpu.primary {
            Some(primary) => primary,
            None => {
                let flags = gpu.primary_flags;
                (gpu.new_context(flags, true)?, 0)
            }
        };
        gpu.primary = Some((handle, count + 1));
        put(context, handle)
    }

    fn cuDevicePrimaryCtxRelease(device: c_int) {
        release(device)
    }

    fn cuDevicePrimaryCtxRelease_v2(device: c_int) {
        release(device)
    }

    fn cuDevicePrimaryCtxReset(device: c_int) {
        reset(device)
    }

    fn cuDevicePrimaryCtxReset_v2(device: c_int) {
        reset(device)
    }

    fn cuDevicePrimaryCtxSetFlags(device: c_int, flags: c_uint) {
        set_primary_flags(device, flags)
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: c_uint) {
        set_primary_flags(device, flags)
    }

    fn cuDevicePrimaryCtxGetState(device: c_int, flags: *mut c_uint, active: *mut c_int) {
        let gpu = gpu()?;
        ordinal(device)?;
        put(flags, gpu.primary_flags)?;
        put(active, c_int::from(gpu.primary.is_some()))
    }

    fn cuCtxCreate_v2(context: *mut Handle, flags: c_uint, device: c_int) {
        create(context, flags, device)
    }

    /// Execution affinity is not supported.
    fn cuCtxCreate_v3(context: *mut Handle, _affinity: *mut (), count: c_int, flags: c_uint, device: c_int) {
        if count != 0 {
            return Err(Status::UNSUPPORTED_EXEC_AFFINITY);
        }
        create(context, flags, device)
    }

    /// Only without parameters (no affinity, no CUDA in Graphics).
    fn cuCtxCreate_v4(context: *mut Handle, params: *mut [usize; 3], flags: c_uint, device: c_int) {
        if !params.is_null() && params.read_unaligned() != [0; 3] {
            return Err(Status::UNSUPPORTED_EXEC_AFFINITY);
        }
        create(context, flags, device)
    }

    fn cuCtxDestroy_v2(context: Handle) {
        let mut gpu = gpu()?;
        if gpu.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?.primary {
            return Err(Status::INVALID_CONTEXT);
        }
        end(&mut gpu, context)?;
        if current_handle() == Some(context) {
            set_current(0);
        }
        Ok(())
    }

    fn cuCtxPushCurrent_v2(context: Handle) {
        gpu()?.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?;
        CURRENT.with_borrow_mut(|stack| stack.push(context));
        Ok(())
    }

    fn cuCtxPopCurrent_v2(context: *mut Handle) {
        gpu()?;
        let top = CURRENT.with_borrow_mut(Vec::pop).ok_or(Status::INVALID_CONTEXT)?;
        put_if(context, top);
        Ok(())
    }

    fn cuCtxSetCurrent(context: Handle) {
        let gpu = gpu()?;
        if context != 0 {
            gpu.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?;
        }
        set_current(context);
        Ok(())
    }

    fn cuCtxGetCurrent(context: *mut Handle) {
        gpu()?;
        put(context, current_handle().unwrap_or(0))
    }

    fn cuCtxGetDevice(device: *mut c_int) {
        gpu()?;
        current_handle().ok_or(Status::INVALID_CONTEXT)?;
        put(device, 0)
    }

    fn cuCtxGetDevice_v2(device: *mut c_int, context: Handle) {
        let gpu = gpu()?;
        let context = if context == 0 { current_handle().ok_or(Status::INVALID_CONTEXT)? } else { context };
        gpu.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?;
        put(device, 0)
    }

    fn cuCtxGetFlags(flags: *mut c_uint) {
        let (gpu, context) = current()?;
        put(flags, gpu.contexts.get(context)?.flags)
    }

    fn cuCtxSetFlags(flags: c_uint) {
        let (mut gpu, context) = current()?;
        if flags & !FLAGS != 0 {
            return Err(Status::INVALID_VALUE);
        }
        gpu.contexts.get_mut(context)?.flags = flags;
        Ok(())
    }

    fn cuCtxGetId(context: Handle, id: *mut u64) {
        let gpu = gpu()?;
        let context = if context == 0 { current_handle().ok_or(Status::INVALID_CONTEXT)? } else { context };
        put(id, gpu.contexts.get(context).map_err(|_| Status::CONTEXT_IS_DESTROYED)?.id)
    }

    fn cuCtxGetApiVersion(context: Handle, version: *mut c_uint) {
        let gpu = gpu()?;
        if context != 0 {
            gpu.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?;
        }
        put(version, 3020)
    }

    /// Runs all work of the context.
    fn cuCtxSynchronize() {
        let (mut gpu, context) = current()?;
        gpu.no_capture_in(context)?;
        gpu.finish_context(context)
    }

    fn cuCtxSynchronize_v2(context: Handle) {
        let (mut gpu, own) = current()?;
        let context = if context == 0 { own } else { context };
        gpu.contexts.get(context).map_err(|_| Status::INVALID_CONTEXT)?;
        gpu.no_capture_in(context)?;
        gpu.finish_context(context)
    }

    fn cuCtxGetLimit(value: *mut usize, limit: c_int) {
        let (gpu, context) = current()?;
        put(value, *gpu.contexts.get(context)?.limits.get(&limit).ok_or(Status::UNSUPPORTED_LIMIT)?)
    }

    fn cuCtxSetLimit(limit: c_int, value: usize) {
        let (mut gpu, context) = current()?;
        *gpu.contexts.get_mut(context)?.limits.get_mut(&limit).ok_or(Status::UNSUPPORTED_LIMIT)? = value;
        Ok(())
    }

    fn cuCtxGetCacheConfig(config: *mut c_int) {
        let (gpu, context) = current()?;
        put(config, gpu.contexts.get(context)?.cache_config)
    }

    fn cuCtxSetCacheConfig(config: c_int) {
        let (mut gpu, context) = current()?;
        gpu.contexts.get_mut(context)?.cache_config = config;
        Ok(())
    }

    fn cuCtxGetSharedMemConfig(config: *mut c_int) {
        let (gpu, context) = current()?;
        put(config, gpu.contexts.get(context)?.shared_config)
    }

    fn cuCtxSetSharedMemConfig(config: c_int) {
        let (mut gpu, context) = current()?;
        gpu.contexts.get_mut(context)?.shared_config = config;
        Ok(())
    }

    fn cuCtxGetStreamPriorityRange(lowest: *mut c_int, highest: *mut c_int) {
        current()?;
        put_if(lowest, PRIORITIES.1);
        put_if(highest, PRIORITIES.0);
        Ok(())
    }

    fn cuCtxResetPersistingL2Cache() {
        current().map(|_| ())
    }

    /// There is one device: no context is a peer of another.
    fn cuCtxEnablePeerAccess(_peer: Handle, _flags: c_uint) {
        current()?;
        Err(Status::PEER_ACCESS_UNSUPPORTED)
    }

    fn cuCtxDisablePeerAccess(_peer: Handle) {
        current()?;
        Err(Status::PEER_ACCESS_NOT_ENABLED)
    }

    /// Attaching host access to a stream is for managed memory, which there is none of.
    fn cuStreamAttachMemAsync | cuStreamAttachMemAsync_ptsz(
        stream: Handle, _address: u64, _bytes: usize, _flags: c_uint,
    ) {
        on_stream(stream)?;
        Err(Status::INVALID_VALUE)
    }
}
