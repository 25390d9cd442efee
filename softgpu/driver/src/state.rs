//! Everything that the driver knows, behind one lock: contexts, handles, allocations, pending work.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use crate::capture::Capture;
use crate::event::Event;
use crate::graph::{Exec, Graph};
use crate::link::Linker;
use crate::memory::{HostRange, Place};
use crate::module::{Function, Library, LoadedModule};
use crate::pool::Pool;
use crate::queue::Queue;
use crate::status::{Result, Status};
use crate::stream::Stream;

/// An opaque handle of the API: a number that no two objects share, so that a wrong or destroyed handle is found out.
pub type Handle = usize;

/// A number for a new object; never 0, 1 or 2, which mean streams.
pub fn new_handle() -> Handle {
    static NEXT: AtomicUsize = AtomicUsize::new(0x5_0f00_0000);
    NEXT.fetch_add(16, Ordering::Relaxed)
}

/// Objects of one kind by handle.
pub struct Table<T>(BTreeMap<Handle, T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(BTreeMap::new())
    }
}

impl<T> Table<T> {
    pub fn add(&mut self, object: T) -> Handle {
        let handle = new_handle();
        self.0.insert(handle, object);
        handle
    }

    pub fn get(&self, handle: Handle) -> Result<&T> {
        self.0.get(&handle).ok_or(Status::INVALID_HANDLE)
    }

    pub fn get_mut(&mut self, handle: Handle) -> Result<&mut T> {
        self.0.get_mut(&handle).ok_or(Status::INVALID_HANDLE)
    }

    pub fn remove(&mut self, handle: Handle) -> Result<T> {
        self.0.remove(&handle).ok_or(Status::INVALID_HANDLE)
    }

    /// Gives `from` the handle `to`, which is free.
    pub fn rename(&mut self, from: Handle, to: Handle) {
        if let Some(object) = self.0.remove(&from) {
            self.0.insert(to, object);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.0.iter().map(|(handle, object)| (*handle, object))
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.0.retain(|_, object| keep(object));
    }
}

/// A context: primary (retained) or created.
pub struct Context {
    pub flags: u32,
    /// The default stream.
    pub legacy: Handle,
    /// What a kernel did, for good: every later call gives this code.
    pub failed: Option<Status>,
    pub limits: HashMap<i32, usize>,
    pub cache_config: i32,
    pub shared_config: i32,
    pub primary: bool,
    pub id: u64,
}

#[derive(Default)]
pub struct Gpu {
    pub initialised: bool,
    pub memory: Arc<softgpu::Memory>,
    pub contexts: Table<Context>,
    /// The primary context and how often it is retained.
    pub primary: Option<(Handle, usize)>,
    pub primary_flags: u32,
    pub streams: Table<Stream>,
    pub events: Table<Event>,
    pub modules: Table<LoadedModule>,
    pub libraries: Table<Library>,
    pub functions: Table<Function>,
    pub linkers: Table<Linker>,
    pub graphs: Table<Graph>,
    pub execs: Table<Exec>,
    pub captures: Table<Capture>,
    pub pools: Table<Pool>,
    /// The device's default pool, and the current one.
    pub default_pool: Handle,
    pub current_pool: Handle,
    /// Live device allocations by address.
    pub places: BTreeMap<u64, Place>,
    /// Page-locked host ranges by address.
    pub pinned: BTreeMap<usize, HostRange>,
    pub used_bytes: usize,
    pub queue: Queue,
    pub next_id: u64,
}

static GPU: LazyLock<Mutex<Gpu>> = LazyLock::new(Mutex::default);
static CHANGED: Condvar = Condvar::new();

/// The lock on the state, which a host function runs without.
pub struct Session(Option<MutexGuard<'static, Gpu>>);

impl Deref for Session {
    type Target = Gpu;
    fn deref(&self) -> &Gpu {
        self.0.as_ref().expect("held outside of `unlocked` and `wait`")
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Gpu {
        self.0.as_mut().expect("held outside of `unlocked` and `wait`")
    }
}

impl Session {
    fn lock() -> Session {
        let guard = GPU.lock().unwrap_or_else(PoisonError::into_inner);
        HOLDS.set(true);
        Session(Some(guard))
    }

    /// Runs `work` without the lock.
    pub fn unlocked(&mut self, work: impl FnOnce()) {
        HOLDS.set(false);
        self.0 = None;
        work();
        *self = Session::lock();
        CHANGED.notify_all();
    }

    /// Waits until another thread has changed something.
    pub fn wait(&mut self) {
        if let Some(guard) = self.0.take() {
            self.0 = Some(CHANGED.wait(guard).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.0.is_some() {
            HOLDS.set(false);
        }
    }
}

thread_local! {
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has a session, and would wait for itself if it asked for another.
pub fn holds_the_lock() -> bool {
    HOLDS.get()
}

/// The state, whether `cuInit` was called or not.
pub fn anyway() -> Session {
    Session::lock()
}

/// The state after `cuInit`.
pub fn gpu() -> Result<Session> {
    let session = anyway();
    if session.initialised { Ok(session) } else { Err(Status::NOT_INITIALIZED) }
}

/// The state, with the thread's current context, which has not failed.
pub fn current() -> Result<(Session, Handle)> {
    let session = gpu()?;
    let context = current_handle().ok_or(Status::INVALID_CONTEXT)?;
    session.healthy(context)?;
    Ok((session, context))
}

thread_local! {
    /// The thread's contexts, the current one last.
    pub static CURRENT: RefCell<Vec<Handle>> = const { RefCell::new(Vec::new()) };
}

pub fn current_handle() -> Option<Handle> {
    CURRENT.with_borrow(|stack| stack.last().copied()).filter(|context| *context != 0)
}

impl Gpu {
    /// An error if the context is gone or has failed.
    pub fn healthy(&self, context: Handle) -> Result<()> {
        match self.contexts.get(context) {
            Err(_) => Err(Status::CONTEXT_IS_DESTROYED),
            Ok(context) => context.failed.map_or(Ok(()), Err),
        }
    }

    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
