//! `softgpu run`: buffers in, one launch, buffers out.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use softgpu::counters::Counters;
use softgpu::image::{Image, Resources};
use softgpu::{Error, Launch, Memory, Module, launch_with};

use super::args::{self, Arg, Buffer};
use super::files::{distinct, write_whole};
use super::{FOUND, REFUSED, Run, read_image, say};

/// A buffer in device memory.
struct Placed {
    /// Of a `--buffer`.
    name: Option<String>,
    address: u64,
    bytes: usize,
    spec: Buffer,
}

/// What has become of a launch that was not refused.
#[derive(Default)]
struct Outcome {
    found: bool,
    /// Why something could not be written.
    failed: Vec<String>,
}

pub fn run(run: &Run) -> Result<ExitCode, String> {
    let lost = Arc::new(OnceLock::new());
    let Outcome { found, mut failed } = launch(run, &lost)?;
    if let Some(error) = lost.get().filter(|error| !failed.contains(error)) {
        failed.insert(0, error.clone());
    }
    failed.iter().for_each(|error| say(&format!("error: {error}")));
    Ok(match (found, failed.is_empty()) {
        // What the kernel did wrong is worth more.
        (true, _) => ExitCode::from(FOUND),
        (false, false) => ExitCode::from(REFUSED),
        (false, true) => ExitCode::SUCCESS,
    })
}

/// `lost`: why what the kernel printed could not be written.
fn launch(run: &Run, lost: &Arc<OnceLock<String>>) -> Result<Outcome, String> {
    let image = read_image(&run.file)?;
    let module = load(run, &image, lost)?;
    let tools = run.watch.tools();
    let memory = if tools.initcheck { Memory::watched() } else { Memory::new() };
    let (mut values, placed) = fill(run, &image, &memory)?;
    for text in &run.reloc {
        relocate(text, &memory, &placed, &mut values)?;
    }
    let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let launch = Launch {
        grid: run.grid,
        block: run.block,
        shared_bytes: run.smem,
        args: &slices,
        cooperative: run.cooperative,
    };
    let report = match launch_with(&module, &run.entry, &memory, &launch, &tools) {
        Ok(report) => report,
        Err(Error::Stopped(stop)) => {
            stop.before.iter().for_each(|finding| say(&format!("{finding}\n")));
            say(&stop.to_string());
            return Ok(Outcome { found: true, ..Outcome::default() });
        }
        Err(error) => return Err(error.to_string()),
    };
    for finding in &report.findings {
        say(&format!("{finding}\n"));
    }
    match report.findings.len() {
        0 => {}
        1 => say("1 finding"),
        n => say(&format!("{n} findings")),
    }
    // All that can be written is, whatever else cannot.
    let counted = report.counters.map_or(Vec::new(), |counters| tell(run, &image, &counters));
    let failed = counted.into_iter().chain(placed.iter().map(|buffer| save(&memory, buffer))).filter_map(Result::err);
    Ok(Outcome { found: !report.findings.is_empty(), failed: failed.collect() })
}

/// The module, whose kernel can be launched.
fn load(run: &Run, image: &Image, lost: &Arc<OnceLock<String>>) -> Result<Module, String> {
    let name = run.file.display();
    let module = Module::load(&image.ptx).map_err(|error| format!("{name}: {error}"))?;
    if !module.entries().any(|entry| entry == run.entry) {
        let known: Vec<_> = module.entries().collect();
        return Err(format!("{name} has no kernel `{}`; it has: {}", run.entry, known.join(", ")));
    }
    if let Some(why) = module.refusal(&run.entry) {
        return Err(format!("{name}: cannot launch `{}`: {why}", run.entry));
    }
    let lost = Arc::clone(lost);
    Ok(module.with_budget(run.budget).with_output(move |text| {
        if let Err(error) = super::print(text) {
            lost.get_or_init(|| error);
        }
    }))
}

/// The arguments' bytes, and all buffers, placed and filled.
fn fill(run: &Run, image: &Image, memory: &Memory) -> Result<(Vec<Vec<u8>>, Vec<Placed>), String> {
    let (args, named) = (arguments(run, &image.ptx)?, buffers(run)?);
    outputs(run, &args, &named)?;
    let (mut values, mut placed) = (Vec::new(), Vec::new());
    for arg in args {
        values.push(match arg {
            Arg::Value(bytes) => bytes,
            Arg::Buffer(spec) => {
                let buffer = place(memory, None, spec)?;
                let address = buffer.address.to_le_bytes();
                placed.push(buffer);
                address.to_vec()
            }
        });
    }
    for (name, spec) in named {
        placed.push(place(memory, Some(name.to_string()), spec)?);
    }
    Ok((values, placed))
}

