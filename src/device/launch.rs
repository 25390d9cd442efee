//! Arguments and sizes of a kernel launch.

use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// Blocks, threads per block, and bytes of dynamic shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared: u32,
}

impl Grid {
    /// A launch without dynamic shared memory.
    pub fn new(grid: [u32; 3], block: [u32; 3]) -> Grid {
        Grid { grid, block, shared: 0 }
    }

    /// Enough blocks of `threads` for `items`, one item a thread.
    pub fn over(items: usize, threads: u32) -> Grid {
        Grid::new([(items.div_ceil(threads as usize)) as u32, 1, 1], [threads, 1, 1])
    }

    /// Whether there is nothing to do: no block or no thread.
    pub fn is_empty(&self) -> bool {
        self.grid.contains(&0) || self.block.contains(&0)
    }
}

/// One kernel argument, as its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    bytes: [u8; 8],
    len: usize,
}

impl Arg {
    fn of(value: &[u8]) -> Arg {
        let mut bytes = [0; 8];
        bytes[..value.len()].copy_from_slice(value);
        Arg { bytes, len: value.len() }
    }

    /// Little-endian, as long as the kernel's parameter.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What can stand in [`args!`](crate::args).
pub trait IntoArg {
    fn into_arg(self) -> Result<Arg>;
}

macro_rules! scalar_args {
    ($($scalar:ty),*) => {$(
        impl IntoArg for $scalar {
            fn into_arg(self) -> Result<Arg> {
                Ok(Arg::of(&self.to_le_bytes()))
            }
        }
    )*};
}
scalar_args!(i32, u32, u64, f32, f64);

/// A size: passed as `int`; an error where it does not fit.
impl IntoArg for usize {
    fn into_arg(self) -> Result<Arg> {
        let int = i32::try_from(self).map_err(|_| {
            Error::device(format!("a size of {self} does not fit a kernel's int"))
                .hint("use smaller batches (--max-tokens)")
        })?;
        int.into_arg()
    }
}

/// A flag: passed as `int`, 0 or 1.
impl IntoArg for bool {
    fn into_arg(self) -> Result<Arg> {
        i32::from(self).into_arg()
    }
}

/// A tensor: its device address.
impl IntoArg for &Tensor {
    fn into_arg(self) -> Result<Arg> {
        self.ptr().into_arg()
    }
}

/// An optional tensor: null if there is none.
impl IntoArg for Option<&Tensor> {
    fn into_arg(self) -> Result<Arg> {
        self.map_or(0, Tensor::ptr).into_arg()
    }
}

/// Kernel arguments in parameter order: tensors, optional tensors, numbers, sizes and flags.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        &[$($crate::device::IntoArg::into_arg($arg)?),*]
    };
}
