//! What is done to a product's sums before they are rounded: bias, ReLU and ReLU's gradient, as cublasLt does them for
//! linear layers; and sums of columns, which are the gradients of biases.

use rayon::prelude::*;

use crate::{Matrix, Type, convert};

/// For `C [m, n]`: `bias` is added to each row, then ReLU.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    pub relu: Relu,
}

#[derive(Clone, Copy, Default)]
pub enum Relu {
    #[default]
    None,
    /// max(x, 0); a NaN stays one.
    Plain,
    /// The same, and a bit for each element that is above 0.
    Keep(Mask),
    /// x where the bit is set, else 0.
    Gradient(Mask),
}

/// A bit for each element of C, the lowest of a byte first; rows start `stride` bits apart, a multiple of 8. Bits after the
/// end of a row stay as they are.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    pub data: *mut u8,
    pub stride: usize,
}

// SAFETY: tasks touch bytes of their own: they part rows, or columns at multiples of 8.
unsafe impl Sync for Mask {}

impl Epilogue<'_> {
    /// Applies it to the rows from `first` on and the columns from `start` on, a multiple of 8, of C.
    ///
    /// # Safety
    /// C has elements of a row side by side; C and the mask cover the extents, and nobody else touches these parts of them.
    pub(crate) unsafe fn apply(
        &self,
        c: &Matrix<*mut f32>,
        (first, rows): (usize, usize),
        (start, cols): (usize, usize),
    ) {
        if self.bias.is_none() && matches!(self.relu, Relu::None) {
            return;
        }
        for i in first..first + rows {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts_mut(c.data.add(i * c.row + start), cols) };
            if let Some(bias) = self.bias {
                row.iter_mut().zip(&bias[start..]).for_each(|(sum, bias)| *sum += bias);
            }
            // SAFETY: the caller's promise.
            let bytes = |mask: &Mask| unsafe {
                std::slice::from_raw_parts_mut(mask.data.add((i * mask.stride + start) / 8), cols.div_ceil(8))
            };
            match &self.relu {
                Relu::None => {}
                Relu::Plain => row.iter_mut().for_each(|x| *x = positive(*x)),
                Relu::Keep(mask) => keep(row, bytes(mask)),
                Relu::Gradient(mask) => select(row, bytes(mask)),
            }
        }
    }
}

#[inline]
fn positive(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}

fn keep(row: &mut [f32], mask: &mut [u8]) {
    let (eights, rest) = row.as_chunks_mut::<8>();
    for (eight, byte) in eights.iter_mut().zip(&mut *mask) {
        *byte = 0;
        for (bit, x) in eight.iter_mut().enumerate() {
            *byte |= u8::from(*x > 0.0) << bit;
            *x = positive(*x);
        }
    }
    if let (Some(byte), false) = (mask.last_mut(), rest.is_empty()) {
        for (bit, x) in rest.iter_mut().enumerate() {
            *byte = *byte & !(1 << bit) | u8::from(*x > 0.0) << bit;
            *x = positive(*x);
        }
    }
}

fn select(row: &mut [f32], mask: &[u8]) {
    for (eight, byte) in row.chunks_mut(8).zip(mask) {
        for (bit, x) in eight.iter_mut().enumerate() {
            *x = if byte >> bit & 1 == 1 { *x } else { 0.0 };
        }
    }
}

/// Rows of a tile, and sums that take turns at its rows.
const TILE: usize = 128;
const TURNS: usize = 4;

/// The sums of the columns of `values`, `[_, width]`, in the order that `linear_bwd` and `bias_relu_dropout_bwd` of omega's
/// kernels add in, so that a run in f32 has the same bits with and without epilogues: in each tile of rows every fourth row,
/// then the four, then the tiles. The same for any number of threads.
pub fn sums_of_columns(values: &[f32], width: usize) -> Vec<f32> {
    let width = width.max(1);
    let add = |to: &mut [f32], row: &[f32]| to.iter_mut().zip(row).for_each(|(to, value)| *to += value);
    let whole = |parts: &[f32]| {
        let mut sums = vec![0.0f32; width];
        parts.chunks_exact(width).for_each(|part| add(&mut sums, part));
        sums
    };
    let tile = |tile: &[f32]| {
        let mut parts = vec![0.0f32; TURNS * width];
        for rows in tile.chunks(TURNS * width) {
            add(&mut parts, rows);
        }
        whole(&parts)
    };
    let tiles: Vec<Vec<f32>> = values.par_chunks(TILE * width).map(tile).collect();
    whole(&tiles.concat())
}

