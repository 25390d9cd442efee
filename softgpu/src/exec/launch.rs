//! Launches: what a GPU would refuse is refused, and blocks are spread over threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::{Block, Turn, nobody};
use crate::Module;
use crate::decode::{Decoded, MULTIPROCESSORS};
use crate::memory::{self, Memory};
use crate::plan::Program;
use crate::tools::chips::{ARCHS, occupancy};
use crate::tools::{Observer, Report, Scene, Tools, Watch};
use crate::trap::{Error, Stop};
use crate::variables::Placed;

/// What the host passes to a kernel.
pub struct Launch<'a> {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Dynamic shared memory.
    pub shared_bytes: u32,
    /// The kernel's arguments, each as its bytes.
    pub args: &'a [&'a [u8]],
    /// All blocks are under way at once, so that they can wait for each other (`this_grid().sync()`). Such a grid must fit the
    /// device that softgpu plays.
    pub cooperative: bool,
}

/// Limits that hold on every GPU since sm_80: threads of a block, in all and by axis, and blocks.
pub const MAX_THREADS: u32 = 1024;
pub const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
pub const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
const MAX_SHARED: usize = 163 * 1024;
const MAX_STATIC: usize = 48 * 1024;

/// Runs a kernel to its end, on as many threads of the host as the current pool of `rayon` has. What it computes does not
/// depend on their number: a kernel that adds floats, or compares and swaps, in global memory runs its blocks one after
/// the other. (An integer operation may still tell a block how many others came before it.)
///
/// One launch at a time per memory. Errors: a launch that a GPU would refuse, and a kernel
/// that strays; the block reported is the first one in launch order, whatever the number of threads (of a
/// cooperative launch, whose blocks may wait for the one that strays, the first that was seen to).
pub fn launch(module: &Module, entry: &str, memory: &Memory, launch: &Launch) -> Result<(), Error> {
    launch_with(module, entry, memory, launch, &Tools::default()).map(|_| ())
}

/// As [`launch`], under tools. What they find is in the report; the error is as without them, with what they had found
/// until then in [`Stop::before`].
pub fn launch_with(
    module: &Module,
    entry: &str,
    memory: &Memory,
    launch: &Launch,
    tools: &Tools,
) -> Result<Report, Error> {
    let refuse = |Refusal { what, help }| Error::Launch { kernel: entry.to_string(), what, help };
    let Some(kernel) = module.kernels.iter().find(|k| k.decoded.name == entry) else {
        return Err(match module.refusal(entry) {
            Some(why) => Error::Unsupported { kernel: entry.to_string(), why: why.clone() },
            None => refuse("the module has no such kernel".to_string().into()),
        });
    };
    let decoded = &kernel.decoded;
    let params = pack(decoded, launch).map_err(|what| refuse(what.into()))?;
    let count = check(launch, decoded).map_err(refuse)?;
    let variables = module.variables.place(memory)?;
    let barrier = GridBarrier::new(memory, launch.cooperative)?;
    let blocks = memory.snapshot();
    let rows = kernel.rows.fits(launch.grid, launch.block, &params);
    let scene = Scene { decoded, launch, blocks: &blocks, params: &params, variables: &variables.names };
    let keep = memory.is_watched();
    let mut observer = (tools.any() || keep).then(|| Observer::new(*tools, scene, kernel.marks(), keep));
    let watch = match observer {
        None => Watch::Nothing,
        Some(_) if tools.counters => Watch::All,
        Some(_) => Watch::Accesses,
    };
    let output = Output::new(&module.output);
    let job = Job {
        decoded,
        program: kernel.program(rows, watch),
        launch,
        params: &params,
        variables: &variables,
        blocks: &blocks,
        shared: decoded.shared_bytes + launch.shared_bytes as usize,
        threads: launch.block.iter().product::<u32>() as usize,
        budget: module.budget,
        output: &output,
        seed: tools.seed,
        // The lifetime is that of the launch; a warp must not name it.
        tools: observer.as_mut().map_or(std::ptr::null_mut(), |o| (o as *mut Observer).cast()),
        deferred: module.deferred || tools.any(),
        barrier: barrier.address,
    };
    let stray = match observer {
        Some(_) => watched(&job, count),
        None => spread(&job, count),
    };
    output.flush();
    let report = observer.map(Observer::report).unwrap_or_default();
    match stray {
        Some(stop) => Err(Error::Stopped(Box::new(Stop { before: report.findings, ..stop }))),
        None => Ok(report),
    }
}

