//! What people mistype: said in their terms, with what to do, before any work, and with nothing left behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use omega::checkpoint::{Checkpoint, write};

use crate::{Workplace, names, omega, succeed, text};

/// Runs `command`, which must fail with `code` and say all of `parts`, hints and tips among them.
fn refuse(command: &mut Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{said}");
    for part in parts {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn a_negative_number_reaches_the_check_of_its_flag() {
    let train = |flags: &[&str]| omega(&[&["train", "data", "--save-dir", "run"], flags].concat());
    for number in ["-1", "inf"] {
        let what = format!("--lr {number}: a finite number that is not negative is needed");
        refuse(&mut train(&["--lr", number]), 2, &[&what]);
    }
    for share in ["-0.5", "1"] {
        let what = format!("--dropout {share}: a share from 0 up to, not including, 1 is needed");
        refuse(&mut train(&["--dropout", share]), 2, &[&what]);
    }
    refuse(&mut train(&["--adam-betas", "-1,0.9"]), 2, &["--adam-betas [-1.0, 0.9]: two numbers"]);
    let whole = "a whole number is needed, 0 or more";
    refuse(&mut train(&["--max-update", "-1"]), 2, &["'-1' for '--max-update <N>'", whole]);
    refuse(&mut train(&["--heads", "1.5"]), 2, &["'1.5' for '--heads <N>'", whole]);
    refuse(&mut omega(&["translate", "run", "--beam", "-1"]), 2, &["'-1' for '--beam <N>'", whole]);
    refuse(&mut omega(&["analyze", "depth", "--seeds", "-1"]), 2, &["'-1' for '--seeds <N>'", whole]);
    refuse(&mut train(&["-1"]), 2, &["unexpected argument '-1'"]);
}

#[test]
fn a_file_where_stdin_is_read_is_told_from_other_arguments() {
    refuse(
        &mut omega(&["translate", "run", "test.de"]),
        2,
        &["text comes from standard input: `< test.de`, or `--input test.de`"],
    );
    refuse(&mut omega(&["score", "x.hyp", "--reference", "x.en"]), 2, &["standard input: `< x.hyp`"]);
    let other = text(&omega(&["train", "data", "more"]).output().unwrap().stderr);
    assert!(other.contains("unexpected argument 'more'") && !other.contains("standard input"), "{other}");
}

#[test]
fn flags_that_would_go_unseen_are_refused() {
    let place = Workplace::prepared();
    let train = |flags: [&str; 4]| place.train("run", &[&["--max-update", "2"], &flags[..]].concat());
    refuse(&mut train(["--power", "2", "--lr", "0.1"]), 2, &["--power 2 needs --lr-scheduler poly"]);
    refuse(&mut train(["--min-lr", "1", "--lr", "0.1"]), 2, &["--min-lr 1 is above --lr 0.1"]);
    refuse(
        &mut train(["--min-lr", "1e-9", "--lr", "0.1"]),
        2,
        &["--min-lr 0.000000001 needs --lr-scheduler linear or poly", "hint: leave it out"],
    );
    for [flag, value] in [["--omega", "analytic"], ["--omega", "my.init"], ["--init", "looks-linear"]] {
        let what = format!("{flag} {value} beside --finetune-from-model: it takes every value, ω included, from that");
        refuse(&mut train([flag, value, "--finetune-from-model", "other"]), 2, &[&what, "hint: leave out one"]);
    }
    let tokenizer = shown(&place.path("data/tokenizer.json"));
    let both = ["--tokenizer", &tokenizer];
    refuse(
        place.prepare("text/train", "text/valid", "new").args(both),
        2,
        &["'--vocab-size <N>'", "'--tokenizer <FILE>'"],
    );
    let lengths = ["translate", "run", "--min-len", "30", "--max-len-b", "20"];
    refuse(&mut omega(&lengths), 2, &["--min-len 30 is above the longest output, --max-len-b 20"]);
    let both = ["translate", "run", "--unnormalized", "--lenpen", "2"];
    refuse(&mut omega(&both), 2, &["'--lenpen <X>'", "'--unnormalized'"]);
    refuse(&mut omega(&["translate", "run", "-i", "--scores"]), 2, &["'--interactive'", "'--scores'"]);
    for command in [&["analyze", "omega", "run", "--svg", "x.png"][..], &["translate", "run", "--attention", "x.png"]] {
        refuse(&mut omega(command), 2, &["x.png: pictures are SVG", "hint: let the name end in .svg"]);
    }
}

#[test]
fn where_results_go_is_looked_at_before_the_work() {
    let place = Workplace::prepared();
    fs::write(place.path("file"), "kept").unwrap();
    let data = shown(&place.path("data"));
    // Were the data read first, its absence would be what is told.
    let train =
        |run: &str, data: &str| omega(&["train", data, "--save-dir", &shown(&place.path(run)), "--device", "soft"]);
    refuse(&mut train("file", "none"), 1, &["cannot create the folder", "/file`: "]);
    refuse(&mut train("file/run", "none"), 1, &["cannot create the folder", "file/run"]);
    refuse(&mut train("a/b/run", "none"), 1, &["none"]);
    assert!(!place.path("a").exists(), "nothing is left of a run that did not begin");
    succeed(train("a/b/run", &data).arg("--dry-run"));
    assert!(!place.path("a").exists(), "a dry run writes nothing");
    refuse(train("file", &data).arg("--dry-run"), 1, &["cannot create the folder"]);
    assert_eq!(place.read("file"), b"kept");

    let missing = shown(&place.path("none/x.svg"));
    refuse(&mut omega(&["analyze", "omega", "none", "--svg", &missing]), 1, &["none/x.svg"]);
    refuse(&mut omega(&["analyze", "gradients", "none", "--json", &data]), 1, &["cannot write", "/data`"]);
    refuse(&mut omega(&["profile", &data, "--out", &missing, "--device", "soft"]), 1, &["cannot create", "x.svg"]);
}

#[test]
fn a_prepare_that_fails_leaves_nothing() {
    let place = Workplace::with_text();
    let before = names(&place.path(""));
    refuse(&mut place.prepare("text/train", "text/none", "new/data"), 1, &["none.de"]);
    assert_eq!(names(&place.path("")), before);
    fs::create_dir(place.path("mine")).unwrap();
    refuse(&mut place.prepare("text/train", "text/none", "mine/data"), 1, &["none.de"]);
    assert!(names(&place.path("mine")).is_empty(), "a folder that was there stays, as it was");
    let said = text(&succeed(&mut place.prepare("text/train", "text/valid", "new/data")).stderr);
    let symbols = String::from_utf8(place.read("new/data/dict.de.txt")).unwrap().lines().count() + 4;
    assert!(said.contains(&format!("vocabulary: {symbols} symbols")), "{said}");
}

#[test]
fn hints_fit_what_happened() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    succeed(&mut place.train("other", &["--max-update", "2", "--ffn", "64"]));
    let at = |name: &str| shown(&place.path(name));
    let (run, best) = (at("run"), at("run/checkpoint_best.safetensors"));
    let files = ["average", &best, &at("other/checkpoint_best.safetensors"), "--out", &at("mean.safetensors")];
    refuse(&mut omega(&files), 1, &["is of another shape", "hint: a mean is of one model's checkpoints", &best]);
    refuse(&mut omega(&["average", &run, "--last", "0"]), 2, &["--last 0: at least 1"]);
    refuse(&mut omega(&["average", &run, "--best", "0"]), 2, &["--best 0: at least 1"]);
    refuse(&mut omega(&["translate", &run, "--beam", "100000"]), 2, &["--beam 100000: at most 60 hypotheses"]);

    let imported = ["import", &at("exported"), "--out", &at("imported")];
    succeed(&mut omega(&["export", &run, "--to", "fairseq", "--keep-omega", "--out", &at("exported")]));
    succeed(&mut omega(&imported));
    let wide = |from: &str| place.train("new", &["--ffn", "64", "--finetune-from-model", &at(from)]);
    refuse(&mut wide("imported"), 1, &["--ffn is 32 there, 64 here", "hint: give each flag as it is there"]);
    refuse(&mut wide("run"), 1, &["--ffn is 32 there, 64 here", "run/config.toml has the flags"]);

    fs::write(place.path("analytic.init"), place.read("run/profile.ratio.init")).unwrap();
    let more = ["--max-update", "3", "--omega", &at("analytic.init")];
    refuse(
        &mut place.train("run", &more),
        2,
        &["--omega profile → ", "this run has begun", "hint: leave the flag out"],
    );
    let more = ["--max-update", "3", "--init", "looks-linear"];
    refuse(&mut place.train("run", &more), 2, &["--init ", "this run has begun"]);

    let last = place.path("run/checkpoint_last.safetensors");
    fs::write(&last, &place.read("run/checkpoint_last.safetensors")[..100]).unwrap();
    let whole =
        format!("{best} is whole: translate with it, or train on from it in a new run with --finetune-from-model");
    refuse(&mut place.train("run", &["--max-update", "4"]), 1, &["checkpoint_last.safetensors: not a whole", &whole]);
}

/// A model of another shape has it from a flag, from the run's config.toml, or from the text.
#[test]
fn hints_on_a_shape_say_where_it_comes_from() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let at = |name: &str| shown(&place.path(name));
    let run = at("run");
    let (data, config) = (at("data"), text(&place.read("run/config.toml")));
    let analyze = |flags: &[&str]| omega(&[&["analyze", "gradients", &run], flags].concat());
    let train = |flags: &[&str]| omega(&[&["train", "--save-dir", &run, "--max-update", "3"], flags].concat());
    let typed = "hint: leave out --ffn: a run keeps the model that it began with";
    refuse(&mut analyze(&["--ffn", "64", "--heads", "2"]), 1, &["is of another shape", &format!("{typed}\n")]);
    refuse(&mut train(&["--ffn", "64", "--heads", "2"]), 1, &[&format!("{typed}; or give another --save-dir\n")]);
    refuse(&mut analyze(&["--arch", "wmt"]), 1, &["hint: leave out --arch: "]);
    fs::write(place.path("wide.toml"), "ffn = 64").unwrap();
    refuse(&mut train(&["--config", &at("wide.toml")]), 1, &[typed]);

    fs::write(place.path("run/config.toml"), config.replace("ffn = 32", "ffn = 64")).unwrap();
    let changed = "run/config.toml describes the run's checkpoints: undo what was changed there";
    refuse(&mut analyze(&[]), 1, &[changed]);
    refuse(&mut train(&["--lr", "0.1"]), 1, &[changed]);
    fs::remove_file(place.path("run/config.toml")).unwrap();
    refuse(&mut train(&[&data]), 1, &["hint: give the flags that it was trained with: its config.toml is gone"]);
    fs::write(place.path("run/config.toml"), config).unwrap();

    succeed(&mut place.prepare_with(&["--vocab-size", "50"], "text/train", "text/valid", "small"));
    refuse(&mut train(&[&at("small")]), 1, &["hint: the text has another dictionary: prepare it with"]);
}

