//! The tape: a list of nodes, each with the named state that its op saved. Backward replays it in reverse.
//!
//! Write rule: the first writer of a gradient overwrites (`accumulate` 0), every later one adds. A gradient that is
//! asked for and was never written is an error, not a zero.

mod recompute;

use crate::device::{Device, Purpose};
use crate::error::{Error, Result};
use crate::rng::RngState;
use crate::tensor::{DType, Tensor};

/// A value on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Var(usize);

/// What an op keeps for its backward pass, and the pass itself.
pub trait Backward {
    /// Reads the output gradients from `cx` and writes or adds to those of the inputs.
    fn backward(&self, cx: &mut BackwardCx<'_>) -> Result<()>;
}

/// Where to put a gradient: write it, or add to it when `accumulate`.
pub struct Slot {
    pub grad: Tensor,
    pub accumulate: bool,
}

struct Node {
    op: &'static str,
    outputs: Vec<Var>,
    saved: Box<dyn Backward>,
}

struct Entry {
    value: Option<Tensor>,
    /// `value` in the type of the activations, for an f32 parameter that has such a copy.
    rounded: Option<Tensor>,
    grad: Option<Tensor>,
    /// Somebody has written `grad` already, in this pass or, for a parameter, in an earlier micro-batch.
    written: bool,
    /// Made by an op: value and gradient return to the arena once the op's backward has run.
    transient: bool,
    /// The gradient stays all the same.
    watched: bool,
}

/// Values, and the ops between them in the order they ran.
pub struct Tape {
    dev: Device,
    rng: RngState,
    dtype: DType,
    recording: bool,
    entries: Vec<Entry>,
    nodes: Vec<Node>,
}

impl Tape {
    /// An empty tape on `dev` with f32 activations. Without `recording` ops run but cannot be replayed (translation,
    /// validation).
    pub fn new(dev: &Device, rng: RngState, recording: bool) -> Tape {
        Tape { dev: dev.clone(), rng, dtype: DType::F32, recording, entries: Vec::new(), nodes: Vec::new() }
    }

    /// The same with activations, and so their gradients, of this type: f32, f16 or bf16.
    pub fn with_dtype(self, dtype: DType) -> Tape {
        debug_assert!(dtype.is_float());
        Tape { dtype, ..self }
    }

    pub fn dev(&self) -> &Device {
        &self.dev
    }

    pub fn rng(&self) -> RngState {
        self.rng
    }

    /// Type of the activations.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn recording(&self) -> bool {
        self.recording
    }

    fn add(&mut self, value: Tensor, grad: Option<Tensor>, written: bool, transient: bool) -> Var {
        self.entries.push(Entry { value: Some(value), rounded: None, grad, written, transient, watched: false });
        Var(self.entries.len() - 1)
    }

    /// A parameter whose gradient lives in `grad`; with `accumulate` the first writer of this pass adds already.
    pub fn parameter(&mut self, value: Tensor, grad: Tensor, accumulate: bool) -> Var {
        self.add(value, Some(grad), accumulate, false)
    }

    /// As [`Tape::parameter`], for an f32 vector of which `rounded` holds a copy in the type of the activations.
    pub fn parameter_with_copy(&mut self, value: Tensor, rounded: Tensor, grad: Tensor, accumulate: bool) -> Var {
        let v = self.parameter(value, grad, accumulate);
        self.entries[v.0].rounded = Some(rounded);
        v
    }

    /// An input whose gradient can be read after [`Tape::backward`] with [`Tape::grad`].
    pub fn input(&mut self, value: Tensor) -> Var {
        self.add(value, None, false, false)
    }

    /// The value of `v`. Panics if the backward pass has released it, which is a bug in the caller.
    pub fn value(&self, v: Var) -> &Tensor {
        self.entries[v.0].value.as_ref().expect("a value is read before its backward pass")
    }

    /// The value of `v` in the type of the activations: itself, or the copy that a parameter may have.
    pub fn rounded(&self, v: Var) -> Option<&Tensor> {
        let entry = &self.entries[v.0];
        [&entry.value, &entry.rounded].into_iter().flatten().find(|tensor| tensor.dtype() == self.dtype)
    }

    /// Keeps the gradient of `v`, an op's output, through the backward pass.
    pub fn watch(&mut self, v: Var) {
        self.entries[v.0].watched = true;
    }

