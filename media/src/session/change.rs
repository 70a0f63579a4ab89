//! What can be changed and looked at while a call is up.

use super::{
    AudioPlan, CallMedia, LiveFigures, Monitor, VideoPlan,
    open::{OpenAudio, OpenVideo},
    record::{Recorded, make_directory},
    way::Way,
};
use crate::source::file::Repeat;
use std::path::{Path, PathBuf};
use tokio::task::spawn_blocking;
use visavis_core::{Bitrate, Error, ErrorKind, MediaKind, Result, Side};

impl CallMedia {
    /// Shows what goes on the way from that side, as [`OpenMedia::monitor`](super::OpenMedia::monitor).
    pub fn monitor(&self, from: Side) -> Option<Monitor> {
        self.way(from).map(Way::monitor)
    }

    /// The figures of the way from that side, cheap enough for each picture; `None` if it sends nothing.
    pub fn live(&self, from: Side) -> Option<LiveFigures> {
        self.way(from).map(Way::live)
    }

    /// Changes what the encoder of that side aims at, from the next picture on and until the source is replaced.
    /// `false` if it sends no pictures.
    pub fn set_video_bitrate(&self, from: Side, bitrate: Bitrate) -> bool {
        let video = self.way(from).and_then(|way| way.video.as_ref());
        video.inspect(|v| v.sender.set_bitrate(bitrate)).is_some()
    }

    /// Sends the pictures of another source (W3C `replaceTrack`), also where the old one has ended. The codec stays the
    /// one that was negotiated, whatever `plan` says; the bitrate is the plan's. Cancel safe.
    ///
    /// The receiver checks no pictures any more, for it knows only the first source: the report has of its checks
    /// what was found up to now. A file that comes this way does not end the call, see [`over`](Self::over).
    ///
    /// # Errors
    ///
    /// `InvalidState` if that side sends no pictures, and otherwise as [`OpenMedia::open`](super::OpenMedia::open).
    /// The old source goes on then. It is open until the new one is, so a camera cannot take its own place.
    pub async fn replace_video(&mut self, from: Side, plan: &VideoPlan) -> Result<()> {
        let repeat = self.repeat;
        let way = self
            .way_mut(from)
            .ok_or_else(|| sends_no(MediaKind::Video, from))?;
        way.replace_video(plan, repeat).await
    }

    /// Sends the sound of another source; see [`replace_video`](Self::replace_video).
    ///
    /// # Errors
    ///
    /// As for [`replace_video`](Self::replace_video).
    pub async fn replace_audio(&mut self, from: Side, plan: &AudioPlan) -> Result<()> {
        let repeat = self.repeat;
        let way = self
            .way_mut(from)
            .ok_or_else(|| sends_no(MediaKind::Audio, from))?;
        way.replace_audio(plan, repeat).await
    }

    /// Records what arrives at either side into files in `directory`, named as by [`MediaPlan::record`], from the next
    /// keyframe on, which is asked for; gives the files that were begun. Files that are there already are overwritten.
    /// `None` completes the files instead, and gives those.
    ///
    /// What is being recorded, also because of the plan, is completed first. A file that cannot be written any more,
    /// for the disk is full, is given up: the call goes on, and the report has the problem.
    ///
    /// # Errors
    ///
    /// `NotAllowed` or `NotReadable` if the directory or a file cannot be made or completed. Nothing is recorded then.
    ///
    /// [`MediaPlan::record`]: super::MediaPlan::record
    pub async fn record(&mut self, directory: Option<&Path>) -> Result<Vec<PathBuf>> {
        record(self.ways.iter().flat_map(Way::recorders).collect(), directory).await
    }

    fn way(&self, from: Side) -> Option<&Way> {
        self.ways.iter().find(|way| way.from == from)
    }

    fn way_mut(&mut self, from: Side) -> Option<&mut Way> {
        self.ways.iter_mut().find(|way| way.from == from)
    }
}

impl Way {
    /// Sends the pictures of another source.
    pub(super) async fn replace_video(&mut self, plan: &VideoPlan, repeat: Repeat) -> Result<()> {
        let video = self.video.as_mut();
        let video = video.ok_or_else(|| sends_no(MediaKind::Video, self.from))?;
        let plan = plan.clone();
        let open = move || OpenVideo::open(&plan, repeat, &mut Vec::new());
        video.replace(off_thread("replace_track", open).await?);
        Ok(())
    }

    /// Sends the sound of another source.
    pub(super) async fn replace_audio(&mut self, plan: &AudioPlan, repeat: Repeat) -> Result<()> {
        let audio = self.audio.as_mut();
        let audio = audio.ok_or_else(|| sends_no(MediaKind::Audio, self.from))?;
        let plan = plan.clone();
        let open = move || OpenAudio::open(&plan, repeat);
        audio.replace(off_thread("replace_track", open).await?);
        Ok(())
    }
}

/// Completes what is recorded of `tracks`, and records into files in `directory`, if there is one.
pub(super) async fn record(tracks: Vec<Recorded>, directory: Option<&Path>) -> Result<Vec<PathBuf>> {
    let directory = directory.map(Path::to_owned);
    off_thread("record", move || {
        let completed: Vec<_> = tracks.iter().map(|track| track.recorder.complete()).collect();
        let completed = completed.into_iter().collect::<Result<Vec<_>>>()?;
        let Some(directory) = directory else {
            return Ok(completed.into_iter().flatten().collect());
        };
        make_directory(&directory)?;
        let open = |track: &Recorded| track.open(&directory);
        let files = tracks.iter().map(open).collect::<Result<Vec<_>>>()?;
        let paths = files.iter().map(|file| file.path.clone()).collect();
        for (track, file) in tracks.iter().zip(files) {
            track.recorder.begin(file);
        }
        Ok(paths)
    })
    .await
}

fn sends_no(kind: MediaKind, from: Side) -> Error {
    let message = format!("the {from} sends no {kind}");
    Error::new(ErrorKind::InvalidState, "replace_track", message)
}

/// A file or a device may take seconds.
async fn off_thread<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::NotReadable, operation, "a source panicked").with_source(error)
    })?
}
