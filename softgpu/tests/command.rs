//! The `softgpu` command as people run it.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::path::Path;
use std::process::{Command, Output};

const SAXPY: &str = ".version 8.0\n.target sm_80\n.address_size 64
.visible .entry saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u32 n) {
    .reg .b32 %r<5>; .reg .b64 %d<5>; .reg .f32 %f<4>; .reg .pred %p;
    ld.param.u64 %d0, [y]; ld.param.u64 %d1, [x]; ld.param.f32 %f0, [a]; ld.param.u32 %r0, [n];
    mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r4, %r1, %r2, %r3;
    setp.ge.u32 %p, %r4, %r0; @%p bra $end;
    mul.wide.u32 %d2, %r4, 4; add.u64 %d3, %d0, %d2; add.u64 %d4, %d1, %d2;
    ld.global.f32 %f1, [%d3]; ld.global.f32 %f2, [%d4]; fma.rn.f32 %f3, %f0, %f2, %f1; st.global.f32 [%d3], %f3;
$end: ret;
}
// A struct of two pointers and a count by value: copies the second to the first.
.visible .entry copy(.param .align 8 .b8 s[24]) {
    .reg .b32 %r<2>; .reg .b64 %d<5>; .reg .pred %p;
    ld.param.u64 %d0, [s]; ld.param.u64 %d1, [s+8]; ld.param.u32 %r0, [s+16];
    ld.global.u32 %r1, [%d1]; st.global.u32 [%d0], %r1; ret;
}
";

fn softgpu(folder: &Path, args: &str) -> Output {
    let args: Vec<&str> = args.split_whitespace().collect();
    Command::new(env!("CARGO_BIN_EXE_softgpu")).args(args).current_dir(folder).output().unwrap()
}

/// Exit status and the first line of stderr.
fn outcome(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.lines().next().unwrap_or_default().to_string())
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k.ptx"), SAXPY).unwrap();
    std::fs::write(folder.path().join("x.bin"), floats(&[1.0, 2.0, 3.0])).unwrap();
    std::fs::write(folder.path().join("y.bin"), floats(&[10.0, 20.0, 30.0])).unwrap();
    folder
}

#[test]
fn a_kernel_runs_on_files() {
    let folder = folder();
    let run = "run k.ptx saxpy --grid 2 --block 2,1 inout:y.bin:z.bin in:x.bin f32:0.5 u32:3";
    assert_eq!(outcome(&softgpu(folder.path(), run)), (0, String::new()));
    assert_eq!(std::fs::read(folder.path().join("z.bin")).unwrap(), floats(&[10.5, 21.0, 31.5]));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 4, "a part of a file is left behind");
    let checked = format!("{run} --check all --seed 3");
    assert_eq!(outcome(&softgpu(folder.path(), &checked)), (0, String::new()));
}

/// `--cooperative` gives the blocks a place to meet at.
#[test]
fn blocks_meet_if_they_are_told_to() {
    let folder = folder();
    let ptx = ".version 8.0\n.target sm_80\n.address_size 64
.visible .entry meet(.param .u64 p) {
    .reg .pred %q; .reg .b32 %n, %all, %high, %low; .reg .b64 %d, %at;
    ld.param.u64 %d, [p]; mov.u32 %all, %nctaid.x; mov.u32 %high, %envreg1; mov.u32 %low, %envreg2; mov.b64 %at, {%low, %high};
    atom.add.acq_rel.gpu.u32 %n, [%at+4], 1;
wait: ld.acquire.gpu.u32 %n, [%at+4]; setp.lt.u32 %q, %n, %all; @%q bra wait;
    atom.global.add.u32 %n, [%d], 1; ret;
}";
    std::fs::write(folder.path().join("meet.ptx"), ptx).unwrap();
    std::fs::write(folder.path().join("zero.bin"), [0; 4]).unwrap();
    let run = "run meet.ptx meet --grid 50 --block 1 --check all inout:zero.bin:count.bin";
    assert_eq!(outcome(&softgpu(folder.path(), &format!("{run} --cooperative"))), (0, String::new()));
    assert_eq!(std::fs::read(folder.path().join("count.bin")).unwrap(), 50u32.to_le_bytes());
    let (code, said) = outcome(&softgpu(folder.path(), run));
    assert!(code == 3 && said.starts_with("memcheck: access"), "{code} {said}");
}

