//! The decoders: one for calls, and one for files.

use super::annex_b;
use crate::codec::gate::{Contents, RawDecoder};
use crate::codec::picture::Picture;
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;
use std::time::Duration;
use visavis_core::media::{Codec, VideoFrame};
use visavis_core::{Error, ErrorKind, Result};

/// Decodes H.264 without reordering: a picture comes out of the bitstream it went in with.
///
/// The crate switches openh264's error concealment off, so that a gap in `frame_num`, missing slices and missing
/// references are errors.
pub(in crate::codec) struct H264Decoder(Decoder);

impl H264Decoder {
    pub(in crate::codec) fn new() -> Result<Self> {
        open(Flush::Flush).map(Self)
    }
}

impl RawDecoder for H264Decoder {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn inspect(&self, bitstream: &[u8]) -> Contents {
        annex_b::contents(bitstream)
    }

    fn decode(&mut self, bitstream: &[u8]) -> Result<Option<Picture>, String> {
        match self.0.decode(bitstream) {
            Ok(Some(decoded)) => copy(&decoded).map(Some),
            Ok(None) if annex_b::contents(bitstream) == Contents::Parameters => Ok(None),
            // After some errors openh264 starts afresh and reports none.
            Ok(None) => Err("openh264 gave no picture".to_owned()),
            Err(error) => Err(explain(&error)),
        }
    }

    fn renew(&mut self) -> Result<()> {
        *self = Self::new()?;
        Ok(())
    }
}

/// Decodes an H.264 file: any profile up to High with 8 bits and 4:2:0, B-frames included. Pictures come out in
/// display order.
///
/// The n-th picture out has the n-th smallest presentation time of the access units that went in.
pub struct H264FileDecoder(Decoder);

impl H264FileDecoder {
    /// A decoder that waits for the first access unit.
    pub fn new() -> Result<Self> {
        open(Flush::NoFlush).map(Self)
    }

    /// Decodes one access unit in Annex B; gives the next picture to show, if there is one already, with a time of
    /// zero.
    ///
    /// # Errors
    ///
    /// [`Media`](ErrorKind::Media) when it is damaged or of a kind that openh264 does not know (more than 8 bits, other
    /// than 4:2:0, interlaced).
    pub fn decode(&mut self, access_unit: &[u8]) -> Result<Option<VideoFrame>> {
        let decoded = self
            .0
            .decode(access_unit)
            .map_err(|error| failed(explain(&error)))?;
        decoded.map(|decoded| frame(&decoded)).transpose()
    }

    /// The pictures that are left, at the end or before a jump in the file. Then the decoder is as new: what comes
    /// next begins with parameter sets and an IDR picture.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn flush(&mut self) -> Result<Vec<VideoFrame>> {
        let decoded = self
            .0
            .flush_remaining()
            .map_err(|error| failed(explain(&error)))?;
        let frames = decoded.iter().map(frame).collect();
        // openh264 would go on counting from the last picture shown, and mix up the order.
        self.0 = open(Flush::NoFlush)?;
        frames
    }
}

impl std::fmt::Debug for H264FileDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H264FileDecoder").finish_non_exhaustive()
    }
}

fn open(flush: Flush) -> Result<Decoder> {
    let config = DecoderConfig::new().flush_after_decode(flush);
    Decoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| failed(explain(&error)))
}

fn frame(decoded: &DecodedYUV<'_>) -> Result<VideoFrame> {
    Ok(copy(decoded).map_err(failed)?.at(Duration::ZERO))
}

/// openh264's planes begin at the cropped picture's first pixel, and its size is the cropped one.
fn copy(decoded: &DecodedYUV<'_>) -> Result<Picture, String> {
    let (width, height) = decoded.dimensions();
    let planes = [decoded.y(), decoded.u(), decoded.v()];
    Picture::copy(width, height, planes, decoded.strides().into())
        .ok_or_else(|| format!("openh264 gave planes too small for {width}x{height}"))
}

/// The flags of openh264's `DECODING_STATE`.
fn explain(error: &openh264::Error) -> String {
    const REFERENCE_LOST: i64 = 0x02;
    const DAMAGED: i64 = 0x04;
    const NO_PARAMETER_SETS: i64 = 0x10;
    let code = error.native_code();
    let what = if code & REFERENCE_LOST != 0 {
        "a reference picture is lost"
    } else if code & DAMAGED != 0 {
        "the bitstream is damaged"
    } else if code & NO_PARAMETER_SETS != 0 {
        "parameter sets or their IDR picture are lost"
    } else {
        "the picture cannot be decoded"
    };
    format!("{what} (openh264's code {code:#x})")
}

fn failed(what: String) -> Error {
    Error::new(ErrorKind::Media, "decode", what)
}
