//! Sound from files.

use crate::{made, made_sound};
use std::time::Duration;
use visavis_core::ErrorKind;
use visavis_media::source::file::{Repeat, open_audio};

/// The left channel of what is mono; frames and times are checked.
fn mono(bytes: &[u8]) -> Vec<f32> {
    let samples = stereo(bytes);
    assert!(
        samples
            .chunks(2)
            .all(|pair| pair[0].to_bits() == pair[1].to_bits())
    );
    samples.into_iter().step_by(2).collect()
}

/// All samples; frames and times are checked.
fn stereo(bytes: &[u8]) -> Vec<f32> {
    let (_directory, path) = made::file(bytes);
    let mut source = open_audio(&path, Repeat::Once).unwrap();
    let (mut samples, mut time) = (Vec::new(), Duration::ZERO);
    while let Some(frame) = source.next().unwrap() {
        assert_eq!(
            (frame.rate, frame.time, frame.samples.len()),
            (48_000, time, 1920)
        );
        time += Duration::from_millis(20);
        samples.extend(frame.samples);
    }
    assert!(source.next().unwrap().is_none());
    samples
}

fn refused(bytes: &[u8]) -> (ErrorKind, String) {
    let (_directory, path) = made::file(bytes);
    let Err(error) = open_audio(&path, Repeat::Loop) else {
        panic!("it was read");
    };
    (error.kind(), error.to_string())
}

fn worst(got: &[f32], expected: &[f32]) -> f32 {
    got.iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn wav_of_all_kinds() {
    for (bits, precision) in [(8, 0.02), (16, 1e-4), (24, 1e-6), (32, 1e-6), (0, 1e-7)] {
        let sine = made_sound::sine(48_000, 2, 440.0, 4800);
        let got = stereo(&made_sound::wav(48_000, 2, bits, &sine));
        assert_eq!(got.len(), 9600);
        assert!(
            worst(&got, &sine) < precision,
            "{bits} bits: {}",
            worst(&got, &sine)
        );
    }
}

#[test]
fn wav_of_other_rates_and_channels() {
    for rate in [8_000, 16_000, 22_050, 44_100, 96_000] {
        let sine = made_sound::sine(rate, 1, 440.0, rate as usize / 2);
        let got = mono(&made_sound::wav(rate, 1, 16, &sine));
        // Half a second is 25 frames; that of an odd length is filled up.
        assert_eq!(got.len(), 24_000, "{rate}");
        let expected = made_sound::sine(48_000, 1, 440.0, 24_000);
        let worst = worst(&got[500..23_500], &expected[500..23_500]);
        assert!(worst < 0.015, "{rate}: {worst}");
    }
    let got = stereo(&made_sound::wav(
        48_000,
        6,
        16,
        &made_sound::sine(48_000, 6, 440.0, 1000),
    ));
    assert_eq!(got.len(), 2 * 1920);
    assert!(got[..2000].iter().any(|sample| sample.abs() > 0.3));
    assert!(got[2000..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn wav_loops_without_a_gap() {
    // 100 periods in 10,000 samples.
    let sine = made_sound::sine(48_000, 1, 480.0, 10_000);
    let (_directory, path) = made::file(&made_sound::wav(48_000, 1, 0, &sine));
    let mut source = open_audio(&path, Repeat::Loop).unwrap();
    let mut got = Vec::new();
    for number in 0..100 {
        let frame = source.next().unwrap().unwrap();
        assert_eq!(frame.time, Duration::from_millis(20 * number));
        got.extend(frame.samples.iter().step_by(2));
    }
    assert!(worst(&got, &made_sound::sine(48_000, 1, 480.0, 96_000)) < 1e-2);
}

#[test]
fn wav_that_cannot_be_read() {
    let good = made_sound::wav(48_000, 1, 16, &made_sound::sine(48_000, 1, 440.0, 4800));
    let mut cut = good.clone();
    cut.truncate(good.len() - 11);
    let (_directory, path) = made::file(&cut);
    let mut source = open_audio(&path, Repeat::Once).unwrap();
    let error = std::iter::from_fn(|| source.next().transpose())
        .find_map(Result::err)
        .unwrap();
    assert!(error.to_string().contains("cut off"), "{error}");
    // A length of "until the end", as it is written to a pipe.
    let data = cut.windows(4).position(|window| window == b"data").unwrap();
    cut[data + 4..data + 8].copy_from_slice(&[0, 0, 0xff, 0x7f]);
    assert_eq!(mono(&cut).len(), 4800);
    assert_eq!(refused(&made_sound::wav(48_000, 1, 16, &[])).0, ErrorKind::Media);
    assert_eq!(
        refused(&made_sound::wav(100, 1, 16, &[0.0; 100])).0,
        ErrorKind::NotSupported
    );
    assert_eq!(refused(b"hello").0, ErrorKind::NotSupported);
    assert_eq!(refused(b"YUV4MPEG2 W2 H2\n").0, ErrorKind::NotSupported);
}

#[test]
fn ogg_opus() {
    let sine = made_sound::sine(48_000, 1, 440.0, 48_000);
    let got = mono(&made_sound::opus(&sine, 312, 0, 48_000 - 312 - 400, 0));
    assert_eq!(got.len(), 48_000);
    // The pre-skip is gone, and what is after the last page's position.
    let heard = 48_000 - 312 - 400;
    assert!(got[heard..].iter().all(|sample| *sample == 0.0));
    assert!(got[heard - 50..heard].iter().any(|sample| sample.abs() > 0.2));
    let level = |samples: &[f32]| (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt();
    assert!((level(&got[4800..24_000]) - 0.5 * std::f32::consts::FRAC_1_SQRT_2).abs() < 0.03);
    // Half as loud by the header's gain, -6.02 dB.
    let quiet = mono(&made_sound::opus(&sine, 312, -1541, 47_288, 0));
    assert!(worst(&quiet, &got.iter().map(|sample| sample / 2.0).collect::<Vec<_>>()) < 1e-3);
    // A recording that begins in the middle of a stream.
    let later = mono(&made_sound::opus(&sine, 312, 0, 47_288, 1_000_000));
    assert!(worst(&later, &got) < 1e-6);
}

#[test]
fn ogg_that_cannot_be_read() {
    let good = made_sound::opus(&made_sound::sine(48_000, 1, 440.0, 9600), 312, 0, 9000, 0);
    let vorbis: Vec<u8> = {
        let mut out = Vec::new();
        let mut writer = ogg::PacketWriter::new(&mut out);
        let end = ogg::PacketWriteEndInfo::EndPage;
        writer.write_packet(&b"\x01vorbis"[..], 1, end, 0).unwrap();
        writer.write_packet(&b"\x03vorbis"[..], 1, end, 0).unwrap();
        out
    };
    assert_eq!(refused(&vorbis).0, ErrorKind::NotSupported);
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    assert!(refused(&flipped).1.contains("checksum"));
    assert_eq!(refused(&good[..90]).0, ErrorKind::Media);
    // A page that goes on for ever is not collected.
    let mut endless = Vec::new();
    let mut writer = ogg::PacketWriter::new(&mut endless);
    writer
        .write_packet(vec![b'O'; 8 << 20], 1, ogg::PacketWriteEndInfo::EndStream, 0)
        .unwrap();
    let (kind, text) = refused(&endless);
    assert!(kind == ErrorKind::Media && text.contains("too long"), "{text}");
}
