//! How much slower softgpu is than plain Rust: ordinary CUDA kernels (`kernels.cu`) against the same computation as a
//! safe loop that the compiler vectorises; then one thread against two, beside what Rust itself gains by a second one,
//! and the baseline's handlers against AVX2's.
//!
//! A second thread gains nothing where another program has the other core, or shares it. So arithmetic in registers, which
//! touches no memory, is timed on one thread and on two right before and after each round, and the round counts only if
//! both times it gained [`FREE`] or more; how many of those tried that were is printed beside the gains.
//!
//! Both sides work on the same buffers, on one thread, by turns, so that neither has better pages or a warmer cache; the
//! ratio is the median over the rounds of the ratio within a round, which a busy machine disturbs least. The Rust side
//! is compiled for AVX2 and FMA where the machine has them, as softgpu's handlers are: otherwise it would be held to
//! the SSE2 of a portable binary. Before anything is timed the results are compared.
//!
//!     cargo bench -p softgpu --bench speed [-- WORD…]        # only kernels whose name has one of the words
//!
//! `SPEED_ROUNDS=N` sets the number of rounds (15), `SPEED_STRICT=1` turns a ratio beyond its limit into exit code 1.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use softgpu::{Launch, Level, Memory, Module, launch};

const PTX: &str = include_str!("kernels.ptx");

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What arithmetic in registers gains on a second thread whose core nobody else uses, nearly.
const FREE: f64 = 1.9;
/// What a second thread must gain on launches of 256 blocks and more, unless Rust gains less on the same memory.
const GAIN: f64 = 1.7;

/// A kernel with its launch and its arguments, and the same in Rust over the same buffers.
struct Case {
    name: &'static str,
    /// Times slower than Rust on one thread that issue 3 allows.
    limit: f64,
    kernel: &'static str,
    grid: u32,
    block: [u32; 3],
    args: Vec<Vec<u8>>,
    buffers: Vec<Buffer>,
    native: fn(&mut [&mut [f32]]),
    /// Buffers at the end that all rows share; the others are divided where two threads work.
    shared: usize,
    /// Largest difference allowed, relative to 1 + |value|: nvcc contracts to fma and sums in another order.
    bound: f32,
}

#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    len: usize,
}

impl Buffer {
    fn new(memory: &Memory, len: usize, value: impl Fn(f32) -> f32) -> Result<Buffer> {
        let buffer = Buffer { address: memory.alloc(4 * len)?, len };
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for x in buffer.view(memory)? {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *x = value((state >> 40) as f32 / (1 << 24) as f32);
        }
        Ok(buffer)
    }

    #[expect(clippy::mut_from_ref, reason = "each buffer has one view at a time")]
    fn view(self, memory: &Memory) -> Result<&mut [f32]> {
        // SAFETY: allocated with this size and never freed; no launch runs while a view is used, and each buffer has
        // one view at a time.
        Ok(unsafe {
            std::slice::from_raw_parts_mut(memory.host_slice(self.address, 4 * self.len)? as *mut f32, self.len)
        })
    }
}

macro_rules! args {
    ($($value:expr),+ $(,)?) => { vec![$($value.to_le_bytes().to_vec()),+] };
}

const ROWS: usize = 4096;
const WIDTH: usize = 512;
const EPS: f32 = 1e-5;
const PARAMETERS: usize = 8 << 20;

