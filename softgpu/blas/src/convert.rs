//! Matrices of any type to f32 and back, in parallel and with vector instructions: half of the time of a product of
//! 2-byte types would otherwise go here.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use crate::{Matrix, Type};

/// Elements that one task converts, about.
const TASK: usize = 1 << 15;

/// How a matrix lies: `lines` runs of `length` elements, the elements of a run `next` apart, the runs `step` apart.
#[derive(Clone, Copy, Debug)]
struct Lines {
    lines: usize,
    length: usize,
    step: usize,
    next: usize,
    by_columns: bool,
}

impl Lines {
    fn of<P>(m: &Matrix<P>, [rows, cols]: [usize; 2]) -> Lines {
        match m.col == 1 {
            true => Lines { lines: rows, length: cols, step: m.row, next: m.col, by_columns: false },
            false => Lines { lines: cols, length: rows, step: m.col, next: m.row, by_columns: true },
        }
    }

    /// Strides (row, col) of the same matrix without gaps.
    fn dense(&self) -> (usize, usize) {
        if self.by_columns { (1, self.length) } else { (self.length, 1) }
    }

    fn lines_per_task(&self) -> usize {
        TASK.div_ceil(self.length.max(1))
    }
}

/// A pointer that tasks share; each touches lines of its own.
#[derive(Clone, Copy)]
struct Shared<P>(P);
// SAFETY: tasks read, or write disjoint lines.
unsafe impl<P> Sync for Shared<P> {}

impl<P: Copy> Shared<P> {
    fn get(&self) -> P {
        self.0
    }
}

/// Writes the elements of a matrix to `to` in f32, without gaps, by rows, or by columns if it lies so in memory; returns
/// their strides (row, col).
///
/// # Safety
/// The pointer covers the extents and is aligned to its type.
pub unsafe fn widen(ty: Type, from: Matrix<*const u8>, extents: [usize; 2], to: &mut Vec<f32>) -> (usize, usize) {
    let lines = Lines::of(&from, extents);
    // Not cleared: every element is written below, and clearing would cost as much as converting.
    to.resize(lines.lines * lines.length, 0.0);
    let data = Shared(from.data);
    let per_task = lines.lines_per_task();
    to.par_chunks_mut((per_task * lines.length).max(1)).enumerate().for_each(|(task, to)| {
        for (at, to) in to.chunks_exact_mut(lines.length.max(1)).enumerate() {
            let start = (task * per_task + at) * lines.step * ty.bytes();
            // SAFETY: the caller's promise: the line is within the matrix.
            unsafe { widen_line(ty, data.get().add(start), lines.next, to) };
        }
    });
    lines.dense()
}

/// # Safety
/// `from` covers `to.len()` elements that are `next` apart.
unsafe fn widen_line(ty: Type, from: *const u8, next: usize, to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match (ty, next) {
            (Type::F32, 1) => to.copy_from_slice(std::slice::from_raw_parts(from.cast(), to.len())),
            (Type::F16, 1) => std::slice::from_raw_parts(from.cast::<f16>(), to.len()).convert_to_f32_slice(to),
            (Type::Bf16, 1) => std::slice::from_raw_parts(from.cast::<bf16>(), to.len()).convert_to_f32_slice(to),
            _ => to.iter_mut().enumerate().for_each(|(i, to)| {
                let from = from.add(i * next * ty.bytes());
                *to = match ty {
                    Type::F32 => from.cast::<f32>().read_unaligned(),
                    Type::F16 => from.cast::<f16>().read_unaligned().to_f32(),
                    Type::Bf16 => from.cast::<bf16>().read_unaligned().to_f32(),
                };
            }),
        }
    }
}

/// Writes `from`, dense and in the order of `to` (see [`widen`]), rounded to nearest even.
///
/// # Safety
/// The pointer covers the extents and is aligned to its type.
pub unsafe fn narrow(ty: Type, to: Matrix<*mut u8>, extents: [usize; 2], from: &[f32]) {
    let lines = Lines::of(&to, extents);
    let data = Shared(to.data);
    let per_task = lines.lines_per_task();
    from.par_chunks((per_task * lines.length).max(1)).enumerate().for_each(|(task, from)| {
        for (at, from) in from.chunks_exact(lines.length.max(1)).enumerate() {
            let start = (task * per_task + at) * lines.step * ty.bytes();
            // SAFETY: the caller's promise; lines do not overlap.
            unsafe { narrow_line(ty, data.get().add(start), lines.next, from) };
        }
    });
}

/// # Safety
/// `to` covers `from.len()` elements that are `next` apart.
unsafe fn narrow_line(ty: Type, to: *mut u8, next: usize, from: &[f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match (ty, next) {
            (Type::F32, 1) => std::slice::from_raw_parts_mut(to.cast::<f32>(), from.len()).copy_from_slice(from),
            (Type::F16, 1) => {
                std::slice::from_raw_parts_mut(to.cast::<f16>(), from.len()).convert_from_f32_slice(from);
            }
            (Type::Bf16, 1) => narrow_bf16(std::slice::from_raw_parts_mut(to.cast::<u16>(), from.len()), from),
            _ => from.iter().enumerate().for_each(|(i, value)| {
                let to = to.add(i * next * ty.bytes());
                match ty {
                    Type::F32 => to.cast::<f32>().write_unaligned(*value),
                    Type::F16 => to.cast::<f16>().write_unaligned(f16::from_f32(*value)),
                    Type::Bf16 => to.cast::<bf16>().write_unaligned(bf16::from_f32(*value)),
                }
            }),
        }
    }
}

/// As `bf16::from_f32`, without its branch.
fn narrow_bf16(to: &mut [u16], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        let bits = from.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
        *to = if from.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bf16_rounding_is_the_librarys() {
        let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0]; // down, up
        let special = [f32::NAN, -f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 0.0, -0.0, ties[0], ties[1]];
        let all: Vec<f32> = (0..u32::MAX).step_by(65_521).map(f32::from_bits).chain(special).collect();
        let mut got = vec![0; all.len()];
        narrow_bf16(&mut got, &all);
        for (got, from) in got.iter().zip(&all) {
            assert_eq!(*got, bf16::from_f32(*from).to_bits(), "{from}");
        }
    }

    #[test]
    fn matrices_of_every_layout_come_back() {
        for (ty, [rows, cols]) in [Type::F32, Type::F16, Type::Bf16]
            .into_iter()
            .flat_map(|ty| [[1, 1], [3, 5], [300, 200], [70_000, 1], [0, 4], [4, 0]].map(|extents| (ty, extents)))
        {
            for (row, col) in [(cols + 3, 1), (1, rows + 2)] {
                let size = (rows + 3) * (cols + 3) * 4;
                let (mut bytes, mut wide) = (vec![0_u32; size / 4], Vec::new());
                let (r, c) = if col == 1 { (cols, 1) } else { (1, rows) };
                let mut values = vec![0.0; rows * cols];
                for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
                    values[i * r + j * c] = ((i * 3 + j) % 100) as f32;
                }
                let to = Matrix { data: bytes.as_mut_ptr().cast::<u8>(), row, col };
                // SAFETY: the buffer has room for the extents with their strides.
                unsafe {
                    narrow(ty, to, [rows, cols], &values);
                    let from = Matrix { data: bytes.as_ptr().cast::<u8>(), row, col };
                    assert_eq!(widen(ty, from, [rows, cols], &mut wide), (r, c));
                }
                assert_eq!(wide, values, "{ty:?} {rows}×{cols}, strides {row} {col}");
            }
        }
    }
}
