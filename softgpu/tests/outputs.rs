//! Where the results of `softgpu run` go: files as a whole, none lost to another that cannot be written, and the exit status.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// The threads store their numbers: in `own` each in a place of its own, in `all` two warps in the same places, which is a race.
const PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64
.visible .entry all(.param .u64 p) {
    .reg .b32 %r<2>; .reg .b64 %d<3>; ld.param.u64 %d0, [p]; mov.u32 %r0, %tid.x; and.b32 %r1, %r0, 31;
    mul.wide.u32 %d1, %r1, 4; add.u64 %d2, %d0, %d1; st.global.u32 [%d2], %r0; ret;
}
.visible .entry own(.param .u64 p) {
    .reg .b32 %r; .reg .b64 %d<3>; ld.param.u64 %d0, [p]; mov.u32 %r, %tid.x;
    mul.wide.u32 %d1, %r, 4; add.u64 %d2, %d0, %d1; st.global.u32 [%d2], %r; ret;
}
";
const OWN: &str = "run k.ptx own --grid 1 --block 64";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("k.ptx"), PTX).unwrap();
    folder
}

fn softgpu(folder: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
    command.args(args.split_whitespace()).current_dir(folder).output().unwrap()
}

/// Exit status and stderr.
fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn clean() -> (Option<i32>, String) {
    (Some(0), String::new())
}

