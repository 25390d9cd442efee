//! Training runs side by side, and what they are held against.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::corpus::Corpus;
use crate::{Args, Result};

/// All at width 64 and ffn 256 with 4 heads, no dropout, no weight decay; the learning rate falls with the inverse root.
pub struct Experiment {
    pub name: &'static str,
    pub title: &'static str,
    pub layers: [usize; 2],
    pub optimizer: &'static str,
    pub lr: f64,
    pub warmup: usize,
    /// Learning rate of the first update: that of the plateau where there is no warm-up.
    pub first_lr: f64,
    pub updates: usize,
    pub validate_every: usize,
    pub max_tokens: usize,
    pub valid_pairs: usize,
    pub seeds: &'static [u64],
    pub rules: &'static [Rule],
    /// The first scheme's best seed is to end so far above the second's worst: [nats per token].
    pub margin: Option<(&'static str, &'static str, f64)>,
}

/// A criterion on one scheme's last validation loss, in every seed. Losses in nats per token; `on_multi30k` is absolute,
/// `elsewhere` an offset from the best constant predictor.
pub struct Rule {
    pub scheme: &'static str,
    pub side: Side,
    pub on_multi30k: f64,
    pub elsewhere: f64,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Above,
    Below,
}

impl Rule {
    pub fn bound(&self, corpus: &Corpus) -> f64 {
        if corpus.multi30k { self.on_multi30k } else { corpus.constant + self.elsewhere }
    }
}

const fn stuck(scheme: &'static str, on_multi30k: f64) -> Rule {
    Rule { scheme, side: Side::Above, on_multi30k, elsewhere: -0.05 }
}

const fn learns(scheme: &'static str, on_multi30k: f64) -> Rule {
    Rule { scheme, side: Side::Below, on_multi30k, elsewhere: -0.3 }
}

/// What most experiments share.
const SHORT: Experiment = Experiment {
    name: "",
    title: "",
    layers: [6, 6],
    optimizer: "radam",
    lr: 2e-3,
    warmup: 60,
    first_lr: 0.0,
    updates: 240,
    validate_every: 40,
    max_tokens: 600,
    valid_pairs: 100,
    seeds: &[1, 2, 3],
    rules: &[],
    margin: None,
};

pub const EXPERIMENTS: [Experiment; 5] = [
    Experiment {
        name: "e2a",
        title: "6+6 layers, Adam, no warm-up",
        optimizer: "adam",
        warmup: 100,
        first_lr: 2e-3,
        rules: &[stuck("post-ln", 5.6), learns("admin", 5.35), learns("pre-ln", 5.35)],
        margin: Some(("post-ln", "admin", 0.4)),
        ..SHORT
    },
    Experiment {
        name: "e2b",
        title: "18+18 layers, RAdam, warm-up",
        layers: [18, 18],
        rules: &[stuck("post-ln", 6.15), learns("admin", 5.6), learns("pre-ln", 5.6)],
        ..SHORT
    },
    Experiment {
        name: "e2c",
        title: "6+6 layers, RAdam, warm-up",
        rules: &[learns("post-ln", 5.6), learns("admin", 5.6), learns("pre-ln", 5.6)],
        ..SHORT
    },
    Experiment {
        name: "e2d",
        title: "3+3 layers, RAdam, warm-up, 1,500 updates",
        layers: [3, 3],
        lr: 3e-3,
        warmup: 200,
        updates: 1500,
        validate_every: 250,
        max_tokens: 1000,
        valid_pairs: 200,
        seeds: &[1],
        rules: &[learns("post-ln", 3.6), learns("admin", 3.6), learns("pre-ln", 3.6)],
        ..SHORT
    },
    Experiment {
        name: "e60",
        title: "60+12 layers, RAdam, warm-up",
        layers: [60, 12],
        seeds: &[1],
        rules: &[stuck("post-ln", 6.116), learns("admin", 5.9)],
        ..SHORT
    },
];

