//! Activations on the host, row by row: what the analyses compute with.

use crate::device::Device;
use crate::error::Result;
use crate::model::Params;
use crate::model::probe::Seen;
use crate::tensor::Tensor;

/// Rows of `width` numbers, one per token.
#[derive(Clone)]
pub struct Field {
    pub width: usize,
    pub data: Vec<f64>,
}

impl Field {
    /// A tensor [T, d].
    pub fn read(dev: &Device, tensor: &Tensor) -> Result<Field> {
        let data = dev.read_wide(tensor)?.into_iter().map(f64::from).collect();
        Ok(Field { width: tensor.dims()[1], data })
    }

    /// The branch of `seen` with its bias.
    pub fn branch(params: &Params, seen: &Seen) -> Result<Field> {
        let mut field = Field::read(params.dev(), &seen.branch)?;
        field.add(&wide(params, &seen.bias)?);
        Ok(field)
    }

    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks_exact(self.width)
    }

    /// Adds the vector `b` to each row.
    pub fn add(&mut self, b: &[f64]) {
        self.data.chunks_exact_mut(self.width).for_each(|row| row.iter_mut().zip(b).for_each(|(x, b)| *x += b));
    }

    /// Multiplies each row by the vector `g`.
    pub fn scale(&mut self, g: &[f64]) {
        self.data.chunks_exact_mut(self.width).for_each(|row| row.iter_mut().zip(g).for_each(|(x, g)| *x *= g));
    }

    /// Multiplies row t by `by[t]`.
    pub fn scale_rows(&mut self, by: &[f64]) {
        let rows = self.data.chunks_exact_mut(self.width);
        rows.zip(by).for_each(|(row, by)| row.iter_mut().for_each(|x| *x *= by));
    }

    /// Variance of each row over its columns, divided by width − `ddof`.
    pub fn variances(&self, ddof: usize) -> Vec<f64> {
        let n = self.width as f64;
        let of = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / n;
            row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - ddof as f64)
        };
        self.rows().map(of).collect()
    }

    /// Root of the sum of all squares.
    pub fn norm(&self) -> f64 {
        self.data.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    /// This minus `other`.
    pub fn minus(&self, other: &Field) -> Field {
        Field { width: self.width, data: self.data.iter().zip(&other.data).map(|(a, b)| a - b).collect() }
    }
}

/// A parameter on the host.
pub fn wide(params: &Params, name: &str) -> Result<Vec<f64>> {
    Ok(params.read(name)?.into_iter().map(f64::from).collect())
}

/// The arithmetic mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
