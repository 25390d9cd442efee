//! Lines to ids and back, for a data folder: with its `tokenizer.json`, or, where fairseq made the folder, with text that
//! is split into symbols already.

use std::path::Path;

use super::dictionary::{Dictionary, EOS, PAD, SPECIAL, UNK};
use super::tokenizer::Tokenizer;
use super::words;
use crate::error::Result;

/// How symbols join to words.
enum Split {
    Bpe(Box<Tokenizer>),
    /// Symbols stand between spaces; `@@` at the end of one (subword-nmt) or `▁` at the start (SentencePiece) says how
    /// they join.
    Spaces {
        sentencepiece: bool,
    },
}

/// Text and ids.
pub struct Coder {
    dictionary: Dictionary,
    split: Split,
}

impl Coder {
    pub fn new(dictionary: Dictionary, tokenizer: Option<Tokenizer>) -> Coder {
        let sentencepiece = dictionary.symbols().iter().any(|symbol| symbol.starts_with('▁'));
        let split = match tokenizer {
            Some(tokenizer) => Split::Bpe(Box::new(tokenizer)),
            None => Split::Spaces { sentencepiece },
        };
        Coder { dictionary, split }
    }

    /// The coder of `dictionary` in the folder that may hold a `tokenizer.json`.
    pub fn of_folder(folder: &Path, dictionary: Dictionary) -> Result<Coder> {
        let path = folder.join("tokenizer.json");
        let tokenizer = if path.exists() { Some(Tokenizer::load(&path)?) } else { None };
        Ok(Coder::new(dictionary, tokenizer))
    }

    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The ids of `line` with the end symbol.
    pub fn encode(&self, line: &str) -> Result<Vec<u32>> {
        // A literal `</s>` is text, which the dictionary does not have.
        let id = |symbol: &str| if SPECIAL.contains(&symbol) { UNK } else { self.dictionary.id(symbol) };
        let mut ids: Vec<u32> = match &self.split {
            Split::Bpe(tokenizer) => tokenizer.encode(line)?.iter().map(|symbol| id(symbol)).collect(),
            Split::Spaces { .. } => words(line).map(id).collect(),
        };
        ids.push(EOS);
        Ok(ids)
    }

    /// The text of `ids`; end and padding symbols are left out, unknown ones show as `<unk>`.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let symbols: Vec<&str> =
            ids.iter().filter(|id| ![EOS, PAD].contains(id)).map(|id| self.dictionary.symbol(*id)).collect();
        match &self.split {
            Split::Bpe(tokenizer) => tokenizer.decode(&symbols),
            Split::Spaces { sentencepiece: true } => Ok(symbols.concat().replace('▁', " ").trim_start().to_owned()),
            Split::Spaces { sentencepiece: false } => {
                let text = symbols.join(" ").replace("@@ ", "");
                Ok(text.strip_suffix("@@").map(str::to_owned).unwrap_or(text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(symbols: &[&str]) -> Coder {
        let symbols = symbols.iter().map(|symbol| ((*symbol).to_owned(), 1));
        Coder::new(Dictionary::new(symbols).unwrap(), None)
    }

    #[test]
    fn text_that_is_split_already() {
        let subword = coder(&["ha@@", "llo", "welt"]);
        assert_eq!(subword.encode("ha@@ llo  mond </s>").unwrap(), [4, 5, 3, 3, 2]);
        assert_eq!(subword.decode(&[4, 5, 6, 3, 4, 2]).unwrap(), "hallo welt <unk> ha");
        let pieces = coder(&["▁ha", "llo", "▁welt"]);
        assert_eq!(pieces.decode(&[4, 5, 6, 2, 1]).unwrap(), "hallo welt");
    }

    #[test]
    fn a_trained_tokenizer_reads_back_its_text() {
        let text = ["Der Hund läuft, und der Hund bellt.", "Der Mann (alt) läuft."];
        let lines = || text.iter().cycle().take(40).map(|line| (*line).to_owned());
        let tokenizer = Tokenizer::train(lines(), 60).unwrap();
        let again = Tokenizer::train(lines(), 60).unwrap();
        assert_eq!(tokenizer.symbols(), again.symbols());
        let symbols = tokenizer.symbols().into_iter().map(|symbol| (symbol, 1));
        let coder = Coder::new(Dictionary::new(symbols).unwrap(), Some(tokenizer));
        for line in text {
            let ids = coder.encode(&format!("  {} ", line.replace(' ', "\t "))).unwrap();
            assert_eq!(coder.decode(&ids).unwrap(), line);
        }
        assert_eq!(coder.encode(" \u{a0}").unwrap(), [EOS]);
        assert_eq!(coder.decode(&[]).unwrap(), "");
        let literal = coder.encode("Der </s> Hund").unwrap();
        assert_eq!(literal.iter().filter(|id| **id == EOS).count(), 1, "a literal end symbol is text");
        assert!(coder.encode("Der 犬").unwrap().contains(&3));
        let few = Tokenizer::train(lines(), 9).err().unwrap().to_string();
        assert!(few.starts_with("--vocab-size 9 is less than"), "{few}");
    }
}
