//! What is changed in mid-call.

use super::{Running, plan};
use crate::{
    pipeline::EncodedSink,
    session::{
        AudioInput, AudioPlan, OpenMedia, VideoInput, VideoPlan, change::record, record::Recording, way::Way,
    },
    source::{
        FrameRate,
        file::{Repeat, open_audio, open_video},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::sleep;
use visavis_core::{
    Bitrate, EncodedFrame, Error, ErrorKind, Result, Side,
    media::{AudioSource, VideoSource},
};

async fn running() -> Running {
    Running::start(OpenMedia::open(&plan()).await.unwrap(), |_| false)
}

fn decoded(way: &Way) -> u64 {
    way.live().decoded
}

async fn recorded(running: &Running, directory: Option<&Path>) -> Vec<PathBuf> {
    record(running.way.recorders().collect(), directory)
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn another_pattern_is_decoded_without_complaint() {
    let opened = OpenMedia::open(&plan()).await.unwrap();
    let monitor = opened.monitor(Side::Offerer).unwrap();
    let mut running = Running::start(opened, |_| false);
    sleep(Duration::from_millis(1_200)).await;
    let before = monitor.shown().unwrap();
    let another = VideoPlan::pattern((320, 240), FrameRate::new(15, 1).unwrap());
    running.way.replace_video(&another, Repeat::Once).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let shown = monitor.shown().unwrap();
    assert_eq!((shown.1.width, shown.1.height), (320, 240));
    assert!(shown.0 >= before.0 + 29, "{} after {}", shown.0, before.0);
    // Back to the first one, which nobody checks any more.
    let first = plan().video.unwrap();
    running.way.replace_video(&first, Repeat::Once).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(monitor.shown().unwrap().1.width, 160);
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    let video = report.video.unwrap();
    assert_eq!(video.frames.captured, video.frames.decoded);
    assert_eq!((video.keyframes, video.numbers_in_order), (3, Some(true)));
    assert!(video.psnr_db.is_some(), "of the first source");
}

#[tokio::test(start_paused = true)]
async fn replacing_at_once_leaves_nothing_to_check() {
    let mut running = running().await;
    let another = VideoPlan::pattern((320, 240), FrameRate::new(15, 1).unwrap());
    running.way.replace_video(&another, Repeat::Once).await.unwrap();
    running
        .way
        .replace_audio(&AudioPlan::default(), Repeat::Once)
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_leaves_the_old_source() {
    let mut running = running().await;
    sleep(Duration::from_millis(500)).await;
    let missing = VideoPlan {
        source: VideoInput::File("there/is/no.mp4".into()),
        ..plan().video.unwrap()
    };
    let error = running
        .way
        .replace_video(&missing, Repeat::Once)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let missing = AudioPlan {
        source: AudioInput::File("there/is/no.wav".into()),
        ..AudioPlan::default()
    };
    let error = running
        .way
        .replace_audio(&missing, Repeat::Once)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    sleep(Duration::from_millis(3_010)).await;
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    let video = report.video.unwrap();
    assert_eq!((video.source, video.frames.decoded), ("pattern", 106));
    assert_eq!(report.audio.unwrap().beeps_heard, Some(4));
}

#[tokio::test(start_paused = true)]
async fn another_sound_goes_on_without_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("silence.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&path, spec).unwrap();
    for _ in 0..48_000 {
        wav.write_sample(0_i16).unwrap();
    }
    wav.finalize().unwrap();
    let opened = OpenMedia::open(&plan()).await.unwrap();
    let monitor = opened.monitor(Side::Offerer).unwrap();
    let mut running = Running::start(opened, |_| false);
    sleep(Duration::from_millis(1_500)).await;
    let silence = AudioPlan {
        source: AudioInput::File(path),
        ..AudioPlan::default()
    };
    running.way.replace_audio(&silence, Repeat::Once).await.unwrap();
    sleep(Duration::from_millis(700)).await;
    assert!(monitor.captured_level().unwrap() < -100.0);
    assert!(monitor.heard_level().unwrap() < -60.0);
    assert!(!running.way.plays_files(), "a file that came later ends no call");
    // The file has ended: a source that comes then goes on all the same.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(monitor.heard_level(), None);
    running
        .way
        .replace_audio(&AudioPlan::default(), Repeat::Once)
        .await
        .unwrap();
    sleep(Duration::from_millis(700)).await;
    assert!((monitor.heard_level().unwrap() + 29.0).abs() < 1.0);
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    let audio = report.audio.unwrap();
    assert_eq!((audio.packets_lost, audio.beeps_heard), (0, Some(2)));
}

#[tokio::test(start_paused = true)]
async fn a_source_goes_on_where_a_file_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut running = running().await;
    let files = recorded(&running, Some(directory.path())).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(recorded(&running, None).await, files);
    let short = VideoPlan {
        source: VideoInput::File(files[0].clone()),
        ..plan().video.unwrap()
    };
    running.way.replace_video(&short, Repeat::Once).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let before = decoded(&running.way);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(decoded(&running.way), before, "it has ended");
    running
        .way
        .replace_video(&plan().video.unwrap(), Repeat::Once)
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(decoded(&running.way) >= before + 29);
    assert_eq!(running.finish().await.problems, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_recording_in_mid_call_begins_with_a_keyframe() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = running().await;
    sleep(Duration::from_millis(1_010)).await;
    let files = recorded(&running, Some(first.path())).await;
    let names: Vec<_> = files.iter().map(|f| f.file_name().unwrap()).collect();
    assert_eq!(names, ["offerer_to_answerer.ivf", "offerer_to_answerer.ogg"]);
    sleep(Duration::from_secs(1)).await;
    // Into another directory, and then no more.
    let others = recorded(&running, Some(second.path())).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(recorded(&running, None).await, others);
    assert_eq!(recorded(&running, None).await.len(), 0);
    sleep(Duration::from_millis(500)).await;
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.video.unwrap().keyframes, 3);
    for (files, pictures) in [(files, 29..=30), (others, 14..=15)] {
        let (mut played, mut last) = (0, None);
        let mut source: Box<dyn VideoSource> = open_video(&files[0], Repeat::Once).unwrap().source;
        assert_eq!(source.size(), (160, 120));
        while let Some(frame) = source.next().unwrap() {
            played += 1;
            last = Some(frame.time);
        }
        assert!(pictures.contains(&played), "{played}");
        let expected = Duration::from_secs(played - 1) / 30;
        assert!(last.unwrap().abs_diff(expected) < Duration::from_millis(5));
        let mut sound: Box<dyn AudioSource> = open_audio(&files[1], Repeat::Once).unwrap();
        let mut loud = false;
        while let Some(frame) = sound.next().unwrap() {
            loud |= frame.samples.iter().any(|s| s.abs() > 0.03);
        }
        assert!(loud);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_cannot_be_made_is_an_error_and_the_call_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let running = running().await;
    sleep(Duration::from_millis(500)).await;
    let error = record(running.way.recorders().collect(), Some(&file))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReadable, "{error}");
    sleep(Duration::from_millis(500)).await;
    let report = running.finish().await;
    assert_eq!(report.problems, [""; 0]);
}

/// A disk that is full after some frames.
struct Full(u32);

impl EncodedSink for Full {
    fn write(&mut self, _: &EncodedFrame) -> Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| {
            let message = "the disk is full";
            Error::new(ErrorKind::NotReadable, "record", message)
        })?;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_a_problem_and_the_call_goes_on() {
    let running = running().await;
    sleep(Duration::from_millis(500)).await;
    for track in running.way.recorders() {
        track.recorder.begin(Recording {
            path: "full".into(),
            sink: Box::new(Full(3)),
        });
    }
    sleep(Duration::from_secs(1)).await;
    assert!(recorded(&running, None).await.is_empty(), "they were given up");
    let report = running.finish().await;
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    assert!(
        report.problems.iter().all(|p| p.contains("the disk is full")),
        "{:?}",
        report.problems
    );
    let frames = report.video.unwrap().frames;
    assert_eq!(frames.captured, frames.decoded);
}

#[tokio::test(start_paused = true)]
async fn a_recording_of_the_plan_is_completed_by_another() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut plan = plan();
    plan.record = Some(first.path().join("made"));
    let running = Running::start(OpenMedia::open(&plan).await.unwrap(), |_| false);
    sleep(Duration::from_secs(1)).await;
    recorded(&running, Some(second.path())).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.finish().await.problems, [""; 0]);
    for directory in [&first.path().join("made"), second.path()] {
        let path = directory.join("offerer_to_answerer.ivf");
        let mut source = open_video(&path, Repeat::Once).unwrap().source;
        let mut pictures = 0;
        while source.next().unwrap().is_some() {
            pictures += 1;
        }
        assert!((29..=32).contains(&pictures), "{pictures}");
        open_audio(&directory.join("offerer_to_answerer.ogg"), Repeat::Once).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_bitrate_changes_what_is_sent() {
    let running = running().await;
    let mut sent = Vec::new();
    for kbps in [400, 60, 400] {
        let sender = &running.way.video.as_ref().unwrap().sender;
        sender.set_bitrate(Bitrate::from_bps(kbps * 1_000));
        // It settles.
        sleep(Duration::from_secs(2)).await;
        let before = running.way.live().bytes_sent;
        sleep(Duration::from_secs(4)).await;
        sent.push(running.way.live().bytes_sent - before);
    }
    assert!(sent[0] > 2 * sent[1] && sent[2] > 2 * sent[1], "{sent:?}");
}
