//! Where a device's time goes: one row per kernel and per shape of matrix product. Off unless asked for, since each
//! measurement waits for the device.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Device;
use crate::error::Result;

/// Calls and their milliseconds in all, by name.
#[derive(Default)]
pub(crate) struct Timing(Mutex<Option<HashMap<String, (u64, f64)>>>);

impl Timing {
    pub fn start(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(HashMap::new());
    }

    fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Runs `work` on `dev`, between two of its events if times are taken; they count under `name`.
    pub fn measure(
        &self,
        dev: &Device,
        name: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if !self.is_on() {
            return work();
        }
        dev.synchronize()?;
        let start = dev.event()?;
        work()?;
        let end = dev.event()?;
        let ms = f64::from(dev.elapsed_ms(&start, &end)?);
        if let Some(rows) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let row = rows.entry(name()).or_default();
            *row = (row.0 + 1, row.1 + ms);
        }
        Ok(())
    }

    /// (name, calls, milliseconds in all), the longest first; ends the taking of times.
    pub fn rows(&self) -> Vec<(String, u64, f64)> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let mut rows: Vec<_> = rows.into_iter().map(|(name, (calls, ms))| (name, calls, ms)).collect();
        rows.sort_by(|(a, _, x), (b, _, y)| y.total_cmp(x).then(a.cmp(b)));
        rows
    }

    /// A table, the longest first; none if times were not taken.
    pub fn table(&self) -> Option<String> {
        let rows = self.is_on().then(|| self.rows())?;
        let all: f64 = rows.iter().map(|(_, _, ms)| ms).sum();
        let mut text = format!("{:<44} {:>8} {:>12} {:>7}\n", "kernel", "calls", "ms per call", "share");
        for (name, calls, ms) in rows {
            let (per_call, share) = (ms / calls as f64, 100.0 * ms / all.max(1e-12));
            text.push_str(&format!("{name:<44} {calls:>8} {per_call:>12.3} {share:>6.1}%\n"));
        }
        Some(text)
    }
}
