//! What is computed of plain numbers in more than one place.

/// The middle one of `sorted`, or the mean of the two in the middle; not a number where there is none.
pub fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!([median(&[3.0]), median(&[1.0, 2.0]), median(&[1.0, 5.0, 6.0])], [3.0, 1.5, 5.0]);
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }
}
