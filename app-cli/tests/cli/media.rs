//! Calls with media: what they carry, what is said of it, and what is kept of it.

use crate::{Directory, json, keys, run, stdout, visavis};
use serde_json::Value;
use std::fs;

const WAYS: [&str; 2] = ["offerer_to_answerer", "answerer_to_offerer"];

/// All keys of a way's media, however deep.
pub(super) fn keys_of(way: &Value) -> Vec<&str> {
    let inner = |value: &'_ Value| matches!(value, Value::Object(_));
    let mut all = Vec::new();
    let mut open = vec![way];
    while let Some(value) = open.pop() {
        all.extend(keys(value));
        open.extend(
            value
                .as_object()
                .into_iter()
                .flat_map(|o| o.values())
                .filter(|v| inner(v)),
        );
    }
    all
}

/// A way on which all is well.
fn check(way: &Value) {
    assert_eq!(way["problems"], Value::Array(Vec::new()), "{way}");
    let (video, audio) = (&way["video"], &way["audio"]);
    assert_eq!(
        (&video["source"], &video["codec"]),
        (&"pattern".into(), &"h264".into())
    );
    assert_eq!((&video["width"], &video["height"]), (&640.into(), &480.into()));
    assert_eq!(video["numbers_in_order"], true, "{way}");
    assert!(video["first_frame_ms"].as_f64() > Some(0.0), "{way}");
    assert!(video["capture_to_decode_ms"]["p50"].as_f64() > Some(0.0), "{way}");
    assert!(video["psnr_db"]["min"].as_f64() > Some(20.0), "{way}");
    let frames = |key: &str| video["frames"][key].as_u64().expect("a number");
    assert!(frames("decoded") > 0, "{way}");
    assert_eq!(
        frames("captured"),
        frames("late") + frames("idle") + frames("skipped") + frames("encoded"),
        "{way}"
    );
    let through = frames("dropped") + frames("undecodable") + frames("failed") + frames("decoded");
    assert_eq!(frames("received"), through, "{way}");
    assert_eq!(frames("sent"), frames("received") + frames("lost"), "{way}");
    assert!(audio["packets_received"].as_u64() >= Some(10), "{way}");
    assert!(audio["beeps_heard"].as_u64() >= Some(1), "{way}");
    assert_eq!(audio["beeps_heard"], audio["beeps_expected"], "{way}");
}

#[test]
fn a_call_carries_pattern_and_tone_one_way() {
    let call = &json("--json")[0];
    assert_eq!(call["exit_reason"], "done", "{call}");
    check(&call[WAYS[0]]);
    assert_eq!(call[WAYS[1]], Value::Null);
    // Three seconds: seconds 1 and 2 are seen and heard.
    assert!(call[WAYS[0]]["audio"]["skew_ms"]["median"].is_f64(), "{call}");
    assert!(
        call[WAYS[0]]["video"]["rtp"]["packets_sent"].as_u64() > Some(0),
        "{call}"
    );
    let reached = |side: &str, step: &str| call[side]["timeline_ms"][step].is_f64();
    assert!(reached("offerer", "media_ready") && !reached("answerer", "media_ready"));
    assert!(reached("answerer", "first_frame_decoded") && !reached("offerer", "first_frame_decoded"));
}

#[test]
fn both_ways() {
    let call = &json("--json --both-ways --duration 1s")[0];
    for way in WAYS {
        check(&call[way]);
    }
}

#[test]
fn a_call_without_media() {
    let call = &json("--json --video none --audio none --duration 0s")[0];
    assert_eq!(call["exit_reason"], "done", "{call}");
    for way in WAYS {
        assert_eq!(call[way], Value::Null);
    }
    assert_eq!(call["offerer"]["timeline_ms"]["media_ready"], Value::Null);
    let call = &json("--json --video none --duration 0s")[0];
    assert_eq!(call[WAYS[0]]["video"], Value::Null);
    assert!(
        call[WAYS[0]]["audio"]["packets_received"].as_u64() >= Some(10),
        "{call}"
    );
}

#[test]
fn a_series_carries_media_only_if_it_is_asked_for() {
    let series = json("--json --runs 2");
    assert!(series.iter().all(|call| call[WAYS[0]] == Value::Null));
    let series = json("--json --runs 2 --video pattern");
    for call in &series {
        check(&call[WAYS[0]]);
    }
    assert_eq!(series[0]["tasks"], series[1]["tasks"]);
    assert_eq!(series[0]["fds"], series[1]["fds"]);
}

