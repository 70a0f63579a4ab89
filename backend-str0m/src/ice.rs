//! What is reported as the state of ICE.
//!
//! str0m calls a pair dead when a row of checks went unanswered, about 20 s by default. Here the pair's last sign
//! of life decides, so that `disconnected` comes when it was asked for, and str0m goes on checking meanwhile.

use std::time::Duration;
use str0m::{Candidate, RtcConfig};
use tokio::time::Instant;
use visavis_core::IceState;

/// The first retransmission of a check. Not below the 50 ms that str0m paces checks with; a round trip of 300 ms
/// costs three checks more than it needs to.
const INITIAL_STUN_RTO: Duration = Duration::from_millis(50);

/// How long the answerer waits for the offerer's first check before it sends its own.
///
/// Until the answer has travelled, the offerer drops every check, and the retransmission would be what the call
/// waits for: 250 ms with webrtc-rs offering. A check from the offerer proves that it has the answer, and answers
/// it at once. The limit is for an offerer whose checks cannot come through before one of ours went out.
const FIRST_CHECK: Duration = Duration::from_millis(100);

/// str0m forgets a pair that gave no sign of life for about this long. After that only the peer or an ICE restart
/// can bring it back.
const FORGET_AFTER: Duration = Duration::from_secs(90);

/// `is` 0.12 computes the timeout by shifting a 128-bit number by the number of retransmissions.
const MAX_RETRANSMITS: usize = 100;

/// NATs are to keep an idle binding for longer than this (RFC 8445 §11).
const MAX_REST: Duration = Duration::from_secs(15);

/// Sets str0m's timers so that a silence of `disconnected_after` is sure to be one.
pub(crate) fn configure(config: &mut RtcConfig, disconnected_after: Duration) {
    // A check at the end of a rest that is lost is repeated in time, and then soon again.
    let interval = (disconnected_after / 5 * 2).clamp(INITIAL_STUN_RTO, Duration::from_secs(3));
    config.set_initial_stun_rto(INITIAL_STUN_RTO);
    config.set_max_stun_rto(interval);
    // The first few come faster.
    let retransmits = FORGET_AFTER.as_millis() / interval.as_millis().max(1) + 6;
    let retransmits = usize::try_from(retransmits).unwrap_or(usize::MAX);
    config.set_max_stun_retransmits(retransmits.min(MAX_RETRANSMITS));
}

/// How long a pair that carries nothing else is left alone after a sign of life. The remote peer checks it as well, and
/// that is one.
pub(crate) fn rest(disconnected_after: Duration) -> Duration {
    (disconnected_after / 2).clamp(INITIAL_STUN_RTO, MAX_REST)
}

/// Follows the state.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// str0m's own state.
    native: IceState,
    heard: Instant,
    limit: Duration,
    reported: IceState,
}

impl Liveness {
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            native: IceState::New,
            heard: now,
            limit,
            reported: IceState::New,
        }
    }

    /// str0m changed its mind.
    pub(crate) fn set_native(&mut self, state: IceState, now: Instant) {
        if is_connected(state) && !is_connected(self.native) {
            self.heard = now;
        }
        self.native = state;
    }

    /// A datagram of the peer came.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When a datagram of the peer came last.
    pub(crate) fn heard(&self) -> Instant {
        self.heard
    }

    /// The state, if it is not the one that was reported last.
    pub(crate) fn report(&mut self, negotiated: bool, now: Instant) -> Option<IceState> {
        let state = if !negotiated {
            IceState::New
        } else if is_connected(self.native) && now >= self.heard + self.limit {
            IceState::Disconnected
        } else {
            self.native
        };
        (std::mem::replace(&mut self.reported, state) != state).then_some(state)
    }

    /// When silence will have lasted too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.is_connected().then(|| self.heard + self.limit)
    }

    /// Whether ICE was last said to be connected.
    pub(crate) fn is_connected(&self) -> bool {
        is_connected(self.reported)
    }
}

fn is_connected(state: IceState) -> bool {
    matches!(state, IceState::Connected | IceState::Completed)
}

/// Remote candidates that wait for the offerer's first check.
#[derive(Debug, Default)]
pub(crate) struct FirstCheck {
    until: Option<Instant>,
    candidates: Vec<Candidate>,
}

impl FirstCheck {
    /// An offer with new credentials was answered.
    pub(crate) fn wait(&mut self, now: Instant) {
        self.until = Some(now + FIRST_CHECK);
    }

    /// Keeps a candidate back, or returns it if there is nothing to wait for.
    pub(crate) fn offer(&mut self, candidate: Candidate) -> Option<Candidate> {
        if self.until.is_none() {
            return Some(candidate);
        }
        self.candidates.push(candidate);
        None
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// The wait is over.
    pub(crate) fn release(&mut self) -> Vec<Candidate> {
        self.until = None;
        std::mem::take(&mut self.candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_disconnects_and_a_sign_of_life_connects() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ice = Liveness::new(Duration::from_secs(5), start);
        ice.set_native(IceState::Checking, start);
        assert_eq!(ice.report(false, start), None);
        assert_eq!(ice.report(true, start), Some(IceState::Checking));
        assert_eq!(ice.deadline(), None);
        ice.set_native(IceState::Connected, at(10_000));
        assert_eq!(ice.report(true, at(10_000)), Some(IceState::Connected));
        assert_eq!(ice.deadline(), Some(at(15_000)));
        ice.hear(at(12_000));
        assert_eq!(ice.report(true, at(16_999)), None);
        assert_eq!(ice.report(true, at(17_000)), Some(IceState::Disconnected));
        assert_eq!(ice.deadline(), None);
        ice.hear(at(20_000));
        assert_eq!(ice.report(true, at(20_000)), Some(IceState::Connected));
    }
}
