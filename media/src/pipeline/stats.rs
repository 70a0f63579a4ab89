//! What the pipelines count.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;
use visavis_core::{Bitrate, Codec};

/// How long something took, over a whole call, in bounded memory.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u32>);

impl Default for Latency {
    fn default() -> Self {
        // Microseconds, to within 0.1 %.
        let histogram = Histogram::new_with_bounds(1, 60_000_000, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("the bounds are constants, and good ones")))
    }
}

impl Latency {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_micros() as u64);
    }

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantile `q` from 0 to 1; `None` if nothing was measured.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.value_at_quantile(q)))
    }

    /// The longest; `None` if nothing was measured.
    pub fn max(&self) -> Option<Duration> {
        (!self.0.is_empty()).then(|| Duration::from_micros(self.0.max()))
    }
}

/// What a [`VideoSender`](super::VideoSender) counts. `captured = encoded + late + idle + skipped`, but for the one
/// in the encoder.
#[derive(Debug, Clone, Default)]
pub struct VideoSendStats {
    /// The codec in use.
    pub codec: Option<Codec>,
    /// Pictures that the source gave.
    pub captured: u64,
    /// Of these, pictures that a newer one replaced before the encoder took them.
    pub late: u64,
    /// Pictures that came while there was nobody to send to.
    pub idle: u64,
    /// Pictures that the encoder left out.
    pub skipped: u64,
    /// Frames that the encoder gave.
    pub encoded: u64,
    /// Of these, frames that the track took.
    pub sent: u64,
    /// Of these, keyframes.
    pub keyframes: u64,
    /// Bytes that the track took.
    pub bytes: u64,
    /// What the encoder aims at now: what was set, or less if the network carries less.
    pub target: Option<Bitrate>,
    /// How long encoding took.
    pub encoding: Latency,
}

/// What an [`AudioSender`](super::AudioSender) counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct AudioSendStats {
    /// Frames of 20 ms that the source gave.
    pub captured: u64,
    /// Frames that came while there was nobody to send to.
    pub idle: u64,
    /// Packets that the track took.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a [`VideoReceiver`](super::VideoReceiver) counts. `received = decoded + undecodable + failed`, but for the
/// one in the decoder and pictures that a decoder holds back.
#[derive(Debug, Clone, Default)]
pub struct VideoReceiveStats {
    /// The codec of the last frame.
    pub codec: Option<Codec>,
    /// Frames that arrived.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that were not decoded because one before them is missing: a keyframe was asked for.
    pub undecodable: u64,
    /// Frames that the decoder refused.
    pub failed: u64,
    /// Pictures that the decoder gave.
    pub decoded: u64,
    /// Of these, pictures that the sink was too slow for.
    pub late: u64,
    /// Width and height of the last picture, in pixels.
    pub size: Option<(usize, usize)>,
    /// From capture to the end of decoding, where the sender's clock is known.
    pub capture_to_decode: Latency,
    /// The same of the last picture.
    pub last_capture_to_decode: Option<Duration>,
    /// How long decoding took.
    pub decoding: Latency,
}

/// What an [`AudioReceiver`](super::AudioReceiver) counts.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct AudioReceiveStats {
    /// Packets that arrived.
    pub received: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that the decoder refused.
    pub failed: u64,
    /// Packets that were decoded.
    pub decoded: u64,
    /// Gaps of 20 ms that were concealed.
    pub concealed: u64,
}
