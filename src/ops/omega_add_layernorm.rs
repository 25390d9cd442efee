//! Residual add and norm: Post-LN, Admin, Pre-LN, ReZero. Kernels and maths: `kernels/omega_add_layernorm.cu`.

use super::{MOST_WARPS, SPAN};
use crate::device::Grid;
use crate::error::{Error, Result};
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Slot, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "omega_add_layernorm";
/// Rows that a group of warps goes through in the forward pass.
const ROWS_FORWARD: usize = 8;
/// Rows of one partial column sum in the backward pass, at most. Written and read, the partial sums of 128 rows are
/// 0.25 bytes per element, a fortieth of the least that the pass can move in a 2-byte type.
const ROWS_BACKWARD: usize = 128;

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
    keep: Option<Tensor>,
    mu: Tensor,
    r: Tensor,
}

const NO_SUBLAYER: Sublayer = Sublayer { bias: None, drop: Dropout::NONE };

/// `y = LN(ω⊙x + α·dropout(f + b))`: x, f, y `[N, C]` of the activations' type, omega `[C]` (none: 1) and alpha `[1]`
/// (none: 1) f32. The sum and its norm are computed in f32, whatever the type. Post-LN, Admin and rezero-post-LN.
/// Errors: `Shape` and `DType` name the operand, C is at most 3,072; `Device`.
#[rustfmt::skip]
pub fn post_ln(
    t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, omega: Option<Var>, alpha: Option<Var>, norm: Norm, eps: f32,
) -> Result<Var> {
    let form = Form { x, f: Some(f), sublayer, omega, alpha, norm: Some(norm), keeps_h: false };
    Ok(run(t, form, eps)?.0)
}

/// `h = x + dropout(f + b)` and `LN(h)`, in that order. Errors as [`post_ln`].
pub fn pre_ln(t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, norm: Norm, eps: f32) -> Result<(Var, Var)> {
    let form = Form { x, f: Some(f), sublayer, omega: None, alpha: None, norm: Some(norm), keeps_h: true };
    let (h, y) = run(t, form, eps)?;
    Ok((h, y.unwrap_or(h)))
}

/// `h = x + α·dropout(f + b)`, without a norm. Errors as [`post_ln`].
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
        if c > SPAN * MOST_WARPS {
            return Err(Error::shape(OP, "x", &[n, c], &[n, SPAN * MOST_WARPS])
                .hint(format!("the width may be {} at most", SPAN * MOST_WARPS)));
        }
        t.expect_activation(OP, "x", self.x)?;
        if let Some(f) = self.f {
            t.expect(OP, "f", f, &[n, c])?;
            t.expect_activation(OP, "f", f)?;
        }
        let vectors = [
            ("omega", self.omega, c),
            ("alpha", self.alpha, 1),
            ("bias", self.sublayer.bias, c),
            ("gain", self.norm.map(|norm| norm.gain), c),
            ("norm bias", self.norm.map(|norm| norm.bias), c),
        ];
        for (name, v, length) in vectors.into_iter().filter_map(|(name, v, length)| Some((name, v?, length))) {
            t.expect(OP, name, v, &[length])?;
            t.expect_dtype(OP, name, v, DType::F32)?;
        }
        Ok([n, c])
    }

    /// The vectors that have a gradient over all rows, in the order of the kernel's planes: ω, γ, β, b.
    fn planes(&self) -> [Option<Var>; 4] {
        [self.omega, self.norm.map(|norm| norm.gain), self.norm.map(|norm| norm.bias), self.sublayer.bias]
    }
}

/// Blocks of groups of warps, each warp with columns of its own in a row: `warps` of them at most, and as many groups
/// of `rows` rows as are needed. A block holds rows · (its groups) rows, or, if `shared`, `rows` rows.
fn grid(n: usize, c: usize, warps: usize, rows: usize, shared: bool) -> Grid {
    let per_row = c.div_ceil(SPAN).max(1);
    let groups = (warps / per_row).max(1);
    let per_block = if shared { rows } else { rows * groups };
    Grid::new([n.div_ceil(per_block) as u32, 1, 1], [32, per_row as u32, groups as u32])
}

/// Rows of one partial sum: fewer where there are few rows, so that a GPU has 32 blocks all the same.
pub fn rows_per_partial(n: usize) -> usize {
    n.div_ceil(32).next_power_of_two().clamp(16, ROWS_BACKWARD)
}