/// Neither is ω to blame for another parameter, nor is a parameter for what ω makes of it.
#[test]
fn what_is_no_number_is_named() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let (run, out) = (shown(&place.path("run")), shown(&place.path("out")));
    let best = place.path("run/checkpoint_best.safetensors");
    let checkpoint = Checkpoint::open(&best).unwrap();
    for name in ["decoder.layers.0.fc1.weight", "encoder.layers.0.attention_ratio_change"] {
        let mut tensors = checkpoint.parameters().unwrap();
        tensors.iter_mut().find(|tensor| tensor.name == name).unwrap().data[1] = f32::NAN;
        write(&best, &tensors, &checkpoint.state).unwrap();
        for flags in [&["--to", "plain"][..], &["--to", "fairseq", "--keep-omega"]] {
            let what = format!("`{name}` holds NaN: its training has diverged");
            let mut export = omega(&[&["export", &run, "--out", &out], flags].concat());
            refuse(&mut export, 1, &[&what, "checkpoint_best.safetensors", "hint: take an earlier checkpoint\n"]);
        }
        let (best, mean) = (shown(&best), shown(&place.path("mean.safetensors")));
        for args in [
            &["analyze", "gradients", &run, "--device", "soft"][..],
            &["analyze", "omega", &run],
            &["average", &best, &best, "--out", &mean],
        ] {
            refuse(&mut omega(args), 1, &[&format!("`{name}` holds NaN"), "hint: take an earlier checkpoint\n"]);
        }
        assert!(!place.path("mean.safetensors").exists());
    }
}

