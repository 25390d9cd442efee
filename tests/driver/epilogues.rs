//! Products that take bias and ReLU with them, against the plain path and the f64 reference. They need a device that has them:
//! the software driver, or a GPU; without one, `device_tests_pass_on_the_cuda_arm` runs them on the former.

use omega::device::{Device, Epilogue, Gemm, Purpose};
use omega::ops::bias_relu_dropout::{Weights, feed_forward};
use omega::ops::linear::linear;
use omega::reference;
use omega::rng::Dropout;
use omega::tape::{Tape, Var};
use omega::tensor::{DType, Tensor};

use crate::common::tape::{RNG, backward, parameter_of};
use crate::common::{HALVES, check_close, check_half, devices, random, rounded, to_f32};

const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// The device with epilogues, and the same without.
fn both() -> Option<[Device; 2]> {
    let fused = devices().into_iter().nth(1)?.with_epilogues(true);
    Some([fused.clone(), fused.with_epilogues(false)])
}

/// A bias: f32, with its copy in the tape's type.
fn bias(tape: &mut Tape, dev: &Device, values: &[f64]) -> (Var, Tensor) {
    let (shape, dtype) = ([values.len()], tape.dtype());
    let grad = dev.tensor(&shape, dtype).unwrap();
    dev.zero(&grad).unwrap();
    let value = dev.upload(&to_f32(values), &shape).unwrap();
    let copy = dev.upload_as(&to_f32(values), &shape, dtype).unwrap();
    (tape.parameter_with_copy(value, copy, grad.clone(), true), grad)
}

fn matrix(tape: &mut Tape, dev: &Device, values: &[f64], shape: [usize; 2]) -> (Var, Tensor) {
    let dtype = tape.dtype();
    parameter_of(tape, dev, values, &shape, (dtype, dtype), true)
}

/// The result and all gradients of an op, and what ran.
struct Run {
    values: Vec<Vec<f32>>,
    times: String,
}

fn run(dev: &Device, dtype: DType, dy: &[f64], op: impl Fn(&mut Tape) -> (Var, Vec<Tensor>)) -> Run {
    dev.take_times();
    let mut tape = Tape::new(dev, RNG, true).with_dtype(dtype);
    let (y, grads) = op(&mut tape);
    let mut values = vec![dev.read_wide(tape.value(y)).unwrap()];
    backward(&mut tape, dev, &[(y, dy)]);
    values.extend(grads.iter().map(|grad| dev.read_wide(grad).unwrap()));
    Run { values, times: dev.times().unwrap() }
}

fn run_linear(dev: &Device, dtype: DType, [n, inner, out]: [usize; 3]) -> Run {
    let (x, w, b) = (random(n * inner, 1), random(out * inner, 2), random(out, 3));
    run(dev, dtype, &random(n * out, 4), |tape| {
        let (xv, dx) = matrix(tape, dev, &x, [n, inner]);
        let (wv, dw) = matrix(tape, dev, &w, [out, inner]);
        let (bv, db) = bias(tape, dev, &b);
        (linear(tape, xv, wv, Some(bv)).unwrap(), vec![dx, dw, db])
    })
}

/// Pre-activations near 0 would turn whole gradients on or off as they are rounded; x is positive and W1 has rows of one sign,
/// so that they are far from it.
fn ffn_inputs([n, inner, f, out]: [usize; 4]) -> [Vec<f64>; 5] {
    let x: Vec<f64> = random(n * inner, 1).iter().map(|v| f64::from((v.abs() + 0.5) as f32)).collect();
    let sign = |row: usize| if row % 3 == 1 { -1.0 } else { 1.0 };
    let w1 =
        random(f * inner, 2).iter().enumerate().map(|(i, v)| f64::from((v.abs() * sign(i / inner)) as f32)).collect();
    let b1 = random(f, 3).iter().enumerate().map(|(row, v)| f64::from((v.abs() * sign(row)) as f32)).collect();
    [x, w1, b1, random(out * f, 4), random(n * out, 5)]
}

fn run_ffn(dev: &Device, dtype: DType, sizes: [usize; 4]) -> Run {
    let ([n, inner, f, out], [x, w1, b1, w2, dy]) = (sizes, ffn_inputs(sizes));
    run(dev, dtype, &dy, |tape| {
        let (xv, dx) = matrix(tape, dev, &x, [n, inner]);
        let (w1, dw1) = matrix(tape, dev, &w1, [f, inner]);
        let (b1, db1) = bias(tape, dev, &b1);
        let (w2, dw2) = matrix(tape, dev, &w2, [out, f]);
        let y = feed_forward(tape, xv, Weights { w1, b1, w2 }, Dropout::NONE).unwrap();
        (y, vec![dx, dw1, db1, dw2])
    })
}

