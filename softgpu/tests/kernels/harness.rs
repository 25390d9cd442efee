//! Compiles the corpus, loads one kernel of it, launches it, and compares.

#[path = "../../../tests/common/skip.rs"]
mod skip;

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use softgpu::{Error, Launch, Memory, Module, Tools, launch_with};

use skip::skipped;

/// One kernel (or several that share variables, separated by spaces) and its check.
pub type Case = (&'static str, fn(&Kernel));
pub type Check = (&'static str, Box<dyn Fn(&Kernel)>);

pub fn checks(cases: &[Case]) -> Vec<Check> {
    cases.iter().map(|&(name, check)| (name, Box::new(check) as Box<dyn Fn(&Kernel)>)).collect()
}

/// What a file is compiled with beyond the common options; the first name is that of the PTX.
const BUILDS: &[(&str, &str, &[&str])] =
    &[("math_fast", "math", &["--use_fast_math"]), ("linkage_rdc", "linkage", &["-rdc=true"])];
const OPTIONS: [&str; 4] = ["-arch=compute_80", "-ptx", "-lineinfo", "-std=c++17"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels")
}

/// nvcc, looked for where omega's build does.
fn find_nvcc() -> Option<PathBuf> {
    let home = |variable: &str| std::env::var_os(variable).map(|home| Path::new(&home).join("bin/nvcc"));
    let path = std::env::var_os("PATH");
    let on_path = path.and_then(|path| std::env::split_paths(&path).map(|p| p.join("nvcc")).find(|p| p.is_file()));
    let places = [
        std::env::var_os("NVCC").map(PathBuf::from),
        home("CUDA_HOME"),
        home("CUDA_PATH"),
        on_path,
        Some(PathBuf::from("/usr/local/cuda/bin/nvcc")),
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cuda/bin/nvcc")),
    ];
    places.into_iter().flatten().find(|path| path.is_file())
}

/// PTX by name: all of `*.cu`, compiled once per content and compiler, or nothing where there is no nvcc.
pub fn corpus() -> Option<&'static BTreeMap<String, String>> {
    static CORPUS: OnceLock<Option<BTreeMap<String, String>>> = OnceLock::new();
    let compiled = CORPUS.get_or_init(|| {
        let nvcc = find_nvcc()?;
        let mut builds: Vec<(String, String, &[&str])> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "cu"))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .map(|name| (name.clone(), name, &[][..]))
            .collect();
        builds.extend(BUILDS.iter().map(|(name, source, options)| (name.to_string(), source.to_string(), *options)));
        let next = std::sync::Mutex::new(builds.into_iter());
        let done = std::sync::Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, |n| n.get()) {
                scope.spawn(|| {
                    loop {
                        let Some((name, source, options)) = next.lock().unwrap().next() else { return };
                        let ptx = compile(&nvcc, &name, &source, options);
                        done.lock().unwrap().insert(name, ptx);
                    }
                });
            }
        });
        Some(done.into_inner().unwrap())
    });
    if compiled.is_none() {
        skipped("no nvcc found, so tests/kernels/*.cu are not compiled (`make toolchain` fetches one)");
    }
    compiled.as_ref()
}

fn compile(nvcc: &Path, name: &str, source: &str, options: &[&str]) -> String {
    let path = folder().join(format!("{source}.cu"));
    let mut hasher = DefaultHasher::new();
    (fs::read(&path).unwrap(), fs::canonicalize(nvcc).unwrap(), OPTIONS, options).hash(&mut hasher);
    let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{:016x}.ptx", hasher.finish()));
    if let Ok(ptx) = fs::read_to_string(&cached) {
        return ptx;
    }
    let partial = cached.with_extension(std::process::id().to_string());
    let run = Command::new(nvcc).args(OPTIONS).args(options).arg("-o").arg(&partial).arg(&path).output().unwrap();
    assert!(run.status.success(), "nvcc failed on {}:\n{}", path.display(), String::from_utf8_lossy(&run.stderr));
    fs::rename(&partial, &cached).unwrap();
    fs::read_to_string(&cached).unwrap()
}

pub fn triton(name: &str) -> String {
    fs::read_to_string(folder().join(format!("triton/{name}.ptx"))).unwrap()
}

/// Names of the kernels in PTX text.
pub fn entries(ptx: &str) -> Vec<String> {
    items(ptx).into_iter().filter(|item| item.entry).map(|item| item.name).collect()
}

struct Item<'a> {
    name: String,
    entry: bool,
    text: &'a str,
}

