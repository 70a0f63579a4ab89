//! Capture, encode, send.

use super::{TrackClock, VideoSendStats, all_ended, lock, off_thread};
use crate::codec::{VideoSettings, video_encoder};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use visavis_core::{
    Bitrate, Codec, OutgoingFrame, Result, TrackSender, VideoFrame,
    media::{VideoEncoder, VideoSource},
};

/// A keyframe that is asked for comes at most this often, however often it is asked for.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(200);

/// How [`send_video`] works.
#[derive(Debug, Clone, Copy)]
pub struct VideoSend {
    /// Bitrate and frame rate to encode for.
    pub settings: VideoSettings,
    /// Time 0 of the source. Sound and picture that belong together have the same.
    pub start: Instant,
    /// The first RTP timestamp. Default: random, as RFC 3550 §5.1 wants.
    pub first_timestamp: Option<u32>,
}

impl VideoSend {
    /// With the source's time starting now.
    pub fn new(settings: VideoSettings) -> Self {
        Self {
            settings,
            start: Instant::now(),
            first_timestamp: None,
        }
    }
}

/// A running [`send_video`]. Dropping it stops it.
#[derive(Debug)]
pub struct VideoSender {
    shared: Arc<Shared>,
    clock: TrackClock,
    capture: JoinSet<Result<()>>,
    encode: JoinSet<Result<()>>,
}

struct Shared {
    stats: Mutex<VideoSendStats>,
    newest: Mutex<Newest>,
    /// There is a newest picture, or there will be no more.
    captured: Notify,
    /// What the application asked for since the last frame.
    wishes: Mutex<Wishes>,
    /// The source changes.
    replaced: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoSender").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Wishes {
    source: Option<Box<dyn VideoSource>>,
    keyframe: bool,
    bitrate: Option<Bitrate>,
}

/// Between capture and encoder.
#[derive(Default)]
struct Newest {
    /// The newest picture that the encoder has not taken.
    picture: Option<Captured>,
    /// There will be no more.
    ended: bool,
}

struct Captured {
    frame: VideoFrame,
    at: Instant,
}

/// Captures pictures from `source` on its own steady clock, encodes the newest and sends it on `sender`, with the
/// codec that was negotiated, until the source or the track ends. A keyframe is made when the remote peer asks for
/// one.
pub fn send_video(sender: TrackSender, source: Box<dyn VideoSource>, config: VideoSend) -> VideoSender {
    let shared = Arc::new(Shared {
        stats: Mutex::default(),
        newest: Mutex::default(),
        captured: Notify::new(),
        wishes: Mutex::default(),
        replaced: Notify::new(),
    });
    let clock = TrackClock::new(config.start, config.first_timestamp, 90_000);
    let mut sender_tasks = VideoSender {
        shared: Arc::clone(&shared),
        clock,
        capture: JoinSet::new(),
        encode: JoinSet::new(),
    };
    let tasks = &mut sender_tasks;
    tasks
        .capture
        .spawn(capture(Arc::clone(&shared), source, config.start));
    tasks.encode.spawn(encode(shared, sender, config.settings, clock));
    sender_tasks
}

impl VideoSender {
    /// Goes on with another source (W3C `replaceTrack`): its first frame is a keyframe, SSRC and timestamps go on.
    pub fn replace_track(&self, source: Box<dyn VideoSource>) {
        let mut wishes = lock(&self.shared.wishes);
        wishes.source = Some(source);
        drop(wishes);
        self.shared.replaced.notify_one();
    }

    /// Changes the bitrate from the next frame on.
    pub fn set_bitrate(&self, bitrate: Bitrate) {
        lock(&self.shared.wishes).bitrate = Some(bitrate);
    }

    /// How its RTP timestamps relate to the clock of this process.
    pub fn clock(&self) -> TrackClock {
        self.clock
    }

    /// What was counted so far.
    pub fn stats(&self) -> VideoSendStats {
        lock(&self.shared.stats).clone()
    }

    /// Waits until the source or the track has ended.
    ///
    /// # Errors
    ///
    /// What the source or the codec said.
    pub async fn ended(&mut self) -> Result<()> {
        tokio::select! {
            biased;
            Some(Ok(captured)) = self.capture.join_next() => captured?,
            Some(Ok(encoded)) = self.encode.join_next() => {
                self.capture.abort_all();
                return encoded;
            }
            else => {}
        }
        // What was captured last is still being encoded.
        all_ended(&mut self.encode).await
    }

