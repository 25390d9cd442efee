//! The decoder one token at a time, for search: keys and values of the past are kept, not computed again.
//!
//! All live rows have the same length, so each layer's cache is dense, [rows, length, 2d]. A step makes the next cache
//! from the last by copying each row from its parent; that is also how a beam search reorders and drops its rows.
//! Rows of one sentence lie together and share its encoder keys: they are several queries of one sequence.

use crate::error::{Error, Result};
use crate::ops::attention::Seqs;
use crate::ops::embed::EmbedIndex;
use crate::rng::RngState;
use crate::tensor::Tensor;

use super::Model;
use super::batch::{PackedSide, seqs};
use super::config::Stack;
use super::positions::FIRST_POSITION;
use super::sublayer::Watch;

/// One row of the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row of the last step that it continues; without meaning in the first step.
    pub parent: usize,
    /// The sentence it translates. Sentences ascend over the rows; one that is done has no rows.
    pub sentence: usize,
    /// The token to feed: the end symbol in the first step.
    pub token: u32,
}

/// Decoder state of a batch of source sentences.
pub struct Incremental<'m> {
    model: &'m Model,
    /// Encoder keys and values of each layer [T source, 2d].
    memory: Vec<Tensor>,
    /// Tokens of each source sentence.
    lengths: Vec<usize>,
    /// Keys and values of the past of each layer [rows, length, 2d].
    past: Vec<Tensor>,
    rows: usize,
    length: usize,
}

impl<'m> Incremental<'m> {
    /// Encodes `source` and projects it once for every decoder layer.
    pub fn start(model: &'m Model, source: &PackedSide) -> Result<Incremental<'m>> {
        let mut tape = model.tape(RngState::default(), false);
        let encoded = model.encode(&mut tape, source)?;
        let mut pass = model.pass(&mut tape, false, Watch::default());
        let layers = 0..model.config.decoder_layers;
        let memory = layers.map(|layer| {
            let kv = pass.cross_keys(encoded, layer)?;
            Ok(pass.tape.value(kv).clone())
        });
        let memory = memory.collect::<Result<_>>()?;
        Ok(Incremental { model, memory, lengths: source.lengths().to_vec(), past: Vec::new(), rows: 0, length: 0 })
    }

    /// Feeds one token to each row: logits [rows, vocab] of the next. The rows given become the live ones. An error if
    /// there are none, if a parent or sentence does not exist, or if the output is longer than the positions.
    pub fn step(&mut self, rows: &[Row]) -> Result<Tensor> {
        self.check(rows)?;
        let (model, dev) = (self.model, self.model.params.dev().clone());
        let tokens: Vec<u32> = rows.iter().map(|row| row.token).collect();
        let index = EmbedIndex::new(&dev, &tokens, &vec![FIRST_POSITION + self.length as u32; rows.len()])?;
        let to_past = seqs(&dev, &vec![1; rows.len()], &vec![self.length + 1; rows.len()])?;
        let to_source = self.source_seqs(rows)?;
        let mut tape = model.tape(RngState::default(), false);
        let mut pass = model.pass(&mut tape, false, Watch::default());
        let x = model.embed(&mut pass, Stack::Decoder, &index)?;
        let mut x = pass.open(Stack::Decoder, x)?;
        let mut past = Vec::with_capacity(self.memory.len());
        for layer in 0..self.memory.len() {
            let (q, kv) = pass.self_projections(x, layer)?;
            let kv = self.append(layer, rows, pass.tape.value(kv))?;
            past.push(kv.clone());
            let kv = pass.tape.input(kv.reshape(&[rows.len() * (self.length + 1), 2 * model.config.d_model])?);
            x = pass.self_attention_over(x, q, kv, layer, &to_past)?;
            let memory = pass.tape.input(self.memory[layer].clone());
            x = pass.cross_attention(x, memory, layer, &to_source)?;
            x = pass.feed_forward(x, Stack::Decoder, layer)?;
        }
        let logits = model.project(pass.tape, x.input)?;
        (self.past, self.rows, self.length) = (past, rows.len(), self.length + 1);
        Ok(tape.value(logits).clone())
    }

    fn check(&self, rows: &[Row]) -> Result<()> {
        let stray = |row: &Row| row.sentence >= self.lengths.len() || self.length > 0 && row.parent >= self.rows;
        if rows.is_empty() || rows.iter().any(stray) || !rows.is_sorted_by_key(|row| row.sentence) {
            return Err(Error::data(
                "the rows of a decoding step are none, out of order, or continue none of the last",
            ));
        }
        if self.length >= self.model.config.max_positions {
            let most = self.model.config.max_positions;
            return Err(Error::data(format!("a translation grew over {most} tokens")).hint("lower --max-len-b"));
        }
        Ok(())
    }

    /// Each sentence's live rows against its encoder keys.
    fn source_seqs(&self, rows: &[Row]) -> Result<Seqs> {
        let mut live = vec![0; self.lengths.len()];
        rows.iter().for_each(|row| live[row.sentence] += 1);
        seqs(self.model.params.dev(), &live, &self.lengths)
    }

    /// The cache of `layer` for `rows`, each its parent's with its row of `new` [rows, 2d] behind.
    fn append(&self, layer: usize, rows: &[Row], new: &Tensor) -> Result<Tensor> {
        let (dev, width) = (self.model.params.dev(), 2 * self.model.config.d_model);
        let (old, next) = (self.length * width, (self.length + 1) * width);
        let cache = dev.tensor(&[rows.len(), self.length + 1, width], new.dtype())?;
        for (at, row) in rows.iter().enumerate() {
            if old > 0 {
                dev.copy(&cache.view(at * next, &[old])?, &self.past[layer].view(row.parent * old, &[old])?)?;
            }
            dev.copy(&cache.view(at * next + old, &[width])?, &new.view(at * width, &[width])?)?;
        }
        Ok(cache)
    }
}
