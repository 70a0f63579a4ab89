//! Recordings of what arrives, as it came.

use crate::{
    pipeline::EncodedSink,
    sink::{IvfRecorder, OggOpusRecorder},
};
use std::path::Path;
use visavis_core::{Codec, EncodedFrame, Result};

/// A recorder that a pipeline writes into.
pub(super) type Recording = Box<dyn EncodedSink>;

/// Pictures of `codec` into an IVF file.
pub(super) fn video_recording(
    path: &Path,
    codec: Codec,
    (width, height): (usize, usize),
) -> Result<Recording> {
    let mut recorder = IvfRecorder::create(path, codec)?;
    if let (Ok(width), Ok(height)) = (width.try_into(), height.try_into()) {
        recorder.set_size(width, height);
    }
    Ok(Box::new(Ivf(Some(recorder))))
}

/// Opus packets into an Ogg file.
pub(super) fn audio_recording(path: &Path, channels: u8) -> Result<Recording> {
    let recorder = OggOpusRecorder::create(path, channels)?;
    Ok(Box::new(Ogg(Some(recorder))))
}

/// There until it is finished.
struct Ivf(Option<IvfRecorder>);

impl EncodedSink for Ivf {
    fn write(&mut self, frame: &EncodedFrame) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), |r| r.write(frame))
    }

    fn finish(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |r| r.finish().map(drop))
    }
}

/// There until it is finished.
struct Ogg(Option<OggOpusRecorder>);

impl EncodedSink for Ogg {
    fn write(&mut self, frame: &EncodedFrame) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), |r| r.write(frame))
    }

    fn finish(&mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |r| r.finish().map(drop))
    }
}
