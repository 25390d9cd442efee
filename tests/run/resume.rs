//! Whole runs to the bit: repeated, on other numbers of threads, stopped and resumed, killed and resumed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bad_input::fail;
use crate::{Workplace, omega, succeed, text};

#[rustfmt::skip]
const FLAGS: &[&str] = &[
    "--max-update", "40", "--log-interval", "5", "--save-interval-updates", "3", "--validate-interval-updates", "16",
    "--dropout", "0.1", "--update-freq", "2", "--lr", "0.01", "--clip-norm", "2",
];

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let place = Workplace::prepared();
    for (run, threads) in [("one", "1"), ("two", "2"), ("five", "5")] {
        succeed(place.train(run, FLAGS).env("RAYON_NUM_THREADS", threads));
    }
    for file in ["checkpoint_last.safetensors", "checkpoint_best.safetensors", "checkpoint_last.json"] {
        let one = place.read(&format!("one/{file}"));
        assert_eq!(one, place.read(&format!("two/{file}")), "{file}");
        assert_eq!(one, place.read(&format!("five/{file}")), "{file}");
    }
    succeed(&mut place.train("seed", &[FLAGS, &["--seed", "2"]].concat()));
    assert_ne!(place.read("one/checkpoint_last.safetensors"), place.read("seed/checkpoint_last.safetensors"));
}

/// Waits until `run` has logged update `update`.
pub fn wait_for(place: &Workplace, run: &str, update: u64, child: &mut Child) {
    let began = Instant::now();
    let reached = || {
        let text = std::fs::read_to_string(place.path(&format!("{run}/log.jsonl"))).unwrap_or_default();
        text.contains(&format!("{{\"update\":{update},"))
    };
    while !reached() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before update {update}");
        assert!(began.elapsed() < Duration::from_secs(120), "update {update} never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A log without the speeds, which no two runs share.
pub fn log(place: &Workplace, run: &str) -> Vec<serde_json::Value> {
    let mut log = place.log(run);
    for record in &mut log {
        let record = record.as_object_mut().unwrap();
        record.retain(|key, _| !key.ends_with("_per_s"));
    }
    log
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let place = Workplace::prepared();
    succeed(&mut place.train("whole", FLAGS));
    for update in [5, 20, 35] {
        let mut child = place.train("killed", FLAGS).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place, "killed", update, &mut child);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
    }
    let resumed = succeed(&mut place.train("killed", FLAGS));
    assert!(text(&resumed.stderr).contains("resumed after update"), "{}", text(&resumed.stderr));
    for file in ["checkpoint_last.safetensors", "checkpoint_best.safetensors"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{file}");
    }
    assert_eq!(log(&place, "whole"), log(&place, "killed"));
}

/// While a run is trained its folder can be read, and no other trainer gets in; a killed one keeps nobody out.
#[test]
fn one_trainer_per_folder() {
    let place = Workplace::prepared();
    let endless = ["--log-interval", "1", "--save-interval-updates", "1", "--max-update", "1000000"];
    let mut first = place.train("run", &endless).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&place, "run", 2, &mut first);
    fail(&mut place.train("run", &endless), 1, &["run: another `omega train` is at work in this run folder"]);
    let run = place.path("run").to_string_lossy().into_owned();
    succeed(&mut omega(&["inspect", &run]));
    succeed(&mut omega(&["translate", &run, "--device", "soft"]));
    first.kill().unwrap(); // SIGKILL
    first.wait().unwrap();
    succeed(&mut place.train("run", &["--max-update", "1"]));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on_to_the_same_bytes() {
    let place = Workplace::prepared();
    succeed(&mut place.train("whole", FLAGS));
    let mut child = place.train("stopped", FLAGS).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place, "stopped", 10, &mut child);
    succeed(Command::new("kill").args(["-INT", &child.id().to_string()]));
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped and saved after update"), "{said}");
    succeed(&mut place.train("stopped", FLAGS));
    assert_eq!(place.read("whole/checkpoint_last.safetensors"), place.read("stopped/checkpoint_last.safetensors"));
    assert_eq!(log(&place, "whole"), log(&place, "stopped"));
}

