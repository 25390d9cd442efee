//! The Transformer: its parameters, their initial values, and the forward pass of encoder and decoder.

pub mod admin;
pub mod batch;
pub mod config;
mod decoder;
mod encoder;
pub mod incremental;
pub mod init;
pub mod params;
pub mod positions;
pub mod probe;
mod sublayer;

pub use batch::{PackedBatch, PackedSide};
pub use config::{ModelConfig, Part, Stack, Tables};
pub use incremental::{Incremental, Row};
pub use params::Params;
pub use sublayer::LAYER_NORM_EPS;

use crate::config::{OmegaSource, Residual};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::embed::{EmbedIndex, embed};
use crate::ops::linear::linear;
use crate::rng::RngState;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};

use admin::{Omegas, Profiler};
use probe::Probe;
use sublayer::{Pass, Watch};

/// A translation model on a device.
pub struct Model {
    pub config: ModelConfig,
    pub params: Params,
    /// Whether a backward pass runs each layer again instead of keeping its activations.
    pub recompute: bool,
    /// Sinusoids [max_positions + 2, d] for tapes of each type: f32 to profile on, and that of the model.
    positions: Vec<Tensor>,
}

/// What a forward pass over sentence pairs leaves on the tape.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Encoder output [T source, d].
    pub encoder: Var,
    /// Before the softmax [T target, vocab].
    pub logits: Var,
}

impl Model {
    /// A model of `config` with all parameters zero: to be initialised or loaded. In f32.
    pub fn new(dev: &Device, config: ModelConfig) -> Result<Model> {
        Model::of_dtype(dev, config, DType::F32)
    }

    /// The same with activations, gradients and the matrices that kernels read in `dtype`; parameters stay f32.
    pub fn of_dtype(dev: &Device, config: ModelConfig, dtype: DType) -> Result<Model> {
        config.check()?;
        let params = Params::new(dev, config.specs(), dtype)?;
        let rows = config.max_positions + positions::FIRST_POSITION as usize;
        let table = positions::table(rows, config.d_model);
        let types = if dtype == DType::F32 { vec![dtype] } else { vec![DType::F32, dtype] };
        let of_type = |dtype: &DType| dev.upload_as(&table, &[rows, config.d_model], *dtype);
        let positions = types.iter().map(of_type).collect::<Result<_>>()?;
        Ok(Model { config, params, recompute: false, positions })
    }

    /// Fills the parameters from `seed`; ω starts at 1.
    pub fn initialise(&self, seed: u64) -> Result<()> {
        init::initialise(&self.params, &self.config, seed)
    }

    /// An empty tape of the model's type.
    pub fn tape(&self, rng: RngState, recording: bool) -> Tape {
        Tape::new(self.params.dev(), rng, recording).with_dtype(self.params.dtype())
    }

    /// The forward pass on `t`; `training` turns dropout on. Gradients go to [`Params`], where they add up.
    pub fn forward(&self, t: &mut Tape, batch: &PackedBatch, training: bool) -> Result<Output> {
        self.run(t, batch, training, Watch::default())
    }

    /// The encoder alone: output [T, d], without dropout.
    pub fn encode(&self, t: &mut Tape, source: &PackedSide) -> Result<Var> {
        let mut pass = self.pass(t, false, Watch::default());
        encoder::encode(&mut pass, self, source)
    }

    /// The forward pass without dropout, seen by `probe`. On a tape that records, the gradients of what it saw can be asked
    /// for after the backward pass. Layers are not recomputed.
    pub fn probe(&self, t: &mut Tape, batch: &PackedBatch, probe: &mut Probe) -> Result<Output> {
        let output = self.run(t, batch, false, Watch { probe: Some(&mut *probe), ..Watch::default() });
        probe.done();
        output
    }

    /// The encoder alone, seen by `probe`: output [T, d].
    pub fn probe_encoder(&self, t: &mut Tape, source: &PackedSide, probe: &mut Probe) -> Result<Var> {
        let mut pass = self.pass(t, false, Watch { probe: Some(probe), ..Watch::default() });
        encoder::encode(&mut pass, self, source)
    }

