//! Pending work: what was asked for, what it waits for, and running it once somebody waits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::entry::IN_CALLBACK;
use crate::state::{Gpu, Handle, Session, anyway};
use crate::status::{Result, Status};
use crate::stream::Kind;
use crate::tools::{found, lost};
use crate::work::{At, Failure, Work};

/// Number of a piece of work; later work has a larger one.
pub type OpId = u64;

struct Pending {
    context: Handle,
    waits_for: Vec<OpId>,
    work: Work,
    /// A host function that runs without the lock, on some thread.
    running: bool,
}

#[derive(Default)]
pub struct Queue {
    pending: BTreeMap<OpId, Pending>,
    last: OpId,
}

/// How long work before a host function may wait for a synchronisation. The function may itself be what the program
/// waits for, so it runs in the end without one.
const HOST_FUNCTION_DELAY: Duration = Duration::from_millis(10);

impl Queue {
    pub fn is_pending(&self, op: OpId) -> bool {
        self.pending.contains_key(&op)
    }

    /// Adds work that waits for `waits_for`.
    pub fn add(&mut self, context: Handle, work: Work, mut waits_for: Vec<OpId>) -> OpId {
        waits_for.retain(|op| self.is_pending(*op));
        self.last += 1;
        let op = self.last;
        if work.is_host_function() {
            std::thread::spawn(move || {
                std::thread::sleep(HOST_FUNCTION_DELAY);
                anyway().finish(op);
            });
        }
        self.pending.insert(op, Pending { context, waits_for, work, running: false });
        op
    }
}

impl Gpu {
    /// What work in `stream` waits for: the stream's own, and across streams what the legacy default stream orders.
    pub fn predecessors(&self, stream: Handle) -> Result<Vec<OpId>> {
        let this = self.streams.get(stream)?;
        let mut ops: Vec<OpId> = this.last.iter().chain(&this.waits_for).copied().collect();
        match this.kind {
            Kind::NonBlocking => {}
            Kind::Blocking => ops.extend(self.streams.get(self.contexts.get(this.context)?.legacy)?.last),
            Kind::Legacy => {
                let others = self.streams.iter().filter(|(_, s)| s.context == this.context && s.kind == Kind::Blocking);
                ops.extend(others.flat_map(|(_, s)| s.last.iter().chain(&s.waits_for).copied()));
            }
        }
        Ok(ops)
    }

    /// Appends work to a stream, or to the graph that is captured from it.
    pub fn submit(&mut self, stream: Handle, work: Work) -> Result<()> {
        let this = self.streams.get(stream)?;
        let context = this.context;
        self.healthy(context)?;
        if let Some(capture) = this.capture {
            return self.capture_work(capture, stream, work);
        }
        if this.kind == Kind::Legacy {
            self.no_implicit_capture(context)?;
        }
        let waits_for = self.predecessors(stream)?;
        let op = self.queue.add(context, work, waits_for);
        let this = self.streams.get_mut(stream)?;
        this.last = Some(op);
        this.waits_for.clear();
        Ok(())
    }

    /// Whether all work of a stream has been run.
    pub fn is_idle(&self, stream: Handle) -> Result<bool> {
        Ok(!self.predecessors(stream)?.iter().any(|op| self.queue.is_pending(*op)))
    }

    /// A context stops working; the report is printed once.
    fn fail(&mut self, context: Handle, failure: Failure) {
        if let Ok(context) = self.contexts.get_mut(context)
            && context.failed.is_none()
        {
            context.failed = Some(failure.status);
            found(failure.report);
        }
    }
}

impl Gpu {
    /// Work as it can be done while the program ends: none of what needs it, nothing for what only it would see.
    fn without_the_program(&self, work: &Work) -> Option<Work> {
        let foreign = |at: &At| match at {
            At::Host(address) => self.pinned_at(*address).is_none_or(|(_, range)| range.device.is_none()),
            At::Device(_) | At::Staged(_) => false,
        };
        match work {
            Work::Host { .. } | Work::Callback { .. } => None,
            Work::Copy(copy) if foreign(&copy.to.at) => Some(Work::Nothing),
            Work::Copy(copy) if foreign(&copy.from.at) => None,
            Work::Fill(fill) if foreign(&fill.at) => Some(Work::Nothing),
            other => Some(other.clone()),
        }
    }
}