/// Three floats each of x and y read, of y written: one sector a request.
#[test]
fn counters_go_to_a_file_and_a_table() {
    let folder = folder();
    let run =
        "run k.ptx saxpy --grid 2 --block 32 --counters c.json --registers 24 inout:y.bin:z.bin in:x.bin f32:0.5 u32:3";
    let output = softgpu(folder.path(), run);
    assert_eq!(outcome(&output), (0, String::new()));
    let json = std::fs::read(folder.path().join("c.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let total = &json["total"];
    // Of 12 instructions the second block executes 3, then leaves; parameters and thread numbers cost nothing.
    assert_eq!(total["global_loads"]["requests"], 2);
    assert_eq!(total["global_loads"]["sectors"], 2);
    assert_eq!(total["global_loads"]["bytes_asked"], 24);
    assert_eq!(total["global_stores"]["bytes_distinct"], 12);
    assert_eq!(total["flops"]["fp32"], 6);
    assert_eq!(total["branches"], 2);
    assert_eq!(total["divergent_branches"], 1);
    assert_eq!(json["footprint_read"], 64);
    assert_eq!(json["occupancy"][0]["warps"], 32);
    assert_eq!(json["roofline_estimate"][0]["bound"], "memory");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("global loads") && table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn addresses_go_into_structs() {
    let folder = folder();
    let zeros = "0".repeat(48);
    let run = format!(
        "run k.ptx copy --grid 1 --block 1 --buffer to=out:to.bin:4 --buffer from=in:x.bin \
         --reloc 0+0=to --reloc 0+8=from bytes:{zeros}"
    );
    assert_eq!(outcome(&softgpu(folder.path(), &run)), (0, String::new()));
    assert_eq!(std::fs::read(folder.path().join("to.bin")).unwrap(), floats(&[1.0]));
    let (code, message) = outcome(&softgpu(folder.path(), &run.replace("0+8=from", "0+17=from")));
    assert_eq!((code, message.as_str()), (2, "error: --reloc 0+17=from: 8 bytes at 17 do not fit into 24"));
}

#[test]
fn a_stray_kernel_exits_with_3_and_writes_nothing() {
    let folder = folder();
    let run = "run k.ptx saxpy --grid 1 --block 4 inout:y.bin:z.bin in:x.bin f32:0.5 u32:4";
    let output = softgpu(folder.path(), run);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("thread (3, 0, 0)") && text.contains("`ld.global.f32`"), "{text}");
    assert!(!folder.path().join("z.bin").exists());
}

#[test]
fn bad_usage_exits_with_2_and_says_what_to_mend() {
    let folder = folder();
    let shape = "--grid 1 --block 1";
    for (args, expected) in [
        (format!("run k.ptx nope {shape}"), "error: k.ptx has no kernel `nope`; it has: saxpy, copy"),
        (format!("run none.ptx saxpy {shape}"), "error: none.ptx: No such file or directory (os error 2)"),
        (
            format!("run k.ptx saxpy {shape} null"),
            "error: 1 arguments given, `saxpy` takes 4: .u64 y, .u64 x, .f32 a, .u32 n",
        ),
        (
            format!("run k.ptx saxpy {shape} null null f32:1 u32:1 u32:1"),
            "error: 5 arguments given, `saxpy` takes 4: .u64 y, .u64 x, .f32 a, .u32 n",
        ),
        (
            format!("run k.ptx saxpy {shape} null null f64:1 u32:1"),
            "error: argument 2 of `saxpy`: `f64:1` (8 bytes) for `a`, which is .f32 (4 bytes)",
        ),
        (
            format!("run k.ptx saxpy {shape} null null i32:1 u32:1"),
            "error: argument 2 of `saxpy`: `i32:1` (4 bytes) for `a`, which is .f32 (4 bytes)",
        ),
        (
            format!("run k.ptx saxpy {shape} null null f32:1 f32:1"),
            "error: argument 3 of `saxpy`: `f32:1` (4 bytes) for `n`, which is .u32 (4 bytes)",
        ),
        (
            format!("run k.ptx saxpy {shape} f64:0 null f32:1 u32:1"),
            "error: argument 0 of `saxpy`: `f64:0` (8 bytes) for `y`, which is .u64 (8 bytes)",
        ),
        (
            format!("run k.ptx copy {shape} bytes:00"),
            "error: argument 0 of `copy`: `bytes:00` (1 bytes) for `s`, which is .b8[24] (24 bytes)",
        ),
        (
            format!("run k.ptx saxpy {shape} in:none.bin null f32:1 u32:1"),
            "error: none.bin: No such file or directory (os error 2)",
        ),
        (format!("run k.ptx saxpy {shape} u32:x"), "error: argument `u32:x`: `x` is no u32"),
        (
            format!("run k.ptx saxpy {shape} null null f32:1 u32:1 --reloc 0=b"),
            "error: --reloc 0=b: there is no --buffer b",
        ),
    ] {
        assert_eq!(outcome(&softgpu(folder.path(), &args)), (2, expected.to_string()));
    }
    let (code, message) = outcome(&softgpu(folder.path(), "run k.ptx saxpy --grid 1 --block 1 --check rubbish"));
    assert!(code == 2 && message.contains("`rubbish` is no checker"), "{message}");
    let full = "run k.ptx copy --grid 1 --block 1 --buffer to=out:/dev/full:4 --buffer from=in:x.bin --reloc 0+0=to --reloc 0+8=from";
    let full = format!("{full} bytes:{}", "0".repeat(48));
    let (code, message) = outcome(&softgpu(folder.path(), &full));
    assert_eq!((code, message.as_str()), (2, "error: cannot write /dev/full: No space left on device (os error 28)"));
}

#[test]
fn inspect_lists_all_that_is_unsupported() {
    let folder = folder();
    let output = softgpu(folder.path(), "inspect k.ptx");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("saxpy") && text.contains("24 bytes at 0"), "{text}");
    assert!(text.contains("  parameter 2  .f32      a  ") && text.contains("  parameter 0  .b8[24]   s  "), "{text}");
    let bad = SAXPY
        .replace("mov.u32 %r2, %ntid.x;", "tex.2d.v4.f32.f32 %f3, [t];\nsured.b.add [a], 1; mov.u32 %r2, %ntid.x;");
    std::fs::write(folder.path().join("bad.ptx"), bad).unwrap();
    let output = softgpu(folder.path(), "inspect bad.ptx");
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(output.status.code(), Some(2));
    assert!(lines.len() == 3 && lines[2] == "softgpu cannot run 1 of 2 kernels", "{text}");
    let why =
        "PTX line 7: softgpu cannot run `tex.2d.v4.f32.f32`: softgpu has no textures; read the data through a pointer";
    assert_eq!(lines[0], format!("bad.ptx: `saxpy`, {why}"));
    // The other kernel runs.
    let shape = "--grid 1 --block 1";
    let refused = outcome(&softgpu(folder.path(), &format!("run bad.ptx saxpy {shape} null null f32:1 u32:0")));
    assert_eq!(refused, (2, format!("error: bad.ptx: cannot launch `saxpy`: {why}")));
    let copy = format!(
        "run bad.ptx copy {shape} --buffer to=out:to.bin:4 --buffer from=in:x.bin --reloc 0+0=to --reloc 0+8=from bytes:{}",
        "0".repeat(48)
    );
    assert_eq!(outcome(&softgpu(folder.path(), &copy)), (0, String::new()));
    let output = softgpu(folder.path(), "inspect --disassemble bad.ptx");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(&format!("saxpy: {why}")) && text.contains("copy: shared"),
        "{text}"
    );
}

