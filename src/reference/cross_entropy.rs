//! Label-smoothed cross-entropy, summed over rows. Shapes as in `ops::cross_entropy`.

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = top + row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    row.iter().map(|x| x - lse).collect()
}

/// (loss, nll) for logits `[T, V]`, targets `[T]`.
pub fn forward(logits: &[f64], targets: &[u32], smoothing: f64) -> (f64, f64) {
    let v = logits.len() / targets.len();
    logits.chunks(v).zip(targets).fold((0.0, 0.0), |(loss, nll), (row, &t)| {
        let lp = log_softmax(row);
        let (hit, all) = (-lp[t as usize], -lp.iter().sum::<f64>());
        (loss + (1.0 - smoothing) * hit + smoothing / v as f64 * all, nll + hit)
    })
}

/// ∂loss/∂logits `[T, V]`.
pub fn backward(logits: &[f64], targets: &[u32], smoothing: f64) -> Vec<f64> {
    let v = logits.len() / targets.len();
    let row = |(row, &t): (&[f64], &u32)| {
        let lp = log_softmax(row).into_iter().enumerate();
        lp.map(move |(k, lp)| {
            let hit = if k == t as usize { 1.0 - smoothing } else { 0.0 };
            lp.exp() - hit - smoothing / v as f64
        })
    };
    logits.chunks(v).zip(targets).flat_map(row).collect()
}
