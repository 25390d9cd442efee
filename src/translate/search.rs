//! Beam search as fairseq's `SequenceGenerator` does it; with a beam of 1, greedy search.
//!
//! Each step takes the best 2·beam continuations of a sentence. Those that end it, among the first `beam`, are finished
//! hypotheses; the first `beam` of the others live on. A sentence is done with `beam` finished hypotheses.

use rayon::prelude::*;

use crate::device::Device;
use crate::error::Result;
use crate::model::{Incremental, Model, PackedSide, Row};
use crate::text::{EOS, PAD, UNK};

/// Settings, with fairseq's meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    pub beam: usize,
    /// Scores are divided by length^lenpen, the end symbol counted.
    pub lenpen: f64,
    /// Longest output: max_len_a · source length + max_len_b tokens before the end symbol. The source length is that of
    /// the sentence itself, where fairseq takes the longest of its batch: a translation does not depend on its
    /// neighbours.
    pub max_len_a: f64,
    pub max_len_b: usize,
    pub min_len: usize,
    pub unkpen: f64,
    pub no_repeat_ngram_size: usize,
    /// Rank by the sum, not divided.
    pub unnormalized: bool,
}

impl Search {
    /// Greedy search for the BLEU of a validation: at most 1.2 · source + 10 tokens.
    pub const GREEDY: Search = Search {
        beam: 1,
        lenpen: 1.0,
        max_len_a: 1.2,
        max_len_b: 10,
        min_len: 1,
        unkpen: 0.0,
        no_repeat_ngram_size: 0,
        unnormalized: false,
    };

    fn longest(&self, source: usize, max_positions: usize) -> usize {
        ((self.max_len_a * source as f64) as usize).saturating_add(self.max_len_b).min(max_positions - 1)
    }
}

/// A finished translation.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Ends with the end symbol.
    pub tokens: Vec<u32>,
    /// Not a number where the model's are not; there is then no other hypothesis.
    pub score: f32,
    /// Log-probability of each token.
    pub positional: Vec<f32>,
}

/// An unfinished one.
#[derive(Clone, Default)]
struct Beam {
    tokens: Vec<u32>,
    /// Log-probability of the first n tokens, by n − 1.
    cumulative: Vec<f32>,
}

impl Beam {
    fn score(&self) -> f32 {
        self.cumulative.last().copied().unwrap_or(0.0)
    }

    fn extended(&self, token: u32, score: f32) -> Beam {
        let mut beam = self.clone();
        beam.tokens.push(token);
        beam.cumulative.push(score);
        beam
    }
}

struct Sentence {
    longest: usize,
    beams: Vec<Beam>,
    finished: Vec<Hypothesis>,
}

/// Candidate: cumulative log-probability, beam, token.
type Candidate = (f32, usize, u32);

/// Translates `sources`, each with its end symbol; per source up to `beam` hypotheses, the best first.
pub fn search(dev: &Device, model: &Model, sources: &[&[u32]], settings: &Search) -> Result<Vec<Vec<Hypothesis>>> {
    let max_positions = model.config.max_positions;
    let mut decoder = Incremental::start(model, &PackedSide::new(dev, sources, max_positions)?)?;
    let mut sentences: Vec<Sentence> = sources
        .iter()
        .map(|source| Sentence {
            longest: settings.longest(source.len(), max_positions),
            beams: vec![Beam::default()],
            finished: Vec::new(),
        })
        .collect();
    let mut rows: Vec<Row> = (0..sources.len()).map(|sentence| Row { parent: 0, sentence, token: EOS }).collect();
    let vocab = model.config.vocab;
    while !rows.is_empty() {
        let logits = dev.read_wide(&decoder.step(&rows)?)?;
        // Rows of a sentence lie together, in the order of its beams.
        let mut starts = Vec::with_capacity(sentences.len());
        let mut start = 0;
        for sentence in &sentences {
            starts.push(start);
            start += sentence.beams.len();
        }
        let next: Vec<Vec<Row>> = sentences
            .par_iter_mut()
            .enumerate()
            .map(|(number, sentence)| {
                let count = sentence.beams.len();
                let own = &logits[starts[number] * vocab..(starts[number] + count) * vocab];
                let parents = sentence.step(own, vocab, settings);
                let row = |(beam, parent): (&Beam, usize)| Row {
                    parent: starts[number] + parent,
                    sentence: number,
                    token: beam.tokens.last().copied().unwrap_or(EOS),
                };
                sentence.beams.iter().zip(parents).map(row).collect()
            })
            .collect();
        rows = next.concat();
    }
    Ok(sentences.into_iter().map(Sentence::ranked).collect())
}

impl Sentence {
    /// Continues every beam by one token; the new beams' parents.
    fn step(&mut self, logits: &[f32], vocab: usize, settings: &Search) -> Vec<usize> {
        if self.beams.is_empty() {
            return Vec::new();
        }
        let sums: Vec<f32> = logits.chunks_exact(vocab).map(log_sum_exp).collect();
        if sums.iter().any(|sum| !sum.is_finite()) {
            return self.give_up();
        }
        let candidates = self.candidates(logits, &sums, settings);
        let (mut beams, mut parents) = (Vec::new(), Vec::new());
        for (rank, (score, parent, token)) in candidates.into_iter().enumerate() {
            let beam = &self.beams[parent];
            if token != EOS {
                if beams.len() < settings.beam {
                    beams.push(beam.extended(token, score));
                    parents.push(parent);
                }
            } else if rank < settings.beam && self.finished.len() < settings.beam {
                self.finished.push(beam.extended(EOS, score).finish(settings));
            }
        }
        if self.finished.len() >= settings.beam {
            beams.clear();
            parents.clear();
        }
        self.beams = beams;
        parents
    }

