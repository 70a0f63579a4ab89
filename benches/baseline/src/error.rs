//! What can go wrong, and the deadlines that make everything end.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::timeout;

/// Every step of a call, and every frame or message, gets this long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library opens sockets of its own, and the network is not the machine's.
    #[error("{0} opens sockets of its own with its defaults, which a simulated network cannot carry")]
    Unsupported(&'static str),
    /// A step did not end in time.
    #[error("{0}: not done after {PATIENCE:?}")]
    Timeout(&'static str),
    /// Frames or messages stopped arriving.
    #[error("{step}: {arrived} of {count} arrived, and none for {PATIENCE:?}: one was lost, or is held back")]
    Lost {
        /// What was being done.
        step: &'static str,
        /// How many arrived.
        arrived: u64,
        /// How many were asked for.
        count: u64,
    },
    /// What arrived is not what was sent.
    #[error("{step}: number {number} is not what was sent: {what}")]
    Damaged {
        /// What was being done.
        step: &'static str,
        /// Which frame or message it was, from 0 on.
        number: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The library refused something.
    #[error("{step}: {source}")]
    Library {
        /// What was being done.
        step: &'static str,
        /// What the library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended early.
    #[error("{0}: the connection has ended")]
    Ended(&'static str),
}

/// Says which step failed.
pub(crate) trait At<T> {
    fn at(self, step: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> At<T> for Result<T, E> {
    fn at(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|e| Error::Library {
            step,
            source: e.into(),
        })
    }
}

/// Gives a step [`PATIENCE`].
pub(crate) async fn bounded<T>(
    step: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(PATIENCE, work).await.unwrap_or(Err(Error::Timeout(step)))
}

/// Gives work that counts its progress [`PATIENCE`] for each of `count`.
pub(crate) async fn watched<T>(
    step: &'static str,
    progress: &AtomicU64,
    count: u64,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    let mut before = progress.load(Relaxed);
    let first = before;
    loop {
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            return done;
        }
        let now = progress.load(Relaxed);
        if now == before {
            let arrived = now - first;
            return Err(Error::Lost { step, arrived, count });
        }
        before = now;
    }
}
