//! Which checkpoints a run keeps, their mean, and what `omega inspect` says of them.

use std::path::Path;
use std::process::Stdio;

use omega::checkpoint::Checkpoint;
use serde_json::Value;

use crate::bad_input::fail;
use crate::resume::{log, wait_for};
use crate::{Workplace, names, omega, succeed, text};

fn models(place: &Workplace, run: &str) -> Vec<String> {
    let found = names(&place.path(run)).into_iter();
    found.filter_map(|name| name.strip_suffix(".safetensors").map(str::to_owned)).collect()
}

/// An epoch of the test's text has 18 updates at these sizes.
const KEEP: &[&str] = &[
    "--max-epoch",
    "4",
    "--keep-last-epochs",
    "2",
    "--keep-best",
    "2",
    "--save-interval-updates",
    "10",
    "--keep-interval-updates",
    "3",
    "--best-metric",
    "nll",
    "--lr",
    "0.01",
    "--warmup-updates",
    "10",
];

#[test]
fn a_run_keeps_what_is_asked_for_also_when_it_was_stopped() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", KEEP));
    let kept = models(&place, "run");
    let updates = place.log("run").iter().filter_map(|r| r["update"].as_u64()).max().unwrap();
    let per_epoch = updates / 4;
    assert_eq!(updates % 4, 0, "four epochs of the same length");
    let interval = |back: u64| {
        let update = updates / 10 * 10 - 10 * back;
        format!("checkpoint_{}_{update}", update.div_ceil(per_epoch))
    };
    let mut expected = vec!["checkpoint3".to_owned(), "checkpoint4".to_owned(), interval(0), interval(1), interval(2)];
    expected.extend(["checkpoint_best".to_owned(), "checkpoint_last".to_owned()]);
    // The two validations with the lowest nll.
    let mut scores: Vec<(f64, u64)> =
        place.log("run").iter().filter_map(|r| Some((r["valid_nll"].as_f64()?, r["update"].as_u64()?))).collect();
    assert_eq!(scores.len(), 4);
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    expected.extend(scores[..2].iter().map(|(_, update)| format!("checkpoint_best_{update}")));
    expected.sort();
    assert_eq!(kept, expected);
    let jsons =
        names(&place.path("run")).into_iter().filter(|name| name.starts_with("checkpoint") && name.ends_with(".json"));
    assert_eq!(jsons.count(), kept.len(), "no .json without its checkpoint");
    // Stopped after each epoch and in the middle, it leaves the same files with the same bytes.
    for (epoch, update) in [("1", "1000"), ("4", "25"), ("3", "1000")] {
        let mut flags = KEEP.to_vec();
        flags[1] = epoch;
        flags.extend(["--max-update", update]);
        succeed(&mut place.train("parts", &flags));
    }
    let mut flags = KEEP.to_vec();
    let most = updates.to_string();
    flags.extend(["--max-update", &most]);
    succeed(&mut place.train("parts", &flags));
    for name in ["checkpoint4", "checkpoint_last"] {
        let open = |run: &str| Checkpoint::open(&place.path(&format!("{run}/{name}.safetensors"))).unwrap();
        assert!(open("parts").parameters().unwrap() == open("run").parameters().unwrap(), "{name}");
    }
    average_is_the_mean(&place, &kept);
    inspection(&place, updates);
}

