//! Three kinds of stop, never mixed: the text cannot be loaded, the launch is wrong, the kernel is wrong.

use std::fmt;

/// PTX text that softgpu does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {what}")]
pub struct LoadError {
    pub line: u32,
    pub what: String,
}

impl LoadError {
    pub(crate) fn at(line: u32, what: impl Into<String>) -> LoadError {
        LoadError { line, what: what.into() }
    }
}

/// Why a launch did not finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("cannot launch `{kernel}`: {what}")]
    Launch { kernel: String, what: String },
    #[error(transparent)]
    Stopped(Box<Stop>),
    #[error("{0}")]
    Memory(String),
}

/// A kernel that strayed: what it did, who did it, and the lines to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub what: String,
    pub help: &'static str,
    pub kernel: String,
    pub block: [u32; 3],
    /// The first thread concerned.
    pub thread: [u32; 3],
    pub instruction: String,
    pub ptx_line: u32,
    /// File and line of the `.cu` text.
    pub source: Option<(String, u32)>,
    /// Of code that was inlined: where the calls stand, innermost first.
    pub inlined: Vec<(String, u32)>,
}

impl std::error::Error for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        writeln!(f, "{}; kernel `{}`, block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})", self.what, self.kernel)?;
        write!(f, "  at `{}`, PTX line {}", self.instruction, self.ptx_line)?;
        write_source(f, self.source.as_ref(), &self.inlined)?;
        write!(f, "\n  help: {}", self.help)
    }
}

/// The kernel's own line first, and then what was inlined there, one line for each call:
/// `--> kernels/x.cu:31`, `inlined there: common.cuh:12`.
pub fn write_source(f: &mut impl fmt::Write, source: Option<&(String, u32)>, inlined: &[(String, u32)]) -> fmt::Result {
    let mut lines = inlined.iter().rev().chain(source);
    if let Some((file, line)) = lines.next() {
        write!(f, "\n  --> {file}:{line}")?;
    }
    lines.try_for_each(|(file, line)| write!(f, "\n      inlined there: {file}:{line}"))
}
