use omega::Result;
use omega::device::Device;
use omega::ops::cross_entropy::{cross_entropy, cross_entropy_from};
use omega::reference;
use omega::tape::{Backward, BackwardCx, Tape, Var};
use omega::tensor::{DType, Tensor};

use crate::common::tape::RNG;
use crate::common::{HALVES, check_close, check_differences, check_half, devices, random, rounded, to_f32};

const SMOOTHING: f64 = 0.125; // the same number in f32 and f64, as is:
const DLOSS: f64 = 128.0;
/// Rows shorter than an access, of one warp, of many, and of every alignment. At 30,000 a row of f32 is not on chip.
const SIZES: [(usize, usize); 10] =
    [(1, 1), (33, 1), (300, 5), (7, 5), (33, 33), (7, 100), (33, 1000), (1, 8000), (5, 10_001), (2, 30_000)];

#[test]
fn reference_against_central_differences() {
    let (n, v, e) = (3, 7, 0.1);
    let logits = random(n * v, 1);
    let targets = [0, 6, 3];
    let gradient = reference::cross_entropy::backward(&logits, &targets, e);
    check_differences(&[logits], &[gradient], 1e-8, |i| reference::cross_entropy::forward(&i[0], &targets, e).0);
}

/// The op that logits come from: keeps their gradient.
struct Source(Tensor);

impl Backward for Source {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        let dx = cx.dy(0)?;
        cx.dev().copy(&self.0, &dx)
    }
}

fn logits(n: usize, v: usize) -> (Vec<f64>, Vec<u32>) {
    let logits = random(n * v, 1).iter().map(|x| f64::from((x * 5.0 + 30.0) as f32)).collect();
    (logits, (0..n).map(|t| (t * 31 % v) as u32).collect())
}

/// A tape with logits of its type; their gradient will be in the tensor.
fn tape(dev: &Device, logits: &[f64], n: usize, dtype: DType) -> (Tape, Var, Tensor) {
    let mut tape = Tape::new(dev, RNG, true).with_dtype(dtype);
    let shape = [n, logits.len() / n];
    let dx = dev.tensor(&shape, dtype).unwrap();
    let x = tape.push("source", dev.upload_as(&to_f32(logits), &shape, dtype).unwrap(), Source(dx.clone()));
    (tape, x, dx)
}

/// Loss, nll and dlogits; `fused`: for a dloss that is known before.
fn run(dev: &Device, x: &[f64], targets: &[u32], dtype: DType, fused: bool) -> [Vec<f32>; 3] {
    let (mut tape, x, dx) = tape(dev, x, targets.len(), dtype);
    let ids: Vec<i32> = targets.iter().map(|&t| t as i32).collect();
    let ids = dev.upload(&ids, &[ids.len()]).unwrap();
    let dloss = dev.upload(&[DLOSS as f32], &[1]).unwrap();
    let (loss, nll) = match fused {
        true => cross_entropy_from(&mut tape, x, &ids, SMOOTHING as f32, &dloss),
        false => cross_entropy(&mut tape, x, &ids, SMOOTHING as f32),
    }
    .unwrap();
    let sums = [dev.read(tape.value(loss)).unwrap(), dev.read(&nll).unwrap()];
    tape.backward_from(loss, dloss).unwrap();
    let [loss, nll] = sums;
    [loss, nll, dev.read_wide(&dx).unwrap()]
}

fn want(logits: &[f64], targets: &[u32]) -> [Vec<f64>; 3] {
    let (loss, nll) = reference::cross_entropy::forward(logits, targets, SMOOTHING);
    let dx = reference::cross_entropy::backward(logits, targets, SMOOTHING).iter().map(|g| DLOSS * g).collect();
    [vec![loss], vec![nll], dx]
}

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, v) in SIZES {
            let (logits, targets) = logits(n, v);
            let got = run(&dev, &logits, &targets, DType::F32, false);
            assert_eq!(got, run(&dev, &logits, &targets, DType::F32, false), "two runs, the same bits");
            assert_eq!(got, run(&dev, &logits, &targets, DType::F32, true), "in one pass, the same bits");
            // Measured: 2e-7 of the maximum.
            for ((name, got), want) in ["loss", "nll", "dlogits"].iter().zip(&got).zip(&want(&logits, &targets)) {
                check_close(&format!("{name} of {n} x {v}"), got, want, 1e-6);
            }
        }
    }
}

/// The sums are f32, exact for the logits as they are held. Measured: 1e-7; dlogits at most 1.00 of rounding once.
#[test]
fn half_types_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        for (n, v) in SIZES {
            let (logits, targets) = logits(n, v);
            let got = run(dev, &logits, &targets, dtype, true);
            assert_eq!(got, run(dev, &logits, &targets, dtype, false), "in two passes, the same bits");
            let (exact, of_rounded) = (want(&logits, &targets), want(&rounded(&logits, dtype), &targets));
            check_close(&format!("loss of {n} x {v}, {dtype:?}"), &got[0], &of_rounded[0], 1e-6);
            check_close(&format!("nll of {n} x {v}, {dtype:?}"), &got[1], &of_rounded[1], 1e-6);
            check_half(&format!("dlogits of {n} x {v}"), &got[2], &exact[2], &of_rounded[2], dtype);
        }
    }
}

/// Of another warp than the first, and far more than exp can take: the maximum must be the row's. Measured: 5.1e-8.
#[test]
fn one_logit_far_above_the_others() {
    for dev in devices() {
        for v in [1000, 10_001, 30_000] {
            let mut logits = random(v, 1);
            logits[v - 1] = 300.0;
            for fused in [true, false] {
                let got = run(&dev, &logits, &[5], DType::F32, fused);
                for ((name, got), want) in ["loss", "nll", "dlogits"].iter().zip(&got).zip(&want(&logits, &[5])) {
                    check_close(&format!("{name} of {v}"), got, want, 1e-6);
                }
            }
        }
    }
}

#[test]
fn a_wrong_operand_is_named() {
    for dev in devices() {
        let ids = dev.upload(&[0, 1], &[2]).unwrap();
        let [one, other] = [1.0_f32, 2.0].map(|d| dev.upload(&[d], &[1]).unwrap());
        let start = || tape(&dev, &random(6, 1), 2, DType::F32);
        let (mut t, x, _) = start();
        let message = cross_entropy(&mut t, x, &one, 0.1).unwrap_err().to_string();
        assert!(message.contains("`targets`"), "{message}");
        let (mut t, x, _) = start();
        let message = cross_entropy_from(&mut t, x, &ids, 0.1, &ids).unwrap_err().to_string();
        assert!(message.contains("`dloss`"), "{message}");
        let (t, x, _) = start();
        let message = cross_entropy(&mut t.with_dtype(DType::F16), x, &ids, 0.1).unwrap_err().to_string();
        assert!(message.contains("`logits` is of f32, expected f16"), "{message}");
        let (mut t, x, _) = start();
        let (loss, _) = cross_entropy_from(&mut t, x, &ids, 0.1, &one).unwrap();
        let message = t.backward_from(loss, other).unwrap_err().to_string();
        assert!(message.contains("another dloss"), "{message}");
    }
}