    /// The gradient of an input or of what is watched, once [`Tape::backward`] has run.
    pub fn grad(&self, v: Var) -> Option<&Tensor> {
        let entry = &self.entries[v.0];
        entry.grad.as_ref().filter(|_| entry.written)
    }

    /// The shape of `v` as an array; an error names `op` and the operand.
    pub fn dims<const N: usize>(&self, op: &'static str, operand: &str, v: Var) -> Result<[usize; N]> {
        let dims = self.value(v).dims();
        dims.try_into().map_err(|_| {
            Error::shape(op, operand, dims, &[0; N])
                .hint(format!("{N} dimensions are needed (0 stands for any extent)"))
        })
    }

    /// An error naming `op` and the operand unless `v` has the shape `expected`.
    pub fn expect(&self, op: &'static str, operand: &str, v: Var, expected: &[usize]) -> Result<()> {
        let dims = self.value(v).dims();
        if dims == expected { Ok(()) } else { Err(Error::shape(op, operand, dims, expected)) }
    }

    /// An error naming `op` and the operand unless `v` has the type of the activations.
    pub fn expect_activation(&self, op: &'static str, operand: &str, v: Var) -> Result<()> {
        self.expect_dtype(op, operand, v, self.dtype)
    }

    /// An error naming `op` and the operand unless the elements of `v` are `expected`.
    pub fn expect_dtype(&self, op: &'static str, operand: &str, v: Var, expected: DType) -> Result<()> {
        let dtype = self.value(v).dtype();
        if dtype == expected { Ok(()) } else { Err(Error::dtype(op, operand, dtype.suffix(), expected.suffix())) }
    }

    /// Uninitialised memory for an activation.
    pub fn alloc(&self, shape: &[usize]) -> Result<Tensor> {
        self.alloc_of(shape, self.dtype)
    }

    /// Uninitialised memory for statistics and sums, which are f32 whatever the activations are.
    pub fn alloc_f32(&self, shape: &[usize]) -> Result<Tensor> {
        self.alloc_of(shape, DType::F32)
    }

    /// Uninitialised memory for what an op keeps for its backward pass.
    pub fn alloc_of(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        self.dev.tensor_for(Purpose::Activations, shape, dtype)
    }

    /// A place on the tape; see [`Tape::forget_since`].
    pub fn mark(&self) -> usize {
        self.entries.len()
    }

    /// Frees what was put on the tape since `mark`, but for `kept`. For tapes that do not record, which would hold
    /// everything to their end.
    pub fn forget_since(&mut self, mark: usize, kept: &[Var]) {
        debug_assert!(!self.recording);
        for at in mark..self.entries.len() {
            if !kept.contains(&Var(at)) {
                self.entries[at].value = None;
            }
        }
    }

    /// Records `op` with its one output and what it saved.
    pub fn push(&mut self, op: &'static str, output: Tensor, saved: impl Backward + 'static) -> Var {
        let out = self.add(output, None, false, true);
        self.record(op, vec![out], saved);
        out
    }

    /// Records `op` with two outputs.
    pub fn push2(
        &mut self,
        op: &'static str,
        first: Tensor,
        second: Tensor,
        saved: impl Backward + 'static,
    ) -> (Var, Var) {
        let outputs = (self.add(first, None, false, true), self.add(second, None, false, true));
        self.record(op, vec![outputs.0, outputs.1], saved);
        outputs
    }

    fn record(&mut self, op: &'static str, outputs: Vec<Var>, saved: impl Backward + 'static) {
        if self.recording {
            self.nodes.push(Node { op, outputs, saved: Box::new(saved) });
        }
    }

    /// How many ops are recorded.
    pub fn ops(&self) -> usize {
        self.nodes.len()
    }

