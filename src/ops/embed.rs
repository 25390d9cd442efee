//! Token embedding with positions. Kernels: `kernels/embed.cu`.

use crate::device::{Device, Grid};
use crate::error::{Error, Result};
use crate::rng::Dropout;
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{args, by_dtype};

const OP: &str = "embed";

/// Warps of a backward block, and most rows of a segment that one of them takes: `PIECES` and `SHORT` of the kernel file.
const PIECES: usize = 16;
const SHORT: usize = 32;
/// A forward warp takes so many rows, each row of positions once, and fewer where that would leave a GPU without work.
const ROWS_PER_WARP: usize = 16;
const WARPS: usize = 512;

/// Which rows are looked up, and the order in which the backward pass adds them up. Made once per batch.
#[derive(Clone)]
pub struct EmbedIndex {
    /// All tokens in the order of their positions: row of y, token, position.
    rows: Tensor,
    tokens: Tensor,
    positions: Tensor,
    /// Rows of y by token: those of `ids[u]` are `order[starts[u] .. starts[u + 1]]`; the `long` frequent ones come first.
    order: Tensor,
    ids: Tensor,
    starts: Tensor,
    long: usize,
    /// Largest token and position: what the tables must hold.
    largest: [u32; 2],
}

struct Saved {
    table: Var,
    index: EmbedIndex,
    keep: Option<Tensor>,
    /// Of the table, times that of dropout.
    scale: f32,
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
        let mut rows: Vec<i32> = (0..tokens.len() as i32).collect();
        rows.sort_by_key(|&t| positions[t as usize]); // stable, as is the next
        let of_rows = |of: &[u32]| rows.iter().map(|&t| of[t as usize] as i32).collect::<Vec<_>>();
        let mut order: Vec<i32> = (0..tokens.len() as i32).collect();
        order.sort_by_key(|&t| tokens[t as usize]);
        let mut segments: Vec<&[i32]> = order.chunk_by(|&a, &b| tokens[a as usize] == tokens[b as usize]).collect();
        segments.sort_by_key(|segment| segment.len() <= SHORT);
        let ids: Vec<i32> = segments.iter().map(|segment| tokens[segment[0] as usize] as i32).collect();
        let mut starts = vec![0];
        starts.extend(segments.iter().scan(0, |end, segment| {
            *end += segment.len() as i32;
            Some(*end)
        }));
        let upload = |values: &[i32]| dev.upload(values, &[values.len()]);
        Ok(EmbedIndex {
            rows: upload(&rows)?,
            tokens: upload(&of_rows(tokens))?,
            positions: upload(&of_rows(positions))?,
            order: upload(&segments.concat())?,
            ids: upload(&ids)?,
            starts: upload(&starts)?,
            long: segments.iter().filter(|segment| segment.len() > SHORT).count(),
            largest: [token, position],
        })
    }
}

/// Blocks of columns.
fn columns(c: usize, dtype: DType) -> usize {
    let vector = if c.is_multiple_of(dtype.per_access()) { dtype.per_access() } else { 1 };
    c.div_ceil(32 * vector)
}

/// `y[t] = dropout(scale·table[token] + positions[position])`: table `[V, C]`, positions `[P, C]`, y `[T, C]`, all of the
/// activations' type. Errors: `Shape` where the widths differ or an index is outside its table; `DType`; `Device`.
pub fn embed(
    t: &mut Tape,
    table: Var,
    index: &EmbedIndex,
    positions: &Tensor,
    scale: f32,
    drop: Dropout,
) -> Result<Var> {
    let [v, c] = t.dims(OP, "table", table)?;
    t.expect_activation(OP, "table", table)?;
    let (n, dtype) = (index.tokens.numel(), t.dtype());
    if positions.dtype() != dtype {
        return Err(Error::dtype(OP, "positions", positions.dtype().suffix(), dtype.suffix()));
    }
    if positions.dims().get(1) != Some(&c) || positions.dims()[0] <= index.largest[1] as usize {
        return Err(Error::shape(OP, "positions", positions.dims(), &[index.largest[1] as usize + 1, c]));
    }
    if v <= index.largest[0] as usize {
        return Err(Error::shape(OP, "table", &[v, c], &[index.largest[0] as usize + 1, c])
            .hint("a token id is outside the vocabulary"));
    }
    let (y, rng) = (t.alloc(&[n, c])?, t.rng());
    let keep = (drop.p > 0.0).then(|| t.dev().tensor(&[n, c.div_ceil(32)], DType::I32)).transpose()?;
    let per_warp = (n * columns(c, dtype) / WARPS).clamp(1, ROWS_PER_WARP);
    #[rustfmt::skip]
    let list = args![
        &y, keep.as_ref(), t.value(table), positions, &index.rows, &index.tokens, &index.positions, n, c, per_warp, scale,
        drop.threshold(), drop.scale(), rng.seed, drop.site, rng.step,
    ];
    let grid = Grid::new([n.div_ceil(4 * per_warp) as u32, columns(c, dtype) as u32, 1], [32, 4, 1]);
    // SAFETY: tokens and positions are inside their tables, as checked; rows < n and columns < c.
    unsafe { t.dev().launch(by_dtype!("embed_fwd", dtype), grid, list) }?;
    Ok(t.push(OP, y, Saved { table, index: index.clone(), keep, scale: scale * drop.scale() }))
}

impl Backward for Saved {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let (dy, dev, ix) = (cx.dy(0)?, cx.dev().clone(), &self.index);
        let (to, dtype) = (cx.slot(self.table)?, dy.dtype());
        if to.grad.dtype() != dtype {
            return Err(Error::dtype(OP, "gradient of table", to.grad.dtype().suffix(), dtype.suffix()));
        }
        if !to.accumulate {
            dev.zero(&to.grad)?; // tokens that the batch lacks
        }
        let (u, c) = (ix.ids.numel(), dy.dims()[1]);
        #[rustfmt::skip]
        let list = args![
            &to.grad, &dy, self.keep.as_ref(), &ix.order, &ix.ids, &ix.starts, u, ix.long, c, self.scale,
        ];
        let blocks = ix.long + (u - ix.long).div_ceil(PIECES);
        let grid = Grid::new([blocks as u32, columns(c, dtype) as u32, 1], [32, PIECES as u32, 1]);
        // SAFETY: as in the forward pass; each distinct token belongs to one warp, or one block.
        unsafe { dev.launch(by_dtype!("embed_bwd", dtype), grid, list) }
    }
}
