//! Kernels with a bug planted in each: the full report of every one, and a corrected twin that no checker minds.
//!
//! `bugs/<case>.cu` has the kernels `<case>` and `<case>_fixed`, and `<case>.ptx` is what nvcc made of it; cases that
//! CUDA cannot express are written in PTX. `<case>.txt` is the report. `// run:` gives the launch of both, `// fixed:`
//! what the twin's has besides, as `key value` pairs:
//!
//! ```text
//! grid 2  block 64,2  smem 256  seed 1  budget 1000  args out:256 i32:5
//! ```
//! Arguments: `new:BYTES` (allocated, unwritten), `zeros:BYTES`, `iota:BYTES` (words 0, 1, …), `half:BYTES` (the second
//! half unwritten), `freed:BYTES`, `inside:BYTES+OFFSET` (zeros), `host`, `null`, `i32:N`, `u64:N`, `f32:X`.
//!
//! `BLESS=1 cargo test --release -p softgpu --test bugs` writes PTX (with nvcc) and reports anew: read the difference.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic in a test is its report

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use softgpu::{Error, Launch, Memory, Module, Tools, launch_with};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bugs")
}

fn blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The cases, by name, in order.
fn cases() -> Vec<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|e| e == "cu" || e == "ptx"));
    let mut names: Vec<String> = sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

/// The keys of the lines that start so.
#[derive(Clone, Default)]
struct Run(Vec<(String, Vec<String>)>);

impl Run {
    fn read(&mut self, text: &str, head: &str) {
        for line in text.lines().filter_map(|line| line.strip_prefix(head)) {
            for word in line.split_whitespace() {
                let keys = ["grid", "block", "smem", "seed", "budget", "args"];
                match keys.contains(&word) {
                    true => {
                        self.0.retain(|(key, _)| key != word);
                        self.0.push((word.to_owned(), Vec::new()));
                    }
                    false => self.0.last_mut().expect("a key comes first").1.push(word.to_owned()),
                }
            }
        }
    }

    fn words(&self, key: &str) -> &[String] {
        self.0.iter().find(|(k, _)| k == key).map_or(&[], |(_, words)| words)
    }

    fn number(&self, key: &str, default: u64) -> u64 {
        self.words(key).first().map_or(default, |word| word.parse().unwrap())
    }

    fn extent(&self, key: &str) -> [u32; 3] {
        let mut out = [1; 3];
        let word = self.words(key).first().map_or("1", String::as_str);
        word.split(',').zip(&mut out).for_each(|(n, out)| *out = n.parse().unwrap());
        out
    }
}

fn argument(memory: &Memory, spec: &str) -> Vec<u8> {
    let (kind, value) = spec.split_once(':').unwrap_or((spec, ""));
    let alloc = |bytes: usize| memory.alloc(bytes).unwrap();
    let iota = |bytes: usize| (0..bytes as u32 / 4).flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
    let address = match kind {
        "i32" => return value.parse::<i32>().unwrap().to_le_bytes().to_vec(),
        "f32" => return value.parse::<f32>().unwrap().to_le_bytes().to_vec(),
        "u64" => value.parse().unwrap(),
        "null" => 0,
        "host" => 0x7ffd_1234_5670,
        "inside" => {
            let (bytes, offset) = value.split_once('+').unwrap();
            let address = alloc(bytes.parse().unwrap());
            memory.fill(address, bytes.parse().unwrap(), 0).unwrap();
            address + offset.parse::<u64>().unwrap()
        }
        _ => {
            let bytes: usize = value.parse().unwrap();
            let address = alloc(bytes);
            match kind {
                "new" => {}
                "zeros" => memory.fill(address, bytes, 0).unwrap(),
                "iota" => memory.write(address, &iota(bytes)).unwrap(),
                "half" => memory.write(address, &iota(bytes / 2)).unwrap(),
                "freed" => memory.free(address).unwrap(),
                other => panic!("an argument `{other}`"),
            }
            address
        }
    };
    address.to_le_bytes().to_vec()
}

