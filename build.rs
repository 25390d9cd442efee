//! Compiles `kernels/*.cu`: one PTX each (compute_80, with line information), and in release builds one fatbin each,
//! assembled from that same PTX for every supported architecture. Writes `kernels.rs`, which embeds them.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Architectures that get SASS; newer ones compile the PTX that is in the fatbin too.
const ARCHITECTURES: [&str; 6] = ["80", "86", "89", "90", "100", "120"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        exit(1);
    }
}

fn run() -> Result<()> {
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", "OMEGA_FATBIN"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=.cuda/bin/nvcc");
    let nvcc = find_nvcc()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Whoever builds a kernel again and again for softgpu only (tests/mutants/run.sh) sets OMEGA_FATBIN=0.
    let fatbins = env::var("OMEGA_FATBIN").map_or(env::var("PROFILE")? == "release", |wanted| wanted != "0");
    let mut sources: Vec<PathBuf> =
        fs::read_dir("kernels")?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    sources.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    sources.sort();
    // Two at a time: nvcc starts several compilers, and a laptop has few cores.
    let compiled: Vec<Module> = sources.chunks(2).try_fold(Vec::new(), |mut done, pair| -> Result<Vec<Module>> {
        let results: Vec<_> = std::thread::scope(|scope| {
            let tasks: Vec<_> = pair
                .iter()
                .map(|source| scope.spawn(|| compile(&nvcc, source, &out, fatbins).map_err(|error| error.to_string())))
                .collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap_or_else(|_| Err("a compile thread panicked".into())))
                .collect()
        });
        for result in results {
            done.push(result?);
        }
        Ok(done)
    })?;
    fs::write(out.join("kernels.rs"), table(&compiled))?;
    Ok(())
}

/// nvcc, looked for where DESIGN says: `$NVCC`, `$CUDA_HOME`, `$CUDA_PATH`, `PATH`, `/usr/local/cuda`, `.cuda/`.
fn find_nvcc() -> Result<PathBuf> {
    let home = |variable: &str| env::var_os(variable).map(|home| Path::new(&home).join("bin/nvcc"));
    let on_path =
        env::var_os("PATH").and_then(|path| env::split_paths(&path).map(|p| p.join("nvcc")).find(|p| p.is_file()));
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join(".cuda/bin/nvcc");
    let places = [
        env::var_os("NVCC").map(PathBuf::from),
        home("CUDA_HOME"),
        home("CUDA_PATH"),
        on_path,
        Some(PathBuf::from("/usr/local/cuda/bin/nvcc")),
        Some(here),
    ];
    places.into_iter().flatten().find(|path| path.is_file()).ok_or_else(|| {
        "omega: no nvcc found (looked in $NVCC, $CUDA_HOME/bin, $CUDA_PATH/bin, PATH, /usr/local/cuda/bin, .cuda/bin)\n\
         hint: `make toolchain` fetches one into .cuda/"
            .into()
    })
}

struct Module {
    name: String,
    entries: Vec<String>,
    ptx: PathBuf,
    fatbin: Option<PathBuf>,
    ptxas: String,
}

