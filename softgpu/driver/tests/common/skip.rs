//! Tests that cannot be run here.

use std::fmt::Display;
use std::io::Write;

/// Says that the test is skipped, and why. Written past `eprintln!`: libtest keeps that to itself when a test passes, as a
/// skipped one does.
pub fn skipped(why: impl Display) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
