//! One track's echo: each frame that arrives is sent back.

use super::caller::Counts;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use visavis_core::{IncomingFrame, MediaKind, OutgoingFrame, TrackReceiver, TrackSender};

/// A request for a keyframe that comes while no frames do is seen within this time.
const LOOK: Duration = Duration::from_millis(100);

/// The first frame may be here before core has heard that DTLS is up. It waits for that, but not for ever: some tracks are
/// only received.
const START: Duration = Duration::from_secs(1);

/// Sends back what arrives until the track ends. Requests for keyframes go the other way.
pub(super) async fn echo(receiver: TrackReceiver, sender: TrackSender, counts: &Counts) {
    let video = receiver.kind() == MediaKind::Video;
    let mut gate = Gate::default();
    let mut started = false;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            frame = receiver.recv() => match frame {
                Some(frame) => Some(frame),
                None => return,
            },
            _ = look.tick(), if video => None,
        };
        if let Some(frame) = frame {
            if !std::mem::replace(&mut started, true) {
                let _ = timeout(START, sender.ready()).await;
            }
            let sent = (!video || gate.lets_through(&frame)) && send(&sender, &frame);
            if sent {
                gate.sent(&frame);
            }
            let count = if sent {
                &counts.frames_echoed
            } else {
                &counts.frames_dropped
            };
            add(count);
        }
        if video && gate.wants_keyframe(sender.take_keyframe_request()) {
            // Goes out at most once each 200 ms.
            receiver.request_keyframe();
        }
    }
}

fn send(sender: &TrackSender, frame: &IncomingFrame) -> bool {
    sender.try_send(OutgoingFrame {
        codec: frame.codec,
        payload: frame.payload.clone(),
        keyframe: frame.keyframe,
        media_time: frame.media_time,
        captured: frame.first_packet,
    })
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Which video frames are of use, and whether a keyframe is missing.
#[derive(Debug, Default)]
struct Gate {
    /// A frame was lost on the way here: those after it cannot be decoded, and on the way back, where the packets are
    /// counted anew, nobody would see that one is missing.
    broken: bool,
    /// Asked for and not sent yet. It is asked for again until it comes, for requests are lost, too.
    wanted: bool,
}

impl Gate {
    fn lets_through(&mut self, frame: &IncomingFrame) -> bool {
        self.broken = !frame.keyframe && (self.broken || !frame.contiguous);
        self.wanted |= self.broken;
        !self.broken
    }

    fn sent(&mut self, frame: &IncomingFrame) {
        self.wanted &= !frame.keyframe;
    }

    fn wants_keyframe(&mut self, asked: bool) -> bool {
        self.wanted |= asked;
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;
    use visavis_core::{Codec, MediaTime};

    fn frame(keyframe: bool, contiguous: bool) -> IncomingFrame {
        IncomingFrame {
            codec: Codec::Vp8,
            payload: vec![0].into(),
            keyframe,
            contiguous,
            media_time: MediaTime {
                ticks: 0,
                rate: 90_000,
            },
            first_packet: Instant::now(),
            sender_time: None,
        }
    }

    #[test]
    fn after_a_gap_nothing_goes_back_until_a_keyframe() {
        let mut gate = Gate::default();
        let mut passes = |keyframe, contiguous| {
            let frame = frame(keyframe, contiguous);
            let through = gate.lets_through(&frame);
            if through {
                gate.sent(&frame);
            }
            (through, gate.wants_keyframe(false))
        };
        assert_eq!(passes(true, true), (true, false));
        assert_eq!(passes(false, true), (true, false));
        assert_eq!(passes(false, false), (false, true));
        assert_eq!(passes(false, true), (false, true));
        assert_eq!(passes(true, false), (true, false));
        assert_eq!(passes(false, true), (true, false));
    }

    #[test]
    fn a_request_stays_until_a_keyframe_is_sent() {
        let mut gate = Gate::default();
        assert!(gate.wants_keyframe(true));
        gate.sent(&frame(false, true));
        assert!(gate.wants_keyframe(false));
        gate.sent(&frame(true, true));
        assert!(!gate.wants_keyframe(false));
    }
}
