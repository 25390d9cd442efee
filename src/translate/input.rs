//! The lines to translate: all of a file's, and a pipe's as they come.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::error::{Error, Result};
use crate::text::lines::{Lines, lines_of};

/// Lines that wait at most; the channel makes room for all of them when it is opened.
const AHEAD: usize = 1000;

/// Where lines come from: stdin, or the file of `--input`.
pub struct Source {
    path: Option<PathBuf>,
    /// Stdin or the file, if there is nothing to wait for and it can be read twice.
    file: Option<File>,
}

impl Source {
    /// Stdin without a `path`; an error if there is none to read at the one given.
    pub fn open(path: Option<&Path>) -> Result<Source> {
        let file = match path {
            Some(path) => regular(path).map_err(|error| Error::io(path, "read", error))?,
            None => stdin_file(),
        };
        Ok(Source { path: path.map(Path::to_owned), file })
    }

    /// What messages call it.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or("stdin".to_owned(), |path| path.display().to_string())
    }

    /// Whether all lines are there.
    pub fn is_whole(&self) -> bool {
        self.file.is_some()
    }

    /// Bytes of text that will come, if they are known: of a packed file they are not.
    pub fn bytes(&self) -> Option<u64> {
        let packed = self.path.as_ref().is_some_and(|path| path.extension().is_some_and(|ending| ending == "gz"));
        let file = self.file.as_ref().filter(|_| !packed)?;
        file.metadata().ok().map(|metadata| metadata.len())
    }

    /// Calls `check` with every line of a file and its number, and leaves the file as it was. Of a pipe nothing is read.
    pub fn look_through(&mut self, mut check: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
        let mut numbered = |(at, line): (usize, Result<String>)| check(at + 1, &line?);
        match (&self.path, &mut self.file) {
            (_, None) => Ok(()),
            (Some(path), _) => Lines::open(path)?.enumerate().try_for_each(numbered),
            (None, Some(file)) => {
                // Its position is stdin's.
                let failed = |error| Error::io(Path::new("stdin"), "read", error);
                let start = file.stream_position().map_err(failed)?;
                lines_of(BufReader::new(&*file), "stdin").enumerate().try_for_each(&mut numbered)?;
                file.seek(SeekFrom::Start(start)).map(drop).map_err(failed)
            }
        }
    }

    /// Starts to read; at most `most` lines are handed out together.
    pub fn read(self, most: usize) -> Result<Input> {
        let (sender, lines) = sync_channel(most.min(AHEAD));
        // Ends with the text, or when nobody listens any more; a thread that waits for stdin ends with the process.
        match &self.path {
            Some(path) => {
                let mut lines = Lines::open(path)?;
                thread::spawn(move || lines.try_for_each(|line| sender.send(line)));
            }
            None => {
                thread::spawn(move || lines_of(io::stdin().lock(), "stdin").try_for_each(|line| sender.send(line)));
            }
        }
        Ok(Input { lines, most, whole: self.is_whole() })
    }
}

/// The file at `path`, none if it is a pipe.
fn regular(path: &Path) -> io::Result<Option<File>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    metadata.is_file().then(|| File::open(path)).transpose()
}

/// Stdin where it is a file.
#[cfg(unix)]
fn stdin_file() -> Option<File> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

#[cfg(not(unix))]
fn stdin_file() -> Option<File> {
    None
}

/// Lines that are read while others are translated.
pub struct Input {
    lines: Receiver<Result<String>>,
    /// Lines that are handed out together at most.
    most: usize,
    /// Whether there is nothing to wait for, as all lines are there.
    whole: bool,
}

impl Input {
    /// The next lines, none at the end, and whether one after them could not be read. A file's always fill the buffer; of a pipe
    /// those that have come are taken, one at least, so that whoever waits for an answer before writing on gets it.
    pub fn next_lines(&self) -> (Vec<String>, Result<()>) {
        let mut some = Vec::new();
        while some.len() < self.most {
            let wait = self.whole || some.is_empty();
            let line = if wait { self.lines.recv().ok() } else { self.lines.try_recv().ok() };
            match line {
                Some(Ok(line)) => some.push(line),
                Some(Err(error)) => return (some, Err(error)),
                None => break,
            }
        }
        (some, Ok(()))
    }
}
