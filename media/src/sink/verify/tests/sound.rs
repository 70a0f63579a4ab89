//! The same for sound, and for sound and pictures together.

use super::*;
use crate::codec::{AudioSettings, audio_decoder, audio_encoder};
use visavis_core::media::Bitrate;

/// Seconds, with a beep at 0, 1, 2 and 3.
const FRAMES: u64 = 200;

fn tone() -> Vec<AudioFrame> {
    let tone = Tone::new();
    (0..FRAMES).map(|number| tone.frame(number)).collect()
}

fn play_at(frames: &[AudioFrame], start: Instant) -> AudioReport {
    let mut verifier = AudioVerifier::new();
    let reports = verifier.reports();
    for frame in frames {
        verifier.play(frame, start + frame.time).unwrap();
    }
    verifier.finish().unwrap();
    reports.report()
}

fn play(frames: &[AudioFrame]) -> AudioReport {
    play_at(frames, Instant::now())
}

/// The sound `samples` later from frame `from` on, with the media clock as it was.
fn delayed(frames: &[AudioFrame], from: usize, samples: usize) -> Vec<AudioFrame> {
    let (head, tail) = frames.split_at(from);
    let all = tail.iter().flat_map(|frame| frame.samples.iter().copied());
    let held = head
        .last()
        .map_or_else(|| tone()[10].samples.clone(), |frame| frame.samples.clone());
    let mut late = held.into_iter().cycle().take(2 * samples).chain(all);
    let mut frames = frames.to_vec();
    for frame in &mut frames[from..] {
        frame.samples = late.by_ref().take(1_920).collect();
    }
    frames
}

