//! `omega bench`, and `cargo bench`: every kernel of an op checked against the f64 reference, then what it costs.
//!
//! A bench first runs its op at small odd shapes and compares it with the reference; if that fails there are no figures. The
//! shapes take every path of the kernels: widths that whole accesses divide, and others. Then, at model sizes, every kernel
//! is timed by the device's events, and counted by softgpu, where the counts are the same as a GPU's would be. The cases are
//! those of `benches/`, one file per op; here is what they share.

mod case;
mod measure;
#[allow(dead_code)] // the main functions are `cargo bench`'s
mod ops;
mod report;
mod tape_op;
mod update;

use std::process::ExitCode;

pub use case::{Case, Figure, RNG, Work, values, wide};
pub use tape_op::{Operand, Reference, TapeOp};
pub use update::Update;

use crate::cli::BenchArgs;
use crate::device::kernels::MODULES;
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::files::print;
use crate::tensor::DType;
use crate::terminal::columns;
use measure::{Row, Want};

/// What a bench of any kind says of itself.
pub trait Bench: Sized + 'static {
    const NAME: &'static str;
    /// The numbers of `--shape`, as in "T,V,C".
    const EXTENTS: &'static str;
    type Size: Copy;
    /// Checked: odd ones, which take every path.
    const SMALL: &'static [Self::Size];
    /// Of models: timed and counted.
    const MODEL: &'static [Self::Size];
    /// Why a kernel of this family (`embed_fwd`) misses a limit, where one does.
    const WHY: &'static [(&'static str, &'static str)] = &[];

    /// The size of these extents; none if they are too few, too many, or fit nothing.
    fn size(extents: &[usize]) -> Option<Self::Size>;
    /// A size that softgpu counts in seconds: fewer rows of the same kind.
    fn counted(size: Self::Size) -> Self::Size {
        size
    }
    fn new(dev: &Device, size: Self::Size, dtype: DType) -> Result<Self>;
    fn shape(&self) -> String;
    /// Of each kernel, by the formula in its header.
    fn work(&self) -> Vec<Work>;
}

/// Of one operand: 4 GiB in f32, and the host has it too.
const MOST_ELEMENTS: u128 = 1 << 30;

/// The elements of the largest operand that `extents` can mean: attention's four are one matrix, of others two are.
fn largest_matrix(extents: &[usize]) -> u128 {
    let mut sorted: Vec<u128> = extents.iter().map(|n| *n as u128).collect();
    sorted.sort_by_key(|n| std::cmp::Reverse(*n));
    sorted.iter().take(if extents.len() > 3 { usize::MAX } else { 2 }).fold(1, |all, n| all.saturating_mul(*n))
}

/// `--shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Small,
    Model,
    Extents(Vec<usize>),
}

impl Shape {
    fn parse(text: &str) -> Result<Shape> {
        match text {
            "small" => return Ok(Shape::Small),
            "model" => return Ok(Shape::Model),
            _ => {}
        }
        let extents = text.split('x').map(|n| n.parse().ok().filter(|n| *n > 0)).collect::<Option<Vec<usize>>>();
        let Some(extents) = extents else {
            let message = format!("--shape {text}: not one of small, model, or extents above 0 as in 4096x512");
            return Err(Error::usage(message));
        };
        match largest_matrix(&extents) {
            0..=MOST_ELEMENTS => Ok(Shape::Extents(extents)),
            _ => Err(Error::usage(format!("--shape {text}: a matrix of more than {MOST_ELEMENTS} elements"))),
        }
    }
}

/// Makes the case of a size: by device, shape, number within it, type, and whether it is to be counted.
type Make = fn(&Device, &Shape, usize, DType, bool) -> Result<Box<dyn Case>>;

