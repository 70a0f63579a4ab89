//! Checks pictures of a pattern whose sender is elsewhere: neither its size nor its rate is known, nor whether it is
//! the pattern at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{Result, VideoFrame, media::VideoSink};
use visavis_media::{
    sink::{Reports, VideoLimits, VideoReport, VideoVerifier},
    source::{FrameRate, Pattern},
};

/// As many pixels a second as this are compared with what was sent, those of 640x480 at 30.
const COMPARED: f64 = 640.0 * 480.0 * 30.0;

/// The numbers of the pictures shown, and the rest where the pictures are as they were sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Pictures with a number that can be read.
    pub(super) readable: u64,
    /// Pictures without one.
    pub(super) unreadable: u64,
    /// Pictures with the number of the one before.
    pub(super) repeated: u64,
    /// Pictures with a lower number than the one before.
    pub(super) backwards: u64,
    last: Option<u32>,
    /// When the last picture came that was not the one before again.
    last_new: Option<Instant>,
    longest_gap: Option<Duration>,
    reports: Option<Reports<VideoReport>>,
}

impl Seen {
    /// What a comparison with the pattern says.
    pub(super) fn compared(&self) -> Option<VideoReport> {
        self.reports.as_ref().map(Reports::report)
    }

    /// The longest time between two new pictures; until `end` from the last one, if more were to come until then.
    pub(super) fn longest_gap(&self, end: Option<Instant>) -> Option<Duration> {
        let last = self
            .last_new
            .zip(end)
            .map(|(last, end)| end.saturating_duration_since(last));
        self.longest_gap.max(last)
    }

    fn take(&mut self, number: Option<u32>, at: Instant) {
        if (number.is_none() || number != self.last)
            && let Some(last) = self.last_new.replace(at)
        {
            let gap = at.saturating_duration_since(last);
            self.longest_gap = self.longest_gap.max(Some(gap));
        }
        let Some(number) = number else {
            self.unreadable += 1;
            return;
        };
        self.readable += 1;
        if let Some(last) = self.last.replace(number) {
            self.repeated += u64::from(number == last);
            self.backwards += u64::from(number < last);
        }
    }
}

/// A sink that reads the numbers, and compares the pictures once two of them have told the rate.
#[derive(Debug, Default)]
pub(super) struct PatternCheck {
    seen: Arc<Mutex<Seen>>,
    verifier: Option<VideoVerifier>,
    first: Option<(u32, Duration)>,
}

impl PatternCheck {
    /// What is found, at any time.
    pub(super) fn seen(&self) -> impl Fn() -> Seen + Send + Sync + 'static {
        let seen = Arc::clone(&self.seen);
        move || lock(&seen).clone()
    }

    /// A verifier for the pattern that `frame` is of, if the picture before tells its rate.
    fn verifier(&mut self, number: u32, frame: &VideoFrame) -> Option<VideoVerifier> {
        let (first, time) = *self.first.get_or_insert((number, frame.time));
        let pictures = number.checked_sub(first).filter(|pictures| *pictures > 0)?;
        let fps = f64::from(pictures) / frame.time.checked_sub(time)?.as_secs_f64();
        // Timestamps are rounded to 1/90,000 s.
        let rate = FrameRate::from_fps(((fps * 100.0).round() / 100.0) as f32).ok()?;
        let pattern = Pattern::new(frame.width, frame.height, rate).ok()?;
        let pixels = frame.width as f64 * frame.height as f64 * fps;
        let verifier = VideoVerifier::new(pattern).compare_every((pixels / COMPARED).ceil() as u32);
        Some(verifier.limits(VideoLimits {
            // A sender that is busy leaves out pictures, and its counts are elsewhere.
            missing: 0.5,
            age_ms: 1_000.0,
            ..VideoLimits::default()
        }))
    }
}

impl VideoSink for PatternCheck {
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()> {
        let number = Pattern::read_number(frame);
        lock(&self.seen).take(number, at);
        if self.verifier.is_none()
            && let Some(number) = number
            && let Some(verifier) = self.verifier(number, frame)
        {
            lock(&self.seen).reports = Some(verifier.reports());
            self.verifier = Some(verifier);
        }
        match &mut self.verifier {
            Some(verifier) => verifier.show(frame, at),
            None => Ok(()),
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use visavis_core::media::VideoSource;

    #[test]
    fn the_rate_is_told_by_two_pictures() {
        for (fps, size) in [(30.0, (640, 480)), (29.97, (320, 240)), (12.5, (160, 120))] {
            let rate = FrameRate::from_fps(fps).unwrap();
            let mut pattern = Pattern::new(size.0, size.1, rate).unwrap();
            let mut check = PatternCheck::default();
            let seen = check.seen();
            let began = Instant::now();
            let mut last = None;
            for _ in 0..20 {
                let frame = pattern.next().unwrap().unwrap();
                check.show(&frame, began + frame.time).unwrap();
                last = Some(frame);
            }
            let compared = seen().compared().expect("a comparison");
            assert_eq!(compared.problems(), Vec::<String>::new(), "{fps}");
            assert!(compared.psnr_luma_db.unwrap().min > 99.0, "{fps}");
            let last = last.unwrap();
            check.show(&last, began + last.time).unwrap();
            check.show(&pattern.frame(3), began + last.time).unwrap();
            let seen = seen();
            assert_eq!((seen.readable, seen.repeated, seen.backwards), (22, 1, 1));
            assert_eq!(
                seen.longest_gap(None).unwrap().as_millis(),
                (1_000.0 / fps) as u128
            );
        }
    }

    #[test]
    fn a_picture_that_stands_still_is_a_gap() {
        let pattern = Pattern::new(64, 48, FrameRate::from_fps(30.0).unwrap()).unwrap();
        let mut check = PatternCheck::default();
        let seen = check.seen();
        let began = Instant::now();
        let end = |ms| Some(began + Duration::from_millis(ms));
        assert_eq!(seen().longest_gap(end(5_000)), None, "there was no first picture");
        // Number 1 comes again and again.
        for (number, ms) in [(0, 0), (1, 100), (1, 600), (1, 1_200), (2, 1_400), (3, 1_500)] {
            let frame = pattern.frame(number);
            check.show(&frame, began + Duration::from_millis(ms)).unwrap();
        }
        assert_eq!(seen().longest_gap(None), Some(Duration::from_millis(1_300)));
        assert_eq!(seen().longest_gap(end(1_600)), Some(Duration::from_millis(1_300)));
        assert_eq!(seen().longest_gap(end(4_000)), Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn what_is_no_pattern_is_counted() {
        let mut check = PatternCheck::default();
        let seen = check.seen();
        let mut frame = Pattern::new(64, 48, FrameRate::from_fps(30.0).unwrap())
            .unwrap()
            .frame(0);
        frame.planes[0] = vec![16; frame.planes[0].len()].into();
        check.show(&frame, Instant::now()).unwrap();
        assert_eq!((seen().readable, seen().unreadable), (0, 1));
        assert!(seen().compared().is_none());
    }
}