/// As [`sums_of_columns`], of a matrix of any type.
///
/// # Safety
/// The pointer covers the extents.
pub unsafe fn sums_of_columns_of(ty: Type, from: Matrix<*const u8>, [rows, cols]: [usize; 2]) -> Vec<f32> {
    if (ty, from.row, from.col) == (Type::F32, cols, 1) {
        // SAFETY: the caller's promise.
        return sums_of_columns(unsafe { std::slice::from_raw_parts(from.data.cast(), rows * cols) }, cols);
    }
    let from = Matrix { data: from.data.cast_mut(), row: from.row, col: from.col };
    // SAFETY: the caller's promise.
    sums_of_columns(&unsafe { crate::by_rows(ty, from, [rows, cols]) }, cols)
}

/// Writes a vector, rounded; with `add`, what is rounded is added to what is there, and the sum is rounded again.
///
/// # Safety
/// The pointer covers the values, and is aligned to its type.
pub unsafe fn put_vector(ty: Type, to: *mut u8, values: &[f32], add: bool) {
    let (n, at) = (values.len(), Matrix { data: to, row: values.len(), col: 1 });
    // SAFETY: the caller's promise.
    unsafe {
        if !add {
            return convert::narrow(ty, at, [1, n], values);
        }
        let mut old = Vec::new();
        convert::widen(ty, Matrix { data: to.cast_const(), row: n, col: 1 }, [1, n], &mut old);
        let mut rounded = vec![0.0f32; n];
        let mut bytes = vec![0u32; n];
        let room = bytes.as_mut_ptr().cast::<u8>();
        convert::narrow(ty, Matrix { data: room, row: n, col: 1 }, [1, n], values);
        convert::widen(ty, Matrix { data: room.cast_const(), row: n, col: 1 }, [1, n], &mut rounded);
        old.iter_mut().zip(&rounded).for_each(|(old, new)| *old += new);
        convert::narrow(ty, at, [1, n], &old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm_with;

    const NAN: f32 = f32::NAN;

    #[test]
    fn relu_keeps_nan_and_its_mask_says_what_is_above_zero() {
        let row = [1.0, -1.0, 0.0, -0.0, NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42, 2.0, -3.0, NAN];
        let (mut values, mut mask) = (row, [0xffu8, 0xa6]);
        keep(&mut values, &mut mask);
        let expected: Vec<u32> = row.iter().map(|&x| if x <= 0.0 { 0 } else { x.to_bits() }).collect();
        assert_eq!(values.map(f32::to_bits).to_vec(), expected);
        assert_eq!(mask, [0b1010_0001, 0b1010_0001]);
        let mut gradient = [1.0f32; 11];
        gradient[1] = NAN; // of what was cut off nothing comes through
        select(&mut gradient, &mask);
        assert_eq!(gradient, [1., 0., 0., 0., 0., 1., 0., 1., 1., 0., 0.]);
    }

    /// Wide and tall, so that tasks part rows and columns; small integers, so that sums are exact.
    #[test]
    fn epilogues_are_those_of_the_whole_matrix() {
        for [m, n, k] in [[3, 5, 2], [600, 21, 3], [7, 700, 3]] {
            let value = |i: usize| (i * 7 % 11) as f32 - 5.0;
            let (a, b): (Vec<f32>, Vec<f32>) = ((0..m * k).map(value).collect(), (0..k * n).map(value).collect());
            let bias: Vec<f32> = (0..n).map(|j| (j % 5) as f32 - 2.0).collect();
            let sum = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f32>();
            let stride = n.next_multiple_of(128);
            let (mut mask, mut c, mut columns) = (vec![0u8; m * stride / 8], vec![NAN; m * n], Vec::new());
            let at = Mask { data: mask.as_mut_ptr(), stride };
            let matrix = |data: *const f32, row| (Type::F32, Matrix { data: data.cast::<u8>(), row, col: 1 });
            let mut run = |epilogue: Epilogue, c: &mut Vec<f32>| {
                let to = (Type::F32, Matrix { data: c.as_mut_ptr().cast::<u8>(), row: n, col: 1 });
                let take = |sums: &[f32]| columns = sums_of_columns(sums, n);
                let (a, b) = (matrix(a.as_ptr(), k), matrix(b.as_ptr(), n));
                // SAFETY: the vectors cover the extents.
                unsafe { gemm_with([m, n, k], 1.0, a, b, 0.0, to, &epilogue, take) };
            };
            run(Epilogue { bias: Some(&bias), relu: Relu::Keep(at) }, &mut c);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                assert_eq!(c[i * n + j], (sum(i, j) + bias[j]).max(0.0), "{m}×{n}, ({i}, {j})");
            }
            run(Epilogue { bias: None, relu: Relu::Plain }, &mut c);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                assert_eq!(c[i * n + j], sum(i, j).max(0.0), "{m}×{n}, ({i}, {j})");
            }
            run(Epilogue { bias: None, relu: Relu::Gradient(at) }, &mut c);
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let expected = if sum(i, j) + bias[j] > 0.0 { sum(i, j) } else { 0.0 };
                assert_eq!(c[i * n + j], expected, "{m}×{n}, ({i}, {j})");
            }
            let expected: Vec<f32> = (0..n).map(|j| (0..m).map(|i| c[i * n + j]).sum()).collect();
            assert_eq!(columns, expected);
        }
    }

    /// The order shows in the bits: `linear_bwd` adds every fourth row of a tile of 128, then the four, then the tiles.
    #[test]
    fn columns_are_summed_in_the_kernels_order() {
        let (rows, width) = (301, 3);
        let values: Vec<f32> = (0..rows * width).map(|i| (i * 7919 % 1009) as f32 / 7.0 - 60.0).collect();
        let expected: Vec<f32> = (0..width)
            .map(|column| {
                let tile = |from: usize| -> f32 {
                    let turn = |turn: usize| {
                        let rows = (from + turn..rows.min(from + 128)).step_by(4);
                        rows.fold(0.0, |sum: f32, row| sum + values[row * width + column])
                    };
                    (0..4).map(turn).fold(0.0, |sum, part| sum + part)
                };
                (0..rows).step_by(128).map(tile).fold(0.0, |sum, part| sum + part)
            })
            .collect();
        assert_eq!(sums_of_columns(&values, width), expected);
    }

    /// By rows with gaps and by columns, in every type.
    #[test]
    fn columns_of_any_matrix_are_summed() {
        let extents @ [rows, cols] = [5, 3];
        let values: Vec<f32> = (0..rows * cols).map(|i| (i * i % 19) as f32 - 7.0).collect();
        for (ty, (row, col)) in
            [Type::F32, Type::F16, Type::Bf16].into_iter().flat_map(|ty| [(3, 1), (4, 1), (1, 6)].map(|at| (ty, at)))
        {
            let mut bytes = vec![u32::MAX; 40];
            let data = bytes.as_mut_ptr().cast::<u8>();
            let by_columns: Vec<f32> =
                (0..cols).flat_map(|j| (0..rows).map(move |i| i * cols + j)).map(|at| values[at]).collect();
            // SAFETY: the buffer has room for the extents with their strides.
            unsafe {
                convert::narrow(ty, Matrix { data, row, col }, extents, if col == 1 { &values } else { &by_columns });
                let from = Matrix { data: data.cast_const(), row, col };
                assert_eq!(
                    sums_of_columns_of(ty, from, extents),
                    sums_of_columns(&values, cols),
                    "{ty:?}, {row}, {col}"
                );
            }
        }
    }

    #[test]
    fn vectors_are_rounded_before_they_are_added() {
        for (ty, step) in [(Type::F16, 2f32.powi(-10)), (Type::Bf16, 2f32.powi(-7))] {
            let mut words = vec![0u16; 3];
            let at = words.as_mut_ptr().cast::<u8>();
            let mut out = Vec::new();
            // SAFETY: three values of two bytes.
            unsafe {
                put_vector(ty, at, &[1.0, 1.0 + step, -1.0], false);
                put_vector(ty, at, &[1.0 + 0.4 * step, step, 1.0 + 0.6 * step], true);
                convert::widen(ty, Matrix { data: at.cast_const(), row: 3, col: 1 }, [1, 3], &mut out);
            }
            assert_eq!(out, [2.0, 1.0 + 2.0 * step, step]);
        }
    }
}
