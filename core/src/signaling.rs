//! What carries descriptions and candidates between two peers.

use crate::{Candidate, Error, ErrorKind, Result, SessionDescription};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// What peers tell each other before they are connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// An offer or an answer.
    Description(SessionDescription),
    /// A trickled candidate, or the end of candidates.
    Candidate(Candidate),
    /// The peer hangs up.
    Bye,
}

/// A two-way, ordered way to one remote peer.
#[async_trait]
pub trait Signaling: Send {
    /// Sends a signal; it arrives after those sent before.
    async fn send(&mut self, signal: Signal) -> Result<()>;

    /// The next signal, or `None` when the remote peer is gone. Must be cancel safe: a future that is dropped
    /// while it waits loses nothing.
    async fn recv(&mut self) -> Result<Option<Signal>>;
}

/// Signaling between two peers in one process, as on the page of the classic demo.
pub fn in_memory() -> (InMemory, InMemory) {
    let (to_b, from_a) = mpsc::channel(CAPACITY);
    let (to_a, from_b) = mpsc::channel(CAPACITY);
    (
        InMemory {
            to: to_b,
            from: from_b,
        },
        InMemory {
            to: to_a,
            from: from_a,
        },
    )
}

/// Signals on their way; more make the sender wait. An exchange has fewer than the 64 candidates a side may send.
const CAPACITY: usize = 256;

/// One end of [`in_memory`].
#[derive(Debug)]
pub struct InMemory {
    to: mpsc::Sender<Signal>,
    from: mpsc::Receiver<Signal>,
}

#[async_trait]
impl Signaling for InMemory {
    async fn send(&mut self, signal: Signal) -> Result<()> {
        let gone = |_| {
            Error::new(
                ErrorKind::Network,
                "signaling_send",
                "the other end of the signaling is gone",
            )
        };
        self.to.send(signal).await.map_err(gone)
    }

    async fn recv(&mut self) -> Result<Option<Signal>> {
        Ok(self.from.recv().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_arrive_in_order_and_then_the_end() {
        let (mut a, mut b) = in_memory();
        a.send(Signal::Description(SessionDescription::offer("v=0")))
            .await
            .unwrap();
        a.send(Signal::Bye).await.unwrap();
        drop(a);
        assert!(matches!(b.recv().await, Ok(Some(Signal::Description(_)))));
        assert_eq!(b.recv().await.unwrap(), Some(Signal::Bye));
        assert_eq!(b.recv().await.unwrap(), None);
        assert_eq!(b.send(Signal::Bye).await.unwrap_err().kind(), ErrorKind::Network);
    }
}
