//! `omega train --dry-run`: what a run would need, without a device. The step is the real one on [`Device::dry`], which
//! counts memory and computes nothing.

use std::fmt::Write as _;

use super::run::micro_batch;
use super::setup::{Prepared, Settled, limits, pack, settle, summary};
use super::start::Start;
use crate::cli::TrainArgs;
use crate::config::Residual;
use crate::device::{Device, MemoryUse, Purpose};
use crate::error::{Error, Result};
use crate::files::{Folder, print};
use crate::optim::{Settings, Updater};
use crate::rng::RngState;
use crate::text::Batches;
use crate::text::batch::Limits;

/// Sizes of common GPUs, in GiB.
const GPUS: [usize; 5] = [8, 16, 24, 48, 80];
/// No larger --max-tokens is looked for.
const MOST_TOKENS: usize = 1 << 18;
/// --max-tokens is looked for in steps of this.
const STEP: usize = 256;
const GIB: usize = 1 << 30;

/// Source and target tokens, and pairs, of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    source: usize,
    target: usize,
    pairs: usize,
}

/// What one update takes at the largest batch of `batches`.
struct Need {
    memory: MemoryUse,
    shape: Shape,
}

/// Runs the command: checks flags and data as training would, prints parameters, memory by purpose, and the largest
/// --max-tokens for some sizes of memory. Writes nothing.
pub fn dry_run(args: &TrainArgs) -> Result<()> {
    let Settled { given, config, .. } = settle(args, args.save_dir.as_deref())?;
    let _folder = args.save_dir.as_deref().map(Folder::open).transpose()?; // gone again at the end
    let prepared = Prepared::open(config)?;
    Start::find(&prepared, args.save_dir.as_deref(), &given)?;
    let need = prepared.need(&prepared.batches)?;
    let mut text = summary(&prepared) + "\n";
    let Shape { source, target, pairs } = need.shape;
    let most = prepared.config.max_tokens;
    let _ = writeln!(
        text,
        "memory of an update at --max-tokens {most}, whose largest batch has {pairs} pairs with {source} source and \
         {target} target tokens:"
    );
    for (purpose, bytes) in Purpose::ALL.into_iter().zip(need.memory.peak) {
        if bytes > 0 {
            let _ = writeln!(text, "  {:<26} {:>10}", purpose.describe(), mebibytes(bytes));
        }
    }
    let _ = writeln!(text, "  {:<26} {:>10}", "at the highest point", mebibytes(need.memory.peak_bytes));
    let _ =
        writeln!(text, "largest --max-tokens for a memory of (CUDA and cuBLAS keep some for themselves, not counted):");
    for gibibytes in GPUS {
        let _ = writeln!(text, "  {gibibytes:>3} GiB {:>10}", prepared.largest(gibibytes * GIB)?);
    }
    print(&text).map(drop)
}

/// "617.0 MiB".
pub fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl Prepared {
    /// The step of a run over the batch of `batches` that takes most.
    fn need(&self, batches: &Batches) -> Result<Need> {
        let first = batches.order(1).first().map_or(&[][..], |&number| batches.batch(number as usize));
        let largest = self.candidates(batches).into_iter().map(|numbers| self.step(first, numbers));
        let mut needs = largest.collect::<Result<Vec<_>>>()?;
        needs.sort_by_key(|need| need.memory.peak_bytes);
        needs.pop().ok_or_else(|| Error::data("the training data has no batch"))
    }

    /// Memory is nearly linear in source and in target tokens: the batch that takes most has most of one of these sums.
    fn candidates<'b>(&self, batches: &'b Batches) -> Vec<&'b [u32]> {
        let lengths = self.pairs.lengths();
        let tokens = |numbers: &[u32]| {
            let of = |at: &u32| lengths[*at as usize];
            let add = |(source, target): (usize, usize), (s, t): (usize, usize)| (source + s, target + t);
            numbers.iter().map(of).fold((0, 0), add)
        };
        let mut found: Vec<&[u32]> = Vec::new();
        for (of_source, of_target) in [(1, 0), (4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (0, 1)] {
            let weight = |numbers: &&[u32]| {
                let (source, target) = tokens(numbers);
                of_source * source + of_target * target
            };
            let most = batches.iter().max_by_key(weight);
            found.extend(most.filter(|numbers| !found.contains(numbers)));
        }
        found
    }

    /// A run that profiles the batch `first`, if it profiles, and does a step over `numbers`.
    fn step(&self, first: &[u32], numbers: &[u32]) -> Result<Need> {
        let dev = Device::dry(self.config.device)?;
        let model = self.model(&dev)?;
        if self.config.residual == Residual::Admin && self.config.finetune_from_model.is_none() {
            let first = pack(&dev, &self.pairs, first, self.model.max_positions)?;
            model.set_omegas(&self.config.omega, &first, RngState::default())?;
        }
        let updater = Updater::new(Settings::of(&self.config), &model.params)?; // after the pass, as in a run
        let batch = pack(&dev, &self.pairs, numbers, self.model.max_positions)?;
        micro_batch(&model, &batch, RngState::default(), self.config.label_smoothing, updater.scale())?;
        let shape = Shape { source: batch.source.tokens, target: batch.target_tokens(), pairs: numbers.len() };
        Ok(Need { memory: dev.memory_use(), shape })
    }

    /// The largest --max-tokens whose batches fit in `bytes`, as words.
    fn largest(&self, bytes: usize) -> Result<String> {
        let lengths = self.pairs.lengths();
        let longest = lengths.iter().map(|(source, target)| *source.max(target)).max().unwrap_or(1);
        let fits = |max_tokens: usize| -> Result<bool> {
            let limits = Limits { max_tokens, ..limits(&self.config, &self.model) };
            let batches = Batches::plan(&lengths, limits, self.config.seed)?;
            Ok(self.need(&batches)?.memory.peak_bytes <= bytes)
        };
        let (mut low, mut high) = (longest.div_ceil(STEP), MOST_TOKENS / STEP);
        if !fits(low * STEP)? {
            return Ok("none".to_owned());
        }
        if fits(high * STEP)? {
            return Ok(format!("over {MOST_TOKENS}"));
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            *(if fits(middle * STEP)? { &mut low } else { &mut high }) = middle;
        }
        Ok((low * STEP).to_string())
    }
}
