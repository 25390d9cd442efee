//! Warps that run as one: what their threads compute, print and do wrong is what each warp alone would. Programs under
//! tools know no gangs; both must leave the same words, and a kernel that strays must be stopped at the same thread.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use std::sync::{Arc, Mutex};

use softgpu::{Launch, Level, Memory, Module, Tools, launch_with};

const WORDS: usize = 4096;

/// Runs `body` on words that hold their own numbers: `%t` is the thread's number, `%w` its warp's, `%n` a parameter, `%p`
/// points to the words, `%x` and `%y` to the thread's own word and to the one 1,024 words on. The words afterwards, and
/// what was printed.
fn run(body: &str, threads: u32, n: u32, level: Level, tools: &Tools) -> Result<(Vec<u32>, String), String> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n.extern .func (.param .b32 r) vprintf(.param .b64 f, .param .b64 a);\n\
         .global .align 1 .b8 text[4] = {{37, 100, 10, 0}};\n\
         .visible .entry k(.param .u64 p, .param .u32 n) {{\n\
         .reg .b32 %r<16>, %t, %w, %n; .reg .f32 %f<16>; .reg .b64 %d<16>, %p, %x, %y; .reg .pred %q<8>; .shared .b32 s[1024];\n\
         ld.param.u64 %p, [p]; ld.param.u32 %n, [n]; mov.u32 %t, %tid.x; shr.u32 %w, %t, 5;\n\
         mul.wide.s32 %d15, %t, 4; add.u64 %x, %p, %d15; add.u64 %y, %x, 4096;\n\
         {body}\n$END: ret; }}"
    );
    let printed = Arc::new(Mutex::new(Vec::new()));
    let sink = printed.clone();
    let module = Module::load_for(&text, level).and_then(Module::whole).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let module = module.with_budget(2_000_000).with_output(move |text| sink.lock().unwrap().extend_from_slice(text));
    let memory = Memory::new();
    let address = memory.alloc(4 * WORDS).unwrap();
    let words: Vec<u8> = (0..WORDS as u32).flat_map(u32::to_le_bytes).collect();
    memory.write(address, &words).unwrap();
    let (pointer, n) = (address.to_le_bytes(), n.to_le_bytes());
    let shape =
        Launch { grid: [1; 3], block: [threads, 1, 1], shared_bytes: 0, args: &[&pointer, &n], cooperative: false };
    let done = launch_with(&module, "k", &memory, &shape, tools).map_err(|e| e.to_string());
    let mut out = vec![0; 4 * WORDS];
    memory.read(address, &mut out).unwrap();
    let words = out.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let printed = String::from_utf8(printed.lock().unwrap().clone()).unwrap();
    done.map(|_| (words, printed))
}

/// The words, the same with gangs as without, at every level and for blocks that are no whole gangs too.
fn same(body: &str, n: u32) -> Vec<u32> {
    let mut last = Vec::new();
    for threads in [96, 100, 128, 130, 160, 256, 300] {
        let counted = Tools { counters: true, ..Tools::default() };
        let (alone, said) = run(body, threads, n, Level::Avx2, &counted).unwrap();
        for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
            let (words, printed) = run(body, threads, n, level, &Tools::default()).unwrap();
            assert_eq!(said, printed, "{level:?}, {threads} threads: {body}");
            let differs = (0..WORDS).find(|&i| words[i] != alone[i]);
            assert_eq!(differs, None, "{level:?}, {threads} threads: {body}");
        }
        last = alone;
    }
    last
}

/// What stops `body` on 128 threads: with gangs, and without.
fn stopped(body: &str) -> [String; 2] {
    [Tools::default(), Tools { counters: true, ..Tools::default() }]
        .map(|tools| run(body, 128, 0, Level::Avx512, &tools).unwrap_err())
}

