//! `O = softmax(q·kᵀ/√D)·v`, packed: encoder self-, decoder causal self- and cross-attention. Without dropout, as the
//! models train by default; the gradcheck has it.

use std::process::ExitCode;

use omega::bench::{Bench, Op, Operand, Reference, TapeOp, Work, cargo_bench, values};
use omega::device::Device;
use omega::error::Result;
use omega::ops::attention::{AttentionInput, Seqs, attention};
use omega::reference::attention::Shape;
use omega::rng::Dropout;
use omega::tape::{Tape, Var};
use omega::tensor::DType;

/// Sentences by their lengths; cross-attention has keys of its own.
#[derive(Clone, Copy)]
struct Size {
    queries: &'static [usize],
    keys: Option<&'static [usize]>,
    heads: usize,
    width: usize,
    causal: bool,
}

struct Attention {
    size: Size,
    cu_q: Vec<usize>,
    cu_k: Vec<usize>,
    seqs: Seqs,
    dtype: DType,
}

fn cumulative(lengths: &[usize]) -> Vec<usize> {
    let mut cu = vec![0];
    cu.extend(lengths.iter().scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    }));
    cu
}

/// The columns `from .. from + width` of a matrix.
fn columns(matrix: &[f64], all: usize, from: usize, width: usize) -> Vec<f64> {
    matrix.chunks(all).flat_map(|row| row[from..from + width].to_vec()).collect()
}

/// Matrices of one width side by side.
fn beside(parts: &[Vec<f64>], width: usize) -> Vec<f64> {
    let rows = parts[0].len() / width;
    (0..rows).flat_map(|r| parts.iter().flat_map(move |p| p[r * width..(r + 1) * width].to_vec())).collect()
}

impl Attention {
    fn keys(&self) -> &'static [usize] {
        self.size.keys.unwrap_or(self.size.queries)
    }

    fn rows(&self) -> [usize; 2] {
        [self.size.queries.iter().sum(), self.keys().iter().sum()]
    }
}

/// Sentences of 32 tokens, about the mean of a wmt batch.
const SENTENCES: &[usize] = &[32; 128];
/// The longest that a block owns alone.
const LONG: &[usize] = &[128; 32];
const WMT: Size = Size { queries: SENTENCES, keys: None, heads: 8, width: 512, causal: false };

/// Heads of 40 and 72 are 2.5 and 4.5 sectors wide, in 2-byte types.
const SHARED_SECTORS: &str = "a head of 40 or 72 begins or ends in the middle of a sector, which the block of the head beside \
                              it asks for too: 96 bytes for 80, 160 for 144";

/// The pass of dQ walks the keys to their end and back, and keeps two stages of them.
const WALKED_AGAIN: &str = "on its way back the pass reads K and V again, but for the last two stages, which hold 96 keys at \
                            heads of 96 and 32 at heads of 128 where a block owns 128 queries; with O instead, for delta, it \
                            would move 1.2";

/// What a block does not own it cannot read once.
const SEVERAL_BLOCKS: &str = "a sentence longer than 128 has several blocks, and each walks the other side";

const ODD_ENDS: &str =
    "lse and delta of 16 rows begin anywhere in a sector, as sentences do, and so touch one more than they fill";

/// Sentences of odd lengths, 512 tokens in all.
const ODD: &[usize] = &[21, 37, 13, 29, 5, 41, 19, 33, 27, 11, 35, 43, 17, 31, 25, 125];

