//! visavis's types as webrtc-rs's, and back.

use rtc::{
    ice::{
        candidate::{CandidateConfig, candidate_host::CandidateHostConfig},
        mdns::MulticastDnsMode,
    },
    peer_connection::configuration::setting_engine::SctpMaxMessageSize,
    rtp_transceiver::rtp_sender::RtpCodecKind,
};
use std::{collections::HashSet, net::SocketAddr, time::Duration};
use visavis_core::{
    Candidate, CandidateType, ChannelInit, Direction, EngineConfig, IceState, MAX_MESSAGE_SIZE, MediaKind,
    Message, Reliability, Result, Sdp, SelectedPair,
};
use webrtc::{
    data_channel::{RTCDataChannelInit, RTCDataChannelMessage},
    peer_connection::{
        RTCIceCandidate, RTCIceCandidateInit, RTCIceCandidateType, RTCIceConnectionState,
        SettingEngineBuilder,
    },
    rtp_transceiver::RTCRtpTransceiverDirection,
};

/// ICE checks on loopback: nothing but CPU is spent by asking often.
const LOOPBACK_TICK: Duration = Duration::from_millis(5);

/// ICE checks elsewhere. Each tick asks on every pair; RFC 8445 §14.2 has one check each 50 ms.
const TICK: Duration = Duration::from_millis(50);

/// A host with few addresses has few pairs, and can ask more often within the same bandwidth.
const SHORT_TICK: Duration = Duration::from_millis(20);

/// SCTP's receive window, in bytes: what may be under way to us on all channels together.
pub(crate) const RECEIVE_BUFFER: u32 = 2 * 1024 * 1024;

/// How late a DTLS record may be, in records: a quarter more than a window of SCTP has, with room in it for what
/// acknowledges our own data. Each record costs the library a shift of so many bits.
const REPLAY_WINDOW: usize = 2304;

/// How late an SRTP packet may be, in packets: a repeated one is behind all that came meanwhile.
const SRTP_REPLAY_WINDOW: usize = 1024;

/// The library's settings for `config`, with sockets at `bound`.
pub(crate) fn settings(config: &EngineConfig, bound: &[SocketAddr]) -> SettingEngineBuilder {
    let loopback = bound.iter().all(|address| address.ip().is_loopback());
    let tick = match bound.len() {
        _ if loopback => LOOPBACK_TICK,
        0..=2 => SHORT_TICK,
        _ => TICK,
    };
    SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_include_loopback_candidate(true)
        // The library counts ticks, and a pair that has had its number is never asked again. Giving up is core's.
        .with_ice_connection_attempts(Some(tick), Some(u16::MAX))
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(Duration::ZERO))
        // Zero: never failed. Core derives that from the time spent disconnected.
        .with_ice_timeouts(
            Some(config.disconnected_after),
            Some(Duration::ZERO),
            Some(keepalive(config)),
        )
        // An ICE restart is how a call follows its host to another network, so it binds anew.
        .with_discard_local_candidates_during_ice_restart(true)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_MESSAGE_SIZE))
        .with_sctp_max_receive_buffer_size(RECEIVE_BUFFER)
        // Wide enough for what is kept back while a reader is behind and then comes after newer records.
        .with_dtls_replay_protection_window(REPLAY_WINDOW)
        .with_srtp_replay_protection_window(SRTP_REPLAY_WINDOW)
        // SCTP repeats what is lost; a timer of its own would only close channels on slow paths.
        .with_dcep_handshake_timeout(None)
}

/// How often a connected pair is checked: NATs are to keep an idle binding for longer than 15 s (RFC 8445 §11). One that is
/// `disconnected` is checked no more often, and by default has to be found alive before core restarts ICE.
pub(crate) fn keepalive(config: &EngineConfig) -> Duration {
    (config.disconnected_after / 3).clamp(Duration::from_millis(100), Duration::from_secs(15))
}

/// What the library wrote. After strange descriptions it gives one payload type to several codecs; others do not
/// read that, so the first has it.
pub(crate) fn sdp(text: &str) -> Result<Sdp> {
    let mut seen = HashSet::new();
    let lines = text.lines().filter(|line| {
        if line.starts_with("m=") {
            seen.clear();
        }
        let payload_type = line.strip_prefix("a=rtpmap:").and_then(|l| l.split(' ').next());
        payload_type.is_none_or(|payload_type| seen.insert(payload_type.to_owned()))
    });
    lines.flat_map(|line| [line, "\r\n"]).collect::<String>().parse()
}

pub(crate) fn ice_state(state: RTCIceConnectionState) -> Option<IceState> {
    Some(match state {
        RTCIceConnectionState::New => IceState::New,
        RTCIceConnectionState::Checking => IceState::Checking,
        RTCIceConnectionState::Connected => IceState::Connected,
        RTCIceConnectionState::Completed => IceState::Completed,
        RTCIceConnectionState::Disconnected => IceState::Disconnected,
        RTCIceConnectionState::Failed => IceState::Failed,
        RTCIceConnectionState::Closed => IceState::Closed,
        _ => return None,
    })
}

pub(crate) fn direction(direction: Direction) -> RTCRtpTransceiverDirection {
    match direction {
        Direction::SendRecv => RTCRtpTransceiverDirection::Sendrecv,
        Direction::SendOnly => RTCRtpTransceiverDirection::Sendonly,
        Direction::RecvOnly => RTCRtpTransceiverDirection::Recvonly,
        Direction::Inactive => RTCRtpTransceiverDirection::Inactive,
    }
}

