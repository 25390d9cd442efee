//! Which checkpoint to go on from where one is broken.

use std::path::{Path, PathBuf};

use super::Checkpoint;
use super::names::{self, Kind};

/// Whether `path` can be read and all of its parameters are numbers.
fn is_sound(path: &Path) -> bool {
    // Opened without looking for others: two broken ones would look at each other for ever.
    Checkpoint::open_or(path, |_| String::new()).and_then(|checkpoint| checkpoint.parameters()).is_ok()
}

/// The checkpoint beside `path` to use instead of it: the best one, else the newest, of those that are sound.
pub fn beside(path: &Path) -> Option<PathBuf> {
    let mut others = path.parent().and_then(|folder| names::list(folder).ok()).unwrap_or_default();
    others.retain(|(_, other)| other != path);
    others.sort_by_key(|(kind, other)| (*kind == Kind::Best, other.metadata().and_then(|file| file.modified()).ok()));
    others.into_iter().rev().map(|(_, other)| other).find(|other| is_sound(other))
}

/// What to do where the checkpoint at `path` is broken.
pub fn instead_of(path: &Path) -> String {
    match beside(path) {
        Some(other) => format!(
            "{} is whole: translate with it, or train on from it in a new run with --finetune-from-model",
            other.display()
        ),
        None => "use another checkpoint".to_owned(),
    }
}
