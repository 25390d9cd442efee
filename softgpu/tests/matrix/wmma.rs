//! `wmma`: whole matrices in memory, through fragments, to memory. The fragments are open; what comes out is not.

use softgpu::Level;

use crate::values::{HEAD, LEVELS, Matrix, Random, Values, bits, oracle, run};

/// A matrix in memory: by rows or columns, with lines further apart than they are long.
struct Placed {
    row: bool,
    at: usize,
    /// In elements.
    stride: usize,
    bytes: usize,
}

impl Placed {
    fn new(ty: &str, rows: usize, columns: usize, row: bool, pad: usize, at: usize) -> Placed {
        let (lines, length) = if row { (rows, columns) } else { (columns, rows) };
        let stride = length + pad * 128 / bits(ty); // lines start at multiples of 16 bytes
        Placed { row, at, stride, bytes: lines * stride * bits(ty) / 8 }
    }
    fn layout(&self) -> &'static str {
        if self.row { "row" } else { "col" }
    }
    /// Bit offset of an element.
    fn bit(&self, ty: &str, row: usize, column: usize) -> usize {
        let (line, value) = if self.row { (row, column) } else { (column, row) };
        8 * self.at + (line * self.stride + value) * bits(ty)
    }
    fn write(&self, matrix: &Matrix, data: &mut [u8]) {
        for (k, raw) in matrix.raw.iter().enumerate() {
            let at = self.bit(matrix.ty, k / matrix.columns, k % matrix.columns);
            if bits(matrix.ty) < 8 {
                data[at / 8] |= (raw << (at % 8)) as u8;
            } else {
                let bytes = bits(matrix.ty) / 8;
                data[at / 8..at / 8 + bytes].copy_from_slice(&raw.to_le_bytes()[..bytes]);
            }
        }
    }
    fn read(&self, matrix: &Matrix, data: &[u8], row: usize, column: usize) -> u64 {
        let (at, bytes) = (self.bit(matrix.ty, row, column) / 8, bits(matrix.ty) / 8);
        let mut raw = [0; 8];
        raw[..bytes].copy_from_slice(&data[at..at + bytes]);
        u64::from_le_bytes(raw)
    }
}

/// Registers of a fragment, as the ISA gives them: 9.7.14.4.1.
fn registers(matrix: &Matrix, accumulator: bool) -> usize {
    if matrix.ty == "f16" && !accumulator {
        8
    } else {
        matrix.raw.len() * bits(matrix.ty) / 32 / if matrix.ty == "f64" { 64 } else { 32 }
    }
}

fn list(ty: &str, from: usize, count: usize) -> String {
    let prefix = if ty == "f64" { "d" } else { "r" };
    format!("{{{}}}", (from..from + count).map(|r| format!("%{prefix}{r}")).collect::<Vec<_>>().join(", "))
}

/// Loads A, B and C, multiplies, stores D, in memory of `space`; `size` bytes go through shared memory.
fn kernel(loads: &[String], multiply: &str, store: &str, space: &str, size: usize) -> String {
    let copy = |label: &str, from: &str, to: &str| {
        format!(
            "mul.wide.u32 %o, %t, 16;\n{label}: add.s64 %x, {from}, %o; add.s64 %y, {to}, %o;\n\
             ld.v4.u32 {{%c0, %c1, %c2, %c3}}, [%x]; st.v4.u32 [%y], {{%c0, %c1, %c2, %c3}};\n\
             add.s64 %o, %o, 512; setp.lt.u64 %p1, %o, {size}; @%p1 bra {label};\nbar.sync 0;\n"
        )
    };
    let (before, after) = match space {
        ".global" | "" => ("mov.u64 %m, %g;\n".to_string(), String::new()),
        _ => (copy("$IN", "%g", "%z"), copy("$OUT", "%z", "%g")),
    };
    let base = match space {
        ".shared" | ".shared::cta" => "mov.u32 %m32, s;\n".to_string(),
        "generic shared" => "mov.u64 %m, %z;\n".to_string(),
        _ => String::new(),
    };
    format!(
        "{HEAD}.visible .entry k(.param .u64 p) {{ .reg .b32 %r<64>, %c<4>, %t, %m32, %n; .reg .b64 %d<16>, %g, %x, %y, %z, %o, %m; .reg .pred %p<2>;\n\
         .shared .align 128 .b8 s[{size}];\nld.param.u64 %g, [p]; mov.u32 %t, %tid.x; mov.u64 %x, s; cvta.shared.u64 %z, %x;\n\
         {before}{base}{}\n{multiply}\n{store}\nbar.sync 0;\n{after}ret; }}",
        loads.concat()
    )
}

