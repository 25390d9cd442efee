//! The `softgpu` command: runs kernels from PTX files, says what is in them, and runs programs on the software driver.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Command::parse().run() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(cli::REFUSED)
        }
    }
}
