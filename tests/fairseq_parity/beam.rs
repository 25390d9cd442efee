//! Beam fixtures: the recorded hypotheses, forced through the incremental decoder, get the recorded scores.

use std::path::Path;

use omega::device::{Allocation, Device};
use omega::model::batch::EOS;
use omega::model::{Incremental, Model, PackedSide, Row};

use omega::translate::search::{Search, search};
use serde_json::Value;

use crate::fixture::{folders_with, json, model_config, tensors};

/// Difference of a token's log-probability, absolute.
const SCORE: f64 = 1e-4;

/// The record of a folder and its model.
fn open(dev: &Device, folder: &Path) -> (Value, Model) {
    let file = json(&folder.join("beam.json"));
    let model = Model::new(dev, model_config(&file["model"])).unwrap();
    for (name, array) in tensors(&folder.join("params.safetensors")) {
        model.params.write(&name, &array.f32s()).unwrap();
    }
    (file, model)
}

fn ids(json: &Value) -> Vec<u32> {
    json.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// A setting's search. The original's longest output counts the padded width of its batch, ours each sentence's own
/// length: where the two differ the setting becomes a fixed number.
fn settings(setting: &Value, sources: &[&[u32]]) -> Search {
    let args = &setting["args"];
    let size = |key: &str| args[key].as_u64().unwrap() as usize;
    let real = |key: &str| args[key].as_f64().unwrap();
    let (mut max_len_a, mut max_len_b) = (real("max_len_a"), size("max_len_b"));
    if setting["decoded_one_sentence_per_batch"] == false {
        let width = sources.iter().map(|source| source.len()).max().unwrap();
        (max_len_a, max_len_b) = (0.0, (max_len_a * width as f64) as usize + max_len_b);
    }
    Search {
        beam: size("beam"),
        lenpen: real("lenpen"),
        max_len_a,
        max_len_b,
        min_len: size("min_len"),
        unkpen: real("unkpen"),
        no_repeat_ngram_size: size("no_repeat_ngram_size"),
        unnormalized: args["unnormalized"].as_bool().unwrap(),
    }
}

/// All hypotheses of all sentences of a setting are decoded side by side, and swap places at every step, so that the
/// cache has to follow its parents.
#[test]
fn forced_hypotheses_score_as_recorded() {
    let dev = Device::soft(Allocation::Arena);
    let folders = folders_with("beam.json");
    for folder in &folders {
        let (file, model) = open(&dev, folder);
        let sources: Vec<Vec<u32>> = file["sources"].as_array().unwrap().iter().map(ids).collect();
        let mut worst = 0.0f64;
        for setting in file["settings"].as_array().unwrap() {
            let mut hypotheses = Vec::new();
            for (sentence, ranked) in setting["hypos"].as_array().unwrap().iter().enumerate() {
                for hypothesis in ranked.as_array().unwrap() {
                    let scores = hypothesis["positional_scores"].as_array().unwrap();
                    let scores: Vec<f64> = scores.iter().map(|score| score.as_f64().unwrap()).collect();
                    hypotheses.push(Hypothesis { sentence, tokens: ids(&hypothesis["tokens"]), scores });
                }
            }
            worst = worst.max(force(&dev, &model, &sources, &hypotheses));
        }
        println!("{}: scores within {worst:.1e}", folder.display());
        assert!(worst < SCORE, "{}: {worst}", folder.display());
    }
}

/// The search itself: the same tokens in the same ranks, all sentences of a setting in one batch.
#[test]
fn search_finds_the_recorded_hypotheses() {
    let dev = Device::soft(Allocation::Arena);
    let folders = folders_with("beam.json");
    assert!(!folders.is_empty(), "a clone holds one");
    for folder in &folders {
        let (file, model) = open(&dev, folder);
        let sources: Vec<Vec<u32>> = file["sources"].as_array().unwrap().iter().map(ids).collect();
        let sources: Vec<&[u32]> = sources.iter().map(Vec::as_slice).collect();
        let mut worst = 0.0f64;
        for setting in file["settings"].as_array().unwrap() {
            let found = search(&dev, &model, &sources, &settings(setting, &sources)).unwrap();
            for (got, expected) in found.iter().zip(setting["hypos"].as_array().unwrap()) {
                let expected = expected.as_array().unwrap();
                assert_eq!(got.len(), expected.len(), "{}: {setting}", folder.display());
                for (got, expected) in got.iter().zip(expected) {
                    assert_eq!(got.tokens, ids(&expected["tokens"]), "{}", folder.display());
                    worst = worst.max((f64::from(got.score) - expected["score"].as_f64().unwrap()).abs());
                    let positional = expected["positional_scores"].as_array().unwrap();
                    assert_eq!(got.positional.len(), positional.len());
                    for (got, expected) in got.positional.iter().zip(positional) {
                        worst = worst.max((f64::from(*got) - expected.as_f64().unwrap()).abs());
                    }
                }
            }
        }
        println!("{}: found scores within {worst:.1e}", folder.display());
        assert!(worst < SCORE, "{}: {worst}", folder.display());
    }
}

struct Hypothesis {
    sentence: usize,
    tokens: Vec<u32>,
    scores: Vec<f64>,
}

/// Largest difference between recorded and computed log-probabilities.
fn force(dev: &Device, model: &Model, sources: &[Vec<u32>], hypotheses: &[Hypothesis]) -> f64 {
    let packed: Vec<&[u32]> = sources.iter().map(Vec::as_slice).collect();
    let source = PackedSide::new(dev, &packed, model.config.max_positions).unwrap();
    let mut decoder = Incremental::start(model, &source).unwrap();
    let (vocab, mut last, mut worst) = (model.config.vocab, Vec::<usize>::new(), 0.0f64);
    for step in 0..hypotheses.iter().map(|h| h.tokens.len()).max().unwrap() {
        let mut live: Vec<usize> = (0..hypotheses.len()).filter(|h| step < hypotheses[*h].tokens.len()).collect();
        // Within each sentence the order turns around at every step.
        live.sort_by_key(|h| (hypotheses[*h].sentence, if step % 2 == 0 { *h } else { usize::MAX - h }));
        let rows: Vec<Row> = live
            .iter()
            .map(|h| Row {
                parent: last.iter().position(|old| old == h).unwrap_or(0),
                sentence: hypotheses[*h].sentence,
                token: if step == 0 { EOS } else { hypotheses[*h].tokens[step - 1] },
            })
            .collect();
        let logits: Vec<f32> = dev.read(&decoder.step(&rows).unwrap()).unwrap();
        for (row, h) in logits.chunks_exact(vocab).zip(&live) {
            let hypothesis = &hypotheses[*h];
            let got = log_softmax(row, hypothesis.tokens[step] as usize);
            assert!(got.is_finite(), "a maximum would pass over NaN");
            worst = worst.max((got - hypothesis.scores[step]).abs());
        }
        last = live;
    }
    worst
}

fn log_softmax(row: &[f32], id: usize) -> f64 {
    let max = row.iter().fold(f64::MIN, |max, v| max.max(f64::from(*v)));
    let sum: f64 = row.iter().map(|v| (f64::from(*v) - max).exp()).sum();
    f64::from(row[id]) - max - sum.ln()
}