struct Product {
    shape: &'static str,
    types: [&'static str; 4],
    mma: &'static str,
}

fn numbers(shape: &str) -> [usize; 3] {
    let parts: Vec<usize> = shape.split(|c: char| !c.is_ascii_digit()).filter_map(|s| s.parse().ok()).collect();
    [parts[0], parts[1], parts[2]]
}

fn check(p: &Product, rows: [bool; 4], space: &str, values: Values, level: Level, random: &mut Random) {
    let [d_ty, a_ty, b_ty, c_ty] = p.types;
    let [m, n, k] = numbers(p.shape);
    let matrices = [
        Matrix::draw(a_ty, m, k, values, random),
        Matrix::draw(b_ty, k, n, values, random),
        Matrix::draw(c_ty, m, n, values, random),
        Matrix { ty: d_ty, ..Matrix::draw(d_ty, m, n, Values::Small, random) },
    ];
    let (mut end, mut placed) = (0, vec![]);
    for (at, matrix) in matrices.iter().enumerate() {
        let height = matrix.raw.len() / matrix.columns;
        let place = Placed::new(matrix.ty, height, matrix.columns, rows[at], random.below(3) as usize, end);
        end = (end + place.bytes).next_multiple_of(32);
        placed.push(place);
    }
    let size = end.next_multiple_of(512);
    let mut data = vec![0; size];
    (0..3).for_each(|at| placed[at].write(&matrices[at], &mut data));
    let base = if space.starts_with(".shared") { "%m32" } else { "%m" };
    let suffix = if space == "generic shared" { "" } else { space };
    let (mut register, mut loads, mut lists) = (0, vec![], vec![]);
    for at in 0..4 {
        let (matrix, place) = (&matrices[at], &placed[at]);
        let fragment = list(matrix.ty, register, registers(matrix, at >= 2));
        register += registers(matrix, at >= 2);
        let dense = matrix.raw.len() * bits(matrix.ty) / 8 == place.bytes;
        // The stride as a register, a number, or left out.
        let stride = match random.below(3) {
            0 if dense => String::new(),
            1 => ", %n".to_string(),
            _ => format!(", {}", place.stride),
        };
        let set = format!("mov.u32 %n, {};\n", place.stride);
        let (word, part) = (["load.a", "load.b", "load.c", "store.d"][at], place.layout());
        let name = format!("wmma.{word}.sync.aligned.{part}.{}{suffix}.{}", p.shape, matrix.ty);
        let address = format!("[{base}+{}]", place.at);
        loads.push(match at {
            3 => format!("{set}{name} {address}, {fragment}{stride};\n"),
            _ => format!("{set}{name} {fragment}, {address}{stride};\n"),
        });
        lists.push(fragment);
    }
    let op = p.mma.replace("A", placed[0].layout()).replace("B", placed[1].layout());
    let multiply = format!("{op} {}, {}, {}, {};", lists[3], lists[0], lists[1], lists[2]);
    let store = loads.pop().unwrap();
    let text = kernel(&loads, &multiply, &store, space, size);
    let after = run(&text, level, &data).unwrap_or_else(|e| panic!("{op}: {e}"));
    let expected = oracle(&matrices[0], &matrices[1], &matrices[2], d_ty, &op);
    for (at, &expected) in expected.iter().enumerate() {
        let got = placed[3].read(&matrices[3], &after, at / n, at % n);
        assert_eq!(got, expected, "{op} {level:?} {space} rows {rows:?} {values:?}: D[{}][{}]", at / n, at % n);
    }
    // Nothing else is written.
    let mut blank = after.clone();
    let result = Matrix { raw: vec![0; m * n], ..matrices[3].clone() };
    placed[3].write(&result, &mut blank);
    assert!(blank == data, "{op} wrote elsewhere");
}

fn all(shape: &'static str, types: [&'static str; 4], mma: &'static str) {
    let mut random = Random(shape.len() as u64 * 31 + mma.len() as u64);
    let sub_byte = bits(types[1]) < 8;
    for (round, space) in [".global", "", ".shared", ".shared::cta", "generic shared"].into_iter().enumerate() {
        for layouts in 0..16 {
            let mut rows: [bool; 4] = std::array::from_fn(|at| layouts >> at & 1 == 0);
            if sub_byte {
                (rows[0], rows[1]) = (true, false);
            }
            let values = [Values::Small, Values::Plain, Values::Special, Values::Small][(layouts + round) % 4];
            let level = LEVELS[(layouts + round) % 2];
            check(&Product { shape, types, mma }, rows, space, values, level, &mut random);
        }
    }
}

