//! Time and rate of matrix instructions on one thread: `cargo bench -p softgpu --bench mma`.
//!
//! A kernel of one warp runs the instruction over and over; an empty loop's time is taken off. Checked before it is timed:
//! a product of ones adds K.

#![allow(clippy::unwrap_used)] // a failed check ends the run

use std::time::Instant;

use softgpu::{Launch, Level, Memory, Module, launch};

/// Runs are a millisecond or so, the best of many, so that other work on the machine does not show.
const ROUNDS: usize = 300;
const RUNS: usize = 100;
/// Instructions in a row, over so many accumulators in turn.
const UNROLL: usize = 16;
const ACCUMULATORS: usize = 4;

struct Case {
    op: &'static str,
    /// Registers of D and C, A, B.
    registers: [usize; 3],
    one: u32,
    mnk: [usize; 3],
}

const fn case(op: &'static str, registers: [usize; 3], one: u32, mnk: [usize; 3]) -> Case {
    Case { op, registers, one, mnk }
}

/// The last is the loop alone.
const CASES: &[Case] = &[
    case("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", [4, 4, 2], 0x3c00_3c00, [16, 8, 16]),
    case("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", [4, 4, 2], 0x3f80_3f80, [16, 8, 16]),
    case("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", [2, 4, 2], 0x3c00_3c00, [16, 8, 16]),
    case("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", [4, 2, 1], 0x3c00_3c00, [16, 8, 8]),
    case("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", [4, 4, 2], 0x3f80_0000, [16, 8, 8]),
    case("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", [4, 4, 2], 0x0101_0101, [16, 8, 32]),
    case("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", [8, 8, 8], 0x3c00_3c00, [16, 16, 16]),
    case("ldmatrix.sync.aligned.m8n8.x4.shared.b16", [4, 4, 2], 0, [0; 3]),
    case("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", [4, 4, 2], 0, [0; 3]),
    case("", [4, 4, 2], 0, [0; 3]),
];

fn text(case: &Case) -> String {
    let [c, a, b] = case.registers;
    let from = |prefix: &str, first: usize, n: usize| {
        format!("{{{}}}", (first..first + n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", "))
    };
    let list = |prefix: &str, n: usize| from(prefix, 0, n);
    let op = |at: usize| match case.op {
        "" => String::new(),
        op if op.starts_with("ldmatrix") => format!("{op} {}, [%s];\n", list("a", a)),
        op => {
            let d = from("c", at % ACCUMULATORS * c, c);
            format!("{op} {d}, {}, {}, {d};\n", list("a", a), list("b", b))
        }
    };
    let set = |prefix: &str, n: usize, value: u32| -> String {
        (0..n).map(|i| format!("mov.b32 %{prefix}{i}, {value}; add.u32 %{prefix}{i}, %{prefix}{i}, 0;\n")).collect()
    };
    format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p, .param .u32 n) {{\n\
         .reg .b32 %a<8>, %b<8>, %c<32>, %i, %n, %t; .reg .b64 %p, %x, %y; .reg .pred %q; .reg .b32 %s;\n\
         .shared .align 16 .b8 tile[512]; mov.u32 %t, %tid.x; shl.b32 %s, %t, 4; mov.u32 %i, tile; add.u32 %s, %s, %i;\n\
         ld.param.u64 %p, [p]; ld.param.u32 %n, [n]; mov.u32 %i, 0;\n{}{}{}\
         $L: {}add.u32 %i, %i, 1; setp.lt.u32 %q, %i, %n; @%q bra $L;\n\
         mul.wide.u32 %x, %t, 4; add.s64 %y, %p, %x; st.global.b32 [%y], %c0;\nret; }}",
        set("a", a, case.one),
        set("b", b, case.one),
        set("c", ACCUMULATORS * c, 0),
        (0..UNROLL).map(op).collect::<Vec<_>>().concat()
    )
}

/// Seconds of a run of `rounds`, and the first word of D.
fn time(module: &Module, rounds: u32) -> (f64, u32) {
    let memory = Memory::new();
    let address = memory.alloc(128).unwrap();
    let (pointer, count) = (address.to_le_bytes(), rounds.to_le_bytes());
    let shape =
        Launch { grid: [1; 3], block: [32, 1, 1], shared_bytes: 0, args: &[&pointer, &count], cooperative: false };
    let start = Instant::now();
    launch(module, "k", &memory, &shape).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    // SAFETY: freed with `memory`; no launch runs.
    (seconds, unsafe { (memory.host_slice(address, 4).unwrap() as *const u32).read_unaligned() })
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    println!("{:<58} {:>9} {:>9} {:>10}", "instruction, one thread", "level", "ns", "GFLOP/s");
    for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
        if level > Level::detect() {
            continue;
        }
        let best = |case: &Case, rounds: usize| {
            let module = Module::load_for(&text(case), level).unwrap();
            (0..RUNS).map(|_| time(&module, rounds as u32).0).fold(f64::MAX, f64::min)
        };
        let empty = best(&CASES[CASES.len() - 1], ROUNDS);
        for case in &CASES[..CASES.len() - 1] {
            if !wanted.is_empty() && !wanted.iter().any(|word| case.op.contains(word)) {
                continue;
            }
            let [m, n, k] = case.mnk;
            let (_, got) = time(&Module::load_for(&text(case), level).unwrap(), 1);
            let sum = (UNROLL / ACCUMULATORS * k) as f32;
            let half = half::f16::from_f32(sum).to_bits() as u32;
            let expected = match case.registers[0] {
                2 => half << 16 | half,
                _ if case.op.contains("s32") => sum as u32,
                _ => sum.to_bits(),
            };
            assert!(k == 0 || got == expected, "{}", case.op);
            let seconds = (best(case, ROUNDS) - empty) / (ROUNDS * UNROLL) as f64;
            let rate = (2 * m * n * k) as f64 / seconds / 1e9;
            println!("{:<58} {:>9} {:>9.1} {:>10.1}", case.op, format!("{level:?}"), seconds * 1e9, rate);
        }
    }
}
