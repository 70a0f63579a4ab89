//! What a stack implements: [`Backend`] makes [`Engine`]s, and an engine says only what its stack can do.
//!
//! Everything that a W3C user expects beyond that (the state machine, rollback of a remote offer, candidate
//! buffering, the operations queue, transceivers, event order) is [`PeerConnection`](crate::PeerConnection)'s.

use crate::{
    Candidate, ChannelInit, ChannelPort, DataChannel, Error, Mark, Net, Result, Timeline, TrackPort,
    channel::Hub,
    sdp::{Direction, MediaKind, Sdp},
    stats::EngineStats,
};
use async_trait::async_trait;
use serde::Serialize;
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::mpsc;

/// How many channels of the remote peer may be open on one connection.
pub const MAX_INCOMING_CHANNELS: usize = 1024;

/// A WebRTC stack.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// The name used on the command line and in reports, such as `str0m`.
    fn name(&self) -> &'static str;

    /// What the stack can do.
    fn capabilities(&self) -> Capabilities;

    /// Makes an engine: binds its sockets on `net` and starts its tasks. What happens goes to `events`.
    ///
    /// # Errors
    ///
    /// [`Network`](crate::ErrorKind::Network) when no socket could be bound.
    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>>;
}

/// One peer's half of a connection on a stack. One task owns it, so calls never overlap.
///
/// The order of calls is core's to keep: `make_offer`, then `commit_offer` or `discard_offer`, then after a
/// commit `apply_answer` or `discard_offer`; `answer`, then `commit_answer`. An engine need not check it.
#[async_trait]
pub trait Engine: fmt::Debug + Send {
    /// Writes an offer for exactly these m-lines, in this order. Those with a mid exist already; the others are
    /// new and get the mid that the offer's text shows. Nothing is decided until `commit_offer`.
    async fn make_offer(&mut self, want: &[MLine], ice_restart: bool) -> Result<Sdp>;

    /// The last offer is the local description now: gathering starts, candidates go to the events.
    async fn commit_offer(&mut self) -> Result<()>;

    /// Forgets the last offer, committed or not; what was negotiated before it stays in force.
    async fn discard_offer(&mut self) -> Result<()>;

    /// The remote answer to the committed offer. It carries no candidates.
    async fn apply_answer(&mut self, answer: &Sdp) -> Result<()>;

    /// Applies a remote offer and answers it in one irrevocable step. `want` has an entry for each of the offer's
    /// m-lines, in order, with our direction. The offer carries no candidates.
    async fn answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp>;

    /// The last answer is the local description now: gathering starts if it has not.
    async fn commit_answer(&mut self) -> Result<()>;

    /// A remote candidate: a literal address, of the generation in force. Called after the description that it
    /// belongs to was applied.
    async fn add_candidate(&mut self, candidate: &Candidate) -> Result<()>;

    /// Opens a data channel, now or when SCTP comes up. The port learns of it.
    fn open_channel(&mut self, port: ChannelPort) -> Result<()>;

    /// What the stack counts. Core adds what it counts itself.
    async fn stats(&mut self) -> EngineStats;

    /// Says goodbye where the protocol has a way to, closes the sockets and ends every task before it returns.
    async fn close(&mut self);
}

/// An m-line to offer or to answer with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MLine {
    /// Audio, video or application.
    pub kind: MediaKind,
    /// Its identification, once it has one.
    pub mid: Option<String>,
    /// Our direction. `SendRecv` for the application m-line.
    pub direction: Direction,
    /// The stack's end of its transceiver's tracks. `None` for the application m-line.
    pub track: Option<TrackPort>,
}

/// What an engine is made with.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where to bind; port 0 picks one. Empty: every usable interface of the `Net`, asked again whenever an ICE
    /// restart gathers anew.
    pub bind: Vec<SocketAddr>,
    /// A pair that has not been heard from for this long makes ICE `disconnected`. Idle, it is checked no more often than
    /// that needs, and each 15 s at the least. Default: 5 s.
    pub disconnected_after: Duration,
    /// What logs call this peer.
    pub name: String,
}

