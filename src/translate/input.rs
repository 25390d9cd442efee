//! The lines of stdin: all of a file's, and a pipe's as they come.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::error::Result;
use crate::text::lines::lines_of;

/// Lines that wait at most; the channel makes room for all of them when it is opened.
const AHEAD: usize = 1000;

/// Lines that are read while others are translated.
pub struct Input {
    lines: Receiver<Result<String>>,
    /// Lines that are handed out together at most.
    most: usize,
    /// Whether there is nothing to wait for, as all lines are there.
    whole: bool,
}

impl Input {
    /// Starts to read stdin; `whole` says that it is a file.
    pub fn open(most: usize, whole: bool) -> Input {
        let (sender, lines) = sync_channel(most.min(AHEAD));
        // Ends with stdin, or when nobody listens any more; a thread that waits for stdin ends with the process.
        thread::spawn(move || lines_of(io::stdin().lock(), "stdin").try_for_each(|line| sender.send(line)));
        Input { lines, most, whole }
    }

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

/// Stdin where it is a file, which can be read twice; its position is stdin's.
#[cfg(unix)]
pub fn file() -> Option<File> {
    use std::os::fd::AsFd;
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

#[cfg(not(unix))]
pub fn file() -> Option<File> {
    None
}
