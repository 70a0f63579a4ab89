//! Cameras, by a shim that answers the V4L2 calls of a process; see tests/camera.

use std::{path::Path, process::Command, time::Duration};
use tokio::time::Instant;
use visavis_core::{ErrorKind, media::VideoSource};
use visavis_media::{
    devices,
    source::{Camera, FrameRate, Pattern},
};

/// Pictures in the files, which the shim repeats.
const PICTURES: u32 = 90;

/// A directory with the shim and what it shows.
fn prepare() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/camera/v4l2_shim.c");
    let done = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(directory.path().join("shim.so"))
        .args([source, "-ldl"])
        .output()
        .expect("this test needs a C compiler");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for (width, height) in [(640, 480), (1280, 720)] {
        let pattern = Pattern::new(width, height, FrameRate::new(30, 1).unwrap()).unwrap();
        let mut yuyv = Vec::new();
        for number in 0..PICTURES {
            let frame = pattern.frame(number);
            for y in 0..height {
                let luma = &frame.planes[0][y * frame.strides[0]..][..width];
                let u = &frame.planes[1][y / 2 * frame.strides[1]..];
                let v = &frame.planes[2][y / 2 * frame.strides[2]..];
                for (x, pair) in luma.chunks(2).enumerate() {
                    yuyv.extend([pair[0], u[x], pair[1], v[x]]);
                }
            }
        }
        std::fs::write(directory.path().join(format!("{width}x{height}.yuyv")), yuyv).unwrap();
    }
    directory
}

/// Runs a test of this file in a process with the shim.
fn run(test: &str, directory: &Path, fault: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("camera::{test}"), "--exact", "--ignored", "--nocapture"])
        .env("LD_PRELOAD", directory.join("shim.so"))
        .env("VISAVIS_SHIM_FRAMES", directory)
        .env("VISAVIS_SHIM_FAULT", fault)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{test}: {text}"
    );
}

#[test]
fn shows_pictures() {
    let directory = prepare();
    run("child_lists", directory.path(), "");
    run("child_reads", directory.path(), "");
    std::fs::remove_file(directory.path().join("640x480.yuyv")).unwrap();
    std::fs::remove_file(directory.path().join("1280x720.yuyv")).unwrap();
    write_jpegs(&directory.path().join("640x480.mjpg"));
    run("child_reads_jpegs", directory.path(), "");
}

#[test]
fn says_what_is_wrong() {
    let directory = prepare();
    for fault in ["denied", "busy", "unplugged", "stalled"] {
        run("child_fails", directory.path(), fault);
    }
}