/// A fatbin as nvcc makes it, of the text alone and not compressed.
fn fatbin(text: &str) -> Vec<u8> {
    let padded = text.len().next_multiple_of(8);
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    // Magic, version and header bytes, payload bytes; then of the entry: kind, header bytes, payload bytes, packed bytes,
    // architecture (bytes 28 to 31), flags, size unpacked.
    let mut file = words(&[0xba55_ed50, 16 << 16 | 1, 64 + padded as u32, 0]);
    file.extend(words(&[0x101 << 16 | 1, 64, padded as u32, 0, 0, 0, 0, 80, 0, 0, 0x11, 0, 0, 0, 0, 0]));
    file.extend(text.as_bytes());
    file.resize(16 + 64 + padded, 0);
    file
}

#[test]
fn fatbins_run_and_what_holds_no_ptx_says_what_to_do() {
    let folder = folder();
    std::fs::write(folder.path().join("k.fatbin"), fatbin(SAXPY)).unwrap();
    let run = "run k.fatbin saxpy --grid 2 --block 2,1 inout:y.bin:z.bin in:x.bin f32:0.5 u32:3";
    assert_eq!(outcome(&softgpu(folder.path(), run)), (0, String::new()));
    assert_eq!(std::fs::read(folder.path().join("z.bin")).unwrap(), floats(&[10.5, 21.0, 31.5]));
    assert!(softgpu(folder.path(), "inspect k.fatbin").status.success());
    let (mut later, mut cubin) = (fatbin(SAXPY), b"\x7fELF".to_vec());
    later[16 + 28] = 90;
    cubin.resize(64, 0);
    cubin[18] = 190;
    let mut packed = fatbin(SAXPY);
    packed[16 + 40..16 + 42].copy_from_slice(&0x8011u16.to_le_bytes());
    for (file, content, says) in [
        ("k.cubin", cubin, "only such for later ones or machine code (cubin)"),
        ("later.fatbin", later, "only such for later ones or machine code (cubin)"),
        ("program", b"\x7fELF".to_vec(), "the program holds no fatbin"),
        ("k.txt", b"hello".to_vec(), "is neither PTX text, a fatbin nor a cubin"),
        ("packed.fatbin", packed, "build with `nvcc --no-compress`"),
    ] {
        std::fs::write(folder.path().join(file), content).unwrap();
        let (code, message) = outcome(&softgpu(folder.path(), &format!("inspect {file}")));
        assert!(code == 2 && message.contains(says), "{file}: {message}");
    }
}

