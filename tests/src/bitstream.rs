//! The content of frames: bitstreams that a packetiser, a depacketiser and a person can read, and no decoder.

use crate::mutate::Random;
use std::sync::OnceLock;
use visavis_core::Codec;

const START: [u8; 4] = [0, 0, 0, 1];
/// Constrained baseline, 640x480.
const SPS: [u8; 22] = [
    0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03,
    0x00, 0xca, 0x3c, 0x60, 0xca,
];
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
/// Another slice of the same picture: `first_mb_in_slice` is not 0.
const SECOND_SLICE: [u8; 2] = [0x41, 0x40];
/// 640x480, key.
const VP8_KEY: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01];
const VP8_DELTA: [u8; 3] = [0x11, 0x02, 0x00];
/// Profile 0, 640x480, key.
const VP9_KEY: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x1d, 0xf0];
const VP9_DELTA: [u8; 1] = [0x86];
/// Fullband, 20 ms, mono.
const OPUS: [u8; 1] = [0xf8];

/// The bitstream of frame `n`.
pub(crate) fn content(codec: Codec, n: u32, size: usize, keyframe: bool) -> Vec<u8> {
    let mut parts = parts(codec, n, size, keyframe);
    if codec != Codec::H264 {
        return parts.remove(0);
    }
    let mut out = Vec::with_capacity(size + 64);
    for part in parts {
        // Both lengths of start codes are Annex B.
        out.extend(&START[usize::from(short_start(n, keyframe))..]);
        out.extend(part);
    }
    out
}

fn short_start(n: u32, keyframe: bool) -> bool {
    !keyframe && n % 2 == 1
}

/// The NAL units of frame `n` for H.264, and the frame itself otherwise.
fn parts(codec: Codec, n: u32, size: usize, keyframe: bool) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut room = size;
    if codec == Codec::H264 {
        room = room.saturating_sub(START.len() - usize::from(short_start(n, keyframe)));
        for unit in [&SPS[..], &PPS].into_iter().filter(|_| keyframe) {
            room = room.saturating_sub(unit.len() + START.len());
            parts.push(unit.to_vec());
        }
    }
    let second = codec == Codec::H264 && !keyframe && n % 5 == 3 && size > 1_000;
    let header: &[u8] = match (codec, keyframe) {
        (Codec::H264, true) => &[0x65],
        (Codec::H264, false) => &[0x41],
        (Codec::Vp8, true) => &VP8_KEY,
        (Codec::Vp8, false) => &VP8_DELTA,
        (Codec::Vp9, true) => &VP9_KEY,
        (Codec::Vp9, false) => &VP9_DELTA,
        (Codec::Opus, _) => &OPUS,
    };
    let of_the_first = if second { room / 2 } else { room };
    let mut part = [header, &number(n)].concat();
    fill(&mut part, n, of_the_first);
    parts.push(part);
    if second {
        let room = room - of_the_first - (START.len() - usize::from(short_start(n, keyframe)));
        let mut part = SECOND_SLICE.to_vec();
        fill(&mut part, n + 1, room);
        parts.push(part);
    }
    parts
}

/// No byte is 0, and the first bit is set, as in a slice that starts a picture.
fn number(n: u32) -> [u8; 3] {
    [n >> 14, n >> 7, n].map(|part| 0x80 | (part & 0x7f) as u8)
}

fn read_number(bytes: &[u8]) -> Option<u32> {
    let parts = bytes.get(..3)?;
    let add = |n: u32, part: &u8| (part & 0x80 != 0).then_some(n << 7 | u32::from(part & 0x7f));
    parts.iter().try_fold(0, add)
}

/// The number of a frame, and whether it is a keyframe.
pub(crate) fn read(codec: Codec, payload: &[u8]) -> Option<(u32, bool)> {
    let first = *payload.first()?;
    match codec {
        Codec::H264 => {
            let starts = (3..payload.len()).filter(|at| payload[at - 3..*at] == START[1..]);
            let mut slices = starts.filter(|at| matches!(payload[*at] & 31, 1 | 5));
            let slice = &payload[slices.next()?..];
            Some((read_number(&slice[1..])?, slice[0] & 31 == 5))
        }
        Codec::Vp8 => {
            let keyframe = first & 1 == 0;
            let header = if keyframe { VP8_KEY.len() } else { VP8_DELTA.len() };
            Some((read_number(payload.get(header..)?)?, keyframe))
        }
        Codec::Vp9 => {
            let keyframe = first & 4 == 0;
            let header = if keyframe { VP9_KEY.len() } else { VP9_DELTA.len() };
            Some((read_number(payload.get(header..)?)?, keyframe))
        }
        Codec::Opus => Some((read_number(payload.get(OPUS.len()..)?)?, true)),
    }
}

