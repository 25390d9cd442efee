//! Launches: blocks over threads, warps over a block, groups of lanes over a warp.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BARRIER, DIVERGED, EVENT, EXIT, LANES, Op, TRAP, Warp};
use crate::decode::{Decoded, Init, Special};
use crate::memory::{Block, Memory};
use crate::plan::{Home, Program};
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
    let work = || {
        let mut worker = Worker::new(&job);
        loop {
            let from = next.fetch_add(chunk, Ordering::Relaxed);
            for index in from..(from + chunk).min(count) {
                let mut seen = None;
                if index & 15 == 0 || index == from {
                    seen = worst.lock().unwrap_or_else(|e| e.into_inner()).as_ref().map(|(at, _)| *at);
                }
                if seen.is_some_and(|at| at < index) {
                    return;
                }
                if let Err(stop) = worker.block(index) {
                    let mut worst = worst.lock().unwrap_or_else(|e| e.into_inner());
                    if worst.as_ref().is_none_or(|(at, _)| index < *at) {
                        *worst = Some((index, *stop));
                    }
                    return;
                }
            }
            if from >= count {
                return;
            }
        }
    };
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

struct Job<'a> {
    decoded: &'a Decoded,
    program: &'a Program,
    launch: &'a Launch<'a>,
    params: &'a [u8],
    blocks: &'a [Block],
    shared: usize,
    threads: usize,
    budget: u64,
}

/// Lanes at one pc.
type Group = (u32, u32);

struct Lanes {
    live: u32,
    groups: Vec<Group>,
    waiting: Vec<Group>,
}

enum Outcome {
    Done,
    Barrier,
    Trap(u32),
}

const ENDLESS: &str = "the warp has used up its budget of branches: is a loop without an end, or does it wait for a block that has not started?";

/// One register of a warp.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Slot([u32; LANES]);

