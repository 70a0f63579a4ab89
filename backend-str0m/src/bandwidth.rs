//! What str0m measures of the network, for core's estimator.
//!
//! str0m has an estimator of its own, but only together with its pacer, which wants a call for each packet and holds
//! packets back from the start. What it counts without them is enough: transport-wide feedback gives losses and round
//! trips, and where there is none receiver reports do.

use std::time::Duration;
use str0m::{
    media::{MediaData, Mid},
    stats::{MediaEgressStats, PeerStats},
};
use tokio::time::Instant;
use visavis_core::{
    Bitrate,
    congestion::{Estimator, Feedback, Waiting},
};

/// A stream whose timestamps jump by more is another one.
const JUMP: Duration = Duration::from_secs(1);

/// What is known of the way to the remote peer.
#[derive(Debug, Default)]
pub(crate) struct Bandwidth {
    pub(crate) estimator: Estimator,
    /// Bytes of RTP.
    sent: u64,
    /// There is transport-wide feedback.
    is_told: bool,
    returning: Returning,
}

/// What is known of the way back: how long the frames of one stream wait on it. A round trip has both ways, and the other
/// one may be full of what the remote peer sends.
#[derive(Debug, Default)]
struct Returning {
    stream: Option<Mid>,
    /// When a frame came, and its time on the stream's clock.
    zero: Option<(Instant, Duration)>,
    last: Duration,
    waiting: Waiting,
    /// The longest since it was asked for.
    longest: Duration,
}

impl Returning {
    fn arrived(&mut self, data: &MediaData) {
        if *self.stream.get_or_insert(data.mid) != data.mid {
            return;
        }
        let at = Instant::from_std(data.network_time);
        let time = Duration::from_secs_f64(data.time.as_seconds().max(0.0));
        let (zero, first) = *self.zero.get_or_insert((at, time));
        // From a zero far enough away that a faster packet is no less.
        let way = (JUMP + at.saturating_duration_since(zero)).saturating_sub(time.saturating_sub(first));
        if time < first || way.abs_diff(self.last) > JUMP {
            self.zero = Some((at, time));
            self.waiting = Waiting::default();
            self.last = JUMP;
        } else {
            self.last = way;
        }
        self.longest = self.longest.max(self.waiting.of(self.last, at));
    }
}

impl Bandwidth {
    /// A frame came.
    pub(crate) fn arrived(&mut self, data: &MediaData) {
        self.returning.arrived(data);
    }

    /// str0m has measured. Returns whether the estimate may have changed.
    pub(crate) fn measured(&mut self, stats: &PeerStats) -> bool {
        self.sent = stats.bytes_tx;
        self.is_told = stats.rtt.is_some();
        if self.is_told {
            // Nothing is known of the last second's packets while they all wait in a long queue.
            let loss = stats.egress_loss_fraction.unwrap_or_default();
            self.tell(stats.timestamp.into(), loss, stats.rtt);
        }
        self.is_told
    }

    /// The remote peer's receiver reports about pictures. Returns whether the estimate may have changed.
    pub(crate) fn reported(&mut self, stats: &MediaEgressStats) -> bool {
        let Some(loss) = stats.loss.filter(|_| !self.is_told) else {
            return false;
        };
        self.tell(stats.timestamp.into(), loss, stats.rtt);
        true
    }

    /// The remote peer wants no more than this (REMB).
    pub(crate) fn limited(&mut self, bits: u64, now: Instant) {
        self.estimator.set_limit(Bitrate::from_bps(bits), now);
    }

    fn tell(&mut self, at: Instant, loss: f32, delay: Option<Duration>) {
        self.estimator.update(Feedback {
            at,
            sent: self.sent,
            loss: loss.into(),
            delay,
            returning: std::mem::take(&mut self.returning.longest),
        });
    }
}
