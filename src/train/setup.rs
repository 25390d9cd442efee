//! From flags to a run that can do its next update: a fresh one, or one that goes on from its checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::lock::FolderLock;
use super::log::Log;
use super::run::Run;
use super::start::Start;
use super::stats::Stats;
use super::validate::Validation;
use crate::checkpoint::RunState;
use crate::cli::TrainArgs;
use crate::config::{TrainConfig, TrainFlags, absolute};
use crate::device::Device;
use crate::error::{Error, Kind, Result};
use crate::files::{Folder, write_whole};
use crate::model::admin::Omegas;
use crate::model::{Model, ModelConfig, PackedBatch};
use crate::rng::RngState;
use crate::terminal::{say, took, warn};
use crate::text::batch::Limits;
use crate::text::{Batches, DataFolder, Pairs};

/// Dropout's counter during profiling; no micro-batch of a run has it.
const PROFILING_STEP: u32 = u32::MAX;

/// Whether a run in `folder` has a checkpoint to go on from.
fn has_begun(folder: &Path) -> bool {
    folder.join("checkpoint_last.safetensors").exists()
}

/// The settings of the run in `folder`, if one has begun there. One that ended before its first checkpoint has not: with
/// `data`, it is tried again as it is typed.
pub fn settings_of(folder: &Path, data: Option<&PathBuf>) -> Result<Option<TrainFlags>> {
    let path = folder.join("config.toml");
    let begun = data.is_none() || has_begun(folder);
    (begun && path.exists()).then(|| TrainFlags::load(&path).map(TrainFlags::of_a_run)).transpose()
}

/// An error if a new run in `folder` would take over settings or a log that omega did not write there. A run that ended before
/// its first checkpoint has left both, and is begun again.
fn expect_no_strangers(folder: &Path) -> Result<()> {
    let (settings, log) = (folder.join("config.toml"), folder.join("log.jsonl"));
    let own = settings.exists() && settings_are_own(&settings)?;
    let stranger = if settings.exists() && !own {
        settings
    } else if log.exists() && !Log::is_own(&log, own)? {
        log
    } else {
        return Ok(());
    };
    let message = format!("{}: omega did not write it for a run here, which would write over it", stranger.display());
    Err(Error::data(message).hint("give another --save-dir, or move it; --config FILE takes settings from anywhere"))
}

