//! `omega score`: BLEU and chrF2 of stdin, or a file, against reference files.

use std::io::BufRead;

use super::bleu::{BleuTokens, corpus_bleu};
use super::chrf::corpus_chrf;
use super::lines::{Lines, lines_of};
use crate::cli::ScoreArgs;
use crate::error::{Error, Result};
use crate::files::print;

/// The version of sacreBLEU whose numbers these are, to the last digit (`tests/fixtures/bleu`).
const SACREBLEU: &str = "2.6.0";

/// Both lines, each with the signature of its settings.
pub fn report(hypotheses: &[String], references: &[Vec<String>], tokens: BleuTokens) -> String {
    let (bleu, chrf, sets) =
        (corpus_bleu(hypotheses, references, tokens), corpus_chrf(hypotheses, references), references.len());
    format!(
        "{} nrefs:{sets}|case:mixed|eff:no|tok:{}|smooth:exp|version:{SACREBLEU}\n\
         chrF2 = {chrf:.2} nrefs:{sets}|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{SACREBLEU}",
        bleu.line(),
        tokens.name()
    )
}

/// Runs the command, on the lines of `stdin` without `--input`.
pub fn score(args: &ScoreArgs, stdin: impl BufRead) -> Result<()> {
    let references: Vec<Vec<String>> =
        args.reference.iter().map(|path| Lines::open(path)?.all()).collect::<Result<_>>()?;
    let (name, hypotheses): (String, Vec<String>) = match &args.input {
        Some(path) => (path.display().to_string(), Lines::open(path)?.all()?),
        None => ("stdin".to_owned(), lines_of(stdin, "stdin").collect::<Result<_>>()?),
    };
    for (path, lines) in args.reference.iter().zip(&references) {
        if lines.len() != hypotheses.len() {
            let message = format!("{name} has {} lines, {} has {}", hypotheses.len(), path.display(), lines.len());
            return Err(Error::data(message).hint("one hypothesis per reference line is needed"));
        }
    }
    if hypotheses.is_empty() {
        return Err(Error::data(format!("{name} is empty: there is nothing to score")));
    }
    print(&(report(&hypotheses, &references, args.tokenize) + "\n")).map(drop)
}
