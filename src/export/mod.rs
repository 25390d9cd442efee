//! `omega export`: a trained model as a plain Transformer for another program, and `omega import`, the way back.

mod ctranslate2;
mod fairseq;
pub mod fold;
mod hf;
mod tokenizer;

use std::path::{Path, PathBuf};

use half::{bf16, f16};

use crate::checkpoint::{self, Checkpoint, RunState};
use crate::cli::export::{ExportArgs, ExportType, Format};
use crate::error::{Error, Result};
use crate::files::{PendingFolder, give_up_at_interrupt, write_whole};
use crate::terminal::{self, say};
use crate::text::Dictionary;

pub use fairseq::import;
use fold::{Weights, fold};

/// Below this |ω| a folded matrix is large and what it reads small: said, not refused.
const SMALL_OMEGA: f32 = 1e-3;

/// Below this |ω| nothing is folded into f16. What a sublayer reads is ω·x then; f16 keeps all its bits from 2⁻¹⁴ on, so
/// that x down to 2⁻⁶ of its deviation keeps them too. bf16 has the range of f32.
const LEAST_OMEGA_IN_F16: f32 = 1.0 / 256.0;

/// The dictionaries and tokenizer that go with a model.
struct TextFiles {
    folder: PathBuf,
    source: String,
    target: String,
    dictionary: Dictionary,
}

impl TextFiles {
    /// `missing` is what to do where there is no dictionary.
    fn open(folder: PathBuf, state: &RunState, missing: &str) -> Result<TextFiles> {
        let path = folder.join(format!("dict.{}.txt", state.target));
        let dictionary = Dictionary::load(&path).map_err(|error| error.hint(missing))?;
        if dictionary.len() != state.model.vocab {
            let (got, expected) = (dictionary.len(), state.model.vocab);
            return Err(Error::data(format!("{}: {got} symbols, the checkpoint has {expected}", path.display())));
        }
        Ok(TextFiles { folder, source: state.source.clone(), target: state.target.clone(), dictionary })
    }

    fn expect_shared(&self) -> Result<()> {
        self.dictionary.expect_shared(&self.folder, &self.source, &self.target)
    }

    fn tokenizer(&self) -> PathBuf {
        self.folder.join("tokenizer.json")
    }

    /// Puts copies into `to`.
    fn copy(&self, to: &Path) -> Result<()> {
        let names = [&self.source, &self.target].map(|language| format!("dict.{language}.txt"));
        for name in names.into_iter().chain(["tokenizer.json".to_owned()]) {
            let from = self.folder.join(&name);
            if from.exists() {
                let bytes = std::fs::read(&from).map_err(|error| Error::io(&from, "read", error))?;
                write_whole(&to.join(name), &bytes)?;
            }
        }
        Ok(())
    }
}

/// Runs the command.
pub fn export(args: &ExportArgs) -> Result<()> {
    check(args)?;
    give_up_at_interrupt()?;
    let path = Checkpoint::find(&args.model)?;
    let checkpoint = Checkpoint::open(&path)?;
    let own = || path.parent().unwrap_or(Path::new("")).to_owned();
    let folder = args.data.clone().unwrap_or_else(own);
    let text = TextFiles::open(folder, &checkpoint.state, "give the data folder with --data")?;
    checkpoint
        .expect_text(&text.folder, &text.dictionary)
        .map_err(|error| error.hint("give the folder that the model was trained on with --data"))?;
    text.expect_shared()?;
    let mut weights = Weights::new(checkpoint.state.model.clone(), checkpoint.parameters()?)
        .map_err(|error| error.context(path.display()))?;
    if !args.keep_omega {
        warn(&weights, args.dtype)?;
        weights = fold(weights)?;
    }
    let folder = PendingFolder::create(&args.out)?;
    let to = folder.meanwhile();
    match args.to {
        Format::Plain => write_run(to, &weights, &checkpoint.state)?,
        Format::Fairseq => fairseq::write(to, &weights, &checkpoint.state)?,
        Format::Hf => hf::write(to, &weights, args.dtype)?,
        Format::Ctranslate2 => ctranslate2::write(to, &weights, &text.dictionary, args.dtype)?,
    }
    if args.to == Format::Hf {
        tokenizer::write(to, &text.dictionary, &text.tokenizer(), hf::special_tokens(&weights.config))?;
    } else {
        text.copy(to)?;
    }
    folder.publish()?;
    let parameters: usize = weights.tensors()?.iter().map(|tensor| tensor.data.len()).sum();
    say(format!("{}: {}, {parameters} parameters", args.out.display(), weights.config.describe()));
    Ok(())
}

fn check(args: &ExportArgs) -> Result<()> {
    let half = args.dtype != ExportType::F32;
    if half && matches!(args.to, Format::Plain | Format::Fairseq) {
        return Err(Error::usage("--dtype: plain and fairseq hold f32, as checkpoints do")
            .hint("--dtype is for --to hf and --to ctranslate2"));
    }
    if args.keep_omega && args.to != Format::Fairseq {
        return Err(Error::usage("--keep-omega is for --to fairseq: the other programs know no ω"));
    }
    Ok(())
}

/// Says where folding costs precision; an error where it costs f16 too much.
fn warn(weights: &Weights, dtype: ExportType) -> Result<()> {
    let Some((least, place)) = weights.smallest_omega()? else { return Ok(()) };
    let shown = if least == 0.0 { "0".to_owned() } else { format!("{least:e}") };
    if dtype == ExportType::F16 && least < LEAST_OMEGA_IN_F16 {
        let message = format!("|ω| is {shown} at {place}: f16 needs at least 1/{}", 1.0 / LEAST_OMEGA_IN_F16);
        return Err(Error::data(message).hint("export in f32 or bf16"));
    }
    if least < SMALL_OMEGA {
        terminal::warn(format!("|ω| is {shown} at {place}: folded, it makes small sums of large numbers there"));
    }
    Ok(())
}

/// A run folder's checkpoint: the model with the state's record of what trained it, without optimiser state.
fn write_run(to: &Path, weights: &Weights, state: &RunState) -> Result<()> {
    let state = RunState { model: weights.config.clone(), ..state.clone() };
    checkpoint::write(&to.join("checkpoint_best.safetensors"), &weights.tensors()?, &state)
}

/// `values` in `dtype`, little-endian. An error names the tensor if a value is beyond f16.
fn to_bytes(name: &str, values: &[f32], dtype: ExportType) -> Result<Vec<u8>> {
    Ok(match dtype {
        ExportType::F32 => bytemuck::cast_slice(values).to_vec(),
        ExportType::Bf16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        ExportType::F16 => {
            if let Some(value) = values.iter().find(|value| !f16::from_f32(**value).is_finite()) {
                return Err(Error::data(format!("`{name}` holds {value}, beyond f16")).hint("export in f32 or bf16"));
            }
            values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
        }
    })
}