/// Whether a run wrote `path`: then all settings are there. What people write has a few.
fn settings_are_own(path: &Path) -> Result<bool> {
    match TrainFlags::load(path) {
        Ok(flags) => Ok(flags.are_complete()),
        Err(error) if matches!(error.kind(), Kind::Io { .. }) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Flags from the command line over those of `--config`.
fn given(data: Option<&PathBuf>, config: Option<&Path>, flags: &TrainFlags) -> Result<TrainFlags> {
    let file = config.map(TrainFlags::load).transpose()?.unwrap_or_default();
    let typed = TrainFlags { data: data.cloned(), ..flags.clone() };
    Ok(typed.over(file))
}

/// Flags from the command line over those of `--config` over `own`, a run's, complete.
pub fn resolve(
    data: Option<&PathBuf>,
    config: Option<&Path>,
    flags: &TrainFlags,
    own: Option<TrainFlags>,
) -> Result<TrainConfig> {
    given(data, config, flags)?.over(own.unwrap_or_default()).resolve()
}

/// What `omega train` is to do in a folder.
pub struct Settled {
    /// Typed or in `--config`.
    pub given: TrainFlags,
    pub config: TrainConfig,
    /// How it differs from the settings that the run there has, one by one.
    pub changes: Vec<String>,
}

/// What `args` ask for in `folder`.
pub fn settle(args: &TrainArgs, folder: Option<&Path>) -> Result<Settled> {
    folder.filter(|folder| !has_begun(folder)).map_or(Ok(()), expect_no_strangers)?;
    let own = folder.map(|folder| settings_of(folder, args.data.as_ref())).transpose()?.flatten();
    let mut given = given(args.data.as_ref(), args.config.as_deref(), &args.flags)?;
    if folder.is_some_and(has_begun) {
        // Its config.toml says where it began, and that does not change any more.
        let began_with = own.as_ref().and_then(|own| own.finetune_from_model.as_deref());
        let other = given.finetune_from_model.take().filter(|path| Some(&*absolute(path)) != began_with);
        if let Some(path) = other {
            let path = path.display();
            warn(format!(
                "--finetune-from-model {path} is not used: this run has begun, and goes on from its own checkpoint"
            ));
        }
    }
    let config = given.clone().over(own.clone().unwrap_or_default()).resolve()?;
    let changes = own.map_or(Ok(Vec::new()), |own| config.changes(&own.resolve()?))?;
    Ok(Settled { given, config, changes })
}

/// What training and profiling both start from.
pub struct Prepared {
    pub config: TrainConfig,
    pub data: DataFolder,
    pub pairs: Pairs,
    pub batches: Batches,
    pub model: ModelConfig,
}

impl Prepared {
    /// Opens the data folder of `config` and plans its batches.
    pub fn open(config: TrainConfig) -> Result<Prepared> {
        let path = config.data.as_deref().ok_or_else(|| {
            Error::usage("no data folder was given")
                .hint("`omega prepare` makes one; name it first, before the flags, such as data-bin/demo")
        })?;
        let data = DataFolder::open(path)?;
        let model = ModelConfig::of_run(&config, data.dictionary.len());
        model.check()?;
        let pairs = data.pairs("train")?;
        let batches = Batches::plan(&pairs.lengths(), limits(&config, &model), config.seed)?;
        Ok(Prepared { config, data, pairs, batches, model })
    }

    /// Batch `number` of the corpus on `dev`.
    pub fn pack(&self, dev: &Device, number: u32) -> Result<PackedBatch> {
        pack(dev, &self.pairs, self.batches.batch(number as usize), self.model.max_positions)
    }

    /// A model without values.
    pub fn model(&self, dev: &Device) -> Result<Model> {
        let mut model = Model::of_dtype(dev, self.model.clone(), self.config.dtype())?;
        model.recompute = self.config.recompute;
        Ok(model)
    }

    /// A model with its initial values, ω included. Those come from the first batch where they are profiled.
    pub fn initialise(&self, dev: &Device) -> Result<(Model, Omegas)> {
        let model = self.model(dev)?;
        model.initialise(self.config.seed)?;
        let first = self.pack(dev, self.batches.order(1)[0])?;
        let rng = RngState { seed: self.config.seed, step: PROFILING_STEP };
        let omegas = model.set_omegas(&self.config.omega, &first, rng)?;
        Ok((model, omegas))
    }

    /// A run of this that has not begun.
    pub fn state(&self) -> Result<RunState> {
        let DataFolder { source, target, .. } = &self.data;
        let state = RunState::new(self.model.clone(), source, target, self.config.seed, self.plan());
        Ok(RunState { text: Some(self.data.fingerprint()?), ..state })
    }

    /// What a position within an epoch counts in.
    pub fn plan(&self) -> String {
        let (source, target) = (self.pairs.source.tokens(), self.pairs.target.tokens());
        let sentences = self.config.max_sentences.map_or("none".to_owned(), |n| n.to_string());
        format!(
            "{} pairs of {source} and {target} tokens, max-tokens {}, max-sentences {sentences}, seed {}",
            self.pairs.len(),
            self.config.max_tokens,
            self.config.seed
        )
    }
}

/// The pairs in `numbers` as a batch on `dev`.
pub fn pack(dev: &Device, pairs: &Pairs, numbers: &[u32], max_positions: usize) -> Result<PackedBatch> {
    let pairs = pairs.take(numbers);
    let pairs: Vec<(&[u32], &[u32])> = pairs.iter().map(|(s, t)| (s.as_slice(), t.as_slice())).collect();
    PackedBatch::new(dev, &pairs, max_positions)
}

pub fn limits(config: &TrainConfig, model: &ModelConfig) -> Limits {
    let max_sentences = config.max_sentences.unwrap_or(usize::MAX);
    Limits { max_tokens: config.max_tokens, max_sentences, max_positions: model.max_positions }
}

/// The run that `args` describe, ready for its next update.
pub fn open(args: &TrainArgs) -> Result<Run> {
    let folder = args.save_dir.clone().ok_or_else(|| {
        Error::usage("no run folder was given").hint("say where checkpoints go: `--save-dir runs/NAME`")
    })?;
    if args.data.as_deref().is_some_and(|data| absolute(data) == absolute(&folder)) {
        let message = format!("--save-dir {} is the data folder", folder.display());
        return Err(Error::usage(message).hint("a run needs a folder of its own: `--save-dir runs/NAME`"));
    }
    // Before anything is read there that another trainer may be about to replace.
    let lock = folder.is_dir().then(|| FolderLock::take(&folder)).transpose()?;
    let Settled { given, config, changes } = settle(args, Some(&folder))?;
    let _folder = Folder::open(&folder)?; // an error before anything is in it takes it away again
    let prepared = Prepared::open(config)?;
    let validation = validation(&prepared)?;
    let coder = prepared.data.coder()?;
    let start = Start::find(&prepared, Some(&folder), &given)?;
    if let Start::Resume(_) = start {
        expect_not_begun(&changes)?;
    }
    let dev = Device::open(prepared.config.device)?;
    say(format!("device: {}\n{}", dev.name(), summary(&prepared)));
    // All that can be refused has been by now: files are written only from here on.
    let began = Instant::now();
    let (model, updater, state, omegas) = start.begin(&prepared, &dev)?;
    took("model and optimiser", began);
    drop(start); // with the bytes of its checkpoint
    for change in changes {
        say(format!("  {change}"));
    }
    let lock = lock.map_or_else(|| FolderLock::take(&folder), Ok)?;
    let log = Log::open(&folder, &state, prepared.config.max_update, prepared.config.tensorboard)?;
    let stats = Stats::new(&dev, prepared.config.update_freq)?;
    let Prepared { config, data, pairs, batches, .. } = prepared;
    let (settings, place) = (config.to_toml()?, (folder.clone(), lock));
    let run = Run::new(state, config, place, model, updater, (pairs, batches), validation, coder, stats, log);
    // A run that has nothing left to do keeps the settings that it was trained with.
    if !run.done() {
        copy_data_files(&data, &folder)?;
        if let Some(omegas) = omegas {
            omegas.save(&folder.join("profile.ratio.init"))?;
        }
        write_whole(&folder.join("config.toml"), settings.as_bytes())?;
    }
    Ok(run)
}

/// An error for a change that a run which has begun would not see.
fn expect_not_begun(changes: &[String]) -> Result<()> {
    match changes.iter().find(|change| ["init", "omega"].contains(&change.split(' ').next().unwrap_or_default())) {
        Some(change) => {
            Err(Error::usage(format!("--{change}: this run has begun, and has its values from its checkpoint"))
                .hint("leave the flag out, or give another --save-dir"))
        }
        None => Ok(()),
    }
}

fn validation(prepared: &Prepared) -> Result<Validation> {
    let (config, pairs) = (&prepared.config, prepared.data.pairs("valid")?);
    let lengths = pairs.lengths();
    // A validation pair may be longer than --max-tokens: it has to be scored all the same.
    let longest = lengths.iter().map(|(source, target)| *source.max(target)).max().unwrap_or(0);
    let limits = limits(config, &prepared.model);
    let limits = Limits { max_tokens: limits.max_tokens.max(longest), ..limits };
    let batches = Batches::plan(&lengths, limits, config.seed).map_err(|error| error.context("valid"))?;
    let Limits { max_tokens, .. } = limits;
    Ok(Validation { pairs, batches, bleu_sentences: config.bleu_sentences, samples: config.samples, max_tokens })
}

/// Dictionaries and tokenizer go into the run folder, so that it translates alone.
fn copy_data_files(data: &DataFolder, folder: &Path) -> Result<()> {
    let dictionaries = [&data.source, &data.target].map(|language| format!("dict.{language}.txt"));
    for name in dictionaries.into_iter().chain(["tokenizer.json".to_owned()]) {
        let from = data.path.join(&name);
        if from.exists() {
            let bytes = std::fs::read(&from).map_err(|error| Error::io(&from, "read", error))?;
            write_whole(&folder.join(&name), &bytes)?;
        }
    }
    Ok(())
}

pub fn summary(prepared: &Prepared) -> String {
    let (model, data) = (&prepared.model, &prepared.data);
    let parameters: usize = model.specs().iter().map(|spec| spec.numel()).sum();
    format!(
        "model: {}, {parameters} parameters\ndata: {}-{}, {} pairs in {} batches",
        model.describe(),
        data.source,
        data.target,
        prepared.pairs.len(),
        prepared.batches.len()
    )
}
