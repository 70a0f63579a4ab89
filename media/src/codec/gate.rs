//! One rule for all video decoders: after an error nothing is decoded until a keyframe.

use super::picture::Picture;
use std::time::Duration;
use visavis_core::media::{Codec, VideoDecoder, VideoFrame};
use visavis_core::{Error, ErrorKind, Result};

/// What a bitstream holds, as far as its first bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// A picture that needs no other.
    Keyframe,
    /// A picture that needs earlier ones.
    Delta,
    /// No picture, but something to know: parameter sets.
    Parameters,
    /// Nothing of this codec.
    Nothing,
}

/// A library's decoder, without the rule.
pub(super) trait RawDecoder: Send {
    fn codec(&self) -> Codec;

    fn inspect(&self, bitstream: &[u8]) -> Contents;

    /// Decodes; an error is the library's own words. `None` if the bitstream shows no picture.
    fn decode(&mut self, bitstream: &[u8]) -> Result<Option<Picture>, String>;

    /// Forgets everything.
    fn renew(&mut self) -> Result<()>;
}

/// A [`RawDecoder`] that refuses everything from an error to the next keyframe.
///
/// The libraries would go on with whatever they have as a reference, and give out grey or smeared pictures.
pub(super) struct Gate<D> {
    decoder: D,
    open: bool,
}

impl<D: RawDecoder> Gate<D> {
    pub(super) fn new(decoder: D) -> Self {
        Self { decoder, open: false }
    }

    fn error(&self, what: &str) -> Error {
        let message = format!("{}: {what}; a keyframe is needed", self.decoder.codec());
        Error::new(ErrorKind::Media, "decode", message)
    }
}

impl<D: RawDecoder> VideoDecoder for Gate<D> {
    fn decode(&mut self, bitstream: &[u8], time: Duration) -> Result<Option<VideoFrame>> {
        let contents = self.decoder.inspect(bitstream);
        match contents {
            Contents::Nothing => {
                self.open = false;
                return Err(self.error("there is no picture in these bytes"));
            }
            Contents::Delta if !self.open => {
                return Err(self.error("the picture needs an earlier one that is not there"));
            }
            _ => {}
        }
        let mut result = self.decoder.decode(bitstream);
        if result.is_err() && contents == Contents::Keyframe {
            // What damaged pictures left behind can keep a library (openh264 does it) from decoding even an intact
            // keyframe. To forget it all is the second choice, for parameter sets may have come ahead.
            self.decoder.renew()?;
            result = self.decoder.decode(bitstream);
        }
        match result {
            Ok(picture) => {
                self.open |= contents == Contents::Keyframe;
                Ok(picture.map(|picture| picture.at(time)))
            }
            Err(what) => {
                self.open = false;
                Err(self.error(&what))
            }
        }
    }
}