/// Where what arrived is not frame `n`. H.264 is compared by NAL units: their start codes may have either length.
pub(crate) fn difference(
    codec: Codec,
    arrived: &[u8],
    (n, keyframe): (u32, bool),
    size: usize,
) -> Option<String> {
    let mut rest = arrived;
    for (index, part) in parts(codec, n, size, keyframe).into_iter().enumerate() {
        if codec == Codec::H264 {
            let start = START.len() - usize::from(!rest.starts_with(&START));
            match rest.get(..start) {
                Some(code) if code.ends_with(&START[1..]) => rest = &rest[start..],
                _ => return Some(format!("no start code before NAL unit {index}")),
            }
        }
        let same = part.len().min(rest.len());
        if rest[..same] != part[..same] || same < part.len() {
            let same = part.iter().zip(rest).take_while(|(a, b)| a == b).count();
            return Some(format!(
                "{} bytes arrived; part {index} of {} bytes is right up to byte {same}",
                arrived.len(),
                part.len()
            ));
        }
        rest = &rest[same..];
    }
    (!rest.is_empty()).then(|| format!("{} bytes too many", rest.len()))
}

/// Up to `size` with bytes that are the frame's own, the last one not 0.
fn fill(out: &mut Vec<u8>, n: u32, size: usize) {
    let Some(mut left) = size.checked_sub(out.len() + 1) else {
        return;
    };
    let noise = noise();
    let mut at = n as usize * 7_919 % (noise.len() / 2);
    while left > 0 {
        let part = left.min(noise.len() - at);
        out.extend(&noise[at..at + part]);
        left -= part;
        // Its ends are not 0, so the seam is no start code.
        at = 0;
    }
    out.push(0x80);
}

/// Bytes as an encoder writes them, emulation prevention included (H.264 §7.4.1).
fn noise() -> &'static [u8] {
    const LEN: usize = 1 << 19;
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut random = Random::new(0xF00D);
        let mut bytes = vec![0xff];
        let mut zeros = 0;
        while bytes.len() < LEN {
            for byte in random.number().to_le_bytes() {
                // Zeros are common in real streams, and what start codes are made of.
                let byte = if byte < 64 { byte & 3 } else { byte };
                if zeros >= 2 && byte <= 3 {
                    bytes.push(3);
                    zeros = 0;
                }
                zeros = if byte == 0 { zeros + 1 } else { 0 };
                bytes.push(byte);
            }
        }
        bytes.push(0xff);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::PICTURES;

    #[test]
    fn content_says_what_it_is_and_has_no_start_codes_of_its_own() {
        for codec in Codec::ALL {
            for (n, &size) in (0..20)
                .chain([1 << 20])
                .flat_map(|n| PICTURES.iter().map(move |s| (n, s)))
            {
                for keyframe in [codec == Codec::Opus, true] {
                    let bytes = content(codec, n, size, keyframe);
                    assert_eq!(read(codec, &bytes), Some((n, keyframe)));
                    assert!(
                        bytes.len() == size || bytes.len() > size && size < 50,
                        "{codec} {size}"
                    );
                    assert_ne!(bytes.last(), Some(&0));
                    assert_eq!(difference(codec, &bytes, (n, keyframe), size), None);
                    assert!(difference(codec, &bytes[..bytes.len() - 1], (n, keyframe), size).is_some());
                    let codes = bytes.windows(3).filter(|w| **w == START[1..]).count();
                    if codec == Codec::H264 {
                        assert_eq!(codes, parts(codec, n, size, keyframe).len());
                    }
                }
            }
        }
        let bytes = content(Codec::H264, 2, 999, false);
        assert_eq!(difference(Codec::H264, &bytes[1..], (2, false), 999), None);
        assert!(difference(Codec::H264, &bytes, (3, false), 999).is_some());
    }
}
