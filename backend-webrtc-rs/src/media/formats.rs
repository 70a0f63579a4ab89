//! What a description says of its m-lines' RTP: payload types, retransmission formats, feedback, SSRCs.

use std::collections::HashMap;
use visavis_core::Codec;

/// The header extension that names the m-line (RFC 9143 §15).
pub(crate) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// The header extension with a packet's transport-wide number.
const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

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
    pub(crate) list: Vec<(u8, Format)>,
    /// The parameters of a payload type.
    parameters: HashMap<u8, String>,
    /// Feedback (RFC 4585 §4.2), `None` for all payload types.
    feedback: Vec<(Option<u8>, String)>,
    pub(crate) mid_extension: Option<u8>,
    pub(crate) twcc_extension: Option<u8>,
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
        let mut formats = self.list.iter();
        formats.any(|(pt, format)| *format == Format::Codec(codec) && self.has_feedback(*pt, "nack"))
    }

    /// Whether a payload type has this feedback.
    pub(crate) fn has_feedback(&self, payload_type: u8, feedback: &str) -> bool {
        let of_it = |pt: &Option<u8>| pt.is_none_or(|pt| pt == payload_type);
        self.feedback.iter().any(|(pt, f)| of_it(pt) && f == feedback)
    }

    /// The parameters of a payload type, as they are written.
    pub(crate) fn parameters(&self, payload_type: u8) -> &str {
        self.parameters.get(&payload_type).map_or("", String::as_str)
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
pub(crate) fn split(sdp: &str) -> (&str, Vec<&str>) {
    let starts = sdp.match_indices("\nm=").map(|(at, _)| at + 1);
    let mut cuts: Vec<usize> = starts.chain([sdp.len()]).collect();
    cuts.dedup();
    let sections = cuts.windows(2).map(|cut| &sdp[cut[0]..cut[1]]).collect();
    (&sdp[..cuts[0]], sections)
}

pub(crate) fn parse_section(section: &str) -> (String, Formats) {
    let mut formats = Formats::default();
    let mut mid = String::new();
    let mut names: HashMap<u8, &str> = HashMap::new();
    for line in section.lines() {
        let Some((name, value)) = line.strip_prefix("a=").and_then(|l| l.split_once(':')) else {
            continue;
        };
        match name {
            "mid" => value.trim().clone_into(&mut mid),
            "rtpmap" => names.extend(numbered(value)),
            "fmtp" => {
                let read = numbered(value).map(|(pt, parameters)| (pt, parameters.to_owned()));
                formats.parameters.extend(read);
            }
            "rtcp-fb" => {
                let all = value.strip_prefix("* ").map(|feedback| (None, feedback));
                let one = || numbered(value).map(|(pt, feedback)| (Some(pt), feedback));
                let read = all.or_else(one).map(|(pt, f)| (pt, f.trim().to_owned()));
                formats.feedback.extend(read);
            }
            "extmap" if value.split(' ').any(|word| word == MID_URI) => {
                formats.mid_extension = numbered(value).map(|(id, _)| id);
            }
            "extmap" if value.split(' ').any(|word| word == TWCC_URI) => {
                formats.twcc_extension = numbered(value).map(|(id, _)| id);
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
        if let Some(format) = format(name, formats.parameters(payload_type)) {
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

#[cfg(test)]
#[path = "../tests/formats.rs"]
mod tests;
