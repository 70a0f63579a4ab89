//! Data channels: what the application holds ([`DataChannel`]) and what a stack holds ([`ChannelPort`]).
//!
//! Both ends are concrete and share one pair of bounded queues, so a message costs no boxed future. Reliable
//! data is never dropped: a full send queue makes [`DataChannel::send`] wait, and a full receive queue makes the
//! stack stop reading, so that SCTP's window slows the remote sender (W3C WebRTC §6, RFC 8831).

mod message;
mod port;

pub use message::{ChannelInit, ChannelState, ChannelStats, Message, Reliability};
pub use port::{ChannelPort, Flow};

use crate::{Error, ErrorKind, Result, Timeline, lock};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, watch};

/// The largest message either stack is asked to carry, in bytes (256 KiB, as Chromium).
pub const MAX_MESSAGE_SIZE: u32 = 256 * 1024;

/// [`DataChannel::send`] waits while this many bytes are buffered.
pub const SEND_HIGH_WATER: usize = 1024 * 1024;

/// The stack stops reading while this many bytes wait for [`DataChannel::recv`] …
pub const RECV_HIGH_WATER: usize = 1024 * 1024;

/// … and goes on when no more than this many are left.
pub const RECV_LOW_WATER: usize = 256 * 1024;

/// What the channels of one peer share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) timeline: Timeline,
    /// Tells the stack's driver that a channel has something to do.
    pub(crate) wake: Notify,
    /// The smaller of our limit and the remote peer's `a=max-message-size`, in bytes.
    pub(crate) max_message_size: AtomicU32,
    /// Channels that the remote peer opened and that are not closed.
    pub(crate) incoming: AtomicUsize,
}

impl Hub {
    pub(crate) fn new(timeline: Timeline) -> Self {
        Self {
            timeline,
            wake: Notify::new(),
            max_message_size: AtomicU32::new(MAX_MESSAGE_SIZE),
            incoming: AtomicUsize::new(0),
        }
    }
}

#[derive(Debug)]
struct Shared {
    init: ChannelInit,
    /// Whether the remote peer opened it.
    incoming: bool,
    hub: Arc<Hub>,
    queues: Mutex<Queues>,
    state: watch::Sender<ChannelState>,
    /// To the stack: there is something to send, to close, or room to receive.
    port: Notify,
    /// To the application: there is room to send.
    writable: Notify,
    /// To the application: there is something to receive, or there never will be.
    readable: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    id: Option<u16>,
    outgoing: VecDeque<Message>,
    outgoing_bytes: usize,
    in_stack: usize,
    incoming: VecDeque<Message>,
    incoming_bytes: usize,
    paused: bool,
    low_threshold: usize,
    stats: ChannelStats,
}

impl Queues {
    fn buffered(&self) -> usize {
        self.outgoing_bytes + self.in_stack
    }
}

impl Shared {
    fn wake_stack(&self) {
        self.port.notify_one();
        self.hub.wake.notify_one();
    }

    fn close(&self) {
        let was = self.state.send_replace(ChannelState::Closed);
        if was != ChannelState::Closed && self.incoming {
            self.hub.incoming.fetch_sub(1, Ordering::Relaxed);
        }
        let mut queues = lock(&self.queues);
        queues.stats.messages_dropped += queues.outgoing.len() as u64;
        queues.outgoing.clear();
        queues.outgoing_bytes = 0;
        queues.in_stack = 0;
        drop(queues);
        self.writable.notify_waiters();
        self.readable.notify_waiters();
        self.wake_stack();
    }
}

/// A bidirectional channel for messages (W3C `RTCDataChannel`). Clones are the same channel.
///
/// A channel lives until it is closed by either side or its peer connection is; dropping the last clone does not
/// close it.
#[derive(Debug, Clone)]
pub struct DataChannel(Arc<Shared>);

impl DataChannel {
    /// A channel's two ends. Core makes them; see [`EventSink::incoming_channel`](crate::EventSink::incoming_channel).
    pub(crate) fn new(init: ChannelInit, incoming: bool, hub: Arc<Hub>) -> (Self, ChannelPort) {
        let shared = Arc::new(Shared {
            init,
            incoming,
            hub,
            queues: Mutex::default(),
            state: watch::Sender::new(ChannelState::Connecting),
            port: Notify::new(),
            writable: Notify::new(),
            readable: Notify::new(),
        });
        (Self(Arc::clone(&shared)), ChannelPort(shared))
    }

