use half::{bf16, f16};
use omega::device::Device;
use omega::ops::loss_scale::{RECORD, Record, Scaler, Scaling, State, Table, loss_scale};
use omega::reference;
use omega::tensor::{DType, Tensor};

use crate::common::{HALVES, check_close, devices, random, rounded, to_f32};

/// State at `scale`, a table of 64 updates whose rows say their number, and a record.
fn parts(dev: &Device, scale: f32) -> (State, Table, Tensor) {
    let (state, mut table) = (State::new(dev).unwrap(), Table::new(dev, 64).unwrap());
    state.write(dev, 0, &Scaler::new(scale)).unwrap();
    table.fill(dev, 0, |number| [number as f32, 0.5, 0.25, (number % 2) as f32]).unwrap();
    (state, table, dev.tensor(&[RECORD], DType::F32).unwrap())
}

#[test]
fn device_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| [DType::F32, HALVES[0], HALVES[1]].map(|dtype| (dev, dtype))) {
        for n in [0, 1, 31, 8192, 8201, 40_003] {
            let g = rounded(&random(n, 1), dtype);
            let gradient = dev.upload_as(&to_f32(&g), &[n], dtype).unwrap();
            for (per_token, clip, scale) in [(1.0, 0.0, 1.0), (0.01, 0.5, 64.0), (0.125, 1e9, 0.5), (1e-8, 1e-7, 1.0)] {
                let (state, table, record) = parts(dev, scale);
                let numbers = (per_token as f32, clip as f32);
                loss_scale(dev, &gradient, numbers, None, (&state, &table), &record).unwrap();
                let got = dev.read::<f32>(&record).unwrap();
                let unscale = per_token / f64::from(scale);
                let (norm, factor) = reference::loss_scale::forward(&g, unscale, clip);
                // Measured: 9.1e-8.
                check_close("norm", &got[4..5], &[norm], 1e-6);
                check_close("factor", &got[..1], &[factor], 1e-6);
                assert_eq!((&got[1..4], &got[5..]), (&[0.5, 0.25, 2.0][..], &[scale, 1.0, scale][..]));
                assert_eq!(state.read(dev).unwrap(), (1, Scaler::new(scale)));
            }
        }
    }
}

/// One entry that is not finite, wherever it is: no update, and the row of the table stays for the next.
#[test]
fn one_bad_gradient_anywhere_skips_the_update() {
    for dev in devices() {
        let (n, clean) = (8209, 0.5_f32);
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let (state, table, record) = parts(&dev, 1.0);
            let mut values = vec![clean; n];
            for (at, bad) in [(0, f32::NAN), (4100, f32::INFINITY), (8191, f32::NEG_INFINITY), (8208, f32::NAN)] {
                values[at] = bad;
                let gradient = dev.upload_as(&values, &[n], dtype).unwrap();
                loss_scale(&dev, &gradient, (1.0, 1.0), None, (&state, &table), &record).unwrap();
                let got = Record::of(&dev.read::<f32>(&record).unwrap());
                assert!(!got.done && !got.norm.is_finite(), "{bad} at {at} of {dtype:?}: {got:?}");
                values[at] = clean;
            }
            let gradient = dev.upload_as(&values, &[n], dtype).unwrap();
            for number in [1.0, 2.0] {
                loss_scale(&dev, &gradient, (1.0, 0.0), None, (&state, &table), &record).unwrap();
                assert_eq!(dev.read::<f32>(&record).unwrap()[6], number, "the row of the update that is done");
            }
        }
    }
}

/// The largest gradients that f16 has, and beyond: sums of warps are added in f64. More of them than threads that add.
#[test]
fn large_gradients_do_not_overflow_the_norm() {
    for dev in devices() {
        let n = 2_200_000;
        let gradient = dev.upload(&vec![f16::MAX; n], &[n]).unwrap();
        let (state, table, record) = parts(&dev, 65536.0);
        loss_scale(&dev, &gradient, (1.0, 0.0), None, (&state, &table), &record).unwrap();
        let norm = f64::from(f16::MAX) * (n as f64).sqrt() / 65536.0;
        check_close("norm", &dev.read::<f32>(&record).unwrap()[4..5], &[norm], 1e-6);
        let gradient = dev.upload(&vec![bf16::from_f32(1e15); n], &[n]).unwrap();
        loss_scale(&dev, &gradient, (1.0, 0.0), None, (&state, &table), &record).unwrap();
        let norm = bf16::from_f32(1e15).to_f64() * (n as f64).sqrt() / 65536.0;
        check_close("norm", &dev.read::<f32>(&record).unwrap()[4..5], &[norm], 1e-6);
    }
}

