//! Whole updates: loss and gradient norm of every update of Adam and RAdam, from the original's parameters.

use std::path::Path;

use omega::config::{LrScheduler, Optimizer};
use omega::device::{Allocation, Device};
use omega::ops::loss_scale::{RECORD, Record};
use omega::ops::optimizer::Adam;
use omega::optim::schedule::Schedule;
use omega::optim::{Settings, Updater};
use omega::rng::RngState;
use omega::tensor::DType;
use omega::train::micro_batch;
use serde_json::Value;

use crate::fixture::{ModelFolder, tensors};
use crate::forward::{Padded, load};

/// Relative differences.
const LOSS: f64 = 1e-4;
const NORM: f64 = 1e-3;

#[test]
fn every_update_is_the_originals() {
    let mut compared = 0;
    for folder in ModelFolder::all().iter().filter(|f| f.path.ends_with("model/admin")) {
        let root = folder.path.ancestors().nth(2).unwrap();
        for name in ["adam", "radam", "radam_accum2_clip"] {
            let path = root.join("trajectory").join(name).join("trajectory.json");
            if path.is_file() {
                let record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                follow(folder, &root.join("trajectory/batches.safetensors"), &record, &path);
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "a clone holds trajectories");
}

fn follow(folder: &ModelFolder, batches: &Path, trace: &Value, path: &Path) {
    let dev = Device::soft(Allocation::Arena);
    let model = load(&dev, folder);
    let number = |name: &str| trace[name].as_f64().unwrap();
    let adam = Adam {
        betas: (trace["betas"][0].as_f64().unwrap(), trace["betas"][1].as_f64().unwrap()),
        eps: number("eps"),
        weight_decay: number("weight_decay"),
    };
    let schedule = Schedule {
        kind: LrScheduler::InverseSqrt,
        lr: number("lr"),
        warmup_updates: number("warmup_updates") as u64,
        warmup_init_lr: number("warmup_init_lr"),
        min_lr: 0.0,
        power: 1.0,
        max_update: 0,
    };
    let settings = Settings {
        kind: if trace["optimizer"] == "adam" { Optimizer::Adam } else { Optimizer::Radam },
        adam,
        schedule,
        clip_norm: number("clip_norm"),
        scaling: None,
    };
    let mut updater = Updater::new(settings, &model.params).unwrap();
    let record = dev.tensor(&[RECORD], DType::F32).unwrap();
    let batches = tensors(batches);
    let mut worst = [0.0f64; 2];
    for row in trace["rows"].as_array().unwrap() {
        let update = row["update"].as_u64().unwrap();
        model.params.zero_grads().unwrap();
        let (mut loss_sum, mut tokens) = (0.0, 0);
        for which in row["batches"].as_array().unwrap() {
            let batch = Padded::read(&batches, &format!("batch{which}.")).pack(&dev, folder.config.max_positions);
            let (loss, _) = micro_batch(&model, &batch, RngState::default(), 0.1, updater.scale()).unwrap();
            loss_sum += f64::from(dev.read::<f32>(&loss).unwrap()[0]);
            tokens += batch.target_tokens();
        }
        updater.update(&model.params, tokens, &record).unwrap();
        let norm = f64::from(Record::of(&dev.read::<f32>(&record).unwrap()).norm);
        let got = [(loss_sum, "loss_sum", LOSS), (norm, "grad_norm", NORM)];
        for ((got, key, bound), worst) in got.into_iter().zip(&mut worst) {
            let expected = row[key].as_f64().unwrap();
            let error = (got / expected - 1.0).abs();
            assert!(error < bound, "{}, update {update}: {key} is {got}, expected {expected}", path.display());
            *worst = worst.max(error);
        }
    }
    println!("{}: loss within {:.1e}, gradient norm within {:.1e}", path.display(), worst[0], worst[1]);
}
