//! `omega prepare`: parallel text → joint BPE, dictionaries and binarised sentences in fairseq's layout.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;
use std::{fs, io};

use rayon::prelude::*;

use super::coder::Coder;
use super::corpus::CorpusWriter;
use super::dictionary::{Dictionary, SPECIAL};
use super::learn::learn;
use super::lines::PairedLines;
use super::tokenizer::Tokenizer;
use super::words;
use crate::cli::PrepareArgs;
use crate::config::MAX_POSITIONS;
use crate::error::{Error, Result};
use crate::files::{Complete, Folder, Pending, give_up_at_interrupt};
use crate::terminal::{Progress, grouped, say, took, warn};

/// Pairs that are encoded at a time, in parallel.
const CHUNK: usize = 8192;

/// Dictionaries of segmented text have a multiple of so many symbols, by fairseq's default: it suits matrix products in f16.
const PADDING_FACTOR: usize = 8;

/// From this share of unknown tokens on a file is warned of; of text like the training text it is below 1 %.
const MANY_UNKNOWN: f64 = 10.0;

/// What became of the pairs of one split.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    kept: usize,
    empty: usize,
    length: usize,
    ratio: usize,
    sides: [Tokens; 2],
}

/// Tokens of one file, end symbols included, as fairseq counts them.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    all: usize,
    unknown: usize,
}

/// Runs the command. Files get their names only when all of them are complete.
pub fn prepare(args: &PrepareArgs) -> Result<()> {
    check(args)?;
    give_up_at_interrupt()?;
    let _folder = Folder::open(&args.out)?; // an error takes it away again
    refuse_strangers(args)?;
    let tokenizer = match &args.tokenizer {
        _ if args.segmented => None,
        Some(path) => Some(Tokenizer::load(path)?),
        None => {
            let began = Instant::now();
            let tokenizer = learn(args)?;
            took("BPE", began);
            Some(tokenizer)
        }
    };
    let given = args.dict.as_deref().map(Dictionary::load).transpose()?;
    let mut files = Vec::new();
    let symbols = match (&tokenizer, &given) {
        (Some(tokenizer), _) => {
            let mut file = Pending::create(&args.out.join("tokenizer.json"))?;
            file.write(tokenizer.to_json()?.as_bytes())?;
            files.push(file.complete()?);
            tokenizer.symbols()
        }
        (None, Some(dictionary)) => dictionary.symbols()[SPECIAL.len()..].to_vec(),
        (None, None) => symbols_of_text(args)?,
    };
    let coder = Coder::new(Dictionary::new(symbols.iter().map(|symbol| (symbol.clone(), 0)))?, tokenizer);

    say(format!("vocabulary: {} symbols, of both languages together", coder.dictionary().len()));
    let mut counts = vec![0u64; coder.dictionary().len()];
    let splits = [("train", Some(&args.train)), ("valid", Some(&args.valid)), ("test", args.test.as_ref())];
    for (split, prefix) in splits {
        if let Some(prefix) = prefix {
            let counts = (split == "train").then_some(&mut counts);
            let began = Instant::now();
            files.extend(binarise(args, split, prefix, &coder, counts)?);
            took(split, began);
        }
    }
    // A given one stays what it is, counts included, as with fairseq's `--srcdict`.
    let counted = || Dictionary::new(symbols.into_iter().zip(counts.drain(..).skip(SPECIAL.len())));
    let dictionary = given.map_or_else(counted, Ok)?.to_file();
    for language in [&args.source, &args.target] {
        let mut file = Pending::create(&args.out.join(format!("dict.{language}.txt")))?;
        file.write(dictionary.as_bytes())?;
        files.push(file.complete()?);
    }
    Complete::publish_all(files)
}

fn check(args: &PrepareArgs) -> Result<()> {
    if args.source == args.target {
        return Err(Error::usage(format!("--source and --target are both {}", args.source)));
    }
    for (flag, language) in [("source", &args.source), ("target", &args.target)] {
        if language.is_empty() || language.contains(['.', '-', '/']) {
            let message = format!("--{flag} {language}: a language is the ending of a file, without `.`, `-` or `/`");
            return Err(Error::usage(message));
        }
    }
    if args.dict.is_some() && !args.segmented {
        return Err(Error::usage("--dict needs --segmented").hint("text that is not split yet takes --tokenizer FILE"));
    }
    if args.max_len == 0 || args.max_len >= MAX_POSITIONS {
        let message = format!("--max-len {}: 1 to {} tokens are possible", args.max_len, MAX_POSITIONS - 1);
        return Err(Error::usage(message));
    }
    if args.max_ratio.is_nan() || args.max_ratio < 1.0 {
        return Err(Error::usage(format!("--max-ratio {}: at least 1 is needed", args.max_ratio)));
    }
    Ok(())
}

