//! What `softgpu exec` asks for, through the environment: checkers (`SOFTGPU_CHECK`, a list), counters
//! (`SOFTGPU_COUNTERS`, a file that gets a line of JSON for every launch), the order of blocks and warps
//! (`SOFTGPU_SEED`), and a file that gets a byte for everything that its exit status must tell (`SOFTGPU_REPORT`). The
//! one place where the driver runs a kernel.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use softgpu::image::Resources;
use softgpu::{Error, Launch, Memory, Tools};

use crate::launch::KernelLaunch;
use crate::status::say;

struct Settings {
    tools: Tools,
    counters: Option<PathBuf>,
    report: Option<PathBuf>,
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let tools = Tools::default().check(&text("SOFTGPU_CHECK").unwrap_or_default()).unwrap_or_else(|error| {
        say(format!("SOFTGPU_CHECK: {error}; no checker is on"));
        Tools::default()
    });
    let seed = text("SOFTGPU_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let counters = text("SOFTGPU_COUNTERS").map(PathBuf::from);
    let tools = Tools { counters: counters.is_some(), seed, ..tools };
    Settings { tools, counters, report: text("SOFTGPU_REPORT").map(PathBuf::from) }
});

/// Error: one line with the file's name.
fn append(file: &PathBuf, text: &str) -> Result<(), String> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Bytes of the report, which `softgpu exec` reads: a finding, and work that was refused or lost.
const FOUND: &str = "f";
const LOST: &str = "l";

/// One byte for `softgpu exec`.
fn note(kind: &str) {
    if let Some(report) = &SETTINGS.report
        && let Err(error) = append(report, kind)
    {
        say(error);
    }
}

/// Notes that something was found, and says it.
pub fn found(what: impl Display) {
    note(FOUND);
    say(what);
}

/// Notes that softgpu did not do what was asked for, and says it.
pub fn lost(what: impl Display) {
    note(LOST);
    say(what);
}

/// Notes a call that the program got wrong, and says it: a finding of memcheck, as compute-sanitizer counts it; without the
/// checker the program has the code, as on a GPU.
pub fn misused(what: impl Display) {
    if SETTINGS.tools.memcheck { found(what) } else { say(what) }
}

/// The same of a launch, whose results are missing whether a checker is on or not.
pub fn not_launched(what: impl Display) {
    if SETTINGS.tools.memcheck { found(what) } else { lost(what) }
}

/// Whether wrong calls count.
pub fn counts_calls() -> bool {
    SETTINGS.tools.memcheck
}

/// Puts pending work in an order that the seed chooses; in the order of asking without one.
pub fn shuffle(ops: &mut [u64]) {
    let seed = SETTINGS.tools.seed;
    if seed != 0 {
        // SplitMix64's finaliser: neighbouring numbers land far apart.
        ops.sort_by_cached_key(|op| {
            let mut x = op.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        });
    }
}

/// The device's memory; it keeps what was written where a checker wants to know.
pub fn memory() -> Memory {
    if SETTINGS.tools.initcheck { Memory::watched() } else { Memory::new() }
}

/// Runs a kernel under the tools that are on.
pub fn run(launch: &KernelLaunch, memory: &Memory) -> Result<(), Error> {
    let args: Vec<&[u8]> = launch.args.iter().map(Vec::as_slice).collect();
    let (grid, block, shared_bytes) = (launch.grid, launch.block, launch.shared_bytes);
    let request = Launch { grid, block, shared_bytes, args: &args, cooperative: launch.cooperative };
    let (module, name) = (&launch.kernel.module, &launch.kernel.name);
    let report = softgpu::launch_with(module, name, memory, &request, &SETTINGS.tools)?;
    report.findings.iter().for_each(found);
    if let (Some(file), Some(counters)) = (&SETTINGS.counters, &report.counters) {
        // A line for each launch; the program may have many.
        let takes = |arch| {
            let known = launch.kernel.resources.get(&arch)?;
            Some(Resources { shared_bytes: known.shared_bytes + shared_bytes, ..*known })
        };
        if let Err(error) = append(file, &format!("{}\n", counters.json(&counters.occupancy(takes)))) {
            lost(error);
        }
    }
    Ok(())
}