/// One thread's share of a launch: register files and shared memory, used block after block.
struct Worker<'a> {
    job: &'a Job<'a>,
    registers: Vec<Slot>,
    shared: Vec<Slot>,
    local: Vec<u64>,
    lanes: Vec<Lanes>,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Worker<'a> {
        let warps = job.threads.div_ceil(LANES);
        let program = job.program;
        let mut worker = Worker {
            job,
            registers: vec![Slot([0; LANES]); warps * (program.bytes / size_of::<Slot>())],
            shared: vec![Slot([0; LANES]); job.shared.div_ceil(4 * LANES)],
            local: vec![0; (warps * LANES * job.decoded.local_bytes).div_ceil(8)],
            lanes: (0..warps).map(|_| Lanes { live: 0, groups: Vec::new(), waiting: Vec::new() }).collect(),
        };
        for warp in 0..warps {
            worker.constants(warp, [0; 3], false);
        }
        worker
    }

    /// Fills the slots that no instruction writes: literals, parameters, special registers. With `block_only`, just
    /// those that change from block to block.
    fn constants(&mut self, warp: usize, block: [u32; 3], block_only: bool) {
        let program = self.job.program;
        let (grid, threads) = (self.job.launch.grid, self.job.launch.block);
        for &(at, home, init) in if block_only { &program.block_inits } else { &program.inits } {
            let value = |lane: usize| -> u64 {
                let t = (warp * LANES + lane) as u32;
                match init {
                    Init::Bits(bits) => bits,
                    Init::Param { offset, bytes } => {
                        let mut raw = [0; 8];
                        raw[..bytes].copy_from_slice(&self.job.params[offset..offset + bytes]);
                        u64::from_le_bytes(raw)
                    }
                    Init::Special(special) => {
                        (match special {
                            Special::Thread(0) => t % threads[0],
                            Special::Thread(1) => t / threads[0] % threads[1],
                            Special::Thread(_) => t / (threads[0] * threads[1]),
                            Special::Block(axis) => block[axis],
                            Special::Threads(axis) => threads[axis],
                            Special::Blocks(axis) => grid[axis],
                            Special::Lane => lane as u32,
                            Special::Warp => warp as u32,
                        }) as u64
                    }
                }
            };
            let at = warp * program.bytes + at;
            let file: &mut [u8] = bytemuck::cast_slice_mut(&mut self.registers);
            match home {
                Home::Mask => {
                    let mask = if value(0) != 0 { u32::MAX } else { 0 };
                    file[at..at + 4].copy_from_slice(&mask.to_ne_bytes());
                }
                Home::Words => {
                    let words: [u32; LANES] = std::array::from_fn(|i| value(i) as u32);
                    file[at..at + 128].copy_from_slice(bytemuck::cast_slice(&words));
                }
                Home::Doubles => {
                    let doubles: [u64; LANES] = std::array::from_fn(value);
                    file[at..at + 256].copy_from_slice(bytemuck::cast_slice(&doubles));
                }
                Home::Cell => file[at..at + 8].copy_from_slice(&value(0).to_ne_bytes()),
            }
        }
    }

    fn block(&mut self, index: u64) -> Result<(), Box<Stop>> {
        let [gx, gy, _] = self.job.launch.grid.map(u64::from);
        let block = [index % gx, index / gx % gy, index / (gx * gy)].map(|i| i as u32);
        // Shared memory starts as NaN everywhere: a kernel that reads what nobody wrote gets the same wrong answer always.
        self.shared.fill(Slot([u32::MAX; LANES]));
        for warp in 0..self.lanes.len() {
            self.constants(warp, block, true);
            let threads = (self.job.threads - warp * LANES).min(LANES);
            let live = if threads == LANES { u32::MAX } else { (1 << threads) - 1 };
            let lanes = &mut self.lanes[warp];
            lanes.live = live;
            lanes.groups.clear();
            lanes.groups.push((0, live));
        }
        loop {
            let (mut waiting, mut done) = (0, 0);
            for warp in 0..self.lanes.len() {
                let (outcome, stop) = self.warp(warp);
                match outcome {
                    Outcome::Done => done += 1,
                    Outcome::Barrier => waiting += 1,
                    Outcome::Trap(pc) => return Err(self.report(block, warp, pc, stop)),
                }
            }
            if waiting == 0 {
                return Ok(());
            }
            debug_assert_eq!(waiting + done, self.lanes.len());
        }
    }

    #[allow(clippy::type_complexity)]
    fn warp(&mut self, index: usize) -> (Outcome, Option<(String, &'static str, u32)>) {
        let program = self.job.program;
        let lanes = &mut self.lanes[index];
        let local_bytes = self.job.decoded.local_bytes;
        let local = index * LANES * local_bytes;
        // SAFETY: the offsets lie inside buffers sized for all warps of the block.
        let (file, local) = unsafe {
            let file = (self.registers.as_mut_ptr() as *mut u8).add(index * program.bytes);
            (file, (self.local.as_mut_ptr() as *mut u8).add(local))
        };
        let mut w = Warp {
            mask: 0,
            live: lanes.live,
            taken: 0,
            saved: 0,
            at: std::ptr::null(),
            blocks: self.job.blocks.as_ptr(),
            block_count: self.job.blocks.len(),
            shared: self.shared.as_mut_ptr() as *mut u8,
            shared_bytes: self.job.shared as u64,
            local,
            local_bytes: local_bytes as u64,
            stop: None,
        };
        let outcome = run(program, lanes, &mut w, file, self.job.budget);
        lanes.live = w.live;
        (outcome, w.stop)
    }

    fn report(&self, block: [u32; 3], warp: usize, pc: u32, stop: Option<(String, &'static str, u32)>) -> Box<Stop> {
        let (what, help, lane) = stop.unwrap_or(("stopped".into(), "this is a bug in softgpu: please report it", 0));
        let place = &self.job.decoded.places[self.job.program.places[pc as usize] as usize];
        let [x, y, _] = self.job.launch.block;
        let t = (warp * LANES) as u32 + lane;
        Box::new(Stop {
            what,
            help,
            kernel: self.job.decoded.name.clone(),
            block,
            thread: [t % x, t / x % y, t / (x * y)],
            instruction: place.text.clone(),
            ptx_line: place.line,
            source: place.source.clone(),
        })
    }
}

/// Runs a warp until all its lanes have exited or wait at a barrier.
fn run(program: &Program, lanes: &mut Lanes, w: &mut Warp, file: *mut u8, mut budget: u64) -> Outcome {
    let ops = program.ops.as_slice();
    loop {
        let Some(mut pc) = lanes.groups.iter().map(|g| g.0).min() else {
            if lanes.waiting.is_empty() {
                return Outcome::Done;
            }
            std::mem::swap(&mut lanes.groups, &mut lanes.waiting);
            return Outcome::Barrier;
        };
        let mut mask = 0;
        lanes.groups.retain(|&(at, group)| {
            mask |= if at == pc { group } else { 0 };
            at != pc
        });
        let limit = lanes.groups.iter().map(|g| g.0).min().unwrap_or(EVENT);
        w.mask = mask;
        loop {
            let op: *const Op = &ops[pc as usize];
            // SAFETY: the plan has placed every operand of this program inside its register file, and a program ends
            // with an exit.
            let next = unsafe { ((*op).run)(w, op, file) };
            if next < limit {
                pc = next;
                budget -= 1;
                if budget == 0 {
                    w.trap("the kernel does not end".into(), ENDLESS, w.mask.trailing_zeros());
                    return Outcome::Trap(pc);
                }
                continue;
            }
            // SAFETY: a handler that returns an event leaves its op, one of `ops`, in `at`.
            let (at, op) = unsafe { (w.at.offset_from(ops.as_ptr()) as u32, &*w.at) };
            match next {
                EXIT => {}
                BARRIER => lanes.waiting.push((op.e, w.mask)),
                TRAP => return Outcome::Trap(at),
                DIVERGED => lanes.groups.extend([(op.imm, w.taken), (op.e, w.mask & !w.taken)]),
                met => lanes.groups.push((met, w.mask)),
            }
            break;
        }
    }
}
