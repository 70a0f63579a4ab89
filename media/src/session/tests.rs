//! One way over a wire that is only two queues, in virtual time.

mod changes;
mod previews;

use super::{
    MediaPlan, OpenMedia, VideoInput,
    open::OpenWay,
    report::WayReport,
    way::{Ends, Way},
};
use crate::source::FrameRate;
use std::{path::Path, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use visavis_core::{
    Codec, ErrorKind, EventSink, IncomingFrame, Mark, MediaKind, Side, Timeline, TrackPort, TrackReceiver,
    TrackSender,
};

fn plan() -> MediaPlan {
    MediaPlan::checked((160, 120), FrameRate::new(30, 1).unwrap())
}

/// A track and a wire that loses each frame for which `lose` says so.
fn wire(
    tasks: &mut JoinSet<()>,
    kind: MediaKind,
    codec: Codec,
    lose: fn(u64) -> bool,
) -> (TrackSender, TrackReceiver) {
    let ((near_events, _), (far_events, _)) = (EventSink::detached(), EventSink::detached());
    let (sender, _, near) = TrackPort::detached(&near_events, kind, Some(codec));
    let (_, receiver, far) = TrackPort::detached(&far_events, kind, None);
    let epoch = Instant::now();
    tasks.spawn(async move {
        let (mut number, mut contiguous) = (0, true);
        loop {
            tokio::select! {
                () = near.woken() => {}
                () = far.woken() => {}
            }
            if far.take_keyframe_request() {
                near.request_keyframe();
            }
            while let Some(frame) = near.pop_outgoing() {
                number += 1;
                if lose(number) {
                    contiguous = false;
                    continue;
                }
                far.deliver(IncomingFrame {
                    codec: frame.codec,
                    payload: frame.payload,
                    keyframe: frame.keyframe,
                    contiguous: std::mem::replace(&mut contiguous, true),
                    media_time: frame.media_time,
                    first_packet: Instant::now(),
                    sender_time: Some(frame.captured.saturating_duration_since(epoch)),
                });
            }
        }
    });
    (sender, receiver)
}

/// A way that runs.
struct Running {
    way: Way,
    timeline: Timeline,
    start: Instant,
    _wires: JoinSet<()>,
}

impl Running {
    /// What the offerer sends, on a wire that loses pictures.
    fn start(mut opened: OpenMedia, lose: fn(u64) -> bool) -> Self {
        let mut tasks = JoinSet::new();
        let timeline = Timeline::default();
        let opened: OpenWay = opened.ways.remove(0);
        assert_eq!(opened.from, Side::Offerer);
        let ends = Ends {
            video: Some(wire(&mut tasks, MediaKind::Video, Codec::H264, lose)),
            audio: Some(wire(&mut tasks, MediaKind::Audio, Codec::Opus, |_| false)),
            timeline: timeline.clone(),
        };
        let start = Instant::now();
        Self {
            way: Way::start(opened, ends, start),
            timeline,
            start,
            _wires: tasks,
        }
    }

    /// Stops, as a call does.
    async fn finish(mut self) -> WayReport {
        self.way.stop().await;
        sleep(Duration::from_millis(100)).await;
        self.way.finish().await;
        self.way.report(self.start)
    }
}

/// Carries `plan` for `time` on a wire that loses pictures, and stops.
async fn carry(plan: &MediaPlan, time: Duration, lose: fn(u64) -> bool) -> (WayReport, Timeline) {
    let running = Running::start(OpenMedia::open(plan).await.unwrap(), lose);
    sleep(time).await;
    let timeline = running.timeline.clone();
    (running.finish().await, timeline)
}

#[tokio::test(start_paused = true)]
async fn what_can_be_checked_is_checked_and_found_good() {
    let (report, timeline) = carry(&plan(), Duration::from_millis(3_510), |_| false).await;
    assert_eq!(report.problems, [""; 0]);
    let (video, audio) = (report.video.unwrap(), report.audio.unwrap());
    let frames = video.frames;
    assert_eq!(
        (frames.captured, frames.sent, frames.received, frames.decoded),
        (106, 106, 106, 106)
    );
    assert_eq!(
        (frames.lost, frames.late, frames.skipped, frames.not_shown),
        (0, 0, 0, 0)
    );
    assert_eq!(
        (video.width, video.height, video.codec),
        (Some(160), Some(120), Some(Codec::H264))
    );
    assert_eq!(video.numbers_in_order, Some(true));
    assert!((video.fps.unwrap() - 30.0).abs() < 0.1, "{video:?}");
    assert!(video.psnr_db.unwrap().min > 25.0);
    assert!(video.capture_to_decode_ms.is_some() && video.first_frame_ms.is_some());
    assert_eq!(video.rtp.packets_sent, None, "nobody counted packets");
    assert_eq!((audio.packets_sent, audio.packets_lost), (176, 0));
    assert_eq!((audio.beeps_heard, audio.beeps_expected), (Some(4), Some(4)));
    assert!(audio.skew_ms.unwrap().median.abs() < 20.0, "{audio:?}");
    assert!(timeline.get(Mark::FirstFrameDecoded).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_and_a_little_is_forgiven() {
    let (report, _) = carry(&plan(), Duration::from_secs(3), |n| n == 10).await;
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.video.unwrap().frames.lost, 1);
    let (report, _) = carry(&plan(), Duration::from_secs(3), |n| n % 3 == 0).await;
    let video = report.video.unwrap();
    assert!(
        video.frames.lost > 20 && video.frames.undecodable > 0,
        "{video:?}"
    );
    assert!(
        report
            .problems
            .iter()
            .any(|p| p.contains("without their keyframe")),
        "{:?}",
        report.problems
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_at_all_is_bad() {
    let (report, _) = carry(&plan(), Duration::from_secs(1), |_| true).await;
    let problem = &report.problems[0];
    assert!(
        problem.starts_with("no picture was decoded of ") && problem.ends_with(" lost)"),
        "{problem}"
    );
    assert_eq!(report.problems.len(), 1);
    let video = report.video.unwrap();
    assert_eq!(
        (video.first_frame_ms, video.psnr_db, video.numbers_in_order),
        (None, None, None)
    );
}

#[tokio::test]
async fn a_file_that_is_not_there_is_refused_before_the_call() {
    let mut plan = plan();
    plan.video.as_mut().unwrap().source = VideoInput::File(Path::new("there/is/no.mp4").into());
    let error = OpenMedia::open(&plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("there/is/no.mp4"), "{error}");
}