/// Numbers, pictures and translations go beside what a run is made of, never in its place.
#[test]
fn results_do_not_replace_a_run() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let (run, data) = (shown(&place.path("run")), shown(&place.path("data")));
    for name in ["checkpoint_best.safetensors", "checkpoint_last.json", "log.jsonl", "dict.de.txt"] {
        let (file, before) = (shown(&place.path("run").join(name)), fs::read(place.path("run").join(name)).unwrap());
        for args in [
            &["analyze", "omega", &run, "--json", &file][..],
            &["profile", &data, "--out", &file],
            &["translate", &run, "--output", &file],
        ] {
            refuse(&mut omega(args), 2, &[&file, "runs or their data are made of", "hint: give another name"]);
        }
        refuse(&mut omega(&["analyze", "omega", &run, "--svg", &file]), 2, &[&file, "pictures are SVG"]);
        assert_eq!(before, fs::read(&file).unwrap(), "{name}");
    }
    // The original's file is written again and again; a run's is its record.
    let profile = |out: &str| omega(&[&["profile", &data, "--out", out], crate::TINY].concat());
    let own = shown(&place.path("profile.ratio.init"));
    succeed(&mut profile(&own));
    succeed(&mut profile(&own));
    refuse(&mut profile(&shown(&place.path("run/profile.ratio.init"))), 2, &["profile.ratio.init: it is there"]);
    refuse(&mut omega(&["train", &data, "--save-dir", &data]), 2, &["is the data folder", "--save-dir runs/NAME"]);
}

