//! `omega translate`: lines of stdin or a file → batches → beam search → lines of stdout or a file, in the order they came.

pub mod attention;
mod input;
mod interactive;
mod output;
pub mod search;

use std::fmt::Write as _;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::checkpoint::{Checkpoint, expect_no_part_of_a_run};
use crate::cli::{TooLong, TranslateArgs};
use crate::config::dtype;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{expect_picture, give_up_at_interrupt, write_whole};
use crate::model::Model;
use crate::ops::attention::MAX_BATCH;
use crate::plot;
use crate::terminal::{Progress, detail, say, warn};
use crate::text::batch::Limits;
use crate::text::{Batches, Coder, Dictionary, EOS};

use input::Source;
use output::Output;
use search::{Hypothesis, Search, search};

/// A trained model with its text coder.
pub struct Translator {
    dev: Device,
    model: Model,
    coder: Coder,
    settings: Search,
    max_tokens: usize,
    too_long: TooLong,
    /// What messages call the text.
    text: String,
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

/// What to do where dictionary or tokenizer are not those of the model.
const TRAINED_ON: &str = "give the folder that the model was trained on with --data";

/// Where dictionary and tokenizer are: `data` if given, else beside the checkpoint, where training put copies.
fn coder(data: Option<&Path>, path: &Path, checkpoint: &Checkpoint) -> Result<Coder> {
    let folder: PathBuf = match data {
        Some(folder) => folder.to_owned(),
        None => path.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let (source, target, vocab) = (&checkpoint.state.source, &checkpoint.state.target, checkpoint.state.model.vocab);
    let path = folder.join(format!("dict.{target}.txt"));
    let dictionary = Dictionary::load(&path).map_err(|error| error.hint("give the data folder with --data"))?;
    if dictionary.len() != vocab {
        let message = format!("{}: {} symbols, the checkpoint has {vocab}", path.display(), dictionary.len());
        return Err(Error::data(message).hint(TRAINED_ON));
    }
    checkpoint.expect_text(&folder, &dictionary).map_err(|error| error.hint(TRAINED_ON))?;
    dictionary.expect_shared(&folder, source, target)?;
    Coder::of_folder(&folder, dictionary)
}

impl Translator {
    /// Loads what `args` names, for lines of what messages are to call `text`.
    pub fn load(args: &TranslateArgs, text: String) -> Result<Translator> {
        let settings = settings(args)?;
        let path = Checkpoint::find(&args.model)?;
        let (checkpoint, began) = (Checkpoint::open(&path)?, Instant::now());
        let config = checkpoint.state.model.clone();
        let most = config.vocab.min(MAX_BATCH);
        if settings.beam > most {
            let message = format!("--beam {}: at most {most} hypotheses are possible", settings.beam);
            return Err(Error::usage(message).hint("4 to 10 are usual; more rarely translate better"));
        }
        let coder = coder(args.data.as_deref(), &path, &checkpoint)?;
        let dev = Device::open(args.device)?;
        let model = Model::of_dtype(&dev, config, dtype(args.fp16, args.bf16)?)?;
        checkpoint.restore(&model, None)?;
        detail(format!("{}: {}", path.display(), model.config.describe()));
        detail(format!("on {}, ready in {:.1} s", dev.name(), began.elapsed().as_secs_f64()));
        let (max_tokens, too_long) = (args.max_tokens, args.too_long);
        Ok(Translator { dev, model, coder, settings, max_tokens, too_long, text })
    }

    /// Up to `beam` translations of each line, the best first; `done` hears of lines whose translations have been found.
    /// Errors name the line, counted from `first`.
    pub fn translate(
        &self,
        lines: &[String],
        first: usize,
        done: &mut dyn FnMut(&[usize]),
    ) -> Result<Vec<Vec<Translation>>> {
        let sources = lines.iter().enumerate().map(|(number, line)| self.encode(line, first + number));
        let sources: Vec<Vec<u32>> = sources.collect::<Result<_>>()?;
        let mut texts = vec![Vec::new(); lines.len()];
        let mut all = translate_ids(&self.dev, &self.model, &sources, &self.settings, self.max_tokens, done)?;
        all.sort_by_key(|(number, _)| *number); // the error is that of the first line that has one
        for (number, hypotheses) in all {
            let translation = |h: Hypothesis| {
                Ok(Translation { text: self.coder.decode(&h.tokens)?, score: h.score, tokens: h.tokens })
            };
            expect_scored(&hypotheses)
                .map_err(|error| error.context(format!("{} line {}", self.text, first + number)))?;
            texts[number] = hypotheses.into_iter().map(translation).collect::<Result<_>>()?;
        }
        Ok(texts)
    }

    /// The ids of `line`, cropped to what the model takes, and how many there were.
    fn cropped(&self, line: &str) -> Result<(Vec<u32>, usize)> {
        let (mut ids, most) = (self.coder.encode(line)?, self.model.config.max_positions);
        let all = ids.len();
        if all > most {
            ids.truncate(most - 1);
            ids.push(EOS);
        }
        Ok((ids, all))
    }

    /// The ids of line `number`; of one that is too long what `--too-long` says.
    fn encode(&self, line: &str, number: usize) -> Result<Vec<u32>> {
        let (ids, all) = self.cropped(line)?;
        if all == ids.len() {
            return Ok(ids);
        }
        let what = format!("{} line {number} has {} tokens, the model takes {}", self.text, all - 1, ids.len() - 1);
        match self.too_long {
            TooLong::Error => Err(Error::data(what).hint(
                "split it into sentences, or leave it out with `--too-long skip`, or its end with `--too-long crop`",
            )),
            TooLong::Skip => {
                warn(format!("{what}: skipped"));
                Ok(vec![EOS])
            }
            TooLong::Crop => {
                warn(format!("{what}: cropped"));
                Ok(ids)
            }
        }
    }

    /// Which of the `lines`, counted from `first`, is the first one that is an error, and the error.
    fn first_refused(&self, lines: &[String], first: usize) -> Option<(usize, Error)> {
        let refused = |(at, line): (usize, &String)| Some((at, self.encode(line, first + at).err()?));
        (self.too_long == TooLong::Error).then(|| lines.iter().enumerate().find_map(refused)).flatten()
    }

    /// The picture of where decoder layer `layer` (from 1; the last without it) looked in `line` for `translation`.
    pub fn attention(&self, line: &str, translation: &Translation, layer: Option<usize>) -> Result<String> {
        let ((source, _), layers) = (self.cropped(line)?, self.model.config.decoder_layers);
        let layer = layer.unwrap_or(layers);
        if layer == 0 || layer > layers {
            return Err(Error::usage(format!("--attention-layer {layer}: the decoder has layers 1 to {layers}")));
        }
        let p = attention::cross_attention(&self.dev, &self.model, &source, &translation.tokens, layer - 1)?;
        let names = |ids: &[u32]| ids.iter().map(|id| self.coder.dictionary().symbol(*id)).collect::<Vec<_>>();
        let title = format!("attention of decoder layer {layer}, mean of its heads");
        Ok(plot::tokens(&title, &names(&source), &names(&translation.tokens), &p, "probability"))
    }
}

/// An error unless there is a hypothesis, with a score: an empty translation must not stand for a model that fails.
fn expect_scored(hypotheses: &[Hypothesis]) -> Result<()> {
    match hypotheses.first() {
        None => Err(Error::data("every hypothesis was ruled out before it could end")
            .hint("a smaller --min-len, or a larger --no-repeat-ngram-size, leaves more")),
        Some(best) if best.score.is_nan() => Err(Error::data(
            "the model's scores are not numbers: parameters of it are NaN or infinite, or too large for --fp16",
        )
        .hint("translate with an earlier checkpoint, or without --fp16")),
        Some(_) => Ok(()),
    }
}

/// Hypotheses of each of `sources` that holds more than the end symbol, with its number; longest batches of
/// `max_tokens`, sentences of like length together. `done` hears of the numbers of each batch.
pub fn translate_ids(
    dev: &Device,
    model: &Model,
    sources: &[Vec<u32>],
    settings: &Search,
    max_tokens: usize,
    done: &mut dyn FnMut(&[usize]),
) -> Result<Vec<(usize, Vec<Hypothesis>)>> {
    // An empty line has nothing to translate, and a model asked for it makes something up.
    let numbers: Vec<usize> = (0..sources.len()).filter(|number| sources[*number].len() > 1).collect();
    let lengths: Vec<(usize, usize)> = numbers.iter().map(|number| (sources[*number].len(), 0)).collect();
    let longest = lengths.iter().map(|(source, _)| *source).max().unwrap_or(0);
    let max_positions = model.config.max_positions;
    let limits = Limits {
        max_tokens: max_tokens.max(longest),
        max_sentences: (MAX_BATCH / settings.beam).max(1),
        max_positions,
    };
    let mut results = Vec::with_capacity(numbers.len());
    for batch in Batches::plan(&lengths, limits, 0)?.iter() {
        let batch: Vec<usize> = batch.iter().map(|at| numbers[*at as usize]).collect();
        let ids: Vec<&[u32]> = batch.iter().map(|number| sources[*number].as_slice()).collect();
        let found = search(dev, model, &ids, settings)?;
        done(&batch);
        results.extend(batch.into_iter().zip(found));
    }
    Ok(results)
}

fn settings(args: &TranslateArgs) -> Result<Search> {
    let counts = [("beam", args.beam), ("max-tokens", args.max_tokens), ("buffer-size", args.buffer_size)];
    if let Some((flag, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Error::usage(format!("--{flag} 0: at least 1 is needed")));
    }
    if let Some(nbest) = args.nbest.filter(|nbest| *nbest == 0 || *nbest > args.beam) {
        let beam = args.beam;
        return Err(Error::usage(format!("--nbest {nbest}: 1 to --beam {beam} translations exist")));
    }
    let numbers = [("lenpen", args.lenpen), ("unkpen", args.unkpen), ("max-len-a", args.max_len_a)];
    if let Some((flag, value)) = numbers.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::usage(format!("--{flag} {value}: not a number")));
    }
    if args.max_len_a < 0.0 {
        return Err(Error::usage(format!("--max-len-a {}: a number that is not negative is needed", args.max_len_a)));
    }
    if args.max_len_a == 0.0 && args.min_len > args.max_len_b {
        let (least, most) = (args.min_len, args.max_len_b);
        return Err(Error::usage(format!("--min-len {least} is above the longest output, --max-len-b {most}")));
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

/// An error if `--output` would replace the text that is read, or what a run is made of.
fn expect_apart(args: &TranslateArgs) -> Result<()> {
    args.output.as_deref().map_or(Ok(()), |path| expect_no_part_of_a_run("output", path))?;
    let (Some(input), Some(output)) = (&args.input, &args.output) else { return Ok(()) };
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(a), Ok(b)) if a == b => {
            Err(Error::usage(format!("--output {} is the file of --input", output.display())).hint("give another name"))
        }
        _ => Ok(()),
    }
}

