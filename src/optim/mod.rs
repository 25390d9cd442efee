//! What happens between gradients and the next update.

pub mod schedule;
pub mod updater;

pub use updater::{Moments, Settings, Updater};
