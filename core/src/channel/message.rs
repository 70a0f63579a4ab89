//! What a data channel is, what it carries and what it counts.

use crate::{Error, Result};
use bytes::Bytes;
use serde::Serialize;
use std::{fmt, time::Duration};

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
