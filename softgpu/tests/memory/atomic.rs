//! `atom` and `red`: every operation and type, in lane order, on one address and on many, from one block and from many.

use half::{bf16, f16};

use crate::{Run, error, get, random_bytes, set};

const OPERATIONS: [(&str, &[&str]); 11] = [
    ("add", &["u32", "s32", "u64", "f32", "f64"]),
    ("add.noftz", &["f16", "f16x2", "bf16", "bf16x2"]),
    ("min", &["u32", "s32", "u64", "s64"]),
    ("max", &["u32", "s32", "u64", "s64"]),
    ("inc", &["u32"]),
    ("dec", &["u32"]),
    ("and", &["b32", "b64"]),
    ("or", &["b32", "b64"]),
    ("xor", &["b32", "b64"]),
    ("exch", &["b32", "b64"]),
    ("cas", &["b16", "b32", "b64"]),
];

fn size(ty: &str) -> usize {
    match ty {
        "b16" | "f16" | "bf16" => 2,
        _ if ty.ends_with("64") => 8,
        _ => 4,
    }
}

/// Sign-extended.
fn signed(v: u64, ty: &str) -> i64 {
    if ty == "s32" { v as i32 as i64 } else { v as i64 }
}

fn add(ty: &str, a: u64, b: u64, global: bool) -> u64 {
    let flush = |v: f32| if global && v.abs() < f32::MIN_POSITIVE { 0f32.copysign(v) } else { v };
    let f = |v: u64| flush(f32::from_bits(v as u32));
    let h = |a: u64, b: u64| (f16::from_bits(a as u16) + f16::from_bits(b as u16)).to_bits() as u64;
    let bf = |a: u64, b: u64| (bf16::from_bits(a as u16) + bf16::from_bits(b as u16)).to_bits() as u64;
    match ty {
        "f32" => flush(f(a) + f(b)).to_bits() as u64,
        "f64" => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        "f16" => h(a, b),
        "bf16" => bf(a, b),
        "f16x2" => h(a >> 16, b >> 16) << 16 | h(a, b),
        "bf16x2" => bf(a >> 16, b >> 16) << 16 | bf(a, b),
        _ => a.wrapping_add(b) & if size(ty) == 4 { u32::MAX as u64 } else { u64::MAX },
    }
}

/// What the word becomes.
fn apply(op: &str, ty: &str, a: u64, b: u64, c: u64, global: bool) -> u64 {
    match op {
        "add" | "add.noftz" => add(ty, a, b, global),
        "min" if ty.starts_with('s') => {
            if signed(a, ty) < signed(b, ty) {
                a
            } else {
                b
            }
        }
        "max" if ty.starts_with('s') => {
            if signed(a, ty) > signed(b, ty) {
                a
            } else {
                b
            }
        }
        "min" => a.min(b),
        "max" => a.max(b),
        "inc" => {
            if a >= b {
                0
            } else {
                a + 1
            }
        }
        "dec" => {
            if a == 0 || a > b {
                b
            } else {
                a - 1
            }
        }
        "and" => a & b,
        "or" => a | b,
        "xor" => a ^ b,
        "exch" => b,
        _ => {
            if a == b {
                c
            } else {
                a
            }
        }
    }
}

/// Words, then 32 places of `b` and `c`, then what the lanes get. Few distinct values, so that comparisons hold at times.
const WORDS: usize = 32;
const B: usize = 8 * WORDS;
const C: usize = B + 256;
const OLD: usize = C + 256;

