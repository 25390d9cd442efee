//! The table of sinusoidal positions, fairseq's variant: all sines, then all cosines, and a zero row for padding.

/// First position of a sentence: fairseq counts from the padding id (1) on, so the first token has position 2.
pub const FIRST_POSITION: u32 = 2;

/// Row of zeros, at the padding id.
const PAD_ROW: usize = 1;

/// Rows `0 .. rows` of width `d`, row-major: `sin(p·w_j)` for j < h = d/2, then `cos(p·w_j)`,
/// `w_j = exp(−j·ln(10000)/(h−1))`, a zero column if `d` is odd.
///
/// Frequencies and angles are rounded to f32 before the sine is taken, as in the original: at position 1,000 the
/// rounding of the angle moves the sine by up to 3e-5, which parity has to reproduce.
pub fn table(rows: usize, d: usize) -> Vec<f32> {
    let half = d / 2;
    let step = (10_000f64.ln() / (half.max(2) - 1) as f64) as f32;
    let frequencies: Vec<f32> = (0..half).map(|j| f64::from(-(j as f32) * step).exp() as f32).collect();
    let mut table = vec![0.0; rows * d];
    for (position, row) in table.chunks_exact_mut(d).enumerate().filter(|(position, _)| *position != PAD_ROW) {
        for (j, frequency) in frequencies.iter().enumerate() {
            let angle = f64::from(position as f32 * frequency);
            row[j] = angle.sin() as f32;
            row[half + j] = angle.cos() as f32;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_then_cosines_and_a_zero_row() {
        let table = table(4, 5);
        assert_eq!(table[5..10], [0.0; 5], "the padding row");
        assert_eq!(table[..5], [0.0, 0.0, 1.0, 1.0, 0.0], "position 0");
        let expected = [2f64.sin(), 2e-4f64.sin(), 2f64.cos(), 2e-4f64.cos(), 0.0];
        for (got, expected) in table[10..15].iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-7, "{got} {expected}");
        }
    }
}