    /// Takes no more from the source, and waits until what was captured is encoded and sent.
    ///
    /// # Errors
    ///
    /// As for [`ended`](Self::ended).
    pub async fn stop(&mut self) -> Result<()> {
        self.capture.abort_all();
        let captured = all_ended(&mut self.capture).await;
        lock(&self.shared.newest).ended = true;
        self.shared.captured.notify_one();
        captured.and(all_ended(&mut self.encode).await)
    }
}

/// Gives each picture when its time has come. Those that nobody took in time are counted.
async fn capture(shared: Arc<Shared>, source: Box<dyn VideoSource>, start: Instant) -> Result<()> {
    let result = capture_all(&shared, source, start).await;
    lock(&shared.newest).ended = true;
    shared.captured.notify_one();
    result
}

async fn capture_all(shared: &Shared, mut source: Box<dyn VideoSource>, mut start: Instant) -> Result<()> {
    source.start(start);
    loop {
        let next;
        (source, next) = off_thread(source, |s| s.next()).await?;
        let Some(frame) = next? else { return Ok(()) };
        let at = start + frame.time;
        let replaced = tokio::select! {
            biased;
            () = shared.replaced.notified() => true,
            () = sleep_until(at), if !source.is_live() => false,
            () = std::future::ready(()), if source.is_live() => false,
        };
        if replaced {
            let mut wishes = lock(&shared.wishes);
            if let Some(another) = wishes.source.take() {
                source = another;
                start = Instant::now();
                source.start(start);
                wishes.keyframe = true;
                continue;
            }
        }
        lock(&shared.stats).captured += 1;
        let replaced = lock(&shared.newest).picture.replace(Captured { frame, at });
        if replaced.is_some() {
            lock(&shared.stats).late += 1;
        }
        shared.captured.notify_one();
    }
}

/// Encodes the newest picture, again and again.
async fn encode(
    shared: Arc<Shared>,
    sender: TrackSender,
    settings: VideoSettings,
    clock: TrackClock,
) -> Result<()> {
    let mut encoder: Option<Box<dyn VideoEncoder>> = None;
    let mut settings = settings;
    let mut last_keyframe: Option<Instant> = None;
    let mut keyframe_wanted = false;
    let mut active: Option<Codec> = None;
    loop {
        let (picture, ended) = {
            let mut newest = lock(&shared.newest);
            (newest.picture.take(), newest.ended)
        };
        let Some(captured) = picture else {
            if ended {
                return Ok(());
            }
            shared.captured.notified().await;
            continue;
        };
        if sender.is_ended() {
            return Ok(());
        }
        let Some(codec) = sender.codec() else {
            lock(&shared.stats).idle += 1;
            continue;
        };
        if active != Some(codec) {
            (encoder, active) = (Some(video_encoder(codec, settings)?), Some(codec));
            lock(&shared.stats).codec = Some(codec);
        }
        let Some(mut current) = encoder.take() else {
            continue;
        };
        let (replaced, bitrate) = {
            let mut wishes = lock(&shared.wishes);
            (std::mem::take(&mut wishes.keyframe), wishes.bitrate.take())
        };
        if let Some(bitrate) = bitrate {
            settings.bitrate = bitrate;
            if let Err(error) = current.set_bitrate(bitrate) {
                tracing::warn!(%error, "the encoder keeps its bitrate");
            }
        }
        keyframe_wanted |= sender.take_keyframe_request();
        let now = Instant::now();
        let may = last_keyframe.is_none_or(|last| now >= last + KEYFRAME_INTERVAL);
        let keyframe = replaced || (keyframe_wanted && may);
        let (again, encoded) =
            off_thread(current, move |encoder| encoder.encode(&captured.frame, keyframe)).await?;
        encoder = Some(again);
        let mut stats = lock(&shared.stats);
        stats.encoding.record(now.elapsed());
        let Some(encoded) = encoded? else {
            stats.skipped += 1;
            continue;
        };
        if encoded.keyframe {
            (last_keyframe, keyframe_wanted) = (Some(now), false);
        }
        let bytes = encoded.payload.as_ref().len() as u64;
        let taken = sender.try_send(OutgoingFrame {
            codec: encoded.codec,
            payload: encoded.payload,
            keyframe: encoded.keyframe,
            media_time: clock.media_time(captured.at),
            captured: captured.at,
        });
        stats.encoded += 1;
        stats.sent += u64::from(taken);
        stats.keyframes += u64::from(taken && encoded.keyframe);
        stats.bytes += if taken { bytes } else { 0 };
    }
}
