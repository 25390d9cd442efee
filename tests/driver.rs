//! omega's Cuda arm on the software driver (`softgpu/driver`): device tests, training and translation, the same to the
//! bit as the Soft arm. The driver runs nothing before it is waited for, so a missing synchronisation fails here.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "common/mod.rs"]
mod common;
#[path = "driver/epilogues.rs"]
mod epilogues;
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
    tests
        .args(["gradcheck::", "epilogues::", "device_tests_pass"])
        .env("LD_LIBRARY_PATH", libraries())
        .env(INSIDE, "1");
    let said = text(&succeed(&mut tests).stdout);
    for name in ["gradcheck::attention::device_against_reference", "epilogues::linear_with_its_bias_and_its_gradient"] {
        assert!(said.contains(&format!("test {name} ... ok")), "{said}");
    }
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

/// A model whose every product may take bias and ReLU with it.
#[rustfmt::skip]
const EVEN: [&str; 18] = [
    "--encoder-layers", "2", "--decoder-layers", "1", "--d-model", "32", "--heads", "4", "--ffn", "64",
    "--max-tokens", "256", "--bleu-sentences", "0", "--samples", "0", "--log-interval", "5",
];

/// A run of 20 updates on the software driver: what it said, its last loss and validation loss, and its parameters.
fn train_even(
    folder: &TempDir,
    name: &str,
    flags: &[&str],
    libraries: &Path,
    epilogues: &str,
) -> (String, [f64; 2], Vec<u8>) {
    let (data, run) = (path(folder.path(), "data"), path(folder.path(), name));
    let base = ["train", &data, "--save-dir", &run, "--device", "cuda", "--max-update", "20", "--lr", "0.005"];
    let mut command = omega(false, &[&base[..], &EVEN[..], flags].concat());
    command.env("LD_LIBRARY_PATH", libraries).env("OMEGA_EPILOGUES", epilogues);
    let said = text(&succeed(&mut command).stderr);
    let log = fs::read_to_string(Path::new(&run).join("log.jsonl")).unwrap();
    let records: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = |key: &str| records.iter().rev().find_map(|record| record[key].as_f64()).unwrap();
    let parameters = fs::read(Path::new(&run).join("checkpoint_last.safetensors")).unwrap();
    (said, [last("loss"), last("valid_loss")], parameters)
}

#[test]
fn training_with_and_without_epilogues_agrees() {
    let (folder, libraries) = (prepared(), libraries());
    // Measured: none in f32, 1.7e-5 in f16, 1.5e-4 in bf16.
    for (dtype, bound) in [("", 1e-5), ("--fp16", 1e-4), ("--bf16", 1e-3)] {
        let train = |name: &str, flag: &str, epilogues| {
            let flags: Vec<&str> = [flag, dtype].into_iter().filter(|flag| !flag.is_empty()).collect();
            train_even(&folder, &format!("{name}{dtype}"), &flags, &libraries, epilogues)
        };
        let (with, without) = (train("with", "--kernel-times", "1"), train("without", "--kernel-times", "0"));
        for (with, without) in with.1.iter().zip(without.1) {
            let difference = (with - without).abs() / without;
            println!("{dtype}: {with} with epilogues, {without} without, {difference:.1e}");
            assert!(difference <= bound, "{dtype}: {with} with epilogues, {without} without");
        }
        for word in [", bias, relu ", ", relu', db ", ", bias ", ", db "] {
            assert!(with.0.contains(word) && !without.0.contains(word), "{dtype}{word}: {}\n{}", with.0, without.0);
        }
        assert!(!dtype.is_empty() || with.2 == without.2, "in f32 the order of sums is the same: so are the bits");
        assert!(train("again", "--recompute", "1").2 == with.2, "{dtype}: recomputing changed the parameters");
    }
}

/// Biases and ReLU within products, on both arms; gradients of biases are added to others too.
#[test]
fn training_in_halves_is_the_same_to_the_bit() {
    let (folder, libraries) = (prepared(), libraries());
    for dtype in ["--fp16", "--bf16"] {
        let flags = [dtype, "--update-freq", "2", "--kernel-times"];
        let cuda = train_even(&folder, &format!("cuda{dtype}"), &flags, &libraries, "1");
        let (data, run) = (path(folder.path(), "data"), path(folder.path(), &format!("soft{dtype}")));
        let base = ["train", &data, "--save-dir", &run, "--device", "soft", "--max-update", "20", "--lr", "0.005"];
        let said = text(&succeed(&mut omega(false, &[&base[..], &EVEN, &flags].concat())).stderr);
        assert!(said.contains(", bias, relu ") && cuda.0.contains(", bias, relu "), "{said}\n{}", cuda.0);
        let soft = fs::read(Path::new(&run).join("checkpoint_last.safetensors")).unwrap();
        assert!(soft == cuda.2, "{dtype}: the arms differ");
    }
}

/// The masks count.
#[test]
fn a_dry_run_knows_the_masks_of_a_gpu() {
    let (folder, libraries) = (prepared(), libraries());
    let data = path(folder.path(), "data");
    let peak = |said: &str| {
        let line = said.lines().find(|line| line.contains("at the highest point")).unwrap_or_else(|| panic!("{said}"));
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap()
    };
    for epilogues in ["0", "1"] {
        let name = format!("taken-{epilogues}");
        let taken = train_even(&folder, &name, &[], &libraries, epilogues).0;
        let mut dry = omega(true, &[&["train", &data, "--dry-run", "--device", "cuda"][..], &EVEN].concat());
        let promised = text(&succeed(dry.env("OMEGA_EPILOGUES", epilogues)).stdout);
        println!("{epilogues}: {} promised, {} taken", peak(&promised), peak(&taken));
        assert_eq!(peak(&promised), peak(&taken), "{promised}\n{taken}");
    }
}

#[test]
fn without_cublaslt_products_are_plain() {
    let (folder, all) = (prepared(), libraries());
    let few = folder.path().join("lib");
    fs::create_dir(&few).unwrap();
    for entry in fs::read_dir(&all).unwrap().map(|entry| entry.unwrap()) {
        if !entry.file_name().to_string_lossy().starts_with("libcublasLt") {
            std::os::unix::fs::symlink(entry.path(), few.join(entry.file_name())).unwrap();
        }
    }
    let devices = |libraries: &Path, epilogues: &str| {
        let mut command = omega(false, &["devices"]);
        text(&succeed(command.env("LD_LIBRARY_PATH", libraries).env("OMEGA_EPILOGUES", epilogues)).stdout)
    };
    for (said, words) in [
        (devices(&few, "1"), "apart from matrix products: libcublasLt.so was not found"),
        (devices(&all, "0"), "apart from matrix products: OMEGA_EPILOGUES=0"),
        (devices(&all, "1"), "within matrix products, by cublasLt"),
    ] {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
    let (missing, off) = (train_even(&folder, "missing", &[], &few, "1"), train_even(&folder, "off", &[], &all, "0"));
    assert!(missing.2 == off.2, "without cublasLt and without epilogues are the same");
    let mut wrong = omega(true, &["devices"]);
    let said = text(&succeed(wrong.env("OMEGA_EPILOGUES", "yes")).stdout);
    assert!(said.contains("OMEGA_EPILOGUES is `yes`, expected 0 or 1"), "{said}");
    let mut wrong = omega(true, &["train", &path(folder.path(), "data"), "--save-dir", "x", "--device", "cuda"]);
    let output = wrong.env("OMEGA_EPILOGUES", "yes").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
