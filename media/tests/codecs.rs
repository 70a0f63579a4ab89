//! The codecs of this build: quality, what is changed while running, and what damage does.

use bytes::Bytes;
use std::time::Duration;
use visavis_core::media::{AudioFrame, Bitrate, Codec, EncodedFrame, VideoDecoder, VideoEncoder, VideoFrame};
use visavis_core::{ErrorKind, Result};
use visavis_media::codec::{self, AudioSettings, VideoSettings, h264::H264FileDecoder};

const INTERVAL: Duration = Duration::from_nanos(33_333_333);

/// Soft shapes that move over a texture, the same on every machine.
fn picture(width: usize, height: usize, n: usize) -> VideoFrame {
    let fold = |v: usize, period: usize| (v % period).abs_diff(period / 2) * 64 / period;
    let plane = |width: usize, height: usize, scale: usize| -> Bytes {
        let row = |y: usize| {
            (0..width).map(move |x| {
                let (x, y) = (x * scale, y * scale);
                let texture = ((x + 3 * n) / 4 * 7 + (y + n) / 4 * 13) % 11;
                (40 + fold(x + 3 * n, 96) * 2 + fold(y + 2 * n, 64) * 2 + texture * 2) as u8
            })
        };
        (0..height).flat_map(row).collect()
    };
    let (cw, ch) = (width.div_ceil(2), height.div_ceil(2));
    VideoFrame {
        width,
        height,
        planes: [plane(width, height, 1), plane(cw, ch, 2), plane(cw, ch, 2)],
        strides: [width, cw, cw],
        time: INTERVAL * n as u32,
    }
}

/// Of Y, over what both pictures have.
fn psnr(a: &VideoFrame, b: &VideoFrame) -> f64 {
    let (width, height) = (a.width.min(b.width), a.height.min(b.height));
    let mut error = 0;
    for y in 0..height {
        let row = |f: &VideoFrame| f.planes[0].slice(y * f.strides[0]..y * f.strides[0] + width);
        error += row(a)
            .iter()
            .zip(&row(b))
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum::<u64>();
    }
    10.0 * (255.0 * 255.0 * (width * height) as f64 / (error as f64).max(1.0)).log10()
}

fn encoder(codec: Codec, kilobits: u64) -> Box<dyn VideoEncoder> {
    let bitrate = Bitrate::from_bps(kilobits * 1000);
    codec::video_encoder(codec, VideoSettings { bitrate, fps: 30.0 }).unwrap()
}

fn decoder(codec: Codec) -> Box<dyn VideoDecoder> {
    codec::video_decoder(codec).unwrap()
}

/// The video codecs that this build encodes.
fn encoders() -> impl Iterator<Item = Codec> {
    let all = codec::available().into_iter();
    all.filter(|entry| entry.encoder.is_some() && entry.codec != Codec::Opus)
        .map(|entry| entry.codec)
}

/// 21 pictures of 160x120, of which the first and the last are keyframes, for every codec that this build decodes.
fn streams() -> Vec<(Codec, Vec<Vec<u8>>)> {
    let mut streams: Vec<_> = encoders()
        .map(|codec| (codec, stream(&mut *encoder(codec, 250))))
        .collect();
    if streams.iter().all(|(codec, _)| *codec != Codec::Vp8) {
        streams.push((Codec::Vp8, ivf(include_bytes!("data/vp8.ivf"))));
    }
    streams
}

fn stream(encoder: &mut dyn VideoEncoder) -> Vec<Vec<u8>> {
    let encode = |n| {
        encoder
            .encode(&picture(160, 120, n), n == 20)
            .unwrap()
            .expect("a picture")
    };
    (0..21)
        .map(encode)
        .map(|frame| frame.payload.as_ref().to_vec())
        .collect()
}

/// The frames of an IVF file: a header of 32 bytes, and before each frame its length and time in 12.
fn ivf(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    file = &file[32..];
    while !file.is_empty() {
        let length = u32::from_le_bytes(file[..4].try_into().unwrap()) as usize;
        frames.push(file[12..12 + length].to_vec());
        file = &file[12 + length..];
    }
    frames
}

fn media_error<T>(result: Result<T>) {
    assert_eq!(result.err().expect("an error").kind(), ErrorKind::Media);
}

