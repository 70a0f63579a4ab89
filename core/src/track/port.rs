//! The stack's end of a track.

use super::{IncomingFrame, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, OutgoingFrame, Shared};
use crate::{Bitrate, Mark, MediaKind, lock};
use std::sync::Arc;

/// A stack's end of a transceiver's sender and receiver. Clones are the same end, and equal.
///
/// An engine gets it with the [`MLine`](crate::MLine) and keeps it by mid. A later description may come with another
/// port for the same mid (its transceiver was stopped, and a new one took over the m-line): the last one counts.
#[derive(Debug, Clone)]
pub struct TrackPort(pub(crate) Arc<Shared>);

impl PartialEq for TrackPort {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TrackPort {}

impl TrackPort {
    /// A track's ends and the stack's, ready to send `codec`, for tests of a backend without a peer connection.
    #[doc(hidden)]
    pub fn detached(
        events: &crate::EventSink,
        kind: MediaKind,
        codec: Option<crate::Codec>,
    ) -> (super::TrackSender, super::TrackReceiver, Self) {
        let shared = Shared::new(kind, Arc::clone(&events.hub));
        if let Some(codec) = codec {
            shared.set_sending(super::Sending::Codec(codec));
        }
        (
            super::TrackSender(Arc::clone(&shared)),
            super::TrackReceiver(Arc::clone(&shared)),
            Self(shared),
        )
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.0.kind
    }

    /// Whether there is somebody to send to.
    pub fn is_sending(&self) -> bool {
        matches!(*self.0.sending.borrow(), super::Sending::Codec(_))
    }

    /// The network carries this much of the track; see
    /// [`TrackSender::available_bitrate`](super::TrackSender::available_bitrate).
    pub fn set_available_bitrate(&self, available: Option<Bitrate>) {
        lock(&self.0.outgoing).available = available;
    }

    /// Takes the next frame to send. It counts as sent: an engine that cannot send it says so with
    /// [`not_sent`](Self::not_sent).
    pub fn pop_outgoing(&self) -> Option<OutgoingFrame> {
        let mut outgoing = lock(&self.0.outgoing);
        let frame = outgoing.frames.pop_front()?;
        let len = frame.payload.as_ref().len();
        outgoing.bytes -= len;
        outgoing.stats.frames_sent += 1;
        outgoing.stats.bytes_sent += len as u64;
        Some(frame)
    }

    /// The stack did not take a frame of `len` bytes: it counts as dropped, and a video encoder is asked for a
    /// keyframe.
    pub fn not_sent(&self, len: usize) {
        let mut outgoing = lock(&self.0.outgoing);
        outgoing.stats.frames_sent = outgoing.stats.frames_sent.saturating_sub(1);
        outgoing.stats.bytes_sent = outgoing.stats.bytes_sent.saturating_sub(len as u64);
        outgoing.stats.frames_dropped += 1;
        outgoing.awaits_keyframe = self.0.kind == MediaKind::Video;
        outgoing.keyframe_requested = true;
    }

    /// The remote peer asks for a keyframe.
    pub fn request_keyframe(&self) {
        let mut outgoing = lock(&self.0.outgoing);
        outgoing.stats.keyframe_requests += 1;
        outgoing.keyframe_requested = true;
    }

    /// Whether the application asks the remote peer for a keyframe. Asking takes the request.
    pub fn take_keyframe_request(&self) -> bool {
        let mut incoming = lock(&self.0.incoming);
        let request = std::mem::take(&mut incoming.request_keyframe);
        incoming.stats.keyframe_requests += u64::from(request);
        request
    }

    /// A complete frame arrived.
    pub fn deliver(&self, mut frame: IncomingFrame) {
        self.0.hub.timeline.mark_at(Mark::FirstPacket, frame.first_packet);
        let mut incoming = lock(&self.0.incoming);
        let len = frame.payload.as_ref().len();
        incoming.stats.frames_received += 1;
        incoming.stats.keyframes_received += u64::from(frame.keyframe);
        incoming.stats.gaps += u64::from(!frame.contiguous);
        incoming.stats.bytes_received += len as u64;
        if incoming.ended {
            incoming.stats.frames_dropped += 1;
            return;
        }
        if incoming.frames.len() >= MAX_QUEUED_FRAMES || incoming.bytes + len > MAX_QUEUED_BYTES {
            incoming.stats.frames_dropped += incoming.frames.len() as u64;
            incoming.frames.clear();
            incoming.bytes = 0;
            incoming.gap = true;
        }
        frame.contiguous &= !std::mem::take(&mut incoming.gap);
        incoming.bytes += len;
        incoming.frames.push_back(frame);
        drop(incoming);
        self.0.readable.notify_waiters();
    }

    /// Waits until there may be something to send, or to ask for. For a stack with a task a track; one with a task a
    /// peer awaits [`EventSink::woken`](crate::EventSink::woken).
    pub async fn woken(&self) {
        self.0.port.notified().await;
    }
}
