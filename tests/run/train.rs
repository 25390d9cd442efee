//! What a run leaves behind, in every residual scheme and with every kind of dropout.

use std::fs;

use crate::{Workplace, names, omega, succeed, text};

#[test]
fn a_run_folder_holds_all_that_is_promised() {
    let place = Workplace::prepared();
    let flags = ["--max-update", "12", "--log-interval", "4", "--validate-interval-updates", "6", "--lr", "0.01"];
    let output = succeed(&mut place.train("run", &flags));
    assert!(output.stdout.is_empty(), "progress belongs on stderr");
    let said = text(&output.stderr);
    for part in ["device: softgpu", "ω, profiled on the first batch", "valid at 6", "hypothesis", "done: 12 updates"] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    #[rustfmt::skip]
    let expected = [
        ".lock", "checkpoint_best.json", "checkpoint_best.safetensors", "checkpoint_last.json",
        "checkpoint_last.safetensors", "config.toml", "dict.de.txt", "dict.en.txt", "log.jsonl", "profile.ratio.init",
        "tokenizer.json",
    ];
    assert_eq!(names(&place.path("run")), expected);
    let log = place.log("run");
    let (valid, train): (Vec<_>, Vec<_>) = log.iter().partition(|record| record.get("valid_loss").is_some());
    let updates =
        |records: &[&serde_json::Value]| records.iter().map(|r| r["update"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((updates(&train), updates(&valid)), (vec![4, 8, 12], vec![6, 12]));
    for key in ["epoch", "loss", "nll", "ppl", "lr", "grad_norm", "src_tokens_per_s", "tgt_tokens_per_s"] {
        assert!(train.iter().all(|record| record[key].as_f64().is_some_and(|v| v > 0.0)), "{key}");
    }
    for key in ["valid_loss", "valid_nll", "valid_bleu"] {
        assert!(valid.iter().all(|record| record[key].as_f64().is_some_and(|v| v >= 0.0)), "{key}");
    }
    assert!(train[2]["loss"].as_f64() < train[0]["loss"].as_f64(), "{train:?}");
    // The same command again has nothing to do, and changes nothing.
    let before = place.read("run/checkpoint_last.safetensors");
    assert!(text(&succeed(&mut place.train("run", &flags)).stderr).contains("nothing left to do"));
    assert_eq!(place.read("run/checkpoint_last.safetensors"), before);
    assert_eq!(place.log("run"), log);
}

#[test]
fn a_start_with_nothing_to_do_leaves_no_events() {
    let place = Workplace::prepared();
    let flags = ["--tensorboard", "--max-update", "2"];
    let events = || names(&place.path("run")).iter().filter(|name| name.starts_with("events.")).count();
    for _ in 0..2 {
        succeed(&mut place.train("run", &flags));
        assert_eq!(events(), 1);
    }
    succeed(&mut place.train("run", &["--tensorboard", "--max-update", "4"]));
    assert_eq!(events(), 2);
}

#[test]
fn every_scheme_trains_with_every_dropout() {
    let place = Workplace::prepared();
    let schemes = ["post-ln", "pre-ln", "admin", "rezero", "rezero-post-ln"].map(|s| ["--residual", s]);
    let others = [
        ["--init", "looks-linear"],
        ["--omega", "analytic"],
        ["--optimizer", "radam"],
        ["--optimizer", "novograd"],
        ["--omega-frozen", "--seed=3"],
    ];
    for (number, scheme) in schemes.into_iter().chain(others).enumerate() {
        let run = format!("run{number}");
        #[rustfmt::skip]
        let flags = [
            "--max-update", "16", "--log-interval", "8", "--lr", "0.02", "--dropout", "0.1", "--attention-dropout",
            "0.1", "--relu-dropout", "0.1", "--update-freq", "2", "--clip-norm", "1",
        ];
        succeed(&mut place.train(&run, &[&scheme[..], &flags].concat()));
        let losses: Vec<f64> = place.log(&run).iter().filter_map(|record| record["loss"].as_f64()).collect();
        assert!(losses[1] < losses[0], "{scheme:?}: {losses:?}");
    }
}

#[test]
fn dropout_changes_training_only_where_it_is_on() {
    let place = Workplace::prepared();
    let base = ["--max-update", "3", "--dropout", "0"];
    let checkpoint = |run: &str, flags: &[&str]| {
        succeed(&mut place.train(run, &[&base[..], flags].concat()));
        place.read(&format!("{run}/checkpoint_last.safetensors"))
    };
    let plain = checkpoint("plain", &[]);
    assert_eq!(plain, checkpoint("again", &[]));
    for flag in ["--attention-dropout", "--relu-dropout"] {
        assert_ne!(plain, checkpoint(flag.trim_start_matches('-'), &[flag, "0.2"]), "{flag}");
    }
}

#[test]
fn omega_comes_from_where_it_is_asked_for() {
    let place = Workplace::prepared();
    let file = place.path("omega.init").to_string_lossy().into_owned();
    let data = place.path("data").to_string_lossy().into_owned();
    let profile = succeed(&mut omega(&[&["profile", &data, "--out", &file], crate::TINY].concat()));
    let table = text(&profile.stdout);
    assert!(table.starts_with("encoder") && table.contains("cross-attention"), "{table}");
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 5, "2 encoder and 3 decoder sublayers");
    assert!(lines.starts_with("1 1.0\n2 "), "{lines}");
    // Training by itself finds the same, and takes them from the file.
    let flags = ["--max-update", "2"];
    succeed(&mut place.train("profiled", &flags));
    succeed(&mut place.train("file", &[&flags[..], &["--omega", &file]].concat()));
    assert_eq!(place.read("profiled/profile.ratio.init"), lines.as_bytes());
    assert_eq!(place.read("profiled/checkpoint_last.safetensors"), place.read("file/checkpoint_last.safetensors"));
    succeed(&mut place.train("analytic", &[&flags[..], &["--omega", "analytic"]].concat()));
    let analytic = String::from_utf8(place.read("analytic/profile.ratio.init")).unwrap();
    assert!(analytic.starts_with("1 1.3155675\n"), "√(3/ln 3 − 1) in an encoder of two sublayers, got {analytic}");
}

#[test]
fn a_configuration_reads_back_and_typed_flags_win() {
    let place = Workplace::prepared();
    succeed(&mut place.train("first", &["--max-update", "2", "--lr", "0.003"]));
    let config = place.path("first/config.toml").to_string_lossy().into_owned();
    let run = |name: &str| place.path(name).to_string_lossy().into_owned();
    succeed(&mut omega(&["train", "--config", &config, "--save-dir", &run("same")]));
    assert_eq!(place.read("same/checkpoint_last.safetensors"), place.read("first/checkpoint_last.safetensors"));
    assert_eq!(place.read("same/config.toml"), place.read("first/config.toml"));
    succeed(&mut omega(&["train", "--config", &config, "--save-dir", &run("other"), "--lr", "0.001"]));
    assert_ne!(place.read("other/checkpoint_last.safetensors"), place.read("first/checkpoint_last.safetensors"));
    // A run folder alone says all that is needed to go on.
    succeed(&mut omega(&["train", "--save-dir", &run("first"), "--max-update", "4"]));
    assert_eq!(place.log("first").last().unwrap()["update"], 4);
}
