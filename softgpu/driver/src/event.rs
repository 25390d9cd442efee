//! Events: points in streams, to wait for and to time.

use std::ffi::c_uint;
use std::time::Instant;

use crate::entry::{api, put};
use crate::queue::OpId;
use crate::state::{Gpu, Handle, current};
use crate::status::{Result, Status};
use crate::stream::on_stream;
use crate::work::Work;

#[derive(Default)]
pub struct Event {
    pub context: Handle,
    pub timed: bool,
    /// The work that stands for the last record.
    pub recorded: Option<OpId>,
    /// When it was run.
    pub time: Option<Instant>,
    /// The capture in which it was last recorded, and the nodes that it stands for.
    pub captured: Option<(Handle, Vec<Handle>)>,
}

const BLOCKING_SYNC: c_uint = 1;
const DISABLE_TIMING: c_uint = 2;
const INTERPROCESS: c_uint = 4;
const EXTERNAL: c_uint = 1;

impl Gpu {
    fn record(&mut self, stream: Handle, event: Handle, flags: c_uint) -> Result<()> {
        let of_event = self.events.get(event)?.context;
        let (context, capture) = self.streams.get(stream).map(|s| (s.context, s.capture))?;
        if of_event != context || flags & !EXTERNAL != 0 {
            return Err(if of_event != context { Status::INVALID_HANDLE } else { Status::INVALID_VALUE });
        }
        if let Some(capture) = capture
            && flags & EXTERNAL == 0
        {
            let nodes = self.captures.get(capture)?.streams.get(&stream).cloned().unwrap_or_default();
            let event = self.events.get_mut(event)?;
            (event.captured, event.recorded, event.time) = (Some((capture, nodes)), None, None);
            return Ok(());
        }
        self.submit(stream, Work::Record(event))?;
        if capture.is_none() {
            let last = self.streams.get(stream)?.last;
            self.mark_recorded(event, last);
        }
        Ok(())
    }

    /// `op` stands for the event from now on.
    pub fn mark_recorded(&mut self, event: Handle, op: Option<OpId>) {
        if let Ok(event) = self.events.get_mut(event) {
            (event.recorded, event.time, event.captured) = (op, None, None);
        }
    }

    pub fn wait_for_event(&mut self, stream: Handle, event: Handle, flags: c_uint) -> Result<()> {
        if flags & !EXTERNAL != 0 {
            return Err(Status::INVALID_VALUE);
        }
        let (recorded, captured) = self.events.get(event).map(|e| (e.recorded, e.captured.clone()))?;
        match (self.streams.get(stream)?.capture, captured) {
            (Some(capture), _) if flags & EXTERNAL != 0 => self.capture_work(capture, stream, Work::WaitEvent(event)),
            (_, Some((capture, nodes))) => self.join_capture(capture, stream, nodes),
            // A captured stream cannot wait for work that is not part of the graph.
            (Some(capture), None) => {
                self.break_capture(capture);
                Err(Status::STREAM_CAPTURE_ISOLATION)
            }
            (None, None) => {
                let stream = self.streams.get_mut(stream)?;
                stream.waits_for.extend(recorded);
                Ok(())
            }
        }
    }

    /// The pending work of an event, none if it is over. An event that was never recorded is over.
    fn pending_record(&self, event: Handle) -> Result<Option<OpId>> {
        let event = self.events.get(event)?;
        if event.captured.is_some() {
            return Err(Status::CAPTURED_EVENT);
        }
        Ok(event.recorded.filter(|op| self.queue.is_pending(*op)))
    }
}

api! {
    fn cuEventCreate(event: *mut Handle, flags: c_uint) {
        let (mut gpu, context) = current()?;
        if flags & !(BLOCKING_SYNC | DISABLE_TIMING | INTERPROCESS) != 0 {
            return Err(Status::INVALID_VALUE);
        }
        if flags & INTERPROCESS != 0 {
            return crate::status::refuse(Status::NOT_SUPPORTED, "cuEventCreate: no events between processes");
        }
        let handle = gpu.events.add(Event { context, timed: flags & DISABLE_TIMING == 0, ..Event::default() });
        put(event, handle)
    }

    fn cuEventDestroy_v2(event: Handle) {
        let (mut gpu, _) = current()?;
        gpu.events.remove(event).map(|_| ())
    }

    fn cuEventRecord | cuEventRecord_ptsz(event: Handle, stream: Handle) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.record(stream, event, 0)
    }

    fn cuEventRecordWithFlags | cuEventRecordWithFlags_ptsz(event: Handle, stream: Handle, flags: c_uint) {
        let (mut gpu, stream) = on_stream(stream)?;
        gpu.record(stream, event, flags)
    }

    /// As a stream's query: not ready where work is pending, of which it runs a piece.
    fn cuEventQuery(event: Handle) {
        let (mut gpu, _) = current()?;
        let Some(op) = gpu.pending_record(event)? else { return Ok(()) };
        gpu.advance(&[op]);
        let context = gpu.events.get(event)?.context;
        gpu.healthy(context)?;
        Err(Status::NOT_READY)
    }

    fn cuEventSynchronize(event: Handle) {
        let (mut gpu, _) = current()?;
        if let Some(op) = gpu.pending_record(event)? {
            gpu.finish(op);
        }
        let context = gpu.events.get(event)?.context;
        gpu.healthy(context)
    }

    /// Milliseconds of this CPU's time between two records, which say nothing of a GPU.
    fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) {
        elapsed(milliseconds, start, end)
    }

    /// As the first version.
    fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) {
        elapsed(milliseconds, start, end)
    }
}

unsafe fn elapsed(milliseconds: *mut f32, start: Handle, end: Handle) -> Result<()> {
    let (gpu, _) = current()?;
    let mut times = [None; 2];
    for (time, event) in times.iter_mut().zip([start, end]) {
        if gpu.pending_record(event)?.is_some() {
            return Err(Status::NOT_READY);
        }
        let event = gpu.events.get(event)?;
        if !event.timed || event.recorded.is_none() {
            return Err(Status::INVALID_HANDLE);
        }
        *time = event.time;
    }
    let [Some(start), Some(end)] = times else { return Err(Status::INVALID_HANDLE) };
    let sign = if end >= start { 1.0 } else { -1.0 };
    let seconds = end.max(start).duration_since(end.min(start)).as_secs_f64();
    // SAFETY: the caller's promise.
    unsafe { put(milliseconds, (sign * seconds * 1e3) as f32) }
}
