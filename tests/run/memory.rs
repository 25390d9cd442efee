//! `--dry-run` and `--recompute`: what a run is said to need, and what it takes.

use crate::{Workplace, omega, succeed, text};

/// The number before `MiB` on the line that holds `words`.
fn mebibytes(said: &str, words: &str) -> f64 {
    let line = said.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no `{words}` in\n{said}"));
    let fields: Vec<&str> = line.split_whitespace().collect();
    let unit = fields.iter().position(|field| field.starts_with("MiB")).unwrap();
    fields[unit - 1].parse().unwrap()
}

/// A deep, narrow model: most of its memory is activations. Measured: the same to the tenth of a MiB.
#[test]
fn a_run_takes_what_the_dry_run_says_and_recomputing_less_of_it() {
    let place = Workplace::prepared();
    #[rustfmt::skip]
    let flags = [
        "--max-update", "8", "--encoder-layers", "12", "--decoder-layers", "6", "--dropout", "0.1", "--d-model", "32",
        "--max-tokens", "512", "--bleu-sentences", "0", "--samples", "0",
    ];
    let both = [("kept", None), ("recomputed", Some("--recompute"))].map(|(run, flag)| {
        let flags: Vec<&str> = flags.into_iter().chain(flag).collect();
        let output = succeed(&mut place.train(run, &[&flags[..], &["--dry-run"]].concat()));
        assert!(!place.path(run).exists(), "a dry run writes nothing");
        let promised = mebibytes(&text(&output.stdout), "at the highest point");
        let taken = mebibytes(&text(&succeed(&mut place.train(run, &flags)).stderr), "at the highest point");
        println!("{run}: {promised} MiB promised, {taken} taken");
        assert!((promised - taken).abs() <= 0.05 * taken, "{run}: {promised} MiB promised, {taken} taken");
        (taken, place.read(&format!("{run}/checkpoint_last.safetensors")))
    });
    assert!(both[1].0 < 0.5 * both[0].0, "{} and {} MiB", both[0].0, both[1].0);
    assert!(both[0].1 == both[1].1, "recomputing changed the parameters");
}

/// The pass that finds ω is in f32 and keeps what recomputing does not: the dry run has it at the first batch too, which is
/// not the largest one, and before there is an optimiser.
#[test]
fn the_profiling_pass_is_counted_at_its_own_batch() {
    let place = Workplace::prepared();
    #[rustfmt::skip]
    let flags = [
        "--max-update", "12", "--encoder-layers", "30", "--decoder-layers", "3", "--d-model", "32", "--ffn", "64",
        "--max-tokens", "300", "--bleu-sentences", "0", "--samples", "0", "--fp16", "--recompute",
    ];
    let said = text(&succeed(&mut place.train("run", &[&flags[..], &["--dry-run"]].concat())).stdout);
    let promised = mebibytes(&said, "at the highest point");
    let taken = mebibytes(&text(&succeed(&mut place.train("run", &flags)).stderr), "at the highest point");
    println!("{promised} MiB promised, {taken} taken");
    assert!((promised - taken).abs() <= 0.05 * taken, "{promised} MiB promised, {taken} taken");
}

#[test]
fn a_dry_run_needs_no_run_folder_and_checks_all_flags() {
    let place = Workplace::prepared();
    let data = place.path("data").to_string_lossy().into_owned();
    let said = text(&succeed(&mut omega(&["train", &data, "--dry-run", "--fp16"])).stdout);
    for part in ["parameters", "2-byte copy", "optimiser state", "activations", "80 GiB"] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    let output = omega(&["train", &data, "--dry-run", "--heads", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = omega(&["train", &data, "--dry-run", "--fp16", "--bf16"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).contains("--fp16 and --bf16")), (Some(2), true));
}
