//! What is known of a call once it is over: the JSON object, and the same as text. The schema is in `docs/cli.md`.

use crate::{
    numbers::{Spread, millis},
    out::{BOLD, DIM, Out, paint, style_of},
};
use serde::{Serialize, Serializer};
use std::{io, net::SocketAddr, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    CandidateType, ChannelStats, EngineStats, IceMode, Mark, SelectedPair, Side, StatsReport, Timeline,
};

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
pub(crate) const SCHEMA_VERSION: u32 = 1;

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
    pub(crate) offerer: PeerReport,
    pub(crate) answerer: PeerReport,
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
    /// It was not made, or it broke.
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

    /// The summary after a single call.
    pub(crate) fn summary(&self, out: &mut Out) -> io::Result<()> {
        out.line("")?;
        out.line(paint(BOLD, "Summary"))?;
        let mut row = |label: &str, value: String| out.line(format!("  {label:<18}  {value}"));
        let ms = |ms: Option<f64>| ms.map_or("not reached".to_owned(), |ms| format!("{ms:>9.2} ms"));
        row(
            "setup",
            format!(
                "{}  {}",
                ms(self.setup_ms),
                paint(
                    DIM,
                    "from the call to the data channel open on both sides, of which"
                )
            ),
        )?;
        for ((label, _), time) in PHASES.iter().zip(self.phases()) {
            row(&format!("  {label}"), ms(time))?;
        }
        if let Some(pair) = &self.offerer.selected_pair {
            let kind = |kind: Option<CandidateType>| {
                let name = kind.map(|k| format!(" ({k:?})").to_lowercase());
                name.unwrap_or_default()
            };
            let (local, remote) = (kind(pair.local_type), kind(pair.remote_type));
            row(
                "selected pair",
                format!("{}{local} to {}{remote}", pair.local, pair.remote),
            )?;
        }
        if let Some(rtt) = &self.messages.rtt_ms {
            row(
                "texts",
                format!(
                    "{} round trips: min {:.2}, median {:.2}, max {:.2} ms",
                    self.messages.round_trips.unwrap_or_default(),
                    rtt.min,
                    rtt.median,
                    rtt.max
                ),
            )?;
        }
        for (side, peer) in [(Side::Offerer, &self.offerer), (Side::Answerer, &self.answerer)] {
            let sums = |what: &str, messages: Option<u64>, packets: Option<u64>, bytes: Option<u64>| {
                let number = |n: Option<u64>| n.map_or("?".to_owned(), |n| n.to_string());
                format!(
                    "{what} {} messages in {} packets, {} bytes",
                    number(messages),
                    number(packets),
                    number(bytes)
                )
            };
            if peer.messages_sent.is_none() {
                continue;
            }
            let label = paint(style_of(side), format!("{:<18}", side.to_string()));
            let sent = sums("sent", peer.messages_sent, peer.packets_sent, peer.bytes_sent);
            let received = sums(
                "received",
                peer.messages_received,
                peer.packets_received,
                peer.bytes_received,
            );
            row(&label, sent)?;
            row("", received)?;
        }
        if let Some(time) = self.hang_up_ms {
            row("hang-up", format!("{time:>9.2} ms"))?;
        }
        Ok(())
    }

    /// The line of one call of a series.
    pub(crate) fn run_line(&self, of: u32, out: &mut Out) -> io::Result<()> {
        let kind = if self.warmup { "warm-up" } else { "call" };
        let number = format!("{kind:<7} {:>4}/{of}", self.run);
        let Some(setup) = self.setup_ms else {
            let reason = self.error.as_deref().unwrap_or("interrupted");
            return out.line(format!("{number}  {reason}"));
        };
        let phases: Vec<_> = PHASES
            .iter()
            .zip(self.phases())
            .map(|((label, _), time)| {
                let time = time.map_or("-".to_owned(), |t| format!("{t:.2}"));
                format!("  {label} {time:>6}")
            })
            .collect();
        out.line(format!(
            "{number}  setup {setup:>7.2} ms{}",
            paint(DIM, phases.concat())
        ))
    }
}

/// The table after a series of calls.
pub(crate) fn table(reports: &[Report], out: &mut Out) -> io::Result<()> {
    let failed = reports
        .iter()
        .filter(|r| r.exit_reason == ExitReason::Failed)
        .count();
    out.line("")?;
    out.line(paint(
        BOLD,
        format!(
            "{:<18}{:>9}{:>9}{:>9}{:>9}   ms, {} calls, {failed} failed",
            "",
            "min",
            "median",
            "p95",
            "max",
            reports.len()
        ),
    ))?;
    let mut row = |label: &str, values: &mut dyn Iterator<Item = f64>| match Spread::of(values) {
        None => Ok(()),
        Some(s) => out.line(format!(
            "{label:<18}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
            s.min, s.median, s.p95, s.max
        )),
    };
    row("setup", &mut reports.iter().filter_map(|r| r.setup_ms))?;
    for (index, (label, _)) in PHASES.iter().enumerate() {
        row(
            &format!("  {label}"),
            &mut reports.iter().filter_map(|r| r.phases()[index]),
        )?;
    }
    let medians = reports
        .iter()
        .filter_map(|r| Some(r.messages.rtt_ms.as_ref()?.median));
    row("text round trip", &mut medians.into_iter())?;
    row("hang-up", &mut reports.iter().filter_map(|r| r.hang_up_ms))
}
