//! Checkpoints: parameters and optimiser state under fairseq's names in one safetensors file, with the state of the run.
//!
//! The state stands in the file's metadata, so that one renaming puts a whole checkpoint in force; `*.json` beside it is
//! a copy for people and tools. Two runs that did the same updates write the same bytes.

pub mod average;
pub mod inspect;
pub mod names;
mod sound;

pub use names::expect_no_part_of_a_run;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::config::{BestMetric, TrainFlags};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::model::params::Spec;
use crate::model::{Model, ModelConfig};
use crate::ops::loss_scale::Scaler;
use crate::optim::Moments;
use crate::terminal::reads;
use crate::text::{Dictionary, Fingerprint};

/// Version of the state; a file of another one is refused.
const FORMAT: u32 = 1;
/// Key of the state in the metadata.
const STATE: &str = "omega";

/// Where a run stands: all that must be known, besides tensors, to go on to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    pub format: u32,
    pub model: ModelConfig,
    pub source: String,
    pub target: String,
    /// Of dictionary and tokenizer; none in files of versions that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Fingerprint>,
    pub seed: u64,
    /// Updates done.
    pub update: u64,
    /// The epoch that the next batch belongs to, from 1.
    pub epoch: u64,
    /// Batches of this epoch that are done.
    pub batch: u64,
    /// Micro-batches of the whole run: the counter of dropout's random numbers.
    pub micro_batch: u32,
    /// The update after which was validated last.
    pub validated: u64,
    /// Score of the best validation so far: losses in bits per token, or BLEU.
    #[serde(alias = "best_loss")]
    pub best: Option<f64>,
    /// What that score is.
    #[serde(default)]
    pub best_metric: BestMetric,
    /// Updates and scores of the validations that are kept (`--keep-best`), the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_best: Vec<(u64, f64)>,
    /// The checkpoints that this one is the mean of, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub averaged: Vec<String>,
    /// Validations since then.
    #[serde(default)]
    pub stale: u64,
    /// Updates since the last log record.
    pub window: Window,
    /// Of the loss scale; none where there is no loss scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<Scaler>,
    /// Tells whether data and batch limits are those that `batch` counts in.
    pub plan: String,
}

/// Sums over the updates since the last log record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub updates: u64,
    /// Nats, summed over target tokens.
    pub loss: f64,
    pub nll: f64,
    /// Sum of the gradient norms.
    pub grad_norm: f64,
    pub target_tokens: u64,
    /// Updates that were tried and skipped, as their gradient was not finite; they count nowhere else.
    #[serde(default)]
    pub overflows: u64,
}

impl RunState {
    /// A run that has not begun.
    pub fn new(model: ModelConfig, source: &str, target: &str, seed: u64, plan: String) -> RunState {
        RunState {
            format: FORMAT,
            model,
            source: source.to_owned(),
            target: target.to_owned(),
            text: None,
            seed,
            update: 0,
            epoch: 1,
            batch: 0,
            micro_batch: 0,
            validated: 0,
            best: None,
            best_metric: BestMetric::default(),
            kept_best: Vec::new(),
            averaged: Vec::new(),
            stale: 0,
            window: Window::default(),
            scaler: None,
            plan,
        }
    }

    /// The epoch that the last update belongs to: at an epoch's end `epoch` is that of the next batch.
    pub fn epoch_of_last(&self) -> u64 {
        if self.batch == 0 && self.update > 0 { self.epoch - 1 } else { self.epoch }
    }
}

/// A tensor in host memory, f32, row-major, with its name in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// Writes `path` (`….safetensors`) and its `.json`. Without `moments` the file holds a model that cannot be trained on. An
/// error that leaves what is there if a parameter is no number: neither training nor translation can go on from it.
pub fn save(path: &Path, model: &Model, moments: Option<&Moments>, state: &RunState) -> Result<()> {
    let params = &model.params;
    let dev = params.dev();
    let mut tensors = Vec::new();
    for (number, entry) in params.entries().iter().enumerate() {
        let (name, shape) = (&entry.spec.name, &entry.spec.shape);
        let data = params.read(name)?;
        if data.iter().any(|x| !x.is_finite()) {
            let (file, update) = (path.display(), state.update);
            return Err(Error::data(format!("`{name}` is not finite after update {update}: {file} is not written")));
        }
        tensors.push(NamedTensor { name: name.clone(), shape: shape.clone(), data });
        if let Some(moments) = moments.filter(|_| entry.spec.trainable) {
            for (name, moment) in moments.of(number, entry)? {
                tensors.push(NamedTensor { name, shape: moment.dims().to_vec(), data: dev.read(&moment)? });
            }
        }
    }
    write(path, &tensors, state)
}

