//! What is known of a call once it is over: the JSON object, and the same as text. The schema is in `docs/cli.md`.

mod text;

pub(crate) use text::table;

use crate::{
    net::BadNet,
    numbers::{Spread, millis},
};
use serde::{Serialize, Serializer};
use std::{net::SocketAddr, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    CandidateType, ChannelStats, EngineStats, IceMode, Mark, SelectedPair, Side, StatsReport, Timeline,
    net::impair::PathCounts,
};
use visavis_media::session::MediaReport;

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// One call.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) schema_version: u32,
    pub(crate) run: u32,
    pub(crate) warmup: bool,
    pub(crate) pair: String,
    pub(crate) ice: IceMode,
    pub(crate) exit_reason: ExitReason,
    pub(crate) failed_step: Option<&'static str>,
    pub(crate) failed_side: Option<Side>,
    pub(crate) error: Option<String>,
    pub(crate) setup_ms: Option<f64>,
    pub(crate) hang_up_ms: Option<f64>,
    pub(crate) messages: Messages,
    /// What was bad on purpose.
    pub(crate) net: Option<BadNet>,
    pub(crate) offerer: PeerReport,
    pub(crate) answerer: PeerReport,
    /// `offerer_to_answerer` and `answerer_to_offerer`.
    #[serde(flatten)]
    pub(crate) media: MediaReport,
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) threads: Option<usize>,
    pub(crate) fds: Option<usize>,
    pub(crate) tasks: Option<usize>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExitReason {
    /// It was made, texts went both ways, and it was hung up.
    Done,
    /// It was not made, or it broke, or its media was bad.
    Failed,
    /// Ctrl-C or SIGTERM ended it.
    Interrupted,
}

/// The conversation.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Messages {
    pub(crate) round_trips: Option<u64>,
    pub(crate) rtt_ms: Option<Spread>,
}

/// One side.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PeerReport {
    pub(crate) stack: &'static str,
    pub(crate) timeline_ms: TimelineMs,
    pub(crate) selected_pair: Option<PairReport>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) packets_sent: Option<u64>,
    pub(crate) bytes_sent: Option<u64>,
    pub(crate) packets_received: Option<u64>,
    pub(crate) bytes_received: Option<u64>,
    pub(crate) retransmissions: Option<u64>,
    pub(crate) stats_age_ms: Option<f64>,
    pub(crate) messages_sent: Option<u64>,
    pub(crate) messages_received: Option<u64>,
    pub(crate) messages_dropped: Option<u64>,
    /// What a network that is bad on purpose did to what this side sent.
    pub(crate) network: Option<PathCounts>,
}

/// The candidate pair that carried the traffic, as this side sees it.
#[derive(Debug, Serialize)]
pub(crate) struct PairReport {
    local: SocketAddr,
    remote: SocketAddr,
    local_type: Option<CandidateType>,
    remote_type: Option<CandidateType>,
}

/// When each step was reached, in ms since the call was entered.
#[derive(Debug, Default)]
pub(crate) struct TimelineMs([Option<f64>; Mark::ALL.len()]);

impl Serialize for TimelineMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Mark::ALL.iter().map(|m| (m.name(), self.0[*m as usize])))
    }
}

impl PeerReport {
    /// The steps a side reached.
    pub(crate) fn reached(&mut self, timeline: &Timeline, began: Instant) {
        for mark in Mark::ALL {
            let at = timeline
                .get(mark)
                .map(|at| millis(at.saturating_duration_since(began)));
            self.timeline_ms.0[mark as usize] = at;
        }
    }

    /// What a side counted.
    pub(crate) fn counted(&mut self, stats: Option<&StatsReport>, channel: ChannelStats) {
        self.messages_sent = Some(channel.messages_sent);
        self.messages_received = Some(channel.messages_received);
        self.messages_dropped = Some(channel.messages_dropped);
        let Some(&EngineStats {
            selected_pair,
            packets_sent,
            bytes_sent,
            packets_received,
            bytes_received,
            retransmissions,
            age,
            ..
        }) = stats.map(|s| &s.transport)
        else {
            return;
        };
        self.packets_sent = Some(packets_sent);
        self.bytes_sent = Some(bytes_sent);
        self.packets_received = Some(packets_received);
        self.bytes_received = Some(bytes_received);
        self.retransmissions = retransmissions;
        self.stats_age_ms = age.map(millis);
        if let Some(SelectedPair {
            local,
            remote,
            local_type,
            remote_type,
            rtt,
        }) = selected_pair
        {
            self.rtt_ms = rtt.map(millis);
            self.selected_pair = Some(PairReport {
                local,
                remote,
                local_type,
                remote_type,
            });
        }
    }
}

/// The parts of a call's setup, in order.
pub(crate) const PHASES: [(&str, Mark); 4] = [
    ("offer and answer", Mark::RemoteDescriptionSet),
    ("ICE", Mark::IceConnected),
    ("DTLS", Mark::DtlsConnected),
    ("SCTP and channel", Mark::ChannelOpen),
];

impl Report {
    /// A call of which nothing is known yet.
    pub(crate) fn new(run: u32, warmup: bool, stacks: [&'static str; 2], ice: IceMode) -> Self {
        let peer = |stack| PeerReport {
            stack,
            ..PeerReport::default()
        };
        Self {
            schema_version: SCHEMA_VERSION,
            run,
            warmup,
            pair: stacks.join(":"),
            ice,
            exit_reason: ExitReason::Failed,
            failed_step: None,
            failed_side: None,
            error: None,
            setup_ms: None,
            hang_up_ms: None,
            messages: Messages::default(),
            net: None,
            offerer: peer(stacks[0]),
            answerer: peer(stacks[1]),
            media: MediaReport::default(),
            cpu_percent: None,
            threads: None,
            fds: None,
            tasks: None,
        }
    }

    /// The side of that name.
    pub(crate) fn side(&mut self, side: Side) -> &mut PeerReport {
        match side {
            Side::Offerer => &mut self.offerer,
            Side::Answerer => &mut self.answerer,
        }
    }

    /// What the texts' round trips were.
    pub(crate) fn round_trips(&mut self, rtts: &[Duration]) {
        self.messages = Messages {
            round_trips: Some(rtts.len() as u64),
            rtt_ms: Spread::of(rtts.iter().copied().map(millis)),
        };
    }

    /// How long each of [`PHASES`] took, in ms: from the end of the one before to when both sides were done.
    pub(crate) fn phases(&self) -> [Option<f64>; PHASES.len()] {
        let mut before = 0.0_f64;
        PHASES.map(|(_, end)| {
            let [a, b] = [&self.offerer, &self.answerer].map(|p| p.timeline_ms.0[end as usize]);
            let end = before.max(a?).max(b?);
            Some(end - std::mem::replace(&mut before, end))
        })
    }
}
