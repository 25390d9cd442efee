//! `y = LN(ω⊙x + dropout(f + b))`, the Admin form; and `h = x + α·dropout(f + b)` with `y = LN(h)` as the other schemes have
//! them, which are checked, and not timed.

use std::process::ExitCode;

use omega::bench::{Bench, Op, Operand, RNG, Reference, TapeOp, Work, cargo_bench, values};
use omega::device::Device;
use omega::error::Result;
use omega::ops::omega_add_layernorm::{Norm, Sublayer, post_ln, pre_ln, rezero, rows_per_partial};
use omega::reference::omega_add_layernorm::Input;
use omega::rng::Dropout;
use omega::tape::{Tape, Var};
use omega::tensor::DType;

const EPS: f32 = 1e-5;

/// Rows and model width.
struct Admin {
    n: usize,
    c: usize,
    drop: Dropout,
    dtype: DType,
}

impl Bench for Admin {
    const NAME: &'static str = "omega_add_layernorm";
    const EXTENTS: &'static str = "N x C";
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(133, 45), (70, 264)];
    const MODEL: &'static [Self::Size] = &[(4096, 512), (4096, 1024), (4096, 256)];
    fn size(extents: &[usize]) -> Option<Self::Size> {
        <[usize; 2]>::try_from(extents).ok().map(Into::into)
    }

    fn new(_: &Device, (n, c): Self::Size, dtype: DType) -> Result<Self> {
        Ok(Admin { n, c, drop: Dropout { p: 0.1, site: 5 }, dtype })
    }

    fn shape(&self) -> String {
        format!("Admin N={} C={}", self.n, self.c)
    }

    fn work(&self) -> Vec<Work> {
        let (all, size) = (self.n * self.c, self.dtype.size());
        let partials = 4 * self.n.div_ceil(rows_per_partial(self.n)) * self.c;
        vec![
            Work::new("omega_add_layernorm_fwd", 3 * size * all + all / 8 + 8 * self.n, all),
            Work::new("omega_add_layernorm_bwd", 5 * size * all + all / 8 + 8 * self.n + 4 * partials, all),
            Work::new("omega_add_layernorm_bwd_reduce", 4 * partials + 8 * size * self.c, partials),
        ]
    }
}

impl TapeOp for Admin {
    const OUTPUTS: &'static [&'static str] = &["y"];
    const BOUND: f64 = 1e-6;

    fn operands(&self) -> Vec<Operand> {
        let (n, c) = (self.n, self.c);
        let matrix = |name, seed| Operand::activation(name, values(n * c, seed), &[n, c]);
        let vector = |name, seed| Operand::parameter(name, values(c, seed), &[c]);
        let vectors = [vector("b", 3), vector("omega", 4), vector("gamma", 5), vector("beta", 6)];
        [matrix("x", 1), matrix("f", 2)].into_iter().chain(vectors).collect()
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        let sublayer = Sublayer { bias: Some(v[2]), drop: self.drop };
        let norm = Norm { gain: v[4], bias: v[5] };
        Ok(vec![post_ln(t, v[0], v[1], sublayer, Some(v[3]), None, norm, EPS)?])
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let [x, f, b, omega, gamma, beta] = [0, 1, 2, 3, 4, 5].map(|k| operands[k].clone());
        let factor = (0..x.len()).map(|i| f64::from(self.drop.factor(RNG, i as u64))).collect();
        let input = Input { x, f, factor, b, omega, alpha: 1.0, gamma, beta, eps: EPS.into() };
        let d = input.backward(&dy[0], &vec![0.0; self.n * self.c]);
        (vec![input.forward()], vec![d.x, d.f, d.b, d.omega, d.gamma, d.beta])
    }
}

const PRE_LN: usize = 0;
const REZERO: usize = 1;
const REZERO_POST_LN: usize = 2;

/// One of the schemes without ω.
struct Plain<const SCHEME: usize>(Admin);

impl<const SCHEME: usize> Bench for Plain<SCHEME> {
    const NAME: &'static str = Admin::NAME;
    const EXTENTS: &'static str = Admin::EXTENTS;
    type Size = (usize, usize);
    const SMALL: &'static [Self::Size] = &[(70, 264), (133, 45)];
    const MODEL: &'static [Self::Size] = &[];

