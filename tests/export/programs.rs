//! Exported models in Transformers and CTranslate2, which come from PyPI into the build folder, once (6 GB: PyPI's
//! PyTorch brings CUDA). Where they cannot be installed, the test says so and is skipped.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use omega::checkpoint::Checkpoint;
use omega::device::{Allocation, Device};
use omega::model::Model;
use omega::text::{Coder, Dictionary};
use omega::translate::search::Search;
use omega::translate::translate_ids;

use crate::pypi::python;
use crate::skip::skipped;
use crate::{Place, sentences};

const PACKAGES: [&str; 3] = ["transformers==5.24.0", "torch==2.15.0", "ctranslate2==4.8.5"];
pub const SENTENCES: usize = 200;

/// What omega makes of `lines` by greedy search: per line, source ids | output ids | log-probabilities.
pub fn expected(place: &Place, run: &str, lines: &[String]) -> String {
    let dev = Device::soft(Allocation::Arena);
    let checkpoint = Checkpoint::open(&Checkpoint::find(&place.path(run)).unwrap()).unwrap();
    let model = Model::new(&dev, checkpoint.state.model.clone()).unwrap();
    checkpoint.restore(&model, None).unwrap();
    let dictionary = Dictionary::load(&place.path("data/dict.de.txt")).unwrap();
    let coder = Coder::of_folder(&place.path("data"), dictionary).unwrap();
    let sources: Vec<Vec<u32>> = lines.iter().map(|line| coder.encode(line).unwrap()).collect();
    let settings = Search { max_len_a: 0.0, max_len_b: 200, ..Search::GREEDY };
    let mut found = translate_ids(&dev, &model, &sources, &settings, 1000, &mut |_| {}).unwrap();
    found.sort_by_key(|(number, _)| *number);
    let mut text = String::new();
    for (number, hypotheses) in found {
        let join = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let scores: Vec<String> = hypotheses[0].positional.iter().map(f32::to_string).collect();
        writeln!(text, "{}|{}|{}", join(&sources[number]), join(&hypotheses[0].tokens), scores.join(" ")).unwrap();
    }
    text
}

#[test]
fn other_programs_translate_alike() {
    let python = match python("transformers", &PACKAGES) {
        Ok(python) => python,
        Err(reason) => {
            skipped(format_args!("Transformers and CTranslate2 cannot be installed here: {reason}"));
            return;
        }
    };
    let place = Place::new();
    let lines = &sentences()[..SENTENCES];
    fs::write(place.path("lines"), lines.join("\n") + "\n").unwrap();
    let models: [(&str, &[&str]); 3] = [
        ("admin", &["--residual", "admin"]),
        ("admin-first-one", &["--residual", "admin", "--keep-first-omega-one"]),
        ("pre-ln", &["--residual", "pre-ln"]),
    ];
    for (run, flags) in models {
        place.train(run, "300", flags);
        let mut exports = Vec::new();
        for dtype in ["f32", "f16", "bf16"] {
            let folders = ["hf", "ctranslate2"].map(|to| (to, format!("{run}-{to}-{dtype}")));
            folders.iter().for_each(|(to, out)| drop(place.export(run, to, out, &["--dtype", dtype])));
            exports.extend([dtype.into(), place.path(&folders[0].1), place.path(&folders[1].1)]);
        }
        fs::write(place.path("expected"), expected(&place, run, lines)).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/programs.py");
        let mut command = Command::new(&python);
        command.arg(script).args(["lines", "expected"].map(|name| place.path(name))).args(exports);
        let output = command.env("HF_HUB_OFFLINE", "1").output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{run}: {said}");
        assert!(output.status.success(), "{run}: {said}{complained}");
        assert!(said.contains(&format!("{SENTENCES} sentences")), "{run}: {said}");
    }
}