#[test]
fn what_arrives_is_kept_and_can_be_sent_again() {
    let directory = Directory::new("record");
    let call = &json(&format!(
        "--json --duration 1s --record {}",
        directory.0.display()
    ))[0];
    let way = &call[WAYS[0]];
    check(way);
    let [ivf, ogg] = ["ivf", "ogg"].map(|ending| directory.path(&format!("offerer_to_answerer.{ending}")));
    let video = fs::read(&ivf).expect("a recording");
    assert_eq!((&video[..4], &video[8..12]), (&b"DKIF"[..], &b"H264"[..]));
    let count = u32::from_le_bytes(video[24..28].try_into().expect("four bytes"));
    assert_eq!(
        Some(u64::from(count)),
        way["video"]["frames"]["received"].as_u64()
    );
    let sound = fs::read(&ogg).expect("a recording");
    assert_eq!(&sound[..4], b"OggS");
    assert!(sound.windows(8).any(|w| w == b"OpusHead"));

    // Played once, the files end the call.
    let again = &json(&format!(
        "--json --duration 60s --video file:{ivf} --audio file:{ogg}"
    ))[0];
    assert_eq!(again["exit_reason"], "done", "{again}");
    let video = &again[WAYS[0]]["video"];
    assert_eq!(video["source"], "file");
    assert_eq!(
        video["frames"]["captured"].as_u64(),
        Some(u64::from(count)),
        "{again}"
    );
    assert_eq!(
        (&video["psnr_db"], &video["numbers_in_order"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(again[WAYS[0]]["audio"]["source"], "file");
}

#[test]
fn a_source_that_cannot_be_had_ends_it_before_the_call() {
    let output = run("--json --video file:there/is/no.mp4");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("there/is/no.mp4: there is no such file"),
        "{errors}"
    );
    let call: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&call["exit_reason"], &call["failed_step"]),
        (&"failed".into(), &"media_ready".into())
    );
    assert_eq!(call["setup_ms"], Value::Null);
}

/// What is said of a camera that cannot be had. The call is not made.
fn refused_camera(args: &str) -> String {
    let output = run(&format!("--json {args}"));
    assert_eq!(output.status.code(), Some(1), "visavis {args}");
    let call: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&call["exit_reason"], &call["failed_step"]),
        (&"failed".into(), &"media_ready".into())
    );
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// With the feature it is looked for, and without it one learns how to get a build that has it.
#[test]
fn a_camera_that_cannot_be_had_is_said_why() {
    let listing = &json("devices --json")[0]["cameras"];
    if listing["devices"].is_array() {
        // No machine has as many.
        let errors = refused_camera("--video camera:63");
        for part in ["getUserMedia() error: NotFoundError", "there is no camera 63"] {
            assert!(errors.contains(part), "`{part}` is missing in: {errors}");
        }
        assert!(!stdout("devices").contains("no camera support"));
        return;
    }
    for args in ["--video camera", "--video camera:3 --audio none"] {
        let errors = refused_camera(args);
        for part in [
            "getUserMedia() error: NotSupportedError",
            "no camera support",
            "--features camera",
        ] {
            assert!(errors.contains(part), "`{part}` is missing in: {errors}");
        }
    }
    let text = stdout("devices");
    for part in ["no camera support", "cargo build --release -p visavis --features"] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    let problem = listing["problem"].as_str().expect("a text");
    assert!(problem.contains("--features camera"), "{problem}");
}

#[test]
fn bad_media_fails_the_call_and_says_why() {
    // Far too few bits for so many pixels.
    let output = run("--json --size 1280x720 --bitrate 20k --duration 1s");
    let call: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1), "{call}");
    assert_eq!(
        (&call["exit_reason"], &call["failed_step"]),
        (&"failed".into(), &"media".into())
    );
    let problems = call[WAYS[0]]["problems"].as_array().expect("an array");
    assert!(!problems.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("the media was bad: from the offerer: "),
        "{errors}"
    );
    assert!(errors.contains("try:"), "{errors}");
}

#[test]
fn devices_and_codecs_are_listed() {
    let text = stdout("devices");
    for part in [
        "Cameras",
        "Microphones",
        "Speakers",
        "Codecs",
        "openh264 encodes and decodes",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    let listing = &json("devices --json")[0];
    assert_eq!(listing["schema_version"], 1);
    let documented = include_str!("../../../docs/cli.md");
    for key in keys(listing)
        .into_iter()
        .chain(keys(&listing["cameras"]))
        .chain(keys(&listing["codecs"][0]))
    {
        assert!(
            documented.contains(&format!("`{key}`")),
            "docs/cli.md does not mention `{key}`"
        );
    }
    let missing = listing["codecs"].as_array().expect("an array").iter();
    for codec in missing.filter(|c| c["encoder"].is_null()) {
        assert!(
            codec["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("--features")),
            "{codec}"
        );
    }
}

/// The summary with its figures masked, and without what is said only of a machine that was busy.
#[cfg(all(feature = "str0m", feature = "webrtc-rs"))]
#[test]
fn summary() {
    let text = stdout("--both-ways --duration 2s");
    let at = text.find("Summary").expect("a summary");
    let mask = |line: &str| {
        let mut masked = String::new();
        for c in line.chars() {
            match c {
                '0'..='9' if masked.ends_with('#') => {}
                '0'..='9' => masked.push('#'),
                ' ' if masked.ends_with("  ") => {}
                c => masked.push(c),
            }
        }
        let masked = masked.replace("ahead of", "behind").replace("#.#", "#");
        let end = masked
            .find(" decoded,")
            .map_or(masked.len(), |at| at + " decoded".len());
        format!("{}\n", &masked[..end])
    };
    let masked: String = text[at..].lines().map(mask).collect();
    insta::assert_snapshot!("summary", masked);
}

#[test]
fn no_colour_and_no_progress_where_there_is_no_terminal() {
    let output = visavis("--duration 1s").output().expect("visavis runs");
    assert!(!output.stdout.contains(&b'\x1b') && !output.stdout.contains(&b'\r'));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
}
