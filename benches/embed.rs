//! Token embedding with positions; the tokens of a batch follow Zipf's law, as words do.

mod common;

use std::collections::BTreeSet;
use std::process::ExitCode;

use common::tape_op::{Operand, Reference, TapeOp, run};
use common::{RNG, values, wide};
use omega::device::Device;
use omega::error::Result;
use omega::ops::embed::{EmbedIndex, embed};
use omega::reference::embed::{Lookup, backward, forward};
use omega::rng::{Dropout, Stream};
use omega::tape::{Tape, Var};
use omega::tensor::Tensor;

/// Sentence length, and so rows of the table of positions.
const POSITIONS: usize = 32;

/// Tokens, vocabulary and width.
struct Embed {
    size: (usize, usize, usize),
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

impl TapeOp for Embed {
    const NAME: &'static str = "embed";
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;
    type Size = (usize, usize, usize);

    fn new(dev: &Device, (n, v, c): Self::Size) -> Result<Self> {
        let mut stream = Stream::new(7, 0);
        let tokens: Vec<u32> = (0..n).map(|_| (v as f64).powf(stream.uniform()) as u32 - 1).collect();
        let positions: Vec<u32> = (0..n).map(|t| (t % POSITIONS) as u32).collect();
        let index = EmbedIndex::new(dev, &tokens, &positions)?;
        let position_table = dev.upload(&Embed::position_values(c), &[POSITIONS, c])?;
        Ok(Embed { size: (n, v, c), tokens, positions, index, position_table, drop: Dropout { p: 0.1, site: 2 } })
    }

    fn shape(&self) -> String {
        let (n, v, c) = self.size;
        format!("T={n} V={v} C={c}")
    }

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

    fn bytes(&self) -> [usize; 2] {
        let ((n, _, c), distinct) = (self.size, self.tokens.iter().collect::<BTreeSet<_>>().len());
        [12 * n * c, 4 * n * c + 8 * distinct * c]
    }
}

fn main() -> ExitCode {
    run::<Embed>(&[(150, 50, 68), (9, 10, 33)], &[(4096, 32_768, 512), (4096, 8192, 256)])
}
