//! Moves of parts, literals as operands, registers wider than their instruction's type, special registers, and guards.

use crate::case::{Case, Ty, Want};
use crate::exact::{F16, F32, F64};

fn case(text: &str, inputs: &[Ty], outputs: &[Ty], f: impl Fn(&[u64]) -> Vec<u64> + Send + Sync + 'static) -> Case {
    let expect = Box::new(move |x: &[u64]| f(x).into_iter().map(Want::Bits).collect());
    Case { text: text.to_string(), inputs: inputs.to_vec(), outputs: outputs.to_vec(), expect }
}

pub fn cases() -> Vec<Case> {
    let (p, h, w, d) = (Ty::P, Ty::I(16), Ty::I(32), Ty::I(64));
    let part = |x: u64, at: u32, bits: u32| x >> at & ((1 << bits) - 1);
    let mut all = vec![
        case("mov.b64 d0, {a0, a1};", &[w, w], &[d], |x| vec![x[0] | x[1] << 32]),
        case("mov.b64 d0, {a0, a1, a2, a3};", &[h; 4], &[d], |x| vec![x[0] | x[1] << 16 | x[2] << 32 | x[3] << 48]),
        case("mov.b32 d0, {a0, a1};", &[h; 2], &[w], |x| vec![x[0] | x[1] << 16]),
        case("mov.b64 {d0, d1}, a0;", &[d], &[w, w], move |x| vec![part(x[0], 0, 32), part(x[0], 32, 32)]),
        case("mov.b64 {d0, d1, d2, d3}, a0;", &[d], &[h; 4], move |x| (0..4).map(|i| part(x[0], 16 * i, 16)).collect()),
        case("mov.b32 {d0, d1}, a0;", &[w], &[h, h], move |x| vec![part(x[0], 0, 16), part(x[0], 16, 16)]),
        case("mov.b32 {_, d0}, a0;", &[w], &[h], move |x| vec![part(x[0], 16, 16)]),
        // The parts change places.
        case("mov.b16 d0, a0; mov.b16 d1, a1; mov.b32 w2, {d0, d1}; mov.b32 {d1, d0}, w2;", &[h, h, w], &[h, h], |x| {
            vec![x[1], x[0]]
        }),
        case(".reg .b8 b<4>; mov.b32 {b0, b1, b2, b3}, a0; mov.b32 d0, {b3, b2, b1, b0};", &[w], &[w], |x| {
            vec![(x[0] as u32).swap_bytes() as u64]
        }),
        // Literals.
        case("add.s32 d0, a0, -5; xor.b32 d0, d0, 0xdeadbeef;", &[w], &[w], |x| {
            vec![((x[0] as u32).wrapping_sub(5) ^ 0xdead_beef) as u64]
        }),
        case("add.s16 d0, a0, -5; and.b16 d0, d0, 0x7ffeU;", &[h], &[h], |x| {
            vec![((x[0] as u16).wrapping_sub(5) & 0x7ffe) as u64]
        }),
        case("add.s64 d0, a0, -5; or.b64 d0, d0, 0x8000000000000000;", &[d], &[d], |x| {
            vec![x[0].wrapping_sub(5) | 1 << 63]
        }),
        case("add.f32 d0, 0f3F800000, 0fBF000000;", &[w], &[Ty::F(F32)], |_| vec![0x3f00_0000]),
        case("add.f64 d0, 0d3FF0000000000000, 0dBFE0000000000000;", &[w], &[Ty::F(F64)], |_| vec![0.5f64.to_bits()]),
        case("mov.f32 d0, 0f7F800000; mov.b32 d1, 0fFF800000;", &[w], &[Ty::F(F32), w], |_| {
            vec![0x7f80_0000, 0xff80_0000]
        }),
        case("mov.b16 d0, 0x3C00; add.f16 d0, d0, d0;", &[w], &[Ty::F(F16)], |_| vec![0x4000]),
        // Float literals of the other width are converted; predicates may be negated, or literals.
        case(
            "add.f64 d0, 0f3F800000, 0d3FF0000000000000; mul.f32 d1, 0d4000000000000000, 0f3F800000;",
            &[w],
            &[Ty::F(F64), Ty::F(F32)],
            |_| vec![2f64.to_bits(), 2f32.to_bits() as u64],
        ),
        case("mov.f64 d0, 0f3F800000; mov.f32 d1, 0d3FF0000000000000;", &[w], &[Ty::F(F64), Ty::F(F32)], |_| {
            vec![1f64.to_bits(), 1f32.to_bits() as u64]
        }),
        case(
            "selp.u32 d0, a0, a1, !a2; mov.pred d1, !a2; mov.pred d2, 1; and.pred d2, d2, !d1; selp.u32 d3, 1, 2, 1;",
            &[w, w, p],
            &[w, p, p, w],
            |x| vec![if x[2] == 0 { x[0] } else { x[1] }, 1 - x[2], x[2], 1],
        ),
        case("mov.v4.u32 {_, d0, d1, d2}, %ntid;", &[w], &[w; 3], |_| vec![1, 1, 0]),
        // Registers wider than the type: PTX ISA 9.0, 9.4.1.
        case("cvt.u16.u32 d0, a0; cvt.s8.s32 d1, a0;", &[w], &[w, w], move |x| {
            vec![part(x[0], 0, 16), x[0] as i8 as u32 as u64]
        }),
        case("cvt.s16.s32 d0, a0; cvt.u8.u32 d1, a0;", &[w], &[d, d], move |x| {
            vec![x[0] as i16 as u64, part(x[0], 0, 8)]
        }),
        case("cvt.u32.u16 d0, a0; cvt.s32.s8 d1, a0;", &[d], &[w, w], move |x| {
            vec![part(x[0], 0, 16), x[0] as i8 as u32 as u64]
        }),
        case("cvt.rn.f32.s16 d0, a0;", &[d], &[Ty::F(F32)], |x| vec![(x[0] as i16 as f32).to_bits() as u64]),
        case(
            "cvt.rzi.s16.f32 d0, a0;",
            &[Ty::F(F32)],
            &[w],
            |x| vec![f32::from_bits(x[0] as u32) as i16 as u32 as u64],
        ),
        // A guard, of results in one and in several steps; the guard is among the results.
        case("mov.b32 d0, 7; @a2 add.s32 d0, a0, a1; @!a2 sub.s32 d0, a0, a1;", &[w, w, p], &[w], |x| {
            vec![if x[2] != 0 { (x[0] + x[1]) & 0xffff_ffff } else { x[0].wrapping_sub(x[1]) & 0xffff_ffff }]
        }),
        case("mov.pred d0, a2; mov.pred d1, a2; @d0 setp.lt.u32 d0|d1, a0, a1;", &[w, w, p], &[p, p], |x| {
            let lower = (x[0] < x[1]) as u64;
            if x[2] != 0 { vec![lower, 1 - lower] } else { vec![0, 0] }
        }),
        case("mov.pred d0, a2; mov.pred d1, a2; @d1 setp.lt.and.u32 d0|d1, a0, a1, a3;", &[w, w, p, p], &[p, p], |x| {
            let lower = (x[0] < x[1]) as u64;
            if x[2] != 0 { vec![lower & x[3], (1 - lower) & x[3]] } else { vec![0, 0] }
        }),
        case("mov.b64 d0, 0; @a1 mov.b64 {d1, d2}, a0; @!a1 mov.b64 {d2, d1}, a0;", &[d, p], &[d, w, w], move |x| {
            let (low, high) = (part(x[0], 0, 32), part(x[0], 32, 32));
            if x[1] != 0 { vec![0, low, high] } else { vec![0, high, low] }
        }),
        // 128 bits: a sum, a difference and a product.
        case("add.cc.u64 d0, a0, a2; addc.u64 d1, a1, a3;", &[d; 4], &[d, d], |x| {
            let sum = (x[0] as u128 | (x[1] as u128) << 64).wrapping_add(x[2] as u128 | (x[3] as u128) << 64);
            vec![sum as u64, (sum >> 64) as u64]
        }),
        case("sub.cc.u32 d0, a0, a2; subc.cc.u32 d1, a1, a3; subc.u32 d2, 0, 0;", &[w; 4], &[w, w, w], |x| {
            let (a, b) = (x[0] | x[1] << 32, x[2] | x[3] << 32);
            let borrow = if a < b { 0xffff_ffff } else { 0 };
            vec![a.wrapping_sub(b) & 0xffff_ffff, a.wrapping_sub(b) >> 32, borrow]
        }),
        case(
            "mul.lo.u32 d0, a0, a1; mul.hi.u32 d1, a0, a1; mad.lo.cc.u32 d1, a0, a2, d1; madc.hi.u32 d2, a0, a2, 0;",
            &[w; 3],
            &[w, w, w],
            |x| {
                let product = x[0] as u128 * (x[1] | x[2] << 32) as u128;
                (0..3).map(|i| (product >> (32 * i)) as u32 as u64).collect()
            },
        ),
        // Time goes on.
        case(
            ".reg .u32 c0, c1; .reg .u64 t0, t1; mov.u32 c0, %clock; mov.u32 c1, %clock; setp.lt.u32 d0, c0, c1; \
             mov.u64 t0, %clock64; mov.u64 t1, %globaltimer; setp.gt.u64 d1, t1, t0; mov.u64 t1, %clock64; \
             setp.lt.u64 d2, t0, t1;",
            &[w],
            &[p, p, p],
            |_| vec![1, 1, 1],
        ),
        case(
            ".reg .u32 m0, m1; mov.u32 m0, %lanemask_lt; mov.u32 m1, %lanemask_ge; xor.b32 d0, m0, m1; \
             mov.u32 m0, %lanemask_le; mov.u32 m1, %lanemask_gt; xor.b32 d1, m0, m1; mov.u32 m0, %lanemask_eq; \
             mov.u32 m1, %laneid; shr.u32 d2, m0, m1; mov.u32 m1, %lanemask_lt; popc.b32 m1, m1; mov.u32 m0, %laneid; \
             sub.u32 d3, m0, m1;",
            &[w],
            &[w; 4],
            |_| vec![0xffff_ffff, 0xffff_ffff, 1, 0],
        ),
        case(
            "mov.u32 d0, WARP_SZ; mov.u32 d1, %nsmid; mov.u32 d2, %envreg3; mov.u32 d3, %total_smem_size; \
             mov.u32 d4, %dynamic_smem_size; mov.u64 d5, %gridid; mov.u32 d6, %pm0; mov.u32 d7, %nwarpid;",
            &[w],
            &[w, w, w, w, w, d, w, w],
            |_| vec![32, 108, 0, 0, 0, 1, 0, 64],
        ),
    ];
    // No reserved shared memory, and no graph.
    all.push(case(
        "mov.u32 d0, %reserved_smem_offset_begin; mov.u32 d1, %reserved_smem_offset_end; \
         mov.b32 d2, %reserved_smem_offset_cap; mov.u32 d3, %reserved_smem_offset_1; mov.u64 d4, %current_graph_exec;",
        &[w],
        &[w, w, w, w, d],
        |_| vec![0; 5],
    ));
    // Legacy: the coordinates in 16 bits.
    all.push(case("mov.u16 d0, %nctaid.y; cvt.u32.u16 d1, %ntid.y;", &[w], &[h, w], |_| vec![1, 1]));
    all
}