    /// Names of the recorded ops, in the order they ran.
    pub fn dump(&self) -> Vec<&'static str> {
        self.nodes.iter().map(|node| node.op).collect()
    }

    /// Replays the tape from `loss` (one element) with ∂L/∂loss = `dloss`. Values and gradients of intermediate
    /// results are released on the way; those of parameters and inputs stay.
    pub fn backward(&mut self, loss: Var, dloss: f32) -> Result<()> {
        self.backward_watched(loss, dloss, || {})
    }

    /// The same, with a call of `each` after every op.
    pub fn backward_watched(&mut self, loss: Var, dloss: f32, each: impl FnMut()) -> Result<()> {
        let dloss = self.dev.upload(&[dloss], &[1])?;
        self.replay_from(loss, dloss, each)
    }

    /// As [`Tape::backward`] with a ∂L/∂loss `[1]` f32 that is on the device: the scale of the loss.
    pub fn backward_from(&mut self, loss: Var, dloss: Tensor) -> Result<()> {
        self.replay_from(loss, dloss, || {})
    }

    fn replay_from(&mut self, loss: Var, dloss: Tensor, each: impl FnMut()) -> Result<()> {
        if !self.recording {
            return Err(Error::tape("backward on a tape that was not recording"));
        }
        self.expect("backward", "loss", loss, &[1])?;
        self.entries[loss.0].grad = Some(dloss);
        self.entries[loss.0].written = true;
        self.replay(each)
    }

    fn replay(&mut self, mut each: impl FnMut()) -> Result<()> {
        while let Some(node) = self.nodes.pop() {
            let mut cx = BackwardCx { tape: self, op: node.op, outputs: &node.outputs };
            node.saved.backward(&mut cx)?;
            for out in &node.outputs {
                self.release(*out);
            }
            each();
        }
        Ok(())
    }

    fn release(&mut self, v: Var) {
        let entry = &mut self.entries[v.0];
        if entry.transient {
            entry.value = None;
            if !entry.watched {
                entry.grad = None;
            }
        }
    }
}

/// What a backward pass may see: values, the gradients of its op's outputs, and where to put those of the inputs.
pub struct BackwardCx<'t> {
    tape: &'t mut Tape,
    op: &'static str,
    outputs: &'t [Var],
}

impl BackwardCx<'_> {
    pub fn dev(&self) -> &Device {
        &self.tape.dev
    }

    pub fn rng(&self) -> RngState {
        self.tape.rng
    }

    /// The value of `v`.
    pub fn value(&self, v: Var) -> Tensor {
        self.tape.value(v).clone()
    }

    /// The op's own output number `k`.
    pub fn output(&self, k: usize) -> Tensor {
        self.tape.value(self.outputs[k]).clone()
    }

    /// Gradient of output `k`. An error if no later op wrote it.
    pub fn dy(&self, k: usize) -> Result<Tensor> {
        self.dy_optional(k).ok_or_else(|| {
            Error::tape(format!("{}: output {k} has no gradient; the op that used it did not give one", self.op))
        })
    }

    /// Gradient of output `k`, or none where an op of several outputs may have one that nobody used.
    pub fn dy_optional(&self, k: usize) -> Option<Tensor> {
        self.tape.grad(self.outputs[k]).cloned()
    }

    /// Frees the op's outputs and their gradients before its backward pass has ended. Clones stay valid.
    pub fn release_outputs(&mut self) {
        for out in self.outputs {
            self.tape.release(*out);
        }
    }

    /// Where to put the gradient of `v`. The caller must fill all of it before it returns.
    pub fn slot(&mut self, v: Var) -> Result<Slot> {
        let dev = self.tape.dev.clone();
        let entry = &mut self.tape.entries[v.0];
        let grad = match &entry.grad {
            Some(grad) => grad.clone(),
            None => {
                let Some(value) = &entry.value else {
                    return Err(Error::tape(format!("{}: the value of an input is gone", self.op)));
                };
                let grad = dev.tensor_for(Purpose::ActivationGradients, value.dims(), value.dtype())?;
                entry.grad = Some(grad.clone());
                grad
            }
        };
        let accumulate = std::mem::replace(&mut entry.written, true);
        Ok(Slot { grad, accumulate })
    }

    /// Hands over `grad` as the gradient of `v`, for ops that turn a value into its gradient in place.
    /// An error if `v` has a gradient already.
    pub fn give(&mut self, v: Var, grad: Tensor) -> Result<()> {
        let entry = &mut self.tape.entries[v.0];
        if entry.written || entry.grad.is_some() {
            return Err(Error::tape(format!("{}: its input has another user and cannot be overwritten", self.op)));
        }
        entry.grad = Some(grad);
        entry.written = true;
        Ok(())
    }
}
