//! What stands in for a camera in a build without cameras: nothing can be made of it.

use crate::devices::CameraInfo;
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{Error, ErrorKind, Result, media::VideoFrame};

const MISSING: &str = "this build has no camera support; rebuild with `cargo build --release -p visavis --features camera` (Debian: apt install libclang-dev)";

#[derive(Debug)]
pub(super) enum Device {}

impl Device {
    pub(super) fn open(_index: u32, _size: Option<(u32, u32)>, _fps: Option<f32>) -> Result<Self> {
        Err(missing())
    }

    pub(super) fn description(&self) -> String {
        match *self {}
    }

    pub(super) fn dropped(&self) -> u64 {
        match *self {}
    }

    pub(super) fn size(&self) -> (usize, usize) {
        match *self {}
    }

    pub(super) fn interval(&self) -> Duration {
        match *self {}
    }

    pub(super) fn start(&mut self, _epoch: Instant) {
        match *self {}
    }

    pub(super) fn next(&mut self) -> Result<Option<VideoFrame>> {
        match *self {}
    }
}

pub(crate) fn list() -> Result<Vec<CameraInfo>> {
    Err(missing())
}

fn missing() -> Error {
    Error::new(ErrorKind::NotSupported, "get_user_media", MISSING)
}
