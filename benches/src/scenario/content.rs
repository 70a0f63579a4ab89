//! The frames that are sent, and whether what arrives is what was sent.

use crate::work::Content;
use std::{path::Path, sync::Arc};
use visavis_core::{Bitrate, Codec, EncodedFrame, Payload};
use visavis_media::{
    codec::{VideoSettings, video_encoder},
    source::{FrameRate, Pattern, file::read_h264},
};

/// Frames of one size differ, and repeat after this many, more than can be under way. The first is a keyframe.
const PERIOD: usize = 64;

/// How many pictures of the test pattern are coded, if there is no recording: three seconds.
const RECORDED: u32 = 90;

/// The parameter sets of a keyframe, constrained baseline, 640x480, and the start code of its slice.
const PARAMETERS: [u8; 34] = [
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x0a, 0x11, 0x24, 0x3c, 0x60, 0xca,
    0x80, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88,
];

/// H.264 frames that are sent again and again, in Annex B.
#[derive(Debug, Clone)]
pub struct Frames(Arc<[Frame]>);

impl Frames {
    /// The frames of `content`; those of `recording`, or of a coded test pattern, if it is a recording.
    ///
    /// A recording is an MP4 file with H.264, whose frames are sent as they are in it, in the order in which RTP
    /// carries them, that of decoding. Its times do not matter: each scenario has its own, also where B-frames are
    /// shown in another order.
    ///
    /// # Errors
    ///
    /// When the recording cannot be read or is not H.264.
    pub fn new(content: Content, recording: Option<&Path>) -> Result<Self, String> {
        let frames = match (content, recording) {
            (Content::Size(size), _) => (0..PERIOD).map(|n| Frame::of_size(n, size)).collect(),
            (Content::Recording, None) => coded_pattern().map_err(|error| error.to_string())?,
            (Content::Recording, Some(path)) => recorded(path).map_err(|error| error.to_string())?,
        };
        Ok(Self(frames))
    }

    /// Frame `n` of the endless sequence.
    pub fn get(&self, n: u64) -> &Frame {
        &self.0[(n % self.0.len() as u64) as usize]
    }

    /// The mean size of a frame in bytes.
    pub fn mean_size(&self) -> f64 {
        let bytes: usize = self.0.iter().map(|frame| frame.payload.as_ref().len()).sum();
        bytes as f64 / self.0.len() as f64
    }
}

/// A frame to send.
#[derive(Debug)]
pub struct Frame {
    /// Its bitstream.
    pub payload: Payload,
    /// Whether it can be decoded without an earlier one.
    pub keyframe: bool,
}

impl Frame {
    /// Frame `n` of `size` bytes: one slice, after its parameter sets if it is a keyframe.
    fn of_size(n: usize, size: usize) -> Self {
        let keyframe = n == 0;
        let mut bytes = if keyframe {
            PARAMETERS.to_vec()
        } else {
            vec![0, 0, 0, 1, 0x41, 0x9a]
        };
        // No byte is 0, so there is no start code inside.
        bytes.extend((bytes.len()..size).map(|i| 0x80 | ((i * 31 + n * 7) % 127) as u8));
        Self {
            payload: bytes.into(),
            keyframe,
        }
    }

    /// Whether this is the frame, NAL unit for NAL unit: start codes have three or four bytes (H.264, Annex B), and
    /// access unit delimiters and filler are not carried (RFC 6184 §1.1).
    pub fn is(&self, arrived: &[u8]) -> bool {
        let sent = self.payload.as_ref();
        sent == arrived || nal_units(sent).eq(nal_units(arrived))
    }
}

impl From<EncodedFrame> for Frame {
    fn from(coded: EncodedFrame) -> Self {
        Self {
            payload: coded.payload,
            keyframe: coded.keyframe,
        }
    }
}

/// The NAL units of an Annex B bitstream that RTP carries.
fn nal_units(bitstream: &[u8]) -> impl Iterator<Item = &[u8]> {
    const DELIMITER: u8 = 9;
    const FILLER: u8 = 12;
    let mut rest = bitstream;
    let units = std::iter::from_fn(move || {
        let start = start_code(rest)? + 3;
        rest = &rest[start..];
        let end = start_code(rest).unwrap_or(rest.len());
        let unit = &rest[..end];
        rest = &rest[end..];
        // The fourth byte of the next start code, and padding.
        let padding = unit.iter().rev().take_while(|byte| **byte == 0).count();
        Some(&unit[..unit.len() - padding])
    });
    units.filter(|unit| {
        unit.first()
            .is_some_and(|first| !matches!(first & 31, DELIMITER | FILLER))
    })
}

/// Where the next start code of three bytes is.
fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|three| three == [0, 0, 1])
}

fn coded_pattern() -> visavis_core::Result<Arc<[Frame]>> {
    let rate = FrameRate::new(30, 1)?;
    let pattern = Pattern::new(1280, 720, rate)?;
    let mut encoder = video_encoder(
        Codec::H264,
        VideoSettings {
            fps: 30.0,
            bitrate: Bitrate::from_bps(2_000_000),
        },
    )?;
    (0..RECORDED)
        .filter_map(|n| encoder.encode(&pattern.frame(n), n == 0).transpose())
        .map(|coded| coded.map(Frame::from))
        .collect()
}

fn recorded(path: &Path) -> visavis_core::Result<Arc<[Frame]>> {
    Ok(read_h264(path)?.into_iter().map(Frame::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_known_by_its_nal_units() {
        let frames = Frames::new(Content::Size(1_200), None).unwrap();
        let sent = frames.get(0).payload.as_ref().to_vec();
        assert_eq!(sent.len(), 1_200);
        assert!(frames.get(0).is(&sent));
        assert!(frames.get(0).is(&sent[1..]), "three bytes of start code");
        let delimited = [&[0, 0, 0, 1, 9, 16], &sent[..]].concat();
        assert!(frames.get(0).is(&delimited));
        let mut damaged = sent.clone();
        damaged[700] ^= 1;
        assert!(!frames.get(0).is(&damaged));
        assert!(!frames.get(0).is(&sent[..1_199]));
        assert!(!frames.get(1).is(frames.get(2).payload.as_ref()));
    }
}