#[test]
fn halves() {
    for [d, c] in [["f16", "f16"], ["f32", "f32"], ["f16", "f32"], ["f32", "f16"]] {
        for shape in ["m16n16k16", "m8n32k16", "m32n8k16"] {
            let mma: &'static str = format!("wmma.mma.sync.aligned.A.B.{shape}.{d}.{c}").leak();
            all(shape, [d, "f16", "f16", c], mma);
        }
    }
}

#[test]
fn other_floats() {
    for shape in ["m16n16k16", "m8n32k16", "m32n8k16"] {
        let mma: &'static str = format!("wmma.mma.sync.aligned.A.B.{shape}.f32.bf16.bf16.f32").leak();
        all(shape, ["f32", "bf16", "bf16", "f32"], mma);
    }
    all("m16n16k8", ["f32", "tf32", "tf32", "f32"], "wmma.mma.sync.aligned.A.B.m16n16k8.f32.tf32.tf32.f32");
    all("m8n8k4", ["f64"; 4], "wmma.mma.sync.aligned.A.B.m8n8k4.f64.f64.f64.f64.rn");
    all("m8n8k4", ["f64"; 4], "wmma.mma.sync.aligned.A.B.m8n8k4.rn.f64.f64.f64.f64");
}

#[test]
fn integers() {
    for shape in ["m16n16k16", "m8n32k16", "m32n8k16"] {
        for ty in ["s8", "u8"] {
            for end in ["", ".satfinite"] {
                let mma: &'static str = format!("wmma.mma.sync.aligned.A.B.{shape}.s32.{ty}.{ty}.s32{end}").leak();
                all(shape, ["s32", ty, ty, "s32"], mma);
            }
        }
    }
    all("m8n8k32", ["s32", "s4", "s4", "s32"], "wmma.mma.sync.aligned.row.col.m8n8k32.s32.s4.s4.s32");
    all("m8n8k32", ["s32", "u4", "u4", "s32"], "wmma.mma.sync.aligned.row.col.m8n8k32.s32.u4.u4.s32.satfinite");
    all("m8n8k128", ["s32", "b1", "b1", "s32"], "wmma.mma.xor.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32");
    all("m8n8k128", ["s32", "b1", "b1", "s32"], "wmma.mma.and.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32");
}

