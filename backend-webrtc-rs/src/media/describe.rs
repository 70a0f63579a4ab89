//! What our descriptions say of RTP, and what the library gets to see of it.
//!
//! Codecs are negotiated here. The library takes those of the first description for all there will ever be, on all
//! m-lines, so it sees the same list each time; what is written is ours, with the remote peer's payload types.

use super::{
    codecs::{KNOWN, Known, PayloadTypes, h264_profile},
    formats::{Format, Formats, parse_section, split},
};
use std::{
    fmt::Write,
    hash::{BuildHasher, RandomState},
};
use visavis_core::{Codec, MediaKind};

/// Our streams on an m-line. They stay for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) ssrc: u32,
    /// For retransmissions.
    pub(crate) rtx: u32,
}

impl Streams {
    pub(crate) fn random() -> Self {
        let ssrc = random() as u32;
        Self {
            ssrc,
            // Any other.
            rtx: ssrc ^ (random() as u32 | 1),
        }
    }
}

/// A number that nobody can guess well.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// A description that the library wrote as the remote peer is to see it: with our codecs and streams in place of its
/// own. `offer` is what it answers; `streams` gives an m-line's streams by its mid and whether it sends, if they are to be
/// declared.
pub(crate) fn declare(
    sdp: &str,
    offer: Option<&str>,
    types: &mut PayloadTypes,
    cname: &str,
    mut streams: impl FnMut(&str, bool) -> Option<Streams>,
) -> String {
    let (head, sections) = split(sdp);
    let offered = offer.map(|offer| split(offer).1);
    let mut out = head.to_owned();
    for (index, section) in sections.into_iter().enumerate() {
        let Some(kind) = kind_of(section) else {
            out += section;
            continue;
        };
        let offered = offered
            .as_ref()
            .and_then(|all| all.get(index))
            .map(|s| parse_section(s).1);
        let codecs = match offered {
            Some(offered) => answered(&offered, types),
            None => offered_by_us(kind, types),
        };
        let section = if codecs.is_empty() {
            section.to_owned()
        } else {
            with_codecs(section, &codecs)
        };
        let (mid, formats) = parse_section(&section);
        for line in section.split_inclusive('\n') {
            if line.starts_with("a=msid:") {
                // The library names all tracks of a kind alike; libwebrtc takes no two of the same name.
                let _ = write!(out, "{}-{index}\r\n", line.trim_end());
            } else if !line.starts_with("a=ssrc") {
                out += line;
            }
        }
        let has = |line: &str| section.lines().any(|l| l == line);
        let sends = !has("a=recvonly") && !has("a=inactive");
        if !mid.is_empty()
            && !formats.list.is_empty()
            && let Some(Streams { ssrc, rtx }) = streams(&mid, sends)
        {
            let repairs = formats.list.iter().any(|(_, f)| matches!(f, Format::Rtx(_)));
            out += &lines_of(ssrc, repairs.then_some(rtx), cname);
        }
    }
    out
}

/// A remote description as the library can take it: with its own list of codecs, a direction, and one stream an m-line
/// as it is understood here. Where there are several m-lines, it refuses one that names a track but no stream.
pub(crate) fn for_library(sdp: &str) -> String {
    let (head, sections) = split(sdp);
    let mut out = head.to_owned();
    for section in sections {
        let Some(kind) = kind_of(section) else {
            out += section;
            continue;
        };
        let (_, formats) = parse_section(section);
        let known = formats
            .list
            .iter()
            .any(|(_, f)| matches!(f, Format::Codec(c) if c.kind() == kind));
        let section = if known {
            with_codecs(section, &offered_by_us(kind, &mut PayloadTypes::default()))
        } else {
            section.to_owned()
        };
        let (stream, rtx) = formats.streams();
        let lines = section.split_inclusive('\n');
        out.extend(lines.filter(|line| {
            !line.starts_with("a=ssrc") && (stream.is_some() || !line.starts_with("a=msid:"))
        }));
        let directions = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
        let directed = |text: &str| text.lines().any(|line| directions.contains(&line.trim_end()));
        // Without one both ways are meant (RFC 8866 §6.7).
        if !directed(&section) && !directed(head) {
            out += "a=sendrecv\r\n";
        }
        if let Some(stream) = stream {
            out += &lines_of(stream, rtx, "-");
        }
    }
    out
}