/// Writes `tensors` with `state` as a checkpoint.
pub fn write(path: &Path, tensors: &[NamedTensor], state: &RunState) -> Result<()> {
    let text = serde_json::to_string(state).map_err(|error| Error::data(format!("run state: {error}")))?;
    write_safetensors(path, tensors, HashMap::from([(STATE.to_owned(), text)]))?;
    let text = serde_json::to_string_pretty(state).map_err(|error| Error::data(format!("run state: {error}")))?;
    write_whole(&path.with_extension("json"), (text + "\n").as_bytes())
}

/// Writes `tensors` to one safetensors file with `metadata`.
pub fn write_safetensors(path: &Path, tensors: &[NamedTensor], metadata: HashMap<String, String>) -> Result<()> {
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|NamedTensor { name, shape, data }| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(data));
            view.map(|view| (name.as_str(), view)).map_err(|error| Error::data(format!("tensor `{name}`: {error}")))
        })
        .collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::data(format!("{}: {error}", path.display())))?;
    write_whole(path, &bytes)
}

/// An error if a model's tensor `name` holds what is no number.
pub fn expect_numbers(name: &str, data: &[f32]) -> Result<()> {
    match data.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::data(format!("`{name}` holds {value}: its training has diverged"))
            .hint("take an earlier checkpoint")),
        None => Ok(()),
    }
}

/// A checkpoint on the disk, opened and understood.
pub struct Checkpoint {
    path: PathBuf,
    bytes: Vec<u8>,
    pub state: RunState,
}

