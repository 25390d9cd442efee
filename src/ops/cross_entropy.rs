//! Label-smoothed cross-entropy. Kernels: `kernels/cross_entropy.cu`.

use crate::device::Grid;
use crate::error::{Error, Result};
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "cross_entropy";

/// Shared memory that a block can have on every supported GPU, less what the kernel has of its own: sm_86, sm_89 and
/// sm_120 give 99 KiB. CUDA C++ programming guide 13.0, technical specifications per compute capability.
const ON_CHIP_BYTES: usize = (99 << 10) - 1024;

struct Saved {
    logits: Var,
    targets: Tensor,
    stats: Tensor,
    smoothing: f32,
}

/// The logits hold their gradient already, for this ∂L/∂loss.
struct Done {
    logits: Var,
    dloss: Tensor,
}

/// Threads for a row of `v`: 64 elements each, so that what a block adds up at its end is little beside them. The loads of a
/// row on chip are all under way at once, however few they are.
fn threads(v: usize) -> u32 {
    (v / 64).next_multiple_of(32).clamp(32, 1024) as u32
}

fn rows(n: usize, v: usize) -> Grid {
    Grid::new([n as u32, 1, 1], [threads(v), 1, 1])
}

/// Bytes of shared memory for a row of `v`, unless it is too long.
fn on_chip(v: usize, dtype: DType) -> Option<u32> {
    let bytes = (v * dtype.size() + 32).next_multiple_of(16);
    (bytes <= ON_CHIP_BYTES).then_some(bytes as u32)
}

/// Sum over rows of the smoothed loss `[1]`, in nats, and of the negative log-likelihood `[1]`, both f32. logits `[T, V]`
/// of the activations' type, targets `[T]` i32 in 0..V. The backward pass overwrites the logits by their gradient, so they
/// may have no other user. Errors: `Shape` and `DType` name the operand; `Device`.
pub fn cross_entropy(t: &mut Tape, logits: Var, targets: &Tensor, smoothing: f32) -> Result<(Var, Tensor)> {
    forward(t, logits, targets, smoothing, None)
}

/// As [`cross_entropy`], for a tape that goes backward from ∂L/∂loss = `dloss` `[1]` f32, the scale of the loss
/// ([`Tape::backward_from`] must be given this very tensor): the same bits, and where a row fits into shared memory its
/// gradient overwrites it at once, with one read of the logits instead of two.
pub fn cross_entropy_from(
    t: &mut Tape,
    logits: Var,
    targets: &Tensor,
    smoothing: f32,
    dloss: &Tensor,
) -> Result<(Var, Tensor)> {
    forward(t, logits, targets, smoothing, Some(dloss).filter(|_| t.recording()))
}

fn forward(
    t: &mut Tape,
    logits: Var,
    targets: &Tensor,
    smoothing: f32,
    dloss: Option<&Tensor>,
) -> Result<(Var, Tensor)> {
    let [n, v] = t.dims(OP, "logits", logits)?;
    t.expect_activation(OP, "logits", logits)?;
    if targets.dims() != [n] {
        return Err(Error::shape(OP, "targets", targets.dims(), &[n]));
    }
    if let Some(dloss) = dloss.filter(|dloss| dloss.dims() != [1]) {
        return Err(Error::shape(OP, "dloss", dloss.dims(), &[1]));
    }
    let (dtype, x) = (t.dtype(), t.value(logits).clone());
    let (losses, chip) = (t.alloc_f32(&[2, n])?, on_chip(v, dtype));
    let grid = Grid { shared: chip.unwrap_or(0), ..rows(n, v) };
    if let (Some(dloss), Some(_)) = (dloss, chip) {
        let list = args![&losses, &x, targets, dloss, v, smoothing];
        // SAFETY: shapes are checked; a target outside the vocabulary is refused where batches are made.
        unsafe { t.dev().launch(by_dtype!("cross_entropy_fused", dtype), grid, list) }?;
        let [loss, nll] = sums(t, &losses)?;
        return Ok((t.push(OP, loss, Done { logits, dloss: dloss.clone() }), nll));
    }
    let stats = t.alloc_f32(&[n, 2])?;
    let list = args![&losses, &stats, &x, targets, v, smoothing, i32::from(chip.is_some())];
    // SAFETY: as above.
    unsafe { t.dev().launch(by_dtype!("cross_entropy_fwd", dtype), grid, list) }?;
    let [loss, nll] = sums(t, &losses)?;
    Ok((t.push(OP, loss, Saved { logits, targets: targets.clone(), stats, smoothing }), nll))
}

/// Loss and negative log-likelihood `[1]` from those of the rows `[2, T]`.
fn sums(t: &Tape, losses: &Tensor) -> Result<[Tensor; 2]> {
    let (sums, n) = (t.alloc_f32(&[2])?, losses.dims()[1]);
    // SAFETY: two rows of n entries, two sums.
    unsafe { t.dev().launch("cross_entropy_sum", Grid::new([1; 3], [256, 1, 1]), args![&sums, losses, n]) }?;
    Ok([sums.view(0, &[1])?, sums.view(1, &[1])?])
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dloss, x) = (cx.dy(0)?, cx.value(self.logits));
        let (n, v) = (x.dims()[0], x.dims()[1]);
        let list = args![&x, &self.stats, &self.targets, &dloss, v, self.smoothing];
        // SAFETY: as in the forward pass.
        unsafe { cx.dev().launch(by_dtype!("cross_entropy_bwd", x.dtype()), rows(n, v), list) }?;
        cx.give(self.logits, x)
    }
}

impl Backward for Done {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        if cx.dy(0)?.ptr() != self.dloss.ptr() {
            return Err(Error::tape(format!(
                "{OP}: its gradient is that of another dloss than the tape goes back from"
            )));
        }
        let dx = cx.value(self.logits);
        cx.give(self.logits, dx)
    }
}
