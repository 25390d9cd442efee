//! What ops move, by softgpu's counters, at sizes of the wmt models: bytes over the compulsory ones of the kernels' headers,
//! sector efficiency and bank conflicts.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "traffic/attention.rs"]
mod attention;
#[allow(dead_code)]
mod common;
#[path = "traffic/vocabulary.rs"]
mod vocabulary;

use omega::device::Device;
use omega::ops::bias_relu_dropout::bias_relu_dropout;
use omega::ops::linear::linear;
use omega::ops::moments::moments;
use omega::ops::omega_add_layernorm::{Norm, Sublayer, post_ln, pre_ln};
use omega::rng::Dropout;
use omega::tape::{Tape, Var};
use omega::tensor::{DType, Tensor};
use softgpu::counters::Counters;

use common::tape::{RNG, backward, parameter_of};
use common::{HALVES, random};

/// Tokens of a batch.
const ROWS: usize = 4096;
const SECTOR: u64 = 32;

/// Of all kernels of a pass.
#[derive(Debug, Default)]
struct Moved {
    /// Touched at least once by a launch, in whole sectors: what leaves or enters the chip if a launch's own second looks
    /// find what is there, as they do for vectors of 4·C bytes.
    bytes: u64,
    /// Moved between the caches and the threads.
    requested: u64,
    distinct: u64,
    wavefronts: u64,
    ideal: u64,
    instructions: u64,
}

impl Moved {
    fn of(launches: &[Counters]) -> Moved {
        let mut moved = Moved::default();
        for Counters { total, footprint_read, footprint_written, .. } in launches {
            moved.bytes += footprint_read + footprint_written;
            moved.instructions += total.warp_instructions;
            for global in [&total.global_loads, &total.global_stores] {
                moved.requested += global.sectors * SECTOR;
                moved.distinct += global.bytes_distinct;
            }
            for shared in [&total.shared_loads, &total.shared_stores] {
                moved.wavefronts += shared.wavefronts;
                moved.ideal += shared.wavefronts_ideal;
            }
        }
        moved
    }

    /// `compulsory` bytes, of so many elements; at most `most` times them are asked of the caches.
    fn check(&self, what: &str, compulsory: usize, elements: usize, most: f64) {
        let [bytes, requested] = [self.bytes, self.requested].map(|bytes| bytes as f64 / compulsory as f64);
        let efficiency = self.distinct as f64 / self.requested as f64;
        let conflicts = self.wavefronts - self.ideal;
        let instructions = self.instructions as f64 * 32.0 / elements as f64;
        println!(
            "{what}: {bytes:.3} of {compulsory} bytes, requested {requested:.3}, sectors {efficiency:.4}, \
             {conflicts} conflicts in {} wavefronts, {instructions:.1} instructions per element",
            self.wavefronts
        );
        assert!(bytes <= 1.05, "{what}: {bytes:.3} of the compulsory bytes");
        assert!((0.99..=1.0).contains(&efficiency), "{what}: sector efficiency {efficiency:.4}");
        assert!(conflicts as f64 <= 0.02 * self.wavefronts as f64, "{what}: {conflicts} bank conflicts");
        assert!(requested <= most, "{what}: {requested:.3} of the compulsory bytes requested");
    }
}

/// A tape on a device that counts, operands of one type on it, and the passes counted.
struct Bench {
    dev: Device,
    dtype: DType,
    c: usize,
    values: Vec<f64>,
}

impl Bench {
    fn new(dtype: DType, c: usize) -> Bench {
        Bench { dev: Device::soft_counting(), dtype, c, values: random(ROWS * c, 1) }
    }

    fn matrix(&self, t: &mut Tape) -> Var {
        let tensor = self.dev.upload_as(&common::to_f32(&self.values), &[ROWS, self.c], self.dtype).unwrap();
        t.input(tensor)
    }

    fn vector(&self, t: &mut Tape) -> Var {
        parameter_of(t, &self.dev, &self.values[..self.c], &[self.c], (DType::F32, self.dtype), false).0
    }