impl Session {
    /// Runs `op` and all that it waits for; does nothing if it has been run.
    pub fn finish(&mut self, op: OpId) {
        let mut stack = vec![op];
        while let Some(&top) = stack.last() {
            match self.queue.pending.get(&top) {
                None => {
                    stack.pop();
                }
                Some(pending) if pending.running => self.wait(),
                Some(pending) => match pending.waits_for.iter().find(|op| self.queue.is_pending(**op)) {
                    Some(before) => stack.push(*before),
                    None => {
                        self.run(top);
                        stack.pop();
                    }
                },
            }
        }
    }

    fn run(&mut self, op: OpId) {
        let Some(pending) = self.queue.pending.get_mut(&op) else { return };
        pending.running = true;
        let (context, work) = (pending.context, pending.work.clone());
        let failed = self.contexts.get(context).map_or(Some(Status::CONTEXT_IS_DESTROYED), |context| context.failed);
        match (work.host_call(failed), failed) {
            (Some(call), _) => self.unlocked(|| {
                IN_CALLBACK.set(true);
                call();
                IN_CALLBACK.set(false);
            }),
            (None, None) => {
                if let Err(failure) = work.run(self, op) {
                    self.fail(context, failure);
                }
            }
            // Work after a failure is dropped, but events still count as over.
            (None, Some(_)) => work.skip(self, op),
        }
        self.queue.pending.remove(&op);
    }

    /// Waits for a stream: runs what it needs, and no more. Error: what a kernel of its context did.
    pub fn finish_stream(&mut self, stream: Handle) -> Result<()> {
        for op in self.predecessors(stream)? {
            self.finish(op);
        }
        let context = self.streams.get(stream)?.context;
        self.healthy(context)
    }

    /// Waits for everything in a context.
    pub fn finish_context(&mut self, context: Handle) -> Result<()> {
        let mut ops: Vec<OpId> =
            self.queue.pending.iter().filter(|(_, pending)| pending.context == context).map(|(op, _)| *op).collect();
        // Streams overtake each other as the seed says: whatever order is left open must not matter.
        crate::tools::shuffle(&mut ops);
        ops.into_iter().for_each(|op| self.finish(op));
        self.healthy(context)
    }

    /// Runs everything, as the process ends: but no function of the program, and nothing in memory of its own, which may be
    /// gone. What waits for such work is lost with it.
    pub fn finish_all(&mut self) {
        let all: Vec<OpId> = self.queue.pending.keys().copied().collect();
        let mut gone = BTreeSet::new();
        for op in &all {
            let Some(pending) = self.queue.pending.get(op) else { continue };
            let work = self.without_the_program(&pending.work).filter(|_| !pending.running);
            let waits = pending.waits_for.iter().any(|op| gone.contains(op));
            match (work, self.queue.pending.get_mut(op)) {
                (Some(work), Some(pending)) if !waits => pending.work = work,
                _ => _ = gone.insert(*op),
            }
        }
        self.queue.pending.retain(|op, pending| pending.running || !gone.contains(op));
        let mut rest: Vec<OpId> = all.into_iter().filter(|op| !gone.contains(op)).collect();
        crate::tools::shuffle(&mut rest);
        rest.into_iter().for_each(|op| self.finish(op));
        if !gone.is_empty() {
            lost(format!(
                "the program ended, and with it {} pieces of work that were pending: host functions, copies from its \
                 memory, and what waits for them\n  help: wait for the streams before the program ends",
                gone.len()
            ));
        }
    }

    /// Runs one piece of the work that a stream waits for: polling must get somewhere.
    pub fn advance(&mut self, ops: &[OpId]) {
        let Some(mut op) = ops.iter().copied().find(|op| self.queue.is_pending(*op)) else { return };
        while let Some(before) = self
            .queue
            .pending
            .get(&op)
            .and_then(|pending| pending.waits_for.iter().copied().find(|op| self.queue.is_pending(*op)))
        {
            op = before;
        }
        self.finish(op);
    }

    /// Drops the pending work of a context that goes away.
    pub fn drop_work(&mut self, context: Handle) {
        self.queue.pending.retain(|_, pending| pending.context != context || pending.running);
    }
}
