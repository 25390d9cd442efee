//! Matrix instructions against oracles written from the ISA's figures: where an element lies goes by the formulas of each
//! shape, and what is computed by plain loops over whole matrices.

#![allow(clippy::unwrap_used)] // a panic in a test is its report

mod memory;
mod mma;
mod values;
mod wmma;
