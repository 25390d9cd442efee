//! Initial values, as fairseq's: normal embeddings, Xavier-uniform matrices, zero biases, unit gains; and the mirrored
//! "looks linear" form. Each tensor draws from a stream named by (seed, its name), so that values depend neither on
//! the order of the parameters, nor on which others exist, nor on threads.

use super::config::ModelConfig;
use super::params::{Params, Spec};
use super::positions::table;
use crate::config::Init;
use crate::error::Result;
use crate::rng::Stream;

/// Id of the padding symbol, whose embedding starts at zero.
const PAD: usize = 1;

/// Fills every parameter of `params` for `config` from `seed`.
pub fn initialise(params: &Params, config: &ModelConfig, seed: u64) -> Result<()> {
    for entry in params.entries() {
        params.write(&entry.spec.name, &initial(&entry.spec, config, seed))?;
    }
    Ok(())
}

/// Initial values of one parameter, row-major.
fn initial(spec: &Spec, config: &ModelConfig, seed: u64) -> Vec<f32> {
    let (name, n) = (spec.name.as_str(), spec.numel());
    let mut stream = Stream::new(seed, stream_of(name));
    let mirrored = config.init == Init::LooksLinear;
    match spec.shape[..] {
        [_, width] if name.ends_with("embed_tokens.weight") || name == "decoder.output_projection.weight" => {
            embedding(n, width, &mut stream)
        }
        [rows, width] if name.ends_with("embed_positions.weight") => table(rows, width),
        [rows, columns] => {
            let mut w = xavier(rows, columns, &mut stream);
            if mirrored && name.ends_with("fc1.weight") {
                mirror_rows(&mut w, columns);
            } else if mirrored && name.ends_with("fc2.weight") {
                w.chunks_exact_mut(columns).for_each(|row| mirror_rows(row, 1));
            }
            w
        }
        _ if name.ends_with("norm.weight") || name.ends_with("ratio_change") => vec![1.0; n],
        _ => vec![0.0; n],
    }
}

/// Normal with deviation width^-1/2; the padding row is zero.
fn embedding(n: usize, width: usize, stream: &mut Stream) -> Vec<f32> {
    let std = (width as f64).powf(-0.5);
    let mut table: Vec<f32> = (0..n).map(|_| (std * stream.normal()) as f32).collect();
    table[PAD * width..(PAD + 1) * width].fill(0.0);
    table
}

/// Uniform in ±√(6/(rows + columns)) (Glorot and Bengio 2010, equation 16). `in_proj_weight` counts as one [3d, d]
/// matrix, as in fairseq.
fn xavier(rows: usize, columns: usize, stream: &mut Stream) -> Vec<f32> {
    let bound = (6.0 / (rows + columns) as f64).sqrt();
    (0..rows * columns).map(|_| (bound * (2.0 * stream.uniform() - 1.0)) as f32).collect()
}

/// Second half := −first half, in rows of `width`. With both fc1 (rows) and fc2 (columns) mirrored, fc2(relu(fc1(x)))
/// is linear in x at the start (Balduzzi et al. 2017, arXiv:1702.08591, section 4).
fn mirror_rows(w: &mut [f32], width: usize) {
    let half = w.len() / width / 2 * width;
    let (first, second) = w.split_at_mut(half);
    second.iter_mut().zip(first).for_each(|(to, from)| *to = -*from);
}

/// A stream number from a name: FNV-1a over its bytes (Fowler, Noll, Vo). Streams 0 … 2³² − 1 are left to others.
fn stream_of(name: &str) -> u64 {
    let hash =
        name.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    hash | 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Residual;
    use crate::model::Tables;
    use crate::model::config::EMBED;

    fn config(init: Init) -> ModelConfig {
        ModelConfig {
            encoder_layers: 1,
            decoder_layers: 1,
            d_model: 32,
            ffn: 64,
            heads: 4,
            vocab: 500,
            max_positions: 64,
            residual: Residual::PostLn,
            init,
            omega_frozen: false,
            keep_first_omega_one: false,
            tables: Tables::Shared,
            dropout: 0.0,
            attention_dropout: 0.0,
            relu_dropout: 0.0,
        }
    }

    fn values(name: &str, init: Init) -> Vec<f32> {
        let config = config(init);
        let spec = config.specs().into_iter().find(|spec| spec.name == name).unwrap();
        initial(&spec, &config, 7)
    }

    #[test]
    fn moments_are_those_of_the_definitions() {
        let table = values(EMBED, Init::Xavier);
        assert!(table[32..64].iter().all(|v| *v == 0.0), "the padding row starts at zero");
        let var = table.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / (table.len() - 32) as f64;
        assert!((var * 32.0 - 1.0).abs() < 0.05, "{var}"); // 16,000 draws: 4 standard errors are 0.045
        let w = values("encoder.layers.0.self_attn.in_proj_weight", Init::Xavier);
        let bound = (6.0f64 / 128.0).sqrt() as f32;
        let largest = w.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(largest <= bound && largest > 0.99 * bound, "{largest} of {bound}");
    }

    #[test]
    fn looks_linear_makes_the_feed_forward_layer_linear() {
        let fc1 = values("encoder.layers.0.fc1.weight", Init::LooksLinear);
        let fc2 = values("encoder.layers.0.fc2.weight", Init::LooksLinear);
        let f = |x: &[f32]| -> Vec<f32> {
            let h: Vec<f32> =
                fc1.chunks(32).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>().max(0.0)).collect();
            fc2.chunks(64).map(|row| row.iter().zip(&h).map(|(a, b)| a * b).sum()).collect()
        };
        let x: Vec<f32> = (0..32).map(|i| (i as f32 * 0.7).sin()).collect();
        let negative: Vec<f32> = x.iter().map(|v| -v).collect();
        for (y, z) in f(&x).iter().zip(f(&negative)) {
            assert!((y + z).abs() < 1e-6, "f(-x) = {z}, -f(x) = {}", -y);
        }
    }

    #[test]
    fn values_depend_on_the_seed_and_the_name_only() {
        let (deep, shallow) = (ModelConfig { encoder_layers: 9, ..config(Init::Xavier) }, config(Init::Xavier));
        let spec = shallow.specs().into_iter().find(|s| s.name.ends_with("decoder.layers.0.fc1.weight")).unwrap();
        assert_eq!(initial(&spec, &deep, 3), initial(&spec, &shallow, 3));
        assert_ne!(initial(&spec, &deep, 3), initial(&spec, &deep, 4));
    }
}
