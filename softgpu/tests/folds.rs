//! Address arithmetic that loads and stores do along with their own work, and comparisons that branches do: nothing but
//! what can be done later, and by one instruction alone.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

use softgpu::{Launch, Memory, Module, launch};

const LANES: usize = 32;

/// Runs `body` on one warp; what it has stored to `%o`, one value per lane. `%p` points to words that hold 1000, 1001 …;
/// `%a` and `%b` are parameters.
fn run(body: &str, [a, b]: [u32; 2]) -> [u64; LANES] {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64\n\
         .visible .entry k(.param .u64 p, .param .u32 a, .param .u32 b) {{\n\
         .reg .b32 %r<16>, %t, %a, %b; .reg .b64 %d<16>, %p, %o; .reg .pred %q<4>;\n\
         ld.param.u64 %p, [p]; ld.param.u32 %a, [a]; ld.param.u32 %b, [b];\n\
         mov.u32 %t, %tid.x; shl.b32 %r15, %t, 3; cvt.u64.u32 %o, %r15; add.u64 %o, %o, %p; add.u64 %o, %o, 1024;\n\
         {body}\n$END: ret; }}"
    );
    let module = Module::load(&text).and_then(Module::whole).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let memory = Memory::new();
    let address = memory.alloc(1024 + 8 * LANES).unwrap();
    let words: Vec<u8> = (1000..1256u32).flat_map(u32::to_le_bytes).collect();
    memory.write(address, &words).unwrap();
    memory.write(address + 1024, &[0; 8 * LANES]).unwrap();
    let (pointer, params) = (address.to_le_bytes(), [a, b].map(u32::to_le_bytes));
    let shape = Launch {
        grid: [1; 3],
        block: [32, 1, 1],
        shared_bytes: 0,
        args: &[&pointer, &params[0], &params[1]],
        cooperative: false,
    };
    launch(&module, "k", &memory, &shape).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut out = [0; 8 * LANES];
    memory.read(address + 1024, &mut out).unwrap();
    std::array::from_fn(|i| u64::from_le_bytes(out[8 * i..8 * i + 8].try_into().unwrap()))
}

/// What every lane must have stored.
fn expect(body: &str, params: [u32; 2], expected: impl Fn(usize) -> u64) {
    assert_eq!(run(body, params), std::array::from_fn(expected), "{body}");
}

/// An element of the words, and an index, both stored.
const STORE: &str = "cvt.u64.u32 %d8, %r8; cvt.u64.u32 %d9, %r9; shl.b64 %d9, %d9, 32; or.b64 %d8, %d8, %d9;
    st.global.u64 [%o], %d8;";

#[test]
fn an_element_is_the_one_of_the_index_and_the_base_when_they_were_combined() {
    let with = |body: &str| format!("add.u32 %r9, %t, 1; {body} {STORE}");
    let both = |word: u64, index: u64| word | index << 32;
    // Nothing between.
    let body = with("mul.wide.s32 %d0, %r9, 4; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1];");
    expect(&body, [0; 2], |lane| both(1001 + lane as u64, 1 + lane as u64));
    let body = with("mul.wide.s32 %d0, 4, %r9; add.u64 %d1, %d0, %p; ld.global.u32 %r8, [%d1];");
    expect(&body, [0; 2], |lane| both(1001 + lane as u64, 1 + lane as u64));
    // The index changes after the product; after the sum.
    let body = with("mul.wide.s32 %d0, %r9, 4; add.u32 %r9, %r9, 7; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1];");
    expect(&body, [0; 2], |lane| both(1001 + lane as u64, 8 + lane as u64));
    let body = with("mul.wide.s32 %d0, %r9, 4; add.u64 %d1, %p, %d0; add.u32 %r9, %r9, 7; ld.global.u32 %r8, [%d1];");
    expect(&body, [0; 2], |lane| both(1001 + lane as u64, 8 + lane as u64));
    // The base changes after the sum.
    let body = with(
        "add.u64 %d2, %p, 16; mul.wide.s32 %d0, %r9, 4; add.u64 %d1, %d2, %d0; add.u64 %d2, %d2, 64;
         ld.global.u32 %r8, [%d1]; ld.global.u32 %r7, [%d2]; add.u32 %r8, %r8, %r7;",
    );
    expect(&body, [0; 2], |lane| both(1005 + lane as u64 + 1020, 1 + lane as u64));
    // Another block, which lanes come to from two sides.
    let body = with(
        "mul.wide.s32 %d0, %r9, 4; add.u64 %d1, %p, %d0; setp.eq.u32 %q0, %a, 0; @%q0 bra $L;
         add.u32 %r9, %r9, 7; $L: ld.global.u32 %r8, [%d1];",
    );
    for a in [0, 1] {
        expect(&body, [a, 0], |lane| both(1001 + lane as u64, 1 + 7 * a as u64 + lane as u64));
    }
    // The same, where what changes the index stands behind the load.
    let body = with(
        "mul.wide.s32 %d0, %r9, 4; add.u64 %d1, %p, %d0; setp.eq.u32 %q0, %a, 0; @!%q0 bra $M;
         $L: ld.global.u32 %r8, [%d1]; bra $N; $M: add.u32 %r9, %r9, 7; bra $L; $N:",
    );
    for a in [0, 1] {
        expect(&body, [a, 0], |lane| both(1001 + lane as u64, 1 + 7 * a as u64 + lane as u64));
    }
}

