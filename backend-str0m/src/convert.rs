//! str0m's types and descriptions as visavis's, and back.

use std::time::Duration;
use str0m::{
    IceConnectionState, Rtc,
    channel::ChannelConfig,
    format::{self, PayloadParams},
    media::{self, MediaData, Mid, Pt},
};
use visavis_core::{
    Candidate, CandidateType, ChannelInit, Codec, Direction, Error, ErrorKind, IceState, MLine, MediaKind,
    ParsedCandidate, Reliability, Result, Sdp,
};

/// str0m writes the DCEP OPEN into 1,500 bytes, 12 of which are its header, and panics beyond.
const MAX_LABEL_AND_PROTOCOL: usize = 1_488;

pub(crate) fn direction(direction: Direction) -> media::Direction {
    match direction {
        Direction::SendRecv => media::Direction::SendRecv,
        Direction::SendOnly => media::Direction::SendOnly,
        Direction::RecvOnly => media::Direction::RecvOnly,
        Direction::Inactive => media::Direction::Inactive,
    }
}

pub(crate) fn ice_state(state: IceConnectionState) -> IceState {
    match state {
        IceConnectionState::New => IceState::New,
        IceConnectionState::Checking => IceState::Checking,
        IceConnectionState::Connected => IceState::Connected,
        IceConnectionState::Completed => IceState::Completed,
        IceConnectionState::Disconnected => IceState::Disconnected,
    }
}

/// The codec of a payload type. H.264 is only what core calls so: (constrained) baseline, packetization-mode 1.
pub(crate) fn codec(params: &PayloadParams) -> Option<Codec> {
    let spec = params.spec();
    match spec.codec {
        format::Codec::Opus => Some(Codec::Opus),
        format::Codec::Vp8 => Some(Codec::Vp8),
        format::Codec::Vp9 => Some(Codec::Vp9),
        format::Codec::H264 => {
            let is_baseline = spec.format.profile_level_id.is_none_or(|id| id >> 16 == 0x42);
            (is_baseline && spec.format.packetization_mode == Some(1)).then_some(Codec::H264)
        }
        _ => None,
    }
}

/// The payload type of a codec on an m-line: the remote peer's favourite, if there are several.
pub(crate) fn payload_type(rtc: &Rtc, mid: Mid, wanted: Codec) -> Option<Pt> {
    let params = rtc.codec_config().params();
    let is = |pt: &&Pt| params.iter().any(|p| p.pt() == **pt && codec(p) == Some(wanted));
    rtc.media(mid)?.remote_pts().iter().find(is).copied()
}

/// Whether a frame can be decoded without an earlier one.
pub(crate) fn is_keyframe(codec: Codec, data: &MediaData) -> bool {
    let first = data.data.first().copied().unwrap_or_default();
    match codec {
        Codec::Opus => true,
        // An IDR picture (RFC 6184 §5.2).
        Codec::H264 => data.is_keyframe(),
        // RFC 6386 §9.1.
        Codec::Vp8 => first & 1 == 0,
        // The frame marker, no repeated frame, and the type, of profile 0: VP9's specification, 6.2.
        Codec::Vp9 => first & 0b1100_1100 == 0b1000_0000,
    }
}

/// Whether a frame of H.264 that comes after a gap is all there. Its packets do not say that a frame begins with them,
/// so str0m takes what comes after a lost one for a frame, too.
///
/// A picture begins with the slice whose `first_mb_in_slice` is 0, in Exp-Golomb code a 1 (H.264, 7.3.3), and a
/// keyframe with its parameter sets.
pub(crate) fn is_whole(annex_b: &[u8]) -> bool {
    let mut parameters = false;
    let mut rest = annex_b;
    while let Some(at) = rest.windows(3).position(|window| window == [0, 0, 1]) {
        rest = &rest[at + 3..];
        let Some(header) = rest.first() else {
            return false;
        };
        match header & 0x1f {
            7 => parameters = true,
            unit @ (1 | 5) => {
                let starts = rest.get(1).is_some_and(|byte| byte & 0x80 != 0);
                return starts && (unit == 1 || parameters);
            }
            _ => {}
        }
    }
    false
}

