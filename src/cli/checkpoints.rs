//! `omega average` and `omega inspect`.

use std::path::PathBuf;

use clap::Args;

/// Averages the parameters of checkpoints, which often translates better than each of them.
#[derive(Debug, Args)]
#[command(after_help = "Example: omega average runs/de-en --last 10 --upper-epoch 90\n\
    omega average a.safetensors b.safetensors --out mean.safetensors\n\
    The result has no optimiser state: it translates, and can be analysed and exported.")]
pub struct AverageArgs {
    /// A run folder to pick from, or checkpoint files
    #[arg(required = true, value_name = "RUN|FILE")]
    pub inputs: Vec<PathBuf>,
    /// The last N epochs' (omega train --keep-last-epochs)
    #[arg(long, value_name = "N", group = "pick")]
    pub last: Option<usize>,
    /// The last N by updates (omega train --save-interval-updates, --keep-interval-updates)
    #[arg(long, value_name = "N", group = "pick")]
    pub last_updates: Option<usize>,
    /// The N best (omega train --keep-best)
    #[arg(long, value_name = "N", group = "pick")]
    pub best: Option<usize>,
    /// None of a later epoch
    #[arg(long, value_name = "EPOCH")]
    pub upper_epoch: Option<u64>,
    /// File to write [default: checkpoint_average.safetensors in the run folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Says what a run is: its model, its ω, its data, how far it is, and its checkpoints.
#[derive(Debug, Args)]
#[command(after_help = "Example: omega inspect runs/de-en\nomega inspect runs/de-en/checkpoint12.safetensors --json")]
pub struct InspectArgs {
    /// Run folder or checkpoint file
    pub run: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
