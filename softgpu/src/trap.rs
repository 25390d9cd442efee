//! Three kinds of stop, never mixed: softgpu cannot run the text, the launch is wrong, the kernel is wrong.

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
    /// A GPU would refuse it. No thread has run; `help` may be empty.
    #[error("cannot launch `{kernel}`: {what}{}", below(.help))]
    Launch { kernel: String, what: String, help: &'static str },
    /// The kernel has an instruction that softgpu lacks.
    #[error("cannot launch `{kernel}`: {why}")]
    Unsupported { kernel: String, why: LoadError },
    #[error(transparent)]
    Stopped(Box<Stop>),
    #[error("{0}")]
    Memory(String),
}

/// A kernel that strayed: what it did, who did it, and the lines to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What found it: `memcheck`, `initcheck`, `racecheck` or `synccheck`; nothing for what the kernel itself asked for.
    pub checker: &'static str,
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
    /// What this thread did; nothing where `what` says it all.
    pub role: String,
    /// The other threads concerned.
    pub others: Vec<Side>,
    pub notes: Vec<String>,
    /// How often it happened at these instructions; 1 for what stops the kernel.
    pub count: u64,
    /// What the tools had found before the kernel was stopped.
    pub before: Vec<Stop>,
}

/// Another thread that a report is about, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    pub role: String,
    pub block: [u32; 3],
    pub thread: [u32; 3],
    pub instruction: String,
    pub ptx_line: u32,
    pub source: Option<(String, u32)>,
    pub inlined: Vec<(String, u32)>,
}

impl std::error::Error for Stop {}

impl Stop {
    fn side(&self) -> Side {
        Side {
            role: self.role.clone(),
            block: self.block,
            thread: self.thread,
            instruction: self.instruction.clone(),
            ptx_line: self.ptx_line,
            source: self.source.clone(),
            inlined: self.inlined.clone(),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.checker.is_empty() { "" } else { ": " };
        write!(f, "{}", wrap(&format!("{}{colon}{}", self.checker, self.what)))?;
        show(f, &self.side(), Some(&self.kernel))?;
        self.others.iter().try_for_each(|side| show(f, side, None))?;
        self.notes.iter().try_for_each(|note| write!(f, "\n{}", wrap(&format!("  note: {note}"))))?;
        if self.count > 1 {
            write!(f, "\n  note: it happened {} times at these lines", self.count)?;
        }
        f.write_str(&below(self.help))
    }
}

/// A line of help, if there is any.
pub(crate) fn below(help: &str) -> String {
    if help.is_empty() { String::new() } else { format!("\n{}", wrap(&format!("  help: {help}"))) }
}

/// Columns of a report.
const WIDTH: usize = 108;

/// The text in lines of at most [`WIDTH`] columns, where words allow it; those after the first are indented.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        if column > 0 && column + width > WIDTH {
            out.truncate(out.trim_end().len());
            out.push_str("\n        ");
            column = 8;
        }
        out.push_str(word);
        column += word.chars().count();
    }
    out
}

/// The line of the source, and below it who did what.
fn show(f: &mut fmt::Formatter<'_>, side: &Side, kernel: Option<&str>) -> fmt::Result {
    let ([bx, by, bz], [tx, ty, tz]) = (side.block, side.thread);
    let Side { role, instruction, ptx_line, source, inlined, .. } = side;
    let mut lines = inlined.iter().rev().chain(source);
    match lines.next() {
        Some((file, line)) => write!(f, "\n  --> {file}:{line}")?,
        None => write!(f, "\n  --> PTX line {ptx_line}")?,
    }
    if let Some(kernel) = kernel {
        write!(f, " in `{kernel}`")?;
    }
    lines.try_for_each(|(file, line)| write!(f, "\n      inlined there: {file}:{line}"))?;
    write!(f, "\n      {role}{}`{instruction}`", if role.is_empty() { "" } else { ": " })?;
    if source.is_some() {
        write!(f, ", PTX line {ptx_line}")?;
    }
    write!(f, "; block ({bx}, {by}, {bz}), thread ({tx}, {ty}, {tz})")
}