/// The codec kind of a media m-line; `None` for the application's.
pub(crate) fn codec_kind(kind: MediaKind) -> Option<RtpCodecKind> {
    match kind {
        MediaKind::Audio => Some(RtpCodecKind::Audio),
        MediaKind::Video => Some(RtpCodecKind::Video),
        MediaKind::Application => None,
    }
}

/// A local candidate; core fills in the rest.
pub(crate) fn local_candidate(candidate: &RTCIceCandidate) -> Option<Candidate> {
    let init = candidate.to_json().ok()?;
    Some(Candidate {
        candidate: init.candidate,
        ..Candidate::default()
    })
}

/// The host candidate that the library will gather at `address`.
pub(crate) fn host_candidate(address: SocketAddr) -> Option<Candidate> {
    let config = CandidateHostConfig {
        base_config: CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: 1,
            ..CandidateConfig::default()
        },
        ..CandidateHostConfig::default()
    };
    local_candidate(&RTCIceCandidate::from(&config.new_candidate_host().ok()?))
}

pub(crate) fn remote_candidate(candidate: &Candidate) -> RTCIceCandidateInit {
    RTCIceCandidateInit {
        candidate: candidate.candidate.clone(),
        ..RTCIceCandidateInit::default()
    }
}

pub(crate) fn channel_init(init: &ChannelInit) -> RTCDataChannelInit {
    let (mut max_retransmits, mut max_packet_life_time) = (None, None);
    match init.reliability {
        Reliability::Reliable => {}
        Reliability::MaxRetransmits(n) => max_retransmits = Some(n),
        Reliability::MaxPacketLifeTime(time) => {
            max_packet_life_time = Some(u16::try_from(time.as_millis()).unwrap_or(u16::MAX));
        }
    }
    RTCDataChannelInit {
        ordered: init.ordered,
        max_packet_life_time,
        max_retransmits,
        protocol: init.protocol.clone(),
        negotiated: init.negotiated,
    }
}

pub(crate) fn reliability(max_retransmits: Option<u16>, max_packet_life_time: Option<u16>) -> Reliability {
    match (max_retransmits, max_packet_life_time) {
        (Some(n), _) => Reliability::MaxRetransmits(n),
        (None, Some(ms)) => Reliability::MaxPacketLifeTime(Duration::from_millis(ms.into())),
        (None, None) => Reliability::Reliable,
    }
}

pub(crate) fn message(message: RTCDataChannelMessage) -> Message {
    if message.is_string {
        Message::text_lossy(message.data.into())
    } else {
        Message::Binary(message.data.freeze())
    }
}

pub(crate) fn selected_pair(local: &RTCIceCandidate, remote: &RTCIceCandidate) -> Option<SelectedPair> {
    Some(SelectedPair {
        local: socket_addr(local)?,
        remote: socket_addr(remote)?,
        local_type: candidate_type(local.typ),
        remote_type: candidate_type(remote.typ),
        rtt: None,
    })
}

fn socket_addr(candidate: &RTCIceCandidate) -> Option<SocketAddr> {
    Some(SocketAddr::new(candidate.address.parse().ok()?, candidate.port))
}

fn candidate_type(typ: RTCIceCandidateType) -> Option<CandidateType> {
    match typ {
        RTCIceCandidateType::Host => Some(CandidateType::Host),
        RTCIceCandidateType::Srflx => Some(CandidateType::Srflx),
        RTCIceCandidateType::Prflx => Some(CandidateType::Prflx),
        RTCIceCandidateType::Relay => Some(CandidateType::Relay),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};

    #[test]
    fn text_and_binary_stay_apart() {
        let text = RTCDataChannelMessage {
            is_string: true,
            data: BytesMut::from("grüße"),
        };
        assert_eq!(message(text), Message::Text("grüße".into()));
        let binary = RTCDataChannelMessage {
            is_string: false,
            data: BytesMut::new(),
        };
        assert_eq!(message(binary), Message::Binary(Bytes::new()));
        let broken = RTCDataChannelMessage {
            is_string: true,
            data: BytesMut::from(&[0xFF][..]),
        };
        assert_eq!(message(broken), Message::Text("\u{FFFD}".into()));
    }

    #[test]
    fn reliability_goes_both_ways() {
        for wanted in [
            Reliability::Reliable,
            Reliability::MaxRetransmits(3),
            Reliability::MaxPacketLifeTime(Duration::from_millis(250)),
        ] {
            let init = channel_init(&ChannelInit {
                reliability: wanted,
                ..ChannelInit::new("c").unordered()
            });
            assert!(!init.ordered);
            assert_eq!(
                reliability(init.max_retransmits, init.max_packet_life_time),
                wanted
            );
        }
        assert_eq!(
            channel_init(&ChannelInit::new("c").negotiated(7)).negotiated,
            Some(7)
        );
    }

    #[test]
    fn a_host_candidate_is_one() {
        let address = SocketAddr::from(([192, 0, 2, 7], 4711));
        let parsed = host_candidate(address).unwrap().parse().unwrap();
        assert_eq!(parsed.kind, CandidateType::Host);
        assert_eq!(parsed.socket_addr(), Some(address));
    }

    #[test]
    fn loopback_is_asked_often_and_many_addresses_seldom() {
        // The settings cannot be read back, so this only says that every shape of input makes some.
        let config = EngineConfig {
            bind: Vec::new(),
            disconnected_after: Duration::from_millis(50),
            name: "t".into(),
        };
        for n in [0, 1, 9] {
            let bound = vec![SocketAddr::from(([192, 0, 2, 1], 0)); n];
            assert!(
                settings(&config, &bound)
                    .build()
                    .discard_local_candidates_during_ice_restart()
            );
        }
    }
}