    /// Ends the search where the logits are no numbers: what is found beside them would pass for the best there is.
    fn give_up(&mut self) -> Vec<usize> {
        self.beams.clear();
        self.finished = vec![Hypothesis { tokens: vec![EOS], score: f32::NAN, positional: vec![f32::NAN] }];
        Vec::new()
    }

    /// The best 2·beam continuations of all beams, best first; of equal ones that of the earlier beam and lower id. `sums`
    /// are [`log_sum_exp`] of each beam's logits.
    fn candidates(&self, logits: &[f32], sums: &[f32], settings: &Search) -> Vec<Candidate> {
        let vocab = logits.len() / sums.len();
        let wanted = (2 * settings.beam).min(logits.len() - 1);
        let mut best: Vec<Candidate> = Vec::with_capacity(wanted + 1);
        for (number, (beam, row)) in self.beams.iter().zip(logits.chunks_exact(vocab)).enumerate() {
            let length = beam.tokens.len();
            let banned = banned(&beam.tokens, settings.no_repeat_ngram_size);
            let ending = length >= self.longest;
            for (token, logit) in row.iter().enumerate() {
                let token = token as u32;
                let excluded = token == PAD
                    || token == EOS && length < settings.min_len && !ending
                    || token != EOS && ending
                    || banned.contains(&token);
                let penalty = if token == UNK { settings.unkpen as f32 } else { 0.0 };
                let score = beam.score() + (logit - sums[number] - penalty);
                if !excluded && (best.len() < wanted || score > best[best.len() - 1].0) && score > f32::NEG_INFINITY {
                    let at = best.partition_point(|(other, ..)| *other >= score);
                    best.insert(at, (score, number, token));
                    best.truncate(wanted);
                }
            }
        }
        best
    }

    /// Finished hypotheses by score; equal ones stay in the order in which they were finished.
    fn ranked(mut self) -> Vec<Hypothesis> {
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished
    }
}

impl Beam {
    fn finish(self, settings: &Search) -> Hypothesis {
        let before = std::iter::once(0.0).chain(self.cumulative.iter().copied());
        let positional = self.cumulative.iter().zip(before).map(|(to, from)| to - from).collect();
        let length = (self.tokens.len() as f64).powf(settings.lenpen) as f32;
        let score = if settings.unnormalized { self.score() } else { self.score() / length };
        Hypothesis { tokens: self.tokens, score, positional }
    }
}

fn log_sum_exp(row: &[f32]) -> f32 {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|x| f64::from((x - most).exp())).sum();
    most + sum.ln() as f32
}

/// Tokens that would complete an n-gram which the hypothesis, start symbol included, has already. The end symbol, with which
/// it starts, is never among them: fairseq bans it for n = 1, and a hypothesis could not end.
fn banned(tokens: &[u32], n: usize) -> Vec<u32> {
    if n == 0 {
        return Vec::new();
    }
    let all: Vec<u32> = std::iter::once(EOS).chain(tokens.iter().copied()).collect();
    let Some(start) = (all.len() + 1).checked_sub(n) else { return Vec::new() };
    let prefix = &all[start..];
    let repeated = all.windows(n).filter(|ngram| &ngram[..n - 1] == prefix).map(|ngram| ngram[n - 1]);
    repeated.filter(|token| *token != EOS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ngrams_are_banned() {
        assert_eq!(banned(&[5, 6, 5], 2), [6]);
        assert_eq!(banned(&[5, 6, 7, 5, 6], 3), [7]);
        assert_eq!(banned(&[5, 6], 1), [5, 6], "a hypothesis can end");
        assert!(banned(&[], 3).is_empty() && banned(&[5, 5], 0).is_empty());
    }

    /// One beam of two whose logits are not numbers, and none that could pass for a result.
    #[test]
    fn logits_that_are_no_numbers_end_the_search() {
        for bad in [f32::NAN, f32::INFINITY] {
            let finished = vec![Beam::default().extended(EOS, -0.1).finish(&Search::GREEDY)];
            let beams = vec![Beam::default(); 2];
            let mut sentence = Sentence { longest: 9, beams, finished };
            assert!(sentence.step(&[0.0, 0.0, 1.0, 0.0, 0.0, bad], 3, &Search::GREEDY).is_empty());
            let ranked = sentence.ranked();
            assert!(ranked.len() == 1 && ranked[0].score.is_nan(), "{ranked:?}");
        }
    }

    #[test]
    fn the_longest_output_is_fairseqs() {
        let settings = Search { max_len_a: 1.5, max_len_b: 3, ..Search::GREEDY };
        assert_eq!((settings.longest(5, 1024), settings.longest(2000, 1024)), (10, 1023));
    }
}
