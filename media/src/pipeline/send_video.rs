//! Capture, encode, send.

use super::{TrackClock, VideoSendStats, all_ended, lock, off_thread};
use crate::codec::{VideoSettings, video_encoder};
use std::{
    sync::{Arc, Mutex, PoisonError},
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

/// Of what the network carries the encoder gets this share, in percent: the rest is headers, and room to miss it by.
const ENCODED_PERCENT: u64 = 90;

/// Whatever the network carries, an encoder gets this, if it may have it: below there is no picture.
const MIN_BITRATE: Bitrate = Bitrate::from_bps(50_000);

/// Smaller changes are not worth telling the encoder of.
const MIN_CHANGE_PERCENT: u64 = 4;

/// How [`send_video`] works.
#[derive(Debug, Clone, Copy)]
pub struct VideoSend {
    /// Bitrate, at most, and frame rate to encode for.
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
    track: TrackSender,
    clock: TrackClock,
    stats: Arc<Mutex<VideoSendStats>>,
    settings: Arc<Mutex<VideoSettings>>,
    running: Mutex<Running>,
}

/// The tasks of one source.
#[derive(Debug, Default)]
struct Running {
    link: Arc<Link>,
    capture: JoinSet<Result<()>>,
    encode: JoinSet<Result<()>>,
}

/// From a source's capture to its encoder.
#[derive(Default)]
struct Link {
    stats: Arc<Mutex<VideoSendStats>>,
    newest: Mutex<Newest>,
    /// There is a newest picture, or there will be no more.
    captured: Notify,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// There will be no more pictures.
    fn end(&self) {
        lock(&self.newest).ended = true;
        self.captured.notify_one();
    }
}

/// Between capture and encoder.
#[derive(Default)]
struct Newest {
    /// The newest picture that the encoder has not taken.
    picture: Option<Captured>,
    /// When the last one was captured.
    last: Option<Instant>,
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
    let video = VideoSender {
        track: sender,
        clock: TrackClock::new(config.start, config.first_timestamp, 90_000),
        stats: Arc::default(),
        settings: Arc::new(Mutex::new(config.settings)),
        running: Mutex::default(),
    };
    let running = video.run(source, config.start, JoinSet::new());
    *lock(&video.running) = running;
    video
}

impl VideoSender {
    /// Goes on with another source (W3C `replaceTrack`), also where the old one has ended: its first frame is a
    /// keyframe, SSRC and timestamps go on. What was captured from the old one is still sent.
    pub fn replace_track(&self, source: Box<dyn VideoSource>) {
        let seconds = source.interval().as_secs_f32();
        if seconds > 0.0 {
            lock(&self.settings).fps = 1.0 / seconds;
        }
        let mut running = lock(&self.running);
        running.capture.abort_all();
        running.link.end();
        // Two pictures of one time would share an RTP timestamp, and so be taken for one.
        let last = lock(&running.link.newest).last;
        let now = Instant::now();
        let start = last.map_or(now, |last| now.max(last + Duration::from_millis(1)));
        let before = std::mem::take(&mut running.encode);
        *running = self.run(source, start, before);
    }

    /// Captures from `source`, whose time 0 is `start`, and encodes when what came `before` is sent.
    fn run(&self, source: Box<dyn VideoSource>, start: Instant, before: JoinSet<Result<()>>) -> Running {
        let mut running = Running {
            link: Arc::new(Link {
                stats: Arc::clone(&self.stats),
                ..Link::default()
            }),
            ..Running::default()
        };
        let encode = Encode {
            link: Arc::clone(&running.link),
            sender: self.track.clone(),
            settings: Arc::clone(&self.settings),
            clock: self.clock,
        };
        let captured = capture(Arc::clone(&running.link), source, start);
        running.capture.spawn(captured);
        running.encode.spawn(encode.run(before));
        running
    }

    /// Changes the bitrate from the next frame on. It is the most that the encoder aims at: what the network carries may
    /// be less.
    pub fn set_bitrate(&self, bitrate: Bitrate) {
        lock(&self.settings).bitrate = bitrate;
    }

    /// How its RTP timestamps relate to the clock of this process.
    pub fn clock(&self) -> TrackClock {
        self.clock
    }

    /// What was counted so far.
    pub fn stats(&self) -> VideoSendStats {
        lock(&self.stats).clone()
    }

    /// Looks at what was counted so far, without a copy.
    pub(crate) fn counted<R>(&self, look: impl FnOnce(&VideoSendStats) -> R) -> R {
        look(&lock(&self.stats))
    }

    /// Waits until the source or the track has ended.
    ///
    /// # Errors
    ///
    /// What the source or the codec said.
    pub async fn ended(&mut self) -> Result<()> {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        tokio::select! {
            biased;
            Some(Ok(captured)) = running.capture.join_next() => captured?,
            Some(Ok(encoded)) = running.encode.join_next() => {
                running.capture.abort_all();
                return encoded;
            }
            else => {}
        }
        // What was captured last is still being encoded.
        all_ended(&mut running.encode).await
    }

    /// Takes no more from the source, and waits until what was captured is encoded and sent.
    ///
    /// # Errors
    ///
    /// As for [`ended`](Self::ended).
    pub async fn stop(&mut self) -> Result<()> {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        running.capture.abort_all();
        let captured = all_ended(&mut running.capture).await;
        running.link.end();
        captured.and(all_ended(&mut running.encode).await)
    }
}

/// Gives each picture when its time has come. Those that nobody took in time are counted.
async fn capture(link: Arc<Link>, source: Box<dyn VideoSource>, start: Instant) -> Result<()> {
    let result = capture_all(&link, source, start).await;
    link.end();
    result
}

async fn capture_all(link: &Link, mut source: Box<dyn VideoSource>, start: Instant) -> Result<()> {
    source.start(start);
    loop {
        let next;
        (source, next) = off_thread(source, |s| s.next()).await?;
        let Some(frame) = next? else { return Ok(()) };
        let at = start + frame.time;
        if !source.is_live() {
            sleep_until(at).await;
        }
        let mut newest = lock(&link.newest);
        if newest.ended {
            return Ok(());
        }
        newest.last = Some(at);
        let replaced = newest.picture.replace(Captured { frame, at });
        drop(newest);
        let mut stats = lock(&link.stats);
        stats.captured += 1;
        stats.late += u64::from(replaced.is_some());
        drop(stats);
        link.captured.notify_one();
    }
}

struct Encode {
    link: Arc<Link>,
    sender: TrackSender,
    settings: Arc<Mutex<VideoSettings>>,
    clock: TrackClock,
}

impl Encode {
    /// Encodes the newest picture, again and again, from when what came `before` has ended.
    async fn run(self, mut before: JoinSet<Result<()>>) -> Result<()> {
        if let Err(error) = all_ended(&mut before).await {
            tracing::warn!(%error, "the source before this one failed");
        }
        let Self {
            link,
            sender,
            settings,
            clock,
        } = self;
        let mut encoder: Option<(Codec, Bitrate, Box<dyn VideoEncoder>)> = None;
        let mut last_keyframe: Option<Instant> = None;
        let mut keyframe_wanted = false;
        loop {
            let (picture, ended) = {
                let mut newest = lock(&link.newest);
                (newest.picture.take(), newest.ended)
            };
            let Some(captured) = picture else {
                if ended {
                    return Ok(());
                }
                link.captured.notified().await;
                continue;
            };
            if sender.is_ended() {
                return Ok(());
            }
            let Some(codec) = sender.codec() else {
                lock(&link.stats).idle += 1;
                continue;
            };
            let mut wanted = *lock(&settings);
            let active = encoder.as_ref().map(|(_, bitrate, _)| *bitrate);
            wanted.bitrate = target(wanted.bitrate, sender.available_bitrate(), active);
            lock(&link.stats).target = Some(wanted.bitrate);
            let mut current = match encoder.take() {
                Some((active, bitrate, mut current)) if active == codec => {
                    if bitrate != wanted.bitrate
                        && let Err(error) = current.set_bitrate(wanted.bitrate)
                    {
                        tracing::warn!(%error, "the encoder keeps its bitrate");
                    }
                    current
                }
                _ => {
                    lock(&link.stats).codec = Some(codec);
                    video_encoder(codec, wanted)?
                }
            };
            keyframe_wanted |= sender.take_keyframe_request();
            let now = Instant::now();
            let may = last_keyframe.is_none_or(|last| now >= last + KEYFRAME_INTERVAL);
            let keyframe = keyframe_wanted && may;
            let encoded;
            (current, encoded) =
                off_thread(current, move |encoder| encoder.encode(&captured.frame, keyframe)).await?;
            encoder = Some((codec, wanted.bitrate, current));
            let mut stats = lock(&link.stats);
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
}

/// What the encoder is to aim at: what was set, unless the network carries less.
fn target(set: Bitrate, available: Option<Bitrate>, active: Option<Bitrate>) -> Bitrate {
    let carried = available.map(|available| Bitrate::from_bps(available.bps() * ENCODED_PERCENT / 100));
    let target = carried.map_or(set, |carried| carried.max(MIN_BITRATE).min(set));
    let is_near = |active: &Bitrate| {
        *active <= set && active.bps().abs_diff(target.bps()) * 100 < active.bps() * MIN_CHANGE_PERCENT
    };
    if target == set {
        return set;
    }
    active.filter(is_near).unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_follows_the_network_within_bounds() {
        let kbps = |n: u64| Bitrate::from_bps(n * 1_000);
        assert_eq!(target(kbps(1_500), None, None), kbps(1_500));
        assert_eq!(target(kbps(1_500), Some(kbps(5_000)), None), kbps(1_500));
        assert_eq!(target(kbps(1_500), Some(kbps(500)), Some(kbps(1_500))), kbps(450));
        // Not for a few per cent, but up to what was set.
        assert_eq!(target(kbps(1_500), Some(kbps(510)), Some(kbps(450))), kbps(450));
        assert_eq!(
            target(kbps(1_500), Some(kbps(1_700)), Some(kbps(1_490))),
            kbps(1_500)
        );
        assert_eq!(target(kbps(300), Some(kbps(340)), Some(kbps(310))), kbps(300));
        // Never below the floor, but for one that was set below it.
        assert_eq!(target(kbps(1_500), Some(kbps(0)), None), MIN_BITRATE);
        assert_eq!(target(kbps(30), Some(kbps(0)), None), kbps(30));
    }
}
