//! Training text → BPE: what it learns from, and what is said of it.

use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use regex::Regex;

use super::dictionary::SPECIAL;
use super::lines::PairedLines;
use super::tokenizer::Tokenizer;
use crate::cli::PrepareArgs;
use crate::error::{Error, Result};
use crate::terminal::{Progress, grouped, warn};

/// Longest word that the BPE learns from [bytes]. The library takes a time that grows with the square of a word's length,
/// and the pairs of longer ones have too many tokens to be kept. SentencePiece leaves out lines of as many.
const LONGEST_WORD: usize = 4192;

/// What came of the lines. The library takes lines, not results: the first error ends them and waits here.
#[derive(Default)]
struct Read {
    failed: Option<Error>,
    /// The first line with a word that is too long, and the word's length.
    long: Option<(String, usize)>,
    left_out: usize,
}

/// Trains the BPE on both sides of the training text.
pub fn learn(args: &PrepareArgs) -> Result<Tokenizer> {
    let mut pairs = PairedLines::open(&args.train, &args.source, &args.target)?;
    let file = pairs.paths().0.display().to_string();
    let read = Arc::new(Mutex::new(Read::default()));
    let slot = Arc::clone(&read);
    // It learns when it has all lines: from then on the bar shows that it works, and no more.
    let mut progress = Progress::new("BPE", Some(pairs.position().1));
    let lines = std::iter::from_fn(move || match pairs.next()? {
        Ok((source, target)) => {
            progress.count(pairs.position().0, pairs.number() as u64, "pairs");
            let (paths, number) = (pairs.paths(), pairs.number());
            Some([(paths.0, source), (paths.1, target)].map(|(path, line)| locked(&slot).take(path, number, line)))
        }
        Err(error) => {
            locked(&slot).failed = Some(error);
            None
        }
    });
    let mut lines = lines.flatten().flatten().peekable();
    let empty = lines.peek().is_none();
    let trained = if empty { None } else { Some(Tokenizer::train(lines, args.vocab_size)) };
    let Read { failed, long, left_out } = std::mem::take(&mut *locked(&read));
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some((line, bytes)) = long {
        let (bytes, most) = (grouped(bytes as u64), grouped(LONGEST_WORD as u64));
        warn(format!(
            "{line} has a word of {bytes} bytes: the BPE learns nothing from lines with words above {most} bytes, {left_out} \
             in all; split such words, or delete the lines"
        ));
    }
    let no_text = || Err(Error::data(format!("{file}: no line with text")).hint("--train needs sentence pairs"));
    let tokenizer = trained.unwrap_or_else(no_text)?;
    let (asked, got) = (args.vocab_size, tokenizer.symbols().len() + SPECIAL.len());
    if got < asked {
        warn(format!("--vocab-size {asked}: this text gives {got} symbols, of which no two stand together twice"));
    }
    Ok(tokenizer)
}

fn locked(read: &Mutex<Read>) -> MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Read {
    /// `line` if there is anything to learn from it.
    fn take(&mut self, path: &Path, number: usize, line: String) -> Option<String> {
        if line.chars().all(super::is_space) {
            return None;
        }
        let longest = longest_word(&line);
        if longest > LONGEST_WORD {
            self.left_out += 1;
            self.long.get_or_insert_with(|| (format!("{} line {number}", path.display()), longest));
            return None;
        }
        Some(line)
    }
}

/// Length of the longest word in `line`, as the tokenizer splits it [bytes]; of a short line, the line's.
fn longest_word(line: &str) -> usize {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[^\s\p{P}[:punct:]]+").expect("a constant pattern"));
    if line.len() <= LONGEST_WORD {
        return line.len();
    }
    WORD.find_iter(line).map(|word| word.len()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_where_the_tokenizer_ends_them() {
        let most = LONGEST_WORD;
        for (line, longest) in [
            ("ab ".repeat(most), 2),
            (".".repeat(2 * most), 0),
            ("犬が走る。".repeat(most), 12), // the full stop is punctuation, too
            ("犬".repeat(most), 3 * most),
            ("kurz".to_owned(), 4),
            ("=".repeat(2 * most), 0),
            ("€".repeat(most), 3 * most),
        ] {
            assert_eq!(longest_word(&line), longest, "{}", &line[..3]);
        }
    }
}
