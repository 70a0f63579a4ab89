//! Sinks of pictures and sound: nothing, checks, files.

mod record;
pub(crate) mod speaker;
mod stats;
mod verify;
mod wav;

pub use record::{IvfRecorder, OggOpusRecorder};
pub use speaker::Speaker;
pub use stats::Summary;
pub use verify::{
    AudioLimits, AudioReport, AudioVerifier, Onset, Reports, SecondShown, Skew, SkewMeter, VideoLimits,
    VideoReport, VideoVerifier, skew,
};
pub use wav::WavSink;

use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSink, VideoFrame, VideoSink},
};

/// Takes pictures and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullVideo;

impl VideoSink for NullVideo {
    fn show(&mut self, _frame: &VideoFrame, _at: Instant) -> Result<()> {
        Ok(())
    }
}

/// Takes sound and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NullAudio;

impl AudioSink for NullAudio {
    fn play(&mut self, _frame: &AudioFrame, _at: Instant) -> Result<()> {
        Ok(())
    }
}
