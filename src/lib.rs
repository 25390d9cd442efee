//! Transformer translation models, trained end to end on hand-written CUDA kernels, with Admin initialisation.

// The cases of `omega bench` and `cargo bench` are the same files, and name this crate.
extern crate self as omega;

pub mod analyze;
pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod device;
pub mod error;
pub mod export;
pub mod files;
pub mod model;
pub mod numbers;
pub mod ops;
pub mod optim;
pub mod plot;
pub mod reference;
pub mod rng;
pub mod selftest;
pub mod shell;
pub mod tape;
pub mod tensor;
pub mod terminal;
pub mod text;
pub mod train;
pub mod translate;

pub use error::{Error, Result};
