//! The `softgpu` command: runs kernels from PTX files, says what is in them, and runs programs on the software driver.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let done = match cli::Command::try_parse() {
        Ok(command) => command.run(),
        Err(usage) => cli::usage(&usage),
    };
    done.unwrap_or_else(|message| {
        cli::say(&format!("error: {message}"));
        ExitCode::from(cli::REFUSED)
    })
}
