//! Runs in f16, whose loss is scaled: overflows, and what they must not move.

use std::process::Stdio;

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
