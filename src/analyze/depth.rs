//! Output change |F(x₀, W) − F(x₀, W + δ)|² against the number of sublayers (Liu et al. 2020, arXiv:2004.08249, section
//! 4.1): O(N) for Post-LN, O(log N) for Pre-LN and Admin.
//!
//! An encoder stack of width 64 (4 heads, ffn 256) reads 8 sentences of 32 random words out of 1000. Every matrix of its
//! layers loses 1e-4·sign(normal); the embeddings stay. The value is the mean over tokens of |ΔF|²/d, F normalised. One
//! pair of passes gives every depth, as each sublayer's output is that of a shorter stack; not so for the analytic ω,
//! which depends on the depth: there each depth is a stack of its own.

use super::field::{Field, mean};
use super::stability::{RANDOM, perturb, random, squares};
use crate::config::{Init, Residual};
use crate::device::Device;
use crate::error::Result;
use crate::model::admin::Omegas;
use crate::model::config::EMBED;
use crate::model::probe::Probe;
use crate::model::{Model, ModelConfig, PackedBatch, Stack, Tables};
use crate::plot::{Look, Series};
use crate::rng::{RngState, Stream};

const VOCAB: usize = 1000;
const SENTENCES: usize = 8;
const LENGTH: usize = 32;
/// Pieces of a drawn fit.
const CURVE: u32 = 400;

/// What the stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    PostLn,
    PreLn,
    Admin,
    AdminAnalytic,
}

impl Scheme {
    pub const ALL: [Scheme; 4] = [Scheme::PostLn, Scheme::PreLn, Scheme::Admin, Scheme::AdminAnalytic];

    pub fn name(self) -> &'static str {
        match self {
            Scheme::PostLn => "post-ln",
            Scheme::PreLn => "pre-ln",
            Scheme::Admin => "admin",
            Scheme::AdminAnalytic => "admin-analytic",
        }
    }

    /// The same in every picture.
    pub fn look(self) -> Look {
        Look::nth(self as usize)
    }

    fn residual(self) -> Residual {
        match self {
            Scheme::PostLn => Residual::PostLn,
            Scheme::PreLn => Residual::PreLn,
            Scheme::Admin | Scheme::AdminAnalytic => Residual::Admin,
        }
    }
}

/// The depths [sublayers] that `scheme` is measured at, and the value at each, for one seed.
pub fn values(dev: &Device, scheme: Scheme, max: usize, seed: u64) -> Result<Vec<(usize, f64)>> {
    if scheme != Scheme::AdminAnalytic {
        return stack(dev, scheme, max, seed).map(|values| (1..).zip(values).collect());
    }
    let own = [2, 4, 10, 20, 40, 100, 200];
    let depths = own.into_iter().filter(|n| *n < max).chain([max]);
    depths
        .map(|n| {
            let values = stack(dev, scheme, n, seed)?;
            Ok((n, values[n - 1]))
        })
        .collect()
}

/// The value after each sublayer of a stack of `sublayers`, an even number.
fn stack(dev: &Device, scheme: Scheme, sublayers: usize, seed: u64) -> Result<Vec<f64>> {
    let config = ModelConfig {
        encoder_layers: sublayers / 2,
        decoder_layers: 0,
        d_model: 64,
        ffn: 256,
        heads: 4,
        vocab: VOCAB,
        max_positions: LENGTH,
        residual: scheme.residual(),
        init: Init::Xavier,
        omega_frozen: false,
        keep_first_omega_one: false,
        tables: Tables::Shared,
        dropout: 0.0,
        attention_dropout: 0.0,
        relu_dropout: 0.0,
    };
    let model = Model::new(dev, config)?;
    model.initialise(seed)?;
    let batch = batch(dev, seed)?;
    match scheme {
        Scheme::Admin => drop(model.profile(&batch, RngState { seed, step: 0 })?),
        Scheme::AdminAnalytic => Omegas::analytic(&model.config).apply(&model.params, &model.config)?,
        Scheme::PostLn | Scheme::PreLn => {}
    }
    let first = outputs(&model, &batch)?;
    perturb(&model.params, RANDOM, &random(seed), |name| {
        name.ends_with("weight") && !name.contains("norm") && name != EMBED
    })?;
    let second = outputs(&model, &batch)?;
    Ok(first.iter().zip(&second).map(|(a, b)| squares(a, b, model.config.residual)).collect())
}

/// The normalised stream after each sublayer.
fn outputs(model: &Model, batch: &PackedBatch) -> Result<Vec<Field>> {
    let mut probe = Probe::default();
    model.probe_encoder(&mut model.tape(RngState::default(), false), &batch.source, &mut probe)?;
    probe.of(Stack::Encoder).map(|seen| Field::read(model.params.dev(), &seen.next)).collect()
}

