//! Flags of `omega train`: typed as given ([`TrainFlags`], all optional, also the keys of `--config`), then checked and
//! complete ([`TrainConfig`]). Every rule of the form "flag A needs B" lives here.

mod choices;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

pub use choices::{Arch, Init, LrScheduler, OmegaSource, Optimizer, Residual};

use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::ops::loss_scale::Scaling;
use crate::tensor::DType;

/// Longest sentence in tokens, end symbol included, as fairseq's default: what `omega prepare` keeps and a model takes.
pub const MAX_POSITIONS: usize = 1024;

/// The flags as given, on the command line or in `--config`.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainFlags {
    /// The data-bin folder; typed, it is the command's first argument.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// auto, cuda, cuda:N, soft, or soft:checked (softgpu's checkers watch every kernel) [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Sizes to start from [default: demo]
    #[arg(long)]
    pub arch: Option<Arch>,
    /// [default: by --arch]
    #[arg(long, value_name = "N")]
    pub encoder_layers: Option<usize>,
    /// [default: by --arch]
    #[arg(long, value_name = "N")]
    pub decoder_layers: Option<usize>,
    /// Model width [default: by --arch]
    #[arg(long, value_name = "N")]
    pub d_model: Option<usize>,
    /// Width of the feed-forward layer [default: by --arch]
    #[arg(long, value_name = "N")]
    pub ffn: Option<usize>,
    /// Attention heads; each takes an equal part of the width [default: by --arch]
    #[arg(long, value_name = "N")]
    pub heads: Option<usize>,
    /// Residual scheme [default: admin]
    #[arg(long)]
    pub residual: Option<Residual>,
    /// Initialisation [default: xavier]
    #[arg(long)]
    pub init: Option<Init>,
    /// profile, analytic, or a profile.ratio.init file [default: profile; only with --residual admin]
    #[arg(long, value_name = "profile|analytic|FILE")]
    pub omega: Option<String>,
    /// Keep ω at its initial value
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub omega_frozen: Option<bool>,
    /// Activations, gradients and a copy of the matrices in f16, with loss scaling; parameters and optimiser stay f32
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub fp16: Option<bool>,
    /// The same in bf16, which needs no loss scaling
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub bf16: Option<bool>,
    /// First scale of the loss [default: 128]
    #[arg(long, value_name = "X")]
    pub fp16_init_scale: Option<f32>,
    /// Updates without overflow until the scale of the loss doubles [default: 16384 / --update-freq]
    #[arg(long, value_name = "N")]
    pub fp16_scale_window: Option<u32>,
    /// Share of updates that may overflow before the scale of the loss is halved [default: 0]
    #[arg(long, value_name = "X")]
    pub fp16_scale_tolerance: Option<f64>,
    /// Never halve the scale of the loss below this [default: no limit]
    #[arg(long, value_name = "X")]
    pub threshold_loss_scale: Option<f32>,
    /// Stop when an overflow leaves the scale of the loss at this or below [default: 1e-4]
    #[arg(long, value_name = "X")]
    pub min_loss_scale: Option<f32>,
    /// Keep only the input of each layer, and run layers again in the backward pass: less memory, same bits
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub recompute: Option<bool>,
    /// Chance to drop after embeddings and sublayers [default: 0.1]
    #[arg(long, value_name = "P")]
    pub dropout: Option<f32>,
    /// Chance to drop an attention weight [default: 0]
    #[arg(long, value_name = "P")]
    pub attention_dropout: Option<f32>,
    /// Chance to drop after the feed-forward ReLU [default: 0]
    #[arg(long, value_name = "P")]
    pub relu_dropout: Option<f32>,
    /// Adam, or RAdam and NovoGrad as the original has them [default: adam]
    #[arg(long)]
    pub optimizer: Option<Optimizer>,
    /// Learning rate at the end of warm-up [default: 1e-3]
    #[arg(long, value_name = "X")]
    pub lr: Option<f64>,
    /// How the learning rate moves, as in fairseq [default: inverse_sqrt]
    #[arg(long)]
    pub lr_scheduler: Option<LrScheduler>,
    /// Updates until the learning rate is --lr [default: 4000, and a tenth of --max-update if that is less]
    #[arg(long, value_name = "N")]
    pub warmup_updates: Option<u64>,
    /// Learning rate of the first update [default: 1e-7]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub warmup_init_lr: Option<f64>,
    /// Last learning rate of linear and poly [default: 0]
    #[arg(long, value_name = "X")]
    pub min_lr: Option<f64>,
    /// Power of poly [default: 1]
    #[arg(long, value_name = "X")]
    pub power: Option<f64>,
    /// Decay of the moments, β₁,β₂, whatever the optimiser [default: 0.9,0.98]
    #[arg(long, value_name = "B1,B2", value_delimiter = ',')]
    pub adam_betas: Option<Vec<f64>>,
    /// Added to the root of the second moment [default: 1e-8]
    #[arg(long, value_name = "X")]
    pub adam_eps: Option<f64>,
    /// Decoupled, on every parameter [default: 0.0001]
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f64>,
    /// Clip the gradient's global norm; 0 is off [default: 0]
    #[arg(long, value_name = "X")]
    pub clip_norm: Option<f64>,
    /// Share of the target's probability that all symbols get [default: 0.1]
    #[arg(long, value_name = "X")]
    pub label_smoothing: Option<f32>,
    /// Tokens in a batch, the longer side with padding counted, as fairseq does [default: 4096]
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Sentence pairs in a batch [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_sentences: Option<usize>,
    /// Batches per update [default: 1]
    #[arg(long, value_name = "N")]
    pub update_freq: Option<usize>,
    /// Of initial values, batches and dropout [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Stop after this many updates [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_update: Option<u64>,
    /// Stop after this many epochs [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_epoch: Option<u64>,
    /// Stop after this many validations in a row without a lower loss [default: no limit]
    #[arg(long, value_name = "N")]
    pub patience: Option<u64>,
    /// Updates between log records [default: 50]
    #[arg(long, value_name = "N")]
    pub log_interval: Option<u64>,
    /// Updates between validations; 0 is at the end of each epoch [default: 0]
    #[arg(long, value_name = "N")]
    pub validate_interval_updates: Option<u64>,
    /// Updates between writes of checkpoint_last; 0 is at each validation [default: 0]
    #[arg(long, value_name = "N")]
    pub save_interval_updates: Option<u64>,
    /// Validation sentences that are translated for BLEU; 0 is none [default: 200]
    #[arg(long, value_name = "N")]
    pub bleu_sentences: Option<usize>,
    /// Sample translations shown at each validation [default: 3]
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
}

