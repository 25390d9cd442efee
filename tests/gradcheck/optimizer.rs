use omega::device::Device;
use omega::ops::optimizer::{Adam, Flat, Pieces, adam, adam_step, novograd, radam_step, round_copy, row};
use omega::reference;
use omega::tensor::{DType, Tensor};

use crate::common::{HALVES, check_close, devices, random, rounded, to_f32};

const ADAM: Adam = Adam { betas: (0.9, 0.98), eps: 1e-8, weight_decay: 0.01 };
const DTYPES: [DType; 3] = [DType::F32, HALVES[0], HALVES[1]];
/// Of the update's learning rate 0.01·t and a norm that is clipped.
const FACTOR: f64 = 0.0625;

/// Flat buffers with gradients of type `dtype`, and a copy of the parameters where that has 2 bytes.
struct Buffers {
    p: Tensor,
    copy: Option<Tensor>,
    m: Tensor,
    v: Tensor,
    record: Tensor,
}

impl Buffers {
    fn new(dev: &Device, start: &[f64], v: usize, dtype: DType) -> Buffers {
        let n = start.len();
        let zeros = |n: usize| dev.upload(&vec![0.0_f32; n], &[n]).unwrap();
        let copy = (dtype != DType::F32).then(|| dev.upload_as(&to_f32(start), &[n], dtype).unwrap());
        Buffers { p: dev.upload(&to_f32(start), &[n]).unwrap(), copy, m: zeros(n), v: zeros(v), record: zeros(8) }
    }

    fn flat<'a>(&'a self, gradients: &'a Tensor) -> Flat<'a> {
        Flat { parameters: &self.p, copy: self.copy.as_ref(), gradients, m: &self.m, v: &self.v }
    }

    /// What loss_scale would write, for the row of one update.
    fn write_record(&self, dev: &Device, row: [f32; 4], done: bool) {
        let mode = if !done { 0.0 } else { 1.0 + row[3] };
        dev.write(&self.record, &[FACTOR as f32, row[1], row[2], mode, 1.0, 1.0, row[0], 1.0]).unwrap();
    }

    /// p, m, v and the copy.
    fn read(&self, dev: &Device) -> [Vec<f32>; 4] {
        let copy = self.copy.as_ref().map_or_else(Vec::new, |copy| dev.read_wide(copy).unwrap());
        [dev.read(&self.p).unwrap(), dev.read(&self.m).unwrap(), dev.read(&self.v).unwrap(), copy]
    }

    /// The copy must be the parameters, rounded once.
    fn check_copy(&self, dev: &Device) {
        if let Some(copy) = &self.copy {
            let values: Vec<f64> = dev.read::<f32>(&self.p).unwrap().into_iter().map(f64::from).collect();
            let same = dev.read_wide(copy).unwrap() == to_f32(&rounded(&values, copy.dtype()));
            assert!(same, "a copy that is not the rounded parameters");
        }
    }
}

/// Measured: p 2.6e-7, m 6.9e-7 (of a single parameter), v 2.5e-7, of any type: gradients are what that type holds.
#[test]
fn adam_and_radam_against_reference() {
    for (dev, dtype) in devices().iter().flat_map(|dev| DTYPES.map(|dtype| (dev, dtype))) {
        for (n, rectified) in [(1, false), (7, true), (64, false), (303, true), (2051, false)] {
            let start = random(n, 1);
            let mut want: Vec<_> = start.iter().map(|&p| (p, 0.0, 0.0)).collect();
            let buffers = Buffers::new(dev, &start, n, dtype);
            for t in 1..=10 {
                let g = rounded(&random(n, 10 + t), dtype);
                let (gradients, lr) = (dev.upload_as(&to_f32(&g), &[n], dtype).unwrap(), 1e-2 * t as f64);
                let step = if rectified { radam_step(ADAM.betas, lr, t) } else { adam_step(ADAM.betas, lr, t) };
                buffers.write_record(dev, row(lr, step, ADAM.weight_decay), true);
                adam(dev, &buffers.flat(&gradients), &buffers.record, &ADAM).unwrap();
                let Adam { betas, eps, weight_decay } = ADAM;
                let u = reference::optimizer::Update { betas, eps, weight_decay, lr, number: t };
                let one = if rectified { reference::optimizer::radam } else { reference::optimizer::adam };
                want.iter_mut().zip(&g).for_each(|(s, g)| *s = one(*s, FACTOR * g, &u));
                buffers.check_copy(dev);
            }
            let part = |f: fn(&(f64, f64, f64)) -> f64| want.iter().map(f).collect::<Vec<_>>();
            let [p, m, v, _] = buffers.read(dev);
            check_close("p", &p, &part(|s| s.0), 1e-6);
            check_close("m", &m, &part(|s| s.1), 1e-6);
            check_close("v", &v, &part(|s| s.2), 1e-6);
        }
    }
}

