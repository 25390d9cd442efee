//! What a run starts from: initial values, the parameters of another run, or its own last checkpoint.

use std::path::Path;

use super::setup::Prepared;
use crate::checkpoint::{Checkpoint, RunState, names};
use crate::config::{Residual, TrainFlags};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::admin::Omegas;
use crate::optim::{Settings, Updater};
use crate::terminal::{say, warn};
use crate::text::Dictionary;

/// What a run starts from, opened and found to fit.
pub enum Start {
    /// Initial values.
    Fresh,
    /// Another run's parameters, and nothing else of it: `--finetune-from-model`.
    Finetune(Checkpoint),
    /// Its own last checkpoint.
    Resume(Checkpoint),
}

/// A run that can do its next update; the ω are those of a fresh one, where the scheme has any.
pub type Started = (Model, Updater, RunState, Option<Omegas>);

impl Start {
    /// What the run in `folder` starts from. As in fairseq, a run that has begun goes on: its own checkpoint comes before
    /// `--finetune-from-model`, whose file may be gone by then. `given` are the flags that were typed, for hints.
    pub fn find(prepared: &Prepared, folder: Option<&Path>, given: &TrainFlags) -> Result<Start> {
        let last = folder.map(|folder| folder.join("checkpoint_last.safetensors")).filter(|last| last.exists());
        if let (None, Some(folder)) = (&last, folder.filter(|folder| folder.is_dir())) {
            expect_no_model(folder)?;
        }
        match (last, &prepared.config.finetune_from_model) {
            (Some(last), _) => {
                let checkpoint = Checkpoint::open(&last)?;
                checkpoint.expect_model(&prepared.model).map_err(|error| {
                    let hint = checkpoint.instead_of_shape(&prepared.model, given);
                    error.hint(format!("{hint}; or give another --save-dir"))
                })?;
                let data = &prepared.data;
                checkpoint.expect_text(&data.path, &data.dictionary).map_err(|error| {
                    error.hint("prepare the text with `omega prepare --tokenizer RUN/tokenizer.json`, or give another --save-dir")
                })?;
                Ok(Start::Resume(checkpoint))
            }
            (None, Some(path)) => {
                let path = Checkpoint::find(path)?;
                let checkpoint = Checkpoint::open(&path)?;
                expect_same_symbols(&path, &checkpoint.state, prepared)?;
                expect_same_parameters(&path, &checkpoint.state, prepared)?;
                let omega = prepared.config.residual == Residual::Admin;
                let omega = if omega { ", ω included: nothing is profiled" } else { "" };
                say(format!("begins with the parameters of {}{omega}", path.display()));
                Ok(Start::Finetune(checkpoint))
            }
            (None, None) => Ok(Start::Fresh),
        }
    }

    /// The run on `dev`.
    pub fn begin(&self, prepared: &Prepared, dev: &Device) -> Result<Started> {
        match self {
            Start::Fresh => fresh(prepared, dev),
            Start::Finetune(checkpoint) => finetune(prepared, dev, checkpoint),
            Start::Resume(checkpoint) => resume(prepared, dev, checkpoint),
        }
    }
}

/// An error if a new run would write over the models in `folder`: those of a run that has lost its last checkpoint, or
/// what `omega import` and `omega export` have written.
fn expect_no_model(folder: &Path) -> Result<()> {
    let Some((_, path)) = names::list(folder)?.into_iter().next() else { return Ok(()) };
    let message = format!("{}: a model lies here, and no checkpoint_last.safetensors to go on from", path.display());
    Err(Error::data(message).hint(format!(
        "a new run would write over it: give another --save-dir, or remove it; --finetune-from-model {} begins with its parameters",
        path.display()
    )))
}

