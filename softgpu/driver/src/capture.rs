//! Stream capture: work asked for becomes nodes of a graph.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{c_int, c_uint};
use std::thread::ThreadId;

use crate::entry::{api, get, list, put, put_if};
use crate::graph::Node;
use crate::state::{Gpu, Handle, current};
use crate::status::{Result, Status};
use crate::stream::{Kind, on_stream};
use crate::work::Work;

/// A capture in progress: the streams that take part, with the nodes that their next work depends on.
pub struct Capture {
    pub graph: Handle,
    pub origin: Handle,
    pub streams: BTreeMap<Handle, Vec<Handle>>,
    mode: c_int,
    thread: ThreadId,
    broken: bool,
    id: u64,
    /// The graph was the caller's (`cuStreamBeginCaptureToGraph`).
    into_existing: bool,
}

/// `CUstreamCaptureMode`.
const GLOBAL: c_int = 0;
const THREAD_LOCAL: c_int = 1;
const RELAXED: c_int = 2;

impl Gpu {
    /// Adds work to the graph of a capture, after the stream's nodes so far.
    pub fn capture_work(&mut self, capture: Handle, stream: Handle, work: Work) -> Result<()> {
        let this = self.captures.get_mut(capture)?;
        if this.broken {
            return Err(Status::STREAM_CAPTURE_INVALIDATED);
        }
        let graph = this.graph;
        let after = this.streams.get(&stream).cloned().unwrap_or_default();
        let node = self.add_node(graph, Node { after, work, enabled: true })?;
        self.captures.get_mut(capture)?.streams.insert(stream, vec![node]);
        Ok(())
    }

    /// A stream that waits for an event of a capture takes part in it.
    pub fn join_capture(&mut self, capture: Handle, stream: Handle, nodes: Vec<Handle>) -> Result<()> {
        if self.captures.get(capture).is_err() {
            return Err(Status::CAPTURED_EVENT);
        }
        let this = self.streams.get_mut(stream)?;
        match this.capture {
            Some(own) if own != capture => {
                self.break_capture(own);
                self.break_capture(capture);
                return Err(Status::STREAM_CAPTURE_MERGE);
            }
            _ if this.kind == Kind::Legacy => return Err(Status::STREAM_CAPTURE_IMPLICIT),
            _ => this.capture = Some(capture),
        }
        let after = self.captures.get_mut(capture)?.streams.entry(stream).or_default();
        after.extend(nodes);
        after.sort_unstable();
        after.dedup();
        Ok(())
    }

    /// What is asked for cannot be part of a graph: the capture fails at its end.
    pub fn break_capture(&mut self, capture: Handle) {
        if let Ok(capture) = self.captures.get_mut(capture) {
            capture.broken = true;
        }
    }

    fn refuse_in(&mut self, capture: Option<Handle>, status: Status) -> Result<()> {
        match capture {
            Some(capture) => {
                self.break_capture(capture);
                Err(status)
            }
            None => Ok(()),
        }
    }

    /// Waiting for a captured stream is an error, and ends its capture.
    pub fn not_captured(&mut self, stream: Handle) -> Result<()> {
        let capture = self.streams.get(stream)?.capture;
        self.refuse_in(capture, Status::STREAM_CAPTURE_UNSUPPORTED)?;
        if self.streams.get(stream)?.kind == Kind::Legacy {
            let context = self.streams.get(stream)?.context;
            self.no_implicit_capture(context)?;
        }
        Ok(())
    }

