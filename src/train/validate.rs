//! Validation: loss over all pairs, BLEU of greedy translations of the first, and a few of them to look at.

use std::f64::consts::LN_2;

use super::setup::pack;
use crate::error::Result;
use crate::model::Model;
use crate::ops::cross_entropy::cross_entropy;
use crate::rng::RngState;
use crate::text::bleu::{BleuTokens, corpus_bleu};
use crate::text::{Batches, Coder, Pairs};
use crate::translate::search::Search;
use crate::translate::translate_ids;

/// The validation pairs in batches.
pub struct Validation {
    pub pairs: Pairs,
    pub batches: Batches,
    pub bleu_sentences: usize,
    pub samples: usize,
    pub max_tokens: usize,
}

/// Base-2 losses per target token.
pub struct Losses {
    pub loss: f64,
    pub nll: f64,
}

/// A translation beside its source and reference.
pub struct Sample {
    pub source: String,
    pub reference: String,
    pub hypothesis: String,
}

impl Validation {
    /// Losses over all pairs, without dropout.
    pub fn losses(&self, model: &Model, smoothing: f32) -> Result<Losses> {
        let dev = model.params.dev();
        let (mut loss, mut nll, mut tokens) = (0.0, 0.0, 0);
        for numbers in self.batches.iter() {
            let batch = pack(dev, &self.pairs, numbers, model.config.max_positions)?;
            let mut tape = model.tape(RngState::default(), false);
            let output = model.forward(&mut tape, &batch, false)?;
            let (batch_loss, batch_nll) = cross_entropy(&mut tape, output.logits, &batch.targets, smoothing)?;
            loss += f64::from(dev.read::<f32>(tape.value(batch_loss))?[0]);
            nll += f64::from(dev.read::<f32>(&batch_nll)?[0]);
            tokens += batch.target_tokens();
        }
        let per_token = tokens as f64 * LN_2;
        Ok(Losses { loss: loss / per_token, nll: nll / per_token })
    }

    /// BLEU of the first `bleu_sentences` pairs, and the first `samples` of them; none if nothing is to be translated.
    /// References are what the tokenizer makes of the target's ids.
    pub fn bleu(&self, model: &Model, coder: &Coder) -> Result<(Option<f64>, Vec<Sample>)> {
        let wanted = self.bleu_sentences.max(self.samples).min(self.pairs.len());
        if wanted == 0 {
            return Ok((None, Vec::new()));
        }
        let numbers: Vec<u32> = (0..wanted as u32).collect();
        let (sources, targets): (Vec<_>, Vec<_>) = self.pairs.take(&numbers).into_iter().unzip();
        let mut hypotheses = vec![String::new(); wanted];
        for (number, ranked) in
            translate_ids(model.params.dev(), model, &sources, &Search::GREEDY, self.max_tokens, &mut |_| {})?
        {
            hypotheses[number] = ranked.first().map_or(Ok(String::new()), |best| coder.decode(&best.tokens))?;
        }
        let references: Vec<String> = targets.iter().map(|ids| coder.decode(ids)).collect::<Result<_>>()?;
        let scored = self.bleu_sentences.min(wanted);
        let bleu = (scored > 0)
            .then(|| corpus_bleu(&hypotheses[..scored], &[references[..scored].to_vec()], BleuTokens::default()).score);
        let samples = (0..self.samples.min(wanted)).map(|at| {
            let source = coder.decode(&sources[at])?;
            Ok(Sample { source, reference: references[at].clone(), hypothesis: hypotheses[at].clone() })
        });
        Ok((bleu, samples.collect::<Result<_>>()?))
    }
}
