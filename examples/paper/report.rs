//! One experiment as a page: table, verdict on each criterion, and the curves as SVG.

use std::fmt::Write;
use std::path::Path;

use omega::analyze::depth::Scheme;
use omega::plot::{self, Look, Series};

use crate::Result;
use crate::corpus::Corpus;
use crate::training::{Experiment, Outcome, Side};

pub struct Page {
    pub markdown: String,
    pub svg: String,
    pub passed: bool,
}

/// The whole file or none of it.
pub fn write(path: &Path, text: &str) -> Result<()> {
    Ok(omega::files::write_whole(path, text.as_bytes())?)
}

pub fn page(e: &Experiment, corpus: &Corpus, outcomes: &[Outcome]) -> Result<Page> {
    let mut out = format!(
        "## {}: {}\n\n{}, vocabulary 4,000; width 64, ffn 256, 4 heads; {}, learning rate {}, {} updates of at most {} \
         tokens.\nLabel-smoothed loss of {} validation pairs, nats per token. The best constant predictor has {:.3}.\n\n\
         ![{}]({}.svg)\n\n",
        e.name.to_uppercase(),
        e.title,
        corpus.name(),
        e.optimizer,
        e.lr,
        e.updates,
        e.max_tokens,
        e.valid_pairs,
        corpus.constant,
        e.title,
        e.name,
    );
    writeln!(out, "| scheme | loss, seeds {} | criterion | verdict |\n|---|---|---|---|", list(e.seeds.iter()))?;
    let mut passed = true;
    for rule in e.rules {
        let losses: Vec<f64> = outcomes.iter().filter(|o| o.scheme == rule.scheme).map(Outcome::last).collect();
        let bound = rule.bound(corpus);
        // NaN fails either way.
        let holds = losses.iter().all(|loss| if rule.side == Side::Above { *loss > bound } else { *loss < bound });
        passed &= holds;
        let (side, verdict) =
            (if rule.side == Side::Above { '>' } else { '<' }, if holds { "pass" } else { "**fail**" });
        let losses = list(losses.iter().map(|loss| format!("{loss:.3}")));
        writeln!(out, "| {} | {losses} | all {side} {bound:.3} | {verdict} |", rule.scheme)?;
    }
    if let Some((above, below, wanted)) = e.margin {
        let lasts = |scheme| outcomes.iter().filter(move |o| o.scheme == scheme).map(Outcome::last);
        let found = lasts(above).fold(f64::INFINITY, f64::min) - lasts(below).fold(f64::NEG_INFINITY, f64::max);
        let holds = found > wanted;
        passed &= holds;
        let verdict = if holds { "pass" } else { "**fail**" };
        writeln!(out, "| {above} − {below} | {found:.3}, best seed to worst | > {wanted:.3} | {verdict} |")?;
    }
    writeln!(out)?;
    Ok(Page { markdown: out, svg: curves(e, corpus, outcomes)?, passed })
}

fn list<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Validation loss against updates, a curve per run. What lies far above the constant predictor is cut off.
fn curves(e: &Experiment, corpus: &Corpus, outcomes: &[Outcome]) -> Result<String> {
    let most = corpus.constant + 1.5;
    let of = |scheme: &str| -> Vec<Vec<(f64, f64)>> {
        let curve = |run: &Outcome| run.curve.iter().map(|(update, loss)| (*update as f64, loss.min(most))).collect();
        outcomes.iter().filter(|run| run.scheme == scheme).map(curve).collect()
    };
    let look = |name: &str| {
        let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
        scheme.map_or(Look::LEVEL, Scheme::look)
    };
    let schemes = e.rules.iter().map(|rule| Series::new(rule.scheme, look(rule.scheme), of(rule.scheme)));
    let ends = [e.validate_every, e.updates].map(|update| (update as f64, corpus.constant));
    let level = Series::new("best constant predictor", Look::LEVEL, vec![ends.to_vec()]);
    let series: Vec<Series> = schemes.chain([level]).collect();
    Ok(plot::lines(e.title, ["updates", "validation loss [nats per token]"], &series, false)?)
}
