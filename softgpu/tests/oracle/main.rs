//! Every arithmetic instruction against an oracle that shares no code and no algorithm with the executor: all spellings,
//! special values in all combinations and random ones, as vectors and as what is the same in all lanes, on two levels
//! of vector instructions. Results are compared bit by bit; approximations against the ISA's stated error.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod case;
mod convert;
mod exact;
mod float;
mod integer;
mod moves;
mod video;

use std::collections::BTreeSet;
use std::fmt::Write;

use case::{Case, Random, Ty, random, specials};
use rayon::prelude::*;
use softgpu::{Launch, Level, Memory, Module, launch};

fn case(opcode: &str) -> Option<Case> {
    convert::case(opcode)
        .or_else(|| integer::case(opcode))
        .or_else(|| float::case(opcode))
        .or_else(|| video::case(opcode))
}

/// First words of what is not arithmetic, or is tested elsewhere.
const OTHERS: &[&str] = &[
    "activemask",
    "alloca",
    "atom",
    "bar",
    "barrier",
    "bra",
    "brx",
    "call",
    "cp",
    "createpolicy",
    "cvta",
    "applypriority",
    "discard",
    "elect",
    "exit",
    "fence",
    "getctarank",
    "griddepcontrol",
    "isspacep",
    "ld",
    "ldmatrix",
    "ldu",
    "mapa",
    "match",
    "mbarrier",
    "membar",
    "mma",
    "movmatrix",
    "nanosleep",
    "pmevent",
    "prefetch",
    "prefetchu",
    "red",
    "redux",
    "ret",
    "setmaxnreg",
    "shfl",
    "st",
    "stacksave",
    "stackrestore",
    "stmatrix",
    "trap",
    "brkpt",
    "vote",
    "wmma",
    "multimem",
];

fn is_arithmetic(pattern: &str) -> bool {
    let head = pattern.split(['.', '(', '[']).next().unwrap_or_default();
    !OTHERS.contains(&head) && !pattern.starts_with('~')
}

/// All spellings that have an oracle to answer for them.
fn spellings() -> BTreeSet<String> {
    softgpu::coverage().filter(|pattern| is_arithmetic(pattern)).flat_map(softgpu::spellings).collect()
}

const THREADS: usize = 128;

/// Thread i takes its inputs from record i; `alone`: each block is one warp, all lanes of which take the block's record.
fn kernel(case: &Case, alone: bool) -> String {
    let mut ptx = String::from(
        ".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 in, .param .u64 out)\n{\n\
         .reg .b64 p, q, from, to; .reg .b32 i, j, n, block, low, high;\n\
         ld.param.u64 from, [in]; ld.param.u64 to, [out];\n",
    );
    let (ins, outs) = (case.inputs.len(), case.outputs.len());
    ptx += if alone {
        "mov.u32 i, %ctaid.x;\n"
    } else {
        "mov.u32 block, %ctaid.x; mov.u32 n, %ntid.x; mov.u32 j, %tid.x; mad.lo.u32 i, block, n, j;\n"
    };
    let _ = writeln!(ptx, "mad.wide.u32 p, i, {}, from; mad.wide.u32 q, i, {}, to;", 8 * ins, 8 * outs);
    let class = |ty: Ty| match ty.register() {
        1 => ".pred",
        16 => ".b16",
        64 => ".b64",
        _ => ".b32",
    };
    for (name, types) in [("a", &case.inputs), ("d", &case.outputs)] {
        for (k, ty) in types.iter().enumerate() {
            let _ =
                writeln!(ptx, ".reg {} {name}{k}; .reg .b32 {}{k};", class(*ty), if name == "a" { "w" } else { "v" });
        }
    }
    for (k, ty) in case.inputs.iter().enumerate() {
        let _ = match ty.register() {
            1 => writeln!(ptx, "ld.global.u32 w{k}, [p+{}]; setp.ne.u32 a{k}, w{k}, 0;", 8 * k),
            16 => writeln!(ptx, "ld.global.u32 w{k}, [p+{}]; mov.b32 {{a{k}, _}}, w{k};", 8 * k),
            64 => writeln!(
                ptx,
                "ld.global.u32 low, [p+{}]; ld.global.u32 high, [p+{}]; mov.b64 a{k}, {{low, high}};",
                8 * k,
                8 * k + 4
            ),
            _ => writeln!(ptx, "ld.global.u32 a{k}, [p+{}];", 8 * k),
        };
    }
    let _ = writeln!(ptx, "{}", case.text);
    for (k, ty) in case.outputs.iter().enumerate() {
        let _ = match ty.register() {
            1 => writeln!(ptx, "selp.u32 v{k}, 1, 0, d{k}; st.global.u32 [q+{}], v{k};", 8 * k),
            16 => writeln!(ptx, "st.global.b16 [q+{}], d{k};", 8 * k),
            64 => writeln!(ptx, "st.global.b64 [q+{}], d{k};", 8 * k),
            _ => writeln!(ptx, "st.global.b32 [q+{}], d{k};", 8 * k),
        };
    }
    ptx + "ret;\n}\n"
}