fn average_is_the_mean(place: &Workplace, kept: &[String]) {
    let run = place.path("run").to_string_lossy().into_owned();
    let parameters = |name: &str| Checkpoint::open(&place.path("run").join(name)).unwrap().parameters().unwrap();
    succeed(&mut omega(&["average", &run, "--last", "2"]));
    let (a, b) = (parameters("checkpoint3.safetensors"), parameters("checkpoint4.safetensors"));
    for ((mean, a), b) in parameters("checkpoint_average.safetensors").iter().zip(&a).zip(&b) {
        for ((mean, a), b) in mean.data.iter().zip(&a.data).zip(&b.data) {
            assert_eq!(*mean, ((f64::from(*a) + f64::from(*b)) / 2.0) as f32);
        }
    }
    let out = place.path("mean.safetensors").to_string_lossy().into_owned();
    for flags in [&["--last", "1", "--upper-epoch", "3"][..], &["--best", "2"], &["--last-updates", "3"]] {
        let said = text(&succeed(omega(&["average", &run, "--out", &out]).args(flags)).stderr);
        let count = said.lines().filter(|line| line.starts_with("  ")).count();
        assert_eq!(count, flags[1].parse::<usize>().unwrap(), "{said}");
        let mean =
            if count == 1 { "the mean of 1 checkpoint;".to_owned() } else { format!("mean of {count} checkpoints;") };
        assert!(said.contains(&mean), "{said}");
        assert!(said.contains("checkpoint3") == flags.contains(&"--upper-epoch"), "{said}");
    }
    // One checkpoint is its own mean.
    let one = place.path("run/checkpoint4.safetensors").to_string_lossy().into_owned();
    succeed(&mut omega(&["average", &one, &one, "--out", &out]));
    assert!(Checkpoint::open(Path::new(&out)).unwrap().parameters().unwrap() == b);
    succeed(&mut omega(&[
        "translate",
        &place.path("run/checkpoint_average.safetensors").to_string_lossy(),
        "--device",
        "soft",
    ]));
    // What cannot be averaged.
    assert!(kept.len() > 5);
    fail(&mut omega(&["average", &run]), 2, &["--last N"]);
    fail(&mut omega(&["average", &run, "--last", "3"]), 1, &["--last 3, and there are 2"]);
    fail(&mut omega(&["average", &run, "--best", "9"]), 1, &["--best 9, and there are 2"]);
    fail(&mut omega(&["average", &run, "--last", "1", "--best", "1"]), 2, &["--last", "--best"]);
    fail(&mut omega(&["average", &run, "--last", "2", "--out", "x.bin"]), 2, &["x.bin", ".safetensors"]);
    fail(&mut omega(&["average", &one]), 2, &["--out"]);
    fail(&mut omega(&["average", "none", "--out", "x.safetensors"]), 1, &["none"]);
    succeed(&mut place.train("wide", &["--max-update", "1", "--ffn", "40"]));
    let wide = place.path("wide/checkpoint_last.safetensors").to_string_lossy().into_owned();
    fail(&mut omega(&["average", &one, &wide, "--out", &out]), 1, &["wide/checkpoint_last", "another shape"]);
}

fn inspection(place: &Workplace, updates: u64) {
    let run = place.path("run").to_string_lossy().into_owned();
    let said = text(&succeed(&mut omega(&["inspect", &run])).stdout);
    for words in ["admin, 1+1 layers", "de to en", "encoder: ", "validation nll", "checkpoint_average", "mean of 2"] {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
    let long: Vec<&str> = said.lines().filter(|line| line.chars().count() > 80 && !line.starts_with("shown")).collect();
    assert!(long.iter().all(|line| line.starts_with("data")), "{long:?}");
    let json = text(&succeed(&mut omega(&["inspect", &run, "--json"])).stdout);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["update"].as_u64(), Some(updates));
    assert_eq!(json["omega"][0]["means"].as_array().map(Vec::len), Some(2));
    assert!(json["checkpoints"].as_array().is_some_and(|all| all.len() == 10), "{json}");
    let file = place.path("run/checkpoint3.safetensors").to_string_lossy().into_owned();
    let said = text(&succeed(&mut omega(&["inspect", &file])).stdout);
    let row = said.lines().find(|line| line.starts_with("checkpoint3.safetensors")).unwrap();
    assert!(said.contains("updates, epoch 3,") && row.split_whitespace().nth(1) == Some("3"), "{said}");
    fail(&mut omega(&["inspect", &place.path("data").to_string_lossy()]), 1, &["no checkpoint_best"]);
    fail(&mut omega(&["inspect", "none"]), 1, &["none"]);
}