#[test]
fn rows_side_by_side_and_apart() {
    // Neighbours' rows; each warp's own, far from its neighbours'; one place for all; vectors of two and of four.
    let words = same("ld.global.u32 %r0, [%x]; add.u32 %r0, %r0, 7; st.global.u32 [%y], %r0;", 0);
    assert_eq!(words[1024 + 131], 138);
    same(
        "mad.lo.u32 %r0, %w, 60, %t; mul.wide.u32 %d0, %r0, 4; add.u64 %d0, %d0, %p; ld.global.u32 %r1, [%d0];
         st.global.u32 [%y], %r1;",
        0,
    );
    // The first two warps' rows side by side, the others' not.
    same(
        "mov.u32 %r0, %warpid; mul.lo.u32 %r1, %r0, %r0; sub.u32 %r2, %r1, %r0; mul.wide.s32 %d1, %r2, 128;
         add.u64 %d0, %d1, %x; ld.global.u32 %r3, [%d0]; st.global.u32 [%y+8192], %r3;",
        0,
    );
    same("ld.global.u32 %r0, [%p+44]; add.u32 %r0, %r0, %t; st.global.u32 [%y], %r0; st.global.u32 [%p], %t;", 0);
    same(
        "mul.wide.s32 %d0, %w, 4; add.u64 %d0, %d0, %p; ld.global.u32 %r0, [%d0+12]; st.global.u32 [%y], %r0;
         st.global.u32 [%d0], %t;",
        0,
    );
    same(
        "mul.wide.s32 %d0, %t, 8; add.u64 %d0, %d0, %p; ld.global.v2.u32 {%r0, %r1}, [%d0]; sub.u32 %r0, %r0, %r1;
         mul.wide.s32 %d1, %t, 16; add.u64 %d1, %d1, %p; ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%d1];
         add.u32 %r6, %r2, %r5; st.global.v4.u32 [%d1+8192], {%r3, %r6, %r4, %r0};",
        0,
    );
    // Scattered, and in shared memory.
    same(
        "xor.b32 %r0, %t, 21; mul.wide.u32 %d0, %r0, 4; add.u64 %d0, %d0, %p; ld.global.u32 %r1, [%d0];
         st.global.u32 [%d0+4096], %r1; mul.lo.u32 %r2, %t, 4; mov.u32 %r3, s; add.u32 %r3, %r3, %r2;
         st.shared.u32 [%r3], %r1; ld.shared.u32 %r4, [%r3]; st.global.u32 [%y+4096], %r4;",
        0,
    );
}

#[test]
fn arithmetic_of_floats_and_halves() {
    same(
        "ld.global.f32 %f0, [%x]; cvt.rn.f32.u32 %f1, %t; mul.f32 %f2, %f1, 0f3F490FDB; fma.rn.f32 %f3, %f2, %f1, %f2;
         cvt.rn.f32.s32 %f4, %n; mul.f32 %f5, %f3, %f4; fma.rn.f32 %f6, %f5, %f4, %f1; sqrt.rn.f32 %f7, %f6;
         div.rn.f32 %f8, %f7, %f1; sub.f32 %f9, %f8, %f2; add.f32 %f10, %f9, %f0; neg.f32 %f11, %f10;
         setp.gt.f32 %q0, %f11, %f2; selp.f32 %f12, %f11, %f3, %q0; st.global.f32 [%y], %f12; st.global.f32 [%y+4096], %f10;",
        3,
    );
}

#[test]
fn warps_part_where_a_branch_parts_them() {
    for compare in ["lt.s32", "ge.s32", "lt.u32", "ge.u32", "le.s32", "gt.u32", "eq.s32", "ne.s32"] {
        for n in [0, 1, 31, 32, 33, 64, 95, 96, 127, 128, 4000, u32::MAX] {
            // A branch over some work, an early exit, a guard, with values that differ by lane, or by warp alone, and
            // rise or fall.
            for value in ["%t", "%w", "%r8", "%r9"] {
                let falling = "sub.u32 %r8, 127, %t; sub.u32 %r9, 100, %w;";
                same(
                    &format!(
                        "{falling} setp.{compare} %q0, {value}, %n; @%q0 bra $L; mul.lo.u32 %r0, %t, 3; st.global.u32 [%y], %r0;
                         $L: setp.{compare} %q1, {value}, %n; @!%q1 bra $END; add.u32 %r1, %t, 9; st.global.u32 [%x], %r1;"
                    ),
                    n,
                );
                same(
                    &format!(
                        "{falling} mov.u32 %r0, 5; setp.{compare} %q0, {value}, %n; @%q0 add.u32 %r0, %r0, %t;
                         @!%q0 st.global.u32 [%y], %r0; @%q0 exit; st.global.u32 [%x], %r0;"
                    ),
                    n,
                );
            }
        }
    }
}

