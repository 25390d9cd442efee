//! What `ptxas` said of every kernel on every architecture, and what a build without nvcc says.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "common/skip.rs"]
mod skip;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use omega::device::kernels::{KernelResources, MODULES, RESOURCES};
use skip::skipped;

/// What a release build carries SASS for; DESIGN.md, section 1.
const ARCHITECTURES: [&str; 6] = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"];

/// With 168 registers a thread, three blocks of 128 threads still fit a multiprocessor's 65,536.
const MOST_REGISTERS: u32 = 168;
/// No limit but the hardware's for these: a backward pass of attention may keep its accumulators in registers.
const UNLIMITED: &str = "attention_bwd";

/// The table, or none in a build without fatbins (debug), where the driver compiles the PTX.
fn resources() -> Option<&'static [KernelResources]> {
    let fatbins = MODULES.iter().all(|module| !module.fatbin.is_empty());
    assert!(fatbins || cfg!(debug_assertions), "a release build has a fatbin for every kernel file");
    if !fatbins {
        skipped("a debug build has no fatbins and so no figures; `cargo test --release` has");
    }
    fatbins.then_some(RESOURCES)
}

/// All that is wrong with `rows`, given the kernels that there should be.
fn complaints(rows: &[KernelResources], kernels: &BTreeSet<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for kernel in kernels {
        for arch in ARCHITECTURES {
            let count = rows.iter().filter(|row| row.kernel == *kernel && row.arch == arch).count();
            wrong.extend((count != 1).then(|| format!("{kernel}, {arch}: {count} rows, expected 1")));
        }
    }
    for row in rows {
        let KernelResources { kernel, arch, registers, spill_store_bytes: stores, spill_load_bytes: loads, .. } = *row;
        if !kernels.contains(kernel) || !ARCHITECTURES.contains(&arch) {
            wrong.push(format!("{kernel}, {arch}: no such kernel or architecture"));
        }
        if stores + loads > 0 {
            wrong.push(format!("{kernel}, {arch}: spills {stores} bytes of stores and {loads} of loads"));
        }
        if registers > MOST_REGISTERS && !kernel.starts_with(UNLIMITED) {
            wrong.push(format!("{kernel}, {arch}: {registers} registers, at most {MOST_REGISTERS}"));
        }
        if registers == 0 {
            wrong.push(format!("{kernel}, {arch}: no register count was read from ptxas"));
        }
    }
    wrong
}

#[test]
fn no_spills_and_a_row_for_every_kernel_and_architecture() {
    let Some(rows) = resources() else { return };
    let kernels: BTreeSet<&str> = MODULES.iter().flat_map(|module| module.entries).copied().collect();
    assert!(kernels.len() >= 20, "every kernel file has entries");
    let wrong = complaints(rows, &kernels);
    assert!(wrong.is_empty(), "{} found:\n{}", wrong.len(), wrong.join("\n"));
    let most = rows.iter().max_by_key(|row| row.registers).unwrap();
    println!("{} rows; most registers: {} in {} on {}", rows.len(), most.registers, most.kernel, most.arch);
}

/// Registers on sm_80 beside those of published kernels that do the same: docs/performance.md has the table.
#[test]
fn registers_are_no_more_than_in_published_kernels() {
    let Some(rows) = resources() else { return };
    let halves = ["f16", "bf16"];
    let most = |family: &str, types: &[&str]| {
        let of =
            |row: &&KernelResources| row.arch == "sm_80" && types.iter().any(|t| row.kernel == format!("{family}_{t}"));
        rows.iter().filter(of).map(|row| row.registers).max().unwrap_or_else(|| panic!("no kernel {family}"))
    };
    let all = ["f32", "f16", "bf16"];
    let cases = [
        ("omega_add_layernorm_fwd", &all[..], 94),
        ("omega_add_layernorm_bwd", &halves, 160),
        ("omega_add_layernorm_bwd", &["f32"], 168),
        ("optimizer_adam", &all, 32),
        ("cross_entropy_fwd", &all, 32),
        ("cross_entropy_bwd", &all, 32),
        ("cross_entropy_fused", &all, 32),
        ("attention_fwd_64", &halves, 126),
    ];
    for (family, types, limit) in cases {
        let registers = most(family, types);
        println!("{family} {types:?}: {registers}, limit {limit}");
        assert!(registers <= limit, "{family} {types:?}: {registers} registers, limit {limit}");
    }
}

