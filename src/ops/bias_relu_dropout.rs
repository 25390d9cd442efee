//! `y = dropout(relu(x + b))`. Kernels: `kernels/bias_relu_dropout.cu`.

use super::{columns, reduce_partials};
use crate::device::Device;
use crate::error::Result;
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Slot, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

mod feed_forward;

pub use feed_forward::{Weights, feed_forward};

const OP: &str = "bias_relu_dropout";

struct Saved {
    x: Var,
    b: Var,
    drop: Dropout,
}

/// `y = dropout(relu(x + b))`: x, y `[N, F]`, b `[F]` f32. x is overwritten by y, so it may have no other
/// user. Errors: `Shape` and `DType` name the operand; `Device`.
pub fn bias_relu_dropout(t: &mut Tape, x: Var, b: Var, drop: Dropout) -> Result<Var> {
    let [n, f] = t.dims(OP, "x", x)?;
    t.expect(OP, "b", b, &[f])?;
    t.expect_activation(OP, "x", x)?;
    t.expect_dtype(OP, "b", b, DType::F32)?;
    let (y, rng) = (t.value(x).clone(), t.rng());
    let random = (drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step);
    let (threshold, scale, seed, site, step) = random;
    let list = args![&y, t.value(b), n, f, threshold, scale, seed, site, step];
    // SAFETY: shapes are checked; the kernel touches rows < n and columns < f.
    unsafe { t.dev().launch(by_dtype!("bias_relu_dropout_fwd", t.dtype()), columns(n, f), list) }?;
    Ok(t.push(OP, y, Saved { x, b, drop }))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dy, y, dev) = (cx.dy(0)?, cx.output(0), cx.dev().clone());
        let db = cx.slot(self.b)?;
        gradients(&dev, &dy, &y, self.drop.scale(), &db)?;
        cx.give(self.x, dy)
    }
}

/// Turns dy `[N, F]` into dx, and adds up db.
fn gradients(dev: &Device, dy: &Tensor, y: &Tensor, scale: f32, db: &Slot) -> Result<()> {
    let (n, f) = (y.dims()[0], y.dims()[1]);
    let grid = columns(n, f);
    let partials = dev.tensor(&[grid.grid[1] as usize, f], DType::F32)?;
    let list = args![dy, &partials, y, n, f, scale];
    // SAFETY: dy and y are [n, f]; the partial sums have a row for every 128 rows.
    unsafe { dev.launch(by_dtype!("bias_relu_dropout_bwd", dy.dtype()), grid, list) }?;
    reduce_partials(dev, by_dtype!("bias_relu_dropout_bwd_reduce", db.grad.dtype()), db, &partials)
}
