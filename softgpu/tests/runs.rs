//! Runs of multiply-adds that one handler does: random programs of such runs, with sums that are read again, results that
//! are operands of the next one, jumps into the middle and lanes that do not take part or have left, leave the bits that
//! one multiply-add after the other leaves.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::fmt::Write;

use softgpu::{Launch, Level, Memory, Module, Tools, launch_with};

const THREADS: usize = 160;
/// Vectors that all programs have, and cells; the vectors after these are sums of dot products, each written once.
const VECTORS: usize = 8;
const CELLS: usize = 6;

/// SplitMix64: Steele, Lea and Flood 2014, OOPSLA.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 8) as usize % n
    }
}

#[derive(Clone, Copy)]
enum Step {
    /// d = a·b + c by vectors, b a cell; or, swapped, d = b·a + c.
    Fma {
        d: usize,
        a: usize,
        b: usize,
        c: usize,
        swapped: bool,
    },
    Move {
        d: usize,
        a: usize,
    },
    /// Lanes that have this bit in their numbers jump over so many steps.
    Skip {
        bit: usize,
        over: usize,
    },
    /// Lanes from this one on exit.
    Leave {
        from: usize,
    },
    /// Back to that step, twice in all.
    Again {
        to: usize,
    },
}
use Step::{Again, Fma, Leave, Move, Skip};

#[derive(Default)]
struct Program {
    steps: Vec<Step>,
    sums: usize,
}

impl Program {
    /// Vector `to` plus a dot product; one of its sums is read again if there is a `read`-th.
    fn dot(&mut self, factors: &[(usize, usize)], to: usize, read: usize) {
        let first = VECTORS + self.sums;
        self.sums += factors.len();
        for (k, &(a, b)) in factors.iter().enumerate() {
            let c = if k == 0 { to } else { first + k - 1 };
            self.steps.push(Fma { d: first + k, a, b, c, swapped: (a + b).is_multiple_of(2) });
        }
        self.steps.push(Move { d: to, a: first + factors.len() - 1 });
        if read < factors.len() {
            self.steps.push(Move { d: (to + 1) % VECTORS, a: first + read });
        }
    }

    /// What mostly multiplies one vector, with any results and sums.
    fn outer(&mut self, rng: &mut Random) {
        let a = rng.below(VECTORS);
        for _ in 0..1 + rng.below(6) {
            let (d, b) = (rng.below(VECTORS), rng.below(CELLS));
            let c = if rng.below(2) == 0 { d } else { rng.below(VECTORS) };
            let a = if rng.below(8) == 0 { rng.below(VECTORS) } else { a };
            self.steps.push(Fma { d, a, b, c, swapped: rng.below(2) == 0 });
        }
    }

    fn random(rng: &mut Random) -> Program {
        let mut program = Program::default();
        for _ in 0..1 + rng.below(7) {
            match rng.below(10) {
                0..4 => {
                    let factors: Vec<_> =
                        (0..1 + rng.below(6)).map(|_| (rng.below(VECTORS), rng.below(CELLS))).collect();
                    program.dot(&factors, rng.below(VECTORS), rng.below(12));
                }
                4..8 => program.outer(rng),
                8 => program.steps.push(Leave { from: rng.below(40) }),
                _ => program.steps.push(Skip { bit: rng.below(5), over: rng.below(6) }),
            }
        }
        program
    }