#[test]
fn no_camera() {
    // Whatever this machine has, it has no number 4,000.
    let error = Camera::open(4_000, None, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let words = devices::get_user_media_error(&error).unwrap();
    assert!(
        words.starts_with("getUserMedia() error: NotFoundError: there is no camera 4000"),
        "{words}"
    );
    assert_eq!(
        Camera::open(0, Some((0, 0)), None).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
#[ignore = "run with the shim by another test"]
fn child_lists() {
    let cameras = devices::cameras().unwrap();
    assert_eq!(cameras.len(), 1);
    assert_eq!(
        (cameras[0].index, cameras[0].name.as_str()),
        (0, "visavis test camera")
    );
    assert_eq!(
        cameras[0].formats,
        ["640x480 30 fps YUYV", "1280x720 30 fps YUYV"]
    );
    assert_eq!(cameras[0].problem, None);
}

#[test]
#[ignore = "run with the shim by another test"]
fn child_reads() {
    for (asked, size) in [(None, (640, 480)), (Some((1400, 800)), (1280, 720))] {
        let pattern = Pattern::new(size.0, size.1, FrameRate::new(30, 1).unwrap()).unwrap();
        let mut camera = Camera::open(0, asked, Some(30.0)).unwrap();
        assert_eq!((camera.size(), camera.is_live()), (size, true));
        assert_eq!(camera.interval(), Duration::from_secs(1) / 30);
        let epoch = Instant::now();
        camera.start(epoch);
        let mut last: Option<(u32, Duration)> = None;
        for _ in 0..45 {
            let frame = camera.next().unwrap().unwrap();
            let number = Pattern::read_number(&frame).expect("a picture with a number");
            assert!(frame.time <= epoch.elapsed());
            if let Some((before, time)) = last {
                assert!(
                    number > before || before > PICTURES / 2,
                    "{number} after {before}"
                );
                assert!(frame.time > time);
            }
            // Exactly what was put in: YUYV has more of the colours than I420.
            assert_eq!(frame.planes[0], pattern.frame(number).planes[0]);
            assert_eq!(frame.planes[1], pattern.frame(number).planes[1]);
            last = Some((number, frame.time));
        }
        // 45 pictures at 30 a second; a slow machine sees fewer of them in the time.
        assert!(
            epoch.elapsed() >= Duration::from_millis(1_400),
            "{:?}",
            epoch.elapsed()
        );
        println!(
            "{}: {:?}, {} dropped",
            camera.description(),
            epoch.elapsed(),
            camera.dropped()
        );
    }
    // The camera was free again for each of them; and who comes late sees the latest.
    let mut camera = Camera::open(0, None, None).unwrap();
    camera.start(Instant::now());
    let first = camera.next().unwrap().unwrap();
    std::thread::park_timeout(Duration::from_millis(700));
    let second = camera.next().unwrap().unwrap();
    assert!(
        second.time.abs_diff(first.time) > Duration::from_millis(500),
        "{:?}",
        second.time
    );
    assert!(camera.dropped() > 5, "{}", camera.dropped());
}

#[test]
#[ignore = "run with the shim by another test"]
fn child_reads_jpegs() {
    let mut camera = Camera::open(0, None, None).unwrap();
    assert!(
        camera.description().ends_with("640x480 30 fps MJPEG"),
        "{}",
        camera.description()
    );
    for _ in 0..10 {
        let frame = camera.next().unwrap().unwrap();
        for (plane, value) in frame.planes.iter().zip(JPEG_COLOUR) {
            assert!(
                plane.iter().all(|sample| sample.abs_diff(value) <= 3),
                "{}",
                plane[0]
            );
        }
    }
    // Every other one was cut off.
    assert!(camera.dropped() >= 8, "{}", camera.dropped());
}

#[test]
#[ignore = "run with the shim by another test"]
fn child_fails() {
    let fault = std::env::var("VISAVIS_SHIM_FAULT").unwrap();
    let error = match Camera::open(0, None, None) {
        Err(error) => error,
        Ok(mut camera) => loop {
            match camera.next() {
                Ok(frame) => assert!(frame.is_some()),
                Err(error) => {
                    assert!(fault != "unplugged" || camera.next().unwrap().is_none());
                    break error;
                }
            }
        },
    };
    let words = devices::get_user_media_error(&error).unwrap();
    let (name, advice) = match fault.as_str() {
        "denied" => ("NotAllowedError", "usermod -aG video"),
        "busy" => ("NotReadableError", "another program is using it"),
        "unplugged" => ("NotReadableError", "plug it in again"),
        _ => ("NotReadableError", "no picture for 5 seconds"),
    };
    assert!(words.contains(name) && words.contains(advice), "{fault}: {words}");
    println!("{words}");
}

/// What is in the JPEGs, with video's limited range.
const JPEG_COLOUR: [u8; 3] = [68, 172, 95];

/// JPEGs of 640x480 in one colour, every other one cut off.
fn write_jpegs(path: &Path) {
    let jpeg = jpeg();
    let mut file = Vec::new();
    for jpeg in [&jpeg[..], &jpeg[..100]] {
        file.extend((jpeg.len() as u32).to_le_bytes());
        file.extend_from_slice(jpeg);
    }
    std::fs::write(path, file).unwrap();
}

/// Baseline, 4:2:0, YCbCr 60, 178, 90 in full range: by hand, for one colour needs but three Huffman codes.
fn jpeg() -> Vec<u8> {
    let mut out = vec![0xff, 0xd8];
    // Quantisation by 8: the DC coefficient is the mean less 128.
    out.extend([0xff, 0xdb, 0, 67, 0]);
    out.extend([8; 64]);
    let size = [480_u16.to_be_bytes(), 640_u16.to_be_bytes()].concat();
    out.extend([0xff, 0xc0, 0, 17, 8]);
    out.extend(size);
    out.extend([3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
    // DC: 0 is no difference, 10 one of 6 bits, 110 one of 7. AC: 0 is the end of the block.
    out.extend([
        0xff, 0xc4, 0, 22, 0x00, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 7,
    ]);
    out.extend([
        0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    out.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    let mut bits = String::new();
    for block in 0..6 * 40 * 30 {
        bits += match block {
            // 60 - 128, 178 - 128 and 90 - 128, negative ones in ones' complement.
            0 => "1100111011",
            4 => "10110010",
            5 => "10011001",
            _ => "0",
        };
        bits += "0";
    }
    while !bits.len().is_multiple_of(8) {
        bits += "1";
    }
    out.extend(bits.as_bytes().chunks(8).map(|byte| {
        byte.iter()
            .fold(0, |value, bit| value << 1 | u8::from(*bit == b'1'))
    }));
    out.extend([0xff, 0xd9]);
    out
}