/// Flags checked and complete.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    pub data: Option<PathBuf>,
    pub device: DeviceChoice,
    pub encoder_layers: usize,
    pub decoder_layers: usize,
    pub d_model: usize,
    pub ffn: usize,
    pub heads: usize,
    pub residual: Residual,
    pub init: Init,
    pub omega: OmegaSource,
    pub omega_frozen: bool,
    pub fp16: bool,
    pub bf16: bool,
    pub recompute: bool,
    /// Of the loss; only with fp16.
    pub scaling: Option<Scaling>,
    pub dropout: f32,
    pub attention_dropout: f32,
    pub relu_dropout: f32,
    pub optimizer: Optimizer,
    pub lr: f64,
    pub lr_scheduler: LrScheduler,
    pub warmup_updates: u64,
    pub warmup_init_lr: f64,
    pub min_lr: f64,
    pub power: f64,
    pub adam_betas: (f64, f64),
    pub adam_eps: f64,
    pub weight_decay: f64,
    pub clip_norm: f64,
    pub label_smoothing: f32,
    pub max_tokens: usize,
    pub max_sentences: Option<usize>,
    pub update_freq: usize,
    pub seed: u64,
    pub max_update: Option<u64>,
    pub max_epoch: Option<u64>,
    pub patience: Option<u64>,
    pub log_interval: u64,
    pub validate_interval_updates: u64,
    pub save_interval_updates: u64,
    pub bleu_sentences: usize,
    pub samples: usize,
}

