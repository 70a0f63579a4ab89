//! The pictures and the sound before and in a call, as a monitor has them.

use super::{Running, plan};
use crate::{
    session::{MediaPlan, Monitor, OpenMedia, VideoInput},
    source::Pattern,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use visavis_core::{
    Error, ErrorKind, Result, Side,
    media::{VideoFrame, VideoSource},
};

/// The number of a picture, and how many there were.
fn read((count, frame): (u64, VideoFrame)) -> (u64, Option<u32>) {
    (count, Pattern::read_number(&frame))
}

async fn open(plan: &MediaPlan) -> (OpenMedia, Monitor) {
    let opened = OpenMedia::open(plan).await.unwrap();
    let monitor = opened.monitor(Side::Offerer).unwrap();
    (opened, monitor)
}

/// A file of so many pictures of the pattern.
fn file(directory: &Path, pictures: u32) -> MediaPlan {
    let mut plan = plan();
    let video = plan.video.as_mut().unwrap();
    let pattern = Pattern::new(160, 120, video.rate).unwrap();
    let mut y4m = b"YUV4MPEG2 W160 H120 F30:1 Ip A1:1 C420\n".to_vec();
    for number in 0..pictures {
        let frame = pattern.frame(number);
        y4m.extend_from_slice(b"FRAME\n");
        for (plane, (width, height)) in [(160, 120), (80, 60), (80, 60)].into_iter().enumerate() {
            for row in 0..height {
                let at = row * frame.strides[plane];
                y4m.extend_from_slice(&frame.planes[plane][at..at + width]);
            }
        }
    }
    let path = directory.join("pattern.y4m");
    std::fs::write(&path, y4m).unwrap();
    video.source = VideoInput::File(path);
    plan
}

#[tokio::test(start_paused = true)]
async fn a_monitor_shows_both_ends_of_a_call() {
    let (opened, monitor) = open(&plan()).await;
    assert!(opened.monitor(Side::Answerer).is_none(), "it sends nothing");
    assert!(monitor.captured().is_none() && monitor.shown().is_none());
    assert!(monitor.captured_level().is_none() && monitor.heard_level().is_none());
    let running = Running::start(opened, |_| false);
    let mut last = (0, 0);
    for tenth in 1..=10 {
        sleep(Duration::from_millis(100)).await;
        let (captured, shown) = (read(monitor.captured().unwrap()), read(monitor.shown().unwrap()));
        assert!(captured.0 > last.0 && shown.0 > last.1, "{tenth}: they go on");
        assert_eq!(captured.1.map(u64::from), Some(captured.0 - 1), "none too early");
        assert_eq!(shown.1.map(u64::from), Some(shown.0 - 1));
        assert!(captured.0 - shown.0 <= 1);
        last = (captured.0, shown.0);
    }
    let live = running.way.live();
    assert!(
        live.captured >= 30 && live.decoded >= 30 && live.keyframes == 1,
        "{live:?}"
    );
    assert!(
        live.bytes_sent > 1_000 && live.capture_to_decode.is_some(),
        "{live:?}"
    );
    assert!(
        live.packets_received >= 49 && live.packets_lost <= 1 && live.concealed == 0,
        "{live:?}"
    );
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(monitor.shown().unwrap().0, report.video.unwrap().frames.decoded);
}

#[tokio::test(start_paused = true)]
async fn the_tone_is_as_loud_at_both_ends() {
    let (opened, monitor) = open(&plan()).await;
    let running = Running::start(opened, |_| false);
    // Between two beeps: a sine with a peak of -26 dBFS.
    sleep(Duration::from_millis(1_700)).await;
    let levels = [monitor.captured_level().unwrap(), monitor.heard_level().unwrap()];
    assert!((levels[0] + 29.0).abs() < 0.1, "{levels:?}");
    assert!((levels[1] + 29.0).abs() < 1.0, "{levels:?}");
    // In a beep, which has a peak of -6 dBFS.
    sleep(Duration::from_millis(400)).await;
    assert!(monitor.captured_level().unwrap() > -12.0);
    let _ = running.finish().await;
    sleep(Duration::from_millis(600)).await;
    assert!(monitor.captured_level().is_none() && monitor.heard_level().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_call_begins_anew_after_a_preview_of_the_pattern() {
    let (opened, monitor) = open(&plan()).await;
    let preview = opened.preview();
    sleep(Duration::from_millis(1_010)).await;
    assert_eq!(read(monitor.captured().unwrap()), (31, Some(30)));
    assert!(monitor.captured_level().is_some() && monitor.shown().is_none());
    assert!(preview.monitor(Side::Offerer).is_some() && preview.monitor(Side::Answerer).is_none());
    let asked = Instant::now();
    let opened = preview.stop().await.unwrap();
    assert!(
        asked.elapsed() < Duration::from_millis(50),
        "nothing is waited for"
    );
    let running = Running::start(opened, |_| false);
    sleep(Duration::from_millis(1_010)).await;
    assert_eq!(read(monitor.captured().unwrap()), (62, Some(30)));
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    let video = report.video.unwrap();
    assert_eq!((video.frames.captured, video.frames.decoded), (31, 31));
    assert_eq!(video.numbers_in_order, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_preview_takes_nothing_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (opened, monitor) = open(&file(directory.path(), 40)).await;
    let mut opened = Some(opened);
    // Twice, as who presses Start, goes back, and presses it again.
    for round in 1..=2 {
        let preview = opened.take().unwrap().preview();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(
            read(monitor.captured().unwrap()),
            (round, Some(0)),
            "it stands still"
        );
        opened = Some(preview.stop().await.unwrap());
    }
    let mut running = Running::start(opened.unwrap(), |_| false);
    for (is_file, end) in running.way.ends() {
        if is_file {
            end.await.unwrap();
        }
    }
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    let frames = report.video.unwrap().frames;
    assert_eq!((frames.captured, frames.decoded), (40, 40));
    assert_eq!(read(monitor.shown().unwrap()), (40, Some(39)));
}

#[tokio::test(start_paused = true)]
async fn a_preview_that_is_dropped_stops() {
    let (opened, monitor) = open(&plan()).await;
    let preview = opened.preview();
    sleep(Duration::from_millis(500)).await;
    drop(preview);
    sleep(Duration::from_millis(100)).await;
    let count = monitor.captured().unwrap().0;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(monitor.captured().unwrap().0, count);
}

/// A device that gives so many pictures, and counts how often it is asked.
struct Live {
    pattern: Pattern,
    pictures: u32,
    asked: Arc<AtomicU32>,
}

impl VideoSource for Live {
    fn size(&self) -> (usize, usize) {
        self.pattern.size()
    }

    fn interval(&self) -> Duration {
        self.pattern.interval()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        if self.asked.fetch_add(1, Ordering::Relaxed) >= self.pictures {
            return Err(Error::new(ErrorKind::NotReadable, "next", "it is unplugged"));
        }
        self.pattern.next()
    }
}

/// A preview of a device that gives so many pictures, until it was `asked` so often.
async fn preview_device(pictures: u32, asked: u32) -> (Result<OpenMedia>, Monitor) {
    let (mut opened, monitor) = open(&plan()).await;
    let video = opened.ways[0].video.as_mut().unwrap();
    let count = Arc::<AtomicU32>::default();
    video.source = Box::new(Live {
        pattern: video.pattern.take().unwrap(),
        pictures,
        asked: Arc::clone(&count),
    });
    let preview = opened.preview();
    while count.load(Ordering::Relaxed) < asked {
        yield_now().await;
    }
    (preview.stop().await, monitor)
}

#[tokio::test(start_paused = true)]
async fn a_device_goes_on_after_the_preview() {
    let (opened, monitor) = preview_device(u32::MAX, 5).await;
    let seen = read(monitor.captured().unwrap());
    assert!(seen.0 >= 5);
    let mut opened = opened.unwrap();
    let source = &mut opened.ways[0].video.as_mut().unwrap().source;
    let next = source.next().unwrap().unwrap();
    assert_eq!(
        Pattern::read_number(&next),
        seen.1.map(|n| n + 1),
        "it is the same device"
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails_in_the_preview_is_told_at_its_end() {
    let (opened, monitor) = preview_device(3, 4).await;
    let error = opened.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReadable);
    assert!(error.to_string().contains("unplugged"), "{error}");
    assert_eq!(monitor.captured().unwrap().0, 3);
}
