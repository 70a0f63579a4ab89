//! Ctrl-C and SIGTERM: the first ends the call cleanly, the second ends the program at once.

use crate::out::note;
use std::{future::pending, io};
use tokio::sync::watch;

/// The exit code after Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;
/// The exit code after SIGTERM.
#[cfg(unix)]
pub(crate) const TERMINATED: u8 = 143;

/// Whether the program was asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<u8>>);

impl Interrupt {
    /// Listens from now on, and says what a second signal does.
    pub(crate) fn listen() -> io::Result<Self> {
        Self::with(
            || note("ending the call; once more ends the program at once"),
            || {},
        )
    }

    /// Listens from now on, with something to do at the first signal, and before the second ends the program.
    pub(crate) fn with(
        first: impl FnOnce() + Send + 'static,
        second: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (asked, interrupt) = watch::channel(None);
        tokio::spawn(async move {
            let code = signals.next().await;
            first();
            asked.send_replace(Some(code));
            let code = signals.next().await;
            second();
            std::process::exit(code.into());
        });
        Ok(Self(interrupt))
    }

    /// The exit code that the program was asked to end with.
    pub(crate) fn code(&self) -> Option<u8> {
        *self.0.borrow()
    }

    /// Waits until the program is asked to end.
    pub(crate) async fn wait(&self) {
        let mut asked = self.0.clone();
        if asked.wait_for(Option::is_some).await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(unix)]
#[derive(Debug)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> u8 {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
        INTERRUPTED
    }
}
