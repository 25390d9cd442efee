//! Where a device's time goes: one row per kernel and per shape of matrix product. Off unless asked for, since each
//! measurement waits for the device.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;

/// Calls and their time, by name.
#[derive(Default)]
pub(crate) struct Timing(Mutex<Option<HashMap<String, (u64, Duration)>>>);

impl Timing {
    pub fn start(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(HashMap::new());
    }

    fn is_on(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Runs `work`, and `wait` after it if times are taken; they count under `name`.
    pub fn measure(
        &self,
        name: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<()>,
        wait: impl Fn() -> Result<()>,
    ) -> Result<()> {
        if !self.is_on() {
            return work();
        }
        wait()?;
        let began = Instant::now();
        work()?;
        wait()?;
        let spent = began.elapsed();
        if let Some(rows) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let row = rows.entry(name()).or_default();
            *row = (row.0 + 1, row.1 + spent);
        }
        Ok(())
    }

    /// A table, the longest first; none if times were not taken.
    pub fn table(&self) -> Option<String> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut rows: Vec<(String, (u64, Duration))> = rows.into_iter().collect();
        rows.sort_by(|(a, (_, x)), (b, (_, y))| y.cmp(x).then(a.cmp(b)));
        let all: f64 = rows.iter().map(|(_, (_, time))| time.as_secs_f64()).sum();
        let mut text = format!("{:<44} {:>8} {:>12} {:>7}\n", "kernel", "calls", "ms per call", "share");
        for (name, (calls, time)) in rows {
            let seconds = time.as_secs_f64();
            let (per_call, share) = (1e3 * seconds / calls as f64, 100.0 * seconds / all.max(1e-12));
            text.push_str(&format!("{name:<44} {calls:>8} {per_call:>12.3} {share:>6.1}%\n"));
        }
        Some(text)
    }
}