/// The page in the repository is what the table makes; `BLESS=1` rewrites it.
#[test]
fn the_coverage_page_is_current() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("COVERAGE.md");
    let output = softgpu(Path::new("."), "coverage");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&page, &output.stdout).unwrap();
    }
    let kept = std::fs::read(&page).unwrap_or_default();
    assert!(kept == output.stdout, "run `BLESS=1 cargo test -p softgpu --test command`");
}

/// As `softgpu coverage | head -1`: whoever has read enough closes the pipe, which is no error. A full disk is one.
#[test]
fn a_reader_may_leave_early() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_softgpu"))
        .arg("coverage")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(outcome(&child.wait_with_output().unwrap()), (0, String::new()));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_softgpu")).arg("coverage").stdout(full).output().unwrap();
    let (code, first) = outcome(&output);
    assert!(code == 2 && first.starts_with("error: cannot write stdout"), "{code} {first}");
}

/// What a kernel prints, and the help, are not lost in silence.
#[test]
fn text_for_a_full_disk_is_an_error() {
    let folder = folder();
    let prints = ".version 8.0\n.target sm_80\n.address_size 64
.global .align 1 .b8 hi[4] = {104, 105, 10, 0};
.extern .func (.param .b32 r) vprintf(.param .b64 format, .param .b64 args);
.visible .entry k() {
    .reg .b64 %d<2>; mov.u64 %d0, hi; cvta.global.u64 %d1, %d0;
    { .param .b64 f; st.param.b64 [f], %d1; .param .b64 a; st.param.b64 [a], 0; .param .b32 r;
      call.uni (r), vprintf, (f, a); }
    ret;
}";
    std::fs::write(folder.path().join("p.ptx"), prints).unwrap();
    assert_eq!(softgpu(folder.path(), "run p.ptx k --grid 1 --block 2").stdout, b"hi\nhi\n");
    for args in ["run p.ptx k --grid 1 --block 1", "--help", "run --help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
        let output = command.args(args.split_whitespace()).current_dir(folder.path()).stdout(full).output().unwrap();
        let error = "error: cannot write stdout: No space left on device (os error 28)".to_string();
        assert_eq!(outcome(&output), (2, error), "{args}");
    }
}

