//! `softgpu exec`: what a program does on the software driver, and the exit status that tells of it. The program is this
//! test itself, run again: it loads libcuda.so.1 as a program does, and plays the part that `SOFTGPU_CLIENT` names.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// `store` writes 4 bytes at `p`; `meet` waits for all blocks at the grid's barrier, and counts them at `p`; `lacking` has an
/// instruction that softgpu does not.
const PTX: &str = ".version 8.0\n.target sm_80\n.address_size 64
.visible .entry store(.param .u64 p) {
    .reg .b32 %r; .reg .b64 %d;
    ld.param.u64 %d, [p]; mov.u32 %r, 7; st.global.u32 [%d], %r; ret;
}
.visible .entry meet(.param .u64 p) {
    .reg .pred %q; .reg .b32 %n, %all, %high, %low; .reg .b64 %d, %at;
    ld.param.u64 %d, [p]; mov.u32 %all, %nctaid.x;
    mov.u32 %high, %envreg1; mov.u32 %low, %envreg2; mov.b64 %at, {%low, %high};
    atom.add.acq_rel.gpu.u32 %n, [%at+4], 1;
wait:
    ld.acquire.gpu.u32 %n, [%at+4]; setp.lt.u32 %q, %n, %all; @%q bra wait;
    atom.global.add.u32 %n, [%d], 1; ret;
}
.visible .entry lacking() { wgmma.fence.sync.aligned; ret; }
";

