//! The ops in plain f64 loops: slow, obvious, and checked by central differences. No device, no unsafe.

pub mod attention;
pub mod bias_relu_dropout;
pub mod cross_entropy;
pub mod embed;
pub mod linear;
pub mod loss_scale;
pub mod moments;
pub mod omega_add_layernorm;
pub mod optimizer;
