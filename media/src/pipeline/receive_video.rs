//! Receive, decode, show.

use super::{EncodedSink, Playout, TrackClock, VideoReceiveStats, all_ended, lock, off_thread};
use crate::codec::video_decoder;
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
    Codec, EncodedFrame, IncomingFrame, Mark, MediaKind, Result, Timeline, TrackReceiver, VideoFrame,
    media::{VideoDecoder, VideoSink},
};

/// Pictures that wait for the sink; beyond it is too slow.
const WAITING: usize = 8;

/// Where [`receive_video`] puts what arrives.
pub struct VideoReceive {
    /// Shows the pictures.
    pub sink: Box<dyn VideoSink>,
    /// Takes the frames as they came.
    pub recorder: Option<Box<dyn EncodedSink>>,
    /// Keeps them in step with the sound of the same peer.
    pub playout: Option<Arc<Playout>>,
    /// The sender's clock, if it is in this process: for `capture_to_decode`.
    pub clock: Option<TrackClock>,
    /// Where the first decoded frame is marked.
    pub timeline: Option<Timeline>,
}

impl VideoReceive {
    /// To `sink` alone.
    pub fn new(sink: Box<dyn VideoSink>) -> Self {
        Self {
            sink,
            recorder: None,
            playout: None,
            clock: None,
            timeline: None,
        }
    }
}

impl std::fmt::Debug for VideoReceive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VideoReceive").finish_non_exhaustive()
    }
}

/// A running [`receive_video`]. Dropping it stops it.
#[derive(Debug)]
pub struct VideoReceiver {
    stats: Arc<Mutex<VideoReceiveStats>>,
    stop: Arc<Notify>,
    tasks: JoinSet<Result<()>>,
}

/// Decodes what arrives on `receiver` and shows it, until the track ends. After a gap or a frame that cannot be
/// decoded it asks for a keyframe and goes on with that.
pub fn receive_video(receiver: TrackReceiver, config: VideoReceive) -> VideoReceiver {
    let stats = Arc::<Mutex<VideoReceiveStats>>::default();
    let stop = Arc::new(Notify::new());
    let (pictures, waiting) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    let decode = Decode {
        stats: Arc::clone(&stats),
        stop: Arc::clone(&stop),
        receiver,
        decoder: None,
        recorder: config.recorder,
        playout: config.playout,
        clock: config.clock,
        timeline: config.timeline,
        pictures,
        awaits_keyframe: true,
        first: None,
    };
    tasks.spawn(decode.run());
    tasks.spawn(show(config.sink, waiting));
    VideoReceiver { stats, stop, tasks }
}

impl VideoReceiver {
    /// What was counted so far.
    pub fn stats(&self) -> VideoReceiveStats {
        lock(&self.stats).clone()
    }

    /// Looks at what was counted so far, without a copy.
    pub(crate) fn counted<R>(&self, look: impl FnOnce(&VideoReceiveStats) -> R) -> R {
        look(&lock(&self.stats))
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

struct Decode {
    stats: Arc<Mutex<VideoReceiveStats>>,
    stop: Arc<Notify>,
    receiver: TrackReceiver,
    decoder: Option<(Codec, Box<dyn VideoDecoder>)>,
    recorder: Option<Box<dyn EncodedSink>>,
    playout: Option<Arc<Playout>>,
    clock: Option<TrackClock>,
    timeline: Option<Timeline>,
    pictures: mpsc::Sender<(VideoFrame, Instant)>,
    /// A frame is missing: nothing can be decoded before the next keyframe.
    awaits_keyframe: bool,
    /// The timestamp of the first frame: time 0.
    first: Option<u64>,
}

impl Decode {
    async fn run(mut self) -> Result<()> {
        loop {
            let arrived = tokio::select! {
                biased;
                frame = self.receiver.recv() => frame,
                () = self.stop.notified() => None,
            };
            let Some(frame) = arrived else { break };
            let first = *self.first.get_or_insert(frame.media_time.ticks);
            let time = frame.media_time.since(first);
            {
                let mut stats = lock(&self.stats);
                stats.codec = Some(frame.codec);
                stats.received += 1;
                stats.bytes += frame.payload.as_ref().len() as u64;
            }
            self.record(&frame, time).await?;
            self.awaits_keyframe |= !frame.contiguous;
            if self.awaits_keyframe && !frame.keyframe {
                lock(&self.stats).undecodable += 1;
                self.receiver.request_keyframe();
                continue;
            }
            if let Some(picture) = self.decode(frame, time).await? {
                self.present(picture);
            }
        }
        match self.recorder.take() {
            Some(recorder) => off_thread(recorder, |r| r.finish()).await?.1,
            None => Ok(()),
        }
    }

    async fn record(&mut self, frame: &IncomingFrame, time: Duration) -> Result<()> {
        let Some(recorder) = self.recorder.take_if(|r| !r.is_idle()) else {
            return Ok(());
        };
        let encoded = EncodedFrame {
            codec: frame.codec,
            payload: frame.payload.clone(),
            keyframe: frame.keyframe,
            time,
        };
        let (recorder, written) = off_thread(recorder, move |r| r.write(&encoded)).await?;
        self.recorder = Some(recorder);
        written
    }

    async fn decode(&mut self, frame: IncomingFrame, time: Duration) -> Result<Option<Decoded>> {
        let began = Instant::now();
        let decoder = match self.decoder.take() {
            Some((codec, decoder)) if codec == frame.codec => decoder,
            _ => video_decoder(frame.codec)?,
        };
        let bitstream = frame.payload.clone();
        let (decoder, decoded) = off_thread(decoder, move |d| d.decode(bitstream.as_ref(), time)).await?;
        self.decoder = Some((frame.codec, decoder));
        let now = Instant::now();
        let mut stats = lock(&self.stats);
        stats.decoding.record(now - began);
        match decoded {
            Ok(picture) => {
                self.awaits_keyframe = false;
                let Some(picture) = picture else { return Ok(None) };
                stats.decoded += 1;
                stats.size = Some((picture.width, picture.height));
                if let Some(clock) = self.clock {
                    let age = now.saturating_duration_since(clock.captured(frame.media_time, now));
                    stats.capture_to_decode.record(age);
                    stats.last_capture_to_decode = Some(age);
                }
                Ok(Some(Decoded {
                    picture,
                    sender_time: frame.sender_time,
                }))
            }
            Err(error) => {
                tracing::debug!(%error, "a frame cannot be decoded");
                stats.failed += 1;
                self.awaits_keyframe = true;
                self.receiver.request_keyframe();
                Ok(None)
            }
        }
    }

    fn present(&mut self, decoded: Decoded) {
        if let Some(timeline) = self.timeline.take() {
            timeline.mark(Mark::FirstFrameDecoded);
        }
        let now = Instant::now();
        let due = self
            .playout
            .as_ref()
            .map_or(now, |p| p.due(MediaKind::Video, decoded.sender_time, now));
        if self.pictures.try_send((decoded.picture, due)).is_err() {
            lock(&self.stats).late += 1;
        }
    }
}

struct Decoded {
    picture: VideoFrame,
    sender_time: Option<Duration>,
}

/// Shows each picture when it is due.
async fn show(
    mut sink: Box<dyn VideoSink>,
    mut pictures: mpsc::Receiver<(VideoFrame, Instant)>,
) -> Result<()> {
    while let Some((picture, due)) = pictures.recv().await {
        sleep_until(due).await;
        let shown;
        (sink, shown) = off_thread(sink, move |s| s.show(&picture, due)).await?;
        shown?;
    }
    off_thread(sink, |s| s.finish()).await?.1
}
