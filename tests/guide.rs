//! The commands in `docs/guide.md`, typed one after the other in an empty folder.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::fs;
use std::path::Path;
use std::process::Command;

/// The text of the ```sh blocks.
fn commands(page: &str) -> String {
    let mut blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.by_ref().collect::<Vec<_>>().join("\n")
}

#[test]
fn the_guide_can_be_typed() {
    let folder = tempfile::tempdir().unwrap();
    let omega = Path::new(env!("CARGO_BIN_EXE_omega"));
    let script = commands(include_str!("../docs/guide.md"));
    assert!(script.matches("omega ").count() >= 12, "{script}");
    let path = format!("{}:{}", omega.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-euxc", &script]).current_dir(&folder).env("PATH", path).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    for file in
        ["omega.svg", "look.svg", "look-3.svg", "hf/config.json", "ctranslate2/model.bin", "imported/dict.en.txt"]
    {
        assert!(folder.path().join("guide").join(file).exists(), "{file}\n{errors}");
    }
    assert!(said.contains("BLEU = "), "{said}");
    for (file, lines) in [("test.hyp", 3), ("test.nbest", 6)] {
        assert_eq!(
            fs::read_to_string(folder.path().join("guide").join(file)).unwrap().lines().count(),
            lines,
            "{file}"
        );
    }
}