/// An error that names what differs unless the dictionary beside the checkpoint at `path` has the symbols of the data.
fn expect_same_symbols(path: &Path, state: &RunState, prepared: &Prepared) -> Result<()> {
    let own = path.with_file_name(format!("dict.{}.txt", state.target));
    let dictionary = Dictionary::load(&own)
        .map_err(|error| error.hint("a checkpoint's dictionary is looked for beside it, as in a run folder"))?;
    let data = &prepared.data;
    let (file, here) = (own.display(), data.path.display());
    if let Some(difference) = dictionary.difference(&data.dictionary) {
        let message = format!("--finetune-from-model: {file} is not the dictionary of {here}: {difference}");
        return Err(Error::data(message).hint("prepare the text with `omega prepare --tokenizer RUN/tokenizer.json`"));
    }
    let Some(trained) = &state.text else { return Ok(()) };
    let new = data.fingerprint()?;
    if trained.dictionary != new.dictionary {
        let message =
            format!("--finetune-from-model: {file} is not the dictionary that {} was trained with", path.display());
        return Err(Error::data(message).hint("name the checkpoint in the run folder that it comes from"));
    }
    // Ids mean the same, and other text may want to be split in another way: the new run keeps its own tokenizer.
    if !trained.splits_as(&new) {
        warn(format!("{here} has another tokenizer than {} was trained with", path.display()));
    }
    Ok(())
}

/// An error that names what differs unless the model of `state` has the parameters of the one to be trained.
fn expect_same_parameters(path: &Path, state: &RunState, prepared: &Prepared) -> Result<()> {
    let differences = state.model.differences(&prepared.model);
    if differences.is_empty() {
        return Ok(());
    }
    let own = path.with_file_name("config.toml");
    let hint = if state.model.tables != prepared.model.tables {
        "take the run that it was exported from".to_owned()
    } else if own.exists() {
        format!("{} has the flags that it was trained with", own.display())
    } else {
        "give each flag as it is there".to_owned() // it was imported, or lies apart from its run
    };
    let (path, all) = (path.display(), differences.join("; "));
    Err(Error::data(format!("--finetune-from-model {path} has another architecture: {all}")).hint(hint))
}

fn fresh(prepared: &Prepared, dev: &Device) -> Result<Started> {
    let config = &prepared.config;
    let (model, omegas) = prepared.initialise(dev)?;
    let omegas = (config.residual == Residual::Admin).then_some(omegas);
    if let Some(omegas) = &omegas {
        say(format!("ω, {}:\n{}", config.omega.describe(), omegas.table().trim_end()));
    }
    let updater = Updater::new(Settings::of(config), &model.params)?;
    Ok((model, updater, prepared.state()?, omegas))
}

fn finetune(prepared: &Prepared, dev: &Device, checkpoint: &Checkpoint) -> Result<Started> {
    let model = prepared.model(dev)?;
    checkpoint.restore(&model, None)?;
    let updater = Updater::new(Settings::of(&prepared.config), &model.params)?;
    Ok((model, updater, prepared.state()?, None))
}

fn resume(prepared: &Prepared, dev: &Device, checkpoint: &Checkpoint) -> Result<Started> {
    let model = prepared.model(dev)?;
    let mut updater = Updater::new(Settings::of(&prepared.config), &model.params)?;
    checkpoint.restore(&model, Some(&updater.moments))?;
    updater.resume(&model.params, checkpoint.state.update, checkpoint.state.scaler)?;
    // Rates of dropout may change from one start to the next; the shape has been compared.
    let (model_config, text) = (prepared.model.clone(), Some(prepared.data.fingerprint()?));
    let mut state = RunState { model: model_config, text, ..checkpoint.state.clone() };
    let begun = prepared.config.finetune_from_model.as_ref().map_or("", |_| ", and not from --finetune-from-model");
    say(format!("resumed after update {}, epoch {}{begun}", state.update, state.epoch_of_last()));
    if state.plan != prepared.plan() {
        say("the data, --max-tokens, --max-sentences or --seed changed: the epoch starts again");
        (state.plan, state.batch, state.seed) = (prepared.plan(), 0, prepared.config.seed);
    }
    Ok((model, updater, state, None))
}
