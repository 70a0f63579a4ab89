//! Signaling that takes time.

use async_trait::async_trait;
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use visavis_core::{Error, ErrorKind, Result, Signal, Signaling};

/// Two ends of signaling on which every signal takes `delay`, so that offers can cross.
pub fn delayed(delay: Duration) -> (Delayed, Delayed) {
    let (to_b, from_a) = mpsc::unbounded_channel();
    let (to_a, from_b) = mpsc::unbounded_channel();
    let end = |to, from| Delayed {
        delay,
        to,
        from,
        next: None,
    };
    (end(to_b, from_b), end(to_a, from_a))
}

/// One end of [`delayed`].
#[derive(Debug)]
pub struct Delayed {
    delay: Duration,
    to: mpsc::UnboundedSender<(Instant, Signal)>,
    from: mpsc::UnboundedReceiver<(Instant, Signal)>,
    /// Arrived, but not yet due: kept here so that a dropped `recv` loses nothing.
    next: Option<(Instant, Signal)>,
}

#[async_trait]
impl Signaling for Delayed {
    async fn send(&mut self, signal: Signal) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Network, "signaling_send", "the other end is gone");
        self.to.send((Instant::now() + self.delay, signal)).map_err(gone)
    }

    async fn recv(&mut self) -> Result<Option<Signal>> {
        if self.next.is_none() {
            self.next = self.from.recv().await;
        }
        if let Some((due, _)) = &self.next {
            sleep_until(*due).await;
        }
        Ok(self.next.take().map(|(_, signal)| signal))
    }
}