/// Takes each field from `$over` where it is given, else from `$base`.
macro_rules! overlay {
    ($over:expr, $base:expr, $($field:ident),* $(,)?) => {
        TrainFlags { $($field: $over.$field.or($base.$field)),* }
    };
}

impl TrainFlags {
    /// Reads `--config`. An unknown key is an error that names it.
    pub fn load(path: &Path) -> Result<TrainFlags> {
        let text = fs::read_to_string(path).map_err(|error| Error::io(path, "read", error))?;
        toml::from_str(&text).map_err(|error| Error::usage(format!("{}: {}", path.display(), error.message())))
    }

    /// These flags, with those of `base` where nothing is given.
    pub fn over(self, base: TrainFlags) -> TrainFlags {
        overlay!(
            self,
            base,
            data,
            device,
            arch,
            encoder_layers,
            decoder_layers,
            d_model,
            ffn,
            heads,
            residual,
            init,
            omega,
            omega_frozen,
            fp16,
            bf16,
            fp16_init_scale,
            fp16_scale_window,
            fp16_scale_tolerance,
            threshold_loss_scale,
            min_loss_scale,
            recompute,
            dropout,
            attention_dropout,
            relu_dropout,
            optimizer,
            lr,
            lr_scheduler,
            warmup_updates,
            warmup_init_lr,
            min_lr,
            power,
            adam_betas,
            adam_eps,
            weight_decay,
            clip_norm,
            label_smoothing,
            max_tokens,
            max_sentences,
            update_freq,
            seed,
            max_update,
            max_epoch,
            patience,
            log_interval,
            validate_interval_updates,
            save_interval_updates,
            bleu_sentences,
            samples,
        )
    }

    /// Fills in the defaults and checks every rule.
    pub fn resolve(self) -> Result<TrainConfig> {
        let (layers, d_model, ffn, heads) = match self.arch.unwrap_or(Arch::Demo) {
            Arch::Demo => (2, 128, 512, 4),
            Arch::Iwslt => (6, 512, 1024, 4),
            Arch::Wmt => (6, 512, 2048, 8),
            Arch::WmtBig => (6, 1024, 4096, 16),
        };
        let residual = self.residual.unwrap_or(Residual::Admin);
        let default_warmup = self.max_update.map_or(4000, |updates| (updates / 10).clamp(1, 4000));
        let scaling = self.scaling()?;
        let config = TrainConfig {
            data: self.data,
            device: self
                .device
                .as_deref()
                .unwrap_or("auto")
                .parse()
                .map_err(|e| Error::usage(format!("--device: {e}")))?,
            encoder_layers: self.encoder_layers.unwrap_or(layers),
            decoder_layers: self.decoder_layers.unwrap_or(layers),
            d_model: self.d_model.unwrap_or(d_model),
            ffn: self.ffn.unwrap_or(ffn),
            heads: self.heads.unwrap_or(heads),
            residual,
            init: self.init.unwrap_or(Init::Xavier),
            omega: omega_source(self.omega.as_deref(), residual)?,
            omega_frozen: self.omega_frozen.unwrap_or(false),
            fp16: self.fp16.unwrap_or(false),
            bf16: self.bf16.unwrap_or(false),
            recompute: self.recompute.unwrap_or(false),
            scaling,
            dropout: self.dropout.unwrap_or(0.1),
            attention_dropout: self.attention_dropout.unwrap_or(0.0),
            relu_dropout: self.relu_dropout.unwrap_or(0.0),
            optimizer: self.optimizer.unwrap_or(Optimizer::Adam),
            lr: self.lr.unwrap_or(1e-3),
            lr_scheduler: self.lr_scheduler.unwrap_or(LrScheduler::InverseSqrt),
            warmup_updates: self.warmup_updates.unwrap_or(default_warmup),
            warmup_init_lr: self.warmup_init_lr.unwrap_or(1e-7),
            min_lr: self.min_lr.unwrap_or(0.0),
            power: self.power.unwrap_or(1.0),
            adam_betas: betas(self.adam_betas.as_deref())?,
            adam_eps: self.adam_eps.unwrap_or(1e-8),
            weight_decay: self.weight_decay.unwrap_or(1e-4),
            clip_norm: self.clip_norm.unwrap_or(0.0),
            label_smoothing: self.label_smoothing.unwrap_or(0.1),
            max_tokens: self.max_tokens.unwrap_or(4096),
            max_sentences: self.max_sentences,
            update_freq: self.update_freq.unwrap_or(1),
            seed: self.seed.unwrap_or(1),
            max_update: self.max_update,
            max_epoch: self.max_epoch,
            patience: self.patience,
            log_interval: self.log_interval.unwrap_or(50),
            validate_interval_updates: self.validate_interval_updates.unwrap_or(0),
            save_interval_updates: self.save_interval_updates.unwrap_or(0),
            bleu_sentences: self.bleu_sentences.unwrap_or(200),
            samples: self.samples.unwrap_or(3),
        };
        config.check()?;
        Ok(config)
    }