fn data(ty: &str) -> Vec<u8> {
    let mut data = random_bytes(3, OLD + 256);
    for at in (0..OLD).step_by(8) {
        let v = get(&data, at, 8);
        let (few, sign) = (v % 5, v >> 63);
        let v = match ty {
            "f32" => ((v % 2000) as f32 - 1000.0).to_bits() as u64,
            "f64" => ((v % 2000) as f64 / 3.0).to_bits(),
            "f16x2" | "f16" => {
                (f16::from_f32(few as f32 / 3.0).to_bits() as u64) << 16 | f16::from_f32(few as f32).to_bits() as u64
            }
            "bf16x2" | "bf16" => {
                (bf16::from_f32(few as f32 / 3.0).to_bits() as u64) << 16 | bf16::from_f32(few as f32).to_bits() as u64
            }
            _ if ty.starts_with('s') => {
                if sign == 1 {
                    few.wrapping_neg()
                } else {
                    few
                }
            }
            _ => few,
        };
        set(&mut data, at, 8, if size(ty) == 8 { v } else { v & u32::MAX as u64 });
    }
    data
}

struct Case<'a> {
    /// `atom.global.add.u32` and the like.
    opcode: &'a str,
    op: &'a str,
    ty: &'a str,
    space: &'a str,
    /// Lanes share so many words.
    words: usize,
    guard: bool,
    sink: bool,
}

impl Case<'_> {
    fn check(&self) {
        let size = size(self.ty);
        let data = data(self.ty);
        let (red, cas) = (self.opcode.starts_with("red"), self.op == "cas");
        let (letter, bits) = match size {
            8 => ("%d", 64),
            4 => ("%r", 32),
            _ => ("%h", 16),
        };
        let mut body = format!(
            ".shared .align 16 .b8 room[{B}]; mul.wide.u32 %d2, %r0, 8; add.u64 %d2, %d2, %d0; ld.global.b{bits} {letter}20, [%d2+{B}];
             ld.global.b{bits} {letter}21, [%d2+{C}]; mov.b{bits} {letter}22, 99; mov.u64 %d4, room; mul.wide.u32 %d3, %r0, 8; add.u64 %d3, %d3, %d4;
             ld.global.u64 %d5, [%d2]; st.shared.u64 [%d3], %d5; bar.sync 0; rem.u32 %r3, %r0, {}; mul.wide.u32 %d6, %r3, 8;
             rem.u32 %r4, %r0, 5; setp.ne.u32 %p1, %r4, 2;",
            self.words
        );
        body += match self.space {
            "global" => "add.u64 %d7, %d6, %d0;",
            "shared" => "add.u64 %d7, %d6, %d4;",
            _ => "add.u64 %d7, %d6, %d4; cvta.shared.u64 %d7, %d7;",
        };
        let d = match (red, self.sink) {
            (true, _) => String::new(),
            (_, true) => "_,".into(),
            _ => format!("{letter}22,"),
        };
        let c = if cas { format!(", {letter}21") } else { String::new() };
        let guard = if self.guard { "@%p1" } else { "" };
        body +=
            &format!("{guard} {} {d} [%d7], {letter}20{c}; st.global.b{bits} [%d2+{OLD}], {letter}22;", self.opcode);
        if self.space != "global" {
            body += "bar.sync 0; ld.shared.u64 %d5, [%d3]; st.global.u64 [%d2], %d5;";
        }
        let got = Run { body: &body, ..Run::default() }.go(&data).unwrap();
        let mut words: Vec<u64> = (0..WORDS).map(|k| get(&data, 8 * k, 8)).collect();
        for lane in 0..32 {
            let mut expected = 99;
            if !self.guard || lane % 5 != 2 {
                let mask = u64::MAX >> (64 - 8 * size);
                let [b, c] = [B, C].map(|at| get(&data, at + 8 * lane, 8) & mask);
                let word = &mut words[lane % self.words];
                let old = *word & mask;
                *word = *word & !mask | apply(self.op, self.ty, old, b, c, self.space == "global") & mask;
                if !red && !self.sink {
                    expected = old;
                }
            }
            let got = get(&got, OLD + 8 * lane, size);
            assert_eq!(got, expected, "lane {lane} gets: {} on {} words\n{body}", self.opcode, self.words);
        }
        for (k, word) in words.iter().enumerate() {
            assert_eq!(get(&got, 8 * k, 8), *word, "word {k}: {} on {} words\n{body}", self.opcode, self.words);
        }
    }
}

