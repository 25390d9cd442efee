//! `omega selftest`: every kernel in every type against its f64 reference, and a whole model, on the chosen device. What
//! the owner of a GPU runs first.

mod model;

use std::fmt::Write as _;

use crate::bench::nearest_figures;
use crate::cli::SelftestArgs;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::print;
use crate::tensor::DType;

/// One check: a figure and its bound, or a yes or no.
pub struct Row {
    what: String,
    dtype: DType,
    /// Error and bound; none for a yes or no.
    figure: Option<(f64, f64)>,
    good: bool,
}

impl Row {
    /// Good if `error` is at most `bound`.
    pub fn of(what: impl Into<String>, dtype: DType, error: f64, bound: f64) -> Row {
        Row { what: what.into(), dtype, figure: Some((error, bound)), good: error <= bound }
    }

    pub fn yes(what: impl Into<String>, dtype: DType, good: bool) -> Row {
        Row { what: what.into(), dtype, figure: None, good }
    }

    fn line(&self) -> String {
        let figure = self.figure.map_or_else(
            || format!("{:>10} {:>10}", if self.good { "yes" } else { "no" }, ""),
            |(error, bound)| format!("{error:>10.1e} {bound:>10.1e}"),
        );
        let verdict = if self.good { "ok" } else { "FAILED" };
        format!("{:<62} {:<5} {figure}  {verdict}", self.what, self.dtype.suffix())
    }
}

/// All checks of a run, each printed as it is made.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }
}

/// Runs the command: the table on stdout, a verdict as its last line; an error if anything failed.
pub fn selftest(args: &SelftestArgs) -> Result<()> {
    let dev = Device::open(args.device)?;
    let mut table = Table::default();
    for (dtype, figure) in nearest_figures(&dev)? {
        table.push(Row::of(figure.name, dtype, figure.error, figure.bound));
    }
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        model::rows(&dev, dtype, &mut table)?;
    }
    let mut text = format!("{:<62} {:<5} {:>10} {:>10}\n", "check", "type", "error", "bound");
    for row in &table.rows {
        let _ = writeln!(text, "{}", row.line());
    }
    let failed = table.rows.iter().filter(|row| !row.good).count();
    let _ = match failed {
        0 => writeln!(text, "{}: all {} checks passed", dev.name(), table.rows.len()),
        _ => writeln!(text, "{}: {failed} of {} checks FAILED", dev.name(), table.rows.len()),
    };
    print(&text)?;
    match failed {
        0 => Ok(()),
        _ => Err(Error::device(format!("{failed} checks failed on {}", dev.name()))
            .hint("results of this device cannot be trusted; please report the table above")),
    }
}
