//! `omega analyze`: what initialisation and training do to the residual branches.

mod command;
pub mod dependency;
pub mod depth;
mod field;
pub mod gradients;
pub mod stability;

pub use command::analyze;
