//! From lines to batches of ids and back: tokenizer, dictionary, binary corpus, batches; and the scores of the result.

pub mod batch;
pub mod bleu;
pub mod chrf;
pub mod coder;
pub mod corpus;
pub mod dictionary;
pub mod fingerprint;
mod learn;
pub mod lines;
pub mod pairs;
pub mod prepare;
pub mod score;
pub mod tokenizer;

pub use batch::Batches;
pub use coder::Coder;
pub use corpus::Corpus;
pub use dictionary::{BOS, Dictionary, EOS, PAD, SPECIAL, UNK};
pub use fingerprint::Fingerprint;
pub use pairs::{DataFolder, Pairs};

/// White space as Python's `str.split` and `str.isspace` see it, which fairseq and sacreBLEU rest on.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of `text`, as Python's `text.split()`.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}
