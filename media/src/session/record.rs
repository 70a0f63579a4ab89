//! Recordings of what arrives, as it came.

use crate::{
    pipeline::{EncodedSink, lock},
    sink::{IvfRecorder, OggOpusRecorder},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use visavis_core::{Codec, EncodedFrame, Error, ErrorKind, Result, Side, TrackReceiver};

/// A file that is being recorded.
pub(super) struct Recording {
    pub(super) path: PathBuf,
    pub(super) sink: Box<dyn EncodedSink>,
}

/// Pictures of `codec` that `from` sends, into an IVF file.
pub(super) fn video_recording(
    directory: &Path,
    from: Side,
    codec: Codec,
    (width, height): (usize, usize),
) -> Result<Recording> {
    let path = path(directory, from, "ivf");
    let mut recorder = IvfRecorder::create(&path, codec)?;
    if let (Ok(width), Ok(height)) = (width.try_into(), height.try_into()) {
        recorder.set_size(width, height);
    }
    let sink = Box::new(Ivf(Some(recorder)));
    Ok(Recording { path, sink })
}

/// Opus packets that `from` sends, into an Ogg file.
pub(super) fn audio_recording(directory: &Path, from: Side, channels: u8) -> Result<Recording> {
    let path = path(directory, from, "ogg");
    let recorder = OggOpusRecorder::create(&path, channels)?;
    let sink = Box::new(Ogg(Some(recorder)));
    Ok(Recording { path, sink })
}

fn path(directory: &Path, from: Side, ending: &str) -> PathBuf {
    let name = match from {
        Side::Offerer => "offerer_to_answerer",
        Side::Answerer => "answerer_to_offerer",
    };
    directory.join(format!("{name}.{ending}"))
}

/// Makes the directory of recordings if it is missing.
pub(super) fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => ErrorKind::NotAllowed,
            _ => ErrorKind::NotReadable,
        };
        Error::new(
            kind,
            "record",
            format!("cannot make the directory {}", path.display()),
        )
        .with_source(error)
    })
}

/// A track that can be recorded, and what its files are like.
pub(super) struct Recorded {
    pub(super) recorder: Recorder,
    pub(super) from: Side,
    pub(super) form: Form,
}

/// What is in a file.
pub(super) enum Form {
    Video { codec: Codec, size: (usize, usize) },
    Audio { channels: u8 },
}

impl Recorded {
    /// Makes a file for it.
    pub(super) fn open(&self, directory: &Path) -> Result<Recording> {
        match self.form {
            Form::Video { codec, size } => video_recording(directory, self.from, codec, size),
            Form::Audio { channels } => audio_recording(directory, self.from, channels),
        }
    }
}

/// Records what a pipeline receives, into files that come and go while it runs. A file that fails is given up, and the
/// pipeline goes on. Clones are the same.
#[derive(Clone)]
pub(super) struct Recorder {
    state: Arc<Mutex<State>>,
    /// Of pictures: who is asked for the keyframe that a file must begin with.
    pictures: Option<TrackReceiver>,
}

#[derive(Default)]
struct State {
    recording: Option<Recording>,
    /// The time of its first frame.
    began: Option<Duration>,
    problems: Vec<String>,
}

impl Recorder {
    /// Records into `recording` from the first frame on, if there is one.
    pub(super) fn new(recording: Option<Recording>, pictures: Option<TrackReceiver>) -> Self {
        let state = State {
            recording,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            pictures,
        }
    }

    /// Begins another file, in mid-call. The one before must be complete.
    pub(super) fn begin(&self, recording: Recording) {
        let mut state = lock(&self.state);
        (state.recording, state.began) = (Some(recording), None);
        drop(state);
        if let Some(receiver) = &self.pictures {
            receiver.request_keyframe();
        }
    }

    /// Completes the file, if there is one, and says where it is.
    pub(super) fn complete(&self) -> Result<Option<PathBuf>> {
        let mut state = lock(&self.state);
        let Some(mut recording) = state.recording.take() else {
            return Ok(None);
        };
        let finished = recording.sink.finish();
        if let Err(error) = &finished {
            state.problems.push(error.to_string());
        }
        finished.map(|()| Some(recording.path))
    }

    /// What went wrong up to now.
    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.state).problems.clone()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl EncodedSink for Recorder {
    fn write(&mut self, frame: &EncodedFrame) -> Result<()> {
        let mut state = lock(&self.state);
        let State {
            recording: Some(recording),
            began,
            ..
        } = &mut *state
        else {
            return Ok(());
        };
        if let (Some(receiver), None, false) = (&self.pictures, *began, frame.keyframe) {
            receiver.request_keyframe();
            return Ok(());
        }
        let frame = EncodedFrame {
            time: frame.time.saturating_sub(*began.get_or_insert(frame.time)),
            ..frame.clone()
        };
        if let Err(error) = recording.sink.write(&frame) {
            // What is in the file up to here can be read.
            state.problems.push(error.to_string());
            state.recording = None;
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        lock(&self.state).recording.is_none()
    }

    fn finish(&mut self) -> Result<()> {
        // A failure is among the problems.
        let _ = self.complete();
        Ok(())
    }
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
