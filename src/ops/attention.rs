//! Packed attention: encoder self-, decoder causal self-, and cross-attention. Kernels: `kernels/attention.cu`.

use crate::args;
use crate::device::{Arg, Device, Grid};
use crate::error::{Error, Result};
use crate::rng::{Dropout, RngState};
use crate::tape::{Backward, BackwardCx, Slot, Tape, Var};
use crate::tensor::{DType, Tensor};

const OP: &str = "attention";
/// Head widths that shared memory holds in the backward pass: 4·128·32 floats are 64 KiB.
const MAX_HEAD: usize = 128;
/// Head widths whose sums (one tile of 32 rows) the f32 kernels hold in registers.
const IN_REGISTERS: [usize; 2] = [32, 64];
/// Head widths of the 2-byte kernels; one that lies between is padded to the next.
const HEADS: [usize; 4] = [32, 64, 96, 128];
/// Rows of one step of the tensor cores' products: a warp's own, and the least of the other side.
const FRAGMENT: usize = 16;
/// Most warps of a block, and most rows of the other side that it holds at a time.
const MOST_WARPS: usize = 8;
const MOST_STAGE: usize = 64;
/// What every architecture from sm_80 on lets a block have of shared memory: 99 KiB, of which the 2-byte kernels declare 16
/// bytes.
const SHARED: usize = (99 << 10) - 16;
/// CUDA's limit on the grid's z, which is the batch.
pub const MAX_BATCH: usize = 65_535;

/// Where queries, keys and values come from. Biases have been added.
#[derive(Clone, Copy)]
pub enum AttentionInput {
    /// `[T, 3d]`: q | k | v.
    SelfAttention { qkv: Var },
    /// q `[Tq, d]`, kv `[Tk, 2d]`: k | v.
    Cross { q: Var, kv: Var },
}

/// A packed batch: sentence b has queries `cu_q[b]..cu_q[b + 1]` and keys `cu_k[b]..cu_k[b + 1]`; both `[B + 1]` i32.
#[derive(Clone)]
pub struct Seqs {
    pub cu_q: Tensor,
    pub cu_k: Tensor,
    pub batch: usize,
    pub max_q: usize,
    pub max_k: usize,
}

struct Saved {
    input: AttentionInput,
    seqs: Seqs,
    layout: Layout,
    causal: bool,
    drop: Dropout,
    lse: Tensor,
}

/// Extents and row strides, in elements.
#[derive(Clone, Copy)]
struct Layout {
    dtype: DType,
    tq: usize,
    heads: usize,
    width: usize,
    stride_q: usize,
    stride_kv: usize,
}

/// Dropout's five kernel arguments.
fn random(drop: Dropout, rng: RngState) -> (u32, f32, u64, u32, u32) {
    (drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step)
}

impl Layout {
    fn head(&self) -> usize {
        self.width / self.heads
    }

    fn scale(&self) -> f32 {
        (self.head() as f64).powf(-0.5) as f32
    }

    /// The arguments of this type's kernels: those for f32 know no stage, which is the last.
    fn own<'a>(&self, list: &'a [Arg]) -> &'a [Arg] {
        &list[..list.len() - usize::from(self.dtype == DType::F32)]
    }

    /// Name, grid and stage of a pass whose blocks own rows of sentences of up to `longest[0]` and walk `longest[1]`.
    fn kernel(&self, pass: Pass, longest: [usize; 2], batch: usize) -> (String, Grid, usize) {
        let (dtype, name, [owned, walked]) = (self.dtype.suffix(), pass.name(), longest);
        if self.dtype == DType::F32 {
            // A warp per 32 rows, head and sentence; one tile more where the last sums are not in registers.
            let tiles =
                pass.own_tiles() + usize::from(pass == Pass::Keys) + usize::from(!IN_REGISTERS.contains(&self.head()));
            let grid = [owned.div_ceil(32) as u32, self.heads as u32, batch as u32];
            let grid = Grid { grid, block: [32, 1, 1], shared: (tiles * self.head() * 32 * 4) as u32 };
            return (format!("{name}_{dtype}"), grid, 0);
        }
        // A block per head and sentence up to 128 rows, else blocks of equal size.
        let head = HEADS.into_iter().find(|head| *head >= self.head()).unwrap_or(MAX_HEAD);
        let fragments = owned.div_ceil(FRAGMENT);
        let blocks = fragments.div_ceil(MOST_WARPS);
        let warps = fragments.div_ceil(blocks.max(1)).max(1);
        let grid = [blocks as u32, self.heads as u32, batch as u32];
        let row = 2 * head + 16;
        let own = pass.own_tiles() * warps * FRAGMENT * row;
        // Two matrices, and for the pass of the keys two floats; buffered twice where one stage does not hold it all.
        let walked_row = 2 * row + if pass == Pass::Keys { 8 } else { 0 };
        let fits = (SHARED - own) / (2 * walked_row) / FRAGMENT * FRAGMENT;
        let stage = walked.next_multiple_of(FRAGMENT).min(MOST_STAGE).min(fits);
        let shared = own + walked_row * stage * if walked > stage { 2 } else { 1 };
        let grid = Grid { grid, block: [32, warps as u32, 1], shared: shared as u32 };
        (format!("{name}_{head}_{dtype}"), grid, stage)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Forward,
    Queries,
    Keys,
}