/// Sentences of random words, without special symbols.
fn batch(dev: &Device, seed: u64) -> Result<PackedBatch> {
    let mut stream = Stream::new(seed, 0xDE97);
    let mut sentence = || -> Vec<u32> { (0..LENGTH).map(|_| 4 + stream.below(VOCAB as u32 - 4)).collect() };
    let sentences: Vec<Vec<u32>> = (0..SENTENCES).map(|_| sentence()).collect();
    let pairs: Vec<(&[u32], &[u32])> = sentences.iter().map(|s| (s.as_slice(), &s[..1])).collect();
    PackedBatch::new(dev, &pairs, LENGTH)
}

/// exp of the mean logarithm, depth by depth: Post-LN's values are heavy-tailed over seeds.
pub fn geometric_mean(seeds: &[Vec<(usize, f64)>]) -> Vec<(usize, f64)> {
    let Some(first) = seeds.first() else { return Vec::new() };
    let at = |k: usize| mean(&seeds.iter().map(|values| values[k].1.ln()).collect::<Vec<_>>()).exp();
    first.iter().enumerate().map(|(k, (n, _))| (*n, at(k))).collect()
}

/// A least-squares line through (x, y).
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    pub slope: f64,
    pub intercept: f64,
    pub r2: f64,
}

impl Fit {
    fn at(&self, x: f64) -> f64 {
        self.slope * x + self.intercept
    }
}

/// The fit of y = slope·x + intercept.
pub fn fit(points: impl Iterator<Item = (f64, f64)>) -> Fit {
    let (x, y): (Vec<f64>, Vec<f64>) = points.unzip();
    let (mx, my) = (mean(&x), mean(&y));
    let sum =
        |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 { a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum() };
    let (sxx, sxy, syy) = (sum(&x, mx, &x, mx), sum(&x, mx, &y, my), sum(&y, my, &y, my));
    let slope = sxy / sxx;
    Fit { slope, intercept: my - slope * mx, r2: sxy * sxy / (sxx * syy) }
}

/// The fits of one scheme's values: against N, and against ln N.
pub fn fits(points: &[(usize, f64)]) -> [Fit; 2] {
    [|n| n, f64::ln].map(|x: fn(f64) -> f64| fit(points.iter().map(|(n, v)| (x(*n as f64), *v))))
}

/// For a logarithmic axis, on which every scheme has room: the values as marks, and through each scheme's the fit that is
/// better, so that its kind says how the scheme grows.
pub fn curves(schemes: &[(Scheme, Vec<(usize, f64)>)]) -> Vec<Series> {
    let of_scheme = |(scheme, points): &(Scheme, Vec<(usize, f64)>)| {
        let curve = points.iter().map(|(n, v)| (*n as f64, *v)).collect();
        Series::new(scheme.name(), scheme.look().points(), vec![curve])
    };
    let [mut linear, mut logarithmic] = [const { Vec::new() }; 2];
    for (_, points) in schemes {
        let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else { continue };
        let depths = (0..=CURVE).map(|k| *first as f64 + (last - first) as f64 * f64::from(k) / f64::from(CURVE));
        let [of_n, of_ln_n] = fits(points);
        if of_n.r2 > of_ln_n.r2 {
            linear.push(depths.map(|n| (n, of_n.at(n))).collect());
        } else {
            logarithmic.push(depths.map(|n| (n, of_ln_n.at(n.ln()))).collect());
        }
    }
    let fitted = [("fit N", linear), ("fit ln N", logarithmic)].into_iter().zip(Look::FITS);
    let fitted = fitted.map(|((name, curves), look)| Series::new(name, look, curves));
    schemes.iter().map(of_scheme).chain(fitted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_fit_is_drawn() {
        let of = |f: fn(f64) -> f64| (1..=50).map(|n| (n, f(n as f64))).collect::<Vec<_>>();
        let schemes = [(Scheme::PostLn, of(|n| 2.0 * n - 1.0)), (Scheme::Admin, of(|n| 3.0 + n.ln()))];
        let [post, admin, linear, logarithmic] = <[Series; 4]>::try_from(curves(&schemes)).ok().unwrap();
        for (values, fit) in [(post, linear), (admin, logarithmic)] {
            assert_eq!(fit.curves.len(), 1, "{}", fit.name);
            let ends = |one: &Series| [one.curves[0][0], one.curves[0][one.curves[0].len() - 1]];
            for ((n, value), (at, fitted)) in ends(&values).into_iter().zip(ends(&fit)) {
                assert!(n == at && (value - fitted).abs() < 1e-9, "{}: {fitted} at {n}", fit.name);
            }
        }
    }

    #[test]
    fn a_line_is_found_and_a_bend_lowers_r2() {
        let line = fit((0..9).map(|x| (f64::from(x), 3.0 * f64::from(x) - 2.0)));
        assert!(
            (line.slope - 3.0).abs() < 1e-12 && (line.intercept + 2.0).abs() < 1e-12 && (line.r2 - 1.0).abs() < 1e-12
        );
        assert!(fit((1..99).map(|x| (f64::from(x), f64::from(x).ln()))).r2 < 0.9);
    }
}
