//! `omega completions` and `omega man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "Example: omega completions bash > ~/.local/share/bash-completion/completions/omega")]
pub struct CompletionsArgs {
    /// The shell they are for
    pub shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: omega man | man -l -\nomega man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write omega.1 and a page per command (omega-train.1, …) to a folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
