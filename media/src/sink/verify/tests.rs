//! Every kind of damage must turn a verifier red, with the right words, and nothing else may.

mod sound;

use super::*;
use crate::source::{Pattern, Tone};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::media::{AudioFrame, AudioSink, VideoFrame, VideoSink, VideoSource};

const PICTURES: u32 = 60;

fn pattern() -> Pattern {
    Pattern::new(160, 120, "30".parse().unwrap()).unwrap()
}

/// Pictures at their times on the source's clock, with the moment of showing as time since the start.
fn intact() -> Vec<(VideoFrame, Duration)> {
    let pattern = pattern();
    (0..PICTURES)
        .map(|number| pattern.frame(number))
        .map(|frame| (frame.clone(), frame.time))
        .collect()
}

fn show(pictures: &[(VideoFrame, Duration)]) -> VideoReport {
    let mut verifier = VideoVerifier::new(pattern());
    let reports = verifier.reports();
    let start = Instant::now();
    for (frame, at) in pictures {
        verifier.show(frame, start + *at).unwrap();
    }
    verifier.finish().unwrap();
    reports.report()
}

/// Red, for this reason and no other.
fn assert_only(problems: &[String], words: &str) {
    assert!(
        problems.len() == 1 && problems[0].contains(words),
        "not only `{words}`: {problems:?}"
    );
}

/// The same picture with other luma.
fn with_luma(frame: &VideoFrame, change: impl Fn(usize, usize, u8) -> u8) -> VideoFrame {
    let luma = frame.planes[0].iter().enumerate();
    let luma = luma
        .map(|(at, luma)| change(at % frame.width, at / frame.width, *luma))
        .collect::<Vec<_>>();
    let mut changed = frame.clone();
    changed.planes[0] = Bytes::from(luma);
    changed
}

#[test]
fn an_intact_run_is_green() {
    let report = show(&intact());
    assert_eq!(report.problems(), [""; 0]);
    assert!(
        report
            .verdict()
            .starts_with("good: 60 pictures, luma PSNR 100.0 dB"),
        "{}",
        report.verdict()
    );
    assert_eq!(
        (report.in_order, report.first_number, report.last_number),
        (60, Some(0), Some(59))
    );
    assert_eq!(
        report
            .seconds
            .iter()
            .map(|shown| shown.second)
            .collect::<Vec<_>>(),
        [0, 1]
    );
    let end = report.last_new.unwrap();
    assert_eq!(report.stalled(end + Duration::from_millis(900)), None);
    assert!(
        report
            .stalled(end + Duration::from_secs(2))
            .unwrap()
            .contains("no new picture for the last 2000 ms")
    );
    assert_eq!((report.seconds[1].at - report.seconds[0].at).as_millis(), 1_000);
}

#[test]
fn a_lossy_but_good_run_is_green() {
    let mut pictures = intact();
    for (index, (frame, at)) in pictures.iter_mut().enumerate() {
        let noise = |x: usize, y: usize| (x.wrapping_mul(7_919) ^ (y + index).wrapping_mul(104_729)) / 3 % 13;
        *frame = with_luma(frame, |x, y, luma| (luma + noise(x, y) as u8).saturating_sub(6));
        // Jitter of display.
        *at += Duration::from_millis([0, 7, 3, 12][index % 4]);
    }
    let report = show(&pictures);
    assert_eq!(report.problems(), [""; 0]);
    let psnr = report.psnr_luma_db.unwrap();
    assert!((33.0..40.0).contains(&psnr.mean), "{psnr:?}");
    assert!((report.age_ms.unwrap().max - 12.0).abs() < 0.01);
}

#[test]
fn pictures_in_the_wrong_order_are_found() {
    let mut pictures = intact();
    let (a, b) = (pictures[20].0.clone(), pictures[21].0.clone());
    (pictures[20].0, pictures[21].0) = (b, a);
    let report = show(&pictures);
    assert_only(
        &report.problems(),
        "1 picture was shown after a later one (backwards)",
    );
    assert_eq!((report.missing, report.backwards), (0, 1));
}

#[test]
fn repeated_pictures_are_found() {
    let mut pictures = intact();
    let again = (pictures[20].0.clone(), pictures[20].1 + Duration::from_millis(16));
    pictures.insert(21, again);
    assert_only(&show(&pictures).problems(), "1 picture was repeated");

    // A frozen picture: all that follow are missing too, but nobody can know that yet.
    let mut pictures = intact();
    let frozen = pictures[9].0.clone();
    pictures[10..]
        .iter_mut()
        .for_each(|(frame, _)| *frame = frozen.clone());
    let problems = show(&pictures).problems();
    assert!(problems[0].contains("50 pictures were repeated"), "{problems:?}");
}

#[test]
fn old_pictures_are_stale() {
    // A queue that grows: all there and in order, but later and later.
    let mut pictures = intact();
    for (frame, at) in &mut pictures {
        *at += frame.time / 2;
    }
    let report = show(&pictures);
    assert_only(&report.problems(), "stale: up to 983 ms late");
    assert!((25..35).contains(&report.stale), "{}", report.stale);

    // Pictures from a second ago again.
    let mut pictures = intact();
    for index in 40..50 {
        pictures[index].0 = pictures[index - 30].0.clone();
    }
    let problems = show(&pictures).problems().join("; ");
    assert!(
        problems.contains("backwards") && problems.contains("10 pictures were stale"),
        "{problems}"
    );
}

