use omega::device::{Allocation, Device};
use omega::ops::attention::{AttentionInput, Seqs, attention};
use omega::reference::attention::Shape;
use omega::rng::Dropout;
use omega::tape::Tape;

use crate::common::tape::{RNG, backward, parameter};
use crate::common::{check_close, check_differences, devices, random};

struct Case {
    cu_q: Vec<usize>,
    cu_k: Vec<usize>,
    heads: usize,
    width: usize,
    causal: bool,
    drop: Dropout,
}

fn cumulative(lengths: &[usize]) -> Vec<usize> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|n| {
            sum += n;
            sum
        }))
        .collect()
}

fn longest(cu: &[usize]) -> usize {
    cu.windows(2).map(|w| w[1] - w[0]).max().unwrap()
}

impl Case {
    fn new(q: &[usize], k: &[usize], heads: usize, width: usize, causal: bool, p: f32) -> Case {
        let drop = Dropout { p, site: 3 };
        Case { cu_q: cumulative(q), cu_k: cumulative(k), heads, width, causal, drop }
    }

    fn factor(&self, query: usize, head: usize, key: usize) -> f64 {
        let element = (query * self.heads + head) * longest(&self.cu_k).next_multiple_of(4) + key;
        f64::from(self.drop.factor(RNG, element as u64))
    }

    fn rows(&self) -> [usize; 2] {
        [self.cu_q[self.cu_q.len() - 1], self.cu_k[self.cu_k.len() - 1]]
    }

    fn with<R>(&self, f: impl FnOnce(&Shape) -> R) -> R {
        let factor = |query, head, key| self.factor(query, head, key);
        let Case { cu_q, cu_k, heads, width, causal, .. } = self;
        f(&Shape { cu_q, cu_k, heads: *heads, width: *width, causal: *causal, factor: &factor })
    }

    fn seqs(&self, dev: &Device) -> Seqs {
        let upload = |cu: &[usize]| {
            let ints: Vec<i32> = cu.iter().map(|&v| v as i32).collect();
            dev.upload(&ints, &[ints.len()]).unwrap()
        };
        let (max_q, max_k) = (longest(&self.cu_q), longest(&self.cu_k));
        Seqs { cu_q: upload(&self.cu_q), cu_k: upload(&self.cu_k), batch: self.cu_q.len() - 1, max_q, max_k }
    }
}

#[test]
fn reference_against_central_differences() {
    for (q, k, causal) in [([2, 3], [2, 3], true), ([2, 3], [4, 1], false)] {
        let case = Case::new(&q, &k, 2, 6, causal, 0.2);
        let ([tq, tk], w) = (case.rows(), case.width);
        let (inputs, g) = ([random(tq * w, 1), random(tk * w, 2), random(tk * w, 3)], random(tq * w, 4));
        let gradients = case.with(|s| s.backward(&inputs[0], &inputs[1], &inputs[2], &g));
        check_differences(&inputs, &gradients, 1e-8, |i| {
            case.with(|s| s.forward(&i[0], &i[1], &i[2])).iter().zip(&g).map(|(o, g)| o * g).sum()
        });
    }
}

/// Matrices side by side: rows of all, one after the other.
fn columns(parts: &[&[f64]], width: usize) -> Vec<f64> {
    let rows = parts[0].len() / width;
    (0..rows).flat_map(|r| parts.iter().flat_map(move |p| p[r * width..(r + 1) * width].to_vec())).collect()
}

/// O, and the gradients of the operands as they are packed.
fn run(dev: &Device, case: &Case, [q, k, v]: [&[f64]; 3], g: &[f64], packed: bool, accumulate: bool) -> Vec<Vec<f32>> {
    let ([tq, tk], w) = (case.rows(), case.width);
    let t = &mut Tape::new(dev, RNG, true);
    let (input, grads) = if packed {
        let (qkv, grad) = parameter(t, dev, &columns(&[q, k, v], w), &[tq, 3 * w], accumulate);
        (AttentionInput::SelfAttention { qkv }, vec![grad])
    } else {
        let (q, dq) = parameter(t, dev, q, &[tq, w], accumulate);
        let (kv, dkv) = parameter(t, dev, &columns(&[k, v], w), &[tk, 2 * w], accumulate);
        (AttentionInput::Cross { q, kv }, vec![dq, dkv])
    };
    let o = attention(t, input, &case.seqs(dev), case.heads, case.causal, case.drop).unwrap();
    let mut out = vec![dev.read::<f32>(t.value(o)).unwrap()];
    backward(t, dev, &[(o, g)]);
    out.extend(grads.iter().map(|grad| dev.read::<f32>(grad).unwrap()));
    out
}

