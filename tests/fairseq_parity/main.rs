//! Whole models against the original's numbers (fairseq, Transformer-Clinic), over every fixture folder below
//! `tests/fixtures` and `OMEGA_FIXTURES`.

mod fixture;
mod parameters;
