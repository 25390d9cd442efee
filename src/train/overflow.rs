//! The end of a run whose loss scale went under: which gradients overflowed, and what to try.

use crate::error::{Error, Result};
use crate::model::Params;

/// Parameters named in the message.
const SHOWN: usize = 3;

/// With an exponent where its digits would be zeros.
fn short(x: f32) -> String {
    if (1e-4..1e7).contains(&x) { x.to_string() } else { format!("{x:e}") }
}

/// The error of update `number`, which overflowed and left the scale at `scale`. The gradients are still those of that
/// update: each parameter's are counted, in the order in which the backward pass writes them, from the loss back.
pub fn underflow(params: &Params, number: u64, scale: f32, min: f32) -> Result<Error> {
    let mut wrong = Vec::new();
    for entry in params.entries().iter().rev().filter(|entry| entry.spec.trainable) {
        let gradient = params.dev().read_wide(&params.grad(&entry.spec.name)?)?;
        let count = gradient.iter().filter(|g| !g.is_finite()).count();
        if count > 0 {
            wrong.push(format!("{} ({count} of {})", entry.spec.name, gradient.len()));
        }
    }
    let rest = wrong.len().saturating_sub(SHOWN);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let places = match wrong.len() {
        0 => "no single gradient is infinite, but their norm is".to_owned(),
        _ => format!("first to overflow on the way back: {}{more}", wrong[..wrong.len() - rest].join(", ")),
    };
    Ok(Error::data(format!(
        "update {number} overflowed and left the loss scale at {}, which is not above --min-loss-scale {}; {places}",
        short(scale),
        short(min)
    ))
    .hint(
        "lower --lr, raise --warmup-updates, clip with --clip-norm, allow for some overflows with --fp16-scale-tolerance, \
         or train with --bf16, which needs no loss scale; where this comes again at once, begin another run with \
         --finetune-from-model and an earlier checkpoint",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Allocation, Device};
    use crate::model::params::Spec;
    use crate::tensor::DType;
    use half::f16;

    #[test]
    fn the_message_names_what_overflowed_from_the_loss_back() {
        let specs: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| Spec::new(*name, &[2, 3])).collect();
        let params = Params::new(&Device::soft(Allocation::Arena), specs, DType::F16).unwrap();
        let said = |params: &Params| underflow(params, 7, 1e-4, 1e-4).unwrap().to_string();
        assert!(said(&params).contains("no single gradient is infinite"), "{}", said(&params));
        let plant = |name: &str, bad: &[f16]| {
            let mut values = vec![f16::ONE; 6];
            values[..bad.len()].copy_from_slice(bad);
            params.dev().write(&params.grad(name).unwrap(), &values).unwrap();
        };
        plant("d", &[f16::INFINITY]);
        plant("b", &[f16::NAN, f16::NEG_INFINITY]);
        let text = said(&params);
        assert!(text.starts_with("update 7 overflowed and left the loss scale at 0.0001"), "{text}");
        assert!(text.contains("on the way back: d (1 of 6), b (2 of 6)\n"), "{text}");
        for word in ["--lr", "--warmup-updates", "--fp16-scale-tolerance", "--bf16"] {
            assert!(text.contains(word), "{text}");
        }
        plant("c", &[f16::INFINITY]);
        plant("a", &[f16::NAN]);
        assert!(said(&params).contains("b (2 of 6) and 1 more"), "{}", said(&params));
    }
}
