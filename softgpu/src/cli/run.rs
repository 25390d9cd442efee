//! `softgpu run`: buffers in, one launch, buffers out.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use softgpu::image::Resources;
use softgpu::{Error, Launch, Memory, Module, launch_with};

use super::args::{self, Arg, Buffer};
use super::{FOUND, Run, read_image, say, write_whole};

/// A buffer in device memory.
struct Placed {
    /// Of a `--buffer`.
    name: Option<String>,
    address: u64,
    bytes: usize,
    spec: Buffer,
}

pub fn run(run: &Run) -> Result<ExitCode, String> {
    let lost = Arc::new(OnceLock::new());
    let code = launch(run, &lost)?;
    match lost.get() {
        // What the kernel did wrong is worth more.
        Some(error) if code == ExitCode::SUCCESS => Err(String::clone(error)),
        _ => Ok(code),
    }
}

/// `lost`: why what the kernel printed could not be written.
fn launch(run: &Run, lost: &Arc<OnceLock<String>>) -> Result<ExitCode, String> {
    let image = read_image(&run.file)?;
    let module = Module::load(&image.ptx).map_err(|error| format!("{}: {error}", run.file.display()))?;
    let lost = Arc::clone(lost);
    let module = module.with_budget(run.budget).with_output(move |text| {
        if let Err(error) = super::print(text) {
            lost.get_or_init(|| error);
        }
    });
    if !module.entries().any(|entry| entry == run.entry) {
        let known: Vec<_> = module.entries().collect();
        let name = run.file.display();
        return Err(format!("{name} has no kernel `{}`; it has: {}", run.entry, known.join(", ")));
    }
    if let Some(why) = module.refusal(&run.entry) {
        return Err(format!("{}: cannot launch `{}`: {why}", run.file.display(), run.entry));
    }
    let tools = run.watch.tools();
    let memory = if tools.initcheck { Memory::watched() } else { Memory::new() };
    let mut placed = Vec::new();
    let mut values = Vec::new();
    for arg in arguments(run, &image.ptx)? {
        values.push(match arg {
            Arg::Value(bytes) => bytes,
            Arg::Buffer(spec) => {
                let buffer = place(&memory, None, spec)?;
                placed.push(buffer);
                placed[placed.len() - 1].address.to_le_bytes().to_vec()
            }
        });
    }
    for text in &run.buffer {
        let (name, spec) = args::named(text, "NAME=SPEC")?;
        if placed.iter().any(|buffer| buffer.name.as_deref() == Some(name)) {
            return Err(format!("--buffer {name} is given twice"));
        }
        placed.push(place(&memory, Some(name.to_string()), args::buffer(spec)?)?);
    }
    for text in &run.reloc {
        relocate(text, &memory, &placed, &mut values)?;
    }
    let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let launch = Launch { grid: run.grid, block: run.block, shared_bytes: run.smem, args: &slices };
    let report = match launch_with(&module, &run.entry, &memory, &launch, &tools) {
        Ok(report) => report,
        Err(Error::Stopped(stop)) => {
            stop.before.iter().for_each(|finding| say(&format!("{finding}\n")));
            say(&stop.to_string());
            return Ok(ExitCode::from(FOUND));
        }
        Err(error) => return Err(error.to_string()),
    };
    for finding in &report.findings {
        say(&format!("{finding}\n"));
    }
    if let (Some(path), Some(counters)) = (&run.watch.counters, &report.counters) {
        let takes = |arch| match run.registers {
            Some(registers) => Some(Resources { registers, shared_bytes: counters.shared_bytes as u32 }),
            None => {
                let known = image.cubins.get(&arch)?.get(&run.entry)?;
                Some(Resources { shared_bytes: known.shared_bytes + run.smem, ..*known })
            }
        };
        let occupancy = counters.occupancy(takes);
        write_whole(path, format!("{:#}\n", counters.json(&occupancy)).as_bytes())?;
        super::print(counters.table(&occupancy))?;
    }
    for buffer in &placed {
        if let Some(path) = &buffer.spec.output {
            write_whole(path, &read(&memory, buffer.address, buffer.bytes)?)?;
        }
    }
    match report.findings.len() {
        0 => Ok(ExitCode::SUCCESS),
        n => {
            say(&format!("{n} {}", if n == 1 { "finding" } else { "findings" }));
            Ok(ExitCode::from(FOUND))
        }
    }
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
