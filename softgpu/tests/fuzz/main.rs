//! Mutated PTX, and the fatbins and programs that hold it, must be refused, or run, or stopped, with tools and without: never a
//! panic, a hang, or all of the memory. And what is accepted prints to a text that means the same.
//!
//! `OMEGA_FUZZ_SECONDS=600 cargo test --release -p softgpu --test fuzz` looks longer (`make fuzz`). A failure prints its number
//! and the case; what takes the process down leaves its text in `target/tmp/fuzz.ptx`. What people type is mutated in
//! `src/cli/fuzz.rs`.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod images;
mod random;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use random::{Random, repeat};
use softgpu::counters::{Counters, Traffic};
use softgpu::{Error, Launch, Memory, Module, Stop, Tools, disassemble, inspect, launch_with, reprint, same};

/// What is put in the place of a token: everything that the grammar has, and numbers at the edges.
const WORDS: [&str; 64] = [
    "0",
    "1",
    "-1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "0x80000000",
    "0b101",
    "017",
    "8U",
    "0f7FC00000",
    "0d7FF0000000000000",
    "1.5e3",
    "WARP_SZ",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    ":",
    "|",
    "!",
    "@",
    "-",
    "+",
    "~",
    "_",
    "<<",
    ">>",
    "?",
    "/",
    "%",
    ".reg",
    ".b8",
    ".b16",
    ".b32",
    ".b64",
    ".b128",
    ".pred",
    ".v4",
    ".param",
    ".local",
    ".shared",
    ".global",
    ".align",
    ".func",
    ".entry",
    ".extern",
    ".loc 1 2 3, inlined_at 1 2 3",
    "call",
    "ret;",
    "exit;",
    "bra",
    "brx.idx",
    "%tid.x",
    "%r<4000000000>",
    "trap;",
];

/// Functions, tables and initial values, which the cases of single instructions lack.
const SEEDS: [&str; 3] = [
    ".version 8.0\n.target sm_80\n.address_size 64\n.extern .func (.param .b32 r) vprintf(.param .b64 a, .param .b64 b);
.func (.param .b32 out) down(.param .b32 n) { .local .align 8 .b8 depot[16]; .reg .b32 %r<9>; .reg .pred p; ld.param.u32 %r1, [n];
st.local.u32 [depot+4], %r1; setp.lt.u32 p, %r1, 2; mov.u32 %r5, %r1; @p bra $E; add.s32 %r2, %r1, -1;
{ .param .b32 a; st.param.b32 [a], %r2; .param .b32 r; call.uni (r), down, (a); ld.param.b32 %r3, [r]; }
ld.local.u32 %r4, [depot+4]; add.u32 %r5, %r3, %r4; $E: st.param.b32 [out], %r5; ret; }
.func (.param .align 4 .b8 out[12]) turn(.param .align 4 .b8 a[12], .param .align 8 .b8 rest[]) { .reg .b32 r; .reg .b64 d; mov.u64 d, rest;
ld.local.u32 r, [d]; st.param.b32 [out], r; ld.param.u8 r, [a+5]; st.param.b32 [out+8], r; ret; }
.global .align 8 .u64 table[2] = {down, down}; .const .align 4 .b8 text[4] = {37, 100, 10};
.visible .entry k(.param .u64 data) { .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .pred %p<3>; ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; and.b32 %r0, %r0, 7;
{ .param .b32 a; st.param.b32 [a], %r0; .param .b32 r; ld.global.u64 %d3, [table+8]; proto: .callprototype (.param .b32 _) _ (.param .b32 _); call (r), %d3, (a), proto; ld.param.b32 %r1, [r]; }
{ .param .align 4 .b8 s[12]; .param .align 8 .b8 v[4]; .param .align 4 .b8 t[12]; st.param.b32 [v], %r1; st.param.b32 [s+4], 7; call (t), turn, (s, v); ld.param.b32 %r2, [t+8]; }
{ .param .b64 a; .param .b64 b; .param .b32 r; mov.u64 %d4, text; cvta.const.u64 %d4, %d4; st.param.b64 [a], %d4; st.param.b64 [b], %d0; call (r), vprintf, (a, b); }
and.b32 %r3, %r0, 1; ways: .branchtargets one, two; brx.idx %r3, ways; one: bar.sync 0; two: mul.wide.u32 %d1, %r0, 4; add.s64 %d1, %d1, %d0; st.global.u32 [%d1], %r2; ret; }",
    ".version 8.0\n.target sm_80\n.address_size 64\n.shared .align 16 .v4 .f32 tile[8]; .extern .shared .align 16 .b8 more[];
.global .v2 .u32 pairs[] = {{1, 2}, {3}}; .global .u32 p = generic(pairs)+4; .global .u8 bytes[4] = {0xff(pairs), 0xff00(pairs+1), 1, 2};
.const .f64 numbers[2][2] = {{1.5, 0d4000000000000000}, {-2.5e1}};
.entry k(.param .u64 .ptr .global .align 16 data) .maxntid 128, 1, 1 { .reg .v4 .f32 v; .reg .b32 a, b; .reg .pred p, q; .reg .b64 d;
ld.param.u64 d, [data]; mov.u32 a, %laneid; setp.lt.and.u32 p, a, 3 + 4 * (2 - 1), q; @!p bra L1; { .reg .u32 a; L1: mov.u32 a, more; add.u32 a, a, -(-4); st.shared.u32 [a], a; }
shfl.sync.bfly.b32 b|q, a, 1, 31, 0xffffffff; vote.sync.ballot.b32 a, !q, -1; membar.gl; st.global.v4.f32 [d+16], {v.x, v.y, v.z, v.w}; atom.global.add.u32 b, [d], a; L2: exit; }",
    ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 data) { .reg .b32 i; .reg .b64 d; .reg .pred p; .loc 1 2 3, function_name x, inlined_at 1 4 5
mov.u32 i, 0; L: add.u32 i, i, 1; nanosleep.u32 9; setp.ne.u32 p, i, 40; @p bra L; bar.sync 0; ret; }\n.file 1 \"a.cu\"\n.section .debug_str { L0: .b8 1, 2 }",
];

fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "ptx"));
    paths.sort();
    let cases = paths.iter().step_by(3).map(|p| std::fs::read_to_string(p).unwrap());
    SEEDS.iter().map(|s| s.to_string()).chain(cases).collect()
}

fn tokens(text: &str) -> Vec<&str> {
    let (mut out, mut start) = (Vec::new(), 0);
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.');
    for (at, c) in text.char_indices() {
        if at > start && !(word(c) && text[start..at].chars().all(word)) {
            out.push(&text[start..at]);
            start = at;
        }
    }
    out.push(&text[start..]);
    out
}

fn mutate(text: &str, other: &str, random: &mut Random) -> String {
    let mut parts: Vec<&str> = tokens(text);
    let others = tokens(other);
    for _ in 0..1 + random.below(4) {
        let (a, b) = (random.below(parts.len()), random.below(parts.len()));
        match random.below(8) {
            0 => parts.swap(a, b),
            1 => drop(parts.remove(a)),
            2 => parts.insert(a, parts[b]),
            3 => parts[a] = random.pick(&WORDS),
            4 => parts.insert(a, random.pick(&WORDS)),
            5 => parts[a] = random.pick(&others),
            6 => drop(parts.drain(a.min(b)..(a.min(b) + random.below(20)).min(a.max(b)))),
            _ => {
                let repeated: Vec<&str> = parts[a..(a + random.below(12)).min(parts.len())].to_vec();
                parts.splice(b..b, repeated);
            }
        }
        if parts.is_empty() {
            parts.push(";");
        }
    }
    let mut text = parts.concat();
    if random.below(4) == 0 && !text.is_empty() {
        let mut bytes = text.into_bytes();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    text
}

/// What happens to be accepted prints to what means the same, decodes to the same, and runs to its end or to a report.
fn try_out(text: &str, random: &mut Random) {
    let printed = match reprint(text) {
        Ok(printed) => printed,
        Err(error) => {
            assert!(error.line > 0 && !error.what.is_empty());
            assert!(Module::load(text).is_err() && inspect(text).is_err());
            return;
        }
    };
    assert_eq!(same(text, &printed), Ok(true), "printed:\n{printed}");
    let (a, b) = (disassemble(text, false), disassemble(&printed, false));
    assert!(a.is_ok() == b.is_ok() && (a.is_err() || a == b), "printed:\n{printed}\n{a:?}\n{b:?}");
    let Ok(module) = Module::load(text) else { return };
    let kernels = inspect(text).unwrap().kernels;
    assert!(module.entries().eq(kernels.iter().map(|kernel| kernel.name.as_str())));
    let module = module.with_budget(20_000).with_output(|_| {});
    for entry in module.entries() {
        for threads in [32, 64] {
            try_launch(&module, entry, threads, random);
        }
    }
}

/// Plain, and then with some of the tools, in another order.
fn try_launch(module: &Module, entry: &str, threads: u32, random: &mut Random) {
    let [plain, watched] = [Memory::new(), Memory::watched()];
    let data = [&plain, &watched].map(|memory| memory.alloc(4096).unwrap().to_le_bytes());
    let run = |blocks, memory: &Memory, data: &[u8], tools: Tools| {
        let shape = Launch {
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            shared_bytes: 256,
            args: &[data],
            cooperative: false,
        };
        launch_with(module, entry, memory, &shape, &tools)
    };
    if let Err(error) = run(1, &plain, &data[0], Tools::default()) {
        assert!(!error.to_string().is_empty());
    }
    let on = random.next();
    let tools = Tools {
        memcheck: on & 1 > 0,
        initcheck: on & 2 > 0,
        racecheck: on & 4 > 0,
        synccheck: on & 8 > 0,
        counters: on & 16 > 0,
        seed: on >> 5 & 3,
    };
    match run(2, &watched, &data[1], tools) {
        Ok(report) => {
            report.findings.iter().for_each(check_report);
            assert_eq!(report.counters.is_some(), tools.counters);
            report.counters.iter().for_each(check_counters);
        }
        Err(Error::Stopped(stop)) => stop.before.iter().chain([&*stop]).for_each(check_report),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_report(stop: &Stop) {
    let said = stop.to_string();
    assert!(!stop.what.is_empty() && !stop.help.is_empty() && stop.ptx_line > 0 && stop.count > 0, "{said}");
}

/// Figures that cannot be, and lines that a terminal would break.
fn check_counters(counters: &Counters) {
    let total = &counters.total;
    assert!(total.thread_instructions <= total.active_thread_instructions, "{total:?}");
    assert!(total.active_thread_instructions <= 32 * total.warp_instructions, "{total:?}");
    assert!(total.divergent_branches <= total.branches, "{total:?}");
    let possible = |t: &Traffic| {
        let part = t.efficiency().is_none_or(|part| (0.0..=1.0).contains(&part));
        part && t.wavefronts_ideal <= t.wavefronts && t.bytes_distinct <= t.bytes_asked
    };
    for c in counters.lines.iter().map(|line| &line.counts).chain([total]) {
        let moved = [&c.global_loads, &c.global_stores, &c.global_atomics, &c.local_loads, &c.local_stores];
        assert!(moved.into_iter().chain([&c.shared_loads, &c.shared_stores, &c.shared_atomics]).all(possible), "{c:?}");
    }
    assert_eq!(counters.json(&[])["lines"].as_array().unwrap().len(), counters.lines.len());
    let table = counters.table(&[]);
    assert!(table.lines().skip(1).all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn mutated_text_is_refused_or_runs() {
    let seeds = seeds();
    seeds.iter().for_each(|text| try_out(text, &mut Random(31)));
    let make = |random: &mut Random| {
        let (a, b) = (random.below(seeds.len()), random.below(seeds.len()));
        let a = if random.below(3) == 0 { random.below(SEEDS.len()) } else { a };
        mutate(&seeds[a], &seeds[b], random)
    };
    repeat(6, make, |text, random| {
        if random::long() {
            // For what takes the process down with it.
            std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/fuzz.ptx"), text).unwrap();
        }
        try_out(text, random);
    });
}

/// Nothing in any text nests, repeats or counts so that the parser would need a stack or a memory without end.
#[test]
fn text_made_to_do_harm_is_refused() {
    let head = ".version 8.0\n.target sm_80\n.address_size 64\n";
    let body = |body: &str| format!("{head}.entry k() {{ .reg .b32 %r<4000000000>; .reg .b64 %d<9>; {body} ret; }}");
    let many = |text: &str| text.repeat(200_000);
    let refused = [
        format!("{head}{}", many("{")),
        body(&many("{")),
        body(&format!("mov.u32 %r1, {}1;", many("("))),
        body(&format!("mov.u32 %r1, {}1;", many("-"))),
        body(&format!("mov.u32 %r1, 1{};", many("?1:1"))),
        body(&format!("mov.u32 %r1, {}%r1;", many("{"))),
        body(&format!("mov.u32 %r1, {}%r1;", many("!"))),
        body(&format!("mov.u32 %r1, {}%r1;", many("%r1|"))),
        body(&format!("mov.u32 %r1, {}%r1;", many("["))),
        body(".local .b8 depot[9000000000];"),
        body(".shared .b8 s[18446744073709551615];"),
        body(".shared .b64 s[4294967296][4294967296];"),
        body("mov.u32 %r1, 5/0;"),
        body("mov.u32 %r1, 5%(1-1);"),
        format!("{head}.global .b8 x[2][4000000000] = {{{{1}}, {{2}}}};"),
        format!("{head}.global .b32 x[] = {};", many("{")),
        format!("{head}.global .b32 x[3] = {{1, 2, 3, 4}};"),
        format!("{head}.section .debug {{ {}", many("{")),
        format!("{head}.entry k(.param .b8 p[99999999999]) {{ ret; }}"),
        format!("{head}/*{}", many("*")),
        format!("{head}\"{}", many("\\\"")),
        format!("{head}.file 1 {}", many("\u{fe0f}")),
        many("\0x"),
    ];
    for text in &refused {
        let start = Instant::now();
        let error = Module::load(text).and_then(Module::whole).err();
        assert!(error.is_some(), "{:.300}", text);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}: {:.300}", start.elapsed(), text);
    }
    // These are much, but not wrong.
    let accepted = [
        body("mov.u32 %r3999999999, 1;"),
        body(&many("add.u32 %r1, %r1, %r2;\n")[..2_000_000 / 23 * 23]),
        body(&(0..20_000).map(|n| format!("l{n}: ")).collect::<String>()),
        format!("{head}{}", ".pragma \"x\", \"y\";\n".repeat(50_000)),
    ];
    for text in &accepted {
        assert_eq!(reprint(text).err(), None, "{:.300}", text);
    }
}
