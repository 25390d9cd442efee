//! One update of Adam or RAdam on one parameter, or of NovoGrad on one tensor, as `ops::optimizer`.

/// (p, m, v) of one parameter.
pub type State = (f64, f64, f64);

/// `update` counts from 1; `g` has been scaled and clipped.
#[derive(Clone, Copy)]
pub struct Update {
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
    pub lr: f64,
    pub number: u64,
}

fn moments((p, m, v): State, g: f64, u: &Update) -> State {
    let (b1, b2) = u.betas;
    (p - u.weight_decay * u.lr * p, b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g)
}

/// Kingma and Ba 2015, with ε outside the bias correction as in fairseq.
pub fn adam(state: State, g: f64, u: &Update) -> State {
    let (p, m, v) = moments(state, g, u);
    let (c1, c2) = (1.0 - u.betas.0.powf(u.number as f64), 1.0 - u.betas.1.powf(u.number as f64));
    (p - u.lr * c2.sqrt() / c1 * m / (v.sqrt() + u.eps), m, v)
}

/// Liu et al. 2020, arXiv:1908.03265, without the momentum step of the first updates.
pub fn radam(state: State, g: f64, u: &Update) -> State {
    let (p, m, v) = moments(state, g, u);
    let b2t = u.betas.1.powf(u.number as f64);
    let longest = 2.0 / (1.0 - u.betas.1) - 1.0;
    let length = longest - 2.0 * u.number as f64 * b2t / (1.0 - b2t);
    if length < 5.0 {
        return (p, m, v);
    }
    let r = ((length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)).sqrt();
    let m_hat = m / (1.0 - u.betas.0.powf(u.number as f64));
    (p - u.lr * r * (1.0 - b2t).sqrt() * m_hat / (v.sqrt() + u.eps), m, v)
}

/// Ginsburg et al. 2019, arXiv:1905.11286, on one parameter tensor, which has one second moment `v`; as the original has
/// it, without bias correction and with the weight decay in m.
pub fn novograd(p: &mut [f64], m: &mut [f64], v: &mut f64, g: &[f64], u: &Update) {
    *v = u.betas.1 * *v + (1.0 - u.betas.1) * g.iter().map(|g| g * g).sum::<f64>();
    for ((p, m), g) in p.iter_mut().zip(m).zip(g) {
        *m = u.betas.0 * *m + g / (v.sqrt() + u.eps) + u.weight_decay * *p;
        *p -= u.lr * *m;
    }
}
