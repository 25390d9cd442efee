//! Classes of instructions, and the arithmetic that each does.

use serde::Serialize;

/// The part of a multiprocessor that an instruction keeps busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Fp16,
    Fp32,
    Fp64,
    /// Matrix products of a warp.
    Tensor,
    /// Approximations: ex2, lg2, sin, cos, tanh, rcp, rsqrt, sqrt.
    Special,
    Integer,
    /// Selections, comparisons, bits.
    Logic,
    Convert,
    /// Loads through the cache of constants.
    Constant,
    Global,
    Shared,
    Local,
    Atomic,
    Control,
    Barrier,
    /// Shuffles, votes and what else lanes do together.
    Warp,
    /// `createpolicy`.
    Other,
}

/// Floating-point operations of one instruction: of a thread, or for `Class::Tensor` of a warp. `COUNTERS.md` has the list.
pub fn flops(opcode: &str) -> (Class, u64) {
    let parts: Vec<&str> = opcode.split('.').collect();
    let (word, ty) = (parts[0], parts[parts.len() - 1]);
    let has = |modifier: &str| parts.contains(&modifier);
    let float = match ty {
        "f64" => Some((Class::Fp64, 1)),
        "f32" => Some((Class::Fp32, 1)),
        "f16" | "bf16" => Some((Class::Fp16, 1)),
        "f16x2" | "bf16x2" => Some((Class::Fp16, 2)),
        "f32x2" => Some((Class::Fp32, 2)),
        _ => None,
    };
    let special = has("approx") || has("full") || matches!(word, "rsqrt" | "ex2" | "lg2" | "sin" | "cos" | "tanh");
    match (word, float) {
        ("mma" | "wmma", _) => (Class::Tensor, if word == "wmma" && !has("mma") { 0 } else { matrix_flops(&parts) }),
        ("rcp" | "rsqrt" | "sqrt" | "div" | "ex2" | "lg2" | "sin" | "cos" | "tanh", Some((class, n))) => {
            (if special || word != "div" { Class::Special } else { class }, n)
        }
        ("fma" | "mad", Some((class, n))) => (class, 2 * n),
        ("add" | "sub" | "mul", Some((class, n))) => (class, n),
        ("abs" | "neg" | "min" | "max" | "copysign" | "testp" | "set", Some((class, _))) => (class, 0),
        _ => (class(&parts), 0),
    }
}

fn class(parts: &[&str]) -> Class {
    let memory = |otherwise: Class| match parts.iter().find(|p| matches!(**p, "shared" | "local" | "const")) {
        Some(&"shared") => Class::Shared,
        Some(&"local") => Class::Local,
        Some(_) => Class::Constant,
        _ if parts.iter().any(|p| p.starts_with("shared::")) => Class::Shared,
        _ => otherwise,
    };
    match parts[0] {
        "cp" | "discard" | "applypriority" => Class::Global,
        "ld" | "ldu" | "st" | "prefetch" | "prefetchu" => memory(Class::Global),
        "ldmatrix" | "stmatrix" | "mbarrier" => Class::Shared,
        "atom" | "red" => Class::Atomic,
        "add" | "addc" | "sub" | "subc" | "mul" | "mad" | "madc" | "mul24" | "mad24" | "sad" | "div" | "rem"
        | "neg" | "abs" | "min" | "max" | "dp4a" | "dp2a" | "szext" => Class::Integer,
        "vadd" | "vsub" | "vabsdiff" | "vmin" | "vmax" | "vshl" | "vshr" | "vset" | "vadd2" | "vsub2" | "vavrg2"
        | "vabsdiff2" | "vmin2" | "vmax2" | "vset2" | "vadd4" | "vsub4" | "vavrg4" | "vabsdiff4" | "vmin4"
        | "vmax4" | "vset4" => Class::Integer,
        "cvt" => Class::Convert,
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" | "brkpt" | "nanosleep" | "pmevent" => Class::Control,
        "bar" if parts.contains(&"warp") => Class::Warp,
        "bar" | "barrier" | "membar" | "fence" => Class::Barrier,
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" | "movmatrix" => Class::Warp,
        "selp" | "slct" | "setp" | "set" | "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shl" | "shr" | "shf"
        | "prmt" | "bfe" | "bfi" | "bmsk" | "bfind" | "brev" | "clz" | "popc" | "fns" | "isspacep" => Class::Logic,
        _ => Class::Other,
    }
}

