//! The codecs that we offer and take, and their numbers.

use super::formats::MID_URI;
use crate::error::ours;
use rtc::{
    peer_connection::configuration::media_engine::MIME_TYPE_RTX,
    rtp_transceiver::rtp_sender::{
        RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
    },
};
use std::collections::HashMap;
use visavis_core::{Codec, MediaKind, Result};
use webrtc::peer_connection::MediaEngine;

/// A codec that we offer and take.
pub(super) struct Known {
    pub(super) codec: Codec,
    pub(super) name: &'static str,
    pub(super) parameters: &'static str,
    /// What we call it; its retransmissions are the next number.
    payload_type: u8,
}

pub(super) const KNOWN: [Known; 5] = [
    Known {
        codec: Codec::H264,
        name: "H264/90000",
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        payload_type: 102,
    },
    // Baseline, which some call what they send; it is constrained all the same (RFC 7742 §6.2).
    Known {
        codec: Codec::H264,
        name: "H264/90000",
        parameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f",
        payload_type: 104,
    },
    Known {
        codec: Codec::Vp8,
        name: "VP8/90000",
        parameters: "",
        payload_type: 96,
    },
    Known {
        codec: Codec::Vp9,
        name: "VP9/90000",
        parameters: "profile-id=0",
        payload_type: 98,
    },
    Known {
        codec: Codec::Opus,
        name: "opus/48000/2",
        parameters: "minptime=10;useinbandfec=1",
        payload_type: 111,
    },
];

/// Sound is repeated too, where the remote peer can ask for it.
const AUDIO_FEEDBACK: &[&str] = &["transport-cc", "nack"];
const VIDEO_FEEDBACK: &[&str] = &["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];

impl Known {
    /// The first of a codec, or for H.264 the one of a profile.
    pub(super) fn of(codec: Codec, parameters: &str) -> Option<usize> {
        let constrained = h264_profile(parameters).is_some_and(|p| p[..4].eq_ignore_ascii_case("42e0"));
        let first = KNOWN.iter().position(|known| known.codec == codec)?;
        Some(first + usize::from(codec == Codec::H264 && !constrained))
    }

    pub(super) fn is_of(&self, kind: MediaKind) -> bool {
        self.codec.kind() == kind
    }

    pub(super) fn has_rtx(&self) -> bool {
        self.is_of(MediaKind::Video)
    }

    pub(super) fn feedback(&self) -> &'static [&'static str] {
        if self.is_of(MediaKind::Video) {
            VIDEO_FEEDBACK
        } else {
            AUDIO_FEEDBACK
        }
    }
}

/// What a payload type is for: an index of [`KNOWN`], and whether it is for retransmissions.
pub(super) type Use = (usize, bool);

/// The payload types of a connection. One never changes its meaning (RFC 3264 §8.3.2).
#[derive(Debug, Default)]
pub(crate) struct PayloadTypes(HashMap<Use, u8>);

impl PayloadTypes {
    pub(super) fn get(&mut self, wanted: Use) -> u8 {
        if let Some(payload_type) = self.0.get(&wanted) {
            return *payload_type;
        }
        let own = KNOWN[wanted.0].payload_type + u8::from(wanted.1);
        // RFC 5761 §4, RFC 7983 §7.
        let free = [own].into_iter().chain(96..=127).chain(35..=63);
        let found = free
            .into_iter()
            .find(|pt| !self.0.values().any(|used| used == pt));
        let payload_type = found.unwrap_or(own);
        self.0.insert(wanted, payload_type);
        payload_type
    }

    /// The remote peer calls it so.
    pub(super) fn adopt(&mut self, named: Use, payload_type: u8) {
        self.0.retain(|_, used| *used != payload_type);
        self.0.insert(named, payload_type);
    }
}

/// Registers what the library negotiates, which is always the same.
pub(crate) fn register(engine: &mut MediaEngine) -> Result<()> {
    for known in &KNOWN {
        let kind = if known.has_rtx() {
            RtpCodecKind::Video
        } else {
            RtpCodecKind::Audio
        };
        let mut parts = known.name.split('/');
        let name = parts.next().unwrap_or_default();
        let mut number = || parts.next().and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
        let feedback = known.feedback().iter().map(|feedback| {
            let (typ, parameter) = feedback.split_once(' ').unwrap_or((feedback, ""));
            RTCPFeedback {
                typ: typ.to_owned(),
                parameter: parameter.to_owned(),
            }
        });
        let primary = RTCRtpCodec {
            mime_type: format!("{kind}/{name}"),
            clock_rate: number(),
            channels: number() as u16,
            sdp_fmtp_line: known.parameters.to_owned(),
            rtcp_feedback: feedback.collect(),
        };
        let rtx = RTCRtpCodec {
            mime_type: MIME_TYPE_RTX.to_owned(),
            clock_rate: primary.clock_rate,
            sdp_fmtp_line: format!("apt={}", known.payload_type),
            ..RTCRtpCodec::default()
        };
        for (rtp_codec, payload_type) in [(primary, known.payload_type), (rtx, known.payload_type + 1)] {
            let wanted = payload_type == known.payload_type || known.has_rtx();
            let codec = RTCRtpCodecParameters {
                rtp_codec,
                payload_type,
            };
            if wanted {
                engine.register_codec(codec, kind).map_err(ours("engine"))?;
            }
        }
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        let extension = RTCRtpHeaderExtensionCapability {
            uri: MID_URI.to_owned(),
        };
        engine
            .register_header_extension(extension, kind, None)
            .map_err(ours("engine"))?;
    }
    Ok(())
}

/// The profile and level that parameters of H.264 name, if they do.
pub(super) fn h264_profile(parameters: &str) -> Option<&str> {
    let named = parameters.split(';').filter_map(|p| p.trim().split_once('='));
    let mut profiles = named.filter(|(key, _)| key.eq_ignore_ascii_case("profile-level-id"));
    let profile = profiles.next()?.1.trim();
    (profile.len() == 6 && profile.bytes().all(|b| b.is_ascii_hexdigit())).then_some(profile)
}
