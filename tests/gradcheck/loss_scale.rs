use omega::ops::loss_scale::loss_scale;
use omega::reference;
use omega::tensor::DType;

use crate::common::{check_close, devices, random, to_f32};

#[test]
fn device_against_reference() {
    for dev in devices() {
        for n in [1, 31, 4096, 20_001] {
            let g = random(n, 1);
            let gradient = dev.upload(&to_f32(&g), &[n]).unwrap();
            let state = dev.tensor(&[3], DType::F32).unwrap();
            for (unscale, clip) in [(1.0, 0.0), (0.01, 0.5), (0.125, 1e9)] {
                loss_scale(&dev, &gradient, unscale as f32, clip as f32, &state).unwrap();
                let got = dev.read::<f32>(&state).unwrap();
                let (norm, factor) = reference::loss_scale::forward(&g, unscale, clip);
                check_close("norm", &got[..1], &[norm], 1e-6);
                check_close("factor", &got[1..2], &[factor], 1e-6);
                assert_eq!(got[2], 1.0);
            }
            let mut broken = to_f32(&g);
            for bad in [f32::NAN, f32::INFINITY] {
                broken[n / 2] = bad;
                dev.write(&gradient, &broken).unwrap();
                loss_scale(&dev, &gradient, 1.0, 0.0, &state).unwrap();
                assert_eq!(dev.read::<f32>(&state).unwrap()[2], 0.0, "{bad} is found");
            }
        }
    }
}
