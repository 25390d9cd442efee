use omega::device::Device;
use omega::ops::linear::linear;
use omega::ops::omega_add_layernorm::{Norm, Sublayer, layernorm, post_ln, pre_ln, rezero};
use omega::reference::omega_add_layernorm::Input;
use omega::rng::Dropout;
use omega::tape::Tape;
use omega::tensor::Tensor;

use crate::common::tape::{RNG, backward, parameter};
use crate::common::{check_close, check_differences, devices, random};

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
fn run(dev: &Device, form: Form, i: &Input, drop: Dropout, accumulate: bool) -> Vec<Vec<f32>> {
    let c = i.omega.len();
    let n = i.x.len() / c;
    let t = &mut Tape::new(dev, RNG, true);
    let (x, dx) = parameter(t, dev, &i.x, &[n, c], accumulate);
    let (from, df) = parameter(t, dev, &i.f, &[n, c], accumulate);
    let (b, db) = parameter(t, dev, &i.b, &[c], accumulate);
    let (omega, domega) = parameter(t, dev, &i.omega, &[c], accumulate);
    let (alpha, dalpha) = parameter(t, dev, &[i.alpha], &[1], accumulate);
    let (gain, dgain) = parameter(t, dev, &i.gamma, &[c], accumulate);
    let (bias, dbias) = parameter(t, dev, &i.beta, &[c], accumulate);
    let identity: Vec<f64> = (0..c * c).map(|k| f64::from(k / c == k % c)).collect();
    let (eye, _) = parameter(t, dev, &identity, &[c, c], false);
    let f = linear(t, from, eye, None).unwrap(); // the op overwrites its branch
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
    let read = |v: &Tensor| dev.read::<f32>(v).unwrap();
    let mut out = vec![y.map_or(vec![], |v| read(t.value(v))), h.map_or(vec![], |v| read(t.value(v)))];
    let mut given: Vec<(_, &[f64])> = Vec::new();
    given.extend(y.map(|v| (v, g.as_slice())));
    given.extend(h.map(|v| (v, e.as_slice())));
    if form == Form::Norm {
        given.push((f, &i.f)); // zeros: the branch is not used
    }
    backward(t, dev, &given);
    let (branch, norm) = (form != Form::Norm, form != Form::Rezero);
    let has_alpha = matches!(form, Form::Rezero | Form::RezeroPostLn);
    let wanted = [true, branch, branch, form == Form::Admin, has_alpha, norm, norm];
    let grads = [&dx, &df, &db, &domega, &dalpha, &dgain, &dbias];
    out.extend(wanted.iter().zip(grads).map(|(&wanted, grad)| if wanted { read(grad) } else { vec![] }));
    out
}

#[test]
fn device_against_reference() {
    const NAMES: [&str; 9] = ["y", "h", "dx", "df", "db", "domega", "dalpha", "dgamma", "dbeta"];
    use Form::{Admin, Norm, PostLn, PreLn, Rezero, RezeroPostLn};
    for dev in devices() {
        for form in [PostLn, Admin, RezeroPostLn, PreLn, Rezero, Norm] {
            for (n, c, p) in [(1, 8, 0.0), (7, 264, 0.1), (133, 45, 0.4)] {
                let drop = Dropout { p: if form == Norm { 0.0 } else { p }, site: 5 };
                let i = input(form, n, c, drop);
                let got = run(&dev, form, &i, drop, false);
                assert_eq!(got, run(&dev, form, &i, drop, false), "{form:?}: two runs, the same bits");
                assert_eq!(got, run(&dev, form, &i, drop, true), "{form:?}: adding to zeros");
                let zeros = vec![0.0; n * c];
                let g = if form == Rezero { zeros.clone() } else { random(n * c, 7) };
                let e = if matches!(form, PreLn | Rezero) { random(n * c, 8) } else { zeros };
                let d = i.backward(&g, &e);
                let want = [i.forward(), i.h(), d.x, d.f, d.b, d.omega, vec![d.alpha], d.gamma, d.beta];
                for ((name, got), want) in NAMES.iter().zip(&got).zip(&want).filter(|((_, got), _)| !got.is_empty()) {
                    // Measured: 3e-7 of the maximum; dalpha, one sum over all elements that may nearly cancel, 4e-6.
                    let bound = if *name == "dalpha" { 1e-5 } else { 1e-6 };
                    check_close(&format!("{form:?} {n}x{c} {name}"), got, want, bound);
                }
            }
        }
    }
}