/// Killed between updates again and again, a run leaves the same files with the same bytes, also where validations are at
/// other times than the epochs' ends.
#[test]
fn a_killed_run_keeps_the_same_files() {
    let place = Workplace::prepared();
    for (run, more) in [("at-ends", &[][..]), ("between", &["--validate-interval-updates", "7"])] {
        let flags = [KEEP, more, &["--log-interval", "5"]].concat();
        let killed = format!("{run}-killed");
        succeed(&mut place.train(run, &flags));
        for update in [15, 30, 45, 55] {
            let mut child = place.train(&killed, &flags).stderr(Stdio::null()).spawn().unwrap();
            wait_for(&place, &killed, update, &mut child);
            child.kill().unwrap(); // SIGKILL
            child.wait().unwrap();
        }
        succeed(&mut place.train(&killed, &flags));
        assert_eq!(models(&place, run), models(&place, &killed));
        for name in models(&place, run) {
            let of = |run: &str| place.read(&format!("{run}/{name}.safetensors"));
            assert!(of(run) == of(&killed), "{run}: {name}");
        }
        assert_eq!(log(&place, run), log(&place, &killed));
    }
}

#[test]
fn what_is_best_can_be_chosen() {
    let place = Workplace::prepared();
    let flags = [
        "--max-update",
        "40",
        "--validate-interval-updates",
        "10",
        "--lr",
        "0.01",
        "--best-metric",
        "bleu",
        "--keep-best",
        "1",
    ];
    succeed(&mut place.train("run", &flags));
    let best = Checkpoint::open(&place.path("run/checkpoint_best.safetensors")).unwrap().state;
    let log = place.log("run");
    let scores: Vec<(u64, f64)> =
        log.iter().filter_map(|r| Some((r["update"].as_u64()?, r["valid_bleu"].as_f64()?))).collect();
    let most = scores.iter().fold((0, -1.0), |best, score| if score.1 > best.1 { *score } else { best });
    assert_eq!((best.update, best.best), (most.0, Some(most.1)));
    assert!(place.path(&format!("run/checkpoint_best_{}.safetensors", most.0)).exists());
    fail(
        &mut place.train("none", &["--best-metric", "bleu", "--bleu-sentences", "0"]),
        2,
        &["--best-metric bleu", "--bleu-sentences"],
    );
    fail(&mut place.train("none", &["--keep-interval-updates", "2"]), 2, &["--save-interval-updates"]);
}

/// What people were told is best stays when another metric decides, also when it changes back.
#[test]
fn another_best_metric_keeps_the_best_by_the_one_before() {
    let place = Workplace::prepared();
    let until = |last: &str, metric: &str| {
        let flags =
            ["--validate-interval-updates", "2", "--keep-best", "1", "--max-update", last, "--best-metric", metric];
        text(&succeed(&mut place.train("run", &flags)).stderr)
    };
    assert!(!until("4", "nll").contains("kept of those before"), "a new run has none");
    let path = |name: &str| place.path(&format!("run/{name}.safetensors"));
    let best = || Checkpoint::open(&path("checkpoint_best")).unwrap();
    let (by_nll, bytes) = (best().state.update, place.read("run/checkpoint_best.safetensors"));
    let last = place.read("run/checkpoint_last.safetensors");
    until("6", "bleu");
    // As if it had been killed before the state was saved that knows of it.
    std::fs::write(path("checkpoint_last"), last).unwrap();
    std::fs::rename(path(&format!("checkpoint_best_nll_{by_nll}")), path(&format!("checkpoint_best_{by_nll}")))
        .unwrap();
    let said = until("6", "bleu");
    let kept = format!("checkpoint_best_nll_{by_nll}");
    assert!(said.contains(&format!("the best go by BLEU; kept of those before: {kept}.safetensors\n")), "{said}");
    assert!(place.read(&format!("run/{kept}.safetensors")) == bytes && path(&kept).with_extension("json").exists());
    assert!(!path(&format!("checkpoint_best_{by_nll}")).exists(), "under one name");
    let by_bleu = best().state.update;
    assert_eq!((by_bleu, path("checkpoint_best_6").exists()), (6, true));
    until("8", "nll");
    assert!(place.read(&format!("run/{kept}.safetensors")) == bytes && path("checkpoint_best_bleu_6").exists());
    assert_eq!(models(&place, "run").len(), 5, "{:?}", models(&place, "run"));
}

