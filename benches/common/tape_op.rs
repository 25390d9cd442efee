//! Benches of ops with a backward pass, which run on a tape of their own.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;

use omega::device::{Device, Event};
use omega::error::{Error, Result};
use omega::tape::{Tape, Var};
use omega::tensor::{DType, Tensor};

use super::tests_common::tape::{RNG, seed};
use super::{Figure, Flush, Line, Repeats, bench, values, wide};

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
}

/// Outputs, and the gradients of the operands, of the f64 reference.
pub type Reference = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// One op at one size.
pub trait TapeOp: Sized {
    const NAME: &'static str;
    const OUTPUTS: &'static [&'static str];
    /// Of the check, relative to the largest entry; as measured in the op's gradcheck.
    const BOUND: f64;
    type Size: Copy;

    fn new(dev: &Device, size: Self::Size) -> Result<Self>;
    fn shape(&self) -> String;
    fn operands(&self) -> Vec<Operand>;
    /// Runs the op; the outputs are those of [`TapeOp::OUTPUTS`].
    fn forward(&self, tape: &mut Tape, operands: &[Var]) -> Result<Vec<Var>>;
    /// For ∂L/∂output = dy.
    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference;
    /// Of the forward and the backward pass, by the formula in the kernel's header.
    fn bytes(&self) -> [usize; 2];
}

/// The operands on the device: as they were, and as the op may overwrite them.
struct Bound {
    pristine: Vec<Tensor>,
    live: Vec<Tensor>,
    grads: Vec<Option<Tensor>>,
    dy: Vec<Tensor>,
    flush: Flush,
}

/// What one run leaves behind.
struct Run {
    outputs: Vec<Tensor>,
    grads: Vec<Tensor>,
    ms: [f32; 2],
}

impl Bound {
    fn new<T: TapeOp>(dev: &Device, op: &T) -> Result<Bound> {
        let mut bound = Bound { pristine: vec![], live: vec![], grads: vec![], dy: vec![], flush: Flush::new(dev)? };
        for operand in op.operands() {
            bound.pristine.push(dev.upload(&operand.values, &operand.shape)?);
            bound.live.push(dev.tensor(&operand.shape, DType::F32)?);
            bound.grads.push(operand.parameter.then(|| dev.tensor(&operand.shape, DType::F32)).transpose()?);
        }
        Ok(bound)
    }

    /// Forward and backward. With `keep` the outputs are copied before the backward pass can overwrite them.
    fn run<T: TapeOp>(&mut self, dev: &Device, op: &T, keep: bool) -> Result<Run> {
        let tape = &mut Tape::new(dev, RNG, true);
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
        dev.synchronize()?;
        let start = dev.event()?;
        let outputs = op.forward(tape, &vars)?;
        let end = dev.event()?;

        if self.dy.is_empty() {
            let dy = |(k, v): (usize, &Var)| {
                let shape = tape.value(*v).dims();
                dev.upload(&values(shape.iter().product(), 100 + k as u64), shape)
            };
            self.dy = outputs.iter().enumerate().map(dy).collect::<Result<_>>()?;
        }
        let mut kept = Vec::new();
        for v in outputs.iter().filter(|_| keep) {
            let copy = dev.tensor(tape.value(*v).dims(), DType::F32)?;
            dev.copy(&copy, tape.value(*v))?;
            kept.push(copy);
        }
        let handed_out: Rc<RefCell<Option<Event>>> = Rc::default();
        let (mark, flush) = (Rc::clone(&handed_out), Flush(self.flush.0.clone()));
        let of = outputs.into_iter().zip(self.dy.iter().cloned()).collect();
        let loss = seed(tape, of, move |dev| {
            flush.run(dev)?;
            *mark.borrow_mut() = Some(dev.event()?);
            Ok(())
        })?;
        tape.backward(loss, 1.0)?;
        let done = dev.event()?;
        let begun = handed_out.take().ok_or_else(|| Error::tape("the backward pass did not start"))?;
        let grad = |v: &Var| tape.grad(*v).cloned().ok_or_else(|| Error::tape("an operand has no gradient"));
        let grads = vars.iter().map(grad).collect::<Result<_>>()?;
        Ok(Run { outputs: kept, grads, ms: [dev.elapsed_ms(&start, &end)?, dev.elapsed_ms(&begun, &done)?] })
    }
}

fn check<T: TapeOp>(dev: &Device, size: T::Size) -> Result<(String, Vec<Figure>)> {
    let op = T::new(dev, size)?;
    let mut bound = Bound::new(dev, &op)?;
    let run = bound.run(dev, &op, true)?;
    let operands = op.operands();
    let inputs: Vec<Vec<f64>> = operands.iter().map(|operand| wide(&operand.values)).collect();
    let dy = bound.dy.iter().map(|dy| Ok(wide(&dev.read::<f32>(dy)?))).collect::<Result<Vec<_>>>()?;
    let (outputs, gradients) = op.reference(&inputs, &dy);
    let output_names = T::OUTPUTS.iter().map(|name| (*name).to_owned());
    let names = output_names.chain(operands.iter().map(|operand| format!("d{}", operand.name)));
    let got = run.outputs.iter().chain(&run.grads);
    let mut figures = Vec::new();
    for ((name, got), want) in names.zip(got).zip(outputs.iter().chain(&gradients)) {
        figures.push(Figure::of(name, &dev.read::<f32>(got)?, want, T::BOUND));
    }
    let all = figures.len() == T::OUTPUTS.len() + operands.len();
    if all { Ok((op.shape(), figures)) } else { Err(Error::device(format!("{}: the check misses values", T::NAME))) }
}

fn time<T: TapeOp>(dev: &Device, size: T::Size, repeats: Repeats) -> Result<Vec<Line>> {
    let op = T::new(dev, size)?;
    let mut bound = Bound::new(dev, &op)?;
    let ms = repeats.median(|| Ok(bound.run(dev, &op, false)?.ms))?;
    let line = |pass, k: usize| Line { pass, dtype: DType::F32, shape: op.shape(), ms: ms[k], bytes: op.bytes()[k] };
    Ok(vec![line("fwd", 0), line("bwd", 1)])
}

/// The main function of a bench: checked at `odd`, timed at `sizes`.
pub fn run<T: TapeOp>(odd: &[T::Size], sizes: &[T::Size]) -> ExitCode {
    bench(T::NAME, odd, sizes, check::<T>, time::<T>)
}
