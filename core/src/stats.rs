//! What a peer connection counts (a small part of W3C `webrtc-stats`). What is unknown is `None`, never 0.

use crate::{Bitrate, CandidateType, ChannelStats, Codec, InboundStats, MediaKind, OutboundStats};
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};

/// What a stack and its driver count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EngineStats {
    /// The pair that carries the traffic.
    pub selected_pair: Option<SelectedPair>,
    /// Datagrams handed to the sockets.
    pub packets_sent: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes_sent: u64,
    /// Datagrams read from the sockets.
    pub packets_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Packets sent again by SCTP or RTP.
    pub retransmissions: Option<u64>,
    /// How long ago the stack measured what it measures in intervals.
    pub age: Option<Duration>,
    /// What the network is thought to carry of RTP (W3C `availableOutgoingBitrate`); `None` while there is no limit in
    /// sight.
    pub available_outgoing_bitrate: Option<Bitrate>,
    /// RTP's counts of each media m-line, by mid.
    pub rtp: Vec<(String, RtpStats)>,
}

/// What a stack counts of an m-line's RTP packets, both ways (a part of W3C `RTCOutboundRtpStreamStats`,
/// `RTCInboundRtpStreamStats` and `RTCRemoteInboundRtpStreamStats`).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct RtpStats {
    /// Packets that we sent, repeated ones included.
    pub packets_sent: Option<u64>,
    /// Of these, packets that were sent again on request.
    pub retransmitted_packets_sent: Option<u64>,
    /// NACK messages from the remote peer.
    pub nacks_received: Option<u64>,
    /// PLI and FIR messages from the remote peer.
    pub plis_received: Option<u64>,
    /// Packets that arrived, repeated ones included.
    pub packets_received: Option<u64>,
    /// Packets that never arrived, also not when they were asked for again (RFC 3550 §6.4.1 where only that is known).
    pub packets_lost: Option<u64>,
    /// Packets that arrived because they were asked for again.
    pub retransmitted_packets_received: Option<u64>,
    /// NACK messages that we sent.
    pub nacks_sent: Option<u64>,
    /// PLI and FIR messages that we sent.
    pub plis_sent: Option<u64>,
    /// The round trip that RTCP measured.
    pub rtt: Option<Duration>,
}

/// A transceiver's counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackStats {
    /// The m-line's identification, once it has one.
    pub mid: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// What we send, while we do.
    pub codec: Option<Codec>,
    /// Frames that we sent.
    pub outbound: OutboundStats,
    /// Frames that arrived.
    pub inbound: InboundStats,
    /// Their packets.
    pub rtp: RtpStats,
}

/// The nominated candidate pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SelectedPair {
    /// Our address.
    pub local: SocketAddr,
    /// The remote peer's address.
    pub remote: SocketAddr,
    /// How our candidate was found.
    pub local_type: Option<CandidateType>,
    /// How the remote candidate was found.
    pub remote_type: Option<CandidateType>,
    /// The last round trip that a connectivity check measured.
    pub rtt: Option<Duration>,
}

/// A peer connection's counts at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsReport {
    /// What the stack counts.
    pub transport: EngineStats,
    /// Each data channel's label and counts.
    pub channels: Vec<(String, ChannelStats)>,
    /// Each transceiver's counts.
    pub tracks: Vec<TrackStats>,
}