    /// For calls that cannot be captured.
    pub fn no_capture_support(&mut self, stream: Handle) -> Result<()> {
        let capture = self.streams.get(stream)?.capture;
        self.refuse_in(capture, Status::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// Work in the legacy stream would wait for a captured blocking stream.
    pub fn no_implicit_capture(&mut self, context: Handle) -> Result<()> {
        let found =
            self.streams.iter().find(|(_, s)| s.context == context && s.kind == Kind::Blocking && s.capture.is_some());
        let capture = found.and_then(|(_, stream)| stream.capture);
        self.refuse_in(capture, Status::STREAM_CAPTURE_IMPLICIT)
    }

    /// For calls that wait for a whole context.
    pub fn no_capture_in(&mut self, context: Handle) -> Result<()> {
        let capture = self.streams.iter().find_map(|(_, s)| s.capture.filter(|_| s.context == context));
        self.refuse_in(capture, Status::STREAM_CAPTURE_UNSUPPORTED)
    }

    /// For calls that may wait for the device ("potentially unsafe"): refused while a capture of mode global is under
    /// way anywhere, or one of mode thread-local in this thread.
    pub fn no_capture_anywhere(&mut self) -> Result<()> {
        let thread = std::thread::current().id();
        let found = self
            .captures
            .iter()
            .find(|(_, capture)| capture.mode == GLOBAL || capture.mode == THREAD_LOCAL && capture.thread == thread);
        let capture = found.map(|(handle, _)| handle);
        self.refuse_in(capture, Status::STREAM_CAPTURE_UNSUPPORTED)
    }

    fn begin(&mut self, stream: Handle, mode: c_int, into: Option<(Handle, Vec<Handle>)>) -> Result<()> {
        if !(GLOBAL..=RELAXED).contains(&mode) {
            return Err(Status::INVALID_VALUE);
        }
        let this = self.streams.get(stream)?;
        if this.capture.is_some() {
            return Err(Status::ILLEGAL_STATE);
        }
        if this.kind == Kind::Legacy {
            return Err(Status::STREAM_CAPTURE_IMPLICIT);
        }
        let into_existing = into.is_some();
        let (graph, after) = match into {
            Some(into) => into,
            None => (self.graphs.add(Default::default()), Vec::new()),
        };
        let (id, thread) = (self.new_id(), std::thread::current().id());
        let streams = BTreeMap::from([(stream, after)]);
        let capture = Capture { graph, origin: stream, streams, mode, thread, broken: false, id, into_existing };
        let capture = self.captures.add(capture);
        self.streams.get_mut(stream)?.capture = Some(capture);
        Ok(())
    }

    fn end(&mut self, stream: Handle) -> Result<Handle> {
        let handle = self.streams.get(stream)?.capture.ok_or(Status::ILLEGAL_STATE)?;
        let capture = self.captures.get(handle)?;
        if capture.origin != stream {
            return Err(Status::STREAM_CAPTURE_UNMATCHED);
        }
        if capture.mode != RELAXED && capture.thread != std::thread::current().id() {
            return Err(Status::STREAM_CAPTURE_WRONG_THREAD);
        }
        let capture = self.captures.remove(handle)?;
        for stream in capture.streams.keys() {
            if let Ok(stream) = self.streams.get_mut(*stream) {
                stream.capture = None;
            }
        }
        // Work of every stream must lead into the origin's last nodes.
        let mut reached = HashSet::new();
        let mut todo = capture.streams.get(&stream).cloned().unwrap_or_default();
        while let Some(node) = todo.pop() {
            if reached.insert(node) {
                todo.extend(self.graphs.get(capture.graph)?.nodes.get(&node).into_iter().flat_map(|n| n.after.clone()));
            }
        }
        let joined = capture.streams.values().flatten().all(|node| reached.contains(node));
        if capture.broken || !joined {
            if !capture.into_existing {
                self.remove_graph(capture.graph)?;
            }
            return Err(if capture.broken {
                Status::STREAM_CAPTURE_INVALIDATED
            } else {
                Status::STREAM_CAPTURE_UNJOINED
            });
        }
        Ok(capture.graph)
    }

    /// (status, id, graph, nodes) of a stream's capture.
    fn capture_info(&mut self, stream: Handle) -> Result<(c_int, u64, Handle, Vec<Handle>)> {
        let Some(capture) = self.streams.get(stream)?.capture else { return Ok((0, 0, 0, Vec::new())) };
        let capture = self.captures.get(capture)?;
        let nodes = capture.streams.get(&stream).cloned().unwrap_or_default();
        Ok((if capture.broken { 2 } else { 1 }, capture.id, capture.graph, nodes))
    }
}

thread_local! {
    /// The array that the last `cuStreamGetCaptureInfo` of this thread gave out.
    static NODES: std::cell::RefCell<Vec<Handle>> = const { std::cell::RefCell::new(Vec::new()) };
}

unsafe fn info(
    stream: Handle,
    status: *mut c_int,
    id: *mut u64,
    graph: *mut Handle,
    (nodes, count): (*mut *const Handle, *mut usize),
) -> Result<()> {
    let (mut gpu, stream) = on_stream(stream)?;
    let found = gpu.capture_info(stream)?;
    // SAFETY: the caller's promise; the array lives until the thread's next call, as documented.
    unsafe {
        put(status, found.0)?;
        put_if(id, found.1);
        put_if(graph, found.2);
        put_if(count, found.3.len());
        NODES.set(found.3);
        put_if(nodes, NODES.with_borrow(|nodes| nodes.as_ptr()));
    }
    Ok(())
}

/// `CUstreamUpdateCaptureDependencies_flags`: 0 adds, 1 replaces.
unsafe fn update(stream: Handle, nodes: *const Handle, count: usize, flags: c_uint) -> Result<()> {
    let (mut gpu, stream) = on_stream(stream)?;
    let capture = gpu.streams.get(stream)?.capture.ok_or(Status::ILLEGAL_STATE)?;
    // SAFETY: the caller's promise.
    let nodes = unsafe { list(nodes, count) }?;
    let after = gpu.captures.get_mut(capture)?.streams.entry(stream).or_default();
    match flags {
        0 => after.extend(nodes),
        1 => *after = nodes,
        _ => return Err(Status::INVALID_VALUE),
    }
    Ok(())
}

api! {
    fn cuStreamBeginCapture_v2 | cuStreamBeginCapture_v2_ptsz(stream: Handle, mode: c_int) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.begin(stream, mode, None)
    }

    fn cuStreamBeginCaptureToGraph | cuStreamBeginCaptureToGraph_ptsz(
        stream: Handle, graph: Handle, nodes: *const Handle, _edges: *const u8, count: usize, mode: c_int,
    ) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.graphs.get(graph)?;
        gpu.begin(stream, mode, Some((graph, list(nodes, count)?)))
    }

