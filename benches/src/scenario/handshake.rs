//! Handshake latency: from entering `call` (peer creation included) to the data channel being open on both sides.

use crate::Stacks;
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{Call, CallFailure, Error, Mark, PairConfig, PeerPair, SamePage, Side};

/// A stretch of the handshake: the interval between points that *both* peers have reached. Phases follow one
/// another; under trickle, candidates and checks overlap with the exchange of descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Making both peers: sockets, certificates, tasks.
    Creation,
    /// Offer and answer, written, sent and set on both sides.
    Descriptions,
    /// Connectivity checks until both sides have a pair (RFC 8445).
    Ice,
    /// The DTLS handshake (RFC 6347, RFC 9147).
    Dtls,
    /// The SCTP association and the channel's DCEP exchange (RFC 9260, RFC 8832).
    Channel,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 5] = [
        Self::Creation,
        Self::Descriptions,
        Self::Ice,
        Self::Dtls,
        Self::Channel,
    ];

    /// The phase's name in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Descriptions => "descriptions",
            Self::Ice => "ice",
            Self::Dtls => "dtls",
            Self::Channel => "channel",
        }
    }

    /// The marks that both sides must have for the phase to be over.
    fn ends_with(self) -> &'static [Mark] {
        match self {
            Self::Creation => &[Mark::PeerCreated],
            Self::Descriptions => &[Mark::LocalDescriptionSet, Mark::RemoteDescriptionSet],
            Self::Ice => &[Mark::IceConnected],
            Self::Dtls => &[Mark::DtlsConnected],
            Self::Channel => &[Mark::ChannelOpen],
        }
    }
}

/// One measured handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// From entering `call` to the channel being open on both sides.
    pub total: Duration,
    /// How long each of [`Phase::ALL`] took; their sum is `total`.
    pub phases: [Duration; Phase::ALL.len()],
}

impl Sample {
    /// Reads the phases off a call. The call is over when the channel is open: a mark that a task sets later than
    /// that does not lengthen it.
    pub fn of(call: &Call) -> Self {
        let total = call.setup();
        let over = call.began + total;
        let mut reached = call.began;
        let phases = Phase::ALL.map(|phase| {
            let end = both(call, phase.ends_with())
                .unwrap_or(reached)
                .clamp(reached, over);
            let took = end - reached;
            reached = end;
            took
        });
        Self { total, phases }
    }

    /// How long a phase took.
    pub fn phase(&self, phase: Phase) -> Duration {
        self.phases[phase as usize]
    }
}

/// When both sides had reached all of `marks`.
fn both(call: &Call, marks: &[Mark]) -> Option<Instant> {
    let sides = [Side::Offerer, Side::Answerer].map(|side| call.side(side).peer.timeline());
    let times: Option<Vec<_>> = sides
        .iter()
        .flat_map(|t| marks.iter().map(|&mark| t.get(mark)))
        .collect();
    times?.into_iter().max()
}

/// A pair of stacks that calls again and again.
#[derive(Debug)]
pub struct Handshake(SamePage);

impl Handshake {
    /// Gets ready to call on loopback.
    ///
    /// # Errors
    ///
    /// When the pair cannot be started.
    pub async fn new([offerer, answerer]: Stacks, config: PairConfig) -> Result<Self, Error> {
        let pair = SamePage::new(offerer, answerer, config);
        pair.start().await?;
        Ok(Self(pair))
    }

    /// Calls once and hangs up; only the call is measured.
    ///
    /// # Errors
    ///
    /// Why there was no call. A failed call is a result, not a sample to drop.
    pub async fn run(&self) -> Result<Sample, CallFailure> {
        let call = self.0.call().await?;
        let sample = Sample::of(&call);
        // The only refusal is that the call is over already.
        let _ = self.0.hang_up().await;
        Ok(sample)
    }
}
