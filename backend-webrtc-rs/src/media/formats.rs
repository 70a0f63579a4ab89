//! What a description says of its m-lines' RTP: payload types, retransmission formats, SSRCs; and how ours says it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};
use visavis_core::Codec;

/// The header extension that names the m-line (RFC 9143 §15).
pub(crate) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// A payload type and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Codec(Codec),
    /// Retransmissions of another payload type (RFC 4588).
    Rtx(u8),
}

/// The RTP of one m-line of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Formats {
    /// In the order of the m-line.
    list: Vec<(u8, Format)>,
    /// Payload types with generic NACK (RFC 4585 §6.2.1).
    nack: Vec<u8>,
    pub(crate) mid_extension: Option<u8>,
    ssrcs: Vec<u32>,
    /// A stream and the one of its retransmissions (RFC 5576 §4.2).
    repairs: Vec<(u32, u32)>,
}

impl Formats {
    pub(crate) fn get(&self, payload_type: u8) -> Option<Format> {
        let found = self.list.iter().find(|(pt, _)| *pt == payload_type);
        found.map(|(_, format)| *format)
    }

    /// The payload type for a codec.
    pub(crate) fn payload_type(&self, codec: Codec) -> Option<u8> {
        let found = self.list.iter().find(|(_, f)| *f == Format::Codec(codec));
        found.map(|(payload_type, _)| *payload_type)
    }

    /// The payload type for retransmissions of another.
    pub(crate) fn rtx(&self, payload_type: u8) -> Option<u8> {
        let found = self.list.iter().find(|(_, f)| *f == Format::Rtx(payload_type));
        found.map(|(rtx, _)| *rtx)
    }

    /// Whether generic NACK is negotiated for a codec.
    pub(crate) fn has_nack(&self, codec: Codec) -> bool {
        let of_codec = |pt: &u8| self.get(*pt) == Some(Format::Codec(codec));
        self.nack.iter().any(of_codec)
    }

    /// The stream of the m-line, and the one of its retransmissions, if they are declared.
    pub(crate) fn streams(&self) -> (Option<u32>, Option<u32>) {
        if let Some((stream, rtx)) = self.repairs.first() {
            return (Some(*stream), Some(*rtx));
        }
        (self.ssrcs.first().copied(), None)
    }
}

/// The RTP of each m-line of a description, with its mid, in order.
pub(crate) fn parse(sdp: &str) -> Vec<(String, Formats)> {
    split(sdp).1.into_iter().map(parse_section).collect()
}

/// What is before the first m-line, and the m-lines with what belongs to each.
fn split(sdp: &str) -> (&str, Vec<&str>) {
    let starts = sdp.match_indices("\nm=").map(|(at, _)| at + 1);
    let mut cuts: Vec<usize> = starts.chain([sdp.len()]).collect();
    cuts.dedup();
    let sections = cuts.windows(2).map(|cut| &sdp[cut[0]..cut[1]]).collect();
    (&sdp[..cuts[0]], sections)
}

