//! `omega export` and `omega import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where an exported model goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A run folder of omega, without ω
    Plain,
    /// safetensors under fairseq's names, with args.json and dictionaries
    Fairseq,
    /// A folder for Transformers' AutoModelForSeq2SeqLM and AutoTokenizer
    Hf,
    /// A folder for ctranslate2.Translator
    Ctranslate2,
}

/// Element type of exported matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportType {
    F32,
    F16,
    Bf16,
}

/// Writes a trained model for another program. ω is folded into norms, matrices and embeddings: what is left is a plain
/// Transformer that computes the same.
#[derive(Debug, Args)]
#[command(after_help = "Example: omega export runs/de-en --to hf --out de-en-hf\n\
    A model trained with --keep-first-omega-one keeps one table for source, target and output.")]
#[command(override_usage = "omega export MODEL --to FORMAT --out DIR [OPTIONS]")]
pub struct ExportArgs {
    /// Run folder (its checkpoint_best, else checkpoint_last) or a checkpoint file
    pub model: PathBuf,
    /// The program it is for
    #[arg(long, value_name = "FORMAT")]
    pub to: Format,
    /// The folder to write, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Element type, for hf and ctranslate2; f16 only where every |ω| is at least 1/256
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub dtype: ExportType,
    /// Leave ω where it is, for the original's fork of fairseq
    #[arg(long)]
    pub keep_omega: bool,
    /// Folder with tokenizer.json and dictionaries, if not the one trained on
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Makes a run folder of a folder that `omega export --to fairseq` wrote, or of a fairseq model's state in safetensors.
#[derive(Debug, Args)]
#[command(after_help = "Example: omega import de-en-fairseq --out runs/imported\n\
    The folder holds model.safetensors, args.json and dict.LANG.txt. Of a fairseq checkpoint in Python:\n  \
    c = torch.load(\"checkpoint.pt\", map_location=\"cpu\")\n  \
    json.dump(vars(c[\"args\"] or c[\"cfg\"][\"model\"]), open(\"args.json\", \"w\"), default=str)\n  \
    safetensors.torch.save_file({k: v.clone() for k, v in c[\"model\"].items()}, \"model.safetensors\")")]
pub struct ImportArgs {
    /// The folder to read
    pub folder: PathBuf,
    /// The run folder to write, which must not be there yet
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
}
