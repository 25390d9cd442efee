//! `--finetune-from-model`: a run that begins with the parameters of another, and nothing else of it.

use std::fs;

use omega::checkpoint::Checkpoint;
use serde_json::Value;

use crate::bad_input::fail;
use crate::{Workplace, omega, succeed, text};

const SOURCE: &[&str] = &["--max-update", "8", "--validate-interval-updates", "4", "--lr", "0.01"];

/// `run`, with `flags`, from the last checkpoint of `source`.
fn finetune(place: &Workplace, source: &str, run: &str, flags: &[&str]) -> std::process::Command {
    let from = place.path(&format!("{source}/checkpoint_last.safetensors")).to_string_lossy().into_owned();
    place.train(run, &[&["--finetune-from-model", &from], flags].concat())
}

fn parameters(place: &Workplace, file: &str) -> Vec<omega::checkpoint::NamedTensor> {
    Checkpoint::open(&place.path(file)).unwrap().parameters().unwrap()
}

/// A learning rate of nothing leaves the parameters as they were: the first validation is the source's last one. Update,
/// epoch, scale of the loss and learning rate are those of a new run.
#[test]
fn a_finetuned_run_begins_where_the_other_ended() {
    let place = Workplace::prepared();
    for (name, numbers) in [("f32", &[][..]), ("f16", &["--fp16", "--fp16-scale-window", "2"])] {
        let (source, run) = (format!("{name}-source"), format!("{name}-run"));
        succeed(&mut place.train(&source, &[SOURCE, numbers].concat()));
        #[rustfmt::skip]
        let still = [
            "--lr", "0", "--warmup-updates", "1", "--warmup-init-lr", "0", "--validate-interval-updates", "1",
            "--max-update", "1", "--log-interval", "1",
        ];
        let said = text(&succeed(&mut finetune(&place, &source, &run, &[&still, numbers].concat())).stderr);
        assert!(said.contains("nothing is profiled") && !said.contains("profiled on the first batch"), "{said}");
        let valid = |run: &str| place.log(run).into_iter().rfind(|record| record.get("valid_loss").is_some()).unwrap();
        let (theirs, ours) = (valid(&source), valid(&run));
        for key in ["valid_loss", "valid_nll", "valid_bleu"] {
            assert_eq!(theirs[key], ours[key], "{name}: {key}");
        }
        let last = |run: &str| format!("{run}/checkpoint_last.safetensors");
        assert!(parameters(&place, &last(&source)) == parameters(&place, &last(&run)), "{name}: other parameters");
        let state: Value = serde_json::from_slice(&place.read(&format!("{run}/checkpoint_last.json"))).unwrap();
        assert_eq!((&state["update"], &state["epoch"], &state["micro_batch"]), (&1.into(), &1.into(), &1.into()));
        assert_eq!(ours["best"], true, "{name}: a score of the source was kept");
        if name == "f16" {
            let scale = |run: &str| place.log(run).iter().filter_map(|r| r["loss_scale"].as_f64()).next_back().unwrap();
            let source: Value = serde_json::from_slice(&place.read(&format!("{source}/checkpoint_last.json"))).unwrap();
            assert!(source["scaler"]["scale"].as_f64() > Some(128.0), "{source}");
            assert_eq!(scale(&run), 128.0);
        }
        assert!(!place.path(&run).join("profile.ratio.init").exists(), "nothing was profiled");
    }
}

/// The configuration remembers where a run began, and its own checkpoint comes first: what it began with may be gone.
#[test]
fn a_finetuned_run_goes_on_without_what_it_began_with() {
    let place = Workplace::prepared();
    succeed(&mut place.train("source", SOURCE));
    let flags = ["--validate-interval-updates", "5", "--lr", "0.003", "--max-update"];
    let until = |run: &str, last: &str| finetune(&place, "source", run, &[&flags[..], &[last]].concat());
    succeed(&mut until("whole", "12"));
    succeed(&mut until("parts", "5"));
    fs::rename(place.path("source"), place.path("gone")).unwrap();
    let parts = place.path("parts").to_string_lossy().into_owned();
    let said = text(&succeed(&mut omega(&["train", "--save-dir", &parts, "--max-update", "9"])).stderr);
    assert!(said.contains("resumed after update 5"), "{said}");
    succeed(&mut until("parts", "12"));
    for file in ["checkpoint_last.safetensors", "checkpoint_best.safetensors", "config.toml"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("parts/{file}")), "{file}");
    }
    let config = String::from_utf8(place.read("parts/config.toml")).unwrap();
    assert!(config.contains("finetune-from-model = ") && config.contains("source/checkpoint_last"), "{config}");
    succeed(&mut place.train("scratch", &[&flags[..], &["12"]].concat()));
    assert!(place.read("scratch/checkpoint_last.safetensors") != place.read("whole/checkpoint_last.safetensors"));
}

