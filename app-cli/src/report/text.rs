//! Reports as text.

use super::{ExitReason, PHASES, Report};
use crate::{
    media, net,
    numbers::Spread,
    out::{BOLD, DIM, Out, paint, style_of},
};
use std::io;
use visavis_core::{CandidateType, Side};

impl Report {
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
        if let Some(bad) = &self.net {
            row("network", format!("{}, seed {}", bad.impairments, bad.seed))?;
        }
        for (side, peer) in [(Side::Offerer, &self.offerer), (Side::Answerer, &self.answerer)] {
            if let Some(counts) = &peer.network {
                row(&format!("  from the {side}"), net::words(counts))?;
            }
        }
        media::summary(&self.media, out)?;
        let mut row = |label: &str, value: String| out.line(format!("  {label:<18}  {value}"));
        if let Some(percent) = self.cpu_percent {
            let explained = paint(
                DIM,
                "of one core, both sides together, codecs and checks included",
            );
            row("processor", format!("{percent:>9.1} %   {explained}"))?;
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
        let first = media::figures(&self.media).filter_map(|(first, _)| first);
        let first: Vec<_> = first.map(|ms| format!("  first picture {ms:>7.2}")).collect();
        out.line(format!(
            "{number}  setup {setup:>7.2} ms{}{}",
            paint(DIM, phases.concat()),
            first.concat()
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
    let figures = || reports.iter().flat_map(|r| media::figures(&r.media));
    row("first picture", &mut figures().filter_map(|(first, _)| first))?;
    row(
        "capture to decode",
        &mut figures().filter_map(|(_, latency)| latency),
    )?;
    row("hang-up", &mut reports.iter().filter_map(|r| r.hang_up_ms))
}
