//! Opus (RFC 6716) by `opus-pure`, in Rust.

use super::AudioSettings;
use opus_pure::{Application, MAX_PACKET_BYTES, MAX_PACKET_SAMPLES, OpusDecoder, OpusEncoder, SoftClip};
use std::time::Duration;
use visavis_core::media::{AudioDecoder, AudioEncoder, AudioFrame, Codec, EncodedFrame};
use visavis_core::{Error, ErrorKind, Result};

const RATE: u32 = 48_000;
/// 20 ms of a channel.
const FRAME: usize = 960;
/// What RTP promises of every Opus stream (RFC 7587 §7), and what the decoder gives.
const STEREO: usize = 2;
/// RFC 6716 §2.1.1.
const BITRATES: std::ops::RangeInclusive<u64> = 6_000..=510_000;

/// Encodes Opus with `opus-pure`.
pub(super) struct Encoder {
    library: OpusEncoder,
    channels: u8,
    samples: Vec<f32>,
    packet: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(settings: AudioSettings) -> Result<Self> {
        // As browsers do: one channel is a voice, two are music.
        let application = match settings.channels {
            1 => Application::Voip,
            2 => Application::Audio,
            other => {
                let message = format!("Opus is encoded with 1 or 2 channels, not {other}");
                return Err(Error::invalid_input("audio_encoder", message));
            }
        };
        let mut encoder = OpusEncoder::new(RATE.cast_signed(), settings.channels.into(), application)
            .map_err(|error| failed("audio_encoder", error))?;
        encoder.bitrate_bps = settings.bitrate.bps().clamp(*BITRATES.start(), *BITRATES.end()) as i32;
        Ok(Self {
            library: encoder,
            channels: settings.channels,
            samples: Vec::new(),
            packet: vec![0; MAX_PACKET_BYTES],
        })
    }
}

impl AudioEncoder for Encoder {
    fn encode(&mut self, frame: &AudioFrame) -> Result<EncodedFrame> {
        let channels = usize::from(self.channels);
        if frame.rate != RATE || frame.channels != self.channels || frame.samples.len() != FRAME * channels {
            let message = format!(
                "20 ms at 48 kHz are {FRAME} samples of {} channels, not {} of {} at {} Hz",
                self.channels,
                frame.samples.len() / usize::from(frame.channels.max(1)),
                frame.channels,
                frame.rate,
            );
            return Err(Error::invalid_input("encode", message));
        }
        self.samples.clear();
        // What is too loud would come back louder still, and what is no number silences the encoder for good.
        let bounded = frame
            .samples
            .iter()
            .map(|s| if s.is_nan() { 0.0 } else { s.clamp(-1.0, 1.0) });
        self.samples.extend(bounded);
        let length = self
            .library
            .encode(&self.samples, FRAME, &mut self.packet)
            .map_err(|error| failed("encode", error))?;
        Ok(EncodedFrame {
            codec: Codec::Opus,
            payload: self.packet[..length].to_vec().into(),
            keyframe: true,
            time: frame.time,
        })
    }
}

/// Decodes Opus with `opus-pure`, mono and stereo to stereo.
pub(super) struct Decoder {
    library: OpusDecoder,
    clip: SoftClip,
    samples: Vec<f32>,
}

impl Decoder {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            library: OpusDecoder::new(RATE.cast_signed(), STEREO)
                .map_err(|error| failed("audio_decoder", error))?,
            clip: SoftClip::new(STEREO),
            samples: vec![0.0; MAX_PACKET_SAMPLES * STEREO],
        })
    }
}

impl AudioDecoder for Decoder {
    fn decode(&mut self, packet: Option<&[u8]>, time: Duration) -> Result<AudioFrame> {
        let (packet, capacity) = match packet {
            // The library takes an empty packet for a lost one.
            Some([]) => {
                return Err(Error::new(
                    ErrorKind::Media,
                    "decode",
                    "an empty packet is not Opus",
                ));
            }
            Some(packet) => (packet, MAX_PACKET_SAMPLES),
            None => (&[][..], FRAME),
        };
        let count = self
            .library
            .decode(packet, capacity, &mut self.samples)
            .map_err(|error| failed("decode", error))?;
        let mut samples = self.samples[..count * STEREO].to_vec();
        for sample in &mut samples {
            if !sample.is_finite() {
                *sample = 0.0;
            }
        }
        // A codec rings, so that loud sound comes back slightly beyond 1.
        self.clip.apply(&mut samples);
        Ok(AudioFrame {
            samples,
            rate: RATE,
            channels: STEREO as u8,
            time,
        })
    }
}

fn failed(operation: &'static str, error: opus_pure::Error) -> Error {
    Error::new(ErrorKind::Media, operation, "Opus").with_source(error)
}