/// A run that has begun goes on from its own checkpoint whatever it is told, and does not write down what it did not use.
#[test]
fn a_run_that_has_begun_takes_no_other_model() {
    let place = Workplace::prepared();
    succeed(&mut place.train("source", SOURCE));
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let resumed = |flags: &[&str]| text(&succeed(&mut finetune(&place, "source", "run", flags)).stderr);
    let unused = |said: &str| {
        let mut lines = said.lines().filter(|line| line.contains("--finetune-from-model"));
        let why = "checkpoint_last.safetensors is not used: this run has begun, and goes on from its own checkpoint";
        assert!(lines.clone().count() == 1 && lines.next_back().unwrap().ends_with(why), "{said}");
        assert!(!said.contains("finetune-from-model none → "), "{said}");
    };
    unused(&resumed(&["--max-update", "3"]));
    assert!(!text(&place.read("run/config.toml")).contains("finetune-from-model"));
    unused(&resumed(&["--max-update", "4", "--dry-run"]));
    // Nor does another take the place of the one that it began with.
    succeed(&mut finetune(&place, "source", "tuned", &["--max-update", "2"]));
    let run = place.path("run").to_string_lossy().into_owned();
    let said = text(&succeed(&mut place.train("tuned", &["--max-update", "3", "--finetune-from-model", &run])).stderr);
    assert!(said.contains("/run is not used: ") && !said.contains("\n  finetune"), "{said}");
    assert!(text(&place.read("tuned/config.toml")).contains("source/checkpoint_last"));
}

/// What is refused for a new run does not keep one of an earlier version, which took it, from going on.
#[test]
fn a_run_with_settings_that_nothing_read_goes_on() {
    let place = Workplace::prepared();
    succeed(&mut place.train("source", SOURCE));
    succeed(&mut finetune(&place, "source", "run", &["--max-update", "2"]));
    let config = text(&place.read("run/config.toml"));
    let unread = config.replace("min-lr = 0.0", "min-lr = 1e-9").replace("omega = \"profile\"", "omega = \"analytic\"");
    let unread = unread.replace("init = \"xavier\"", "init = \"looks-linear\"");
    assert_eq!(config.lines().zip(unread.lines()).filter(|(a, b)| a != b).count(), 3);
    fs::write(place.path("run/config.toml"), unread).unwrap();
    let run = place.path("run").to_string_lossy().into_owned();
    succeed(&mut omega(&["analyze", "gradients", &run]));
    succeed(&mut omega(&["train", "--save-dir", &run, "--max-update", "3"]));
    assert_eq!(text(&place.read("run/config.toml")), config.replace("max-update = 2", "max-update = 3"));
}

