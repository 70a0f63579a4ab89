//! Makes small sound files.

use std::{io::Cursor, time::Duration};
use visavis_core::media::{AudioFrame, Bitrate};
use visavis_media::codec::{AudioSettings, audio_encoder};

/// A sine, interleaved, in every channel.
pub(crate) fn sine(rate: u32, channels: usize, hertz: f32, frames: usize) -> Vec<f32> {
    let step = std::f32::consts::TAU * hertz / rate as f32;
    (0..frames)
        .flat_map(|n| std::iter::repeat_n(0.5 * (step * n as f32).sin(), channels))
        .collect()
}

/// 16 and fewer bits, 24, 32 or float (bits 0).
pub(crate) fn wav(rate: u32, channels: u16, bits: u16, samples: &[f32]) -> Vec<u8> {
    let float = bits == 0;
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: if float { 32 } else { bits },
        sample_format: if float {
            hound::SampleFormat::Float
        } else {
            hound::SampleFormat::Int
        },
    };
    let mut out = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
    for sample in samples {
        if float {
            writer.write_sample(*sample).unwrap();
        } else {
            let full = ((1_i64 << (bits - 1)) - 1) as f64;
            writer.write_sample((f64::from(*sample) * full) as i32).unwrap();
        }
    }
    writer.finalize().unwrap();
    out.into_inner()
}

/// Ogg Opus, mono, of 20 ms packets, five a page, with `pre_skip` and `gain` in 1/256 dB; `length` samples are heard.
pub(crate) fn opus(samples: &[f32], pre_skip: u16, gain: i16, length: u64, origin: u64) -> Vec<u8> {
    let settings = AudioSettings {
        bitrate: Bitrate::from_bps(64_000),
        channels: 1,
    };
    let mut encoder = audio_encoder(settings).unwrap();
    let mut out = Vec::new();
    let mut writer = ogg::PacketWriter::new(&mut out);
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&48_000_u32.to_le_bytes());
    head.extend_from_slice(&gain.to_le_bytes());
    head.push(0);
    let end_page = ogg::PacketWriteEndInfo::EndPage;
    writer.write_packet(head, 7, end_page, 0).unwrap();
    writer
        .write_packet(b"OpusTags\0\0\0\0\0\0\0\0".to_vec(), 7, end_page, 0)
        .unwrap();
    let count = samples.len().div_ceil(960);
    for (number, chunk) in samples.chunks(960).enumerate() {
        let mut chunk = chunk.to_vec();
        chunk.resize(960, 0.0);
        let frame = AudioFrame {
            samples: chunk,
            rate: 48_000,
            channels: 1,
            time: Duration::from_millis(20 * number as u64),
        };
        let packet = encoder.encode(&frame).unwrap().payload.as_ref().to_vec();
        let position = origin + 960 * (number as u64 + 1);
        let (end, position) = match number + 1 {
            last if last == count => (
                ogg::PacketWriteEndInfo::EndStream,
                origin + u64::from(pre_skip) + length,
            ),
            number if number % 5 == 0 => (end_page, position),
            _ => (ogg::PacketWriteEndInfo::NormalPacket, position),
        };
        writer.write_packet(packet, 7, end, position).unwrap();
    }
    out
}