impl Bench for Attention {
    const NAME: &'static str = "attention";
    const EXTENTS: &'static str =
        "B x T x H x D (sentences, tokens of each, heads, head size: a multiple of 8 up to 128)";
    type Size = Size;
    const SMALL: &'static [Size] = &[
        Size { queries: &[3, 40, 1], keys: Some(&[35, 2, 4]), heads: 2, width: 80, causal: false },
        Size { queries: &[5, 33, 1, 70], keys: None, heads: 2, width: 128, causal: true },
        Size { queries: &[17, 34], keys: Some(&[65, 1]), heads: 1, width: 32, causal: false },
        Size { queries: &[1, 33], keys: None, heads: 1, width: 96, causal: false },
        Size { queries: &[34, 3], keys: None, heads: 1, width: 128, causal: true },
        // More than one block, and stages that are filled again.
        Size { queries: &[129, 200], keys: None, heads: 1, width: 128, causal: true },
        Size { queries: &[17, 130], keys: Some(&[200, 66]), heads: 2, width: 128, causal: false },
    ];
    const MODEL: &'static [Size] = &[
        WMT,
        Size { causal: true, ..WMT },
        Size { keys: Some(SENTENCES), ..WMT },
        Size { heads: 16, ..WMT },
        Size { width: 768, ..WMT },
        Size { heads: 4, ..WMT },
        Size { width: 320, ..WMT },
        Size { width: 576, ..WMT },
        Size { queries: ODD, ..WMT },
        Size { queries: ODD, heads: 16, ..WMT },
        Size { queries: LONG, width: 768, ..WMT },
        Size { queries: LONG, heads: 4, ..WMT },
    ];

    /// Self-attention.
    fn size(extents: &[usize]) -> Option<Size> {
        let [b, t, heads, d] = <[usize; 4]>::try_from(extents).ok()?;
        if !d.is_multiple_of(8) || d > 128 {
            return None;
        }
        let queries: &'static [usize] = vec![t; b].leak(); // once per command
        Some(Size { queries, keys: None, heads, width: heads * d, causal: false })
    }

    fn counted(size: Size) -> Size {
        // 512 tokens, or a sentence.
        let few = |lengths: &'static [usize]| &lengths[..lengths.len().min((512 / lengths[0]).max(1))];
        Size { queries: few(size.queries), keys: size.keys.map(few), ..size }
    }

    fn new(dev: &Device, size: Size, dtype: DType) -> Result<Self> {
        let keys = size.keys.unwrap_or(size.queries);
        let (cu_q, cu_k) = (cumulative(size.queries), cumulative(keys));
        let upload = |cu: &[usize]| {
            let ints: Vec<i32> = cu.iter().map(|v| *v as i32).collect();
            dev.upload(&ints, &[ints.len()])
        };
        let longest = |lengths: &[usize]| lengths.iter().copied().max().unwrap_or(0);
        let (max_q, max_k) = (longest(size.queries), longest(keys));
        let seqs = Seqs { cu_q: upload(&cu_q)?, cu_k: upload(&cu_k)?, batch: size.queries.len(), max_q, max_k };
        Ok(Attention { size, cu_q, cu_k, seqs, dtype })
    }

    fn shape(&self) -> String {
        let Size { queries, keys, heads, width, causal, .. } = self.size;
        let kind = match (keys, causal) {
            (Some(_), _) => "cross",
            (None, true) => "causal",
            (None, false) => "self",
        };
        // Tokens of each, as in --shape.
        let of_each = |lengths: &[usize]| match (lengths.iter().min(), lengths.iter().max()) {
            (Some(least), Some(most)) if least < most => format!("{least}…{most}"),
            (_, most) => most.copied().unwrap_or(0).to_string(),
        };
        let (of_query, of_key) = (of_each(queries), of_each(self.keys()));
        let tokens = if of_query == of_key { of_query } else { format!("{of_query}/{of_key}") };
        format!("{kind} B={} T={tokens} H={heads} D={}", queries.len(), width / heads)
    }

    /// Every operand once in each pass: Q, K, V, dO and the gradients, and for the row sums delta O in f32, which halves sum
    /// from P; the log-sum-exp and delta are f32, one for each head. An element is a pair of query and key, in one head.
    fn work(&self) -> Vec<Work> {
        let ([tq, tk], w, size) = (self.rows(), self.size.width, self.dtype.size());
        let (q, kv, of_rows) = (size * tq * w, 2 * size * tk * w, 4 * tq * self.size.heads);
        let read_o = if self.dtype == DType::F32 { q } else { 0 };
        let pairs = self.size.queries.iter().zip(self.keys()).map(|(q, k)| q * k).sum::<usize>() * self.size.heads;
        let work = [
            Work::new("attention_fwd", 2 * q + kv + of_rows, pairs),
            Work::new("attention_bwd_q", 3 * q + read_o + kv + 2 * of_rows, pairs),
            Work::new("attention_bwd_kv", 2 * q + 2 * kv + 2 * of_rows, pairs),
        ];
        work.map(|work| work.because(self.why(work.kernel))).to_vec()
    }
}

impl Attention {
    /// Why `kernel` of a 2-byte type moves more than every operand once.
    fn why(&self, kernel: &str) -> &'static str {
        let longest = self.size.queries.iter().chain(self.keys()).copied().max().unwrap_or(0);
        let head = self.size.width / self.size.heads;
        match kernel {
            _ if !head.is_multiple_of(16) => SHARED_SECTORS,
            _ if longest > 128 => SEVERAL_BLOCKS,
            "attention_bwd_q" if head > 96 && longest > 32 || head > 64 && longest > 96 => WALKED_AGAIN,
            _ => ODD_ENDS,
        }
    }
}

impl TapeOp for Attention {
    const OUTPUTS: &'static [&'static str] = &["o"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        let ([tq, tk], w) = (self.rows(), self.size.width);
        if self.size.keys.is_some() {
            let (q, kv) = (values(tq * w, 1), values(tk * 2 * w, 2));
            return vec![Operand::activation("q", q, &[tq, w]), Operand::activation("kv", kv, &[tk, 2 * w])];
        }
        vec![Operand::activation("qkv", values(tq * 3 * w, 1), &[tq, 3 * w])]
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        let input = match *v {
            [q, kv] => AttentionInput::Cross { q, kv },
            _ => AttentionInput::SelfAttention { qkv: v[0] },
        };
        Ok(vec![attention(t, input, &self.seqs, self.size.heads, self.size.causal, Dropout::NONE)?])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let (w, heads, factor) = (self.size.width, self.size.heads, |_: usize, _: usize, _: usize| 1.0);
        let Attention { cu_q, cu_k, .. } = self;
        let shape = Shape { cu_q, cu_k, heads, width: w, causal: self.size.causal, factor: &factor };
        let [q, k, v] = match operands {
            [q, kv] => [q.clone(), columns(kv, 2 * w, 0, w), columns(kv, 2 * w, w, w)],
            _ => [0, w, 2 * w].map(|from| columns(&operands[0], 3 * w, from, w)),
        };
        let o = shape.forward(&q, &k, &v);
        let [dq, dk, dv] = shape.backward(&q, &k, &v, &dy[0]);
        let gradients = match operands.len() {
            2 => vec![dq, beside(&[dk, dv], w)],
            _ => vec![beside(&[dq, dk, dv], w)],
        };
        (vec![o], gradients)
    }
}

pub fn ops() -> Vec<Op> {
    vec![Op::of_tape::<Attention>()]
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
