//! Ctrl-C, and the SIGTERM of a scheduler: the first asks the run to save and stop, the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::files::give_up;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on signals are noted; the function returned says whether one came.
pub fn watch() -> Result<fn() -> bool> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            give_up();
        }
        eprintln!("\nstopping after this update; press Ctrl-C again to stop at once, without saving");
    })
    .map_err(|error| Error::device(format!("cannot watch for Ctrl-C: {error}")))?;
    Ok(|| ASKED.load(Ordering::Relaxed))
}
