//! Sound: capture, encode, send.

use super::{AudioSendStats, TrackClock, all_ended, lock, off_thread};
use crate::codec::{AudioSettings, audio_encoder};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use visavis_core::{OutgoingFrame, Result, TrackSender, media::AudioSource};

/// What a packet holds.
const PACKET: Duration = Duration::from_millis(20);

/// How [`send_audio`] works.
#[derive(Debug, Clone, Copy)]
pub struct AudioSend {
    /// Bitrate and channels to encode for.
    pub settings: AudioSettings,
    /// Time 0 of the source. Sound and picture that belong together have the same.
    pub start: Instant,
    /// The first RTP timestamp. Default: random.
    pub first_timestamp: Option<u32>,
}

impl AudioSend {
    /// With the source's time starting now.
    pub fn new(settings: AudioSettings) -> Self {
        Self {
            settings,
            start: Instant::now(),
            first_timestamp: None,
        }
    }
}

/// A running [`send_audio`]. Dropping it stops it.
#[derive(Debug)]
pub struct AudioSender {
    track: TrackSender,
    stats: Arc<Mutex<AudioSendStats>>,
    stop: Arc<Notify>,
    clock: TrackClock,
    /// When the last packet ends that was captured.
    end: Arc<Mutex<Option<Instant>>>,
    tasks: JoinSet<Result<()>>,
}

/// Takes sound from `source` on its own steady clock, encodes it with Opus and sends it on `sender`, until the source
/// or the track ends.
pub fn send_audio(sender: TrackSender, source: Box<dyn AudioSource>, config: AudioSend) -> AudioSender {
    let mut audio = AudioSender {
        track: sender,
        stats: Arc::default(),
        stop: Arc::default(),
        clock: TrackClock::new(config.start, config.first_timestamp, 48_000),
        end: Arc::default(),
        tasks: JoinSet::new(),
    };
    audio.run(source, config.settings, config.start);
    audio
}

impl AudioSender {
    /// Goes on with another source (W3C `replaceTrack`), also where the old one has ended: SSRC and timestamps go on.
    pub fn replace_track(&mut self, source: Box<dyn AudioSource>, settings: AudioSettings) {
        self.stop.notify_one();
        self.run(source, settings, Instant::now());
    }

    /// Sends `source`, whose time 0 is `start`, or later if a packet before it is not over by then.
    fn run(&mut self, source: Box<dyn AudioSource>, settings: AudioSettings, start: Instant) {
        let mut before = std::mem::take(&mut self.tasks);
        self.stop = Arc::default();
        let send = Sending {
            stats: Arc::clone(&self.stats),
            stop: Arc::clone(&self.stop),
            end: Arc::clone(&self.end),
            sender: self.track.clone(),
            clock: self.clock,
        };
        self.tasks.spawn(async move {
            if let Err(error) = all_ended(&mut before).await {
                tracing::warn!(%error, "the source before this one failed");
            }
            let end = *lock(&send.end);
            send.run(source, settings, end.map_or(start, |end| start.max(end)))
                .await
        });
    }

    /// How its RTP timestamps relate to the clock of this process.
    pub fn clock(&self) -> TrackClock {
        self.clock
    }

    /// What was counted so far.
    pub fn stats(&self) -> AudioSendStats {
        *lock(&self.stats)
    }

    /// Waits until the source or the track has ended.
    ///
    /// # Errors
    ///
    /// What the source or the codec said.
    pub async fn ended(&mut self) -> Result<()> {
        all_ended(&mut self.tasks).await
    }

    /// Takes no more from the source, and waits until what it took is sent.
    ///
    /// # Errors
    ///
    /// As for [`ended`](Self::ended).
    pub async fn stop(&mut self) -> Result<()> {
        self.stop.notify_one();
        self.ended().await
    }
}

struct Sending {
    stats: Arc<Mutex<AudioSendStats>>,
    stop: Arc<Notify>,
    end: Arc<Mutex<Option<Instant>>>,
    sender: TrackSender,
    clock: TrackClock,
}

impl Sending {
    async fn run(
        self,
        mut source: Box<dyn AudioSource>,
        settings: AudioSettings,
        start: Instant,
    ) -> Result<()> {
        let mut encoder = audio_encoder(settings)?;
        source.start(start);
        loop {
            let captured = async {
                let (source, next) = off_thread(source, |s| s.next()).await?;
                let Some(frame) = next? else { return Ok(None) };
                let captured = start + frame.time;
                if !source.is_live() {
                    sleep_until(captured).await;
                }
                Ok(Some((source, frame, captured)))
            };
            let next = tokio::select! {
                biased;
                () = self.stop.notified() => return Ok(()),
                next = captured => next?,
            };
            let Some((again, frame, captured)) = next else {
                return Ok(());
            };
            source = again;
            if self.sender.is_ended() {
                return Ok(());
            }
            *lock(&self.end) = Some(captured + PACKET);
            lock(&self.stats).captured += 1;
            if self.sender.codec().is_none() {
                lock(&self.stats).idle += 1;
                continue;
            }
            let encoded;
            (encoder, encoded) = off_thread(encoder, move |e| e.encode(&frame)).await?;
            let encoded = encoded?;
            let bytes = encoded.payload.as_ref().len() as u64;
            let taken = self.sender.try_send(OutgoingFrame {
                codec: encoded.codec,
                payload: encoded.payload,
                keyframe: encoded.keyframe,
                media_time: self.clock.media_time(captured),
                captured,
            });
            if taken {
                let mut stats = lock(&self.stats);
                stats.sent += 1;
                stats.bytes += bytes;
            }
        }
    }
}
