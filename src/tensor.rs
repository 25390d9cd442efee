//! A tensor: shape, element type and a piece of device memory. No maths.

use std::fmt;

use crate::device::Buffer;
use crate::error::{Error, Result};

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    F16,
    BF16,
    I32,
}

impl DType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 => 2,
        }
    }

    /// The ending of kernel names for this type: `embed_fwd_f32`.
    pub const fn suffix(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I32 => "i32",
        }
    }

    /// Whether values of this type can be activations and gradients.
    pub const fn is_float(self) -> bool {
        !matches!(self, DType::I32)
    }

    /// Elements of this type in 16 bytes: what one access of a thread moves.
    pub const fn per_access(self) -> usize {
        16 / self.size()
    }
}

/// The kernel of a family for a tensor's type: `by_dtype!("embed_fwd", dtype)` is `"embed_fwd_f16"` for f16.
#[macro_export]
macro_rules! by_dtype {
    ($family:literal, $dtype:expr) => {
        match $dtype {
            $crate::tensor::DType::F32 => concat!($family, "_f32"),
            $crate::tensor::DType::F16 => concat!($family, "_f16"),
            $crate::tensor::DType::BF16 => concat!($family, "_bf16"),
            $crate::tensor::DType::I32 => concat!($family, "_i32"),
        }
    };
}

/// Host types that a tensor can be filled from and read into.
pub trait Element: bytemuck::Pod {
    const DTYPE: DType;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for i32 {
    const DTYPE: DType = DType::I32;
}
impl Element for half::f16 {
    const DTYPE: DType = DType::F16;
}
impl Element for half::bf16 {
    const DTYPE: DType = DType::BF16;
}

/// Contiguous row-major device data. Cloning shares the memory, which returns to the arena with the last clone.
#[derive(Clone)]
pub struct Tensor {
    buffer: Buffer,
    shape: Vec<usize>,
    dtype: DType,
}

impl Tensor {
    /// Wraps `buffer`, which holds exactly the elements of `shape`.
    pub(crate) fn new(buffer: Buffer, shape: &[usize], dtype: DType) -> Self {
        debug_assert_eq!(buffer.bytes(), shape.iter().product::<usize>() * dtype.size());
        Tensor { buffer, shape: shape.to_vec(), dtype }
    }

    /// Extent of each dimension.
    pub fn dims(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.buffer.bytes()
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Device address of the first element.
    pub fn ptr(&self) -> u64 {
        self.buffer.ptr()
    }

    /// The same memory under another shape of as many elements.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        if shape.iter().product::<usize>() != self.numel() {
            return Err(Error::shape("reshape", "tensor", &self.shape, shape));
        }
        Ok(Tensor { buffer: self.buffer.clone(), shape: shape.to_vec(), dtype: self.dtype })
    }

    /// A view of `shape` elements from element `offset` on. Shares the memory.
    pub fn view(&self, offset: usize, shape: &[usize]) -> Result<Tensor> {
        let numel = shape.iter().product::<usize>();
        if offset + numel > self.numel() {
            return Err(Error::shape("view", "tensor", &self.shape, shape)
                .hint(format!("the view starts at element {offset} and needs {numel} of {}", self.numel())));
        }
        let size = self.dtype.size();
        Ok(Tensor { buffer: self.buffer.slice(offset * size, numel * size), shape: shape.to_vec(), dtype: self.dtype })
    }

    /// Rows `start .. start + len` of the first dimension, as a view.
    pub fn rows(&self, start: usize, len: usize) -> Result<Tensor> {
        let row = self.shape[1..].iter().product::<usize>();
        let mut shape = self.shape.clone();
        shape[0] = len;
        self.view(start * row, &shape)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}@{:#x}", self.dtype, self.shape, self.ptr())
    }
}
