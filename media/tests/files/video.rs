//! Pictures from files: formats, times, and what cannot be read.

use crate::made::{self, Mp4};
use std::{path::Path, time::Duration};
use visavis_core::{ErrorKind, media::VideoFrame};
use visavis_media::source::file::{Repeat, open_video, read_h264};

fn frames(bytes: &[u8]) -> Vec<VideoFrame> {
    let (_directory, path) = made::file(bytes);
    let mut source = open_video(&path, Repeat::Once).unwrap().source;
    let mut frames = Vec::new();
    while let Some(frame) = source.next().unwrap() {
        frames.push(frame);
    }
    frames
}

fn refused(bytes: &[u8]) -> (ErrorKind, String) {
    let (_directory, path) = made::file(bytes);
    let error = open_video(&path, Repeat::Loop).unwrap_err();
    (error.kind(), error.to_string())
}

fn assert_times(frames: &[VideoFrame], interval: Duration) {
    for (number, frame) in (0..).zip(frames) {
        assert_eq!(frame.time, interval * number);
    }
}

/// How far two luma planes are apart, per pixel.
fn difference(one: &VideoFrame, other: &VideoFrame) -> u64 {
    assert_eq!((one.width, one.height), (other.width, other.height));
    let rows = one.planes[0]
        .chunks(one.strides[0])
        .zip(other.planes[0].chunks(other.strides[0]));
    let rows = rows.map(|(a, b)| {
        a[..one.width]
            .iter()
            .zip(b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum::<u64>()
    });
    rows.sum::<u64>() / (one.width * one.height) as u64
}

#[test]
fn y4m() {
    let pictures: Vec<_> = (0..3).map(|number| made::picture(33, 17, number)).collect();
    let raw: Vec<_> = pictures.iter().map(|picture| picture.planes.concat()).collect();
    let got = frames(&made::y4m("W33 H17 F25:1 Ip A1:1 C420jpeg XYSCSS=420JPEG", &raw));
    assert_eq!(got.len(), 3);
    assert_times(&got, Duration::from_millis(40));
    for (got, picture) in got.iter().zip(&pictures) {
        assert_eq!(got.planes, picture.planes);
    }
    // The means of chroma, and none.
    let wide = [vec![50; 33 * 17], vec![100; 17 * 17], vec![200; 17 * 17]].concat();
    let got = frames(&made::y4m("W33 H17 F30000:1001 C422", &[wide.clone(), wide]));
    assert_eq!(got[1].time, Duration::from_nanos(1_001_000_000 / 30));
    assert!(got[0].planes[1].len() == 17 * 9 && got[0].planes[1].iter().all(|value| *value == 100));
    let full = [vec![50; 33 * 17], vec![100; 33 * 17], vec![200; 33 * 17]].concat();
    let got = frames(&made::y4m("W33 H17 F25:1 C444", &[full]));
    assert!(got[0].planes[2].len() == 17 * 9 && got[0].planes[2].iter().all(|value| *value == 200));
    let got = frames(&made::y4m("W33 H17 F0:0 Cmono", &[vec![50; 33 * 17]]));
    assert!(got[0].planes[1].iter().all(|value| *value == 128));
}

#[test]
fn y4m_loops() {
    let raw: Vec<_> = (0..3)
        .map(|number| made::picture(32, 16, number).planes.concat())
        .collect();
    let (_directory, path) = made::file(&made::y4m("W32 H16 F25:1", &raw));
    let mut source = open_video(&path, Repeat::Loop).unwrap().source;
    assert_eq!(
        (source.size(), source.interval()),
        ((32, 16), Duration::from_millis(40))
    );
    for number in 0..10_u32 {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(frame.time, Duration::from_millis(40) * number);
        assert_eq!(frame.planes.concat(), raw[number as usize % 3]);
    }
}

#[test]
fn y4m_that_cannot_be_read() {
    let raw = vec![0; 32 * 16 * 3];
    let unsupported = |header: &str| {
        assert_eq!(
            refused(&made::y4m(header, std::slice::from_ref(&raw))).0,
            ErrorKind::NotSupported
        );
    };
    unsupported("W32 H16 F25:1 C420p10");
    unsupported("W32 H16 F25:1 C411");
    unsupported("W32 H16 F25:1 It");
    let damaged = |header: &str| {
        assert_eq!(
            refused(&made::y4m(header, std::slice::from_ref(&raw))).0,
            ErrorKind::Media
        );
    };
    damaged("W32 H99999999999 F25:1");
    damaged("W9223372036854775807 H9223372036854775807 F25:1");
    damaged("W8193 H16 F25:1");
    damaged("W0 H16 F25:1");
    damaged("H16 F25:1");
    damaged("W32 H16 F0:1");
    damaged("W32 H16 F25:0");
    damaged("W64 H64");
    assert!(refused(b"YUV4MPEG2 W32 H16\n").1.contains("no picture"));
    // Cut off in the second frame: the first one is shown.
    let mut cut = made::y4m("W32 H16", &[vec![0; 768], vec![0; 768]]);
    cut.truncate(cut.len() - 1);
    let (_directory, path) = made::file(&cut);
    let mut source = open_video(&path, Repeat::Once).unwrap().source;
    assert!(source.next().unwrap().is_some());
    let error = source.next().unwrap_err();
    assert!(
        error.to_string().contains("frame 2: the file is cut off"),
        "{error}"
    );
    assert!(source.next().unwrap().is_none());
}

#[test]
fn ivf() {
    let encoded = made::h264(6);
    let got = frames(&made::ivf(*b"H264", &encoded));
    assert_eq!(got.len(), 6);
    assert_times(&got, Duration::from_millis(40));
    for (number, frame) in got.iter().enumerate() {
        assert!(difference(frame, &made::picture(64, 48, number)) < 8);
    }
    assert_eq!(refused(&made::ivf(*b"AV01", &encoded)).0, ErrorKind::NotSupported);
    assert!(refused(&made::ivf(*b"AV01", &encoded)).1.contains("AV01"));
    assert_eq!(refused(&made::ivf(*b"VP80", &encoded)).0, ErrorKind::Media);
    assert_eq!(refused(&made::ivf(*b"H264", &[])).0, ErrorKind::Media);
}

#[test]
fn mp4() {
    let encoded = made::h264(7);
    for fragmented in [false, true] {
        let mp4 = Mp4 {
            fragmented,
            ..Mp4::default()
        };
        let got = frames(&mp4.write(&encoded));
        assert_eq!(got.len(), 7, "fragmented: {fragmented}");
        assert_times(&got, Duration::from_millis(40));
        for (number, frame) in got.iter().enumerate() {
            assert!(difference(frame, &made::picture(64, 48, number)) < 8);
        }
    }
}

#[test]
fn mp4_edit_list() {
    let edited = Mp4 {
        edited: true,
        ..Mp4::default()
    };
    let got = frames(&edited.write(&made::h264(7)));
    assert_eq!(got.len(), 4);
    assert_times(&got, Duration::from_millis(40));
    for (number, frame) in got.iter().enumerate() {
        assert!(difference(frame, &made::picture(64, 48, number + 2)) < 8);
    }
}

#[test]
fn mp4_that_cannot_be_read() {
    let good = Mp4::default().write(&made::h264(3));
    let changed = |from: &[u8], to: &[u8]| {
        let mut bytes = good.clone();
        let at = bytes
            .windows(from.len())
            .rposition(|window| window == from)
            .unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        refused(&bytes)
    };
    for (codec, words) in [
        (b"hvc1", "HEVC"),
        (b"encv", "encrypted"),
        (b"av01", "AV1"),
        (b"vp09", "VP9"),
    ] {
        let (kind, text) = changed(b"avc1", codec);
        assert_eq!(kind, ErrorKind::NotSupported);
        assert!(text.contains(words), "{text}");
    }
    let (kind, text) = changed(b"vide", b"subt");
    assert!(
        kind == ErrorKind::NotSupported && text.contains("no video track"),
        "{text}"
    );
    let (kind, text) = changed(b"moov", b"free");
    assert!(kind == ErrorKind::Media && text.contains("moov"), "{text}");
    // A count of 4 billion samples.
    let (kind, text) = changed(b"stsz\0\0\0\0\0\0\0\0", b"stsz\0\0\0\0\0\0\0\x01\xff\xff\xff\xff");
    assert_eq!(kind, ErrorKind::Media, "{text}");
}

#[test]
fn what_is_no_video() {
    let missing = open_video(Path::new("/nowhere/at all"), Repeat::Once).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("/nowhere/at all"), "{missing}");
    let directory = open_video(Path::new("/"), Repeat::Once).unwrap_err();
    assert_eq!(directory.kind(), ErrorKind::NotReadable);
    for bytes in [
        &b""[..],
        b"Y",
        b"hello, world",
        b"\x1a\x45\xdf\xa3webm",
        b"RIFF\0\0\0\0WAVEfmt ",
    ] {
        assert_eq!(refused(bytes).0, ErrorKind::NotSupported, "{bytes:?}");
    }
}

