//! One trainer per run folder: a lock of the operating system, which ends with the process, however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};
use crate::terminal::warn;

/// Holds the run folder it was taken for until it is dropped. Readers of the folder take none.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes `folder`, which exists. An error if another process trains there.
    pub fn take(folder: &Path) -> Result<FolderLock> {
        // The file stays when the lock ends: if it were removed, two trainers could each hold one of the same name.
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(|error| Error::io(&path, "create", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{}: another `omega train` is at work in this run folder", folder.display());
                return Err(
                    Error::data(message).hint("let it end or stop it (Ctrl-C saves), or give another --save-dir")
                );
            }
            // Some network file systems have no locks; that is no reason not to train there.
            Err(TryLockError::Error(error)) => {
                warn(format!("{}: cannot be locked ({error}); nothing else may train in this folder", path.display()));
            }
        }
        Ok(FolderLock { _file: file })
    }
}
