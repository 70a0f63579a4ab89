//! One visit: one arm's turn in one block, in a process of its own.

use crate::{
    lab::Lab,
    outcome::{Outcome, processor_time},
    scenario,
    work::{Network, Visit, Work},
};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// How many threads a visit's runtime has.
pub const WORKERS: usize = 2;

/// Does what the visit asks for, on a runtime of its own. What goes wrong is part of the outcome.
pub fn run(lab: &Lab, visit: &Visit) -> Outcome {
    let simulated = matches!(
        visit.work,
        Work::Handshake {
            network: Network::Simulated(_),
            ..
        }
    );
    let runtime = match runtime(simulated) {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::failed(format!("no Tokio runtime: {error}")),
    };
    let mut outcome = Outcome::default();
    if let Err(reason) = runtime.block_on(scenario::run(lab, visit, &mut outcome)) {
        outcome.failures.push(reason);
    }
    // What a peer's last task still does is no part of the result.
    runtime.shutdown_background();
    outcome.cpu = processor_time().as_secs_f64();
    outcome
}

/// A runtime as every scenario has it: [`WORKERS`] threads, or one and virtual time.
///
/// # Errors
///
/// When the system has no thread or descriptor left.
pub fn runtime(virtual_time: bool) -> io::Result<Runtime> {
    if virtual_time {
        return Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
    }
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
}
