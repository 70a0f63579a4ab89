//! Frames to RTP payloads, and back: H.264 (RFC 6184, packetization-mode 1), VP8 (RFC 7741), VP9 (RFC 9628) and Opus
//! (RFC 7587).
//!
//! By hand, for frames must come out as they went in, and fast: the payloaders of both stacks look for start codes byte by
//! byte, and that of webrtc-rs drops and delays NAL units.

use crate::Codec;
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Start and end of a fragmented NAL unit.
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Splits a frame into RTP payloads of at most `max` bytes, in order; none if there is nothing in it.
pub fn packetize(codec: Codec, frame: Bytes, keyframe: bool, max: usize, payloads: &mut Vec<Bytes>) {
    match codec {
        Codec::H264 => split_h264(&frame, max, payloads),
        Codec::Vp8 => split_described(&frame, max, payloads, |first, _| if first { 0x10 } else { 0 }),
        Codec::Vp9 => split_described(&frame, max, payloads, |first, last| {
            let inter = if keyframe { 0 } else { 0x40 };
            inter | if first { 0x08 } else { 0 } | if last { 0x04 } else { 0 }
        }),
        Codec::Opus if frame.is_empty() => {}
        Codec::Opus => payloads.push(frame),
    }
}

/// Payloads of nearly one size, each with a byte that describes it. One allocation a frame.
fn split_described(
    frame: &Bytes,
    max: usize,
    payloads: &mut Vec<Bytes>,
    describe: impl Fn(bool, bool) -> u8,
) {
    let count = frame.len().div_ceil(max - 1);
    if count == 0 {
        return;
    }
    let mut buffer = BytesMut::with_capacity(frame.len() + count);
    let chunks = frame.chunks(frame.len().div_ceil(count));
    let last = chunks.len() - 1;
    for (i, chunk) in chunks.enumerate() {
        buffer.put_u8(describe(i == 0, i == last));
        buffer.put_slice(chunk);
        payloads.push(buffer.split().freeze());
    }
}

/// A NAL unit is a payload if it fits, and fragments otherwise.
fn split_h264(frame: &Bytes, max: usize, payloads: &mut Vec<Bytes>) {
    let mut at = 0;
    while let Some(nal) = next_nal(frame, &mut at) {
        if nal.len() <= max {
            payloads.push(frame.slice(nal));
            continue;
        }
        let (header, body) = (frame[nal.start], &frame[nal.start + 1..nal.end]);
        let count = body.len().div_ceil(max - 2);
        let mut buffer = BytesMut::with_capacity(body.len() + 2 * count);
        let chunks = body.chunks(body.len().div_ceil(count));
        let last = chunks.len() - 1;
        for (i, chunk) in chunks.enumerate() {
            let start = if i == 0 { FU_START } else { 0 };
            let end = if i == last { FU_END } else { 0 };
            buffer.put_slice(&[header & 0xE0 | FU_A, header & 0x1F | start | end]);
            buffer.put_slice(chunk);
            payloads.push(buffer.split().freeze());
        }
    }
}

/// The next NAL unit that is not empty, from `at` on. What comes without a start code is one too.
fn next_nal(frame: &[u8], at: &mut usize) -> Option<Range<usize>> {
    while *at < frame.len() {
        let (end, next) = match start_code(frame, *at) {
            Some(code) => {
                // The byte before it is its own, if it is the first of four.
                let zero = code > *at && frame[code - 1] == 0;
                (code - usize::from(zero), code + 3)
            }
            None => (frame.len(), frame.len()),
        };
        let nal = *at..end;
        *at = next;
        if !nal.is_empty() {
            return Some(nal);
        }
    }
    None
}

