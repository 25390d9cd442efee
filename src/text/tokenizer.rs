//! The joint BPE: trained here with the `tokenizers` library, or taken from a `tokenizer.json`.
//!
//! Our own: NFC, white space collapsed, words marked with `▁` at their start as SentencePiece does, punctuation apart.

use std::path::Path;

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NFC, Replace, Sequence as Normalizers, Strip};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use super::dictionary::{EOS, SPECIAL, UNK};
use crate::error::{Error, Result};
use crate::terminal::reads;

/// Text to subword symbols and back.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

/// Smallest vocabulary that can be asked for: the special symbols and a letter or two.
const SMALLEST: usize = 8;

impl Tokenizer {
    /// Trains a BPE of `vocab_size` symbols, special ones included, on `lines`. The same lines give the same symbols.
    pub fn train(lines: impl Iterator<Item = String> + Send, vocab_size: usize) -> Result<Tokenizer> {
        if vocab_size < SMALLEST {
            return Err(Error::usage(format!("--vocab-size {vocab_size}: at least {SMALLEST} is needed")));
        }
        let model = BPE::builder().unk_token(SPECIAL[UNK as usize].to_owned()).fuse_unk(true).build();
        let mut inner = tokenizers::Tokenizer::new(model.map_err(library)?);
        let space = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ").map_err(library)?;
        let normalizers = vec![NFC.into(), space.into(), Strip::new(true, true).into()];
        inner.with_normalizer(Some(Normalizers::new(normalizers))).map_err(library)?;
        let metaspace = Metaspace::new('▁', PrependScheme::Always, true);
        let steps: Vec<PreTokenizerWrapper> =
            vec![metaspace.clone().into(), Punctuation::new(SplitDelimiterBehavior::Isolated).into()];
        inner.with_pre_tokenizer(Some(PreTokenizers::new(steps)));
        inner.with_decoder(Some(metaspace));
        let special = SPECIAL.map(|symbol| AddedToken::from(symbol, true)).to_vec();
        let trainer = BpeTrainer::builder().vocab_size(vocab_size).min_frequency(2).show_progress(false);
        let mut trainer = TrainerWrapper::from(trainer.special_tokens(special).build());
        inner.train(&mut trainer, lines).map_err(library)?;
        let symbols = inner.get_vocab_size(true);
        if symbols > vocab_size {
            return Err(Error::usage(format!(
                "--vocab-size {vocab_size} is less than the {symbols} letters of this text"
            ))
            .hint("a BPE starts from single letters; ask for more symbols"));
        }
        Ok(Tokenizer::wrap(inner))
    }

    /// Reads a `tokenizer.json`. Truncation and padding, which other programs keep there too, are not taken along: what is too
    /// long is for us to say.
    pub fn load(path: &Path) -> Result<Tokenizer> {
        reads(path);
        Tokenizer::parse(&std::fs::read(path).map_err(|error| Error::io(path, "read", error))?, path)
    }

    /// The tokenizer in `bytes`; an error says that they are of `path`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Tokenizer> {
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| Error::data(format!("{}: not a tokenizer: {error}", path.display())))?;
        inner.with_padding(None).with_truncation(None).map_err(library)?;
        Ok(Tokenizer::wrap(inner))
    }

    fn wrap(mut inner: tokenizers::Tokenizer) -> Tokenizer {
        // A literal `</s>` in the text is text.
        inner.set_encode_special_tokens(true);
        Tokenizer { inner }
    }

    /// The text of a `tokenizer.json`.
    pub fn to_json(&self) -> Result<String> {
        self.inner.to_string(true).map_err(library)
    }

    /// All symbols but the special ones of a dictionary, in the order of their ids.
    pub fn symbols(&self) -> Vec<String> {
        let mut symbols: Vec<(String, u32)> = self.inner.get_vocab(true).into_iter().collect();
        symbols.sort_unstable_by_key(|(_, id)| *id);
        symbols.into_iter().map(|(symbol, _)| symbol).filter(|symbol| !SPECIAL.contains(&symbol.as_str())).collect()
    }

    /// The subword symbols of `line`.
    pub fn encode(&self, line: &str) -> Result<Vec<String>> {
        // The library would make a lone `▁` of it.
        if line.chars().all(super::is_space) {
            return Ok(Vec::new());
        }
        let encoding = self.inner.encode(line, false).map_err(library)?;
        Ok(encoding.get_tokens().to_vec())
    }

    /// The text of `symbols`; a symbol that this tokenizer does not know stands for itself, as a word.
    pub fn decode(&self, symbols: &[&str]) -> Result<String> {
        let mut text = String::new();
        for run in symbols.chunk_by(|a, b| self.knows(a) == self.knows(b)) {
            let part = if self.knows(run[0]) {
                let ids: Vec<u32> = run.iter().filter_map(|symbol| self.inner.token_to_id(symbol)).collect();
                self.inner.decode(&ids, false).map_err(library)?
            } else {
                run.join(" ")
            };
            if !text.is_empty() && !part.is_empty() {
                text.push(' ');
            }
            text.push_str(&part);
        }
        Ok(text)
    }

    fn knows(&self, symbol: &str) -> bool {
        symbol != SPECIAL[EOS as usize] && self.inner.token_to_id(symbol).is_some()
    }
}

/// Errors of the library come boxed and without a type.
fn library(error: tokenizers::Error) -> Error {
    Error::data(format!("tokenizer: {error}"))
}
