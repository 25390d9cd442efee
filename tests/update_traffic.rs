//! What the kernels between backward pass and next step move, by softgpu's counters, at a size with tails; and what
//! `ptxas` gives the one that a whole model goes through.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "common/skip.rs"]
mod skip;

use omega::device::kernels::{MODULES, RESOURCES, module_of};
use skip::skipped;
use softgpu::counters::Counts;
use softgpu::{Launch, Memory, Module, Tools, launch_with};

/// Parameters: not a multiple of anything.
const N: usize = 1_000_003;

/// A launch's arguments, in order.
#[derive(Clone)]
enum Arg {
    /// Memory of these bytes, with the content given first.
    Memory(usize, Vec<u8>),
    U64(u64),
    I32(i32),
    F32(f32),
    F64(f64),
}

fn run(kernel: &str, grid: u32, block: [u32; 3], args: &[Arg]) -> Counts {
    let module = Module::load(MODULES[module_of(kernel).unwrap()].ptx).unwrap();
    let memory = Memory::new();
    let bytes: Vec<Vec<u8>> = args
        .iter()
        .map(|arg| match arg {
            Arg::Memory(bytes, first) => {
                let at = memory.alloc(*bytes).unwrap();
                memory.write(at, &[first.clone(), vec![0; bytes - first.len()]].concat()).unwrap();
                at.to_le_bytes().to_vec()
            }
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::I32(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::F64(v) => v.to_le_bytes().to_vec(),
        })
        .collect();
    let args: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let tools = Tools { counters: true, ..Tools::default() };
    let launch = Launch { grid: [grid, 1, 1], block, shared_bytes: 0, args: &args, cooperative: false };
    launch_with(&module, kernel, &memory, &launch, &tools).unwrap().counters.unwrap().total
}

fn words(words: &[f32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Bytes in whole sectors, and those asked for, of all loads and stores.
fn moved(counts: &[Counts]) -> (f64, f64) {
    let all = counts.iter().flat_map(|c| [&c.global_loads, &c.global_stores]);
    let (sectors, distinct) = all.fold((0, 0), |(s, d), t| (s + t.sectors, d + t.bytes_distinct));
    ((sectors * 32) as f64, distinct as f64)
}

/// Fails unless the launches move at most 1.05 times `compulsory` bytes and use 99 % of their sectors.
fn check(name: &str, counts: &[Counts], compulsory: usize) {
    let (moved, used) = moved(counts);
    let (ratio, efficiency) = (moved / compulsory as f64, used / moved);
    let (instructions, elements) = (counts.iter().map(|c| c.warp_instructions).sum::<u64>() as f64, N as f64 / 32.0);
    println!(
        "{name}: {ratio:.4} of compulsory, sector efficiency {efficiency:.4}, {:.1} instructions",
        instructions / elements
    );
    assert!(ratio <= 1.05, "{name}: moves {ratio:.3} times what it must");
    assert!(efficiency >= 0.99, "{name}: sector efficiency {efficiency:.4}");
    for c in counts {
        assert_eq!((c.shared_loads.bank_conflicts(), c.local_loads.requests), (0, 0), "{name}");
    }
}

/// Measured: 1.0025 (f16 and bf16) and 1.0012 (f32) of compulsory; efficiency 0.998.
#[test]
fn loss_scale_reads_the_gradient_once() {
    let warps = N.div_ceil(8192);
    for (dtype, size) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        let partials = Arg::Memory(4 * warps, vec![]);
        let args = [partials.clone(), Arg::Memory(size * N, vec![]), Arg::U64(N as u64), Arg::I32(warps as i32)];
        let norm = run(&format!("loss_scale_norm_{dtype}"), warps.div_ceil(4) as u32, [32, 4, 1], &args);
        let counters: Vec<u8> = [0, 0, -1, -1, 0].iter().flat_map(|v: &i32| v.to_le_bytes()).collect();
        let args = [
            Arg::Memory(32, vec![]),
            Arg::Memory(4, words(&[1.0])),
            Arg::Memory(20, counters),
            Arg::Memory(16, vec![]),
            Arg::I32(0),
            Arg::I32(1),
            partials,
            Arg::I32(warps as i32),
            Arg::F32(1.0),
            Arg::F32(0.5),
            Arg::I32(256),
            Arg::F64(0.0),
            Arg::F32(0.0),
        ];
        let step = run("loss_scale_step", 1, [256, 1, 1], &args);
        check(&format!("loss_scale {dtype}"), &[norm, step], size * N);
    }
}

/// A record of an update that is done, with all its steps.
fn record() -> Arg {
    Arg::Memory(32, words(&[1.0, 1e-3, 1e-7, 2.0]))
}

/// Measured: 1.0090 of compulsory, efficiency 0.9955; the record, which every warp reads, is the rest.
#[test]
fn adam_moves_28_bytes_per_parameter() {
    for (dtype, size) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        let copy = if size == 2 { Arg::Memory(2 * N, vec![]) } else { Arg::U64(0) };
        let flat = || Arg::Memory(4 * N, vec![]);
        let rule = [0.9, 0.98, 0.1, 0.02, 1e-8].map(Arg::F32);
        let mut args = vec![flat(), copy, Arg::Memory(size * N, vec![]), flat(), flat(), record(), Arg::U64(N as u64)];
        args.extend(rule);
        let counts = run(&format!("optimizer_adam_{dtype}"), N.div_ceil(4 * 256) as u32, [256, 1, 1], &args);
        check(&format!("Adam {dtype}"), &[counts], 28 * N);
    }
}

/// One tensor. Measured: 1.0079 of compulsory at a 2-byte type, 1.0072 in f32; efficiency 0.9937.
#[test]
fn novograd_moves_22_bytes_per_parameter() {
    let chunks = N.div_ceil(8192);
    let table: Vec<u8> = (0..chunks)
        .flat_map(|c| [c * 8192, 8192.min(N - c * 8192), 0, 0])
        .flat_map(|word| (word as u32).to_le_bytes())
        .collect();
    let table = || Arg::Memory(16 * chunks, table.clone());
    for (dtype, size) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        let copy = if size == 2 { Arg::Memory(2 * N, vec![]) } else { Arg::U64(0) };
        let (flat, gradient) = (|| Arg::Memory(4 * N, vec![]), || Arg::Memory(size * N, vec![]));
        let args = [Arg::Memory(4 * chunks, vec![]), gradient(), record(), table(), Arg::I32(chunks as i32)];
        let norm = run(&format!("optimizer_novograd_norm_{dtype}"), chunks.div_ceil(4) as u32, [32, 4, 1], &args);
        let rest = Arg::Memory(4, words(&[1.0]));
        let rule = [0.9, 1e-4].map(Arg::F32);
        let args = [vec![flat(), copy, gradient(), flat(), rest, record(), table()], rule.to_vec()].concat();
        let update = run(&format!("optimizer_novograd_{dtype}"), chunks as u32, [256, 1, 1], &args);
        let compulsory = if size == 2 { 22 } else { 24 };
        check(&format!("NovoGrad {dtype}"), &[norm, update], compulsory * N);
    }
}

/// Measured: 1.0000 of compulsory, efficiency 1.0000.
#[test]
fn rounding_a_copy_moves_6_bytes_per_parameter() {
    for dtype in ["f16", "bf16"] {
        let args = [Arg::Memory(2 * N, vec![]), Arg::Memory(4 * N, vec![]), Arg::U64(N as u64)];
        let counts = run(&format!("optimizer_round_{dtype}"), N.div_ceil(4 * 256) as u32, [256, 1, 1], &args);
        check(&format!("copy {dtype}"), &[counts], 6 * N);
    }
}

/// At most 32 registers on every architecture, as many as LightSeq's fused Adam has: eight blocks of 256 threads fit.
#[test]
fn adam_keeps_32_registers() {
    let rows: Vec<_> = RESOURCES.iter().filter(|row| row.kernel.starts_with("optimizer_adam_")).collect();
    if rows.is_empty() && cfg!(debug_assertions) {
        skipped("a debug build has no figures");
        return;
    }
    assert_eq!(rows.len(), 3 * 6);
    for row in rows {
        println!("{} {}: {} registers", row.kernel, row.arch, row.registers);
        assert!(row.registers <= 32 && row.spill_store_bytes + row.spill_load_bytes == 0, "{row:?}");
    }
}
