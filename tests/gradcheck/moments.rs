use omega::ops::moments::moments;
use omega::reference;

use crate::common::{devices, random, to_f32};

#[test]
fn device_against_reference() {
    for dev in devices() {
        for (n, c) in [(1, 1), (5, 33), (70, 64)] {
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
