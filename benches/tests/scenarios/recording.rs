//! The frames of a file.

use crate::{MIXED, lab, values, visit};
use std::{path::PathBuf, process::Command};
use visavis_bench::{
    metric::Metric,
    scenario::content::Frames,
    work::{Content, Work},
    worker,
};

/// A directory with videos, or None if they cannot be had and nobody insists.
fn videos() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/fetch");
    let output = Command::new(script)
        .output()
        .unwrap_or_else(|error| panic!("{script} (needs python3): {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).unwrap().trim().into());
    }
    assert!(std::env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
    println!("left out: {words}");
    None
}

#[test]
fn its_frames_arrive_as_they_are() {
    let Some(videos) = videos() else { return };
    // The second one has B-frames, so its frames are not in the order in which they are shown.
    for (name, count) in [("bigbuckbunny.mp4", 132), ("bikes.mp4", 250)] {
        let path = videos.join(name);
        let frames = Frames::new(Content::Recording, Some(&path)).unwrap();
        assert!(frames.get(0).keyframe);
        assert!(frames.get(0).is(frames.get(count).payload.as_ref()), "{name}");
        assert!(!frames.get(1).is(frames.get(2).payload.as_ref()), "{name}");
        for stacks in MIXED {
            let work = Work::Frames {
                content: Content::Recording,
                window: 8,
            };
            let mut visit = visit(work, stacks);
            visit.recording = Some(path.clone());
            let outcome = worker::run(&lab(), &visit);
            assert_eq!(outcome.failures, [""; 0], "{name}, {stacks:?}");
            values(&outcome, Metric::FramesPerSecond);
        }
    }
}

#[test]
fn what_is_no_recording_says_so() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let reason = Frames::new(Content::Recording, Some(script.as_ref())).unwrap_err();
    assert!(
        reason.contains("Cargo.toml") && reason.contains("MP4"),
        "{reason}"
    );
}
