//! Which sentences go together: buckets of similar length, `--max-tokens` at most, in an order that depends on the seed
//! and the epoch alone.

use crate::error::{Error, Result};
use crate::rng::Stream;

/// Streams of the run's random numbers that batches use; the model's initialisation uses others.
const BUCKET_STREAM: u64 = 1 << 40;
const EPOCH_STREAM: u64 = 1 << 41;

/// Limits of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest sentence times number of pairs, as fairseq counts `--max-tokens`.
    pub max_tokens: usize,
    pub max_sentences: usize,
    /// Longest sentence that the model takes.
    pub max_positions: usize,
}

/// The batches of a corpus, fixed for a run; only their order changes from epoch to epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batches {
    batches: Vec<Vec<u32>>,
    seed: u64,
}

impl Batches {
    /// Sorts pairs with these (source, target) lengths by source, then target length, as fairseq does, equal ones in an order drawn from
    /// `seed`, and cuts the row into batches. An error names a sentence that fits in none.
    pub fn plan(lengths: &[(usize, usize)], limits: Limits, seed: u64) -> Result<Batches> {
        let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
        Stream::new(seed, BUCKET_STREAM).shuffle(&mut order);
        order.sort_by_key(|&pair| lengths[pair as usize]);
        let (mut batches, mut batch, mut longest) = (Vec::new(), Vec::new(), 0);
        for pair in order {
            let (source, target) = lengths[pair as usize];
            let length = source.max(target);
            check(pair, length, limits)?;
            let full =
                batch.len() == limits.max_sentences || longest.max(length) * (batch.len() + 1) > limits.max_tokens;
            if full {
                batches.push(std::mem::take(&mut batch));
                longest = 0;
            }
            longest = longest.max(length);
            batch.push(pair);
        }
        if !batch.is_empty() {
            batches.push(batch);
        }
        Ok(Batches { batches, seed })
    }

    /// Batches in an epoch.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The pairs of batch `number`.
    pub fn batch(&self, number: usize) -> &[u32] {
        &self.batches[number]
    }

    /// All batches in the order of their lengths: for validation and translation.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.batches.iter().map(Vec::as_slice)
    }

    /// The order of the batches in `epoch`.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.batches.len() as u32).collect();
        Stream::new(self.seed, EPOCH_STREAM + epoch).shuffle(&mut order);
        order
    }
}

fn check(pair: u32, length: usize, limits: Limits) -> Result<()> {
    let line = pair + 1;
    if length > limits.max_positions {
        let message = format!("pair {line} has a side of {length} tokens, the model takes {}", limits.max_positions);
        return Err(Error::data(message).hint("prepare again with a smaller --max-len"));
    }
    if length > limits.max_tokens {
        let message =
            format!("pair {line} has a side of {length} tokens, more than --max-tokens {}", limits.max_tokens);
        return Err(Error::data(message).hint("raise --max-tokens, or prepare again with a smaller --max-len"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_tokens: usize) -> Limits {
        Limits { max_tokens, max_sentences: usize::MAX, max_positions: 100 }
    }

    #[test]
    fn every_pair_is_in_one_batch_within_the_limit() {
        let lengths: Vec<(usize, usize)> = (0..997).map(|i| (1 + i * 7 % 23, 1 + i * 5 % 19)).collect();
        let batches = Batches::plan(&lengths, limits(64), 3).unwrap();
        let mut seen: Vec<u32> = batches.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..997).collect::<Vec<_>>());
        for batch in batches.iter() {
            let longest = batch.iter().map(|&p| lengths[p as usize].0.max(lengths[p as usize].1)).max().unwrap();
            assert!(longest * batch.len() <= 64);
        }
        assert_eq!(batches, Batches::plan(&lengths, limits(64), 3).unwrap());
        assert_ne!(batches, Batches::plan(&lengths, limits(64), 4).unwrap());
    }

    #[test]
    fn the_order_depends_on_the_epoch() {
        let batches = Batches::plan(&[(3, 3); 40], limits(6), 1).unwrap();
        assert_eq!(batches.len(), 20);
        assert_eq!(batches.order(1), batches.order(1));
        assert_ne!(batches.order(1), batches.order(2));
    }

    #[test]
    fn a_sentence_that_fits_nowhere_is_named() {
        let message = |n, max| Batches::plan(&[(2, 2), (n, 1)], limits(max), 1).unwrap_err().to_string();
        assert!(message(9, 8).starts_with("pair 2 has a side of 9 tokens, more than --max-tokens 8"));
        assert!(message(101, 800).starts_with("pair 2 has a side of 101 tokens, the model takes 100"));
        assert!(Batches::plan(&[], limits(8), 1).unwrap().is_empty());
    }
}