/// An op of the registry: its cases for a device, a shape and a type.
pub struct Op {
    pub name: &'static str,
    extents: &'static str,
    why: &'static [(&'static str, &'static str)],
    /// How many sizes a shape stands for; none if the op has none of that shape.
    sizes: fn(&Shape) -> Option<usize>,
    /// The case of the size of this number; `true` for the counted one.
    case: Make,
}

fn sizes_of<T: Bench>(shape: &Shape) -> Option<Vec<T::Size>> {
    match shape {
        Shape::Small => Some(T::SMALL.to_vec()),
        Shape::Model => Some(T::MODEL.to_vec()),
        Shape::Extents(extents) => T::size(extents).map(|size| vec![size]),
    }
}

impl Op {
    fn of<T: Bench>(case: Make) -> Op {
        let sizes = |shape: &Shape| sizes_of::<T>(shape).map(|sizes| sizes.len());
        Op { name: T::NAME, extents: T::EXTENTS, why: T::WHY, sizes, case }
    }

    /// The bench of an op with a backward pass.
    pub fn of_tape<T: TapeOp>() -> Op {
        Op::of::<T>(|dev, shape, number, dtype, counted| {
            Ok(Box::new(tape_op::TapeCase::new(dev, choose::<T>(dev, shape, number, dtype, counted)?, dtype)?))
        })
    }

    /// The bench of one that has none.
    pub fn of_update<T: Update>() -> Op {
        Op::of::<T>(|dev, shape, number, dtype, counted| {
            Ok(Box::new(update::UpdateCase::new(choose::<T>(dev, shape, number, dtype, counted)?)))
        })
    }

    /// The types that the kernel file of the op has kernels for.
    fn dtypes(&self) -> Vec<DType> {
        let entries = || MODULES.iter().filter(|module| module.name == self.name).flat_map(|module| module.entries);
        let has = |dtype: &DType| entries().any(|entry| entry.ends_with(&format!("_{}", dtype.suffix())));
        [DType::F32, DType::F16, DType::BF16].into_iter().filter(has).collect()
    }
}

fn choose<T: Bench>(dev: &Device, shape: &Shape, number: usize, dtype: DType, counted: bool) -> Result<T> {
    let size = sizes_of::<T>(shape).and_then(|sizes| sizes.get(number).copied());
    let size = size.ok_or_else(|| Error::usage(format!("{} has no such size", T::NAME)))?;
    T::new(dev, if counted { T::counted(size) } else { size }, dtype)
}

/// What `omega selftest` wants of each op and type: of all figures at the odd shapes the one that is nearest to its bound,
/// named by op, shape and operand. Two rows of one op are two benches of it.
pub fn nearest_figures(dev: &Device) -> Result<Vec<(DType, Figure)>> {
    let mut nearest = Vec::new();
    for op in ops::all() {
        for dtype in op.dtypes() {
            let mut figures = Vec::new();
            for number in 0..(op.sizes)(&Shape::Small).unwrap_or(0) {
                let mut case = (op.case)(dev, &Shape::Small, number, dtype, false)?;
                let shape = case.shape();
                let named = |f: Figure| Figure { name: format!("{}: {}, {shape}", op.name, f.name), ..f };
                figures.extend(case.check(dev)?.into_iter().map(named));
            }
            let of_bound = |f: &Figure| if f.error.is_finite() { f.error / f.bound.max(1e-30) } else { f64::INFINITY };
            figures.sort_by(|a, b| of_bound(a).total_cmp(&of_bound(b)));
            nearest.extend(figures.pop().map(|figure| (dtype, figure)));
        }
    }
    Ok(nearest)
}

/// The ops that are asked for; all if none is.
fn chosen(names: &[String]) -> Result<Vec<Op>> {
    let mut all = ops::all();
    let known = |name: &str| all.iter().any(|op| op.name == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        let mut list: Vec<&str> = all.iter().map(|op| op.name).collect();
        list.dedup();
        return Err(Error::usage(format!("`{name}` is no op: {}", list.join(", "))));
    }
    all.retain(|op| names.is_empty() || names.iter().any(|name| name == op.name));
    Ok(all)
}

