use omega::ops::bias_relu_dropout::bias_relu_dropout;
use omega::ops::linear::linear;
use omega::reference;
use omega::rng::Dropout;
use omega::tape::Tape;

use crate::common::tape::{RNG, backward, parameter};
use crate::common::{check_close, check_differences, devices, random};

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

/// x comes from a product with the identity, because the op overwrites it.
#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, f, p) in [(1, 1, 0.0), (7, 33, 0.1), (130, 100, 0.5)] {
            let (x, b, dy) = (random(n * f, 1), random(f, 2), random(n * f, 4));
            let identity: Vec<f64> = (0..f * f).map(|i| f64::from(i / f == i % f)).collect();
            let drop = Dropout { p, site: 9 };
            let factor = factors(drop, n * f);
            let run = |accumulate: bool| {
                let mut tape = Tape::new(&dev, RNG, true);
                let (xv, dx) = parameter(&mut tape, &dev, &x, &[n, f], accumulate);
                let (eye, _) = parameter(&mut tape, &dev, &identity, &[f, f], false);
                let (bv, db) = parameter(&mut tape, &dev, &b, &[f], accumulate);
                let product = linear(&mut tape, xv, eye, None).unwrap();
                let y = bias_relu_dropout(&mut tape, product, bv, drop).unwrap();
                let got = dev.read::<f32>(tape.value(y)).unwrap();
                backward(&mut tape, &dev, &[(y, &dy)]);
                [got, dev.read::<f32>(&dx).unwrap(), dev.read::<f32>(&db).unwrap()]
            };
            let first = run(false);
            assert_eq!(first, run(false), "two runs, the same bits");
            assert_eq!(first, run(true), "adding to zeros");
            let [dx, db] = reference::bias_relu_dropout::backward(&x, &b, &factor, &dy);
            // Measured: y and dx 8e-8, db 2e-7 of the maximum.
            check_close("y", &first[0], &reference::bias_relu_dropout::forward(&x, &b, &factor), 5e-7);
            check_close("dx", &first[1], &dx, 5e-7);
            check_close("db", &first[2], &db, 1e-6);
        }
    }
}