/// Where the blocks of a cooperative launch count who has come: `cooperative_groups/details/driver_abi.h` has the size of the
/// whole first, then the count.
struct GridBarrier<'a> {
    memory: &'a Memory,
    /// 0 without cooperation: a grid's barrier traps then, as on a GPU.
    address: u64,
}

impl GridBarrier<'_> {
    fn new(memory: &Memory, cooperative: bool) -> Result<GridBarrier<'_>, Error> {
        let address = if cooperative { memory.alloc(2 * size_of::<u32>())? } else { 0 };
        let barrier = GridBarrier { memory, address };
        if cooperative {
            memory.write(address, &[8, 0, 0, 0, 0, 0, 0, 0])?;
        }
        Ok(barrier)
    }
}

impl Drop for GridBarrier<'_> {
    fn drop(&mut self) {
        // Without cooperation there is nothing at 0 to free.
        let _ = self.memory.free(self.address);
    }
}

/// Why a GPU would refuse a launch, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub what: String,
    /// A sentence; nothing where `what` says it all.
    pub help: &'static str,
}

impl Refusal {
    fn new(what: String, help: &'static str) -> Refusal {
        Refusal { what, help }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.what, crate::trap::below(self.help))
    }
}

impl From<String> for Refusal {
    fn from(what: String) -> Refusal {
        Refusal::new(what, "")
    }
}

/// The threads of a block, if every GPU since sm_80 takes such a grid of such blocks, whatever the kernel.
pub fn limits(grid: [u32; 3], block: [u32; 3]) -> Result<u64, Refusal> {
    let threads: u64 = block.iter().map(|&n| u64::from(n)).product();
    let beyond = |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).any(|(&n, most)| n == 0 || n > most);
    if beyond(block, MAX_BLOCK) || threads > u64::from(MAX_THREADS) {
        let help = match threads {
            0 => "a block has at least one thread: an axis that is not used is 1",
            _ => "take smaller blocks and more of them: 128 or 256 threads suit most kernels",
        };
        let what = format!("block {block:?}: 1 to {MAX_BLOCK:?} threads, {MAX_THREADS} in all");
        return Err(Refusal::new(what, help));
    }
    if beyond(grid, MAX_GRID) {
        let help = match grid.contains(&0) {
            true => {
                "an axis that is not used is 1, and a quotient is to be rounded up: (n + 255) / 256 blocks for n threads"
            }
            false => "put the largest extent into x, or have each block do several pieces in a loop",
        };
        return Err(Refusal::new(format!("grid {grid:?}: 1 to {MAX_GRID:?} blocks are possible"), help));
    }
    Ok(threads)
}

/// The number of blocks, if a GPU would take the launch.
fn check(launch: &Launch, decoded: &Decoded) -> Result<u64, Refusal> {
    let threads = limits(launch.grid, launch.block)?;
    if let Some(block) = decoded.required_block.filter(|&block| block != launch.block) {
        return Err(Refusal::new(
            format!("block {:?}: it is compiled for {block:?} (`.reqntid`)", launch.block),
            "launch it with these blocks, or compile it without the demand",
        ));
    }
    if let Some(most) = decoded.most_threads.filter(|&most| most < threads) {
        return Err(Refusal::new(
            format!("{threads} threads a block: it is compiled for at most {most} (`.maxntid`, __launch_bounds__)"),
            "launch smaller blocks, or compile it with larger bounds",
        ));
    }
    let fixed = decoded.shared_bytes;
    if fixed > MAX_STATIC {
        return Err(Refusal::new(
            format!("{fixed} bytes of static shared memory, {MAX_STATIC} are possible"),
            "make it dynamic: `extern __shared__` in the kernel, and its size in the launch",
        ));
    }
    let shared = fixed + launch.shared_bytes as usize;
    if shared > MAX_SHARED {
        return Err(Refusal::new(
            format!("{shared} bytes of shared memory, {MAX_SHARED} are possible"),
            "take smaller tiles, or keep a part in registers or global memory",
        ));
    }
    let blocks = launch.grid.iter().map(|&n| u64::from(n)).product();
    let most = u64::from(MULTIPROCESSORS * occupancy(&ARCHS[0], threads as u32, 0, shared as u64).blocks);
    if launch.cooperative && blocks > most {
        return Err(Refusal::new(
            format!("a cooperative launch of {blocks} blocks, and the device holds {most} of them at once"),
            "launch fewer blocks, and have each go over its part of the work in a loop",
        ));
    }
    Ok(blocks)
}

/// The first block that has strayed so far: its turn, which threads read often and write hardly ever, and what it did.
struct Strays {
    at: AtomicU64,
    what: Mutex<Option<(u64, Stop)>>,
}

