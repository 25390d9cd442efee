//! The ops whose rows are as many or as wide as the vocabulary: embed and cross_entropy, in 2-byte types.

use std::collections::BTreeSet;

use omega::ops::cross_entropy::{cross_entropy, cross_entropy_from};
use omega::ops::embed::{EmbedIndex, embed};
use omega::rng::Stream;

use super::{DROP, Device, HALVES, Moved, RNG, ROWS, Tape, Tensor, backward, random};

/// Of the recipes' WMT'14 en-de.
const VOCABULARY: usize = 32_768;
/// Tokens of a sentence, so that rows of the table of positions are read by many.
const SENTENCE: usize = 32;

/// Words of a batch: as in text, by Zipf's law, or none of them twice.
fn tokens(alike: bool) -> Vec<u32> {
    let mut stream = Stream::new(7, 0);
    let zipf = |_| (VOCABULARY as f64).powf(stream.uniform()) as u32 - 1;
    let different = |t: usize| (t * 5 % VOCABULARY) as u32;
    if alike { (0..ROWS).map(zipf).collect() } else { (0..ROWS).map(different).collect() }
}

#[test]
fn embed_moves_its_compulsory_bytes() {
    for (dtype, c, alike) in
        HALVES.into_iter().flat_map(|dtype| [(dtype, 512, true), (dtype, 512, false), (dtype, 1024, true)])
    {
        let dev = Device::soft_counting();
        let tokens = tokens(alike);
        let positions: Vec<u32> = (0..ROWS).map(|t| (t % SENTENCE) as u32).collect();
        let index = EmbedIndex::new(&dev, &tokens, &positions).unwrap();
        let zeros = |rows: usize| -> Tensor {
            let tensor = dev.tensor(&[rows, c], dtype).unwrap();
            dev.zero(&tensor).unwrap();
            tensor
        };
        let t = &mut Tape::new(&dev, RNG, true).with_dtype(dtype);
        let table = t.parameter(zeros(VOCABULARY), zeros(VOCABULARY), true);
        dev.take_counters();
        let y = embed(t, table, &index, &zeros(SENTENCE), 1.0, DROP).unwrap();
        let distinct = tokens.iter().collect::<BTreeSet<_>>().len();
        let check = |pass: &str, compulsory: usize| {
            let what = format!("embed {pass}, C={c}, {distinct} words {}", dtype.suffix());
            Moved::of(&dev.take_counters()).check(&what, compulsory, ROWS * c, 1.045); // measured: 1.039
        };
        // The formulas of the header: rows and what dropout kept, then the index.
        check("fwd", 4 * ROWS * c + ROWS * c / 8 + 12 * ROWS);
        backward(t, &dev, &[(y, &random(ROWS * c, 2))]);
        check("bwd", 2 * ROWS * c + ROWS * c / 8 + 4 * distinct * c + 4 * ROWS + 8 * distinct);
    }
}

/// Both passes together: 4 bytes a logit where the gradient is known to start from `dloss`, as the row fits on chip, and 6
/// where it comes later.
#[test]
fn cross_entropy_moves_its_compulsory_bytes() {
    for (dtype, (rows, v, known)) in HALVES
        .into_iter()
        .flat_map(|dtype| [(512, 8000, true), (128, 40_000, true), (128, 40_000, false)].map(|size| (dtype, size)))
    {
        let dev = Device::soft_counting();
        let ids: Vec<i32> = (0..rows).map(|t| (t * 31 % v) as i32).collect();
        let targets = dev.upload(&ids, &[rows]).unwrap();
        let values: Vec<f32> = random(65_537, 1).iter().map(|v| *v as f32).cycle().take(rows * v).collect();
        let dloss = dev.upload(&[128.0_f32], &[1]).unwrap();
        let t = &mut Tape::new(&dev, RNG, true).with_dtype(dtype);
        let logits = t.input(dev.upload_as(&values, &[rows, v], dtype).unwrap());
        dev.take_counters();
        let (loss, _) = match known {
            true => cross_entropy_from(t, logits, &targets, 0.1, &dloss).unwrap(),
            false => cross_entropy(t, logits, &targets, 0.1).unwrap(),
        };
        t.backward_from(loss, dloss).unwrap();
        let (kind, per_logit) = if known { ("fused", 4) } else { ("fwd and bwd", 6) };
        let what = format!("cross_entropy {kind}, V={v} {}", dtype.suffix());
        Moved::of(&dev.take_counters()).check(&what, per_logit * rows * v, rows * v, 1.01); // measured: 1.005
    }
}
