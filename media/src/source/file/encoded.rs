//! The coded frames of a file as they are in it.

use super::{Format, Read, Trouble, h264::start_code, mp4::Mp4, open, packets::Packets as _};
use std::{collections::HashSet, path::Path, time::Duration};
use visavis_core::{
    Result,
    media::{Codec, EncodedFrame},
};

/// At most this many frames are read: ten seconds at 30 a second.
const MOST_FRAMES: usize = 300;

/// NAL unit types.
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// They have at most this many bytes.
const MOST_BYTES: usize = 64 << 20;

/// The H.264 frames of an MP4 file, neither decoded nor coded anew: access units in Annex B in decoding order, with the
/// parameter sets before each keyframe. At most the first 300, and 64 MiB.
///
/// The first is a keyframe, that is an IDR picture; what may come before it is left out. The times are those of the
/// pictures: a file with B-frames has them in another order than its frames.
///
/// # Errors
///
/// As for [`open_video`](super::open_video); [`NotSupported`](visavis_core::ErrorKind::NotSupported) also for files
/// other than MP4. What cannot be decoded is not found out.
pub fn read_h264(path: &Path) -> Result<Vec<EncodedFrame>> {
    read(path).map_err(|trouble| trouble.at("read_h264", path))
}

fn read(path: &Path) -> Read<Vec<EncodedFrame>> {
    let (file, magic) = open(path)?;
    match Format::of(&magic) {
        Format::Mp4 => {}
        Format::Wav | Format::Ogg => return Err(Trouble::unsupported("this is a sound file")),
        Format::Y4m | Format::Ivf => {
            return Err(Trouble::unsupported(
                "coded frames are read from MP4 (H.264) only",
            ));
        }
        format => return Err(format.unsupported("MP4 (H.264)")),
    }
    let mut packets = Mp4::open(file, &mut Vec::new())?;
    let mut frames = Vec::new();
    let mut bytes = 0;
    for number in 1.. {
        let next = packets.next().map_err(|trouble| trouble.in_frame(number))?;
        let Some(packet) = next else { break };
        let keyframe = nal_units(&packet.data).any(|unit| kind(unit) == Some(IDR));
        if !keyframe && frames.is_empty() {
            continue;
        }
        let data = without_repeats(packet.data);
        bytes += data.len();
        if bytes > MOST_BYTES || frames.len() == MOST_FRAMES {
            break;
        }
        frames.push(EncodedFrame {
            codec: Codec::H264,
            payload: data.into(),
            keyframe,
            // Those that are not shown have a time before the first that is.
            time: u64::try_from(packet.time).map_or(Duration::ZERO, Duration::from_nanos),
        });
    }
    if frames.is_empty() {
        return Err(Trouble::damaged("there is no keyframe that fits into 64 MiB"));
    }
    Ok(frames)
}

/// The frame with each of its parameter sets once: some files have them in the frames, too.
fn without_repeats(frame: Vec<u8>) -> Vec<u8> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(frame.len());
    let mut repeats = false;
    for unit in nal_units(&frame) {
        if matches!(kind(unit), Some(SPS | PPS)) && !seen.insert(unit) {
            repeats = true;
        } else {
            kept.extend_from_slice(&[0, 0, 0, 1]);
            kept.extend_from_slice(unit);
        }
    }
    if repeats { kept } else { frame }
}

/// What a NAL unit is (H.264 §7.4.1).
fn kind(unit: &[u8]) -> Option<u8> {
    unit.first().map(|header| header & 0x1f)
}

/// The NAL units between start codes of four bytes, which is how frames of an MP4 are made here.
fn nal_units(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = frame;
    std::iter::from_fn(move || {
        rest = &rest[start_code(rest)? + 3..];
        let end = start_code(rest).map_or(rest.len(), |next| next.saturating_sub(1));
        Some(&rest[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_come_once() {
        let unit = |bytes: &[u8]| [&[0, 0, 0, 1], bytes].concat();
        let (sps, pps, other) = (unit(&[0x67, 1]), unit(&[0x68, 2]), unit(&[0x68, 3]));
        let idr = unit(&[0x65, 4, 0, 0]);
        let once = [sps.clone(), pps.clone(), other.clone(), idr.clone()].concat();
        assert_eq!(without_repeats(once.clone()), once);
        let twice = [sps.clone(), pps.clone(), other, sps, pps, idr.clone()].concat();
        assert_eq!(without_repeats(twice), once);
        // Slices may well be alike.
        let slices = [idr.clone(), idr].concat();
        assert_eq!(without_repeats(slices.clone()), slices);
    }
}