    /// Admin's profiling pass: one forward in training mode over `batch`, which sets each ω as it goes and returns
    /// them. In f32 whatever the model's type, so that ω does not depend on it. An error for other residual schemes, which have no ω.
    pub fn profile(&self, batch: &PackedBatch, rng: RngState) -> Result<Omegas> {
        self.profile_by(Profiler::default(), batch, rng)
    }

    fn profile_by(&self, mut profiler: Profiler, batch: &PackedBatch, rng: RngState) -> Result<Omegas> {
        if self.config.residual != Residual::Admin {
            return Err(Error::usage("profiling needs --residual admin: other schemes have no ω"));
        }
        let mut tape = Tape::new(self.params.dev(), rng, false);
        self.run(&mut tape, batch, true, Watch { profiler: Some(&mut profiler), ..Watch::default() })?;
        Ok(profiler.into_omegas())
    }

    /// Puts the initial ω of `source` in force and returns them; nothing but ones for schemes without ω. `first` is the
    /// batch to profile on, which shows progress.
    pub fn set_omegas(&self, source: &OmegaSource, first: &PackedBatch, rng: RngState) -> Result<Omegas> {
        if self.config.residual != Residual::Admin {
            return Ok(Omegas::ones(&self.config));
        }
        let mut omegas = match source {
            OmegaSource::Profile => return self.profile_by(Profiler::shown(&self.config), first, rng), // whose first ω are 1
            OmegaSource::Analytic => Omegas::analytic(&self.config),
            OmegaSource::File(path) => Omegas::load(path, &self.config)?,
        };
        if self.config.keep_first_omega_one {
            [&mut omegas.encoder, &mut omegas.decoder]
                .into_iter()
                .filter_map(|all| all.first_mut())
                .for_each(|first| *first = 1.0);
        }
        omegas.apply(&self.params, &self.config)?;
        Ok(omegas)
    }

    fn run(&self, t: &mut Tape, batch: &PackedBatch, training: bool, watch: Watch<'_>) -> Result<Output> {
        let mut pass = self.pass(t, training, watch);
        let encoder = encoder::encode(&mut pass, self, &batch.source)?;
        let logits = decoder::decode(&mut pass, self, encoder, &batch.previous, &batch.cross)?;
        Ok(Output { encoder, logits })
    }

    fn pass<'a>(&'a self, tape: &'a mut Tape, training: bool, watch: Watch<'a>) -> Pass<'a> {
        let recompute = self.recompute && watch.profiler.is_none() && watch.probe.is_none();
        Pass { config: &self.config, params: &self.params, tape, training, watch, recompute }
    }

    /// Dropout(√d·E[token] + PE[position]) [T, d].
    fn embed(&self, pass: &mut Pass<'_>, stack: Stack, index: &EmbedIndex) -> Result<Var> {
        let (scale, drop) = ((self.config.d_model as f32).sqrt(), pass.embedding_drop(stack));
        let table = self.params.var(pass.tape, self.config.embeddings(stack))?;
        let positions = match self.config.tables {
            Tables::Shared => self.sinusoids(pass.tape.dtype()).clone(),
            Tables::Apart => self.params.operand(pass.tape, stack.positions())?,
        };
        let x = embed(pass.tape, table, index, &positions, scale, drop)?;
        if let Some(probe) = &mut pass.watch.probe {
            probe.embeddings.push((stack, pass.tape.value(x).clone()));
        }
        Ok(x)
    }

    fn sinusoids(&self, dtype: DType) -> &Tensor {
        self.positions.iter().find(|table| table.dtype() == dtype).unwrap_or(&self.positions[0])
    }

    /// Logits [T, vocab] of the decoder's output `x` [T, d].
    fn project(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let table = self.params.var(tape, self.config.output())?;
        linear(tape, x, table, None)
    }
}
