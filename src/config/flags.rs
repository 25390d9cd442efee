//! The flags of `omega train` as given, on the command line or in `--config`: all optional, nothing checked.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::choices::{Arch, BestMetric, Init, LrScheduler, Optimizer, Residual};

/// The flags as given, on the command line or in `--config`.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainFlags {
    /// The data-bin folder; typed, it is the command's first argument.
    #[arg(skip)]
    pub data: Option<PathBuf>,
    /// auto, cuda, cuda:N, soft, or soft:checked, where softgpu's checkers watch [default: auto]
    #[arg(long, value_name = "DEVICE", help_heading = "Numbers")]
    pub device: Option<String>,
    /// Sizes to start from [default: demo]
    #[arg(long, help_heading = "Model")]
    pub arch: Option<Arch>,
    /// [default: by --arch]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub encoder_layers: Option<usize>,
    /// [default: by --arch]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub decoder_layers: Option<usize>,
    /// Model width [default: by --arch]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub d_model: Option<usize>,
    /// Width of the feed-forward layer [default: by --arch]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub ffn: Option<usize>,
    /// Attention heads, which divide the width [default: by --arch]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub heads: Option<usize>,
    /// Residual scheme [default: admin]
    #[arg(long, help_heading = "Model")]
    pub residual: Option<Residual>,
    /// Initialisation [default: xavier]
    #[arg(long, help_heading = "Model", hide_short_help = true)]
    pub init: Option<Init>,
    /// Where Admin's ω come from; FILE is a profile.ratio.init [default: profile]
    #[arg(long, value_name = "profile|analytic|FILE", help_heading = "Model")]
    pub omega: Option<String>,
    /// Keep ω at its initial value
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Model", hide_short_help = true)]
    pub omega_frozen: Option<bool>,
    /// Keep the first ω of encoder and decoder at 1: an exported model then shares its embeddings
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Model", hide_short_help = true)]
    pub keep_first_omega_one: Option<bool>,
    /// Start from the parameters of this run or checkpoint, ω included, and nothing else of it
    #[arg(long, value_name = "FILE", help_heading = "Model", hide_short_help = true)]
    pub finetune_from_model: Option<PathBuf>,
    /// Activations, gradients and matrices in f16, with loss scaling; parameters stay f32
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Numbers")]
    pub fp16: Option<bool>,
    /// The same in bf16, which needs no loss scaling
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Numbers")]
    pub bf16: Option<bool>,
    /// First scale of the loss [default: 128]
    #[arg(long, value_name = "X", help_heading = "Numbers", hide_short_help = true)]
    pub fp16_init_scale: Option<f32>,
    /// Updates without overflow until the scale of the loss doubles [default: 16384 / --update-freq]
    #[arg(long, value_name = "N", help_heading = "Numbers", hide_short_help = true)]
    pub fp16_scale_window: Option<u32>,
    /// Share of updates that may overflow before the scale of the loss is halved [default: 0]
    #[arg(long, value_name = "X", help_heading = "Numbers", hide_short_help = true)]
    pub fp16_scale_tolerance: Option<f64>,
    /// Never halve the scale of the loss below this [default: no limit]
    #[arg(long, value_name = "X", help_heading = "Numbers", hide_short_help = true)]
    pub threshold_loss_scale: Option<f32>,
    /// Stop when an overflow leaves the scale of the loss at this or below [default: 1e-4]
    #[arg(long, value_name = "X", help_heading = "Numbers", hide_short_help = true)]
    pub min_loss_scale: Option<f32>,
    /// Run layers again in the backward pass: less memory, same bits
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Numbers", hide_short_help = true)]
    pub recompute: Option<bool>,
    /// Chance to drop after embeddings and sublayers [default: 0.1]
    #[arg(long, value_name = "P", help_heading = "Model")]
    pub dropout: Option<f32>,
    /// Chance to drop an attention weight [default: 0]
    #[arg(long, value_name = "P", help_heading = "Model", hide_short_help = true)]
    pub attention_dropout: Option<f32>,
    /// Chance to drop after the feed-forward ReLU [default: 0]
    #[arg(long, value_name = "P", help_heading = "Model", hide_short_help = true)]
    pub relu_dropout: Option<f32>,
    /// [default: adam]
    #[arg(long, help_heading = "Optimisation")]
    pub optimizer: Option<Optimizer>,
    /// Learning rate at the end of warm-up [default: 1e-3]
    #[arg(long, value_name = "X", help_heading = "Optimisation")]
    pub lr: Option<f64>,
    /// How the learning rate moves, as in fairseq [default: inverse_sqrt]
    #[arg(long, help_heading = "Optimisation", hide_short_help = true)]
    pub lr_scheduler: Option<LrScheduler>,
    /// Updates until --lr is reached [default: 4000, or a tenth of --max-update]
    #[arg(long, value_name = "N", help_heading = "Optimisation")]
    pub warmup_updates: Option<u64>,
    /// Learning rate of the first update [default: 1e-7]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub warmup_init_lr: Option<f64>,
    /// Last learning rate of linear and poly [default: 0]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub min_lr: Option<f64>,
    /// Power of poly [default: 1]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub power: Option<f64>,
    /// Decay of the moments, β₁,β₂, whatever the optimiser [default: 0.9,0.98]
    #[arg(
        long,
        value_name = "B1,B2",
        value_delimiter = ',',
        allow_hyphen_values = true,
        help_heading = "Optimisation",
        hide_short_help = true
    )]
    pub adam_betas: Option<Vec<f64>>,
    /// Added to the root of the second moment [default: 1e-8]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub adam_eps: Option<f64>,
    /// Decoupled, on every parameter [default: 0.0001]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub weight_decay: Option<f64>,
    /// Clip the gradient's global norm; 0 is off [default: 0]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub clip_norm: Option<f64>,
    /// Share of the target's probability that all symbols get [default: 0.1]
    #[arg(long, value_name = "X", help_heading = "Optimisation", hide_short_help = true)]
    pub label_smoothing: Option<f32>,
    /// In a batch: the longer side, padding counted, as in fairseq [default: 4096]
    #[arg(long, value_name = "N", help_heading = "Batches and length")]
    pub max_tokens: Option<usize>,
    /// Sentence pairs in a batch [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Batches and length", hide_short_help = true)]
    pub max_sentences: Option<usize>,
    /// Batches per update [default: 1]
    #[arg(long, value_name = "N", help_heading = "Batches and length")]
    pub update_freq: Option<usize>,
    /// Of initial values, batches and dropout [default: 1]
    #[arg(long, value_name = "N", help_heading = "Batches and length", hide_short_help = true)]
    pub seed: Option<u64>,
    /// Stop after this many updates [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Batches and length")]
    pub max_update: Option<u64>,
    /// Stop after this many epochs [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Batches and length")]
    pub max_epoch: Option<u64>,
    /// Stop after so many validations in a row that are not better [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Batches and length", hide_short_help = true)]
    pub patience: Option<u64>,
    /// Updates between log records [default: 50]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub log_interval: Option<u64>,
    /// Updates between them; 0 is at each epoch's end [default: 0]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log")]
    pub validate_interval_updates: Option<u64>,
    /// Updates between writes of checkpoint_last; 0 is at each validation [default: 0]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub save_interval_updates: Option<u64>,
    /// Keep the last N of those as checkpoint_EPOCH_UPDATE too [default: 0]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub keep_interval_updates: Option<u64>,
    /// Write a checkpoint per epoch, keep the last N [default: 0]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log")]
    pub keep_last_epochs: Option<u64>,
    /// Keep the models of the N best validations [default: 0]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub keep_best: Option<usize>,
    /// What is best, for checkpoint_best, --keep-best and --patience; changed, the best so far stay under other names
    /// [default: loss]
    #[arg(long, help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub best_metric: Option<BestMetric>,
    /// Write TensorBoard's event files to the run folder too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", hide_possible_values = true, help_heading = "Validation, checkpoints, log")]
    pub tensorboard: Option<bool>,
    /// Validation sentences that are translated for BLEU; 0 is none [default: 200]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub bleu_sentences: Option<usize>,
    /// Sample translations shown at each validation [default: 3]
    #[arg(long, value_name = "N", help_heading = "Validation, checkpoints, log", hide_short_help = true)]
    pub samples: Option<usize>,
}

