//! What can be typed: one clap structure per command. Checking and defaults are in `config.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub mod analyze;
pub mod checkpoints;
pub mod export;
mod parse;
pub mod shell;

use crate::config::{BleuTokens, TrainFlags};
use crate::device::DeviceChoice;

/// Trains deep Transformer translation models with Admin initialisation, on hand-written CUDA kernels.
#[derive(Debug, Parser)]
#[command(
    name = "omega",
    version,
    max_term_width = 100,
    after_help = "Example: omega train data-bin/de-en --save-dir runs/de-en\n\
    `omega COMMAND --help` says more of each."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Say errors and warnings only
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 1000)]
    pub quiet: bool,
    /// Say more: which files are read, how long things take
    #[arg(short, long, global = true, display_order = 1001)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn parallel text into a data-bin folder: joint BPE, dictionaries, binary ids
    Prepare(PrepareArgs),
    /// Train a model on a data-bin folder
    #[command(args_override_self = true)]
    Train(Box<TrainArgs>),
    /// Translate stdin to stdout, or a file to a file
    #[command(args_override_self = true)]
    Translate(TranslateArgs),
    /// BLEU and chrF2 of translations, as sacreBLEU computes them
    Score(ScoreArgs),
    /// Run Admin's profiling pass and print ω per sublayer
    #[command(args_override_self = true)]
    Profile(Box<ProfileArgs>),
    /// Check every kernel against its reference, then say what it costs
    Bench(BenchArgs),
    /// Check every kernel and a whole model on a device: what to run first on a new GPU
    Selftest(SelftestArgs),
    /// What initialisation and training do to the residual branches: numbers and pictures
    Analyze(analyze::AnalyzeArgs),
    /// Average the parameters of checkpoints
    Average(checkpoints::AverageArgs),
    /// Say what a run is: model, ω, data, scores, checkpoints
    Inspect(checkpoints::InspectArgs),
    /// Write a model as a plain Transformer for another program: Transformers, CTranslate2, fairseq
    Export(export::ExportArgs),
    /// Make a run folder of a fairseq model
    Import(export::ImportArgs),
    /// List the devices and say which one `--device auto` takes
    #[command(after_help = "Example: omega devices")]
    Devices,
    /// Print a shell's completions of omega's flags
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one per command
    Man(shell::ManArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example: omega prepare --source de --target en --train my/train --valid my/valid --out my/bin")]
// Usage lines are not wrapped by clap.
#[command(
    override_usage = "omega prepare --source LANG --target LANG\n           --train PREFIX --valid PREFIX --out DIR [OPTIONS]"
)]
pub struct PrepareArgs {
    /// Source language: the ending of its files
    #[arg(long, value_name = "LANG")]
    pub source: String,
    /// Target language
    #[arg(long, value_name = "LANG")]
    pub target: String,
    /// Training text: PREFIX.SOURCE and PREFIX.TARGET, or the same with .gz
    #[arg(long, value_name = "PREFIX")]
    pub train: PathBuf,
    /// Validation text
    #[arg(long, value_name = "PREFIX")]
    pub valid: PathBuf,
    /// Test text
    #[arg(long, value_name = "PREFIX")]
    pub test: Option<PathBuf>,
    /// Size of the joint vocabulary, special symbols included
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub vocab_size: usize,
    /// Use this tokenizer.json instead of training one
    #[arg(long, value_name = "FILE", conflicts_with = "vocab_size")]
    pub tokenizer: Option<PathBuf>,
    /// The text is split into symbols already (subword-nmt, SentencePiece): train no BPE, the dictionary is theirs
    #[arg(long, conflicts_with_all = ["tokenizer", "vocab_size"])]
    pub segmented: bool,
    /// With --segmented: take this dict.LANG.txt, of a run whose model is to read the text
    #[arg(long, value_name = "FILE")]
    pub dict: Option<PathBuf>,
    /// Drop training pairs with fewer tokens on a side
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_len: usize,
    /// Drop training pairs with more tokens on a side
    #[arg(long, value_name = "N", default_value_t = 250)]
    pub max_len: usize,
    /// Drop training pairs whose longer side has more than X times the tokens of the shorter
    #[arg(long, value_name = "X", default_value_t = 9.0)]
    pub max_ratio: f64,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example: omega train data-bin/de-en --save-dir runs/deep --encoder-layers 18 --decoder-layers 18\n\
    -h shows the flags used most, --help all of them; all but the Options are keys of --config too."
)]
pub struct TrainArgs {
    /// data-bin folder, of `omega prepare` or fairseq; of a run that goes on, the one it had
    pub data: Option<PathBuf>,
    /// Run folder to write; a run in it goes on as it was, but for flags typed
    #[arg(long, value_name = "RUN")]
    pub save_dir: Option<PathBuf>,
    /// Read flags from a TOML file (`max-tokens = 4096`); flags typed here win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check flags and data, print parameters, memory and what fits, and end
    #[arg(long)]
    pub dry_run: bool,
    /// Print where the device's time went up to the first validation; each kernel then waits for the one before
    #[arg(long, hide_short_help = true)]
    pub kernel_times: bool,
    #[command(flatten)]
    pub flags: TrainFlags,
}

