//! Data channels: what the application holds ([`DataChannel`]) and what a stack holds ([`ChannelPort`]).
//!
//! Both ends are concrete and share one pair of bounded queues, so a message costs no boxed future. Reliable
//! data is never dropped: a full send queue makes [`DataChannel::send`] wait, and a full receive queue makes the
//! stack stop reading, so that SCTP's window slows the remote sender (W3C WebRTC §6, RFC 8831).

use crate::{Error, ErrorKind, Mark, Result, Timeline, lock};
use bytes::Bytes;
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
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

/// How a channel treats loss (RFC 8832 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Retransmitted until it arrives.
    #[default]
    Reliable,
    /// Given up after this many retransmissions.
    MaxRetransmits(u16),
    /// Given up after this time; milliseconds on the wire, at most 65,535.
    MaxPacketLifeTime(Duration),
}

/// What a data channel is to be (W3C `RTCDataChannelInit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInit {
    /// A name for the application; at most 65,535 bytes.
    pub label: String,
    /// A sub-protocol; at most 65,535 bytes.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent. Default: yes.
    pub ordered: bool,
    /// What is done about loss. Default: retransmit until it arrives.
    pub reliability: Reliability,
    /// The SCTP stream id both applications agreed on, from 0 to 65,534. Default: none, the channel is announced
    /// in-band by DCEP (RFC 8832).
    pub negotiated: Option<u16>,
}

impl ChannelInit {
    /// A reliable, ordered channel, announced in-band.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            negotiated: None,
        }
    }

    /// The same with messages in any order.
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// The same giving up after `n` retransmissions.
    pub fn max_retransmits(mut self, n: u16) -> Self {
        self.reliability = Reliability::MaxRetransmits(n);
        self
    }

    /// The same giving up after `time`.
    pub fn max_packet_life_time(mut self, time: Duration) -> Self {
        self.reliability = Reliability::MaxPacketLifeTime(time);
        self
    }

    /// The same with a stream id agreed on by both applications; each creates its own end.
    pub fn negotiated(mut self, id: u16) -> Self {
        self.negotiated = Some(id);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: &str| Err(Error::invalid_input("create_data_channel", what));
        if self.label.len() > 65_535 || self.protocol.len() > 65_535 {
            return bad("label and protocol are at most 65,535 bytes (RFC 8832 §5.1)");
        }
        if self.negotiated == Some(65_535) {
            return bad("stream id 65535 is reserved (RFC 8832 §6)");
        }
        if let Reliability::MaxPacketLifeTime(time) = self.reliability
            && (time.as_millis() > 65_535 || time.is_zero())
        {
            return bad("max_packet_life_time is 1 to 65,535 ms");
        }
        Ok(())
    }
}

/// A message: text or binary, kept apart end to end.
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text. Bytes from the remote peer that are not UTF-8 arrive with U+FFFD in their place.
    Text(String),
    /// Bytes, shared, not copied.
    Binary(Bytes),
}

impl Message {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Its text, if it is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// A text message from bytes of the network.
    pub fn text_lossy(bytes: Vec<u8>) -> Self {
        Self::Text(
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        )
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.len() <= 64 => write!(f, "Text({text:?})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A data channel's `readyState` (W3C `RTCDataChannelState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Not yet usable.
    Connecting,
    /// Messages go both ways.
    Open,
    /// `close` was called; what was sent before it still goes out.
    Closing,
    /// No more messages either way.
    Closed,
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}

/// Counts of one channel. `sent = received by the peer + dropped` holds once a reliable channel has drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ChannelStats {
    /// Messages accepted by `send` and `try_send`.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that arrived, read by the application or not yet.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages accepted but still queued when the channel closed.
    pub messages_dropped: u64,
}

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
    /// description allows (RFC 8841 §6.1).
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

/// Whether the stack may go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// There is room.
    Continue,
    /// Stop delivering to this channel until [`ChannelPort::is_paused`] is false again.
    Pause,
}

