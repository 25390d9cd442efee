//! What a multiprocessor holds, and what named chips can do at most: occupancy, and a roofline estimate.
//!
//! Limits: CUDA C++ programming guide 13.0, technical specifications per compute capability. Peaks: the vendor's data
//! sheets, dense, at boost clock.

use serde::Serialize;

use super::classes::{Class, Product};
use super::counters::Counters;

/// A multiprocessor of one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Arch {
    pub name: &'static str,
    /// 80 for sm_80.
    pub number: u32,
    pub warps: u32,
    pub blocks: u32,
    /// Bytes that all blocks share; each takes 1 KiB more than it asks for.
    pub shared_bytes: u64,
}

pub const ARCHS: [Arch; 6] = [
    Arch { name: "sm_80", number: 80, warps: 64, blocks: 32, shared_bytes: 164 << 10 },
    Arch { name: "sm_86", number: 86, warps: 48, blocks: 16, shared_bytes: 100 << 10 },
    Arch { name: "sm_89", number: 89, warps: 48, blocks: 24, shared_bytes: 100 << 10 },
    Arch { name: "sm_90", number: 90, warps: 64, blocks: 32, shared_bytes: 228 << 10 },
    Arch { name: "sm_100", number: 100, warps: 64, blocks: 32, shared_bytes: 228 << 10 },
    Arch { name: "sm_120", number: 120, warps: 48, blocks: 24, shared_bytes: 100 << 10 },
];

/// Registers of a multiprocessor, and how they are given out: to a warp by 256, to warps by four.
const REGISTERS: u32 = 65_536;
const REGISTER_UNIT: u32 = 256;
const WARP_UNIT: u32 = 4;

/// How many blocks of a kernel a multiprocessor holds, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Occupancy {
    pub arch: &'static str,
    pub blocks: u32,
    pub warps: u32,
    pub warps_possible: u32,
    /// `registers`, `shared memory`, `warps` or `blocks`.
    pub limit: &'static str,
    /// Of a thread, and shared memory of a block, static and dynamic: what it comes from.
    pub registers: u32,
    pub shared_bytes: u64,
}

/// Occupancy of a kernel with `threads` a block, `registers` a thread and `shared_bytes` a block (static + dynamic).
pub fn occupancy(arch: &Arch, threads: u32, registers: u32, shared_bytes: u64) -> Occupancy {
    let warps = threads.div_ceil(32).max(1);
    let of_warp = (registers.max(1) * 32).next_multiple_of(REGISTER_UNIT);
    let by_registers = REGISTERS / of_warp / WARP_UNIT * WARP_UNIT / warps;
    let by_shared = arch.shared_bytes / (shared_bytes + 1024).next_multiple_of(128);
    let limits = [
        (by_registers, "registers"),
        (by_shared as u32, "shared memory"),
        (arch.warps / warps, "warps"),
        (arch.blocks, "blocks"),
    ];
    let (blocks, limit) = limits.into_iter().min_by_key(|(blocks, _)| *blocks).unwrap_or((0, "blocks"));
    let (warps, warps_possible) = (blocks * warps, arch.warps);
    Occupancy { arch: arch.name, blocks, warps, warps_possible, limit, registers, shared_bytes }
}

/// Peaks of a chip: bytes and operations a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Chip {
    pub name: &'static str,
    pub arch: &'static str,
    pub bytes: f64,
    pub fp64: f64,
    pub fp32: f64,
    pub fp16: f64,
    /// Matrix products of halves with sums in f32; of f64.
    pub tensor: f64,
    pub tensor_f64: f64,
    /// How many times as many products of halves it does if their sums are f16.
    pub half_sums: f64,
}

impl Chip {
    /// Peak of a kind of matrix product. All data sheets have half of the halves' for tf32, and twice that for 8 bits from
    /// sm_89 on; those before have no such product.
    fn products(&self, product: Product) -> f64 {
        match product {
            Product::Half => self.tensor,
            Product::HalfSums => self.half_sums * self.tensor,
            Product::Tf32 => self.tensor / 2.0,
            Product::Fp8 => self.tensor * 2.0,
            Product::F64 => self.tensor_f64,
        }
    }
}

