//! chrF2 (Popović 2015) as sacreBLEU computes it: characters 1 to 6, white space removed, β = 2.

use std::collections::HashMap;

use super::is_space;

/// Longest character n-gram.
const ORDER: usize = 6;
/// β²: recall counts four times as much as precision.
const BETA2: f64 = 4.0;

/// n-grams of the hypothesis, of the reference, and common to both, by n − 1.
type Counts = [[u64; 3]; ORDER];

fn ngrams(chars: &[char], n: usize) -> HashMap<&[char], u64> {
    let mut counts = HashMap::new();
    chars.windows(n).for_each(|ngram| *counts.entry(ngram).or_default() += 1);
    counts
}

fn compare(hypothesis: &[char], reference: &[char]) -> Counts {
    let mut counts = Counts::default();
    for (n, row) in counts.iter_mut().enumerate() {
        let (hyp, reference) = (ngrams(hypothesis, n + 1), ngrams(reference, n + 1));
        let common = hyp.iter().map(|(ngram, count)| (*count).min(reference.get(ngram).copied().unwrap_or(0))).sum();
        // Where the reference has no n-gram of this order, those of the hypothesis do not count either.
        let of_hyp = if reference.is_empty() { 0 } else { hyp.values().sum() };
        *row = [of_hyp, reference.values().sum(), common];
    }
    counts
}

/// F of the averaged precision and recall, over the orders that both sides have.
fn f_score(counts: &Counts) -> f64 {
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0);
    for &[hyp, reference, common] in counts {
        if hyp > 0 && reference > 0 {
            precision += common as f64 / hyp as f64;
            recall += common as f64 / reference as f64;
            orders += 1;
        }
    }
    if orders == 0 || precision + recall == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (precision / f64::from(orders), recall / f64::from(orders));
    100.0 * (1.0 + BETA2) * precision * recall / (BETA2 * precision + recall)
}

/// chrF2 of `hypotheses`, 0 to 100; per sentence the reference with the best score counts.
pub fn corpus_chrf<S: AsRef<str>>(hypotheses: &[S], references: &[Vec<S>]) -> f64 {
    let chars = |line: &S| line.as_ref().chars().filter(|c| !is_space(*c)).collect::<Vec<char>>();
    let mut sum = Counts::default();
    for (number, hypothesis) in hypotheses.iter().enumerate() {
        let hypothesis = chars(hypothesis);
        let mut best: Option<(f64, Counts)> = None;
        for set in references {
            let counts = compare(&hypothesis, &chars(&set[number]));
            let f = f_score(&counts);
            if best.is_none_or(|(most, _)| f > most) {
                best = Some((f, counts));
            }
        }
        let counts = best.map(|(_, counts)| counts).unwrap_or_default();
        for (total, row) in sum.iter_mut().flatten().zip(counts.iter().flatten()) {
            *total += row;
        }
    }
    f_score(&sum)
}
