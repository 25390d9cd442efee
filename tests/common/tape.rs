//! A tape around one op: its parameters, and an end that hands out the gradients of its outputs.

use omega::Result;
use omega::device::Device;
use omega::rng::RngState;
use omega::tape::{Backward, BackwardCx, Tape, Var};
use omega::tensor::{DType, Tensor};

use super::to_f32;

pub const RNG: RngState = RngState { seed: 0x0123_4567_89ab_cdef, step: 3 };

/// A parameter on `tape` with these values, and the tensor of its gradient: zeros if it is added to, else what is to be
/// overwritten.
pub fn parameter(tape: &mut Tape, dev: &Device, values: &[f64], shape: &[usize], accumulate: bool) -> (Var, Tensor) {
    parameter_of(tape, dev, values, shape, (DType::F32, DType::F32), accumulate)
}

/// The same with the types of value and gradient.
pub fn parameter_of(
    tape: &mut Tape,
    dev: &Device,
    values: &[f64],
    shape: &[usize],
    (of_value, of_grad): (DType, DType),
    accumulate: bool,
) -> (Var, Tensor) {
    let before = if accumulate { 0.0 } else { 3.5 };
    let grad = dev.upload_as(&vec![before; shape.iter().product()], shape, of_grad).unwrap();
    let value = dev.upload_as(&to_f32(values), shape, of_value).unwrap();
    (tape.parameter(value, grad.clone(), accumulate), grad)
}

/// The end of a tape: a loss whose gradient with respect to each of `of` is given.
struct Seed<F> {
    of: Vec<(Var, Tensor)>,
    handed_out: F,
}

impl<F: Fn(&Device) -> Result<()>> Backward for Seed<F> {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        for (v, given) in &self.of {
            // A copy, as some ops turn it into another gradient in place.
            let copy = cx.dev().tensor(given.dims(), given.dtype())?;
            cx.dev().copy(&copy, given)?;
            cx.give(*v, copy)?;
        }
        (self.handed_out)(cx.dev())
    }
}

/// Ends `tape` in a loss with ∂L/∂v as given for each of `of`. In the backward pass `handed_out` runs once the
/// gradients are in place, before the op under test.
pub fn seed<F>(tape: &mut Tape, of: Vec<(Var, Tensor)>, handed_out: F) -> Result<Var>
where
    F: Fn(&Device) -> Result<()> + 'static,
{
    let loss = tape.dev().upload(&[0.0_f32], &[1])?;
    Ok(tape.push("seed", loss, Seed { of, handed_out }))
}

/// Runs the tape backward with ∂L/∂v = the values given, for each of `of`.
pub fn backward(tape: &mut Tape, dev: &Device, of: &[(Var, &[f64])]) {
    let of = of.iter().map(|(v, given)| {
        let value = tape.value(*v);
        (*v, dev.upload_as(&to_f32(given), value.dims(), value.dtype()).unwrap())
    });
    let of = of.collect();
    let loss = seed(tape, of, |_| Ok(())).unwrap();
    tape.backward(loss, 1.0).unwrap();
}
