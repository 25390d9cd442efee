//! What happens between gradients and the next update.

pub mod schedule;
