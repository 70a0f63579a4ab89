//! VP8 by `oxideav-vp8`, in safe Rust: decodes only, and slower than libvpx, but needs nothing installed.

use super::gate::{Contents, RawDecoder};
use super::header;
use super::picture::{MAX_PIXELS, Picture};
use oxideav_vp8::Vp8DecoderState;
use visavis_core::{Result, media::Codec};

/// Decodes VP8 with `oxideav-vp8`.
pub(super) struct Vp8Decoder(Vp8DecoderState);

impl Vp8Decoder {
    pub(super) fn new() -> Self {
        Self(Vp8DecoderState::new().with_max_pixels_per_frame(MAX_PIXELS.into()))
    }
}

impl RawDecoder for Vp8Decoder {
    fn codec(&self) -> Codec {
        Codec::Vp8
    }

    fn inspect(&self, bitstream: &[u8]) -> Contents {
        header::vp8(bitstream)
    }

    fn decode(&mut self, bitstream: &[u8]) -> Result<Option<Picture>, String> {
        let frame = self
            .0
            .decode_frame(bitstream)
            .map_err(|error| error.to_string())?;
        // An alternative reference is decoded for later pictures, and not shown.
        if self.0.last_frame_shown() == Some(false) {
            return Ok(None);
        }
        let (width, height) = (frame.width as usize, frame.height as usize);
        Picture::owned(width, height, [frame.y, frame.u, frame.v])
            .map(Some)
            .ok_or_else(|| format!("the planes do not fit {width}x{height}"))
    }

    fn renew(&mut self) -> Result<()> {
        *self = Self::new();
        Ok(())
    }
}
