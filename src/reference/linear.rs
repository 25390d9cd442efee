//! `y = x·Wᵀ + b` and its gradients. Shapes as in `ops::linear`; matrices are row-major slices.

/// y `[n, out]` for x `[n, inner]`, w `[out, inner]`, b `[out]`.
pub fn forward(x: &[f64], w: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
    let row = |x: &[f64]| -> Vec<f64> {
        let dot = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        w.chunks(inner).zip(b).map(|(w, b)| dot(w) + b).collect()
    };
    x.chunks(inner).flat_map(row).collect()
}

/// (dx, dw, db) for ∂L/∂y = dy.
pub fn backward(x: &[f64], w: &[f64], dy: &[f64], inner: usize) -> [Vec<f64>; 3] {
    let out = w.len() / inner;
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; out]);
    for (n, dy) in dy.chunks(out).enumerate() {
        for (o, g) in dy.iter().enumerate() {
            db[o] += g;
            for i in 0..inner {
                dx[n * inner + i] += g * w[o * inner + i];
                dw[o * inner + i] += g * x[n * inner + i];
            }
        }
    }
    [dx, dw, db]
}