/// What a run has of its own is not given again, nor looked for where it is not.
#[test]
fn an_analysis_of_a_run_takes_its_settings() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let run = shown(&place.path("run"));
    for flags in [["--config", "none.toml"], ["--omega", "analytic"], ["--omega", "none.init"]] {
        let mut analyze = omega(&[&["analyze", "dependency", &run], &flags[..]].concat());
        refuse(&mut analyze, 2, &[flags[0], "is a run, with settings and ω of its own", "hint: leave out"]);
    }
    fs::rename(place.path("data"), place.path("moved")).unwrap();
    let parts = ["data", "change `data` in its config.toml"];
    refuse(&mut omega(&["analyze", "dependency", &run]), 1, &parts);
    refuse(&mut omega(&["train", "--save-dir", &run]), 1, &parts);
    let config = fs::read_to_string(place.path("run/config.toml")).unwrap();
    let moved = config.replace(&shown(&place.path("data")), &shown(&place.path("moved")));
    fs::write(place.path("run/config.toml"), moved).unwrap();
    succeed(&mut omega(&["analyze", "dependency", &run, "--device", "soft"]));
}

/// A mean says how it is translated with: its dictionary is the run's, wherever the mean is.
#[test]
fn a_mean_says_where_its_dictionary_is() {
    let place = Workplace::prepared();
    succeed(&mut place.train("run", &["--max-update", "2"]));
    let (best, run) = (shown(&place.path("run/checkpoint_best.safetensors")), shown(&place.path("run")));
    for (out, data) in [("run/mean.safetensors", String::new()), ("mean.safetensors", format!(" --data {run}"))] {
        let out = shown(&place.path(out));
        let said = text(&succeed(&mut omega(&["average", &best, &best, "--out", &out])).stderr);
        assert!(said.contains(&format!("translate with `omega translate {out}{data}`")), "{said}");
    }
}
