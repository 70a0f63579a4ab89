//! Cameras.

#[cfg(feature = "camera")]
mod convert;
#[cfg(feature = "camera")]
mod device;
#[cfg(not(feature = "camera"))]
#[path = "camera/missing.rs"]
mod device;
#[cfg(feature = "camera")]
mod errors;
#[cfg(feature = "camera")]
mod latest;

pub(crate) use device::list;

use device::Device;
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{VideoFrame, VideoSource},
};

/// A camera, if the build has the feature `camera`.
///
/// A thread of its own takes the pictures; when they are not taken from here in time, the older ones are dropped and
/// counted. The camera is free again when this is dropped.
#[derive(Debug)]
pub struct Camera(Device);

impl Camera {
    /// Opens camera number `index` in the format that is nearest to `size`, width and height in pixels (640x480 if
    /// not given), and `fps`, frames a second (30), and waits for its first picture.
    ///
    /// # Errors
    ///
    /// [`NotFound`](visavis_core::ErrorKind::NotFound) if there is no such camera,
    /// [`NotAllowed`](visavis_core::ErrorKind::NotAllowed) if it may not be used,
    /// [`NotReadable`](visavis_core::ErrorKind::NotReadable) if it is busy or gives no pictures, and
    /// [`NotSupported`](visavis_core::ErrorKind::NotSupported) if it has no format that is known here or this build
    /// has no camera support. The text says what to do.
    pub fn open(index: u32, size: Option<(u32, u32)>, fps: Option<f32>) -> Result<Self> {
        Device::open(index, size, fps).map(Self)
    }

    /// What the camera calls itself, and the format that was chosen.
    pub fn description(&self) -> String {
        self.0.description()
    }

    /// Pictures that were not taken in time, or that were damaged.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

impl VideoSource for Camera {
    fn size(&self) -> (usize, usize) {
        self.0.size()
    }

    fn interval(&self) -> Duration {
        self.0.interval()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn start(&mut self, epoch: Instant) {
        self.0.start(epoch);
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        self.0.next()
    }
}
