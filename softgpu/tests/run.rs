//! Runs every `tests/run/<case>.ptx`: one kernel per file, one warp, and what it must compute in the file itself.
//!
//! A kernel takes one pointer. Lane i reads its inputs at `32·k + i` words of 4 (or 8) bytes, k = 0, 1, …, and writes
//! its result after them. `// run: 1 2 -> 3` gives one lane's words; values are `0x…` bits, integers or floats.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::path::{Path, PathBuf};

use softgpu::{Launch, Level, Memory, Module, Tools, launch_with};

struct Case {
    wide: bool,
    rows: Vec<(Vec<u64>, u64)>,
}

fn value(word: &str, wide: bool) -> u64 {
    if let Some(hex) = word.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).unwrap();
    }
    match word.parse::<i64>() {
        Ok(v) if wide => v as u64,
        Ok(v) => v as u32 as u64,
        Err(_) if wide => word.parse::<f64>().unwrap().to_bits(),
        Err(_) => word.parse::<f32>().unwrap().to_bits() as u64,
    }
}

fn read(text: &str) -> Case {
    let wide = text.contains("// words: 8");
    let rows = text.lines().filter_map(|line| line.strip_prefix("// run: ")).map(|line| {
        let (inputs, output) = line.split_once("->").expect("`// run: inputs -> output`");
        (inputs.split_whitespace().map(|w| value(w, wide)).collect(), value(output.trim(), wide))
    });
    Case { wide, rows: rows.collect() }
}

/// With `only`, every thread takes the part of that lane, so that all values are the same throughout the warp.
fn run(path: &Path, level: Level, only: Option<usize>, tools: Tools) -> Result<(), String> {
    let mut text = std::fs::read_to_string(path).unwrap();
    let case = read(&text);
    if let Some(lane) = only {
        text = text.replace("%tid.x", &lane.to_string());
    }
    let name = path.display();
    let size = if case.wide { 8 } else { 4 };
    let inputs = case.rows[0].0.len();
    let module = Module::load_for(&text, level).map_err(|e| format!("{name}: {e}"))?;
    let memory = Memory::new();
    let bytes = 32 * (inputs + 1) * size;
    let address = memory.alloc(bytes).unwrap();
    // SAFETY: freed with `memory`, after the last use; no launch runs while the slice is used.
    let data = unsafe { std::slice::from_raw_parts_mut(memory.host_slice(address, bytes).unwrap(), bytes) };
    for lane in 0..32 {
        for (k, v) in case.rows[lane % case.rows.len()].0.iter().enumerate() {
            let at = (32 * k + lane) * size;
            data[at..at + size].copy_from_slice(&v.to_le_bytes()[..size]);
        }
    }
    let entry = module.entries().next().unwrap().to_string();
    let args = address.to_le_bytes();
    let shape = Launch { grid: [1; 3], block: [32, 1, 1], shared_bytes: 0, args: &[&args], cooperative: false };
    launch_with(&module, &entry, &memory, &shape, &tools).map_err(|e| format!("{name}: {e}"))?;
    for lane in only.map_or(0..32, |lane| lane..lane + 1) {
        let (inputs_of_lane, expected) = &case.rows[lane % case.rows.len()];
        let at = (32 * inputs + lane) * size;
        let mut raw = [0; 8];
        raw[..size].copy_from_slice(&data[at..at + size]);
        let got = u64::from_le_bytes(raw);
        if got != *expected {
            return Err(format!(
                "{name}, lane {lane} of {only:?}, {inputs_of_lane:x?}: got {got:#x}, expected {expected:#x}"
            ));
        }
    }
    Ok(())
}

fn paths() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "ptx"));
    paths.sort();
    paths
}

#[test]
fn every_case() {
    let paths = paths();
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        let failed: Vec<String> = paths.iter().filter_map(|p| run(p, level, None, Tools::default()).err()).collect();
        assert!(failed.is_empty(), "{level:?}, {} of {} cases:\n{}", failed.len(), paths.len(), failed.join("\n"));
    }
}

/// Watched programs are planned otherwise: the cases once more, under all tools.
#[test]
fn every_case_under_tools() {
    for path in paths() {
        let tools = Tools { counters: true, seed: 7, ..Tools::checks() };
        run(&path, Level::Avx512, None, tools).unwrap();
    }
}

/// The handlers for what is the same in all lanes are others than those for vectors: the cases once more, with every
/// thread playing the same lane. Not those in which lanes talk to each other.
#[test]
fn every_case_as_scalars() {
    let alone = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        !["shfl.", "vote.", ".shared", "// lanes:"].iter().any(|word| text.contains(word))
    };
    let paths: Vec<_> = paths().into_iter().filter(alone).collect();
    assert!(paths.len() >= 150);
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        for path in &paths {
            for lane in 0..32 {
                run(path, level, Some(lane), Tools::default()).unwrap();
            }
        }
    }
}
