//! Global gradient norm, clip factor and loss scale, as `ops::loss_scale`.

/// (norm, factor).
pub fn forward(gradient: &[f64], unscale: f64, clip: f64) -> (f64, f64) {
    let norm = unscale * gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    let ratio = clip / (norm + 1e-6);
    (norm, if clip > 0.0 && ratio < 1.0 { unscale * ratio } else { unscale })
}

/// fairseq's `DynamicLossScaler` with a factor of 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    pub scale: f64,
    pub window: i64,
    pub tolerance: f64,
    pub threshold: Option<f64>,
    tried: i64,
    overflowed: i64,
    rescaled: i64,
    overflows: i64,
}

impl Scaler {
    pub fn new(scale: f64, window: i64, tolerance: f64, threshold: Option<f64>) -> Scaler {
        Scaler { scale, window, tolerance, threshold, tried: 0, overflowed: -1, rescaled: -1, overflows: 0 }
    }

    /// After one update, which overflowed or did not.
    pub fn update(&mut self, overflow: bool) {
        if overflow {
            self.overflowed = self.tried;
            self.overflows += 1;
            if self.overflows as f64 / (self.tried - self.rescaled) as f64 >= self.tolerance {
                self.scale = (self.scale / 2.0).max(self.threshold.unwrap_or(0.0));
                self.rescaled = self.tried;
                self.overflows = 0;
            }
        } else if (self.tried - self.overflowed) % self.window == 0 {
            self.scale *= 2.0;
            self.rescaled = self.tried;
        }
        self.tried += 1;
    }
}
