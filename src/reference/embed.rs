//! `y[t] = factor ⊙ (scale·table[token] + positions[position])`. Shapes as in `ops::embed`.

/// What is looked up: T tokens and positions, tables of width C, factor `[T, C]` of dropout.
pub struct Lookup<'a> {
    pub tokens: &'a [u32],
    pub positions: &'a [u32],
    pub position_table: &'a [f64],
    pub factor: &'a [f64],
    pub scale: f64,
    pub width: usize,
}

/// y `[T, C]` for the table `[V, C]`.
pub fn forward(table: &[f64], l: &Lookup) -> Vec<f64> {
    let at = |t: usize, c: usize| {
        let (e, p) = (l.tokens[t] as usize * l.width + c, l.positions[t] as usize * l.width + c);
        l.factor[t * l.width + c] * (l.scale * table[e] + l.position_table[p])
    };
    (0..l.tokens.len()).flat_map(|t| (0..l.width).map(move |c| at(t, c))).collect()
}

/// ∂L/∂table `[V, C]` for ∂L/∂y = dy.
pub fn backward(rows: usize, l: &Lookup, dy: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; rows * l.width];
    for (i, g) in dy.iter().enumerate() {
        let (t, c) = (i / l.width, i % l.width);
        out[l.tokens[t] as usize * l.width + c] += l.scale * l.factor[i] * g;
    }
    out
}
