//! How much each sublayer's output depends on each residual branch (Liu et al. 2020, arXiv:2004.08249, section 3.2 and
//! Figure 1; the original's `plot_variance`).
//!
//! The output x_k of sublayer k is a sum of components: the embedding (j = 0) and the branches j = 1 … k, each carried
//! through the shortcuts behind it: times ω, times the LayerNorm's gain, over its standard deviation.

use super::field::{Field, mean, wide};
use crate::config::Residual;
use crate::error::Result;
use crate::model::admin::omega_name;
use crate::model::probe::{Probe, Seen};
use crate::model::{Model, Part, Stack};
use crate::terminal::Progress;

/// What pictures call [`shares`].
pub const SHARE: &str = "share of the variance, β²";

const EPS: f64 = crate::model::LAYER_NORM_EPS as f64;

/// β²_kj for k = 0 … sublayers, j = 0 … k: the share of component j in the sum of the components' variances over the
/// channels, averaged over tokens. Each row sums to 1.
pub fn shares(model: &Model, probe: &Probe, stack: Stack) -> Result<Vec<Vec<f64>>> {
    let (params, residual) = (&model.params, model.config.residual);
    let mut x = Field::read(params.dev(), probe.embedding(stack)?)?;
    let mut parts = vec![x.clone()];
    let mut rows = vec![vec![1.0]];
    // Row k has k components.
    let all = model.config.sublayers(stack) as u64;
    let mut progress = Progress::new(stack.name(), Some(all * (all + 1) / 2));
    for (index, seen) in probe.of(stack).enumerate() {
        let mut branch = Field::branch(params, seen)?;
        if matches!(residual, Residual::Rezero | Residual::RezeroPostLn) {
            let alpha = wide(params, &format!("{}.rezero_weight", stack.layer(seen.layer)))?[0];
            branch.data.iter_mut().for_each(|f| *f *= alpha);
        }
        if residual == Residual::Admin {
            let omega = wide(params, &omega_name(stack, index))?;
            parts.iter_mut().for_each(|part| part.scale(&omega));
            x.scale(&omega);
        }
        let sums = x.data.iter().zip(&branch.data).map(|(x, f)| x + f).collect();
        let sum = Field { width: x.width, data: sums };
        parts.push(branch);
        if matches!(residual, Residual::PostLn | Residual::Admin | Residual::RezeroPostLn) {
            let r: Vec<f64> = sum.variances(0).into_iter().map(|v| 1.0 / (v + EPS).sqrt()).collect();
            let gain = wide(params, &format!("{}.weight", seen.norm))?;
            for part in &mut parts {
                part.scale_rows(&r);
                part.scale(&gain);
            }
        }
        rows.push(shares_of(&parts));
        let (row, shares) = (rows.len() as u64 - 1, (rows.len() * (rows.len() - 1) / 2) as u64);
        progress.count(shares, row, "sublayers");
        x = Field::read(params.dev(), &seen.output)?;
    }
    Ok(rows)
}

fn shares_of(parts: &[Field]) -> Vec<f64> {
    let variances: Vec<Vec<f64>> = parts.iter().map(|part| part.variances(0)).collect();
    let totals: Vec<f64> = (0..variances[0].len()).map(|t| variances.iter().map(|v| v[t]).sum()).collect();
    let share = |of: &Vec<f64>| mean(&of.iter().zip(&totals).map(|(v, sum)| v / sum).collect::<Vec<_>>());
    variances.iter().map(share).collect()
}

/// The original's statistic: the mean over tokens of each component's standard deviation (divided by d − 1). Neither
/// the LayerNorm's deviation nor its bias is taken into account, and without ω the branch of a feed-forward sublayer
/// misses the gain of its own LayerNorm.
pub fn original(model: &Model, probe: &Probe, stack: Stack) -> Result<Vec<Vec<f64>>> {
    let (params, residual) = (&model.params, model.config.residual);
    let mut parts = vec![Field::read(params.dev(), probe.embedding(stack)?)?];
    let row = |parts: &[Field]| -> Vec<f64> { parts.iter().map(deviation).collect() };
    let mut rows = vec![row(&parts)];
    for (index, seen) in probe.of(stack).enumerate() {
        let mut branch = Field::branch(params, seen)?;
        if residual != Residual::PreLn && residual != Residual::Rezero {
            let mut factor = gain(model, seen)?;
            if residual == Residual::Admin || seen.part != Part::Ffn {
                branch.scale(&factor);
            }
            if residual == Residual::Admin {
                let omega = wide(params, &omega_name(stack, index))?;
                factor.iter_mut().zip(omega).for_each(|(g, omega)| *g *= omega);
            }
            parts.iter_mut().for_each(|part| part.scale(&factor));
        }
        parts.push(branch);
        rows.push(row(&parts));
    }
    Ok(rows)
}

fn gain(model: &Model, seen: &Seen) -> Result<Vec<f64>> {
    wide(&model.params, &format!("{}.weight", seen.norm))
}

fn deviation(part: &Field) -> f64 {
    mean(&part.variances(1).into_iter().map(f64::sqrt).collect::<Vec<_>>())
}
