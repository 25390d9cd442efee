//! The cases of every op, which `cargo bench` runs from the same files.

use super::Op;

#[path = "../../benches/attention.rs"]
mod attention;
#[path = "../../benches/bias_relu_dropout.rs"]
mod bias_relu_dropout;
#[path = "../../benches/cross_entropy.rs"]
mod cross_entropy;
#[path = "../../benches/embed.rs"]
mod embed;
#[path = "../../benches/linear.rs"]
mod linear;
#[path = "../../benches/loss_scale.rs"]
mod loss_scale;
#[path = "../../benches/moments.rs"]
mod moments;
#[path = "../../benches/omega_add_layernorm.rs"]
mod omega_add_layernorm;
#[path = "../../benches/optimizer.rs"]
mod optimizer;

/// By name; an op may have several benches, one after the other.
pub fn all() -> Vec<Op> {
    let files = [
        attention::ops(),
        bias_relu_dropout::ops(),
        cross_entropy::ops(),
        embed::ops(),
        linear::ops(),
        loss_scale::ops(),
        moments::ops(),
        omega_add_layernorm::ops(),
        optimizer::ops(),
    ];
    files.into_iter().flatten().collect()
}
