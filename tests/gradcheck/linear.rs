use omega::ops::linear::linear;
use omega::reference;
use omega::tape::Tape;

use omega::tensor::DType;

use crate::common::tape::{RNG, backward, parameter, parameter_of};
use crate::common::{HALVES, check_close, check_differences, check_half, devices, random, rounded};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn reference_against_central_differences() {
    let (n, inner, out) = (3, 5, 4);
    let inputs = [random(n * inner, 1), random(out * inner, 2), random(out, 3)];
    let dy = random(n * out, 4);
    let gradients = reference::linear::backward(&inputs[0], &inputs[1], &dy, inner);
    check_differences(&inputs, &gradients, 1e-8, |i| dot(&dy, &reference::linear::forward(&i[0], &i[1], &i[2], inner)));
}

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, inner, out) in [(1, 1, 1), (7, 5, 33), (130, 64, 100)] {
            let (x, w, b) = (random(n * inner, 1), random(out * inner, 2), random(out, 3));
            let dy = random(n * out, 4);
            let mut first = Vec::new();
            for accumulate in [false, true, false] {
                let mut tape = Tape::new(&dev, RNG, true);
                let (xv, dx) = parameter(&mut tape, &dev, &x, &[n, inner], accumulate);
                let (wv, dw) = parameter(&mut tape, &dev, &w, &[out, inner], accumulate);
                let (bv, db) = parameter(&mut tape, &dev, &b, &[out], accumulate);
                let y = linear(&mut tape, xv, wv, Some(bv)).unwrap();
                let got = dev.read::<f32>(tape.value(y)).unwrap();
                backward(&mut tape, &dev, &[(y, &dy)]);
                let grads = [&dx, &dw, &db].map(|g| dev.read::<f32>(g).unwrap());
                // Measured: 3.3e-7 of the maximum.
                check_close("y", &got, &reference::linear::forward(&x, &w, &b, inner), 1e-6);
                for (name, (got, want)) in
                    ["dx", "dw", "db"].iter().zip(grads.iter().zip(reference::linear::backward(&x, &w, &dy, inner)))
                {
                    check_close(name, got, &want, 1e-6);
                }
                let run = (got, grads);
                first.push(run);
            }
            assert_eq!(first[0], first[2], "two runs, the same bits");
        }
    }
}

/// Measured: y at most 1.44 of the error of rounding once (the product is rounded before the bias comes), others 1.0.
#[test]
fn half_types_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        for (n, inner, out) in [(1, 1, 1), (7, 5, 33), (130, 64, 104)] {
            let (x, w, b, dy) = (random(n * inner, 1), random(out * inner, 2), random(out, 3), random(n * out, 4));
            let reference = |dtype: DType| {
                let [x, w, dy] = [&x, &w, &dy].map(|values| rounded(values, dtype));
                let [dx, dw, db] = reference::linear::backward(&x, &w, &dy, inner);
                [reference::linear::forward(&x, &w, &b, inner), dx, dw, db]
            };
            let run = |accumulate: bool| {
                let mut tape = Tape::new(dev, RNG, true).with_dtype(dtype);
                let (xv, dx) = parameter_of(&mut tape, dev, &x, &[n, inner], (dtype, dtype), accumulate);
                let (wv, dw) = parameter_of(&mut tape, dev, &w, &[out, inner], (dtype, dtype), accumulate);
                let (bv, db) = parameter_of(&mut tape, dev, &b, &[out], (DType::F32, dtype), accumulate);
                let y = linear(&mut tape, xv, wv, Some(bv)).unwrap();
                let got = dev.read_wide(tape.value(y)).unwrap();
                backward(&mut tape, dev, &[(y, &dy)]);
                [got, dev.read_wide(&dx).unwrap(), dev.read_wide(&dw).unwrap(), dev.read_wide(&db).unwrap()]
            };
            let got = run(false);
            assert_eq!(got, run(true), "adding to zeros, and two runs, the same bits");
            let (exact, of_rounded) = (reference(DType::F32), reference(dtype));
            for (i, name) in ["y", "dx", "dw", "db"].into_iter().enumerate() {
                check_half(name, &got[i], &exact[i], &of_rounded[i], dtype);
            }
        }
    }
}

#[test]
fn two_uses_double_every_gradient() {
    let (n, inner, out) = (70, 9, 5);
    for dev in devices() {
        let (x, w, b) = (random(n * inner, 1), random(out * inner, 2), random(out, 3));
        let dy = random(n * out, 4);
        let mut tape = Tape::new(&dev, RNG, true);
        let (xv, dx) = parameter(&mut tape, &dev, &x, &[n, inner], false);
        let (wv, dw) = parameter(&mut tape, &dev, &w, &[out, inner], false);
        let (bv, db) = parameter(&mut tape, &dev, &b, &[out], false);
        let y = linear(&mut tape, xv, wv, Some(bv)).unwrap();
        let z = linear(&mut tape, xv, wv, Some(bv)).unwrap();
        backward(&mut tape, &dev, &[(y, &dy), (z, &dy)]);
        for (name, (grad, want)) in
            ["dx", "dw", "db"].iter().zip([dx, dw, db].iter().zip(reference::linear::backward(&x, &w, &dy, inner)))
        {
            let twice: Vec<f64> = want.iter().map(|g| 2.0 * g).collect();
            check_close(name, &dev.read::<f32>(grad).unwrap(), &twice, 1e-6);
        }
    }
}

#[test]
fn a_wrong_shape_names_the_operand() {
    for dev in devices() {
        let mut tape = Tape::new(&dev, RNG, false);
        let (x, _) = parameter(&mut tape, &dev, &random(6, 1), &[2, 3], false);
        let (w, _) = parameter(&mut tape, &dev, &random(8, 2), &[2, 4], false);
        let error = linear(&mut tape, x, w, None).unwrap_err().to_string();
        assert!(error.contains("linear") && error.contains("`w`"), "{error}");
    }
}