#[test]
fn a_picture_comes_back() {
    for codec in encoders() {
        let (mut encoder, mut decoder) = (encoder(codec, 2000), decoder(codec));
        for n in 0..5 {
            let frame = picture(640, 480, n);
            let encoded = encoder.encode(&frame, false).unwrap().expect("a picture");
            assert_eq!(
                (encoded.codec, encoded.keyframe, encoded.time),
                (codec, n == 0, frame.time)
            );
            let decoded = decoder
                .decode(encoded.payload.as_ref(), encoded.time)
                .unwrap()
                .expect("a picture");
            assert_eq!(
                (decoded.width, decoded.height, decoded.time),
                (640, 480, frame.time)
            );
            let quality = psnr(&decoded, &frame);
            assert!(quality > 32.0, "{codec} {n}: {quality} dB");
        }
    }
}

#[test]
fn vp8_of_libvpx_is_decoded() {
    let mut decoder = decoder(Codec::Vp8);
    for (n, frame) in ivf(include_bytes!("data/vp8.ivf")).iter().enumerate() {
        let decoded = decoder.decode(frame, Duration::ZERO).unwrap().expect("a picture");
        let quality = psnr(&decoded, &picture(160, 120, n));
        assert!(quality > 30.0, "{n}: {quality} dB");
    }
}

#[test]
fn keyframes_come_when_asked_for() {
    for codec in encoders() {
        // So little that pictures are skipped: the keyframe is not.
        for kilobits in [200, 10] {
            let mut encoder = encoder(codec, kilobits);
            let frames: Vec<_> = (0..40)
                .map(|n| encoder.encode(&picture(160, 120, n), n == 25).unwrap())
                .collect();
            let is_key = |frame: &Option<EncodedFrame>| frame.as_ref().is_some_and(|frame| frame.keyframe);
            let keyframes: Vec<_> = (0..40).filter(|n| is_key(&frames[*n])).collect();
            assert_eq!(keyframes, [0, 25], "{codec} at {kilobits} kbit/s");
            let payload = &frames[25].as_ref().unwrap().payload;
            assert!(
                decoder(codec)
                    .decode(payload.as_ref(), Duration::ZERO)
                    .unwrap()
                    .is_some()
            );
        }
    }
}

