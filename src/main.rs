//! The `omega` command: parse, run, print the error, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("{}", omega::device::describe());
    ExitCode::SUCCESS
}