/// With standard error closed (as by `2>&1 | head -1`) or full, the exit status is what it would have been.
#[test]
fn an_error_that_nobody_reads_keeps_its_status() {
    let folder = folder();
    let run = "run k.ptx saxpy --grid 1 --block 4 inout:y.bin:z.bin in:x.bin f32:0.5 u32:4";
    for (args, code) in [
        (run.to_string(), 3),
        (format!("{run} --check memcheck"), 3),
        ("run none.ptx k --grid 1 --block 1".into(), 2),
        ("run k.ptx saxpy --grid x".into(), 2),
    ] {
        let (reader, closed) = std::io::pipe().unwrap();
        drop(reader);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        for stderr in [std::process::Stdio::from(closed), full.into()] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
            let status = command.args(args.split_whitespace()).current_dir(folder.path()).stderr(stderr).status();
            assert_eq!(status.unwrap().code(), Some(code), "{args}");
        }
    }
}

/// An endless loop is found after so many branches as asked for, and the help says how many it is without.
#[test]
fn the_budget_of_branches_may_be_chosen() {
    let folder = folder();
    let endless = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { $again: bra $again; }";
    std::fs::write(folder.path().join("e.ptx"), endless).unwrap();
    let (code, first) = outcome(&softgpu(folder.path(), "run e.ptx k --grid 1 --block 1 --budget 100000"));
    assert_eq!((code, first.as_str()), (3, "synccheck: the kernel does not end"));
    let help = softgpu(folder.path(), "run --help").stdout;
    assert!(String::from_utf8_lossy(&help).contains("[default: 20000000000]"));
    assert_eq!(outcome(&softgpu(folder.path(), "run e.ptx k --grid 1 --block 1 --budget 0")).0, 2);
}

/// Options that mean nothing are no options that do nothing.
#[test]
fn values_that_cannot_be_meant_are_refused() {
    let folder = folder();
    for (option, says) in [
        ("--check=", "a checker's name is missing"),
        ("--check=memcheck,,racecheck", "a checker's name is missing"),
        ("--counters=-", "the JSON needs a file of its own"),
        ("--counters=c.json --registers=0", "1..=255"),
        ("--counters=c.json --registers=300", "1..=255"),
    ] {
        let run = format!("run k.ptx saxpy --grid 1 --block 1 null null f32:1 u32:0 {option}");
        let output = softgpu(folder.path(), &run);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(says), "{option}: {text}");
    }
    assert!(!folder.path().join("-").exists());
    let run = "run k.ptx saxpy --grid 1 --block 1 null null f32:1e400 u32:0";
    let why = "error: argument `f32:1e400`: `1e400` is no f32".to_string();
    assert_eq!(outcome(&softgpu(folder.path(), run)), (2, why));
}

#[test]
fn inspect_says_that_the_launch_sizes_shared_memory() {
    let folder = folder();
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 4 .b8 all[];
.visible .entry k() { .reg .b32 %r<2>; ld.shared.u32 %r1, [all]; ret; }";
    std::fs::write(folder.path().join("d.ptx"), text).unwrap();
    let page = softgpu(folder.path(), "inspect d.ptx").stdout;
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains("  shared 0 bytes and what the launch gives (--smem), local 0 bytes"), "{page}");
}