/// What a matrix product multiplies and sums: tensor cores do as many of each a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// f16 or bf16 with sums in f32.
    Half,
    /// f16 with sums in f16.
    HalfSums,
    Tf32,
    Fp8,
    F64,
}

impl Product {
    /// Of `mma`, whose types are those of D, A, B and C, and of `wmma.mma`, which leaves A's and B's out if they are f16.
    pub fn of(opcode: &str) -> Product {
        let has = |ty: &str| opcode.split('.').any(|part| part == ty);
        let ty = |names: &[&str]| names.iter().any(|name| has(name));
        match () {
            _ if has("f64") => Product::F64,
            _ if has("tf32") => Product::Tf32,
            _ if ty(&["e4m3", "e5m2", "e3m2", "e2m3", "e2m1"]) => Product::Fp8,
            _ if has("f32") => Product::Half,
            _ => Product::HalfSums,
        }
    }
}

/// 2·m·n·k of a shape such as `m16n8k16`, where its numbers are floating-point ones. With halves, each quarter of a warp has
/// an m8n8k4 product of its own (PTX ISA 9.7.14).
fn matrix_flops(parts: &[&str]) -> u64 {
    let whole = |p: &&str| matches!(*p, "s8" | "u8" | "s4" | "u4" | "b1");
    let shape = parts.iter().find(|p| p.starts_with('m') && p.contains('n') && p.contains('k'));
    let Some(shape) = shape.filter(|_| !parts.iter().any(whole)) else { return 0 };
    let numbers = shape.split(['m', 'n', 'k']).filter_map(|digits| digits.parse::<u64>().ok());
    let products = if *shape == "m8n8k4" && !parts.contains(&"f64") { 4 } else { 1 };
    products * 2 * numbers.product::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_go_by_what_they_multiply_and_sum() {
        for (opcode, expected) in [
            ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", Product::Half),
            ("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16", Product::HalfSums),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.f32.f32", Product::Half),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.f16.f16", Product::HalfSums),
            ("wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32", Product::Tf32),
            ("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32", Product::Fp8),
            ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", Product::F64),
        ] {
            assert_eq!(Product::of(opcode), expected, "{opcode}");
        }
    }

    #[test]
    fn instructions_have_their_class_and_work() {
        for (opcode, expected) in [
            ("fma.rn.f32", (Class::Fp32, 2)),
            ("mul.ftz.f32", (Class::Fp32, 1)),
            ("fma.rn.bf16x2", (Class::Fp16, 4)),
            ("ex2.approx.ftz.f32", (Class::Special, 1)),
            ("ex2.approx.f16x2", (Class::Special, 2)),
            ("div.rn.f32", (Class::Fp32, 1)),
            ("div.full.f32", (Class::Special, 1)),
            ("sqrt.rn.f64", (Class::Special, 1)),
            ("mul.rn.f32x2", (Class::Fp32, 2)),
            ("max.f32", (Class::Fp32, 0)),
            ("red.global.add.f32", (Class::Atomic, 0)),
            ("add.s32", (Class::Integer, 0)),
            ("vabsdiff4.u32.u32.u32.add", (Class::Integer, 0)),
            ("ld.global.nc.v4.f32", (Class::Global, 0)),
            ("st.shared.f32", (Class::Shared, 0)),
            ("ld.const.v2.f32", (Class::Constant, 0)),
            ("cp.async.cg.shared.global", (Class::Global, 0)),
            ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", (Class::Tensor, 4096)),
            ("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32", (Class::Tensor, 2048)),
            ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", (Class::Tensor, 512)),
            ("wmma.mma.sync.aligned.row.col.m16n16k16.s32.u8.u8.s32", (Class::Tensor, 0)),
            ("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", (Class::Tensor, 0)),
            ("wmma.load.a.sync.aligned.row.m16n16k16.shared.f16", (Class::Tensor, 0)),
            ("bar.warp.sync", (Class::Warp, 0)),
            ("setp.lt.f32", (Class::Logic, 0)),
        ] {
            assert_eq!(flops(opcode), expected, "{opcode}");
        }
    }
}