#[test]
fn an_address_or_product_that_something_else_reads_is_there_for_it() {
    let with = |body: &str| format!("mov.u32 %r9, 0; {body} {STORE}");
    let body = with(
        "mul.wide.s32 %d0, %t, 4; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1];
         sub.u64 %d2, %d1, %p; cvt.u32.u64 %r9, %d2;",
    );
    expect(&body, [0; 2], |lane| (1000 + lane as u64) + ((4 * lane as u64) << 32));
    let body = with("mul.wide.s32 %d0, %t, 4; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1]; cvt.u32.u64 %r9, %d0;");
    expect(&body, [0; 2], |lane| (1000 + lane as u64) + ((4 * lane as u64) << 32));
    // With an offset, and without.
    let body =
        with("mul.wide.s32 %d0, %t, 4; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1+8]; ld.global.u32 %r9, [%d1];");
    expect(&body, [0; 2], |lane| (1002 + lane as u64) + ((1000 + lane as u64) << 32));
    // Three arrays by one index, one of them written.
    let body = with(
        "mul.wide.s32 %d0, %t, 4; add.u64 %d4, %p, 64; add.u64 %d1, %p, %d0; add.u64 %d2, %d4, %d0;
         ld.global.u32 %r1, [%d1]; ld.global.u32 %r2, [%d2]; add.u32 %r3, %r1, %r2; add.u64 %d5, %p, 256;
         add.u64 %d3, %d5, %d0; st.global.u32 [%d3], %r3; ld.global.u32 %r8, [%d3];",
    );
    expect(&body, [0; 2], |lane| 2016 + 2 * lane as u64);
    // The product twice in one sum.
    let body = with("mul.wide.s32 %d0, %a, 4; add.u64 %d1, %d0, %d0; add.u64 %d2, %d1, %p; ld.global.u32 %r8, [%d2];");
    expect(&body, [3, 0], |_| 1006);
}

#[test]
fn a_factor_that_is_not_the_size_and_an_index_below_zero_count_as_they_are() {
    let with = |body: &str| format!("mov.u32 %r9, 0; {body} {STORE}");
    let body = with("mul.wide.s32 %d0, %a, 8; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1];");
    expect(&body, [5, 0], |_| 1010);
    let body = with("add.u64 %d2, %p, 256; mul.wide.s32 %d0, %a, 4; add.u64 %d1, %d2, %d0; ld.global.u32 %r8, [%d1];");
    expect(&body, [-5i32 as u32, 0], |_| 1059);
    let body = with(
        "add.u64 %d2, %p, 256; add.s32 %r1, %t, %a; mul.wide.s32 %d0, %r1, 4; add.u64 %d1, %d2, %d0;
         ld.global.u32 %r8, [%d1];",
    );
    expect(&body, [-40i32 as u32, 0], |lane| 1024 + lane as u64);
    let body = with("mul.wide.s32 %d0, %t, 8; add.u64 %d1, %p, %d0; ld.global.u32 %r8, [%d1];");
    expect(&body, [0; 2], |lane| 1000 + 2 * lane as u64);
    // Unsigned, 2³¹ + 5 is above zero.
    let body = with(
        "sub.u64 %d2, %p, 8589934592; mul.wide.u32 %d0, %a, 4; add.u64 %d1, %d2, %d0;
         ld.global.u32 %r8, [%d1];",
    );
    expect(&body, [(1 << 31) + 5, 0], |_| 1005);
}