/// The scale after each of many random updates, at settings that take every branch: exactly the reference's.
#[test]
fn the_scale_moves_as_the_references() {
    let settings = [(1, 0.0, None), (4, 0.0, None), (7, 0.3, Some(2.0)), (3, 0.5, None), (5, 1.0, Some(0.25))];
    for dev in devices() {
        let bad = dev.upload(&[f32::INFINITY], &[1]).unwrap();
        let good = dev.upload(&[1.0_f32], &[1]).unwrap();
        for (window, tolerance, threshold) in settings {
            let (state, table, record) = parts(&dev, 128.0);
            let mut want = reference::loss_scale::Scaler::new(128.0, window, tolerance, threshold);
            let threshold = threshold.map(|t| t as f32);
            let scaling = Scaling { init: 128.0, window: window as u32, tolerance, threshold, min: 1e-4 };
            for (update, draw) in random(60, window as u64).into_iter().enumerate() {
                let overflow = draw > 0.4;
                let gradient = if overflow { &bad } else { &good };
                loss_scale(&dev, gradient, (1.0, 0.0), Some(&scaling), (&state, &table), &record).unwrap();
                let before = want.scale;
                want.update(overflow);
                let got = dev.read::<f32>(&record).unwrap();
                let scales = [got[5], got[7], dev.read::<f32>(&state.scale).unwrap()[0]].map(f64::from);
                assert_eq!(scales, [want.scale, before, want.scale], "update {update} of {scaling:?}");
                assert_eq!(Record::of(&got).done, !overflow);
            }
        }
        // It never becomes infinite, from where no halving could bring it back.
        let (state, table, record) = parts(&dev, 2.0_f32.powi(127));
        let scaling = Scaling { init: 128.0, window: 1, tolerance: 0.0, threshold: None, min: 1e-4 };
        loss_scale(&dev, &good, (1.0, 0.0), Some(&scaling), (&state, &table), &record).unwrap();
        assert_eq!(state.read(&dev).unwrap().1.scale, 2.0_f32.powi(127));
    }
}

#[test]
fn the_first_underflow_is_foreseen() {
    let scaling = Scaling { init: 128.0, window: 1, tolerance: 0.0, threshold: None, min: 1e-4 };
    for scale in [128.0, 1.0, 3e-4, 2e-4, 1e-4, 1e-9] {
        let mut scaler = reference::loss_scale::Scaler::new(f64::from(scale as f32), 1, 0.0, None);
        let mut updates = 0;
        while updates == 0 || !scaling.underflows(scaler.scale as f32) {
            scaler.update(true);
            updates += 1;
        }
        assert_eq!(scaling.updates_to_underflow(scale as f32), updates, "from {scale}");
    }
    assert_eq!(Scaling { threshold: Some(0.5), ..scaling }.updates_to_underflow(1.0), u64::MAX);
}

#[test]
fn a_wrong_operand_is_named() {
    for dev in devices() {
        let (state, table, record) = parts(&dev, 1.0);
        let gradient = dev.upload(&[1.0_f32; 8], &[8]).unwrap();
        let error = |gradient: &Tensor, record: &Tensor| {
            loss_scale(&dev, gradient, (1.0, 0.0), None, (&state, &table), record).unwrap_err().to_string()
        };
        assert!(error(&gradient, &gradient.view(0, &[7]).unwrap()).contains("`record`"));
        assert!(error(&gradient.view(1, &[5]).unwrap(), &record).contains("`gradient`"));
        assert!(error(&dev.upload(&[1_i32; 4], &[4]).unwrap(), &record).contains("`gradient` is of i32"));
    }
}