fn numbers() -> Vec<u8> {
    (0..64u32).flat_map(u32::to_le_bytes).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_finding_is_worth_more_than_a_failing_write() {
    let folder = folder();
    let run = "run k.ptx all --grid 1 --block 64 --check all";
    let failed = "error: cannot write /dev/full: No space left on device (os error 28)";
    for options in ["out:/dev/full:256", "--counters /dev/full scratch:256"] {
        let (code, said) = outcome(&softgpu(folder.path(), &format!("{run} {options}")));
        assert!(code == Some(3) && said.starts_with("racecheck: race between two warps"), "{code:?} {said}");
        assert!(said.ends_with(&format!("1 finding\n{failed}\n")), "{said}");
    }
    assert_eq!(outcome(&softgpu(folder.path(), &format!("{OWN} out:/dev/full:256"))), (Some(2), format!("{failed}\n")));
}

#[test]
fn what_can_be_written_is_whatever_else_cannot() {
    let folder = folder();
    let missing = |path: &str| format!("error: cannot write {path}: No such file or directory (os error 2)\n");
    let output =
        softgpu(folder.path(), &format!("{OWN} --counters no/c.json --buffer more=out:no/b.bin:8 out:r.bin:256"));
    assert_eq!(outcome(&output), (Some(2), missing("no/c.json") + &missing("no/b.bin")));
    assert_eq!(fs::read(folder.path().join("r.bin")).unwrap(), numbers());
    assert!(String::from_utf8_lossy(&output.stdout).contains("warp instructions"), "the table");
    let output = softgpu(folder.path(), &format!("{OWN} --counters c.json out:no/r.bin:256"));
    assert_eq!(outcome(&output), (Some(2), missing("no/r.bin")));
    assert!(fs::read_to_string(folder.path().join("c.json")).unwrap().contains("\"kernel\": \"own\""));
    // The table alone cannot be written.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
    let args = format!("{OWN} --counters d.json out:s.bin:256");
    let output = command.args(args.split_whitespace()).current_dir(folder.path()).stdout(full).output().unwrap();
    let error = "error: cannot write stdout: No space left on device (os error 28)\n";
    assert_eq!(outcome(&output), (Some(2), error.to_owned()));
    assert_eq!(names(folder.path()), ["c.json", "d.json", "k.ptx", "r.bin", "s.bin"]);
}

#[test]
fn files_of_similar_names_are_left_alone() {
    let folder = folder();
    fs::write(folder.path().join("r.bin.part"), "mine").unwrap();
    assert_eq!(outcome(&softgpu(folder.path(), &format!("{OWN} out:r.bin:256"))), clean());
    assert_eq!(fs::read(folder.path().join("r.bin")).unwrap(), numbers());
    assert_eq!(fs::read(folder.path().join("r.bin.part")).unwrap(), b"mine");
    assert_eq!(names(folder.path()), ["k.ptx", "r.bin", "r.bin.part"]);
}

#[test]
fn links_stay_links_and_files_keep_who_may_read_them() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("far")).unwrap();
    fs::write(at("far/old.bin"), "old").unwrap();
    fs::set_permissions(at("far/old.bin"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("far/old.bin", at("r.bin")).unwrap();
    symlink("r.bin", at("twice.bin")).unwrap();
    symlink("far/new.bin", at("dangling.bin")).unwrap();
    symlink("round.bin", at("round.bin")).unwrap();
    for (link, file) in [("r.bin", "far/old.bin"), ("twice.bin", "far/old.bin"), ("dangling.bin", "far/new.bin")] {
        assert_eq!(outcome(&softgpu(folder.path(), &format!("{OWN} out:{link}:256"))), clean());
        assert!(at(link).is_symlink() && !at(file).is_symlink(), "{link}");
        assert_eq!(fs::read(at(file)).unwrap(), numbers(), "{link}");
        fs::write(at(file), "old").unwrap();
    }
    assert_eq!(fs::metadata(at("far/old.bin")).unwrap().permissions().mode() & 0o777, 0o600);
    let round = "error: cannot write round.bin: its links go round\n".to_owned();
    assert_eq!(outcome(&softgpu(folder.path(), &format!("{OWN} out:round.bin:256"))), (Some(2), round));
    assert_eq!(names(&at("far")), ["new.bin", "old.bin"]);
}

/// A link such as `/dev/stdout` stands for what the program has open, and is no file to replace.
#[test]
fn standard_output_is_written_in_place() {
    let folder = folder();
    // Not `/dev/stdout` itself, which a mistake would replace.
    symlink("/proc/self/fd/1", folder.path().join("stdout")).unwrap();
    let run = format!("{OWN} out:stdout:256");
    assert_eq!(softgpu(folder.path(), &run).stdout, numbers());
    let file = fs::File::create(folder.path().join("all")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
    let status = command.args(run.split_whitespace()).current_dir(folder.path()).stdout(file).status().unwrap();
    assert!(status.success() && folder.path().join("stdout").is_symlink());
    assert_eq!(fs::read(folder.path().join("all")).unwrap(), numbers());
    assert_eq!(names(folder.path()), ["all", "k.ptx", "stdout"]);
}

#[test]
fn two_outputs_of_one_file_are_refused_before_anything_runs() {
    let folder = folder();
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(folder.path().join("x.bin"), [7; 256]).unwrap();
    symlink("x.bin", folder.path().join("link")).unwrap();
    let here = folder.path().canonicalize().unwrap().join("r.bin");
    for (options, first, second) in [
        ("--counters r.bin out:r.bin:256".into(), "out:r.bin:256", "--counters r.bin".into()),
        ("--buffer a=out:d/../r.bin:8 out:./r.bin:256".into(), "out:./r.bin:256", "--buffer a=out:d/../r.bin:8".into()),
        (
            format!("--counters {} out:r.bin:256", here.display()),
            "out:r.bin:256",
            format!("--counters {}", here.display()),
        ),
        ("--buffer a=out:x.bin:8 inout:x.bin:link".into(), "inout:x.bin:link", "--buffer a=out:x.bin:8".into()),
    ] {
        let error = format!("error: `{first}` and `{second}` write to one file: give each its own\n");
        assert_eq!(outcome(&softgpu(folder.path(), &format!("{OWN} {options}"))), (Some(2), error));
    }
    assert_eq!(names(folder.path()), ["d", "k.ptx", "link", "x.bin"]);
    assert_eq!(fs::read(folder.path().join("x.bin")).unwrap(), [7; 256]);
    // What is thrown away may be thrown away twice, and a buffer may go back to where it came from.
    let twice = format!("{OWN} --counters /dev/null --buffer a=out:/dev/null:8 inout:x.bin:x.bin");
    assert_eq!(outcome(&softgpu(folder.path(), &twice)), clean());
    assert_eq!(fs::read(folder.path().join("x.bin")).unwrap(), numbers());
}