/// Tensors of odd sizes, one of several chunks, with gaps between them, which nothing may touch.
/// Measured: p 1.4e-7, m 7.9e-8, v 3.4e-7.
#[test]
fn novograd_against_reference() {
    let tensors = [(0, 5), (8, 64), (128, 20_003), (20_136, 1), (20_144, 300)];
    let n = 20_500;
    let inside = |i: usize| tensors.iter().any(|(from, len)| (*from..from + len).contains(&i));
    for (dev, dtype) in devices().iter().flat_map(|dev| DTYPES.map(|dtype| (dev, dtype))) {
        let mut p: Vec<f64> = random(n, 1);
        let (mut m, mut v) = (vec![0.0; n], vec![0.0; tensors.len()]);
        let (start, buffers) = (p.clone(), Buffers::new(dev, &p, tensors.len(), dtype));
        let pieces = Pieces::new(dev, n, &tensors).unwrap();
        for t in 1..=4 {
            let g = rounded(&random(n, 10 + t), dtype);
            let (gradients, lr) = (dev.upload_as(&to_f32(&g), &[n], dtype).unwrap(), 1e-2 * t as f64);
            buffers.write_record(dev, row(lr, Some(lr), ADAM.weight_decay), true);
            novograd(dev, &buffers.flat(&gradients), &buffers.record, &ADAM, &pieces).unwrap();
            let Adam { betas, eps, weight_decay } = ADAM;
            let u = reference::optimizer::Update { betas, eps, weight_decay, lr, number: t };
            for ((from, len), v) in tensors.iter().zip(&mut v) {
                let (at, g) = (*from..from + len, g.iter().map(|g| FACTOR * g).collect::<Vec<_>>());
                reference::optimizer::novograd(&mut p[at.clone()], &mut m[at.clone()], v, &g[at], &u);
            }
            buffers.check_copy(dev);
        }
        let got = buffers.read(dev);
        for ((name, got), want) in ["p", "m", "v"].into_iter().zip(&got).zip([&p, &m, &v]) {
            check_close(name, got, want, 1e-6);
        }
        assert!((0..n).filter(|i| !inside(*i)).all(|i| got[0][i] == start[i] as f32 && got[1][i] == 0.0));
    }
}

/// Not a bit of parameters, moments and copy moves, whatever the gradient holds.
#[test]
fn a_skipped_update_touches_nothing() {
    for (dev, dtype) in devices().iter().flat_map(|dev| DTYPES.map(|dtype| (dev, dtype))) {
        let n = 1030;
        let pieces = Pieces::new(dev, n, &[(0, 1000), (1008, 22)]).unwrap();
        let gradients = [1.0, f32::NAN].map(|g| dev.upload_as(&vec![g; n], &[n], dtype).unwrap());
        for is_novograd in [false, true] {
            let buffers = Buffers::new(dev, &random(n, 1), if is_novograd { 2 } else { n }, dtype);
            let update = |which: usize, done: bool| {
                buffers.write_record(dev, row(0.1, Some(0.1), 0.01), done);
                let flat = buffers.flat(&gradients[which]);
                match is_novograd {
                    false => adam(dev, &flat, &buffers.record, &ADAM).unwrap(),
                    true => novograd(dev, &flat, &buffers.record, &ADAM, &pieces).unwrap(),
                }
                buffers.read(dev)
            };
            let before = update(0, true);
            assert!(update(1, false) == before, "a bit moved");
            assert!(update(0, true) != before, "nothing moves any more");
        }
    }
}

#[test]
fn a_wrong_operand_is_named() {
    for dev in devices() {
        let buffers = Buffers::new(&dev, &random(16, 1), 16, DType::F16);
        let f16s = dev.upload_as(&[1.0; 16], &[16], DType::F16).unwrap();
        let f32s = dev.upload_as(&[1.0; 16], &[16], DType::F32).unwrap();
        let error = |flat: Flat| adam(&dev, &flat, &buffers.record, &ADAM).unwrap_err().to_string();
        assert!(error(buffers.flat(&f32s)).contains("`copy` is of f16, expected f32"));
        assert!(error(buffers.flat(&f16s.view(0, &[8]).unwrap())).contains("`gradients`"));
        assert!(error(Flat { v: &f16s, ..buffers.flat(&f16s) }).contains("`v` is of f16"));
        assert!(error(Flat { m: &f32s.view(8, &[8]).unwrap(), ..buffers.flat(&f16s) }).contains("`m`"));
        let pieces = Pieces::new(&dev, 16, &[(0, 16)]).unwrap();
        let error = novograd(&dev, &buffers.flat(&f16s), &buffers.record, &ADAM, &pieces).unwrap_err().to_string();
        assert!(error.contains("`v`"), "{error}");
        for wrong in [(8, 9), (4, 4)] {
            assert!(Pieces::new(&dev, 16, &[wrong]).is_err(), "{wrong:?}");
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
            assert!(dev.read_wide(&to).unwrap() == to_f32(&rounded(&values, dtype)), "{n} of {dtype:?}");
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
