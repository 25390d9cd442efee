//! The one error type: what went wrong, expected and got, and what to do about it.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};

/// Result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error as a user sees it: one line that says what, the place it came from, and a hint.
#[derive(Debug)]
pub struct Error {
    kind: Box<Kind>,
    context: Vec<String>,
    hint: Option<String>,
}

/// What kind of thing went wrong; decides the exit code.
#[derive(Debug, thiserror::Error)]
pub enum Kind {
    /// A flag, its value or a combination of flags (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// The content of a file or of the text.
    #[error("{0}")]
    Data(String),
    /// The operating system refused: `doing` is a verb, as in "cannot read `path`".
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io { path: PathBuf, doing: String, source: io::Error },
    /// An operand of an op has the wrong shape.
    #[error("{op}: `{operand}` is {got:?}, expected {expected:?}")]
    Shape { op: &'static str, operand: String, got: Vec<usize>, expected: Vec<usize> },
    /// An operand of an op has elements of the wrong type.
    #[error("{op}: `{operand}` is of {got}, expected {expected}")]
    DType { op: &'static str, operand: String, got: &'static str, expected: &'static str },
    /// The tape was asked for a gradient that nobody wrote, or for a value that is gone.
    #[error("tape: {0}")]
    Tape(String),
    /// The driver, cuBLAS or the software GPU.
    #[error("device: {0}")]
    Device(String),
    /// Ctrl-C, after everything was saved.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    fn new(kind: Kind) -> Self {
        Error { kind: Box::new(kind), context: Vec::new(), hint: None }
    }

    /// The operating system refused to `doing` (a verb: "read", "write", "create") the file at `path`.
    pub fn io(path: &Path, doing: &str, source: io::Error) -> Self {
        Error::new(Kind::Io { path: path.to_owned(), doing: doing.to_owned(), source })
    }

    /// Bad content of a file or of the text.
    pub fn data(what: impl Display) -> Self {
        Error::new(Kind::Data(what.to_string()))
    }

    /// A bad flag, value or combination; exits with 2.
    pub fn usage(what: impl Display) -> Self {
        Error::new(Kind::Usage(what.to_string()))
    }

    /// The operand named `operand` of `op` has shape `got` where `expected` was due.
    pub fn shape(op: &'static str, operand: &str, got: &[usize], expected: &[usize]) -> Self {
        let (got, expected) = (got.to_vec(), expected.to_vec());
        Error::new(Kind::Shape { op, operand: operand.to_owned(), got, expected })
    }

    /// The operand named `operand` of `op` has elements of type `got` where `expected` was due.
    pub fn dtype(op: &'static str, operand: &str, got: &'static str, expected: &'static str) -> Self {
        Error::new(Kind::DType { op, operand: operand.to_owned(), got, expected })
    }

    /// A gradient that nobody wrote, or a value that is gone.
    pub fn tape(what: impl Display) -> Self {
        Error::new(Kind::Tape(what.to_string()))
    }

    /// The driver, cuBLAS or the software GPU failed.
    pub fn device(what: impl Display) -> Self {
        Error::new(Kind::Device(what.to_string()))
    }

    /// Ctrl-C, after everything was saved.
    pub fn interrupted() -> Self {
        Error::new(Kind::Interrupted)
    }

    /// What to do about it; printed on a line of its own after `hint:`.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Where it happened ("encoder layer 3, feed-forward"); printed in brackets after the message.
    pub fn context(mut self, place: impl Display) -> Self {
        self.context.push(place.to_string());
        self
    }

    /// The kind, for code that must tell errors apart.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Process exit code: 2 for a usage error, 1 otherwise (130 after Ctrl-C, as shells expect).
    pub fn exit_code(&self) -> u8 {
        match *self.kind {
            Kind::Usage(_) => 2,
            Kind::Interrupted => 130,
            _ => 1,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if !self.context.is_empty() {
            write!(f, " ({})", self.context.join(", "))?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.kind {
            Kind::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_context_and_hint_in_that_order() {
        let error =
            Error::shape("attention", "qkv", &[5, 190], &[5, 192]).context("encoder layer 3").hint("check --heads");
        assert_eq!(
            error.to_string(),
            "attention: `qkv` is [5, 190], expected [5, 192] (encoder layer 3)\n\nhint: check --heads"
        );
        assert_eq!(error.exit_code(), 1);
        assert_eq!(Error::usage("unknown flag").exit_code(), 2);
    }
}