/// Runs the records through a kernel: the outputs, record by record.
fn run(ptx: &str, level: Level, case: &Case, records: &[Vec<u64>], alone: bool) -> Result<Vec<u64>, String> {
    let (grid, block) = if alone { (records.len(), 32) } else { (records.len() / THREADS, THREADS) };
    run_blocks(ptx, level, case, records, grid, block)
}

fn run_blocks(
    ptx: &str,
    level: Level,
    case: &Case,
    records: &[Vec<u64>],
    grid: usize,
    block: usize,
) -> Result<Vec<u64>, String> {
    let module = Module::load_for(ptx, level).map_err(|e| format!("{e}\n{ptx}"))?;
    let (ins, outs, n) = (case.inputs.len(), case.outputs.len(), records.len());
    let memory = Memory::new();
    let (input, output) = (memory.alloc(8 * n * ins).unwrap(), memory.alloc(8 * n * outs).unwrap());
    // SAFETY: the allocations live as long as `memory`, and nothing runs while a slice is used.
    let slice = |at, len| unsafe { std::slice::from_raw_parts_mut(memory.host_slice(at, len).unwrap(), len) };
    let flat: Vec<u8> = records.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    slice(input, flat.len()).copy_from_slice(&flat);
    slice(output, 8 * n * outs).fill(0);
    let (a, b) = (input.to_le_bytes(), output.to_le_bytes());
    let shape = Launch {
        grid: [grid as u32, 1, 1],
        block: [block as u32, 1, 1],
        shared_bytes: 0,
        args: &[&a, &b],
        cooperative: false,
    };
    launch(&module, "k", &memory, &shape).map_err(|e| format!("{e}\n{ptx}"))?;
    Ok(slice(output, 8 * n * outs).chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect())
}

/// All combinations of special values, if they are not too many, and random ones; a multiple of `THREADS`.
fn records(case: &Case, seed: u64, size: usize) -> Vec<Vec<u64>> {
    let mut rng = Random(seed);
    let specials: Vec<Vec<u64>> = case.inputs.iter().map(|&ty| specials(ty)).collect();
    let all: usize = specials.iter().map(Vec::len).product();
    let mut out = Vec::new();
    if all <= 2 * size {
        for mut at in 0..all {
            let mut pick = |values: &Vec<u64>| {
                let v = values[at % values.len()];
                at /= values.len();
                v
            };
            out.push(specials.iter().map(&mut pick).collect());
        }
    } else {
        out.extend((0..size).map(|_| specials.iter().map(|values| values[rng.below(values.len())]).collect()));
    }
    let whole = (out.len() + size).next_multiple_of(THREADS);
    while out.len() < whole {
        let mut record: Vec<u64> = Vec::new();
        for (ty, specials) in case.inputs.iter().zip(&specials) {
            let v = random(*ty, &mut rng, specials, record.last().copied());
            record.push(v);
        }
        out.push(record);
    }
    out
}

/// Records by how many there are of the instruction's kind: `setp` and `cvt` have hundreds of spellings, which share
/// their code.
fn size(opcode: &str) -> usize {
    match opcode.split('.').next().unwrap_or_default() {
        "set" | "setp" => 128,
        video if video.starts_with('v') => 384,
        "cvt" => 640,
        _ => 2048,
    }
}