impl Pass {
    fn name(self) -> &'static str {
        match self {
            Pass::Forward => "attention_fwd",
            Pass::Queries => "attention_bwd_q",
            Pass::Keys => "attention_bwd_kv",
        }
    }

    /// Matrices whose rows a warp owns: Q | Q, G | K, V.
    fn own_tiles(self) -> usize {
        if self == Pass::Forward { 1 } else { 2 }
    }
}

/// The parts q, k, v of the operands `q` and `kv`, as views that start at their first column.
fn parts(q: &Tensor, kv: &Tensor, packed: bool, width: usize) -> Result<[Tensor; 3]> {
    let from = |t: &Tensor, column: usize| {
        let left = t.numel().saturating_sub(column);
        t.view(column.min(t.numel()), &[left])
    };
    let k = if packed { width } else { 0 };
    Ok([from(q, 0)?, from(kv, k)?, from(kv, k + width)?])
}

/// `O = softmax(q·kᵀ/√D)·v` per sentence and head: O `[Tq, d]`, of the activations' type like its
/// operands. Keeps the inputs, O and 4·heads·Tq bytes. Errors: `Shape` where the width is not heads·D with D up to 128 a
/// multiple of 4 (f32) or 8, an operand has another width, or there are more than 65,535 sentences; `DType`; `Device`.
pub fn attention(
    t: &mut Tape,
    input: AttentionInput,
    seqs: &Seqs,
    heads: usize,
    causal: bool,
    drop: Dropout,
) -> Result<Var> {
    let dtype = t.dtype();
    let (q, kv, layout) = match input {
        AttentionInput::SelfAttention { qkv } => {
            let [tq, all] = t.dims(OP, "qkv", qkv)?;
            let width = all / 3;
            t.expect(OP, "qkv", qkv, &[tq, 3 * width])?;
            (qkv, qkv, Layout { dtype, tq, heads, width, stride_q: all, stride_kv: all })
        }
        AttentionInput::Cross { q, kv } => {
            let ([tq, width], [tk, _]) = (t.dims(OP, "q", q)?, t.dims(OP, "kv", kv)?);
            t.expect(OP, "kv", kv, &[tk, 2 * width])?;
            (q, kv, Layout { dtype, tq, heads, width, stride_q: width, stride_kv: 2 * width })
        }
    };
    t.expect_activation(OP, if q == kv { "qkv" } else { "q" }, q)?;
    t.expect_activation(OP, if q == kv { "qkv" } else { "kv" }, kv)?;
    let multiple = dtype.per_access();
    if heads == 0 || layout.width % heads != 0 || layout.head() % multiple != 0 || layout.head() > MAX_HEAD {
        return Err(Error::shape(OP, "heads", &[heads], &[layout.width]).hint(format!(
            "heads must divide the width {} into heads whose width is a multiple of {multiple}, at most {MAX_HEAD}",
            layout.width
        )));
    }
    if seqs.batch > MAX_BATCH {
        return Err(Error::shape(OP, "batch", &[seqs.batch], &[MAX_BATCH])
            .hint(format!("attention takes at most {MAX_BATCH} sentences at once: make smaller batches")));
    }
    for (name, cu) in [("cu_q", &seqs.cu_q), ("cu_k", &seqs.cu_k)] {
        if cu.dims() != [seqs.batch + 1] {
            return Err(Error::shape(OP, name, cu.dims(), &[seqs.batch + 1]));
        }
    }
    let packed = matches!(input, AttentionInput::SelfAttention { .. });
    let [qp, kp, vp] = parts(t.value(q), t.value(kv), packed, layout.width)?;
    let (o, lse) = (t.alloc(&[layout.tq, layout.width])?, t.alloc_f32(&[heads, layout.tq])?);
    let (threshold, keep_scale, seed, site, step) = random(drop, t.rng());
    let (kernel, grid, stage) = layout.kernel(Pass::Forward, [seqs.max_q, seqs.max_k], seqs.batch);
    #[rustfmt::skip]
    let list = args![
        &o, &lse, &qp, &kp, &vp, &seqs.cu_q, &seqs.cu_k, layout.tq, layout.head(), layout.width, layout.stride_q,
        layout.stride_kv, seqs.max_k, layout.scale(), causal, threshold, keep_scale, seed, site, step, stage,
    ];
    // SAFETY: widths are checked; cumulative lengths end at the operands' rows, which is how batches are made.
    unsafe { t.dev().launch(&kernel, grid, layout.own(list)) }?;
    Ok(t.push(OP, o, Saved { input, seqs: seqs.clone(), layout, causal, drop, lse }))
}

