//! A file's pictures as a [`VideoSource`]: errors with the file's name, looping, times that grow.

use super::{Read, Repeat, Trouble};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use visavis_core::{
    ErrorKind, Result,
    media::{VideoFrame, VideoSource},
};

/// Pictures are at most this wide and high, in pixels.
pub(super) const LARGEST: usize = 8192;

/// The pictures of a file in display order.
pub(super) trait Pictures: Send {
    /// The nominal time from one to the next.
    fn interval(&self) -> Duration;

    /// The next one; the first one's time is zero.
    fn next(&mut self) -> Read<Option<VideoFrame>>;

    /// Back to the first one.
    fn rewind(&mut self) -> Read<()>;
}

/// A file that is being played.
pub(super) struct FileSource {
    path: PathBuf,
    pictures: Box<dyn Pictures>,
    repeat: Repeat,
    /// Decoded when the file was opened.
    first: Option<VideoFrame>,
    size: (usize, usize),
    /// Where this round began.
    begin: Duration,
    /// Where the next round may begin.
    end: Duration,
    last: Option<Duration>,
    ended: bool,
}

impl FileSource {
    /// Decodes the first picture, so that what cannot be decoded is said now.
    pub(super) fn new(path: &Path, mut pictures: Box<dyn Pictures>, repeat: Repeat) -> Result<Self> {
        let first = pictures
            .next()
            .and_then(|first| first.ok_or_else(|| Trouble::damaged("there is no picture in this file")))
            .map_err(|trouble| trouble.at("open_video", path))?;
        Ok(Self {
            path: path.to_owned(),
            pictures,
            repeat,
            size: (first.width, first.height),
            first: Some(first),
            begin: Duration::ZERO,
            end: Duration::ZERO,
            last: None,
            ended: false,
        })
    }

    fn read(&mut self) -> Read<Option<VideoFrame>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if let Some(frame) = self.pictures.next()? {
            return Ok(Some(frame));
        }
        if self.repeat == Repeat::Once {
            return Ok(None);
        }
        self.pictures.rewind()?;
        self.begin = self.end;
        let again = self.pictures.next()?;
        let changed = || {
            Trouble(
                ErrorKind::NotReadable,
                "the file changed while it was played".into(),
            )
        };
        again.ok_or_else(changed).map(Some)
    }
}

impl VideoSource for FileSource {
    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn interval(&self) -> Duration {
        self.pictures.interval()
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        if self.ended {
            return Ok(None);
        }
        let mut frame = match self.read() {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.ended = true;
                return Ok(None);
            }
            Err(trouble) => {
                self.ended = true;
                return Err(trouble.at("next", &self.path));
            }
        };
        frame.time += self.begin;
        if let Some(last) = self.last {
            // Two pictures of one time would share an RTP timestamp, and so be taken for one.
            frame.time = frame.time.max(last + Duration::from_millis(1));
        }
        self.last = Some(frame.time);
        self.end = frame.time + self.pictures.interval();
        self.size = (frame.width, frame.height);
        Ok(Some(frame))
    }
}
