//! What the benches share: the check before the times, the loop, the table.
//!
//! A bench first runs its op at small odd shapes and compares it with the f64 reference; if that fails it prints no
//! time. The shapes take every path of the kernels that the sizes take: widths that 4 divides, and others. Then every
//! case runs at model sizes: some runs to warm up, then the median of many. `OMEGA_BENCH=small` times the odd shapes
//! alone, once: a proof that everything runs. `cargo bench WORD` runs the ops whose name has WORD.

#![allow(dead_code)] // each bench uses its part

pub mod tape_op;
pub mod update;

// The functions that unwrap are the tests' own and not called here.
#[path = "../../tests/common/mod.rs"]
#[allow(clippy::unwrap_used)]
mod tests_common;

use std::process::ExitCode;

use omega::device::{Device, DeviceChoice};
use omega::error::{Error, Result};
use omega::tensor::{DType, Tensor};

use omega::rng::RngState;
use tests_common::{error_of_maximum, random};

/// Of every tape, and so of every reference with dropout.
pub const RNG: RngState = tests_common::tape::RNG;

/// Bytes written between two runs on a GPU, more than any of them caches.
const FLUSH_BYTES: usize = 256 << 20;

/// `len` numbers that look normal. Large operands repeat a prime number of them: drawing each would take longer than
/// the bench.
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let drawn: Vec<f32> = random(len.min(65_537), seed).iter().map(|v| *v as f32).collect();
    drawn.iter().copied().cycle().take(len).collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// One figure of the check: how far `name` is from the reference, relative to its largest entry.
pub struct Figure {
    name: String,
    error: f64,
    bound: f64,
}

impl Figure {
    pub fn of(name: impl Into<String>, got: &[f32], want: &[f64], bound: f64) -> Figure {
        let error = if got.len() == want.len() { error_of_maximum(got, want) } else { f64::INFINITY };
        Figure { name: name.into(), error, bound }
    }
}

/// One line of the table.
pub struct Line {
    pub pass: &'static str,
    pub dtype: DType,
    pub shape: String,
    pub ms: f32,
    pub bytes: usize,
}

/// How often a case runs.
#[derive(Clone, Copy)]
pub struct Repeats {
    pub warm_up: usize,
    pub timed: usize,
}

impl Repeats {
    fn choose(dev: &Device, small: bool) -> Repeats {
        match (small, dev.is_gpu()) {
            (true, _) => Repeats { warm_up: 0, timed: 1 },
            (false, true) => Repeats { warm_up: 10, timed: 200 },
            (false, false) => Repeats { warm_up: 1, timed: 3 },
        }
    }

    /// The median of each of the times that `once` returns.
    pub fn median<const N: usize>(self, mut once: impl FnMut() -> Result<[f32; N]>) -> Result<[f32; N]> {
        for _ in 0..self.warm_up {
            once()?;
        }
        let runs = (0..self.timed).map(|_| once()).collect::<Result<Vec<_>>>()?;
        Ok(std::array::from_fn(|pass| {
            let mut times: Vec<f32> = runs.iter().map(|run| run[pass]).collect();
            times.sort_by(f32::total_cmp);
            times[times.len() / 2]
        }))
    }
}

/// Overwrites a GPU's caches, so that no run finds its operands there; nothing on softgpu, whose times say nothing.
pub struct Flush(Option<Tensor>);

impl Flush {
    pub fn new(dev: &Device) -> Result<Flush> {
        dev.is_gpu().then(|| dev.tensor(&[FLUSH_BYTES / 4], DType::F32)).transpose().map(Flush)
    }

    pub fn run(&self, dev: &Device) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |tensor| dev.zero(tensor))
    }
}

/// The command line: cargo's `--bench` says nothing, a word is a filter on the name of the op.
fn wanted(op: &str) -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let Some(flag) = words.iter().find(|word| word.starts_with('-')) {
        return Err(Error::usage(format!("a bench has no flag `{flag}`")).hint("OMEGA_BENCH=small shortens it"));
    }
    Ok(words.is_empty() || words.iter().any(|word| op.contains(word.as_str())))
}

fn small() -> Result<bool> {
    match std::env::var("OMEGA_BENCH").as_deref() {
        Ok("small") => Ok(true),
        Ok("") | Err(_) => Ok(false),
        Ok(other) => Err(Error::usage(format!("OMEGA_BENCH is `{other}`; it can be `small`"))),
    }
}

/// An error unless every figure is within its bound; prints them.
fn passed(op: &str, shape: &str, figures: &[Figure]) -> Result<()> {
    if let Some(f) = figures.iter().find(|f| f.error.is_nan() || f.error > f.bound) {
        let Figure { name, error, bound } = f;
        return Err(Error::device(format!(
            "{op} {shape}: `{name}` is {error:.1e} of its maximum away from the reference, bound {bound:.0e}; no times"
        )));
    }
    let list: Vec<String> = figures.iter().map(|f| format!("{} {:.1e}", f.name, f.error)).collect();
    println!("{op} {shape}: equals the f64 reference ({})", list.join(", "));
    Ok(())
}

fn print_table(op: &str, dev: &Device, lines: &[Line]) {
    let unit = if dev.is_gpu() { "ms" } else { "softgpu ms" };
    println!("on {}", dev.name());
    if !dev.is_gpu() {
        println!("softgpu: this time is the CPU's, running kernels in software; it says nothing about a GPU");
    }
    println!("{:<20} {:<6} {:<5} {:<34} {unit:>11} {:>8} {:>13}", "op", "pass", "dtype", "shape", "GB/s", "bytes");
    for Line { pass, dtype, shape, ms, bytes } in lines {
        let rate = *bytes as f64 / (f64::from(*ms) * 1e6);
        println!("{op:<20} {pass:<6} {:<5} {shape:<34} {ms:>11.3} {rate:>8.2} {bytes:>13}", dtype.suffix());
    }
}

/// The main function of a bench: `check` at the odd sizes, then `time` for each of the sizes.
fn bench<S: Copy>(
    op: &str,
    odd: &[S],
    sizes: &[S],
    check: impl Fn(&Device, S) -> Result<(String, Vec<Figure>)>,
    time: impl Fn(&Device, S, Repeats) -> Result<Vec<Line>>,
) -> ExitCode {
    let run = || -> Result<()> {
        if !wanted(op)? {
            return Ok(());
        }
        let (dev, small) = (Device::open(DeviceChoice::Auto)?, small()?);
        for size in odd {
            let (shape, figures) = check(&dev, *size)?;
            passed(op, &shape, &figures)?;
        }
        let mut lines = Vec::new();
        for size in if small { odd } else { sizes } {
            lines.extend(time(&dev, *size, Repeats::choose(&dev, small))?);
        }
        print_table(op, &dev, &lines);
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
