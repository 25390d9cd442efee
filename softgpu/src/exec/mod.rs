//! Executes a [`Program`](crate::plan::Program): warps of 32 lanes, one vector loop per instruction.
//!
//! Lanes that agree run together; after a divergent branch the group with the lowest pc runs first, and groups that
//! meet at the same pc run on as one, so that branches reconverge without any marks in the code.
//!
//! Handlers call the next one themselves (compiled to a jump where optimised); branches, and some op on every long
//! straight line, return to the loop in `sched`, so that the stack stays small however the calls are compiled.

pub mod access;
pub mod address;
pub mod alu;
pub mod async_copy;
pub mod atomic;
mod block;
pub mod call;
pub mod collective;
pub mod compare;
mod fill;
pub mod form;
mod format;
pub mod gang;
mod gang_mem;
mod launch;
pub mod ldmatrix;
pub mod matrix;
pub mod matrix_exact;
pub mod mbarrier;
pub mod mem;
pub mod mem_handlers;
pub mod runs;
mod sched;
pub mod single;
mod stray;
mod tile;
mod transpose;
pub mod warp;
pub mod wmma;

pub use alu::expand_handlers;
pub use launch::{Launch, MAX_BLOCK, MAX_GRID, MAX_THREADS, Refusal, Sink, launch, launch_with, limits};
pub use warp::clock;

use crate::memory::Block;
use crate::tools::{Access, Observer, Touch, Value};
use async_copy::Copies;

pub const LANES: usize = 32;
/// Program counters from here on are events, not instructions.
pub const EVENT: u32 = 0xffff_fff0;
pub const EXIT: u32 = EVENT;
pub const BARRIER: u32 = EVENT + 1;
pub const TRAP: u32 = EVENT + 2;
pub const DIVERGED: u32 = EVENT + 3;
/// The op needs lanes that have not come here yet; `Warp::stop` holds what to say if they never do. It is run again.
pub const WAIT: u32 = EVENT + 4;
/// What a handler's body returns to go on with the next op.
pub const NEXT: u32 = EVENT + 5;
/// What a handler's body returns to have its slow twin run the op: a call that comes last in a handler is a jump, and a
/// handler without other calls saves no registers.
pub const SLOW: u32 = EVENT + 6;
/// For the loop in `sched` to see to; the op's `imm` is its list, `e` the pc after it.
pub const CALL: u32 = EVENT + 8;
pub const RETURN: u32 = EVENT + 9;
pub const SWITCH: u32 = EVENT + 10;
pub const YIELD: u32 = EVENT + 11;

/// Runs one instruction and those that follow, and says where to go on: the next pc, or an event (`Warp::at` then names
/// the op). The pointer is the warp's register file.
pub type Handler = unsafe fn(&mut Warp, *const Op, *mut u8) -> u32;

/// One decoded instruction. `d` is the destination, `a b c e` the sources (for vectors: further destinations), all as
/// byte offsets into the register file.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Op {
    pub run: Handler,
    pub d: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub e: u32,
    pub imm: u32,
}

/// An instruction that has more operands than an [`Op`] has room for, or is too rare to be worth handlers of its own.
#[derive(Debug)]
pub struct Wide {
    /// What it is called in a disassembly, without its modifiers.
    pub name: &'static str,
    /// For the three levels; [`one_level_wide`] where they do not matter.
    pub run: [WideFn; 3],
    /// It may return [`WAIT`].
    pub waits: bool,
    /// Atomic, volatile, relaxed or acquire: another thread may be waited for in a loop around it.
    pub strong: bool,
}

impl PartialEq for Wide {
    fn eq(&self, other: &Wide) -> bool {
        std::ptr::eq(self, other)
    }
}
impl Eq for Wide {}

/// Runs a wide instruction for the lanes in the mask: [`NEXT`] or an event.
pub type WideFn = unsafe fn(&mut Warp, &List, *mut u8) -> u32;

/// The three copies of a function whose vector instructions do not matter.
pub const fn one_level_wide(run: WideFn) -> [WideFn; 3] {
    [run; 3]
}

/// A wide instruction in a program: `regs` are the offsets of its vectors in the register file (destinations first, in
/// the order that its decoder gave them), `imms` its constants.
pub struct List {
    pub run: WideFn,
    pub regs: Box<[u32]>,
    pub imms: Box<[i64]>,
    /// Index into the places, for reports.
    pub place: u32,
}