/// A stack's end of a data channel. Clones are the same end.
#[derive(Debug, Clone)]
pub struct ChannelPort(Arc<Shared>);

impl ChannelPort {
    /// What the channel is to be.
    pub fn init(&self) -> &ChannelInit {
        &self.0.init
    }

    /// The channel is open on SCTP stream `id`.
    pub fn set_open(&self, id: u16) {
        lock(&self.0.queues).id = Some(id);
        self.0.state.send_if_modified(|state| {
            let opens = *state == ChannelState::Connecting;
            if opens {
                *state = ChannelState::Open;
            }
            opens
        });
        self.0.hub.timeline.mark(Mark::ChannelOpen);
    }

    /// The channel is closed; what could not be sent is counted as dropped.
    pub fn set_closed(&self) {
        self.0.close();
    }

    /// Takes the next message to hand to the stack; its bytes count as buffered in the stack until
    /// [`set_in_stack`](Self::set_in_stack) says that they have left.
    pub fn pop_outgoing(&self) -> Option<Message> {
        if matches!(
            *self.0.state.borrow(),
            ChannelState::Connecting | ChannelState::Closed
        ) {
            return None;
        }
        let mut queues = lock(&self.0.queues);
        let message = queues.outgoing.pop_front()?;
        queues.outgoing_bytes -= message.len();
        queues.in_stack += message.len();
        Some(message)
    }

    /// Puts a message back that the stack did not take.
    pub fn unpop(&self, message: Message) {
        let mut queues = lock(&self.0.queues);
        queues.in_stack = queues.in_stack.saturating_sub(message.len());
        queues.outgoing_bytes += message.len();
        queues.outgoing.push_front(message);
    }

    /// The length of the next message to send.
    pub fn next_len(&self) -> Option<usize> {
        lock(&self.0.queues).outgoing.front().map(Message::len)
    }

    /// How many bytes the stack still holds; wakes senders that wait for room.
    pub fn set_in_stack(&self, bytes: usize) {
        let mut queues = lock(&self.0.queues);
        let before = queues.buffered();
        queues.in_stack = bytes;
        let after = queues.buffered();
        let low = before > queues.low_threshold && after <= queues.low_threshold;
        drop(queues);
        if low || (before >= SEND_HIGH_WATER && after < SEND_HIGH_WATER) {
            self.0.writable.notify_waiters();
        }
    }

    /// Bytes handed to the stack and not yet released.
    pub fn in_stack(&self) -> usize {
        lock(&self.0.queues).in_stack
    }

    /// A message arrived. It is kept whatever the answer; [`Flow::Pause`] asks for no more until there is room.
    pub fn deliver(&self, message: Message) -> Flow {
        let mut queues = lock(&self.0.queues);
        queues.stats.messages_received += 1;
        queues.stats.bytes_received += message.len() as u64;
        queues.incoming_bytes += message.len();
        queues.incoming.push_back(message);
        if queues.incoming_bytes >= RECV_HIGH_WATER {
            queues.paused = true;
        }
        let paused = queues.paused;
        drop(queues);
        self.0.readable.notify_waiters();
        if paused { Flow::Pause } else { Flow::Continue }
    }

    /// Whether the application is behind.
    pub fn is_paused(&self) -> bool {
        lock(&self.0.queues).paused
    }

    /// Whether the application closed the channel and all that it sent has been taken.
    pub fn wants_close(&self) -> bool {
        *self.0.state.borrow() == ChannelState::Closing && lock(&self.0.queues).outgoing.is_empty()
    }

    /// The channel's state.
    pub fn state(&self) -> ChannelState {
        *self.0.state.borrow()
    }

    /// Waits until there may be something to send, to close, or room to receive. For a stack with a task a
    /// channel; one with a task a peer awaits [`EventSink::woken`](crate::EventSink::woken).
    pub async fn woken(&self) {
        self.0.port.notified().await;
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
