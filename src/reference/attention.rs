//! Attention of packed sentences, in the obvious way. Shapes as in `ops::attention`; q `[Tq, d]`, k and v `[Tk, d]`.

/// A packed batch: cumulative lengths, heads, and the dropout factor of (query row, head, key of the sentence).
pub struct Shape<'a> {
    pub cu_q: &'a [usize],
    pub cu_k: &'a [usize],
    pub heads: usize,
    pub width: usize,
    pub causal: bool,
    pub factor: &'a dyn Fn(usize, usize, usize) -> f64,
}

/// One query's view: its row, head, first key row, and probabilities.
struct Row {
    query: usize,
    head: usize,
    first_key: usize,
    p: Vec<f64>,
}

impl Shape<'_> {
    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    fn head<'m>(&self, matrix: &'m [f64], row: usize, head: usize) -> &'m [f64] {
        let at = row * self.width + head * self.head_width();
        &matrix[at..at + self.head_width()]
    }

    fn rows(&self, q: &[f64], k: &[f64]) -> Vec<Row> {
        let (mut rows, scale) = (Vec::new(), (self.head_width() as f64).powf(-0.5));
        for b in 0..self.cu_q.len() - 1 {
            for (query, head) in (self.cu_q[b]..self.cu_q[b + 1]).flat_map(|i| (0..self.heads).map(move |h| (i, h))) {
                let (first_key, mut end) = (self.cu_k[b], self.cu_k[b + 1]);
                if self.causal {
                    end = end.min(first_key + query - self.cu_q[b] + 1);
                }
                let mut p: Vec<f64> =
                    (first_key..end).map(|j| scale * dot(self.head(q, query, head), self.head(k, j, head))).collect();
                let top = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                p.iter_mut().for_each(|s| *s = (*s - top).exp());
                let sum: f64 = p.iter().sum();
                p.iter_mut().for_each(|s| *s /= sum);
                rows.push(Row { query, head, first_key, p });
            }
        }
        rows
    }

    /// P of one sentence, the mean over the heads `[Tq, Tk]`, without dropout.
    pub fn mean_probabilities(&self, q: &[f64], k: &[f64]) -> Vec<f64> {
        let keys = k.len() / self.width;
        let mut mean = vec![0.0; q.len() / self.width * keys];
        for r in self.rows(q, k) {
            let row = &mut mean[r.query * keys + r.first_key..];
            row.iter_mut().zip(&r.p).for_each(|(sum, p)| *sum += p / self.heads as f64);
        }
        mean
    }

    /// O `[Tq, d]`.
    pub fn forward(&self, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
        let mut o = vec![0.0; q.len()];
        for r in self.rows(q, k) {
            for (j, p) in r.p.iter().enumerate() {
                let w = p * (self.factor)(r.query, r.head, j);
                add(&mut o, self, r.query, r.head, w, self.head(v, r.first_key + j, r.head));
            }
        }
        o
    }

    /// (dq, dk, dv) for ∂L/∂O = g.
    pub fn backward(&self, q: &[f64], k: &[f64], v: &[f64], g: &[f64]) -> [Vec<f64>; 3] {
        let scale = (self.head_width() as f64).powf(-0.5);
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|m| vec![0.0; m.len()]);
        for r in self.rows(q, k) {
            let g = self.head(g, r.query, r.head);
            let value = |j: usize| self.head(v, r.first_key + j, r.head);
            let dp: Vec<f64> = (0..r.p.len()).map(|j| (self.factor)(r.query, r.head, j) * dot(g, value(j))).collect();
            let delta: f64 = r.p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            for (j, p) in r.p.iter().enumerate() {
                let (key, ds) = (r.first_key + j, scale * p * (dp[j] - delta));
                add(&mut dv, self, key, r.head, p * (self.factor)(r.query, r.head, j), g);
                add(&mut dq, self, r.query, r.head, ds, self.head(k, key, r.head));
                add(&mut dk, self, key, r.head, ds, self.head(q, r.query, r.head));
            }
        }
        [dq, dk, dv]
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], shape: &Shape, row: usize, head: usize, w: f64, from: &[f64]) {
    let at = row * shape.width + head * shape.head_width();
    to[at..].iter_mut().zip(from).for_each(|(to, from)| *to += w * from);
}