/// The moments of each optimiser are in the checkpoint, with the number of the update that bias corrections count.
#[test]
fn every_optimiser_goes_on_to_the_same_bytes() {
    let place = Workplace::prepared();
    for kind in ["adam", "radam", "novograd"] {
        #[rustfmt::skip]
        let flags = [
            "--optimizer", kind, "--lr", "0.01", "--warmup-updates", "4", "--validate-interval-updates", "7",
            "--log-interval", "7", "--weight-decay", "0.01", "--max-update",
        ];
        let run = |name: &str, last: &str| succeed(&mut place.train(name, &[&flags[..], &[last]].concat()));
        let (whole, parts) = (format!("{kind}-whole"), format!("{kind}-parts"));
        run(&whole, "14");
        run(&parts, "7");
        let half = place.read(&format!("{parts}/checkpoint_last.safetensors"));
        run(&parts, "14");
        let [whole, parts] = [whole, parts].map(|name| place.read(&format!("{name}/checkpoint_last.safetensors")));
        assert!(whole == parts && half != parts, "{kind}");
    }
    let output = place.train("adam-whole", &["--optimizer", "novograd", "--max-update", "15"]).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("no tensor `novograd_m.") && said.contains("that it began with"), "{said}");
}

/// With DATA or without, from any folder; what is typed is said to change, and with nothing left to do nothing does.
#[test]
fn a_run_keeps_its_settings_and_says_what_changes() {
    let place = Workplace::prepared();
    let run = place.path("run").to_string_lossy().into_owned();
    let flags = ["--save-dir", &run, "--max-update", "4", "--lr", "0.003", "--warmup-updates", "2"];
    let relative = [&["train", "data"], crate::TINY, &flags].concat();
    succeed(omega(&relative).current_dir(place.path("")));
    let config = place.read("run/config.toml");
    let again = |flags: &[&str]| text(&succeed(&mut omega(&[&["train", "--save-dir", &run], flags].concat())).stderr);
    let said = again(&["--lr", "0.5", "--optimizer", "radam", "--dropout", "0"]);
    for line in ["  lr 0.003 → 0.5\n", "  optimizer adam → radam\n", "  dropout 0.1 → 0.0\n"] {
        assert!(said.contains(line), "no {line:?} in\n{said}");
    }
    assert!(said.contains("nothing left to do: 4 updates are done, and --max-update 4 is reached"), "{said}");
    assert_eq!(said.matches(" → ").count(), 3, "{said}");
    assert_eq!(place.read("run/config.toml"), config);

    let said = again(&["--max-update", "6"]);
    assert!(said.contains("  max-update 4 → 6\n") && said.matches(" → ").count() == 1, "{said}");
    let data = place.path("data").to_string_lossy().into_owned();
    let said = text(&succeed(&mut omega(&["train", &data, "--save-dir", &run, "--max-update", "8"])).stderr);
    assert!(said.contains("  max-update 6 → 8\n") && said.matches(" → ").count() == 1, "{said}");
    let kept = text(&place.read("run/config.toml"));
    assert_eq!(kept, text(&config).replace("max-update = 4", "max-update = 8"));
    fail(&mut omega(&["train", "--save-dir", &run, "--arch", "wmt"]), 1, &["is of another shape"]);

    // A run that has no checkpoint has not begun: what it was tried with is no setting of the next try.
    std::fs::create_dir(place.path("died")).unwrap();
    std::fs::write(place.path("died/config.toml"), &config).unwrap();
    succeed(&mut place.train("died", &["--max-update", "2", "--lr", "0.004"]));
    let tried = text(&place.read("died/config.toml"));
    assert!(tried.contains("lr = 0.004") && !tried.contains("warmup-updates = 2\n"), "{tried}");
}

/// A learning rate that moves nothing: the first validation is the best, and the third ends a patience of two, also when
/// the run was stopped between them.
#[test]
fn patience_ends_a_run_and_survives_a_stop() {
    let place = Workplace::prepared();
    #[rustfmt::skip]
    let flags = [
        "--lr", "1e-30", "--warmup-updates", "1", "--warmup-init-lr", "0", "--weight-decay", "0", "--dropout", "0",
        "--validate-interval-updates", "2", "--patience", "2", "--log-interval", "1",
    ];
    let until = |run: &str, most: &str| place.train(run, &[&flags[..], &["--max-update", most]].concat());
    let said = text(&succeed(&mut until("whole", "40")).stderr);
    assert!(said.contains("--patience is at its end") && said.contains("done: 6 updates"), "{said}");
    succeed(&mut until("stopped", "4"));
    succeed(&mut until("stopped", "40"));
    let last = |run: &str| place.read(&format!("{run}/checkpoint_last.safetensors"));
    assert!(last("whole") == last("stopped"), "a stop changed the run");
    let said = text(&succeed(&mut until("whole", "40")).stderr);
    assert!(said.contains("nothing left to do: 6 updates"), "{said}");
    let refused = place.train("none", &["--patience", "0"]).output().unwrap();
    assert!(refused.status.code() == Some(2) && text(&refused.stderr).contains("--patience"), "{refused:?}");
}

