//! The local pictures before there is a call.

use super::{
    Monitor, OpenMedia,
    monitor::{TappedAudio, TappedVideo, Taps},
    open::{OpenAudio, OpenVideo, OpenWay},
};
use crate::{pipeline::off_thread, source::Tone};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use visavis_core::{
    Error, ErrorKind, Result, Side,
    media::{AudioSource, VideoFrame, VideoSource},
};

/// Sources that run before the call, into what their [`Monitor`] has as captured. Dropping it stops them.
pub struct Preview {
    ways: Vec<(Side, Arc<Taps>, JoinHandle<Result<OpenWay>>)>,
    notes: Vec<String>,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preview")
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl OpenMedia {
    /// Lets the sources run at their own pace, for their [`monitor`](Self::monitor) alone. To be called on a Tokio
    /// runtime.
    ///
    /// The call that follows begins as if there had been none: the pattern and the tone begin again, a camera and a
    /// microphone go on, and a file, which stands still at its first picture, is played from its beginning.
    pub fn preview(self) -> Preview {
        let (stop, stopped) = watch::channel(false);
        let run = |way: OpenWay| {
            let (from, taps) = (way.from, Arc::clone(&way.taps));
            (from, taps, tokio::spawn(run_way(way, stopped.clone())))
        };
        Preview {
            ways: self.ways.into_iter().map(run).collect(),
            notes: self.notes,
            stop,
        }
    }
}

impl Preview {
    /// As [`OpenMedia::monitor`].
    pub fn monitor(&self, from: Side) -> Option<Monitor> {
        let way = self.ways.iter().find(|way| way.0 == from)?;
        Some(Monitor(Arc::clone(&way.1)))
    }

    /// Stops, and gives the open sources back for the call, once a device has given what it is asked for.
    ///
    /// # Errors
    ///
    /// What a source said: the camera was unplugged. All sources are closed then.
    pub async fn stop(self) -> Result<OpenMedia> {
        self.stop.send_replace(true);
        let mut ways = Vec::new();
        for (_, _, way) in self.ways {
            ways.push(way.await.map_err(|error| {
                Error::new(ErrorKind::Media, "preview", "a source panicked").with_source(error)
            })?);
        }
        Ok(OpenMedia {
            ways: ways.into_iter().collect::<Result<_>>()?,
            notes: self.notes,
        })
    }
}

async fn run_way(mut way: OpenWay, stop: watch::Receiver<bool>) -> Result<OpenWay> {
    let (video, audio) = tokio::join!(
        run_video(way.video.take(), &way.taps, stop.clone()),
        run_audio(way.audio.take(), &way.taps, stop)
    );
    (way.video, way.audio) = (video?, audio?);
    Ok(way)
}

async fn run_video(
    video: Option<OpenVideo>,
    taps: &Arc<Taps>,
    stop: watch::Receiver<bool>,
) -> Result<Option<OpenVideo>> {
    let Some(mut video) = video else { return Ok(None) };
    if let Some(pattern) = &video.pattern {
        drive(TappedVideo::new(Box::new(pattern.clone()), taps), stop).await?;
    } else if video.source.is_live() {
        video.source = drive(TappedVideo::new(video.source, taps), stop).await?.source;
    } else {
        let (source, first) = off_thread(video.source, |s| s.next()).await?;
        let first = first?;
        if let Some(first) = &first {
            taps.capture(first.clone());
        }
        video.source = Box::new(Held { first, source });
    }
    Ok(Some(video))
}

async fn run_audio(
    audio: Option<OpenAudio>,
    taps: &Arc<Taps>,
    stop: watch::Receiver<bool>,
) -> Result<Option<OpenAudio>> {
    let Some(mut audio) = audio else { return Ok(None) };
    if audio.checked {
        drive(TappedAudio::new(Box::new(Tone::new()), taps), stop).await?;
    } else if audio.source.is_live() {
        audio.source = drive(TappedAudio::new(audio.source, taps), stop).await?.source;
    }
    Ok(Some(audio))
}

/// Runs a source until it ends or is told to stop. What a device is asked for is waited for, or the device were lost.
async fn drive<S: Paced>(mut source: S, mut stop: watch::Receiver<bool>) -> Result<S> {
    let start = Instant::now();
    source.begin(start);
    // Who drops the preview stops it too.
    while !*stop.borrow() && stop.has_changed().is_ok() {
        let next;
        (source, next) = off_thread(source, Paced::time_of_next).await?;
        let Some(time) = next? else { break };
        if !source.is_paced_by_device() {
            tokio::select! {
                () = sleep_until(start + time) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }
    Ok(source)
}

/// Pictures or sound.
trait Paced: Send + 'static {
    fn begin(&mut self, epoch: Instant);
    fn is_paced_by_device(&self) -> bool;
    fn time_of_next(&mut self) -> Result<Option<Duration>>;
}

impl Paced for TappedVideo {
    fn begin(&mut self, epoch: Instant) {
        self.start(epoch);
    }

    fn is_paced_by_device(&self) -> bool {
        self.is_live()
    }

    fn time_of_next(&mut self) -> Result<Option<Duration>> {
        Ok(self.next()?.map(|frame| frame.time))
    }
}

impl Paced for TappedAudio {
    fn begin(&mut self, epoch: Instant) {
        self.start(epoch);
    }

    fn is_paced_by_device(&self) -> bool {
        self.is_live()
    }

    fn time_of_next(&mut self) -> Result<Option<Duration>> {
        Ok(self.next()?.map(|frame| frame.time))
    }
}

/// A file whose first picture was looked at.
struct Held {
    first: Option<VideoFrame>,
    source: Box<dyn VideoSource>,
}

impl VideoSource for Held {
    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn interval(&self) -> Duration {
        self.source.interval()
    }

    fn start(&mut self, epoch: Instant) {
        self.source.start(epoch);
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.source.next(),
        }
    }
}
