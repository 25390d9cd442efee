//! Runs in f16, whose loss is scaled: overflows, and what they must not move.

use std::fs;
use std::process::Stdio;

use omega::reference::loss_scale::Scaler;
use serde_json::Value;

use crate::resume::{log, wait_for};
use crate::{Workplace, succeed, text};

/// The scale doubles after four good updates, up to where the next gradient overflows: they come all the time.
#[rustfmt::skip]
const FLAGS: &[&str] = &[
    "--fp16", "--fp16-init-scale", "8388608", "--fp16-scale-window", "4", "--max-update", "40", "--log-interval", "5",
    "--save-interval-updates", "3", "--validate-interval-updates", "16", "--dropout", "0.1", "--update-freq", "2",
    "--lr", "0.01", "--clip-norm", "2",
];

fn numbers(log: &[Value], key: &str) -> Vec<u64> {
    log.iter().filter_map(|record| record[key].as_u64()).collect()
}

#[test]
fn updates_are_counted_without_those_that_overflow() {
    let place = Workplace::prepared();
    let said = text(&succeed(&mut place.train("run", FLAGS)).stderr);
    assert!(said.contains("done: 40 updates") && said.contains(" overflows)  "), "{said}");
    let (valid, train): (Vec<_>, Vec<_>) = place.log("run").into_iter().partition(|r| r.get("valid_loss").is_some());
    assert_eq!(numbers(&train, "update"), (1..=8).map(|k| 5 * k).collect::<Vec<_>>());
    assert_eq!(numbers(&valid, "update"), [16, 32, 40]);
    let overflows: Vec<u64> = numbers(&train, "overflows");
    assert!(overflows.len() == 8 && overflows[0] > 1 && overflows[1..].iter().sum::<u64>() > 3, "{overflows:?}");
    for record in &train {
        let scale = record["loss_scale"].as_f64().unwrap();
        assert!((8_388_608.0 / scale).log2().fract() == 0.0, "{scale} is no halving of the first scale");
        // A batch that overflowed is in none of the sums.
        assert!(
            record["loss"].as_f64().is_some_and(|v| v < 10.0) && record["grad_norm"].as_f64().is_some(),
            "{record}"
        );
    }
    let state: Value = serde_json::from_slice(&place.read("run/checkpoint_last.json")).unwrap();
    let tried = state["scaler"]["tried"].as_u64().unwrap();
    assert_eq!((state["update"].as_u64(), tried), (Some(40), 40 + overflows.iter().sum::<u64>()));
    // The learning rate is that of the updates done.
    let rates = |log: &[Value]| log.iter().filter_map(|r| r["lr"].as_f64()).collect::<Vec<_>>();
    let plain: Vec<&str> = FLAGS[5..].to_vec();
    succeed(&mut place.train("plain", &plain));
    assert_eq!(rates(&train), rates(&place.log("plain")));
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes_with_its_scale() {
    let place = Workplace::prepared();
    succeed(&mut place.train("whole", FLAGS));
    succeed(place.train("threads", FLAGS).env("RAYON_NUM_THREADS", "1"));
    for update in [5, 20, 35] {
        let mut child = place.train("killed", FLAGS).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place, "killed", update, &mut child);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    succeed(&mut place.train("killed", FLAGS));
    for file in ["checkpoint_last.safetensors", "checkpoint_best.safetensors", "checkpoint_last.json"] {
        let whole = place.read(&format!("whole/{file}"));
        assert!(whole == place.read(&format!("killed/{file}")), "{file}: stopped and resumed");
        assert!(whole == place.read(&format!("threads/{file}")), "{file}: one thread");
    }
    assert_eq!(log(&place, "whole"), log(&place, "killed"));
}

/// Parameters that one enormous step has thrown out of f16's range: nothing helps, and the run says where it began.
#[test]
fn a_scale_that_goes_under_names_layers_and_ways_out() {
    let place = Workplace::prepared();
    #[rustfmt::skip]
    let flags = [
        "--fp16", "--max-update", "200", "--lr", "1e6", "--warmup-updates", "1", "--warmup-init-lr", "1e6",
        "--min-loss-scale", "0.5", "--log-interval", "1000",
    ];
    let output = place.train("run", &flags).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    // 128 is halved eight times.
    assert!(
        said.contains(" overflowed and left the loss scale at 0.5, which is not above --min-loss-scale 0.5"),
        "{said}"
    );
    assert!(said.contains("on the way back: ") && said.contains("layers."), "{said}");
    assert!(said.contains("hint: lower --lr") && said.contains("--bf16"), "{said}");
}

/// A scale that would turn the steps around, or stop them, was not written by a run.
#[test]
fn a_scale_is_above_zero() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--fp16", "--max-update", "2"]));
    let path = place.path("run/checkpoint_last.safetensors");
    let own = omega::checkpoint::Checkpoint::open(&path).unwrap();
    for scale in [-3.0, 0.0] {
        let mut state = own.state.clone();
        state.scaler.as_mut().unwrap().scale = scale;
        omega::checkpoint::write(&path, &own.parameters().unwrap(), &state).unwrap();
        let output = place.train("run", &["--fp16", "--max-update", "4"]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(&format!("a loss scale of {scale}, ")), "{said}");
        assert!(said.contains("checkpoint_best.safetensors is whole"), "{said}");
    }
    let said = text(&place.train("no", &["--fp16", "--fp16-init-scale", "1e39"]).output().unwrap().stderr);
    assert!(said.contains("--fp16-init-scale inf: a number above 0 that f32 holds is needed"), "{said}");
}