#[test]
fn bitrate_and_frame_rate_change_while_running() {
    let frames: Vec<_> = (0..60).map(|n| picture(160, 120, n)).collect();
    for codec in encoders() {
        let mut encoder = encoder(codec, 240);
        let mut time = Duration::ZERO;
        let mut bytes_of = |encoder: &mut dyn VideoEncoder, interval: Duration| -> f64 {
            let mut bytes = 0;
            for frame in &frames {
                let mut frame = frame.clone();
                time += interval;
                frame.time = time;
                bytes += encoder
                    .encode(&frame, false)
                    .unwrap()
                    .map_or(0, |f| f.payload.as_ref().len());
            }
            bytes as f64
        };
        let before = bytes_of(&mut *encoder, INTERVAL);
        encoder.set_bitrate(Bitrate::from_bps(80_000)).unwrap();
        let lower = bytes_of(&mut *encoder, INTERVAL);
        let ratio = before / lower;
        assert!(
            (2.0..4.5).contains(&ratio),
            "{codec}: {ratio} after a third of the bitrate"
        );
        encoder.set_frame_rate(15.0).unwrap();
        let ratio = bytes_of(&mut *encoder, INTERVAL * 2) / lower;
        assert!(
            (1.5..3.0).contains(&ratio),
            "{codec}: {ratio} after half the frame rate"
        );
        assert_eq!(
            encoder.set_frame_rate(0.0).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(
            encoder.set_bitrate(Bitrate::from_bps(0)).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}

#[test]
fn a_lost_reference_is_refused_until_a_keyframe() {
    for (codec, frames) in streams() {
        let mut decoder = decoder(codec);
        media_error(decoder.decode(&frames[1], Duration::ZERO));
        for frame in &frames[..5] {
            assert!(decoder.decode(frame, Duration::ZERO).unwrap().is_some());
        }
        // VP8 and VP9 do not number their pictures: there the gap is the caller's to see.
        if codec != Codec::H264 {
            media_error(decoder.decode(&[], Duration::ZERO));
        }
        for frame in &frames[6..20] {
            media_error(decoder.decode(frame, Duration::ZERO));
        }
        assert!(decoder.decode(&frames[20], Duration::ZERO).unwrap().is_some());
    }
}

#[test]
fn sizes_change_and_may_be_odd() {
    for codec in encoders() {
        let (mut encoder, mut decoder) = (encoder(codec, 1000), decoder(codec));
        for (n, (width, height)) in [
            (320, 240),
            (320, 240),
            (160, 120),
            (161, 121),
            (161, 121),
            (640, 360),
        ]
        .into_iter()
        .enumerate()
        {
            let frame = picture(width, height, n);
            let encoded = encoder.encode(&frame, false).unwrap().expect("a picture");
            // A column less makes no new size for H.264, which codes pairs.
            let same = n == 1 || n == 4 || (n == 3 && codec == Codec::H264);
            assert_eq!(encoded.keyframe, !same, "{codec} {n}");
            let decoded = decoder
                .decode(encoded.payload.as_ref(), frame.time)
                .unwrap()
                .expect("a picture");
            let expected = match codec {
                Codec::H264 => (width & !1, height & !1),
                _ => (width, height),
            };
            assert_eq!((decoded.width, decoded.height), expected);
            assert!(
                psnr(&decoded, &frame) > 30.0,
                "{codec} {width}x{height}: {}",
                psnr(&decoded, &frame)
            );
        }
    }
}

#[test]
fn planes_are_read_by_their_strides() {
    for codec in encoders() {
        let frame = picture(160, 120, 0);
        let mut padded = frame.clone();
        for (plane, padding) in [(0, 16), (1, 5), (2, 5)] {
            let rows = frame.planes[plane].chunks(frame.strides[plane]);
            padded.planes[plane] = rows
                .flat_map(|row| [row, &vec![0xff; padding]].concat())
                .collect();
            padded.strides[plane] += padding;
        }
        let encode = |frame| {
            encoder(codec, 500)
                .encode(frame, false)
                .unwrap()
                .unwrap()
                .payload
                .into_bytes()
        };
        assert_eq!(encode(&frame), encode(&padded), "{codec}");

        padded.planes[2].truncate(1000);
        let tiny = picture(8, 8, 0);
        for frame in [&padded, &tiny] {
            assert_eq!(
                encoder(codec, 500).encode(frame, false).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    }
}

#[test]
fn files_come_out_in_display_order() {
    // 30 pictures in High profile with B-frames that are references, by x264.
    let file = include_bytes!("data/b-frames.h264");
    let starts: Vec<_> = (0..file.len())
        .filter(|i| file[*i..].starts_with(&[0, 0, 1, 9]))
        .collect();
    let ends = starts.iter().copied().skip(1).chain([file.len()]);
    let mut decoder = H264FileDecoder::new().unwrap();
    for _ in 0..2 {
        let mut frames = Vec::new();
        for (start, end) in starts.iter().copied().zip(ends.clone()) {
            frames.extend(decoder.decode(&file[start..end]).unwrap());
        }
        frames.extend(decoder.flush().unwrap());
        assert_eq!(frames.len(), 30);
        for (n, frame) in frames.iter().enumerate() {
            assert!(psnr(frame, &picture(160, 120, n)) > 30.0, "{n}");
        }
    }
}

/// xorshift: the same damage in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// A stream with about every fourth unit damaged, lost, repeated or out of place.
    fn damage(&mut self, units: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut damaged = Vec::new();
        for unit in units {
            let mut unit = unit.clone();
            match self.below(32) {
                0 | 1 => {
                    for _ in 0..=self.below(8) {
                        let at = self.below(unit.len());
                        unit[at] ^= 1 << self.below(8);
                    }
                }
                2 => unit.truncate(self.below(unit.len())),
                3 => continue,
                4 => damaged.push(unit.clone()),
                5 => unit.fill_with(|| self.below(256) as u8),
                6 => unit.clear(),
                7 => {
                    let at = self.below(damaged.len() + 1);
                    damaged.insert(at, unit);
                    continue;
                }
                _ => {}
            }
            damaged.push(unit);
        }
        damaged
    }
}

#[test]
fn decoding_resumes_after_damage() {
    for (codec, frames) in streams() {
        let source = picture(160, 120, 20);
        let mut refused = 0;
        for seed in 1..=200 {
            let mut decoder = decoder(codec);
            for frame in Seeded(seed * 0x9e37_79b9).damage(&frames[..20]) {
                refused += usize::from(decoder.decode(&frame, Duration::ZERO).is_err());
            }
            let decoded = decoder
                .decode(&frames[20], Duration::ZERO)
                .unwrap()
                .expect("a picture");
            let quality = psnr(&decoded, &source);
            assert!(quality > 25.0, "{codec}, seed {seed}: {quality} dB");
        }
        assert!(refused > 200, "{codec}: only {refused} were refused");
    }
}

/// Packets of a tone, and the tone.
fn tone(channels: u8, bitrate: u64, gain: f32, count: usize) -> (Vec<Vec<u8>>, Vec<f32>) {
    let bitrate = Bitrate::from_bps(bitrate);
    let mut encoder = codec::audio_encoder(AudioSettings { bitrate, channels }).unwrap();
    let sample = |i: usize| gain * (i as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin();
    let sound: Vec<_> = (0..960 * count).map(sample).collect();
    let encode = |samples: &[f32]| {
        let samples = samples.iter().flat_map(|s| vec![*s; channels.into()]).collect();
        let frame = AudioFrame {
            samples,
            rate: 48_000,
            channels,
            time: INTERVAL,
        };
        let encoded = encoder.encode(&frame).unwrap();
        assert_eq!(
            (encoded.codec, encoded.keyframe, encoded.time),
            (Codec::Opus, true, INTERVAL)
        );
        encoded.payload.as_ref().to_vec()
    };
    (sound.chunks(960).map(encode).collect(), sound)
}

fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
}

#[test]
fn sound_comes_back() {
    /// Opus's own delay, which a WebRTC receiver keeps.
    const DELAY: usize = 312;
    for (channels, bitrate) in [(1, 64_000), (2, 96_000)] {
        let (packets, sound) = tone(channels, bitrate, 0.5, 50);
        let mut decoder = codec::audio_decoder().unwrap();
        let mut left = Vec::new();
        for packet in &packets {
            let frame = decoder.decode(Some(packet), INTERVAL).unwrap();
            assert_eq!(
                (frame.rate, frame.channels, frame.samples.len(), frame.time),
                (48_000, 2, 1920, INTERVAL)
            );
            left.extend(frame.samples.chunks(2).map(|pair| {
                assert!((pair[0] - pair[1]).abs() < 0.01);
                pair[0]
            }));
        }
        let (left, sound) = (&left[24_000..], &sound[24_000 - DELAY..]);
        let noise: Vec<_> = left.iter().zip(sound).map(|(a, b)| a - b).collect();
        let ratio = 20.0 * (level(left) / level(&noise)).log10();
        assert!(ratio > 25.0, "{channels} channels: {ratio} dB");
    }
}

#[test]
fn a_lost_packet_is_concealed() {
    let (packets, _) = tone(2, 96_000, 0.5, 30);
    let mut decoder = codec::audio_decoder().unwrap();
    for (n, packet) in packets.iter().enumerate() {
        let frame = decoder
            .decode((n % 10 != 9).then_some(packet), Duration::ZERO)
            .unwrap();
        assert_eq!(frame.samples.len(), 1920);
        assert!(
            n < 2 || (0.2..0.5).contains(&level(&frame.samples)),
            "{n}: {}",
            level(&frame.samples)
        );
    }
}

#[test]
fn sound_beyond_the_range_stays_in_it() {
    for gain in [4.0, 1e30, f32::INFINITY, f32::NAN] {
        let (packets, _) = tone(2, 96_000, gain, 10);
        let mut decoder = codec::audio_decoder().unwrap();
        for packet in &packets {
            let frame = decoder.decode(Some(packet), Duration::ZERO).unwrap();
            assert!(frame.samples.iter().all(|s| s.abs() <= 1.0), "{gain}");
        }
    }
}

#[test]
fn frames_of_another_kind_are_refused() {
    let bitrate = Bitrate::from_bps(32_000);
    assert!(codec::audio_encoder(AudioSettings { bitrate, channels: 3 }).is_err());
    let mut encoder = codec::audio_encoder(AudioSettings { bitrate, channels: 1 }).unwrap();
    for (length, rate, channels) in [
        (480, 48_000, 1),
        (960, 44_100, 1),
        (1920, 48_000, 2),
        (0, 48_000, 0),
    ] {
        let frame = AudioFrame {
            samples: vec![0.0; length],
            rate,
            channels,
            time: INTERVAL,
        };
        assert_eq!(
            encoder.encode(&frame).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
    media_error(codec::audio_decoder().unwrap().decode(Some(&[]), Duration::ZERO));
}

#[test]
fn sound_resumes_after_damage() {
    let (packets, _) = tone(1, 32_000, 0.5, 40);
    for seed in 1..=200 {
        let mut decoder = codec::audio_decoder().unwrap();
        for packet in Seeded(seed * 0x9e37_79b9).damage(&packets[..20]) {
            let _ = decoder.decode(Some(&packet), Duration::ZERO);
        }
        let mut samples = Vec::new();
        for packet in &packets[20..] {
            let frame = decoder.decode(Some(packet), Duration::ZERO).unwrap();
            assert!(frame.samples.iter().all(|s| s.abs() <= 1.0));
            samples = frame.samples;
        }
        assert!(
            (0.3..0.4).contains(&level(&samples)),
            "seed {seed}: {}",
            level(&samples)
        );
    }
}
