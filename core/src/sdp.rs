//! Session descriptions: the few things core reads and changes in them (RFC 8866, RFC 9429).
//!
//! `sdp-types` parses and writes the grammar; this module adds what JSEP needs: m-lines by mid, ICE credentials,
//! fingerprints, directions, candidates in and out.

mod codecs;
mod mask;
mod text;

pub use mask::mask;

use crate::{Candidate, Error, ErrorKind, Result};
use sdp_types::{Attribute, Media, Session};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

/// The longest description that is read, in bytes.
pub const MAX_SDP_LEN: usize = 256 * 1024;

/// The most m-lines a description may have.
pub const MAX_M_LINES: usize = 128;

/// The type of a description (W3C `RTCSdpType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SdpType {
    /// Proposes a session.
    Offer,
    /// Accepts it.
    Answer,
    /// A provisional answer. Neither stack supports it, so it is refused with `NotSupported`.
    Pranswer,
    /// Takes an offer back.
    Rollback,
}

impl fmt::Display for SdpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Pranswer => "pranswer",
            Self::Rollback => "rollback",
        })
    }
}

/// A description as it travels over signaling: the browsers' `RTCSessionDescriptionInit`, also in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDescription {
    /// Offer, answer, pranswer or rollback.
    #[serde(rename = "type")]
    pub kind: SdpType,
    /// The SDP; empty for a rollback.
    #[serde(default)]
    pub sdp: String,
}

impl SessionDescription {
    /// An offer.
    pub fn offer(sdp: impl Into<String>) -> Self {
        Self {
            kind: SdpType::Offer,
            sdp: sdp.into(),
        }
    }

    /// An answer.
    pub fn answer(sdp: impl Into<String>) -> Self {
        Self {
            kind: SdpType::Answer,
            sdp: sdp.into(),
        }
    }

    /// A rollback of the pending offer.
    pub fn rollback() -> Self {
        Self {
            kind: SdpType::Rollback,
            sdp: String::new(),
        }
    }
}

/// What an m-line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Data channels.
    Application,
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Application => "application",
        })
    }
}

/// Which way media flows, seen from the side that says it (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// From us only.
    SendOnly,
    /// To us only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The direction of what is sent and received.
    pub fn new(send: bool, recv: bool) -> Self {
        match (send, recv) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether we send.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether we receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same seen from the other side.
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn intersection(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|d| d.as_str() == name)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A parsed description. [`Display`](fmt::Display) writes it back. Clones share it until they are changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdp {
    session: Arc<Session>,
}

/// One m-line of a description.
#[derive(Debug, Clone, Copy)]
pub struct MediaSection<'a> {
    session: &'a Session,
    media: &'a Media,
}

impl FromStr for Sdp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_SDP_LEN {
            return Err(invalid(format!(
                "it has {} bytes, at most {MAX_SDP_LEN} are read",
                text.len()
            )));
        }
        let mut session = Session::parse(text.as_bytes())
            .map_err(|e| Error::invalid_input("parse_sdp", "the SDP does not parse").with_source(e))?;
        if session.medias.len() > MAX_M_LINES {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "parse_sdp",
                format!(
                    "it has {} m-lines, at most {MAX_M_LINES} are read",
                    session.medias.len()
                ),
            ));
        }
        // What WebRTC does not use (RFC 9429 §5.8.1), and what the stacks' own parsers choke on.
        session.times.clear();
        session.time_zones.clear();
        session.emails.clear();
        session.phones.clear();
        (session.session_description, session.uri, session.key) = (None, None, None);
        for media in &mut session.medias {
            (media.media_title, media.key) = (None, None);
        }
        Ok(Self {
            session: Arc::new(session),
        })
    }
}

impl fmt::Display for Sdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(&self.session))
    }
}