/// Operands q, k, v and ∂L/∂O. `sharpness` widens q, and with it the scores.
fn operands(case: &Case, sharpness: f64) -> [Vec<f64>; 4] {
    let ([tq, tk], w) = (case.rows(), case.width);
    let q = random(tq * w, 1).iter().map(|v| sharpness * v).collect();
    [q, random(tk * w, 2), random(tk * w, 3), random(tq * w, 4)]
}

/// O and every gradient against the reference; two runs and a run that adds to zeros give the same bits.
fn check(dev: &Device, case: &Case, packed: bool, sharpness: f64, bound: f64) {
    let ([q, k, v, g], w) = (operands(case, sharpness), case.width);
    let got = run(dev, case, [&q, &k, &v], &g, packed, false);
    assert_eq!(got, run(dev, case, [&q, &k, &v], &g, packed, false), "two runs, the same bits");
    assert_eq!(got, run(dev, case, [&q, &k, &v], &g, packed, true), "adding to zeros");
    println!("queries {:?} keys {:?} heads {} width {w}", case.cu_q, case.cu_k, case.heads);
    check_close("o", &got[0], &case.with(|s| s.forward(&q, &k, &v)), bound);
    let [dq, dk, dv] = case.with(|s| s.backward(&q, &k, &v, &g));
    if packed {
        check_close("dqkv", &got[1], &columns(&[&dq, &dk, &dv], w), bound);
    } else {
        check_close("dq", &got[1], &dq, bound);
        check_close("dkv", &got[2], &columns(&[&dk, &dv], w), bound);
    }
}

#[test]
fn device_against_reference() {
    // Around a warp's 32 rows and a group's 4, for head widths with sums in registers (32, 64) and without.
    let edges = [1, 3, 4, 5, 31, 32, 33, 65];
    let cases = [
        (Case::new(&[1], &[1], 1, 8, true, 0.0), true),
        (Case::new(&[5, 33, 1, 64], &[5, 33, 1, 64], 4, 64, false, 0.0), true),
        (Case::new(&[5, 33, 1, 70], &[5, 33, 1, 70], 2, 48, true, 0.1), true),
        (Case::new(&[3, 40, 0, 1], &[35, 2, 4, 1], 2, 80, false, 0.2), false),
        (Case::new(&[33], &[40], 1, 128, false, 0.0), false),
        (Case::new(&[33, 2], &[33, 2], 3, 36, true, 0.1), true),
        (Case::new(&[33, 2], &[7, 34], 2, 8, false, 0.0), false),
        (Case::new(&edges, &edges, 2, 128, false, 0.0), true),
        (Case::new(&edges, &edges, 2, 128, true, 0.1), true),
        (Case::new(&edges, &edges, 1, 32, true, 0.0), true),
        (Case::new(&edges, &edges, 3, 24, false, 0.1), true),
        (Case::new(&[65, 4, 7, 31, 0], &[3, 32, 0, 1, 5], 2, 48, false, 0.2), false),
        (Case::new(&[65, 4, 7, 31, 0], &[3, 33, 0, 1, 5], 2, 64, false, 0.2), false),
        (Case::new(&[5, 40, 34], &[40, 3, 37], 1, 64, true, 0.3), false),
        (Case::new(&[34, 2], &[34, 2], 2, 256, true, 0.1), true),
    ];
    for dev in devices() {
        for (case, packed) in &cases {
            // Measured: 5.6e-7 of the maximum.
            check(&dev, case, *packed, 1.0, 1e-6);
        }
    }
}

/// Scores of ±60, so that maxima move by more than the forward pass lets its reference lag behind.
#[test]
fn sharp_scores_against_reference() {
    for dev in devices() {
        for (width, causal) in [(64, false), (64, true), (24, true)] {
            let case = Case::new(&[65, 33, 6], &[65, 33, 6], 1, width, causal, 0.0);
            // Measured: 4.5e-6 of the maximum, as a score of 60 in f32 allows.
            check(&dev, &case, true, 16.0, 1e-5);
        }
    }
}

#[test]
fn unfit_heads_and_batches_are_refused() {
    let dev = Device::soft(Allocation::Separate);
    let refusal = |heads: usize, width: usize, batch: usize| {
        let t = &mut Tape::new(&dev, RNG, true);
        let (qkv, _) = parameter(t, &dev, &vec![0.0; 3 * width], &[1, 3 * width], false);
        let cu = dev.upload(&vec![0_i32; batch + 1], &[batch + 1]).unwrap();
        let seqs = Seqs { cu_q: cu.clone(), cu_k: cu, batch, max_q: 1, max_k: 1 };
        attention(t, AttentionInput::SelfAttention { qkv }, &seqs, heads, false, Dropout::NONE).unwrap_err().to_string()
    };
    assert!(refusal(4, 24, 1).contains("multiple of 4"), "a head of 6");
    assert!(refusal(1, 136, 1).contains("at most 128"), "a head of 136");
    assert!(refusal(1, 8, 65_536).contains("at most 65535 sentences"), "a grid too deep");
}
