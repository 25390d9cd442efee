//! What every exported function does around its body: panics stay inside, callbacks may not call, calls are traced.

use std::cell::Cell;
use std::ffi::c_int;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use crate::status::{Result, SAID, Status, blame, refuse, texts};

/// An exported function, for `cuGetProcAddress`.
pub struct Symbol {
    pub name: &'static str,
    pub address: *const (),
    /// Its form for programs built with a default stream per thread.
    pub per_thread: Option<*const ()>,
}

// SAFETY: addresses of functions.
unsafe impl Sync for Symbol {}

/// Exports functions of the driver API. The body is a closure that gives `Result<()>`; it may follow the pointers that
/// the caller passed. `fn a | b(…)` also exports `b`, the form in which stream 0 is the thread's own.
macro_rules! api {
    (@plain $(#[$meta:meta])* $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        ///
        /// # Safety
        /// As the driver API asks: pointers are null or valid for what they are documented to point to.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, unused_unsafe)] // not every body follows a pointer
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> std::ffi::c_int {
            // SAFETY: the caller's promise.
            $crate::entry::enter(stringify!($name), || unsafe { $body })
        }
    };
    (@owns [] $name:ident ($($args:tt)*)) => {};
    (@owns [$own:ident] $name:ident ($($arg:ident: $ty:ty),* $(,)?)) => {
        /// As the function above, with stream 0 as the thread's own.
        ///
        /// # Safety
        /// As above.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        pub unsafe extern "C" fn $own($($arg: $ty),*) -> std::ffi::c_int {
            // SAFETY: the caller's promise.
            $crate::entry::with_own_stream(|| unsafe { $name($($arg),*) })
        }
    };
    ($($(#[$meta:meta])* fn $name:ident $(| $own:ident)? ($($args:tt)*) $body:block)*) => {
        $(
            $crate::entry::api!(@plain $(#[$meta])* $name ($($args)*) $body);
            $crate::entry::api!(@owns [$($own)?] $name ($($args)*));
        )*
        pub static SYMBOLS: &[$crate::entry::Symbol] = &[$($crate::entry::Symbol {
            name: stringify!($name),
            address: $name as *const (),
            per_thread: $crate::entry::last(&[None $(, Some($own as *const ()))?]),
        }),*];
    };
}
pub(crate) use api;

pub const fn last(of: &[Option<*const ()>]) -> Option<*const ()> {
    of[of.len() - 1]
}

thread_local! {
    /// Whether a host function of a stream runs on this thread.
    pub static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    /// Whether stream 0 means the thread's own in this call.
    static OWN_STREAM: Cell<bool> = const { Cell::new(false) };
}

pub fn with_own_stream<T>(call: impl FnOnce() -> T) -> T {
    let before = OWN_STREAM.replace(true);
    let result = call();
    OWN_STREAM.set(before);
    result
}

pub fn own_stream() -> bool {
    OWN_STREAM.get()
}

static TRACE: LazyLock<bool> = LazyLock::new(|| std::env::var_os("SOFTGPU_TRACE").is_some());

pub fn enter(name: &str, body: impl FnOnce() -> Result<()>) -> c_int {
    SAID.set(false);
    let result = if IN_CALLBACK.get() {
        // Host functions must not call the API; a real driver may deadlock.
        Err(Status::NOT_PERMITTED)
    } else {
        catch_unwind(AssertUnwindSafe(body))
            .unwrap_or_else(|_| refuse(Status::UNKNOWN, format!("{name}: softgpu panicked, which is its own mistake")))
    };
    if let Err(status) = result
        && !SAID.get()
    {
        blame(name, status);
    }
    let code = result.map_or_else(|status| status.0, |()| 0);
    if *TRACE {
        let text = texts(code).map_or("?".into(), |(name, _)| name.to_string_lossy());
        let _ = writeln!(std::io::stderr(), "softgpu: {name}: {text}");
    }
    code
}

/// Writes an output parameter that must be there.
///
/// # Safety
/// `to` is null or valid for a write.
pub unsafe fn put<T>(to: *mut T, value: T) -> Result<()> {
    if to.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: the caller's promise. Unaligned: C callers pass addresses into packed structs.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Writes an output parameter that may be null.
///
/// # Safety
/// As [`put`].
pub unsafe fn put_if<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write_unaligned(value) };
    }
}

/// Reads an input parameter that must be there.
///
/// # Safety
/// `from` is null or valid for a read.
pub unsafe fn get<T: Copy>(from: *const T) -> Result<T> {
    // SAFETY: the caller's promise.
    if from.is_null() { Err(Status::INVALID_VALUE) } else { Ok(unsafe { from.read_unaligned() }) }
}

/// An input array; null only if it is empty.
///
/// # Safety
/// `from` is null or valid for `count` reads.
pub unsafe fn list<T: Copy>(from: *const T, count: usize) -> Result<Vec<T>> {
    match (from.is_null(), count) {
        (_, 0) => Ok(Vec::new()),
        (true, _) => Err(Status::INVALID_VALUE),
        // SAFETY: the caller's promise.
        (false, _) => Ok((0..count).map(|i| unsafe { from.add(i).read_unaligned() }).collect()),
    }
}

/// An input string.
///
/// # Safety
/// `text` is null or ends in a zero byte.
pub unsafe fn string(text: *const std::ffi::c_char) -> Result<String> {
    if text.is_null() {
        return Err(Status::INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copies `text` and a zero byte into a buffer of `room` bytes, cut if it is too long.
///
/// # Safety
/// `to` is null or valid for `room` writes.
pub unsafe fn put_text(to: *mut std::ffi::c_char, room: usize, text: &str) -> Result<()> {
    if to.is_null() || room == 0 {
        return Err(Status::INVALID_VALUE);
    }
    let bytes = text.len().min(room - 1);
    // SAFETY: `bytes` + 1 ≤ `room`.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), to as *mut u8, bytes);
        to.add(bytes).write(0);
    }
    Ok(())
}
