//! Token embedding with positions. Kernels: `kernels/embed.cu`.

use super::rows;
use crate::args;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};

const OP: &str = "embed";

/// Which rows are looked up, and the order in which the backward pass adds them up. Made once per batch.
#[derive(Clone)]
pub struct EmbedIndex {
    tokens: Tensor,
    positions: Tensor,
    order: Tensor,
    ids: Tensor,
    starts: Tensor,
    /// Largest token and position: what the tables must hold.
    largest: [u32; 2],
}

struct Saved {
    table: Var,
    index: EmbedIndex,
    keep: Option<Tensor>,
    scale: f32,
    drop: Dropout,
}

impl EmbedIndex {
    /// For the T tokens of a packed batch and their positions. Errors: lengths that differ, no token, `Device`.
    pub fn new(dev: &Device, tokens: &[u32], positions: &[u32]) -> Result<EmbedIndex> {
        let (Some(&token), Some(&position)) = (tokens.iter().max(), positions.iter().max()) else {
            return Err(Error::shape(OP, "tokens", &[0], &[1]).hint("a batch has at least one token"));
        };
        if tokens.len() != positions.len() {
            return Err(Error::shape(OP, "positions", &[positions.len()], &[tokens.len()]));
        }
        let mut order: Vec<i32> = (0..tokens.len() as i32).collect();
        order.sort_by_key(|&t| tokens[t as usize]); // stable
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        for (i, &t) in order.iter().enumerate() {
            let id = tokens[t as usize] as i32;
            if ids.last() != Some(&id) {
                ids.push(id);
                starts.push(i as i32);
            }
        }
        starts.push(order.len() as i32);
        let upload = |values: &[i32]| dev.upload(values, &[values.len()]);
        let ints = |values: &[u32]| values.iter().map(|&v| v as i32).collect::<Vec<_>>();
        Ok(EmbedIndex {
            tokens: upload(&ints(tokens))?,
            positions: upload(&ints(positions))?,
            order: upload(&order)?,
            ids: upload(&ids)?,
            starts: upload(&starts)?,
            largest: [token, position],
        })
    }
}

/// `y[t] = dropout(scale·table[token] + positions[position])`: table `[V, C]`, positions `[P, C]`, y `[T, C]`, f32.
/// Errors: `Shape` where the widths differ or an index is outside its table; `Device`.
pub fn embed(
    t: &mut Tape,
    table: Var,
    index: &EmbedIndex,
    positions: &Tensor,
    scale: f32,
    drop: Dropout,
) -> Result<Var> {
    let [v, c] = t.dims(OP, "table", table)?;
    let n = index.tokens.numel();
    if positions.dims().get(1) != Some(&c) || positions.dims()[0] <= index.largest[1] as usize {
        return Err(Error::shape(OP, "positions", positions.dims(), &[index.largest[1] as usize + 1, c]));
    }
    if v <= index.largest[0] as usize {
        return Err(Error::shape(OP, "table", &[v, c], &[index.largest[0] as usize + 1, c])
            .hint("a token id is outside the vocabulary"));
    }
    let (y, rng) = (t.alloc(&[n, c])?, t.rng());
    let keep = (drop.p > 0.0).then(|| t.dev().tensor(&[n, c.div_ceil(32)], DType::I32)).transpose()?;
    #[rustfmt::skip]
    let list = args![
        &y, keep.as_ref(), t.value(table), positions, &index.tokens, &index.positions, n, c, scale,
        drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step,
    ];
    // SAFETY: tokens and positions are inside their tables, as checked; rows < n and columns < c.
    unsafe { t.dev().launch("embed_fwd_f32", rows(n), list) }?;
    Ok(t.push(OP, y, Saved { table, index: index.clone(), keep, scale, drop }))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dy, dev) = (cx.dy(0)?, cx.dev().clone());
        let to = cx.slot(self.table)?;
        if !to.accumulate {
            dev.zero(&to.grad)?; // tokens that the batch lacks
        }
        let (u, ix) = (self.index.ids.numel(), &self.index);
        #[rustfmt::skip]
        let list = args![
            &to.grad, &dy, self.keep.as_ref(), &ix.order, &ix.ids, &ix.starts, u, dy.dims()[1],
            self.scale, self.drop.scale(),
        ];
        // SAFETY: as in the forward pass; each distinct token belongs to one warp.
        unsafe { dev.launch("embed_bwd_f32", rows(u), list) }
    }
}