#[test]
fn bounds_that_wrap_are_left_to_the_lanes() {
    // t + n wraps in some lane, or in some warp.
    for n in [i32::MAX as u32 - 40, i32::MAX as u32 - 10, u32::MAX - 70, u32::MAX - 3, 1 << 31] {
        for compare in ["lt.s32", "gt.s32", "le.u32", "ge.u32"] {
            same(
                &format!(
                    "add.u32 %r0, %t, %n; setp.{compare} %q0, %r0, 100; @%q0 bra $END; st.global.u32 [%y], %r0;
                     setp.{compare} %q1, %n, %r0; @%q1 bra $END; st.global.u32 [%x], %n;"
                ),
                n,
            );
        }
    }
}

#[test]
fn loops_that_end_together_and_one_after_the_other() {
    let body = |start: &str, more: &str| {
        format!(
            "mov.u32 %r0, {start}; mov.u32 %r1, 0;
             $LOOP: add.u32 %r1, %r1, %r0; add.u32 %r0, %r0, {more}; setp.lt.s32 %q0, %r0, %n; @%q0 bra $LOOP;
             st.global.u32 [%y], %r1;"
        )
    };
    for n in [0, 3, 70, 1000] {
        for start in ["0", "%t", "%w"] {
            same(&body(start, "1"), n);
            same(&body(start, "%ntid.x"), n);
        }
    }
    // A turn that is over while the gang is together.
    let words = same(&body("0", "1"), 70_000);
    assert_eq!(words[1024], (0..70_000u32).fold(0, u32::wrapping_add));
}

#[test]
fn shuffles_barriers_and_what_is_printed() {
    same(
        "ld.global.u32 %r0, [%x]; shfl.sync.bfly.b32 %r1|%q0, %r0, 16, 31, -1; add.u32 %r0, %r0, %r1;
         shfl.sync.down.b32 %r1|%q1, %r0, 1, 31, -1; selp.b32 %r1, %r1, 3, %q1; st.global.u32 [%y], %r1;",
        0,
    );
    same(
        "mov.u32 %r3, s; mad.lo.u32 %r3, %t, 4, %r3; st.shared.u32 [%r3], %t; bar.sync 0;
         xor.b32 %r0, %t, 64; setp.ge.u32 %q0, %r0, %ntid.x; selp.b32 %r0, %t, %r0, %q0; mov.u32 %r4, s;
         mad.lo.u32 %r4, %r0, 4, %r4; ld.shared.u32 %r1, [%r4]; st.global.u32 [%y], %r1;",
        0,
    );
    // Atomics and lines in the order of the warps.
    same("atom.global.add.u32 %r0, [%p], 1; st.global.u32 [%y], %r0;", 0);
    same(
        "setp.ne.u32 %q0, %t, 65; @%q0 bra $END; .local .align 8 .b8 a[8]; mov.u64 %d0, text; cvta.global.u64 %d0, %d0;
         mov.u64 %d1, a; cvta.local.u64 %d2, %d1; st.local.u32 [a], %t;
         { .param .b64 f; st.param.b64 [f], %d0; .param .b64 v; st.param.b64 [v], %d2; .param .b32 r;
         call.uni (r), vprintf, (f, v); }",
        0,
    );
}

#[test]
fn the_warp_that_strays_is_the_one_that_is_named() {
    // Lane 5 of the third warp, past the words; a store, too.
    for access in ["ld.global.u32 %r1, [%d1];", "st.global.u32 [%d1], %t;"] {
        for apart in ["", "xor.b32 %r0, %r0, 1; xor.b32 %r0, %r0, 1;", "and.b32 %r0, %r0, -1;"] {
            let both = stopped(&format!(
                "setp.eq.u32 %q0, %t, 69; selp.b32 %r0, 100000, %t, %q0; {apart}
                 mul.wide.s32 %d0, %r0, 4; add.u64 %d1, %d0, %p; {access}"
            ));
            both.iter().for_each(|stop| assert!(stop.contains("thread (69, 0, 0)"), "{stop}"));
        }
    }
    // The whole rows of the last two warps.
    let both = stopped(
        "mad.lo.s32 %r0, %w, 2000, %t; mul.wide.s32 %d0, %r0, 4; add.u64 %d1, %d0, %p; st.global.u32 [%d1], %t;",
    );
    both.iter().for_each(|stop| assert!(stop.contains("thread (96, 0, 0)"), "{stop}"));
    // Rows side by side, of which the last lies past the words.
    let both = stopped("add.u64 %d0, %x, 16000; ld.global.u32 %r0, [%d0]; st.global.u32 [%y], %r0;");
    both.iter().for_each(|stop| assert!(stop.contains("thread (96, 0, 0)"), "{stop}"));
    let misaligned = stopped("add.u64 %d0, %x, 2; ld.global.u32 %r0, [%d0];");
    misaligned
        .iter()
        .for_each(|stop| assert!(stop.contains("misaligned") && stop.contains("thread (0, 0, 0)"), "{stop}"));
}

