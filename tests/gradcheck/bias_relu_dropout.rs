use omega::ops::bias_relu_dropout::bias_relu_dropout;
use omega::ops::linear::linear;
use omega::reference;
use omega::rng::Dropout;
use omega::tape::Tape;

use omega::device::Device;
use omega::tensor::DType;

use crate::common::tape::{RNG, backward, parameter_of};
use crate::common::{HALVES, check_close, check_differences, check_half, devices, random, rounded};

fn factors(drop: Dropout, len: usize) -> Vec<f64> {
    (0..len).map(|i| f64::from(drop.factor(RNG, i as u64))).collect()
}

#[test]
fn reference_against_central_differences() {
    let (n, f) = (4, 7);
    let mut inputs = [random(n * f, 1), random(f, 2)];
    // The slope jumps at 0: stay away from it.
    inputs[0].iter_mut().for_each(|x| *x += x.signum() * 4.0);
    let (factor, dy) = (factors(Dropout { p: 0.3, site: 9 }, n * f), random(n * f, 4));
    let gradients = reference::bias_relu_dropout::backward(&inputs[0], &inputs[1], &factor, &dy);
    check_differences(&inputs, &gradients, 1e-8, |i| {
        reference::bias_relu_dropout::forward(&i[0], &i[1], &factor).iter().zip(&dy).map(|(y, g)| y * g).sum()
    });
}

struct Case {
    size: [usize; 2],
    drop: Dropout,
    /// x, b and dy.
    inputs: [Vec<f64>; 3],
}

impl Case {
    fn new(n: usize, f: usize, p: f32) -> Case {
        let (mut x, b) = (random(n * f, 1), random(f, 2));
        // Where x + b is nearly 0, rounding x would turn a whole gradient on or off.
        x.iter_mut().enumerate().filter(|(i, x)| (**x + b[i % f]).abs() < 0.1).for_each(|(_, x)| *x += 0.25);
        Case { size: [n, f], drop: Dropout { p, site: 9 }, inputs: [x, b, random(n * f, 4)] }
    }

    /// y, dx and db of the device. x comes from a product with the identity, because the op overwrites it.
    fn run(&self, dev: &Device, dtype: DType, accumulate: bool) -> [Vec<f32>; 3] {
        let ([n, f], [x, b, dy]) = (self.size, &self.inputs);
        let identity: Vec<f64> = (0..f * f).map(|i| f64::from(i / f == i % f)).collect();
        let mut tape = Tape::new(dev, RNG, true).with_dtype(dtype);
        let (xv, dx) = parameter_of(&mut tape, dev, x, &[n, f], (dtype, dtype), accumulate);
        let (eye, _) = parameter_of(&mut tape, dev, &identity, &[f, f], (dtype, dtype), false);
        let (bv, db) = parameter_of(&mut tape, dev, b, &[f], (DType::F32, dtype), accumulate);
        let product = linear(&mut tape, xv, eye, None).unwrap();
        let y = bias_relu_dropout(&mut tape, product, bv, self.drop).unwrap();
        let got = dev.read_wide(tape.value(y)).unwrap();
        backward(&mut tape, dev, &[(y, dy)]);
        [got, dev.read_wide(&dx).unwrap(), dev.read_wide(&db).unwrap()]
    }

    /// The same of the reference, of inputs as `dtype` holds them.
    fn reference(&self, dtype: DType) -> [Vec<f64>; 3] {
        let [x, dy] = [0, 2].map(|i| rounded(&self.inputs[i], dtype));
        let (b, factor) = (&self.inputs[1], factors(self.drop, x.len()));
        let [dx, db] = reference::bias_relu_dropout::backward(&x, b, &factor, &dy);
        [reference::bias_relu_dropout::forward(&x, b, &factor), dx, db]
    }
}

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, f, p) in [(1, 1, 0.0), (7, 33, 0.1), (130, 100, 0.5)] {
            let case = Case::new(n, f, p);
            let first = case.run(&dev, DType::F32, false);
            assert_eq!(first, case.run(&dev, DType::F32, false), "two runs, the same bits");
            assert_eq!(first, case.run(&dev, DType::F32, true), "adding to zeros");
            let want = case.reference(DType::F32);
            // Measured: y and dx 8e-8, db 2e-7 of the maximum.
            for (i, (name, bound)) in [("y", 5e-7), ("dx", 5e-7), ("db", 1e-6)].into_iter().enumerate() {
                check_close(name, &first[i], &want[i], bound);
            }
        }
    }
}

/// An overflow before ReLU must reach the loss, where the loss scale sees it.
#[test]
fn nan_stays_nan() {
    for (dev, dtype) in devices().iter().flat_map(|dev| [DType::F32, DType::F16, DType::BF16].map(|dtype| (dev, dtype)))
    {
        let mut case = Case::new(5, 16, 0.0);
        case.inputs[1][3] = f64::NAN;
        let [y, ..] = case.run(dev, dtype, false);
        let nan: Vec<usize> = (0..y.len()).filter(|&i| y[i].is_nan()).collect();
        assert_eq!(nan, [3, 19, 35, 51, 67], "{dtype:?}: the column whose bias is NaN, and no other");
    }
}

/// Measured: at most 1.0 of the error of rounding once.
#[test]
fn half_types_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        for (n, f, p) in [(1, 1, 0.0), (7, 33, 0.1), (65, 8, 0.1), (130, 104, 0.5)] {
            let case = Case::new(n, f, p);
            let got = case.run(dev, dtype, false);
            assert_eq!(got, case.run(dev, dtype, true), "adding to zeros, and two runs, the same bits");
            let (exact, of_rounded) = (case.reference(DType::F32), case.reference(dtype));
            for (i, name) in ["y", "dx", "db"].into_iter().enumerate() {
                check_half(name, &got[i], &exact[i], &of_rounded[i], dtype);
            }
        }
    }
}
