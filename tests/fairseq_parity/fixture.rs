//! Fixture folders: where they are, and how their files are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use omega::config::{Init, MAX_POSITIONS, Residual};
use omega::model::{ModelConfig, Tables};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// The copies in the repository, and `OMEGA_FIXTURES` if it is set.
pub fn roots() -> Vec<PathBuf> {
    let copies = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::iter::once(copies).chain(std::env::var_os("OMEGA_FIXTURES").map(PathBuf::from)).collect()
}

/// Every folder below the roots, the roots included, that holds `file`, in order of name.
pub fn folders_with(file: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = roots();
    for root in &pending {
        assert!(root.is_dir(), "{} is no folder", root.display());
    }
    while let Some(folder) = pending.pop() {
        if folder.join(file).is_file() {
            found.push(folder.clone());
        }
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        pending.extend(entries.filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

/// A tensor of a safetensors file; integers are read as exact f64, as are reals.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    pub fn f32s(&self) -> Vec<f32> {
        self.data.iter().map(|v| *v as f32).collect()
    }

    /// Row `at` of the first dimension.
    pub fn row(&self, at: usize) -> &[f64] {
        let width = self.data.len() / self.shape[0];
        &self.data[at * width..(at + 1) * width]
    }
}

/// All tensors of a safetensors file.
pub fn tensors(path: &Path) -> BTreeMap<String, Array> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let convert = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let raw = view.data();
        let data = match view.dtype() {
            Dtype::F32 => raw.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            Dtype::I64 => raw.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            Dtype::I8 => raw.iter().map(|b| f64::from(*b as i8)).collect(),
            other => panic!("{}: `{name}` is {other:?}", path.display()),
        };
        (name, Array { shape: view.shape().to_vec(), data })
    };
    file.tensors().into_iter().map(convert).collect()
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A model folder: its `config.json`, parsed.
pub struct ModelFolder {
    pub path: PathBuf,
    pub json: Value,
    pub config: ModelConfig,
}

impl ModelFolder {
    /// Every model folder below the roots. The repository's own have every scheme that was recorded.
    pub fn all() -> Vec<ModelFolder> {
        let all: Vec<_> = folders_with("config.json").into_iter().map(ModelFolder::open).collect();
        for scheme in [Residual::PostLn, Residual::PreLn, Residual::Admin, Residual::Rezero] {
            assert!(all.iter().any(|of| of.config.residual == scheme), "no {scheme:?} below {:?}", roots());
        }
        all
    }

    fn open(path: PathBuf) -> ModelFolder {
        let json = json(&path.join("config.json"));
        let config = model_config(&json);
        ModelFolder { path, json, config }
    }

    /// The parameters of `params_files`, later files over earlier, restricted to `param_names`.
    pub fn params(&self) -> BTreeMap<String, Array> {
        let mut all = BTreeMap::new();
        for file in self.json["params_files"].as_array().unwrap() {
            all.extend(tensors(&self.path.join(file.as_str().unwrap())));
        }
        let names = self.json["param_names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        names
            .map(|name| {
                let array = all.remove(name).unwrap_or_else(|| panic!("{}: no `{name}`", self.path.display()));
                (name.to_owned(), array)
            })
            .collect()
    }
}

/// The model that a config.json (or the `model` of a beam.json) describes.
pub fn model_config(json: &Value) -> ModelConfig {
    let size = |key: &str| json[key].as_u64().unwrap_or_else(|| panic!("no `{key}`")) as usize;
    let init_type = json["init_type"].as_str().unwrap();
    let (residual, init) = match init_type {
        "default" if json["normalize_before"].as_bool().unwrap() => (Residual::PreLn, Init::Xavier),
        "default" => (Residual::PostLn, Init::Xavier),
        "adaptive" | "adaptive-profiling" => (Residual::Admin, Init::Xavier),
        "rezero" => (Residual::Rezero, Init::Xavier),
        "rezero_postln" | "rezero-postln" => (Residual::RezeroPostLn, Init::Xavier),
        "looklinear" => (Residual::PostLn, Init::LooksLinear),
        other => panic!("init_type `{other}` is unknown"),
    };
    ModelConfig {
        encoder_layers: size("encoder_layers"),
        decoder_layers: size("decoder_layers"),
        d_model: size("embed_dim"),
        ffn: size("ffn_dim"),
        heads: size("heads"),
        vocab: size("vocab"),
        max_positions: MAX_POSITIONS,
        residual,
        init,
        omega_frozen: false,
        keep_first_omega_one: false,
        tables: Tables::Shared,
        dropout: 0.0,
        attention_dropout: 0.0,
        relu_dropout: 0.0,
    }
}
