//! `omega translate`: lines on stdin → batches → beam search → lines on stdout, in the order they came.

pub mod attention;
mod interactive;
pub mod search;

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::cli::TranslateArgs;
use crate::config::dtype;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{Pending, print, write_whole};
use crate::model::Model;
use crate::plot;
use crate::terminal::{self, Progress, detail, warn};
use crate::text::batch::Limits;
use crate::text::lines::{Unreadable, next_line};
use crate::text::{Batches, Coder, Dictionary};

use search::{Hypothesis, Search, search};

/// Lines that are read, sorted by length and translated together; at a terminal, one.
const BUFFER: usize = 1000;

/// A trained model with its text coder.
pub struct Translator {
    dev: Device,
    model: Model,
    coder: Coder,
    settings: Search,
    max_tokens: usize,
}

/// A translation of a line.
#[derive(Clone, Debug)]
pub struct Translation {
    pub text: String,
    /// By which translations are ranked: the log-probability per token, by `--lenpen` and `--unnormalized`.
    pub score: f32,
    /// Its symbols; the last one ends it.
    pub tokens: Vec<u32>,
}

/// Where dictionary and tokenizer are: `data` if given, else beside the checkpoint, where training put copies.
fn coder(data: Option<&Path>, checkpoint: &Path, target: &str, vocab: usize) -> Result<Coder> {
    let folder: PathBuf = match data {
        Some(folder) => folder.to_owned(),
        None => checkpoint.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let path = folder.join(format!("dict.{target}.txt"));
    let dictionary = Dictionary::load(&path).map_err(|error| error.hint("give the data folder with --data"))?;
    if dictionary.len() != vocab {
        let message = format!("{}: {} symbols, the checkpoint has {vocab}", path.display(), dictionary.len());
        return Err(Error::data(message).hint("give the folder that the model was trained on with --data"));
    }
    Coder::of_folder(&folder, dictionary)
}

impl Translator {
    /// Loads what `args` names.
    pub fn load(args: &TranslateArgs) -> Result<Translator> {
        let settings = settings(args)?;
        let path = Checkpoint::find(&args.model)?;
        let (checkpoint, began) = (Checkpoint::open(&path)?, Instant::now());
        let config = checkpoint.state.model.clone();
        let coder = coder(args.data.as_deref(), &path, &checkpoint.state.target, config.vocab)?;
        let dev = Device::open(args.device)?;
        let model = Model::of_dtype(&dev, config, dtype(args.fp16, args.bf16)?)?;
        checkpoint.restore(&model, None)?;
        detail(format!("{}: {}", path.display(), model.config.describe()));
        detail(format!("on {}, ready in {:.1} s", dev.name(), began.elapsed().as_secs_f64()));
        Ok(Translator { dev, model, coder, settings, max_tokens: args.max_tokens })
    }

    /// Up to `beam` translations of each line, the best first. Errors name the line, counted from `first`.
    pub fn translate(&self, lines: &[String], first: usize) -> Result<Vec<Vec<Translation>>> {
        let mut sources = Vec::with_capacity(lines.len());
        let most = self.model.config.max_positions;
        for (number, line) in lines.iter().enumerate() {
            let ids = self.coder.encode(line)?;
            if ids.len() > most {
                let message =
                    format!("stdin line {} has {} tokens, the model takes {}", first + number, ids.len() - 1, most - 1);
                return Err(Error::data(message).hint("split the line into sentences"));
            }
            sources.push(ids);
        }
        let mut texts = vec![Vec::new(); lines.len()];
        for (number, hypotheses) in translate_ids(&self.dev, &self.model, &sources, &self.settings, self.max_tokens)? {
            let translation = |h: Hypothesis| {
                Ok(Translation { text: self.coder.decode(&h.tokens)?, score: h.score, tokens: h.tokens })
            };
            texts[number] = hypotheses.into_iter().map(translation).collect::<Result<_>>()?;
        }
        Ok(texts)
    }

    /// The picture of where decoder layer `layer` (from 1; the last without it) looked in `line` for `translation`.
    pub fn attention(&self, line: &str, translation: &Translation, layer: Option<usize>) -> Result<String> {
        let (source, layers) = (self.coder.encode(line)?, self.model.config.decoder_layers);
        let layer = layer.unwrap_or(layers);
        if layer == 0 || layer > layers {
            return Err(Error::usage(format!("--attention-layer {layer}: the decoder has layers 1 to {layers}")));
        }
        let p = attention::cross_attention(&self.dev, &self.model, &source, &translation.tokens, layer - 1)?;
        let names = |ids: &[u32]| ids.iter().map(|id| self.coder.dictionary().symbol(*id)).collect::<Vec<_>>();
        Ok(plot::tokens(&names(&source), &names(&translation.tokens), &p, "attention"))
    }
}

/// Hypotheses of each of `sources` that holds more than the end symbol, with its number; longest batches of
/// `max_tokens`, sentences of like length together.
pub fn translate_ids(
    dev: &Device,
    model: &Model,
    sources: &[Vec<u32>],
    settings: &Search,
    max_tokens: usize,
) -> Result<Vec<(usize, Vec<Hypothesis>)>> {
    // An empty line has nothing to translate, and a model asked for it makes something up.
    let numbers: Vec<usize> = (0..sources.len()).filter(|number| sources[*number].len() > 1).collect();
    let lengths: Vec<(usize, usize)> = numbers.iter().map(|number| (sources[*number].len(), 0)).collect();
    let longest = lengths.iter().map(|(source, _)| *source).max().unwrap_or(0);
    let max_positions = model.config.max_positions;
    let limits = Limits { max_tokens: max_tokens.max(longest), max_sentences: usize::MAX, max_positions };
    let mut results = Vec::with_capacity(numbers.len());
    for batch in Batches::plan(&lengths, limits, 0)?.iter() {
        let batch: Vec<usize> = batch.iter().map(|at| numbers[*at as usize]).collect();
        let ids: Vec<&[u32]> = batch.iter().map(|number| sources[*number].as_slice()).collect();
        results.extend(batch.into_iter().zip(search(dev, model, &ids, settings)?));
    }
    Ok(results)
}

fn settings(args: &TranslateArgs) -> Result<Search> {
    if args.beam == 0 || args.max_tokens == 0 {
        return Err(Error::usage("--beam and --max-tokens: at least 1 is needed"));
    }
    if args.nbest == 0 || args.nbest > args.beam {
        let (nbest, beam) = (args.nbest, args.beam);
        return Err(Error::usage(format!("--nbest {nbest}: 1 to --beam {beam} translations exist")));
    }
    let numbers = [("lenpen", args.lenpen), ("unkpen", args.unkpen), ("max-len-a", args.max_len_a)];
    if let Some((flag, value)) = numbers.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::usage(format!("--{flag} {value}: not a number")));
    }
    if args.max_len_a < 0.0 {
        return Err(Error::usage(format!("--max-len-a {}: a number that is not negative is needed", args.max_len_a)));
    }
    Ok(Search {
        beam: args.beam,
        lenpen: args.lenpen,
        max_len_a: args.max_len_a,
        max_len_b: args.max_len_b,
        min_len: args.min_len,
        unkpen: args.unkpen,
        no_repeat_ngram_size: args.no_repeat_ngram_size,
        unnormalized: args.unnormalized,
    })
}

