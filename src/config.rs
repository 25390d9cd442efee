//! Flags of `omega train`: typed as given ([`TrainFlags`], all optional, also the keys of `--config`), then checked and
//! complete ([`TrainConfig`]). Every rule of the form "flag A needs B" lives here.

mod choices;
mod file;
mod flags;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

pub use choices::{Arch, BestMetric, BleuTokens, Init, LrScheduler, OmegaSource, Optimizer, Residual};
pub use flags::TrainFlags;

use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::ops::loss_scale::Scaling;
use crate::tensor::DType;

/// Longest sentence in tokens, end symbol included, as fairseq's default: what `omega prepare` keeps and a model takes.
pub const MAX_POSITIONS: usize = 1024;

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
    pub keep_first_omega_one: bool,
    /// A run folder or checkpoint whose parameters a run begins with.
    pub finetune_from_model: Option<PathBuf>,
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
    pub keep_interval_updates: u64,
    pub keep_last_epochs: u64,
    pub keep_best: usize,
    pub best_metric: BestMetric,
    pub tensorboard: bool,
    pub bleu_sentences: usize,
    pub samples: usize,
}

impl TrainFlags {
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
            keep_first_omega_one: self.keep_first_omega_one.unwrap_or(false),
            finetune_from_model: self.finetune_from_model,
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
            keep_interval_updates: self.keep_interval_updates.unwrap_or(0),
            keep_last_epochs: self.keep_last_epochs.unwrap_or(0),
            keep_best: self.keep_best.unwrap_or(0),
            best_metric: self.best_metric.unwrap_or_default(),
            tensorboard: self.tensorboard.unwrap_or(false),
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
            return Err(Error::usage(format!("--{flag} {value}: a number above 0 that f32 holds is needed")));
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

/// `path` for whoever reads it in another folder; as it is where the current one has no name any more.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
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
            return Err(Error::usage(format!("--{flag} {value}: a share from 0 up to, not including, 1 is needed")));
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
            return Err(Error::usage(format!("--{flag} {value}: a finite number that is not negative is needed")));
        }
        if self.min_lr > self.lr {
            return Err(Error::usage(format!("--min-lr {} is above --lr {}", self.min_lr, self.lr)));
        }
        if self.power != 1.0 && self.lr_scheduler != LrScheduler::Poly {
            return Err(Error::usage(format!("--power {} needs --lr-scheduler poly", self.power)));
        }
        if self.min_lr > 0.0 && self.lr_scheduler == LrScheduler::InverseSqrt {
            let message = format!("--min-lr {} needs --lr-scheduler linear or poly", self.min_lr);
            return Err(Error::usage(message).hint("leave it out: inverse_sqrt falls for ever, and stops nowhere"));
        }
        self.check_beginning()?;
        // TOML, which keeps the configuration of a run, has signed integers only.
        if i64::try_from(self.seed).is_err() {
            return Err(Error::usage(format!("--seed {}: at most {} is possible", self.seed, i64::MAX)));
        }
        if matches!(self.lr_scheduler, LrScheduler::Linear | LrScheduler::Poly) && self.max_update.is_none() {
            return Err(Error::usage("this --lr-scheduler needs --max-update: it ends there"));
        }
        if self.best_metric == BestMetric::Bleu && self.bleu_sentences == 0 {
            return Err(Error::usage("--best-metric bleu with --bleu-sentences 0: there is no BLEU to go by"));
        }
        if self.keep_interval_updates > 0 && self.save_interval_updates == 0 {
            return Err(Error::usage("--keep-interval-updates needs --save-interval-updates"));
        }
        for (flag, on) in [("omega-frozen", self.omega_frozen), ("keep-first-omega-one", self.keep_first_omega_one)] {
            if on && self.residual != Residual::Admin {
                return Err(Error::usage(format!("--{flag} needs --residual admin")));
            }
        }
        Ok(())
    }

    /// An error for initial values that another model's parameters would take the place of.
    fn check_beginning(&self) -> Result<()> {
        let omega = match &self.omega {
            OmegaSource::Profile => None,
            OmegaSource::Analytic => Some("--omega analytic".to_owned()),
            OmegaSource::File(path) => Some(format!("--omega {}", path.display())),
        };
        let init = (self.init != Init::Xavier).then(|| "--init looks-linear".to_owned());
        match (&self.finetune_from_model, omega.or(init)) {
            (Some(_), Some(flag)) => {
                let message =
                    format!("{flag} beside --finetune-from-model: it takes every value, ω included, from that model");
                Err(Error::usage(message).hint("leave out one of the two"))
            }
            _ => Ok(()),
        }
    }

    /// The text of `config.toml`.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.to_flags()).map_err(|error| Error::data(format!("config.toml: {error}")))
    }

    /// How these settings differ from those of `before`: "lr 0.0007 → 0.5", one by one.
    pub fn changes(&self, before: &TrainConfig) -> Result<Vec<String>> {
        // By way of the text, which has the names of the flags and the fewest digits that a number needs.
        let table = |config: &TrainConfig| {
            let table = config.to_toml()?.parse::<toml::Table>();
            table.map_err(|error| Error::data(format!("config.toml: {error}")))
        };
        let (before, now) = (table(before)?, table(self)?);
        let shown = |value: Option<&toml::Value>| match value {
            None => "none".to_owned(),
            Some(toml::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let flags: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed = flags.into_iter().map(|flag| (flag, before.get(flag), now.get(flag))).filter(|(_, a, b)| a != b);
        Ok(changed.map(|(flag, a, b)| format!("{flag} {} → {}", shown(a), shown(b))).collect())
    }

    /// All flags, complete, and paths that hold in any folder: what is written to the run folder as `config.toml`, and can be given to `--config`.
    pub fn to_flags(&self) -> TrainFlags {
        TrainFlags {
            data: self.data.as_deref().map(absolute),
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
                OmegaSource::File(path) => absolute(path).to_string_lossy().into_owned(),
            }),
            omega_frozen: Some(self.omega_frozen),
            keep_first_omega_one: Some(self.keep_first_omega_one),
            finetune_from_model: self.finetune_from_model.as_deref().map(absolute),
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
            keep_interval_updates: Some(self.keep_interval_updates),
            keep_last_epochs: Some(self.keep_last_epochs),
            keep_best: Some(self.keep_best),
            best_metric: Some(self.best_metric),
            tensorboard: Some(self.tensorboard),
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

    /// A run's own config.toml has what goes with its type and its residual scheme.
    #[test]
    fn what_a_flag_takes_away_does_not_stay_behind_in_the_file() {
        let file = TrainFlags { fp16: Some(true), residual: Some(Residual::Admin), ..TrainFlags::default() };
        let file = || file.clone().resolve().unwrap().to_flags();
        assert!(file().fp16_init_scale.is_some() && file().omega.is_some());
        let over = |typed: TrainFlags| typed.over(file()).resolve().unwrap();
        let f32 = over(TrainFlags { fp16: Some(false), ..TrainFlags::default() });
        assert!(!f32.fp16 && f32.scaling.is_none());
        let bf16 = over(TrainFlags { bf16: Some(true), ..TrainFlags::default() });
        assert!(bf16.bf16 && !bf16.fp16 && bf16.scaling.is_none());
        let post = over(TrainFlags { residual: Some(Residual::PostLn), ..TrainFlags::default() });
        assert!(post.residual == Residual::PostLn && post.fp16 && post.scaling.is_some());
        let linear =
            TrainFlags { max_update: Some(9), lr_scheduler: Some(LrScheduler::Linear), ..TrainFlags::default() };
        let linear = TrainFlags { min_lr: Some(1e-5), ..linear };
        let sqrt = TrainFlags { lr_scheduler: Some(LrScheduler::InverseSqrt), ..TrainFlags::default() };
        assert_eq!(sqrt.over(linear).resolve().unwrap().min_lr, 0.0);
        let initial =
            TrainFlags { init: Some(Init::LooksLinear), omega: Some("analytic".into()), ..TrainFlags::default() };
        let tuned = TrainFlags { finetune_from_model: Some("run".into()), ..TrainFlags::default() };
        assert!(tuned.over(initial).resolve().unwrap().init == Init::Xavier);
        let both = TrainFlags { fp16: Some(true), bf16: Some(true), ..TrainFlags::default() }.over(file());
        assert!(both.resolve().is_err());
    }

    #[test]
    fn changes_are_named() {
        let before = TrainFlags { lr: Some(7e-4), max_update: Some(9), ..TrainFlags::default() }.resolve().unwrap();
        let typed = TrainFlags { lr: Some(0.5), dropout: Some(0.3), patience: Some(2), ..TrainFlags::default() };
        let now = TrainFlags { optimizer: Some(Optimizer::Radam), ..typed }.over(before.to_flags()).resolve().unwrap();
        let expected = ["dropout 0.1 → 0.3", "lr 0.0007 → 0.5", "optimizer adam → radam", "patience none → 2"];
        assert_eq!(now.changes(&before).unwrap(), expected);
        let wide = TrainFlags { arch: Some(Arch::Wmt), ..TrainFlags::default() }.over(before.to_flags());
        assert_eq!(wide.resolve().unwrap().d_model, 512, "--arch wins over the sizes of a file");
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
        let poly = TrainFlags { lr_scheduler: Some(LrScheduler::Poly), max_update: Some(9), ..TrainFlags::default() };
        let poly = TrainFlags { power: Some(2.0), ..poly };
        let linear = TrainFlags { lr_scheduler: Some(LrScheduler::Linear), ..TrainFlags::default() };
        assert!(linear.over(poly.clone()).resolve().is_ok(), "a file's power goes with its schedule");
        let power = message(TrainFlags { lr_scheduler: None, ..poly.clone() });
        assert!(power.starts_with("--power 2 needs --lr-scheduler poly"), "{power}");
        let min_lr = message(TrainFlags { lr: Some(1e-3), min_lr: Some(0.5), ..poly });
        assert!(min_lr.starts_with("--min-lr 0.5 is above --lr 0.001"), "{min_lr}");
        let min_lr = message(TrainFlags { min_lr: Some(1e-5), ..TrainFlags::default() });
        assert!(min_lr.starts_with("--min-lr 0.00001 needs --lr-scheduler linear or poly"), "{min_lr}");
        let min_loss_scale = message(TrainFlags { min_loss_scale: Some(0.1), ..TrainFlags::default() });
        assert!(min_loss_scale.starts_with("--min-loss-scale needs --fp16"), "{min_loss_scale}");
        let fp16 = TrainFlags { fp16: Some(true), ..TrainFlags::default() };
        let window = message(TrainFlags { fp16_scale_window: Some(0), ..fp16.clone() });
        assert!(window.starts_with("--fp16-scale-window 0: a number from 1"), "{window}");
        let scaling = TrainFlags { update_freq: Some(3), ..fp16 }.resolve().unwrap().scaling.unwrap();
        assert_eq!((scaling.init, scaling.window, scaling.threshold, scaling.min), (128.0, 5461, None, 1e-4));
    }
}
