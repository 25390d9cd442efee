//! All parameters in one flat f32 buffer, all gradients in another of the same layout: one optimiser launch, one norm,
//! one checkpoint write. A parameter is a named view; names are fairseq's.
//!
//! A model of a 2-byte type has a third buffer of that layout, a rounded copy of the values, and its gradients are of that
//! type. Matrices are read from the copy; vectors (biases, gains, ω) are read as they are, in f32.

use std::collections::HashMap;
use std::sync::Arc;

use crate::device::{Device, Purpose};
use crate::error::{Error, Result};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

/// Every parameter starts at a multiple of this many elements (256 bytes), so that wide loads are aligned.
pub const ALIGN: usize = 64;

/// Name, shape and whether the optimiser may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
    pub trainable: bool,
}

impl Spec {
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Spec {
        Spec { name: name.into(), shape: shape.to_vec(), trainable: true }
    }

    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A parameter's place in the flat buffers, in elements.
#[derive(Clone, Debug)]
pub struct Entry {
    pub spec: Spec,
    pub offset: usize,
}

/// The flat buffers and the table of what lies where. Gaps between parameters are zero and stay zero. Clones share all.
#[derive(Clone)]
pub struct Params {
    dev: Device,
    entries: Arc<[Entry]>,
    index: Arc<HashMap<String, usize>>,
    values: Tensor,
    /// The values in a 2-byte type.
    copy: Option<Tensor>,
    grads: Tensor,
    trainable: usize,
}

impl Params {
    /// Zeroed buffers for `specs`, laid out in their order, those that are not trainable last; gradients, and the matrices
    /// that kernels read, are of type `dtype`. An error if a name occurs twice.
    pub fn new(dev: &Device, specs: Vec<Spec>, dtype: DType) -> Result<Params> {
        let (free, frozen): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| spec.trainable);
        let (mut entries, mut index, mut end, mut trainable) = (Vec::new(), HashMap::new(), 0, 0);
        for spec in free.into_iter().chain(frozen) {
            if index.insert(spec.name.clone(), entries.len()).is_some() {
                return Err(Error::data(format!("parameter `{}` is declared twice", spec.name)));
            }
            let next = end + spec.numel().next_multiple_of(ALIGN);
            if spec.trainable {
                trainable = next;
            }
            entries.push(Entry { spec, offset: end });
            end = next;
        }
        let zeros = |purpose, dtype| {
            let flat = dev.tensor_for(purpose, &[end], dtype)?;
            dev.zero(&flat).map(|()| flat)
        };
        let copy = (dtype != DType::F32).then(|| zeros(Purpose::WeightCopy, dtype)).transpose()?;
        let (values, grads) = (zeros(Purpose::Parameters, DType::F32)?, zeros(Purpose::Gradients, dtype)?);
        let (entries, index) = (entries.into(), Arc::new(index));
        Ok(Params { dev: dev.clone(), entries, index, values, copy, grads, trainable })
    }

    pub fn dev(&self) -> &Device {
        &self.dev
    }

    /// Type of the gradients, and of the matrices that kernels read.
    pub fn dtype(&self) -> DType {
        self.grads.dtype()
    }

    /// Every parameter, in the order of the buffers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of scalars, gaps not counted.
    pub fn count(&self) -> usize {
        self.entries.iter().map(|entry| entry.spec.numel()).sum()
    }

    /// The flat buffer [n], gaps and frozen parameters included: what a checkpoint holds.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Values that the optimiser changes: a prefix of [`Params::values`].
    pub fn trainable_values(&self) -> Result<Tensor> {
        self.values.view(0, &[self.trainable])
    }

    /// The copy of them in a 2-byte type, if the model has one.
    pub fn trainable_copy(&self) -> Result<Option<Tensor>> {
        self.copy.as_ref().map(|copy| copy.view(0, &[self.trainable])).transpose()
    }

    /// Their gradients, in the same layout.
    pub fn trainable_grads(&self) -> Result<Tensor> {
        self.grads.view(0, &[self.trainable])
    }

    /// Clears all gradients. To be called once per update: every backward pass adds.
    pub fn zero_grads(&self) -> Result<()> {
        self.dev.zero(&self.grads)
    }

