//! Adam, RAdam and NovoGrad over flat buffers, and the 2-byte copy of the parameters. Kernels: `kernels/optimizer.cu`.

use super::aligned;
use super::loss_scale::RECORD;
use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "optimizer";
/// Parameters per thread: `QUAD` of the kernel.
const QUAD: usize = 4;
/// Longest piece of a tensor that a block of NovoGrad takes.
const CHUNK: usize = 8192;

/// Settings of all three.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
}

/// What update number t (from 1) multiplies by: `step` of the kernel, or none where RAdam does not adapt yet.
pub fn adam_step(betas: (f64, f64), lr: f64, t: u64) -> Option<f64> {
    let t = t as f64;
    Some(lr * (1.0 - betas.1.powf(t)).sqrt() / (1.0 - betas.0.powf(t)))
}

/// As [`adam_step`], rectified: Liu et al. 2020, arXiv:1908.03265, algorithm 2; none while the variance is intractable
/// (fewer than 5 degrees of freedom), when the original leaves the parameters alone but for weight decay.
pub fn radam_step(betas: (f64, f64), lr: f64, t: u64) -> Option<f64> {
    let (t, (b1, b2)) = (t as f64, betas);
    let most = 2.0 / (1.0 - b2) - 1.0;
    let n = most - 2.0 * t * b2.powf(t) / (1.0 - b2.powf(t));
    let rectify = (1.0 - b2.powf(t)) * (n - 4.0) / (most - 4.0) * (n - 2.0) / n * most / (most - 2.0);
    (n >= 5.0).then(|| lr * rectify.sqrt() / (1.0 - b1.powf(t)))
}

/// The row of one update for `loss_scale`'s table, rounded from f64: learning rate, step, decay, and whether to adapt.
pub fn row(lr: f64, step: Option<f64>, weight_decay: f64) -> [f32; 4] {
    let adapt = if step.is_some() { 1.0 } else { 0.0 };
    [lr as f32, step.unwrap_or(0.0) as f32, (weight_decay * lr) as f32, adapt]
}

/// The flat buffers: parameters and m `[n]` f32, gradients `[n]` of any float type, and the copy of the parameters in that
/// type where it has 2 bytes. v is `[n]` f32, and `[tensors]` for NovoGrad.
pub struct Flat<'a> {
    pub parameters: &'a Tensor,
    pub copy: Option<&'a Tensor>,
    pub gradients: &'a Tensor,
    pub m: &'a Tensor,
    pub v: &'a Tensor,
}

impl Flat<'_> {
    fn check(&self, v: usize, record: &Tensor) -> Result<usize> {
        let n = self.parameters.numel();
        let f32s = [("parameters", self.parameters, n), ("m", self.m, n), ("v", self.v, v), ("record", record, RECORD)];
        let (g, copy) = (self.gradients, self.copy);
        let halves = [Some(("gradients", g, n)), copy.map(|copy| ("copy", copy, n))].into_iter().flatten();
        for (name, t, len) in f32s.into_iter().chain(halves.clone()) {
            if t.numel() != len {
                return Err(Error::shape(OP, name, t.dims(), &[len]));
            }
        }
        if let Some((name, t, _)) = f32s.iter().find(|(_, t, _)| t.dtype() != DType::F32) {
            return Err(Error::dtype(OP, name, t.dtype().suffix(), "f32"));
        }
        if !g.dtype().is_float() {
            return Err(Error::dtype(OP, "gradients", g.dtype().suffix(), "f32, f16 or bf16"));
        }
        if let Some(copy) = copy.filter(|copy| copy.dtype() != g.dtype()) {
            return Err(Error::dtype(OP, "copy", copy.dtype().suffix(), g.dtype().suffix()));
        }
        for (name, t, _) in f32s.into_iter().chain(halves) {
            aligned(OP, &[(name, t)])?;
        }
        Ok(n)
    }
}

/// One update by Adam or RAdam, as `record` of `loss_scale` says. Errors: `Shape`, `DType` name the operand; `Device`.
pub fn adam(dev: &Device, flat: &Flat, record: &Tensor, adam: &Adam) -> Result<()> {
    let n = flat.check(flat.parameters.numel(), record)?;
    let (b1, b2) = adam.betas;
    #[rustfmt::skip]
    let list = args![
        flat.parameters, flat.copy, flat.gradients, flat.m, flat.v, record, n as u64, b1 as f32, b2 as f32,
        (1.0 - b1) as f32, (1.0 - b2) as f32, adam.eps as f32,
    ];
    let grid = Grid::over(n.div_ceil(QUAD), 256);
    // SAFETY: all buffers have n entries of the kernel's types, as checked.
    unsafe { dev.launch(by_dtype!("optimizer_adam", flat.gradients.dtype()), grid, list) }
}

