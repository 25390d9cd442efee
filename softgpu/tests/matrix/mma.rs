//! `mma` of every shape and type.

use softgpu::Level;

use crate::values::{HEAD, LEVELS, Matrix, Random, Values, bits, element, oracle, run};

type Shape = (usize, usize, usize);

/// Row and column of value `i` of a lane in A, B and C: PTX ISA 9.0, 9.7.14.5.1 to 14, each shape by its own formula.
fn of_a((m, _, k): Shape, ty: &str, lane: usize, i: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    match (bits(ty), m, k) {
        (16, 16, 8) => (if i < 2 { g } else { g + 8 }, t * 2 + (i & 1)),
        (16, 16, 16) => {
            let row = if i < 2 || (4..6).contains(&i) { g } else { g + 8 };
            (row, t * 2 + (i & 1) + if i >= 4 { 8 } else { 0 })
        }
        (32, 16, 4) => (if i == 0 { g } else { g + 8 }, t),
        (32, 16, 8) => (if i == 0 || i == 2 { g } else { g + 8 }, if i < 2 { t } else { t + 4 }),
        (64, 8, 4) => (g, t),
        (64, 16, 4) => (if i == 0 { g } else { g + 8 }, t),
        (64, 16, 8) => (if i == 0 || i == 2 { g } else { g + 8 }, if i < 2 { t } else { t + 4 }),
        (64, 16, 16) => {
            if i & 1 == 0 {
                (g, i * 2 + t)
            } else {
                (g + 8, i * 2 - 2 + t)
            }
        }
        (8, 8, 16) => (g, t * 4 + i),
        (8, 16, 16) => (if i < 4 { g } else { g + 8 }, t * 4 + (i & 3)),
        (8, 16, 32) => {
            let row = if i < 4 || (8..12).contains(&i) { g } else { g + 8 };
            (row, t * 4 + (i & 3) + if i < 8 { 0 } else { 16 })
        }
        (4, 8, 32) => (g, t * 8 + i),
        (4, 16, 32) => (if i < 8 { g } else { g + 8 }, t * 8 + (i & 7)),
        (4, 16, 64) => {
            let row = if i < 8 || (16..24).contains(&i) { g } else { g + 8 };
            (row, t * 8 + (i & 7) + if i < 16 { 0 } else { 32 })
        }
        (1, 8, 128) => (g, t * 32 + i),
        (1, 16, 128) => (if i < 32 { g } else { g + 8 }, t * 32 + (i & 31)),
        (1, 16, 256) => {
            let row = if i < 32 || (64..96).contains(&i) { g } else { g + 8 };
            (row, t * 32 + (i & 31) + if i < 64 { 0 } else { 128 })
        }
        other => panic!("A of {other:?}"),
    }
}

fn of_b((_, _, k): Shape, ty: &str, lane: usize, i: usize) -> (usize, usize) {
    let (g, t) = (lane / 4, lane % 4);
    let row = match (bits(ty), k) {
        (16, 8) => t * 2 + i,
        (16, 16) => t * 2 + (i & 1) + if i < 2 { 0 } else { 8 },
        (32, 4) => t,
        (32, 8) => {
            if i == 0 {
                t
            } else {
                t + 4
            }
        }
        (64, _) => t + i * 4,
        (8, 16) => t * 4 + i,
        (8, 32) => t * 4 + (i & 3) + if i < 4 { 0 } else { 16 },
        (4, 32) => t * 8 + i,
        (4, 64) => t * 8 + (i & 7) + if i < 8 { 0 } else { 32 },
        (1, 128) => t * 32 + i,
        (1, 256) => t * 32 + (i & 31) + if i < 32 { 0 } else { 128 },
        other => panic!("B of {other:?}"),
    };
    (row, g)
}

fn of_c(_: Shape, _: &str, lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane / 4 } else { lane / 4 + 8 }, lane % 4 * 2 + (i & 1))
}