fn holds(cmp: &str, signed: bool, x: u32, y: u32) -> bool {
    let order = if signed { (x as i32).cmp(&(y as i32)) } else { x.cmp(&y) };
    match cmp {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        "ge" => order.is_ge(),
        "eq" => order.is_eq(),
        _ => order.is_ne(),
    }
}

/// (stride, `%a`, `%b`): all lanes, none, some, the first or the last alone, and such as wrap on the way.
const COMPARED: [(u32, u32, u32); 13] = [
    (0, 3, 3),
    (0, 3, 4),
    (1, 0, 0),
    (1, 0, 31),
    (1, 0, 32),
    (1, 1, 17),
    (u32::MAX, 20, 0),
    (1, i32::MAX as u32 - 9, 5),
    (1, i32::MAX as u32 - 9, (1 << 31) + 15),
    (1, u32::MAX - 9, 5),
    (1 << 28, 0, 1 << 30),
    (1 << 31, 1, 0),
    (0xfc00_0000, 0x7fff_ffff, 0),
];

#[test]
fn a_branch_or_exit_is_taken_by_the_lanes_whose_comparison_holds() {
    for cmp in ["lt", "le", "gt", "ge", "eq", "ne"] {
        for (signed, negated) in [(true, false), (true, true), (false, false), (false, true)] {
            for (stride, a, b) in COMPARED {
                let (ty, not) = (if signed { "s32" } else { "u32" }, if negated { "!" } else { "" });
                let start = format!("mad.lo.u32 %r0, %t, {}, %a; mov.u64 %d0, 1;", stride as i32);
                let compare = format!("setp.{cmp}.{ty} %q0, %r0, %b; @{not}%q0 bra");
                let taken = |lane: usize| {
                    let x = a.wrapping_add(stride.wrapping_mul(lane as u32));
                    holds(cmp, signed, x, b) != negated
                };
                let body = format!("{start} {compare} $L; mov.u64 %d0, 2; $L: st.global.u64 [%o], %d0;");
                expect(&body, [a, b], |lane| 2 - taken(lane) as u64);
                let body = format!("{start} {compare} $END; st.global.u64 [%o], %d0;");
                expect(&body, [a, b], |lane| !taken(lane) as u64);
            }
        }
    }
}

#[test]
fn lanes_that_are_elsewhere_neither_branch_nor_leave() {
    let start = "mov.u64 %d0, 1; setp.lt.s32 %q0, %t, 16; @!%q0 bra $M; setp.ge.s32 %q1, %t, %a;";
    let body = format!("{start} @%q1 bra $END; mov.u64 %d0, 2; $M: st.global.u64 [%o], %d0;");
    expect(&body, [8, 0], |lane| if lane < 8 { 2 } else { (lane >= 16) as u64 });
    let body = format!("{start} @%q1 bra $L; mov.u64 %d0, 2; bra $M; $L: mov.u64 %d0, 3; $M: st.global.u64 [%o], %d0;");
    expect(&body, [8, 0], |lane| [2, 3, 1, 1][lane / 8]);
}

#[test]
fn a_predicate_that_something_else_reads_is_there_for_it() {
    let body = "setp.lt.s32 %q0, %t, %a; @%q0 bra $L; mov.u32 %r1, 5; bra $M; $L: mov.u32 %r1, 6; $M:
        selp.u32 %r2, 10, 20, %q0; add.u32 %r2, %r2, %r1; cvt.u64.u32 %d0, %r2; st.global.u64 [%o], %d0;";
    expect(body, [9, 0], |lane| if lane < 9 { 16 } else { 25 });
    // A loop whose condition is at its end.
    let body = "mov.u32 %r1, 0; mov.u32 %r2, 0; $L: add.u32 %r2, %r2, %r1; add.u32 %r1, %r1, 1;
        setp.le.u32 %q0, %r1, %t; @%q0 bra $L; cvt.u64.u32 %d0, %r2; st.global.u64 [%o], %d0;";
    expect(body, [0; 2], |lane| (lane * (lane + 1) / 2) as u64);
}