/// What a handler may touch, the register file aside. There a 32-bit register is 32 words, a 64-bit one 32 doubles, a
/// predicate one word, and a scalar (the same for all lanes, or growing by a fixed stride) one cell of 8 bytes.
pub struct Warp {
    /// Lanes that execute now, and lanes that have not exited.
    pub mask: u32,
    pub live: u32,
    /// Lanes that jump, after `DIVERGED`; the mask around a guarded instruction.
    pub taken: u32,
    pub saved: u32,
    pub at: *const Op,
    pub blocks: *const Block,
    pub block_count: usize,
    pub shared: *mut u8,
    pub shared_bytes: u64,
    pub local: *mut u8,
    pub local_bytes: u64,
    /// The module's constant bank and the kernel's parameters.
    pub constants: *const u8,
    pub constant_bytes: u64,
    pub params: *const u8,
    pub param_bytes: u64,
    /// What the block's threads have under way, and whether it is held back until a wait.
    pub copies: *mut Copies,
    pub deferred: bool,
    /// Branches left of the turn, and those given away.
    pub turn: u64,
    pub given: u64,
    /// Branches left of this turn when it first gave way, in a test of an mbarrier or to sleep, or 0 if it has done something
    /// that others may wait for; and what the last such test found.
    pub idle: Option<u64>,
    pub waits: Option<Waits>,
    /// Operands of the program's wide instructions.
    pub lists: *const List,
    /// Of a gang, see [`gang`]: bytes from one warp's registers to the next one's; ops that it runs warp by warp.
    pub stride: usize,
    pub singles: *const Op,
    /// The block's number in the grid, and the warp's in the block.
    pub block: u64,
    pub index: u32,
    /// Null unless the program is a watched one.
    pub tools: *mut Observer<'static>,
    /// Cycles, as far as anybody looks at them: see [`clock`].
    pub clock: u64,
    /// After `WAIT`: the members that may meet at this instruction or at another of its kind, wherever that stands; or 0.
    pub meets: u32,
    /// What `printf` has printed in this turn.
    pub printed: Vec<u8>,
    /// What went wrong, in which lane, and what to do, after `TRAP` and `WAIT`.
    pub stop: Option<Fault>,
}

/// What the phase of an mbarrier waits for.
#[derive(Clone, Copy)]
pub struct Waits {
    pub arrivals: u64,
    pub transactions: i64,
}

/// What a warp did wrong, the first lane that did, and what to look at.
pub struct Fault {
    /// See [`Stop::checker`](crate::Stop).
    pub checker: &'static str,
    pub what: String,
    pub help: &'static str,
    pub lane: u32,
    /// A global address, which the report names after `what`.
    pub near: Option<u64>,
}

impl Fault {
    pub fn new(what: String, help: &'static str, lane: u32) -> Fault {
        Fault { checker: "", what, help, lane, near: None }
    }

    /// The same, as that checker's.
    pub fn of(self, checker: &'static str) -> Fault {
        Fault { checker, ..self }
    }
}

impl Warp {
    /// All lanes that live execute.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        // Two loads: LLVM would make one of them, which waits for the two stores before it to leave the core.
        // SAFETY: a field of `self`.
        self.mask == unsafe { std::ptr::read_volatile(&self.live) }
    }

    /// Lanes up to the last one that executes.
    #[inline(always)]
    pub fn span(&self) -> usize {
        LANES - self.mask.leading_zeros() as usize
    }

    /// Something has happened that others may wait for.
    pub fn acts(&mut self) {
        self.idle = Some(0);
    }

    /// Shows the tools, if there are any, an access that comes next: [`NEXT`], or a trap.
    pub fn show(&mut self, access: &Access, addresses: &[u64; LANES]) -> u32 {
        self.show_values(access, addresses, None)
    }

    /// As [`Warp::show`], with what the lanes store.
    pub fn show_values(&mut self, access: &Access, addresses: &[u64; LANES], value: Option<Value>) -> u32 {
        // SAFETY: the tools outlive the launch, which runs on one thread with them.
        let fault = unsafe { self.tools.as_mut() }.and_then(|tools| tools.access(self, access, addresses, value));
        match fault {
            Some(fault) => {
                self.stop = Some(fault);
                TRAP
            }
            None => NEXT,
        }
    }

    /// Ends the turn at the next branch: what the warp waits for is another one's to do.
    /// The wait costs so many branches, so that one in vain uses up the budget in seconds.
    pub fn give_way(&mut self, price: u64) {
        self.idle.get_or_insert(self.turn);
        self.turn = self.turn.saturating_sub(price).max(1);
        self.given += self.turn.saturating_sub(1);
        self.turn = self.turn.min(1);
    }

    /// Shows the tools that the warp as a whole accesses pieces of 16 bytes, each in the name of a lane.
    pub fn show_rows(&mut self, place: u32, touch: Touch, space: u8, rows: &[u64]) -> u32 {
        if self.tools.is_null() {
            return NEXT;
        }
        let access = Access { place, touch, space, bytes: 16, strong: false };
        let mask = self.mask;
        for rows in rows.chunks(LANES) {
            let addresses = std::array::from_fn(|i| rows.get(i).copied().unwrap_or(0));
            self.mask = u32::MAX >> (LANES - rows.len());
            let event = self.show(&access, &addresses);
            self.mask = mask;
            if event != NEXT {
                return event;
            }
        }
        NEXT
    }

    #[cold]
    #[inline(never)]
    pub fn trap(&mut self, what: String, help: &'static str, lane: u32) -> u32 {
        self.stop = Some(Fault::new(what, help, lane));
        TRAP
    }

    /// As [`Warp::trap`], in the name of a checker.
    #[cold]
    #[inline(never)]
    pub fn trap_of(&mut self, checker: &'static str, what: String, help: &'static str, lane: u32) -> u32 {
        self.stop = Some(Fault::new(what, help, lane).of(checker));
        TRAP
    }

    /// Waits for other lanes; what is said if they never come.
    #[cold]
    #[inline(never)]
    pub fn wait(&mut self, what: String, help: &'static str) -> u32 {
        self.stop = Some(Fault::new(what, help, self.mask.trailing_zeros()).of("synccheck"));
        WAIT
    }
}

