//! Residual add and norm: Post-LN, Admin, Pre-LN, ReZero. Kernels and maths: `kernels/omega_add_layernorm.cu`.

use super::Layout;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Slot, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "omega_add_layernorm";
/// Vectors that the forward pass and the backward pass keep in shared memory.
const STAGED: [usize; 2] = [4, 3];
/// Warps of a block; a thread of the forward pass has up to 94 registers, one of the backward pass up to 168.
const FORWARD_WARPS: usize = 16;
const BACKWARD_WARPS: usize = 8;

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

/// `y = LN(ω⊙x + α·dropout(f + b))`: x, f, y `[N, C]`, omega `[C]` (none: 1), alpha `[1]` (none: 1). Post-LN, Admin and
/// rezero-post-LN. x, f and y are of the activations' type, the vectors f32. Keeps x and f alive. Errors: `Shape` and `DType`
/// name the operand; `Device`.
#[rustfmt::skip]
pub fn post_ln(
    t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, omega: Option<Var>, alpha: Option<Var>, norm: Norm, eps: f32,
) -> Result<Var> {
    let form = Form { x, f: Some(f), sublayer, omega, alpha, norm: Some(norm), keeps_h: false };
    Ok(run(t, form, eps)?.0)
}

/// `h = x + dropout(f + b)` and `LN(h)`, in that order. Types and errors as [`post_ln`].
pub fn pre_ln(t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, norm: Norm, eps: f32) -> Result<(Var, Var)> {
    let form = Form { x, f: Some(f), sublayer, omega: None, alpha: None, norm: Some(norm), keeps_h: true };
    let (h, y) = run(t, form, eps)?;
    Ok((h, y.unwrap_or(h)))
}

/// `h = x + α·dropout(f + b)`, without a norm. Types and errors as [`post_ln`].
pub fn rezero(t: &mut Tape, x: Var, f: Var, sublayer: Sublayer, alpha: Option<Var>) -> Result<Var> {
    Ok(run(t, Form { x, f: Some(f), sublayer, omega: None, alpha, norm: None, keeps_h: true }, 0.0)?.0)
}

/// `y = LN(x)`. Types and errors as [`post_ln`].
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
            t.expect_dtype(OP, name, v, DType::F32)?;
        }
        t.expect_activation(OP, "x", self.x)?;
        if let Some(f) = self.f {
            t.expect(OP, "f", f, &[n, c])?;
            t.expect_activation(OP, "f", f)?;
        }
        if let Some(alpha) = self.alpha {
            t.expect(OP, "alpha", alpha, &[1])?;
            t.expect_dtype(OP, "alpha", alpha, DType::F32)?;
        }
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
    let layout = Layout::new(c, t.dtype());
    let keep = (drop.p > 0.0).then(|| t.alloc_of(&[n, layout.keep_words(c)], DType::I32)).transpose()?;
    let value = |v: Option<Var>| v.map(|v| t.value(v));
    let (gain, bias) = (value(form.norm.map(|m| m.gain)), value(form.norm.map(|m| m.bias)));
    let (b, omega, alpha) = (value(form.sublayer.bias), value(form.omega), value(form.alpha));
    let (grid, per_block) = layout.rows(n, FORWARD_WARPS, STAGED[0]);
    #[rustfmt::skip]
    let list = args![
        y.as_ref(), h.as_ref(), &mu, &r, keep.as_ref(), t.value(form.x), value(form.f), b, omega, alpha, gain, bias,
        n, c, layout.packs, per_block, eps, drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step,
    ];
    // SAFETY: shapes and types are checked; the kernel touches rows < n and columns < c, and bits where there is `keep`.
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
        let (omega, alpha, f) = (value(cx, form.omega), value(cx, form.alpha), value(cx, form.f));
        let (b, gain) = (value(cx, form.sublayer.bias), value(cx, form.norm.map(|norm| norm.gain)));
        let layout = Layout::new(c, x.dtype());
        let (grid, per_block) = backward_grid(layout, n, c);
        let blocks = grid.grid[0] as usize;
        let partials = dev.tensor(&[blocks, 4, c], DType::F32)?;
        let dalpha_rows = form.alpha.map(|_| dev.tensor(&[blocks], DType::F32)).transpose()?;
        let dx = cx.slot(form.x)?;
        let df = form.f.map(|f| cx.slot(f)).transpose()?;
        let (to_f, add_f) = (df.as_ref().map(|s| &s.grad), df.as_ref().is_some_and(|s| s.accumulate));
        #[rustfmt::skip]
        let list = args![
            &dx.grad, to_f, &partials, dalpha_rows.as_ref(), g.as_ref(), e.as_ref(), &x, f.as_ref(), self.keep.as_ref(),
            &self.mu, &self.r, b.as_ref(), omega.as_ref(), alpha.as_ref(), gain.as_ref(), n, c, layout.packs, per_block,
            form.sublayer.drop.scale(), dx.accumulate, add_f,
        ];
        // SAFETY: all [N, C] operands have x's shape and type, checked in the forward pass; each block has its partial sums.
        unsafe { dev.launch(by_dtype!("omega_add_layernorm_bwd", x.dtype()), grid, list) }?;
        let vectors = [
            form.omega,
            form.norm.map(|norm| norm.gain),
            form.norm.map(|norm| norm.bias),
            form.sublayer.bias,
            form.alpha,
        ];
        let mut slots: [Option<Slot>; 5] = [const { None }; 5];
        for (slot, v) in slots.iter_mut().zip(vectors) {
            *slot = v.map(|v| cx.slot(v)).transpose()?;
        }
        reduce(&dev, &slots, &partials, dalpha_rows.as_ref())
    }
}

