//! omega's Cuda arm on the software driver (`softgpu/driver`): device tests, training and translation, the same to the
//! bit as the Soft arm. The driver runs nothing before it is waited for, so a missing synchronisation fails here.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "common/mod.rs"]
mod common;
#[path = "gradcheck/main.rs"]
#[allow(dead_code, clippy::duplicate_mod)] // it brings `common` as well
mod gradcheck;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use tempfile::TempDir;

/// The folder with libcuda.so, libcublas.so and the rest, beside the test's own program.
fn libraries() -> PathBuf {
    let program = env::current_exe().unwrap();
    let folder = program.ancestors().nth(2).unwrap().join("softgpu-driver");
    assert!(folder.join("libcuda.so").exists(), "no libcuda.so in {}: cargo builds softgpu-driver", folder.display());
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The program on the software driver, or without any driver.
fn omega(driver: bool, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omega"));
    command.args(args).stdin(Stdio::null());
    if driver {
        command.env("LD_LIBRARY_PATH", libraries());
    }
    command
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output.stderr));
    output
}

/// A text, each target its source backwards, and the data-bin made of it.
fn prepared() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = ["ein", "Hund", "läuft", "über", "die", "große", "Straße", "und", "bellt", "laut"];
    for (split, pairs) in [("train", 120), ("valid", 9)] {
        let (mut source, mut target) = (String::new(), String::new());
        for pair in 0..pairs {
            let sentence: Vec<&str> =
                (0..2 + pair % 5).map(|word| words[(pair * 7 + word * 3) % words.len()]).collect();
            let backwards: Vec<&str> = sentence.iter().rev().copied().collect();
            source += &format!("{} .\n", sentence.join(" "));
            target += &format!("{} .\n", backwards.join(" "));
        }
        fs::write(folder.path().join(format!("{split}.de")), source).unwrap();
        fs::write(folder.path().join(format!("{split}.en")), target).unwrap();
    }
    let [train, valid, data] = ["train", "valid", "data"].map(|name| path(folder.path(), name));
    #[rustfmt::skip]
    let args = [
        "prepare", "--source", "de", "--target", "en", "--train", &train, "--valid", &valid, "--vocab-size", "60",
        "--out", &data,
    ];
    succeed(&mut omega(false, &args));
    folder
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_string_lossy().into_owned()
}

#[test]
fn devices_lists_the_software_driver() {
    let said = text(&succeed(&mut omega(true, &["devices"])).stdout);
    assert!(said.starts_with("cuda:0  softgpu (compute capability 8.0)\n"), "{said}");
    assert!(said.contains("auto: cuda:0"), "{said}");
}

/// This program again, with the driver on its path: then `common::devices()` has two devices.
#[test]
fn device_tests_pass_on_the_cuda_arm() {
    const INSIDE: &str = "OMEGA_TEST_INSIDE_DRIVER";
    if env::var_os(INSIDE).is_some() {
        assert_eq!(common::devices().len(), 2, "the driver is on the path, and yet no GPU is found");
        return;
    }
    let mut tests = Command::new(env::current_exe().unwrap());
    tests.args(["gradcheck::", "device_tests_pass"]).env("LD_LIBRARY_PATH", libraries()).env(INSIDE, "1");
    let said = text(&succeed(&mut tests).stdout);
    assert!(said.contains("test gradcheck::attention::device_against_reference ... ok"), "{said}");
}

#[test]
fn training_and_translation_are_the_same_to_the_bit() {
    let folder = prepared();
    let data = path(folder.path(), "data");
    #[rustfmt::skip]
    let base = [
        "--encoder-layers", "2", "--decoder-layers", "2", "--d-model", "24", "--heads", "3", "--ffn", "40",
        "--max-tokens", "64", "--bleu-sentences", "4", "--samples", "1", "--lr", "0.01", "--log-interval", "10",
        "--validate-interval-updates", "25",
    ];
    let dropouts = ["--dropout", "0.1", "--attention-dropout", "0.1", "--relu-dropout", "0.1"];
    let runs: [(&str, Vec<&str>); 3] = [
        ("admin", [&dropouts[..], &["--max-update", "50", "--clip-norm", "1"]].concat()),
        ("pre-ln", vec!["--residual", "pre-ln", "--max-update", "12", "--update-freq", "2", "--optimizer", "radam"]),
        ("rezero", vec!["--residual", "rezero", "--max-update", "12", "--dropout", "0.3"]),
    ];
    for (name, flags) in &runs {
        let train = |device: &str| {
            let run = path(folder.path(), &format!("{name}-{device}"));
            let args = [&["train", &data, "--save-dir", &run, "--device", device], &base[..], &flags[..]].concat();
            succeed(&mut omega(device == "cuda", &args));
            run
        };
        let (soft, cuda) = (train("soft"), train("cuda"));
        for file in ["checkpoint_last.safetensors", "checkpoint_best.safetensors"] {
            let [soft, cuda] = [&soft, &cuda].map(|run| fs::read(Path::new(run).join(file)).unwrap());
            assert!(soft == cuda, "{name}: {file} differs between the arms");
        }
        let losses = |run: &str| {
            let log = fs::read_to_string(Path::new(run).join("log.jsonl")).unwrap();
            let records = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            records.map(|r| (r["loss"].clone(), r["grad_norm"].clone(), r["valid_loss"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(losses(&soft), losses(&cuda), "{name}");
    }
    let run = path(folder.path(), "admin-soft");
    let translate = |device: &str| {
        let mut command = omega(device == "cuda", &["translate", &run, "--device", device, "--beam", "5"]);
        command.stdin(fs::File::open(folder.path().join("valid.de")).unwrap());
        text(&succeed(&mut command).stdout)
    };
    let soft = translate("soft");
    assert_eq!((soft.lines().count(), &soft), (9, &translate("cuda")));
}