    /// Gives the graph, or says what was wrong with the capture (and gives null).
    fn cuStreamEndCapture | cuStreamEndCapture_ptsz(stream: Handle, graph: *mut Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        put(graph, 0)?;
        let captured = gpu.end(stream)?;
        put(graph, captured)
    }

    fn cuStreamIsCapturing | cuStreamIsCapturing_ptsz(stream: Handle, status: *mut c_int) {
        let (mut gpu, stream) = on_stream(stream)?;
        put(status, gpu.capture_info(stream)?.0)
    }

    fn cuStreamGetCaptureInfo | cuStreamGetCaptureInfo_ptsz(stream: Handle, status: *mut c_int, id: *mut u64) {
        info(stream, status, id, std::ptr::null_mut(), (std::ptr::null_mut(), std::ptr::null_mut()))
    }

    fn cuStreamGetCaptureInfo_v2 | cuStreamGetCaptureInfo_v2_ptsz(
        stream: Handle, status: *mut c_int, id: *mut u64, graph: *mut Handle, nodes: *mut *const Handle,
        count: *mut usize,
    ) {
        info(stream, status, id, graph, (nodes, count))
    }

    /// Edges carry no data.
    fn cuStreamGetCaptureInfo_v3 | cuStreamGetCaptureInfo_v3_ptsz(
        stream: Handle, status: *mut c_int, id: *mut u64, graph: *mut Handle, nodes: *mut *const Handle,
        edges: *mut *const u8, count: *mut usize,
    ) {
        put_if(edges, std::ptr::null());
        info(stream, status, id, graph, (nodes, count))
    }

    fn cuStreamUpdateCaptureDependencies | cuStreamUpdateCaptureDependencies_ptsz(
        stream: Handle, nodes: *const Handle, count: usize, flags: c_uint,
    ) {
        update(stream, nodes, count, flags)
    }

    fn cuStreamUpdateCaptureDependencies_v2 | cuStreamUpdateCaptureDependencies_v2_ptsz(
        stream: Handle, nodes: *const Handle, _edges: *const u8, count: usize, flags: c_uint,
    ) {
        update(stream, nodes, count, flags)
    }

    /// The mode matters to "potentially unsafe" calls, which look at the capture's own; it is given back as it came.
    fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) {
        current()?;
        thread_local!(static MODE: std::cell::Cell<c_int> = const { std::cell::Cell::new(GLOBAL) });
        let new = get(mode)?;
        put(mode, MODE.replace(new))
    }
}
