//! Matrix instructions: PTX ISA 9.0, 9.7.14.4 (`wmma`) and 9.7.14.5 (`mma`, `ldmatrix`, `stmatrix`, `movmatrix`).

use super::{Decoder, Result, unsupported};
use crate::ast::{Class, Instruction, Operand};
use crate::exec::{Wide, ldmatrix, matrix, matrix_exact, mem, wmma};
use crate::ir::{More, Reg};
use crate::isa::{Form, Kind};

pub static FORMS: &[Form] = &[
    Form {
        names: &[
            "mma.sync.aligned(.m16n8k8|.m16n8k16).row.col.f16.f16.f16.f16",
            "mma.sync.aligned(.m16n8k8|.m16n8k16).row.col.f32.f16.f16.f32",
            "mma.sync.aligned(.m16n8k8|.m16n8k16).row.col.f32.bf16.bf16.f32",
            "mma.sync.aligned(.m16n8k4|.m16n8k8).row.col.f32.tf32.tf32.f32",
            "mma.sync.aligned(.m16n8k16|.m16n8k32).row.col.f16(.e4m3|.e5m2)(.e4m3|.e5m2).f16",
            "mma.sync.aligned(.m16n8k16|.m16n8k32).row.col.f32(.e4m3|.e5m2)(.e4m3|.e5m2).f32",
            "mma.sync.aligned(.m8n8k4|.m16n8k4|.m16n8k8|.m16n8k16).row.col[.rn].f64.f64.f64.f64",
            "mma.sync.aligned(.m8n8k16|.m16n8k16|.m16n8k32).row.col[.satfinite].s32(.s8|.u8)(.s8|.u8).s32",
            "mma.sync.aligned(.m8n8k32|.m16n8k32|.m16n8k64).row.col[.satfinite].s32(.s4|.u4)(.s4|.u4).s32",
            "mma.sync.aligned(.m8n8k128|.m16n8k128|.m16n8k256).row.col.s32.b1.b1.s32(.xor|.and).popc",
            "mma.sync.aligned.m8n8k4(.row|.col)(.row|.col).f16.f16.f16.f16",
            "mma.sync.aligned.m8n8k4(.row|.col)(.row|.col).f32.f16.f16(.f16|.f32)",
        ],
        decode: |d, i, parts| d.multiply(i, parts),
    },
    Form {
        names: &[
            "wmma.mma.sync.aligned(.row|.col)(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16)(.f16|.f32)(.f16|.f32)[.satfinite]",
            "wmma.mma.sync.aligned(.row|.col)(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16).f32.bf16.bf16.f32",
            "wmma.mma.sync.aligned(.row|.col)(.row|.col).m16n16k8.f32.tf32.tf32.f32",
            "wmma.mma.sync.aligned(.row|.col)(.row|.col).m8n8k4[.rn].f64.f64.f64.f64[.rn]",
            "wmma.mma.sync.aligned(.row|.col)(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16).s32.s8.s8.s32[.satfinite]",
            "wmma.mma.sync.aligned(.row|.col)(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16).s32.u8.u8.s32[.satfinite]",
            "wmma.mma.sync.aligned.row.col.m8n8k32.s32.s4.s4.s32[.satfinite]",
            "wmma.mma.sync.aligned.row.col.m8n8k32.s32.u4.u4.s32[.satfinite]",
            "wmma.mma(.xor|.and).popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32",
        ],
        decode: |d, i, parts| d.multiply(i, parts),
    },
    Form {
        names: &[
            "wmma.load(.a|.b).sync.aligned(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16)[.global|.shared|.shared::cta](.f16|.bf16|.s8|.u8)",
            "wmma.load(.a|.b).sync.aligned(.row|.col).m16n16k8[.global|.shared|.shared::cta].tf32",
            "wmma.load(.a|.b).sync.aligned(.row|.col).m8n8k4[.global|.shared|.shared::cta].f64",
            "wmma.load.a.sync.aligned.row.m8n8k32[.global|.shared|.shared::cta](.s4|.u4)",
            "wmma.load.b.sync.aligned.col.m8n8k32[.global|.shared|.shared::cta](.s4|.u4)",
            "wmma.load.a.sync.aligned.row.m8n8k128[.global|.shared|.shared::cta].b1",
            "wmma.load.b.sync.aligned.col.m8n8k128[.global|.shared|.shared::cta].b1",
            "wmma.load.c.sync.aligned(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16)[.global|.shared|.shared::cta](.f16|.f32|.s32)",
            "wmma.load.c.sync.aligned(.row|.col).m16n16k8[.global|.shared|.shared::cta].f32",
            "wmma.load.c.sync.aligned(.row|.col).m8n8k4[.global|.shared|.shared::cta].f64",
            "wmma.load.c.sync.aligned(.row|.col)(.m8n8k32|.m8n8k128)[.global|.shared|.shared::cta].s32",
            "wmma.store.d.sync.aligned(.row|.col)(.m16n16k16|.m8n32k16|.m32n8k16)[.global|.shared|.shared::cta](.f16|.f32|.s32)",
            "wmma.store.d.sync.aligned(.row|.col).m16n16k8[.global|.shared|.shared::cta].f32",
            "wmma.store.d.sync.aligned(.row|.col).m8n8k4[.global|.shared|.shared::cta].f64",
            "wmma.store.d.sync.aligned(.row|.col)(.m8n8k32|.m8n8k128)[.global|.shared|.shared::cta].s32",
        ],
        decode: |d, i, parts| d.fragment(i, parts),
    },
    Form {
        names: &[
            "ldmatrix.sync.aligned.m8n8(.x1|.x2|.x4)[.trans][.shared|.shared::cta].b16",
            "stmatrix.sync.aligned.m8n8(.x1|.x2|.x4)[.trans][.shared|.shared::cta].b16",
        ],
        decode: |d, i, parts| d.tiles(i, parts),
    },
    Form {
        names: &["movmatrix.sync.aligned.m8n8.trans.b16"],
        decode: |d, i, _| {
            let [to, from] = i.operands.as_slice() else { return unsupported(i, "these operands") };
            let (defs, uses) = (vec![d.destination(i, to, Kind::W)?], vec![d.slot(i, from, Kind::W)?]);
            d.emit_wide(i, &ldmatrix::MOVE, More { defs, uses, imms: vec![] });
            Ok(())
        },
    },
];