/// Whether an m-line is media and not rejected.
fn kind_of(section: &str) -> Option<MediaKind> {
    let (kind, rest) = section.strip_prefix("m=")?.split_once(' ')?;
    let rejected = rest.starts_with("0 ") && !section.contains("\na=bundle-only");
    match kind {
        _ if rejected => None,
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    }
}

/// A payload type, its name and parameters, and its feedback.
type Written<'a> = (u8, &'static str, String, Vec<&'a str>);

/// All that we have.
fn offered_by_us(kind: MediaKind, types: &mut PayloadTypes) -> Vec<Written<'static>> {
    let mut written = Vec::new();
    for (index, known) in KNOWN.iter().enumerate().filter(|(_, known)| known.is_of(kind)) {
        let payload_type = types.get((index, false));
        let feedback = known.feedback().to_vec();
        written.push((payload_type, known.name, known.parameters.to_owned(), feedback));
        if known.has_rtx() {
            let rtx = types.get((index, true));
            written.push((rtx, "rtx/90000", format!("apt={payload_type}"), Vec::new()));
        }
    }
    written
}

/// What we have of an offer, in its order and with its numbers.
fn answered(offered: &Formats, types: &mut PayloadTypes) -> Vec<Written<'static>> {
    let known_as = |payload_type: u8| match offered.get(payload_type)? {
        Format::Codec(codec) => Known::of(codec, offered.parameters(payload_type)),
        Format::Rtx(_) => None,
    };
    let mut written = Vec::new();
    for (payload_type, format) in offered.list.iter().copied() {
        match format {
            Format::Codec(codec) => {
                let Some(index) = known_as(payload_type) else {
                    continue;
                };
                types.adopt((index, false), payload_type);
                let known = &KNOWN[index];
                let both = known.feedback().iter().copied();
                let feedback = both.filter(|f| offered.has_feedback(payload_type, f)).collect();
                let mut parameters = known.parameters.to_owned();
                if let Some(profile) =
                    h264_profile(offered.parameters(payload_type)).filter(|_| codec == Codec::H264)
                {
                    // It must be the offer's (RFC 6184 §8.2.2).
                    parameters.truncate(parameters.len() - profile.len());
                    parameters += profile;
                }
                written.push((payload_type, known.name, parameters, feedback));
            }
            Format::Rtx(original) => {
                if let Some(index) = known_as(original).filter(|index| KNOWN[*index].has_rtx()) {
                    types.adopt((index, true), payload_type);
                    written.push((payload_type, "rtx/90000", format!("apt={original}"), Vec::new()));
                }
            }
        }
    }
    written
}

/// An m-line with other codecs.
fn with_codecs(section: &str, codecs: &[Written<'_>]) -> String {
    let (head, rest) = section.split_once('\n').unwrap_or((section, ""));
    let mut out: String = head
        .split_ascii_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ");
    for (payload_type, ..) in codecs {
        let _ = write!(out, " {payload_type}");
    }
    out += "\r\n";
    let codec_lines = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let lines = rest.split_inclusive('\n');
    out.extend(lines.filter(|line| !codec_lines.iter().any(|start| line.starts_with(start))));
    for (payload_type, name, parameters, feedback) in codecs {
        let _ = write!(out, "a=rtpmap:{payload_type} {name}\r\n");
        if !parameters.is_empty() {
            let _ = write!(out, "a=fmtp:{payload_type} {parameters}\r\n");
        }
        for feedback in feedback {
            let _ = write!(out, "a=rtcp-fb:{payload_type} {feedback}\r\n");
        }
    }
    out
}

/// What declares a stream, and the one of its retransmissions (RFC 5576).
fn lines_of(stream: u32, rtx: Option<u32>, cname: &str) -> String {
    let stream_line = format!("a=ssrc:{stream} cname:{cname}\r\n");
    match rtx {
        Some(rtx) => {
            format!("a=ssrc-group:FID {stream} {rtx}\r\n{stream_line}a=ssrc:{rtx} cname:{cname}\r\n")
        }
        None => stream_line,
    }
}

#[cfg(test)]
#[path = "../tests/describe.rs"]
mod tests;
