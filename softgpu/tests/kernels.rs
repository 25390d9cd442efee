//! Runs the corpus of ordinary CUDA and Triton kernels (`kernels/*.cu`, `kernels/triton/*.ptx`) against CPU oracles.
//!
//! The `.cu` files are compiled here with nvcc for compute_80, as their users would; without nvcc those tests say that
//! they are skipped. Every kernel must have a check, load, and pass it; two tables hold the exceptions, and fail when
//! they are out of date.

#![allow(clippy::unwrap_used)] // a panic in a test is its report
#![allow(clippy::precedence)] // the oracles are written as the kernels are

#[path = "kernels/atomics.rs"]
mod atomics;
#[path = "kernels/calls.rs"]
mod calls;
#[path = "kernels/cub_block.rs"]
mod cub_block;
#[path = "kernels/double.rs"]
mod double;
#[path = "kernels/elementwise.rs"]
mod elementwise;
#[path = "kernels/exact.rs"]
mod exact;
#[path = "kernels/grid.rs"]
mod grid;
#[path = "kernels/half.rs"]
mod half_types;
#[path = "kernels/harness.rs"]
mod harness;
#[path = "kernels/integer.rs"]
mod integer;
#[path = "kernels/llm.rs"]
mod llm;
#[path = "kernels/math.rs"]
mod math;
#[path = "kernels/matmul.rs"]
mod matmul;
#[path = "kernels/not_yet.rs"]
mod not_yet;
#[path = "kernels/random.rs"]
mod random;
#[path = "kernels/reduce.rs"]
mod reduce;
#[path = "kernels/triton.rs"]
mod triton;
#[path = "kernels/warp_sync.rs"]
mod warp_sync;

use harness::{Check, checks, corpus};
use not_yet::NOT_YET;

/// Kernels that softgpu must refuse at load, and words that its reason must contain.
const REFUSED: &[(&str, &str)] = &[("device_malloc", "malloc")];

fn check(file: &str, checks: Vec<Check>) {
    if let Some(corpus) = corpus() {
        harness::run(file, &corpus[file], &checks, NOT_YET, REFUSED);
    }
}

macro_rules! files {
    ($($name:ident: $checks:expr;)*) => { $(
        #[test]
        fn $name() {
            check(stringify!($name), $checks);
        }
    )* };
}
files! {
    atomics: checks(atomics::CASES);
    calls: checks(calls::CALLS);
    cub_block: checks(cub_block::CASES);
    double: double::checks();
    elementwise: checks(elementwise::CASES);
    grid: checks(grid::CASES);
    half: checks(half_types::CASES);
    integer: checks(integer::CASES);
    linkage: checks(calls::LINKAGE);
    linkage_rdc: checks(calls::LINKAGE);
    llm: checks(llm::CASES);
    math: math::checks(false);
    math_fast: math::checks(true);
    matmul: checks(matmul::SHARED);
    mma_ptx: checks(matmul::MMA);
    random: checks(random::CASES);
    reduce: checks(reduce::CASES);
    warp_sync: checks(warp_sync::CASES);
    wmma: checks(matmul::WMMA);
}

#[test]
fn triton_kernels() {
    triton::run(NOT_YET);
}

/// No file of the corpus is left without a test.
#[test]
fn every_file_has_a_test() {
    let Some(corpus) = corpus() else { return };
    let source = include_str!("kernels.rs");
    let missing: Vec<_> = corpus.keys().filter(|name| !source.contains(&format!("\n    {name}: "))).collect();
    assert!(missing.is_empty(), "no test in kernels.rs for {missing:?}");
}

/// Files load as a whole, too, once all of their kernels do; `calls` has one that must be refused.
#[test]
fn whole_files_load() {
    let Some(corpus) = corpus() else { return };
    for (file, ptx) in corpus.iter().filter(|(file, _)| *file != "calls") {
        let waits = NOT_YET.iter().any(|(listed, _)| listed.split('/').next() == Some(file));
        match softgpu::Module::load(ptx).and_then(softgpu::Module::whole) {
            Err(error) if !waits => panic!("{file}: {error}"),
            Ok(module) => assert_eq!(module.entries().count(), harness::entries(ptx).len(), "{file}"),
            Err(_) => {}
        }
    }
}
