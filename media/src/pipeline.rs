//! The paced pipelines between sources, codecs, a peer connection's tracks and sinks.
//!
//! ```text
//! source ─ capture (steady clock) ─▶ newest frame ─ encode (off the async threads) ─▶ TrackSender
//! TrackReceiver ─▶ decode (off the async threads) ─▶ Playout (sound and picture in step) ─▶ sink
//! ```
//!
//! Each pipeline is a few tasks on the caller's runtime, ends with its track or its source, and is stopped when its
//! handle is dropped. All waiting is Tokio's, so pipelines run in virtual time too.

mod playout;
mod receive_audio;
mod receive_video;
mod send_audio;
mod send_video;
mod stats;
#[cfg(test)]
mod tests;

pub use playout::Playout;
pub use receive_audio::{AudioReceive, AudioReceiver, receive_audio};
pub use receive_video::{VideoReceive, VideoReceiver, receive_video};
pub use send_audio::{AudioSend, AudioSender, send_audio};
pub use send_video::{VideoSend, VideoSender, send_video};
pub use stats::{AudioReceiveStats, AudioSendStats, Latency, VideoReceiveStats, VideoSendStats};

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};
use visavis_core::{EncodedFrame, Error, ErrorKind, MediaTime, Result};

/// Takes encoded frames as they arrive: a recording without loss.
pub trait EncodedSink: Send {
    /// Takes a frame.
    fn write(&mut self, frame: &EncodedFrame) -> Result<()>;

    /// Whether it would do nothing with a frame now, which spares the way to it.
    fn is_idle(&self) -> bool {
        false
    }

    /// Nothing more will come.
    fn finish(&mut self) -> Result<()>;
}

/// How a track's RTP timestamps relate to the clock of this process. For a receiver in the same process, which can
/// then tell a frame's age.
#[derive(Debug, Clone, Copy)]
pub struct TrackClock {
    /// When the frame with timestamp `first` was captured.
    pub epoch: Instant,
    /// Its RTP timestamp.
    pub first: u32,
    /// Ticks a second.
    pub rate: u32,
}

impl TrackClock {
    /// A clock that starts at `epoch`, from a random timestamp (RFC 3550 §5.1) unless one is given.
    pub fn new(epoch: Instant, first: Option<u32>, rate: u32) -> Self {
        let first = first.unwrap_or_else(|| RandomState::new().build_hasher().finish() as u32);
        Self { epoch, first, rate }
    }

    /// The timestamp of what was captured at `captured`.
    pub fn media_time(&self, captured: Instant) -> MediaTime {
        let elapsed = captured.saturating_duration_since(self.epoch);
        MediaTime::after(self.first.into(), elapsed, self.rate)
    }

    /// When a frame with this timestamp was captured, if that is `near` (within half a wrap: 6.6 hours of video).
    pub fn captured(&self, time: MediaTime, near: Instant) -> Instant {
        let expected = self.media_time(near).ticks as u32;
        let ahead = (time.ticks as u32).wrapping_sub(expected).cast_signed();
        let distance = Duration::from_nanos(
            u64::from(ahead.unsigned_abs()) * 1_000_000_000 / u64::from(self.rate.max(1)),
        );
        if ahead < 0 {
            near.checked_sub(distance).unwrap_or(near)
        } else {
            near + distance
        }
    }
}

/// Runs `work` on `state` off the async threads. The state comes back with the result.
pub(crate) async fn off_thread<T: Send + 'static, R: Send + 'static>(
    mut state: T,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Result<(T, R)> {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut state);
        (state, result)
    });
    done.await.map_err(|error| {
        Error::new(ErrorKind::Media, "pipeline", "a source, codec or sink panicked").with_source(error)
    })
}

/// Waits for all of them; the first error. One that was cancelled has none.
async fn all_ended(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.unwrap_or(Ok(())));
    }
    result
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