    /// What the channel was asked to be.
    pub fn init(&self) -> &ChannelInit {
        &self.0.init
    }

    /// The label.
    pub fn label(&self) -> &str {
        &self.0.init.label
    }

    /// The SCTP stream id, once it is known.
    pub fn id(&self) -> Option<u16> {
        self.0.init.negotiated.or(lock(&self.0.queues).id)
    }

    /// The `readyState`.
    pub fn state(&self) -> ChannelState {
        *self.0.state.borrow()
    }

    /// Waits until the channel is open.
    ///
    /// # Errors
    ///
    /// [`Closed`](ErrorKind::Closed) if it closes first.
    pub async fn opened(&self) -> Result<()> {
        let mut state = self.0.state.subscribe();
        let state = state
            .wait_for(|s| *s != ChannelState::Connecting)
            .await
            .map(|s| *s);
        match state {
            Ok(ChannelState::Open) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Closed,
                "opened",
                "the data channel closed before it opened",
            )),
        }
    }

    /// Waits until the channel is closed.
    pub async fn closed(&self) {
        let _ = self
            .0
            .state
            .subscribe()
            .wait_for(|s| *s == ChannelState::Closed)
            .await;
    }

    /// Queues a message, waiting while [`SEND_HIGH_WATER`] bytes are buffered.
    ///
    /// Cancel safe: a dropped future has not sent its message.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](ErrorKind::InvalidState) unless the channel is open,
    /// [`MessageTooLarge`](ErrorKind::MessageTooLarge).
    pub async fn send(&self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        loop {
            let room = self.0.writable.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.admit("send", &message)? {
                self.push(message);
                return Ok(());
            }
            room.await;
        }
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`WouldBlock`](ErrorKind::WouldBlock) when the queue is full.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<()> {
        let message = message.into();
        if !self.admit("try_send", &message)? {
            return Err(Error::new(
                ErrorKind::WouldBlock,
                "try_send",
                format!(
                    "{} bytes are buffered already; wait for buffered_amount_low",
                    self.buffered_amount()
                ),
            ));
        }
        self.push(message);
        Ok(())
    }

    /// Whether there is room for `message`.
    fn admit(&self, operation: &'static str, message: &Message) -> Result<bool> {
        let state = self.state();
        if state != ChannelState::Open {
            return Err(Error::invalid_state(
                operation,
                state,
                "a data channel sends only while it is open",
            ));
        }
        let max = self.max_message_size();
        if message.len() > max as usize {
            return Err(Error::new(
                ErrorKind::MessageTooLarge,
                operation,
                format!(
                    "the message has {} bytes, at most {max} can be sent; split it",
                    message.len()
                ),
            ));
        }
        Ok(lock(&self.0.queues).buffered() < SEND_HIGH_WATER)
    }

    fn push(&self, message: Message) {
        let mut queues = lock(&self.0.queues);
        queues.stats.messages_sent += 1;
        queues.stats.bytes_sent += message.len() as u64;
        queues.outgoing_bytes += message.len();
        queues.outgoing.push_back(message);
        let first = queues.outgoing.len() == 1;
        drop(queues);
        if first {
            self.0.wake_stack();
        }
    }

    /// The next message; `None` once the channel is closed and all that arrived has been read.
    ///
    /// Cancel safe. With several readers each message goes to one of them.
    pub async fn recv(&self) -> Option<Message> {
        loop {
            let arrival = self.0.readable.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            if let Some(message) = self.try_recv() {
                return Some(message);
            }
            if self.state() == ChannelState::Closed {
                // A message may have come between the two looks.
                return self.try_recv();
            }
            arrival.await;
        }
    }

    /// The next message, if one has arrived.
    pub fn try_recv(&self) -> Option<Message> {
        let mut queues = lock(&self.0.queues);
        let message = queues.incoming.pop_front()?;
        queues.incoming_bytes -= message.len();
        let resume = queues.paused && queues.incoming_bytes <= RECV_LOW_WATER;
        if resume {
            queues.paused = false;
        }
        drop(queues);
        if resume {
            self.0.wake_stack();
        }
        Some(message)
    }

    /// Bytes accepted by [`send`](Self::send) and not yet known to have left (W3C `bufferedAmount`).
    pub fn buffered_amount(&self) -> usize {
        lock(&self.0.queues).buffered()
    }

    /// Sets what [`buffered_amount_low`](Self::buffered_amount_low) waits for. Default: 0 bytes.
    pub fn set_buffered_amount_low_threshold(&self, bytes: usize) {
        lock(&self.0.queues).low_threshold = bytes;
        self.0.writable.notify_waiters();
    }

    /// Waits until no more than the low threshold is buffered, or the channel is closed; at once if so already.
    pub async fn buffered_amount_low(&self) {
        loop {
            let room = self.0.writable.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let low = {
                let queues = lock(&self.0.queues);
                queues.buffered() <= queues.low_threshold
            };
            if low || self.state() == ChannelState::Closed {
                return;
            }
            room.await;
        }
    }

    /// The largest message that can be sent, in bytes: the smaller of [`MAX_MESSAGE_SIZE`] and what the remote
    /// description allows (RFC 8841 §6.1). A later description can lower it, not raise it.
    pub fn max_message_size(&self) -> u32 {
        self.0.hub.max_message_size.load(Ordering::Relaxed)
    }

    /// Closes the channel: what was sent before still goes out, then the stream is reset (RFC 8831 §6.7).
    /// [`closed`](Self::closed) waits for the end.
    pub fn close(&self) {
        self.0.state.send_if_modified(|state| {
            let closes = matches!(state, ChannelState::Connecting | ChannelState::Open);
            if closes {
                *state = ChannelState::Closing;
            }
            closes
        });
        self.0.writable.notify_waiters();
        self.0.wake_stack();
    }

    /// The channel's counts.
    pub fn stats(&self) -> ChannelStats {
        lock(&self.0.queues).stats
    }

    /// The peer connection ended under the channel.
    pub(crate) fn abort(&self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (DataChannel, ChannelPort) {
        let (channel, port) = DataChannel::new(
            ChannelInit::new("t"),
            false,
            Arc::new(Hub::new(Timeline::default())),
        );
        port.set_open(1);
        (channel, port)
    }

    #[tokio::test]
    async fn a_message_before_open_is_refused() {
        let (channel, _port) = DataChannel::new(
            ChannelInit::new("t"),
            false,
            Arc::new(Hub::new(Timeline::default())),
        );
        assert_eq!(
            channel.send("early").await.unwrap_err().kind(),
            ErrorKind::InvalidState
        );
        assert_eq!(channel.stats().messages_sent, 0);
    }

    #[tokio::test]
    async fn send_waits_for_the_stack() {
        let (channel, port) = open();
        let message = vec![0_u8; MAX_MESSAGE_SIZE as usize];
        while channel.try_send(message.clone()).is_ok() {}
        assert_eq!(channel.buffered_amount(), SEND_HIGH_WATER);
        let sender = tokio::spawn({
            let channel = channel.clone();
            async move { channel.send(message).await }
        });
        tokio::task::yield_now().await;
        assert!(!sender.is_finished());
        assert_eq!(port.pop_outgoing().unwrap().len(), MAX_MESSAGE_SIZE as usize);
        port.set_in_stack(0);
        sender.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_full_reader_pauses_the_stack_and_loses_nothing() {
        let (channel, port) = open();
        let mut sent = 0;
        while port.deliver(vec![0; 64 * 1024].into()) == Flow::Continue {
            sent += 1;
        }
        sent += 1;
        assert!(port.is_paused());
        port.set_closed();
        let mut received = 0;
        while channel.recv().await.is_some() {
            received += 1;
        }
        assert_eq!(sent, received);
        assert!(!port.is_paused());
    }

    #[tokio::test]
    async fn closing_counts_what_was_not_sent() {
        let (channel, port) = open();
        channel.try_send("a").unwrap();
        channel.try_send("b").unwrap();
        port.pop_outgoing().unwrap();
        port.set_closed();
        assert_eq!(channel.stats().messages_dropped, 1);
        assert_eq!(channel.buffered_amount(), 0);
        channel.buffered_amount_low().await;
        assert!(channel.send("c").await.is_err());
    }

    #[test]
    fn too_large_is_said_with_the_limit() {
        let (channel, _port) = open();
        let error = channel
            .try_send(vec![0; MAX_MESSAGE_SIZE as usize + 1])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::MessageTooLarge);
        assert!(error.to_string().contains("262144"), "{error}");
    }
}
