//! Speakers.

#[cfg(feature = "audio-device")]
#[path = "speaker/device.rs"]
mod device;
#[cfg(not(feature = "audio-device"))]
#[path = "speaker/missing.rs"]
mod device;

use device::Device;
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSink},
};

/// A speaker, if the build has the feature `audio-device`. It is free again when this is dropped.
///
/// It keeps 40 ms in reserve, and so plays that much late, and gives silence when it runs dry. When the sender's clock
/// is faster than the speaker's, what is more than 200 ms too early is dropped.
#[derive(Debug)]
pub struct Speaker(Device);

impl Speaker {
    /// Opens the speaker of that name (see [`speakers`](crate::devices::speakers)), or the default one.
    ///
    /// # Errors
    ///
    /// As for [`Microphone::open`](crate::source::Microphone::open).
    pub fn open(name: Option<&str>) -> Result<Self> {
        Device::open(name).map(Self)
    }

    /// What the speaker calls itself, and its format.
    pub fn description(&self) -> String {
        self.0.description()
    }

    /// Samples that were dropped because they came too fast.
    pub fn overrun(&self) -> u64 {
        self.0.overrun()
    }

    /// Samples of silence that were played because nothing came in time.
    pub fn underrun(&self) -> u64 {
        self.0.underrun()
    }
}

impl AudioSink for Speaker {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        let _ = at;
        self.0.play(frame)
    }

    fn finish(&mut self) -> Result<()> {
        self.0.finish()
    }
}