/// Launches the forward pass; the outputs are (y, none), (h, none) or (h, y).
fn run(t: &mut Tape, form: Form, eps: f32) -> Result<(Var, Option<Var>)> {
    let [n, c] = form.check(t)?;
    let (drop, rng) = (form.sublayer.drop, t.rng());
    let h = form.keeps_h.then(|| t.alloc(&[n, c])).transpose()?;
    let y = form.norm.map(|_| t.alloc(&[n, c])).transpose()?;
    let stats = if form.norm.is_some() { n } else { 0 };
    let (mu, r) = (t.alloc_f32(&[stats])?, t.alloc_f32(&[stats])?);
    let keep = (drop.p > 0.0).then(|| t.alloc_of(&[n, c.div_ceil(32)], DType::I32)).transpose()?;
    let value = |v: Option<Var>| v.map(|v| t.value(v));
    let (gain, bias) = (value(form.norm.map(|m| m.gain)), value(form.norm.map(|m| m.bias)));
    let (b, omega, alpha) = (value(form.sublayer.bias), value(form.omega), value(form.alpha));
    #[rustfmt::skip]
    let list = args![
        y.as_ref(), h.as_ref(), &mu, &r, keep.as_ref(), t.value(form.x), value(form.f), b, omega, alpha, gain, bias,
        n, c, ROWS_FORWARD, eps, drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step,
    ];
    let grid = grid(n, c, 8, ROWS_FORWARD, false);
    // SAFETY: shapes are checked; the kernel touches rows < n and columns < c, and stores bits only where there is `keep`.
    unsafe { t.dev().launch(by_dtype!("omega_add_layernorm_fwd", t.dtype()), grid, list) }?;
    let saved = Saved { form, keep, mu, r };
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
        let value = |cx: &BackwardCx, v: Option<Var>| v.map(|v| cx.value(v));
        let [f, b, omega, alpha, gain] =
            [form.f, form.sublayer.bias, form.omega, form.alpha, form.norm.map(|m| m.gain)].map(|v| value(cx, v));
        let rows = rows_per_partial(n);
        let grid = grid(n, c, MOST_WARPS, rows, true);
        let partials = dev.tensor(&[4, grid.grid[0] as usize, c], DType::F32)?;
        let dalpha_rows = form.alpha.map(|_| dev.tensor(&[n], DType::F32)).transpose()?;
        let dx = cx.slot(form.x)?;
        let df = form.f.map(|f| cx.slot(f)).transpose()?;
        let (to_f, add_f) = (df.as_ref().map(|s| &s.grad), df.as_ref().is_some_and(|s| s.accumulate));
        let wanted = form.planes();
        let planes = wanted.iter().enumerate().map(|(p, v)| i32::from(v.is_some()) << p).sum::<i32>();
        #[rustfmt::skip]
        let list = args![
            &dx.grad, to_f, &partials, dalpha_rows.as_ref(), g.as_ref(), e.as_ref(), &x, f.as_ref(),
            self.keep.as_ref(), &self.mu, &self.r, b.as_ref(), omega.as_ref(), alpha.as_ref(), gain.as_ref(),
            n, c, rows, form.sublayer.drop.scale(), dx.accumulate, add_f, planes,
        ];
        // SAFETY: all [N, C] operands have x's shape, checked in the forward pass; row statistics have n entries, and
        // each plane of partial sums a row for every block.
        unsafe { dev.launch(by_dtype!("omega_add_layernorm_bwd", x.dtype()), grid, list) }?;
        self.reduce(cx, &partials, wanted)?;
        match (form.alpha, dalpha_rows) {
            (Some(alpha), Some(rows)) => {
                let to = cx.slot(alpha)?;
                let list = args![&to.grad, &rows, n, to.accumulate];
                let kernel = by_dtype!("omega_add_layernorm_bwd_alpha", to.grad.dtype());
                // SAFETY: `rows` has n entries, the gradient one.
                unsafe { dev.launch(kernel, Grid::new([1; 3], [32, 1, 1]), list) }
            }
            _ => Ok(()),
        }
    }
}

impl Saved {
    /// Adds the partial sums `[4, P, C]` into the gradients of `wanted`.
    fn reduce(&self, cx: &mut BackwardCx, partials: &Tensor, wanted: [Option<Var>; 4]) -> Result<()> {
        let [_, p, c] = partials.dims()[..] else { unreachable!("partial sums are made with three dimensions") };
        let mut slots: [Option<Slot>; 4] = Default::default();
        for (slot, v) in slots.iter_mut().zip(wanted) {
            *slot = v.map(|v| cx.slot(v)).transpose()?;
        }
        let Some(dtype) = slots.iter().flatten().map(|slot| slot.grad.dtype()).next() else { return Ok(()) };
        let accumulate = slots
            .iter()
            .enumerate()
            .map(|(at, slot)| i32::from(slot.as_ref().is_some_and(|slot| slot.accumulate)) << at);
        let [omega, gain, bias, b] = slots.each_ref().map(|slot| slot.as_ref().map(|slot| &slot.grad));
        let list = args![omega, gain, bias, b, partials, p, c, accumulate.sum::<i32>()];
        let grid = Grid::new([c.div_ceil(128) as u32, 4, 1], [128, 1, 1]);
        // SAFETY: gradients have C elements of one type, that of the flat gradient.
        unsafe { cx.dev().launch(by_dtype!("omega_add_layernorm_bwd_reduce", dtype), grid, list) }
    }
}