fn layernorm(memory: &Memory) -> Result<Case> {
    let buffer = |len, scale: f32| Buffer::new(memory, len, move |x| scale * (x - 0.4));
    let [y, x] = [buffer(ROWS * WIDTH, 0.0)?, buffer(ROWS * WIDTH, 2.0)?];
    let [mean, rstd, gamma, beta] = [buffer(ROWS, 0.0)?, buffer(ROWS, 0.0)?, buffer(WIDTH, 1.0)?, buffer(WIDTH, 0.5)?];
    let buffers = vec![y, mean, rstd, x, gamma, beta];
    let mut args: Vec<Vec<u8>> = buffers.iter().map(|b| b.address.to_le_bytes().to_vec()).collect();
    args.extend(args![ROWS as i32, WIDTH as i32, EPS]);
    Ok(Case {
        name: "LayerNorm 4096×512",
        limit: 6.0,
        kernel: "layernorm_fwd",
        grid: ROWS as u32 / 4,
        block: [32, 4, 1],
        args,
        buffers,
        native: native::layernorm,
        shared: 2,
        bound: 1e-5,
    })
}

fn adamw(memory: &Memory) -> Result<Case> {
    let buffer = |scale: f32, base: f32| Buffer::new(memory, PARAMETERS, move |x| scale * (x - base));
    let buffers = vec![buffer(1.0, 0.5)?, buffer(0.1, 0.5)?, buffer(0.0, 0.0)?, buffer(0.0, 0.0)?];
    let mut args: Vec<Vec<u8>> = buffers.iter().map(|b| b.address.to_le_bytes().to_vec()).collect();
    let a = native::ADAM;
    args.extend(args![PARAMETERS as i32, a.lr, a.beta1, a.beta2, a.eps, a.decay, a.correction1, a.correction2]);
    Ok(Case {
        name: "AdamW 8 M",
        limit: 3.5,
        kernel: "adamw_fused",
        grid: PARAMETERS as u32 / 4 / 256,
        block: [256, 1, 1],
        args,
        buffers,
        native: native::adamw,
        shared: 0,
        bound: 1e-6,
    })
}

fn axpy(memory: &Memory, name: &'static str, kernel: &'static str, len: usize, limit: f64) -> Result<Case> {
    let per_thread = if kernel == "axpy4" { 4 } else { 1 };
    let buffer = |scale: f32| Buffer::new(memory, len, move |x| scale * (x - 0.5));
    let buffers = vec![buffer(0.0)?, buffer(1.0)?, buffer(2.0)?];
    let mut args: Vec<Vec<u8>> = buffers.iter().map(|b| b.address.to_le_bytes().to_vec()).collect();
    args.extend(args![native::AXPY_A, len as i32]);
    let grid = len as u32 / per_thread / 256;
    Ok(Case {
        name,
        limit,
        kernel,
        grid,
        block: [256, 1, 1],
        args,
        buffers,
        native: native::axpy,
        shared: 0,
        bound: 0.0,
    })
}

/// The computations in Rust: plain loops over slices; sums over as many partial sums as a vector register takes four of.
mod native {
    use super::{EPS, WIDTH};

    pub struct Adam {
        pub lr: f32,
        pub beta1: f32,
        pub beta2: f32,
        pub eps: f32,
        pub decay: f32,
        pub correction1: f32,
        pub correction2: f32,
    }
    pub const ADAM: Adam =
        Adam { lr: 1e-3, beta1: 0.9, beta2: 0.98, eps: 1e-8, decay: 0.01, correction1: 10.0, correction2: 50.0 };
    pub const AXPY_A: f32 = 0.75;