    fn size(_: &[usize]) -> Option<Self::Size> {
        None
    }

    fn new(dev: &Device, size: Self::Size, dtype: DType) -> Result<Self> {
        Admin::new(dev, size, dtype).map(Plain)
    }

    fn shape(&self) -> String {
        format!("{} N={} C={}", ["pre-LN", "ReZero", "ReZero+post-LN"][SCHEME], self.0.n, self.0.c)
    }

    fn work(&self) -> Vec<Work> {
        Vec::new()
    }
}

impl<const SCHEME: usize> TapeOp for Plain<SCHEME> {
    const OUTPUTS: &'static [&'static str] = match SCHEME {
        PRE_LN => &["h", "y"],
        REZERO => &["h"],
        _ => &["y"],
    };
    /// That of dα, one sum over all elements that may nearly cancel.
    const BOUND: f64 = 1e-5;

    fn operands(&self) -> Vec<Operand> {
        let (n, c) = (self.0.n, self.0.c);
        let matrix = |name, seed| Operand::activation(name, values(n * c, seed), &[n, c]);
        let vector = |name, seed| Operand::parameter(name, values(c, seed), &[c]);
        let mut all = vec![matrix("x", 1), matrix("f", 2), vector("b", 3)];
        all.extend((SCHEME != PRE_LN).then(|| Operand::parameter("alpha", vec![0.375], &[1])));
        all.extend((SCHEME != REZERO).then(|| [vector("gamma", 5), vector("beta", 6)]).into_iter().flatten());
        all
    }

    fn forward(&self, t: &mut Tape, v: &[Var]) -> Result<Vec<Var>> {
        let (sublayer, last) = (Sublayer { bias: Some(v[2]), drop: self.0.drop }, v.len() - 1);
        let norm = Norm { gain: v[last - 1], bias: v[last] };
        Ok(match SCHEME {
            PRE_LN => pre_ln(t, v[0], v[1], sublayer, norm, EPS).map(|(h, y)| vec![h, y])?,
            REZERO => vec![rezero(t, v[0], v[1], sublayer, Some(v[3]))?],
            _ => vec![post_ln(t, v[0], v[1], sublayer, None, Some(v[3]), norm, EPS)?],
        })
    }

    fn reference(&self, operands: &[Vec<f64>], dy: &[Vec<f64>]) -> Reference {
        let Admin { n, c, ref drop, .. } = self.0;
        let [x, f, b] = [0, 1, 2].map(|k| operands[k].clone());
        let factor = (0..x.len()).map(|i| f64::from(drop.factor(RNG, i as u64))).collect();
        let alpha = if SCHEME == PRE_LN { 1.0 } else { operands[3][0] };
        let normed = SCHEME != REZERO;
        let [gamma, beta] =
            [2, 1].map(|from_end| if normed { operands[operands.len() - from_end].clone() } else { vec![1.0; c] });
        let input = Input { x, f, factor, b, omega: vec![1.0; c], alpha, gamma, beta, eps: EPS.into() };
        let none = vec![0.0; n * c];
        let (d, outputs) = match SCHEME {
            PRE_LN => (input.backward(&dy[1], &dy[0]), vec![input.h(), input.forward()]),
            REZERO => (input.backward(&none, &dy[0]), vec![input.h()]),
            _ => (input.backward(&dy[0], &none), vec![input.forward()]),
        };
        let mut gradients = vec![d.x, d.f, d.b];
        gradients.extend((SCHEME != PRE_LN).then(|| vec![d.alpha]));
        gradients.extend([d.gamma, d.beta].into_iter().filter(|_| normed));
        (outputs, gradients)
    }
}

pub fn ops() -> Vec<Op> {
    let plain =
        [Op::of_tape::<Plain<PRE_LN>>(), Op::of_tape::<Plain<REZERO>>(), Op::of_tape::<Plain<REZERO_POST_LN>>()];
    [Op::of_tape::<Admin>()].into_iter().chain(plain).collect()
}

pub fn main() -> ExitCode {
    cargo_bench(&ops())
}