/// Goes on with the op after `op`.
///
/// # Safety
/// `op` must not be the program's last one.
#[inline(always)]
pub unsafe fn next(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    // SAFETY: the caller's; handlers run only on operands that the decoder has checked.
    unsafe {
        let op = op.add(1);
        ((*op).run)(w, op, r)
    }
}

/// The vector instructions that handlers are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Baseline,
    Avx2,
    Avx512,
}

impl Level {
    /// The best that this machine has.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (avx2, avx512) {
                (true, true) => Level::Avx512,
                (true, false) => Level::Avx2,
                _ => Level::Baseline,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::Baseline
    }
}

/// The baseline, AVX2 and AVX-512 copies of an `#[inline(always)]` handler body: `fn(&mut Warp, &Op, *mut u8) -> u32`.
/// With `slow [handler]`, of one that may return [`SLOW`]: then that handler, a generic function, runs the op.
/// With `leveled`, of one that also takes its [`Level`], a constant in each copy.
macro_rules! three_levels {
    // The brackets hold what each copy passes to the body beside the three.
    (@copies [$($slow:tt)+] [$($first:tt)*] [$($second:tt)*] [$($third:tt)*] $($body:tt)+) => {{
        use $crate::exec::{Handler, NEXT, Op, SLOW, Warp, next};
        unsafe fn baseline(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
            // SAFETY: handlers run only on operands that the decoder has checked.
            unsafe {
                match $($body)+(w, &*op, r $($first)*) {
                    NEXT => next(w, op, r),
                    SLOW => $($slow)+(w, op, r),
                    event => { w.at = op; event }
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx2(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
            // SAFETY: as above; `level` has found the features.
            unsafe {
                match $($body)+(w, &*op, r $($second)*) {
                    NEXT => next(w, op, r),
                    SLOW => $($slow)+(w, op, r),
                    event => { w.at = op; event }
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx512(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
            // SAFETY: as above; `level` has found the features.
            unsafe {
                match $($body)+(w, &*op, r $($third)*) {
                    NEXT => next(w, op, r),
                    SLOW => $($slow)+(w, op, r),
                    event => { w.at = op; event }
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        { [baseline as Handler, avx2 as Handler, avx512 as Handler] }
        #[cfg(not(target_arch = "x86_64"))]
        { [baseline as Handler; 3] }
    }};
    (leveled slow [$($slow:tt)+] $($body:tt)+) => {{
        use $crate::exec::Level;
        $crate::exec::three_levels!(
            @copies [$($slow)+] [, Level::Baseline] [, Level::Avx2] [, Level::Avx512] $($body)+
        )
    }};
    (slow [$($slow:tt)+] $($body:tt)+) => { $crate::exec::three_levels!(@copies [$($slow)+] [] [] [] $($body)+) };
    ($($body:tt)+) => { $crate::exec::three_levels!(slow [$crate::exec::no_slow] $($body)+) };
}
pub(crate) use three_levels;

/// The slow twin of what has none.
///
/// # Safety
/// Of a handler.
#[cold]
pub unsafe fn no_slow(w: &mut Warp, op: *const Op, _: *mut u8) -> u32 {
    w.at = op;
    SLOW
}

/// What a slow twin does with the event of its body.
///
/// # Safety
/// As [`next`].
#[inline(always)]
pub unsafe fn go_on(event: u32, w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
    if event == NEXT {
        // SAFETY: the caller's.
        return unsafe { next(w, op, r) };
    }
    w.at = op;
    event
}

/// One copy of a body for all levels.
macro_rules! one_level {
    ($($body:tt)+) => {{
        use $crate::exec::{Handler, NEXT, Op, Warp, next};
        unsafe fn any(w: &mut Warp, op: *const Op, r: *mut u8) -> u32 {
            // SAFETY: handlers run only on operands that the decoder has checked.
            unsafe {
                match $($body)+(w, &*op, r) {
                    NEXT => next(w, op, r),
                    event => { w.at = op; event }
                }
            }
        }
        [any as Handler; 3]
    }};
}
pub(crate) use one_level;
