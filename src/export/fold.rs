//! A model in host memory, and ω folded into it: the same function as a plain Transformer.
//!
//! Admin, y_l = LN(ω_l⊙x_{l−1} + f_l(x_{l−1})), becomes Post-LN in x̃_{l−1} = ω_l⊙x_{l−1}: the norm before a sublayer gives
//! x̃ (γ' = ω_l⊙γ, β' = ω_l⊙β), and the sublayer's branch reads x̃ through columns divided by ω_l. The last norm of a stack
//! is as it was: the decoder's cross-attention reads the encoder's x, and only its queries are divided. What the first
//! sublayer reads has no norm before it, so ω_1 goes into embeddings and positions: the one table becomes three.
//!
//! ReZero with Post-LN, LN(x + α·f(x)): α goes into the last matrix and bias of f.

use std::collections::HashMap;

use crate::checkpoint::{NamedTensor, expect_numbers};
use crate::config::Residual;
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Part, Stack, Tables, positions};

/// A model's parameters by name.
#[derive(Clone, Debug)]
pub struct Weights {
    pub config: ModelConfig,
    tensors: HashMap<String, NamedTensor>,
}

/// One residual sublayer.
type Place = (usize, Part);

impl Weights {
    /// `tensors` of a model of `config`; an error names one that is missing, too many, of another shape, or holds what is no
    /// number.
    pub fn new(config: ModelConfig, tensors: Vec<NamedTensor>) -> Result<Weights> {
        let mut all: HashMap<String, NamedTensor> =
            tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let mut wanted = HashMap::new();
        for spec in config.specs() {
            let tensor = all.remove(&spec.name).ok_or_else(|| Error::data(format!("no tensor `{}`", spec.name)))?;
            if tensor.shape != spec.shape {
                let (got, expected) = (&tensor.shape, &spec.shape);
                return Err(Error::data(format!("`{}` is {got:?}, expected {expected:?}", spec.name)));
            }
            expect_numbers(&spec.name, &tensor.data)?;
            wanted.insert(spec.name, tensor);
        }
        match all.into_keys().min() {
            Some(name) => Err(Error::data(format!("tensor `{name}` is none of this model's"))),
            None => Ok(Weights { config, tensors: wanted }),
        }
    }

    /// All tensors in the order of [`ModelConfig::specs`].
    pub fn tensors(&self) -> Result<Vec<NamedTensor>> {
        self.config.specs().into_iter().map(|spec| self.tensor(&spec.name).cloned()).collect()
    }

    pub fn tensor(&self, name: &str) -> Result<&NamedTensor> {
        self.tensors.get(name).ok_or_else(|| Error::data(format!("the model has no parameter `{name}`")))
    }

    pub fn data(&self, name: &str) -> Result<&[f32]> {
        self.tensor(name).map(|tensor| tensor.data.as_slice())
    }

    /// Row-major [rows, d] positions of `stack`, those of the padding included: the model's own, or sinusoids.
    pub fn positions(&self, stack: Stack) -> Result<Vec<f32>> {
        match self.config.tables {
            Tables::Apart => self.data(stack.positions()).map(<[f32]>::to_vec),
            Tables::Shared => {
                let rows = self.config.max_positions + positions::FIRST_POSITION as usize;
                Ok(positions::table(rows, self.config.d_model))
            }
        }
    }

    /// Multiplies `name`, an array of rows as long as `by`, by the numbers `by` or divides it; `by` repeats for each row.
    /// Each value is rounded once.
    fn scale(&mut self, name: &str, rows: usize, by: &[f32], divide: bool) -> Result<()> {
        let tensor = self.tensors.get_mut(name).ok_or_else(|| Error::data(format!("no parameter `{name}`")))?;
        for row in tensor.data.chunks_exact_mut(by.len()).take(rows) {
            for (value, by) in row.iter_mut().zip(by) {
                let (x, by) = (f64::from(*value), f64::from(*by));
                *value = (if divide { x / by } else { x * by }) as f32;
            }
        }
        match tensor.data.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::data(format!("`{name}` would hold {value} with ω folded into it"))
                .hint("an ω is too small or too large to be folded; export with --to fairseq --keep-omega instead")),
            None => Ok(()),
        }
    }

    /// ω of the sublayer at `place`.
    fn omega(&self, stack: Stack, (layer, part): Place) -> Result<Vec<f32>> {
        self.data(&format!("{}.{}", stack.layer(layer), stack.omega(part))).map(<[f32]>::to_vec)
    }

    /// The smallest |ω| and where it is; none without ω.
    pub fn smallest_omega(&self) -> Result<Option<(f32, String)>> {
        let mut smallest: Option<(f32, String)> = None;
        if self.config.residual == Residual::Admin {
            for stack in [Stack::Encoder, Stack::Decoder] {
                for place in places(&self.config, stack) {
                    let least =
                        self.omega(stack, place)?.iter().fold(f32::INFINITY, |least, omega| least.min(omega.abs()));
                    if smallest.as_ref().is_none_or(|(least_so_far, _)| least < *least_so_far) {
                        smallest = Some((least, format!("{} layer {}, {}", stack.name(), place.0, place.1.title())));
                    }
                }
            }
        }
        Ok(smallest)
    }
}

