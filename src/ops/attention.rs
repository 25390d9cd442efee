//! Packed attention: encoder self-, decoder causal self-, and cross-attention. Kernels: `kernels/attention.cu`.

use crate::args;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::rng::{Dropout, RngState};
use crate::tape::{Backward, BackwardCx, Slot, Tape, Var};
use crate::tensor::Tensor;

const OP: &str = "attention";
/// Head widths that shared memory holds in the backward pass: 4·128·32 floats are 64 KiB.
const MAX_HEAD: usize = 128;
/// Head widths whose sums (one tile of 32 rows) the kernels hold in registers.
const IN_REGISTERS: [usize; 2] = [32, 64];
/// CUDA's limit on the grid's z, which is the batch.
const MAX_BATCH: usize = 65_535;

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

    /// A warp per 32 rows, head and sentence, with `tiles` tiles of shared memory, and one more where the last sums
    /// are not in registers.
    fn grid(&self, longest: usize, batch: usize, tiles: usize) -> Grid {
        let tiles = tiles + usize::from(!IN_REGISTERS.contains(&self.head()));
        let grid = [longest.div_ceil(32) as u32, self.heads as u32, batch as u32];
        Grid { grid, block: [32, 1, 1], shared: (tiles * self.head() * 32 * 4) as u32 }
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

/// `O = softmax(q·kᵀ/√D)·v` per sentence and head: O `[Tq, d]` f32. Keeps the inputs, O and 4·heads·Tq bytes.
/// Errors: `Shape` where the width is not heads·D with D a multiple of 4 up to 128, an operand has another width, or
/// there are more than 65,535 sentences; `Device`.
pub fn attention(
    t: &mut Tape,
    input: AttentionInput,
    seqs: &Seqs,
    heads: usize,
    causal: bool,
    drop: Dropout,
) -> Result<Var> {
    let (q, kv, layout) = match input {
        AttentionInput::SelfAttention { qkv } => {
            let [tq, all] = t.dims(OP, "qkv", qkv)?;
            let width = all / 3;
            t.expect(OP, "qkv", qkv, &[tq, 3 * width])?;
            (qkv, qkv, Layout { tq, heads, width, stride_q: all, stride_kv: all })
        }
        AttentionInput::Cross { q, kv } => {
            let ([tq, width], [tk, _]) = (t.dims(OP, "q", q)?, t.dims(OP, "kv", kv)?);
            t.expect(OP, "kv", kv, &[tk, 2 * width])?;
            (q, kv, Layout { tq, heads, width, stride_q: width, stride_kv: 2 * width })
        }
    };
    if heads == 0 || layout.width % heads != 0 || layout.head() % 4 != 0 || layout.head() > MAX_HEAD {
        return Err(Error::shape(OP, "heads", &[heads], &[layout.width]).hint(format!(
            "heads must divide the width {} into heads whose width is a multiple of 4, at most {MAX_HEAD}",
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
    #[rustfmt::skip]
    let list = args![
        &o, &lse, &qp, &kp, &vp, &seqs.cu_q, &seqs.cu_k, layout.tq, layout.head(), layout.width, layout.stride_q,
        layout.stride_kv, seqs.max_k, layout.scale(), causal, threshold, keep_scale, seed, site, step,
    ];
    // SAFETY: widths are checked; cumulative lengths end at the operands' rows, which is how batches are made.
    unsafe { t.dev().launch("attention_fwd_f32", layout.grid(seqs.max_q, seqs.batch, 1), list) }?;
    Ok(t.push(OP, o, Saved { input, seqs: seqs.clone(), layout, causal, drop, lse }))
}

impl Saved {
    /// The two passes; gradients go to `to` = (dq, dk, dv), each with its accumulate flag.
    fn run(&self, cx: &BackwardCx, dev: &Device, inputs: &[Tensor; 3], to: &[Tensor; 3], add: [bool; 2]) -> Result<()> {
        let (g, o, l, s) = (cx.dy(0)?, cx.output(0), &self.layout, &self.seqs);
        let delta = dev.tensor(&[l.heads, l.tq], crate::tensor::DType::F32)?;
        let (threshold, keep_scale, seed, site, step) = random(self.drop, cx.rng());
        let ([q, k, v], [dq, dk, dv]) = (inputs, to);
        #[rustfmt::skip]
        let list = args![
            dq, &delta, &g, &o, &self.lse, q, k, v, &s.cu_q, &s.cu_k, l.tq, l.head(), l.width, l.stride_q, l.stride_kv,
            s.max_k, l.scale(), self.causal, add[0], threshold, keep_scale, seed, site, step,
        ];
        // SAFETY: as in the forward pass; gradients have their values' shapes.
        unsafe { dev.launch("attention_bwd_q_f32", l.grid(s.max_q, s.batch, 2), list) }?;
        #[rustfmt::skip]
        let list = args![
            dk, dv, &g, &delta, &self.lse, q, k, v, &s.cu_q, &s.cu_k, l.tq, l.head(), l.width, l.stride_q, l.stride_kv,
            s.max_k, l.scale(), self.causal, add[1], threshold, keep_scale, seed, site, step,
        ];
        // SAFETY: as above.
        unsafe { dev.launch("attention_bwd_kv_f32", l.grid(s.max_k, s.batch, 3), list) }
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