/// An error if `--out` holds data that this call does not write: binarised with another dictionary, it would be read with the
/// new one.
fn refuse_strangers(args: &PrepareArgs) -> Result<()> {
    let (out, pair) = (args.out.display(), format!("{}-{}", args.source, args.target));
    let mut written: HashSet<String> = HashSet::new();
    for language in [&args.source, &args.target] {
        written.insert(format!("dict.{language}.txt"));
        let splits = ["train", "valid", "test"].into_iter().filter(|split| *split != "test" || args.test.is_some());
        written.extend(splits.flat_map(|s| ["bin", "idx"].map(|end| format!("{s}.{pair}.{language}.{end}"))));
    }
    written.extend((!args.segmented).then(|| "tokenizer.json".to_owned()));
    let data = |name: &String| {
        let dictionary = name.starts_with("dict.") && name.ends_with(".txt");
        dictionary || name == "tokenizer.json" || name.ends_with(".bin") || name.ends_with(".idx")
    };
    let failed = |error| Error::io(&args.out, "read", error);
    let entries = fs::read_dir(&args.out).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut strangers: Vec<String> = names.filter(|name| data(name) && !written.contains(name)).collect();
    if strangers.is_empty() {
        return Ok(());
    }
    strangers.sort();
    let message = format!("{out} holds data that this call does not write: {}", strangers.join(", "));
    Err(Error::data(message).hint("give another --out, or delete them: they belong to another dictionary or corpus"))
}

/// The symbols of `--segmented` training text in the order of fairseq's joined dictionary: falling counts, then the
/// alphabet; filled up to a multiple of [`PADDING_FACTOR`] as there. Pairs that will be dropped do not count.
fn symbols_of_text(args: &PrepareArgs) -> Result<Vec<String>> {
    let (mut counts, mut dropped) = (HashMap::<String, u64>::new(), Counts::default());
    let mut pairs = PairedLines::open(&args.train, &args.source, &args.target)?;
    let mut progress = Progress::new("symbols", Some(pairs.position().1));
    while let Some(pair) = pairs.next() {
        let (source, target) = pair?;
        progress.count(pairs.position().0, pairs.number() as u64, "pairs");
        if keep(args, words(&source).count(), words(&target).count(), &mut dropped) {
            for word in words(&source).chain(words(&target)).filter(|word| !SPECIAL.contains(word)) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => drop(counts.insert(word.to_owned(), 1)),
                }
            }
        }
    }
    let mut symbols: Vec<(String, u64)> = counts.into_iter().collect();
    symbols.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
    let fill = (symbols.len() + SPECIAL.len()).next_multiple_of(PADDING_FACTOR) - symbols.len() - SPECIAL.len();
    let fill = (0..fill).map(|number| format!("madeupword{number:04}"));
    Ok(symbols.into_iter().map(|(symbol, _)| symbol).chain(fill).collect())
}

