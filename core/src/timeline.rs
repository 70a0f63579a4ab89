//! When each step of a call happened, on the one clock.

use serde::Serialize;
use std::sync::{Arc, Mutex};
use tokio::{sync::mpsc, time::Instant};

/// A step of one peer's side of a call, in the order in which they usually happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mark {
    /// The peer connection exists and its sockets are bound.
    PeerCreated,
    /// The sources of media are open.
    MediaReady,
    /// `create_offer` returned.
    OfferCreated,
    /// The local description was set; gathering starts.
    LocalDescriptionSet,
    /// The remote description was accepted.
    RemoteDescriptionSet,
    /// `create_answer` returned.
    AnswerCreated,
    /// The first local candidate.
    FirstCandidate,
    /// The last local candidate.
    GatheringComplete,
    /// ICE found a pair that works both ways.
    IceConnected,
    /// The DTLS handshake finished and the fingerprint matched.
    DtlsConnected,
    /// The SCTP association is up.
    SctpUp,
    /// The first data channel is open.
    ChannelOpen,
    /// The first media packet arrived.
    FirstPacket,
    /// The first video frame was decoded.
    FirstFrameDecoded,
}

impl Mark {
    /// Every mark, in order.
    pub const ALL: [Self; 14] = [
        Self::PeerCreated,
        Self::MediaReady,
        Self::OfferCreated,
        Self::LocalDescriptionSet,
        Self::RemoteDescriptionSet,
        Self::AnswerCreated,
        Self::FirstCandidate,
        Self::GatheringComplete,
        Self::IceConnected,
        Self::DtlsConnected,
        Self::SctpUp,
        Self::ChannelOpen,
        Self::FirstPacket,
        Self::FirstFrameDecoded,
    ];

    /// The mark's name in snake case, as in the JSON output.
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerCreated => "peer_created",
            Self::MediaReady => "media_ready",
            Self::OfferCreated => "offer_created",
            Self::LocalDescriptionSet => "local_description_set",
            Self::RemoteDescriptionSet => "remote_description_set",
            Self::AnswerCreated => "answer_created",
            Self::FirstCandidate => "first_candidate",
            Self::GatheringComplete => "gathering_complete",
            Self::IceConnected => "ice_connected",
            Self::DtlsConnected => "dtls_connected",
            Self::SctpUp => "sctp_up",
            Self::ChannelOpen => "channel_open",
            Self::FirstPacket => "first_packet",
            Self::FirstFrameDecoded => "first_frame_decoded",
        }
    }
}

/// The marks of one peer. Cheap to clone; all clones are the same timeline.
///
/// A mark keeps the *first* time it was set, so an ICE restart does not move [`Mark::IceConnected`].
#[derive(Debug, Clone)]
pub struct Timeline(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    marks: Mutex<[Option<Instant>; Mark::ALL.len()]>,
    observer: Option<mpsc::UnboundedSender<(Mark, Instant)>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::with_observer(None)
    }
}

impl Timeline {
    /// A timeline that also sends each mark, once, to `observer`: at most one message a [`Mark`].
    pub fn with_observer(observer: Option<mpsc::UnboundedSender<(Mark, Instant)>>) -> Self {
        Self(Arc::new(Inner {
            marks: Mutex::default(),
            observer,
        }))
    }

    /// Sets `mark` to now, unless it is set already.
    pub fn mark(&self, mark: Mark) {
        self.mark_at(mark, Instant::now());
    }

    /// Sets `mark` to `now`, a moment ago perhaps, unless it is set already.
    pub fn mark_at(&self, mark: Mark, now: Instant) {
        {
            let mut marks = crate::lock(&self.0.marks);
            let slot = &mut marks[mark as usize];
            if slot.is_some() {
                return;
            }
            *slot = Some(now);
        }
        if let Some(observer) = &self.0.observer {
            let _ = observer.send((mark, now));
        }
        tracing::debug!(mark = mark.name(), "step");
    }

    /// When `mark` was set.
    pub fn get(&self, mark: Mark) -> Option<Instant> {
        crate::lock(&self.0.marks)[mark as usize]
    }

    /// The marks that are set, by time.
    pub fn entries(&self) -> Vec<(Mark, Instant)> {
        let marks = *crate::lock(&self.0.marks);
        let mut entries: Vec<_> = Mark::ALL
            .into_iter()
            .filter_map(|m| Some((m, marks[m as usize]?)))
            .collect();
        entries.sort_by_key(|&(_, at)| at);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_mark_keeps_its_first_time() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let timeline = Timeline::with_observer(Some(tx));
        timeline.mark(Mark::IceConnected);
        let first = timeline.get(Mark::IceConnected).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        timeline.mark(Mark::IceConnected);
        assert_eq!(timeline.get(Mark::IceConnected), Some(first));
        assert_eq!(rx.try_recv().unwrap(), (Mark::IceConnected, first));
        assert!(rx.try_recv().is_err());
    }

    #[test]
    fn all_is_in_the_order_of_the_discriminants() {
        for (i, mark) in Mark::ALL.into_iter().enumerate() {
            assert_eq!(mark as usize, i);
        }
    }
}
