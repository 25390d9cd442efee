//! Whole models against the original's numbers (fairseq, Transformer-Clinic), over every fixture folder below
//! `tests/fixtures` and `OMEGA_FIXTURES`.

// A fixture that cannot be read fails the test; clippy exempts only the test functions themselves.
#![allow(clippy::unwrap_used)]

mod analyses;
mod beam;
mod fixture;
mod forward;
mod gradients;
mod parameters;
mod scaler;
mod schedules;
mod trajectories;
