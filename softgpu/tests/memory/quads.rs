//! 128-bit registers: moved in parts, accessed as one by blocks that race, and seen by the tools as one access.

use softgpu::{Launch, Memory, Module, Report, Tools, launch_with};

use crate::{Run, get, random_bytes};

/// Every way of putting one together and taking it apart, each against the bytes that it stands for.
#[test]
fn parts() {
    let body = "ld.global.b128 %q1, [%d0]; mov.b128 {%d2, %d3}, %q1; st.global.v2.b64 [%d0+16], {%d3, %d2};
        mov.b128 {%r1, %r2, %r3, %r4}, %q1; st.global.v4.b32 [%d0+32], {%r4, %r3, %r2, %r1};
        mov.b128 %q2, {%r2, %r1, %r4, %r3}; st.global.b128 [%d0+48], %q2; mov.b128 {_, %d4}, %q1; mov.b128 {%d5, _}, %q2;
        mov.b128 %q3, {%d4, %d5}; mov.b128 %q4, %q3; st.global.b128 [%d0+64], %q4; mov.b128 %q4, 5; st.global.b128 [%d0+80], %q4;
        mov.b128 %q4, {7, %d2}; st.global.b128 [%d0+96], %q4; mov.b128 {%g1, %g2}, %q1; mov.b128 %q5, {%g2, %g1};
        st.global.b128 [%d0+112], %q5;";
    let data = random_bytes(5, 128);
    let got = Run { body, threads: 1, ..Run::default() }.go(&data).unwrap();
    let words: Vec<u64> = (0..4).map(|k| get(&data, 4 * k, 4)).collect();
    let of = |order: [usize; 4]| order.iter().rev().fold(0, |sum: u128, &k| sum << 32 | words[k] as u128);
    let at = |at: usize| get(&got, at, 8) as u128 | (get(&got, at + 8, 8) as u128) << 64;
    assert_eq!(at(16), of([2, 3, 0, 1]));
    assert_eq!(at(32), of([3, 2, 1, 0]));
    assert_eq!(at(48), of([1, 0, 3, 2]));
    assert_eq!(at(64), of([2, 3, 1, 0]));
    assert_eq!(at(80), 5);
    assert_eq!(at(96), 7 | of([0, 0, 0, 1]) >> 64 << 64);
    assert_eq!(at(112), of([2, 3, 0, 1]));
}

/// A guard keeps both halves of what it holds back.
#[test]
fn guarded_moves() {
    let body = "ld.global.b128 %q1, [%d0]; mov.b128 %q2, 9; and.b32 %r1, %r0, 1; setp.eq.u32 %p1, %r1, 0; @%p1 mov.b128 %q2, %q1;
        mul.wide.u32 %d2, %r0, 16; add.u64 %d2, %d2, %d0; st.global.b128 [%d2+16], %q2;";
    let data = random_bytes(6, 16 + 32 * 16);
    let got = Run { body, ..Run::default() }.go(&data).unwrap();
    for lane in 0..32 {
        let expected = if lane % 2 == 0 { [get(&data, 0, 8), get(&data, 8, 8)] } else { [9, 0] };
        assert_eq!([16, 24].map(|at| get(&got, at + 16 * lane, 8)), expected, "{lane}");
    }
}

/// Functions have their own: a recursive one gets its back.
#[test]
fn across_calls() {
    let before = ".func (.param .b32 r) f(.param .b32 n) { .reg .b128 %q; .reg .b32 %r<9>; .reg .b64 %d<3>; .reg .pred %p;
        ld.param.b32 %r1, [n]; mov.u32 %r2, 0; setp.eq.u32 %p, %r1, 0; @%p bra $E; cvt.u64.u32 %d1, %r1; mov.b128 %q, {0, %d1};
        sub.u32 %r3, %r1, 1; { .param .b32 a; .param .b32 b; st.param.b32 [a], %r3; call (b), f, (a); ld.param.b32 %r4, [b]; }
        mov.b128 {_, %d2}, %q; cvt.u32.u64 %r5, %d2; add.u32 %r2, %r4, %r5; $E: st.param.b32 [r], %r2; ret; }";
    let body = "add.u32 %r1, %r0, 1; { .param .b32 a; .param .b32 b; st.param.b32 [a], %r1; call (b), f, (a); ld.param.b32 %r2, [b]; }
        mul.wide.u32 %d2, %r0, 4; add.u64 %d2, %d2, %d0; st.global.u32 [%d2], %r2;";
    let got = Run { before, body, ..Run::default() }.go(&[0; 128]).unwrap();
    (0..32).for_each(|lane: u64| assert_eq!(get(&got, 4 * lane as usize, 4), (lane + 1) * (lane + 2) / 2));
}