/// Takes each field from `$over` where it is given, else from `$base`.
macro_rules! overlay {
    ($over:expr, $base:expr, $($field:ident),* $(,)?) => {
        TrainFlags { $($field: $over.$field.or($base.$field)),* }
    };
}

impl TrainFlags {
    /// What is left of these flags, a file's, where `typed` takes away what they need: a loss is scaled in f16 only, there is an
    /// ω in Admin only, a power in poly only, a last learning rate where there is a last one, initial values where no other
    /// model has them, and `--arch` is all sizes.
    fn beneath(mut self, typed: &TrainFlags) -> TrainFlags {
        if typed.bf16 == Some(true) {
            self.fp16 = None;
        }
        if typed.fp16 == Some(true) {
            self.bf16 = None;
        }
        if typed.fp16 == Some(false) || typed.bf16 == Some(true) {
            (self.fp16_init_scale, self.fp16_scale_window, self.fp16_scale_tolerance) = (None, None, None);
            (self.threshold_loss_scale, self.min_loss_scale) = (None, None);
        }
        if typed.residual.is_some_and(|residual| residual != Residual::Admin) {
            (self.omega, self.omega_frozen, self.keep_first_omega_one) = (None, None, None);
        }
        if typed.arch.is_some() {
            (self.encoder_layers, self.decoder_layers) = (None, None);
            (self.d_model, self.ffn, self.heads) = (None, None, None);
        }
        if typed.lr_scheduler.is_some_and(|scheduler| scheduler != LrScheduler::Poly) {
            self.power = None;
        }
        if typed.lr_scheduler == Some(LrScheduler::InverseSqrt) {
            self.min_lr = None;
        }
        if typed.finetune_from_model.is_some() {
            (self.init, self.omega) = (None, None);
        }
        self
    }

