//! Residual add and norm: Post-LN, Admin, Pre-LN, ReZero. Kernels and maths: `kernels/omega_add_layernorm.cu`.

use super::{columns, reduce_partials, rows};
use crate::args;
use crate::device::Grid;
use crate::error::Result;
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};

const OP: &str = "omega_add_layernorm";

/// What happens to a branch output before it is added: `dropout(f + bias)`, bias `[C]`.
#[derive(Clone, Copy)]
pub struct Sublayer {
    pub bias: Option<Var>,
    pub drop: Dropout,
}

/// Gain γ and bias β of a norm, both `[C]`.
#[derive(Clone, Copy)]
pub struct Norm {
    pub gain: Var,
    pub bias: Var,
}

/// The operands of one call; which are absent makes the form.
struct Form {
    x: Var,
    f: Option<Var>,
    sublayer: Sublayer,
    omega: Option<Var>,
    alpha: Option<Var>,
    norm: Option<Norm>,
    /// Whether h is an output of its own, before LN(h) if there is a norm.
    keeps_h: bool,
}

struct Saved {
    form: Form,
    /// dropout(f + b), in f's memory.
    d: Option<Tensor>,
    keep: Option<Tensor>,
    mu: Tensor,
    r: Tensor,
}

const NO_SUBLAYER: Sublayer = Sublayer { bias: None, drop: Dropout::NONE };

/// `y = LN(ω⊙x + α·dropout(f + b))`: x, f, y `[N, C]`, omega `[C]` (none: 1), alpha `[1]` (none: 1). Post-LN, Admin and
/// rezero-post-LN. f is overwritten, so it may have no other user. Errors: `Shape` names the operand; `Device`.
#[rustfmt::skip]
pub fn post_ln(
    t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, omega: Option<Var>, alpha: Option<Var>, norm: Norm, eps: f32,
) -> Result<Var> {
    let form = Form { x, f: Some(f), sublayer, omega, alpha, norm: Some(norm), keeps_h: false };
    Ok(run(t, form, eps)?.0)
}

/// `h = x + dropout(f + b)` and `LN(h)`, in that order. Errors and overwriting as [`post_ln`].
pub fn pre_ln(t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, norm: Norm, eps: f32) -> Result<(Var, Var)> {
    let form = Form { x, f: Some(f), sublayer, omega: None, alpha: None, norm: Some(norm), keeps_h: true };
    let (h, y) = run(t, form, eps)?;
    Ok((h, y.unwrap_or(h)))
}

/// `h = x + α·dropout(f + b)`, without a norm. Errors and overwriting as [`post_ln`].
pub fn rezero(t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, alpha: Option<Var>) -> Result<Var> {
    Ok(run(t, Form { x, f: Some(f), sublayer, omega: None, alpha, norm: None, keeps_h: true }, 0.0)?.0)
}

/// `y = LN(x)`. Errors as [`post_ln`].
pub fn layernorm(t: &mut Tape, x: Var, norm: Norm, eps: f32) -> Result<Var> {
    let form = Form { x, f: None, sublayer: NO_SUBLAYER, omega: None, alpha: None, norm: Some(norm), keeps_h: false };
    Ok(run(t, form, eps)?.0)
}

impl Form {
    fn check(&self, t: &Tape) -> Result<[usize; 2]> {
        let [n, c] = t.dims(OP, "x", self.x)?;
        let vectors = [
            ("omega", self.omega),
            ("bias", self.sublayer.bias),
            ("gain", self.norm.map(|norm| norm.gain)),
            ("norm bias", self.norm.map(|norm| norm.bias)),
        ];
        for (name, v) in vectors.into_iter().filter_map(|(name, v)| Some((name, v?))) {
            t.expect(OP, name, v, &[c])?;
        }
        self.f.map_or(Ok(()), |f| t.expect(OP, "f", f, &[n, c]))?;
        self.alpha.map_or(Ok(()), |alpha| t.expect(OP, "alpha", alpha, &[1]))?;
        Ok([n, c])
    }
}

