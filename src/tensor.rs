//! A tensor: shape, element type and a piece of device memory. No maths.

use std::fmt;

use half::{bf16, f16};

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

    /// `value` as this type holds it, rounded once, to nearest even. (`half` looks at the upper 32 bits of an f64 only, and
    /// so takes for a tie what lies just above one; by way of the nearest f32 it would be rounded twice.) Integers are
    /// taken as f32.
    pub fn round(self, value: f64) -> f64 {
        match self {
            DType::F16 => f16::from_f32(odd(value)).to_f64(),
            DType::BF16 => bf16::from_f32(odd(value)).to_f64(),
            DType::F32 | DType::I32 => f64::from(value as f32),
        }
    }
}

/// `value`, or where f32 does not hold it that one of its two neighbours whose last bit is 1: no tie of a type that has two
/// bits fewer, and on the same side of each as `value`.
fn odd(value: f64) -> f32 {
    let near = value as f32;
    let wide = f64::from(near);
    if wide == value || near.is_nan() || near.is_infinite() || near.to_bits() & 1 == 1 {
        return near;
    }
    f32::from_bits(if wide.abs() > value.abs() { near.to_bits() - 1 } else { near.to_bits() + 1 })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Around every tie of each type, from the smallest subnormal to what becomes infinite, by a part in 2^40.
    #[test]
    fn every_tie_is_rounded_to_even_and_its_neighbours_to_theirs() {
        let f16s: Vec<f64> = (0..=f16::INFINITY.to_bits()).map(|bits| f16::from_bits(bits).to_f64()).collect();
        let bf16s: Vec<f64> = (0..=bf16::INFINITY.to_bits()).map(|bits| bf16::from_bits(bits).to_f64()).collect();
        for (dtype, all) in [(DType::F16, f16s), (DType::BF16, bf16s)] {
            for (at, pair) in all.windows(2).enumerate() {
                let (low, high) = (pair[0], pair[1]);
                // Infinity takes the place of the number that would be next.
                let next = if high.is_finite() { high } else { 2.0 * low - all[at - 1] };
                let tie = low + (next - low) / 2.0;
                let even = if at % 2 == 0 { low } else { high };
                let little = 2f64.powi(-40);
                for (value, expected) in [
                    (low, low),
                    (tie, even),
                    (tie * (1.0 - little), low),
                    (tie * (1.0 + little), high),
                    (tie.next_down(), low),
                    (tie.next_up(), high),
                ] {
                    assert_eq!(dtype.round(value), expected, "{dtype:?}, {value:e}");
                    assert_eq!(dtype.round(-value), -expected, "{dtype:?}, {:e}", -value);
                }
            }
            assert!(dtype.round(f64::NAN).is_nan());
            assert_eq!(dtype.round(f64::MAX), f64::INFINITY);
            assert_eq!(dtype.round(f64::MIN_POSITIVE).to_bits(), 0);
            assert_eq!(dtype.round(-f64::MIN_POSITIVE).to_bits(), (-0.0_f64).to_bits());
        }
    }
}
