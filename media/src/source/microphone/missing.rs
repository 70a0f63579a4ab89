//! What stands in for a microphone in a build without sound devices: nothing can be made of it.

use crate::devices::MISSING;
use tokio::time::Instant;
use visavis_core::{Error, ErrorKind, Result, media::AudioFrame};

#[derive(Debug)]
pub(super) enum Device {}

impl Device {
    pub(super) fn open(_name: Option<&str>) -> Result<Self> {
        Err(Error::new(ErrorKind::NotSupported, "get_user_media", MISSING))
    }

    pub(super) fn description(&self) -> String {
        match *self {}
    }

    pub(super) fn overrun(&self) -> u64 {
        match *self {}
    }

    pub(super) fn start(&mut self, _epoch: Instant) {
        match *self {}
    }

    pub(super) fn next(&mut self) -> Result<Option<AudioFrame>> {
        match *self {}
    }
}
