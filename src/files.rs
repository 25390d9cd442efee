//! Files that are either there and whole, or not there: written under a temporary name, flushed to the disk, renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

mod unfinished;

use unfinished::{Kind, Unfinished};
pub use unfinished::{give_up, give_up_at_interrupt};

/// A file that gets its name only with [`Pending::publish`]; dropped before that, it disappears.
pub struct Pending {
    path: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<File>>,
}

impl Pending {
    /// Starts to write `path`, beside it as `path.tmp`.
    pub fn create(path: &Path) -> Result<Pending> {
        if path.is_dir() {
            return Err(Error::io(path, "write", io::ErrorKind::IsADirectory.into()));
        }
        // A device or a pipe would be replaced by a file.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::data(format!("cannot write `{}`: it is there, and is no file", path.display()))
                .hint("give the name of a file, new or to be replaced"));
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let mut unfinished = Unfinished::lock();
        let file = File::create(&temporary).map_err(|error| {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let error = Error::io(path, "create", error); // the name that was asked for
            if missing { error.hint("make its folder first") } else { error }
        })?;
        unfinished.add(&temporary, Kind::File);
        Ok(Pending { path: path.to_owned(), temporary, writer: Some(BufWriter::with_capacity(1 << 20, file)) })
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let writer = self.writer.as_mut().expect("the writer lives until the file is complete");
        writer.write_all(bytes).map_err(|error| failed(&self.path, error))
    }

    /// Puts everything on the disk. What follows, the renaming, can fail no more for want of space.
    pub fn complete(mut self) -> Result<Complete> {
        let mut writer = self.writer.take().expect("the writer lives until the file is complete");
        let flushed = writer.flush().and_then(|()| writer.get_ref().sync_all());
        flushed.map_err(|error| failed(&self.path, error))?;
        Ok(Complete(self))
    }

    /// [`Pending::complete`], then [`Complete::publish`].
    pub fn publish(self) -> Result<()> {
        self.complete()?.publish()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        Unfinished::lock().remove(&self.temporary); // renamed ones are on the list no more
    }
}

/// A file whose content is on the disk, still under its temporary name.
pub struct Complete(Pending);

impl Complete {
    /// Gives the file its name, in place of any file that had it.
    pub fn publish(self) -> Result<()> {
        Complete::publish_all(vec![self])
    }

    /// Gives all `files` their names; Ctrl-C comes before or after, never between.
    pub fn publish_all(files: Vec<Complete>) -> Result<()> {
        let mut unfinished = Unfinished::lock();
        let published = files.iter().try_for_each(|file| file.publish_holding(&mut unfinished));
        drop(unfinished); // dropped files, where one could not be renamed, want it
        published
    }

    fn publish_holding(&self, unfinished: &mut Unfinished) -> Result<()> {
        fs::rename(&self.0.temporary, &self.0.path).map_err(|error| failed(&self.0.path, error))?;
        unfinished.forget(&self.0.temporary);
        // The name itself lies in the folder, which has to reach the disk too; some file systems cannot do that.
        if let Some(folder) = self.0.path.parent().filter(|folder| !folder.as_os_str().is_empty())
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Writes all of `bytes` to `path` at once.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Pending::create(path)?;
    file.write(bytes)?;
    file.publish()
}

/// An error now, before the work, if `path` could not be written after it. Leaves nothing.
pub fn expect_writable(path: &Path) -> Result<()> {
    Pending::create(path).map(drop)
}

/// The same of the picture that `flag` asks for.
pub fn expect_picture(flag: &str, path: &Path) -> Result<()> {
    if path.extension().is_some_and(|ending| !ending.eq_ignore_ascii_case("svg")) {
        let message = format!("--{flag} {}: pictures are SVG", path.display());
        return Err(Error::usage(message).hint("let the name end in .svg"));
    }
    expect_writable(path)
}

/// A folder that is there and can be written into. Dropped, it disappears with those above it, if they were made for it and
/// nothing was put into them.
pub struct Folder {
    /// The innermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// Makes `path` and those above it where they are missing. An error if nothing can be put there.
    pub fn open(path: &Path) -> Result<Folder> {
        let folder = Folder::make(path)?;
        expect_writable(&path.join("probe"))?;
        Ok(folder)
    }