/// softgpu reads the same figures from the cubins, which its counters take for the occupancy.
#[test]
fn softgpu_reads_what_ptxas_says() {
    let Some(rows) = resources() else { return };
    let mut read = 0;
    for module in MODULES {
        let image = softgpu::image::read(module.fatbin).unwrap();
        assert!(image.ptx.contains(".visible .entry"), "{}", module.name);
        for (arch, kernels) in image.cubins {
            for (kernel, takes) in kernels {
                let row = rows.iter().find(|row| row.kernel == kernel && row.arch == format!("sm_{arch}")).unwrap();
                assert_eq!(
                    (takes.registers, takes.shared_bytes),
                    (row.registers, row.shared_bytes),
                    "{kernel}, {arch}"
                );
                read += 1;
            }
        }
    }
    assert_eq!(read, rows.len());
}

/// The rules above on figures that break them.
#[test]
fn a_spill_a_gap_and_too_many_registers_are_found() {
    let good = ARCHITECTURES.map(|arch| KernelResources {
        kernel: "embed_fwd_f32",
        arch,
        registers: 40,
        spill_store_bytes: 0,
        spill_load_bytes: 0,
        shared_bytes: 0,
    });
    let kernels = BTreeSet::from(["embed_fwd_f32"]);
    let with = |change: fn(&mut KernelResources)| {
        let mut rows = good;
        change(&mut rows[3]);
        complaints(&rows, &kernels).len()
    };
    assert_eq!(with(|_| ()), 0);
    assert_eq!(with(|row| row.spill_store_bytes = 4), 1);
    assert_eq!(with(|row| row.spill_load_bytes = 4), 1);
    assert_eq!(with(|row| row.registers = 169), 1);
    assert_eq!(with(|row| row.registers = 0), 1);
    assert_eq!(with(|row| row.arch = "sm_75"), 2, "one row lacks, another is not wanted");
    assert_eq!(with(|row| row.kernel = "gone"), 2);
    assert_eq!(complaints(&good[1..], &kernels).len(), 1);
}

/// The page names every kernel, so that nobody forgets to write it anew after a change.
#[test]
fn docs_kernels_has_every_kernel() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernels.md")).unwrap();
    let entries = MODULES.iter().flat_map(|module| module.entries);
    let missing: Vec<_> = entries.filter(|entry| !page.contains(&format!("| `{entry}` |"))).collect();
    assert!(missing.is_empty(), "{missing:?} missing: run `omega bench --markdown > docs/kernels.md`");
}

/// README shows some lines of the page, the first columns of each.
#[test]
fn readmes_table_is_the_pages() {
    let [readme, page] = ["README.md", "docs/kernels.md"]
        .map(|name| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap());
    let kernels = || MODULES.iter().flat_map(|module| module.entries);
    let rows: Vec<&str> =
        readme.lines().filter(|line| kernels().any(|kernel| line.starts_with(&format!("| `{kernel}` |")))).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    let wrong: Vec<_> = rows.iter().filter(|row| !page.lines().any(|line| line.starts_with(**row))).collect();
    assert!(wrong.is_empty(), "{wrong:?}: docs/kernels.md says otherwise");
}

/// All SASS comes from this PTX, and softgpu runs it: one architecture, with line information.
#[test]
fn all_ptx_is_for_compute_80() {
    for module in MODULES {
        let targets: Vec<&str> = module.ptx.lines().filter(|line| line.starts_with(".target")).collect();
        assert_eq!(targets.len(), 1, "{}: {targets:?}", module.name);
        let words: Vec<&str> = targets[0].split([' ', ',']).filter(|word| !word.is_empty()).collect();
        assert_eq!(words[..2], [".target", "sm_80"], "{}: {targets:?}", module.name);
        assert!(module.ptx.contains("\t.loc\t"), "{}: no line information", module.name);
    }
}

/// build.rs uses the standard library only, so it is compiled here once more and run where there is no nvcc.
#[test]
fn a_build_without_nvcc_names_make_toolchain() {
    if Path::new("/usr/local/cuda/bin/nvcc").exists() {
        skipped("build.rs would find /usr/local/cuda/bin/nvcc");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("build-script");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let compiled = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg(source).status().unwrap();
    assert!(compiled.success());
    let mut build = Command::new(&script);
    build.env_clear().env("PATH", folder.path()).env("PROFILE", "release").current_dir(folder.path());
    let run = build.env("CARGO_MANIFEST_DIR", folder.path()).env("OUT_DIR", folder.path()).output().unwrap();
    let message = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1), "{message}");
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 2, "{message}");
    assert!(lines[0].starts_with("omega: no nvcc found (looked in $NVCC, "), "{message}");
    assert!(lines[1].starts_with("hint: `make toolchain`"), "{message}");
}