fn check(opcode: &str) -> Result<(), String> {
    match case(opcode) {
        Some(case) => check_case(opcode, &case),
        None => Err(format!("{opcode}: no oracle")),
    }
}

fn check_case(opcode: &str, case: &Case) -> Result<(), String> {
    let seed = opcode.bytes().fold(7, |h: u64, b| h.wrapping_mul(31).wrapping_add(b as u64));
    let records = records(case, seed, size(opcode));
    let wants: Vec<_> = records.iter().map(|record| (case.expect)(record)).collect();
    let outs = case.outputs.len();
    for (alone, level) in [
        (false, Level::Baseline),
        (false, Level::Avx2),
        (false, Level::Avx512),
        (true, Level::Baseline),
        (true, Level::Avx2),
    ] {
        // One warp each: fewer of them.
        let few = if alone { records.len().min(384) } else { records.len() };
        let step = records.len() / few;
        let chosen: Vec<usize> = (0..few).map(|i| i * step).collect();
        let picked: Vec<Vec<u64>> = chosen.iter().map(|&i| records[i].clone()).collect();
        let got = run(&kernel(case, alone), level, case, &picked, alone).map_err(|e| format!("{opcode}: {e}"))?;
        for (&i, got) in chosen.iter().zip(got.chunks(outs)) {
            if let Some(k) = (0..outs).find(|&k| !wants[i][k].admits(got[k])) {
                let how = if alone { "scalars" } else { "vectors" };
                return Err(format!(
                    "{opcode}, {how}, {level:?}: {:x?} gave {:#x} in place {k}, not {:x?}",
                    records[i], got[k], wants[i][k]
                ));
            }
        }
    }
    Ok(())
}

/// Checks what is chosen; the failures, a line each.
fn failures(chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let spellings: Vec<String> = spellings().into_iter().filter(|s| chosen(s)).collect();
    assert!(spellings.len() > 10);
    spellings.par_iter().filter_map(|opcode| check(opcode).err()).collect()
}

fn head(opcode: &str) -> &str {
    opcode.split('.').next().unwrap_or_default()
}

fn assert_none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures[..failures.len().min(40)].join("\n"));
}

#[test]
fn conversions() {
    assert_none(failures(|opcode| head(opcode) == "cvt"));
}

#[test]
fn comparisons() {
    assert_none(failures(|opcode| matches!(head(opcode), "set" | "setp")));
}

#[test]
fn everything_else() {
    assert_none(failures(|opcode| !matches!(head(opcode), "cvt" | "set" | "setp") && !opcode.starts_with('v')));
}

/// Of scalars, of pairs of halves and of four bytes.
#[test]
fn video_instructions() {
    assert_none(failures(|opcode| opcode.starts_with('v')));
    // Parts of registers are printed as they were read.
    for opcode in ["vadd2.u32.s32.u32.sat", "vabsdiff4.s32.s32.u32.add", "vset.u32.s32.lt"] {
        let text = kernel(&case(opcode).unwrap(), false);
        let printed = softgpu::reprint(&text).unwrap();
        assert!(softgpu::same(&text, &printed).unwrap(), "{printed}");
    }
}

/// What is not one opcode: moves of parts, literals, registers wider than the type, special registers, guards.
#[test]
fn moves_and_operands() {
    let cases = moves::cases();
    assert_none(cases.par_iter().filter_map(|case| check_case(&case.text, case).err()).collect());
}

/// What the tests above run is what the table has: a row without an oracle fails.
#[test]
fn every_row_has_an_oracle() {
    let without: Vec<String> = spellings().into_iter().filter(|opcode| case(opcode).is_none()).collect();
    assert!(without.is_empty(), "no oracle for {without:?}");
    let named = softgpu::rows().flatten().filter(|name| !name.starts_with('~')).count();
    assert!(named >= 300, "{named}");
}