#[derive(Debug, Args)]
#[command(
    mut_args(hidden_where_nothing_is_trained),
    after_help = "Example: omega profile data-bin/de-en --encoder-layers 18 --out profile.ratio.init\n\
    Flags and --config of `omega train` are understood; what they say of training is not looked at."
)]
pub struct ProfileArgs {
    /// data-bin folder
    pub data: Option<PathBuf>,
    /// Write ω in the original's profile.ratio.init format
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Read flags from a TOML file; flags typed here win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub flags: TrainFlags,
}

/// Leaves in a help what the initialisation of Admin and its batch depend on, each in a line.
fn hidden_where_nothing_is_trained(arg: clap::Arg) -> clap::Arg {
    #[rustfmt::skip]
    const LOOKED_AT: [&str; 21] = [
        "data", "out", "config", "device", "arch", "encoder_layers", "decoder_layers", "d_model", "ffn", "heads", "init",
        "omega", "keep_first_omega_one", "dropout", "attention_dropout", "relu_dropout", "fp16", "bf16", "max_tokens",
        "max_sentences", "seed",
    ];
    let arg = match arg.get_id().as_str() {
        "arch" => arg.help("Sizes to start from: demo, iwslt, wmt or wmt-big [default: demo]"),
        "init" => arg.help("Initialisation: xavier or looks-linear [default: xavier]"),
        id if LOOKED_AT.contains(&id) => arg,
        _ => arg.hide(true),
    };
    arg.hide_possible_values(true).hide_short_help(false)
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example: omega translate runs/de-en --beam 5 < test.de > test.hyp\nomega translate runs/de-en -i"
)]
pub struct TranslateArgs {
    /// Run folder (its checkpoint_best, else checkpoint_last) or a checkpoint file
    pub model: PathBuf,
    /// Text to translate, also packed as .gz [default: stdin]
    #[arg(long, value_name = "FILE", conflicts_with = "interactive")]
    pub input: Option<PathBuf>,
    /// Write the translations to a file, which is there when all of them are [default: stdout]
    #[arg(long, value_name = "FILE", conflicts_with = "interactive")]
    pub output: Option<PathBuf>,
    /// Folder with tokenizer.json and dictionaries, if not the one trained on
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Hypotheses kept at each step; 1 is greedy search
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub beam: usize,
    /// Length penalty: scores are divided by length^X
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub lenpen: f64,
    /// Longest output: max-len-a · source length + max-len-b tokens
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub max_len_a: f64,
    /// See --max-len-a
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max_len_b: usize,
    /// Shortest output, in tokens without the end symbol
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub min_len: usize,
    /// Penalty on the unknown symbol
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub unkpen: f64,
    /// Never repeat an n-gram of this size; 0 allows all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub no_repeat_ngram_size: usize,
    /// Print the N best translations of each line, one per line [default: 1; 3 with -i]; a line with fewer has empty ones too
    #[arg(long, value_name = "N")]
    pub nbest: Option<usize>,
    /// Print `LINE ||| TRANSLATION ||| SCORE`, lines counted from 0, as Marian; a score is a log-probability per token
    #[arg(long, conflicts_with = "interactive")]
    pub scores: bool,
    /// Type a sentence, see its translation, the next best ones and their scores
    #[arg(short, long)]
    pub interactive: bool,
    /// Draw where the decoder looked: FILE.svg for the first line that is not empty, FILE-N.svg for each line N after it
    #[arg(long, value_name = "FILE.svg")]
    pub attention: Option<PathBuf>,
    /// The decoder layer to draw, counted from 1 [default: the last]
    #[arg(long, value_name = "N", requires = "attention")]
    pub attention_layer: Option<usize>,
    /// Rank by the plain sum of log-probabilities
    #[arg(long, conflicts_with = "lenpen")]
    pub unnormalized: bool,
    /// Compute in f16; the checkpoint's parameters are f32 always
    #[arg(long)]
    pub fp16: bool,
    /// Compute in bf16
    #[arg(long)]
    pub bf16: bool,
    /// Source tokens in a batch, padding counted
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub max_tokens: usize,
    /// Lines that are read at most before they are sorted by length and translated; a pipe's are not waited for
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub buffer_size: usize,
    /// A line with more tokens than the model takes: error, before any is translated; skip, which leaves it empty; or crop
    #[arg(long, value_name = "error|skip|crop", default_value = "error", hide_possible_values = true)]
    pub too_long: TooLong,
    /// auto, cuda, cuda:N, soft, or soft:checked (softgpu's checkers watch every kernel)
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}

