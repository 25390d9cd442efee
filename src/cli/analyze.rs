//! `omega analyze …`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::config::{Arch, Residual};
use crate::device::DeviceChoice;

#[derive(Debug, Args)]
#[command(after_help = "Example: omega analyze omega runs/demo --svg omega.svg")]
pub struct AnalyzeArgs {
    #[command(subcommand)]
    pub what: Analysis,
}

#[derive(Debug, Subcommand)]
pub enum Analysis {
    /// Share of each residual branch in each sublayer's output, as a triangle (the original's plot_variance)
    #[command(after_help = "Example: omega analyze dependency data-bin/demo --encoder-layers 18 --svg shares.svg\n\
        omega analyze dependency runs/demo")]
    Dependency(DependencyArgs),
    /// Norm of the loss's gradient at each sublayer's output (plot_gradient)
    #[command(after_help = "Example: omega analyze gradients data-bin/demo --residual post-ln --svg gradients.svg")]
    Gradients(ModelArgs),
    /// Change of each sublayer's output when the parameters change a little (plot_stability)
    #[command(after_help = "Example: omega analyze stability runs/demo --gradient-as-delta")]
    Stability(StabilityArgs),
    /// Change of an encoder stack's output against its depth, for Post-LN, Pre-LN and Admin
    #[command(after_help = "Example: omega analyze depth --seeds 30 --svg depth.svg")]
    Depth(DepthArgs),
    /// ω per sublayer and channel: what a run began with and what it learnt
    #[command(after_help = "Example: omega analyze omega runs/demo --svg omega.svg")]
    Omega(OmegaArgs),
}

impl OutputArgs {
    /// Whether the numbers are wanted on stdout, whatever else is.
    pub fn json_to_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }
}

impl Analysis {
    /// Where its results go.
    pub fn output(&self) -> &OutputArgs {
        match self {
            Analysis::Dependency(args) => &args.model.output,
            Analysis::Gradients(args) => &args.output,
            Analysis::Stability(args) => &args.model.output,
            Analysis::Depth(args) => &args.output,
            Analysis::Omega(args) => &args.output,
        }
    }
}

#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Write the numbers to a file; `-` is stdout
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw them
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Run folder: its best checkpoint, else its last; or one of its files. Or data-bin folder: initial values
    #[arg(value_name = "RUN_OR_DATA")]
    pub subject: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
    /// Flags of `omega train`, as a TOML file; of a run, its own are taken
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sizes to start from [default: demo]
    #[arg(long, hide_possible_values = true)]
    pub arch: Option<Arch>,
    /// Layers of the encoder; this and the next four win over --arch
    #[arg(long, value_name = "N")]
    pub encoder_layers: Option<usize>,
    /// Layers of the decoder
    #[arg(long, value_name = "N")]
    pub decoder_layers: Option<usize>,
    /// Width of embeddings and sublayers
    #[arg(long, value_name = "N")]
    pub d_model: Option<usize>,
    /// Width inside the feed-forward sublayers
    #[arg(long, value_name = "N")]
    pub ffn: Option<usize>,
    /// Attention heads, which divide the width
    #[arg(long, value_name = "N")]
    pub heads: Option<usize>,
    /// post-ln, pre-ln, admin, rezero or rezero-post-ln [default: admin]
    #[arg(long, hide_possible_values = true)]
    pub residual: Option<Residual>,
    /// profile, analytic, or a profile.ratio.init file [default: profile]
    #[arg(long, value_name = "profile|analytic|FILE")]
    pub omega: Option<String>,
    /// Tokens of the batch, padding counted; it is the first of the training text
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Of the initial values, and of random signs [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// auto, cuda, cuda:N, soft or soft:checked [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

#[derive(Debug, Args)]
pub struct DependencyArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The original's statistic, with its quirks
    #[arg(long)]
    pub original: bool,
}

#[derive(Debug, Args)]
pub struct StabilityArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The original's statistic, with its quirks
    #[arg(long)]
    pub original: bool,
    /// Change the parameters by 1e-6 along the gradient's sign, not by 1e-4 with random signs
    #[arg(long)]
    pub gradient_as_delta: bool,
}

#[derive(Debug, Args)]
pub struct DepthArgs {
    /// Deepest stack; two sublayers are a layer
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=2000))]
    pub max_sublayers: u64,
    /// Models to average over, with seeds 1, 2, …
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Told apart by commas; admin-analytic is Admin with the analytic ω
    #[arg(long, value_name = "SCHEMES", value_delimiter = ',', default_value = "post-ln,pre-ln,admin,admin-analytic")]
    pub schemes: Vec<String>,
    #[command(flatten)]
    pub output: OutputArgs,
    /// auto, cuda, cuda:N, soft or soft:checked
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}

#[derive(Debug, Args)]
pub struct OmegaArgs {
    /// Run folder of an Admin model
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}
