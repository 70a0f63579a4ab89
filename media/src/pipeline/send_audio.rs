//! Sound: capture, encode, send.

use super::{AudioSendStats, TrackClock, all_ended, lock, off_thread};
use crate::codec::{AudioSettings, audio_encoder};
use std::sync::{Arc, Mutex};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use visavis_core::{OutgoingFrame, Result, TrackSender, media::AudioSource};

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
    stats: Arc<Mutex<AudioSendStats>>,
    stop: Arc<Notify>,
    clock: TrackClock,
    tasks: JoinSet<Result<()>>,
}

/// Takes sound from `source` on its own steady clock, encodes it with Opus and sends it on `sender`, until the source
/// or the track ends.
pub fn send_audio(sender: TrackSender, source: Box<dyn AudioSource>, config: AudioSend) -> AudioSender {
    let stats = Arc::<Mutex<AudioSendStats>>::default();
    let clock = TrackClock::new(config.start, config.first_timestamp, 48_000);
    let stop = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    let run = run(
        Arc::clone(&stats),
        Arc::clone(&stop),
        sender,
        source,
        config,
        clock,
    );
    tasks.spawn(run);
    AudioSender {
        stats,
        stop,
        clock,
        tasks,
    }
}

impl AudioSender {
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

async fn run(
    stats: Arc<Mutex<AudioSendStats>>,
    stop: Arc<Notify>,
    sender: TrackSender,
    mut source: Box<dyn AudioSource>,
    config: AudioSend,
    clock: TrackClock,
) -> Result<()> {
    let mut encoder = audio_encoder(config.settings)?;
    source.start(config.start);
    loop {
        let captured = async {
            let (source, next) = off_thread(source, |s| s.next()).await?;
            let Some(frame) = next? else { return Ok(None) };
            let captured = config.start + frame.time;
            if !source.is_live() {
                sleep_until(captured).await;
            }
            Ok(Some((source, frame, captured)))
        };
        let next = tokio::select! {
            biased;
            () = stop.notified() => return Ok(()),
            next = captured => next?,
        };
        let Some((again, frame, captured)) = next else {
            return Ok(());
        };
        source = again;
        if sender.is_ended() {
            return Ok(());
        }
        lock(&stats).captured += 1;
        if sender.codec().is_none() {
            lock(&stats).idle += 1;
            continue;
        }
        let encoded;
        (encoder, encoded) = off_thread(encoder, move |e| e.encode(&frame)).await?;
        let encoded = encoded?;
        let bytes = encoded.payload.as_ref().len() as u64;
        let taken = sender.try_send(OutgoingFrame {
            codec: encoded.codec,
            payload: encoded.payload,
            keyframe: encoded.keyframe,
            media_time: clock.media_time(captured),
            captured,
        });
        if taken {
            let mut stats = lock(&stats);
            stats.sent += 1;
            stats.bytes += bytes;
        }
    }
}
