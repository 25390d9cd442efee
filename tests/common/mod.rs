//! What tests and benches share: devices, random operands, the two comparisons, and a tape around one op.

pub mod tape;

use omega::device::{Allocation, Device};
use omega::rng::Stream;
use omega::tensor::DType;

/// The 2-byte types of activations.
pub const HALVES: [DType; 2] = [DType::F16, DType::BF16];

/// softgpu always, and the first GPU if there is one; every tensor its own allocation, so that a stray access is seen.
pub fn devices() -> Vec<Device> {
    let gpu = Device::cuda(0, Allocation::Separate).ok();
    std::iter::once(Device::soft(Allocation::Separate)).chain(gpu).collect()
}

/// `len` normal numbers that f32 holds exactly, so that device and reference start from the same values.
pub fn random(len: usize, seed: u64) -> Vec<f64> {
    let mut stream = Stream::new(seed, 0);
    (0..len).map(|_| f64::from(stream.normal() as f32)).collect()
}

pub fn to_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// Checks `gradients` against central differences of `loss`, 5-point stencil, at up to 64 entries of every input.
/// Relative to the largest entry of each gradient.
pub fn check_differences(inputs: &[Vec<f64>], gradients: &[Vec<f64>], bound: f64, loss: impl Fn(&[Vec<f64>]) -> f64) {
    assert_eq!(inputs.len(), gradients.len());
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), inputs[which].len(), "input {which}");
        let largest = gradient.iter().fold(1e-3_f64, |m, g| m.max(g.abs()));
        for k in (0..gradient.len()).step_by(gradient.len().div_ceil(64).max(1)) {
            let at = |step: f64| {
                let mut moved = inputs.to_vec();
                moved[which][k] += step;
                loss(&moved)
            };
            let step = 1e-3;
            let slope = (8.0 * (at(step) - at(-step)) - (at(2.0 * step) - at(-2.0 * step))) / (12.0 * step);
            let error = (slope - gradient[k]).abs() / largest;
            assert!(error < bound, "input {which}[{k}]: gradient {}, slope {slope}, error {error:.2e}", gradient[k]);
        }
    }
}

/// max |got − want| / max |want|; infinite where anything is NaN.
pub fn error_of_maximum(got: &[f32], want: &[f64]) -> f64 {
    let largest = want.iter().fold(1e-30_f64, |m, w| m.max(w.abs()));
    let errors = got.iter().zip(want).map(|(&g, w)| (f64::from(g) - w).abs());
    errors.fold(0.0_f64, |m, e| if e.is_nan() { f64::INFINITY } else { m.max(e) }) / largest
}

/// Fails unless max |got − want| ≤ bound · max |want|; prints the figure (`--nocapture`).
pub fn check_close(name: &str, got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let error = error_of_maximum(got, want);
    println!("{name}: {error:.1e}");
    assert!(error <= bound, "{name}: error {error:.2e} of the maximum, bound {bound:.0e}");
}

/// `values` as `dtype` holds them.
pub fn rounded(values: &[f64], dtype: DType) -> Vec<f64> {
    values.iter().map(|v| dtype.round(*v)).collect()
}

/// How close a kernel of a 2-byte type comes to what that type allows. `exact` is the reference of the inputs as they
/// were, `of_rounded` that of the inputs as `dtype` holds them. Fails unless max |got − exact| is at most twice the error
/// of rounding inputs and output once, max |round(of_rounded) − exact|; prints the ratio (`--nocapture`).
pub fn check_half(name: &str, got: &[f32], exact: &[f64], of_rounded: &[f64], dtype: DType) {
    check_half_within(2.0, name, got, exact, of_rounded, dtype);
}

/// The same with another bound than twice.
pub fn check_half_within(bound: f64, name: &str, got: &[f32], exact: &[f64], of_rounded: &[f64], dtype: DType) {
    assert_eq!(got.len(), exact.len(), "{name}");
    let once: Vec<f32> = rounded(of_rounded, dtype).iter().map(|v| *v as f32).collect();
    let (error, due) = (error_of_maximum(got, exact), error_of_maximum(&once, exact));
    println!("{name}, {dtype:?}: {error:.1e}, {:.2} of rounding once", error / due);
    // Else anything would pass: rounding the operands changes the result as a whole, as at a kink of ReLU.
    assert!(due < 0.2, "{name}, {dtype:?}: rounding once gives an error of {due:.2e} of the maximum");
    assert!(error <= bound * due, "{name}, {dtype:?}: error {error:.2e} of the maximum, rounding once {due:.2e}");
}