/// Launches the forward pass; the outputs are (y, none), (h, none) or (h, y).
fn run(t: &mut Tape, form: Form, eps: f32) -> Result<(Var, Option<Var>)> {
    let [n, c] = form.check(t)?;
    let (drop, rng) = (form.sublayer.drop, t.rng());
    let h = form.keeps_h.then(|| t.alloc(&[n, c])).transpose()?;
    let y = form.norm.map(|_| t.alloc(&[n, c])).transpose()?;
    let stats = if form.norm.is_some() { n } else { 0 };
    let (mu, r) = (t.alloc_f32(&[stats])?, t.alloc_f32(&[stats])?);
    let keep = (drop.p > 0.0).then(|| t.dev().tensor(&[n, c.div_ceil(32)], DType::I32)).transpose()?;
    let d = form.f.map(|f| t.value(f).clone());
    let value = |v: Option<Var>| v.map(|v| t.value(v));
    let (gain, bias) = (value(form.norm.map(|m| m.gain)), value(form.norm.map(|m| m.bias)));
    let (b, omega, alpha) = (value(form.sublayer.bias), value(form.omega), value(form.alpha));
    #[rustfmt::skip]
    let list = args![
        y.as_ref(), h.as_ref(), &mu, &r, keep.as_ref(), t.value(form.x), d.as_ref(), b, omega, alpha, gain, bias,
        n, c, eps, drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step,
    ];
    // SAFETY: shapes are checked; the kernel touches rows < n and columns < c, and stores bits only where there is `keep`.
    unsafe { t.dev().launch("omega_add_layernorm_fwd_f32", rows(n), list) }?;
    let saved = Saved { form, d, keep, mu, r };
    Ok(match (h, y) {
        (Some(h), Some(y)) => {
            let (h, y) = t.push2(OP, h, y, saved);
            (h, Some(y))
        }
        (Some(one), None) | (None, Some(one)) => (t.push(OP, one, saved), None),
        (None, None) => unreachable!("every form has an output"),
    })
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let form = &self.form;
        // Gradient of LN's output and of h. Pre-LN's h may have no user but its norm (the last sublayer).
        let (g, e) = match (form.keeps_h, form.norm.is_some()) {
            (true, true) => (Some(cx.dy(1)?), cx.dy_optional(0)),
            (true, false) => (None, Some(cx.dy(0)?)),
            _ => (Some(cx.dy(0)?), None),
        };
        let (dev, x) = (cx.dev().clone(), cx.value(form.x));
        let (n, c) = (x.dims()[0], x.dims()[1]);
        let scale = form.sublayer.drop.scale();
        let value = |cx: &BackwardCx, v: Option<Var>| v.map(|v| cx.value(v));
        let (omega, alpha) = (value(cx, form.omega), value(cx, form.alpha));
        let gain = value(cx, form.norm.map(|norm| norm.gain));
        let (mean_a, mean_an) = (dev.tensor(&[n], DType::F32)?, dev.tensor(&[n], DType::F32)?);
        let dalpha_rows = form.alpha.map(|_| dev.tensor(&[n], DType::F32)).transpose()?;
        let dx = cx.slot(form.x)?;
        let df = form.f.map(|f| cx.slot(f)).transpose()?;
        let (to_f, add_f) = (df.as_ref().map(|s| &s.grad), df.as_ref().is_some_and(|s| s.accumulate));
        #[rustfmt::skip]
        let list = args![
            &dx.grad, to_f, &mean_a, &mean_an, dalpha_rows.as_ref(), g.as_ref(), e.as_ref(), &x, self.d.as_ref(),
            self.keep.as_ref(), &self.mu, &self.r, omega.as_ref(), alpha.as_ref(), gain.as_ref(),
            n, c, scale, dx.accumulate, add_f,
        ];
        // SAFETY: all [N, C] operands have x's shape, checked in the forward pass; row statistics have n entries.
        unsafe { dev.launch("omega_add_layernorm_bwd_f32", rows(n), list) }?;

        let grid = columns(n, c, x.dtype());
        let plane = |wanted: bool| wanted.then(|| dev.tensor(&[grid.grid[1] as usize, c], DType::F32)).transpose();
        let norm = form.norm.is_some();
        let (domega, dbias) = (plane(form.omega.is_some())?, plane(form.sublayer.bias.is_some())?);
        let (dgamma, dbeta) = (plane(norm)?, plane(norm)?);
        #[rustfmt::skip]
        let list = args![
            domega.as_ref(), dgamma.as_ref(), dbeta.as_ref(), dbias.as_ref(), g.as_ref(), e.as_ref(), &x,
            self.d.as_ref(), self.keep.as_ref(), &self.mu, &self.r, &mean_a, &mean_an, omega.as_ref(), alpha.as_ref(),
            gain.as_ref(), n, c, scale,
        ];
        // SAFETY: as above; each partial sum has a row for every 64 rows.
        unsafe { dev.launch("omega_add_layernorm_bwd_columns_f32", grid, list) }?;
        let sums = [
            (form.omega, domega),
            (form.norm.map(|m| m.gain), dgamma),
            (form.norm.map(|m| m.bias), dbeta),
            (form.sublayer.bias, dbias),
        ];
        for (v, partials) in sums {
            if let (Some(v), Some(partials)) = (v, partials) {
                reduce_partials(&dev, "omega_add_layernorm_bwd_reduce", &cx.slot(v)?, &partials)?;
            }
        }
        if let (Some(alpha), Some(rows)) = (form.alpha, dalpha_rows) {
            let to = cx.slot(alpha)?;
            let list = args![&to.grad, &rows, n, to.accumulate];
            // SAFETY: `rows` has n entries, the gradient one.
            unsafe { dev.launch("omega_add_layernorm_bwd_alpha", Grid::new([1; 3], [32, 1, 1]), list) }?;
        }
        Ok(())
    }
}
