//! What softgpu cannot load yet of the corpus. A kernel that loads must leave this table, which is to become empty.

/// File and kernel, and the first thing that is missing.
pub const NOT_YET: &[(&str, &str)] = &[];
