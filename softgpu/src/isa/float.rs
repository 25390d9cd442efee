//! f32 and f64 arithmetic: PTX ISA 9.0, 9.7.3.

use super::math::*;

#[rustfmt::skip]
rows! {
    "add.f32" "add.rn.f32" => f32, (a: f32, b: f32) a + b;
    "sub.f32" "sub.rn.f32" => f32, (a: f32, b: f32) a - b;
    "mul.f32" "mul.rn.f32" => f32, (a: f32, b: f32) a * b;
    "fma.f32" "fma.rn.f32" => f32, (a: f32, b: f32, c: f32) a.mul_add(b, c);
    "fma.rm.f32" => f32, (a: f32, b: f32, c: f32) fma_down(a, b, c);
    "div.f32" "div.rn.f32" "div.full.f32" "div.approx.f32" => f32, (a: f32, b: f32) a / b;
    "rcp.f32" "rcp.rn.f32" "rcp.approx.f32" => f32, (a: f32) 1.0 / a;
    "sqrt.f32" "sqrt.rn.f32" "sqrt.approx.f32" => f32, (a: f32) a.sqrt();
    "rsqrt.approx.f32" => f32, (a: f32) 1.0 / a.sqrt();
    "neg.f32" => f32, (a: f32) -a;
    "abs.f32" => f32, (a: f32) a.abs();
    "min.f32" => f32, (a: f32, b: f32) float_min(a, b);
    "max.f32" => f32, (a: f32, b: f32) float_max(a, b);
    "ex2.approx.f32" => f32, (a: f32) exp2(a);
    "ex2.approx.ftz.f32" => f32, (a: f32) flush(exp2(a));
    "lg2.approx.f32" => f32, (a: f32) log2(a);
    "lg2.approx.ftz.f32" => f32, (a: f32) log2(flush(a));
    "sin.approx.f32" => f32, (a: f32) a.sin();
    "cos.approx.f32" => f32, (a: f32) a.cos();
    "tanh.approx.f32" => f32, (a: f32) a.tanh();
    "add.f64" "add.rn.f64" => f64, (a: f64, b: f64) a + b;
    "sub.f64" "sub.rn.f64" => f64, (a: f64, b: f64) a - b;
    "mul.f64" "mul.rn.f64" => f64, (a: f64, b: f64) a * b;
    "fma.f64" "fma.rn.f64" => f64, (a: f64, b: f64, c: f64) a.mul_add(b, c);
    "div.f64" "div.rn.f64" => f64, (a: f64, b: f64) a / b;
    "rcp.f64" "rcp.rn.f64" => f64, (a: f64) 1.0 / a;
    "sqrt.f64" "sqrt.rn.f64" => f64, (a: f64) a.sqrt();
    "neg.f64" => f64, (a: f64) -a;
    "abs.f64" => f64, (a: f64) a.abs();
}
