//! What a peer connection counts (a small part of W3C `webrtc-stats`). What is unknown is `None`, never 0.

use crate::{CandidateType, ChannelStats};
use serde::Serialize;
use std::{net::SocketAddr, time::Duration};

/// What a stack and its driver count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
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
}
