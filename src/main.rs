//! The `omega` command: parse, run, print the error, exit.

use std::process::ExitCode;
use std::time::Instant;

use omega::analyze::analyze;
use omega::bench::bench;
use omega::checkpoint::average::average;
use omega::checkpoint::inspect::inspect;
use omega::cli::{Cli, Command};
use omega::error::{Error, Result};
use omega::export::{export, import};
use omega::files::print;
use omega::selftest::selftest;
use omega::shell::{completions, man};
use omega::terminal::{self, Level};
use omega::text::prepare::prepare;
use omega::text::score::score;
use omega::train::{profile, train};
use omega::translate::translate;

fn main() -> ExitCode {
    let cli = match Cli::typed() {
        Ok(Some(cli)) => cli,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return failed(&error),
    };
    terminal::set_level(match (cli.quiet, cli.verbose) {
        (true, _) => Level::Quiet,
        (_, true) => Level::Verbose,
        _ => Level::Normal,
    });
    // This thread is one of the pool's: a launch starts here at once, and ends without waiting for a thread that the system
    // has not yet given a core. (An error: somebody has made the pool already.)
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
    let (began, done) = (Instant::now(), run(cli.command));
    terminal::took("all", began);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> ExitCode {
    terminal::error(error);
    ExitCode::from(error.exit_code())
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Analyze(args) => analyze(&args),
        Command::Average(args) => average(&args),
        Command::Bench(args) => bench(&args),
        Command::Completions(args) => completions(&args),
        Command::Man(args) => man(&args),
        Command::Devices => print(&(omega::device::describe() + "\n")).map(drop),
        Command::Export(args) => export(&args),
        Command::Inspect(args) => inspect(&args),
        Command::Import(args) => import(&args),
        Command::Prepare(args) => prepare(&args),
        Command::Score(args) => score(&args, std::io::stdin().lock()),
        Command::Train(args) => train(&args),
        Command::Translate(args) => translate(&args),
        Command::Profile(args) => profile(&args),
        Command::Selftest(args) => selftest(&args),
    }
}