const T: f64 = 1e12;
pub const CHIPS: [Chip; 6] = [
    Chip {
        name: "A100 SXM 80 GB",
        arch: "sm_80",
        bytes: 2.039 * T,
        fp64: 9.7 * T,
        fp32: 19.5 * T,
        fp16: 78.0 * T,
        tensor: 312.0 * T,
        tensor_f64: 19.5 * T,
        half_sums: 1.0,
    },
    Chip {
        name: "RTX 3090",
        arch: "sm_86",
        bytes: 0.936 * T,
        fp64: 0.556 * T,
        fp32: 35.6 * T,
        fp16: 35.6 * T,
        tensor: 71.0 * T,
        tensor_f64: 0.556 * T,
        half_sums: 2.0,
    },
    Chip {
        name: "RTX 4090",
        arch: "sm_89",
        bytes: 1.008 * T,
        fp64: 1.29 * T,
        fp32: 82.6 * T,
        fp16: 82.6 * T,
        tensor: 165.2 * T,
        tensor_f64: 1.29 * T,
        half_sums: 2.0,
    },
    Chip {
        name: "H100 SXM",
        arch: "sm_90",
        bytes: 3.35 * T,
        fp64: 33.5 * T,
        fp32: 66.9 * T,
        fp16: 133.8 * T,
        tensor: 989.4 * T,
        tensor_f64: 66.9 * T,
        half_sums: 1.0,
    },
    Chip {
        name: "B200",
        arch: "sm_100",
        bytes: 8.0 * T,
        fp64: 37.0 * T,
        fp32: 75.0 * T,
        fp16: 150.0 * T,
        tensor: 2250.0 * T,
        tensor_f64: 37.0 * T,
        half_sums: 1.0,
    },
    Chip {
        name: "RTX 5090",
        arch: "sm_120",
        bytes: 1.792 * T,
        fp64: 1.64 * T,
        fp32: 104.8 * T,
        fp16: 104.8 * T,
        tensor: 209.5 * T,
        tensor_f64: 1.64 * T,
        half_sums: 2.0,
    },
];

/// The least time that a chip's peaks allow. An estimate from counts, not a measurement: no clock was read on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Roofline {
    pub chip: &'static str,
    pub estimated_seconds: f64,
    /// What bounds it: `memory` or a unit; `nothing` if it has none of their work.
    pub bound: &'static str,
}

/// Memory is taken to move each sector that the launch touches once (a perfect cache).
pub fn roofline(chip: &Chip, counters: &Counters) -> Roofline {
    let of = |class: Class| counters.total.flops.get(&class).copied().unwrap_or(0) as f64;
    let times = [
        ((counters.footprint_read + counters.footprint_written) as f64 / chip.bytes, "memory"),
        (of(Class::Fp64) / chip.fp64, "fp64"),
        (of(Class::Fp32) / chip.fp32, "fp32"),
        (of(Class::Fp16) / chip.fp16, "fp16"),
        (counters.total.products.iter().map(|(&p, &n)| n as f64 / chip.products(p)).sum(), "tensor"),
    ];
    let (estimated_seconds, bound) = times.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, "memory"));
    let bound = if estimated_seconds > 0.0 { bound } else { "nothing" };
    Roofline { chip: chip.name, estimated_seconds, bound }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the occupancy calculator's known figures.
    #[test]
    fn occupancy_has_its_limits() {
        let of = |arch: usize, threads, registers, shared| {
            let o = occupancy(&ARCHS[arch], threads, registers, shared);
            (o.blocks, o.warps, o.limit)
        };
        assert_eq!(of(0, 256, 32, 0), (8, 64, "registers"));
        assert_eq!(of(0, 256, 40, 0), (6, 48, "registers"));
        assert_eq!(of(0, 128, 168, 0), (3, 12, "registers"));
        assert_eq!(of(0, 256, 24, 48 << 10), (3, 24, "shared memory"));
        assert_eq!(of(1, 256, 24, 0), (6, 48, "warps"));
        assert_eq!(of(1, 32, 24, 0), (16, 16, "blocks"));
        assert_eq!(of(3, 1024, 64, 0), (1, 32, "registers"));
        assert_eq!(of(0, 1024, 255, 0).0, 0);
    }
}
