//! Keeps a peer's sound and picture in step.

use super::lock;
use std::{sync::Mutex, time::Duration};
use tokio::time::Instant;
use visavis_core::MediaKind;

/// How much one frame moves the estimate of a stream's delay.
const GAIN: f64 = 1.0 / 16.0;

/// Nothing is held back for longer, whatever the sender's clock says.
const MAX_HOLD: Duration = Duration::from_millis(500);

/// Decides when a decoded frame is shown or played, so that what was captured together is seen and heard together.
///
/// Latency first: each stream's delay, from capture on the sender's clock to decoded here, is tracked, and only the
/// faster stream is held back, until the slower one's usual delay has passed. The sender's clock is known from its
/// sender reports (RFC 3550 §6.4.1); until the first ones, nothing is held back. One `Playout` a remote peer.
#[derive(Debug, Default)]
pub struct Playout(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// A moment on both clocks. Delays are relative to it, so the clocks need not agree.
    base: Option<(Instant, Duration)>,
    /// The usual delay of sound and of pictures, in seconds relative to the base.
    delay: [Option<f64>; 2],
}

impl Playout {
    /// When a frame captured at `sender_time` and ready `now` is due: now, or a little later.
    pub fn due(&self, kind: MediaKind, sender_time: Option<Duration>, now: Instant) -> Instant {
        let Some(sender_time) = sender_time else {
            return now;
        };
        let mut state = lock(&self.0);
        let (base, base_sender) = *state.base.get_or_insert((now, sender_time));
        let since_base = now.saturating_duration_since(base).as_secs_f64();
        let delay = since_base - (sender_time.as_secs_f64() - base_sender.as_secs_f64());
        let (own, other) = if kind == MediaKind::Audio { (0, 1) } else { (1, 0) };
        let usual = state.delay[own].unwrap_or(delay);
        state.delay[own] = Some(usual + (delay - usual) * GAIN);
        let hold = state.delay[other].map_or(0.0, |other| other - delay);
        let hold = Duration::try_from_secs_f64(hold).unwrap_or_default();
        now + hold.min(MAX_HOLD)
    }
}