/// Names of consecutive registers.
fn list(prefix: &str, from: usize, count: usize) -> String {
    format!("{{{}}}", (from..from + count).map(|r| format!("%{prefix}{r}")).collect::<Vec<_>>().join(", "))
}

/// A kernel that loads the fragments of A, B and C, runs `op`, and writes D behind them.
fn kernel(op: &str, fragments: [&Matrix; 3], d: &Matrix) -> String {
    let prefix = |m: &Matrix| if m.ty == "f64" { "d" } else { "r" };
    let ty = |m: &Matrix| if m.ty == "f64" { "b64" } else { "b32" };
    let mut text = format!(
        "{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<64>, %t; .reg .b64 %d<64>, %a, %x, %y;\n\
         ld.param.u64 %a, [p]; mov.u32 %t, %tid.x; mul.wide.u32 %x, %t, 4; add.s64 %x, %a, %x;\n\
         mul.wide.u32 %y, %t, 8; add.s64 %y, %a, %y;\n"
    );
    let (mut register, mut at, mut operands) = (0, 0, vec![]);
    for matrix in fragments {
        operands.push(list(prefix(matrix), register, matrix.registers()));
        for _ in 0..matrix.registers() {
            let base = if matrix.ty == "f64" { "%y" } else { "%x" };
            text += &format!("ld.global.{} %{}{register}, [{base}+{at}];\n", ty(matrix), prefix(matrix));
            register += 1;
            at += 32 * matrix.bytes();
        }
    }
    let results = list(prefix(d), register, d.registers());
    text += &format!("{op} {results}, {}, {}, {};\n", operands[0], operands[1], operands[2]);
    for _ in 0..d.registers() {
        let base = if d.ty == "f64" { "%y" } else { "%x" };
        text += &format!("st.global.{} [{base}+{at}], %{}{register};\n", ty(d), prefix(d));
        register += 1;
        at += 32 * d.bytes();
    }
    text + "ret;\n}\n"
}

/// Runs `op` on random matrices and compares every element of D with the oracle.
fn product(op: &str, shape: Shape, [d_ty, a_ty, b_ty, c_ty]: [&'static str; 4], values: Values, seed: u64) {
    let (m, n, k) = shape;
    let mut random = Random(seed);
    let a = Matrix::draw(a_ty, m, k, values, &mut random);
    let b = Matrix::draw(b_ty, k, n, values, &mut random);
    let c = Matrix::draw(c_ty, m, n, values, &mut random);
    let d = Matrix { ty: d_ty, ..Matrix::draw(c_ty, m, n, Values::Small, &mut random) };
    let a_place = move |lane: usize, i: usize| of_a(shape, a_ty, lane, i);
    let b_place = move |lane: usize, i: usize| of_b(shape, b_ty, lane, i);
    let c_place = move |lane: usize, i: usize| of_c(shape, c_ty, lane, i);
    let mut data = [a.fragment(&a_place), b.fragment(&b_place), c.fragment(&c_place)].concat();
    let inputs = data.len();
    data.resize(inputs + d.registers() * 32 * d.bytes(), 0);
    let expected = oracle(&a, &b, &c, d_ty, op);
    for level in LEVELS {
        let after = run(&kernel(op, [&a, &b, &c], &d), level, &data).unwrap_or_else(|e| panic!("{op}: {e}"));
        let got = d.of_fragment(&c_place, &after[inputs..]);
        for (at, (&got, &expected)) in got.raw.iter().zip(&expected).enumerate() {
            let (row, column) = (at / n, at % n);
            assert_eq!(got, expected, "{op} {level:?} {values:?} seed {seed}: D[{row}][{column}] is {got:#x}");
        }
        if values == Values::Plain && a_ty != "f64" && d_ty == "f32" {
            within(&a, &b, &c, &got, k);
        }
    }
}

/// The classic bound of a sum of k + 1 terms in f32, against the exact sum.
fn within(a: &Matrix, b: &Matrix, c: &Matrix, d: &Matrix, k: usize) {
    for at in 0..d.raw.len() {
        let (row, column) = (at / d.columns, at % d.columns);
        let terms = (0..k).map(|i| a.at(row, i) * b.at(i, column)).chain([c.at(row, column)]).collect::<Vec<_>>();
        let (sum, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
        let error = (d.at(row, column) - sum).abs();
        assert!(error <= k as f64 * size / (1 << 24) as f64, "D[{row}][{column}]: error {error:e} of {size:e}");
    }
}

fn shape(op: &str) -> Shape {
    let part = op.split('.').find(|part| part.starts_with('m') && part.contains('n') && part.contains('k')).unwrap();
    let numbers: Vec<usize> =
        part.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).map(|s| s.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2])
}

