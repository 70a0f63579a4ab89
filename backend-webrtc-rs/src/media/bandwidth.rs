//! What the remote peer's feedback tells of the network: transport-wide numbers for our packets, and what becomes of them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Where there is no such feedback, its reception reports serve.

use rtc::{
    interceptor::{Acknowledgement, convert_twcc},
    rtcp::{reception_report::ReceptionReport, transport_feedbacks::transport_layer_cc::TransportLayerCc},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use visavis_core::congestion::{Estimator, Feedback};

/// Losses are counted over this.
const WINDOW: Duration = Duration::from_secs(1);

/// Feedback comes about each 100 ms; the shortest delay of this time counts, for one packet may wait behind others of
/// its frame.
const INTERVAL: Duration = Duration::from_millis(200);

/// So many packets get a number in each [`TAG_PERIOD`], which is all of a call up to 10 Mbit/s. Beyond, they are a
/// sample: numbers and feedback cost as much as a small packet.
const MAX_TAGGED: u32 = 100;
const TAG_PERIOD: Duration = Duration::from_millis(100);

/// So many are remembered: those of two seconds.
const MAX_REMEMBERED: usize = 2048;

/// While there is transport-wide feedback, receiver reports tell nothing new.
const FEEDBACK_LIFE: Duration = Duration::from_secs(3);

/// Delays are by the remote peer's clock less ours, so they start here, far from zero.
const ZERO_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is sent, what is heard of it, and what follows.
#[derive(Debug, Default)]
pub(super) struct Bandwidth {
    pub(super) estimator: Estimator,
    /// Bytes of RTP.
    sent: u64,
    next: u16,
    /// Packets with a number, the newest last and without gaps.
    tagged: VecDeque<Tagged>,
    /// How many there were in this period, and when it began.
    period: Option<(Instant, u32)>,
    /// When the first packet that was heard of left, and came.
    zero: Option<(Instant, Duration)>,
    /// The shortest delay since the estimator was told last.
    shortest: Option<Duration>,
    told: Option<Instant>,
    heard: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Tagged {
    at: Instant,
    /// What the remote peer said of it.
    arrived: Option<bool>,
}

impl Bandwidth {
    /// A packet of so many bytes leaves.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The packet that leaves next: its number, if it is to have one.
    pub(super) fn number(&mut self, now: Instant) -> Option<u16> {
        match &mut self.period {
            Some((since, count)) if now < *since + TAG_PERIOD => {
                if *count >= MAX_TAGGED {
                    return None;
                }
                *count += 1;
            }
            period => *period = Some((now, 1)),
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.tagged.push_back(Tagged {
            at: now,
            arrived: None,
        });
        if self.tagged.len() > MAX_REMEMBERED {
            self.tagged.pop_front();
        }
        Some(number)
    }

    /// Transport-wide feedback. Returns whether there is an estimate to be told.
    pub(super) fn on_feedback(&mut self, feedback: &TransportLayerCc, now: Instant) -> bool {
        let count = usize::from(feedback.packet_status_count);
        for acknowledgement in convert_twcc(feedback).into_iter().take(count) {
            self.acknowledge(acknowledgement);
        }
        if self.heard.is_none_or(|at| at + FEEDBACK_LIFE <= now) {
            // Round trips are no part of these delays.
            self.estimator.restart_delay();
        }
        self.heard = Some(now);
        if self.shortest.is_none() || self.told.is_some_and(|at| now < at + INTERVAL) {
            return false;
        }
        let recent = self.tagged.iter().filter(|tagged| now < tagged.at + 2 * WINDOW);
        // Those that were heard of last: with a long queue they left some time ago.
        let known: Vec<_> = recent.filter_map(|t| Some((t.at, t.arrived?))).collect();
        let newest = known.last().map_or(now, |(at, _)| *at);
        let counted = known.iter().filter(|(at, _)| newest < *at + WINDOW);
        let (all, lost) = counted.fold((0_u32, 0_u32), |(all, lost), (_, arrived)| {
            (all + 1, lost + u32::from(!arrived))
        });
        self.tell(now, f64::from(lost) / f64::from(all.max(1)))
    }

    fn acknowledge(&mut self, acknowledgement: Acknowledgement) {
        let age = usize::from(self.next.wrapping_sub(acknowledgement.sequence_number));
        let Some(tagged) = self
            .tagged
            .len()
            .checked_sub(age)
            .and_then(|index| self.tagged.get_mut(index))
        else {
            return;
        };
        // What is said to be missing may still come.
        if tagged.arrived != Some(true) {
            tagged.arrived = Some(acknowledgement.arrived);
        }
        if let Some(arrival) = acknowledgement.arrival {
            let (left, came) = *self.zero.get_or_insert((tagged.at, arrival));
            let way = since_zero(came, arrival).saturating_sub(tagged.at.saturating_duration_since(left));
            self.shortest = Some(self.shortest.map_or(way, |shortest| shortest.min(way)));
        }
    }

    /// A reception report about a stream of pictures, and the round trip that it tells. Returns whether there is an
    /// estimate to be told.
    pub(super) fn on_report(
        &mut self,
        report: &ReceptionReport,
        rtt: Option<Duration>,
        now: Instant,
    ) -> bool {
        if self.heard.is_some_and(|at| now < at + FEEDBACK_LIFE) {
            return false;
        }
        if self.heard.take().is_some() {
            self.estimator.restart_delay();
        }
        self.shortest = rtt;
        self.tell(now, f64::from(report.fraction_lost) / 256.0)
    }

    fn tell(&mut self, now: Instant, loss: f64) -> bool {
        self.told = Some(now);
        self.estimator.update(Feedback {
            at: now,
            sent: self.sent,
            loss,
            delay: self.shortest.take(),
            returning: Duration::ZERO,
        });
        true
    }
}

/// How long after `first` another packet came, and [`ZERO_DELAY`]: it may have come before. The remote peer's clock
/// counts 64 ms in 24 bits.
fn since_zero(first: Duration, arrival: Duration) -> Duration {
    const WRAP: u128 = 64_000 << 24;
    let elapsed = (arrival + ZERO_DELAY).as_micros() + WRAP - first.as_micros() % WRAP;
    Duration::from_micros((elapsed % WRAP) as u64)
}

#[cfg(test)]
#[path = "../tests/bandwidth.rs"]
mod tests;