const INVALID_VALUE: c_int = 1;
const INVALID_HANDLE: c_int = 400;
const ILLEGAL_ADDRESS: c_int = 700;
const NOT_SUPPORTED: c_int = 801;
const TOO_LARGE: c_int = 720;
/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`.
const COOPERATIVE: c_int = 2;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The driver that the loader finds, with a context.
struct Driver(*mut c_void);

impl Driver {
    fn new() -> Driver {
        const NOW: c_int = 2;
        // SAFETY: a name that ends in a zero byte.
        let driver = Driver(unsafe { dlopen(c"libcuda.so.1".as_ptr(), NOW) });
        assert!(!driver.0.is_null(), "the loader finds no libcuda.so.1");
        assert_eq!(driver.call("cuInit", &[0]), 0);
        driver.out("cuCtxCreate_v2", &[0, 0]);
        driver
    }

    /// Calls a function whose arguments are all integers or pointers.
    fn call(&self, name: &str, args: &[usize]) -> c_int {
        type Function =
            extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize, usize, usize, usize) -> c_int;
        let text = CString::new(name).unwrap();
        let mut a = [0; 11];
        a[..args.len()].copy_from_slice(args);
        // SAFETY: C leaves arguments alone that it does not know of; pointers are those of live values.
        let function = unsafe {
            let address = dlsym(self.0, text.as_ptr());
            assert!(!address.is_null(), "{name}");
            std::mem::transmute::<*mut c_void, Function>(address)
        };
        function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10])
    }

    /// Calls a function that gives something through its first argument.
    fn out(&self, name: &str, args: &[usize]) -> usize {
        let mut value = 0usize;
        let args: Vec<usize> = [&raw mut value as usize].iter().chain(args).copied().collect();
        assert_eq!(self.call(name, &args), 0, "{name}");
        value
    }

    fn function(&self, name: &str) -> usize {
        let (text, name) = (CString::new(PTX).unwrap(), CString::new(name).unwrap());
        let module = self.out("cuModuleLoadData", &[text.as_ptr() as usize]);
        self.out("cuModuleGetFunction", &[module, name.as_ptr() as usize])
    }

    /// Launches a kernel of one block.
    fn launch(&self, kernel: &str, threads: usize, pointer: usize) -> c_int {
        let function = self.function(kernel);
        let params = [&raw const pointer as usize];
        self.call("cuLaunchKernel", &[function, 1, 1, 1, threads, 1, 1, 0, 0, params.as_ptr() as usize, 0])
    }

    fn alloc(&self, bytes: usize) -> usize {
        self.out("cuMemAlloc_v2", &[bytes])
    }

    fn wait(&self) -> c_int {
        self.call("cuCtxSynchronize", &[])
    }
}

/// A host function that does not return while anybody waits.
extern "C" fn sleep(_: usize) {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

/// The program: does nothing as a test.
#[test]
fn client() {
    let Ok(part) = std::env::var("SOFTGPU_CLIENT") else { return };
    let gpu = Driver::new();
    match part.as_str() {
        "well" => assert_eq!((gpu.launch("store", 1, gpu.alloc(4)), gpu.wait()), (0, 0)),
        "stray" => assert_eq!((gpu.launch("store", 1, gpu.alloc(4) + 4), gpu.wait()), (0, ILLEGAL_ADDRESS)),
        "twice" => {
            let at = gpu.alloc(4);
            assert_eq!([gpu.launch("store", 1, at), gpu.launch("store", 1, at), gpu.wait()], [0; 3]);
        }
        "large" => {
            assert_eq!((gpu.launch("store", 2000, gpu.alloc(4)), gpu.wait()), (INVALID_VALUE, 0));
        }
        "nowhere" => {
            let function = gpu.function("store");
            assert_eq!(gpu.call("cuLaunchKernel", &[function, 1, 1, 1, 1, 1, 1, 0, 0x77, 0, 0]), INVALID_HANDLE);
        }
        "free" => {
            let at = gpu.alloc(4);
            assert_eq!([gpu.call("cuMemFree_v2", &[at]), gpu.call("cuMemFree_v2", &[at])], [0, INVALID_VALUE]);
        }
        "fill" => assert_eq!(gpu.call("cuMemsetD8_v2", &[gpu.alloc(4), 0, 5]), INVALID_VALUE),
        "stream" => assert_eq!(gpu.call("cuStreamSynchronize", &[0x77]), INVALID_HANDLE),
        // Whether a pointer is the device's: no is an answer.
        "question" => {
            let (mut answer, no) = (0usize, 0usize);
            let args = [&raw mut answer as usize, 2, &raw const no as usize];
            assert_eq!(gpu.call("cuPointerGetAttribute", &args), INVALID_VALUE);
        }
        "queued" => assert_eq!(gpu.launch("store", 1, gpu.alloc(4) + 4), 0),
        "endless" => {
            let function = sleep as extern "C" fn(usize) as usize;
            assert_eq!(gpu.call("cuLaunchHostFunc", &[0, function, 0]), 0);
            assert_eq!(gpu.launch("store", 1, gpu.alloc(4) + 4), 0);
        }
        "lacking" => assert_eq!((gpu.launch("lacking", 1, 0), gpu.wait()), (NOT_SUPPORTED, 0)),
        "runtime" => {
            let (id, mut table) = ([0u8; 16], 0usize);
            assert_ne!(gpu.call("cuGetExportTable", &[&raw mut table as usize, id.as_ptr() as usize]), 0);
        }
        "cooperative" => {
            const COOPERATIVE_LAUNCH: usize = 95;
            assert_eq!(gpu.out("cuDeviceGetAttribute", &[COOPERATIVE_LAUNCH, 0]), 1);
            let (pointer, function) = (gpu.alloc(4), gpu.function("meet"));
            assert_eq!(gpu.call("cuMemsetD8_v2", &[pointer, 0, 4]), 0);
            let params = [&raw const pointer as usize];
            let sizes = |blocks| [function, blocks, 1, 1, 1, 1, 1, 0, 0, params.as_ptr() as usize];
            // As a plain launch with the attribute, too.
            let attribute = [COOPERATIVE as u64, 1, 0, 0, 0, 0, 0, 0, 0];
            let config = [100 | 1 << 32, 1 | 1 << 32, 1 | 1 << 32, 0, 0, &raw const attribute as u64, 1u64];
            let other = [&raw const config as usize, function, params.as_ptr() as usize, 0];
            for _ in 0..2 {
                assert_eq!(gpu.call("cuLaunchCooperativeKernel", &sizes(100)), 0);
                assert_eq!((gpu.call("cuLaunchKernelEx", &other), gpu.wait()), (0, 0));
            }
            let mut count = 0u32;
            assert_eq!(gpu.call("cuMemcpyDtoH_v2", &[&raw mut count as usize, pointer, 4]), 0);
            assert_eq!(count, 400);
        }
        "crowd" => {
            let (pointer, function) = (gpu.alloc(4), gpu.function("meet"));
            let params = [&raw const pointer as usize];
            let sizes = [function, 4000, 1, 1, 1, 1, 1, 0, 0, params.as_ptr() as usize];
            assert_eq!((gpu.call("cuLaunchCooperativeKernel", &sizes), gpu.wait()), (TOO_LARGE, 0));
        }
        other => panic!("no part `{other}`"),
    }
}

/// The driver's folder in the build folder, which has the command too.
fn driver() -> PathBuf {
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("softgpu-driver");
    assert!(folder.join("libcuda.so.1").exists(), "no libcuda.so.1 in {}", folder.display());
    folder
}

/// `softgpu exec` of this program in a part.
fn command(options: &str, part: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
    command.arg("exec").args(options.split_whitespace()).arg("--").arg(std::env::current_exe().unwrap());
    command.args(["--exact", "client", "--nocapture"]).env("SOFTGPU_CLIENT", part).env("SOFTGPU_DRIVER", driver());
    command
}

/// Exit status and stderr.
fn outcome(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn exec(options: &str, part: &str) -> (i32, String) {
    outcome(&command(options, part).output().unwrap())
}

#[test]
fn a_program_may_be_clean_or_stray() {
    assert_eq!(exec("--check all", "well"), (0, String::new()));
    let (code, said) = exec("", "stray");
    assert!(code == 3 && said.contains("access past an allocation: 4 bytes"), "{code} {said}");
}

#[test]
fn blocks_meet_in_cooperative_launches() {
    assert_eq!(exec("--check all", "cooperative"), (0, String::new()));
    let (code, said) = exec("--check all", "crowd");
    assert!(code == 3 && said.contains("4000 blocks, and the device holds 3456 of them"), "{code} {said}");
}

/// The program of the first ignores the code that it gets.
#[test]
fn what_softgpu_lacks_is_not_clean() {
    let (code, said) = exec("--check all", "lacking");
    assert!(code == 2 && said.starts_with("softgpu: cannot launch `lacking`"), "{code} {said}");
    let (code, said) = exec("", "runtime");
    assert!(code == 2 && said.starts_with("softgpu: cuGetExportTable: programs of the runtime API"), "{code} {said}");
}

#[test]
fn a_finding_that_nobody_can_read_still_counts() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command("", "stray").stderr(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn counters_that_cannot_be_written_are_not_clean() {
    let (code, said) = exec("--counters /dev/full", "well");
    assert!(code == 2 && said.starts_with("softgpu: cannot write /dev/full"), "{code} {said}");
    let (code, said) = exec("--counters /no/such/folder/c.json", "well");
    assert!(code == 2 && said.starts_with("error: cannot write /no/such/folder/c.json"), "{code} {said}");
}

/// As the help says: JSON Lines, and nothing between what the program itself prints.
#[test]
fn each_launch_is_a_line_of_counters() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.json");
    std::fs::write(&file, "of an earlier run").unwrap();
    let output = command(&format!("--counters {}", file.display()), "twice").output().unwrap();
    assert_eq!(outcome(&output), (0, String::new()));
    let text = std::fs::read_to_string(&file).unwrap();
    let stores =
        |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["total"]["global_stores"]["requests"].clone();
    assert_eq!(text.lines().map(stores).collect::<Vec<_>>(), [1, 1]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("requests"), "a table");
    let help = Command::new(env!("CARGO_BIN_EXE_softgpu")).args(["exec", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("of `exec`, a line of JSON for each launch"));
}

#[test]
fn a_folder_without_the_driver_is_named() {
    for folder in ["/no/such/folder", "/"] {
        let (code, said) = outcome(&command("", "well").env("SOFTGPU_DRIVER", folder).output().unwrap());
        let first = format!("error: SOFTGPU_DRIVER: no libcuda.so.1 in {folder}");
        assert!(code == 2 && said.starts_with(&first), "{code} {said}");
    }
    // Empty is as good as unset: the driver beside the command.
    let output = command("", "well").env("SOFTGPU_DRIVER", "").output().unwrap();
    assert_eq!(outcome(&output), (0, String::new()));
}

/// As after `cargo install`: what the error says, and README too, is what makes it work.
#[test]
fn an_installed_command_is_told_where_the_driver_is() {
    let folder = tempfile::tempdir().unwrap();
    let installed = folder.path().join("softgpu");
    std::fs::copy(env!("CARGO_BIN_EXE_softgpu"), &installed).unwrap();
    let mut lost = Command::new(&installed);
    let (code, said) = outcome(&lost.args(["exec", "--", "true"]).env_remove("SOFTGPU_DRIVER").output().unwrap());
    let folder = folder.path().display();
    assert!(code == 2 && said.starts_with(&format!("error: no libcuda.so.1 in {folder} or ")), "{code} {said}");
    let told = Command::new(&installed).args(["exec", "--", "true"]).env("SOFTGPU_DRIVER", driver()).output().unwrap();
    assert_eq!(outcome(&told), (0, String::new()));
    let (build, place) = ("cargo build --release -p softgpu-driver", "/target/release/softgpu-driver");
    let readme = include_str!("../README.md");
    for text in [&said, readme] {
        assert!(text.contains(build) && text.contains("SOFTGPU_DRIVER=") && text.contains(place), "{text}");
    }
}

/// The program returns at once, and the kernel that nobody waited for is run then.
#[test]
fn what_is_pending_at_the_end_is_run() {
    let (code, said) = exec("", "queued");
    assert!(code == 3 && said.contains("access past an allocation: 4 bytes"), "{code} {said}");
    let (code, said) = exec("", "endless");
    assert!(code == 2 && said.contains("the program ended, and with it 2 pieces of work"), "{code} {said}");
}

/// A launch that was refused is missing whatever the program does; another wrong call is a finding of memcheck only.
#[test]
fn wrong_calls_count() {
    for (part, text) in [
        ("large", "1024 in all\n  help: take smaller blocks"),
        ("nowhere", "cuLaunchKernel: CUDA_ERROR_INVALID_HANDLE"),
    ] {
        for (options, status) in [("", 2), ("--check racecheck", 2), ("--check memcheck", 3)] {
            let (code, said) = exec(options, part);
            assert!(code == status && said.contains(text), "{part} {options}: {code} {said}");
        }
    }
    for (part, text) in [
        ("free", "does not start a live allocation"),
        ("fill", "5 bytes at"),
        ("stream", "cuStreamSynchronize: CUDA_ERROR_INVALID_HANDLE"),
    ] {
        assert_eq!(exec("", part).0, 0, "{part}");
        let (code, said) = exec("--check memcheck", part);
        assert!(code == 3 && said.contains(text), "{part}: {code} {said}");
    }
    assert_eq!(exec("--check all", "question"), (0, String::new()));
}

/// Sent to the command alone, as a scheduler does; from a terminal both get it.
#[test]
fn signals_reach_the_program() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_softgpu"));
    command.args(["exec", "--", "sh", "-c", "echo $$; exec sleep 60"]).env("SOFTGPU_DRIVER", driver());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut program = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut program).unwrap();
    // Not SIGINT, which whoever runs the tests in the background may ignore.
    let kill = |signal: &str, process: &str| Command::new("kill").args([signal, process]).output().unwrap();
    kill("-TERM", &child.id().to_string());
    let status = child.wait().unwrap();
    let left = kill("-KILL", program.trim()).status.success();
    assert_eq!((status.code(), left), (Some(128 + 15), false), "{status}, and the program is left");
}
