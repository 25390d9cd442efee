//! What stands on the disk for the time being: a list, so that Ctrl-C, which drops nothing, takes it away as drops would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// What stands under a temporary name, and folders that are removed if nothing is put into them; what lies in a folder stands
/// behind it. Whoever makes, renames or removes one of them holds the lock meanwhile.
static UNFINISHED: Mutex<Vec<(PathBuf, Kind)>> = Mutex::new(Vec::new());

/// What is taken away.
#[derive(Clone, Copy)]
pub enum Kind {
    File,
    FolderIfEmpty,
    Folder,
}

/// The list, for as long as it must stay as it is.
pub struct Unfinished(MutexGuard<'static, Vec<(PathBuf, Kind)>>);

impl Unfinished {
    pub fn lock() -> Unfinished {
        Unfinished(UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes `path`, which was just made.
    pub fn add(&mut self, path: &Path, kind: Kind) {
        self.0.push((path.to_owned(), kind));
    }

    /// Whatever is at `path` from here on stays.
    pub fn forget(&mut self, path: &Path) {
        self.0.retain(|(other, _)| other != path);
    }

    /// Takes away `path` if it is still on the list. There is nobody to tell of a failure.
    pub fn remove(&mut self, path: &Path) {
        if let Some((_, kind)) = self.0.iter().find(|(other, _)| other == path) {
            let _ = remove(path, *kind);
            self.forget(path);
        }
    }
}

fn remove(path: &Path, kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => fs::remove_file(path),
        Kind::FolderIfEmpty => fs::remove_dir(path),
        Kind::Folder => fs::remove_dir_all(path),
    }
}

/// Ends the process as shells expect after Ctrl-C, with nothing unfinished left. The lock is held to the end: what is
/// being renamed is renamed before, and nothing new begins.
pub fn give_up() -> ! {
    let unfinished = Unfinished::lock();
    for (path, kind) in unfinished.0.iter().rev() {
        let _ = remove(path, *kind);
    }
    exit(130)
}

/// From now on Ctrl-C, and a SIGTERM, is [`give_up`].
pub fn give_up_at_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        eprintln!("\ninterrupted; what was begun is removed");
        give_up()
    })
    .map_err(|error| Error::device(format!("cannot watch for Ctrl-C: {error}")))
}
