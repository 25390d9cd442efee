//! `dropout(relu(x·W1ᵀ + b1))·W2ᵀ`: the ops `linear`, `bias_relu_dropout` and `linear`, or, where a device's products take
//! bias and ReLU with them and nothing is dropped, one node without a pass over the hidden layer of its own:
//!
//!   h = relu(x·W1ᵀ + b1) and its mask in the first product, f = h·W2ᵀ in the second;
//!   backward: dh = (df·W2 where the mask says so) and db1 in the second's data gradient.
//!
//! Besides x and h the mask is kept, a bit per element of h.

use super::{bias_relu_dropout, gradients};
use crate::device::{Epilogue, Gemm, Purpose};
use crate::error::Result;
use crate::ops::linear::{self, linear};
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};

const OP: &str = "feed_forward";

/// Parameters: w1 `[F, in]`, b1 `[F]` f32, w2 `[out, F]`.
#[derive(Clone, Copy)]
pub struct Weights {
    pub w1: Var,
    pub b1: Var,
    pub w2: Var,
}

struct Saved {
    x: Var,
    of: Weights,
    h: Tensor,
    mask: Tensor,
}

/// `dropout(relu(x·W1ᵀ + b1))·W2ᵀ`: x `[N, in]`, result `[N, out]`. Errors: `Shape` and `DType` name the operand; `Device`.
pub fn feed_forward(t: &mut Tape, x: Var, of: Weights, drop: Dropout) -> Result<Var> {
    let hidden = if drop.p == 0.0 { fused_hidden(t, x, of)? } else { None };
    let Some((h, mask)) = hidden else {
        let h = linear(t, x, of.w1, None)?;
        let h = bias_relu_dropout(t, h, of.b1, drop)?;
        return linear(t, h, of.w2, None);
    };
    let ([out, _], [n, f]) = (t.dims(OP, "w2", of.w2)?, [h.dims()[0], h.dims()[1]]);
    t.expect(OP, "w2", of.w2, &[out, f])?;
    let y = t.alloc(&[n, out])?;
    t.dev().gemm(Gemm { a: &h, b: t.value(of.w2), c: &y, ta: false, tb: true, m: n, n: out, k: f, beta: 0.0 })?;
    Ok(t.push(OP, y, Saved { x, of, h, mask }))
}

/// h and its mask, or none where the device takes bias and ReLU apart. The mask is made on tapes that do not record too:
/// without it another algorithm may be chosen, and a layer that is recomputed would get other bits.
fn fused_hidden(t: &Tape, x: Var, of: Weights) -> Result<Option<(Tensor, Tensor)>> {
    let ([n, inner], [f, _]) = (t.dims(OP, "x", x)?, t.dims(OP, "w1", of.w1)?);
    t.expect(OP, "w1", of.w1, &[f, inner])?;
    t.expect(OP, "b1", of.b1, &[f])?;
    t.expect_dtype(OP, "b1", of.b1, DType::F32)?;
    t.expect_activation(OP, "x", x)?;
    let (Some(b), Some(mask)) = (t.rounded(of.b1), t.dev().relu_mask(Purpose::Activations, n, f)?) else {
        return Ok(None);
    };
    let h = t.alloc(&[n, f])?;
    let (a, w1) = (t.value(x), t.value(of.w1));
    let g = Gemm { a, b: w1, c: &h, ta: false, tb: true, m: n, n: f, k: inner, beta: 0.0 };
    Ok(t.dev().gemm_with(g, Epilogue::BiasRelu { b, mask: &mask })?.then_some((h, mask)))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (df, h, dev) = (cx.dy(0)?, &self.h, cx.dev().clone());
        let ([n, f], out) = ([h.dims()[0], h.dims()[1]], df.dims()[1]);
        let (w2, dw2) = (cx.value(self.of.w2), cx.slot(self.of.w2)?);
        let dh = dev.tensor_for(Purpose::ActivationGradients, &[n, f], h.dtype())?;
        let db1 = cx.slot(self.of.b1)?;
        let g = Gemm { a: &df, b: &w2, c: &dh, ta: false, tb: false, m: n, n: f, k: out, beta: 0.0 };
        let epilogue = Epilogue::ReluGrad { mask: &self.mask, db: &db1.grad, accumulate: db1.accumulate };
        if !dev.gemm_with(g, epilogue)? {
            dev.gemm(g)?;
            gradients(&dev, &dh, h, 1.0, &db1)?;
        }
        let beta = if dw2.accumulate { 1.0 } else { 0.0 };
        dev.gemm(Gemm { a: &df, b: h, c: &dw2.grad, ta: true, tb: false, m: out, n: f, k: n, beta })?;
        // The two gradients that are due need room; f and its gradient do not.
        drop(df);
        cx.release_outputs();
        linear::gradients(cx, &dh, self.x, self.of.w1, None)
    }
}