/// Everything that is said about a launch; nothing if it is clean.
fn reports(module: &str, entry: &str, run: &Run, seed: u64) -> String {
    let module = match Module::load(module).and_then(Module::whole) {
        Ok(module) => module.with_budget(run.number("budget", 1 << 40)),
        Err(error) => return format!("{error}\n"),
    };
    let memory = Memory::watched();
    let args: Vec<Vec<u8>> = run.words("args").iter().map(|spec| argument(&memory, spec)).collect();
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let (grid, block) = (run.extent("grid"), run.extent("block"));
    let launch = Launch { grid, block, shared_bytes: run.number("smem", 0) as u32, args: &args, cooperative: false };
    let tools = Tools { seed, ..Tools::checks() };
    let all: Vec<String> = match launch_with(&module, entry, &memory, &launch, &tools) {
        Ok(report) => report.findings.iter().map(|stop| format!("{stop}\n")).collect(),
        Err(Error::Stopped(stop)) => stop.before.iter().chain([&*stop]).map(|stop| format!("{stop}\n")).collect(),
        Err(other) => vec![format!("{other}\n")],
    };
    all.join("\n")
}

fn check(name: &str) -> Result<(), String> {
    let path = |kind: &str| folder().join(format!("{name}.{kind}"));
    let ptx = fs::read_to_string(path("ptx")).unwrap();
    let source = fs::read_to_string(path("cu")).unwrap_or_else(|_| ptx.clone());
    let mut run = Run::default();
    run.read(&source, "// run: ");
    let got = reports(&ptx, name, &run, run.number("seed", 0));
    if blessing() {
        fs::write(path("txt"), &got).unwrap();
    }
    let want = fs::read_to_string(path("txt")).unwrap_or_default();
    if got.is_empty() || got != want {
        return Err(format!("{name}: reported\n{got}\nexpected\n{want}"));
    }
    if let Some(long) = got.lines().find(|line| line.chars().count() > 120) {
        return Err(format!("{name}: a line is too long: {long}"));
    }
    run.read(&source, "// fixed: ");
    for seed in [0, 1, 7] {
        let got = reports(&ptx, &format!("{name}_fixed"), &run, seed);
        if !got.is_empty() {
            return Err(format!("{name}: the corrected twin, at seed {seed}, is not clean\n{got}"));
        }
    }
    Ok(())
}

#[test]
fn every_bug_is_reported_in_full_and_its_twin_is_clean() {
    if blessing() {
        compile();
    }
    let cases = cases();
    let only = std::env::var("CASE").ok();
    let chosen = cases.iter().filter(|name| only.as_ref().is_none_or(|only| name.contains(only.as_str())));
    let failures: Vec<String> = chosen.filter_map(|name| check(name).err()).collect();
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
    assert!(cases.len() >= 40, "{} cases", cases.len());
}

/// PTX starts with a line that says of which source it was made.
fn stamp(source: &str) -> String {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    format!("// made from the source {:016x}", hasher.finish())
}

#[test]
fn ptx_is_made_from_the_sources_beside_it() {
    if blessing() {
        return;
    }
    for name in cases() {
        let Ok(source) = fs::read_to_string(folder().join(format!("{name}.cu"))) else { continue };
        let ptx = fs::read_to_string(folder().join(format!("{name}.ptx"))).unwrap();
        assert!(ptx.starts_with(&stamp(&source)), "{name}.cu has changed: BLESS=1 makes its PTX anew");
    }
}

/// Makes the PTX of sources that have changed, without the folders of this machine in it.
fn compile() {
    let nvcc = std::env::var_os("NVCC").map(PathBuf::from);
    let nvcc = nvcc.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cuda/bin/nvcc"));
    for name in cases() {
        let Ok(source) = fs::read_to_string(folder().join(format!("{name}.cu"))) else { continue };
        let path = folder().join(format!("{name}.ptx"));
        if fs::read_to_string(&path).is_ok_and(|ptx| ptx.starts_with(&stamp(&source))) {
            continue;
        }
        let arguments = ["-O3", "-lineinfo", "--std=c++17", "-gencode", "arch=compute_80,code=compute_80", "-ptx"];
        let file = format!("{name}.cu");
        let made = Command::new(&nvcc).args(arguments).arg(&file).arg("-o").arg(&path).current_dir(folder()).output();
        let made = made.expect("nvcc: set NVCC, or `make toolchain`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("//")).map(|line| {
            let file = line.strip_prefix("\t.file\t").and_then(|rest| rest.split_once(' '));
            let Some((number, quoted)) = file else { return line.to_owned() };
            let path = quoted.split('"').nth(1).unwrap_or_default();
            let short = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
            let folder = if path.contains("/bugs/") || !path.contains('/') { "bugs" } else { "include" };
            format!("\t.file\t{number} \"{folder}/{short}\"")
        });
        let text: Vec<String> = lines.collect();
        fs::write(&path, format!("{}\n{}\n", stamp(&source), text.join("\n").trim())).unwrap();
    }
}
