//! A file's sound as an [`AudioSource`]: 20 ms at 48 kHz, looping without a gap.

use super::{Read, Repeat, Trouble};
use crate::resample::{Resampler, to_stereo};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use visavis_core::{
    ErrorKind, Result,
    media::{AudioFrame, AudioSource},
};

/// Samples a second that come out.
const RATE: u32 = 48_000;
/// Samples of a channel in a frame: 20 ms.
const FRAME: usize = 960;

/// The sound of a file.
pub(super) trait Sound: Send {
    /// Samples a second and channel.
    fn rate(&self) -> u32;

    /// 1 or 2.
    fn channels(&self) -> u8;

    /// Appends interleaved samples, some milliseconds of them; false at the end.
    fn read(&mut self, out: &mut Vec<f32>) -> Read<bool>;

    /// Back to the first one.
    fn rewind(&mut self) -> Read<()>;
}

/// A file that is being played.
pub(super) struct FileSound {
    path: PathBuf,
    sound: Box<dyn Sound>,
    repeat: Repeat,
    resampler: Resampler,
    /// As the file has it.
    chunk: Vec<f32>,
    /// At 48 kHz.
    ready: Vec<f32>,
    /// Whether this round gave anything.
    heard: bool,
    frames: u64,
    ended: bool,
}

impl FileSound {
    /// Decodes the first frame, so that what cannot be decoded is said now.
    pub(super) fn new(path: &Path, sound: Box<dyn Sound>, repeat: Repeat) -> Result<Self> {
        let resampler = Resampler::new(sound.rate(), RATE, sound.channels());
        let mut this = Self {
            path: path.to_owned(),
            resampler: resampler.map_err(|error| Trouble::from(error).at("open_audio", path))?,
            sound,
            repeat,
            chunk: Vec::new(),
            ready: Vec::new(),
            heard: false,
            frames: 0,
            ended: false,
        };
        this.fill().map_err(|trouble| trouble.at("open_audio", path))?;
        if this.ready.is_empty() {
            return Err(Trouble::damaged("there is no sound in this file").at("open_audio", path));
        }
        Ok(this)
    }

    fn frame_len(&self) -> usize {
        FRAME * usize::from(self.sound.channels())
    }

    /// Reads until a frame is ready, or the end.
    fn fill(&mut self) -> Read<()> {
        while self.ready.len() < self.frame_len() && !self.ended {
            self.chunk.clear();
            if self.sound.read(&mut self.chunk)? {
                self.heard |= !self.chunk.is_empty();
                self.resampler.push(&self.chunk, &mut self.ready)?;
            } else if self.repeat == Repeat::Once || (self.frames == 0 && !self.heard) {
                self.ended = true;
                self.resampler.finish(&mut self.ready)?;
            } else if self.heard {
                self.heard = false;
                self.sound.rewind()?;
            } else {
                let text = "the file changed while it was played";
                return Err(Trouble(ErrorKind::NotReadable, text.into()));
            }
        }
        Ok(())
    }
}

impl AudioSource for FileSound {
    fn next(&mut self) -> Result<Option<AudioFrame>> {
        if let Err(trouble) = self.fill() {
            self.ended = true;
            self.ready.clear();
            return Err(trouble.at("next", &self.path));
        }
        if self.ready.is_empty() {
            return Ok(None);
        }
        let length = self.frame_len();
        let rest = self.ready.split_off(length.min(self.ready.len()));
        let mut samples = std::mem::replace(&mut self.ready, rest);
        samples.resize(length, 0.0);
        let time = Duration::from_millis(20 * self.frames);
        self.frames += 1;
        Ok(Some(AudioFrame {
            samples: to_stereo(samples, self.sound.channels()),
            rate: RATE,
            channels: 2,
            time,
        }))
    }
}
