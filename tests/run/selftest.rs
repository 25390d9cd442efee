//! `omega selftest`: what the owner of a GPU runs first.

use std::collections::BTreeSet;

use omega::bench;
use omega::device::Device;
use omega::device::kernels::MODULES;

use crate::{omega, succeed, text};

/// Where ops are compared with their references, so that no kernel is left out.
#[test]
fn every_kernel_is_launched() {
    let dev = Device::soft_counting();
    bench::nearest_figures(&dev).unwrap();
    let launched: BTreeSet<String> = dev.take_counters().into_iter().map(|counters| counters.kernel).collect();
    let entries = MODULES.iter().flat_map(|module| module.entries);
    let missing: Vec<&&str> = entries.filter(|entry| !launched.contains(**entry)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

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
