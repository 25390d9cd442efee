//! TensorBoard's event files, for `--tensorboard`.
//!
//! A file is a row of records (TFRecord): u64 length, its masked CRC-32C, the bytes, their masked CRC-32C; little-endian.
//! Each record is a protocol buffer `Event`: wall_time = 1 (double), step = 2 (varint), and one of file_version = 3
//! (string), summary = 5, session_log = 7. A summary is a list (1) of tag = 1 (string) and simple_value = 2 (float).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// The layout's version, in a file's first event.
const FILE_VERSION: &str = "brain.Event:2";

/// One event file, written record by record. It is made for the first of them: a start that has nothing to say leaves none.
pub struct Events {
    folder: PathBuf,
    first: u64,
    file: Option<(PathBuf, File)>,
}

impl Events {
    /// A new file in `folder`, to be. What earlier files say of step `first` and later is to be forgotten: these updates come
    /// again.
    pub fn new(folder: &Path, first: u64) -> Events {
        Events { folder: folder.to_owned(), first, file: None }
    }

    /// Makes the file, with what stands at its beginning.
    fn begin(&self) -> Result<(PathBuf, File)> {
        let seconds = now() as u64;
        // A name for each start, in order; starts may share a second.
        let mut number = 0;
        let (path, mut file) = loop {
            let path = self.folder.join(format!("events.out.tfevents.{seconds}.{number}"));
            match OpenOptions::new().create_new(true).append(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::io(&path, "create", error)),
            }
        };
        let mut version = event(0);
        field(&mut version, 3, FILE_VERSION.as_bytes());
        let mut start = event(self.first);
        field(&mut start, 7, &[1 << 3, 1]); // status = START
        write(&path, &mut file, &[record(&version), record(&start)].concat())?;
        Ok((path, file))
    }

    /// Those of `scalars` that have a value, at `step`.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, Option<f64>)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in scalars.iter().filter_map(|(tag, value)| value.map(|value| (tag, value))) {
            let mut entry = Vec::new();
            field(&mut entry, 1, tag.as_bytes());
            entry.push(2 << 3 | 5); // 4 bytes
            entry.extend((value as f32).to_le_bytes());
            field(&mut summary, 1, &entry);
        }
        let mut bytes = event(step);
        field(&mut bytes, 5, &summary);
        let (path, mut file) = match self.file.take() {
            Some(begun) => begun,
            None => self.begin()?,
        };
        write(&path, &mut file, &record(&bytes))?;
        self.file = Some((path, file));
        Ok(())
    }
}

fn write(path: &Path, file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes).map_err(|error| Error::io(path, "write", error))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An event of now, without content.
fn event(step: u64) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | 1]; // 8 bytes
    bytes.extend(now().to_le_bytes());
    bytes.push(2 << 3);
    varint(&mut bytes, step);
    bytes
}

/// A field of bytes.
fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// CRC-32C, rotated and shifted by a constant, so that a checksum of checksums is sound.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_carry_their_checksums() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720, the usual check value).
        let turned = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), turned.to_le_bytes());
        let bytes = record(b"123456789");
        assert_eq!((bytes.len(), &bytes[..8], &bytes[12..21]), (25, &[9, 0, 0, 0, 0, 0, 0, 0][..], &b"123456789"[..]));
        assert_eq!(bytes[21..], turned.to_le_bytes());
    }

    #[test]
    fn long_numbers_and_texts_are_varints() {
        let mut bytes = Vec::new();
        varint(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 2]);
        let mut bytes = Vec::new();
        field(&mut bytes, 5, &[7; 130]);
        assert_eq!((bytes[0], &bytes[1..3], bytes.len()), (5 << 3 | 2, &[0x82, 1][..], 133));
    }

    #[test]
    fn two_starts_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        for first in [1, 1] {
            Events::new(folder.path(), first).scalars(first, &[("a", Some(0.5)), ("b", None)]).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