    /// The flags that are given, as keys of `--config`.
    pub fn names(&self) -> Vec<String> {
        toml::Table::try_from(self).map_or(Vec::new(), |table| table.into_iter().map(|(key, _)| key).collect())
    }

    /// Whether these are all settings of a run, as omega writes them down: then also those that hardly anybody gives.
    pub fn are_complete(&self) -> bool {
        let names = self.names();
        let always = ["device", "d-model", "heads", "residual", "adam-eps", "log-interval", "samples", "seed"];
        always.into_iter().all(|flag| names.iter().any(|name| name == flag))
    }

    /// These flags, a run's, without what is refused today because nothing has ever read it: earlier versions kept it.
    pub fn of_a_run(self) -> TrainFlags {
        let (finetune_from_model, scheduler) = (self.finetune_from_model.clone(), self.lr_scheduler);
        let lr_scheduler = Some(scheduler.unwrap_or(LrScheduler::InverseSqrt));
        let read = TrainFlags { finetune_from_model, lr_scheduler, ..TrainFlags::default() };
        self.beneath(&read)
    }

    /// These flags, with those of `base` where nothing is given.
    pub fn over(self, base: TrainFlags) -> TrainFlags {
        let base = base.beneath(&self);
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
            keep_first_omega_one,
            finetune_from_model,
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
            keep_interval_updates,
            keep_last_epochs,
            keep_best,
            best_metric,
            tensorboard,
            bleu_sentences,
            samples,
        )
    }
}
