//! `h = ω⊙x + α·factor⊙(f + b)`, `y = γ⊙n + β`. Maths: `kernels/omega_add_layernorm.cu`.

/// Operands; x, f, factor `[N, C]`, the vectors `[C]`. A form without ω, α or b passes ones or zeros.
#[derive(Clone)]
pub struct Input {
    pub x: Vec<f64>,
    pub f: Vec<f64>,
    pub factor: Vec<f64>,
    pub b: Vec<f64>,
    pub omega: Vec<f64>,
    pub alpha: f64,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub eps: f64,
}

/// Gradients, named as the operands.
pub struct Gradients {
    pub x: Vec<f64>,
    pub f: Vec<f64>,
    pub b: Vec<f64>,
    pub omega: Vec<f64>,
    pub alpha: f64,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
}

impl Input {
    fn d(&self, i: usize) -> f64 {
        self.factor[i] * (self.f[i] + self.b[i % self.b.len()])
    }

    /// The residual sum `[N, C]`.
    pub fn h(&self) -> Vec<f64> {
        let c = self.omega.len();
        (0..self.x.len()).map(|i| self.omega[i % c] * self.x[i] + self.alpha * self.d(i)).collect()
    }

    /// `(h − μ)/√(var + ε)` and `1/√(var + ε)` of each row.
    fn normalised(&self) -> (Vec<f64>, Vec<f64>) {
        let c = self.gamma.len();
        let (mut n, mut r) = (self.h(), Vec::new());
        for row in n.chunks_mut(c) {
            let mean = row.iter().sum::<f64>() / c as f64;
            let var = row.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / c as f64;
            r.push(1.0 / (var + self.eps).sqrt());
            row.iter_mut().for_each(|h| *h = (*h - mean) / (var + self.eps).sqrt());
        }
        (n, r)
    }

    /// LN(h) `[N, C]`.
    pub fn forward(&self) -> Vec<f64> {
        let c = self.gamma.len();
        let (n, _) = self.normalised();
        n.iter().enumerate().map(|(i, n)| self.gamma[i % c] * n + self.beta[i % c]).collect()
    }

    /// For ∂L/∂LN(h) = g and ∂L/∂h = e; either may be zeros.
    pub fn backward(&self, g: &[f64], e: &[f64]) -> Gradients {
        let c = self.gamma.len();
        let (n, r) = self.normalised();
        let zeros = || vec![0.0; c];
        let mut out = Gradients {
            x: vec![0.0; n.len()],
            f: vec![0.0; n.len()],
            b: zeros(),
            omega: zeros(),
            alpha: 0.0,
            gamma: zeros(),
            beta: zeros(),
        };
        for (row, r) in r.iter().enumerate() {
            let at = |k: usize| row * c + k;
            let a = |k: usize| self.gamma[k] * g[at(k)];
            let mean_a = (0..c).map(a).sum::<f64>() / c as f64;
            let mean_an = (0..c).map(|k| a(k) * n[at(k)]).sum::<f64>() / c as f64;
            for k in 0..c {
                let i = at(k);
                let dh = r * (a(k) - mean_a - n[i] * mean_an) + e[i];
                out.x[i] = self.omega[k] * dh;
                out.f[i] = self.alpha * self.factor[i] * dh;
                out.b[k] += out.f[i];
                out.omega[k] += dh * self.x[i];
                out.alpha += dh * self.d(i);
                out.gamma[k] += g[i] * n[i];
                out.beta[k] += g[i];
            }
        }
        out
    }
}
