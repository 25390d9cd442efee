//! Mean and population variance of `scale⊙x`, x `[N, C]`, scale `[C]`.

/// (mean, variance).
pub fn forward(x: &[f64], scale: &[f64]) -> (f64, f64) {
    let values: Vec<f64> = x.iter().zip(scale.iter().cycle()).map(|(x, s)| x * s).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
}