#[test]
fn intact_sound_is_green() {
    let report = play(&tone());
    assert_eq!(report.problems(), [""; 0]);
    assert_eq!(
        (report.beeps, report.missing_beeps, report.onsets.len()),
        (4, 0, 3)
    );
    assert_eq!(
        report
            .onsets
            .iter()
            .map(|onset| onset.second_modulo_4)
            .collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert!(report.beep_offset_ms.unwrap().max.abs() < 1.0);
    assert!((report.steady_dbfs.unwrap().median + 29.0).abs() < 0.2);
    assert!(
        report
            .verdict()
            .starts_with("good: 4.0 s of sound, 4 beeps, tone -29 dBFS"),
        "{}",
        report.verdict()
    );

    let start = Instant::now();
    let report = play_at(&tone(), start);
    assert_eq!(report.stalled(start + Duration::from_secs(4)), None);
    assert!(
        report
            .stalled(start + Duration::from_secs(6))
            .unwrap()
            .contains("no sound for the last 2000 ms")
    );

    let joined_late = tone().split_off(70);
    assert_eq!(play(&joined_late).problems(), [""; 0]);
}

#[test]
fn sound_through_opus_is_green() {
    for (kbps, channels) in [(32, 1), (32, 2), (64, 2)] {
        let bitrate = Bitrate::from_bps(kbps * 1_000);
        let mut encoder = audio_encoder(AudioSettings { bitrate, channels }).unwrap();
        let mut decoder = audio_decoder().unwrap();
        let source = if channels == 1 { Tone::mono() } else { Tone::new() };
        let coded = (0..FRAMES).map(|number| {
            let packet = encoder.encode(&source.frame(number)).unwrap();
            decoder
                .decode(Some(packet.payload.as_ref()), packet.time)
                .unwrap()
        });
        let report = play(&coded.collect::<Vec<_>>());
        assert_eq!(report.problems(), [""; 0], "{kbps} kbit/s");
        assert!(report.beep_offset_ms.unwrap().max < 10.0);
    }
}

#[test]
fn silence_is_found() {
    let mut frames = tone();
    for frame in &mut frames[60..90] {
        frame.samples.fill(0.0);
    }
    assert_only(
        &play(&frames).problems(),
        "0.60 s of 4.00 s were silent, 0.60 s at once",
    );

    for frame in &mut frames {
        frame.samples.fill(0.0);
    }
    let problems = play(&frames).problems().join("; ");
    assert!(
        problems.contains("4.00 s of 4.00 s were silent") && problems.contains("3 beeps were missing"),
        "{problems}"
    );
    assert_only(&play(&[]).problems(), "no sound was played");
}

#[test]
fn a_missing_beep_is_found() {
    let mut frames = tone();
    let steady = frames[20].samples.clone();
    for frame in &mut frames[100..106] {
        frame.samples.clone_from(&steady);
    }
    let report = play(&frames);
    let problems = report.problems();
    assert_only(&problems, "1 beep was missing of 4");

    // The last one too, of which nothing follows.
    let mut frames = tone();
    for frame in &mut frames[150..156] {
        frame.samples.clone_from(&steady);
    }
    assert_only(&play(&frames).problems(), "1 beep was missing of 4");
}

#[test]
fn shifted_sound_is_found() {
    // From the middle of the second second on: seen by the sound's own clock.
    let report = play(&delayed(&tone(), 70, 4_800));
    assert_only(&report.problems(), "1 beep was shifted");

    // A whole second that comes twice is told by the pitch.
    let report = play(&delayed(&tone(), 70, 48_000));
    let problems = report.problems().join("; ");
    assert!(problems.contains("out of turn"), "{problems}");
}

#[test]
fn sound_that_does_not_belong_to_the_picture_is_found() {
    let start = Instant::now();
    let pattern = Pattern::new(64, 48, "30".parse().unwrap()).unwrap();
    let mut verifier = VideoVerifier::new(pattern.clone());
    for number in 0..120 {
        let frame = pattern.frame(number);
        verifier.show(&frame, start + frame.time).unwrap();
    }
    let video = verifier.reports().report();

    let together = skew(&video, &play_at(&tone(), start)).unwrap();
    assert_eq!(together.problems(Skew::LIMIT), [""; 0]);
    assert!(
        together.matched == 3 && together.max_ms.abs() < 1.0,
        "{together:?}"
    );

    // The beeps come 100 ms late in the sound itself.
    let late = skew(&video, &play_at(&delayed(&tone(), 0, 4_800), start)).unwrap();
    assert!((late.median_ms - 100.0).abs() < 1.5, "{late:?}");
    assert_only(
        &late.problems(Skew::LIMIT),
        "the sound is 100 ms behind the picture",
    );

    // The same by playing late or early, up to more than a second.
    for (ms, words) in [
        (150_i32, "150 ms behind"),
        (1_400, "1400 ms behind"),
        (-300, "300 ms ahead of"),
    ] {
        let moved = start + Duration::from_secs(10) - Duration::from_millis((10_000 - ms) as u64);
        let skew = skew(&video, &play_at(&tone(), moved)).unwrap();
        assert_only(&skew.problems(Skew::LIMIT), words);
    }
    assert_eq!(skew(&video, &play(&[])), None);

    // A meter counts each second once.
    let audio = play_at(&delayed(&tone(), 0, 4_800), start);
    let mut meter = SkewMeter::new();
    assert_eq!(meter.skew(), None);
    meter.update(&video, &audio);
    meter.update(&video, &audio);
    let metered = meter.skew().unwrap();
    assert_eq!((metered.matched, metered.max_ms), (late.matched, late.max_ms));
    assert!((metered.median_ms - late.median_ms).abs() <= 1.0);
}

#[test]
fn gaps_noises_levels_and_delays_are_found() {
    let mut frames = tone();
    frames.drain(20..30);
    assert_only(&play(&frames).problems(), "200 ms of sound are missing in 1 gaps");

    let mut frames = tone();
    for (index, sample) in frames[70].samples.iter_mut().enumerate() {
        *sample = if index * 7_919 % 101 < 50 { 0.7 } else { -0.7 };
    }
    assert_only(&play(&frames).problems(), "1 loud noise was heard besides");

    let mut frames = tone();
    frames
        .iter_mut()
        .flat_map(|frame| &mut frame.samples)
        .for_each(|sample| *sample *= 0.4);
    assert_only(&play(&frames).problems(), "the tone is at -37 dBFS");

    let mut frames = tone();
    for (index, sample) in frames.iter_mut().flat_map(|frame| &mut frame.samples).enumerate() {
        *sample += if index / 2 * 7_919 % 101 < 50 {
            0.025
        } else {
            -0.025
        };
    }
    assert_only(&play(&frames).problems(), "the tone is distorted");

    let mut verifier = AudioVerifier::new();
    let start = Instant::now();
    for frame in tone() {
        let late = if frame.time < Duration::from_secs(2) {
            0
        } else {
            800
        };
        verifier
            .play(&frame, start + frame.time + Duration::from_millis(late))
            .unwrap();
    }
    assert_only(
        &verifier.reports().report().problems(),
        "sound was played up to 800 ms late",
    );

    let mut frames = tone();
    frames[70].rate = 44_100;
    let problems = play(&frames).problems().join("; ");
    assert!(problems.contains("1 frame was not 48 kHz"), "{problems}");
    frames[80].channels = 0;
    play(&frames);
}

#[test]
fn a_long_run_takes_no_more_memory() {
    let tone = Tone::mono();
    let frames = (0..70 * 50).map(|number| tone.frame(number)).collect::<Vec<_>>();
    let report = play(&frames);
    assert_eq!((report.beeps, report.onsets.len()), (70, SECONDS_KEPT));
    assert_eq!(report.problems(), [""; 0]);
}
