//! `y = x·Wᵀ + b`. Kernels: `kernels/linear.cu`, and the device's GEMM.

use super::{columns, reduce_partials};
use crate::device::{Epilogue, Gemm};
use crate::error::Result;
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "linear";

struct Saved {
    x: Var,
    w: Var,
    b: Option<Var>,
}

/// `y = x·Wᵀ + b`: x `[N, in]`, w `[out, in]`, b `[out]`, y `[N, out]`; b f32, the others of the
/// activations' type. Keeps x alive. Errors: `Shape` and `DType` name the operand; `Device`.
pub fn linear(t: &mut Tape, x: Var, w: Var, b: Option<Var>) -> Result<Var> {
    let ([n, inner], [out, _]) = (t.dims(OP, "x", x)?, t.dims(OP, "w", w)?);
    t.expect(OP, "w", w, &[out, inner])?;
    t.expect_activation(OP, "x", x)?;
    if let Some(b) = b {
        t.expect(OP, "b", b, &[out])?;
        t.expect_dtype(OP, "b", b, DType::F32)?;
    }
    let y = t.alloc(&[n, out])?;
    let (a, b_matrix) = (t.value(x), t.value(w));
    let g = Gemm { a, b: b_matrix, c: &y, ta: false, tb: true, m: n, n: out, k: inner, beta: 0.0 };
    let with_bias = match b.and_then(|b| t.rounded(b)) {
        Some(b) => t.dev().gemm_with(g, Epilogue::Bias { b })?,
        None => false,
    };
    if !with_bias {
        t.dev().gemm(g)?;
        if let Some(b) = b {
            let list = args![&y, t.value(b), n, out];
            // SAFETY: shapes are checked; the kernel touches rows < n and columns < out.
            unsafe { t.dev().launch(by_dtype!("linear_fwd", t.dtype()), columns(n, out), list) }?;
        }
    }
    Ok(t.push(OP, y, Saved { x, w, b }))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let dy = cx.dy(0)?;
        gradients(cx, &dy, self.x, self.w, self.b)
    }
}

/// The gradients of a product `x·Wᵀ + b` with that of its value, dy `[N, out]`.
pub(super) fn gradients(cx: &mut BackwardCx, dy: &Tensor, x: Var, w: Var, b: Option<Var>) -> Result<()> {
    let (x_value, w_value, dev) = (cx.value(x), cx.value(w), cx.dev().clone());
    let (n, out, inner) = (dy.dims()[0], w_value.dims()[0], w_value.dims()[1]);
    let beta = |accumulate: bool| if accumulate { 1.0 } else { 0.0 };
    let dx = cx.slot(x)?;
    let to = beta(dx.accumulate);
    dev.gemm(Gemm { a: dy, b: &w_value, c: &dx.grad, ta: false, tb: false, m: n, n: inner, k: out, beta: to })?;
    let dw = cx.slot(w)?;
    let to = beta(dw.accumulate);
    let g = Gemm { a: dy, b: &x_value, c: &dw.grad, ta: true, tb: false, m: out, n: inner, k: n, beta: to };
    let Some(b) = b else { return dev.gemm(g) };
    let db = cx.slot(b)?;
    if dev.gemm_with(g, Epilogue::BiasGrad { db: &db.grad, accumulate: db.accumulate })? {
        return Ok(());
    }
    dev.gemm(g)?;
    let grid = columns(n, out);
    let partials = dev.tensor(&[grid.grid[1] as usize, out], DType::F32)?;
    // SAFETY: dy is [n, out]; the partial sums have a row for every 128 rows of it.
    unsafe { dev.launch(by_dtype!("linear_bwd", dy.dtype()), grid, args![&partials, dy, n, out]) }?;
    reduce_partials(&dev, by_dtype!("linear_bwd_reduce", db.grad.dtype()), &db, &partials)
}
