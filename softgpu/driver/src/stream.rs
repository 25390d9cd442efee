//! Streams: creation, order, and waiting.

use std::ffi::{c_int, c_uint, c_void};
use std::thread::ThreadId;

use crate::entry::{api, get, own_stream, put};
use crate::queue::OpId;
use crate::state::{Gpu, Handle, current};
use crate::status::{Result, Status};
use crate::work::{HostFunction, StreamCallback, Work};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The default stream of a context: waits for all blocking streams, and they for it.
    Legacy,
    Blocking,
    NonBlocking,
}

pub struct Stream {
    pub context: Handle,
    pub kind: Kind,
    pub priority: i32,
    /// The last work asked for.
    pub last: Option<OpId>,
    /// Events of other streams that the next work waits for.
    pub waits_for: Vec<OpId>,
    pub capture: Option<Handle>,
    /// The thread whose default stream it is.
    pub thread: Option<ThreadId>,
    pub id: u64,
}

const NON_BLOCKING: c_uint = 1;
/// Highest and lowest priority.
pub const PRIORITIES: (i32, i32) = (-5, 0);

impl Gpu {
    pub fn new_stream(&mut self, context: Handle, kind: Kind, priority: i32) -> Handle {
        let id = self.new_id();
        let stream = Stream { context, kind, priority, last: None, waits_for: vec![], capture: None, thread: None, id };
        self.streams.add(stream)
    }

    /// The stream that a handle means in this context: 0, 1 (legacy) and 2 (per thread) are default streams.
    pub fn stream(&mut self, context: Handle, handle: Handle) -> Result<Handle> {
        let handle = if handle == 0 && own_stream() { 2 } else { handle };
        match handle {
            0 | 1 => Ok(self.contexts.get(context)?.legacy),
            2 => {
                let thread = Some(std::thread::current().id());
                let found = self.streams.iter().find(|(_, s)| s.context == context && s.thread == thread);
                if let Some((handle, _)) = found {
                    return Ok(handle);
                }
                let handle = self.new_stream(context, Kind::Blocking, 0);
                self.streams.get_mut(handle)?.thread = thread;
                Ok(handle)
            }
            _ => self.streams.get(handle).map(|_| handle),
        }
    }
}

/// The state and the stream that a handle means.
pub fn on_stream(handle: Handle) -> Result<(crate::state::Session, Handle)> {
    let (mut gpu, context) = current()?;
    let stream = gpu.stream(context, handle)?;
    Ok((gpu, stream))
}

