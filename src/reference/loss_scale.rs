//! Global gradient norm and clip factor, as `ops::loss_scale`.

/// (norm, factor).
pub fn forward(gradient: &[f64], unscale: f64, clip: f64) -> (f64, f64) {
    let norm = unscale * gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let ratio = clip / (norm + 1e-6);
    (norm, if clip > 0.0 && ratio < 1.0 { unscale * ratio } else { unscale })
}
