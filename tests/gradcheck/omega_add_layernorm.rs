use omega::device::Device;
use omega::ops::omega_add_layernorm::{Norm, Sublayer, layernorm, post_ln, pre_ln, rezero};
use omega::reference::omega_add_layernorm::Input;
use omega::rng::Dropout;
use omega::tape::Tape;
use omega::tensor::{DType, Tensor};

use crate::common::tape::{RNG, backward, parameter_of};
use crate::common::{HALVES, check_close, check_differences, check_half, devices, random, rounded};

const EPS: f32 = 1e-5;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    PostLn,
    Admin,
    RezeroPostLn,
    PreLn,
    Rezero,
    Norm,
}

/// Operands of a form: what it does not have is 1 or 0.
fn input(form: Form, n: usize, c: usize, drop: Dropout) -> Input {
    let ones = |len| vec![1.0; len];
    let branch = form != Form::Norm;
    Input {
        x: random(n * c, 1),
        f: if branch { random(n * c, 2) } else { vec![0.0; n * c] },
        factor: (0..n * c).map(|i| f64::from(drop.factor(RNG, i as u64))).collect(),
        b: if branch { random(c, 3) } else { vec![0.0; c] },
        omega: if form == Form::Admin { random(c, 4) } else { ones(c) },
        alpha: if matches!(form, Form::Rezero | Form::RezeroPostLn) { 0.375 } else { 1.0 },
        gamma: random(c, 5),
        beta: random(c, 6),
        eps: f64::from(EPS),
    }
}

#[test]
fn reference_against_central_differences() {
    let (n, c) = (3, 8);
    let base = input(Form::Admin, n, c, Dropout { p: 0.25, site: 1 });
    let (g, e) = (random(n * c, 7), random(n * c, 8));
    let with = |i: &[Vec<f64>]| Input {
        x: i[0].clone(),
        f: i[1].clone(),
        b: i[2].clone(),
        omega: i[3].clone(),
        alpha: i[4][0],
        gamma: i[5].clone(),
        beta: i[6].clone(),
        ..base.clone()
    };
    let Input { x, f, b, omega, gamma, beta, .. } = base.clone();
    let inputs = [x, f, b, omega, vec![0.7], gamma, beta];
    let d = with(&inputs).backward(&g, &e);
    check_differences(&inputs, &[d.x, d.f, d.b, d.omega, vec![d.alpha], d.gamma, d.beta], 1e-8, |i| {
        let at = with(i);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&at.forward(), &g) + dot(&at.h(), &e)
    });
}

/// Outputs (LN(h), h) and gradients x, f, b, omega, alpha, gamma, beta; empty where the form has none.
fn run(dev: &Device, form: Form, i: &Input, drop: Dropout, accumulate: bool, dtype: DType) -> Vec<Vec<f32>> {
    let c = i.omega.len();
    let n = i.x.len() / c;
    let t = &mut Tape::new(dev, RNG, true).with_dtype(dtype);
    let [matrix, vector] = [(dtype, dtype), (DType::F32, dtype)];
    let (x, dx) = parameter_of(t, dev, &i.x, &[n, c], matrix, accumulate);
    let (f, df) = parameter_of(t, dev, &i.f, &[n, c], matrix, accumulate);
    let (b, db) = parameter_of(t, dev, &i.b, &[c], vector, accumulate);
    let (omega, domega) = parameter_of(t, dev, &i.omega, &[c], vector, accumulate);
    let (alpha, dalpha) = parameter_of(t, dev, &[i.alpha], &[1], vector, accumulate);
    let (gain, dgain) = parameter_of(t, dev, &i.gamma, &[c], vector, accumulate);
    let (bias, dbias) = parameter_of(t, dev, &i.beta, &[c], vector, accumulate);
    let (sublayer, norm) = (Sublayer { bias: Some(b), drop }, Norm { gain, bias });
    let (g, e) = (random(n * c, 7), random(n * c, 8));
    let (y, h) = match form {
        Form::PostLn => (Some(post_ln(t, x, f, sublayer, None, None, norm, EPS).unwrap()), None),
        Form::Admin => (Some(post_ln(t, x, f, sublayer, Some(omega), None, norm, EPS).unwrap()), None),
        Form::RezeroPostLn => (Some(post_ln(t, x, f, sublayer, None, Some(alpha), norm, EPS).unwrap()), None),
        Form::PreLn => {
            let (h, y) = pre_ln(t, x, f, sublayer, norm, EPS).unwrap();
            (Some(y), Some(h))
        }
        Form::Rezero => (None, Some(rezero(t, x, f, sublayer, Some(alpha)).unwrap())),
        Form::Norm => {
            let y = layernorm(t, x, norm, EPS).unwrap();
            (Some(y), None)
        }
    };
    let read = |v: &Tensor| dev.read_wide(v).unwrap();
    let mut out = vec![y.map_or(vec![], |v| read(t.value(v))), h.map_or(vec![], |v| read(t.value(v)))];
    let mut given: Vec<(_, &[f64])> = Vec::new();
    given.extend(y.map(|v| (v, g.as_slice())));
    given.extend(h.map(|v| (v, e.as_slice())));
    backward(t, dev, &given);
    let (branch, norm) = (form != Form::Norm, form != Form::Rezero);
    let has_alpha = matches!(form, Form::Rezero | Form::RezeroPostLn);
    let wanted = [true, branch, branch, form == Form::Admin, has_alpha, norm, norm];
    let grads = [&dx, &df, &db, &domega, &dalpha, &dgain, &dbias];
    out.extend(wanted.iter().zip(grads).map(|(&wanted, grad)| if wanted { read(grad) } else { vec![] }));
    out
}

