//! From what was typed to [`Cli`], where clap alone would leave people guessing.

use std::error::Error as _;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;

impl Cli {
    /// What was typed. If it cannot be understood, says why and exits, as clap does.
    pub fn typed() -> Cli {
        let matches = negative_numbers(Cli::command()).try_get_matches();
        let cli = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
        cli.unwrap_or_else(|error| explain(error).exit())
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