/// Runs the command from stdin to stdout.
pub fn translate(args: &TranslateArgs) -> Result<()> {
    if let Some(path) = &args.attention {
        // Hours of work must not end at a folder that is not there.
        drop(Pending::create(path)?);
    }
    let translator = Translator::load(args)?;
    if args.interactive {
        return interactive::converse(&translator, args);
    }
    let stdin = std::io::stdin();
    // To whom types, each line is answered at once.
    let typed = stdin.is_terminal();
    let buffer = if typed { 1 } else { BUFFER };
    let mut progress = (!typed).then(|| Progress::new("translate", stdin_bytes()));
    let (mut input, mut done, mut bytes, mut drawn) = (stdin.lock(), 0, 0, false);
    loop {
        let lines = some_lines(&mut input, buffer, done)?;
        if lines.is_empty() {
            if let Some(path) = args.attention.as_ref().filter(|_| !drawn) {
                warn(format!("no line had anything to draw: {} was not written", path.display()));
            }
            return Ok(());
        }
        let all = translator.translate(&lines, done + 1)?;
        for (number, (line, translations)) in lines.iter().zip(&all).enumerate() {
            let later = drawn.then_some(done + number + 1);
            drawn |= draw(&translator, args, later, line, translations)?;
        }
        let text = printed(args, done, &all);
        if !terminal::around_bar(|| print(&text))? {
            return Ok(());
        }
        done += lines.len();
        bytes += lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
        if let Some(progress) = &mut progress {
            progress.count(bytes, done as u64, "lines");
        }
    }
}

/// The lines of stdout for the lines of stdin from number `first` on.
fn printed(args: &TranslateArgs, first: usize, all: &[Vec<Translation>]) -> String {
    let mut text = String::new();
    for (number, translations) in all.iter().enumerate() {
        for rank in 0..args.nbest {
            let found = translations.get(rank);
            let shown = found.map_or("", |translation| translation.text.as_str());
            let _ = match (args.scores, found) {
                (false, _) => writeln!(text, "{shown}"),
                (true, Some(found)) => writeln!(text, "{} ||| {shown} ||| {:.6}", first + number, found.score),
                // An empty line has an empty translation, for certain; of others there may be fewer than asked for.
                (true, None) if translations.is_empty() && rank == 0 => writeln!(text, "{} |||  ||| 0", first + number),
                (true, None) => Ok(()),
            };
        }
    }
    text
}

/// Writes the picture of a line that is not empty, if pictures are asked for: the first to FILE, that of a `later` line, of
/// this number, beside it. Whether there was one.
fn draw(
    translator: &Translator,
    args: &TranslateArgs,
    later: Option<usize>,
    line: &str,
    all: &[Translation],
) -> Result<bool> {
    let (Some(path), Some(best)) = (&args.attention, all.first()) else { return Ok(false) };
    let svg = translator.attention(line, best, args.attention_layer)?;
    let path = later.map_or(path.clone(), |number| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
        path.with_file_name(format!("{stem}-{number}{ending}"))
    });
    write_whole(&path, svg.as_bytes())?;
    Ok(true)
}

/// Length of stdin, where it is a file.
fn stdin_bytes() -> Option<u64> {
    let metadata = std::fs::metadata("/dev/stdin").ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Up to `most` lines; `done` came before.
fn some_lines(input: &mut impl BufRead, most: usize, done: usize) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    while lines.len() < most {
        match next_line(input, done + lines.len()) {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => break,
            Err(Unreadable::Io(error)) => return Err(Error::io(Path::new("stdin"), "read", error)),
            Err(Unreadable::Utf8) => {
                return Err(Error::data(format!("stdin line {}: not UTF-8", done + lines.len() + 1)));
            }
        }
    }
    Ok(lines)
}
