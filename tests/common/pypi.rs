//! Python packages of others for a test: from PyPI into the build folder, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python with `packages` in a virtual environment called `name`, or why there is none: a test then says so and ends.
pub fn python(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    python_of("python3", name, packages)
}

/// The same, of the Python that is called `interpreter`.
pub fn python_of(interpreter: &str, name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    if fs::read_to_string(&ready).is_ok_and(|there| there == packages.join(" ")) {
        return Ok(python);
    }
    let run = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        if output.status.success() { Ok(()) } else { Err(last.to_owned()) }
    };
    run(Command::new(interpreter).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]);
    run(pip.args(packages))?;
    fs::write(&ready, packages.join(" ")).map_err(|error| error.to_string())?;
    Ok(python)
}