/// The top level of PTX text: functions, variables, and what has no name.
fn items(ptx: &str) -> Vec<Item<'_>> {
    let mut found = Vec::new();
    let mut rest = ptx;
    while !rest.is_empty() {
        let line = rest.split_inclusive('\n').next().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let function = line.starts_with('.') && words.iter().any(|w| [".entry", ".func"].contains(w));
        let variable = line.starts_with('.') && words.iter().any(|w| [".global", ".const", ".shared"].contains(w));
        let end = if function {
            let mut depth = 0;
            let last = |c: char| {
                depth += (c == '{') as i32 - (c == '}') as i32;
                depth == 0 && (c == '}' || c == ';')
            };
            rest.find(last).map_or(rest.len(), |at| at + 1)
        } else {
            line.len()
        };
        let head = if variable { line.split(['[', '=', ';']).next().unwrap() } else { line };
        let name = head.trim_end_matches([' ', '\n', '(', ')']).rsplit([' ', '\t']).next().unwrap();
        let name = if function || variable { name.to_string() } else { String::new() };
        found.push(Item { name, entry: words.contains(&".entry"), text: &rest[..end] });
        rest = &rest[end..];
    }
    found
}

/// `ptx` with these kernels only, and with the functions and variables that they reach.
fn only(ptx: &str, wanted: &[&str]) -> String {
    let items = items(ptx);
    let mut keep: BTreeSet<&str> = wanted.iter().copied().collect();
    let mut queue: Vec<&str> = wanted.to_vec();
    while let Some(name) = queue.pop() {
        for item in items.iter().filter(|item| item.name == name) {
            for word in item.text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')) {
                let known = items.iter().any(|item| item.name == word && !word.is_empty());
                if known && keep.insert(word) {
                    queue.push(word);
                }
            }
        }
    }
    items
        .iter()
        .filter(|item| item.name.is_empty() || keep.contains(item.name.as_str()))
        .map(|item| item.text)
        .collect()
}

/// What checkers rightly find in kernels of the corpus.
const FINDINGS: &[(&str, &[&str])] = &[
    // The keys that CUB's merge compares may be those behind the last, and are not used then.
    ("cub_block/cub_merge_sort", &["initcheck: read of what nobody has written: 4 bytes at +1024 of shared memory"]),
];

