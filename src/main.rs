//! The `omega` command: parse, run, print the error, exit.

use std::process::ExitCode;

use clap::Parser;
use omega::cli::{Cli, Command};
use omega::error::{Error, Result};
use omega::text::prepare::prepare;
use omega::text::score::score;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Devices => {
            println!("{}", omega::device::describe());
            Ok(())
        }
        Command::Prepare(args) => prepare(&args),
        Command::Score(args) => score(&args, std::io::stdin().lock()),
        _ => Err(Error::usage("this command is not in this build yet")),
    }
}