fn places(config: &ModelConfig, stack: Stack) -> Vec<Place> {
    (0..config.layers(stack)).flat_map(|layer| stack.sublayers().iter().map(move |part| (layer, *part))).collect()
}

/// The same function as a plain Post-LN or Pre-LN Transformer. An error for ReZero, which has no LayerNorm.
pub fn fold(mut weights: Weights) -> Result<Weights> {
    match weights.config.residual {
        Residual::PostLn | Residual::PreLn => {}
        Residual::Rezero => {
            return Err(Error::data(
                "a ReZero model is x + α·f(x) without LayerNorm: no plain Transformer is the same",
            )
            .hint("--to fairseq --keep-omega writes it as it is, for the original's code"));
        }
        Residual::RezeroPostLn => fold_alpha(&mut weights)?,
        Residual::Admin => fold_omega(&mut weights)?,
    }
    let config = ModelConfig { omega_frozen: false, keep_first_omega_one: false, ..weights.config };
    let config =
        if config.residual == Residual::PreLn { config } else { ModelConfig { residual: Residual::PostLn, ..config } };
    // Parameters that are folded away are none of the plain model's.
    let specs = config.specs();
    weights.tensors.retain(|name, _| specs.iter().any(|spec| spec.name == *name));
    Ok(Weights { config, ..weights })
}

fn fold_alpha(weights: &mut Weights) -> Result<()> {
    for stack in [Stack::Encoder, Stack::Decoder] {
        for (layer, part) in places(&weights.config, stack) {
            let at = stack.layer(layer);
            let alpha = weights.data(&format!("{at}.rezero_weight"))?.to_vec();
            let last = if part == Part::Ffn { format!("{at}.fc2") } else { format!("{at}.{}.out_proj", part.name()) };
            for name in ["weight", "bias"] {
                weights.scale(&format!("{last}.{name}"), usize::MAX, &alpha, false)?;
            }
        }
    }
    Ok(())
}

fn fold_omega(weights: &mut Weights) -> Result<()> {
    let d = weights.config.d_model;
    let mut first = Vec::new();
    for stack in [Stack::Encoder, Stack::Decoder] {
        let places = places(&weights.config, stack);
        let omegas: Vec<Vec<f32>> = places.iter().map(|place| weights.omega(stack, *place)).collect::<Result<_>>()?;
        first.push(omegas.first().cloned().unwrap_or_else(|| vec![1.0; d]));
        for (number, &(layer, part)) in places.iter().enumerate() {
            let at = stack.layer(layer);
            let (input, rows) = match part {
                Part::SelfAttention => (format!("{at}.self_attn.in_proj_weight"), 3 * d),
                Part::CrossAttention => (format!("{at}.encoder_attn.in_proj_weight"), d), // the queries
                Part::Ffn => (format!("{at}.fc1.weight"), usize::MAX),
            };
            if omegas[number].contains(&0.0) {
                let message = format!("ω of {at}.{} is 0 in a channel: it cannot be folded", stack.omega(part));
                return Err(Error::data(message).hint("--to fairseq --keep-omega writes the model as it is"));
            }
            weights.scale(&input, rows, &omegas[number], true)?;
            if let Some(next) = omegas.get(number + 1) {
                for name in ["weight", "bias"] {
                    weights.scale(&format!("{at}.{}.{name}", part.norm()), usize::MAX, next, false)?;
                }
            }
        }
    }
    if first.iter().flatten().all(|omega| *omega == 1.0) {
        return Ok(());
    }
    separate_tables(weights)?;
    for (stack, omega) in [Stack::Encoder, Stack::Decoder].into_iter().zip(&first) {
        for name in [weights.config.embeddings(stack), stack.positions()] {
            weights.scale(name, usize::MAX, omega, false)?;
        }
    }
    Ok(())
}

/// Tables apart, all as they were.
fn separate_tables(weights: &mut Weights) -> Result<()> {
    if weights.config.tables == Tables::Apart {
        return Ok(());
    }
    let shared = weights.tensor(weights.config.embeddings(Stack::Encoder))?.clone();
    let sinusoids = weights.positions(Stack::Encoder)?;
    weights.config.tables = Tables::Apart;
    let d = weights.config.d_model;
    for name in [weights.config.embeddings(Stack::Decoder), weights.config.output()] {
        weights.tensors.insert(name.to_owned(), NamedTensor { name: name.to_owned(), ..shared.clone() });
    }
    for stack in [Stack::Encoder, Stack::Decoder] {
        let (name, shape) = (stack.positions().to_owned(), vec![sinusoids.len() / d, d]);
        weights.tensors.insert(name.clone(), NamedTensor { name, shape, data: sinusoids.clone() });
    }
    Ok(())
}
