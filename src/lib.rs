//! Transformer translation models, trained end to end on hand-written CUDA kernels, with Admin initialisation.

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod device;
pub mod error;
pub mod files;
pub mod model;
pub mod ops;
pub mod optim;
pub mod reference;
pub mod rng;
pub mod tape;
pub mod tensor;
pub mod text;
pub mod train;
pub mod translate;

pub use error::{Error, Result};