fn every_operation(mut f: impl FnMut(&str, &str)) {
    for (op, types) in OPERATIONS {
        types.iter().for_each(|ty| f(op, ty));
    }
}

#[test]
fn operations_in_every_space() {
    every_operation(|op, ty| {
        for (space, word) in [("global", ".global"), ("shared", ".shared"), ("generic", "")] {
            for words in [1, 3, 32] {
                for guard in [false, true] {
                    let opcode = format!("atom{word}.{op}.{ty}");
                    Case { opcode: &opcode, op, ty, space, words, guard, sink: false }.check();
                    Case { opcode: &opcode, op, ty, space, words, guard, sink: true }.check();
                    if !matches!(op, "exch" | "cas") {
                        Case { opcode: &format!("red{word}.{op}.{ty}"), op, ty, space, words, guard, sink: false }
                            .check();
                    }
                }
            }
        }
    });
}

/// The orders in which compilers write the modifiers.
#[test]
fn orders_and_scopes() {
    every_operation(|op, ty| {
        for order in ["relaxed", "acquire", "release", "acq_rel"] {
            for scope in ["cta", "cluster", "gpu", "sys"] {
                let (name, rest) =
                    op.split_once('.').map_or((op, String::new()), |(name, rest)| (name, format!(".{rest}")));
                let spellings = [
                    format!("atom.{order}.{scope}.global.{op}.{ty}"),
                    format!("atom.global.{order}.{scope}.{op}.{ty}"),
                    format!("atom.global.{scope}.{order}.{op}.{ty}"),
                    format!("atom.{name}.{order}.{scope}.global{rest}.{ty}"),
                ];
                for opcode in &spellings {
                    Case { opcode, op, ty, space: "global", words: 3, guard: true, sink: false }.check();
                }
            }
        }
    });
}

/// Subnormal numbers: flushed in global memory, kept in shared memory. NaN is the one that GPUs make.
#[test]
fn float_additions_at_the_edges() {
    let body = ".shared .f32 s; st.shared.u32 [s], 5; cvta.shared.u64 %d2, s; setp.eq.u32 %p1, %r0, 0;
        @%p1 atom.global.add.f32 %f1, [%d0], 0f00000003; @%p1 red.shared.add.f32 [s], 0f00000003; ld.shared.u32 %r2, [s]; st.global.u32 [%d0+4], %r2;
        @%p1 red.add.f32 [%d2], 0f00000003; @%p1 red.add.f32 [%d0+8], 0f80000001; @%p1 red.global.add.f32 [%d0+12], 0fFF800000; ld.shared.u32 %r2, [s]; st.global.u32 [%d0+16], %r2;";
    let mut data = [0; 64];
    [5, 0, 0x8000_0007, 0x7f80_0000].into_iter().enumerate().for_each(|(k, v)| set(&mut data, 4 * k, 4, v));
    let got = Run { body, ..Run::default() }.go(&data).unwrap();
    assert_eq!([0, 4, 8, 12, 16].map(|at| get(&got, at, 4)), [0, 8, 0x8000_0000, 0x7fff_ffff, 11]);
}

