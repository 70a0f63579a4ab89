//! Handshake latency: from entering `call` (peer creation included) to the data channel being open on both sides.

use crate::{
    lab::{Lab, Site, ice_mode},
    metric::Metric,
    outcome::{Outcome, Values},
    scenario::frames::video,
    tap::Negotiated,
    work::{Network, Visit, Work},
};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use visavis_core::{Call, Mark, PairConfig, PeerPair, SamePage, Side};

/// How long a text may take in an open channel.
const PATIENCE: Duration = Duration::from_secs(5);

/// Calls again and again, as the visit's [`Work::Handshake`] says.
///
/// # Errors
///
/// When the arm is no pair of stacks of this build. A call that fails is a failure in the outcome.
pub async fn run(lab: &Lab, visit: &Visit, outcome: &mut Outcome) -> Result<(), String> {
    let Work::Handshake {
        network,
        trickle,
        certificates_ahead,
    } = visit.work
    else {
        return Err("no handshake".to_owned());
    };
    let site = lab.site(visit, network, certificates_ahead)?;
    let config = PairConfig {
        ice: ice_mode(trickle),
        ..PairConfig::default()
    };
    let pair = Handshake::new(&site, config).await;
    let measure = async || Ok(values(&pair.run().await?, network));
    match network {
        Network::Loopback => outcome.measure(visit, measure).await,
        // Virtual time has no noise that more calls would take out; the machine's scheduler does not show.
        Network::Simulated(_) => {
            for _ in 0..SIMULATED_CALLS {
                match measure().await {
                    Ok(values) => outcome.add(&values),
                    Err(reason) => outcome.failures.push(reason),
                }
            }
            outcome.settled = true;
        }
    }
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

/// How many calls a visit makes in virtual time.
const SIMULATED_CALLS: usize = 5;

fn values(sample: &Sample, network: Network) -> Values {
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let mut values = vec![
        (Metric::Total, ms(sample.total)),
        (Metric::Connected, ms(sample.connected())),
    ];
    values.extend(Phase::ALL.map(|phase| (phase.metric(), ms(sample.phase(phase)))));
    if let Network::Simulated(rtt @ 1..) = network {
        values.push((Metric::NetworkRoundTrips, ms(sample.total) / f64::from(rtt)));
    }
    values
}

/// What the stacks agree on, read off one call with video.
///
/// # Errors
///
/// Why there was no call.
pub async fn negotiated(site: &Site) -> Result<Negotiated, String> {
    let (pair, tap) = site.tapped_pair(video()).await;
    let call = pair.call().await.map_err(|failure| failure.to_string())?;
    let mut negotiated = tap.negotiated();
    let answer = call.answerer.peer.local_description();
    negotiated.feedback = answer.iter().flat_map(|answer| feedback(&answer.sdp)).collect();
    let _ = pair.hang_up().await;
    Ok(negotiated)
}

/// The values of `a=rtcp-fb`, without the payload types.
fn feedback(sdp: &str) -> Vec<String> {
    let values = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=rtcp-fb:")?.split_once(' '));
    let mut values: Vec<_> = values.map(|(_, value)| value.trim().to_owned()).collect();
    values.sort();
    values.dedup();
    values
}

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

    /// The number that it is.
    pub fn metric(self) -> Metric {
        match self {
            Self::Creation => Metric::Creation,
            Self::Descriptions => Metric::Descriptions,
            Self::Ice => Metric::Ice,
            Self::Dtls => Metric::Dtls,
            Self::Channel => Metric::Channel,
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

    /// From entering `call` to DTLS connected on both sides.
    pub fn connected(&self) -> Duration {
        self.total.saturating_sub(self.phase(Phase::Channel))
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
    /// Gets ready to call.
    pub async fn new(site: &Site, config: PairConfig) -> Self {
        Self(site.pair(config).await)
    }

    /// Calls once, sees that the channel really carries a text each way, and hangs up; only the call is measured.
    ///
    /// # Errors
    ///
    /// Why there was no call, or what is wrong with it. A failed call is a result, not a sample to drop.
    pub async fn run(&self) -> Result<Sample, String> {
        let call = self.0.call().await.map_err(|failure| failure.to_string())?;
        let sample = Sample::of(&call);
        let checked = check(&call).await;
        // The only refusal is that the call is over already.
        let _ = self.0.hang_up().await;
        checked.map(|()| sample)
    }
}

/// The marks that must come one after the other on each side.
const ORDER: [Mark; 4] = [
    Mark::PeerCreated,
    Mark::IceConnected,
    Mark::DtlsConnected,
    Mark::ChannelOpen,
];

/// Whether the steps were reached in order, none before its time, and the channel carries texts.
async fn check(call: &Call) -> Result<(), String> {
    for side in [Side::Offerer, Side::Answerer] {
        let timeline = call.side(side).peer.timeline();
        let mut before = None;
        for mark in ORDER {
            let at = timeline
                .get(mark)
                .ok_or_else(|| format!("the {side} never marked {}", mark.name()))?;
            if before.is_some_and(|before| at < before) {
                return Err(format!("the {side} marked {} before its time", mark.name()));
            }
            before = Some(at);
        }
    }
    for (from, to) in [(&call.offerer, &call.answerer), (&call.answerer, &call.offerer)] {
        let text = "is this channel open?";
        from.channel.send(text).await.map_err(|error| error.to_string())?;
        let heard = timeout(PATIENCE, to.channel.recv()).await;
        if heard != Ok(Some(text.into())) {
            return Err(format!("a text in the open channel did not arrive: {heard:?}"));
        }
    }
    Ok(())
}
