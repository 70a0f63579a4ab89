//! What a way's sender captures and its receiver shows, for somebody who watches.

use crate::pipeline::lock;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSink, AudioSource, VideoFrame, VideoSink, VideoSource},
};

/// Frames of 20 ms that a level is of: 100 ms.
const LEVEL_FRAMES: usize = 5;

/// After as long without sound there is no level.
const LEVEL_STALE: Duration = Duration::from_millis(500);

/// Digital silence, for which there is no number.
const SILENCE_DBFS: f32 = -120.0;

/// Shows what goes on one way, from before the call to its end. Clones show the same. Looking costs next to nothing,
/// and nobody waits for who looks: pictures in between are missed.
#[derive(Clone)]
pub struct Monitor(pub(super) Arc<Taps>);

impl Monitor {
    /// The newest picture that the sending side captured, and how many there were up to it: each has a number of its
    /// own, counted from 1 through the preview and the call.
    pub fn captured(&self) -> Option<(u64, VideoFrame)> {
        lock(&self.0.captured).newest()
    }

    /// The newest picture that the receiving side decoded and showed, and how many there were up to it.
    pub fn shown(&self) -> Option<(u64, VideoFrame)> {
        lock(&self.0.shown).newest()
    }

    /// How loud the last 100 ms are that the sending side captured: their RMS in dBFS, at least −120. `None` if there
    /// was no sound for half a second.
    pub fn captured_level(&self) -> Option<f32> {
        lock(&self.0.captured_level).dbfs()
    }

    /// How loud the last 100 ms are that the receiving side played, as [`captured_level`](Self::captured_level).
    pub fn heard_level(&self) -> Option<f32> {
        lock(&self.0.heard_level).dbfs()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

/// What the taps of a way have seen and heard last.
#[derive(Default)]
pub(super) struct Taps {
    captured: Mutex<Pictures>,
    shown: Mutex<Pictures>,
    captured_level: Mutex<Level>,
    heard_level: Mutex<Level>,
}

impl Taps {
    /// A picture was captured.
    pub(super) fn capture(&self, frame: VideoFrame) {
        lock(&self.captured).put(frame);
    }

    /// Sound was captured.
    fn hear(&self, energy: Energy) {
        lock(&self.captured_level).put(energy);
    }
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Pictures {
    count: u64,
    newest: Option<VideoFrame>,
}

impl Pictures {
    fn put(&mut self, frame: VideoFrame) {
        self.count += 1;
        self.newest = Some(frame);
    }

    fn newest(&self) -> Option<(u64, VideoFrame)> {
        Some((self.count, self.newest.clone()?))
    }
}

/// The loudness of the last frames: each one's sum of squares, and its samples.
#[derive(Default)]
struct Level {
    frames: VecDeque<Energy>,
    last: Option<Instant>,
}

type Energy = (f64, usize);

fn energy(frame: &AudioFrame) -> Energy {
    let squares = frame.samples.iter().map(|s| f64::from(*s).powi(2));
    (squares.sum(), frame.samples.len())
}

impl Level {
    fn put(&mut self, energy: Energy) {
        let now = Instant::now();
        if self
            .last
            .replace(now)
            .is_some_and(|last| now > last + LEVEL_STALE)
        {
            self.frames.clear();
        }
        if self.frames.len() == LEVEL_FRAMES {
            self.frames.pop_front();
        }
        self.frames.push_back(energy);
    }

    fn dbfs(&self) -> Option<f32> {
        self.last.filter(|last| last.elapsed() <= LEVEL_STALE)?;
        let sum: f64 = self.frames.iter().map(|frame| frame.0).sum();
        let samples: usize = self.frames.iter().map(|frame| frame.1).sum();
        let mean_square = sum / samples.max(1) as f64;
        Some(((10.0 * mean_square.log10()) as f32).max(SILENCE_DBFS))
    }
}

/// A source of pictures with a tap.
pub(super) struct TappedVideo {
    pub(super) source: Box<dyn VideoSource>,
    taps: Arc<Taps>,
    /// Given ahead of its time: it is captured when the one after it is asked for.
    ahead: Option<VideoFrame>,
}

impl TappedVideo {
    pub(super) fn new(source: Box<dyn VideoSource>, taps: &Arc<Taps>) -> Self {
        let taps = Arc::clone(taps);
        Self {
            source,
            taps,
            ahead: None,
        }
    }
}

impl VideoSource for TappedVideo {
    fn size(&self) -> (usize, usize) {
        self.source.size()
    }

    fn interval(&self) -> Duration {
        self.source.interval()
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn start(&mut self, epoch: Instant) {
        self.source.start(epoch);
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        if let Some(frame) = self.ahead.take() {
            self.taps.capture(frame);
        }
        let frame = self.source.next()?;
        self.ahead.clone_from(&frame);
        if self.source.is_live()
            && let Some(frame) = self.ahead.take()
        {
            self.taps.capture(frame);
        }
        Ok(frame)
    }
}

/// A source of sound with a tap.
pub(super) struct TappedAudio {
    pub(super) source: Box<dyn AudioSource>,
    taps: Arc<Taps>,
    /// As of [`TappedVideo`].
    ahead: Option<Energy>,
}

impl TappedAudio {
    pub(super) fn new(source: Box<dyn AudioSource>, taps: &Arc<Taps>) -> Self {
        let taps = Arc::clone(taps);
        Self {
            source,
            taps,
            ahead: None,
        }
    }
}

impl AudioSource for TappedAudio {
    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn start(&mut self, epoch: Instant) {
        self.source.start(epoch);
    }

    fn next(&mut self) -> Result<Option<AudioFrame>> {
        if let Some(energy) = self.ahead.take() {
            self.taps.hear(energy);
        }
        let frame = self.source.next()?;
        self.ahead = frame.as_ref().map(energy);
        if self.source.is_live()
            && let Some(energy) = self.ahead.take()
        {
            self.taps.hear(energy);
        }
        Ok(frame)
    }
}

/// A sink with a tap.
pub(super) struct TappedSink<S> {
    sink: S,
    taps: Arc<Taps>,
}

impl<S> TappedSink<S> {
    pub(super) fn new(sink: S, taps: &Arc<Taps>) -> Self {
        let taps = Arc::clone(taps);
        Self { sink, taps }
    }
}

impl VideoSink for TappedSink<Box<dyn VideoSink>> {
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()> {
        lock(&self.taps.shown).put(frame.clone());
        self.sink.show(frame, at)
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.finish()
    }
}

impl AudioSink for TappedSink<Box<dyn AudioSink>> {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        lock(&self.taps.heard_level).put(energy(frame));
        self.sink.play(frame, at)
    }

    fn finish(&mut self) -> Result<()> {
        self.sink.finish()
    }
}