/// Many blocks on one, two and four threads of the host: no addition is lost, and floats come to the same bits.
#[test]
fn blocks_on_several_threads() {
    let body = "mov.u32 %r1, %ctaid.x; mad.lo.u32 %r2, %r1, 64, %r0; atom.global.add.u32 %r3, [%d0], 1; red.global.add.u64 [%d0+8], 1;
        cvt.u64.u32 %d2, %r3; atom.global.max.u32 %r4, [%d0+16], %r3; and.b32 %r5, %r2, 31; mov.u32 %r6, 1; shl.b32 %r6, %r6, %r5;
        red.global.xor.b32 [%d0+20], %r6; atom.global.inc.u32 %r7, [%d0+24], 999; red.relaxed.gpu.global.min.s32 [%d0+28], %r2;";
    for host in [1, 2, 4] {
        let got = Run { body, blocks: 300, threads: 64, host, ..Run::default() }.go(&[0; 64]).unwrap();
        let words = [0, 8, 16, 20, 24, 28].map(|at| get(&got, at, 4));
        assert_eq!(words, [19_200, 19_200, 19_199, 0, 19_200 % 1000, 0], "{host}");
    }
    let body = "mov.u32 %r1, %ctaid.x; mad.lo.u32 %r2, %r1, 64, %r0; cvt.rn.f32.u32 %f1, %r2; rcp.approx.f32 %f1, %f1; setp.ne.u32 %p1, %r2, 0;
        @%p1 red.global.add.f32 [%d0], %f1; cvt.f64.f32 %g1, %f1; @%p1 atom.global.add.f64 %g2, [%d0+8], %g1;";
    let one = Run { body, blocks: 300, threads: 64, host: 1, ..Run::default() }.go(&[0; 64]).unwrap();
    let sum = f64::from_bits(get(&one, 8, 8));
    assert!((sum - 10.44).abs() < 0.01, "{sum}"); // the 19,199th harmonic number
    for host in [2, 4] {
        assert_eq!(Run { body, blocks: 300, threads: 64, host, ..Run::default() }.go(&[0; 64]).unwrap(), one);
    }
}

/// A lock: one thread of each block takes it, adds without atomics, and gives it back.
#[test]
fn a_lock_guards() {
    let body = "setp.ne.u32 %p1, %r0, 0; @%p1 bra $E; $L: atom.acquire.gpu.global.exch.b32 %r1, [%d0], 1; setp.ne.u32 %p2, %r1, 0; @%p2 bra $L;
        ld.global.u32 %r2, [%d0+4]; add.u32 %r2, %r2, 1; st.global.u32 [%d0+4], %r2; fence.acq_rel.gpu; st.release.gpu.global.u32 [%d0], 0; $E: bar.sync 0;";
    for host in [1, 2, 4] {
        let got = Run { body, blocks: 500, threads: 64, host, ..Run::default() }.go(&[0; 64]).unwrap();
        assert_eq!(get(&got, 4, 4), 500);
    }
    // All lanes of a warp want it: each must get its turn.
    let body = body.replace("@%p1 bra $E;", "").replace("exch.b32 %r1, [%d0], 1", "cas.b32 %r1, [%d0], 0, 1");
    let body =
        body.replace("@%p2 bra $L;", "@%p2 bra $N; ").replace("[%d0], 0; $E:", "[%d0], 0; bra $E; $N: bra $L; $E:");
    let got = Run { body: &body, blocks: 3, ..Run::default() }.go(&[0; 64]).unwrap();
    assert_eq!(get(&got, 4, 4), 96);
}

#[test]
fn atomics_that_stray() {
    let cases = [
        ("atom.global.add.u32 %r1, [%d0+2], 1;", "memcheck: misaligned access: 4 bytes"),
        ("red.add.u64 [%d0+1024], 1;", "memcheck: access past an allocation: 8 bytes at +1024 of argument 0"),
        ("cvta.param.u64 %d2, value; red.add.u32 [%d2], 1;", "memcheck: a write to parameter memory"),
        (
            ".shared .b32 s; mov.u32 %r1, s; atom.shared.cas.b32 %r2, [%r1+4], 0, 1;",
            "memcheck: access past shared memory: 4 bytes at +4 of 4",
        ),
    ];
    for (body, expected) in cases {
        let message = error(body);
        assert!(message.contains(expected), "{body}\n{message}");
    }
    for body in [
        "atom.global.add.f16 %h1, [%d0], %h1;",
        "atom.global.min.f32 %f1, [%d0], %f1;",
        "red.global.exch.b32 [%d0], %r1;",
    ] {
        assert!(error(body).contains("softgpu cannot run"), "{body}");
    }
}