/// What becomes of a line that is longer than the model's positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TooLong {
    Error,
    Skip,
    Crop,
}

/// Checks every kernel of the ops against the f64 reference, then says what it costs: time on the device, and, counted by
/// softgpu, bytes moved over the compulsory ones, sectors, bank conflicts, instructions; registers, spills, occupancy, and
/// an estimate from data sheets.
#[derive(Debug, Args)]
#[command(after_help = "Example: omega bench embed cross_entropy --dtype f16 --shape model\n\
    The page of all kernels: omega bench --markdown > docs/kernels.md\n\
    On softgpu times are the CPU's and say nothing about a GPU; counts are the same as a GPU's.")]
pub struct BenchArgs {
    /// Ops by the names of their kernel files (embed, linear, …); without any, all
    #[arg(value_name = "OP")]
    pub ops: Vec<String>,
    /// f32, f16 or bf16; without it, each that the op has
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<String>,
    /// model (its usual sizes), small (the odd ones that are checked), or extents of one op, as 4096x512
    #[arg(long, value_name = "SHAPE", default_value = "model")]
    pub shape: String,
    /// Print JSON, with every figure
    #[arg(long, conflicts_with = "markdown")]
    pub json: bool,
    /// Print docs/kernels.md
    #[arg(long)]
    pub markdown: bool,
    /// auto, cuda, cuda:N or soft
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: omega selftest --device cuda")]
pub struct SelftestArgs {
    /// auto, cuda, cuda:N, soft, or soft:checked (softgpu's checkers watch every kernel)
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: omega score --reference test.en < test.hyp")]
pub struct ScoreArgs {
    /// Reference file; give several for several references
    #[arg(long, value_name = "FILE", required = true)]
    pub reference: Vec<PathBuf>,
    /// Translations to score, line by line [default: stdin]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// How BLEU splits lines into words: 13a, or none for text that is tokenised already
    #[arg(long, value_name = "NAME", default_value = "13a")]
    pub tokenize: BleuTokens,
}
