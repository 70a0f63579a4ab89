//! How much the network carries, found out by a sender: one estimator for every stack.
//!
//! A queue that grows and packets that get lost say that more is sent than the path carries, as in Google's congestion
//! control (draft-ietf-rmcat-gcc-02), of which this is the part that a call needs: nothing is probed and nothing is
//! paced, and until the first congestion there is no limit. Without I/O and without a clock.

use crate::{Bitrate, MediaKind, TrackPort};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Estimates stay above this: what is left is sound and a picture now and then.
const FLOOR: f64 = 50_000.0;

/// What is sent is measured over this.
const WINDOW: Duration = Duration::from_secs(1);

/// Less than this part of it tells nothing.
const MIN_SPAN: Duration = Duration::from_millis(200);

/// A queue of this length has built up. Below, it may be jitter, or a keyframe.
const FULL: Duration = Duration::from_millis(100);

/// More than this share of the packets lost is congestion; less may be a radio link (draft-ietf-rmcat-gcc-02 §6).
const LOSSY: f64 = 0.10;

/// The shortest delay is remembered for this long, to twice as long.
const BASE_LIFE: Duration = Duration::from_secs(15);

/// What is estimated is a little less than what came through.
const BACK_OFF: f64 = 0.85;

/// While there is a queue, what it holds is taken off what may be sent in this time, up to this share.
const DRAIN_TIME: f64 = 0.8;
const MOST_DRAIN: f64 = 0.6;

/// When this share of what came through is sent for a second, a queue gets shorter.
const WELL_BELOW: f64 = 0.6;

/// The growth a second, where the last congestion was and elsewhere.
const GROWTH_NEAR: f64 = 1.08;
const GROWTH: f64 = 1.25;

/// What a packet of sound takes, with its headers: 64 kbit/s of Opus in 50 packets a second.
const SOUND: f64 = 85_000.0;

/// A remote peer that limits us (REMB) repeats that; one that has not for this long no longer does.
const LIMIT_LIFE: Duration = Duration::from_secs(10);

/// What the remote peer's feedback tells of the packets that it is about.
#[derive(Debug, Clone, Copy)]
pub struct Feedback {
    /// When it came.
    pub at: Instant,
    /// All bytes of RTP that were sent up to now.
    pub sent: u64,
    /// The share of the packets of about the last second that was lost, 0 to 1.
    pub loss: f64,
    /// How long packets take, from any zero: a round trip, or by the remote peer's clock. Only differences count.
    pub delay: Option<Duration>,
    /// How much of that the feedback itself waited for on its way back, where the delay is a round trip.
    pub returning: Duration,
}

/// How long packets wait on a way, by how long they take: what is more than the shortest time of the last half minute.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The shortest of this period and of the one before, and when this one began.
    shortest: Option<(Duration, Duration, Instant)>,
}

impl Waiting {
    /// A packet took so long, from any zero.
    pub fn of(&mut self, delay: Duration, now: Instant) -> Duration {
        let (current, last, since) = self.shortest.unwrap_or((delay, delay, now));
        let shortest = if now >= since + BASE_LIFE {
            (delay, current, now)
        } else {
            (current.min(delay), last, since)
        };
        self.shortest = Some(shortest);
        delay.saturating_sub(shortest.0.min(shortest.1))
    }
}

/// Feedback, and the queue that it tells of.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    sent: u64,
    queue: Duration,
}

/// Estimates what the network carries.
#[derive(Debug, Default)]
pub struct Estimator {
    /// In bits a second. `None`: there was no congestion yet.
    estimate: Option<f64>,
    /// What came through when the last congestion was.
    congested_at: f64,
    /// The most that came through since the queue is there.
    carried: f64,
    samples: VecDeque<Sample>,
    waiting: Waiting,
    /// The feedback before this one told of congestion, or of its beginning.
    suspected: bool,
    /// No decision before: what was decided last does not show yet.
    hold: Option<Instant>,
    limit: Option<(f64, Instant)>,
}

impl Estimator {
    /// What the network carries, as far as it is known.
    pub fn estimate(&self) -> Option<Bitrate> {
        let newest = self.samples.back().map(|s| s.at);
        let limit = self
            .limit
            .filter(|(_, at)| newest.is_none_or(|now| now < *at + LIMIT_LIFE));
        let queue = self.queue();
        let drain = match queue.saturating_sub(FULL / 2) {
            Duration::ZERO => 0.0,
            _ => (queue.as_secs_f64() / DRAIN_TIME).min(MOST_DRAIN),
        };
        let estimate = self
            .estimate
            .map(|estimate| (estimate * (1.0 - drain)).max(FLOOR));
        let known = [estimate, limit.map(|(limit, _)| limit.max(FLOOR))];
        let least = known.into_iter().flatten().reduce(f64::min)?;
        Some(Bitrate::from_bps(least as u64))
    }

