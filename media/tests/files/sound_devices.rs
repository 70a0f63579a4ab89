//! Microphones and speakers, by ALSA's file device; see tests/audio/asound.conf.

use crate::made_sound;
use std::{path::Path, process::Command, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    ErrorKind,
    media::{AudioFrame, AudioSink, AudioSource},
};
use visavis_media::{devices, sink::Speaker, source::Microphone};

/// Runs a test of this file with the file device, or without any.
fn run(test: &str, directory: Option<&Path>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        &format!("sound_devices::{test}"),
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    match directory {
        Some(directory) => command
            .env(
                "ALSA_CONFIG_PATH",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/audio/asound.conf"),
            )
            .env("VISAVIS_SOUND_IN", directory.join("in"))
            .env("VISAVIS_SOUND_OUT", directory.join("out")),
        None => command.env("ALSA_CONFIG_PATH", "/dev/null"),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test}: {text}{errors}"
    );
    assert!(!errors.contains("ALSA"), "remarks of ALSA: {errors}");
}

#[test]
fn devices_of_files() {
    let directory = tempfile::tempdir().unwrap();
    // Five minutes, for it is read as fast as it can be.
    let tone = made_sound::sine(48_000, 2, 480.0, 48_000);
    let tone: Vec<u8> = tone.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(directory.path().join("in"), tone.repeat(300)).unwrap();
    run("child_lists", Some(directory.path()));
    run("child_records", Some(directory.path()));
    run("child_plays", Some(directory.path()));
    let played = std::fs::read(directory.path().join("out")).unwrap();
    let samples = played
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let loud = samples.filter(|sample| sample.abs() > 0.25).count();
    // A second of a sine of 0.5, of which two thirds are above half of it; some may be lost at the end.
    assert!((50_000..70_000).contains(&loud), "{loud}");
}

#[test]
fn no_devices() {
    run("child_finds_none", None);
}

#[test]
#[ignore = "run with the file device by another test"]
fn child_lists() {
    for list in [devices::microphones().unwrap(), devices::speakers().unwrap()] {
        assert!(list.iter().any(|device| device.name == "visavis"), "{list:?}");
        assert!(list.iter().all(|device| device.name != "null"), "{list:?}");
        println!("{list:?}");
    }
}

#[test]
#[ignore = "run with the file device by another test"]
fn child_records() {
    for name in [None, Some("visavis")] {
        let mut microphone = Microphone::open(name).unwrap();
        println!("{}", microphone.description());
        microphone.start(Instant::now());
        let (mut time, mut power) = (None, 0.0);
        for _ in 0..50 {
            let frame = microphone.next().unwrap().unwrap();
            assert_eq!(
                (frame.rate, frame.channels, frame.samples.len()),
                (48_000, 2, 1920)
            );
            assert!(
                time.is_none_or(|time| frame.time > time),
                "{:?} after {time:?}",
                frame.time
            );
            time = Some(frame.time);
            power += frame.samples.iter().map(|sample| sample * sample).sum::<f32>() / 1920.0 / 50.0;
        }
        assert!((power - 0.125).abs() < 0.01, "{power}");
    }
}

#[test]
#[ignore = "run with the file device by another test"]
fn child_plays() {
    let mut speaker = Speaker::open(Some("visavis")).unwrap();
    println!("{}", speaker.description());
    let tone = made_sound::sine(48_000, 1, 480.0, 48_000);
    for (number, samples) in tone.chunks(960).enumerate() {
        let frame = AudioFrame {
            samples: samples.to_vec(),
            rate: 48_000,
            channels: 1,
            time: Duration::from_millis(20 * number as u64),
        };
        speaker.play(&frame, Instant::now()).unwrap();
        std::thread::park_timeout(Duration::from_millis(5));
    }
    speaker.finish().unwrap();
    println!("{} dropped, {} missing", speaker.overrun(), speaker.underrun());
}

#[test]
#[ignore = "run without devices by another test"]
fn child_finds_none() {
    let errors = [
        Microphone::open(None).unwrap_err(),
        Microphone::open(Some("nobody")).unwrap_err(),
        Microphone::open(Some("null")).unwrap_err(),
        Speaker::open(None).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let words = devices::get_user_media_error(&error).unwrap();
        assert!(
            words.starts_with("getUserMedia() error: NotFoundError: "),
            "{words}"
        );
        assert!(words.contains("connect one"), "{words}");
        println!("{words}");
    }
}
