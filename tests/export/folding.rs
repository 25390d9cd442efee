//! Folded and unfolded models on a device: the same logits, for every residual scheme.

use omega::checkpoint::NamedTensor;
use omega::config::{Init, Residual};
use omega::device::{Allocation, Device};
use omega::export::fold::{Weights, fold};
use omega::model::{Model, ModelConfig, PackedBatch, Tables};
use omega::rng::{RngState, Stream};

/// Error of a logit over the largest: measured 1.9e-7 (Admin), 3.6e-7 (ReZero with Post-LN); 0 where nothing is folded.
const BOUND: f32 = 1e-6;

fn config(residual: Residual) -> ModelConfig {
    ModelConfig {
        encoder_layers: 3,
        decoder_layers: 2,
        d_model: 48,
        ffn: 80,
        heads: 3,
        vocab: 37,
        max_positions: 64,
        residual,
        init: Init::Xavier,
        omega_frozen: false,
        keep_first_omega_one: false,
        tables: Tables::Shared,
        dropout: 0.0,
        attention_dropout: 0.0,
        relu_dropout: 0.0,
    }
}

/// A model with nothing at its initial value: ω between 0.3 and 3 of either sign, gains, biases and α at random.
fn model(dev: &Device, config: ModelConfig) -> Model {
    let model = Model::new(dev, config).unwrap();
    model.initialise(5).unwrap();
    let mut stream = Stream::new(7, 1);
    for entry in model.params.entries() {
        let (name, n) = (&entry.spec.name, entry.spec.numel());
        let kept = model.config.keep_first_omega_one && name.contains("layers.0.") && !entry.spec.trainable;
        let mut values = |low: f64, high: f64| -> Vec<f32> {
            (0..n).map(|_| (low + (high - low) * stream.uniform()) as f32).collect()
        };
        if name.ends_with("ratio_change") && !kept {
            let signs = values(-1.0, 1.0);
            let sizes = values(0.3, 3.0);
            let omega: Vec<f32> = sizes.iter().zip(signs).map(|(size, sign)| size.copysign(sign)).collect();
            model.params.write(name, &omega).unwrap();
        } else if name.ends_with("rezero_weight") || entry.spec.shape.len() == 1 && !name.ends_with("ratio_change") {
            model.params.write(name, &values(0.2, 1.5)).unwrap();
        }
    }
    model
}

fn weights(model: &Model) -> Weights {
    let tensor = |entry: &omega::model::params::Entry| NamedTensor {
        name: entry.spec.name.clone(),
        shape: entry.spec.shape.clone(),
        data: model.params.read(&entry.spec.name).unwrap(),
    };
    Weights::new(model.config.clone(), model.params.entries().iter().map(tensor).collect()).unwrap()
}

fn load(dev: &Device, weights: &Weights) -> Model {
    let model = Model::new(dev, weights.config.clone()).unwrap();
    for tensor in weights.tensors().unwrap() {
        model.params.write(&tensor.name, &tensor.data).unwrap();
    }
    model
}

fn logits(dev: &Device, model: &Model) -> Vec<f32> {
    let pairs: [(&[u32], &[u32]); 3] =
        [(&[5, 6, 7, 8, 2], &[9, 2]), (&[30, 2], &[11, 12, 13, 14, 15, 2]), (&[4, 4, 2], &[2])];
    let batch = PackedBatch::new(dev, &pairs, model.config.max_positions).unwrap();
    let mut tape = model.tape(RngState::default(), false);
    let output = model.forward(&mut tape, &batch, false).unwrap();
    dev.read(tape.value(output.logits)).unwrap()
}

/// The largest difference over the largest value.
fn error(got: &[f32], want: &[f32]) -> f32 {
    let most = |values: &mut dyn Iterator<Item = f32>| values.fold(0f32, |most, x| most.max(x.abs()));
    most(&mut got.iter().zip(want).map(|(a, b)| a - b)) / most(&mut want.iter().copied())
}

#[test]
fn a_folded_model_is_the_same_function() {
    let dev = Device::soft(Allocation::Arena);
    for residual in [Residual::PostLn, Residual::PreLn, Residual::Admin, Residual::RezeroPostLn] {
        let whole = model(&dev, config(residual));
        let folded = fold(weights(&whole)).unwrap();
        assert!(matches!(folded.config.residual, Residual::PostLn | Residual::PreLn));
        let plain = load(&dev, &folded);
        assert!(!plain.params.entries().iter().any(|entry| entry.spec.name.ends_with("ratio_change")));
        let error = error(&logits(&dev, &plain), &logits(&dev, &whole));
        println!("{}: {error:e}", residual.name());
        assert!(error <= BOUND, "{}: {error:e}", residual.name());
        let again = fold(folded.clone()).unwrap();
        assert!(again.tensors().unwrap() == folded.tensors().unwrap(), "there is nothing left to fold");
    }
}

#[test]
fn a_first_omega_of_one_keeps_the_tables_shared() {
    let dev = Device::soft(Allocation::Arena);
    let whole = model(&dev, ModelConfig { keep_first_omega_one: true, ..config(Residual::Admin) });
    let folded = fold(weights(&whole)).unwrap();
    assert_eq!(folded.config.tables, Tables::Shared);
    let error = error(&logits(&dev, &load(&dev, &folded)), &logits(&dev, &whole));
    assert!(error <= BOUND, "{error:e}");
    let apart = fold(weights(&model(&dev, config(Residual::Admin)))).unwrap();
    assert_eq!(apart.config.tables, Tables::Apart);
}

#[test]
fn what_cannot_be_folded_is_said() {
    let dev = Device::soft(Allocation::Arena);
    let error = fold(weights(&model(&dev, config(Residual::Rezero)))).unwrap_err().to_string();
    assert!(error.contains("without LayerNorm"), "{error}");
    let whole = model(&dev, config(Residual::Admin));
    let name = "decoder.layers.1.fc_ratio_change";
    let mut omega = whole.params.read(name).unwrap();
    omega[3] = 0.0;
    whole.params.write(name, &omega).unwrap();
    let error = fold(weights(&whole)).unwrap_err().to_string();
    assert!(error.contains("decoder.layers.1.fc_ratio_change is 0"), "{error}");
    omega[3] = 1e-41;
    whole.params.write(name, &omega).unwrap();
    let error = fold(weights(&whole)).unwrap_err().to_string();
    assert!(error.contains("decoder.layers.1.fc1.weight` would hold"), "{error}");
}
