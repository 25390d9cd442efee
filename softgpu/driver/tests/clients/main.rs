//! Programs of others on the driver. numba-cuda comes from PyPI into the build folder, once; where it cannot be
//! installed, the test says so and is skipped.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "../../../../tests/common/skip.rs"]
mod skip;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use skip::skipped;
use softgpu_driver as _; // so that cargo builds it

/// numba's compiler needs NVVM; it asks the runtime for its version and NVRTC for small pieces. Not nvJitLink, which
/// gives cubins: without it numba links through the driver, which takes PTX and gives PTX.
const PACKAGES: [&str; 4] =
    ["numba-cuda==0.30.4", "nvidia-nvvm==13.*", "nvidia-cuda-runtime==13.*", "nvidia-cuda-nvrtc==13.*"];

/// The folder with libcuda.so, beside the test's own program.
fn libraries() -> PathBuf {
    env::current_exe().unwrap().ancestors().nth(2).unwrap().join("softgpu-driver")
}

/// A Python with the packages, or why there is none.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("numba");
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    if fs::read_to_string(&ready).is_ok_and(|packages| packages == PACKAGES.join(" ")) {
        return Ok(python);
    }
    let run = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        if output.status.success() { Ok(()) } else { Err(last.to_owned()) }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]);
    run(pip.args(PACKAGES))?;
    fs::write(&ready, PACKAGES.join(" ")).map_err(|error| error.to_string())?;
    Ok(python)
}

/// Run by itself as a test that is skipped, whose line must come through what libtest keeps to itself.
#[test]
fn a_skipped_test_says_so() {
    const PART: &str = "SOFTGPU_SKIPPED";
    if env::var_os(PART).is_some() {
        return skipped("there is nothing to test");
    }
    let mut again = Command::new(env::current_exe().unwrap());
    let output = again.args(["--exact", "a_skipped_test_says_so"]).env(PART, "1").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "skipped: there is nothing to test\n");
}

#[test]
fn numba_runs_its_examples() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => {
            skipped(format_args!("numba-cuda cannot be installed here: {reason}"));
            return;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/numba_examples.py");
    let examples = ["vector_add", "shared_matmul", "reduction", "streams_and_events", "atomics", "warp_shuffle"];
    let output = Command::new(python).arg(script).args(examples).env("LD_LIBRARY_PATH", libraries()).output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    for example in examples {
        assert!(said.contains(&format!("{example}: right, on softgpu")), "{example} is missing in\n{said}{complained}");
    }
}
