//! What a shell wants of a command line: completions and manual pages, made from the flags themselves.

use clap::builder::{Resettable, StyledStr};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli::Cli;
use crate::cli::shell::{CompletionsArgs, ManArgs};
use crate::error::{Error, Result};
use crate::files::{Folder, print, write_whole};

/// Prints the completions.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "omega", &mut text);
    print(&String::from_utf8_lossy(&text)).map(drop)
}

/// Prints the page of `omega`, or writes all pages.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut command = without_help(Cli::command());
    command.build(); // so that subcommands know their full names
    let source = format!("omega {}", command.get_version().unwrap_or_default());
    let page = |command: &Command| page(command, &source).map_err(|error| Error::data(format!("manual page: {error}")));
    let Some(folder) = &args.out else {
        return print(&String::from_utf8_lossy(&page(&command)?)).map(drop);
    };
    let _folder = Folder::open(folder)?; // gone again if nothing can be put there
    let mut todo = vec![(String::from("omega"), &command)];
    while let Some((name, command)) = todo.pop() {
        write_whole(&folder.join(format!("{name}.1")), &page(command)?)?;
        todo.extend(command.get_subcommands().map(|sub| (format!("{name}-{}", sub.get_name()), sub)));
    }
    Ok(())
}

/// The page of `command`, with `source` in its footer.
fn page(command: &Command, source: &str) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // clap_mangen would fill the tail of the help: its lines would run together.
    let bare = command.clone().after_help(Resettable::Reset);
    Man::new(bare).source(source).render(&mut text)?;
    let tail = command.get_after_help().map_or(String::new(), StyledStr::to_string);
    sections(&tail).to_writer(&mut text)?;
    Ok(text)
}

/// The tail of a help: the commands in it are examples, the rest are notes.
fn sections(tail: &str) -> Roff {
    let lines = tail.lines().map(|line| line.strip_prefix("Example: ").unwrap_or(line));
    let (examples, notes): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("omega "));
    let mut roff = Roff::new();
    for (heading, lines) in [("EXAMPLES", examples), ("NOTES", notes)] {
        if !lines.is_empty() {
            roff.control("SH", [heading]).control("nf", []);
            for line in lines {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
    }
    roff
}

/// Without the command `help`, which has no page that others could name.
fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
