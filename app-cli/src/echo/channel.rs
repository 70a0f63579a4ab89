//! One data channel's echo: each message that arrives is sent back.

use super::{caller::Counts, callers::count};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use visavis_core::{DataChannel, Message};

/// So many bytes are read ahead of what a caller has taken back, in all its channels; then nothing more is read, and
/// SCTP's window stops the caller. Where acknowledgements wait behind what is not read, as they do in a stack that is
/// told to pause, this is also what keeps the two directions from waiting for each other.
pub(super) const READ_AHEAD: usize = 16 * 1024 * 1024;

/// A caller who makes no room for so long reads nothing at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// The caller sends and sends, and does not take what comes back.
#[derive(Debug)]
pub(super) struct Stuck;

/// Sends back what arrives until the channel closes. `room` is what all channels of the caller share.
pub(super) async fn echo(channel: DataChannel, room: Arc<Semaphore>, counts: &Counts) -> Result<(), Stuck> {
    if channel.opened().await.is_err() {
        return Ok(());
    }
    let (ahead, mut waiting) = mpsc::unbounded_channel::<(Message, OwnedSemaphorePermit)>();
    let read = async {
        // Owned here, so that `send` sees the end.
        let ahead = ahead;
        while let Some(message) = channel.recv().await {
            // An empty message takes room as well.
            let size = u32::try_from(message.len() + 1).unwrap_or(u32::MAX);
            let room = timeout(PATIENCE, Arc::clone(&room).acquire_many_owned(size)).await;
            let Ok(Ok(permit)) = room else {
                return Err(Stuck);
            };
            let _ = ahead.send((message, permit));
        }
        Ok(())
    };
    let send = async {
        while let Some((message, _room)) = waiting.recv().await {
            let len = message.len() as u64;
            if let Err(error) = channel.send(message).await {
                tracing::debug!(channel = channel.label(), %error, "a message was not echoed");
                continue;
            }
            count(&counts.messages_echoed);
            counts.bytes_echoed.fetch_add(len, Ordering::Relaxed);
        }
        Ok(())
    };
    tokio::try_join!(read, send).map(|_| ())
}