    /// `$name` compiles the body for AVX2 and FMA and for the baseline, and runs what the machine has.
    macro_rules! for_this_machine {
        ($name:ident, $body:ident) => {
            pub fn $name(buffers: &mut [&mut [f32]]) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn with_avx2(buffers: &mut [&mut [f32]]) {
                        $body::<true>(buffers);
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: just looked for.
                        return unsafe { with_avx2(buffers) };
                    }
                }
                $body::<false>(buffers);
            }
        };
    }
    for_this_machine!(layernorm, layernorm_body);
    for_this_machine!(adamw, adamw_body);
    for_this_machine!(axpy, axpy_body);

    /// a·b + c, fused where that is an instruction.
    #[inline(always)]
    fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
        if FUSED { a.mul_add(b, c) } else { a * b + c }
    }

    const SUMS: usize = 32;

    #[inline(always)]
    fn layernorm_body<const FUSED: bool>(buffers: &mut [&mut [f32]]) {
        let [y, mean, rstd, x, gamma, beta] = buffers else { return };
        let rows = y.chunks_exact_mut(WIDTH).zip(x.chunks_exact(WIDTH));
        for (((y, x), mean), rstd) in rows.zip(mean.iter_mut()).zip(rstd.iter_mut()) {
            let mut sums = [0.0; SUMS];
            for part in x.chunks_exact(SUMS) {
                for i in 0..SUMS {
                    sums[i] += part[i];
                }
            }
            let m = sums.iter().sum::<f32>() / WIDTH as f32;
            let mut sums = [0.0; SUMS];
            for part in x.chunks_exact(SUMS) {
                for i in 0..SUMS {
                    sums[i] = fma::<FUSED>(part[i] - m, part[i] - m, sums[i]);
                }
            }
            let r = 1.0 / (sums.iter().sum::<f32>() / WIDTH as f32 + EPS).sqrt();
            let (gamma, beta) = (&gamma[..WIDTH], &beta[..WIDTH]);
            for i in 0..WIDTH {
                y[i] = fma::<FUSED>((x[i] - m) * r, gamma[i], beta[i]);
            }
            (*mean, *rstd) = (m, r);
        }
    }

    #[inline(always)]
    fn adamw_body<const FUSED: bool>(buffers: &mut [&mut [f32]]) {
        let [p, g, m, v] = buffers else { return };
        let n = p.len();
        let (g, m, v) = (&g[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            let new_m = fma::<FUSED>(ADAM.beta1, m[i], (1.0 - ADAM.beta1) * g[i]);
            let new_v = fma::<FUSED>(ADAM.beta2, v[i], (1.0 - ADAM.beta2) * g[i] * g[i]);
            let step = new_m * ADAM.correction1 / ((new_v * ADAM.correction2).sqrt() + ADAM.eps);
            p[i] = fma::<FUSED>(-ADAM.lr, fma::<FUSED>(ADAM.decay, p[i], step), p[i]);
            (m[i], v[i]) = (new_m, new_v);
        }
    }

    #[inline(always)]
    fn axpy_body<const FUSED: bool>(buffers: &mut [&mut [f32]]) {
        let [out, x, y] = buffers else { return };
        let n = out.len();
        let (x, y) = (&x[..n], &y[..n]);
        for i in 0..n {
            out[i] = fma::<FUSED>(AXPY_A, x[i], y[i]);
        }
    }
}