impl Saved {
    /// The two passes; gradients go to `to` = (dq, dk, dv), each with its accumulate flag.
    fn run(&self, cx: &BackwardCx, dev: &Device, inputs: &[Tensor; 3], to: &[Tensor; 3], add: [bool; 2]) -> Result<()> {
        let (g, o, l, s) = (cx.dy(0)?, cx.output(0), &self.layout, &self.seqs);
        let delta = dev.tensor(&[l.heads, l.tq], DType::F32)?;
        let (threshold, keep_scale, seed, site, step) = random(self.drop, cx.rng());
        let ([q, k, v], [dq, dk, dv]) = (inputs, to);
        let (kernel, grid, stage) = l.kernel(Pass::Queries, [s.max_q, s.max_k], s.batch);
        // The kernels of halves do not read O.
        let o = if l.dtype == DType::F32 { args![&o].to_vec() } else { Vec::new() };
        #[rustfmt::skip]
        let list = args![
            &self.lse, q, k, v, &s.cu_q, &s.cu_k, l.tq, l.head(), l.width, l.stride_q, l.stride_kv,
            s.max_k, l.scale(), self.causal, add[0], threshold, keep_scale, seed, site, step, stage,
        ];
        let list = [args![dq, &delta, &g], &o[..], l.own(list)].concat();
        // SAFETY: as in the forward pass; gradients have their values' shapes.
        unsafe { dev.launch(&kernel, grid, &list) }?;
        let (kernel, grid, stage) = l.kernel(Pass::Keys, [s.max_k, s.max_q], s.batch);
        #[rustfmt::skip]
        let list = args![
            dk, dv, &g, &delta, &self.lse, q, k, v, &s.cu_q, &s.cu_k, l.tq, l.head(), l.width, l.stride_q, l.stride_kv,
            s.max_k, l.scale(), self.causal, add[1], threshold, keep_scale, seed, site, step, stage,
        ];
        // SAFETY: as above.
        unsafe { dev.launch(&kernel, grid, l.own(list)) }
    }
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dev, width) = (cx.dev().clone(), self.layout.width);
        let (q, kv, packed) = match self.input {
            AttentionInput::SelfAttention { qkv } => (qkv, qkv, true),
            AttentionInput::Cross { q, kv } => (q, kv, false),
        };
        let inputs = parts(&cx.value(q), &cx.value(kv), packed, width)?;
        let dq: Slot = cx.slot(q)?;
        let (dkv, add_kv) = if packed {
            (dq.grad.clone(), dq.accumulate)
        } else {
            let slot = cx.slot(kv)?;
            (slot.grad, slot.accumulate)
        };
        let to = parts(&dq.grad, &dkv, packed, width)?;
        self.run(cx, &dev, &inputs, &to, [dq.accumulate, add_kv])
    }
}
