//! Encoder output, logits, and profiled ω of every model folder.

use std::collections::BTreeMap;

use omega::device::{Allocation, Device};
use omega::model::{Model, PackedBatch, Stack};
use omega::rng::RngState;
use omega::tape::Tape;
use omega::tensor::DType;

use crate::fixture::{Array, ModelFolder, tensors};

/// Largest difference of encoder output and logits, absolute.
const ACTIVATIONS: f64 = 2e-5;
/// Largest difference of a profiled ω, relative.
const OMEGA: f64 = 1e-5;

const PAD: f64 = 1.0;

/// A padded batch as recorded: real tokens of each row, and where they lie.
pub struct Padded {
    pub pairs: Vec<(Vec<u32>, Vec<u32>)>,
    /// Columns of padding before each source sentence.
    pub left: Vec<usize>,
    /// Whether no row has any.
    pub full: bool,
}

impl Padded {
    /// The tensors `PREFIXsrc_tokens` and so on of a batch file.
    pub fn read(file: &BTreeMap<String, Array>, prefix: &str) -> Padded {
        let (source, target) = (&file[&format!("{prefix}src_tokens")], &file[&format!("{prefix}target")]);
        let real = |row: &[f64]| row.iter().filter(|id| **id != PAD).map(|id| *id as u32).collect::<Vec<_>>();
        let pairs: Vec<_> = (0..source.shape[0]).map(|row| (real(source.row(row)), real(target.row(row)))).collect();
        let left: Vec<_> = pairs.iter().map(|(source_row, _)| source.shape[1] - source_row.len()).collect();
        let full = pairs.iter().all(|(s, t)| s.len() == source.shape[1] && t.len() == target.shape[1]);
        Padded { pairs, left, full }
    }

    /// The batch packed on `dev`.
    pub fn pack(&self, dev: &Device, max_positions: usize) -> PackedBatch {
        let pairs: Vec<(&[u32], &[u32])> = self.pairs.iter().map(|(s, t)| (s.as_slice(), t.as_slice())).collect();
        PackedBatch::new(dev, &pairs, max_positions).unwrap()
    }
}

/// The model of `folder` with its parameters.
pub fn load(dev: &Device, folder: &ModelFolder) -> Model {
    load_as(dev, folder, DType::F32)
}

/// The same with activations, gradients and matrices of type `dtype`.
pub fn load_as(dev: &Device, folder: &ModelFolder, dtype: DType) -> Model {
    let model = Model::of_dtype(dev, folder.config.clone(), dtype).unwrap();
    for (name, array) in folder.params() {
        model.params.write(&name, &array.f32s()).unwrap();
    }
    model
}

/// Largest |got − expected| over the real positions, `expected` being looked up by (sentence, token in it).
fn worst<'a>(got: &[f32], width: usize, lengths: &[usize], expected: impl Fn(usize, usize) -> &'a [f64]) -> f64 {
    let mut rows = got.chunks_exact(width);
    let mut worst = 0.0f64;
    assert!(got.iter().all(|v| v.is_finite()), "a maximum would pass over NaN");
    for (sentence, length) in lengths.iter().enumerate() {
        for token in 0..*length {
            let pair = rows.next().unwrap().iter().zip(expected(sentence, token));
            worst = pair.fold(worst, |worst, (got, expected)| worst.max((f64::from(*got) - expected).abs()));
        }
    }
    assert!(rows.next().is_none());
    worst
}

#[test]
fn encoder_output_and_logits_are_the_originals() {
    let dev = Device::soft(Allocation::Arena);
    for folder in ModelFolder::all() {
        let model = load(&dev, &folder);
        let padded = Padded::read(&tensors(&folder.path.join("batch.safetensors")), "");
        let batch = padded.pack(&dev, folder.config.max_positions);
        let mut tape = Tape::new(&dev, RngState::default(), false);
        let output = model.forward(&mut tape, &batch, false).unwrap();
        let recorded = tensors(&folder.path.join("outputs.safetensors"));
        let (memory, logits) = (&recorded["encoder_out"], &recorded["decoder_logits"]);
        let (sentences, steps, d) = (memory.shape[1], logits.shape[1], folder.config.d_model);
        let got: Vec<f32> = dev.read(tape.value(output.encoder)).unwrap();
        let encoder = worst(&got, d, batch.source.lengths(), |sentence, token| {
            let row = (padded.left[sentence] + token) * sentences + sentence;
            &memory.data[row * d..(row + 1) * d]
        });
        let got: Vec<f32> = dev.read(tape.value(output.logits)).unwrap();
        let vocab = folder.config.vocab;
        let logits = worst(&got, vocab, batch.previous.lengths(), |sentence, token| {
            let row = sentence * steps + token;
            &logits.data[row * vocab..(row + 1) * vocab]
        });
        println!("{}: encoder {encoder:.1e}, logits {logits:.1e}", folder.path.display());
        assert!(encoder < ACTIVATIONS && logits < ACTIVATIONS, "{}: {encoder} {logits}", folder.path.display());
    }
}

/// Only where no row is padded: the original's variances include padding positions, ours do not.
#[test]
fn profiled_omegas_are_the_originals() {
    let dev = Device::soft(Allocation::Arena);
    let mut compared = 0;
    for folder in ModelFolder::all().into_iter().filter(|folder| folder.json["init_type"] == "adaptive-profiling") {
        let padded = Padded::read(&tensors(&folder.path.join("batch.safetensors")), "");
        if !padded.full {
            continue;
        }
        let model = load(&dev, &folder);
        let recorded = folder.params();
        for name in recorded.keys().filter(|name| name.ends_with("ratio_change")) {
            model.params.write(name, &vec![1.0; folder.config.d_model]).unwrap(); // as before the recorded pass
        }
        let omegas = model.profile(&padded.pack(&dev, folder.config.max_positions), RngState::default()).unwrap();
        for stack in [Stack::Encoder, Stack::Decoder] {
            for (index, got) in omegas.stack(stack).iter().enumerate() {
                let name = omega::model::admin::omega_name(stack, index);
                let error = (f64::from(*got) / recorded[&name].data[0] - 1.0).abs();
                assert!(error < OMEGA, "{}: {name} is {got}, off by {error}", folder.path.display());
                let in_force = model.params.read(&name).unwrap();
                assert!(in_force.iter().all(|v| v == got), "{name} must be in force after the pass");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no unpadded profiling folder");
}
