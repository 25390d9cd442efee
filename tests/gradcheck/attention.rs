use std::collections::BTreeMap;

use omega::device::{Allocation, Device};
use omega::ops::attention::{AttentionInput, Seqs, attention};
use omega::reference::attention::Shape;
use omega::rng::Dropout;
use omega::tape::Tape;
use omega::tensor::DType;

use crate::common::tape::{RNG, backward, parameter_of};
use crate::common::{HALVES, check_close, check_differences, devices, error_of_maximum, random, rounded, to_f32};

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
fn run(dev: &Device, case: &Case, x: &[Vec<f64>; 4], packed: bool, accumulate: bool, dtype: DType) -> Vec<Vec<f32>> {
    let ([tq, tk], w, [q, k, v, g]) = (case.rows(), case.width, x);
    let t = &mut Tape::new(dev, RNG, true).with_dtype(dtype);
    let mut operand = |values: &[f64], shape| parameter_of(t, dev, values, shape, (dtype, dtype), accumulate);
    let (input, grads) = if packed {
        let (qkv, grad) = operand(&columns(&[q, k, v], w), &[tq, 3 * w]);
        (AttentionInput::SelfAttention { qkv }, vec![grad])
    } else {
        let ((q, dq), (kv, dkv)) = (operand(q, &[tq, w]), operand(&columns(&[k, v], w), &[tk, 2 * w]));
        (AttentionInput::Cross { q, kv }, vec![dq, dkv])
    };
    let o = attention(t, input, &case.seqs(dev), case.heads, case.causal, case.drop).unwrap();
    let mut out = vec![dev.read_wide(t.value(o)).unwrap()];
    backward(t, dev, &[(o, g)]);
    out.extend(grads.iter().map(|grad| dev.read_wide(grad).unwrap()));
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
    let (x, w) = (operands(case, sharpness), case.width);
    let got = run(dev, case, &x, packed, false, DType::F32);
    assert_eq!(got, run(dev, case, &x, packed, false, DType::F32), "two runs, the same bits");
    assert_eq!(got, run(dev, case, &x, packed, true, DType::F32), "adding to zeros");
    let [q, k, v, g] = x;
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

/// The columns `from .. from + width` of a matrix.
fn part(matrix: &[f32], all: usize, from: usize, width: usize) -> Vec<f32> {
    matrix.chunks(all).flat_map(|row| row[from..from + width].to_vec()).collect()
}

/// The root of the mean square of `got` − `exact`.
fn rms(got: impl Iterator<Item = f64>, exact: &[f64]) -> f64 {
    let squares: f64 = got.zip(exact).map(|(g, e)| (g - e) * (g - e)).sum();
    (squares / exact.len() as f64).sqrt()
}

/// The greatest error of each result of the cases so far, of its maximum: what was got, and what rounding makes of it.
#[derive(Default)]
struct Greatest(BTreeMap<(&'static str, &'static str), [f64; 2]>);

impl Greatest {
    /// Over all cases a maximum is no matter of chance.
    fn check(&self) {
        for ((name, dtype), [got, once]) in &self.0 {
            println!("{name}, {dtype}: maximum of all cases {got:.1e}, {:.2} of rounding once", got / once);
            // Measured: 1.30, where twice is allowed.
            assert!(*got <= 2.0 * once, "{name}, {dtype}: {got:.2e}, of rounding once {once:.2e}");
        }
    }
}

/// O, dQ, dK, dV of a 2-byte type against the reference of inputs as they were: within twice the error that the reference
/// has of rounding its inputs and its result once. The maximum of one tensor is a matter of chance, where it lies next to a
/// boundary of rounding, and has a wider bound of its own; see [`Greatest`].
fn check_of_half(devices: &[Device], case: &Case, packed: bool, sharpness: f64, dtype: DType, greatest: &mut Greatest) {
    let (x, w) = (operands(case, sharpness), case.width);
    let reference = |dtype: DType| {
        let [q, k, v, g] = x.each_ref().map(|values| rounded(values, dtype));
        let [dq, dk, dv] = case.with(|s| s.backward(&q, &k, &v, &g));
        [case.with(|s| s.forward(&q, &k, &v)), dq, dk, dv]
    };
    let (exact, once) = (reference(DType::F32), reference(dtype).map(|result| rounded(&result, dtype)));
    println!("queries {:?} keys {:?} heads {} width {w}", case.cu_q, case.cu_k, case.heads);
    for dev in devices {
        let got = run(dev, case, &x, packed, false, dtype);
        assert_eq!(got, run(dev, case, &x, packed, true, dtype), "adding to zeros, and two runs, the same bits");
        let got = match &got[..] {
            [o, dqkv] => [o.clone(), part(dqkv, 3 * w, 0, w), part(dqkv, 3 * w, w, w), part(dqkv, 3 * w, 2 * w, w)],
            [o, dq, dkv] => [o.clone(), dq.clone(), part(dkv, 2 * w, 0, w), part(dkv, 2 * w, w, w)],
            _ => unreachable!("attention has one operand or two"),
        };
        for (k, name) in ["o", "dq", "dk", "dv"].into_iter().enumerate() {
            let (got, exact, once) = (&got[k], &exact[k], &once[k]);
            if exact.iter().all(|v| *v == 0.0) {
                // One key in all: P is 1 and dS is 0, but for the last bits of lse.
                assert!(got.iter().all(|v| v.abs() <= 1e-6), "{name}, {dtype:?}: {got:?} for zeros");
                continue;
            }
            let (maximum, mean) = (error_of_maximum(got, exact), rms(got.iter().map(|v| f64::from(*v)), exact));
            let (once_maximum, once_mean) = (error_of_maximum(&to_f32(once), exact), rms(once.iter().copied(), exact));
            let (times, times_mean) = (maximum / once_maximum, mean / once_mean);
            let figures =
                format!("{name}, {dtype:?}: maximum {maximum:.1e}, {times:.2} of rounding once, mean {times_mean:.2}");
            println!("{figures}");
            // Measured: 2.17 (one value; all others 1.85) and 1.18.
            assert!(times <= 2.5 && times_mean <= 1.25, "{figures}");
            let all = greatest.0.entry((name, dtype.suffix())).or_default();
            *all = [all[0].max(maximum), all[1].max(once_maximum)];
        }
    }
}

/// Around the 16 rows of a product, the 64 of a stage and the 128 of a block, for every padded width.
#[test]
fn halves_against_reference() {
    let edges = [1, 2, 15, 16, 17, 63, 64, 65];
    let long = [127, 128, 129, 200];
    let cases = [
        (Case::new(&[1], &[1], 1, 16, true, 0.0), true),
        (Case::new(&edges, &edges, 1, 64, false, 0.0), true),
        (Case::new(&edges, &edges, 2, 64, true, 0.1), true),
        (Case::new(&[65, 15, 7, 31, 0], &[3, 33, 0, 1, 5], 2, 48, false, 0.2), false),
        (Case::new(&[17, 2, 64, 20], &[64, 17, 1, 19], 2, 80, false, 0.1), false),
        (Case::new(&[17, 2], &[17, 2], 3, 120, true, 0.1), true),
        (Case::new(&[33, 40], &[40, 33], 1, 64, true, 0.3), false),
        (Case::new(&[20, 33], &[20, 33], 1, 72, true, 0.0), true),
        (Case::new(&[17, 34], &[17, 34], 3, 312, true, 0.1), true),
        (Case::new(&[20, 80], &[20, 80], 1, 96, true, 0.2), true),
        (Case::new(&[17, 130], &[66, 34], 1, 96, false, 0.0), false),
        (Case::new(&[35, 80], &[35, 80], 1, 128, false, 0.1), true),
        (Case::new(&long, &long, 1, 16, true, 0.1), true),
        (Case::new(&[129], &[200], 1, 128, false, 0.0), false),
        (Case::new(&[128], &[128], 1, 128, true, 0.0), true),
        (Case::new(&[200, 17], &[127, 129], 1, 64, false, 0.1), false),
    ];
    let (devices, mut greatest) = (devices(), Greatest::default());
    for (case, packed) in &cases {
        HALVES.into_iter().for_each(|dtype| check_of_half(&devices, case, *packed, 1.0, dtype, &mut greatest));
    }
    greatest.check();
}

/// A second use of the operands adds to their gradients, in f32, and rounds the sum once.
#[test]
fn two_uses_of_halves_double_every_gradient() {
    let case = Case::new(&[20, 33, 1], &[20, 33, 1], 2, 80, true, 0.1);
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        let ([q, k, v, g], w, [tq, _]) = (operands(&case, 1.0), case.width, case.rows());
        let gradient = |uses: usize| {
            let t = &mut Tape::new(dev, RNG, true).with_dtype(dtype);
            let (qkv, grad) = parameter_of(t, dev, &columns(&[&q, &k, &v], w), &[tq, 3 * w], (dtype, dtype), false);
            let input = AttentionInput::SelfAttention { qkv };
            let once = |t: &mut Tape| attention(t, input, &case.seqs(dev), case.heads, true, case.drop).unwrap();
            let of: Vec<_> = (0..uses).map(|_| (once(t), &g[..])).collect();
            backward(t, dev, &of);
            dev.read_wide(&grad).unwrap()
        };
        // The first use's gradient is rounded, the second's is not: half a step each.
        let step = if dtype == DType::F16 { 2f32.powi(-10) } else { 2f32.powi(-7) };
        for (one, two) in gradient(1).iter().zip(gradient(2)) {
            assert!((two - 2.0 * one).abs() <= step * two.abs().max(1e-4), "{dtype:?}: {one} once, {two} twice");
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

/// Scores of ±60, and of ±240, where a sum that is scaled by too much overflows.
#[test]
fn sharp_scores_of_halves_against_reference() {
    let (devices, mut greatest) = (devices(), Greatest::default());
    for (width, causal, sharpness) in [(64, false, 16.0), (64, true, 16.0), (24, true, 16.0), (128, false, 64.0)] {
        let case = Case::new(&[65, 33, 6], &[65, 33, 6], 1, width, causal, 0.0);
        HALVES.into_iter().for_each(|dtype| check_of_half(&devices, &case, true, sharpness, dtype, &mut greatest));
    }
    greatest.check();
}

/// What is there of one operand's gradient is added to, and of the other's is overwritten.
#[test]
fn each_operand_has_its_own_accumulate_flag() {
    let case = Case::new(&[3, 17], &[20, 5], 2, 32, false, 0.0);
    let dtypes = [DType::F32, DType::F16, DType::BF16];
    for (dev, dtype) in devices().iter().flat_map(|dev| dtypes.map(|dtype| (dev, dtype))) {
        let ([q, k, v, g], w, [tq, tk]) = (operands(&case, 1.0), case.width, case.rows());
        let gradients = |add: [bool; 2], found: f32| {
            let t = &mut Tape::new(dev, RNG, true).with_dtype(dtype);
            let mut operand = |values: &[f64], rows, width, add| {
                let (var, grad) = parameter_of(t, dev, values, &[rows, width], (dtype, dtype), add);
                let full = dev.upload_as(&vec![found; rows * width], &[rows, width], dtype).unwrap();
                dev.copy(&grad, &full).unwrap();
                (var, grad)
            };
            let ((q, dq), (kv, dkv)) = (operand(&q, tq, w, add[0]), operand(&columns(&[&k, &v], w), tk, 2 * w, add[1]));
            let input = AttentionInput::Cross { q, kv };
            let o = attention(t, input, &case.seqs(dev), case.heads, false, case.drop).unwrap();
            backward(t, dev, &[(o, &g)]);
            [dev.read_wide(&dq).unwrap(), dev.read_wide(&dkv).unwrap()]
        };
        let plain = gradients([false; 2], f32::NAN);
        for add in [[true, false], [false, true]] {
            // 64 lifts every sum by so much that adding cannot be taken for writing.
            for ((got, plain), add) in gradients(add, 64.0).iter().zip(&plain).zip(add) {
                let lifted = |plain: f32| if add { dtype.round(64.0 + f64::from(plain)) as f32 } else { plain };
                for (got, plain) in got.iter().zip(plain) {
                    // What is added to is rounded once, after the sum: half a step of 64 to 128.
                    assert!((got - lifted(*plain)).abs() <= if add { 0.5 } else { 0.0 }, "{dtype:?}: {got}, {plain}");
                }
            }
        }
    }
}

#[test]
fn unfit_heads_and_batches_are_refused() {
    let dev = Device::soft(Allocation::Separate);
    let refusal = |heads: usize, width: usize, batch: usize, dtype: DType| {
        let t = &mut Tape::new(&dev, RNG, true).with_dtype(dtype);
        let (qkv, _) = parameter_of(t, &dev, &vec![0.0; 3 * width], &[1, 3 * width], (dtype, dtype), false);
        let cu = dev.upload(&vec![0_i32; batch + 1], &[batch + 1]).unwrap();
        let seqs = Seqs { cu_q: cu.clone(), cu_k: cu, batch, max_q: 1, max_k: 1 };
        attention(t, AttentionInput::SelfAttention { qkv }, &seqs, heads, false, Dropout::NONE).unwrap_err().to_string()
    };
    assert!(refusal(4, 24, 1, DType::F32).contains("multiple of 4"), "a head of 6");
    assert!(refusal(2, 24, 1, DType::F16).contains("multiple of 8"), "a head of 12 in f16");
    assert!(refusal(1, 136, 1, DType::F32).contains("at most 128"), "a head of 136");
    assert!(refusal(1, 8, 65_536, DType::F32).contains("at most 65535 sentences"), "a grid too deep");
}
