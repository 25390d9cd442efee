//! Values of flags that are one of a few.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Named sizes; single flags override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// 2+2 layers, width 128, ffn 512, 4 heads
    Demo,
    /// 6+6 layers, width 512, ffn 1024, 4 heads
    Iwslt,
    /// 6+6 layers, width 512, ffn 2048, 8 heads
    Wmt,
    /// 6+6 layers, width 1024, ffn 4096, 16 heads
    WmtBig,
}

/// Residual scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Residual {
    /// LN(x + f(x))
    PostLn,
    /// x + f(LN(x))
    PreLn,
    /// LN(ω⊙x + f(x))
    Admin,
    /// x + α·f(x), α starts at 0
    Rezero,
    /// LN(x + α·f(x))
    RezeroPostLn,
}

impl Residual {
    /// As it is typed: `post-ln`.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Initialisation of the weight matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Xavier uniform, as fairseq
    Xavier,
    /// Mirrored halves, so that each feed-forward layer starts linear
    LooksLinear,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    Adam,
    Radam,
    Novograd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrScheduler {
    #[value(name = "inverse_sqrt")]
    InverseSqrt,
    Linear,
    Poly,
}

/// Where ω comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OmegaSource {
    /// One profiling pass on the first batch.
    Profile,
    /// √((n+1)/ln(n+1) − 1) for n residual layers.
    Analytic,
    /// A file in the original's `profile.ratio.init` format.
    File(PathBuf),
}

impl OmegaSource {
    /// Words for a heading.
    pub fn describe(&self) -> String {
        match self {
            OmegaSource::Profile => "profiled on the first batch".to_owned(),
            OmegaSource::Analytic => "by the analytic formula".to_owned(),
            OmegaSource::File(path) => format!("from {}", path.display()),
        }
    }
}

/// How a line becomes words, by sacreBLEU's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BleuTokens {
    /// mteval's, for plain text
    #[default]
    #[value(name = "13a")]
    Mteval13a,
    /// What stands between spaces, for text that is tokenised already
    None,
}

impl BleuTokens {
    /// As it is typed, and as signatures have it.
    pub fn name(self) -> &'static str {
        match self {
            BleuTokens::Mteval13a => "13a",
            BleuTokens::None => "none",
        }
    }
}

/// What a validation is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BestMetric {
    /// The lowest label-smoothed loss, as fairseq
    #[default]
    Loss,
    /// The lowest negative log-likelihood
    Nll,
    /// The highest BLEU of the first --bleu-sentences pairs
    Bleu,
}

impl BestMetric {
    /// Whether score `a` is better than `b`; equal ones are not.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self == BestMetric::Bleu { a > b } else { a < b }
    }

    /// As it is typed: `nll`.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// For people: "validation loss".
    pub fn title(self) -> &'static str {
        match self {
            BestMetric::Loss => "validation loss",
            BestMetric::Nll => "validation nll",
            BestMetric::Bleu => "BLEU",
        }
    }
}
