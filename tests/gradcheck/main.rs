//! Every op: its f64 reference against central differences, the device against the reference at odd shapes, gradients
//! that double when the op runs twice into the same place, and the same bits from two runs.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "../common/mod.rs"]
mod common;

mod attention;
mod bias_relu_dropout;
mod cross_entropy;
mod embed;
mod linear;
mod omega_add_layernorm;
mod update;

use omega::Result;
use omega::device::Device;
use omega::rng::RngState;
use omega::tape::{Backward, BackwardCx, Tape, Var};
use omega::tensor::{DType, Tensor};

const RNG: RngState = RngState { seed: 0x0123_4567_89ab_cdef, step: 3 };

/// A parameter on `tape` with these values, and the tensor of its gradient (zeros, added to).
fn parameter(tape: &mut Tape, dev: &Device, values: &[f64], shape: &[usize], accumulate: bool) -> (Var, Tensor) {
    let grad = dev.tensor(shape, DType::F32).unwrap();
    dev.zero(&grad).unwrap();
    let value = dev.upload(&common::to_f32(values), shape).unwrap();
    (tape.parameter(value, grad.clone(), accumulate), grad)
}

/// The end of a test's tape: a loss whose gradient with respect to `of` is `given`.
struct Weights {
    of: Vec<(Var, Tensor)>,
}

impl Backward for Weights {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        for (v, given) in &self.of {
            let copy = cx.dev().tensor(given.dims(), DType::F32)?;
            cx.dev().copy(&copy, given)?;
            cx.give(*v, copy)?;
        }
        Ok(())
    }
}

/// Runs the tape backward with ∂L/∂v = the values given, for each of `of`.
fn backward(tape: &mut Tape, dev: &Device, of: &[(Var, &[f64])]) {
    let of = of.iter().map(|(v, given)| {
        let shape = tape.value(*v).dims().to_vec();
        (*v, dev.upload(&common::to_f32(given), &shape).unwrap())
    });
    let weights = Weights { of: of.collect() };
    let loss = tape.push("weights", dev.upload(&[0.0_f32], &[1]).unwrap(), weights);
    tape.backward(loss, 1.0).unwrap();
}
