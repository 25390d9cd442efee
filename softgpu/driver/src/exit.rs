//! The end of the process. A GPU would still be working on what nobody has waited for; here it would never be run, and the
//! program called clean.

use std::ffi::c_int;
use std::process;
use std::sync::OnceLock;
use std::thread;

use crate::state::{anyway, holds_the_lock};
use crate::tools::lost;

unsafe extern "C" {
    fn atexit(call: extern "C" fn()) -> c_int;
}

/// The process that asked for it: one that is forked from it has the queue, but none of the threads that work on it.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// From now on what is pending when the process ends is run. Not after `_exit` or a signal, which end it at once.
pub fn finish_at_exit() {
    // SAFETY: the function lives as long as the process: this object is never unloaded (build.rs).
    if PROCESS.set(process::id()).is_ok() && unsafe { atexit(finish) } != 0 {
        lost("atexit failed: what is pending when the program ends will not be run");
    }
}

extern "C" fn finish() {
    if PROCESS.get() != Some(&process::id()) {
        return;
    }
    // A signal's handler may end the process anywhere.
    if holds_the_lock() {
        lost("the program ended within a call: what was pending is not run");
        return;
    }
    // Not on this thread, whose thread-local variables are gone.
    let done = thread::Builder::new().spawn(|| anyway().finish_all());
    if done.is_err() || done.is_ok_and(|thread| thread.join().is_err()) {
        lost("no thread for what was pending when the program ended: it is not run");
    }
}