/// One run's validations: (update, label-smoothed loss in nats per token).
pub struct Outcome {
    pub scheme: &'static str,
    pub curve: Vec<(u64, f64)>,
}

impl Outcome {
    pub fn last(&self) -> f64 {
        self.curve.last().map_or(f64::NAN, |(_, loss)| *loss)
    }
}

/// Every scheme and seed of `experiment`: as many runs at a time as there are cores, each on one thread (what a run
/// computes does not depend on it). A run that an earlier call left half done goes on from its checkpoint.
pub fn run(args: &Args, experiment: &Experiment, corpus: &Corpus) -> Result<Vec<Outcome>> {
    let jobs: Vec<(&'static str, u64)> = experiment
        .rules
        .iter()
        .flat_map(|rule| experiment.seeds.iter().map(move |seed| (rule.scheme, *seed)))
        .collect();
    let (queue, failures) = (Mutex::new(jobs.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((scheme, seed)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                    let folder = folder(args, experiment, scheme, *seed);
                    let outcome = train(args, experiment, corpus, scheme, *seed, &folder);
                    if let (Err(error), Ok(mut failures)) = (outcome, failures.lock()) {
                        failures.push(format!("{}: {error}", folder.display()));
                    }
                }
            });
        }
    });
    if let Some(failure) = failures.into_inner()?.into_iter().next() {
        return Err(failure.into());
    }
    jobs.into_iter()
        .map(|(scheme, seed)| Ok(Outcome { scheme, curve: curve(&folder(args, experiment, scheme, seed))? }))
        .collect()
}

fn folder(args: &Args, experiment: &Experiment, scheme: &str, seed: u64) -> PathBuf {
    args.runs.join(format!("{}-{scheme}-{seed}", experiment.name))
}

fn train(args: &Args, e: &Experiment, corpus: &Corpus, scheme: &str, seed: u64, folder: &Path) -> Result<()> {
    if curve(folder).is_ok_and(|curve| curve.last().is_some_and(|(update, _)| *update == e.updates as u64)) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    let log = folder.join("output.txt");
    let flags = [
        ("residual", scheme.to_string()),
        ("seed", seed.to_string()),
        ("encoder-layers", e.layers[0].to_string()),
        ("decoder-layers", e.layers[1].to_string()),
        ("optimizer", e.optimizer.to_string()),
        ("lr", e.lr.to_string()),
        ("warmup-updates", e.warmup.to_string()),
        ("warmup-init-lr", e.first_lr.to_string()),
        ("max-update", e.updates.to_string()),
        ("validate-interval-updates", e.validate_every.to_string()),
        ("max-tokens", e.max_tokens.to_string()),
        ("d-model", "64".to_string()),
        ("ffn", "256".to_string()),
        ("heads", "4".to_string()),
        ("dropout", "0".to_string()),
        ("weight-decay", "0".to_string()),
        ("clip-norm", "0".to_string()),
        ("bleu-sentences", "0".to_string()),
        ("samples", "0".to_string()),
    ];
    let mut omega = Command::new(&args.omega);
    omega.arg("train").arg(&corpus.bin).arg("--save-dir").arg(folder).env("RAYON_NUM_THREADS", "1");
    omega.args(flags.iter().flat_map(|(flag, value)| [format!("--{flag}"), value.clone()]));
    let status = omega.stdout(Stdio::null()).stderr(File::create(&log)?).status()?;
    if !status.success() {
        return Err(format!("omega train ended with {status}; see {}", log.display()).into());
    }
    eprintln!("  {scheme}, seed {seed}: {:.3}", curve(folder)?.last().map_or(f64::NAN, |(_, loss)| *loss));
    Ok(())
}

fn curve(folder: &Path) -> Result<Vec<(u64, f64)>> {
    let text = std::fs::read_to_string(folder.join("log.jsonl"))?;
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let point = |r: Value| Some((r["update"].as_u64()?, r["valid_loss"].as_f64()? * std::f64::consts::LN_2));
    Ok(records.filter_map(point).collect())
}
