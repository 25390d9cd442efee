//! Label-smoothed cross-entropy. Kernels: `kernels/cross_entropy.cu`.

use super::rows;
use crate::args;
use crate::device::Grid;
use crate::error::{Error, Result};
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::Tensor;

const OP: &str = "cross_entropy";

struct Saved {
    logits: Var,
    targets: Tensor,
    lse: Tensor,
    smoothing: f32,
}

/// Sum over rows of the smoothed loss `[1]`, in nats, and of the negative log-likelihood `[1]`. logits `[T, V]` f32,
/// targets `[T]` i32 in 0..V. The backward pass overwrites the logits by their gradient, so they may have no other
/// user. Errors: `Shape` names the operand; `Device`.
pub fn cross_entropy(t: &mut Tape, logits: Var, targets: &Tensor, smoothing: f32) -> Result<(Var, Tensor)> {
    let [n, v] = t.dims(OP, "logits", logits)?;
    if targets.dims() != [n] {
        return Err(Error::shape(OP, "targets", targets.dims(), &[n]));
    }
    let (loss_rows, nll_rows, lse) = (t.alloc_f32(&[n])?, t.alloc_f32(&[n])?, t.alloc_f32(&[n])?);
    let (loss, nll) = (t.alloc_f32(&[1])?, t.alloc_f32(&[1])?);
    let list = args![&loss_rows, &nll_rows, &lse, t.value(logits), targets, n, v, smoothing];
    // SAFETY: shapes are checked; a target outside the vocabulary is refused where batches are made.
    unsafe { t.dev().launch("cross_entropy_fwd_f32", rows(n), list) }?;
    let list = args![&loss, &nll, &loss_rows, &nll_rows, n];
    // SAFETY: n entries each.
    unsafe { t.dev().launch("cross_entropy_sum", Grid::new([1; 3], [32, 1, 1]), list) }?;
    Ok((t.push(OP, loss, Saved { logits, targets: targets.clone(), lse, smoothing }), nll))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dloss, x) = (cx.dy(0)?, cx.value(self.logits));
        let (n, v) = (x.dims()[0], x.dims()[1]);
        let list = args![&x, &self.lse, &self.targets, &dloss, n, v, self.smoothing];
        // SAFETY: as in the forward pass.
        unsafe { cx.dev().launch("cross_entropy_bwd_f32", rows(n), list) }?;
        cx.give(self.logits, x)
    }
}