/// `.satfinite`, which nvcc writes for `mma_sync(…, true)`: infinities to the largest number, NaN to +0.
#[test]
fn halves_stay_finite_where_asked() {
    let registers = |from: usize, n: usize| list("f16", from, n);
    let large = (0..16).fold(0f32, |sum, _| 65504f32.mul_add(65504.0, sum));
    for (value, half, single) in [(0x7bffu64, 0x7bff, large), (0x7e00, 0, 0.0), (0xfc00, 0x7bff, f32::MAX)] {
        for (ty, n) in [("f16", 4), ("f32", 8)] {
            let load = format!("mov.u32 %n, {};\n", value << 16 | value);
            let fill: String = (0..16).map(|r| format!("mov.u32 %r{r}, %n;\n")).collect();
            let zero: String = (16..24).map(|r| format!("mov.u32 %r{r}, 0;\n")).collect();
            let mma = format!(
                "wmma.mma.sync.aligned.row.col.m16n16k16.{ty}.{ty}.satfinite {d}, {}, {}, {d};",
                registers(0, 8),
                registers(8, 8),
                d = registers(16, n)
            );
            let store = format!("wmma.store.d.sync.aligned.row.m16n16k16.global.{ty} [%m], {}, 16;", registers(16, n));
            let after =
                run(&kernel(&[load, fill, zero], &mma, &store, ".global", 1024), Level::Avx2, &[0; 1024]).unwrap();
            if ty == "f16" {
                assert_eq!(u16::from_le_bytes([after[0], after[1]]), half, "{value:x}");
            } else {
                assert_eq!(f32::from_le_bytes([after[0], after[1], after[2], after[3]]), single, "{value:x}");
            }
        }
    }
}

/// A fragment of A in f16 has every value twice: what a kernel does to each element is done to both.
#[test]
fn fragments_may_be_changed_element_by_element() {
    let mut random = Random(3);
    let a = Matrix::draw("f16", 16, 16, Values::Small, &mut random);
    let eye =
        Matrix { ty: "f16", columns: 16, raw: (0..256).map(|k| if k / 16 == k % 16 { 0x3c00 } else { 0 }).collect() };
    let places: Vec<Placed> = (0..2).map(|k| Placed::new("f16", 16, 16, true, 0, 512 * k)).collect();
    let mut data = vec![0; 2048];
    places[0].write(&a, &mut data);
    places[1].write(&eye, &mut data);
    // Minus each element: the sign bits.
    let negate: String = (0..8).map(|r| format!("xor.b32 %r{r}, %r{r}, 0x80008000;\n")).collect();
    let zero: String = (16..24).map(|r| format!("mov.u32 %r{r}, 0;\n")).collect();
    let loads = [
        format!("wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {}, [%m], 16;\n", list("f16", 0, 8)),
        format!("wmma.load.b.sync.aligned.row.m16n16k16.global.f16 {}, [%m+512], 16;\n", list("f16", 8, 8)),
        negate,
        zero,
    ];
    let mma = format!(
        "wmma.mma.sync.aligned.row.row.m16n16k16.f32.f32 {d}, {}, {}, {d};",
        list("f16", 0, 8),
        list("f16", 8, 8),
        d = list("f32", 16, 8)
    );
    let store = format!("wmma.store.d.sync.aligned.row.m16n16k16.global.f32 [%m+1024], {}, 16;", list("f32", 16, 8));
    let after = run(&kernel(&loads, &mma, &store, ".global", 2048), Level::Avx2, &data).unwrap();
    for k in 0..256 {
        let got = f32::from_le_bytes(after[1024 + 4 * k..1028 + 4 * k].try_into().unwrap());
        assert_eq!(got as f64, -a.at(k / 16, k % 16));
    }
}

#[test]
fn matrices_that_stray_stop() {
    let says =
        |load: &str| run(&kernel(&[load.to_string()], "", "", ".global", 2048), Level::Avx2, &[0; 2048]).unwrap_err();
    let load = |address: &str, stride: &str| {
        says(&format!(
            "cvt.u64.u32 %x, %t; add.s64 %x, %x, %m; wmma.load.c.sync.aligned.row.m16n16k16.global.f32 {}, [{address}], {stride};",
            list("f32", 0, 8)
        ))
    };
    let message = load("%m", "36");
    assert!(message.starts_with("memcheck: access past an allocation: 64 bytes at +2016 of argument 0"), "{message}");
    assert!(load("%m", "17").starts_with("memcheck: misaligned access: line 1 of a matrix"), "{}", load("%m", "17"));
    assert!(load("%m+8", "16").contains("line 0 of a matrix"), "{}", load("%m+8", "16"));
    let message = load("%x", "16");
    assert!(message.contains("all threads of the warp must give the same address and stride"), "{message}");
}