/// The same in f64, of inputs and a hidden layer as `dtype` holds them.
fn reference_ffn(dtype: DType, sizes: [usize; 4]) -> Vec<Vec<f64>> {
    let ([n, inner, f, _], [x, w1, b1, w2, dy]) = (sizes, ffn_inputs(sizes));
    let [x, w1, b1, w2, dy] = [x, w1, b1, w2, dy].map(|values| rounded(&values, dtype));
    let (nothing, once) = (vec![0.0; f], vec![1.0; n * f]);
    let a = reference::linear::forward(&x, &w1, &nothing, inner);
    let h = rounded(&reference::bias_relu_dropout::forward(&a, &b1, &once), dtype);
    let y = reference::linear::forward(&h, &w2, &vec![0.0; dy.len() / n], f);
    let [dh, dw2, _] = reference::linear::backward(&h, &w2, &dy, f);
    let [da, db1] = reference::bias_relu_dropout::backward(&a, &b1, &once, &dh);
    let [dx, dw1, _] = reference::linear::backward(&x, &w1, &rounded(&da, dtype), inner);
    vec![y, dx, dw1, db1, dw2]
}

fn reference_linear(dtype: DType, [n, inner, out]: [usize; 3]) -> Vec<Vec<f64>> {
    let (x, w, b, dy) = (random(n * inner, 1), random(out * inner, 2), random(out, 3), random(n * out, 4));
    let [x, w, b, dy] = [x, w, b, dy].map(|values| rounded(&values, dtype));
    let gradients = reference::linear::backward(&x, &w, &dy, inner);
    [vec![reference::linear::forward(&x, &w, &b, inner)], gradients.to_vec()].concat()
}

/// `names` of what was run, against the reference and, in f32, the plain path. Measured on the software driver: in f32 fused
/// and plain are the same to the bit; in 2-byte types the error is at most 1.09 of rounding inputs (biases too), hidden layer
/// and results once. The plain path does not round biases.
fn compare(names: &[&str], fused: &Run, plain: &Run, dtype: DType, reference: impl Fn(DType) -> Vec<Vec<f64>>) {
    let (exact, of_rounded) = (reference(DType::F32), reference(dtype));
    assert_eq!([names.len(), fused.values.len()], [exact.len(); 2]);
    for (i, name) in names.iter().enumerate() {
        let (fused, plain) = (&fused.values[i], &plain.values[i]);
        if dtype == DType::F32 {
            check_close(name, fused, &exact[i], 1e-6);
            let plain: Vec<f64> = plain.iter().map(|v| f64::from(*v)).collect();
            check_close(&format!("{name} and the plain path's"), fused, &plain, 1e-6);
        } else {
            check_half(name, fused, &exact[i], &of_rounded[i], dtype);
        }
    }
}

#[test]
fn linear_with_its_bias_and_its_gradient() {
    let Some([fused, plain]) = both() else { return };
    for (dtype, sizes) in TYPES.into_iter().flat_map(|t| [[1, 8, 8], [7, 16, 40], [130, 64, 104]].map(|s| (t, s))) {
        let (with, without) = (run_linear(&fused, dtype, sizes), run_linear(&plain, dtype, sizes));
        println!("{dtype:?}, {sizes:?}");
        compare(&["y", "dx", "dw", "db"], &with, &without, dtype, |dtype| reference_linear(dtype, sizes));
        assert!(with.times.contains(", bias ") && with.times.contains(", db "), "{}", with.times);
        assert!(!with.times.contains("linear_"), "{}", with.times);
        assert!(without.times.contains("linear_bwd"), "{}", without.times);
    }
}

#[test]
fn feed_forward_with_its_bias_and_relu() {
    let Some([fused, plain]) = both() else { return };
    // 136 and 40 columns: lines of the mask end in bits that mean nothing.
    let sizes = [[1, 8, 8, 8], [7, 16, 40, 24], [130, 64, 136, 48]];
    for (dtype, sizes) in TYPES.into_iter().flat_map(|t| sizes.map(|s| (t, s))) {
        let (with, without) = (run_ffn(&fused, dtype, sizes), run_ffn(&plain, dtype, sizes));
        println!("{dtype:?}, {sizes:?}");
        compare(&["y", "dx", "dw1", "db1", "dw2"], &with, &without, dtype, |dtype| reference_ffn(dtype, sizes));
        assert!(with.times.contains(", bias, relu ") && with.times.contains(", relu', db "), "{}", with.times);
        assert!(!with.times.contains("bias_relu_dropout_"), "{}", with.times);
        assert!(without.times.contains("bias_relu_dropout_bwd"), "{}", without.times);
    }
}