/// A gang that splits before a load must not have loaded for some of its warps: not over their own addresses.
#[test]
fn a_load_over_its_own_address_is_done_once() {
    let both = stopped(
        "setp.eq.u32 %q0, %t, 101; selp.b32 %r0, 100000, %t, %q0; xor.b32 %r1, %t, 3; mul.wide.u32 %d0, %r1, 8;
         mul.wide.s32 %d2, %r0, 8; selp.b64 %d0, %d2, %d0, %q0; add.u64 %d0, %d0, %p; ld.global.u64 %d0, [%d0];
         st.global.u64 [%p], %d0;",
    );
    both.iter().for_each(|stop| assert!(stop.contains("thread (101, 0, 0)"), "{stop}"));
}

#[test]
fn a_loop_without_an_end_is_stopped() {
    let both = stopped("$LOOP: st.global.u32 [%x], %t; bra $LOOP;");
    both.iter().for_each(|stop| assert!(stop.contains("does not end"), "{stop}"));
}

/// A gang may split between a guard and what it guards: what a warp before does with its own guards is nothing to the next.
#[test]
fn a_gang_that_splits_under_a_guard() {
    let words = same(
        "setp.ge.u32 %q0, %t, 0; @%q0 atom.global.add.u32 %r0, [%p], 1; and.b32 %r1, %t, 31; setp.gt.u32 %q1, %r1, 4;
         @%q1 st.global.u32 [%y], %r0; @%q1 exit; setp.ne.u32 %q2, %r1, 2; @%q2 st.global.u32 [%x+2048], %t;",
        0,
    );
    assert_eq!([words[512 + 96 + 1], words[1024 + 96 + 7]], [97, 103]);
}

/// Where a bound holds for some lanes only, though both sides have the same bounds, or one side's numbers wrap.
#[test]
fn bounds_that_show_nothing() {
    for (compare, left, right) in [
        ("eq.s32", "mov.u32 %r0, %t;", "sub.u32 %r1, 127, %t;"),
        ("ne.s32", "mov.u32 %r0, %t;", "sub.u32 %r1, 127, %t;"),
        ("eq.s32", "mov.u32 %r0, %t;", "sub.u32 %r1, 126, %t;"),
        ("lt.u32", "sub.u32 %r0, %t, 5;", "mov.u32 %r1, 20;"),
        ("ge.u32", "sub.u32 %r0, %t, 5;", "mov.u32 %r1, 20;"),
        ("lt.s32", "add.u32 %r0, %t, 2147483600;", "mov.u32 %r1, 0;"),
        ("gt.s32", "sub.u32 %r0, -2147483600, %t;", "mov.u32 %r1, 0;"),
    ] {
        same(&format!("{left} {right} setp.{compare} %q0, %r0, %r1; @%q0 bra $END; st.global.u32 [%y], %r0;"), 0);
    }
}

/// What a gang has done before it splits is not done again.
#[test]
fn a_gang_that_splits_goes_on_from_there() {
    let words = same(
        "ld.global.u32 %r0, [%x]; add.u32 %r0, %r0, 5; st.global.u32 [%x], %r0; setp.gt.u32 %q0, %t, 40; @%q0 bra $END;
         st.global.u32 [%y], %r0;",
        0,
    );
    assert_eq!([words[7], words[1024 + 7], words[50]], [12, 12, 55]);
}

/// What comes after a guarded instruction runs for all lanes, also where a gang runs it warp by warp.
#[test]
fn lanes_are_whole_behind_a_guard() {
    same(
        "setp.lt.u32 %q0, %n, 5; @%q0 add.u32 %r0, %t, 1; @!%q0 add.u32 %r0, %t, 2;
         lop3.b32 %r1, %t, %r0, 7, 0x96; st.global.u32 [%y], %r1;",
        3,
    );
}