/// Loads each case's kernels alone and runs its check, once more under all checkers; panics with all that failed. `not_yet`:
/// kernels that softgpu cannot load, and `refused`: those that it must not load, with words of its reason.
pub fn run(file: &str, ptx: &str, cases: &[Check], not_yet: &[(&str, &str)], refused: &[(&str, &str)]) {
    let all = entries(ptx);
    let covered: BTreeSet<&str> = cases.iter().flat_map(|(names, _)| names.split_whitespace()).collect();
    let mut failed = Vec::new();
    for name in &all {
        if !covered.contains(name.as_str()) && !refused.iter().any(|(refused, _)| refused == name) {
            failed.push(format!("{name}: no check"));
        }
    }
    for (name, words) in refused.iter().filter(|(name, _)| all.iter().any(|known| known == name)) {
        let key = format!("{file}/{name}");
        let listed = not_yet.iter().any(|(name, _)| *name == key);
        match Module::load(&only(ptx, &[name])).and_then(Module::whole).err().map(|error| error.to_string()) {
            None => failed.push(format!("{key}: loads, but must be refused")),
            Some(said) if said.contains(words) && listed => failed.push(format!("{key}: take it off NOT_YET")),
            Some(said) if !said.contains(words) && !listed => failed.push(format!("{key}: {said}; no `{words}`")),
            Some(_) => {}
        }
    }
    for (names, check) in cases {
        let names: Vec<&str> = names.split_whitespace().collect();
        let key = format!("{file}/{}", names[0]);
        let listed = not_yet.iter().find(|(name, _)| *name == key);
        let text = only(ptx, &names);
        match (Module::load(&text).and_then(Module::whole), listed) {
            (Err(_), Some(_)) => {}
            (Ok(_), Some(_)) => failed.push(format!("{key}: loads now; take it off NOT_YET")),
            (Err(error), None) => {
                let line = text.lines().nth(error.line.saturating_sub(1) as usize).unwrap_or_default();
                failed.push(format!("{key}: {error}: {}", line.trim()));
            }
            (Ok(module), None) => {
                let first = names[0].to_string();
                let kernel = Kernel::new(module, Memory::new(), first, text, Tools::default());
                if let Err(said) = kernel.passes(check) {
                    failed.push(format!("{}: {said}", names[0]));
                    continue;
                }
                let Kernel { module, first, text, .. } = kernel;
                let kernel = Kernel::new(module, Memory::watched(), first, text, Tools::checks());
                let said = kernel.passes(check).err();
                let found: Vec<String> = said.into_iter().chain(kernel.findings.take()).collect();
                let known = FINDINGS.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, known)| known);
                let heads: Vec<&str> = found.iter().map(|f| f.lines().next().unwrap_or_default()).collect();
                let unexpected = heads.iter().any(|head| !known.iter().any(|words| head.contains(words)));
                if unexpected || known.iter().any(|words| !heads.iter().any(|head| head.contains(words))) {
                    failed.push(format!("{key}, under checkers:\n{}", found.join("\n")));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{file}: {} of {} kernels:\n{}", failed.len(), all.len(), failed.join("\n"));
}

pub struct Kernel {
    module: Module,
    memory: Memory,
    first: String,
    /// The PTX.
    pub text: String,
    /// What the last `try_launch` was stopped by.
    pub error: RefCell<Option<Error>>,
    tools: Tools,
    /// What checkers have found so far.
    findings: RefCell<Vec<String>>,
}

/// Device memory of exactly `len` elements.
pub struct Buffer<T> {
    pub address: u64,
    len: usize,
    host: *mut u8,
    kind: std::marker::PhantomData<T>,
}

impl<T: bytemuck::Pod> Buffer<T> {
    pub fn read(&self) -> Vec<T> {
        // SAFETY: the allocation lives as long as the kernel's memory, and no launch runs now.
        let bytes = unsafe { std::slice::from_raw_parts(self.host, self.len * size_of::<T>()) };
        bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }
}

/// A launch's extent: x, (x, y) or (x, y, z).
pub struct Dim([u32; 3]);
impl From<u32> for Dim {
    fn from(x: u32) -> Dim {
        Dim([x, 1, 1])
    }
}
impl From<(u32, u32)> for Dim {
    fn from((x, y): (u32, u32)) -> Dim {
        Dim([x, y, 1])
    }
}
impl From<(u32, u32, u32)> for Dim {
    fn from((x, y, z): (u32, u32, u32)) -> Dim {
        Dim([x, y, z])
    }
}

pub trait Arg {
    fn bytes(&self) -> Vec<u8>;
}
impl<T> Arg for Buffer<T> {
    fn bytes(&self) -> Vec<u8> {
        self.address.to_le_bytes().to_vec()
    }
}
impl Arg for Vec<u8> {
    fn bytes(&self) -> Vec<u8> {
        self.clone()
    }
}
macro_rules! numbers {
    ($($t:ty)*) => { $( impl Arg for $t { fn bytes(&self) -> Vec<u8> { self.to_le_bytes().to_vec() } } )* };
}
numbers!(i8 u8 i32 u32 i64 u64 f32 f64);

impl Kernel {
    fn new(module: Module, memory: Memory, first: String, text: String, tools: Tools) -> Kernel {
        Kernel { module, memory, first, text, error: RefCell::new(None), tools, findings: RefCell::default() }
    }

    /// What the check said in its panic.
    fn passes(&self, check: &dyn Fn(&Kernel)) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| check(self))).map_err(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            said.or(panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
        })
    }

    pub fn upload<T: bytemuck::Pod>(&self, data: &[T]) -> Buffer<T> {
        let bytes = size_of_val(data);
        let address = self.memory.alloc(bytes).unwrap();
        // SAFETY: used while the memory lives and no launch runs.
        let host = unsafe { self.memory.host_slice(address, bytes).unwrap() };
        self.memory.write(address, bytemuck::cast_slice(data)).unwrap();
        Buffer { address, len: data.len(), host, kind: std::marker::PhantomData }
    }

    /// The case's first kernel.
    pub fn name(&self) -> &str {
        &self.first
    }

    pub fn filled<T: bytemuck::Pod>(&self, len: usize, value: T) -> Buffer<T> {
        self.upload(&vec![value; len])
    }

    pub fn zeros<T: bytemuck::Pod>(&self, len: usize) -> Buffer<T> {
        self.filled(len, T::zeroed())
    }

    pub fn try_launch(&self, entry: &str, grid: [u32; 3], block: [u32; 3], shared: u32, args: &[&dyn Arg]) -> bool {
        self.run(entry, &Launch { grid, block, shared_bytes: shared, args: &[], cooperative: false }, args)
    }

    /// As `shape` says, but for the arguments.
    fn run(&self, entry: &str, shape: &Launch, args: &[&dyn Arg]) -> bool {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.bytes()).collect();
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_slice()).collect();
        let shape = Launch { args: &args, ..*shape };
        let result = launch_with(&self.module, entry, &self.memory, &shape, &self.tools);
        let found = result.as_ref().map_or(&[][..], |report| &report.findings);
        self.findings.borrow_mut().extend(found.iter().map(|stop| stop.to_string()));
        let good = result.is_ok();
        *self.error.borrow_mut() = result.err();
        good
    }

    pub fn launch_entry(
        &self,
        entry: &str,
        grid: impl Into<Dim>,
        block: impl Into<Dim>,
        shared: u32,
        args: &[&dyn Arg],
    ) {
        if !self.try_launch(entry, grid.into().0, block.into().0, shared, args) {
            panic!("{}", self.error.borrow().as_ref().unwrap());
        }
    }

    /// A cooperative launch of the case's first kernel.
    pub fn cooperate(&self, blocks: u32, threads: u32, args: &[&dyn Arg]) {
        if !self.run(&self.first, &line(true, blocks, threads), args) {
            panic!("{}", self.error.borrow().as_ref().unwrap());
        }
    }

    /// What is said of a launch that must not succeed.
    pub fn refused(&self, cooperative: bool, blocks: u32, threads: u32, args: &[&dyn Arg]) -> String {
        assert!(!self.run(&self.first, &line(cooperative, blocks, threads), args), "it is not refused");
        self.error.borrow().as_ref().unwrap().to_string()
    }

    /// Of the case's first kernel.
    pub fn launch(&self, grid: impl Into<Dim>, block: impl Into<Dim>, shared: u32, args: &[&dyn Arg]) {
        self.launch_entry(&self.first, grid, block, shared, args);
    }
}