impl Strays {
    fn new() -> Strays {
        Strays { at: AtomicU64::new(u64::MAX), what: Mutex::default() }
    }

    fn add(&self, position: u64, stop: Stop) {
        let mut what = self.what.lock().unwrap_or_else(|e| e.into_inner());
        if what.as_ref().is_none_or(|(at, _)| position < *at) {
            *what = Some((position, stop));
            self.at.store(position, Ordering::Relaxed);
        }
    }

    fn first(self) -> Option<Stop> {
        self.what.into_inner().unwrap_or_else(|e| e.into_inner()).map(|(_, stop)| stop)
    }
}

/// The number that is to be given out next, alone in its lines of the cache: all threads write it.
#[repr(align(128))]
struct Next(AtomicU64);

/// Runs the blocks on all threads; what the first one that strayed did.
fn spread(job: &Job, count: u64) -> Option<Stop> {
    let (next, strays) = (Next(AtomicU64::new(0)), Strays::new());
    // Few enough that threads end together, whatever else they have to share their cores with.
    let threads = rayon::current_num_threads() as u64;
    let chunk = match job.launch.cooperative {
        true => count.div_ceil(threads),
        false => (count / (threads * 32)).clamp(1, 64),
    };
    let work = || work(job, &next, count, chunk, &strays, &|position| position);
    let threads = if job.decoded.serial { 1 } else { rayon::current_num_threads() };
    let workers = (count.div_ceil(chunk) as usize).min(threads);
    if workers <= 1 {
        work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    }
    strays.first()
}

/// Runs the blocks one after another, in the order that the seed chooses.
fn watched(job: &Job, count: u64) -> Option<Stop> {
    let (next, strays) = (Next(AtomicU64::new(0)), Strays::new());
    // Multiplication by what shares no factor with the count visits every block once.
    let seed = job.seed;
    let common = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let step = (seed.wrapping_mul(0x9e37_79b9) % count.max(1)..).find(|&step| common(step, count) == 1).unwrap_or(1);
    let order = |position: u64| {
        if seed == 0 { position } else { ((position as u128 * step as u128 + seed as u128) % count as u128) as u64 }
    };
    work(job, &next, count, 1, &strays, &order);
    strays.first()
}

/// Lays the arguments out as the parameter space; their sizes must agree.
fn pack(decoded: &Decoded, launch: &Launch) -> Result<Vec<u8>, String> {
    if launch.args.len() != decoded.parameters.len() {
        return Err(format!("{} arguments given, it takes {}", launch.args.len(), decoded.parameters.len()));
    }
    let mut params = vec![0; decoded.parameters.last().map_or(0, |(offset, bytes)| offset + bytes)];
    for (i, (arg, (offset, bytes))) in launch.args.iter().zip(&decoded.parameters).enumerate() {
        if arg.len() != *bytes {
            return Err(format!("argument {i} has {} bytes, the kernel takes {bytes}", arg.len()));
        }
        params[*offset..offset + bytes].copy_from_slice(arg);
    }
    Ok(params)
}

/// What a launch's `printf` calls have printed: written at its end, block by block in the order of the grid, so that it
/// does not depend on the threads; before, if it has become much.
pub struct Output<'a> {
    sink: &'a Sink,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    bytes: usize,
    /// By block.
    texts: Vec<(u64, Vec<u8>)>,
}

/// Takes what kernels print.
pub type Sink = Box<dyn Fn(&[u8]) + Send + Sync>;

/// Bytes that wait for the end of a launch.
const MOST_PENDING: usize = 16 << 20;

impl Output<'_> {
    fn new(sink: &Sink) -> Output<'_> {
        Output { sink, pending: Mutex::default() }
    }

    /// Takes what the block has printed since the last time.
    pub fn add(&self, block: u64, text: &mut Vec<u8>) {
        let mut pending = self.pending.lock().unwrap_or_else(|e| e.into_inner());
        pending.bytes += text.len();
        match pending.texts.last_mut() {
            Some((last, all)) if *last == block => all.append(text),
            _ => pending.texts.push((block, std::mem::take(text))),
        }
        if pending.bytes > MOST_PENDING {
            self.write(&mut pending);
        }
    }

    fn flush(&self) {
        self.write(&mut self.pending.lock().unwrap_or_else(|e| e.into_inner()));
    }

    fn write(&self, pending: &mut Pending) {
        pending.bytes = 0;
        pending.texts.sort_by_key(|(block, _)| *block);
        pending.texts.drain(..).for_each(|(_, text)| (self.sink)(&text));
    }
}