/// Encodes one split. Training pairs are filtered; the others are kept line by line, so that scores mean the file.
fn binarise(
    args: &PrepareArgs,
    split: &str,
    prefix: &Path,
    coder: &Coder,
    mut symbol_counts: Option<&mut Vec<u64>>,
) -> Result<Vec<Complete>> {
    let vocab = coder.dictionary().len();
    let writer = |language: &str| {
        CorpusWriter::create(&args.out.join(format!("{split}.{}-{}.{language}", args.source, args.target)), vocab)
    };
    let (mut source, mut target) = (writer(&args.source)?, writer(&args.target)?);
    let mut pairs = PairedLines::open(prefix, &args.source, &args.target)?;
    let mut counts = Counts::default();
    let mut progress = Progress::new(split, Some(pairs.position().1));
    loop {
        let first = pairs.number();
        progress.count(pairs.position().0, first as u64, "pairs");
        let chunk: Vec<(String, String)> = pairs.by_ref().take(CHUNK).collect::<Result<_>>()?;
        if chunk.is_empty() {
            break;
        }
        let encoded: Vec<(Vec<u32>, Vec<u32>)> =
            chunk.par_iter().map(|(s, t)| Ok((coder.encode(s)?, coder.encode(t)?))).collect::<Result<_>>()?;
        for (number, pair) in encoded.iter().enumerate() {
            match symbol_counts.as_deref_mut() {
                Some(symbol_counts) => {
                    if !keep(args, pair.0.len() - 1, pair.1.len() - 1, &mut counts) {
                        continue;
                    }
                    pair.0.iter().chain(&pair.1).for_each(|id| symbol_counts[*id as usize] += 1);
                }
                None => check_length(&pairs, first + number + 1, pair)?,
            }
            counts.add(pair);
            source.push(&pair.0)?;
            target.push(&pair.1)?;
        }
    }
    let (source_path, target_path) = pairs.paths();
    if counts.kept == 0 {
        let message = format!("{}: no pair is left ({})", source_path.display(), counts.dropped());
        return Err(Error::data(message));
    }
    drop(progress);
    say(format!("{split}: {}", counts.line([&args.source, &args.target])));
    for (path, tokens) in [source_path, target_path].into_iter().zip(counts.sides) {
        tokens.warn(path);
    }
    Ok(source.complete()?.into_iter().chain(target.complete()?).collect())
}

/// Moses' `clean-corpus-n` rules for a pair of so many tokens, end symbols not counted: no empty side, `--min-len` to
/// `--max-len`, `--max-ratio`.
fn keep(args: &PrepareArgs, source: usize, target: usize, counts: &mut Counts) -> bool {
    let (short, long) = (source.min(target), source.max(target));
    if short == 0 {
        counts.empty += 1;
    } else if short < args.min_len || long > args.max_len {
        counts.length += 1;
    } else if long as f64 > args.max_ratio * short as f64 {
        counts.ratio += 1;
    } else {
        return true;
    }
    false
}

fn check_length(pairs: &PairedLines, line: usize, (source, target): &(Vec<u32>, Vec<u32>)) -> Result<()> {
    let (source_path, target_path) = pairs.paths();
    for (path, ids) in [(source_path, source), (target_path, target)] {
        if ids.len() > MAX_POSITIONS {
            let most = MAX_POSITIONS - 1;
            let message =
                format!("{} line {line} has {} tokens, at most {most} are possible", path.display(), ids.len() - 1);
            return Err(Error::data(message).hint("split the line; lines of --valid and --test are never dropped"));
        }
    }
    Ok(())
}

impl Counts {
    fn add(&mut self, (source, target): &(Vec<u32>, Vec<u32>)) {
        self.kept += 1;
        for (side, ids) in self.sides.iter_mut().zip([source, target]) {
            side.all += ids.len();
            side.unknown += ids.iter().filter(|id| **id == super::UNK).count();
        }
    }

    fn dropped(&self) -> String {
        let Counts { empty, length, ratio, .. } = self;
        format!("dropped: {empty} with an empty side, {length} too short or too long, {ratio} by their ratio")
    }

    fn line(&self, languages: [&str; 2]) -> String {
        let [source, target] = self.sides;
        let both = Tokens { all: source.all + target.all, unknown: source.unknown + target.unknown };
        let shares = [(languages[0], source), (languages[1], target)]
            .map(|(language, tokens)| format!("{language} {:.2} %", tokens.share()));
        let unknown = format!("{:.2} % unknown ({})", both.share(), shares.join(", "));
        let line = format!("{} pairs, {} tokens, {unknown}", self.kept, both.all);
        if self.empty + self.length + self.ratio == 0 { line } else { format!("{line}; {}", self.dropped()) }
    }
}

impl Tokens {
    /// Unknown ones in a hundred.
    fn share(self) -> f64 {
        100.0 * self.unknown as f64 / self.all as f64
    }

    /// A line if so many are unknown that the text is hardly what the dictionary was made for.
    fn warn(self, path: &Path) {
        if self.share() >= MANY_UNKNOWN {
            let (share, all) = (self.share(), grouped(self.all as u64));
            warn(format!(
                "{}: {share:.2} % of {all} tokens are unknown: is it of the same language and script as --train, and split alike?",
                path.display()
            ));
        }
    }
}