#[test]
fn bf16_has_no_scale() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--bf16", "--max-update", "8", "--log-interval", "4", "--lr", "0.01"]));
    let log = place.log("run");
    assert!(log.iter().all(|record| record.get("loss_scale").is_none() && record.get("overflows").is_none()));
    let output = place.train("no", &["--bf16", "--fp16-init-scale", "2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--fp16-init-scale needs --fp16"), "{}", text(&output.stderr));
}

/// Real sentences, each to be said backwards; every tenth is held out.
fn place_with_sentences() -> Workplace {
    let place = Workplace::with_text();
    let lines: Vec<&str> = include_str!("../export/sentences.txt").lines().collect();
    let backwards = |line: &str| line.split(' ').rev().collect::<Vec<_>>().join(" ");
    for (split, held_out) in [("train", false), ("valid", true)] {
        let lines: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(at, _)| at.is_multiple_of(10) == held_out)
            .map(|(_, line)| *line)
            .collect();
        let targets: Vec<String> = lines.iter().map(|line| backwards(line)).collect();
        fs::write(place.path(&format!("text/{split}.de")), lines.join("\n") + "\n").unwrap();
        fs::write(place.path(&format!("text/{split}.en")), targets.join("\n") + "\n").unwrap();
    }
    succeed(&mut place.prepare_with(&["--vocab-size", "400"], "text/train", "text/valid", "data"));
    place
}

/// The demo in small: as many updates, of a smaller model on fewer tokens.
#[rustfmt::skip]
const DEMO: &[&str] = &[
    "--encoder-layers", "2", "--decoder-layers", "2", "--d-model", "32", "--heads", "4", "--ffn", "64", "--max-tokens", "256",
    "--bleu-sentences", "0", "--max-update", "300", "--log-interval", "1", "--lr", "0.005", "--warmup-updates", "60",
];

/// f16 starts at a scale that is too large on purpose: ∂L/∂logit of a target is nearly the smoothed 0.9 at first, and from
/// 2^17 on 0.9 times the scale is no f16. The window is short, so that the scale grows until gradients overflow again.
#[test]
fn three_hundred_updates_end_at_the_loss_of_f32() {
    let place = place_with_sentences();
    let losses = [
        ("f32", &[][..]),
        ("bf16", &["--bf16"]),
        ("f16", &["--fp16", "--fp16-init-scale", "16777216", "--fp16-scale-window", "50"]),
    ]
    .map(|(run, of_type)| {
        succeed(&mut place.train(run, &[DEMO, of_type].concat()));
        let (valid, train): (Vec<_>, Vec<_>) = place.log(run).into_iter().partition(|r| r.get("valid_loss").is_some());
        assert_eq!(numbers(&train, "update"), (1..=300).collect::<Vec<_>>(), "{run}");
        for key in ["loss", "nll", "grad_norm"] {
            assert!(train.iter().all(|record| record[key].is_f64()), "{run}: a {key} that is no number"); // NaN is null
        }
        valid.last().unwrap()["valid_loss"].as_f64().unwrap()
    });
    let off = [losses[1], losses[2]].map(|loss| (loss / losses[0] - 1.0).abs());
    println!("validation losses {losses:?}, off by {off:?}");
    assert!(off[0] < 0.01 && off[1] < 0.01, "f32, bf16, f16: {losses:?}");
    scale_follows_the_originals(&place, "f16");
}

/// The log's overflows, fed to the original's scaler, give the log's scales, update by update.
fn scale_follows_the_originals(place: &Workplace, run: &str) {
    let mut scaler = Scaler::new(16_777_216.0, 50, 0.0, None);
    let train: Vec<Value> = place.log(run).into_iter().filter(|record| record.get("valid_loss").is_none()).collect();
    let overflows = numbers(&train, "overflows");
    for (record, overflows) in train.iter().zip(&overflows) {
        (0..*overflows).for_each(|_| scaler.update(true));
        scaler.update(false);
        assert_eq!(record["loss_scale"].as_f64(), Some(scaler.scale), "after update {}", record["update"]);
    }
    println!("overflows {overflows:?}");
    let (first, later) = (overflows[0], overflows[1..].iter().sum::<u64>());
    assert!(first >= 8 && later >= 1, "{first} overflows at first, {later} later");
    let state: Value = serde_json::from_slice(&place.read(&format!("{run}/checkpoint_last.json"))).unwrap();
    assert_eq!(state["scaler"]["tried"].as_u64(), Some(300 + first + later));
}