/// Runs the command.
pub fn translate(args: &TranslateArgs) -> Result<()> {
    expect_apart(args)?;
    let mut source = Source::open(args.input.as_deref())?;
    // Hours of work must not end at a folder that is not there.
    if let Some(path) = &args.attention {
        expect_picture("attention", path)?;
    }
    if args.output.is_some() {
        give_up_at_interrupt()?;
    }
    let mut output = Output::open(args.output.as_deref())?;
    let translator = Translator::load(args, source.name())?;
    if args.interactive {
        return interactive::converse(&translator, args);
    }
    if args.too_long == TooLong::Error {
        // Nor at the last line.
        source.look_through(|number, line| translator.encode(line, number).map(drop))?;
    }
    translate_lines(args, &translator, source, &mut output)?;
    output.finish()
}

/// Translates line by line, until there are no more or nobody reads on.
fn translate_lines(args: &TranslateArgs, translator: &Translator, source: Source, output: &mut Output) -> Result<()> {
    let typed = args.input.is_none() && std::io::stdin().is_terminal();
    if typed {
        say("each line is translated as it is typed; Ctrl-D ends; -i shows alternatives and scores");
    }
    let mut progress = (!typed).then(|| Progress::new("translate", source.bytes()));
    let input = source.read(args.buffer_size)?;
    let (mut done, mut bytes, mut drawn) = (0, 0, false);
    let bytes_of = |line: &String| line.len() as u64 + 1;
    loop {
        let (mut lines, mut read) = input.next_lines();
        // What comes before a line that cannot be translated is answered before the error.
        if let Some((at, error)) = translator.first_refused(&lines, done + 1) {
            lines.truncate(at);
            read = Err(error);
        }
        if lines.is_empty() {
            read?;
            if let Some(path) = args.attention.as_ref().filter(|_| !drawn) {
                warn(format!("no line had anything to draw: {} was not written", path.display()));
            }
            return Ok(());
        }
        let (mut found, mut found_bytes) = (0, 0);
        let all = translator.translate(&lines, done + 1, &mut |numbers| {
            found += numbers.len();
            found_bytes += numbers.iter().map(|number| bytes_of(&lines[*number])).sum::<u64>();
            if let Some(progress) = &mut progress {
                progress.count(bytes + found_bytes, (done + found) as u64, "lines");
            }
        })?;
        for (number, (line, translations)) in lines.iter().zip(&all).enumerate() {
            let later = drawn.then_some(done + number + 1);
            drawn |= draw(translator, args, later, line, translations)?;
        }
        if !output.write(&printed(args, done, &all))? {
            return Ok(());
        }
        read?;
        done += lines.len();
        bytes += lines.iter().map(bytes_of).sum::<u64>();
    }
}

/// The lines of the output for the lines of the text from number `first` on: `--nbest` for each, whatever was found.
fn printed(args: &TranslateArgs, first: usize, all: &[Vec<Translation>]) -> String {
    let mut text = String::new();
    for (number, translations) in all.iter().enumerate() {
        for rank in 0..args.nbest.unwrap_or(1) {
            let found = translations.get(rank);
            let shown = found.map_or("", |translation| translation.text.as_str());
            let _ = match (args.scores, found) {
                (false, _) => writeln!(text, "{shown}"),
                (true, Some(found)) => writeln!(text, "{} ||| {shown} ||| {:.6}", first + number, found.score),
                // Nothing to translate is certain; of other lines there may be fewer translations than asked for.
                (true, None) if translations.is_empty() => writeln!(text, "{} |||  ||| {:.6}", first + number, 0.0),
                (true, None) => writeln!(text, "{} |||  ||| -inf", first + number),
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
