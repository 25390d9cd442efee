//! Corpus BLEU (Papineni et al. 2002) as sacreBLEU computes it (Post 2018, arXiv:1804.08771): tokens of 13a or none, case
//! kept, exponential smoothing, no effective order.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{is_space, words};
pub use crate::config::BleuTokens;

/// Longest n-gram.
const ORDER: usize = 4;

/// Counts of a corpus; they add up over sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BleuCounts {
    /// n-grams of the hypotheses that a reference has too, clipped, by n − 1.
    pub correct: [u64; ORDER],
    /// n-grams of the hypotheses.
    pub total: [u64; ORDER],
    /// Tokens of the hypotheses.
    pub sys_len: u64,
    /// Tokens of the references closest in length.
    pub ref_len: u64,
}

/// A score and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Bleu {
    /// 0 to 100.
    pub score: f64,
    /// Percent, by n − 1, smoothed.
    pub precisions: [f64; ORDER],
    pub brevity_penalty: f64,
    pub counts: BleuCounts,
}

/// The words of `line` that n-grams are made of.
fn split(line: &str, tokens: BleuTokens) -> Vec<String> {
    match tokens {
        BleuTokens::Mteval13a => tokenize_13a(line),
        BleuTokens::None => words(line).map(str::to_owned).collect(),
    }
}

fn replace_all(rules: &[(Regex, &str)], text: &str) -> String {
    rules.iter().fold(text.to_owned(), |text, (regex, with)| regex.replace_all(&text, *with).into_owned())
}

/// mteval's international-free tokenisation, "13a".
pub fn tokenize_13a(line: &str) -> Vec<String> {
    static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
        let rule = |pattern: &str| Regex::new(pattern).expect("a constant pattern");
        [
            (rule(r"([{-~\[-` -&(-+:-@/])"), " $1 "),
            (rule(r"([^0-9])([.,])"), "$1 $2 "),
            (rule(r"([.,])([^0-9])"), " $1 $2"),
            (rule(r"([0-9])(-)"), "$1 $2 "),
        ]
    });
    let mut text = line.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if text.contains('&') {
        for (entity, with) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
            text = text.replace(entity, with);
        }
    }
    words(&replace_all(&*RULES, &format!(" {text} "))).map(str::to_owned).collect()
}

fn ngrams(tokens: &[String], n: usize) -> HashMap<&[String], u64> {
    let mut counts = HashMap::new();
    tokens.windows(n).for_each(|ngram| *counts.entry(ngram).or_default() += 1);
    counts
}

impl BleuCounts {
    /// Adds one hypothesis with its references.
    pub fn add(&mut self, hypothesis: &str, references: &[&str], tokens: BleuTokens) {
        let hypothesis = split(hypothesis, tokens);
        let references: Vec<Vec<String>> = references.iter().map(|reference| split(reference, tokens)).collect();
        for n in 1..=ORDER {
            let mut most: HashMap<&[String], u64> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, n) {
                    let seen = most.entry(ngram).or_default();
                    *seen = count.max(*seen);
                }
            }
            for (ngram, count) in ngrams(&hypothesis, n) {
                self.total[n - 1] += count;
                self.correct[n - 1] += count.min(most.get(ngram).copied().unwrap_or(0));
            }
        }
        self.sys_len += hypothesis.len() as u64;
        // Closest in length; of two that are as close, the shorter.
        let lengths = references.iter().map(Vec::len);
        self.ref_len += lengths.min_by_key(|n| (n.abs_diff(hypothesis.len()), *n)).unwrap_or(0) as u64;
    }

    /// The score of everything added.
    pub fn score(self) -> Bleu {
        let mut precisions = [0.0; ORDER];
        let mut smooth = 1.0;
        // sacreBLEU smooths only what matches somewhere.
        let matched = self.correct.iter().any(|n| *n > 0);
        for (precision, (&correct, &total)) in precisions.iter_mut().zip(self.correct.iter().zip(&self.total)) {
            if total == 0 || !matched {
                break;
            }
            *precision = if correct == 0 {
                smooth *= 2.0;
                100.0 / (smooth * total as f64)
            } else {
                100.0 * correct as f64 / total as f64
            };
        }
        let brevity_penalty = match (self.sys_len, self.ref_len) {
            (0, reference) if reference > 0 => 0.0,
            (sys, reference) if sys < reference => (1.0 - reference as f64 / sys as f64).exp(),
            _ => 1.0,
        };
        let score = if precisions.iter().all(|p| *p > 0.0) {
            brevity_penalty * (precisions.iter().map(|p| p.ln()).sum::<f64>() / ORDER as f64).exp()
        } else {
            0.0
        };
        Bleu { score, precisions, brevity_penalty, counts: self }
    }
}

/// BLEU of `hypotheses`; `references` holds, per reference set, one line per hypothesis.
pub fn corpus_bleu<S: AsRef<str>>(hypotheses: &[S], references: &[Vec<S>], tokens: BleuTokens) -> Bleu {
    let mut counts = BleuCounts::default();
    for (number, hypothesis) in hypotheses.iter().enumerate() {
        let lines: Vec<&str> = references.iter().map(|set| set[number].as_ref()).collect();
        counts.add(hypothesis.as_ref(), &lines, tokens);
    }
    counts.score()
}

impl Bleu {
    /// sacreBLEU's line, `BLEU = 34.56 …`.
    pub fn line(&self) -> String {
        let [a, b, c, d] = self.precisions;
        let BleuCounts { sys_len, ref_len, .. } = self.counts;
        let ratio = if ref_len == 0 { 0.0 } else { sys_len as f64 / ref_len as f64 };
        format!(
            "BLEU = {:.2} {a:.1}/{b:.1}/{c:.1}/{d:.1} (BP = {:.3} ratio = {ratio:.3} hyp_len = {sys_len} ref_len = {ref_len})",
            self.score, self.brevity_penalty
        )
    }
}
