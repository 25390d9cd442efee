//! Text files line by line, plain or gzip, with errors that name the file and the line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::terminal::reads;

/// The lines of a UTF-8 file without their ends (`\n` or `\r\n`); a byte order mark at the start is skipped.
pub struct Lines {
    path: PathBuf,
    /// Bytes of the file that were read, and that there are.
    read: Arc<AtomicU64>,
    bytes: u64,
    reader: BufReader<Box<dyn Read + Send>>,
    number: usize,
}

impl Lines {
    /// Opens `path`, unpacking it if it ends in `.gz`.
    pub fn open(path: &Path) -> Result<Lines> {
        reads(path);
        let file = File::open(path).map_err(|error| Error::io(path, "read", error))?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        let read = Arc::new(AtomicU64::new(0));
        let file = Counted { file, read: Arc::clone(&read) };
        let packed = path.extension().is_some_and(|ending| ending == "gz");
        let reader: Box<dyn Read + Send> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Ok(Lines { path: path.to_owned(), read, bytes, reader: BufReader::with_capacity(1 << 16, reader), number: 0 })
    }

    /// Opens `PREFIX.LANG`, or `PREFIX.LANG.gz` if only that exists.
    pub fn of_language(prefix: &Path, language: &str) -> Result<Lines> {
        let mut name = prefix.as_os_str().to_owned();
        name.push(format!(".{language}"));
        let plain = PathBuf::from(&name);
        name.push(".gz");
        let packed = PathBuf::from(name);
        if !plain.exists() && packed.exists() { Lines::open(&packed) } else { Lines::open(&plain) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines read so far: the number of the last one, counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// How far the file was read, and how long it is [bytes].
    pub fn position(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.bytes)
    }

    /// All lines; for files that are known to be small.
    pub fn all(self) -> Result<Vec<String>> {
        self.collect()
    }
}

/// A file that counts what is read of it.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Iterator for Lines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Result<String>> {
        match next_line(&mut self.reader, self.number) {
            Ok(line) => {
                self.number += usize::from(line.is_some());
                line.map(Ok)
            }
            Err(reason) => Some(Err(reason.of_line(&self.path, self.number + 1))),
        }
    }
}

/// The lines of `reader`, which messages call `name`.
pub fn lines_of(mut reader: impl BufRead, name: &'static str) -> impl Iterator<Item = Result<String>> {
    let mut number = 0;
    std::iter::from_fn(move || {
        let line = next_line(&mut reader, number);
        number += 1;
        line.map_err(|reason| reason.of_line(name.as_ref(), number)).transpose()
    })
}

/// Why a line could not be had.
enum Unreadable {
    Io(io::Error),
    Utf8,
}

impl Unreadable {
    /// The error for line `number`, from 1, of `path`.
    fn of_line(self, path: &Path, number: usize) -> Error {
        match self {
            Unreadable::Io(error) => Error::io(path, "read", error),
            Unreadable::Utf8 => Error::data(format!("{} line {number}: not UTF-8", path.display()))
                .hint("convert the file, for example with `iconv -f latin1 -t utf-8`"),
        }
    }
}

/// The next line of `reader` without its end, or none at the end; `number` lines came before it.
fn next_line(reader: &mut impl BufRead, number: usize) -> std::result::Result<Option<String>, Unreadable> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line).map_err(Unreadable::Io)? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        line.pop();
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    let line = String::from_utf8(line).map_err(|_| Unreadable::Utf8)?;
    match line.strip_prefix('\u{feff}') {
        Some(rest) if number == 0 => Ok(Some(rest.to_owned())),
        _ => Ok(Some(line)),
    }
}

/// Line n of one file with line n of another. An error if one has more lines.
pub struct PairedLines {
    source: Lines,
    target: Lines,
}

impl PairedLines {
    pub fn open(prefix: &Path, source: &str, target: &str) -> Result<PairedLines> {
        let (source, target) = (Lines::of_language(prefix, source)?, Lines::of_language(prefix, target)?);
        Ok(PairedLines { source, target })
    }

    /// The files, for messages.
    pub fn paths(&self) -> (&Path, &Path) {
        (self.source.path(), self.target.path())
    }

    /// Number of the last pair, counted from 1.
    pub fn number(&self) -> usize {
        self.source.number()
    }

    /// How far both files were read, and how long they are [bytes].
    pub fn position(&self) -> (u64, u64) {
        let (source, target) = (self.source.position(), self.target.position());
        (source.0 + target.0, source.1 + target.1)
    }

    fn unequal(&mut self) -> Error {
        // Read on, so that the message can give both counts.
        let count = |lines: &mut Lines| {
            while lines.next().is_some_and(|line| line.is_ok()) {}
            lines.number()
        };
        let (source, target) = (count(&mut self.source), count(&mut self.target));
        let (a, b) = (self.source.path().display(), self.target.path().display());
        Error::data(format!("{a} has {source} lines, {b} has {target}"))
            .hint("line n of one file must be the translation of line n of the other")
    }
}

impl Iterator for PairedLines {
    type Item = Result<(String, String)>;

    fn next(&mut self) -> Option<Result<(String, String)>> {
        match (self.source.next(), self.target.next()) {
            (None, None) => None,
            (Some(Ok(source)), Some(Ok(target))) => Some(Ok((source, target))),
            (Some(Err(error)), _) | (_, Some(Err(error))) => Some(Err(error)),
            (Some(_), None) | (None, Some(_)) => Some(Err(self.unequal())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn line_ends_gzip_and_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.de"), "\u{feff}eins\r\n\r\nzwei").unwrap();
        assert_eq!(Lines::open(&path("a.de")).unwrap().all().unwrap(), ["eins", "", "zwei"]);
        let mut packed =
            flate2::write::GzEncoder::new(File::create(path("a.en.gz")).unwrap(), flate2::Compression::fast());
        packed.write_all(b"one\n\ntwo\n").unwrap();
        packed.finish().unwrap();
        let pairs: Vec<_> = PairedLines::open(&path("a"), "de", "en").unwrap().map(Result::unwrap).collect();
        assert_eq!(pairs[2], ("zwei".to_owned(), "two".to_owned()));
        fs::write(path("a.fr"), "un\n").unwrap();
        let error = PairedLines::open(&path("a"), "de", "fr").unwrap().find_map(Result::err).unwrap().to_string();
        assert!(error.contains("a.de has 3 lines") && error.contains("a.fr has 1"), "{error}");
        fs::write(path("b.de"), b"gut\nschl\xe4cht\n").unwrap();
        let error = Lines::open(&path("b.de")).unwrap().all().unwrap_err().to_string();
        assert!(error.contains("b.de line 2: not UTF-8"), "{error}");
        let error = Lines::open(&path("none")).err().unwrap().to_string();
        assert!(error.contains("cannot read") && error.contains("none"), "{error}");
    }
}