/// One block writes equal halves, others read: no one sees half of a value.
#[test]
fn strong_accesses_are_not_torn() {
    let body = "mov.u32 %r1, %ctaid.x; mov.u32 %r2, 0; mov.u32 %r5, 0; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0;
        $L: @!%p1 bra $R; cvt.u64.u32 %d2, %r2; mov.b128 %q1, {%d2, %d2}; st.relaxed.gpu.global.b128 [%d0], %q1; bra $N;
        $R: ld.relaxed.gpu.global.b128 %q2, [%d0]; mov.b128 {%d3, %d4}, %q2; setp.ne.u64 %p2, %d3, %d4; @%p2 add.u32 %r5, %r5, 1;
        $N: add.u32 %r2, %r2, 1; setp.lt.u32 %p3, %r2, 20000; @%p3 bra $L;
        mul.wide.u32 %d5, %r1, 4; add.u64 %d5, %d5, %d0; st.global.u32 [%d5+16], %r5;";
    let got = Run { body, blocks: 8, threads: 1, host: 4, ..Run::default() }.go(&[0; 48]).unwrap();
    (0..8).for_each(|block| assert_eq!(get(&got, 16 + 4 * block, 4), 0, "block {block}"));
}

/// What the tools say of a kernel whose shared memory is `s`, with 512 bytes of data that nobody has written.
fn watched(body: &str) -> Report {
    let text = format!(
        ".version 8.3\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 data) {{
        .reg .b32 %r<9>; .reg .b64 %d<9>; .reg .b128 %q<3>; .reg .pred %p<3>; .shared .align 16 .b8 s[1024];
        ld.param.u64 %d0, [data]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 16; add.u64 %d1, %d1, %d0; mov.u32 %r1, s;
        shl.b32 %r2, %r0, 4; add.u32 %r2, %r2, %r1;\n{body}\nret; }}"
    );
    let module = Module::load(&text).and_then(Module::whole).unwrap();
    let memory = Memory::watched();
    let address = memory.alloc(2048).unwrap().to_le_bytes();
    let shape = Launch { grid: [1; 3], block: [64, 1, 1], shared_bytes: 0, args: &[&address], cooperative: false };
    launch_with(&module, "k", &memory, &shape, &Tools { counters: true, ..Tools::checks() }).unwrap()
}

fn findings(body: &str) -> Vec<String> {
    watched(body).findings.iter().map(|stop| stop.to_string()).collect()
}

#[test]
fn checkers_see_sixteen_bytes() {
    let written = "mov.b128 %q1, {%d1, %d1}; st.shared.b128 [%r2], %q1; bar.sync 0; ld.shared.b128 %q2, [%r2]; st.global.b128 [%d1], %q2;";
    assert_eq!(findings(written), [""; 0]);
    let unwritten = "st.shared.b64 [%r2], %d1; ld.shared.b128 %q1, [%r2]; st.global.b128 [%d1], %q1;";
    let all = findings(unwritten);
    assert!(all.len() == 1 && all[0].starts_with("initcheck: read of what nobody has written"), "{all:?}");
    assert!(all[0].contains("`ld.shared.b128`"), "{all:?}");
    let unwritten = "ld.relaxed.gpu.global.b128 %q1, [%d1]; st.global.b128 [%d1], %q1;";
    assert!(findings(unwritten)[0].starts_with("initcheck: read of what nobody has written: 16 bytes at +0"));
    // A warp reads what the other one writes: the upper half of a value is enough.
    let racing = "mov.b128 %q1, 0; st.shared.b128 [%r2], %q1; xor.b32 %r3, %r2, 512; ld.shared.b32 %r4, [%r3+12];
        st.global.b32 [%d1], %r4;";
    let all = findings(racing);
    assert!(all.iter().any(|one| one.starts_with("racecheck: race between two warps")), "{all:?}");
    // Strong ones do not race with one another.
    let strong = "mov.b128 %q1, 0; st.relaxed.gpu.global.b128 [%d0], %q1; ld.relaxed.gpu.global.b128 %q1, [%d0];";
    assert_eq!(findings(strong), [""; 0]);
}

/// 64 threads, 16 bytes each: two requests of 16 sectors, and 1,024 bytes.
#[test]
fn counters_see_one_access() {
    let counters = watched("mov.b128 %q1, 0; st.global.b128 [%d1], %q1; ld.global.b128 %q2, [%d1];").counters.unwrap();
    let json = counters.json(&[]);
    for what in ["global_stores", "global_loads"] {
        let c = &json["total"][what];
        assert_eq!((&c["requests"], &c["sectors"]), (&2.into(), &32.into()), "{what}: {json}");
        assert_eq!((&c["bytes_asked"], &c["bytes_distinct"]), (&1024.into(), &1024.into()), "{what}");
    }
}
