//! Token embedding with positions; the tokens of a batch follow Zipf's law, as words do.

use std::collections::BTreeSet;
use std::process::ExitCode;

use omega::bench::{Bench, Op, Operand, RNG, Reference, TapeOp, Work, cargo_bench, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::embed::{EmbedIndex, embed};
use omega::reference::embed::{Lookup, backward, forward};
use omega::rng::{Dropout, Stream};
use omega::tape::{Tape, Var};
use omega::tensor::{DType, Tensor};

/// Sentence length, and so rows of the table of positions.
const POSITIONS: usize = 32;

/// Tokens, vocabulary and width.
struct Embed {
    size: (usize, usize, usize),
    dtype: DType,
    tokens: Vec<u32>,
    positions: Vec<u32>,
    index: EmbedIndex,
    position_table: Tensor,
    drop: Dropout,
}

impl Embed {
    fn scale(&self) -> f32 {
        (self.size.2 as f32).sqrt()
    }

    fn position_values(width: usize) -> Vec<f32> {
        values(POSITIONS * width, 2)
    }
}

impl Bench for Embed {
    const NAME: &'static str = "embed";
    const EXTENTS: &'static str = "T x V x C";
    type Size = (usize, usize, usize);
    const SMALL: &'static [Self::Size] = &[(700, 50, 72), (9, 10, 33)];
    const MODEL: &'static [Self::Size] = &[(4096, 32_768, 512), (4096, 8192, 256), (16_384, 32_768, 1024)];

    const WHY: &'static [(&'static str, &'static str)] = &[(
        "embed_fwd",
        "at this size a warp takes 8 rows and not 16, so that there are 512 warps, and reads positions twice as often",
    )];

    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 3]>::try_from(extents).ok().map(Into::into)
    }

    fn new(dev: &Device, (n, v, c): Self::Size, dtype: DType) -> Result<Self> {
        let mut stream = Stream::new(7, 0);
        let tokens: Vec<u32> = (0..n).map(|_| (v as f64).powf(stream.uniform()) as u32 - 1).collect();
        let positions: Vec<u32> = (0..n).map(|t| (t % POSITIONS) as u32).collect();
        let index = EmbedIndex::new(dev, &tokens, &positions)?;
        let position_table = dev.upload_as(&Embed::position_values(c), &[POSITIONS, c], dtype)?;
        let drop = Dropout { p: 0.1, site: 2 };
        Ok(Embed { size: (n, v, c), dtype, tokens, positions, index, position_table, drop })
    }

    fn shape(&self) -> String {
        let (n, v, c) = self.size;
        format!("T={n} V={v} C={c}")
    }

    fn work(&self) -> Vec<Work> {
        let ((t, _, c), size, u) = (self.size, self.dtype.size(), self.tokens.iter().collect::<BTreeSet<_>>().len());
        vec![
            Work::new("embed_fwd", 2 * size * t * c + t * c / 8 + 12 * t, t * c),
            Work::new("embed_bwd", size * t * c + t * c / 8 + 2 * size * u * c + 4 * t + 8 * u, t * c),
        ]
    }
}

impl TapeOp for Embed {
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        let (_, v, c) = self.size;
        vec![Operand::parameter("table", values(v * c, 1), &[v, c])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        Ok(vec![embed(t, v[0], &self.index, &self.position_table, self.scale(), self.drop)?])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let (n, v, width) = self.size;
        let factor: Vec<f64> = (0..n * width).map(|i| f64::from(self.drop.factor(RNG, i as u64))).collect();
        let lookup = Lookup {
            tokens: &self.tokens,
            positions: &self.positions,
            position_table: &wide(&Embed::position_values(width)),
            factor: &factor,
            scale: self.scale().into(),
            width,
        };
        (vec![forward(&operands[0], &lookup)], vec![backward(v, &lookup, &dy[0])])
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_tape::<Embed>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
