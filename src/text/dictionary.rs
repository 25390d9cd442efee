//! fairseq's dictionary: `dict.LANG.txt`, one `symbol count` per line, ids counted from 4 behind the special symbols.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::terminal::reads;

/// Start of sentence; part of the layout, unused by the model, which starts decoding from [`EOS`] as fairseq does.
pub const BOS: u32 = 0;
pub const PAD: u32 = 1;
/// Ends every sentence.
pub const EOS: u32 = 2;
/// Stands for every symbol that the dictionary does not have.
pub const UNK: u32 = 3;
/// The symbols that come first in every dictionary and are not in the file.
pub const SPECIAL: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];

/// Symbols and their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary {
    symbols: Vec<String>,
    counts: Vec<u64>,
    ids: HashMap<String, u32>,
}

impl Dictionary {
    /// The special symbols, then `symbols` with their counts. An error names a symbol that comes twice or cannot be
    /// written to a file.
    pub fn new(symbols: impl IntoIterator<Item = (String, u64)>) -> Result<Dictionary> {
        let mut dictionary = Dictionary { symbols: Vec::new(), counts: Vec::new(), ids: HashMap::new() };
        for symbol in SPECIAL {
            dictionary.add(symbol.to_owned(), 0)?;
        }
        for (symbol, count) in symbols {
            if symbol.is_empty() || symbol.contains(['\n', '\r', ' ']) {
                return Err(Error::data(format!("the symbol {symbol:?} cannot stand in a dictionary file")));
            }
            dictionary.add(symbol, count)?;
        }
        Ok(dictionary)
    }

    fn add(&mut self, symbol: String, count: u64) -> Result<()> {
        if self.ids.insert(symbol.clone(), self.symbols.len() as u32).is_some() {
            return Err(Error::data(format!("the symbol `{symbol}` is there twice")));
        }
        self.symbols.push(symbol);
        self.counts.push(count);
        Ok(())
    }

    /// Reads a `dict.LANG.txt`. Errors name the file and the line.
    pub fn load(path: &Path) -> Result<Dictionary> {
        reads(path);
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::data(format!("{}: not UTF-8, so not a dictionary", path.display())))?;
        let mut dictionary = Dictionary::new([])?;
        for (number, line) in text.lines().enumerate() {
            let place = |error: Error| error.context(format!("{} line {}", path.display(), number + 1));
            // Later versions of fairseq mark a line that repeats a special symbol on purpose.
            let line = line.strip_suffix(" #fairseq:overwrite").unwrap_or(line);
            let entry = line.rsplit_once(' ').and_then(|(symbol, count)| Some((symbol, count.parse::<u64>().ok()?)));
            let Some((symbol, count)) = entry else {
                return Err(place(Error::data(format!("`{line}` is not `symbol count`"))));
            };
            dictionary.add(symbol.to_owned(), count).map_err(place)?;
        }
        Ok(dictionary)
    }

    /// An error if this, a model's `dict.TARGET.txt` in `folder`, is not that of its `source` too: a model has one.
    pub fn expect_shared(&self, folder: &Path, source: &str, target: &str) -> Result<()> {
        let [of_source, of_target] = [source, target].map(|language| folder.join(format!("dict.{language}.txt")));
        let difference = if of_source.exists() { self.difference(&Dictionary::load(&of_source)?) } else { None };
        match difference {
            Some(difference) => {
                let (here, there) = (of_source.display(), of_target.display());
                Err(Error::data(format!("{here} is not the dictionary of {there}: {difference}"))
                    .hint("source and target of a model share one: take both from where it was trained"))
            }
            None => Ok(()),
        }
    }

    /// The text of the file.
    pub fn to_file(&self) -> String {
        let mut text = String::new();
        for (symbol, count) in self.symbols.iter().zip(&self.counts).skip(SPECIAL.len()) {
            let _ = writeln!(text, "{symbol} {count}");
        }
        text
    }

    /// Entries, special symbols included.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The id of `symbol`, or [`UNK`].
    pub fn id(&self, symbol: &str) -> u32 {
        self.ids.get(symbol).copied().unwrap_or(UNK)
    }

    /// The symbol of `id`; `<unk>` for an id that the dictionary does not have.
    pub fn symbol(&self, id: u32) -> &str {
        self.symbols.get(id as usize).map_or(SPECIAL[UNK as usize], String::as_str)
    }

    /// How the symbols of `other` differ from these, in words; none if they do not. Counts do not matter.
    pub fn difference(&self, other: &Dictionary) -> Option<String> {
        let first = self.symbols.iter().zip(&other.symbols).position(|(a, b)| a != b);
        let symbols =
            first.map(|id| format!("symbol {id} is `{}` there, `{}` here", self.symbols[id], other.symbols[id]));
        let (there, here) = (self.len(), other.len());
        let sizes = (there != here).then(|| format!("{there} symbols there, {here} here"));
        let differences: Vec<String> = sizes.into_iter().chain(symbols).collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }

    /// All symbols in the order of their ids.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back() {
        let symbols = [("▁the", 40), ("e", 3), ("ß", 0), ("#", 1)].map(|(symbol, count)| (symbol.to_owned(), count));
        let dictionary = Dictionary::new(symbols).unwrap();
        assert_eq!((dictionary.len(), dictionary.id("ß"), dictionary.id("nowhere")), (8, 6, UNK));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dict.de.txt");
        fs::write(&path, dictionary.to_file()).unwrap();
        assert_eq!(Dictionary::load(&path).unwrap(), dictionary);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dict.de.txt");
        for (text, what) in [("a 1\nb\n", "`b` is not `symbol count`"), ("a 1\na 2\n", "`a` is there twice")] {
            fs::write(&path, text).unwrap();
            let message = Dictionary::load(&path).unwrap_err().to_string();
            assert!(message.contains(what) && message.contains("dict.de.txt line 2"), "{message}");
        }
    }
}