impl Checkpoint {
    /// Opens `path` and reads its state. Errors name the file and say whether it is cut off or no checkpoint at all.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        Checkpoint::open_or(path, sound::instead_of)
    }

    /// The same; `instead` is what to do where it is not whole.
    fn open_or(path: &Path, instead: impl Fn(&Path) -> String) -> Result<Checkpoint> {
        reads(path);
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        let shown = path.display();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| {
            Error::data(format!("{shown}: not a whole safetensors file ({error})"))
                .hint(format!("it was cut off or is of another format; {}", instead(path)))
        })?;
        let text = metadata.metadata().as_ref().and_then(|table| table.get(STATE)).ok_or_else(|| {
            Error::data(format!("{shown}: safetensors, but not of omega: its metadata has no `{STATE}`"))
        })?;
        let state: RunState = serde_json::from_str(text)
            .map_err(|error| Error::data(format!("{shown}: the state in its metadata cannot be read: {error}")))?;
        if state.format != FORMAT {
            let message = format!("{shown}: checkpoint format {}, this program reads {FORMAT}", state.format);
            return Err(Error::data(message).hint("use the version of omega that wrote it"));
        }
        if let Some(scale) =
            state.scaler.map(|scaler| scaler.scale).filter(|scale| !(scale.is_normal() && *scale > 0.0))
        {
            let message =
                format!("{shown}: the state in its metadata has a loss scale of {scale}, expected one above 0");
            return Err(Error::data(message).hint(instead(path)));
        }
        Ok(Checkpoint { path: path.to_owned(), bytes, state })
    }

    /// The file that `run` means: itself, or in a run folder the best checkpoint, else the last.
    pub fn find(run: &Path) -> Result<PathBuf> {
        if !run.is_dir() {
            return Ok(run.to_owned());
        }
        let files = ["checkpoint_best.safetensors", "checkpoint_last.safetensors"].map(|name| run.join(name));
        files.into_iter().find(|path| path.exists()).ok_or_else(|| {
            Error::data(format!("{}: no checkpoint_best.safetensors or checkpoint_last.safetensors", run.display()))
                .hint("give a run folder of `omega train`, or a checkpoint file")
        })
    }

    /// Copies the parameters into `model`, and the optimiser's moments where asked for. Errors name the tensor.
    pub fn restore(&self, model: &Model, moments: Option<&Moments>) -> Result<()> {
        let whole = |error| Error::data(format!("{}: {error}", self.path.display()));
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(whole)?;
        let params = &model.params;
        for (number, entry) in params.entries().iter().enumerate() {
            let (name, shape) = (&entry.spec.name, &entry.spec.shape);
            params.write(name, &self.read(&tensors, name, shape)?)?;
            if let Some(moments) = moments.filter(|_| entry.spec.trainable) {
                for (name, moment) in moments.of(number, entry)? {
                    params.dev().write(&moment, &self.read(&tensors, &name, moment.dims())?)?;
                }
            }
        }
        Ok(())
    }

    /// All parameters, in host memory. Errors name the tensor.
    pub fn parameters(&self) -> Result<Vec<NamedTensor>> {
        let whole = |error| Error::data(format!("{}: {error}", self.path.display()));
        let tensors = SafeTensors::deserialize(&self.bytes).map_err(whole)?;
        let read = |spec: Spec| {
            let data = self.read(&tensors, &spec.name, &spec.shape)?;
            Ok(NamedTensor { name: spec.name, shape: spec.shape, data })
        };
        self.state.model.specs().into_iter().map(read).collect()
    }

    fn read(&self, tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let file = self.path.display();
        let view = tensors.tensor(name).map_err(|_| {
            let hint = if name.starts_with("adam_") || name.starts_with("novograd_") {
                "training goes on from checkpoint_last only, with an --optimizer of the kind that it began with"
            } else {
                "another model's?"
            };
            Error::data(format!("{file}: no tensor `{name}`")).hint(hint)
        })?;
        if view.shape() != shape || view.dtype() != Dtype::F32 {
            let got = view.shape();
            return Err(Error::data(format!("{file}: `{name}` is {:?} {got:?}, expected F32 {shape:?}", view.dtype())));
        }
        let data: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        expect_numbers(name, &data).map_err(|error| error.context(file))?;
        Ok(data)
    }

    /// An error unless this checkpoint is of a model of `config`'s shape; callers know the hint.
    pub fn expect_model(&self, config: &ModelConfig) -> Result<()> {
        let (got, expected) = (self.state.model.describe(), config.describe());
        if got == expected {
            return Ok(());
        }
        Err(Error::data(format!("{} is of another shape: {got}; expected: {expected}", self.path.display())))
    }

    /// What to do where [`Checkpoint::expect_model`] fails for its own run, of which `given` are the flags that were typed or
    /// stand in `--config`.
    pub fn instead_of_shape(&self, config: &ModelConfig, given: &TrainFlags) -> String {
        let (own, differ) = (&self.state.model, self.state.model.flags_that_differ(config));
        let blamed = |flag: &String| differ.contains(&flag.as_str()) || flag == "arch" && !differ.is_empty();
        let blamed: Vec<String> = given.names().into_iter().filter(blamed).map(|flag| format!("--{flag}")).collect();
        let settings = self.path.with_file_name("config.toml");
        if !blamed.is_empty() {
            format!("leave out {}: a run keeps the model that it began with", blamed.join(", "))
        } else if differ.is_empty() && own.vocab != config.vocab {
            "the text has another dictionary: prepare it with `omega prepare --tokenizer RUN/tokenizer.json`".to_owned()
        } else if settings.exists() {
            format!("{} describes the run's checkpoints: undo what was changed there", settings.display())
        } else {
            "give the flags that it was trained with: its config.toml is gone".to_owned()
        }
    }

    /// An error unless the model was trained with `dictionary` and the tokenizer of `folder`.
    pub fn expect_text(&self, folder: &Path, dictionary: &Dictionary) -> Result<()> {
        let Some(trained) = &self.state.text else { return Ok(()) };
        let here = Fingerprint::of_folder(folder, dictionary)?;
        let name = if trained.dictionary != here.dictionary {
            format!("dict.{}.txt", self.state.target)
        } else if !trained.splits_as(&here) {
            "tokenizer.json".to_owned()
        } else {
            return Ok(());
        };
        let (path, model) = (folder.join(name), self.path.display());
        let what = if path.exists() { "is not the one" } else { "is missing, the one" };
        Err(Error::data(format!("{} {what} that {model} was trained with", path.display())))
    }
}