#[test]
fn coded_frames_are_those_that_the_file_was_made_of() {
    let frames = made::h264(305);
    let (_directory, path) = made::file(&Mp4::default().write(&frames));
    let read = read_h264(&path).unwrap();
    assert_eq!(read.len(), 300, "no more than ten seconds");
    for (number, (read, frame)) in read.iter().zip(&frames).enumerate() {
        assert_eq!(read.payload.as_ref(), frame.payload.as_ref(), "frame {number}");
        assert_eq!((read.keyframe, read.time), (frame.keyframe, frame.time));
    }
}

#[test]
fn coded_frames_begin_with_a_keyframe() {
    let fragmented = Mp4 {
        fragmented: true,
        ..Mp4::default()
    };
    let frames = made::h264(2);
    let out_of_order = [frames[1].clone(), frames[0].clone(), frames[1].clone()];
    let (_directory, path) = made::file(&fragmented.write(&out_of_order));
    let read = read_h264(&path).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].payload.as_ref(), frames[0].payload.as_ref());
    // All are marked as sync samples here, so parameter sets come before each; that alone makes no keyframe.
    assert!(read[0].keyframe && !read[1].keyframe);
    assert!(read[1].payload.as_ref().ends_with(frames[1].payload.as_ref()));

    let (_directory, path) = made::file(&made::y4m(
        "W32 H16 F25:1",
        &[made::picture(32, 16, 0).planes.concat()],
    ));
    assert_eq!(read_h264(&path).unwrap_err().kind(), ErrorKind::NotSupported);
    let missing = read_h264(&path.with_extension("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}
