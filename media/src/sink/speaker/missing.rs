//! What stands in for a speaker in a build without sound devices: nothing can be made of it.

use crate::devices::MISSING;
use visavis_core::{Error, ErrorKind, Result, media::AudioFrame};

#[derive(Debug)]
pub(super) enum Device {}

impl Device {
    pub(super) fn open(_name: Option<&str>) -> Result<Self> {
        Err(Error::new(ErrorKind::NotSupported, "speaker", MISSING))
    }

    pub(super) fn description(&self) -> String {
        match *self {}
    }

    pub(super) fn overrun(&self) -> u64 {
        match *self {}
    }

    pub(super) fn underrun(&self) -> u64 {
        match *self {}
    }

    pub(super) fn play(&mut self, _frame: &AudioFrame) -> Result<()> {
        match *self {}
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match *self {}
    }
}
