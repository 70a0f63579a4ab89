//! How long str0m waits for packets that are missing.
//!
//! For sound str0m has a limit of time. For video it has not: it gives a packet up after its fifth NACK and three
//! round trips more, which is 0.2 s on a short path and 0.9 s at a round trip of 120 ms, or once so many later frames
//! are complete, unless the missing packet is in the middle of a frame. Here a limit is made of what there is: a
//! stream whose NACKs are off waits three round trips, so they are switched off for a moment.

use crate::driven::Driven;
use std::time::Duration;
use str0m::{RtcConfig, media::Mid};
use tokio::time::Instant;
#[cfg(test)]
use visavis_core::track::MAX_REORDER_TIME;

/// str0m does not ask for sound again, so waiting is only for packets that overtook each other.
const AUDIO_WAIT: Duration = Duration::from_millis(60);

/// Beyond these numbers of complete frames str0m does not wait. The time is to decide, so they are far beyond what
/// comes in [`patience`](visavis_core::track::patience); at a thousand frames a second one bounds what is held back.
const VIDEO_FRAMES: usize = 128;
const AUDIO_FRAMES: usize = 64;

/// The time between two attempts to go on, and since when to leave it to the next packet: a stream may have ended in
/// the middle of a frame.
const RETRY: Duration = Duration::from_millis(10);
const TRIES: Duration = Duration::from_secs(2);

pub(crate) fn configure(config: RtcConfig) -> RtcConfig {
    config
        .set_reordering_size_audio(AUDIO_FRAMES)
        .set_reordering_timeout_audio(Some(AUDIO_WAIT))
        .set_reordering_size_video(VIDEO_FRAMES)
}

/// Since when packets have come and no frame of them.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    since: Option<Instant>,
    /// When to go on. `None` when it was tried often, until a packet shows that the stream lives.
    next: Option<Instant>,
}

impl Waiting {
    /// A packet came; a missing one is waited for as long as `patience`.
    pub(crate) fn arrived(&mut self, now: Instant, patience: Duration) {
        let since = *self.since.get_or_insert(now);
        self.next.get_or_insert_with(|| (since + patience).max(now));
    }

    /// A frame is complete, and those before it are.
    pub(crate) fn delivered(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Whether it is too long. It is asked again a little later.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        let is_over = self.next.take_if(|next| *next <= now).is_some();
        if is_over && self.since.is_some_and(|since| now < since + TRIES) {
            self.next = Some(now + RETRY);
        }
        is_over
    }
}

/// Makes str0m go on with the next complete frame, if one has waited for three round trips (300 ms while they are
/// unknown).
pub(crate) fn give_up(driven: &mut Driven, mid: Mid, now: Instant) {
    driven.timeout(now.into_std());
    for suppress in [true, false] {
        driven.with(|rtc| {
            if let Some(stream) = rtc.direct_api().stream_rx_by_mid(mid, None) {
                stream.suppress_nack(suppress);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_packets_without_a_frame_are_waited_for() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        assert_eq!(waiting.deadline(), None);
        waiting.arrived(start, MAX_REORDER_TIME);
        waiting.arrived(start + MAX_REORDER_TIME / 2, MAX_REORDER_TIME);
        assert_eq!(waiting.deadline(), Some(start + MAX_REORDER_TIME));
        assert!(!waiting.is_over(start + MAX_REORDER_TIME / 2));
        let over = start + MAX_REORDER_TIME;
        assert!(waiting.is_over(over) && !waiting.is_over(over));
        assert_eq!(waiting.deadline(), Some(over + RETRY));
        assert!(waiting.is_over(start + TRIES));
        assert_eq!(waiting.deadline(), None, "the stream may have ended");
        waiting.arrived(start + 2 * TRIES, MAX_REORDER_TIME);
        assert!(waiting.is_over(start + 2 * TRIES));
        waiting.delivered();
        assert_eq!(waiting.deadline(), None);
    }
}