/// Rows that a block of the backward pass adds up. 96 keep the partial sums, four of every column for each block, to 3 % of
/// the bytes of 2-byte operands, and 4,096 rows still make 43 blocks. The sums depend on this number, and it on n alone.
pub fn rows_per_partial(n: usize) -> usize {
    (n / 40).clamp(32, 96).max(n.div_ceil(256))
}

/// The grid of the backward pass and the rows of a block.
fn backward_grid(layout: Layout, n: usize, c: usize) -> (Grid, usize) {
    let per_block = rows_per_partial(n);
    if layout.packs == 0 {
        let warps = c.div_ceil(32).clamp(1, BACKWARD_WARPS);
        return (Layout { warps, ..layout }.grid(n, 1, per_block, 0), per_block);
    }
    let groups = layout.groups(BACKWARD_WARPS);
    // The vectors; after the last row, the sums of half of the groups: four of each column, of 4 bytes.
    (layout.grid(n, groups, per_block, layout.columns() * (4 * STAGED[1]).max(8 * groups)), per_block)
}

/// Adds partial sums `[P, 4, C]` and `[P]` into the gradients of ω, γ, β, b and α, those that there are; all of one type.
fn reduce(dev: &Device, slots: &[Option<Slot>; 5], partials: &Tensor, dalpha_rows: Option<&Tensor>) -> Result<()> {
    let Some(first) = slots.iter().flatten().next() else { return Ok(()) };
    let (dtype, dims) = (first.grad.dtype(), partials.dims());
    if let Some(other) = slots.iter().flatten().find(|slot| slot.grad.dtype() != dtype) {
        return Err(Error::dtype(OP, "a vector's gradient", other.grad.dtype().suffix(), dtype.suffix()));
    }
    let mut addresses: Vec<u64> = slots.iter().flatten().map(|slot| slot.grad.ptr()).collect();
    addresses.sort_unstable();
    if addresses.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::tape(format!("{OP}: two of its vectors are one variable")));
    }
    let accumulate = (0..).zip(slots).map(|(bit, slot)| u32::from(slot.as_ref().is_some_and(|s| s.accumulate)) << bit);
    let accumulate = accumulate.sum::<u32>();
    let [domega, dgamma, dbeta, dbias, dalpha] = slots.each_ref().map(|slot| slot.as_ref().map(|slot| &slot.grad));
    let list = args![domega, dgamma, dbeta, dbias, dalpha, partials, dalpha_rows, dims[0], dims[2], accumulate];
    let grid = Grid::new([dims[2].div_ceil(32) as u32, 5, 1], [32, 8, 1]);
    // SAFETY: gradients have C elements, dα one, as the forward pass has checked; partial sums are [P, 4, C] and [P].
    unsafe { dev.launch(by_dtype!("omega_add_layernorm_bwd_reduce", dtype), grid, list) }
}