/// A mean takes the place of no part of it, and of nothing that a run writes and goes on from.
#[test]
fn a_mean_takes_no_other_checkpoint_s_place() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "4", "--validate-interval-updates", "2", "--keep-best", "2"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let out = |name: &str| format!("{run}/{name}.safetensors");
    let last = place.read("run/checkpoint_last.safetensors");
    for name in ["checkpoint_last", "checkpoint_best"] {
        let mut average = omega(&["average", &run, "--best", "2", "--out", &out(name)]);
        fail(&mut average, 2, &[name, "a checkpoint of a run is there already"]);
    }
    let parts = [out("checkpoint_best_2"), out("mine")];
    std::fs::copy(&parts[0], &parts[1]).unwrap();
    std::fs::copy(out("checkpoint_best_2").replace("safetensors", "json"), out("mine").replace("safetensors", "json"))
        .unwrap();
    fail(&mut omega(&["average", &parts[0], &parts[1], "--out", &parts[1]]), 2, &["mine.safetensors", "one of the"]);
    assert!(place.read("run/checkpoint_last.safetensors") == last);
    succeed(&mut omega(&["average", &run, "--best", "2"]));
    succeed(&mut omega(&["average", &run, "--best", "2"]));
}

/// The rest is listed, and the best one that can be read is shown and advised.
#[test]
fn a_broken_checkpoint_does_not_hide_the_others() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "4", "--validate-interval-updates", "2", "--keep-best", "2"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let cut = |name: &str| {
        let whole = place.read(&format!("run/{name}.safetensors"));
        std::fs::write(place.path(&format!("run/{name}.safetensors")), &whole[..whole.len() / 2]).unwrap();
    };
    let inspected = |broken: &[&str], advised: &str| {
        let output = omega(&["inspect", &run]).output().unwrap();
        let (listed, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        for name in ["checkpoint_best", "checkpoint_best_2", "checkpoint_best_4", "checkpoint_last"] {
            let row = listed.lines().find(|line| line.starts_with(&format!("{name}.safetensors "))).unwrap();
            assert_eq!(row.ends_with("cannot be read"), broken.contains(&name), "{row}");
        }
        assert!(listed.lines().any(|line| line.starts_with("shown") && line.ends_with(advised)), "{listed}");
        assert!(said.contains("not a whole safetensors file"), "{said}");
        assert!(said.contains(&format!("{advised} is whole: ")), "{said}");
    };
    cut("checkpoint_last");
    inspected(&["checkpoint_last"], "/checkpoint_best.safetensors");
    fail(&mut place.train("run", &["--max-update", "6"]), 1, &["checkpoint_last.safetensors: not a whole"]);
    cut("checkpoint_best");
    inspected(&["checkpoint_last", "checkpoint_best"], "/checkpoint_best_4.safetensors");
    let json = omega(&["inspect", &run, "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let broken = json["checkpoints"].as_array().unwrap().iter().filter(|listed| listed["broken"].is_string());
    assert_eq!(broken.filter(|listed| listed["update"].is_null()).count(), 2, "{json}");
}

/// Also where no validation comes between: an update that throws the parameters out of f32 replaces nothing.
#[test]
fn parameters_that_are_no_numbers_are_never_saved() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "4"]));
    let before = models(&place, "run");
    let bytes = |name: &String| place.read(&format!("run/{name}.safetensors"));
    let saved: Vec<Vec<u8>> = before.iter().map(bytes).collect();
    #[rustfmt::skip]
    let flags = [
        "--max-update", "20", "--lr", "1e30", "--weight-decay", "1e30", "--save-interval-updates", "1",
        "--keep-interval-updates", "2", "--validate-interval-updates", "100",
    ];
    fail(&mut place.train("run", &flags), 1, &["is not finite after update 5: ", "is not written"]);
    assert_eq!(models(&place, "run"), before);
    assert!(before.iter().map(bytes).collect::<Vec<_>>() == saved);
    succeed(&mut place.train("run", &["--max-update", "6", "--lr", "0.001", "--weight-decay", "0"]));
}