/// What str0m is to open.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) when label and protocol do not fit into str0m's DCEP message.
pub(crate) fn channel_config(init: &ChannelInit) -> Result<ChannelConfig> {
    if init.negotiated.is_none() && init.label.len() + init.protocol.len() > MAX_LABEL_AND_PROTOCOL {
        return Err(Error::new(
            ErrorKind::NotSupported,
            "create_data_channel",
            format!(
                "label and protocol have {} bytes, str0m announces at most {MAX_LABEL_AND_PROTOCOL}; shorten them \
                 or negotiate the channel",
                init.label.len() + init.protocol.len()
            ),
        ));
    }
    Ok(ChannelConfig {
        label: init.label.clone(),
        ordered: init.ordered,
        reliability: match init.reliability {
            Reliability::Reliable => str0m::channel::Reliability::Reliable,
            Reliability::MaxRetransmits(retransmits) => {
                str0m::channel::Reliability::MaxRetransmits { retransmits }
            }
            Reliability::MaxPacketLifeTime(time) => str0m::channel::Reliability::MaxPacketLifetime {
                lifetime: u16::try_from(time.as_millis()).unwrap_or(u16::MAX),
            },
        },
        negotiated: init.negotiated,
        protocol: init.protocol.clone(),
    })
}

/// What the remote peer opened.
pub(crate) fn channel_init(config: &ChannelConfig) -> ChannelInit {
    ChannelInit {
        label: config.label.clone(),
        protocol: config.protocol.clone(),
        ordered: config.ordered,
        reliability: match config.reliability {
            str0m::channel::Reliability::Reliable => Reliability::Reliable,
            str0m::channel::Reliability::MaxRetransmits { retransmits } => {
                Reliability::MaxRetransmits(retransmits)
            }
            str0m::channel::Reliability::MaxPacketLifetime { lifetime } => {
                Reliability::MaxPacketLifeTime(Duration::from_millis(lifetime.into()))
            }
        },
        negotiated: None,
    }
}

/// A local candidate as it travels. Core fills in the rest.
pub(crate) fn local_candidate(candidate: &str0m::Candidate) -> Candidate {
    let mut line = candidate.to_sdp_string();
    // The generation in force may be another one by the time it travels.
    if let Some(at) = line.find(" ufrag ") {
        line.truncate(at);
    }
    Candidate {
        candidate: line,
        ..Candidate::default()
    }
}

/// A remote candidate for str0m.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) for an address that str0m refuses.
pub(crate) fn remote_candidate(parsed: &ParsedCandidate) -> Result<str0m::Candidate> {
    let mut line = format!(
        "candidate:{} {} udp {} {} {} typ {}",
        parsed.foundation, parsed.component, parsed.priority, parsed.address, parsed.port, parsed.kind
    );
    if parsed.kind != CandidateType::Host {
        // Its base only serves to tell candidates apart.
        line.push_str(if parsed.address.contains(':') {
            " raddr :: rport 0"
        } else {
            " raddr 0.0.0.0 rport 0"
        });
    }
    str0m::Candidate::from_sdp_string(&line)
        .map_err(|e| Error::invalid_input("add_ice_candidate", "str0m refuses the candidate").with_source(e))
}

/// The offer that str0m is to answer: each direction narrowed to ours, for str0m always answers with the inverse.
///
/// # Errors
///
/// [`NotSupported`](ErrorKind::NotSupported) for a mid that str0m would write back differently.
pub(crate) fn narrowed(offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
    let mut narrowed = explicit(offer);
    for (index, section) in offer.sections().enumerate() {
        if let Some(mid) = section.mid()
            && *Mid::from(mid) != *mid
        {
            return Err(Error::new(
                ErrorKind::NotSupported,
                "create_answer",
                format!("str0m changes the mid `{mid}`; it keeps letters, digits and `_`, at most 16"),
            ));
        }
        if section.kind() == Some(MediaKind::Application) || section.is_rejected() {
            continue;
        }
        if let Some(ours) = want.get(index) {
            narrowed.set_direction(index, section.direction().intersection(ours.direction.reversed()));
        }
    }
    Ok(narrowed)
}

/// A description that says each direction: str0m refuses one that leaves `sendrecv` out (RFC 8866 §6.7).
pub(crate) fn explicit(sdp: &Sdp) -> Sdp {
    let mut explicit = sdp.clone();
    for (index, section) in sdp.sections().enumerate() {
        if section.kind() != Some(MediaKind::Application) {
            explicit.set_direction(index, section.direction());
        }
    }
    explicit
}

