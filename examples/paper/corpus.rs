//! The text that the runs train on, and the loss of the best predictor that ignores its input.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use omega::text::pairs::DataFolder;

use crate::{Args, Result};

const VOCAB: usize = 4000;
/// By which Multi30k is known.
const MULTI30K_PAIRS: usize = 29_000;
const SMOOTHING: f64 = 0.1;

pub struct Corpus {
    pub bin: PathBuf,
    /// Training pairs.
    pairs: usize,
    /// Whether the text is Multi30k, for which absolute criteria exist.
    pub multi30k: bool,
    /// Label-smoothed validation loss of the training text's unigram distribution [nats per token].
    pub constant: f64,
}

/// The name of the validation text in `folder`; an error if there is none.
pub fn expect_text(folder: &Path) -> Result<&'static str> {
    let valid = ["val", "valid"].into_iter().find(|name| open(&folder.join(name), "de").is_ok());
    valid.ok_or_else(|| {
        let folder = folder.display();
        format!("{folder}: no val.de or valid.de; give Multi30k's folder (`make paper TEXT=DIR`), or `make demo` first")
            .into()
    })
}

impl Corpus {
    /// A data-bin of `args.text` whose validation split is the first `valid_pairs` pairs.
    pub fn prepare(args: &Args, valid_pairs: usize) -> Result<Corpus> {
        let folder = args.runs.join(format!("data-{valid_pairs}"));
        let bin = folder.join("bin");
        claim(args)?;
        if !folder.join("done").exists() {
            std::fs::create_dir_all(&folder)?;
            let valid = expect_text(&args.text)?;
            for lang in ["de", "en"] {
                let lines = BufReader::new(open(&args.text.join(valid), lang)?).lines().take(valid_pairs);
                let mut out = File::create(folder.join("valid").with_extension(lang))?;
                for line in lines {
                    writeln!(out, "{}", line?)?;
                }
            }
            let mut prepare = Command::new(&args.omega);
            prepare.args(["prepare", "--source", "de", "--target", "en", "--vocab-size", &VOCAB.to_string()]);
            prepare.arg("--train").arg(args.text.join("train")).arg("--valid").arg(folder.join("valid"));
            if !prepare.arg("--out").arg(&bin).status()?.success() {
                return Err("omega prepare failed".into());
            }
            File::create(folder.join("done"))?;
        }
        let data = DataFolder::open(&bin)?;
        let (train, valid) = (data.pairs("train")?, data.pairs("valid")?);
        let targets = |pairs: &omega::text::pairs::Pairs| {
            (0..pairs.len()).flat_map(|i| pairs.target.sentence(i)).map(|id| id as usize).collect::<Vec<_>>()
        };
        let (pairs, constant) = (train.len(), constant_loss(&targets(&train), &targets(&valid)));
        Ok(Corpus { bin, pairs, multi30k: pairs == MULTI30K_PAIRS, constant })
    }

    /// As pages name it.
    pub fn name(&self) -> String {
        if self.multi30k {
            "Multi30k German–English".to_owned()
        } else {
            format!("{} German–English pairs", self.pairs)
        }
    }
}

/// Runs belong to one text; an error if those in the folder are of another.
fn claim(args: &Args) -> Result<()> {
    let text = args.text.canonicalize().map_err(|error| format!("{}: {error}", args.text.display()))?;
    let (text, note) = (text.to_string_lossy().into_owned(), args.runs.join("text"));
    match std::fs::read_to_string(&note) {
        Ok(of) if of != text => {
            Err(format!("{} holds runs on {of}: name another folder with --runs", args.runs.display()).into())
        }
        Ok(_) => Ok(()),
        Err(_) => {
            std::fs::create_dir_all(&args.runs)?;
            Ok(std::fs::write(note, text)?)
        }
    }
}

fn open(prefix: &Path, lang: &str) -> Result<Box<dyn Read>> {
    let plain = PathBuf::from(format!("{}.{lang}", prefix.display()));
    Ok(match File::open(&plain) {
        Ok(file) => Box::new(file),
        Err(_) => Box::new(flate2::read::MultiGzDecoder::new(File::open(format!("{}.gz", plain.display()))?)),
    })
}

/// The constant distribution that is best for the smoothed loss on `train`, p = (1 − ε)·unigram + ε/V, measured on `valid`.
fn constant_loss(train: &[usize], valid: &[usize]) -> f64 {
    let mut counts = vec![0.0; VOCAB.max(1 + train.iter().chain(valid).copied().max().unwrap_or(0))];
    let share = SMOOTHING / counts.len() as f64;
    train.iter().for_each(|&id| counts[id] += 1.0 / train.len() as f64);
    let log_p: Vec<f64> = counts.iter().map(|q| ((1.0 - SMOOTHING) * q + share).ln()).collect();
    let nll = -valid.iter().map(|&id| log_p[id]).sum::<f64>() / valid.len() as f64;
    (1.0 - SMOOTHING) * nll - share * log_p.iter().sum::<f64>()
}
