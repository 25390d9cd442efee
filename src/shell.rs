//! What a shell wants of a command line: completions and manual pages, made from the flags themselves.

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::cli::shell::{CompletionsArgs, ManArgs};
use crate::error::{Error, Result};
use crate::files::{create_folder, print, write_whole};

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
    let page = |command: &clap::Command| {
        let mut text = Vec::new();
        let rendered = Man::new(command.clone()).render(&mut text);
        rendered.map(|()| text).map_err(|error| Error::data(format!("manual page: {error}")))
    };
    let Some(folder) = &args.out else {
        return print(&String::from_utf8_lossy(&page(&command)?)).map(drop);
    };
    create_folder(folder)?;
    let mut todo = vec![(String::from("omega"), &command)];
    while let Some((name, command)) = todo.pop() {
        write_whole(&folder.join(format!("{name}.1")), &page(command)?)?;
        todo.extend(command.get_subcommands().map(|sub| (format!("{name}-{}", sub.get_name()), sub)));
    }
    Ok(())
}

/// Without the command `help`, which has no page that others could name.
fn without_help(command: clap::Command) -> clap::Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}
