//! A GPU in software: loads the PTX that nvcc made, runs it on the CPU, and stops a kernel that strays.
//!
//! ```text
//! PTX ─lex→ tokens ─parse→ ast ─decode→ ir ─flow, plan→ Program ─exec (+ memory)→ memory | Trap
//! ```
//! Blocks run in parallel; a warp is 32 lanes of a struct-of-arrays register file, so that one PTX instruction is one
//! vector loop, compiled for AVX-512, AVX2 and the baseline and chosen at run time.

mod ast;
mod decode;
mod disassemble;
mod exec;
mod flow;
mod fold;
pub mod image;
mod inspect;
mod ir;
mod isa;
mod lex;
mod liveness;
mod memory;
mod parse;
mod plan;
mod print;
mod range;
mod tools;
mod trap;
mod variables;

pub use disassemble::disassemble;
pub use exec::{Launch, Level, MAX_BLOCK, MAX_GRID, MAX_THREADS, Refusal, Sink, launch, launch_with, limits};
pub use inspect::{Inspection, ParameterInfo, inspect};
pub use isa::{coverage, coverage_page, rows, spellings};
pub use memory::Memory;
pub use tools::{Report, Tools, chips, counters};
pub use trap::{Error, LoadError, Side, Stop};

use std::io::Write;
use std::sync::OnceLock;

use decode::Decoded;
use plan::{Mode, Program};
use tools::Watch;
use variables::Variables;

/// PTX text, parsed and printed: without comments and debugging sections, one statement a line, every scope's names told
/// apart. It means the same as `ptx`. Errors: malformed text.
pub fn reprint(ptx: &str) -> Result<String, LoadError> {
    Ok(print::print(&parse::parse(ptx)?))
}

/// Whether two texts are the same module but for lines, comments and the names of what functions keep to themselves.
pub fn same(a: &str, b: &str) -> Result<bool, LoadError> {
    Ok(parse::parse(a)? == parse::parse(b)?)
}

/// Loaded kernels, ready to launch.
pub struct Module {
    pub(crate) kernels: Vec<Kernel>,
    refused: Vec<Refused>,
    /// Of both, in the order of the text.
    names: Vec<String>,
    pub(crate) variables: Variables,
    pub(crate) budget: u64,
    pub(crate) deferred: bool,
    pub(crate) output: Sink,
}

/// A kernel that softgpu cannot run: the first instruction that it lacks.
struct Refused {
    name: String,
    signature: Signature,
    why: LoadError,
}

/// What a kernel takes and reserves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// (offset, bytes) of each parameter in the parameter space.
    pub parameters: Vec<(usize, usize)>,
    /// Static shared memory of a block, and local memory of a thread.
    pub shared_bytes: usize,
    pub local_bytes: usize,
}

/// A kernel's `printf` has nobody to tell that it failed.
fn to_stdout(text: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text).and_then(|()| out.flush());
}

/// One kernel, planned for blocks whose warps are rows in x, and for any other.
pub(crate) struct Kernel {
    pub decoded: Decoded,
    pub rows: Program,
    pub any: Program,
    level: Level,
    /// The same under checkers, under counters, and what those know of the instructions.
    checked: OnceLock<[Program; 2]>,
    counted: OnceLock<[Program; 2]>,
    marks: OnceLock<Vec<tools::Mark>>,
}

impl Kernel {
    /// The program for a launch that [`Program::fits`] rows, or does not.
    pub(crate) fn program(&self, rows: bool, watch: Watch) -> &Program {
        let watched = match watch {
            Watch::Nothing => return if rows { &self.rows } else { &self.any },
            Watch::Accesses => &self.checked,
            Watch::All => &self.counted,
        };
        let plan = |rows| plan::plan(&self.decoded, self.level, Mode { rows, watch });
        &watched.get_or_init(|| [plan(false), plan(true)])[rows as usize]
    }

    pub(crate) fn marks(&self) -> &[tools::Mark] {
        self.marks.get_or_init(|| tools::marks(&self.decoded.places))
    }
}

