//! The ops in plain f64 loops: slow, obvious, and checked by central differences. No device, no unsafe.

pub mod bias_relu_dropout;
pub mod linear;
pub mod omega_add_layernorm;