    /// Checks both passes of `op` against the bytes per element of a 2-byte type, of which `most` times as many are asked for.
    fn check(&self, name: &str, [fwd, bwd]: [usize; 2], most: f64, op: impl Fn(&Bench, &mut Tape) -> Vec<Var>) {
        let t = &mut Tape::new(&self.dev, RNG, true).with_dtype(self.dtype);
        self.dev.take_counters();
        let outputs = op(self, t);
        let size = self.dtype.size();
        let check = |pass: &str, halves: usize| {
            let (what, elements) = (format!("{name} {pass}, C={} {}", self.c, self.dtype.suffix()), ROWS * self.c);
            Moved::of(&self.dev.take_counters()).check(&what, halves * size / 2 * elements, elements, most);
        };
        check("fwd", fwd);
        let given: Vec<(Var, &[f64])> = outputs.iter().map(|v| (*v, self.values.as_slice())).collect();
        backward(t, &self.dev, &given);
        check("bwd", bwd);
    }
}

fn types() -> impl Iterator<Item = (DType, usize)> {
    HALVES.into_iter().flat_map(|dtype| [(dtype, 512), (dtype, 1024)]).chain([(DType::F32, 512)])
}

const DROP: Dropout = Dropout { p: 0.1, site: 5 };

#[test]
fn omega_add_layernorm_moves_its_compulsory_bytes() {
    for (dtype, c) in types() {
        let bench = Bench::new(dtype, c);
        // Measured: 1.068, Admin's forward pass, of which 0.021 are the bits of dropout, and the rest vectors, from the caches.
        // In f32 the backward pass asks for x and g twice: 1.436.
        let most = if dtype == DType::F32 { 1.45 } else { 1.075 };
        bench.check("Admin", [6, 10], most, |bench, t| {
            let (x, f) = (bench.matrix(t), bench.matrix(t));
            let sublayer = Sublayer { bias: Some(bench.vector(t)), drop: DROP };
            let norm = Norm { gain: bench.vector(t), bias: bench.vector(t) };
            let omega = bench.vector(t);
            vec![post_ln(t, x, f, sublayer, Some(omega), None, norm, 1e-5).unwrap()]
        });
        bench.check("pre-LN", [8, 12], most, |bench, t| {
            let (x, f) = (bench.matrix(t), bench.matrix(t));
            let sublayer = Sublayer { bias: Some(bench.vector(t)), drop: DROP };
            let norm = Norm { gain: bench.vector(t), bias: bench.vector(t) };
            let (h, y) = pre_ln(t, x, f, sublayer, norm, 1e-5).unwrap();
            vec![h, y]
        });
    }
}

#[test]
fn bias_relu_dropout_moves_its_compulsory_bytes() {
    for (dtype, c) in types() {
        // Measured: 1.031.
        Bench::new(dtype, c).check("bias_relu_dropout", [4, 6], 1.035, |bench, t| {
            let (x, b) = (bench.matrix(t), bench.vector(t));
            vec![bias_relu_dropout(t, x, b, DROP).unwrap()]
        });
    }
}

/// The kernels around the product.
#[test]
fn linear_moves_its_compulsory_bytes() {
    for (dtype, c) in types() {
        let bench = Bench::new(dtype, c);
        // Measured: 1.031.
        bench.check("linear", [4, 2], 1.035, |bench, t| {
            let of = |t: &mut Tape, rows: usize| {
                parameter_of(t, &bench.dev, &bench.values[..rows], &[rows, 1], (dtype, dtype), false).0
            };
            let (x, w, b) = (of(t, ROWS), of(t, c), bench.vector(t));
            vec![linear(t, x, w, Some(b)).unwrap()]
        });
    }
}

#[test]
fn moments_moves_its_compulsory_bytes() {
    for (dtype, c) in types() {
        let Bench { dev, values, .. } = Bench::new(dtype, c);
        let upload = |values: &[f64], shape: &[usize], dtype| -> Tensor {
            dev.upload_as(&common::to_f32(values), shape, dtype).unwrap()
        };
        let (x, scale) = (upload(&values, &[ROWS, c], dtype), upload(&values[..c], &[c], DType::F32));
        moments(&dev, &x, Some(&scale)).unwrap();
        let what = format!("moments, C={c} {}", dtype.suffix());
        Moved::of(&dev.take_counters()).check(&what, dtype.size() * ROWS * c, ROWS * c, 1.045); // measured: 1.039
    }
}
