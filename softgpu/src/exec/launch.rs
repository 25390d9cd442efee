//! Launches: what a GPU would refuse is refused, and blocks are spread over threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::LANES;
use super::block::{Block, Turn};
use crate::decode::Decoded;
use crate::memory::{self, Memory};
use crate::plan::Program;
use crate::trap::{Error, Stop};
use crate::{Kernel, Module};

/// What the host passes to a kernel.
pub struct Launch<'a> {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Dynamic shared memory.
    pub shared_bytes: u32,
    /// The kernel's arguments, each as its bytes.
    pub args: &'a [&'a [u8]],
}

/// Limits that hold on every GPU since sm_80.
const MAX_THREADS: u64 = 1024;
const MAX_SHARED: usize = 163 * 1024;
const MAX_GRID_YZ: u32 = 65_535;

/// Runs a kernel to its end. One launch at a time per memory. Errors: a launch that a GPU would refuse, and a kernel
/// that strays; the block reported is the first one in launch order, whatever the number of threads.
pub fn launch(module: &Module, entry: &str, memory: &Memory, launch: &Launch) -> Result<(), Error> {
    let refuse = |what: String| Error::Launch { kernel: entry.to_string(), what };
    let Some(kernel) = module.kernels.iter().find(|k| k.decoded.name == entry) else {
        return Err(refuse("the module has no such kernel".into()));
    };
    let Kernel { decoded, rows, any } = kernel;
    let params = pack(decoded, launch).map_err(refuse)?;
    let threads: u64 = launch.block.iter().map(|&n| n as u64).product();
    let count: u64 = launch.grid.iter().map(|&n| n as u64).product();
    let shared = decoded.shared_bytes + launch.shared_bytes as usize;
    if threads == 0 || threads > MAX_THREADS || launch.block[2] > 64 {
        return Err(refuse(format!("block {:?}: 1 to {MAX_THREADS} threads are possible", launch.block)));
    }
    if count == 0 || launch.grid[1] > MAX_GRID_YZ || launch.grid[2] > MAX_GRID_YZ {
        return Err(refuse(format!("grid {:?} is empty or beyond {MAX_GRID_YZ} in y or z", launch.grid)));
    }
    if shared > MAX_SHARED {
        return Err(refuse(format!("{shared} bytes of shared memory, {MAX_SHARED} are possible")));
    }
    let blocks = memory.snapshot();
    let [x, y, z] = launch.block;
    let program = if x.is_multiple_of(LANES as u32) || y == 1 && z == 1 { rows } else { any };
    let job = Job {
        decoded,
        program,
        launch,
        params: &params,
        blocks: &blocks,
        shared,
        threads: threads as usize,
        budget: module.budget,
    };
    let (next, worst) = (AtomicU64::new(0), Mutex::new(None::<(u64, Stop)>));
    let chunk = (count / (rayon::current_num_threads() as u64 * 8)).clamp(1, 64);
    let work = || work(&job, &next, count, chunk, &worst);
    let workers = (count.div_ceil(chunk) as usize).min(rayon::current_num_threads());
    if workers <= 1 {
        work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| work())));
    }
    match worst.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some((_, stop)) => Err(Error::Stopped(Box::new(stop))),
        None => Ok(()),
    }
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

/// A launch, as its blocks see it.
pub struct Job<'a> {
    pub decoded: &'a Decoded,
    pub program: &'a Program,
    pub launch: &'a Launch<'a>,
    pub params: &'a [u8],
    pub blocks: &'a [memory::Block],
    pub shared: usize,
    pub threads: usize,
    pub budget: u64,
}

/// Blocks that one thread keeps in work at most, and the turns after which it starts as many again: a block that goes
/// on for so long may be waiting for one that has not started.
const RESIDENT: usize = 1024;
const PATIENCE: u64 = 64;
/// Branches of one turn of a warp, shared among the blocks in work. A warp that waits in a loop gives way after it.
const TURN: u64 = 1 << 16;

/// One thread's share of a launch: takes blocks until there are no more, `chunk` at a time. Once a block has strayed,
/// only those before it go on, so that the one reported does not depend on the threads.
fn work(job: &Job, next: &AtomicU64, count: u64, chunk: u64, worst: &Mutex<Option<(u64, Stop)>>) {
    let stray = || worst.lock().unwrap_or_else(|e| e.into_inner()).as_ref().map_or(u64::MAX, |(at, _)| *at);
    let (mut from, mut until) = (0, 0);
    let mut take = || {
        if from == until {
            from = next.fetch_add(chunk, Ordering::Relaxed).min(count);
            until = (from + chunk).min(count);
        }
        let index = from;
        from = (from + 1).min(until);
        (index < until && (index % 16 != 0 && index + chunk != until || index < stray())).then_some(index)
    };
    let (mut resident, mut spare) = (Vec::<Block>::new(), vec![Block::new(job)]);
    let (mut turns, mut more) = (0, true);
    loop {
        let wanted = match resident.len() {
            0 => 1,
            n if more && turns % PATIENCE == 0 => (2 * n).min(RESIDENT),
            n => n,
        };
        while more && resident.len() < wanted {
            let Some(index) = take() else {
                more = false;
                break;
            };
            let mut block = spare.pop().unwrap_or_else(|| Block::new(job));
            block.start(index);
            resident.push(block);
        }
        if resident.is_empty() {
            return;
        }
        let turn = (TURN / resident.len() as u64).max(64);
        turns += 1;
        let mut k = 0;
        while k < resident.len() {
            match resident[k].turn(turn) {
                Ok(Turn::Goes) => k += 1,
                Ok(Turn::Ended) => spare.push(resident.swap_remove(k)),
                Err(stop) => {
                    let index = resident.swap_remove(k).index;
                    let mut worst = worst.lock().unwrap_or_else(|e| e.into_inner());
                    if worst.as_ref().is_none_or(|(at, _)| index < *at) {
                        *worst = Some((index, *stop));
                    }
                    resident.retain(|block| block.index < index);
                    k = 0;
                }
            }
        }
        if resident.is_empty() {
            turns = 0;
        }
    }
}