/// What a stack can do, as a plain table. Nothing in visavis asks for a stack's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// The DTLS versions it speaks, best first.
    pub dtls: &'static [&'static str],
    /// Candidates are exchanged as they are found (RFC 8838).
    pub trickle_ice: bool,
    /// ICE restarts on a live connection (RFC 8445 §9).
    pub ice_restart: bool,
    /// Host candidates on IPv6.
    pub ipv6: bool,
    /// TCP candidates (RFC 6544).
    pub tcp_candidates: bool,
    /// STUN and TURN servers.
    pub ice_servers: bool,
    /// A local offer can be rolled back.
    pub rollback_local_offer: bool,
    /// A remote offer can be rolled back after `create_answer`.
    pub rollback_after_answer: bool,
    /// Provisional answers.
    pub pranswer: bool,
    /// Channels that give up on a message.
    pub partial_reliability: bool,
    /// Channels with a stream id agreed on beforehand.
    pub negotiated_channels: bool,
    /// The largest message, in bytes.
    pub max_message_size: u32,
    /// The reader's back-pressure reaches the remote sender.
    pub receive_back_pressure: bool,
    /// Several datagrams a system call on sending and receiving (UDP GSO and GRO).
    pub udp_segmentation: bool,
    /// Round-trip time of the selected pair in the stats.
    pub rtt_stats: bool,
    /// SCTP or RTP retransmissions in the stats.
    pub retransmission_stats: bool,
    /// From what a sender of media estimates the bandwidth, best first: transport-wide feedback (`twcc`), what the remote
    /// peer allows (`remb`), receiver reports (`rr`: losses and round trips). The estimator is core's
    /// ([`congestion`](crate::congestion)).
    pub bandwidth_estimation: &'static [&'static str],
}

/// The state of the ICE transport (W3C `RTCIceConnectionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IceState {
    /// No checks yet.
    New,
    /// Checks are running.
    Checking,
    /// A pair works.
    Connected,
    /// A pair works and no checks are left.
    Completed,
    /// The pair was not heard from; it may come back by itself.
    Disconnected,
    /// Given up; only an ICE restart or a new call helps.
    Failed,
    /// Closed.
    Closed,
}

/// The state of the DTLS transport (W3C `RTCDtlsTransportState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DtlsState {
    /// Not started.
    New,
    /// The handshake is under way.
    Connecting,
    /// Done, and the fingerprint matched.
    Connected,
    /// The remote peer said goodbye.
    Closed,
    /// The handshake failed, or the fingerprint did not match.
    Failed,
}

/// What happens in an engine.
#[derive(Debug)]
pub enum EngineEvent {
    /// A local candidate; core fills in mid, index and generation.
    Candidate(Candidate),
    /// There are no more local candidates for now.
    GatheringComplete,
    /// The ICE transport's state. An engine need not report `Failed`: core derives it.
    Ice(IceState),
    /// The DTLS transport's state.
    Dtls(DtlsState),
    /// The remote peer opened a channel; [`EventSink::incoming_channel`] sends this.
    Channel(DataChannel),
    /// The engine cannot go on.
    Failed(Error),
}

/// Where an engine tells what happens. Cheap to clone; never blocks.
#[derive(Debug, Clone)]
pub struct EventSink {
    pub(crate) events: mpsc::UnboundedSender<EngineEvent>,
    pub(crate) hub: Arc<Hub>,
}

impl EventSink {
    pub(crate) fn new(hub: Arc<Hub>) -> (Self, mpsc::UnboundedReceiver<EngineEvent>) {
        let (events, rx) = mpsc::unbounded_channel();
        (Self { events, hub }, rx)
    }

    /// A sink and what comes out of it, for tests of a backend without a peer connection.
    #[doc(hidden)]
    pub fn detached() -> (Self, mpsc::UnboundedReceiver<EngineEvent>) {
        Self::new(Arc::new(Hub::new(Timeline::default())))
    }

    /// A channel's two ends, for tests of a backend without a peer connection.
    #[doc(hidden)]
    pub fn channel(&self, init: ChannelInit) -> (DataChannel, ChannelPort) {
        DataChannel::new(init, false, Arc::clone(&self.hub))
    }

    /// Tells of an event.
    pub fn push(&self, event: EngineEvent) {
        let _ = self.events.send(event);
    }

    /// Marks a step on the peer's timeline.
    pub fn mark(&self, mark: Mark) {
        self.hub.timeline.mark(mark);
    }

    /// The peer's timeline.
    pub fn timeline(&self) -> &Timeline {
        &self.hub.timeline
    }

    /// The remote peer opened a channel: makes its ends, hands one to the application, returns the other.
    /// `None` when [`MAX_INCOMING_CHANNELS`] of the remote peer's are open already: close the stream.
    pub fn incoming_channel(&self, init: ChannelInit) -> Option<ChannelPort> {
        if self.hub.incoming.fetch_add(1, Ordering::Relaxed) >= MAX_INCOMING_CHANNELS {
            self.hub.incoming.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(
                limit = MAX_INCOMING_CHANNELS,
                "the remote peer opened too many data channels"
            );
            return None;
        }
        let (channel, port) = DataChannel::new(init, true, Arc::clone(&self.hub));
        self.push(EngineEvent::Channel(channel));
        Some(port)
    }

    /// Waits until any channel of this peer has something to send, to close, or room to receive, or any track
    /// something to send or to ask for.
    pub async fn woken(&self) {
        self.hub.wake.notified().await;
    }
}
