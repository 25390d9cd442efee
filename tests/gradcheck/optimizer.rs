use omega::ops::loss_scale::loss_scale;
use omega::ops::optimizer::{Adam, Flat, adam_step, optimizer, radam_step, round_copy};
use omega::reference;
use omega::tensor::DType;

use crate::common::{HALVES, check_close, devices, random, rounded, to_f32};

#[test]
fn adam_and_radam_against_reference() {
    let n = 300;
    let adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 0.01 };
    for dev in devices() {
        for rectified in [false, true] {
            let start = random(n, 1);
            let mut want: Vec<_> = start.iter().map(|&p| (p, 0.0, 0.0)).collect();
            let upload = |v: &[f64]| dev.upload(&to_f32(v), &[n]).unwrap();
            let (p, m, v) = (upload(&start), upload(&vec![0.0; n]), upload(&vec![0.0; n]));
            let state = dev.tensor(&[3], DType::F32).unwrap();
            for t in 1..=10 {
                let g = random(n, 10 + t);
                let gradients = upload(&g);
                let (unscale, clip, lr) = (0.5, 3.0, 1e-2 * t as f64);
                loss_scale(&dev, &gradients, unscale as f32, clip as f32, &state).unwrap();
                let step = if rectified { radam_step(adam.betas, lr, t) } else { adam_step(adam.betas, lr, t) };
                let flat = Flat { parameters: &p, gradients: &gradients, m: &m, v: &v };
                optimizer(&dev, &flat, &state, &adam, lr, step).unwrap();
                let (_, factor) = reference::loss_scale::forward(&g, unscale, clip);
                let number = t;
                let u = reference::optimizer::Update { betas: adam.betas, eps: 1e-8, weight_decay: 0.01, lr, number };
                let one = if rectified { reference::optimizer::radam } else { reference::optimizer::adam };
                want.iter_mut().zip(&g).for_each(|(s, g)| *s = one(*s, factor * g, &u));
            }
            let read = |t| dev.read::<f32>(t).unwrap();
            let part = |f: fn(&(f64, f64, f64)) -> f64| want.iter().map(f).collect::<Vec<_>>();
            check_close("p", &read(&p), &part(|s| s.0), 1e-5);
            check_close("m", &read(&m), &part(|s| s.1), 1e-6);
            check_close("v", &read(&v), &part(|s| s.2), 1e-6);
            // A gradient that is not finite changes nothing.
            let before = read(&p);
            let gradients = upload(&vec![f64::NAN; n]);
            loss_scale(&dev, &gradients, 1.0, 0.0, &state).unwrap();
            let flat = Flat { parameters: &p, gradients: &gradients, m: &m, v: &v };
            optimizer(&dev, &flat, &state, &adam, 0.1, adam_step(adam.betas, 0.1, 11)).unwrap();
            assert_eq!(before, read(&p));
        }
    }
}

/// Exactly the values rounded to nearest even, at every tail; those beyond the type's range become infinite.
#[test]
fn a_copy_is_rounded_once() {
    for dev in devices() {
        for (n, dtype) in [0, 1, 3, 4, 5, 1023, 4099].into_iter().flat_map(|n| HALVES.map(|dtype| (n, dtype))) {
            let mut values: Vec<f64> = random(n, 7).iter().map(|v| v * 10.0_f64.powf(v * 6.0)).collect();
            values.iter_mut().for_each(|v| *v = f64::from(*v as f32));
            let (from, to) = (dev.upload(&to_f32(&values), &[n]).unwrap(), dev.tensor(&[n], dtype).unwrap());
            round_copy(&dev, &from, &to).unwrap();
            assert_eq!(dev.read_wide(&to).unwrap(), to_f32(&rounded(&values, dtype)), "{n} of {dtype:?}");
        }
        let values = dev.upload(&[1.0_f32; 8], &[8]).unwrap();
        let copy = dev.tensor(&[8], DType::F16).unwrap();
        let error = |values: &_, copy: &_| round_copy(&dev, values, copy).unwrap_err().to_string();
        assert!(error(&values, &values).contains("`copy`"));
        assert!(error(&copy, &copy).contains("`values`"));
        assert!(error(&values, &copy.view(0, &[7]).unwrap()).contains("`copy`"));
        let odd = (values.view(1, &[5]).unwrap(), copy.view(0, &[5]).unwrap());
        assert!(error(&odd.0, &odd.1).contains("multiple of 16 bytes"));
    }
}