/// A model that has diverged is neither the best nor what the run goes on from, and no others are lost to it.
#[test]
fn a_diverged_model_takes_nobody_s_place() {
    let place = Workplace::prepared();
    let flags =
        ["--keep-best", "2", "--validate-interval-updates", "3", "--best-metric", "bleu", "--bleu-sentences", "2"];
    succeed(&mut place.train("run", &[&flags[..], &["--max-update", "6"]].concat()));
    let files = ["checkpoint_last", "checkpoint_best", "checkpoint_best_3", "checkpoint_best_6"];
    let read = || files.map(|name| place.read(&format!("run/{name}.safetensors")));
    let before = read();
    let wild =
        [&flags[..], &["--max-update", "7", "--lr", "1e30", "--clip-norm", "0", "--warmup-updates", "0"]].concat();
    fail(&mut place.train("run", &wild), 1, &["validation loss after update 7 is", "nothing is saved"]);
    assert!(read() == before);
    succeed(&mut place.train("run", &[&flags[..], &["--max-update", "9", "--lr", "1e-4"]].concat()));
}

/// Somebody else's config.toml or log.jsonl stays as it is; other files are in nobody's way, nor is what a run left that died.
#[test]
fn a_new_run_takes_over_no_strangers_files() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let (config, log) = (text(&place.read("run/config.toml")), text(&place.read("run/log.jsonl")));
    let write = |name: &str, text: &str| std::fs::write(place.path(&format!("new/{name}")), text).unwrap();
    let new = place.path("new").to_string_lossy().into_owned();
    std::fs::create_dir(&new).unwrap();
    write("notes.txt", "mine");
    let strangers = [
        ("config.toml", "[server]\nport = 80\n", None),
        ("config.toml", "max-tokens = 64 # mine\n", None),
        ("log.jsonl", "{\"time\": 1}\n", None),
        ("log.jsonl", &log, None), // of no run that was here
        ("log.jsonl", "{\"time\": 1}\n{\"update\": 1, \"epoch\": 1}\n", Some(&config)),
    ];
    for (name, content, settings) in strangers {
        if let Some(settings) = settings {
            write("config.toml", settings);
        }
        write(name, content);
        let why = format!("new/{name}: omega did not write it for a run here");
        fail(&mut place.train("new", &["--max-update", "2"]), 1, &[&why]);
        fail(&mut place.train("new", &["--dry-run"]), 1, &[&why]);
        fail(&mut omega(&["train", "--save-dir", &new]), 1, &[&why]);
        assert_eq!(text(&place.read(&format!("new/{name}"))), content);
        std::fs::remove_file(place.path(&format!("new/{name}"))).unwrap();
    }
    write("config.toml", &config);
    write("log.jsonl", &format!("{log}{{\"upd"));
    succeed(&mut place.train("new", &["--max-update", "2"]));
    assert!(place.read("new/checkpoint_last.safetensors") == place.read("run/checkpoint_last.safetensors"));
    assert!(place.log("new").len() == place.log("run").len() && text(&place.read("new/notes.txt")) == "mine");
}

/// What lies in a folder without a last checkpoint is not a run to be begun again, nor a place for another.
#[test]
fn a_folder_with_models_is_no_place_for_a_new_run() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    std::fs::remove_file(place.path("run/checkpoint_last.safetensors")).unwrap();
    let best = place.read("run/checkpoint_best.safetensors");
    let why = ["checkpoint_best.safetensors: a model lies here, and no checkpoint_last"];
    fail(&mut place.train("run", &["--max-update", "4"]), 1, &why);
    let from = place.path("run").to_string_lossy().into_owned();
    fail(&mut place.train("run", &["--finetune-from-model", &from]), 1, &why);
    assert!(place.read("run/checkpoint_best.safetensors") == best);
    succeed(&mut place.train("other", &["--max-update", "2", "--finetune-from-model", &from]));
}
