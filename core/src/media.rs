//! Media: frames, sources, sinks and codecs. The traits only; implementations are in `visavis-media`.

use crate::Result;
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A video codec that WebRTC endpoints agree on (RFC 7742).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264, constrained baseline, packetization-mode 1 (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
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

/// A point on a track's own clock: ticks of an RTP clock rate, without its wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    /// Ticks since the track began.
    pub ticks: u64,
    /// Ticks a second: 90,000 for video, 48,000 for Opus.
    pub rate: u32,
}

impl MediaTime {
    /// The time since the track began.
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos((u128::from(self.ticks) * 1_000_000_000 / u128::from(self.rate.max(1))) as u64)
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

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Arc(bytes) => bytes,
        }
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
    /// When it was captured.
    pub captured: Instant,
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
    /// When its first sample was captured.
    pub captured: Instant,
}

/// An encoded picture or packet of sound.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// The bitstream.
    pub payload: Payload,
    /// Its time on the track's clock.
    pub media_time: MediaTime,
    /// Whether it can be decoded without an earlier one.
    pub keyframe: bool,
    /// When it was captured.
    pub captured: Instant,
}

/// Gives pictures on a steady clock: a pattern, a file, a camera.
pub trait VideoSource: Send {
    /// The next picture, or `None` at the end. May block: it is called off the async threads.
    fn next(&mut self) -> Result<Option<VideoFrame>>;
}

/// Gives sound: a tone, a file, a microphone.
pub trait AudioSource: Send {
    /// The next 20 ms, or `None` at the end. May block.
    fn next(&mut self) -> Result<Option<AudioFrame>>;
}

/// Takes pictures: a screen, a recording, a verifier.
pub trait VideoSink: Send {
    /// Shows a picture.
    fn show(&mut self, frame: &VideoFrame) -> Result<()>;
}

/// Takes sound.
pub trait AudioSink: Send {
    /// Plays sound.
    fn play(&mut self, frame: &AudioFrame) -> Result<()>;
}

/// Encodes pictures, latency first.
pub trait VideoEncoder: Send {
    /// Encodes a picture, as a keyframe if asked; `None` if the encoder skipped it.
    fn encode(&mut self, frame: &VideoFrame, keyframe: bool) -> Result<Option<EncodedFrame>>;

    /// Changes the target while running.
    fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<()>;
}

/// Decodes pictures. An error asks for a keyframe.
pub trait VideoDecoder: Send {
    /// Decodes a frame; `None` if there is no picture yet.
    fn decode(&mut self, frame: &EncodedFrame) -> Result<Option<VideoFrame>>;
}

/// Encodes sound.
pub trait AudioEncoder: Send {
    /// Encodes 20 ms.
    fn encode(&mut self, frame: &AudioFrame) -> Result<EncodedFrame>;
}

/// Decodes sound; `None` in place of a frame conceals its loss.
pub trait AudioDecoder: Send {
    /// Decodes 20 ms.
    fn decode(&mut self, frame: Option<&EncodedFrame>) -> Result<AudioFrame>;
}