/// (M, N, K) of `m16n8k16`.
fn shape(part: &str) -> Option<(usize, usize, usize)> {
    let (m, rest) = part.strip_prefix('m')?.split_once('n')?;
    let (n, k) = rest.split_once('k')?;
    Some((m.parse().ok()?, n.parse().ok()?, k.parse().ok()?))
}

/// Bits of an element in memory and in a register of A, B or C.
fn bits(ty: &str) -> usize {
    match ty {
        "f64" => 64,
        "f32" | "s32" | "tf32" => 32,
        "f16" | "bf16" => 16,
        "s8" | "u8" | "e4m3" | "e5m2" => 8,
        "s4" | "u4" => 4,
        _ => 1,
    }
}

fn kind(ty: &str) -> Kind {
    if ty == "f64" { Kind::D } else { Kind::W }
}

/// Registers of `count` elements over a warp.
fn registers(count: usize, ty: &str) -> usize {
    if ty == "f64" { count / 32 } else { count * bits(ty) / 1024 }
}

/// What a product needs beside its shape.
struct Product<'a> {
    wide: &'static Wide,
    /// Types of D, A, B, C.
    types: [&'a str; 4],
    imms: Vec<i64>,
}

fn product<'a>(parts: &[&'a str], (m, n, k): (usize, usize, usize)) -> Option<Product<'a>> {
    let has = |word: &str| parts.contains(&word) as i64;
    let at = parts.iter().position(|part| shape(part).is_some())?;
    let is_type = |part: &&&str| {
        matches!(part.as_bytes().first(), Some(b'f' | b'b' | b's' | b'u' | b't' | b'e')) && **part != "satfinite"
    };
    let named: Vec<&str> = parts[at + 1..].iter().filter(is_type).copied().collect();
    // `mma` has its layouts between shape and types, `wmma` before the shape, and names f16 only for C and D.
    let types = match named[..] {
        [d, a, b, c] => [d, a, b, c],
        [d, c] => [d, "f16", "f16", c],
        _ => return None,
    };
    let [d, a, b, c] = types;
    let exact = |wide, imms: Vec<i64>| Some(Product { wide, types, imms });
    let (m_, n_, k_) = (m as i64, n as i64, k as i64);
    let accumulators = ((c == "f16") as i64 * matrix::HALF_C) | ((d == "f16") as i64 * matrix::HALF_D);
    let finite = has("satfinite");
    match a {
        "f64" => exact(&matrix_exact::DOUBLE, vec![0, m_, n_, k_]),
        "b1" => exact(&matrix_exact::BITS, vec![has("and") * matrix_exact::AND, m_, n_, k_]),
        "s8" | "u8" | "s4" | "u4" => {
            let signs = (a.starts_with('u') as i64 * matrix_exact::UNSIGNED_A)
                | (b.starts_with('u') as i64 * matrix_exact::UNSIGNED_B);
            let wide = matrix_exact::integers_of(bits(a), k)?;
            exact(wide, vec![(finite * matrix_exact::SATURATE) | signs, m_, n_, k_])
        }
        "f16" if (m, n, k) == (8, 8, 4) => {
            let columns = |at: usize, flag: i64| (parts[at] == "col") as i64 * flag;
            let layouts = columns(at + 1, matrix_exact::COLUMNS_A) | columns(at + 2, matrix_exact::COLUMNS_B);
            exact(&matrix_exact::QUADS, vec![accumulators | layouts])
        }
        _ => {
            let eight = matches!(a, "e4m3" | "e5m2");
            let wide = matrix::floating(if eight { "f8" } else { a }, (m, n, k))?;
            let formats = ((a == "e5m2") as i64) << matrix::FORMAT_A | ((b == "e5m2") as i64) << matrix::FORMAT_B;
            exact(wide, vec![accumulators | (finite * matrix::FINITE) | formats])
        }
    }
}

