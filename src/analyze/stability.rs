//! Change of the sublayers when the parameters change a little (the original's `plot_stability`).
//!
//! Parameters whose name holds none of `bias`, `layer_norm`, `ratio` lose δ·sign: of a normal number, δ = 1e-4, or of the
//! gradient, δ = 1e-6.

use super::field::{Field, mean};
use super::gradients::norms;
use crate::config::Residual;
use crate::error::Result;
use crate::model::probe::Probe;
use crate::model::{Model, PackedBatch, Params, Stack};
use crate::rng::{RngState, Stream};

/// Size of a random change.
pub const RANDOM: f64 = 1e-4;
/// Size of a change along the gradient's sign.
pub const GRADIENT: f64 = 1e-6;

/// Sign of each element of a parameter: −1, 0 or 1.
pub type Signs<'a> = dyn Fn(&Params, &str) -> Result<Vec<f32>> + 'a;

/// Signs drawn from `seed`, a stream per parameter.
pub fn random(seed: u64) -> impl Fn(&Params, &str) -> Result<Vec<f32>> {
    move |params, name| {
        let number = params.entries().iter().position(|entry| entry.spec.name == name).unwrap_or(0);
        let mut stream = Stream::new(seed ^ 0x5_1695, number as u64);
        let n = params.value(name)?.numel();
        Ok((0..n).map(|_| if stream.word() >> 31 == 0 { 1.0 } else { -1.0 }).collect())
    }
}

/// Signs of the gradients in `params`.
pub fn gradient(params: &Params, name: &str) -> Result<Vec<f32>> {
    let sign = |g: &f32| if *g == 0.0 { 0.0 } else { g.signum() };
    Ok(params.dev().read_wide(&params.grad(name)?)?.iter().map(sign).collect())
}

/// Subtracts delta·signs from the parameters that `chosen` names; the values before.
pub fn perturb(
    params: &Params,
    delta: f64,
    signs: &Signs<'_>,
    chosen: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<f32>)>> {
    let mut before = Vec::new();
    let names: Vec<String> = params.entries().iter().map(|entry| entry.spec.name.clone()).collect();
    for name in names.into_iter().filter(|name| chosen(name)) {
        let old = params.read(&name)?;
        let new: Vec<f32> = old.iter().zip(signs(params, &name)?).map(|(p, s)| p - delta as f32 * s).collect();
        params.write(&name, &new)?;
        before.push((name, old));
    }
    Ok(before)
}

/// Whether the original's perturbation touches the parameter.
pub fn touched(name: &str) -> bool {
    !["bias", "layer_norm", "ratio"].iter().any(|part| name.contains(part))
}

/// What changed.
pub struct Change {
    /// Per sublayer, in the order they run.
    pub rows: Vec<(Stack, f64)>,
    /// Of each stack's output, in the order they run.
    pub last: Vec<(Stack, f64)>,
}

/// Runs `model` before and after the change; its parameters are as before in the end. For the gradient's sign,
/// [`norms`] must have left the gradients. With `original`, a row is ‖x̂ − x̂*‖ over all tokens, x̂ the branch's input over
/// its standard deviation (d − 1), and the last value that of the raw stream, before Pre-LN's final LayerNorm. Else both
/// are the mean over tokens of |Δx|²/d, x the normalised stream after the sublayer.
pub fn change(model: &Model, batch: &PackedBatch, delta: f64, signs: &Signs<'_>, original: bool) -> Result<Change> {
    let first = look("before", model, batch)?;
    let before = perturb(&model.params, delta, signs, touched)?;
    let second = look("after", model, batch);
    before.iter().try_for_each(|(name, old)| model.params.write(name, old))?;
    let second = second?;
    let dev = model.params.dev();
    let (mut rows, mut last) = (Vec::new(), Vec::<(Stack, f64)>::new());
    for (a, b) in first.sublayers.iter().zip(&second.sublayers) {
        let row = if original {
            scaled(Field::read(dev, &a.input)?, 1).minus(&scaled(Field::read(dev, &b.input)?, 1)).norm()
        } else {
            squares(&Field::read(dev, &a.next)?, &Field::read(dev, &b.next)?, model.config.residual)
        };
        let end = if original { Field::read(dev, &a.output)?.minus(&Field::read(dev, &b.output)?).norm() } else { row };
        last.retain(|(stack, _)| *stack != a.stack);
        last.push((a.stack, end));
        rows.push((a.stack, row));
    }
    Ok(Change { rows, last })
}

/// [`change`] along the gradient's sign of the batch's own loss.
pub fn along_gradient(model: &Model, batch: &PackedBatch, smoothing: f32, original: bool) -> Result<Change> {
    norms(model, batch, smoothing)?;
    change(model, batch, GRADIENT, &gradient, original)
}

fn look(what: &str, model: &Model, batch: &PackedBatch) -> Result<Probe> {
    let mut probe = Probe::shown(what, &model.config);
    model.probe(&mut model.tape(RngState::default(), false), batch, &mut probe)?;
    Ok(probe)
}

/// Each row over its standard deviation.
fn scaled(mut x: Field, ddof: usize) -> Field {
    let by: Vec<f64> = x.variances(ddof).into_iter().map(|v| 1.0 / v.sqrt()).collect();
    x.scale_rows(&by);
    x
}

/// Mean over tokens of |a − b|²/d; a stream without a norm (ReZero) is brought to unit deviation first.
pub fn squares(a: &Field, b: &Field, residual: Residual) -> f64 {
    let change = match residual {
        Residual::Rezero => scaled(a.clone(), 0).minus(&scaled(b.clone(), 0)),
        _ => a.minus(b),
    };
    let rows: Vec<f64> =
        change.rows().map(|row| row.iter().map(|x| x * x).sum::<f64>() / change.width as f64).collect();
    mean(&rows)
}
