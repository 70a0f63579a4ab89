//! What a call carries: the sources, pipelines and sinks of a [`Call`], put together.
//!
//! A [`MediaPlan`] says what to carry. Its [`pair_media`](MediaPlan::pair_media) goes into the pair's configuration;
//! [`OpenMedia::open`] is the demo's Start, and [`OpenMedia::preview`] shows it; [`CallMedia::start`] begins when the call is up, and
//! [`CallMedia::finish`] ends it before the hang-up, with a [`MediaReport`]. What the receiver can check (pattern and
//! tone) it checks: [`MediaReport::problems`] says what is wrong. A
//! [`Monitor`] shows what goes on, and bitrate, sources and recordings can be changed while the call is up.

mod change;
mod live;
mod monitor;
mod open;
mod plan;
mod preview;
mod record;
mod report;
#[cfg(test)]
mod tests;
mod way;

pub use live::LiveFigures;
pub use monitor::Monitor;
pub use open::OpenMedia;
pub use plan::{AudioInput, AudioPlan, MediaPlan, VideoInput, VideoPlan, default_bitrate};
pub use preview::Preview;
pub use report::{
    AudioWay, FrameCounts, MediaReport, PacketCounts, Psnr, Quantiles, SkewMs, VideoWay, WayReport,
};

use crate::source::file::Repeat;
use open::OpenWay;
use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use visavis_core::{
    Call, Error, ErrorKind, Mark, MediaKind, Result, Side, StatsReport, TrackStats, Transceiver,
};
use way::{Ends, Way};

/// What is in flight when the senders stop has this long to arrive.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Stats are a matter of microseconds; a peer that takes longer than this has none.
const STATS_PATIENCE: Duration = Duration::from_secs(1);

/// How often counts are looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(2);

/// The media of a call that is up. Dropping it stops all of it.
#[derive(Debug)]
pub struct CallMedia {
    call: Arc<Call>,
    ways: Vec<Way>,
    finite: bool,
    repeat: Repeat,
}

