//! `--tensorboard`, read back by TensorBoard itself, which comes from PyPI into the build folder, once. Where it cannot
//! be installed, the test says so and is skipped.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "common/pypi.rs"]
mod pypi;
#[path = "common/skip.rs"]
mod skip;

use std::fs;
use std::process::Command;

use pypi::python;
use serde_json::Value;
use skip::skipped;

const PACKAGES: [&str; 2] = ["tensorboard==2.20.0", "setuptools<81"];

/// Scalars by tag: a list of (step, value).
const READ: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}).Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";

#[test]
fn tensorboard_reads_what_was_logged() {
    let python = match python("tensorboard", &PACKAGES) {
        Ok(python) => python,
        Err(reason) => {
            skipped(format_args!("tensorboard cannot be installed here: {reason}"));
            return;
        }
    };
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    let words = ["ein", "Hund", "bellt", "laut", "und", "lange"];
    let lines = |shift: usize| -> String {
        (0..80).map(|n| format!("{} {} {}\n", words[n % 6], words[(n + shift) % 6], words[(n / 6) % 6])).collect()
    };
    for (name, text) in [("train.de", lines(1)), ("train.en", lines(2)), ("valid.de", lines(1)), ("valid.en", lines(2))]
    {
        fs::write(at(name), text).unwrap();
    }
    let omega = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_omega")).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    #[rustfmt::skip]
    omega(&[
        "prepare", "--source", "de", "--target", "en", "--train", &at("train"), "--valid", &at("valid"),
        "--vocab-size", "40", "--out", &at("data"),
    ]);
    let (data, run) = (at("data"), at("run"));
    #[rustfmt::skip]
    let flags = [
        "train", &data, "--save-dir", &run, "--device", "soft", "--encoder-layers", "1", "--decoder-layers", "1",
        "--d-model", "16", "--heads", "2", "--ffn", "32", "--max-tokens", "64", "--bleu-sentences", "4", "--samples", "0",
        "--log-interval", "2", "--validate-interval-updates", "6", "--fp16", "--tensorboard", "--max-update",
    ];
    // After update 8 the checkpoint of update 6 is put back, as if the run had been killed between: what was said of 8 is
    // said again, and must not be there twice.
    let last = at("run/checkpoint_last.safetensors");
    omega(&[&flags[..], &["6", "--warmup-updates", "4"]].concat());
    let at_6 = fs::read(&last).unwrap();
    omega(&[&flags[..], &["8", "--warmup-updates", "4"]].concat());
    fs::write(&last, at_6).unwrap();
    omega(&[&flags[..], &["12", "--warmup-updates", "4"]].concat());
    let output = Command::new(python).args(["-c", READ, &run]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let read: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let log = fs::read_to_string(at("run/log.jsonl")).unwrap();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (tag, key) in [
        ("train/loss", "loss"),
        ("train/nll", "nll"),
        ("train/ppl", "ppl"),
        ("train/lr", "lr"),
        ("train/grad_norm", "grad_norm"),
        ("train/loss_scale", "loss_scale"),
        ("train/tgt_tokens_per_s", "tgt_tokens_per_s"),
        ("valid/loss", "valid_loss"),
        ("valid/nll", "valid_nll"),
        ("valid/bleu", "valid_bleu"),
    ] {
        let logged: Vec<(u64, f64)> =
            records.iter().filter_map(|r| Some((r["update"].as_u64()?, r[key].as_f64()?))).collect();
        let shown: Vec<(u64, f64)> = serde_json::from_value(read[tag].clone()).unwrap();
        assert!(logged.len() >= 2, "{tag}: {log}");
        assert_eq!(shown.len(), logged.len(), "{tag}: {shown:?} for {logged:?}");
        for ((step, value), (update, expected)) in shown.iter().zip(&logged) {
            assert!(
                step == update && (value - expected).abs() <= 1e-6 * expected.abs(),
                "{tag}: {shown:?} for {logged:?}"
            );
        }
    }
}
