//! What a user types. Data goes to stdout, reports to stderr.

mod args;
mod coverage;
mod exec;
mod files;
#[cfg(test)]
mod fuzz;
mod inspect;
mod run;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use softgpu::image::{self, Image};
use softgpu::{Module, Tools};

/// The kernel trapped, or a checker has found something.
pub const FOUND: u8 = 3;
/// Unsupported, or badly asked.
pub const REFUSED: u8 = 2;

/// A GPU in software: runs PTX on the CPU, checks it, and counts what it does.
#[derive(Parser)]
#[command(
    name = "softgpu",
    version,
    after_help = "Exit status: 0 clean, 3 a trap or a checker's report, 2 unsupported, badly asked, or not written."
)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run one kernel of a PTX file or fatbin on raw little-endian buffers
    Run(Run),
    /// Say what a PTX file or fatbin has: entries, parameters, resources, and what softgpu cannot run
    Inspect {
        /// PTX text, a fatbin with PTX, or a program that holds one; `-` is stdin
        file: PathBuf,
        /// Print the instructions that it is decoded to, and where they come from
        #[arg(long)]
        disassemble: bool,
    },
    /// Print the instructions that softgpu runs, as Markdown
    Coverage,
    /// Run a program that uses the CUDA driver API against the software driver
    Exec(Exec),
    /// Become the program of `exec`
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Become {
        /// Signals that it must not inherit as blocked
        #[arg(long)]
        unblock: Vec<i32>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "PROGRAM")]
        program: Vec<std::ffi::OsString>,
    },
}

#[derive(clap::Args)]
struct Watch {
    /// Checkers: memcheck, initcheck, racecheck, synccheck (with commas between), or all
    #[arg(long, value_name = "LIST", value_parser = args::checkers)]
    check: Option<Tools>,
    /// Count what kernels do. Of `run`, JSON goes to the file, a table to stdout; of `exec`, a line of JSON for each launch
    #[arg(long, value_name = "FILE.json", value_parser = args::counters)]
    counters: Option<PathBuf>,
    /// Run blocks and warps in another order; 0 is that of their numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Watch {
    fn tools(&self) -> Tools {
        Tools { counters: self.counters.is_some(), seed: self.seed, ..self.check.unwrap_or_default() }
    }
}

const ARGS: &str = "\
Arguments, in the kernel's order:
  i8: u8: i16: u16: i32: u32: i64: u64:N, f32:X, f64:X   a number; 0x… gives its bits
  in:FILE              a buffer with the file's bytes
  out:FILE:BYTES       an unwritten buffer, saved to the file when the kernel has ended
  inout:FILE:OUTFILE   both
  scratch:BYTES        an unwritten buffer
  bytes:HEX            a struct by value
  null                 a null pointer
A buffer has exactly the size given: the byte after it is out of bounds.

Example:
  softgpu run saxpy.ptx saxpy --grid 4 --block 256 --check all inout:y.bin:out.bin in:x.bin f32:2 u32:1000";

#[derive(clap::Args)]
#[command(after_help = ARGS)]
struct Run {
    /// PTX text, a fatbin with PTX, or a program that holds one; `-` is stdin
    file: PathBuf,
    /// Name of the kernel
    entry: String,
    /// Blocks of the grid
    #[arg(long, value_name = "X[,Y,Z]", value_parser = args::dimensions)]
    grid: [u32; 3],
    /// Threads of a block
    #[arg(long, value_name = "X[,Y,Z]", value_parser = args::dimensions)]
    block: [u32; 3],
    /// Dynamic shared memory
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    smem: u32,
    /// Keep all blocks under way at once, so that they can wait for each other: this_grid().sync()
    #[arg(long)]
    cooperative: bool,
    /// Registers of a thread, for the occupancy among the counters; without, they are those in the file's cubins
    #[arg(long, value_name = "N", requires = "counters", value_parser = clap::value_parser!(u32).range(1..=255))]
    registers: Option<u32>,
    /// Branches that a block may take before it is stopped as one that never ends; the default takes minutes
    #[arg(long, value_name = "N", default_value_t = Module::BUDGET, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    /// A buffer that is no argument: in:, out:, inout: or scratch:
    #[arg(long, value_name = "NAME=SPEC")]
    buffer: Vec<String>,
    /// Write a buffer's address into a bytes: argument (counted from 0), or into another named buffer
    #[arg(long, value_name = "ARG+OFFSET=NAME")]
    reloc: Vec<String>,
    #[command(flatten)]
    watch: Watch,
    /// The kernel's arguments
    #[arg(value_name = "ARG")]
    args: Vec<String>,
}

const STATUS: &str = "\
Exit status: the program's own if it is not 0, else
  3  a kernel trapped, a checker reports, or, under memcheck, a call was wrong
  2  a launch was refused, softgpu lacks what was called for, work was lost as the program ended, or the counters cannot
     be written; stderr says what
  0  clean
A call is wrong that gets an error for its arguments or for where it stands, unless it only asks (cu...Get...).";

#[derive(clap::Args)]
#[command(after_help = STATUS)]
struct Exec {
    #[command(flatten)]
    watch: Watch,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "PROGRAM")]
    program: Vec<std::ffi::OsString>,
}

impl Command {
    /// Does what was asked. Errors: one line that says what to mend.
    pub fn run(self) -> Result<ExitCode, String> {
        match self.action {
            Action::Run(run) => run::run(&run),
            Action::Inspect { file, disassemble: false } => inspect::inspect(&file),
            Action::Inspect { file, .. } => inspect::disassemble(&file),
            Action::Coverage => coverage::coverage(),
            Action::Exec(exec) => exec::exec(&exec),
            #[cfg(target_os = "linux")]
            Action::Become { unblock, program } => exec::become_program(&unblock, &program),
        }
    }
}

/// The PTX in a file, and what its cubins say: text, a fatbin, or a program that holds one.
fn read_image(file: &std::path::Path) -> Result<Image, String> {
    let name = file.display();
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
    image::read(&bytes).map_err(|error| format!("{name}: {error}"))
}

/// Writes to standard output. Whoever reads may have had enough, as `head` does: that is no error.
fn print(text: impl AsRef<[u8]>) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    written(out.write_all(text.as_ref()).and_then(|()| out.flush()))
}

fn written(outcome: std::io::Result<()>) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write stdout: {error}")),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. If nobody can read it, the exit status still says how it went.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What clap has to say: help and version on standard output, what is wrong on standard error.
pub fn usage(usage: &clap::Error) -> Result<ExitCode, String> {
    let printed = usage.print().and_then(|()| std::io::stdout().flush());
    if usage.use_stderr() {
        return Ok(ExitCode::from(REFUSED));
    }
    written(printed).map(|()| ExitCode::SUCCESS)
}
