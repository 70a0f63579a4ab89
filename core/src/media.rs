//! Media: codecs, pictures, sound, and the traits of sources, sinks and codecs.
//!
//! The implementations are in `visavis-media`. What travels between them and a peer connection is in
//! [`track`](crate::track).

use crate::{MediaKind, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use tokio::time::Instant;

/// A codec that WebRTC endpoints agree on (RFC 7742, RFC 7874).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264, constrained baseline, packetization-mode 1 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9, profile 0 (RFC 9628).
    Vp9,
    /// Opus at 48 kHz (RFC 7587).
    Opus,
}

impl Codec {
    /// All of them, in visavis's order of preference.
    pub const ALL: [Self; 4] = [Self::H264, Self::Vp8, Self::Vp9, Self::Opus];

    /// Audio or video.
    pub fn kind(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    /// Ticks a second of its RTP timestamps.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// The encoding name of its `a=rtpmap` (compared without case).
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Opus => "opus",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|c| c.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            crate::Error::invalid_input("codec", format!("`{name}` is not h264, vp8, vp9 or opus"))
        })
    }
}

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitrate(u64);

impl Bitrate {
    /// From bits a second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// In bits a second.
    pub const fn bps(self) -> u64 {
        self.0
    }
}

/// A point on a track's own clock: RTP timestamp ticks (RFC 3550 §5.1) without their wrap.
///
/// The low 32 bits are the timestamp on the wire. A sender starts anywhere; a receiver counts on from the first
/// timestamp that it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    /// Ticks.
    pub ticks: u64,
    /// Ticks a second: 90,000 for video, 48,000 for Opus.
    pub rate: u32,
}

impl MediaTime {
    /// `time` after `first` ticks, rounded to the nearest tick.
    pub fn after(first: u64, time: Duration, rate: u32) -> Self {
        let ticks = (time.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
        Self {
            ticks: first.wrapping_add(ticks as u64),
            rate,
        }
    }

    /// The time since `first` ticks; zero if it is earlier.
    pub fn since(self, first: u64) -> Duration {
        let ticks = u128::from(self.ticks.saturating_sub(first));
        Duration::from_nanos((ticks * 1_000_000_000 / u128::from(self.rate.max(1))) as u64)
    }
}

/// Encoded bytes in either stack's own shared buffer, so that neither pays for a copy.
#[derive(Debug, Clone)]
pub enum Payload {
    /// webrtc-rs's.
    Bytes(Bytes),
    /// str0m's.
    Arc(Arc<[u8]>),
}

impl Payload {
    /// As `Bytes`, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Arc(bytes) => Bytes::from_owner(bytes),
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Arc(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// A picture in I420 (8 bits, 4:2:0), three planes with strides in bytes.
#[derive(Debug, Clone)]
pub struct VideoFrame {
    /// Width in pixels; the chroma planes have half, rounded up.
    pub width: usize,
    /// Height in pixels; the chroma planes have half, rounded up.
    pub height: usize,
    /// Y, U and V.
    pub planes: [Bytes; 3],
    /// Bytes from one row to the next, for Y, U and V.
    pub strides: [usize; 3],
    /// When it was captured, on the clock of what gave it: time since the source began.
    pub time: Duration,
}

/// Sound: interleaved samples from −1 to 1.
#[derive(Debug, Clone)]
pub struct AudioFrame {
    /// Samples of all channels, interleaved.
    pub samples: Vec<f32>,
    /// Samples a second and channel.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// When its first sample was captured, on the clock of what gave it: time since the source began.
    pub time: Duration,
}

/// An encoded picture or packet of sound, as a codec gives it.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Which codec's it is.
    pub codec: Codec,
    /// The bitstream: Annex B for H.264, a frame for VP8 and VP9, a packet for Opus.
    pub payload: Payload,
    /// Whether it can be decoded without an earlier one. Always for sound.
    pub keyframe: bool,
    /// The time of the picture, or of the first sample.
    pub time: Duration,
}

/// Gives pictures: a pattern, a file, a camera.
pub trait VideoSource: Send {
    /// Width and height in pixels of the pictures to come.
    fn size(&self) -> (usize, usize);

    /// The nominal time from one picture to the next.
    fn interval(&self) -> Duration;

    /// Whether [`next`](Self::next) waits for a device. Otherwise it returns at once, and whoever calls it keeps
    /// the pace that the frames' times set.
    fn is_live(&self) -> bool {
        false
    }

    /// Times count from here. A live source that was opened earlier starts its clock.
    fn start(&mut self, epoch: Instant) {
        let _ = epoch;
    }

    /// The next picture, or `None` at the end. Called off the async threads.
    fn next(&mut self) -> Result<Option<VideoFrame>>;
}

/// Gives sound: a tone, a file, a microphone.
pub trait AudioSource: Send {
    /// Whether [`next`](Self::next) waits for a device; see [`VideoSource::is_live`].
    fn is_live(&self) -> bool {
        false
    }

    /// Times count from here; see [`VideoSource::start`].
    fn start(&mut self, epoch: Instant) {
        let _ = epoch;
    }

    /// The next 20 ms at 48 kHz, or `None` at the end. Called off the async threads.
    fn next(&mut self) -> Result<Option<AudioFrame>>;
}

/// Takes pictures: a screen, a recording, a verifier.
pub trait VideoSink: Send {
    /// Shows a picture at `at`, which is now or a moment ago.
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()>;

    /// Nothing more will come: writes what is left, and says what could not be written.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Takes sound.
pub trait AudioSink: Send {
    /// Plays sound, the first sample at `at`, which is now or a moment ago.
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()>;

    /// Nothing more will come; see [`VideoSink::finish`].
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Encodes pictures, latency first: a picture in, its bitstream out, no lookahead.
pub trait VideoEncoder: Send {
    /// Which codec it is.
    fn codec(&self) -> Codec;

    /// Encodes a picture, as a keyframe if asked or if its size is new; `None` if the encoder skipped it.
    fn encode(&mut self, frame: &VideoFrame, keyframe: bool) -> Result<Option<EncodedFrame>>;

    /// Changes the target while running.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()>;

    /// Changes the frame rate that the bitrate is spread over, in frames a second.
    fn set_frame_rate(&mut self, fps: f32) -> Result<()>;
}

/// Decodes pictures.
pub trait VideoDecoder: Send {
    /// Decodes a bitstream as [`EncodedFrame::payload`] has it; the picture gets `time`. `None` if there is no
    /// picture yet.
    ///
    /// # Errors
    ///
    /// [`Media`](crate::ErrorKind::Media) when it cannot be decoded: go on with the next keyframe, and ask for one.
    fn decode(&mut self, bitstream: &[u8], time: Duration) -> Result<Option<VideoFrame>>;
}

/// Encodes sound.
pub trait AudioEncoder: Send {
    /// Encodes 20 ms at 48 kHz.
    fn encode(&mut self, frame: &AudioFrame) -> Result<EncodedFrame>;
}

/// Decodes sound.
pub trait AudioDecoder: Send {
    /// Decodes a packet to 48 kHz; `None` in place of a packet conceals 20 ms that are lost.
    fn decode(&mut self, packet: Option<&[u8]>, time: Duration) -> Result<AudioFrame>;
}
