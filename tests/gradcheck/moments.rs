use omega::ops::moments::moments;
use omega::reference;

use crate::common::{HALVES, devices, random, rounded, to_f32};

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, c) in [(1, 1), (5, 33), (70, 64), (9, 264), (6, 1544), (3, 2056)] {
            // A mean far from zero: a one-pass sum of squares would lose the variance.
            let x: Vec<f64> = random(n * c, 1).iter().map(|x| f64::from((x + 100.0) as f32)).collect();
            let scale = random(c, 2);
            let (xt, st) = (dev.upload(&to_f32(&x), &[n, c]).unwrap(), dev.upload(&to_f32(&scale), &[c]).unwrap());
            for (got, scale) in
                [(moments(&dev, &xt, Some(&st)).unwrap(), scale), (moments(&dev, &xt, None).unwrap(), vec![1.0; c])]
            {
                let (mean, var) = reference::moments::forward(&x, &scale);
                assert!((got.mean - mean).abs() <= 1e-6 * 100.0, "{got:?}, expected {mean}");
                assert!((got.var - var).abs() <= 1e-5 * var + 1e-9, "{got:?}, expected {var}");
            }
        }
    }
}

/// Against the reference of x as the type holds it: the sums are f32.
#[test]
fn half_types_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| HALVES.map(|dtype| (dev, dtype))) {
        for (n, c) in [(1, 1), (5, 33), (70, 64), (9, 264), (6, 1544), (3, 2056)] {
            let x: Vec<f64> = rounded(&random(n * c, 1).iter().map(|x| x + 10.0).collect::<Vec<_>>(), dtype);
            let scale = random(c, 2);
            let xt = dev.upload_as(&to_f32(&x), &[n, c], dtype).unwrap();
            let st = dev.upload(&to_f32(&scale), &[c]).unwrap();
            let got = moments(dev, &xt, Some(&st)).unwrap();
            let (mean, var) = reference::moments::forward(&x, &scale);
            assert!((got.mean - mean).abs() <= 1e-6 * 10.0, "{got:?}, expected {mean}");
            assert!((got.var - var).abs() <= 1e-5 * var + 1e-9, "{got:?}, expected {var}");
            let error = moments(dev, &xt, Some(&xt.view(0, &[c]).unwrap())).unwrap_err().to_string();
            assert!(error.contains("moments") && error.contains("`scale`"), "{error}");
        }
    }
}