/// Compiles one source unless its outputs are there for the same content, headers, compiler and kind of build.
fn compile(nvcc: &Path, source: &Path, out: &Path, fatbins: bool) -> Result<Module> {
    let name = source.file_stem().and_then(|stem| stem.to_str()).ok_or("a kernel file without a name")?.to_owned();
    let [ptx, fatbin, log, stamp] = ["ptx", "fatbin", "ptxas", "stamp"].map(|kind| out.join(format!("{name}.{kind}")));
    let mut hasher = DefaultHasher::new();
    (fs::read(source)?, headers()?, nvcc, fatbins, "v1").hash(&mut hasher);
    let key = format!("{:016x}", hasher.finish());
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&key) {
        let common = ["-O3", "-lineinfo", "--std=c++17", "-Werror", "all-warnings", "-gencode"];
        nvcc_run(nvcc, source, &ptx, &common, &["arch=compute_80,code=compute_80", "-ptx"])?;
        let mut printed = String::new();
        if fatbins {
            let codes: Vec<String> = ARCHITECTURES.iter().map(|arch| format!("sm_{arch}")).collect();
            let arch = format!("arch=compute_80,code=[{},compute_80]", codes.join(","));
            printed = nvcc_run(nvcc, source, &fatbin, &common, &[&arch, "-fatbin", "-Xptxas", "-v", "-t", "2"])?;
        }
        fs::write(&log, printed)?;
        fs::write(&stamp, key)?;
    }
    let text = fs::read_to_string(&ptx)?;
    let entries = text
        .lines()
        .filter_map(|line| {
            line.split_once(".entry ").map(|(_, rest)| rest.trim_end_matches(['(', ')', ' ']).to_owned())
        })
        .collect();
    Ok(Module { name, entries, ptx, fatbin: fatbins.then_some(fatbin), ptxas: fs::read_to_string(&log)? })
}

/// The content of every header, any of which a source may include.
fn headers() -> Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir("kernels")?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "cuh"));
    paths.sort();
    Ok(paths.iter().map(fs::read).collect::<std::io::Result<_>>()?)
}

fn nvcc_run(nvcc: &Path, source: &Path, output: &Path, common: &[&str], arguments: &[&str]) -> Result<String> {
    let run = Command::new(nvcc).args(common).args(arguments).arg("-o").arg(output).arg(source).output();
    let run = run.map_err(|error| format!("omega: cannot start {}: {error}", nvcc.display()))?;
    let printed = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("omega: nvcc failed on {}\n{printed}", source.display()).into());
    }
    Ok(printed)
}

/// The Rust source of `MODULES` and `RESOURCES`.
fn table(modules: &[Module]) -> String {
    let mut rust = String::from("pub static MODULES: &[KernelModule] = &[\n");
    for module in modules {
        let fatbin = match &module.fatbin {
            Some(path) => format!("include_bytes!({path:?})"),
            None => "&[]".to_owned(),
        };
        let (name, ptx, entries) = (&module.name, &module.ptx, &module.entries);
        let row = format!(
            "    KernelModule {{ name: {name:?}, ptx: include_str!({ptx:?}), fatbin: {fatbin}, entries: &{entries:?} }},\n"
        );
        rust.push_str(&row);
    }
    rust.push_str("];\n\n/// One row per kernel and architecture; empty in debug builds.\npub static RESOURCES: &[KernelResources] = &[\n");
    for module in modules {
        resources(&module.ptxas, &mut rust);
    }
    rust.push_str("];\n");
    rust
}

/// Rows out of `ptxas -v`: a line "Compiling entry function 'k' for 'sm_80'", then lines with spills and registers.
fn resources(printed: &str, rust: &mut String) {
    let number_before = |line: &str, words: &str| -> u32 {
        let before = line.split(words).next().filter(|before| before.len() < line.len());
        before.and_then(|before| before.split_whitespace().next_back()).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let (mut kernel, mut arch, mut stores, mut loads) = (String::new(), String::new(), 0, 0);
    for line in printed.lines() {
        if line.contains("Compiling entry function") {
            let quoted: Vec<&str> = line.split('\'').collect();
            (kernel, arch) = (quoted.get(1).unwrap_or(&"").to_string(), quoted.get(3).unwrap_or(&"").to_string());
        } else if line.contains("bytes spill stores") {
            stores = number_before(line, " bytes spill stores");
            loads = number_before(line, " bytes spill loads");
        } else if line.contains("Used ") && line.contains(" registers") {
            let registers = number_before(line, " registers");
            let shared = number_before(line, " bytes smem");
            let row = writeln!(
                rust,
                "    KernelResources {{ kernel: {kernel:?}, arch: {arch:?}, registers: {registers}, \
                 spill_store_bytes: {stores}, spill_load_bytes: {loads}, shared_bytes: {shared} }},"
            );
            debug_assert!(row.is_ok(), "writing to a string");
        }
    }
}
