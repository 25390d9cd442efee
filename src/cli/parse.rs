//! From what was typed to [`Cli`], where clap alone would leave people guessing.

use std::env;
use std::error::Error as _;
use std::io::stdout;
use std::num::ParseIntError;

use anstream::{AutoStream, ColorChoice};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;
use crate::error::Result;
use crate::files::print;
use crate::terminal;

/// The widest usage line fits [columns].
const WIDEST_USAGE: usize = 60;

impl Cli {
    /// What was typed; none if that asked for a help or the version, which have been printed. If it cannot be understood,
    /// says why and exits, as clap does.
    pub fn typed() -> Result<Option<Cli>> {
        let matches = fit_usage(negative_numbers(Cli::command())).try_get_matches();
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

/// Breaks the usage lines, which clap does not wrap, for a terminal that is narrower than they are.
fn fit_usage(mut command: Command) -> Command {
    let given = || env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    match terminal::columns(stdout()).or_else(given).filter(|columns| *columns < WIDEST_USAGE) {
        Some(columns) => {
            command.build(); // so that subcommands know their full names
            with_usage_within(command, columns)
        }
        None => command,
    }
}

fn with_usage_within(mut command: Command, columns: usize) -> Command {
    let usage = command.render_usage().to_string();
    if usage.lines().any(|line| line.chars().count() > columns) {
        let words = usage.trim_start_matches("Usage: ");
        command = command.override_usage(broken(words, columns - "Usage: ".len().min(columns)));
    }
    command.mut_subcommands(|command| with_usage_within(command, columns))
}

/// `usage` in lines of at most `columns`, where its words allow it. A flag stays with its value.
fn broken(usage: &str, columns: usize) -> String {
    let (mut text, mut wide, mut glued) = (String::new(), 0, true);
    let mut words = usage.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let value = words.peek().filter(|_| word.starts_with("--")).map_or(0, |value| 1 + value.chars().count());
        let own = word.chars().count();
        if !glued && wide + 1 + own + value > columns {
            // Beside the word `Usage`, four columns in.
            text += "\n           ";
            wide = 4;
        } else if !text.is_empty() {
            text.push(' ');
            wide += 1;
        }
        text += word;
        wide += own;
        glued = value > 0;
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_is_broken_between_a_flag_and_the_next() {
        let usage = "omega export MODEL --to FORMAT\n           --out DIR [OPTIONS]";
        assert_eq!(broken(usage, 33), "omega export MODEL --to FORMAT\n           --out DIR [OPTIONS]");
        assert_eq!(broken(usage, 29), "omega export MODEL\n           --to FORMAT --out DIR\n           [OPTIONS]");
        assert_eq!(broken(usage, 1).lines().count(), 6);
    }
}