    fn make(path: &Path) -> Result<Folder> {
        let mut unfinished = Unfinished::lock();
        let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let folder = Folder { made: missing.map(Path::to_owned).collect() };
        folder.made.iter().rev().for_each(|folder| unfinished.add(folder, Kind::FolderIfEmpty));
        let created = create_folder(path);
        drop(unfinished);
        created.map(|()| folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut unfinished = Unfinished::lock();
        self.made.iter().for_each(|folder| unfinished.remove(folder)); // refused where there is something in it
    }
}

/// A folder that gets its name only with [`PendingFolder::publish`]; dropped before that, it disappears.
pub struct PendingFolder {
    path: PathBuf,
    temporary: PathBuf,
    /// The one that it is put into.
    _above: Folder,
}

impl PendingFolder {
    /// Starts `path` beside it as `path.tmp`. An error if there is something at `path` already.
    pub fn create(path: &Path) -> Result<PendingFolder> {
        let taken = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(_) if path.exists() => true,
            Err(error) => return Err(Error::io(path, "create", error)), // below a file, or where nobody may look
        };
        if taken {
            let message = format!("{} is there already and not an empty folder", path.display());
            return Err(Error::data(message).hint("give another --out, or remove it"));
        }
        let trimmed: PathBuf = path.components().collect(); // without a slash at the end
        let mut name = trimmed.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        // What an earlier run left, if it was killed.
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(|error| Error::io(&temporary, "remove", error))?;
        }
        let above = Folder::make(trimmed.parent().unwrap_or(Path::new("")))?;
        let mut unfinished = Unfinished::lock();
        create_folder(&temporary)?;
        unfinished.add(&temporary, Kind::Folder);
        Ok(PendingFolder { path: trimmed, temporary, _above: above })
    }

    /// Where files are put meanwhile.
    pub fn meanwhile(&self) -> &Path {
        &self.temporary
    }

    /// Gives the folder its name.
    pub fn publish(self) -> Result<()> {
        let mut unfinished = Unfinished::lock();
        fs::rename(&self.temporary, &self.path).map_err(|error| failed(&self.path, error))?;
        unfinished.forget(&self.temporary);
        Ok(())
    }
}

impl Drop for PendingFolder {
    fn drop(&mut self) {
        Unfinished::lock().remove(&self.temporary); // a renamed one is on the list no more
    }
}

/// Makes `folder` and those above it.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create the folder", error))
}

/// Writes `text` to stdout. Whoever reads may have had enough, as `head` does: that is no error, and the
/// answer is false. A stdout that was closed (`>&-`) takes everything: Rust's runtime has opened /dev/null in its place, with the
/// flags that the null device of Python's `subprocess` and of daemons has, so that the two cannot be told apart.
pub fn print(text: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io(Path::new("stdout"), "write", error)),
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    let full = error.kind() == io::ErrorKind::StorageFull;
    let error = Error::io(path, "write", error);
    if full { error.hint("free some space on that disk; nothing that was there before is lost") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_given_up_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        write_whole(&path, b"old").unwrap();
        let mut file = Pending::create(&path).unwrap();
        file.write(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_given_up_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/folder/");
        let folder = PendingFolder::create(&path).unwrap();
        write_whole(&folder.meanwhile().join("a"), b"1").unwrap();
        drop(folder);
        assert!(!place.path().join("new").exists());
        let folder = PendingFolder::create(&path).unwrap();
        write_whole(&folder.meanwhile().join("a"), b"1").unwrap();
        folder.publish().unwrap();
        assert_eq!(fs::read(path.join("a")).unwrap(), b"1");
        assert!(PendingFolder::create(&path).err().unwrap().to_string().contains("is there already"));
        let message = |path: &Path| PendingFolder::create(path).err().unwrap().to_string();
        assert!(message(&path.join("a")).contains("is there already"), "a file");
        assert!(message(&path.join("a/b")).starts_with("cannot create"), "below a file");
    }

    #[test]
    fn a_folder_that_was_made_for_nothing_disappears() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b/c");
        drop(Folder::open(&path).unwrap());
        assert!(!place.path().join("a").exists());
        let folder = Folder::open(&path).unwrap();
        write_whole(&place.path().join("a/kept"), b"1").unwrap();
        drop(folder);
        assert!(place.path().join("a/kept").exists() && !place.path().join("a/b").exists());
        assert!(Folder::open(&place.path().join("a/kept/d")).is_err(), "below a file");
        drop(Folder::open(&place.path().join("a")).unwrap());
        assert!(place.path().join("a").exists(), "it was there before");
    }

    #[test]
    fn what_cannot_be_written_is_found_before() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        assert!(expect_writable(&at("none/x.json")).is_err() && expect_writable(place.path()).is_err());
        let message = expect_picture("svg", &at("x.png")).unwrap_err().to_string();
        assert!(message.starts_with("--svg ") && message.contains("x.png: pictures are SVG"), "{message}");
        expect_picture("svg", &at("x.SVG")).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_names_the_file() {
        if Path::new("/dev/full").exists() {
            let mut file = Pending {
                path: "corpus.bin".into(),
                temporary: "no such file".into(),
                writer: Some(BufWriter::new(fs::OpenOptions::new().write(true).open("/dev/full").unwrap())),
            };
            file.write(b"1").unwrap();
            let message = file.complete().err().unwrap().to_string();
            assert!(
                message.starts_with("cannot write `corpus.bin`") && message.contains("free some space"),
                "{message}"
            );
        }
    }
}