/// Prints how far the approximations are from the truth: `cargo test … --test oracle errors -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn errors() {
    let approximate = |s: &String| s.contains(".approx") || s.contains(".full");
    for opcode in spellings().into_iter().filter(approximate) {
        let case = case(&opcode).unwrap();
        let Some(Ty::F(f)) = case.outputs.first().copied() else { continue };
        let mut rng = Random(11);
        let records: Vec<Vec<u64>> = (0..1 << 20)
            .map(|_| case.inputs.iter().map(|_| rng.next() & (u64::MAX >> (64 - f.width()))).collect())
            .collect();
        let got = run(&kernel(&case, false), Level::Avx2, &case, &records, false).unwrap();
        let (mut relative, mut absolute) = (0f64, 0f64);
        for (record, got) in records.iter().zip(got) {
            let x = f.double(record[0]);
            let outside = matches!(head(&opcode), "sin" | "cos") && x.abs() > std::f64::consts::TAU;
            if let case::Want::Each(parts) = &(case.expect)(record)[0]
                && let case::Want::Range(_, low, high) = parts[0]
                && low.is_finite()
                && high.is_finite()
                && f.double(got).is_finite()
                && !outside
            {
                let (value, normal) = ((low + high) / 2.0, 2f64.powi(2 - (1 << (f.exponent - 1))));
                let error = (f.double(got) - value).abs();
                let near_one = head(&opcode) == "lg2" && (0.5..2.0).contains(&x);
                if value.abs() >= normal && !near_one {
                    relative = relative.max(error / value.abs());
                }
                if near_one || matches!(head(&opcode), "sin" | "cos" | "tanh") {
                    absolute = absolute.max(error);
                }
            }
        }
        println!("{opcode}: relative 2^{:.2}, absolute 2^{:.2}", relative.log2(), absolute.log2());
    }
}

/// A number that costs nothing extra: neither subnormal nor NaN.
fn ordinary(ty: Ty, rng: &mut Random) -> u64 {
    let noise = rng.next();
    let number = |f: exact::Format, noise: u64| {
        let one = ((1u64 << (f.exponent - 1)) - 1) << f.mantissa;
        (one + (noise & ((1 << f.mantissa) - 1))) | (noise >> 30 & f.sign())
    };
    match ty {
        Ty::P => noise & 1,
        Ty::I(_) => noise & 31,
        Ty::F(f) => number(f, noise),
        Ty::Pair(f) => number(f, noise) | number(f, noise >> 7) << 16,
    }
}

/// Prints what a warp's instruction costs, on every level: `… times -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn times() {
    let names = softgpu::rows().map(|names| names[0]).filter(|name| !name.starts_with('~'));
    for opcode in names.filter(|opcode| !opcode.ends_with("pred")) {
        let mut case = case(opcode).unwrap();
        // One result, found over and over.
        let body: String = (0..64).map(|_| format!("{}\n", case.text)).collect();
        case.text = format!(
            ".reg .pred more; .reg .u32 left; mov.u32 left, 100;\nagain:\n{body}sub.u32 left, left, 1; \
             setp.ne.u32 more, left, 0; @more bra again;"
        );
        let mut rng = Random(5);
        let records: Vec<Vec<u64>> =
            (0..32).map(|_| case.inputs.iter().map(|&ty| ordinary(ty, &mut rng)).collect()).collect();
        print!("{opcode:24}");
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            let text = kernel(&case, false).replace("mov.u32 n, %ntid.x;", "mov.u32 n, 32;");
            let time = || {
                let start = std::time::Instant::now();
                run_blocks(&text, level, &case, &records, 1, 32).unwrap();
                start.elapsed().as_nanos() as f64 / (64.0 * 100.0)
            };
            // The machine may be busy: the best of many short runs, each with the loading in it.
            print!("{:8.1}", (0..25).map(|_| time()).fold(f64::MAX, f64::min));
        }
        println!(" ns");
    }
}

/// Writes a kernel for every spelling, to be assembled by ptxas: `… assembles -- --ignored`, then see the file.
#[test]
#[ignore = "needs ptxas"]
fn assembles() {
    let mut all = String::from(".version 9.0\n.target sm_90\n.address_size 64\n");
    for (n, opcode) in spellings().into_iter().enumerate() {
        let text = kernel(&case(&opcode).unwrap(), false).replace('\n', " ");
        let (_, body) = text.split_once(".visible").unwrap();
        let _ = writeln!(all, ".visible{} // {opcode}", body.replacen(" k(", &format!(" k{n}("), 1));
    }
    std::fs::write(std::env::temp_dir().join("softgpu-spellings.ptx"), all).unwrap();
}
