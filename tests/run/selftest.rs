//! `omega selftest`: what the owner of a GPU runs first.

use crate::{omega, succeed, text};

#[test]
fn every_op_and_the_model_pass_in_every_type() {
    for device in ["soft", "soft:checked:3"] {
        let said = text(&succeed(&mut omega(&["selftest", "--device", device])).stdout);
        assert!(said.trim_end().lines().last().is_some_and(|line| line.ends_with("checks passed")), "{said}");
        for op in ["attention", "cross_entropy", "embed", "linear", "loss_scale", "omega_add_layernorm", "optimizer"] {
            for dtype in ["f32", "f16", "bf16"] {
                let found = said.lines().any(|line| line.starts_with(op) && line.contains(&format!(" {dtype} ")));
                assert!(found, "{op} {dtype} is not in\n{said}");
            }
        }
        assert!(said.contains("moments:") && said.contains("model: gradient along itself"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 100), "a line is too long for a terminal\n{said}");
    }
}
