//! Exported models in fairseq 0.12.2 itself, and back: what it makes of them in training is imported, by the lines of Python
//! on `docs/fairseq.md`.
//!
//! It comes from PyPI into the build folder, once, and is asked for by `OMEGA_FAIRSEQ=1`: its PyTorch unpacks to 1.8 GB. It
//! needs a Python of its time, on PATH under its name. Where it cannot be had, the test says so and is skipped.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use omega::text::{Coder, Dictionary};
use serde_json::Value;

use crate::programs::{SENTENCES, expected};
use crate::pypi::python_of;
use crate::skip::skipped;
use crate::{Place, omega, sentences};

/// Best first: fairseq has wheels for 3.8, is compiled for the others, and no later one can import it.
const PYTHONS: [&str; 3] = ["python3.8", "python3.9", "python3.10"];
const PACKAGES: [&str; 5] =
    ["fairseq==0.12.2", "torch==1.12.1", "torchaudio==0.12.1", "numpy==1.24.4", "safetensors==0.5.3"];

/// Sentences that are enough to tell that what came back is what fairseq trained.
const FEW: usize = 60;

/// A Python with fairseq, or why there is none.
fn fairseq() -> Result<PathBuf, String> {
    if std::env::var("OMEGA_FAIRSEQ").as_deref() != Ok("1") {
        return Err("it takes 1.8 GB: OMEGA_FAIRSEQ=1 asks for it".into());
    }
    // A name may be there and start nothing: a version manager's, for a version that is not chosen.
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let python = PYTHONS.into_iter().find(works).ok_or_else(|| format!("none of {} on PATH", PYTHONS.join(", ")))?;
    python_of(python, "fairseq", &PACKAGES)
}

/// The lines of Python on the page: from an export to a checkpoint of fairseq's, and from that to what is imported.
fn glue() -> [&'static str; 2] {
    let page = include_str!("../../docs/fairseq.md");
    let blocks: Vec<&str> = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    blocks.try_into().expect("there are two blocks")
}

/// `fairseq-train`'s flags for the model that `args.json` describes.
fn flags(args: &Path) -> Vec<String> {
    let args: Value = serde_json::from_str(&fs::read_to_string(args).unwrap()).unwrap();
    let mut flags = Vec::new();
    // `init_type` is a setting of the original's fork.
    for (key, value) in args.as_object().unwrap().iter().filter(|(key, _)| *key != "init_type") {
        let flag = format!("--{}", key.replace('_', "-"));
        match value {
            Value::Bool(true) => flags.push(flag),
            Value::Bool(false) | Value::Null => {}
            Value::String(text) => flags.extend([flag, text.clone()]),
            value => flags.extend([flag, value.to_string()]),
        }
    }
    flags
}

/// `lines` as symbols between spaces, which is how fairseq takes them.
fn symbols(place: &Place, lines: &[String]) -> String {
    let dictionary = Dictionary::load(&place.path("data/dict.de.txt")).unwrap();
    let coder = Coder::of_folder(&place.path("data"), dictionary).unwrap();
    let mut text = String::new();
    for line in lines {
        let ids = coder.encode(line).unwrap();
        let symbols = ids[..ids.len() - 1].iter().map(|id| coder.dictionary().symbol(*id));
        writeln!(text, "{}", symbols.collect::<Vec<_>>().join(" ")).unwrap();
    }
    text
}

/// Runs `command` to its good end in `folder`; what it printed.
fn succeed(command: &mut Command, folder: &Path) -> String {
    let output = command.current_dir(folder).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{complained}");
    said.into_owned()
}

#[test]
fn fairseq_translates_alike_and_trains_on() {
    let python = match fairseq() {
        Ok(python) => python,
        Err(reason) => {
            skipped(format_args!("fairseq is not installed here: {reason}"));
            return;
        }
    };
    let place = Place::new();
    let lines = &sentences()[..SENTENCES];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/in_fairseq.py");
    let [to_fairseq, from_fairseq] = glue();
    for run in ["admin", "post-ln", "pre-ln"] {
        place.train(run, "300", &["--residual", run]);
        let folder = place.path(&format!("{run}-in-fairseq"));
        fs::create_dir(&folder).unwrap();
        let exported = folder.join("de-en-fairseq");
        place.export(run, "fairseq", &exported.to_string_lossy(), &[]);
        let compare = |run: &str, checkpoint: &str, lines: &[String]| {
            let translations = expected(&place, run, lines);
            fs::write(folder.join("expected"), &translations).unwrap();
            fs::write(folder.join("symbols"), symbols(&place, lines)).unwrap();
            let mut command = Command::new(&python);
            command.arg(&script).args(["de-en-fairseq", checkpoint, "symbols", "expected"]);
            let said = succeed(&mut command, &folder);
            println!("{run}: {said}");
            assert!(said.contains(&format!("{} sentences", lines.len())), "{run}: {said}");
            translations
        };
        succeed(Command::new(&python).args(["-c", to_fairseq]), &folder);
        let went = compare(run, "de-en-fairseq/model.pt", lines);

        // A few updates of fairseq's, so that what comes back is not what went.
        #[rustfmt::skip]
        let train = [
            "--save-dir", ".", "--finetune-from-model", "de-en-fairseq/model.pt", "--cpu", "--num-workers", "0",
            "--criterion", "cross_entropy", "--optimizer", "adam", "--lr", "0.0001", "--max-tokens", "2000",
            "--max-update", "5",
        ];
        let mut command = Command::new(python.with_file_name("fairseq-train"));
        command.arg(place.path("data")).args(flags(&exported.join("args.json"))).args(train);
        succeed(&mut command, &folder);
        succeed(Command::new(&python).args(["-c", from_fairseq]), &folder);
        for name in ["dict.de.txt", "dict.en.txt", "tokenizer.json"] {
            fs::copy(place.path("data").join(name), folder.join("from-fairseq").join(name)).unwrap();
        }
        let back = format!("{run}-in-fairseq/imported");
        omega(&["import", &folder.join("from-fairseq").to_string_lossy(), "--out", &place.at(&back)]);
        let came = compare(&back, "checkpoint_best.pt", &lines[..FEW]);
        assert!(!went.starts_with(&came), "{run}: fairseq trained nothing");
    }
}