/// A launch, as its blocks see it.
pub struct Job<'a> {
    pub decoded: &'a Decoded,
    pub program: &'a Program,
    pub launch: &'a Launch<'a>,
    pub params: &'a [u8],
    pub variables: &'a Placed,
    pub blocks: &'a [memory::Block],
    pub shared: usize,
    pub threads: usize,
    pub budget: u64,
    pub output: &'a Output<'a>,
    pub seed: u64,
    /// Null, or the one thread's that runs all blocks.
    pub tools: *mut Observer<'static>,
    pub deferred: bool,
    /// The address of the grid's barrier, or 0.
    pub barrier: u64,
}

impl Job<'_> {
    pub fn scene(&self) -> Scene<'_> {
        let Job { decoded, launch, blocks, params, .. } = *self;
        Scene { decoded, launch, blocks, params, variables: &self.variables.names }
    }
}

// SAFETY: `tools` is null when blocks are spread over threads.
unsafe impl Sync for Job<'_> {}

/// Blocks that one thread keeps in work at most, but for cooperative launches, and the turns after which it starts as many again:
/// a block that goes on for so long may be waiting for one that has not started.
const RESIDENT: usize = 1024;
const PATIENCE: u64 = 64;
/// Branches of one turn of a warp, shared among the blocks in work. A warp that waits in a loop gives way after it.
const TURN: u64 = 1 << 16;
/// The shortest, and that of cooperative launches, where whoever goes on for long waits.
const SHORT_TURN: u64 = 64;
/// Under tools, which look at every turn of a loop that waits.
const WATCHED_TURN: u64 = 1 << 10;

/// One thread's share of a launch: takes blocks until there are no more, `chunk` at a time. Once a block has strayed,
/// only those before it go on, so that the one reported does not depend on the threads.
fn work(job: &Job, next: &Next, count: u64, chunk: u64, strays: &Strays, order: &dyn Fn(u64) -> u64) {
    let (mut from, mut until) = (0, 0);
    let mut take = || {
        if from == until {
            from = next.0.fetch_add(chunk, Ordering::Relaxed).min(count);
            until = (from + chunk).min(count);
        }
        let index = from;
        from = (from + 1).min(until);
        (index < until && index < strays.at.load(Ordering::Relaxed)).then_some(index)
    };
    let turn_of = |blocks: usize| match job.launch.cooperative {
        true => SHORT_TURN,
        false => (if job.tools.is_null() { TURN } else { WATCHED_TURN } / blocks as u64).max(SHORT_TURN),
    };
    // Boxed: a block moves from list to list once per launch of a few hundred instructions.
    let (mut resident, mut spare) = (Vec::<Box<Block>>::new(), Vec::new());
    let mut w = nobody(job);
    // Each will wait for all others.
    if job.launch.cooperative {
        for position in std::iter::from_fn(&mut take) {
            let mut block = Box::new(Block::new(job));
            block.start(position, order(position));
            resident.push(block);
        }
    }
    loop {
        let mut turns = 1;
        // Most blocks end in their first turn, one after the other.
        while resident.is_empty() {
            let Some(position) = take() else { return };
            let mut block = spare.pop().unwrap_or_else(|| Box::new(Block::new(job)));
            block.start(position, order(position));
            match block.turn(&mut w, turn_of(1)) {
                Ok(Turn::Goes) => resident.push(block),
                Ok(Turn::Ended) => spare.push(block),
                Err(stop) => strays.add(position, *stop),
            }
        }
        while !resident.is_empty() {
            if turns % PATIENCE == 0 {
                for position in
                    std::iter::from_fn(&mut take).take(resident.len().min(RESIDENT.saturating_sub(resident.len())))
                {
                    let mut block = spare.pop().unwrap_or_else(|| Box::new(Block::new(job)));
                    block.start(position, order(position));
                    resident.push(block);
                }
            }
            // Those before it may wait for the one that strayed.
            if job.launch.cooperative && strays.at.load(Ordering::Relaxed) != u64::MAX {
                return;
            }
            let turn = turn_of(resident.len());
            turns += 1;
            let mut k = 0;
            while k < resident.len() {
                match resident[k].turn(&mut w, turn) {
                    Ok(Turn::Goes) => k += 1,
                    Ok(Turn::Ended) => spare.push(resident.swap_remove(k)),
                    Err(stop) => {
                        let position = resident.swap_remove(k).position;
                        strays.add(position, *stop);
                        if job.launch.cooperative {
                            return;
                        }
                        resident.retain(|block| block.position < position);
                        k = 0;
                    }
                }
            }
        }
    }
}