fn everything(op: &str, types: [&'static str; 4]) {
    for values in [Values::Small, Values::Plain, Values::Bits, Values::Special] {
        for seed in 1..=6 {
            product(op, shape(op), types, values, seed * 7919);
        }
    }
}

#[test]
fn halves() {
    for shape in ["m16n8k8", "m16n8k16"] {
        everything(&format!("mma.sync.aligned.{shape}.row.col.f32.f16.f16.f32"), ["f32", "f16", "f16", "f32"]);
        everything(&format!("mma.sync.aligned.{shape}.row.col.f16.f16.f16.f16"), ["f16"; 4]);
        everything(&format!("mma.sync.aligned.{shape}.row.col.f32.bf16.bf16.f32"), ["f32", "bf16", "bf16", "f32"]);
    }
}

#[test]
fn tf32() {
    for shape in ["m16n8k4", "m16n8k8"] {
        everything(&format!("mma.sync.aligned.{shape}.row.col.f32.tf32.tf32.f32"), ["f32", "tf32", "tf32", "f32"]);
    }
}

#[test]
fn eights() {
    for shape in ["m16n8k16", "m16n8k32"] {
        for [a, b] in [["e4m3", "e4m3"], ["e4m3", "e5m2"], ["e5m2", "e4m3"], ["e5m2", "e5m2"]] {
            everything(&format!("mma.sync.aligned.{shape}.row.col.f32.{a}.{b}.f32"), ["f32", a, b, "f32"]);
            everything(&format!("mma.sync.aligned.{shape}.row.col.f16.{a}.{b}.f16"), ["f16", a, b, "f16"]);
        }
    }
}

#[test]
fn doubles() {
    for shape in ["m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"] {
        everything(&format!("mma.sync.aligned.{shape}.row.col.f64.f64.f64.f64"), ["f64"; 4]);
    }
}

#[test]
fn integers() {
    for (shape, [s, u]) in [
        ("m8n8k16", ["s8", "u8"]),
        ("m16n8k16", ["s8", "u8"]),
        ("m16n8k32", ["s8", "u8"]),
        ("m8n8k32", ["s4", "u4"]),
        ("m16n8k32", ["s4", "u4"]),
        ("m16n8k64", ["s4", "u4"]),
    ] {
        for [a, b] in [[s, s], [s, u], [u, s], [u, u]] {
            for satfinite in ["", ".satfinite"] {
                everything(
                    &format!("mma.sync.aligned.{shape}.row.col{satfinite}.s32.{a}.{b}.s32"),
                    ["s32", a, b, "s32"],
                );
            }
        }
    }
}

#[test]
fn bit_matrices() {
    for shape in ["m8n8k128", "m16n8k128", "m16n8k256"] {
        for op in ["xor", "and"] {
            everything(
                &format!("mma.sync.aligned.{shape}.row.col.s32.b1.b1.s32.{op}.popc"),
                ["s32", "b1", "b1", "s32"],
            );
        }
    }
}

/// Extreme sums: they wrap, or stay at the limit.
#[test]
fn integer_sums_wrap_or_saturate() {
    for (satfinite, expected) in [("", (i32::MAX as u32).wrapping_add(32 * 127 * 127)), (".satfinite", i32::MAX as u32)]
    {
        let op = format!("mma.sync.aligned.m16n8k32.row.col{satfinite}.s32.s8.s8.s32");
        let full = |ty, rows, columns, raw| Matrix { ty, columns, raw: vec![raw; rows * columns] };
        let (a, b) = (full("s8", 16, 32, 127), full("s8", 32, 8, 127));
        let c = full("s32", 16, 8, i32::MAX as u64);
        let place = |lane: usize, i: usize| of_c((16, 8, 32), "s32", lane, i);
        let mut data = [
            a.fragment(&|lane, i| of_a((16, 8, 32), "s8", lane, i)),
            b.fragment(&|lane, i| of_b((16, 8, 32), "s8", lane, i)),
            c.fragment(&place),
        ]
        .concat();
        let inputs = data.len();
        data.resize(inputs + 512, 0);
        let after = run(&kernel(&op, [&a, &b, &c], &c), Level::Avx2, &data).unwrap();
        assert!(c.of_fragment(&place, &after[inputs..]).raw.iter().all(|&raw| raw == expected as u64));
    }
}

/// `mma.m8n8k4` of f16: 9.7.14.5.1, four products of eight lanes each.
#[test]
fn quad_pairs() {
    let mut random = Random(99);
    for (a_layout, b_layout) in [("row", "row"), ("row", "col"), ("col", "row"), ("col", "col")] {
        for [d_ty, c_ty] in [["f16", "f16"], ["f32", "f16"], ["f32", "f32"]] {
            for values in [Values::Small, Values::Plain, Values::Special] {
                let high = |lane: usize| if lane < 16 { 0 } else { 4 };
                let a_place = |lane: usize, i: usize| {
                    if a_layout == "row" { (lane % 4 + high(lane), i) } else { (i % 4 + high(lane), lane % 4) }
                };
                let b_place = |lane: usize, i: usize| {
                    if b_layout == "row" { (lane % 4, i + high(lane)) } else { (i, lane % 4 + high(lane)) }
                };
                let c_place = |ty: &str, lane: usize, i: usize| match ty {
                    "f16" => (lane % 4 + high(lane), i),
                    _ => ((lane & 1) + (i & 2) + high(lane), (i & 4) + (lane & 2) + (i & 1)),
                };
                // The four matrices below each other.
                let quad = |lane: usize| lane % 16 / 4;
                let a = Matrix::draw("f16", 32, 4, values, &mut random);
                let b = Matrix::draw("f16", 16, 8, values, &mut random);
                let c = Matrix::draw(c_ty, 32, 8, values, &mut random);
                let d = Matrix { ty: d_ty, ..c.clone() };
                let below =
                    |height: usize, lane: usize, (row, column): (usize, usize)| (height * quad(lane) + row, column);
                let d_place = |lane: usize, i: usize| below(8, lane, c_place(d_ty, lane, i));
                let mut data = [
                    a.fragment(&|lane, i| below(8, lane, a_place(lane, i))),
                    b.fragment(&|lane, i| below(4, lane, b_place(lane, i))),
                    c.fragment(&|lane, i| below(8, lane, c_place(c_ty, lane, i))),
                ]
                .concat();
                let inputs = data.len();
                data.resize(inputs + d.registers() * 128, 0);
                let op = format!("mma.sync.aligned.m8n8k4.{a_layout}.{b_layout}.{d_ty}.f16.f16.{c_ty}");
                let after = run(&kernel(&op, [&a, &b, &c], &d), Level::Avx2, &data).unwrap();
                let got = d.of_fragment(&d_place, &after[inputs..]);
                for q in 0..4 {
                    let part =
                        |m: &Matrix, size: usize| Matrix { raw: m.raw[q * size..(q + 1) * size].to_vec(), ..m.clone() };
                    let expected = oracle(&part(&a, 32), &part(&b, 32), &part(&c, 64), d_ty, &op);
                    assert_eq!(got.raw[64 * q..64 * (q + 1)], expected, "{op} {values:?}, product {q}");
                }
            }
        }
    }
}

/// Destinations may be sources, in any order.
#[test]
fn results_may_lie_where_operands_did() {
    let text = |operands: &str| {
        let loads: String = (0..10).map(|r| format!("ld.global.b32 %r{r}, [%x+{}];\n", 128 * r)).collect();
        format!(
            "{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<16>, %t; .reg .b64 %a, %x;\n\
             ld.param.u64 %a, [p]; mov.u32 %t, %tid.x; mul.wide.u32 %x, %t, 4; add.s64 %x, %a, %x;\n{loads}\
             mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {operands}, {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%r6, %r7, %r8, %r9}};\n\
             st.global.b32 [%x], {d0}; st.global.b32 [%x+128], {d1}; st.global.b32 [%x+256], {d2}; st.global.b32 [%x+384], {d3};\nret; }}",
            d0 = &operands[1..].split([',', '}']).next().unwrap(),
            d1 = operands.split([',', '}']).nth(1).unwrap(),
            d2 = operands.split([',', '}']).nth(2).unwrap(),
            d3 = operands.split([',', '}']).nth(3).unwrap(),
        )
    };
    let mut random = Random(5);
    let data: Vec<u8> = (0..10 * 32)
        .flat_map(|at| {
            let word = if at < 6 * 32 {
                (element("f16", Values::Plain, &mut random) | element("f16", Values::Plain, &mut random) << 16) as u32
            } else {
                element("f32", Values::Plain, &mut random) as u32
            };
            word.to_le_bytes()
        })
        .collect();
    for level in LEVELS {
        let apart = run(&text("{%r10,%r11,%r12,%r13}"), level, &data).unwrap();
        for operands in ["{%r6,%r7,%r8,%r9}", "{%r9,%r8,%r7,%r6}", "{%r4,%r0,%r9,%r3}"] {
            assert_eq!(run(&text(operands), level, &data).unwrap()[..512], apart[..512], "{operands}");
        }
    }
}

#[test]
fn a_part_of_a_warp_cannot_multiply() {
    let text = |guard: &str| {
        format!(
            "{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<16>, %t; .reg .pred %p;\n mov.u32 %t, %tid.x; setp.lt.u32 %p, %t, 9;\n\
             {guard} mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {{%r0, %r1, %r2, %r3}}, {{%r4, %r5}}, {{%r6}}, {{%r7, %r8, %r9, %r10}};\nret; }}"
        )
    };
    let message = run(&text("@%p"), Level::Avx2, &[0; 16]).unwrap_err();
    assert!(message.starts_with("mma: only lanes 0x1ff execute it"), "{message}");
    let message = run(&text("@%p exit;"), Level::Avx2, &[0; 16]).unwrap_err();
    assert!(message.contains("only lanes 0xfffffe00") && message.contains("have exited"), "{message}");
    assert!(run(&text(""), Level::Avx2, &[0; 16]).is_ok());
}

#[test]
fn what_the_isa_lacks_is_refused_at_load() {
    for (op, why) in [
        (
            "mma.sync.aligned.m16n8k8.row.row.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, {%r4,%r5}, {%r6}, {%r0,%r1,%r2,%r3};",
            "the instruction",
        ),
        (
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%r0,%r1,%r2,%r3}, {%r4,%r5,%r6}, {%r6}, {%r0,%r1,%r2,%r3};",
            "operand 2 of 3 registers (it takes 2)",
        ),
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r0,%r1}, [%r2];", "2 registers (it takes 4)"),
        ("ldmatrix.sync.aligned.m8n8.x1.b16 {%r0}, [%r2];", "a 32-bit address outside shared memory"),
        ("mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0}, {%r0}, {%r0}, {%r0}, %r1, 0;", "the instruction"),
    ] {
        let text = format!("{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<16>;\n{op}\nret; }}");
        let message = run(&text, Level::Avx2, &[0; 16]).unwrap_err();
        assert!(message.contains(why), "{message}");
    }
}
