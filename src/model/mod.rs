//! The Transformer: its parameters, their initial values, and the forward pass of encoder and decoder.

pub mod admin;
pub mod config;
pub mod init;
pub mod params;
pub mod positions;

pub use config::{ModelConfig, Part, Stack};
pub use params::Params;
