//! The codecs: what this build can encode and decode, and how to make an encoder or a decoder.
//!
//! Every encoder works latency first: a picture in, its bitstream out, no lookahead. Every decoder gives out only
//! pictures that it could decode in full: after an error it refuses everything until a keyframe.

mod gate;
pub mod h264;
mod header;
mod opus;
mod picture;
#[cfg(not(feature = "libvpx"))]
mod vp8;
#[cfg(feature = "libvpx")]
mod vpx;

use visavis_core::media::{AudioDecoder, AudioEncoder, Bitrate, Codec, VideoDecoder, VideoEncoder};
use visavis_core::{Error, ErrorKind, Result};

/// What a video encoder aims at. The size comes from the pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSettings {
    /// The bitrate to aim at.
    pub bitrate: Bitrate,
    /// Frames a second, which the bitrate is spread over.
    pub fps: f32,
}

/// What an audio encoder aims at. The rate is 48 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSettings {
    /// The bitrate to aim at; Opus has 6 to 510 kbit/s, and what is outside is brought into that range.
    pub bitrate: Bitrate,
    /// 1 or 2.
    pub channels: u8,
}

/// What this build does with a codec; see [`available`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// Which codec.
    pub codec: Codec,
    /// The library that encodes it.
    pub encoder: Option<&'static str>,
    /// The library that decodes it.
    pub decoder: Option<&'static str>,
    /// How to get what is missing.
    pub hint: Option<&'static str>,
}

#[cfg(not(feature = "libvpx"))]
const VP8_HINT: &str =
    "VP8 is encoded by libvpx: install libvpx-dev and pkg-config, and build with --features libvpx";
#[cfg(not(feature = "libvpx"))]
const VP9_HINT: &str = "VP9 is encoded and decoded by libvpx: install libvpx-dev and pkg-config, and build with --features libvpx";

/// Each codec with the library that encodes and decodes it in this build, or how to get it.
pub fn available() -> Vec<Available> {
    Codec::ALL.into_iter().map(describe).collect()
}

fn describe(codec: Codec) -> Available {
    let (encoder, decoder, hint) = match codec {
        Codec::H264 => (Some("openh264"), Some("openh264"), None),
        Codec::Opus => (Some("opus-pure"), Some("opus-pure"), None),
        #[cfg(feature = "libvpx")]
        Codec::Vp8 | Codec::Vp9 => (Some("libvpx"), Some("libvpx"), None),
        #[cfg(not(feature = "libvpx"))]
        Codec::Vp8 => (None, Some("oxideav-vp8"), Some(VP8_HINT)),
        #[cfg(not(feature = "libvpx"))]
        Codec::Vp9 => (None, None, Some(VP9_HINT)),
    };
    Available {
        codec,
        encoder,
        decoder,
        hint,
    }
}

/// An encoder for `codec`.
///
/// Its first picture is a keyframe, as is the first of a new size. H.264 has even sizes only: of an odd size the last
/// column or row is left out.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) if this build has no such encoder, with how to get it, and
/// [`InvalidInput`](ErrorKind::InvalidInput) for a frame rate or bitrate that is not above zero.
pub fn video_encoder(codec: Codec, settings: VideoSettings) -> Result<Box<dyn VideoEncoder>> {
    check_bitrate("video_encoder", settings.bitrate)?;
    check_frame_rate("video_encoder", settings.fps)?;
    match codec {
        Codec::H264 => Ok(Box::new(h264::H264Encoder::new(settings))),
        #[cfg(feature = "libvpx")]
        Codec::Vp8 | Codec::Vp9 => Ok(Box::new(vpx::VpxEncoder::new(codec, settings))),
        _ => Err(missing("video_encoder", codec)),
    }
}

/// A decoder for `codec`. It needs a keyframe first.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) if this build has no such decoder, with how to get it.
pub fn video_decoder(codec: Codec) -> Result<Box<dyn VideoDecoder>> {
    match codec {
        Codec::H264 => Ok(Box::new(gate::Gate::new(h264::H264Decoder::new()?))),
        #[cfg(feature = "libvpx")]
        Codec::Vp8 | Codec::Vp9 => Ok(Box::new(gate::Gate::new(vpx::VpxDecoder::new(codec)?))),
        #[cfg(not(feature = "libvpx"))]
        Codec::Vp8 => Ok(Box::new(gate::Gate::new(vp8::Vp8Decoder::new()))),
        _ => Err(missing("video_decoder", codec)),
    }
}

/// An Opus encoder for frames of 20 ms at 48 kHz.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) unless there are one or two channels and some bitrate.
pub fn audio_encoder(settings: AudioSettings) -> Result<Box<dyn AudioEncoder>> {
    check_bitrate("audio_encoder", settings.bitrate)?;
    Ok(Box::new(opus::Encoder::new(settings)?))
}

/// An Opus decoder. It always gives stereo at 48 kHz, from −1 to 1: a stream may change between mono and stereo with
/// every packet.
pub fn audio_decoder() -> Result<Box<dyn AudioDecoder>> {
    Ok(Box::new(opus::Decoder::new()?))
}

fn check_bitrate(operation: &'static str, bitrate: Bitrate) -> Result<()> {
    if bitrate.bps() == 0 {
        return Err(Error::invalid_input(operation, "the bitrate must be above zero"));
    }
    Ok(())
}

fn check_frame_rate(operation: &'static str, fps: f32) -> Result<()> {
    if !fps.is_finite() || fps <= 0.0 {
        let message = format!("the frame rate must be above zero, not {fps}");
        return Err(Error::invalid_input(operation, message));
    }
    Ok(())
}

fn missing(operation: &'static str, codec: Codec) -> Error {
    let message = match (codec, describe(codec).hint) {
        (_, Some(hint)) => hint.to_owned(),
        (codec, None) => format!("{codec} is not a video codec"),
    };
    Error::new(ErrorKind::NotSupported, operation, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_how_to_get_it() {
        for entry in available() {
            assert_eq!(
                entry.hint.is_none(),
                entry.encoder.is_some() && entry.decoder.is_some()
            );
            if entry.codec == Codec::Opus {
                continue;
            }
            let settings = VideoSettings {
                bitrate: Bitrate::from_bps(500_000),
                fps: 30.0,
            };
            match (video_encoder(entry.codec, settings), entry.encoder) {
                (Ok(encoder), Some(_)) => assert_eq!(encoder.codec(), entry.codec),
                (Err(error), None) => {
                    assert_eq!(error.kind(), ErrorKind::NotSupported);
                    assert!(error.to_string().contains("--features libvpx"), "{error}");
                }
                _ => panic!("{entry:?} does not say what is there"),
            }
            assert_eq!(video_decoder(entry.codec).is_ok(), entry.decoder.is_some());
        }
    }
}