/// Where each parameter tensor lies in the flat buffers, for NovoGrad: on the device, cut into chunks.
pub struct Pieces {
    n: usize,
    tensors: usize,
    chunks: Tensor,
    spans: Tensor,
    partials: Tensor,
    rest: Tensor,
}

impl Pieces {
    /// Tensors at (offset, length) of buffers of `n` elements; what lies between them is never touched. Errors: `Shape`
    /// if one ends behind `n`, or starts where no access of 16 bytes may.
    pub fn new(dev: &Device, n: usize, tensors: &[(usize, usize)]) -> Result<Pieces> {
        let (mut chunks, mut spans) = (Vec::new(), Vec::new());
        for (number, &(offset, length)) in tensors.iter().enumerate() {
            if offset + length > n || !offset.is_multiple_of(8) || offset + length > u32::MAX as usize {
                return Err(Error::shape(OP, &format!("tensor {number}"), &[offset, length], &[n])
                    .hint("offset and length; offsets are multiples of 8, and all ends below the number of elements"));
            }
            let first = chunks.len() / 4;
            for from in (0..length).step_by(CHUNK) {
                let piece = [offset + from, CHUNK.min(length - from), number, 0];
                chunks.extend(piece.map(|word| word as u32 as i32));
            }
            spans.extend([first, chunks.len() / 4 - first].map(|word| word as i32));
        }
        let (count, tensors) = (chunks.len() / 4, tensors.len());
        Ok(Pieces {
            n,
            tensors,
            chunks: dev.upload(&chunks, &[count, 4])?,
            spans: dev.upload(&spans, &[tensors, 2])?,
            partials: dev.tensor(&[count], DType::F32)?,
            rest: dev.tensor(&[tensors], DType::F32)?,
        })
    }
}

/// One update by NovoGrad, as `record` of `loss_scale` says. Errors: `Shape`, `DType` name the operand; `Device`.
pub fn novograd(dev: &Device, flat: &Flat, record: &Tensor, adam: &Adam, pieces: &Pieces) -> Result<()> {
    let Pieces { tensors, chunks, spans, partials, rest, .. } = pieces;
    if flat.check(*tensors, record)? != pieces.n {
        return Err(Error::shape(OP, "parameters", flat.parameters.dims(), &[pieces.n]));
    }
    let (count, warps) = (chunks.dims()[0], |n: usize| Grid::new([n.div_ceil(4) as u32, 1, 1], [32, 4, 1]));
    let ((b1, b2), dtype) = (adam.betas, flat.gradients.dtype());
    let list = args![partials, flat.gradients, record, chunks, count];
    // SAFETY: chunks lie within the n gradients, as checked when they were cut; a partial sum for each.
    unsafe { dev.launch(by_dtype!("optimizer_novograd_norm", dtype), warps(count), list) }?;
    #[rustfmt::skip]
    let list = args![
        flat.v, rest, partials, record, spans, *tensors, b2 as f32, (1.0 - b2) as f32, adam.eps as f32
    ];
    // SAFETY: v, rest and spans have an entry for each tensor; spans are of chunks.
    unsafe { dev.launch("optimizer_novograd_moment", warps(*tensors), list) }?;
    #[rustfmt::skip]
    let list = args![
        flat.parameters, flat.copy, flat.gradients, flat.m, rest, record, chunks, b1 as f32, adam.weight_decay as f32
    ];
    let grid = Grid::new([count as u32, 1, 1], [256, 1, 1]);
    // SAFETY: a block per chunk; all buffers have n entries.
    unsafe { dev.launch(by_dtype!("optimizer_novograd", dtype), grid, list) }
}

/// Writes `copy` `[n]`, f16 or bf16, from `values` `[n]` f32, each rounded to nearest even: what the optimiser does from
/// then on. Any shapes of as many elements; both start at a multiple of 16 bytes. Errors: `Shape`, `DType`, `Device`.
pub fn round_copy(dev: &Device, values: &Tensor, copy: &Tensor) -> Result<()> {
    let n = values.numel();
    if copy.numel() != n {
        return Err(Error::shape(OP, "copy", copy.dims(), values.dims()));
    }
    if !matches!(copy.dtype(), DType::F16 | DType::BF16) {
        return Err(Error::dtype(OP, "copy", copy.dtype().suffix(), "f16 or bf16"));
    }
    if values.dtype() != DType::F32 {
        return Err(Error::dtype(OP, "values", values.dtype().suffix(), "f32"));
    }
    aligned(OP, &[("copy", copy), ("values", values)])?;
    let grid = Grid::over(n.div_ceil(QUAD), 256);
    // SAFETY: both buffers have n entries, as checked; the kernel exists for the two types.
    unsafe { dev.launch(by_dtype!("optimizer_round", copy.dtype()), grid, args![copy, values, n as u64]) }
}
