use omega::ops::cross_entropy::cross_entropy;
use omega::ops::linear::linear;
use omega::reference;
use omega::tape::Tape;
use omega::tensor::Tensor;

use crate::common::tape::{RNG, parameter};
use crate::common::{check_close, check_differences, devices, random};

#[test]
fn reference_against_central_differences() {
    let (n, v, e) = (3, 7, 0.1);
    let logits = random(n * v, 1);
    let targets = [0, 6, 3];
    let gradient = reference::cross_entropy::backward(&logits, &targets, e);
    check_differences(&[logits], &[gradient], 1e-8, |i| reference::cross_entropy::forward(&i[0], &targets, e).0);
}

/// Logits come from a product with the identity, because the backward pass overwrites them.
#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, v, e) in [(1, 2, 0.0), (5, 97, 0.1), (70, 300, 0.2)] {
            let logits: Vec<f64> = random(n * v, 1).iter().map(|x| f64::from((x * 5.0 + 30.0) as f32)).collect();
            let targets: Vec<u32> = (0..n).map(|t| (t * 31 % v) as u32).collect();
            let ids: Vec<i32> = targets.iter().map(|&t| t as i32).collect();
            let identity: Vec<f64> = (0..v * v).map(|k| f64::from(k / v == k % v)).collect();
            let run = || {
                let mut tape = Tape::new(&dev, RNG, true);
                let (x, dx) = parameter(&mut tape, &dev, &logits, &[n, v], false);
                let (eye, _) = parameter(&mut tape, &dev, &identity, &[v, v], false);
                let product = linear(&mut tape, x, eye, None).unwrap();
                let ids = dev.upload(&ids, &[n]).unwrap();
                let (loss, nll) = cross_entropy(&mut tape, product, &ids, e as f32).unwrap();
                let read = |t: &Tensor| dev.read::<f32>(t).unwrap();
                let out = [read(tape.value(loss)), read(&nll)];
                tape.backward(loss, 1.0).unwrap();
                let [loss, nll] = out;
                [loss, nll, read(&dx)]
            };
            let got = run();
            assert_eq!(got, run(), "two runs, the same bits");
            let (loss, nll) = reference::cross_entropy::forward(&logits, &targets, e);
            check_close("loss", &got[0], &[loss], 1e-6);
            check_close("nll", &got[1], &[nll], 1e-6);
            // A probability near 1 is the exponential of a difference of numbers near 40. Measured: 1.8e-6.
            check_close("dlogits", &got[2], &reference::cross_entropy::backward(&logits, &targets, e), 5e-6);
        }
    }
}
