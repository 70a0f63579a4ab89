//! Figures of a running way that cost nothing to look at.

use std::time::Duration;
use visavis_core::Bitrate;

/// What one side has sent and the other one got, up to now. Copied from counters: a terminal may ask for each picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveFigures {
    /// Pictures that the source gave.
    pub captured: u64,
    /// Frames that the stack took.
    pub sent: u64,
    /// Frames that arrived complete.
    pub received: u64,
    /// Pictures that were decoded.
    pub decoded: u64,
    /// Bytes of the frames sent, without headers.
    pub bytes_sent: u64,
    /// Keyframes that were sent.
    pub keyframes: u64,
    /// What the encoder of the pictures aims at: what was set, or less if the network carries less.
    pub target: Option<Bitrate>,
    /// How old the last picture was when it was decoded.
    pub capture_to_decode: Option<Duration>,
    /// Packets of sound that the stack took.
    pub packets_sent: u64,
    /// Packets of sound that arrived.
    pub packets_received: u64,
    /// Packets of sound that were sent and have not arrived, those on their way included.
    pub packets_lost: u64,
    /// Gaps of 20 ms in the sound that were concealed.
    pub concealed: u64,
    /// Bytes of the packets of sound sent, without headers.
    pub audio_bytes_sent: u64,
}
