//! `y = factor ⊙ relu(x + b)`, factor being 0 or 1/(1 − p) per element. Shapes as in `ops::bias_relu_dropout`.

/// NaN stays NaN.
fn relu(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// y `[n, f]` for x and factor `[n, f]`, b `[f]`.
pub fn forward(x: &[f64], b: &[f64], factor: &[f64]) -> Vec<f64> {
    x.iter().zip(b.iter().cycle()).zip(factor).map(|((x, b), factor)| relu(x + b) * factor).collect()
}

/// (dx, db) for ∂L/∂y = dy.
pub fn backward(x: &[f64], b: &[f64], factor: &[f64], dy: &[f64]) -> [Vec<f64>; 2] {
    let (mut dx, mut db) = (vec![0.0; x.len()], vec![0.0; b.len()]);
    for i in 0..x.len() {
        let c = i % b.len();
        dx[i] = if x[i] + b[c] > 0.0 { dy[i] * factor[i] } else { 0.0 };
        db[c] += dx[i];
    }
    [dx, db]
}
