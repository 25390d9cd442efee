//! Time of the instructions that kernels in half precision live on, on one thread: `cargo bench -p softgpu --bench half`.
//!
//! A kernel of one warp runs the instruction over and over; an empty loop's time is taken off. `ld.global.f32` and
//! `fma.rn.f32` stand beside them for comparison.

#![allow(clippy::unwrap_used)] // a failed check ends the run

use std::time::Instant;

use softgpu::{Launch, Level, Memory, Module, launch};

/// Runs are a millisecond or so, the best of many, so that other work on the machine does not show.
const ROUNDS: usize = 300;
const RUNS: usize = 60;
/// Instructions in a row, over so many destinations in turn: `#` in the text is the number.
const UNROLL: usize = 16;
const DESTINATIONS: usize = 4;

/// `%g2 %g4 %g8 %g16` and `%s16` point to an element of that many bytes per lane in global and shared memory.
const CASES: &[&str] = &[
    "ld.global.f32 %f#, [%g4];",
    "ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%g16];",
    "ld.global.u16 %h#, [%g2];",
    "ld.global.nc.u16 %h#, [%g2];",
    "ld.global.v2.u16 {%h0, %h1}, [%g4];",
    "ld.global.v4.u16 {%h0, %h1, %h2, %h3}, [%g8];",
    "st.global.u16 [%g2], %h#;",
    "st.global.v2.u16 [%g4], {%h0, %h1};",
    "st.global.v4.u16 [%g8], {%h0, %h1, %h2, %h3};",
    "ld.shared.u16 %h#, [%s2];",
    "st.shared.u16 [%s2], %h#;",
    "ld.shared.v4.f32 {%f0, %f1, %f2, %f3}, [%s16];",
    "ld.shared.v4.f32 {%f0, %f1, %f2, %f3}, [%x16];",
    "st.shared.v4.f32 [%s16], {%f0, %f1, %f2, %f3};",
    "st.shared.v4.f32 [%x16], {%f0, %f1, %f2, %f3};",
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0, %r1, %r2, %r3}, [%s16];",
    "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r0, %r1, %r2, %r3}, [%s16];",
    "cp.async.cg.shared.global [%s16], [%g16], 16;",
    "cp.async.ca.shared.global [%s4], [%g4], 4;",
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3}, {%r4,%r5}, {%f0,%f1,%f2,%f3};",
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0,%f1,%f2,%f3}, {%r0,%r1,%r2,%r3}, {%r4,%r5}, {%f0,%f1,%f2,%f3};",
    "cvt.f32.f16 %f#, %h7;",
    "cvt.f32.bf16 %f#, %h7;",
    "cvt.rn.f16.f32 %h#, %f7;",
    "cvt.rn.bf16.f32 %h#, %f7;",
    "cvt.rn.f16x2.f32 %r#, %f6, %f7;",
    "cvt.rn.bf16x2.f32 %r#, %f6, %f7;",
    "mov.b32 %r#, {%h6, %h7};",
    "mov.b32 {%h0, %h1}, %r7;",
    "fma.rn.f32 %f#, %f6, %f7, %f#;",
    "fma.rn.f16x2 %r#, %r6, %r7, %r#;",
    "fma.rn.bf16x2 %r#, %r6, %r7, %r#;",
    "max.f16x2 %r#, %r6, %r#;",
    "",
];

fn text(case: &str) -> String {
    let line = |at: usize| format!("{}\n", case.replace('#', &(at % DESTINATIONS).to_string()));
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p, .param .u32 n) {{\n\
         .reg .b16 %h<8>; .reg .f32 %f<8>; .reg .b32 %r<8>, %i, %n, %t, %s, %s2, %s4, %s16, %x16; .reg .pred %q;\n\
         .reg .b64 %p, %w, %g2, %g4, %g8, %g16; .shared .align 16 .b8 tile[1024]; mov.u32 %t, %tid.x; mov.u32 %s, tile;\n\
         shl.b32 %i, %t, 1; add.u32 %s2, %s, %i; shl.b32 %i, %t, 2; add.u32 %s4, %s, %i; shl.b32 %i, %t, 4;\n\
         add.u32 %s16, %s, %i; xor.b32 %x16, %i, 112; add.u32 %x16, %s, %x16;\n\
         ld.param.u64 %p, [p]; ld.param.u32 %n, [n]; mov.u32 %i, 0;\n\
         mul.wide.u32 %w, %t, 2; add.s64 %g2, %p, %w; mul.wide.u32 %w, %t, 4; add.s64 %g4, %p, %w;\n\
         mul.wide.u32 %w, %t, 8; add.s64 %g8, %p, %w; mul.wide.u32 %w, %t, 16; add.s64 %g16, %p, %w;\n{}{}\
         $L: {}add.u32 %i, %i, 1; setp.lt.u32 %q, %i, %n; @%q bra $L;\nret; }}",
        (0..8).map(|i| format!("cvt.rn.f32.u32 %f{i}, %t;\ncvt.rn.f16.f32 %h{i}, %f{i};\n")).collect::<String>(),
        (0..8).map(|i| format!("mov.b32 %r{i}, {{%h{i}, %h{i}}};\n")).collect::<String>(),
        (0..UNROLL).map(line).collect::<String>()
    )
}

/// Seconds of a run of `rounds`.
fn time(module: &Module, rounds: u32) -> f64 {
    let memory = Memory::new();
    let address = memory.alloc(1024).unwrap();
    let (pointer, count) = (address.to_le_bytes(), rounds.to_le_bytes());
    let shape =
        Launch { grid: [1; 3], block: [32, 1, 1], shared_bytes: 0, args: &[&pointer, &count], cooperative: false };
    let start = Instant::now();
    launch(module, "k", &memory, &shape).unwrap();
    start.elapsed().as_secs_f64()
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let levels = [Level::Baseline, Level::Avx2, Level::Avx512];
    let levels: Vec<Level> = levels.into_iter().filter(|&level| level <= Level::detect()).collect();
    println!("ns a warp instruction, one thread: {levels:?}");
    let best = |case: &str, level: Level| {
        let module = Module::load_for(&text(case), level).and_then(Module::whole).unwrap();
        (0..RUNS).map(|_| time(&module, ROUNDS as u32)).fold(f64::MAX, f64::min)
    };
    let empty: Vec<f64> = levels.iter().map(|&level| best("", level)).collect();
    for case in CASES.iter().filter(|case| !case.is_empty()) {
        if !wanted.is_empty() && !wanted.iter().any(|word| case.contains(word.as_str())) {
            continue;
        }
        let times = levels
            .iter()
            .zip(&empty)
            .map(|(&level, empty)| format!("{:>9.1}", (best(case, level) - empty) / (ROUNDS * UNROLL) as f64 * 1e9));
        println!("{:<56}{}", case.split(" {").next().unwrap().split(';').next().unwrap(), times.collect::<String>());
    }
}