api! {
    /// Creates a stream of the lowest priority.
    fn cuStreamCreate(stream: *mut Handle, flags: c_uint) {
        create(stream, flags, 0)
    }

    /// Creates a stream; a priority out of range is taken to the nearest.
    fn cuStreamCreateWithPriority(stream: *mut Handle, flags: c_uint, priority: c_int) {
        create(stream, flags, priority.clamp(PRIORITIES.0, PRIORITIES.1))
    }

    /// Destroys a stream; its work is still done.
    fn cuStreamDestroy_v2(stream: Handle) {
        let (mut gpu, _) = current()?;
        if stream <= 2 || gpu.streams.get(stream)?.kind == Kind::Legacy {
            return Err(Status::INVALID_HANDLE);
        }
        if let Some(capture) = gpu.streams.get(stream)?.capture {
            gpu.break_capture(capture);
        }
        // The real one drains in the background; here nobody could wait for it any more.
        gpu.finish_stream(stream)?;
        gpu.streams.remove(stream).map(|_| ())
    }

    /// Runs the stream's work.
    fn cuStreamSynchronize | cuStreamSynchronize_ptsz(stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.not_captured(stream)?;
        gpu.finish_stream(stream)
    }

    /// Not ready where work is pending, of which it then runs a piece, as time passes on a real device.
    fn cuStreamQuery | cuStreamQuery_ptsz(stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.not_captured(stream)?;
        if gpu.is_idle(stream)? {
            return Ok(());
        }
        let ops = gpu.predecessors(stream)?;
        gpu.advance(&ops);
        let context = gpu.streams.get(stream)?.context;
        gpu.healthy(context)?;
        Err(Status::NOT_READY)
    }

    /// Later work of the stream waits for the event's last record.
    fn cuStreamWaitEvent | cuStreamWaitEvent_ptsz(stream: Handle, event: Handle, flags: c_uint) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.wait_for_event(stream, event, flags)
    }

    /// Calls a function after the stream's work so far.
    fn cuLaunchHostFunc | cuLaunchHostFunc_ptsz(stream: Handle, function: Option<HostFunction>, data: *mut c_void) {
        let (mut gpu, stream) = on_stream(stream)?;
        let function = function.ok_or(Status::INVALID_VALUE)?;
        gpu.submit(stream, Work::Host { function, data: data as usize })
    }

    /// Calls a function with the stream's result so far.
    fn cuStreamAddCallback | cuStreamAddCallback_ptsz(
        stream: Handle, callback: Option<StreamCallback>, data: *mut c_void, flags: c_uint,
    ) {
        let handle = stream;
        let (mut gpu, stream) = on_stream(handle)?;
        let function = callback.filter(|_| flags == 0).ok_or(Status::INVALID_VALUE)?;
        gpu.no_capture_support(stream)?;
        gpu.submit(stream, Work::Callback { function, stream: handle, data: data as usize })
    }

    fn cuStreamGetPriority | cuStreamGetPriority_ptsz(stream: Handle, priority: *mut c_int) {
        let (gpu, stream) = on_stream(stream)?;
        put(priority, gpu.streams.get(stream)?.priority)
    }

    fn cuStreamGetFlags | cuStreamGetFlags_ptsz(stream: Handle, flags: *mut c_uint) {
        let (gpu, stream) = on_stream(stream)?;
        put(flags, if gpu.streams.get(stream)?.kind == Kind::NonBlocking { NON_BLOCKING } else { 0 })
    }

    fn cuStreamGetId | cuStreamGetId_ptsz(stream: Handle, id: *mut u64) {
        let (gpu, stream) = on_stream(stream)?;
        put(id, gpu.streams.get(stream)?.id)
    }

    fn cuStreamGetCtx | cuStreamGetCtx_ptsz(stream: Handle, context: *mut Handle) {
        let (gpu, stream) = on_stream(stream)?;
        put(context, gpu.streams.get(stream)?.context)
    }

    /// There are no green contexts: the second answer is null.
    fn cuStreamGetCtx_v2 | cuStreamGetCtx_v2_ptsz(stream: Handle, context: *mut Handle, green: *mut Handle) {
        let (gpu, stream) = on_stream(stream)?;
        put(context, gpu.streams.get(stream)?.context)?;
        put(green, 0)
    }

    fn cuStreamGetDevice | cuStreamGetDevice_ptsz(stream: Handle, device: *mut c_int) {
        on_stream(stream)?;
        put(device, 0)
    }

    /// Attributes are hints (access policy, synchronisation policy, priority): taken and ignored.
    fn cuStreamSetAttribute | cuStreamSetAttribute_ptsz(stream: Handle, _attribute: c_int, value: *const c_void) {
        on_stream(stream)?;
        get(value as *const u8).map(|_| ())
    }

    /// All zero: no policy is set.
    fn cuStreamGetAttribute | cuStreamGetAttribute_ptsz(stream: Handle, _attribute: c_int, value: *mut c_void) {
        on_stream(stream)?;
        put(value as *mut [u8; 64], [0; 64])
    }

    fn cuStreamCopyAttributes | cuStreamCopyAttributes_ptsz(to: Handle, from: Handle) {
        on_stream(to)?;
        on_stream(from).map(|_| ())
    }
}

unsafe fn create(stream: *mut Handle, flags: c_uint, priority: i32) -> Result<()> {
    let (mut gpu, context) = current()?;
    let kind = match flags {
        0 => Kind::Blocking,
        NON_BLOCKING => Kind::NonBlocking,
        _ => return Err(Status::INVALID_VALUE),
    };
    let handle = gpu.new_stream(context, kind, priority);
    // SAFETY: the caller's promise.
    unsafe { put(stream, handle) }
}