fn parse_section(section: &str) -> (String, Formats) {
    let mut formats = Formats::default();
    let mut mid = String::new();
    let mut names: HashMap<u8, &str> = HashMap::new();
    let mut parameters: HashMap<u8, &str> = HashMap::new();
    for line in section.lines() {
        let Some((name, value)) = line.strip_prefix("a=").and_then(|l| l.split_once(':')) else {
            continue;
        };
        match name {
            "mid" => value.trim().clone_into(&mut mid),
            "rtpmap" => names.extend(numbered(value)),
            "fmtp" => parameters.extend(numbered(value)),
            "rtcp-fb" => {
                if let Some((payload_type, feedback)) = numbered(value)
                    && feedback == "nack"
                {
                    formats.nack.push(payload_type);
                }
            }
            "extmap" if value.split(' ').any(|word| word == MID_URI) => {
                formats.mid_extension = numbered(value).map(|(id, _)| id);
            }
            "ssrc" => {
                if let Some(ssrc) = value.split(' ').next().and_then(|s| s.parse().ok())
                    && !formats.ssrcs.contains(&ssrc)
                {
                    formats.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => {
                let mut words = value.split(' ');
                if let (Some("FID"), Some(Ok(stream)), Some(Ok(rtx))) = (
                    words.next(),
                    words.next().map(str::parse),
                    words.next().map(str::parse),
                ) {
                    formats.repairs.push((stream, rtx));
                }
            }
            _ => {}
        }
    }
    let head = section.lines().next().unwrap_or_default();
    for payload_type in head
        .split_ascii_whitespace()
        .skip(3)
        .filter_map(|pt| pt.parse().ok())
    {
        let name = names.get(&payload_type).copied().unwrap_or_default();
        let parameters = parameters.get(&payload_type).copied().unwrap_or_default();
        if let Some(format) = format(name, parameters) {
            formats.list.push((payload_type, format));
        }
    }
    (mid, formats)
}

/// A value that begins with a number of a byte, and what follows it.
fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.trim().split_once(' ')?;
    // The id of a header extension may have a direction.
    let number = number.split('/').next()?;
    Some((number.parse().ok()?, rest))
}

/// What a payload type stands for, by its `a=rtpmap` and `a=fmtp`.
fn format(name: &str, parameters: &str) -> Option<Format> {
    let parameter = |wanted: &str| {
        parameters.split(';').find_map(|p| {
            let (key, value) = p.trim().split_once('=')?;
            key.eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let name = name.split('/').next()?.trim();
    if name.eq_ignore_ascii_case("rtx") {
        return Some(Format::Rtx(parameter("apt")?.parse().ok()?));
    }
    let codec: Codec = name.parse().ok()?;
    // As core has it: constrained baseline or baseline with packetization-mode 1, profile 0.
    let usable = match codec {
        Codec::H264 => {
            parameter("packetization-mode") == Some("1")
                && parameter("profile-level-id")
                    .unwrap_or("42000a")
                    .starts_with("42")
        }
        Codec::Vp9 => matches!(parameter("profile-id"), None | Some("0")),
        Codec::Vp8 | Codec::Opus => true,
    };
    usable.then_some(Format::Codec(codec))
}

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

/// Declares our streams in a description that the library wrote, in place of its own, which send nothing.
pub(crate) fn declare(sdp: &str, cname: &str, mut streams: impl FnMut(&str) -> Streams) -> String {
    let (head, sections) = split(sdp);
    let mut out = head.to_owned();
    for section in sections {
        let lines = section.split_inclusive('\n');
        out.extend(lines.filter(|line| !line.starts_with("a=ssrc")));
        let has = |line: &str| section.lines().any(|l| l == line);
        let sends = !has("a=recvonly") && !has("a=inactive");
        let (mid, formats) = parse_section(section);
        if sends && !mid.is_empty() && !formats.list.is_empty() {
            let Streams { ssrc, rtx } = streams(&mid);
            let repairs = formats.list.iter().any(|(_, f)| matches!(f, Format::Rtx(_)));
            out += &lines_of(ssrc, repairs.then_some(rtx), cname);
        }
    }
    out
}

/// A remote description as the library can take it: with one stream an m-line, as it is understood here. Where there
/// are several m-lines, the library refuses one that names a track but no stream.
pub(crate) fn for_library(sdp: &str) -> String {
    let (head, sections) = split(sdp);
    let mut out = head.to_owned();
    for section in sections {
        let (stream, rtx) = parse_section(section).1.streams();
        let lines = section.split_inclusive('\n');
        out.extend(lines.filter(|line| {
            !line.starts_with("a=ssrc") && (stream.is_some() || !line.starts_with("a=msid:"))
        }));
        if let Some(stream) = stream {
            out += &lines_of(stream, rtx, "-");
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
#[path = "../tests/formats.rs"]
mod tests;