fn space(parts: &[&str], generic: u8) -> u8 {
    match parts {
        parts if parts.contains(&"global") => mem::GLOBAL,
        parts if parts.iter().any(|part| part.starts_with("shared")) => mem::SHARED,
        _ => generic,
    }
}

impl<'a> Decoder<'_, 'a> {
    /// The registers of a fragment, `{…}` or one alone.
    fn registers(&mut self, i: &Instruction, operand: &Operand, kind: Kind, write: bool) -> Result<Vec<Reg>> {
        let parts = match operand {
            Operand::Vector(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        let one = |part| if write { self.destination(i, part, kind) } else { self.slot(i, part, kind) };
        parts.iter().map(one).collect()
    }

    /// `mma d, a, b, c` and `wmma.mma`.
    fn multiply(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let found = parts.iter().find_map(|part| shape(part)).and_then(|shape| Some((shape, product(parts, shape)?)));
        let Some(((m, n, k), Product { wide, types, imms })) = found else {
            return unsupported(i, "this combination of shape and types");
        };
        if i.operands.len() != 4 {
            return unsupported(i, &format!("{} operands (it takes 4)", i.operands.len()));
        }
        // `mma.m8n8k4` of f16 is four products at once.
        let quads = if std::ptr::eq(wide, &matrix_exact::QUADS) { 4 } else { 1 };
        let counts = [m * n, m * k, k * n, m * n];
        let (mut defs, mut uses) = (vec![], vec![]);
        for (at, operand) in i.operands.iter().enumerate() {
            let mut fragment = self.registers(i, operand, kind(types[at]), at == 0)?;
            let wanted = registers(quads * counts[at], types[at]);
            // `wmma` has eight registers for A and B in f16: the ones beyond the matrix repeat it.
            let repeats = parts[0] == "wmma" && (at == 1 || at == 2) && fragment.len() == repeated(types[at], wanted);
            if fragment.len() != wanted && !repeats {
                let what = format!("operand {} of {} registers (it takes {wanted})", at + 1, fragment.len());
                return unsupported(i, &what);
            }
            fragment.truncate(wanted);
            if at == 0 { defs = fragment } else { uses.extend(fragment) }
        }
        self.emit_wide(i, wide, More { defs, uses, imms });
        Ok(())
    }

    /// An address as its register, the offset, and whether it has 64 bits.
    fn matrix_place(&mut self, i: &Instruction, operand: &Operand, space: u8) -> Result<(Reg, i64, bool)> {
        let Operand::Address { base, offset } = operand else { return unsupported(i, "this address") };
        let wide = match &**base {
            Operand::Register(r) => self.kernel.registers[*r].0 == Class::Double,
            _ => true,
        };
        if !wide && space != mem::SHARED {
            return unsupported(i, "a 32-bit address outside shared memory");
        }
        Ok((self.slot(i, base, if wide { Kind::D } else { Kind::W })?, *offset, wide))
    }

    /// `ldmatrix r, [p]` and `stmatrix [p], r`.
    fn tiles(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let is_load = parts[0] == "ldmatrix";
        let (fragment, address) = match i.operands.as_slice() {
            [fragment, address] if is_load => (fragment, address),
            [address, fragment] => (fragment, address),
            _ => return unsupported(i, "these operands"),
        };
        let space = space(parts, mem::GENERIC);
        let (address, offset, wide) = self.matrix_place(i, address, space)?;
        let registers = self.registers(i, fragment, Kind::W, is_load)?;
        let count = if parts.contains(&"x1") {
            1
        } else if parts.contains(&"x2") {
            2
        } else {
            4
        };
        if registers.len() != count {
            return unsupported(i, &format!("{} registers (it takes {count})", registers.len()));
        }
        let imms = vec![parts.contains(&"trans") as i64, offset, wide as i64];
        let (defs, uses) = if is_load {
            (registers, vec![address])
        } else {
            (vec![], std::iter::once(address).chain(registers).collect())
        };
        self.emit_wide(i, ldmatrix::matrices(is_load, space), More { defs, uses, imms });
        Ok(())
    }

    /// `wmma.load.{a,b,c} r, [p]{, stride}` and `wmma.store.d [p], r{, stride}`.
    fn fragment(&mut self, i: &Instruction, parts: &[&str]) -> Result<()> {
        let is_load = parts[1] == "load";
        let (fragment, address, stride) = match i.operands.as_slice() {
            [fragment, address, stride @ ..] if is_load && stride.len() <= 1 => (fragment, address, stride.first()),
            [address, fragment, stride @ ..] if !is_load && stride.len() <= 1 => (fragment, address, stride.first()),
            _ => return unsupported(i, "these operands"),
        };
        let (Some((m, n, k)), Some(&ty)) = (shape(parts[6]), parts.last()) else { return unsupported(i, "this shape") };
        let space = space(parts, mem::GENERIC);
        let (address, offset, wide) = self.matrix_place(i, address, space)?;
        let row = parts[5] == "row";
        // Rows and columns of the matrix; do its lines run along k (of C: along n)?
        let (rows, columns, along) = match parts[2] {
            "a" => (m, k, row),
            "b" => (k, n, !row),
            _ => (m, n, row),
        };
        let (lines, length) = if row { (rows, columns) } else { (columns, rows) };
        let accumulator = matches!(parts[2], "c" | "d");
        let layout = wmma::Layout {
            lines,
            length,
            bits: bits(ty),
            along,
            accumulator,
            high: if parts[2] == "b" || m == 8 { 1 } else { 2 },
            span: if accumulator { m } else { k * bits(ty) / if ty == "f64" { 256 } else { 128 } },
            offset,
            wide,
            stride: stride.is_some(),
        };
        let wanted = registers(rows * columns, ty);
        let registers = self.registers(i, fragment, kind(ty), is_load)?;
        if registers.len() != wanted && (accumulator || registers.len() != repeated(ty, wanted)) {
            return unsupported(i, &format!("{} registers (it takes {wanted})", registers.len()));
        }
        let mut place = vec![address];
        if let Some(stride) = stride {
            place.push(self.slot(i, stride, Kind::W)?);
        }
        let (defs, uses) =
            if is_load { (registers, place) } else { (vec![], place.into_iter().chain(registers).collect()) };
        self.emit_wide(i, wmma::matrices(is_load, space), More { defs, uses, imms: layout.imms() });
        Ok(())
    }
}

/// Registers of a `wmma` fragment of A or B that needs `wanted`: f16 always has eight.
fn repeated(ty: &str, wanted: usize) -> usize {
    if ty == "f16" { 8 } else { wanted }
}
