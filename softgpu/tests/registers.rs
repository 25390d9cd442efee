//! What the plan does with registers: which share a place, and which are a base plus lane times stride. Made to fail
//! where the liveness or the ranges behind it are wrong.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Launch, Memory, Module, launch};

/// Runs `body` on one warp; `%p0` points to 32 × 8 words of input `data` and, behind them, of 64-bit output, which
/// starts as zeros; `%a %b %n` are parameters.
fn run(body: &str, data: &[u32], [a, b, n]: [i32; 3]) -> Vec<u64> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 p, .param .u32 a, .param .u32 b, .param .u32 n) {{\n\
         .reg .b32 %r<32>, %t, %a, %b, %n; .reg .b64 %d<32>, %p<2>, %o; .reg .pred %q<4>;\n\
         ld.param.u64 %p0, [p]; ld.param.u32 %a, [a]; ld.param.u32 %b, [b]; ld.param.u32 %n, [n];\n\
         mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, 64; add.u64 %o, %o, %p0; mul.wide.u32 %p1, %t, 32; add.u64 %p1, %p1, %p0;\n\
         {body}\n$END: ret; }}"
    );
    let module = Module::load(&text).and_then(Module::whole).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let memory = Memory::new();
    let address = memory.alloc(1024 + 2048).unwrap();
    memory.write(address, bytes_of(data).as_slice()).unwrap();
    let (pointer, params) = (address.to_le_bytes(), [a, b, n].map(i32::to_le_bytes));
    let shape = Launch {
        grid: [1; 3],
        block: [32, 1, 1],
        shared_bytes: 0,
        args: &[&pointer, &params[0], &params[1], &params[2]],
        cooperative: false,
    };
    launch(&module, "k", &memory, &shape).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut out = vec![0; 2048];
    memory.read(address + 1024, &mut out).unwrap();
    out.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn data() -> Vec<u32> {
    (0..256).map(|i: u32| i.wrapping_mul(0x9e37_79b9) >> 8).collect()
}

/// A value from before a loop is read at its top, and what is computed below must not lie where it lies.
#[test]
fn what_a_loop_reads_again_is_kept() {
    let body = "ld.global.u32 %r0, [%p1]; mov.u32 %r9, 0; mov.u32 %r8, 0;
        $LOOP: add.u32 %r9, %r9, %r0;
        ld.global.u32 %r1, [%p1+4]; xor.b32 %r2, %r1, %r9; ld.global.u32 %r3, [%p1+8]; add.u32 %r9, %r2, %r3;
        add.u32 %r8, %r8, 1; setp.lt.u32 %q0, %r8, 3; @%q0 bra $LOOP;
        cvt.u64.u32 %d0, %r9; st.global.u64 [%o+1024], %d0;";
    let data = data();
    let got = run(body, &data, [0; 3]);
    for lane in 0..32 {
        let [x, y, z] = [0, 1, 2].map(|k| data[8 * lane + k]);
        let expected = (0..3).fold(0u32, |sum, _| (y ^ sum.wrapping_add(x)).wrapping_add(z));
        assert_eq!(got[8 * lane], expected as u64, "lane {lane}");
    }
}

/// The same of a loop whose values are made further down in the text.
#[test]
fn what_is_made_below_its_use_is_kept() {
    let body = "mov.u32 %r8, 0; mov.u32 %r9, 0; bra $MAKE;
        $BODY: ld.global.u32 %r1, [%p1+4]; xor.b32 %r2, %r1, 5; add.u32 %r9, %r9, %r2;
        add.u32 %r9, %r9, %r0; add.u32 %r8, %r8, 1; setp.ge.u32 %q0, %r8, 3; @%q0 bra $DONE;
        $MAKE: ld.global.u32 %r0, [%p1]; bra $BODY;
        $DONE: cvt.u64.u32 %d0, %r9; st.global.u64 [%o+1024], %d0;";
    let data = data();
    let got = run(body, &data, [0; 3]);
    for lane in 0..32 {
        let expected = 3u32.wrapping_mul((data[8 * lane + 1] ^ 5).wrapping_add(data[8 * lane]));
        assert_eq!(got[8 * lane], expected as u64, "lane {lane}");
    }
}

/// Values of one load that nobody reads lie apart from those that somebody does.
#[test]
fn parts_of_a_load_do_not_share() {
    for used in 0..4 {
        let body = format!(
            "ld.global.v4.u32 {{%r0, %r1, %r2, %r3}}, [%p1]; cvt.u64.u32 %d0, %r{used}; st.global.u64 [%o+1024], %d0;
             ld.global.v2.u64 {{%d1, %d2}}, [%p1]; st.global.u64 [%o+1032], %d{};",
            1 + used % 2
        );
        let data = data();
        let got = run(&body, &data, [0; 3]);
        for lane in 0..32 {
            assert_eq!(got[8 * lane], data[8 * lane + used] as u64, "lane {lane}, value {used}");
            let pair = [0, 1].map(|k| data[8 * lane + 2 * (used % 2) + k] as u64);
            assert_eq!(got[8 * lane + 1], pair[0] | pair[1] << 32, "lane {lane}, pair {used}");
        }
    }
}