/// Other text, prepared with the run's tokenizer, has its dictionary; a run folder stands for its best checkpoint.
#[test]
fn new_text_takes_the_tokenizer_of_the_run() {
    let place = Workplace::prepared();
    succeed(&mut place.train("source", SOURCE));
    for language in ["de", "en"] {
        let new = String::from_utf8(place.read(&format!("text/train.{language}"))).unwrap().replace("Hund", "Rabe");
        fs::write(place.path(&format!("text/new.{language}")), new).unwrap();
    }
    let [tokenizer, new, run, source] =
        ["source/tokenizer.json", "new", "run", "source"].map(|name| place.path(name).to_string_lossy().into_owned());
    succeed(&mut place.prepare("text/new", "text/valid", "own"));
    succeed(&mut place.prepare_with(&["--tokenizer", &tokenizer], "text/new", "text/valid", "new"));
    let train = |data: &str| {
        let flags = ["--finetune-from-model", &source, "--save-dir", &run, "--max-update", "2"];
        omega(&[&["train", data], crate::TINY, &flags].concat())
    };
    let own = place.path("own").to_string_lossy().into_owned();
    fail(&mut train(&own), 1, &["source/dict.en.txt is not the dictionary of", "own: ", " there, ", " here"]);
    let said = text(&succeed(&mut train(&new)).stderr);
    assert!(!said.contains("warning"), "{said}");
    // The ids mean the same; how other text is split is the new run's own affair.
    fs::remove_file(place.path("new/tokenizer.json")).unwrap();
    fs::remove_dir_all(place.path("run")).unwrap();
    let said = text(&succeed(&mut train(&new)).stderr);
    assert!(said.contains("new has another tokenizer than"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused_and_named() {
    let place = Workplace::prepared();
    succeed(&mut place.train("source", SOURCE));
    let source = place.path("source").to_string_lossy().into_owned();
    let refused = |flags: &[&str], what: &[&str]| {
        fail(&mut finetune(&place, "source", "run", flags), 1, what);
        assert!(!place.path("run").exists(), "{what:?}: half a run");
    };
    #[rustfmt::skip]
    let shapes: &[(&[&str], &[&str])] = &[
        (&["--encoder-layers", "2"], &["checkpoint_last.safetensors has another architecture: --encoder-layers is 1 there, 2 here"]),
        (&["--d-model", "32", "--ffn", "48"], &["--d-model is 16 there, 32 here; --ffn is 32 there, 48 here"]),
        (&["--heads", "1"], &["--heads is 2 there, 1 here"]),
        (&["--residual", "post-ln"], &["--residual is admin there, post-ln here"]),
        (&["--keep-first-omega-one"], &["--keep-first-omega-one"]),
    ];
    for (flags, what) in shapes {
        refused(flags, what);
        refused(&[flags, &["--dry-run"][..]].concat(), what);
    }
    // ω may be frozen from here on.
    succeed(&mut finetune(&place, "source", "frozen", &["--omega-frozen", "--max-update", "1"]));
    let data = place.path("data").to_string_lossy().into_owned();
    fail(&mut omega(&["profile", &data, "--finetune-from-model", &source]), 2, &["nothing is profiled"]);
    let plain = place.path("plain").to_string_lossy().into_owned();
    succeed(&mut omega(&["export", &source, "--to", "plain", "--out", &plain]));
    let from = ["--finetune-from-model", &plain, "--residual", "post-ln"];
    fail(&mut place.train("run", &from), 1, &["its tables are separate"]);

    let (dictionary, whole) = (place.path("source/dict.en.txt"), place.read("source/checkpoint_last.safetensors"));
    let lines = fs::read_to_string(&dictionary).unwrap();
    let (first, rest) = lines.split_once('\n').unwrap();
    let (second, rest) = rest.split_once('\n').unwrap();
    let symbol = |line: &str| line.split_once(' ').unwrap().0.to_owned();
    fs::write(&dictionary, format!("{second}\n{first}\n{rest}")).unwrap();
    refused(&[], &["dict.en.txt", &format!("symbol 4 is `{}` there, `{}` here", symbol(second), symbol(first))]);
    for file in ["data/dict.de.txt", "data/dict.en.txt"] {
        fs::copy(&dictionary, place.path(file)).unwrap(); // both are wrong then, and the checkpoint knows
    }
    refused(&[], &["source/dict.en.txt is not the dictionary that", "checkpoint_last.safetensors was trained with"]);
    for file in ["data/dict.de.txt", "data/dict.en.txt"] {
        fs::write(place.path(file), &lines).unwrap();
    }
    fs::write(&dictionary, format!("{lines}more 1\n")).unwrap();
    refused(&[], &["dict.en.txt", " symbols there, "]);
    fs::remove_file(&dictionary).unwrap();
    refused(&[], &["cannot read", "source/dict.en.txt"]);
    fs::write(&dictionary, lines).unwrap();
    for cut in [0, 100, whole.len() - 1] {
        fs::write(place.path("source/checkpoint_last.safetensors"), &whole[..cut]).unwrap();
        refused(&[], &["source/checkpoint_last.safetensors", "not a whole safetensors file"]);
    }
    fs::remove_file(place.path("source/checkpoint_last.safetensors")).unwrap();
    refused(&[], &["cannot read", "source/checkpoint_last.safetensors"]);
}
