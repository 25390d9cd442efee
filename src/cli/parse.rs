//! From what was typed to [`Cli`], where clap alone would leave people guessing.

use std::error::Error as _;
use std::io::stdout;
use std::num::ParseIntError;

use anstream::{AutoStream, ColorChoice};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;
use crate::error::Result;
use crate::files::print;

impl Cli {
    /// What was typed; none if that asked for a help or the version, which have been printed. If it cannot be understood,
    /// says why and exits, as clap does.
    pub fn typed() -> Result<Option<Cli>> {
        let matches = negative_numbers(Cli::command()).try_get_matches();
        match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
            Ok(cli) => Ok(Some(cli)),
            Err(error) if error.use_stderr() => explain(error).exit(),
            // clap would not notice a text that cannot be written.
            Err(text) => print(&for_stdout(&text)).map(|_| None),
        }
    }
}

/// With colours if stdout shows them.
fn for_stdout(text: &clap::Error) -> String {
    match AutoStream::choice(&stdout()) {
        ColorChoice::Never => text.render().to_string(),
        _ => text.render().ansi().to_string(),
    }
}

/// Lets `-1` be the value of any flag: whether it may be is checked where the flag is, and said in its terms.
fn negative_numbers(command: Command) -> Command {
    let values = |arg: clap::Arg| {
        let takes = arg.get_long().is_some() && arg.get_action().takes_values();
        arg.allow_negative_numbers(takes)
    };
    command.mut_args(values).mut_subcommands(negative_numbers)
}

/// Adds what to do about it, where clap does not know.
fn explain(mut error: clap::Error) -> clap::Error {
    let of = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (argument, usage) = (of(ContextKind::InvalidArg), of(ContextKind::Usage));
    let reads_stdin = ["omega translate", "omega score"].iter().any(|command| usage.contains(command));
    let tip = match error.kind() {
        ErrorKind::UnknownArgument if reads_stdin && !argument.starts_with('-') => {
            format!("text comes from standard input: `< {argument}`, or `--input {argument}`")
        }
        ErrorKind::ValueValidation if error.source().is_some_and(|source| source.is::<ParseIntError>()) => {
            "a whole number is needed, 0 or more".to_owned()
        }
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}