const NAMES: [&str; 9] = ["y", "h", "dx", "df", "db", "domega", "dalpha", "dgamma", "dbeta"];
const FORMS: [Form; 6] = [Form::PostLn, Form::Admin, Form::RezeroPostLn, Form::PreLn, Form::Rezero, Form::Norm];

/// What [`run`] should give, of x, f, and the outputs' gradients as `dtype` holds them.
fn expected(form: Form, i: &Input, dtype: DType) -> [Vec<f64>; 9] {
    let i = Input { x: rounded(&i.x, dtype), f: rounded(&i.f, dtype), ..i.clone() };
    let zeros = vec![0.0; i.x.len()];
    let given = |seed| rounded(&random(i.x.len(), seed), dtype);
    let g = if form == Form::Rezero { zeros.clone() } else { given(7) };
    let e = if matches!(form, Form::PreLn | Form::Rezero) { given(8) } else { zeros };
    let d = i.backward(&g, &e);
    [i.forward(), i.h(), d.x, d.f, d.b, d.omega, vec![d.alpha], d.gamma, d.beta]
}

fn dropout(form: Form, p: f32) -> Dropout {
    Dropout { p: if form == Form::Norm { 0.0 } else { p }, site: 5 }
}

#[test]
fn device_against_reference() {
    for (dev, form) in devices().iter().flat_map(|dev| FORMS.map(|form| (dev, form))) {
        for (n, c, p) in [(1, 8, 0.0), (7, 264, 0.1), (133, 45, 0.4), (40, 516, 0.1)] {
            let drop = dropout(form, p);
            let i = input(form, n, c, drop);
            let got = run(dev, form, &i, drop, false, DType::F32);
            assert_eq!(got, run(dev, form, &i, drop, false, DType::F32), "{form:?}: two runs, the same bits");
            assert_eq!(got, run(dev, form, &i, drop, true, DType::F32), "{form:?}: adding to zeros");
            let want = expected(form, &i, DType::F32);
            for ((name, got), want) in NAMES.iter().zip(&got).zip(&want).filter(|((_, got), _)| !got.is_empty()) {
                // Measured: 3e-7 of the maximum; dalpha, one sum over all elements that may nearly cancel, 4e-6.
                let bound = if *name == "dalpha" { 1e-5 } else { 1e-6 };
                check_close(&format!("{form:?} {n}x{c} {name}"), got, want, bound);
            }
        }
    }
}

/// Measured: 1.0 of the error of rounding once, but for dalpha (one sum over all elements that may nearly cancel).
#[test]
fn half_types_against_reference() {
    for (dev, form) in devices().iter().flat_map(|dev| FORMS.map(|form| (dev, form))) {
        for (dtype, (n, c, p)) in HALVES
            .iter()
            .flat_map(|dtype| [(1, 8, 0.0), (7, 264, 0.1), (133, 45, 0.4), (40, 520, 0.1)].map(|size| (*dtype, size)))
        {
            let drop = dropout(form, p);
            let i = input(form, n, c, drop);
            let got = run(dev, form, &i, drop, false, dtype);
            assert_eq!(
                got,
                run(dev, form, &i, drop, true, dtype),
                "{form:?}: adding to zeros, two runs, the same bits"
            );
            let (exact, of_rounded) = (expected(form, &i, DType::F32), expected(form, &i, dtype));
            for (at, name) in NAMES.iter().enumerate().filter(|(at, _)| !got[*at].is_empty()) {
                check_half(&format!("{form:?} {n}x{c} {name}"), &got[at], &exact[at], &of_rounded[at], dtype);
            }
        }
    }
}

/// ω of 200 takes h far out of f16's range (65,504), and h is never of that type: y is as good as ever. This is what makes
/// deep Admin safe in f16.
#[test]
fn a_large_omega_does_not_overflow_f16() {
    for dev in devices() {
        let (n, c) = (9, 136);
        let mut i = input(Form::Admin, n, c, Dropout::NONE);
        i.omega = vec![200.0; c];
        i.x.iter_mut().for_each(|x| *x *= 500.0);
        assert!(i.h().iter().any(|h| h.abs() > 65_504.0), "the test needs an h that f16 cannot hold");
        let got = run(&dev, Form::Admin, &i, Dropout::NONE, false, DType::F16);
        let (exact, of_rounded) = (expected(Form::Admin, &i, DType::F32), expected(Form::Admin, &i, DType::F16));
        for at in [0, 3, 4, 7, 8] {
            check_half(NAMES[at], &got[at], &exact[at], &of_rounded[at], DType::F16);
        }
    }
}

#[test]
fn no_rows_and_widths_that_are_too_much() {
    for dev in devices() {
        let i = input(Form::Admin, 0, 16, Dropout::NONE);
        let got = run(&dev, Form::Admin, &i, Dropout::NONE, true, DType::F32);
        assert!(got[4..].iter().flatten().all(|g| *g == 0.0), "no rows add nothing");
        let t = &mut Tape::new(&dev, RNG, true);
        let (wide, _) = parameter_of(t, &dev, &random(4000, 1), &[1, 4000], (DType::F32, DType::F32), false);
        let (v, _) = parameter_of(t, &dev, &random(4000, 1), &[4000], (DType::F32, DType::F32), false);
        let error = layernorm(t, wide, Norm { gain: v, bias: v }, EPS).unwrap_err().to_string();
        assert!(error.contains("3072"), "{error}");
    }
}