/// An index of the lanes `base`, `base + stride`, … in 32 bits is widened and is an address, of which only some lanes
/// make use: those of which the widened index is `shift` more than a place in the data. Were the others' taken for
/// places in a row with these, although the index wraps between them, the access would stray.
fn widened(index: &str, widen: &str, guard: &str, params: [i32; 3], lanes: std::ops::Range<usize>, first: i64) {
    let body = format!(
        "{index} {widen} add.u64 %d1, %p0, %d0; {guard}
         ld.global.u32 %r9, [%d1+{}]; cvt.u64.u32 %d2, %r9; st.global.u64 [%o+1024], %d2;",
        first.wrapping_neg() as i32
    );
    // What does not fit the instruction's offset comes on top.
    let rest = first.wrapping_neg().wrapping_sub(first.wrapping_neg() as i32 as i64);
    let body = body.replace("add.u64 %d1, %p0, %d0;", &format!("add.u64 %d1, %p0, %d0; add.u64 %d1, %d1, {rest};"));
    let data = data();
    let got = run(&body, &data, params);
    for lane in 0..32 {
        let expected = if lanes.contains(&lane) { data[lane - lanes.start] as u64 } else { 0 };
        assert_eq!(got[8 * lane], expected, "lane {lane}: {body} {params:?}");
    }
}

#[test]
fn indices_that_wrap_are_widened_lane_by_lane() {
    const BIG: i32 = 1 << 30;
    let index = "shl.b32 %r0, %t, 2; add.u32 %r1, %a, %b; add.u32 %r2, %r1, %r0;";
    let [signed, unsigned] = ["cvt.s64.s32 %d0, %r2;", "cvt.u64.u32 %d0, %r2;"];
    let from_10 = "setp.lt.u32 %q0, %t, 10; @%q0 bra $END;";
    let min = i32::MIN as i64;
    // Past 2^31 - 1 at lane 10, by parameters that a plan may assume and by one that it may not.
    widened(index, signed, from_10, [BIG, BIG - 40, 0], 10..32, min);
    widened(index, signed, from_10, [i32::MAX - 39, 0, 0], 10..32, min);
    // Past 2^32 - 1.
    widened(index, unsigned, from_10, [-40, 0, 0], 10..32, 0);
    // By a product, and by a shift.
    let product = "mul.lo.u32 %r1, %a, 2; sub.u32 %r1, %r1, 40; shl.b32 %r0, %t, 2; add.u32 %r2, %r1, %r0;";
    widened(product, signed, from_10, [BIG, 0, 0], 10..32, min);
    let shifted = "shl.b32 %r1, %a, 1; sub.u32 %r1, %r1, 40; shl.b32 %r0, %t, 2; add.u32 %r2, %r1, %r0;";
    widened(shifted, signed, from_10, [BIG, 0, 0], 10..32, min);
    // Kept below a bound by the branch: what has wrapped is below it too; and not by an unsigned bound of -5.
    widened(index, signed, "setp.ge.s32 %q0, %r2, %n; @%q0 bra $END;", [BIG, BIG - 40, BIG], 10..32, min);
    widened(
        index,
        signed,
        "setp.ge.u32 %q0, %r2, %n; @%q0 bra $END; setp.lt.u32 %q1, %t, 10; @%q1 bra $END;",
        [BIG, BIG - 40, -5],
        10..32,
        min,
    );
    // Not below it.
    widened(index, signed, "setp.lt.s32 %q0, %r2, %n; @!%q0 bra $END;", [BIG, BIG - 40, 0], 10..32, min);
    widened(
        index,
        signed,
        "setp.lt.s32 %q0, %r2, %n; @%q0 bra $END; setp.ge.u32 %q1, %t, 10; @%q1 bra $END;",
        [BIG, BIG - 40, 0],
        0..10,
        min.wrapping_neg() - 40,
    );
    // An index that a guard keeps.
    let kept = "mov.u32 %r2, 4; setp.eq.u32 %q2, %n, 1; shl.b32 %r0, %t, 2; add.u32 %r1, %a, %b; @%q2 mov.u32 %r2, %r1; add.u32 %r2, %r2, %r0;";
    widened(kept, signed, from_10, [BIG, BIG - 40, 1], 10..32, min);
}