/// An error if two outputs are one file.
fn outputs(run: &Run, args: &[Arg], named: &[(&str, Buffer)]) -> Result<(), String> {
    let of_args = run.args.iter().zip(args).filter_map(|(text, arg)| match arg {
        Arg::Buffer(Buffer { output: Some(path), .. }) => Some((text.clone(), path.as_path())),
        _ => None,
    });
    let of_named = run
        .buffer
        .iter()
        .zip(named)
        .filter_map(|(text, (_, buffer))| buffer.output.as_deref().map(|path| (format!("--buffer {text}"), path)));
    let counters = run.watch.counters.iter().map(|path| (format!("--counters {}", path.display()), path.as_path()));
    distinct(&of_args.chain(of_named).chain(counters).collect::<Vec<_>>())
}

/// Counters go to their file and, as a table, to standard output.
fn tell(run: &Run, image: &Image, counters: &Counters) -> Vec<Result<(), String>> {
    let takes = |arch| match run.registers {
        Some(registers) => Some(Resources { registers, shared_bytes: counters.shared_bytes as u32 }),
        None => {
            let known = image.cubins.get(&arch)?.get(&run.entry)?;
            Some(Resources { shared_bytes: known.shared_bytes + run.smem, ..*known })
        }
    };
    let occupancy = counters.occupancy(takes);
    let json = format!("{:#}\n", counters.json(&occupancy));
    let written = run.watch.counters.iter().map(|path| write_whole(path, json.as_bytes()));
    written.chain(std::iter::once_with(|| super::print(counters.table(&occupancy)))).collect()
}

/// Writes a buffer to its file, if it has one.
fn save(memory: &Memory, buffer: &Placed) -> Result<(), String> {
    let Some(path) = &buffer.spec.output else { return Ok(()) };
    write_whole(path, &read(memory, buffer.address, buffer.bytes)?)
}

/// The `--buffer`s by their names.
fn buffers(run: &Run) -> Result<Vec<(&str, Buffer)>, String> {
    let mut named: Vec<(&str, Buffer)> = Vec::new();
    for text in &run.buffer {
        let (name, spec) = args::named(text, "NAME=SPEC")?;
        if named.iter().any(|(known, _)| *known == name) {
            return Err(format!("--buffer {name} is given twice"));
        }
        named.push((name, args::buffer(spec)?));
    }
    Ok(named)
}

/// The arguments, which fit the kernel's parameters.
fn arguments(run: &Run, ptx: &str) -> Result<Vec<Arg>, String> {
    let mut given = Vec::new();
    for text in &run.args {
        given.push((text.as_str(), args::arg(text)?));
    }
    let found = softgpu::inspect(ptx).map_err(|error| format!("{}: {error}", run.file.display()))?;
    if let Some(kernel) = found.kernels.iter().find(|kernel| kernel.name == run.entry) {
        args::check(&run.entry, &given, &kernel.parameters)?;
    }
    Ok(given.into_iter().map(|(_, arg)| arg).collect())
}

/// An allocation of exactly the size of the file, or as asked.
fn place(memory: &Memory, name: Option<String>, spec: Buffer) -> Result<Placed, String> {
    let data = match &spec.input {
        Some(path) => Some(std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    let bytes = data.as_ref().map_or(spec.bytes, Vec::len);
    let address = memory.alloc(bytes).map_err(|error| error.to_string())?;
    if let Some(data) = data {
        write(memory, address, &data)?;
    }
    Ok(Placed { name, address, bytes, spec })
}

/// `ARG+OFFSET=NAME`: the address of a named buffer goes into a struct, or into another named buffer.
fn relocate(text: &str, memory: &Memory, placed: &[Placed], values: &mut [Vec<u8>]) -> Result<(), String> {
    let (target, name) = args::named(text, "ARG+OFFSET=NAME")?;
    let (target, offset) = args::place(target)?;
    let buffer = |name: &str| placed.iter().find(|buffer| buffer.name.as_deref() == Some(name));
    let Some(pointee) = buffer(name) else { return Err(format!("--reloc {text}: there is no --buffer {name}")) };
    let address = pointee.address.to_le_bytes();
    let outside = |bytes: usize| format!("--reloc {text}: 8 bytes at {offset} do not fit into {bytes}");
    if let Some(host) = buffer(target) {
        if offset.checked_add(8).is_none_or(|end| end > host.bytes) {
            return Err(outside(host.bytes));
        }
        return write(memory, host.address + offset as u64, &address);
    }
    let value = target.parse().ok().and_then(|at: usize| values.get_mut(at));
    let Some(value) = value else { return Err(format!("--reloc {text}: there is no argument or buffer `{target}`")) };
    let bytes = value.len();
    let part = offset.checked_add(8).and_then(|end| value.get_mut(offset..end));
    part.ok_or_else(|| outside(bytes))?.copy_from_slice(&address);
    Ok(())
}

fn write(memory: &Memory, address: u64, data: &[u8]) -> Result<(), String> {
    memory.write(address, data).map_err(|error| error.to_string())
}

fn read(memory: &Memory, address: u64, bytes: usize) -> Result<Vec<u8>, String> {
    let mut data = vec![0; bytes];
    memory.read(address, &mut data).map_err(|error| error.to_string())?;
    Ok(data)
}