/// Rows that are no multiple of 16 bytes: nothing is fused, and nothing changes.
#[test]
fn odd_shapes_take_the_plain_path() {
    let Some([fused, plain]) = both() else { return };
    for dtype in TYPES {
        for (sizes, why) in [([7, 5, 33], "both"), ([7, 8, 33], "out"), ([7, 33, 8], "in")] {
            let (with, without) = (run_linear(&fused, dtype, sizes), run_linear(&plain, dtype, sizes));
            assert_eq!(with.values, without.values, "{dtype:?}, {why}");
            assert!(with.times.contains("linear_fwd") && with.times.contains("linear_bwd"), "{}", with.times);
        }
        for sizes in [[7, 5, 33, 3], [7, 8, 33, 8], [9, 9, 8, 8]] {
            let (with, without) = (run_ffn(&fused, dtype, sizes), run_ffn(&plain, dtype, sizes));
            assert_eq!(with.values, without.values, "{dtype:?}, {sizes:?}");
            assert!(with.times.contains("bias_relu_dropout_fwd"), "{}", with.times);
        }
        // The hidden layer is fused; the gradient of a result of 3 columns is not, and finds the ReLU without the mask.
        let sizes = [70, 8, 16, 3];
        let (with, without) = (run_ffn(&fused, dtype, sizes), run_ffn(&plain, dtype, sizes));
        assert!(with.times.contains(", bias, relu ") && with.times.contains("bias_relu_dropout_bwd"), "{}", with.times);
        compare(&["y", "dx", "dw1", "db1", "dw2"], &with, &without, dtype, |dtype| reference_ffn(dtype, sizes));
    }
}

/// A gradient that is there already is added to: a model's gradients do so over micro-batches.
#[test]
fn two_uses_add_up() {
    let Some([fused, _]) = both() else { return };
    let (n, inner, f) = (70, 8, 16);
    for dtype in TYPES {
        let (x, w, b, dy) = (random(n * inner, 1), random(f * inner, 2), random(f, 3), random(n * f, 4));
        let gradient = |uses: usize| {
            let mut tape = Tape::new(&fused, RNG, true).with_dtype(dtype);
            let (xv, _) = matrix(&mut tape, &fused, &x, [n, inner]);
            let (wv, _) = matrix(&mut tape, &fused, &w, [f, inner]);
            let (bv, db) = bias(&mut tape, &fused, &b);
            let ys: Vec<Var> = (0..uses).map(|_| linear(&mut tape, xv, wv, Some(bv)).unwrap()).collect();
            backward(&mut tape, &fused, &ys.iter().map(|y| (*y, &dy[..])).collect::<Vec<_>>());
            fused.read_wide(&db).unwrap()
        };
        let (once, twice) = (gradient(1), gradient(2));
        assert_eq!(once.iter().map(|v| 2.0 * v).collect::<Vec<_>>(), twice, "{dtype:?}: doubling is exact");
    }
}

/// What is not done says so, and touches nothing.
#[test]
fn a_product_that_is_not_done_leaves_everything_alone() {
    let Some([fused, plain]) = both() else { return };
    let tensor = |dev: &Device, shape: &[usize], dtype| {
        let len = shape.iter().product();
        dev.upload_as(&to_f32(&random(len, 1)), shape, dtype).unwrap()
    };
    for dtype in HALVES {
        let [x, w, c] = [[4, 16], [8, 16], [4, 8]].map(|shape| tensor(&fused, &shape, dtype));
        let (b, wide, long) =
            (tensor(&fused, &[8], dtype), tensor(&fused, &[8], DType::F32), tensor(&fused, &[9], dtype));
        let g = Gemm { a: &x, b: &w, c: &c, ta: false, tb: true, m: 4, n: 8, k: 16, beta: 0.0 };
        let before = fused.read_wide(&c).unwrap();
        assert!(!fused.gemm_with(g, Epilogue::Bias { b: &wide }).unwrap(), "a bias of another type");
        assert!(!fused.gemm_with(Gemm { beta: 1.0, ..g }, Epilogue::Bias { b: &b }).unwrap(), "a sum");
        let shifted = tensor(&fused, &[9], dtype).view(1, &[8]).unwrap();
        assert!(!fused.gemm_with(g, Epilogue::Bias { b: &shifted }).unwrap(), "a bias off 16 bytes");
        assert!(!plain.gemm_with(g, Epilogue::Bias { b: &b }).unwrap(), "switched off");
        assert!(fused.gemm_with(g, Epilogue::Bias { b: &long }).is_err(), "a bias that is too long");
        assert_eq!(fused.read_wide(&c).unwrap(), before);
        assert!(fused.gemm_with(g, Epilogue::Bias { b: &b }).unwrap());
        assert!(plain.relu_mask(Purpose::Workspace, 4, 8).unwrap().is_none());
        let mask = fused.relu_mask(Purpose::Workspace, 4, 130).unwrap().unwrap();
        assert_eq!(mask.bytes(), 4 * 2 * 128 / 8, "lines of a multiple of 128 bits");
        assert!(fused.gemm_with(g, Epilogue::BiasRelu { b: &b, mask: &mask }).is_err(), "a mask of another shape");
    }
    assert!(devices()[0].relu_mask(Purpose::Workspace, 4, 8).unwrap().is_none(), "softgpu has no use for one");
}