    /// A kernel that loads thread `t`'s vector r from word `r·THREADS + t` of `p`, and puts it back in the end.
    fn text(&self) -> String {
        let mut text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p, .param .u64 cells) {{\n\
             .reg .f32 %f<{}>, %u<{CELLS}>; .reg .b64 %p, %c, %d; .reg .b32 %t, %r, %n; .reg .pred %q;\n\
             ld.param.u64 %p, [p]; ld.param.u64 %c, [cells]; mov.u32 %t, %tid.x; mov.u32 %n, 0; mul.wide.u32 %d, %t, 4;\n\
             add.u64 %d, %d, %p;\n",
            VECTORS + self.sums
        );
        let place = |r: usize| 4 * THREADS * r;
        (0..VECTORS).for_each(|r| writeln!(text, "ld.global.f32 %f{r}, [%d+{}];", place(r)).unwrap());
        (0..CELLS).for_each(|b| writeln!(text, "ld.global.f32 %u{b}, [%c+{}];", 4 * b).unwrap());
        for (at, step) in self.steps.iter().enumerate() {
            match *step {
                Fma { d, a, b, c, swapped: false } => writeln!(text, "$L{at}: fma.rn.f32 %f{d}, %f{a}, %u{b}, %f{c};"),
                Fma { d, a, b, c, swapped: true } => writeln!(text, "$L{at}: fma.rn.f32 %f{d}, %u{b}, %f{a}, %f{c};"),
                Move { d, a } => writeln!(text, "$L{at}: mov.f32 %f{d}, %f{a};"),
                Skip { bit, over } => {
                    let to = (at + 1 + over).min(self.steps.len());
                    let mask = 1 << bit;
                    writeln!(text, "$L{at}: and.b32 %r, %t, {mask}; setp.ne.u32 %q, %r, 0; @%q bra $L{to};")
                }
                Leave { from } => {
                    writeln!(text, "$L{at}: and.b32 %r, %t, 31; setp.ge.u32 %q, %r, {from}; @%q exit;")
                }
                Again { to } => {
                    writeln!(text, "$L{at}: add.u32 %n, %n, 1; setp.lt.u32 %q, %n, 3; @%q bra $L{to};")
                }
            }
            .unwrap();
        }
        writeln!(text, "$L{}:", self.steps.len()).unwrap();
        (0..VECTORS).for_each(|r| writeln!(text, "st.global.f32 [%d+{}], %f{r};", place(r)).unwrap());
        text + "ret; }"
    }

    /// What thread `t`'s vectors become, as far as it puts them back; none where that hangs on what was never written.
    fn expected(&self, start: &[f32], cells: &[f32], t: usize) -> Vec<Option<u32>> {
        let mut vectors: Vec<Option<f32>> = start.iter().copied().map(Some).collect();
        vectors.resize(VECTORS + self.sums, None);
        let (mut at, mut again) = (0, 0);
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match *step {
                Fma { d, a, b, c, .. } => {
                    let sum = vectors[a].zip(vectors[c]).map(|(a, c)| a.mul_add(cells[b], c));
                    vectors[d] = sum.map(|sum| if sum.is_nan() { f32::from_bits(0x7fff_ffff) } else { sum });
                }
                Move { d, a } => vectors[d] = vectors[a],
                Again { to } => {
                    again += 1;
                    at = if again < 3 { to } else { at };
                }
                Leave { from } if t % 32 >= from => {
                    return start.iter().map(|x| Some(x.to_bits())).collect();
                }
                Leave { .. } => {}
                Skip { bit, over } => at += if t >> bit & 1 == 1 { over } else { 0 },
            }
        }
        vectors[..VECTORS].iter().map(|x| x.map(f32::to_bits)).collect()
    }

    /// Runs it at each level, with and without gangs and folds; `odd`: on NaN, infinities and what makes them, too.
    fn check(&self, odd: bool) {
        let text = self.text();
        let mut rng = Random(17);
        let mut number = || match rng.below(64) {
            0 if odd => f32::from_bits(0xffc0_1234),
            1 if odd => f32::NEG_INFINITY,
            2 if odd => f32::MAX,
            3 => -0.0,
            4 => 1e-40,
            _ => rng.below(1 << 16) as f32 / 32768.0 - 1.0,
        };
        let words: Vec<f32> = (0..THREADS * VECTORS).map(|_| number()).collect();
        let cells: Vec<f32> = (0..CELLS).map(|_| number()).collect();
        let bytes = |words: &[f32]| words.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        for (level, tools) in [
            (Level::Baseline, Tools::default()),
            (Level::Avx2, Tools::default()),
            (Level::Avx512, Tools::default()),
            (Level::Avx512, Tools { seed: 3, ..Tools::default() }),
            (Level::Avx512, Tools { counters: true, ..Tools::default() }),
        ] {
            let module =
                Module::load_for(&text, level).and_then(Module::whole).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let memory = Memory::new();
            let (p, c) = (memory.alloc(4 * words.len()).unwrap(), memory.alloc(4 * CELLS).unwrap());
            memory.write(p, &bytes(&words)).unwrap();
            memory.write(c, &bytes(&cells)).unwrap();
            let args: [&[u8]; 2] = [&p.to_le_bytes(), &c.to_le_bytes()];
            let shape = Launch {
                grid: [1; 3],
                block: [THREADS as u32, 1, 1],
                shared_bytes: 0,
                args: &args,
                cooperative: false,
            };
            launch_with(&module, "k", &memory, &shape, &tools).unwrap();
            let mut out = vec![0; 4 * words.len()];
            memory.read(p, &mut out).unwrap();
            for t in 0..THREADS {
                let start: Vec<f32> = (0..VECTORS).map(|r| words[r * THREADS + t]).collect();
                for (r, expected) in self.expected(&start, &cells, t).into_iter().enumerate() {
                    let got = u32::from_le_bytes(out[4 * (r * THREADS + t)..][..4].try_into().unwrap());
                    let is = expected.is_none_or(|expected| got == expected);
                    assert!(is, "thread {t}, vector {r}: {got:x}, not {expected:x?}; {level:?}, {tools:?}\n{text}");
                }
            }
        }
    }
}

