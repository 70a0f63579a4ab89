//! Microphones.

#[cfg(feature = "audio-device")]
#[path = "microphone/device.rs"]
mod device;
#[cfg(not(feature = "audio-device"))]
#[path = "microphone/missing.rs"]
mod device;

use device::Device;
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSource},
};

/// A microphone, if the build has the feature `audio-device`. It is free again when this is dropped.
#[derive(Debug)]
pub struct Microphone(Device);

impl Microphone {
    /// Opens the microphone of that name (see [`microphones`](crate::devices::microphones)), or the default one, and
    /// waits for its first sound.
    ///
    /// # Errors
    ///
    /// [`NotFound`](visavis_core::ErrorKind::NotFound) if there is no such microphone,
    /// [`NotAllowed`](visavis_core::ErrorKind::NotAllowed) if it may not be used,
    /// [`NotReadable`](visavis_core::ErrorKind::NotReadable) if it is busy or gives nothing, and
    /// [`NotSupported`](visavis_core::ErrorKind::NotSupported) if this build has no sound devices. The text says what
    /// to do.
    pub fn open(name: Option<&str>) -> Result<Self> {
        Device::open(name).map(Self)
    }

    /// What the microphone calls itself, and its format.
    pub fn description(&self) -> String {
        self.0.description()
    }

    /// Samples that were dropped because nobody took them for a second.
    pub fn overrun(&self) -> u64 {
        self.0.overrun()
    }
}

impl AudioSource for Microphone {
    fn is_live(&self) -> bool {
        true
    }

    fn start(&mut self, epoch: Instant) {
        self.0.start(epoch);
    }

    fn next(&mut self) -> Result<Option<AudioFrame>> {
        self.0.next()
    }
}