    /// Whether the model has a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let at = self.index.get(name).ok_or_else(|| Error::data(format!("the model has no parameter `{name}`")))?;
        Ok(&self.entries[*at])
    }

    /// The values of `name` as a view.
    pub fn value(&self, name: &str) -> Result<Tensor> {
        let entry = self.entry(name)?;
        self.values.view(entry.offset, &entry.spec.shape)
    }

    /// The gradient of `name` as a view.
    pub fn grad(&self, name: &str) -> Result<Tensor> {
        let entry = self.entry(name)?;
        self.grads.view(entry.offset, &entry.spec.shape)
    }

    /// Copies the values of `name` to the host.
    pub fn read(&self, name: &str) -> Result<Vec<f32>> {
        self.dev.read(&self.value(name)?)
    }

    /// Replaces the values of `name`; `data` is row-major and of its size.
    pub fn write(&self, name: &str, data: &[f32]) -> Result<()> {
        self.dev.write(&self.value(name)?, data)?;
        match &self.copy {
            Some(copy) => {
                let entry = self.entry(name)?;
                let rounded = self.dev.upload_as(data, &entry.spec.shape, copy.dtype())?;
                self.dev.copy(&copy.view(entry.offset, &entry.spec.shape)?, &rounded)
            }
            None => Ok(()),
        }
    }

    /// What a kernel on `t` reads as `name`: matrices are of the tape's type, vectors f32.
    pub fn operand(&self, t: &Tape, name: &str) -> Result<Tensor> {
        let entry = self.entry(name)?;
        match &self.copy {
            Some(copy) if t.dtype() != DType::F32 && entry.spec.shape.len() > 1 => {
                copy.view(entry.offset, &entry.spec.shape)
            }
            _ => self.value(name),
        }
    }

    /// What a kernel on `t` may read as `name` where it takes vectors in the tape's type.
    fn rounded(&self, t: &Tape, name: &str) -> Result<Option<Tensor>> {
        let entry = self.entry(name)?;
        let copy = self.copy.as_ref().filter(|copy| copy.dtype() == t.dtype() && entry.spec.shape.len() == 1);
        copy.map(|copy| copy.view(entry.offset, &entry.spec.shape)).transpose()
    }

    /// `name` on the tape. Its gradient is added to, so that micro-batches and several uses sum up.
    pub fn var(&self, t: &mut Tape, name: &str) -> Result<Var> {
        let (value, grad) = (self.operand(t, name)?, self.grad(name)?);
        Ok(match self.rounded(t, name)? {
            Some(rounded) => t.parameter_with_copy(value, rounded, grad, true),
            None => t.parameter(value, grad, true),
        })
    }

    /// Rows `start .. start + len` of `name` on the tape, for a matrix of which different parts are used in
    /// different places.
    pub fn var_rows(&self, t: &mut Tape, name: &str, start: usize, len: usize) -> Result<Var> {
        let (value, grad) = (self.operand(t, name)?.rows(start, len)?, self.grad(name)?.rows(start, len)?);
        Ok(match self.rounded(t, name)? {
            Some(rounded) => t.parameter_with_copy(value, rounded.rows(start, len)?, grad, true),
            None => t.parameter(value, grad, true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Allocation;
    use crate::rng::RngState;

    #[test]
    fn frozen_parameters_lie_behind_the_trainable_ones_and_all_are_aligned() {
        let frozen = Spec { trainable: false, ..Spec::new("omega", &[3]) };
        let specs = vec![Spec::new("a", &[5, 7]), frozen, Spec::new("b", &[64])];
        let params = Params::new(&Device::soft(Allocation::Arena), specs, DType::F32).unwrap();
        let offsets: Vec<_> = params.entries().iter().map(|e| (e.spec.name.as_str(), e.offset)).collect();
        assert_eq!(offsets, [("a", 0), ("b", 64), ("omega", 128)]);
        assert_eq!(params.trainable_values().unwrap().numel(), 128);
        assert_eq!((params.values().numel(), params.count()), (192, 35 + 64 + 3));
        params.write("b", &[2.0; 64]).unwrap();
        assert_eq!(params.read("a").unwrap(), vec![0.0; 35]);
        assert!(params.value("c").unwrap_err().to_string().contains("no parameter `c`"));
    }

    #[test]
    fn a_name_twice_is_refused() {
        let specs = vec![Spec::new("a", &[1]), Spec::new("a", &[1])];
        assert!(Params::new(&Device::soft(Allocation::Arena), specs, DType::F32).is_err());
    }

    #[test]
    fn kernels_read_rounded_matrices_and_f32_vectors() {
        let dev = Device::soft(Allocation::Arena);
        let params = Params::new(&dev, vec![Spec::new("w", &[2, 1]), Spec::new("b", &[2])], DType::F16).unwrap();
        let third = [1.0 / 3.0, -2.0];
        params.write("w", &third).unwrap();
        params.write("b", &third).unwrap();
        assert_eq!(params.read("w").unwrap(), third, "the f32 values are kept");
        let mut half = Tape::new(&dev, RngState::default(), true).with_dtype(DType::F16);
        let (w, b) = (params.var(&mut half, "w").unwrap(), params.var(&mut half, "b").unwrap());
        assert_eq!(dev.read_wide(half.value(w)).unwrap(), [half::f16::from_f32(third[0]).to_f32(), -2.0]);
        assert_eq!(dev.read::<f32>(half.value(b)).unwrap(), third);
        let mut wide = Tape::new(&dev, RngState::default(), false);
        let w = params.var(&mut wide, "w").unwrap();
        assert_eq!(dev.read::<f32>(wide.value(w)).unwrap(), third, "an f32 tape sees f32");
        assert_eq!(params.trainable_copy().unwrap().unwrap().numel(), params.trainable_grads().unwrap().numel());
    }
}
