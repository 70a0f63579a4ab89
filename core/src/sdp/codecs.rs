//! Codecs of an m-line: which of ours it has, and how it is narrowed to those that are wanted.
//!
//! Narrowing is text that both stacks understand, so codec preferences need nothing of an engine.

use super::{MediaSection, Sdp};
use crate::Codec;
use sdp_types::{Attribute, Media};
use std::{collections::HashMap, sync::Arc};

impl MediaSection<'_> {
    /// The codecs of the m-line that visavis knows, in its order. H.264 counts only as (constrained) baseline with
    /// packetization-mode 1 (RFC 7742 §6.2).
    pub fn codecs(&self) -> Vec<Codec> {
        let formats = Formats::of(self.media);
        let mut codecs = Vec::new();
        for payload_type in self.media.fmt.split_ascii_whitespace() {
            if let Some(codec) = formats.codec(payload_type)
                && !codecs.contains(&codec)
            {
                codecs.push(codec);
            }
        }
        codecs
    }
}

impl Sdp {
    /// Leaves only `codecs` in the m-line at `index`, in that order, with their retransmission formats (RFC 4588).
    /// An m-line that has none of them stays as it is.
    pub fn keep_codecs(&mut self, index: usize, codecs: &[Codec]) {
        let Some(media) = self.session.medias.get(index) else {
            return;
        };
        let formats = Formats::of(media);
        let offered: Vec<_> = media.fmt.split_ascii_whitespace().collect();
        let mut kept: Vec<&str> = Vec::new();
        for codec in codecs {
            for payload_type in &offered {
                if formats.codec(payload_type) == Some(*codec) {
                    kept.push(payload_type);
                }
            }
        }
        if kept.is_empty() {
            return;
        }
        let repairs: Vec<_> = offered
            .iter()
            .filter(|pt| formats.repairs(pt).is_some_and(|apt| kept.contains(&apt)))
            .copied()
            .collect();
        kept.extend(repairs);
        let fmt = kept.join(" ");
        let kept: Vec<String> = kept.into_iter().map(str::to_owned).collect();
        let media = &mut Arc::make_mut(&mut self.session).medias[index];
        media.attributes.retain(|a| match payload_type(a) {
            Some(payload_type) => payload_type == "*" || kept.iter().any(|k| k == payload_type),
            None => true,
        });
        media.fmt = fmt;
    }
}

/// The payload types of an m-line, with what `a=rtpmap` and `a=fmtp` say of them.
struct Formats<'a> {
    names: HashMap<&'a str, &'a str>,
    parameters: HashMap<&'a str, &'a str>,
}

impl<'a> Formats<'a> {
    fn of(media: &'a Media) -> Self {
        let of = |name: &str| {
            let matching = media.attributes.iter().filter(move |a| a.attribute == name);
            matching
                .filter_map(|a| a.value.as_deref()?.trim().split_once(' '))
                .collect::<HashMap<_, _>>()
        };
        Self {
            names: of("rtpmap"),
            parameters: of("fmtp"),
        }
    }

    fn parameter(&self, payload_type: &str, name: &str) -> Option<&'a str> {
        self.parameters.get(payload_type)?.split(';').find_map(|p| {
            let (key, value) = p.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn codec(&self, payload_type: &str) -> Option<Codec> {
        let name = self.names.get(payload_type)?.split('/').next()?;
        let codec: Codec = name.trim().parse().ok()?;
        let usable = match codec {
            Codec::H264 => {
                let profile = self
                    .parameter(payload_type, "profile-level-id")
                    .unwrap_or("42000a");
                profile.starts_with("42") && self.parameter(payload_type, "packetization-mode") == Some("1")
            }
            Codec::Vp9 => matches!(self.parameter(payload_type, "profile-id"), None | Some("0")),
            Codec::Vp8 | Codec::Opus => true,
        };
        usable.then_some(codec)
    }

    /// The payload type that this one retransmits.
    fn repairs(&self, payload_type: &str) -> Option<&'a str> {
        let name = self.names.get(payload_type)?;
        let is_rtx = name.get(..4).is_some_and(|n| n.eq_ignore_ascii_case("rtx/"));
        is_rtx.then(|| self.parameter(payload_type, "apt"))?
    }
}

/// The payload type that an attribute is about.
fn payload_type(attribute: &Attribute) -> Option<&str> {
    matches!(attribute.attribute.as_str(), "rtpmap" | "fmtp" | "rtcp-fb")
        .then_some(attribute.value.as_deref()?.split_ascii_whitespace().next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=0;profile-level-id=42e01f\r\n\
        a=rtpmap:99 h264/90000\r\na=fmtp:99 level-asymmetry-allowed=1; packetization-mode=1;profile-level-id=42e01f\r\n\
        a=rtcp-fb:99 nack\r\na=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\n\
        a=rtpmap:101 H264/90000\r\na=fmtp:101 packetization-mode=1;profile-level-id=640c1f\r\n\
        a=rtpmap:102 ulpfec/90000\r\na=rtcp-fb:* transport-cc\r\n";

    fn codecs(sdp: &Sdp) -> Vec<Codec> {
        sdp.sections().next().unwrap().codecs()
    }

    #[test]
    fn an_m_line_is_narrowed_with_its_repair_formats() {
        let sdp: Sdp = VIDEO.parse().unwrap();
        assert_eq!(codecs(&sdp), [Codec::Vp8, Codec::H264]);
        let mut narrowed = sdp.clone();
        narrowed.keep_codecs(0, &[Codec::H264]);
        let text = narrowed.to_string();
        assert!(text.contains("m=video 9 UDP/TLS/RTP/SAVPF 99 100\r\n"), "{text}");
        for gone in ["VP8", "640c1f", "apt=96", "rtcp-fb:96", "ulpfec"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        assert!(text.contains("a=rtcp-fb:99 nack\r\n") && text.contains("a=rtcp-fb:* transport-cc"));
        let mut ordered = sdp.clone();
        ordered.keep_codecs(0, &[Codec::H264, Codec::Vp9, Codec::Vp8]);
        assert_eq!(codecs(&ordered), [Codec::H264, Codec::Vp8]);
        let mut foreign = sdp.clone();
        foreign.keep_codecs(0, &[Codec::Opus]);
        assert_eq!(foreign, sdp);
    }

    #[test]
    fn malformed_formats_are_nothing() {
        for broken in [
            "a=rtpmap:96\r\n",
            "a=rtpmap:96 \r\n",
            "a=fmtp:97 apt\r\n",
            "a=rtpmap:97 r\u{fc}x/1\r\n",
        ] {
            let text = VIDEO.replace("a=rtpmap:96 VP8/90000\r\n", broken);
            let mut sdp: Sdp = text.parse().unwrap();
            assert_eq!(codecs(&sdp), [Codec::H264]);
            sdp.keep_codecs(0, &[Codec::H264, Codec::Vp8]);
        }
    }
}