    /// How long packets waited on the way when feedback came last.
    pub fn queue(&self) -> Duration {
        self.samples.back().map_or(Duration::ZERO, |s| s.queue)
    }

    /// The remote peer wants no more than this (REMB).
    pub fn set_limit(&mut self, limit: Bitrate, now: Instant) {
        self.limit = Some((limit.bps() as f64, now));
    }

    /// The delays to come are of another kind, or by another clock.
    pub fn restart_delay(&mut self) {
        self.waiting = Waiting::default();
    }

    /// Takes feedback, several times a second or once.
    pub fn update(&mut self, feedback: Feedback) {
        let now = feedback.at;
        let before = self.samples.back().copied();
        while self.samples.get(1).is_some_and(|s| s.at + WINDOW <= now) {
            self.samples.pop_front();
        }
        // What is older is of another time: nothing was sent since.
        self.samples.retain(|s| now < s.at + 3 * WINDOW);
        let waited = feedback.delay.map(|delay| self.waiting.of(delay, now));
        let queue = waited.unwrap_or_default().saturating_sub(feedback.returning);
        self.samples.push_back(Sample {
            at: now,
            sent: feedback.sent,
            queue,
        });
        let (Some(first), Some(before)) = (self.samples.front().copied(), before) else {
            return;
        };
        let span = now.saturating_duration_since(first.at);
        if span < MIN_SPAN {
            return;
        }
        let sent = feedback.sent.saturating_sub(first.sent) as f64 * 8.0 / span.as_secs_f64();
        if queue < FULL / 2 {
            self.carried = 0.0;
        } else if sent < self.carried * WELL_BELOW
            && feedback.loss < LOSSY / 2.0
            && queue + FULL / 2 > first.queue
            && span >= WINDOW
        {
            // A queue would have become shorter by now: the path is longer than it was.
            self.waiting = Waiting::default();
            self.samples.clear();
            (self.carried, self.suspected) = (0.0, false);
            return;
        }
        let draining = queue < before.queue;
        let full = queue >= FULL && !draining;
        let congested = sent > 0.0 && (full || feedback.loss > LOSSY);
        if !congested {
            // A queue that begins to build up is the first sign.
            self.suspected = queue >= FULL / 3 && queue > before.queue;
            let elapsed = now.saturating_duration_since(before.at).min(WINDOW);
            self.grow(now, sent, queue, feedback.loss, elapsed);
        } else if !std::mem::replace(&mut self.suspected, true) || self.hold.is_some_and(|until| now < until)
        {
            // One keyframe, or what the last decision is about.
        } else if full {
            let growing = queue.saturating_sub(first.queue).as_secs_f64() / span.as_secs_f64();
            let through = sent * (1.0 - feedback.loss) / (1.0 + growing);
            self.congested_at = through;
            self.carried = self.carried.max(through);
            self.shrink(through, BACK_OFF);
            self.hold = Some(now + 2 * FULL + 2 * queue);
        } else {
            self.congested_at = sent * (1.0 - feedback.loss);
            self.shrink(sent, 1.0 - feedback.loss / 2.0);
            // Until the losses of before are out of what is looked at.
            self.hold = Some(now + WINDOW);
        }
    }

    fn shrink(&mut self, measured: f64, factor: f64) {
        let from = self.estimate.map_or(measured, |estimate| estimate.min(measured));
        self.estimate = Some((from * factor).max(FLOOR));
        tracing::debug!(bitrate = ?self.estimate, "congestion");
    }

    fn grow(&mut self, now: Instant, sent: f64, queue: Duration, loss: f64, elapsed: Duration) {
        let Some(estimate) = self.estimate else {
            return;
        };
        // What is not used is not known to be there.
        let used = sent > estimate / 2.0;
        if !used || queue >= FULL / 2 || self.hold.is_some_and(|until| now < until) {
            return;
        }
        let near = (0.7..1.2).contains(&(estimate / self.congested_at.max(FLOOR))) || loss > LOSSY / 2.0;
        let growth = if near { GROWTH_NEAR } else { GROWTH };
        self.estimate = Some(estimate * growth.powf(elapsed.as_secs_f64()));
    }
}

/// Tells a connection's tracks what there is for each: sound has what it needs, and pictures share the rest.
pub fn share<'a>(estimate: Option<Bitrate>, ports: impl Iterator<Item = &'a TrackPort>) {
    let (pictures, sound): (Vec<_>, Vec<_>) = ports
        .filter(|port| port.is_sending())
        .partition(|port| port.kind() == MediaKind::Video);
    let each = estimate.map(|all| {
        let rest = (all.bps() as f64 - sound.len() as f64 * SOUND).max(0.0);
        Bitrate::from_bps((rest / pictures.len().max(1) as f64) as u64)
    });
    for port in pictures {
        port.set_available_bitrate(each);
    }
}

#[cfg(test)]
mod tests;
