//! Special registers that hold still while a block runs: PTX ISA 9.0, 10.

use super::Init;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Special {
    Thread(usize),
    Block(usize),
    Threads(usize),
    Blocks(usize),
    Lane,
    Warp,
    /// The multiprocessor that the block is on: blocks are dealt out in turn.
    Multiprocessor,
    /// Lanes that compare so to the thread's own, as a mask.
    Lanes(Order),
    /// Bytes of shared memory: what the launch asked for, or all.
    DynamicShared,
    TotalShared,
    /// Halves of the address that a cooperative launch gives to the grid's barrier, the high one first; else 0.
    GridBarrier(usize),
}

/// How the lanes of a `%lanemask_…` compare to the thread's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Order {
    Equal,
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
}

/// Multiprocessors of the device that softgpu plays, and warps that each can hold: an A100.
pub const MULTIPROCESSORS: u32 = 108;
const RESIDENT_WARPS: u64 = 64;

/// Special registers that hold still while a block runs: PTX ISA 9.0, 10. Clusters have one block.
pub fn find(name: &str) -> Option<Init> {
    let (word, axis) = name.rsplit_once('.').unwrap_or((name, "x"));
    let axis = ["x", "y", "z"].iter().position(|a| *a == axis)?;
    let lanes = |order| Special::Lanes(order);
    Some(Init::Special(match word {
        "%tid" => Special::Thread(axis),
        "%ctaid" | "%clusterid" => Special::Block(axis),
        "%ntid" => Special::Threads(axis),
        "%nctaid" | "%nclusterid" => Special::Blocks(axis),
        "%laneid" => Special::Lane,
        "%warpid" => Special::Warp,
        "%smid" => Special::Multiprocessor,
        "%lanemask_eq" => lanes(Order::Equal),
        "%lanemask_le" => lanes(Order::LessOrEqual),
        "%lanemask_lt" => lanes(Order::Less),
        "%lanemask_ge" => lanes(Order::GreaterOrEqual),
        "%lanemask_gt" => lanes(Order::Greater),
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" | "%aggr_smem_size" => Special::TotalShared,
        "%envreg1" => Special::GridBarrier(0),
        "%envreg2" => Special::GridBarrier(1),
        "%nwarpid" => return Some(Init::Bits(RESIDENT_WARPS)),
        "%nsmid" => return Some(Init::Bits(MULTIPROCESSORS as u64)),
        "%gridid" | "%cluster_nctaid" | "%cluster_nctarank" => return Some(Init::Bits(1)),
        "%cluster_ctaid" | "%cluster_ctarank" | "%is_explicit_cluster" => return Some(Init::Bits(0)),
        // softgpu reserves no shared memory for the system, and a kernel is no part of a graph.
        "%reserved_smem_offset_begin" | "%reserved_smem_offset_end" | "%reserved_smem_offset_cap" => {
            return Some(Init::Bits(0));
        }
        "%reserved_smem_offset_0" | "%reserved_smem_offset_1" | "%current_graph_exec" => return Some(Init::Bits(0)),
        _ if counts_nothing(word) => return Some(Init::Bits(0)),
        _ => return None,
    }))
}

/// `%pm0` … `%pm7`, their halves, and the other of `%envreg0` … `%envreg31`: what only a profiler or the driver would set.
fn counts_nothing(name: &str) -> bool {
    let number = |prefix| name.strip_prefix(prefix).and_then(|n: &str| n.trim_end_matches("_64").parse::<u32>().ok());
    number("%pm").is_some_and(|n| n < 8) || number("%envreg").is_some_and(|n| n < 32)
}
