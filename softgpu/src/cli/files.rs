//! Files that are written: each as a whole or not at all, and each by one output.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Links that are followed; more of them go round.
const MOST_LINKS: usize = 40;

/// Writes a file as a whole or not at all. A link stays one, and what it leads to is written. Pipes and devices are written
/// in place.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), String> {
    write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Error: two outputs that are one file, of which the later would be all that is left. `outputs`: how each was asked for, and
/// where it goes. Pipes and devices take any number.
pub fn distinct(outputs: &[(String, &Path)]) -> Result<(), String> {
    let mut known = HashMap::new();
    for (text, path) in outputs {
        // Where a path leads nowhere, writing to it says so.
        let Ok(Some(target)) = target(path) else { continue };
        if let Some(other) = known.insert(whole_path(&target), text) {
            return Err(format!("`{other}` and `{text}` write to one file: give each its own"));
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(target) = target(path)? else { return fs::write(path, bytes) };
    let (part, mut file) = create_in(folder_of(&target))?;
    // Who may read a file does not change with what is in it.
    let allowed = fs::metadata(&target).map_or(Ok(()), |old| file.set_permissions(old.permissions()));
    let written = allowed.and_then(|()| file.write_all(bytes)).and_then(|()| fs::rename(&part, &target));
    written.inspect_err(|_| {
        // What is left of it is of no use; that it cannot be removed is no news either.
        let _ = fs::remove_file(&part);
    })
}

/// The file that a path leads to, if it is there or not yet; none for pipes and devices, and for what this program has open,
/// such as `/dev/stdout`, which goes on being written elsewhere.
fn target(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let open = path.starts_with("/proc") || path.starts_with("/dev/fd");
        if open || path.exists() && !path.is_file() {
            return Ok(None);
        }
        match fs::read_link(&path) {
            Ok(to) => path = folder_of(&path).join(to),
            Err(_) => return Ok(Some(path)),
        }
    }
    Err(io::Error::other("its links go round"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// One path for one file, however it is spelled. It need not be there; of a folder that is not, the spelling counts.
fn whole_path(target: &Path) -> PathBuf {
    let folder = fs::canonicalize(folder_of(target)).or_else(|_| std::path::absolute(folder_of(target)));
    match (folder, target.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => target.to_owned(),
    }
}

/// A new file by a name that nobody has.
fn create_in(folder: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 0;
    loop {
        let path = folder.join(format!(".softgpu-{}-{number}.part", std::process::id()));
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            created => return created.map(|file| (path, file)),
        }
    }
}