/// An offer that changes nothing, made of the local description in force: str0m writes offers only for changes.
pub(crate) fn repeated(local: &Sdp, want: &[MLine]) -> Result<Sdp> {
    let mut lines = Vec::new();
    for line in local.to_string().lines() {
        lines.push(if let Some(origin) = line.strip_prefix("o=") {
            let mut words: Vec<_> = origin.split(' ').map(str::to_owned).collect();
            if let Some(version) = words.get_mut(2) {
                *version = version.parse::<u64>().unwrap_or(0).wrapping_add(1).to_string();
            }
            format!("o={}", words.join(" "))
        } else if line.starts_with("a=setup:") {
            // RFC 8842 §5.5: every offer leaves the role open.
            "a=setup:actpass".to_owned()
        } else {
            line.to_owned()
        });
    }
    let mut sdp: Sdp = (lines.join("\r\n") + "\r\n").parse()?;
    for (index, line) in want.iter().enumerate() {
        if line.kind != MediaKind::Application {
            sdp.set_direction(index, line.direction);
        }
    }
    Ok(sdp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 d\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=setup:active\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:d\r\na=setup:active\r\n";

    fn want(direction: Direction) -> Vec<MLine> {
        [
            (MediaKind::Audio, "0", direction),
            (MediaKind::Application, "d", Direction::SendRecv),
        ]
        .map(|(kind, mid, direction)| MLine {
            kind,
            mid: Some(mid.into()),
            direction,
            track: None,
        })
        .into()
    }

    #[test]
    fn an_offer_is_narrowed_to_what_we_want() {
        let offer: Sdp = OFFER.parse().unwrap();
        for (ours, seen) in [
            (Direction::SendRecv, Direction::SendRecv),
            (Direction::RecvOnly, Direction::SendOnly),
            (Direction::SendOnly, Direction::RecvOnly),
            (Direction::Inactive, Direction::Inactive),
        ] {
            let narrowed = narrowed(&offer, &want(ours)).unwrap();
            assert_eq!(narrowed.sections().next().unwrap().direction(), seen);
            assert!(
                !narrowed
                    .lines()
                    .iter()
                    .any(|(i, l)| *i == Some(1) && l == "sendrecv")
            );
        }
        let dotted: Sdp = OFFER.replace("a=mid:0", "a=mid:a.b").parse().unwrap();
        let error = super::narrowed(&dotted, &want(Direction::SendRecv)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotSupported);
        let bare: Sdp = OFFER.replace("a=sendrecv\r\n", "").parse().unwrap();
        assert!(explicit(&bare).to_string().contains("a=sendrecv\r\n"));
    }

    #[test]
    fn a_repeated_offer_leaves_the_role_open() {
        let local: Sdp = OFFER.parse().unwrap();
        let text = repeated(&local, &want(Direction::SendOnly)).unwrap().to_string();
        assert!(text.contains("o=- 1 3 IN"), "{text}");
        assert_eq!(text.matches("a=setup:actpass").count(), 2);
        assert!(text.contains("a=sendonly"));
    }

    #[test]
    fn what_is_left_of_a_picture_is_known() {
        for (whole, left) in [
            (&b"\0\0\0\x01\x41\x9a\x01"[..], &b"\0\0\0\x01\x41\x40\x01"[..]),
            (b"\0\0\x01\x09\x10\0\0\x01\x41\x9a", b"\0\0\x01\x41"),
            (
                b"\0\0\0\x01\x67\x42\0\0\0\x01\x68\xce\0\0\0\x01\x65\x88",
                b"\0\0\0\x01\x65\x88",
            ),
            (
                b"\0\0\x01\x67\x42\0\0\x01\x65\x88",
                b"\0\0\x01\x67\x42\0\0\x01\x65\x08",
            ),
            (b"\0\0\x01\x06\x05\0\0\x01\x61\xff", b"\0\0\x01"),
        ] {
            assert!(is_whole(whole) && !is_whole(left), "{whole:02x?}");
        }
    }

    #[test]
    fn channels_survive_the_round_trip() {
        for init in [
            ChannelInit::new("a"),
            ChannelInit::new("b").unordered().max_retransmits(3),
            ChannelInit::new("c").max_packet_life_time(Duration::from_millis(70)),
        ] {
            assert_eq!(channel_init(&channel_config(&init).unwrap()), init);
        }
        let long = ChannelInit::new("x".repeat(1_489));
        assert_eq!(channel_config(&long).unwrap_err().kind(), ErrorKind::NotSupported);
        assert!(channel_config(&long.negotiated(4)).is_ok());
    }

    #[test]
    fn candidates_keep_what_matters() {
        for line in [
            "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
            "candidate:2 1 UDP 1694498815 192.0.2.1 5001 typ srflx raddr 10.0.0.1 rport 9 generation 0",
            "candidate:3 1 udp 2130706431 ::1 5000 typ host",
        ] {
            let parsed: ParsedCandidate = line.parse().unwrap();
            let converted = remote_candidate(&parsed).unwrap();
            assert_eq!(Some(converted.addr()), parsed.socket_addr());
            assert_eq!(converted.prio(), parsed.priority);
        }
        let mut host = str0m::Candidate::host("127.0.0.1:9".parse().unwrap(), "udp").unwrap();
        host.set_ufrag("abcd");
        let local = local_candidate(&host);
        assert!(local.candidate.ends_with("typ host"), "{}", local.candidate);
        assert!(local.parse().is_ok());
    }
}