impl Sdp {
    /// The m-lines.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = MediaSection<'_>> {
        self.session.medias.iter().map(|media| MediaSection {
            session: &self.session,
            media,
        })
    }

    /// The ICE user fragment of the first m-line that has one.
    pub fn ice_ufrag(&self) -> Option<&str> {
        self.sections().find_map(|s| s.ice_ufrag())
    }

    /// The ICE user fragment and password (RFC 8839 §5.4).
    pub fn ice_credentials(&self) -> Option<(&str, &str)> {
        self.sections()
            .find_map(|s| Some((s.ice_ufrag()?, s.attribute("ice-pwd")?)))
    }

    /// The certificate's fingerprint (RFC 8122 §5).
    pub fn fingerprint(&self) -> Option<&str> {
        self.sections().find_map(|s| s.attribute("fingerprint"))
    }

    /// The remote limit on message size: `a=max-message-size`, 64 KiB where it is absent, and no limit where it
    /// is 0 (RFC 8841 §6.1). `None` if there is no application m-line.
    pub fn max_message_size(&self) -> Option<u32> {
        let section = self
            .sections()
            .find(|s| s.kind() == Some(MediaKind::Application))?;
        Some(
            match section.attribute("max-message-size").map(str::parse::<u64>) {
                Some(Ok(0)) => u32::MAX,
                Some(Ok(size)) => u32::try_from(size).unwrap_or(u32::MAX),
                _ => 65_536,
            },
        )
    }

    /// Checks what both stacks rely on: BUNDLE over everything, rtcp-mux's single transport, a fingerprint, ICE
    /// credentials, unique mids, kinds and protocols that exist in WebRTC (RFC 9429 §5.8).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) with the m-line and what is wrong with it.
    pub fn check(&self) -> Result<()> {
        if self.session.medias.is_empty() {
            return Err(invalid("it has no m-lines".into()));
        }
        let mut mids = HashSet::new();
        let mut transports = HashSet::new();
        for (index, section) in self.sections().enumerate() {
            let at = |what: &str| invalid(format!("m-line {index}: {what}"));
            let Some(kind) = section.kind() else {
                return Err(at(&format!(
                    "`{}` is not audio, video or application",
                    section.media.media
                )));
            };
            let proto = section.media.proto.as_str();
            let known = match kind {
                MediaKind::Application => proto.ends_with("DTLS/SCTP"),
                _ => proto.ends_with("TLS/RTP/SAVPF") || proto.ends_with("TLS/RTP/SAVP"),
            };
            if !known {
                return Err(at(&format!("`{proto}` is not a protocol of WebRTC")));
            }
            let Some(mid) = section.mid() else {
                return Err(at("a=mid is missing"));
            };
            if mid.is_empty() || mid.len() > 32 || !mid.bytes().all(is_token_byte) {
                return Err(at("the mid is not a token of 1 to 32 characters"));
            }
            if !mids.insert(mid) {
                return Err(at("the mid is that of another m-line"));
            }
            if section.is_rejected() {
                continue;
            }
            let Some(ufrag) = section.ice_ufrag() else {
                return Err(at("a=ice-ufrag is missing"));
            };
            let Some(pwd) = section.attribute("ice-pwd") else {
                return Err(at("a=ice-pwd is missing"));
            };
            let ice_chars = |s: &str| {
                s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
            };
            if !(4..=256).contains(&ufrag.len())
                || !(22..=256).contains(&pwd.len())
                || !ice_chars(ufrag)
                || !ice_chars(pwd)
            {
                return Err(at(
                    "the ICE credentials are not 4 and 22 to 256 ice-chars (RFC 8839 §5.4)",
                ));
            }
            let Some(fingerprint) = section.attribute("fingerprint") else {
                return Err(at("a=fingerprint is missing"));
            };
            if !is_fingerprint(fingerprint) {
                return Err(at(
                    "a=fingerprint is not a hash and its colon-separated bytes (RFC 8122 §5)",
                ));
            }
            if section
                .attribute("setup")
                .is_some_and(|s| !matches!(s, "actpass" | "active" | "passive"))
            {
                return Err(at("a=setup is not actpass, active or passive"));
            }
            transports.insert((ufrag, pwd, fingerprint));
        }
        if transports.len() > 1 {
            return Err(invalid(
                "its m-lines have different transports; both stacks need BUNDLE (RFC 9143)".into(),
            ));
        }
        if let Some(group) = self.bundle() {
            let order: Vec<_> = self
                .sections()
                .filter_map(|s| s.mid())
                .filter(|m| group.contains(m))
                .collect();
            if order != group {
                return Err(invalid(
                    "the order of a=group:BUNDLE is not that of the m-lines".into(),
                ));
            }
        } else if self.sections().filter(|s| !s.is_rejected()).count() > 1 {
            return Err(invalid("it has several m-lines and no a=group:BUNDLE".into()));
        }
        Ok(())
    }

    /// Checks that this answer fits `offer`: as many m-lines, of the same kinds and mids, in the same order
    /// (RFC 9429 §5.3.1), with a definite DTLS role.
    pub fn check_answers(&self, offer: &Self) -> Result<()> {
        if self.sections().len() != offer.sections().len() {
            return Err(invalid(format!(
                "the answer has {} m-lines, the offer {}",
                self.sections().len(),
                offer.sections().len()
            )));
        }
        for (index, (ours, theirs)) in self.sections().zip(offer.sections()).enumerate() {
            if ours.kind() != theirs.kind() || ours.mid() != theirs.mid() {
                return Err(invalid(format!(
                    "m-line {index} of the answer is not the offer's (kind or mid)"
                )));
            }
            if !ours.is_rejected() && ours.attribute("setup") == Some("actpass") {
                return Err(invalid(format!(
                    "m-line {index} of the answer has a=setup:actpass"
                )));
            }
        }
        Ok(())
    }

    fn bundle(&self) -> Option<Vec<&str>> {
        let value = self
            .session
            .attributes
            .iter()
            .filter(|a| a.attribute == "group")
            .find_map(|a| a.value.as_deref()?.strip_prefix("BUNDLE"))?;
        // Only spaces separate here (RFC 8866 §9), and the stacks insist.
        Some(value.split(' ').filter(|mid| !mid.is_empty()).collect())
    }

    /// Takes the candidates and the end-of-candidates marks out, each with its m-line.
    pub fn take_candidates(&mut self) -> (Vec<Candidate>, bool) {
        let is_one = |a: &Attribute| matches!(a.attribute.as_str(), "candidate" | "end-of-candidates");
        let of_medias = self.session.medias.iter().flat_map(|m| &m.attributes);
        if !self.session.attributes.iter().chain(of_medias).any(is_one) {
            return (Vec::new(), false);
        }
        let mut candidates = Vec::new();
        let mut ended = false;
        let ufrag = self.ice_ufrag().map(str::to_owned);
        let session = Arc::make_mut(&mut self.session);
        session.attributes.retain(|a| {
            let end = a.attribute == "end-of-candidates";
            ended |= end;
            !end
        });
        for (index, media) in session.medias.iter_mut().enumerate() {
            let mid = attribute(&media.attributes, "mid").map(str::to_owned);
            media.attributes.retain_mut(|a| match a.attribute.as_str() {
                "candidate" => {
                    candidates.push(Candidate {
                        candidate: format!("candidate:{}", a.value.take().unwrap_or_default()),
                        sdp_mid: mid.clone(),
                        sdp_m_line_index: u16::try_from(index).ok(),
                        username_fragment: ufrag.clone(),
                    });
                    false
                }
                "end-of-candidates" => {
                    ended = true;
                    false
                }
                _ => true,
            });
        }
        (candidates, ended)
    }

    /// Puts candidates into the first m-line that is not rejected, where BUNDLE keeps its transport.
    pub(crate) fn put_candidates(&mut self, candidates: &[Candidate], ended: bool) {
        let medias = &mut Arc::make_mut(&mut self.session).medias;
        let Some(media) = medias.iter_mut().find(|m| m.port != 0) else {
            return;
        };
        for candidate in candidates {
            let value = candidate.candidate.trim_start_matches("candidate:");
            media.attributes.push(Attribute {
                attribute: "candidate".into(),
                value: Some(value.into()),
            });
        }
        if ended {
            media.attributes.push(Attribute {
                attribute: "end-of-candidates".into(),
                value: None,
            });
        }
    }

    /// Sets the direction of the m-line at `index`.
    pub fn set_direction(&mut self, index: usize, direction: Direction) {
        let Some(media) = Arc::make_mut(&mut self.session).medias.get_mut(index) else {
            return;
        };
        media
            .attributes
            .retain(|a| Direction::parse(&a.attribute).is_none());
        media.attributes.push(Attribute {
            attribute: direction.as_str().into(),
            value: None,
        });
    }

    /// The session-level attributes and then each m-line's, as `name` or `name:value`.
    pub fn lines(&self) -> Vec<(Option<usize>, String)> {
        let write = |a: &Attribute| match &a.value {
            Some(value) => format!("{}:{value}", a.attribute),
            None => a.attribute.clone(),
        };
        let session = self.session.attributes.iter().map(|a| (None, write(a)));
        let media = self
            .session
            .medias
            .iter()
            .enumerate()
            .flat_map(|(i, m)| m.attributes.iter().map(move |a| (Some(i), write(a))));
        session.chain(media).collect()
    }
}

