//! Sound: receive, decode, play.

use super::{AudioReceiveStats, EncodedSink, Playout, all_ended, lock, off_thread};
use crate::codec::audio_decoder;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use visavis_core::{
    AudioFrame, EncodedFrame, MediaKind, Result, TrackReceiver,
    media::{AudioDecoder, AudioSink},
};

/// Frames that wait to be played: what is held back for the picture, and some.
const WAITING: usize = 64;

/// What a packet holds.
const PACKET: Duration = Duration::from_millis(20);

/// A longer gap is silence.
const MAX_CONCEALED: u32 = 5;

/// Where [`receive_audio`] puts what arrives.
pub struct AudioReceive {
    /// Plays the sound.
    pub sink: Box<dyn AudioSink>,
    /// Takes the packets as they came.
    pub recorder: Option<Box<dyn EncodedSink>>,
    /// Keeps them in step with the pictures of the same peer.
    pub playout: Option<Arc<Playout>>,
}

impl AudioReceive {
    /// To `sink` alone.
    pub fn new(sink: Box<dyn AudioSink>) -> Self {
        Self {
            sink,
            recorder: None,
            playout: None,
        }
    }
}

impl std::fmt::Debug for AudioReceive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioReceive").finish_non_exhaustive()
    }
}

/// A running [`receive_audio`]. Dropping it stops it.
#[derive(Debug)]
pub struct AudioReceiver {
    stats: Arc<Mutex<AudioReceiveStats>>,
    stop: Arc<Notify>,
    tasks: JoinSet<Result<()>>,
}

/// Decodes what arrives on `receiver` and plays it, until the track ends. Short gaps are concealed.
pub fn receive_audio(receiver: TrackReceiver, config: AudioReceive) -> AudioReceiver {
    let stats = Arc::<Mutex<AudioReceiveStats>>::default();
    let stop = Arc::new(Notify::new());
    let (sounds, waiting) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    tasks.spawn(decode(
        Arc::clone(&stats),
        Arc::clone(&stop),
        receiver,
        config.recorder,
        config.playout,
        sounds,
    ));
    tasks.spawn(play(config.sink, waiting));
    AudioReceiver { stats, stop, tasks }
}

impl AudioReceiver {
    /// What was counted so far.
    pub fn stats(&self) -> AudioReceiveStats {
        *lock(&self.stats)
    }

    /// Waits until the track has ended and the sink has finished.
    ///
    /// # Errors
    ///
    /// What the sink or the recorder said.
    pub async fn ended(&mut self) -> Result<()> {
        all_ended(&mut self.tasks).await
    }

    /// Takes no more frames, and waits until those that arrived are through and the sink has finished.
    ///
    /// # Errors
    ///
    /// As for [`ended`](Self::ended).
    pub async fn finish(&mut self) -> Result<()> {
        self.stop.notify_one();
        self.ended().await
    }
}

async fn decode(
    stats: Arc<Mutex<AudioReceiveStats>>,
    stop: Arc<Notify>,
    receiver: TrackReceiver,
    mut recorder: Option<Box<dyn EncodedSink>>,
    playout: Option<Arc<Playout>>,
    sounds: mpsc::Sender<(AudioFrame, Instant)>,
) -> Result<()> {
    let mut decoder: Box<dyn AudioDecoder> = audio_decoder()?;
    let (mut first, mut expected) = (None, Duration::ZERO);
    loop {
        let arrived = tokio::select! {
            biased;
            frame = receiver.recv() => frame,
            () = stop.notified() => None,
        };
        let Some(frame) = arrived else { break };
        let first = *first.get_or_insert(frame.media_time.ticks);
        let time = frame.media_time.since(first);
        {
            let mut stats = lock(&stats);
            stats.received += 1;
            stats.bytes += frame.payload.as_ref().len() as u64;
        }
        let missing = (time.saturating_sub(expected).as_secs_f64() / PACKET.as_secs_f64()).round() as u32;
        let concealed = if missing > MAX_CONCEALED { 0 } else { missing };
        let packet = EncodedFrame {
            codec: frame.codec,
            payload: frame.payload,
            keyframe: true,
            time,
        };
        let work = move |(decoder, recorder): &mut (Box<dyn AudioDecoder>, Option<Box<dyn EncodedSink>>)| {
            let mut decoded = Vec::new();
            for n in (1..=concealed).rev() {
                decoded.push(decoder.decode(None, time.saturating_sub(PACKET * n)));
            }
            decoded.push(decoder.decode(Some(packet.payload.as_ref()), time));
            let recorded = recorder.as_mut().map_or(Ok(()), |r| r.write(&packet));
            (decoded, recorded)
        };
        let ((again, kept), (decoded, recorded)) = off_thread((decoder, recorder), work).await?;
        (decoder, recorder) = (again, kept);
        recorded?;
        expected = time + PACKET;
        let now = Instant::now();
        let due = playout
            .as_ref()
            .map_or(now, |p| p.due(MediaKind::Audio, frame.sender_time, now));
        let last = decoded.len() as u32 - 1;
        for (n, sound) in (0..).zip(decoded) {
            {
                let mut stats = lock(&stats);
                match sound {
                    Ok(_) if n < last => stats.concealed += 1,
                    Ok(_) => stats.decoded += 1,
                    Err(_) => stats.failed += 1,
                }
            }
            let at = due.checked_sub(PACKET * (last - n)).unwrap_or(due);
            if let Ok(sound) = sound
                && sounds.send((sound, at)).await.is_err()
            {
                return Ok(());
            }
        }
    }
    match recorder {
        Some(recorder) => off_thread(recorder, |r| r.finish()).await?.1,
        None => Ok(()),
    }
}

/// Plays each frame when it is due.
async fn play(mut sink: Box<dyn AudioSink>, mut sounds: mpsc::Receiver<(AudioFrame, Instant)>) -> Result<()> {
    while let Some((sound, due)) = sounds.recv().await {
        sleep_until(due).await;
        let played;
        (sink, played) = off_thread(sink, move |s| s.play(&sound, due)).await?;
        played?;
    }
    off_thread(sink, |s| s.finish()).await?.1
}