impl Case {
    fn run(&self, module: &Module, memory: &Memory) -> Result<f64> {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let shape =
            Launch { grid: [self.grid, 1, 1], block: self.block, shared_bytes: 0, args: &args, cooperative: false };
        let start = Instant::now();
        launch(module, self.kernel, memory, &shape)?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn run_native(&self, memory: &Memory) -> Result<f64> {
        let mut views = self.buffers.iter().map(|b| b.view(memory)).collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        (self.native)(black_box(&mut views));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// As [`Case::run_native`], half of it on each thread of the current pool of two.
    fn run_native_by_two(&self, memory: &Memory) -> Result<f64> {
        let divided = self.buffers.len() - self.shared;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (k, buffer) in self.buffers.iter().enumerate() {
            if k < divided {
                let (a, b) = buffer.view(memory)?.split_at_mut(buffer.len / 2);
                first.push(a);
                second.push(b);
            }
        }
        // Read by both: a copy for one of them.
        let shared =
            self.buffers[divided..].iter().map(|b| Ok(b.view(memory)?.to_vec())).collect::<Result<Vec<_>>>()?;
        let (mut mine, mut other) = (shared.clone(), shared);
        first.extend(mine.iter_mut().map(Vec::as_mut_slice));
        second.extend(other.iter_mut().map(Vec::as_mut_slice));
        let start = Instant::now();
        rayon::join(|| (self.native)(black_box(&mut first)), || (self.native)(black_box(&mut second)));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn contents(&self, memory: &Memory) -> Result<Vec<Vec<f32>>> {
        self.buffers.iter().map(|b| Ok(b.view(memory)?.to_vec())).collect()
    }

    /// Runs both once from the same start and compares every buffer.
    fn check(&self, module: &Module, memory: &Memory) -> Result<()> {
        let start = self.contents(memory)?;
        self.run_native(memory)?;
        let expected = self.contents(memory)?;
        for (buffer, start) in self.buffers.iter().zip(&start) {
            buffer.view(memory)?.copy_from_slice(start);
        }
        self.run(module, memory)?;
        let got = self.contents(memory)?;
        for (k, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let far = |(a, b): &(&f32, &f32)| (*a - *b).abs() > self.bound * (1.0 + b.abs()) || a.is_nan();
            if let Some(i) = got.iter().zip(expected).position(|pair| far(&pair)) {
                let (got, expected) = (got[i], expected[i]);
                return Err(format!("{}: buffer {k}[{i}] is {got}, Rust has {expected}; no times", self.name).into());
            }
        }
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Two ways to run something, by turns: the median of each, and of the ratio of the first to the second.
fn compare(rounds: usize, mut a: impl FnMut() -> Result<f64>, mut b: impl FnMut() -> Result<f64>) -> Result<[f64; 3]> {
    a()?;
    b()?;
    let mut times = [const { Vec::new() }; 3];
    for round in 0..rounds {
        // The one that goes second finds the other's leavings in the cache: they take turns at that too.
        let (x, y) = if round % 2 == 0 { (a()?, b()?) } else { (b()?, a()?) }.into_ordered(round % 2 == 0);
        for (times, value) in times.iter_mut().zip([x, y, x / y]) {
            times.push(value);
        }
    }
    Ok(times.map(median))
}

trait Ordered {
    fn into_ordered(self, as_is: bool) -> (f64, f64);
}

impl Ordered for (f64, f64) {
    fn into_ordered(self, as_is: bool) -> (f64, f64) {
        if as_is { self } else { (self.1, self.0) }
    }
}

/// How many rounds are tried for each that is to count.
const TRIES: usize = 40;

/// What a second thread gains for arithmetic in registers.
fn free(two: &rayon::ThreadPool) -> f64 {
    let spin = || {
        let mut sums = [[1.0f32; 8]; 10];
        for _ in 0..200_000 {
            sums.iter_mut().flatten().for_each(|x| *x = *x * 0.999 + 0.1);
            black_box(&mut sums);
        }
    };
    let time = |f: &(dyn Fn() + Sync)| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    let both = || {
        rayon::join(spin, spin);
    };
    two.install(|| 2.0 * time(&spin) / time(&both))
}

type Time<'a> = &'a mut dyn FnMut() -> Result<f64>;

/// One thread, two, and the gain, medians over rounds in which the other core was free; Rust's own gain; how many rounds were
/// tried. None if there were too few.
fn gains(
    rounds: usize,
    two: &rayon::ThreadPool,
    [one, by_two, native, native_by_two]: [Time; 4],
) -> Result<Option<([f64; 3], f64, usize)>> {
    let mut times = [const { Vec::new() }; 4];
    for tried in 1..=TRIES * rounds {
        let before = free(two);
        let (a, b) = if tried % 2 == 0 { (one()?, by_two()?) } else { (by_two()?, one()?).into_ordered(false) };
        let gained = native()? / native_by_two()?;
        if before.min(free(two)) < FREE {
            continue;
        }
        times.iter_mut().zip([a, b, a / b, gained]).for_each(|(times, value)| times.push(value));
        if times[0].len() == rounds {
            let [a, b, gain, native] = times.map(median);
            return Ok(Some(([a, b, gain], native, tried)));
        }
    }
    Ok(None)
}

fn run() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let rounds = match std::env::var("SPEED_ROUNDS") {
        Ok(n) => n.parse::<usize>().map_err(|_| format!("SPEED_ROUNDS is `{n}`; it is a number of rounds"))?.max(1),
        Err(_) => 15,
    };
    let memory = Memory::new();
    let cases = [
        layernorm(&memory)?,
        adamw(&memory)?,
        axpy(&memory, "a·x + y, float4", "axpy4", PARAMETERS, 2.0)?,
        axpy(&memory, "a·x + y, float", "axpy", PARAMETERS, 2.0)?,
        // In the cache, where a launch is instructions and nothing else: no limit is set for it.
        axpy(&memory, "the same, 3 MB", "axpy", 1 << 18, f64::INFINITY)?,
    ];
    let cases: Vec<&Case> = cases
        .iter()
        .filter(|c| words.is_empty() || words.iter().any(|word| c.kernel.contains(word) || c.name.contains(word)))
        .collect();
    let level = Level::detect();
    let (best, baseline) = (Module::load(PTX)?, Module::load_for(PTX, Level::Baseline)?);
    let avx2 = Module::load_for(PTX, Level::Avx2)?;
    let threads = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build();
    let (one, two) = (threads(1)?, threads(2)?);
    for case in &cases {
        for module in [&best, &baseline, &avx2] {
            two.install(|| case.check(module, &memory).map_err(|e| e.to_string()))?;
        }
    }
    let on = |pool: &rayon::ThreadPool, module: &Module, case: &Case| -> Result<f64> {
        Ok(pool.install(|| case.run(module, &memory).map_err(|e| e.to_string()))?)
    };
    let mut within = true;
    println!("softgpu ({level:?}) against vectorised Rust, one thread each, median of {rounds} rounds");
    println!("{:<20} {:>11} {:>8} {:>7} {:>7}", "kernel", "softgpu ms", "Rust ms", "ratio", "limit");
    for case in &cases {
        let [soft, native, ratio] = compare(rounds, || on(&one, &best, case), || case.run_native(&memory))?;
        within &= ratio <= case.limit;
        let limit = if case.limit.is_finite() { format!("{:.1}", case.limit) } else { "none".into() };
        println!("{:<20} {soft:>11.2} {native:>8.2} {ratio:>7.2} {limit:>7}", case.name);
    }
    println!("\n{:<20} {:>9} {:>9} {:>7} {:>12}  rounds", "kernel", "1 thread", "2", "gain", "Rust's gain");
    for case in &cases {
        let mut by_two =
            || two.install(|| case.run_native_by_two(&memory).map_err(|e| e.to_string())).map_err(Into::into);
        let (mut first, mut second) = (|| on(&one, &best, case), || on(&two, &best, case));
        let gains = gains(rounds, &two, [&mut first, &mut second, &mut || case.run_native(&memory), &mut by_two])?;
        let Some(([a, b, gain], native, tried)) = gains else {
            println!("{:<20} the other core is not there for us: no round of {} counts", case.name, TRIES * rounds);
            continue;
        };
        within &= gain >= GAIN.min(native);
        println!("{:<20} {a:>9.2} {b:>9.2} {gain:>7.2} {native:>12.2}  {rounds} of {tried}", case.name);
    }
    println!("\n{:<20} {:>11} {:>8} {:>7}", "kernel", "baseline", "AVX2", "gain");
    for case in &cases {
        let [a, b, faster] = compare(rounds, || on(&one, &baseline, case), || on(&one, &avx2, case))?;
        println!("{:<20} {a:>11.2} {b:>8.2} {faster:>7.2}", case.name);
    }
    Ok(within)
}

fn main() -> ExitCode {
    match run() {
        Ok(within) if within || std::env::var_os("SPEED_STRICT").is_none() => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("error: a ratio is beyond its limit");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
