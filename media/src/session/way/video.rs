//! Pictures on one way.

use super::{covered, is_much};
use crate::{
    pipeline::{
        Playout, TrackClock, VideoReceive, VideoReceiver, VideoSend, VideoSender, receive_video, send_video,
    },
    session::{
        open::OpenVideo,
        report::{FrameCounts, PacketCounts, Psnr, Quantiles, VideoWay, bitrate, rounded},
    },
    sink::{NullVideo, Reports, VideoLimits, VideoReport, VideoVerifier},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use visavis_core::{Timeline, TrackReceiver, TrackSender};

/// Comparing a picture with what was sent costs about as much as decoding it. As many pixels a second as this are
/// compared, those of 640x480 at 30; of larger pictures one in a few.
const COMPARED: f64 = 640.0 * 480.0 * 30.0;

/// The pipelines of the pictures.
#[derive(Debug)]
pub(super) struct Video {
    pub(super) name: &'static str,
    interval: Duration,
    pub(super) track: (TrackSender, TrackReceiver),
    pub(super) sender: VideoSender,
    pub(super) receiver: VideoReceiver,
    pub(super) reports: Option<Reports<VideoReport>>,
}

impl Video {
    /// Starts the receiver, and then the sender.
    pub(super) fn start(
        opened: OpenVideo,
        track: (TrackSender, TrackReceiver),
        start: Instant,
        playout: &Arc<Playout>,
        timeline: &Timeline,
    ) -> Self {
        let clock = TrackClock::new(start, None, 90_000);
        let verifier = opened.pattern.map(|pattern| {
            let size = opened.source.size();
            let pixels = size.0 as f64 * size.1 as f64 * f64::from(opened.settings.fps);
            VideoVerifier::new(pattern)
                .epoch(start)
                .compare_every((pixels / COMPARED).ceil() as u32)
                .limits(VideoLimits {
                    // Counted from capture on, for every source.
                    missing: 1.0,
                    age_ms: 1_000.0,
                    ..VideoLimits::default()
                })
        });
        let reports = verifier.as_ref().map(VideoVerifier::reports);
        let receiver = receive_video(
            track.1.clone(),
            VideoReceive {
                sink: match verifier {
                    Some(verifier) => Box::new(verifier),
                    None => Box::new(NullVideo),
                },
                recorder: opened.recorder,
                playout: Some(Arc::clone(playout)),
                clock: Some(clock),
                timeline: Some(timeline.clone()),
            },
        );
        let settings = VideoSend {
            settings: opened.settings,
            start,
            first_timestamp: Some(clock.first),
        };
        Self {
            name: opened.name,
            interval: opened.source.interval(),
            sender: send_video(track.0.clone(), opened.source, settings),
            track,
            receiver,
            reports,
        }
    }

    /// What is known up to now, `time` after the start.
    pub(super) fn report(&self, time: Duration, problems: &mut Vec<String>) -> VideoWay {
        let (sent, received) = (self.sender.stats(), self.receiver.stats());
        let frames = FrameCounts::of(&sent, &received, self.track.0.stats(), self.track.1.stats());
        let checked = self.reports.as_ref().map(Reports::report);
        problems.extend(frames.problem());
        if let Some(report) = &checked
            && frames.decoded > 0
        {
            problems.extend(report.problems());
        }
        let checked = checked.filter(|report| report.frames > 0);
        let seconds = covered(time, self.interval, sent.captured).as_secs_f64();
        VideoWay {
            source: self.name,
            codec: received.codec.or(sent.codec),
            width: received.size.map(|s| s.0),
            height: received.size.map(|s| s.1),
            frames,
            fps: (seconds > 0.0).then(|| rounded(frames.decoded as f64 / seconds)),
            first_frame_ms: None,
            capture_to_decode_ms: Quantiles::of(&received.capture_to_decode),
            psnr_db: checked.as_ref().and_then(|r| r.psnr_luma_db).map(|psnr| Psnr {
                mean: rounded(psnr.mean),
                min: rounded(psnr.min),
            }),
            numbers_in_order: checked.map(|r| r.repeated + r.backwards + r.restarts == 0),
            bitrate_bps: bitrate(sent.bytes, Duration::from_secs_f64(seconds)),
            keyframes: sent.keyframes,
            rtp: PacketCounts::default(),
        }
    }
}

impl FrameCounts {
    /// If too few pictures came through: why, in words.
    fn problem(&self) -> Option<String> {
        let fates: Vec<_> = self
            .fates()
            .into_iter()
            .map(|(count, fate)| format!("{count} {fate}"))
            .collect();
        let because = if fates.is_empty() {
            String::new()
        } else {
            format!(" ({})", fates.join(", "))
        };
        if self.decoded == 0 {
            return Some(format!("no picture was decoded of {}{because}", self.captured));
        }
        let missing = self.captured.saturating_sub(self.decoded);
        is_much(missing, self.captured).then(|| {
            format!(
                "only {} of {} pictures were decoded{because}",
                self.decoded, self.captured
            )
        })
    }
}