impl Module {
    /// Branches that a block may take before it is stopped as one that never ends: minutes of work.
    pub const BUDGET: u64 = 20_000_000_000;

    /// Parses and decodes PTX text. A kernel with an instruction that softgpu cannot run does not keep the others from
    /// running: see [`Module::refusal`] and [`Module::whole`]. Error: malformed text, with its line.
    pub fn load(ptx: &str) -> Result<Module, LoadError> {
        Module::load_for(ptx, Level::detect())
    }

    /// As [`Module::load`], for vector instructions of at most `level`; what this machine lacks is never used.
    pub fn load_for(ptx: &str, level: Level) -> Result<Module, LoadError> {
        let level = level.min(Level::detect());
        let module = parse::parse(ptx)?;
        let variables = Variables::of(&module)?;
        let (mut kernels, mut refused, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for kernel in &module.kernels {
            let (decoded, errors) = decode::decode_all(&module, kernel);
            names.push(decoded.name.clone());
            if let Some(why) = errors.into_iter().next() {
                refused.push(Refused { name: decoded.name.clone(), signature: decoded.signature(), why });
                continue;
            }
            let [rows, any] =
                [true, false].map(|rows| plan::plan(&decoded, level, Mode { rows, watch: Watch::Nothing }));
            let (checked, counted, marks) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
            kernels.push(Kernel { decoded, rows, any, level, checked, counted, marks });
        }
        let output = Box::new(to_stdout);
        Ok(Module { kernels, refused, names, variables, budget: Module::BUDGET, deferred: false, output })
    }

    /// The module, if softgpu can run all of its kernels. Error: the first instruction that it cannot run, with its line.
    pub fn whole(self) -> Result<Module, LoadError> {
        match self.refused.first() {
            Some(refused) => Err(refused.why.clone()),
            None => Ok(self),
        }
    }

    /// Why softgpu cannot run that kernel; none if it can, or if there is no such kernel.
    pub fn refusal(&self, entry: &str) -> Option<&LoadError> {
        self.refused.iter().find(|refused| refused.name == entry).map(|refused| &refused.why)
    }

    /// Stops a block whose warps branch more often than this, in place of [`Module::BUDGET`].
    pub fn with_budget(self, budget: u64) -> Module {
        Module { budget, ..self }
    }

    /// Makes copies of `cp.async` at the wait for them instead of at once, their destination holding NaN until then: a
    /// kernel that forgets to wait gives wrong results here too.
    pub fn with_deferred_copies(self, deferred: bool) -> Module {
        Module { deferred, ..self }
    }

    /// Has `sink` take what kernels print, in place of standard output. It gets whole strings, at the end of a launch, in
    /// the order of the blocks.
    pub fn with_output(self, sink: impl Fn(&[u8]) + Send + Sync + 'static) -> Module {
        Module { output: Box::new(sink), ..self }
    }

    /// Address and bytes of the module's `.global` or `.const` variable of that name in `memory`, which gets the
    /// module's variables now if it has not been launched with it before; `None` if the module defines no such
    /// variable. Errors: no memory left.
    pub fn global(&self, memory: &Memory, name: &str) -> Result<Option<(u64, usize)>, Error> {
        self.variables.find(memory, name)
    }

    /// Frees the module's variables in `memory`. A later launch starts with new ones.
    pub fn unload(&self, memory: &Memory) {
        self.variables.release(memory);
    }

    /// What a kernel takes and reserves; none if there is no such kernel.
    pub fn signature(&self, entry: &str) -> Option<Signature> {
        let known = self.kernels.iter().find(|kernel| kernel.decoded.name == entry);
        let refused = || self.refused.iter().find(|refused| refused.name == entry).map(|r| r.signature.clone());
        known.map(|kernel| kernel.decoded.signature()).or_else(refused)
    }

    /// Names of the kernels, those that softgpu cannot run among them, in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}