    /// How the loss is scaled. An error for a flag of it without --fp16.
    fn scaling(&self) -> Result<Option<Scaling>> {
        let sizes = [
            ("fp16-init-scale", self.fp16_init_scale),
            ("threshold-loss-scale", self.threshold_loss_scale),
            ("min-loss-scale", self.min_loss_scale),
        ];
        if !self.fp16.unwrap_or(false) {
            let (window, tolerance) = (self.fp16_scale_window.is_some(), self.fp16_scale_tolerance.is_some());
            let others = [("fp16-scale-window", window), ("fp16-scale-tolerance", tolerance)];
            let mut given = sizes.iter().map(|(flag, value)| (*flag, value.is_some())).chain(others);
            return match given.find(|(_, given)| *given) {
                Some((flag, _)) => Err(Error::usage(format!("--{flag} needs --fp16: only f16 has its loss scaled"))),
                None => Ok(None),
            };
        }
        let wrong =
            sizes.iter().find_map(|(flag, value)| value.filter(|v| !(v.is_normal() && *v > 0.0)).map(|v| (flag, v)));
        if let Some((flag, value)) = wrong {
            return Err(Error::usage(format!("--{flag} {value}: a number above 0 is needed")));
        }
        let window =
            self.fp16_scale_window.unwrap_or_else(|| (16384 / self.update_freq.unwrap_or(1).max(1)).max(1) as u32);
        if window == 0 || i32::try_from(window).is_err() {
            return Err(Error::usage(format!(
                "--fp16-scale-window {window}: a number from 1 to {} is needed",
                i32::MAX
            )));
        }
        let tolerance = self.fp16_scale_tolerance.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&tolerance) {
            return Err(Error::usage(format!("--fp16-scale-tolerance {tolerance}: a share from 0 to 1 is needed")));
        }
        let (init, min) = (self.fp16_init_scale.unwrap_or(128.0), self.min_loss_scale.unwrap_or(1e-4));
        Ok(Some(Scaling { init, window, tolerance, threshold: self.threshold_loss_scale, min }))
    }
}

/// Type of activations and gradients for these flags, of which one can be set.
pub fn dtype(fp16: bool, bf16: bool) -> Result<DType> {
    match (fp16, bf16) {
        (false, false) => Ok(DType::F32),
        (true, false) => Ok(DType::F16),
        (false, true) => Ok(DType::BF16),
        (true, true) => Err(Error::usage("--fp16 and --bf16: one of them at most")),
    }
}

fn omega_source(flag: Option<&str>, residual: Residual) -> Result<OmegaSource> {
    if let (Some(value), false) = (flag, residual == Residual::Admin) {
        let name = residual.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let message = format!("--omega {value} needs --residual admin: {name} has no ω");
        return Err(Error::usage(message).hint("leave out --omega, or use --residual admin"));
    }
    Ok(match flag.unwrap_or("profile") {
        "profile" => OmegaSource::Profile,
        "analytic" => OmegaSource::Analytic,
        file => OmegaSource::File(file.into()),
    })
}

fn betas(flag: Option<&[f64]>) -> Result<(f64, f64)> {
    match flag {
        None => Ok((0.9, 0.98)),
        Some(&[first, second]) if (0.0..1.0).contains(&first) && (0.0..1.0).contains(&second) => Ok((first, second)),
        Some(other) => {
            Err(Error::usage(format!("--adam-betas {other:?}: two numbers from 0 up to 1 are needed, as in 0.9,0.98")))
        }
    }
}

