//! Benches of ops with a backward pass, which run on a tape of their own.

use super::Bench;
use super::case::{Case, Figure, Flush, RNG, Work, rounded, values, wide};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::{Backward, BackwardCx, Tape, Var};
use crate::tensor::{DType, Tensor};

/// An operand with a gradient.
pub struct Operand {
    pub name: &'static str,
    pub values: Vec<f32>,
    pub shape: Vec<usize>,
    /// Parameters add to a gradient that lives on, activations write theirs.
    pub parameter: bool,
}

impl Operand {
    pub fn activation(name: &'static str, values: Vec<f32>, shape: &[usize]) -> Operand {
        Operand { name, values, shape: shape.to_vec(), parameter: false }
    }

    pub fn parameter(name: &'static str, values: Vec<f32>, shape: &[usize]) -> Operand {
        Operand { name, values, shape: shape.to_vec(), parameter: true }
    }

    /// Kernels read a model's vectors in f32, whatever the type of its activations.
    fn dtype(&self, dtype: DType) -> DType {
        if self.parameter && self.shape.len() == 1 { DType::F32 } else { dtype }
    }
}

/// Outputs, and the gradients of the operands, of the f64 reference.
pub type Reference = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// One op at one size.
pub trait TapeOp: Bench {
    const OUTPUTS: &'static [&'static str];
    /// Of the check in f32, relative to the largest entry; as measured in the op's gradcheck.
    const BOUND: f64;
    /// Of the check in a 2-byte type, in errors of rounding inputs and output once.
    const TIMES_ROUNDING: f64 = 2.0;

    fn operands(&self) -> Vec<Operand>;
    /// Runs the op; the outputs are those of [`TapeOp::OUTPUTS`].
    fn forward(&self, tape: &mut Tape, operands: &[Var]) -> Result<Vec<Var>>;
    /// For ∂L/∂output = dy.
    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference;
}

/// The end of a tape: a loss whose gradient with respect to each of `of` is given.
struct Seed {
    of: Vec<(Var, Tensor)>,
    flush: Flush,
}

impl Backward for Seed {
    fn backward(&self, cx: &mut BackwardCx) -> Result<()> {
        for (v, given) in &self.of {
            // A copy, as some ops turn it into another gradient in place.
            let copy = cx.dev().tensor(given.dims(), given.dtype())?;
            cx.dev().copy(&copy, given)?;
            cx.give(*v, copy)?;
        }
        self.flush.run(cx.dev())
    }
}

/// An op with its operands on the device: as they were, and as it may overwrite them.
pub struct TapeCase<T> {
    op: T,
    dtype: DType,
    pristine: Vec<Tensor>,
    live: Vec<Tensor>,
    grads: Vec<Option<Tensor>>,
    dy: Vec<(Vec<f32>, Tensor)>,
    flush: Flush,
}

impl<T: TapeOp> TapeCase<T> {
    pub fn new(dev: &Device, op: T, dtype: DType) -> Result<TapeCase<T>> {
        let (mut pristine, mut live, mut grads) = (vec![], vec![], vec![]);
        for operand in op.operands() {
            let (shape, of) = (&operand.shape, operand.dtype(dtype));
            pristine.push(dev.upload_as(&operand.values, shape, of)?);
            live.push(dev.tensor(shape, of)?);
            grads.push(operand.parameter.then(|| dev.tensor(shape, dtype)).transpose()?);
        }
        Ok(TapeCase { op, dtype, pristine, live, grads, dy: vec![], flush: Flush::new(dev)? })
    }

    /// Forward and backward: outputs, if they are kept before the backward pass can overwrite them, and gradients.
    fn pass(&mut self, dev: &Device, keep: bool) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let tape = &mut Tape::new(dev, RNG, true).with_dtype(self.dtype);
        let mut vars = Vec::new();
        for ((pristine, live), grad) in self.pristine.iter().zip(&self.live).zip(&self.grads) {
            dev.copy(live, pristine)?;
            vars.push(match grad {
                Some(grad) => {
                    dev.zero(grad)?;
                    tape.parameter(live.clone(), grad.clone(), true)
                }
                None => tape.input(live.clone()),
            });
        }
        self.flush.run(dev)?;
        let outputs = self.op.forward(tape, &vars)?;
        if self.dy.is_empty() {
            for (k, v) in outputs.iter().enumerate() {
                let (shape, dtype) = (tape.value(*v).dims(), tape.value(*v).dtype());
                let dy = values(shape.iter().product(), 100 + k as u64);
                let on_device = dev.upload_as(&dy, shape, dtype)?;
                self.dy.push((dy, on_device));
            }
        }
        let mut kept = Vec::new();
        for value in outputs.iter().filter(|_| keep).map(|v| tape.value(*v)) {
            let copy = dev.tensor(value.dims(), value.dtype())?;
            dev.copy(&copy, value)?;
            kept.push(copy);
        }
        let of = outputs.into_iter().zip(self.dy.iter().map(|(_, dy)| dy.clone())).collect();
        let loss = tape.push("seed", dev.upload(&[0.0_f32], &[1])?, Seed { of, flush: self.flush.clone() });
        tape.backward(loss, 1.0)?;
        let grad = |v: &Var| tape.grad(*v).cloned().ok_or_else(|| Error::tape("an operand has no gradient"));
        Ok((kept, vars.iter().map(grad).collect::<Result<_>>()?))
    }

    /// The reference of the operands as `dtype` holds those that are of the activations' type.
    fn reference(&self, dtype: DType) -> Vec<Vec<f64>> {
        let operands: Vec<Vec<f64>> =
            self.op.operands().iter().map(|operand| rounded(&wide(&operand.values), operand.dtype(dtype))).collect();
        let dy: Vec<Vec<f64>> = self
            .dy
            .iter()
            .map(|(dy, at)| rounded(&wide(dy), if at.dtype() == DType::F32 { DType::F32 } else { dtype }))
            .collect();
        let (outputs, gradients) = self.op.reference(&operands, &dy);
        outputs.into_iter().chain(gradients).collect()
    }
}

impl<T: TapeOp> Case for TapeCase<T> {
    fn shape(&self) -> String {
        self.op.shape()
    }

    fn work(&self) -> Vec<Work> {
        self.op.work()
    }

    fn check(&mut self, dev: &Device) -> Result<Vec<Figure>> {
        let (outputs, gradients) = self.pass(dev, true)?;
        let (exact, of_rounded) = (self.reference(DType::F32), self.reference(self.dtype));
        let operands = self.op.operands();
        let output_names = T::OUTPUTS.iter().map(|name| (*name).to_owned());
        let names: Vec<String> = output_names.chain(operands.iter().map(|o| format!("d{}", o.name))).collect();
        let got: Vec<Tensor> = outputs.into_iter().chain(gradients).collect();
        if [got.len(), exact.len()] != [names.len(); 2] {
            return Err(Error::device(format!("{}: the check misses values", T::NAME)));
        }
        let figure = |(k, name): (usize, String)| {
            let got = dev.read_wide(&got[k])?;
            Ok(match self.dtype {
                DType::F32 => Figure::of(name, &got, &exact[k], T::BOUND),
                dtype => Figure::of_half(name, &got, [&exact[k], &of_rounded[k]], dtype, (T::BOUND, T::TIMES_ROUNDING)),
            })
        };
        names.into_iter().enumerate().map(figure).collect()
    }

    fn run(&mut self, dev: &Device) -> Result<()> {
        self.pass(dev, false).map(drop)
    }
}