fn line(cooperative: bool, blocks: u32, threads: u32) -> Launch<'static> {
    Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared_bytes: 0, args: &[], cooperative }
}

/// Bit for bit, but any NaN for a NaN.
#[track_caller]
pub fn same<T: PartialEq + Debug>(got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len(), "lengths");
    #[expect(clippy::eq_op, reason = "only a NaN differs from itself")]
    let wrong = |(g, w): (&T, &T)| g != w && !(g != g && w != w);
    let Some(first) = got.iter().zip(want).position(wrong) else { return };
    let count = got.iter().zip(want).filter(|&pair| wrong(pair)).count();
    panic!("{count} of {} differ; first [{first}]: got {:?}, expected {:?}", got.len(), got[first], want[first]);
}

/// Within `relative`·|want| + `absolute`; infinities and NaN as they are. The bounds of the checks are 3 to 15 times what
/// a run needs whose every instruction is rounded correctly; with `CORPUS_MEASURE` set, the share used is printed.
#[track_caller]
pub fn close(got: &[impl Into<f64> + Copy], want: &[f64], relative: f64, absolute: f64) {
    assert_eq!(got.len(), want.len(), "lengths");
    let mut worst = 0.0f64;
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let g: f64 = g.into();
        let error = (g - w).abs();
        if g == w || g.is_nan() && w.is_nan() {
            continue;
        }
        let allowed = relative * w.abs() + absolute;
        assert!(error <= allowed, "[{i}]: got {g:e}, expected {w:e}, error {error:e} > {allowed:e}");
        worst = worst.max(error / allowed);
    }
    if std::env::var_os("CORPUS_MEASURE").is_some() {
        eprintln!("{}: worst error {worst:.3} of what is allowed", std::panic::Location::caller());
    }
}

/// SplitMix64, for inputs.
pub struct Random(pub u64);
impl Random {
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.u64() % n
    }
    /// In [low, high].
    pub fn int(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }
    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }
    pub fn f64(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
    pub fn f32s(&mut self, n: usize, low: f64, high: f64) -> Vec<f32> {
        (0..n).map(|_| self.f64(low, high) as f32).collect()
    }
    pub fn ints(&mut self, n: usize, low: i64, high: i64) -> Vec<i32> {
        (0..n).map(|_| self.int(low, high) as i32).collect()
    }
    /// Small integers as floats: sums of them are exact in any order.
    pub fn whole(&mut self, n: usize, low: i64, high: i64) -> Vec<f32> {
        (0..n).map(|_| self.int(low, high) as f32).collect()
    }
}

/// f16 and bf16 as they lie in device memory.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct F16(pub u16);
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl F16 {
    pub fn new(x: f32) -> F16 {
        F16(half::f16::from_f32(x).to_bits())
    }
}
impl Bf16 {
    pub fn new(x: f32) -> Bf16 {
        Bf16(half::bf16::from_f32(x).to_bits())
    }
}
impl From<F16> for f64 {
    fn from(x: F16) -> f64 {
        half::f16::from_bits(x.0).to_f64()
    }
}
impl From<Bf16> for f64 {
    fn from(x: Bf16) -> f64 {
        half::bf16::from_bits(x.0).to_f64()
    }
}