/// `omega bench`.
pub fn bench(args: &BenchArgs) -> Result<()> {
    let (ops, shape) = (chosen(&args.ops)?, Shape::parse(&args.shape)?);
    let dtypes = match args.dtype.as_deref() {
        None => vec![DType::F32, DType::F16, DType::BF16],
        Some("f32") => vec![DType::F32],
        Some("f16") => vec![DType::F16],
        Some("bf16") => vec![DType::BF16],
        Some(other) => return Err(Error::usage(format!("--dtype {other}: not one of f32, f16, bf16"))),
    };
    if let Some(op) = ops.iter().find(|op| (op.sizes)(&shape).is_none()) {
        let (name, extents) = (op.name, op.extents);
        return Err(Error::usage(format!("--shape {}: {name} takes small, model, or {extents}", args.shape)));
    }
    let dev = kernels_of(Device::open(args.device)?);
    // The page has no times of softgpu: they differ from run to run.
    let want = Want { times: !args.markdown || dev.is_gpu(), counters: true, once: shape == Shape::Small };
    let rows = rows(&dev, &ops, &shape, &dtypes, want)?;
    let text = match (args.json, args.markdown) {
        (true, _) => report::json(&dev, &rows)?,
        (_, true) => report::markdown(&dev, &rows),
        _ => report::table(&dev, &rows, columns(std::io::stdout())),
    };
    print(&text).map(drop)
}

/// The device without products that take biases and ReLU with them: what is timed here is the kernels that they replace.
fn kernels_of(dev: Device) -> Device {
    dev.with_epilogues(false)
}

fn rows(dev: &Device, ops: &[Op], shape: &Shape, dtypes: &[DType], want: Want) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for op in ops {
        for dtype in op.dtypes().into_iter().filter(|dtype| dtypes.contains(dtype)) {
            measure::check(dev, op, dtype)?;
            for number in 0..(op.sizes)(shape).unwrap_or(0) {
                let new = measure::measure(dev, op, shape, number, dtype, want)?;
                // A kernel of no type is the same for each.
                let known = |row: &Row| {
                    let same =
                        |other: &Row| other.kernel == row.kernel && other.shape == row.shape && other.counted.is_some();
                    !row.kernel.ends_with(dtype.suffix()) && rows.iter().any(same)
                };
                let new: Vec<Row> = new.into_iter().filter(|row| !known(row)).collect();
                rows.extend(new);
            }
        }
    }
    Ok(rows)
}

/// The main function of `benches/<op>.rs`: checks and times, without counters. `OMEGA_BENCH=small` takes the odd shapes
/// alone, once: a proof that everything runs. `cargo bench WORD` runs the ops whose name has WORD.
pub fn cargo_bench(ops: &[Op]) -> ExitCode {
    let run = || -> Result<()> {
        let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        if let Some(flag) = words.iter().find(|word| word.starts_with('-')) {
            return Err(Error::usage(format!("a bench has no flag `{flag}`")).hint("OMEGA_BENCH=small shortens it"));
        }
        if !words.is_empty() && !words.iter().any(|word| ops.iter().any(|op| op.name.contains(word.as_str()))) {
            return Ok(());
        }
        let shape = match std::env::var("OMEGA_BENCH").as_deref() {
            Ok("small") => Shape::Small,
            Ok("") | Err(_) => Shape::Model,
            Ok(other) => return Err(Error::usage(format!("OMEGA_BENCH is `{other}`; it can be `small`"))),
        };
        let dev = kernels_of(Device::open(DeviceChoice::Auto)?);
        let want = Want { times: true, counters: false, once: shape == Shape::Small };
        let rows = rows(&dev, ops, &shape, &[DType::F32, DType::F16, DType::BF16], want)?;
        print(&report::times(&dev, &rows)).map(drop)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