#[test]
fn ages_count_from_the_epoch_if_it_is_known() {
    let epoch = Instant::now();
    let mut verifier = VideoVerifier::new(pattern()).epoch(epoch);
    for (frame, at) in intact() {
        verifier
            .show(&frame, epoch + at + Duration::from_millis(700))
            .unwrap();
    }
    let report = verifier.reports().report();
    assert_only(&report.problems(), "60 pictures were stale: up to 700 ms late");
    assert!(report.age_from_epoch && (report.age_ms.unwrap().min - 700.0).abs() < 0.01);
}

#[test]
fn missing_pictures_are_found_and_may_be_allowed() {
    let mut pictures = intact();
    pictures.drain(20..23);
    pictures.remove(40);
    let report = show(&pictures);
    assert_only(&report.problems(), "4 pictures were missing in 2 gaps (6.7 %)");

    let limits = VideoLimits {
        missing: 0.1,
        ..VideoLimits::default()
    };
    let mut verifier = VideoVerifier::new(pattern()).limits(limits);
    let start = Instant::now();
    for (frame, at) in &pictures {
        verifier.show(frame, start + *at).unwrap();
    }
    assert_eq!(verifier.reports().report().problems(), [""; 0]);
}

#[test]
fn grey_and_unreadable_pictures_are_found() {
    let mut pictures = intact();
    pictures[20].0 = with_luma(&pictures[20].0, |_, _, _| 128);
    pictures[30].0 = with_luma(&pictures[30].0, |x, y, _| (x * y) as u8);
    let problems = show(&pictures).problems().join("; ");
    assert!(
        problems.contains("1 picture was grey") && problems.contains("1 picture was unreadable"),
        "{problems}"
    );
    assert!(problems.contains("2 pictures were missing"), "{problems}");
}

#[test]
fn wrong_content_under_the_right_number_is_found() {
    let code_height = 16;
    let mut pictures = intact();
    pictures[20].0 = with_luma(
        &pictures[20].0,
        |_, y, luma| if y < code_height { luma } else { 128 },
    );
    assert_only(
        &show(&pictures).problems(),
        "1 picture was damaged: PSNR below 20 dB",
    );

    // A smear over a small part, as after a lost slice.
    let mut pictures = intact();
    pictures[20].0 = with_luma(&pictures[20].0, |x, y, luma| {
        if (60..80).contains(&x) && (40..60).contains(&y) {
            255 - luma
        } else {
            luma
        }
    });
    assert_only(&show(&pictures).problems(), "1 picture was damaged in part");

    // Poor all over: none is damaged, but the mean tells.
    let mut pictures = intact();
    for (frame, _) in &mut pictures {
        *frame = with_luma(frame, |x, y, luma| {
            if (x + y) % 2 == 0 {
                luma.saturating_sub(14)
            } else {
                luma + 14
            }
        });
    }
    assert_only(&show(&pictures).problems(), "the mean PSNR is 25");

    // Only the colours.
    let mut pictures = intact();
    pictures[20].0.planes.swap(1, 2);
    let psnr = show(&pictures).psnr_db.unwrap();
    assert!(psnr.min < 25.0, "{psnr:?}");
}

#[test]
fn wrong_sizes_pauses_restarts_and_silence_are_found() {
    let mut pictures = intact();
    pictures[20].0 = Pattern::new(320, 240, "30".parse().unwrap()).unwrap().frame(20);
    let problems = show(&pictures).problems().join("; ");
    assert!(problems.contains("1 picture was of the wrong size"), "{problems}");

    let limits = VideoLimits {
        age_ms: 10_000.0,
        ..VideoLimits::default()
    };
    let mut verifier = VideoVerifier::new(pattern()).limits(limits);
    let start = Instant::now();
    for (index, (frame, at)) in intact().iter().enumerate() {
        let pause = if index < 30 {
            Duration::ZERO
        } else {
            Duration::from_secs(3)
        };
        verifier.show(frame, start + *at + pause).unwrap();
    }
    let report = verifier.reports().report();
    assert_only(&report.problems(), "the picture stood still for 3033 ms");
    assert_eq!(report.freezes, 1);

    let pattern = pattern();
    let twice = (500..530).chain(0..30).map(|number| pattern.frame(number));
    let pictures = twice
        .zip(intact())
        .map(|(frame, (_, at))| (frame, at))
        .collect::<Vec<_>>();
    assert_only(&show(&pictures).problems(), "the numbers began anew 1 times");

    assert_only(&show(&[]).problems(), "no picture was shown");
}

#[test]
fn planes_that_are_too_short_do_not_panic() {
    let mut pictures = intact();
    for plane in 0..3 {
        let frame = &mut pictures[20 + plane].0;
        frame.planes[plane] = frame.planes[plane].slice(..50);
    }
    pictures[30].0.strides = [usize::MAX; 3];
    pictures[31].0.strides = [0; 3];
    show(&pictures);
}

#[test]
fn a_long_run_takes_no_more_memory() {
    let slow = Pattern::new(64, 48, "1".parse().unwrap()).unwrap();
    let mut verifier = VideoVerifier::new(slow.clone()).compare_every(10);
    let start = Instant::now();
    let reports = verifier.reports();
    for number in 0..200 {
        let frame = slow.frame(number);
        verifier.show(&frame, start + slow.interval() * number).unwrap();
    }
    let report = reports.report();
    assert_eq!(
        (report.seconds.len(), report.psnr_db.unwrap().count),
        (SECONDS_KEPT, 20)
    );
    assert_eq!(report.problems(), [""; 0]);
}
