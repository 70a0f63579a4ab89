//! Pictures on one way.

use super::{
    checked::{Check, Checked},
    covered, is_much,
};
use crate::{
    pipeline::{
        Playout, TrackClock, VideoReceive, VideoReceiver, VideoSend, VideoSender, receive_video, send_video,
    },
    session::{
        LiveFigures,
        monitor::{TappedSink, TappedVideo, Taps},
        open::OpenVideo,
        record::{Form, Recorder},
        report::{FrameCounts, PacketCounts, Psnr, Quantiles, VideoWay, bitrate, rounded},
    },
    sink::{NullVideo, VideoLimits, VideoReport, VideoVerifier},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use visavis_core::{Codec, Timeline, TrackReceiver, TrackSender, media::VideoSink};

/// Comparing a picture with what was sent costs about as much as decoding it. As many pixels a second as this are
/// compared, those of 640x480 at 30; of larger pictures one in a few.
const COMPARED: f64 = 640.0 * 480.0 * 30.0;

/// The pipelines of the pictures.
#[derive(Debug)]
pub(in crate::session) struct Video {
    name: &'static str,
    /// Whether it is a file of the plan.
    pub(super) is_file: bool,
    size: (usize, usize),
    interval: Duration,
    pub(super) track: (TrackSender, TrackReceiver),
    pub(in crate::session) sender: VideoSender,
    pub(super) receiver: VideoReceiver,
    pub(super) check: Option<Check<VideoReport>>,
    pub(super) recorder: Recorder,
    taps: Arc<Taps>,
}

impl Video {
    /// Starts the receiver, and then the sender.
    pub(super) fn start(
        opened: OpenVideo,
        track: (TrackSender, TrackReceiver),
        start: Instant,
        playout: &Arc<Playout>,
        timeline: &Timeline,
        taps: &Arc<Taps>,
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
        let (sink, check): (Box<dyn VideoSink>, _) = match verifier {
            Some(verifier) => {
                let reports = verifier.reports();
                let (sink, check) = Checked::new(verifier, reports);
                (Box::new(sink), Some(check))
            }
            None => (Box::new(NullVideo), None),
        };
        let recorder = Recorder::new(opened.recorder, Some(track.1.clone()));
        let receiver = receive_video(
            track.1.clone(),
            VideoReceive {
                sink: Box::new(TappedSink::new(sink, taps)),
                recorder: Some(Box::new(recorder.clone())),
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
            is_file: opened.name == "file",
            size: opened.source.size(),
            interval: opened.source.interval(),
            sender: send_video(
                track.0.clone(),
                Box::new(TappedVideo::new(opened.source, taps)),
                settings,
            ),
            track,
            receiver,
            check,
            recorder,
            taps: Arc::clone(taps),
        }
    }

    /// Goes on with another source, of which the receiver can check nothing.
    pub(in crate::session) fn replace(&mut self, opened: OpenVideo) {
        if let Some(check) = &self.check {
            check.stop();
        }
        (self.name, self.is_file) = (opened.name, false);
        (self.size, self.interval) = (opened.source.size(), opened.source.interval());
        self.sender.set_bitrate(opened.settings.bitrate);
        let source = TappedVideo::new(opened.source, &self.taps);
        self.sender.replace_track(Box::new(source));
    }

    /// What a recording has.
    pub(super) fn form(&self) -> Form {
        let received = self.receiver.counted(|stats| (stats.codec, stats.size));
        Form::Video {
            codec: received.0.or(self.track.0.codec()).unwrap_or(Codec::H264),
            size: received.1.unwrap_or(self.size),
        }
    }

    /// Fills in what is of the pictures.
    pub(super) fn live(&self, live: &mut LiveFigures) {
        self.sender.counted(|sent| {
            (live.captured, live.bytes_sent, live.keyframes) = (sent.captured, sent.bytes, sent.keyframes);
            live.target = sent.target;
        });
        self.receiver.counted(|received| {
            (live.decoded, live.capture_to_decode) = (received.decoded, received.last_capture_to_decode);
        });
        live.sent = self.track.0.stats().frames_sent;
        live.received = self.track.1.stats().frames_received;
    }

    /// What is known up to now, `time` after the start.
    pub(super) fn report(&self, time: Duration, problems: &mut Vec<String>) -> VideoWay {
        let (sent, received) = (self.sender.stats(), self.receiver.stats());
        let frames = FrameCounts::of(&sent, &received, self.track.0.stats(), self.track.1.stats());
        let checked = self.check.as_ref().and_then(|check| check.report(|r| r.frames));
        problems.extend(frames.problem());
        problems.extend(self.recorder.problems());
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
            target_bitrate_bps: sent.target.map(visavis_core::Bitrate::bps),
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
