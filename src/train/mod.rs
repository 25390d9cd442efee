//! `omega train`: batches → forward → loss → backward → update, validated and saved on the way, until the last update.
//!
//! Everything that decides the next update is in the checkpoint (parameters, moments, counters), so that a run that was
//! stopped anywhere and resumed writes the same final bytes as one that was not.

mod dry_run;
mod interrupt;
mod lock;
mod log;
mod overflow;
mod profile;
mod run;
pub(crate) mod setup;
mod start;
mod stats;
mod tensorboard;
mod validate;

use crate::cli::TrainArgs;
use crate::error::{Error, Result};

pub use profile::profile;
pub use run::micro_batch;

/// Runs the command.
pub fn train(args: &TrainArgs) -> Result<()> {
    if args.dry_run {
        return dry_run::dry_run(args);
    }
    let stopped = interrupt::watch()?;
    let mut run = setup::open(args)?;
    if run.done() {
        let (updates, limit) = (run.state.update, run.limit());
        run.say(&format!("nothing left to do: {updates} updates are done, and {limit} is reached"));
        return Ok(());
    }
    if args.kernel_times {
        run.dev().take_times();
    }
    while !run.done() {
        if stopped() {
            run.save_last()?;
            run.say(&format!(
                "stopped and saved after update {}; the same command goes on from here",
                run.state.update
            ));
            return Err(Error::interrupted());
        }
        if run.validation_due() {
            if let Some(times) = run.dev().times() {
                run.say(times.trim_end()); // of training alone
            }
            run.validate()?;
            continue;
        }
        if run.epoch_save_due() {
            run.save_epoch()?;
            continue;
        }
        run.update()?;
        if run.log_due() {
            run.log()?;
        }
        if run.save_due() {
            run.save_interval()?;
        }
    }
    run.say_end();
    Ok(())
}