impl TrainConfig {
    /// Type of activations and gradients.
    pub fn dtype(&self) -> DType {
        dtype(self.fp16, self.bf16).unwrap_or(DType::F32) // `check` has refused both
    }

    fn check(&self) -> Result<()> {
        dtype(self.fp16, self.bf16)?;
        let at_least_one = [
            ("encoder-layers", self.encoder_layers),
            ("decoder-layers", self.decoder_layers),
            ("d-model", self.d_model),
            ("ffn", self.ffn),
            ("heads", self.heads),
            ("max-tokens", self.max_tokens),
            ("max-sentences", self.max_sentences.unwrap_or(1)),
            ("update-freq", self.update_freq),
            ("log-interval", self.log_interval as usize),
            ("patience", self.patience.map_or(1, |most| most as usize)),
        ];
        if let Some((flag, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return Err(Error::usage(format!("--{flag} 0: at least 1 is needed")));
        }
        if !self.d_model.is_multiple_of(self.heads) {
            let (heads, width) = (self.heads, self.d_model);
            return Err(Error::usage(format!("--heads {heads} does not divide the width --d-model {width}"))
                .hint("each head takes an equal part of the width"));
        }
        let head_dim = self.d_model / self.heads;
        if !head_dim.is_multiple_of(8) || head_dim > 128 {
            let (heads, width) = (self.heads, self.d_model);
            return Err(Error::usage(format!("--d-model {width} with --heads {heads} gives heads of {head_dim}"))
                .hint("the attention kernels take head sizes 8, 16, 24 … 128"));
        }
        let shares = [
            ("dropout", self.dropout),
            ("attention-dropout", self.attention_dropout),
            ("relu-dropout", self.relu_dropout),
            ("label-smoothing", self.label_smoothing),
        ];
        if let Some((flag, value)) = shares.iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return Err(Error::usage(format!("--{flag} {value}: a share from 0 up to 1 is needed")));
        }
        let not_negative = [
            ("lr", self.lr),
            ("min-lr", self.min_lr),
            ("power", self.power),
            ("adam-eps", self.adam_eps),
            ("weight-decay", self.weight_decay),
            ("clip-norm", self.clip_norm),
        ];
        if let Some((flag, value)) = not_negative.iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return Err(Error::usage(format!("--{flag} {value}: a number that is not negative is needed")));
        }
        // TOML, which keeps the configuration of a run, has signed integers only.
        if i64::try_from(self.seed).is_err() {
            return Err(Error::usage(format!("--seed {}: at most {} is possible", self.seed, i64::MAX)));
        }
        if matches!(self.lr_scheduler, LrScheduler::Linear | LrScheduler::Poly) && self.max_update.is_none() {
            return Err(Error::usage("this --lr-scheduler needs --max-update: it ends there"));
        }
        if self.omega_frozen && self.residual != Residual::Admin {
            return Err(Error::usage("--omega-frozen needs --residual admin"));
        }
        Ok(())
    }

    /// The text of `config.toml`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.to_flags()).map_err(|error| Error::data(format!("config.toml: {error}")))
    }

    /// All flags, complete: what is written to the run folder as `config.toml`, and can be given to `--config`.
    pub fn to_flags(&self) -> TrainFlags {
        TrainFlags {
            data: self.data.clone(),
            device: Some(self.device.to_string()),
            arch: None,
            encoder_layers: Some(self.encoder_layers),
            decoder_layers: Some(self.decoder_layers),
            d_model: Some(self.d_model),
            ffn: Some(self.ffn),
            heads: Some(self.heads),
            residual: Some(self.residual),
            init: Some(self.init),
            omega: (self.residual == Residual::Admin).then(|| match &self.omega {
                OmegaSource::Profile => "profile".to_owned(),
                OmegaSource::Analytic => "analytic".to_owned(),
                OmegaSource::File(path) => path.to_string_lossy().into_owned(),
            }),
            omega_frozen: Some(self.omega_frozen),
            fp16: Some(self.fp16),
            bf16: Some(self.bf16),
            fp16_init_scale: self.scaling.map(|scaling| scaling.init),
            fp16_scale_window: self.scaling.map(|scaling| scaling.window),
            fp16_scale_tolerance: self.scaling.map(|scaling| scaling.tolerance),
            threshold_loss_scale: self.scaling.and_then(|scaling| scaling.threshold),
            min_loss_scale: self.scaling.map(|scaling| scaling.min),
            recompute: Some(self.recompute),
            dropout: Some(self.dropout),
            attention_dropout: Some(self.attention_dropout),
            relu_dropout: Some(self.relu_dropout),
            optimizer: Some(self.optimizer),
            lr: Some(self.lr),
            lr_scheduler: Some(self.lr_scheduler),
            warmup_updates: Some(self.warmup_updates),
            warmup_init_lr: Some(self.warmup_init_lr),
            min_lr: Some(self.min_lr),
            power: Some(self.power),
            adam_betas: Some(vec![self.adam_betas.0, self.adam_betas.1]),
            adam_eps: Some(self.adam_eps),
            weight_decay: Some(self.weight_decay),
            clip_norm: Some(self.clip_norm),
            label_smoothing: Some(self.label_smoothing),
            max_tokens: Some(self.max_tokens),
            max_sentences: self.max_sentences,
            update_freq: Some(self.update_freq),
            seed: Some(self.seed),
            max_update: self.max_update,
            max_epoch: self.max_epoch,
            patience: self.patience,
            log_interval: Some(self.log_interval),
            validate_interval_updates: Some(self.validate_interval_updates),
            save_interval_updates: Some(self.save_interval_updates),
            bleu_sentences: Some(self.bleu_sentences),
            samples: Some(self.samples),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolved_flags_resolve_to_themselves() {
        let flags = TrainFlags { arch: Some(Arch::Wmt), max_update: Some(100), ..TrainFlags::default() };
        let first = flags.resolve().unwrap().to_flags();
        let text = toml::to_string(&first).unwrap();
        let second: TrainFlags = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&second.resolve().unwrap().to_flags()).unwrap(), text);
    }

    #[test]
    fn typed_flags_win_over_the_file() {
        let typed = TrainFlags { lr: Some(0.5), ..TrainFlags::default() };
        let file: TrainFlags = toml::from_str("lr = 0.1\nmax-tokens = 77").unwrap();
        let config = typed.over(file).resolve().unwrap();
        assert_eq!((config.lr, config.max_tokens), (0.5, 77));
        assert!(toml::from_str::<TrainFlags>("max-token = 77").is_err(), "an unknown key must not pass");
    }

    #[test]
    fn rules_name_the_flag() {
        let message = |flags: TrainFlags| flags.resolve().unwrap_err().to_string();
        let heads = message(TrainFlags { heads: Some(5), ..TrainFlags::default() });
        assert!(heads.starts_with("--heads 5 does not divide the width --d-model 128"), "{heads}");
        let residual = Some(Residual::PreLn);
        let omega = message(TrainFlags { residual, omega: Some("profile".into()), ..TrainFlags::default() });
        assert!(omega.starts_with("--omega profile needs --residual admin: pre-ln has no ω"), "{omega}");
        let poly = message(TrainFlags { lr_scheduler: Some(LrScheduler::Poly), ..TrainFlags::default() });
        assert!(poly.contains("--max-update"), "{poly}");
        let min_loss_scale = message(TrainFlags { min_loss_scale: Some(0.1), ..TrainFlags::default() });
        assert!(min_loss_scale.starts_with("--min-loss-scale needs --fp16"), "{min_loss_scale}");
        let fp16 = TrainFlags { fp16: Some(true), ..TrainFlags::default() };
        let window = message(TrainFlags { fp16_scale_window: Some(0), ..fp16.clone() });
        assert!(window.starts_with("--fp16-scale-window 0: a number from 1"), "{window}");
        let scaling = TrainFlags { update_freq: Some(3), ..fp16 }.resolve().unwrap().scaling.unwrap();
        assert_eq!((scaling.init, scaling.window, scaling.threshold, scaling.min), (128.0, 5461, None, 1e-4));
    }
}
