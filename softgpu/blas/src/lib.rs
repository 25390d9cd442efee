//! Matrix products on the CPU for a GPU in software: omega's software device and the software cuBLAS call this one
//! function, so that both give the same bits.

mod convert;
mod epilogue;

use std::cell::Cell;

use rayon::prelude::*;

pub use convert::{narrow, widen};
pub use epilogue::{Epilogue, Mask, Relu, put_vector, sums_of_columns, sums_of_columns_of};

/// Rows (or columns) of C that one task computes, at most: each packs the other side's matrix for itself, which cost 384 up to
/// a twentieth of a training step. A constant: the split, and so every bit of the result, is the same for any number
/// of threads.
const TASK_ROWS: usize = 1024;

/// A matrix in memory: element (i, j) lies at `data + i·row + j·col`, in elements.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<P> {
    pub data: P,
    pub row: usize,
    pub col: usize,
}

// SAFETY: the tasks of one product read A and B and write disjoint parts of C.
unsafe impl Sync for Matrix<*const f32> {}
// SAFETY: as above.
unsafe impl Sync for Matrix<*mut f32> {}

/// `C = alpha·A·B + beta·C` in f32: A is `[m, k]`, B `[k, n]`, C `[m, n]`. With `beta` 0, C is not read. Then the epilogue, on
/// what each task has computed while it is in the cache.
///
/// # Safety
/// The pointers cover the extents with their strides, C overlaps neither A nor B nor itself, and nobody else touches
/// them meanwhile. If there is an epilogue, C has the elements of a row side by side, and the mask covers the extents.
unsafe fn sgemm(
    [m, n, k]: [usize; 3],
    alpha: f32,
    a: Matrix<*const f32>,
    b: Matrix<*const f32>,
    beta: f32,
    c: Matrix<*mut f32>,
    epilogue: &Epilogue<'_>,
) {
    // Tasks go along the longer side of C, so that weight gradients (small m, large k) are split as well.
    let along_rows = m >= n;
    let extent = if along_rows { m } else { n };
    // An even number of tasks of about the same size: two threads would wait for one that is left over.
    let pairs = extent.div_ceil(2 * TASK_ROWS).max(1);
    let task = extent.div_ceil(2 * pairs).next_multiple_of(16).max(16);
    let (a, b, c) = (&a, &b, &c);
    (0..extent.div_ceil(task)).into_par_iter().for_each(|index| {
        let start = index * task;
        let len = task.min(extent - start);
        let ((row, rows), (col, cols)) = if along_rows { ((start, len), (0, n)) } else { ((0, m), (start, len)) };
        // SAFETY: the caller's promise; tasks cover disjoint rows or columns of C.
        unsafe {
            gemm::gemm(
                rows,
                cols,
                k,
                c.data.add(row * c.row + col * c.col),
                c.col as isize,
                c.row as isize,
                beta != 0.0,
                a.data.add(row * a.row),
                a.col as isize,
                a.row as isize,
                b.data.add(col * b.col),
                b.col as isize,
                b.row as isize,
                beta,
                alpha,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
            epilogue.apply(c, (row, rows), (col, cols));
        }
    });
}

thread_local! {
    /// A, B and C of a product in f32.
    static SCRATCH: Cell<[Vec<f32>; 3]> = const { Cell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Type of an operand. Sums are in f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    F32,
    F16,
    Bf16,
}

impl Type {
    pub fn bytes(self) -> usize {
        if self == Type::F32 { 4 } else { 2 }
    }
}

/// `C = alpha·A·B + beta·C` for operands of any type: converted to f32, summed in f32, and rounded once. With `beta` 0, C is
/// not read.
///
/// # Safety
/// The pointers cover the extents with their strides, C overlaps neither A nor B nor itself, and nobody else touches
/// them meanwhile.
pub unsafe fn gemm(
    [m, n, k]: [usize; 3],
    alpha: f32,
    a: (Type, Matrix<*const u8>),
    b: (Type, Matrix<*const u8>),
    beta: f32,
    c: (Type, Matrix<*mut u8>),
) {
    // SAFETY: the caller's promise.
    unsafe { gemm_with([m, n, k], alpha, a, b, beta, c, &Epilogue::default(), |_| ()) }
}

/// As [`gemm`], with an epilogue on the sums before they are rounded. `see` is shown what is rounded then, `[m, n]` by rows,
/// if C has the elements of a row side by side and, in f32, no gaps between rows.
///
/// # Safety
/// As [`gemm`]; C has the elements of a row side by side if there is an epilogue, whose mask covers the extents.
#[expect(clippy::too_many_arguments, reason = "BLAS' own, and what comes after")]
pub unsafe fn gemm_with(
    [m, n, k]: [usize; 3],
    alpha: f32,
    (a_type, a): (Type, Matrix<*const u8>),
    (b_type, b): (Type, Matrix<*const u8>),
    beta: f32,
    (c_type, c): (Type, Matrix<*mut u8>),
    epilogue: &Epilogue<'_>,
    see: impl FnOnce(&[f32]),
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut scratch = SCRATCH.take(); // returned below: large vectors would be mapped and cleared for each product
        let [wide_a, wide_b, sums] = &mut scratch;
        let operand = |ty: Type, of: Matrix<*const u8>, extents: [usize; 2], wide: &mut Vec<f32>| match ty {
            Type::F32 => Matrix { data: of.data as *const f32, row: of.row, col: of.col },
            _ => {
                let (row, col) = convert::widen(ty, of, extents, wide);
                Matrix { data: wide.as_ptr(), row, col }
            }
        };
        let a = operand(a_type, a, [m, k], wide_a);
        let b = operand(b_type, b, [k, n], wide_b);
        if c_type == Type::F32 {
            let to = Matrix { data: c.data as *mut f32, row: c.row, col: c.col };
            sgemm([m, n, k], alpha, a, b, beta, to, epilogue);
            if (c.row, c.col) == (n, 1) {
                see(std::slice::from_raw_parts(to.data, m * n));
            }
        } else {
            // The sums lie as C does, so that a product and its transpose take the same path.
            let (row, col) = if c.col == 1 { (n, 1) } else { (1, m) };
            if beta == 0.0 {
                sums.resize(m * n, 0.0);
            } else {
                convert::widen(c_type, Matrix { data: c.data.cast_const(), row: c.row, col: c.col }, [m, n], sums);
            }
            sgemm([m, n, k], alpha, a, b, beta, Matrix { data: sums.as_mut_ptr(), row, col }, epilogue);
            if col == 1 {
                see(sums);
            }
            convert::narrow(c_type, c, [m, n], sums);
        }
        SCRATCH.set(scratch);
    }
}

/// The elements of a matrix in f32, by rows without gaps, however it lies in memory.
///
/// # Safety
/// The pointer covers the extents.
pub unsafe fn by_rows(ty: Type, from: Matrix<*mut u8>, [rows, cols]: [usize; 2]) -> Vec<f32> {
    let mut data = Vec::new();
    let from = Matrix { data: from.data.cast_const(), row: from.row, col: from.col };
    // SAFETY: the caller's promise.
    let (row, col) = unsafe { convert::widen(ty, from, [rows, cols], &mut data) };
    if col == 1 {
        return data;
    }
    (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))).map(|(i, j)| data[i * row + j * col]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every product and sum is exact, so the order does not matter.
    #[test]
    fn products_are_right_in_every_layout() {
        for [m, n, k] in [[1, 1, 1], [3, 5, 7], [33, 2, 9], [2, 600, 4], [5, 4, 0]] {
            let value = |i: usize, j: usize, seed: usize| ((i * 7 + j * 3 + seed) % 11) as f32 - 5.0;
            for layout in 0..8 {
                let matrix = |rows: usize, cols: usize, seed: usize, by_columns: bool| {
                    let (row, col) = if by_columns { (1, rows + 2) } else { (cols + 2, 1) };
                    let mut data = vec![f32::NAN; (rows + 2) * (cols + 2)];
                    (0..rows).for_each(|i| (0..cols).for_each(|j| data[i * row + j * col] = value(i, j, seed)));
                    (data, row, col)
                };
                let (a, a_row, a_col) = matrix(m, k, 1, layout & 1 != 0);
                let (b, b_row, b_col) = matrix(k, n, 2, layout & 2 != 0);
                let (mut c, row, col) = matrix(m, n, 3, layout & 4 != 0);
                let (a, b) = (
                    Matrix { data: a.as_ptr(), row: a_row, col: a_col },
                    Matrix { data: b.as_ptr(), row: b_row, col: b_col },
                );
                let to = Matrix { data: c.as_mut_ptr(), row, col };
                // SAFETY: the vectors cover the extents.
                unsafe { sgemm([m, n, k], 2.0, a, b, 3.0, to, &Epilogue::default()) };
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let sum: f32 = (0..k).map(|l| value(i, l, 1) * value(l, j, 2)).sum();
                    assert_eq!(c[i * row + j * col], 2.0 * sum + 3.0 * value(i, j, 3), "{m}×{n}×{k}, ({i}, {j})");
                }
            }
        }
    }

    /// Sums lie as C does: where that is with gaps, or by columns, they are not shown as if they were rows side by side.
    #[test]
    fn sums_are_shown_by_rows_or_not_at_all() {
        for (ty, row, col, expected) in [
            (Type::F32, 3, 1, true),
            (Type::F32, 4, 1, false),
            (Type::F32, 1, 2, false),
            (Type::Bf16, 4, 1, true),
            (Type::Bf16, 1, 2, false),
        ] {
            let (a, b, mut c) = ([1.0f32, 2.0], [3.0f32, 4.0, 5.0], [0u32; 8]);
            let a = Matrix { data: a.as_ptr().cast::<u8>(), row: 1, col: 1 };
            let b = Matrix { data: b.as_ptr().cast::<u8>(), row: 3, col: 1 };
            let to = Matrix { data: c.as_mut_ptr().cast::<u8>(), row, col };
            let (mut shown, none) = (None, Epilogue::default());
            let see = |sums: &[f32]| shown = Some(sums.to_vec());
            // SAFETY: the arrays cover the extents.
            unsafe { gemm_with([2, 3, 1], 1.0, (Type::F32, a), (Type::F32, b), 0.0, (ty, to), &none, see) };
            assert_eq!(shown, expected.then(|| vec![3., 4., 5., 6., 8., 10.]), "{ty:?}, strides {row} {col}");
        }
    }

    /// Rounding happens once, at the end: the sum of many small numbers is not lost.
    #[test]
    fn half_types_are_summed_in_f32() {
        let (m, n, k) = (2, 3, 4096);
        let (one, small) = (half::f16::from_f32(1.0), half::f16::from_f32(0.001));
        let (a, b) = (vec![small; m * k], vec![one; k * n]);
        let mut c = vec![one; m * n];
        let a = Matrix { data: a.as_ptr() as *const u8, row: k, col: 1 };
        let b = Matrix { data: b.as_ptr() as *const u8, row: 1, col: k };
        let to = Matrix { data: c.as_mut_ptr() as *mut u8, row: 1, col: m };
        // SAFETY: the vectors cover the extents.
        unsafe { gemm([m, n, k], 1.0, (Type::F16, a), (Type::F16, b), 1.0, (Type::F16, to)) };
        let sum = half::f16::from_f32(1.0 + k as f32 * small.to_f32());
        assert_eq!(c, vec![sum; m * n]);
    }
}
