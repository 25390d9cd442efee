//! The loss scale, update by update, on the device: exactly the original's.

use std::path::Path;

use omega::config::{LrScheduler, Optimizer};
use omega::device::{Allocation, Device};
use omega::model::Params;
use omega::model::params::Spec;
use omega::ops::loss_scale::{RECORD, Record, Scaling};
use omega::ops::optimizer::Adam;
use omega::optim::schedule::Schedule;
use omega::optim::{Settings, Updater};
use omega::reference;
use omega::tensor::DType;
use serde_json::Value;

fn scaling(args: &Value) -> Scaling {
    let number = |names: [&str; 2], otherwise: f64| names.iter().find_map(|n| args[n].as_f64()).unwrap_or(otherwise);
    Scaling {
        init: number(["init_scale", "fp16_init_scale"], 0.0) as f32,
        window: number(["scale_window", "fp16_scale_window"], 0.0) as u32,
        tolerance: number(["tolerance", "fp16_scale_tolerance"], 0.0),
        threshold: args["threshold"].as_f64().or(args["threshold_loss_scale"].as_f64()).map(|t| t as f32),
        min: number(["min_loss_scale", ""], 1e-4) as f32,
    }
}

/// A parameter of 70 f16 gradients, and the updater of it.
struct Small {
    params: Params,
    updater: Updater,
}

impl Small {
    fn new(kind: Optimizer, scaling: Scaling) -> Small {
        let params = Params::new(&Device::soft(Allocation::Arena), vec![Spec::new("w", &[7, 10])], DType::F16).unwrap();
        params.write("w", &(0..70).map(|i| i as f32 / 64.0).collect::<Vec<_>>()).unwrap();
        let schedule = Schedule {
            kind: LrScheduler::InverseSqrt,
            lr: 0.01,
            warmup_updates: 4,
            warmup_init_lr: 1e-7,
            min_lr: 0.0,
            power: 1.0,
            max_update: 0,
        };
        let adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 0.0 };
        let settings = Settings { kind, adam, schedule, clip_norm: 0.0, scaling: Some(scaling) };
        let updater = Updater::new(settings, &params).unwrap();
        Small { params, updater }
    }

    /// One update with gradients of 0.001 times the scale, the last of which `bad` replaces.
    fn update(&mut self, bad: Option<f32>) -> Record {
        let dev = self.params.dev().clone();
        let scale = dev.read::<f32>(self.updater.scale()).unwrap()[0];
        let mut gradient = vec![0.001 * scale; 70];
        gradient[69] = bad.unwrap_or(gradient[69]);
        let grad = self.params.grad("w").unwrap();
        dev.copy(&grad, &dev.upload_as(&gradient, &[70], DType::F16).unwrap()).unwrap();
        let record = dev.tensor(&[RECORD], DType::F32).unwrap();
        self.updater.update(&self.params, 1, &record).unwrap();
        Record::of(&dev.read::<f32>(&record).unwrap())
    }

    /// Bits of parameters, moments and copy.
    fn bits(&self) -> Vec<u32> {
        let (dev, moments) = (self.params.dev(), &self.updater.moments);
        let copy = self.params.trainable_copy().unwrap().unwrap();
        let all = [self.params.values(), &moments.m, &moments.v, &copy].map(|t| dev.read_wide(t).unwrap());
        all.concat().into_iter().map(f32::to_bits).collect()
    }
}

fn follow(trace: &Value) {
    let (name, scaling) = (trace["name"].as_str().unwrap(), scaling(&trace["args"]));
    let mut small = Small::new(Optimizer::Adam, scaling);
    let threshold = scaling.threshold.map(f64::from);
    let window = i64::from(scaling.window);
    let mut reference =
        reference::loss_scale::Scaler::new(f64::from(scaling.init), window, scaling.tolerance, threshold);
    for (number, row) in trace["rows"].as_array().unwrap().iter().enumerate() {
        let (bad, after, event) = match row.as_array() {
            Some(row) => ((row[0] == 1).then_some(f32::INFINITY), row[1].as_f64().unwrap(), None),
            None => {
                let bad = match row["injected"].as_str().unwrap() {
                    "inf" => Some(f32::INFINITY),
                    "nan" => Some(f32::NAN),
                    other => (other != "ok").then(|| panic!("{other} is planted")),
                };
                (bad, row["scale_after"].as_f64().unwrap(), row["event"].as_str())
            }
        };
        let before = small.bits();
        let record = small.update(bad);
        reference.update(bad.is_some());
        assert_eq!(f64::from(record.scale), after, "{name}, update {number}");
        assert_eq!(reference.scale, after, "{name}, update {number}: the reference");
        assert_eq!(record.done, bad.is_none(), "{name}, update {number}");
        assert_eq!(small.bits() == before, bad.is_some(), "{name}, update {number}: bits that moved, or did not");
        let ends = bad.is_some() && scaling.underflows(record.scale);
        if let Some(event) = event {
            let wanted = if ends {
                "FloatingPointError"
            } else if bad.is_some() {
                "OverflowError"
            } else {
                "step"
            };
            assert_eq!(event, wanted, "{name}, update {number}");
        }
    }
}

#[test]
fn every_trace_is_the_originals() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for root in std::env::var_os("OMEGA_FIXTURES").map(Into::into).into_iter().chain([here]) {
        let path = root.join("scaler/loss_scaler.json");
        if path.is_file() {
            let traces: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            traces.as_array().unwrap().iter().for_each(follow);
            assert!(traces.as_array().unwrap().len() >= 6, "{}: hardly any traces", path.display());
        }
    }
}

/// Updates that overflow in between change nothing: learning rate and bias corrections count the others alone.
#[test]
fn overflows_leave_no_trace_in_the_parameters() {
    let scaling = Scaling { init: 128.0, window: 1000, tolerance: 1.0, threshold: None, min: 1e-4 };
    for kind in [Optimizer::Adam, Optimizer::Radam, Optimizer::Novograd] {
        let (mut clean, mut hit) = (Small::new(kind, scaling), Small::new(kind, scaling));
        for number in 0..12 {
            clean.update(None);
            if number % 3 == 1 {
                hit.update(Some(f32::NAN));
                hit.update(Some(f32::NEG_INFINITY));
            }
            hit.update(None);
            assert_eq!(clean.bits(), hit.bits(), "{kind:?}, update {number}");
        }
    }
}

/// The host need not ask how many updates are done, and may: the table of learning rates is renewed either way.
#[test]
fn a_run_longer_than_the_table_goes_on() {
    let scaling = Scaling { init: 1.0, window: 100, tolerance: 0.0, threshold: None, min: 1e-4 };
    let (mut silent, mut told) = (Small::new(Optimizer::Adam, scaling), Small::new(Optimizer::Adam, scaling));
    for number in 1..=2100 {
        silent.update(None);
        told.update(None);
        if number % 200 == 0 {
            told.updater.learn(&told.params, number).unwrap();
        }
        assert!(silent.bits() == told.bits(), "update {number}");
    }
}
