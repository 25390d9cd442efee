//! `omega profile`: Admin's profiling pass alone, as a table and as the original's file.

use super::setup::{Prepared, resolve};
use crate::checkpoint::expect_no_part_of_a_run;
use crate::cli::ProfileArgs;
use crate::config::Residual;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{expect_writable, print};

/// Runs the command: the ω that `omega train` with the same flags would start from, on stdout.
pub fn profile(args: &ProfileArgs) -> Result<()> {
    let config = resolve(args.data.as_ref(), args.config.as_deref(), &args.flags, None)?;
    if config.residual != Residual::Admin {
        return Err(Error::usage("profiling needs --residual admin: other schemes have no ω"));
    }
    if config.finetune_from_model.is_some() {
        return Err(Error::usage("--finetune-from-model takes ω from its checkpoint: nothing is profiled")
            .hint("`omega inspect` says what they are"));
    }
    if let Some(path) = &args.out {
        expect_no_part_of_a_run("out", path)?;
        expect_writable(path)?;
    }
    let prepared = Prepared::open(config)?;
    let (_, omegas) = prepared.initialise(&Device::open(prepared.config.device)?)?;
    if let Some(path) = &args.out {
        omegas.save(path)?;
    }
    print(&omegas.table()).map(drop)
}