impl<'a> MediaSection<'a> {
    /// Audio, video, application, or `None` for anything else.
    pub fn kind(&self) -> Option<MediaKind> {
        match self.media.media.as_str() {
            "audio" => Some(MediaKind::Audio),
            "video" => Some(MediaKind::Video),
            "application" => Some(MediaKind::Application),
            _ => None,
        }
    }

    /// The media identification (RFC 5888).
    pub fn mid(&self) -> Option<&'a str> {
        attribute(&self.media.attributes, "mid")
    }

    /// The direction, as its writer sees it; `sendrecv` where none is said.
    pub fn direction(&self) -> Direction {
        let mut attributes = self.media.attributes.iter().chain(&self.session.attributes);
        attributes
            .find_map(|a| Direction::parse(&a.attribute))
            .unwrap_or(Direction::SendRecv)
    }

    /// Whether the m-line is rejected or stopped: port 0 outside BUNDLE (RFC 9429 §5.3.1, RFC 9143 §6).
    pub fn is_rejected(&self) -> bool {
        self.media.port == 0 && attribute(&self.media.attributes, "bundle-only").is_none()
    }

    /// The m-line's own attributes, each with its value.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        let attributes = self.media.attributes.iter();
        attributes.map(|a| (a.attribute.as_str(), a.value.as_deref()))
    }

    /// The m-line's own value of an attribute, or the session's.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        attribute(&self.media.attributes, name).or_else(|| attribute(&self.session.attributes, name))
    }

    fn ice_ufrag(&self) -> Option<&'a str> {
        self.attribute("ice-ufrag")
    }
}

fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|a| a.attribute == name)
        .map(|a| a.value.as_deref().unwrap_or_default())
}

fn invalid(message: String) -> Error {
    Error::invalid_input("parse_sdp", message)
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b)
}

fn is_fingerprint(value: &str) -> bool {
    let Some((hash, bytes)) = value.split_once(' ') else {
        return false;
    };
    let length = match hash.to_ascii_lowercase().as_str() {
        "sha-1" => 20,
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return false,
    };
    let pairs: Vec<_> = bytes.trim().split(':').collect();
    pairs.len() == length
        && pairs
            .iter()
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\na=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
        00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\n\
        a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\na=end-of-candidates\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\na=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
        00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

    #[test]
    fn candidates_come_out_and_go_back() {
        let mut sdp: Sdp = OFFER.parse().unwrap();
        sdp.check().unwrap();
        let (candidates, ended) = sdp.take_candidates();
        assert!(ended);
        assert_eq!(candidates.len(), 1);
        assert_eq!(candidates[0].sdp_mid.as_deref(), Some("0"));
        assert_eq!(candidates[0].username_fragment.as_deref(), Some("abcd"));
        assert!(!sdp.to_string().contains("candidate"));
        sdp.put_candidates(&candidates, true);
        assert!(
            sdp.to_string()
                .contains("a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n")
        );
        assert_eq!(sdp.max_message_size(), Some(65_536));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, says) in [
            ("a=mid:1", "a=mid:0", "another m-line"),
            (
                "a=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\na=fingerprint:sha-256 00",
                "a=fingerprint:sha-256 00",
                "ice-ufrag",
            ),
            ("sha-256 00:11", "sha-256 0:11", "fingerprint"),
            ("UDP/DTLS/SCTP", "TCP/MSRP", "protocol"),
            ("BUNDLE 0 1", "BUNDLE 1 0", "order"),
            ("m=audio", "m=banana", "not audio"),
        ] {
            let text = OFFER.replacen(from, to, 1);
            assert_ne!(text, OFFER);
            let error = text.parse::<Sdp>().and_then(|sdp| sdp.check()).unwrap_err();
            assert!(error.to_string().contains(says), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn what_webrtc_does_not_use_is_left_out() {
        let extra = "t=0 0\r\nr=7d 1h 0 25h\r\nt=5 6\r\na=group";
        let text = OFFER
            .replacen(
                "s=-\r\n",
                "s=-\r\ni=hello\r\nu=http://example.org\r\ne=a@example.org\r\n",
                1,
            )
            .replacen("t=0 0\r\na=group", extra, 1);
        let sdp: Sdp = text.parse().unwrap();
        assert_eq!(sdp, OFFER.parse().unwrap());
        assert_eq!(sdp.to_string().matches("t=").count(), 1);
    }

    #[test]
    fn directions_turn_round() {
        assert_eq!(Direction::SendOnly.reversed(), Direction::RecvOnly);
        assert_eq!(
            Direction::SendRecv.intersection(Direction::RecvOnly),
            Direction::RecvOnly
        );
        let mut sdp: Sdp = OFFER.parse().unwrap();
        sdp.set_direction(0, Direction::Inactive);
        assert_eq!(sdp.sections().next().unwrap().direction(), Direction::Inactive);
    }
}
