//! Every op: its f64 reference against central differences, the device against the reference at odd shapes, gradients
//! that double when the op runs twice into the same place, and the same bits from two runs.
#![allow(clippy::unwrap_used)] // a panic in a test is its report

#[path = "../common/mod.rs"]
mod common;

mod attention;
mod bias_relu_dropout;
mod cross_entropy;
mod embed;
mod linear;
mod loss_scale;
mod moments;
mod omega_add_layernorm;
mod optimizer;