impl CallMedia {
    /// Waits until every side that sends may, for `patience` at most, and starts all receivers and senders with one
    /// common time 0, so that pictures and sound of both sides belong together.
    ///
    /// # Errors
    ///
    /// [`Timeout`](ErrorKind::Timeout) if a side may not send in time, and `InvalidState` if the call has no such
    /// m-line, or has ended.
    pub async fn start(
        call: &Arc<Call>,
        plan: &MediaPlan,
        opened: OpenMedia,
        patience: Duration,
    ) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut ready = Vec::new();
        for way in opened.ways {
            let ends = ends(call, &way)?;
            for sender in ends.video.iter().chain(&ends.audio).map(|(sender, _)| sender) {
                let (from, kind) = (way.from, sender.kind());
                match timeout_at(deadline, sender.ready()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(Error::closed("start_media")),
                    Err(_) => {
                        let message = format!("the {from} may not send {kind} after {patience:?}");
                        return Err(Error::new(ErrorKind::Timeout, "start_media", message));
                    }
                }
            }
            ready.push((way, ends));
        }
        let start = Instant::now();
        let begin = |(way, ends): (OpenWay, Ends)| {
            call.side(way.from)
                .peer
                .timeline()
                .mark_at(Mark::MediaReady, start);
            Way::start(way, ends, start)
        };
        Ok(Self {
            call: Arc::clone(call),
            ways: ready.into_iter().map(begin).collect(),
            finite: plan.is_finite(),
            repeat: plan.repeat,
        })
    }

    /// Waits until each side that receives has decoded `pictures` and got `packets` of sound, of what is sent.
    pub async fn arrived(&self, pictures: u64, packets: u64) {
        while !self.ways.iter().all(|way| way.has_arrived(pictures, packets)) {
            sleep(LOOK).await;
        }
    }

    /// Waits until the media is over: when the files of its plan have been played, those that were replaced excepted,
    /// or a source or a codec has failed, which is in the report. Otherwise for ever. Cancel safe.
    pub async fn over(&mut self) {
        let finite = self.finite && self.ways.iter().any(Way::plays_files);
        let ways = self.ways.iter_mut().enumerate();
        let mut ends: Vec<_> = ways
            .flat_map(|(index, way)| way.ends().map(move |(file, end)| (index, file, end)))
            .collect();
        let failed = poll_fn(|cx| {
            let mut failed = None;
            ends.retain_mut(|(index, _, end)| match end.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => {
                    failed = Some((*index, error));
                    false
                }
                Poll::Pending => true,
            });
            let playing = !finite || ends.iter().any(|(_, file, _)| *file);
            if failed.is_some() || !playing {
                Poll::Ready(failed)
            } else {
                Poll::Pending
            }
        })
        .await;
        drop(ends);
        if let Some((index, error)) = failed {
            self.ways[index].failed(&error);
        }
    }

    /// What is known up to now.
    pub fn report(&self) -> MediaReport {
        let mut report = MediaReport::default();
        for way in &self.ways {
            *report.sent_by_mut(way.from) = Some(way.report(self.call.began));
        }
        report
    }

    /// Stops sending, lets what is in flight arrive, shows and plays it, completes the recordings, and reports. To be
    /// called before the hang-up, which would cut off what is in flight.
    pub async fn finish(mut self) -> MediaReport {
        for way in &mut self.ways {
            way.stop().await;
        }
        let arrival = async {
            while !self.ways.iter().all(Way::all_arrived) {
                sleep(LOOK).await;
            }
        };
        // What is lost never arrives.
        let _ = timeout(IN_FLIGHT, arrival).await;
        let peers = [Side::Offerer, Side::Answerer].map(|side| &self.call.side(side).peer);
        let stats = async { tokio::join!(peers[0].stats(), peers[1].stats()) };
        let stats = timeout(STATS_PATIENCE, stats).await.ok();
        let (offerer, answerer) = stats.map_or((None, None), |(a, b)| (a.ok(), b.ok()));
        for way in &mut self.ways {
            way.finish().await;
        }
        let mut report = self.report();
        if let (Some(offerer), Some(answerer)) = (&offerer, &answerer) {
            for (side, sender, receiver) in [
                (Side::Offerer, offerer, answerer),
                (Side::Answerer, answerer, offerer),
            ] {
                let Some(way) = report.sent_by_mut(side) else {
                    continue;
                };
                for kind in [MediaKind::Audio, MediaKind::Video] {
                    if let (Some(sender), Some(receiver)) = (track(sender, kind), track(receiver, kind)) {
                        way.counted(kind, &sender.rtp, &receiver.rtp);
                    }
                }
            }
        }
        report
    }
}

fn track(stats: &StatsReport, kind: MediaKind) -> Option<&TrackStats> {
    stats.tracks.iter().find(|t| t.kind == kind)
}

/// The tracks that a way takes: the sender at the one side, the receiver at the other.
fn ends(call: &Call, way: &OpenWay) -> Result<Ends> {
    let to = match way.from {
        Side::Offerer => Side::Answerer,
        Side::Answerer => Side::Offerer,
    };
    let of = |side: Side, kind: MediaKind| {
        let found = call.side(side).transceivers.iter().find(|t| t.kind() == kind);
        found.ok_or_else(|| {
            let message = format!("the {side} has no {kind} m-line; see MediaPlan::pair_media");
            Error::new(ErrorKind::InvalidState, "start_media", message)
        })
    };
    let both = |kind| {
        let pair = (of(way.from, kind)?, of(to, kind)?);
        Ok::<_, Error>((Transceiver::sender(pair.0), Transceiver::receiver(pair.1)))
    };
    Ok(Ends {
        video: way.video.as_ref().map(|_| both(MediaKind::Video)).transpose()?,
        audio: way.audio.as_ref().map(|_| both(MediaKind::Audio)).transpose()?,
        timeline: call.side(to).peer.timeline().clone(),
    })
}