#[test]
fn random_programs() {
    let mut rng = Random(0);
    for round in 0..300 {
        Program::random(&mut rng).check(round % 2 == 1);
    }
}

/// The two shapes of attention's loops, at every length up to two runs and one more.
#[test]
fn dots_and_outer_products_of_every_length() {
    for (len, odd) in (1..10).flat_map(|len| [(len, false), (len, true)]) {
        let factors: Vec<_> = (0..len).map(|k| (k % VECTORS, k % CELLS)).collect();
        for read in [len, len / 2] {
            let mut dot = Program::default();
            dot.dot(&factors, 3, read);
            dot.check(odd);
        }
        let outer = |k: usize| Fma { d: 1 + k % 7, a: 0, b: k % CELLS, c: 1 + k % 7, swapped: k.is_multiple_of(2) };
        Program { steps: (0..len).map(outer).collect(), sums: 0 }.check(odd);
        // One of them replaces what all multiply.
        let replacing = |k: usize| Fma { d: usize::from(k != len / 2), a: 0, b: 1, c: 2, swapped: false };
        Program { steps: (0..len).map(replacing).collect(), sums: 0 }.check(odd);
    }
}

/// The same when lanes have left: from each one on.
#[test]
fn dots_and_outer_products_of_the_lanes_that_are_left() {
    for (from, odd) in (0..33).flat_map(|from| [(from, false), (from, true)]) {
        let mut program = Program { steps: vec![Leave { from }], sums: 0 };
        program.dot(&[(0, 0), (1, 1), (2, 2), (3, 3)], 3, 4);
        program.steps.extend((4..8).map(|d| Fma { d, a: 0, b: d % CELLS, c: d, swapped: false }));
        program.check(odd);
    }
}

/// A sum of the step before is read in each round of a loop that begins behind it.
#[test]
fn a_loop_begins_in_the_middle() {
    let swapped = false;
    let steps = vec![
        Fma { d: VECTORS, a: 0, b: 0, c: 1, swapped },
        Fma { d: 2, a: 3, b: 1, c: VECTORS, swapped },
        Fma { d: 3, a: 2, b: 2, c: 3, swapped },
        Again { to: 1 },
    ];
    Program { steps, sums: 1 }.check(false);
}
