//! Frame throughput: complete frames in order, from one peer's `try_send` to the other's `recv`.

use crate::{
    lab::{Lab, Site},
    metric::Metric,
    outcome::{Meter, Outcome},
    scenario::{content::Frames, handshake::negotiated},
    work::{Content, Network, Visit},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use visavis_core::{
    Call, Codec, Direction, InboundStats, IncomingFrame, MediaKind, MediaTime, OutgoingFrame, PairConfig,
    PairMedia, PeerPair, SamePage, TrackReceiver, TrackSender,
};

/// How many frames are under way at most. They are acknowledged in process, so no signal slows them.
pub const WINDOW: usize = 8;

/// A frame that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ticks from one frame to the next, at 30 frames a second.
pub(super) const STEP: u64 = 3_000;

/// About how long a batch takes, so that its processor time can be read.
const BATCH: f64 = 0.02;

/// Sends frames as fast as they go, as the visit's [`Work::Frames`](crate::work::Work::Frames) says.
///
/// # Errors
///
/// Why there was no call. What is lost or damaged is a failure in the outcome.
pub async fn run(
    lab: &Lab,
    visit: &Visit,
    content: Content,
    window: usize,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let site = lab.site(visit, Network::Loopback, false)?;
    let frames = Frames::new(content, visit.recording.as_deref())?;
    let size = frames.mean_size();
    let mut call = FrameThroughput::new(&site, frames, window).await?;
    let mut count = 100;
    outcome
        .measure(visit, async || {
            let meter = Meter::start();
            let sent = count;
            call.run(sent).await?;
            let (wall, cpu) = meter.read();
            let rate = sent as f64 / wall;
            count = ((rate * BATCH) as u64).max(10);
            Ok(vec![
                (Metric::FramesPerSecond, rate),
                (Metric::FramesPerCpuSecond, sent as f64 / cpu),
                (Metric::Throughput, rate * size / 1e6),
            ])
        })
        .await;
    call.end().await;
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

/// A call that sends H.264 frames from the offerer to the answerer.
#[derive(Debug)]
pub struct FrameThroughput {
    pair: SamePage,
    call: Arc<Call>,
    sender: TrackSender,
    receiver: TrackReceiver,
    frames: Frames,
    window: usize,
    sent: u64,
}

impl FrameThroughput {
    /// Calls and waits until frames may flow.
    ///
    /// # Errors
    ///
    /// Why there was no call.
    pub async fn new(site: &Site, frames: Frames, window: usize) -> Result<Self, String> {
        let pair = site.pair(video()).await;
        let call = pair.call().await.map_err(|failure| failure.to_string())?;
        let sender = call.offerer.transceivers[0].sender();
        let receiver = call.answerer.transceivers[0].receiver();
        sender.ready().await;
        Ok(Self {
            pair,
            call,
            sender,
            receiver,
            frames,
            window,
            sent: 0,
        })
    }

    /// Sends `count` frames and receives each, a window of them under way. The time is from the first one sent to the
    /// last one received.
    ///
    /// # Errors
    ///
    /// When a frame is dropped, lost, out of order or not what was sent: throughput with losses is no result.
    pub async fn run(&mut self, count: u64) -> Result<Duration, String> {
        let room = Semaphore::new(self.window);
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let began = Instant::now();
        let send = async {
            for n in numbers.clone() {
                room.acquire().await.map_err(|error| error.to_string())?.forget();
                if !self.sender.try_send(outgoing(&self.frames, n, Instant::now())) {
                    return Err(format!("frame {n} was dropped: {:?}", self.sender.stats()));
                }
            }
            Ok(())
        };
        let receive = async {
            for n in numbers.clone() {
                let frame = timeout(PATIENCE, self.receiver.recv()).await;
                let frame = frame
                    .ok()
                    .flatten()
                    .ok_or_else(|| format!("frame {n} did not arrive"))?;
                check(&self.frames, n, &frame)?;
                room.add_permits(1);
            }
            Ok(())
        };
        tokio::try_join!(send, receive)?;
        let took = began.elapsed();
        let InboundStats {
            frames_received,
            frames_dropped,
            gaps,
            ..
        } = self.receiver.stats();
        if (frames_received, frames_dropped, gaps) != (self.sent, 0, 0) {
            return Err(format!(
                "of {} frames not all arrived: {:?}",
                self.sent,
                self.receiver.stats()
            ));
        }
        Ok(took)
    }

    /// Hangs up.
    pub async fn end(self) {
        drop(self.call);
        // The only refusal is that the call is over already.
        let _ = self.pair.hang_up().await;
    }
}

/// A call with one H.264 track from the offerer to the answerer.
pub(super) fn video() -> PairConfig {
    PairConfig {
        media: vec![PairMedia {
            kind: MediaKind::Video,
            direction: Direction::SendOnly,
            codecs: vec![Codec::H264],
        }],
        ..PairConfig::default()
    }
}

/// Frame `n` as it is sent.
pub(super) fn outgoing(frames: &Frames, n: u64, captured: Instant) -> OutgoingFrame {
    let frame = frames.get(n);
    OutgoingFrame {
        codec: Codec::H264,
        payload: frame.payload.clone(),
        keyframe: frame.keyframe,
        media_time: MediaTime {
            ticks: n * STEP,
            rate: Codec::H264.clock_rate(),
        },
        captured,
    }
}

/// Whether what arrived is frame `n`.
pub(super) fn check(frames: &Frames, n: u64, arrived: &IncomingFrame) -> Result<(), String> {
    let sent = frames.get(n);
    let is = sent.is(arrived.payload.as_ref())
        && arrived.keyframe == sent.keyframe
        && arrived.media_time.ticks as u32 == (n * STEP) as u32;
    is.then_some(())
        .ok_or_else(|| format!("what arrived is not frame {n}"))
}