/// Where the next `00 00 01` is. Looks at every third byte where it can, for frames are scanned to their end.
fn start_code(frame: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(&third) = frame.get(at + 2) {
        match third {
            0 => at += 1,
            1 if frame[at] == 0 && frame[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

/// Whether a payload begins a frame, as far as it can tell without the packet before it.
pub fn begins(codec: Codec, payload: &[u8]) -> bool {
    match (codec, payload) {
        (Codec::Opus, _) => true,
        (Codec::Vp8, [descriptor, ..]) => descriptor & 0x17 == 0x10,
        (Codec::Vp9, [descriptor, ..]) => descriptor & 0x08 != 0,
        (Codec::H264, [indicator, header, ..]) if indicator & 0x1F == FU_A => header & FU_START != 0,
        (Codec::H264, payload) => !payload.is_empty(),
        (_, []) => false,
    }
}

/// The same where packets are missing before it. H.264 does not say what belongs to a frame: it must be what comes
/// first in one. Not so an IDR slice, for parameter sets come before it.
pub fn surely_begins(codec: Codec, payload: &[u8]) -> bool {
    if codec != Codec::H264 {
        return begins(codec, payload);
    }
    let (kind, rest) = match payload {
        [indicator, header, rest @ ..] if indicator & 0x1F == FU_A => (header & (FU_START | 0x1F), rest),
        [header, _, _, first, rest @ ..] if header & 0x1F == STAP_A => (FU_START | first & 0x1F, rest),
        [header, rest @ ..] => (FU_START | header & 0x1F, rest),
        [] => return false,
    };
    match kind ^ FU_START {
        // Its `first_mb_in_slice` is 0 (H.264 §7.3.3).
        SLICE => rest.first().is_some_and(|b| b & 0x80 != 0),
        SPS | ACCESS_UNIT_DELIMITER => true,
        _ => false,
    }
}

/// Puts a frame together from its payloads, in order: the frame, and whether it is a keyframe. `None` if a payload
/// is not what the codec's payload format allows.
pub fn unite(codec: Codec, payloads: &[Bytes]) -> Option<(Bytes, bool)> {
    let len = payloads.iter().map(Bytes::len).sum::<usize>();
    match codec {
        Codec::Opus => Some((payloads.first()?.clone(), true)),
        Codec::H264 => {
            // A few NAL units fit; their start codes replace headers.
            let mut frame = BytesMut::with_capacity(len + 64);
            let mut keyframe = false;
            let mut fragment = false;
            for payload in payloads {
                unite_h264(payload, &mut frame, &mut fragment, &mut keyframe)?;
            }
            (!fragment).then(|| (frame.freeze(), keyframe))
        }
        Codec::Vp8 | Codec::Vp9 => {
            let descriptor = if codec == Codec::Vp8 { vp8_len } else { vp9_len };
            let first = payloads.first()?;
            let content = first.slice(descriptor(first)?..);
            let keyframe = match codec {
                Codec::Vp8 => content.first()? & 0x01 == 0,
                // Not predicted from another picture, and the bitstream says so too: some senders never set P.
                _ => first[0] & 0x40 == 0 && content.first()? & 0x0C == 0,
            };
            if payloads.len() == 1 {
                return Some((content, keyframe));
            }
            let mut frame = BytesMut::with_capacity(len);
            frame.put_slice(&content);
            for payload in &payloads[1..] {
                frame.put_slice(&payload[descriptor(payload)?..]);
            }
            Some((frame.freeze(), keyframe))
        }
    }
}

/// Appends the NAL units of a payload in Annex B. `fragment`: one is being put together.
fn unite_h264(payload: &[u8], frame: &mut BytesMut, fragment: &mut bool, keyframe: &mut bool) -> Option<()> {
    let mut whole = |nal: &[u8]| {
        *keyframe |= nal.first()? & 0x1F == IDR;
        frame.put_slice(&START_CODE);
        frame.put_slice(nal);
        Some(())
    };
    match payload {
        // Padding.
        [] => Some(()),
        [indicator, rest @ ..] if indicator & 0x1F == FU_A => {
            let (&header, content) = rest.split_first()?;
            let start = header & FU_START != 0;
            if start == *fragment {
                return None;
            }
            if start {
                whole(&[indicator & 0xE0 | header & 0x1F])?;
            }
            frame.put_slice(content);
            *fragment = header & FU_END == 0;
            Some(())
        }
        _ if *fragment => None,
        [header, rest @ ..] if header & 0x1F == STAP_A => {
            let mut rest = rest;
            while !rest.is_empty() {
                let (len, units) = rest.split_first_chunk()?;
                let (nal, units) = units.split_at_checked(u16::from_be_bytes(*len).into())?;
                whole(nal)?;
                rest = units;
            }
            Some(())
        }
        [header, ..] if (1..STAP_A).contains(&(header & 0x1F)) => whole(payload),
        _ => None,
    }
}

/// How long the descriptor of a VP8 payload is (RFC 7741 §4.2).
fn vp8_len(payload: &Bytes) -> Option<usize> {
    let mut len = 1;
    if payload.first()? & 0x80 != 0 {
        let extension = *payload.get(1)?;
        len = 2;
        if extension & 0x80 != 0 {
            len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    (len <= payload.len()).then_some(len)
}

/// How long the descriptor of a VP9 payload is (RFC 9628 §4.2).
fn vp9_len(payload: &Bytes) -> Option<usize> {
    let flags = *payload.first()?;
    let (picture_id, inter, layers, flexible) = (flags & 0x80, flags & 0x40, flags & 0x20, flags & 0x10);
    let mut len = 1;
    if picture_id != 0 {
        len += if payload.get(len)? & 0x80 != 0 { 2 } else { 1 };
    }
    if layers != 0 {
        len += if flexible == 0 { 2 } else { 1 };
    }
    if flexible != 0 && inter != 0 {
        // At most three references.
        for _ in 0..3 {
            len += 1;
            if payload.get(len - 1)? & 0x01 == 0 {
                break;
            }
        }
    }
    if flags & 0x02 != 0 {
        let structure = *payload.get(len)?;
        len += 1;
        if structure & 0x10 != 0 {
            len += (usize::from(structure >> 5) + 1) * 4;
        }
        if structure & 0x08 != 0 {
            let pictures = *payload.get(len)?;
            len += 1;
            for _ in 0..pictures {
                len += 1 + usize::from((payload.get(len)? >> 2) & 0x03);
            }
        }
    }
    (len <= payload.len()).then_some(len)
}

#[cfg(test)]
mod tests;
