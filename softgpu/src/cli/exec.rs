//! `softgpu exec`: a program finds the software driver before any other, and what its launches do is checked.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Exec, FOUND, REFUSED};

const FILE: &str = "libcuda.so.1";

/// The driver's folder: what `SOFTGPU_DRIVER` names, or else that of this program or `softgpu-driver` in it. The loader would
/// pass over one without the driver, and a real one might be next.
fn driver() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("SOFTGPU_DRIVER").filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        return match folder.join(FILE).exists() {
            true => std::path::absolute(folder).map_err(|error| format!("SOFTGPU_DRIVER: {error}")),
            false => Err(format!("SOFTGPU_DRIVER: no {FILE} in {}, which must be its folder", folder.display())),
        };
    }
    let here = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let folder = here.parent().map(PathBuf::from).unwrap_or_default();
    [folder.join("softgpu-driver"), folder.clone()].into_iter().find(|folder| folder.join(FILE).exists()).ok_or_else(|| {
        format!(
            "no {FILE} in {0} or {0}/softgpu-driver\n  help: build the driver where softgpu's sources are, with `cargo build \
             --release -p softgpu-driver`, and name\n        its folder: SOFTGPU_DRIVER=SOURCES/target/release/softgpu-driver \
             softgpu exec …",
            folder.display()
        )
    })
}

pub fn exec(exec: &Exec) -> Result<ExitCode, String> {
    let folder = driver()?;
    let mut path = folder.clone().into_os_string();
    if let Some(before) = std::env::var_os("LD_LIBRARY_PATH").filter(|before| !before.is_empty()) {
        path.push(":");
        path.push(before);
    }
    let Some(program) = exec.program.first() else { return Err("a program is missing".into()) };
    let (mut command, signals) = signals::command(&exec.program);
    command.env("LD_LIBRARY_PATH", path).env("SOFTGPU_SEED", exec.watch.seed.to_string());
    if let Some(tools) = exec.watch.check {
        command.env("SOFTGPU_CHECK", tools.list());
    }
    if let Some(file) = &exec.watch.counters {
        command.env("SOFTGPU_COUNTERS", empty(file)?);
    }
    let report = empty(&std::env::temp_dir().join(format!("softgpu-{}.report", std::process::id())))?;
    command.env("SOFTGPU_REPORT", &report);
    let status = command.spawn().and_then(|mut child| {
        signals.pass_on(child.id());
        child.wait()
    });
    let noted = std::fs::read(&report).unwrap_or_default();
    let _ = std::fs::remove_file(&report);
    let status = status.map_err(|error| format!("{}: {error}", program.to_string_lossy()))?;
    let code = status.code().unwrap_or(128 + signal(&status));
    Ok(ExitCode::from(if code == 0 { worst(&noted) } else { code as u8 }))
}

/// An empty file that the driver adds to, by a name that holds wherever the program goes. Devices and pipes stay as they are.
fn empty(path: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    if !path.exists() || path.is_file() {
        File::create(path).map_err(failed)?;
    }
    std::path::absolute(path).map_err(failed)
}

/// The exit status for what the driver has noted, and printed: a byte for each finding, or for what it did not do.
fn worst(noted: &[u8]) -> u8 {
    if noted.contains(&b'f') {
        FOUND
    } else if noted.is_empty() {
        0
    } else {
        REFUSED
    }
}

#[cfg(target_os = "linux")]
pub use signals::become_program;

/// What others send to this program is meant for the one that it runs, and passed on; what comes of a terminal goes to both anyway.
/// It is held from before that one starts: a signal in between would end this one alone. What is held is inherited, so that
/// the program is started by way of this one, which lets go of it first.
#[cfg(target_os = "linux")]
mod signals {
    use std::ffi::OsString;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, ExitCode};

    use nix::sys::signal::{SigSet, Signal, kill};
    use nix::sys::signalfd::SignalFd;
    use nix::unistd::Pid;

    /// Without one a signal ends this program alone.
    pub struct Signals(Option<SignalFd>);

    /// What starts the program, and the signals that are held from now on.
    pub fn command(program: &[OsString]) -> (Command, Signals) {
        let before = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
        let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
        let held: SigSet = signals.into_iter().filter(|signal| !before.contains(*signal)).collect();
        let descriptor = SignalFd::new(&held).and_then(|descriptor| held.thread_block().map(|()| descriptor)).ok();
        let unblock = held.iter().map(|signal| format!("--unblock={}", signal as i32));
        let mut command = Command::new("/proc/self/exe");
        command.arg0("softgpu").arg("become").args(unblock).arg("--").args(program);
        (command, Signals(descriptor))
    }

    impl Signals {
        pub fn pass_on(self, program: u32) {
            let Some(signals) = self.0 else { return };
            std::thread::spawn(move || {
                while let Ok(Some(signal)) = signals.read_signal() {
                    // Positive codes are the kernel's: a key of the terminal, or its end.
                    if let (..=0, Ok(signal)) = (signal.ssi_code, Signal::try_from(signal.ssi_signo as i32)) {
                        // The program may have ended by now.
                        let _ = kill(Pid::from_raw(program as i32), signal);
                    }
                }
            });
        }
    }

    /// Returns if that fails only.
    pub fn become_program(unblock: &[i32], program: &[OsString]) -> Result<ExitCode, String> {
        let held: SigSet = unblock.iter().filter_map(|number| Signal::try_from(*number).ok()).collect();
        held.thread_unblock().map_err(|error| error.to_string())?;
        let [program, args @ ..] = program else { return Err("a program is missing".into()) };
        let error = Command::new(program).args(args).exec();
        Err(format!("{}: {error}", program.to_string_lossy()))
    }
}

#[cfg(not(target_os = "linux"))]
mod signals {
    use std::ffi::OsString;
    use std::process::Command;

    pub struct Signals;

    pub fn command(program: &[OsString]) -> (Command, Signals) {
        let mut command = Command::new(program.first().cloned().unwrap_or_default());
        command.args(program.iter().skip(1));
        (command, Signals)
    }

    impl Signals {
        pub fn pass_on(self, _: u32) {}
    }
}

#[cfg(unix)]
fn signal(status: &std::process::ExitStatus) -> i32 {
    std::os::unix::process::ExitStatusExt::signal(status).unwrap_or(0)
}

#[cfg(not(unix))]
fn signal(_: &std::process::ExitStatus) -> i32 {
    0
}
