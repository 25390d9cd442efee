//! A batch on the device: packed, without padding.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::attention::Seqs;
use crate::ops::embed::EmbedIndex;
use crate::tensor::Tensor;

use super::positions::FIRST_POSITION;

/// Id of the end symbol, which ends every sentence and starts every decoder input.
pub const EOS: u32 = 2;

/// Sentences end to end: tokens and positions of one side.
pub struct PackedSide {
    /// Where to look up each token [T].
    pub index: EmbedIndex,
    /// Cumulative lengths of this side against itself.
    pub seqs: Seqs,
    /// Tokens in all.
    pub tokens: usize,
    lengths: Vec<usize>,
}

impl PackedSide {
    /// Packs `sentences`, each with its end symbol, none empty and none longer than `max_positions`.
    pub fn new(dev: &Device, sentences: &[&[u32]], max_positions: usize) -> Result<PackedSide> {
        let lengths: Vec<usize> = sentences.iter().map(|sentence| sentence.len()).collect();
        if let Some(number) = lengths.iter().position(|n| *n == 0 || *n > max_positions) {
            let message = format!("sentence {} of a batch has {} tokens", number + 1, lengths[number]);
            return Err(Error::data(message).hint(format!("a sentence has 1 to {max_positions} tokens")));
        }
        let tokens: Vec<u32> = sentences.concat();
        let positions: Vec<u32> = lengths.iter().flat_map(|n| (0..*n as u32).map(|i| FIRST_POSITION + i)).collect();
        let index = EmbedIndex::new(dev, &tokens, &positions)?;
        Ok(PackedSide { index, seqs: seqs(dev, &lengths, &lengths)?, tokens: tokens.len(), lengths })
    }

    /// Tokens of each sentence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }
}

/// Source, decoder input and targets of some sentence pairs.
pub struct PackedBatch {
    pub source: PackedSide,
    /// The targets shifted right: the end symbol, then all but the last token.
    pub previous: PackedSide,
    /// Cumulative lengths of the decoder's queries against the encoder's keys.
    pub cross: Seqs,
    /// What is to be predicted, i32 [T].
    pub targets: Tensor,
}

impl PackedBatch {
    /// Packs pairs of (source, target), each with its end symbol.
    pub fn new(dev: &Device, pairs: &[(&[u32], &[u32])], max_positions: usize) -> Result<PackedBatch> {
        let sources: Vec<&[u32]> = pairs.iter().map(|(source, _)| *source).collect();
        let source = PackedSide::new(dev, &sources, max_positions)?;
        let shifted: Vec<Vec<u32>> = pairs.iter().map(|(_, target)| shift_right(target)).collect();
        let shifted: Vec<&[u32]> = shifted.iter().map(Vec::as_slice).collect();
        let previous = PackedSide::new(dev, &shifted, max_positions)?;
        let targets: Vec<i32> = pairs.iter().flat_map(|(_, target)| target.iter().map(|id| *id as i32)).collect();
        let targets = dev.upload(&targets, &[previous.tokens])?;
        let cross = seqs(dev, &previous.lengths, &source.lengths)?;
        Ok(PackedBatch { source, previous, cross, targets })
    }

    /// Sentence pairs.
    pub fn sentences(&self) -> usize {
        self.source.lengths.len()
    }

    /// Target tokens, end symbols included: what losses are divided by.
    pub fn target_tokens(&self) -> usize {
        self.previous.tokens
    }
}

fn shift_right(target: &[u32]) -> Vec<u32> {
    let kept = &target[..target.len().saturating_sub(1)];
    std::iter::once(EOS).chain(kept.iter().copied()).collect()
}

/// Cumulative lengths of queries and keys, sentence by sentence.
pub fn seqs(dev: &Device, queries: &[usize], keys: &[usize]) -> Result<Seqs> {
    let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
    let cumulative = |lengths: &[usize]| {
        let sums: Vec<i32> = std::iter::once(0)
            .chain(lengths.iter().scan(0, |sum, n| {
                *sum += *n as i32;
                Some(*sum)
            }))
            .collect();
        dev.upload(&sums, &[sums.len()])
    };
    Ok(Seqs {
        cu_q: cumulative(queries)?,
        cu_k: cumulative(keys)?,
        batch: queries.len(),
        max_q: longest(queries),
        max_k: longest(keys),
    })
}
