//! Where translations go: stdout, as they come, or a file that is there only when it has all of them.

use std::path::Path;

use crate::error::Result;
use crate::files::{Pending, print};
use crate::terminal::around_bar;

pub enum Output {
    Stdout,
    File(Box<Pending>),
}

impl Output {
    /// Stdout without a `path`.
    pub fn open(path: Option<&Path>) -> Result<Output> {
        Ok(match path {
            Some(path) => Output::File(Box::new(Pending::create(path)?)),
            None => Output::Stdout,
        })
    }

    /// Writes `text`; false says that its reader has had enough.
    pub fn write(&mut self, text: &str) -> Result<bool> {
        match self {
            Output::Stdout => around_bar(|| print(text)),
            Output::File(file) => file.write(text.as_bytes()).map(|()| true),
        }
    }

    /// Nothing more comes.
    pub fn finish(self) -> Result<()> {
        match self {
            Output::Stdout => Ok(()),
            Output::File(file) => file.publish(),
        }
    }
}
