//! The media data plane: what the application holds ([`TrackSender`], [`TrackReceiver`]) and what a stack holds
//! ([`TrackPort`]).
//!
//! All ends are concrete and share two bounded queues of frames, so a frame costs no boxed future and no copy. Media
//! is never waited for: a full queue drops, and counts what it drops.

mod port;

pub use port::TrackPort;

use crate::{Bitrate, Codec, MediaKind, MediaTime, Payload, channel::Hub, lock};
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// How many frames wait for the stack, or for the application, at most.
pub const MAX_QUEUED_FRAMES: usize = 64;

/// How many bytes they have at most.
pub const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// The largest frame that is put together from its packets, in bytes; more is given up and counted as dropped.
pub const MAX_FRAME_SIZE: usize = 4 * 1024 * 1024;

/// How long a stack waits for a packet that is missing before it goes on without its frame: time for its NACK to
/// bring it through a router's full queue of a quarter of a second, or for several NACKs where there is none. On a long
/// path it is more ([`patience`]).
pub const MAX_REORDER_TIME: Duration = Duration::from_millis(500);

/// Sound is waited for no longer than this: late sound is worse than a short gap.
pub const MAX_SOUND_WAIT: Duration = Duration::from_millis(300);

/// However long the path is, nothing is waited for longer than this.
pub const MAX_PATIENCE: Duration = Duration::from_secs(1);

/// How long a missing packet of pictures is waited for at this round trip: one and a half, in which a NACK brings it;
/// at least [`MAX_REORDER_TIME`], at most [`MAX_PATIENCE`].
pub fn patience(rtt: Option<Duration>) -> Duration {
    let needed = rtt.map_or(Duration::ZERO, |rtt| rtt + rtt / 2);
    needed.clamp(MAX_REORDER_TIME, MAX_PATIENCE)
}

/// A receiver asks for a keyframe at most this often.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(200);

/// A frame to send.
#[derive(Debug, Clone)]
pub struct OutgoingFrame {
    /// Which codec's it is; one other than [`TrackSender::codec`] is dropped and counted.
    pub codec: Codec,
    /// The bitstream: Annex B for H.264, a frame for VP8 and VP9, a packet for Opus.
    pub payload: Payload,
    /// Whether it can be decoded without an earlier one.
    pub keyframe: bool,
    /// Its RTP timestamp.
    pub media_time: MediaTime,
    /// When it was captured. Sender reports relate it to `media_time`, by which receivers keep sound and picture in
    /// step (RFC 3550 §6.4.1).
    pub captured: Instant,
}

/// A frame that arrived, complete.
#[derive(Debug, Clone)]
pub struct IncomingFrame {
    /// Which codec's it is.
    pub codec: Codec,
    /// The bitstream, as [`OutgoingFrame::payload`].
    pub payload: Payload,
    /// Whether it can be decoded without an earlier one.
    pub keyframe: bool,
    /// Nothing is missing between the frame before and this one. If not, a video decoder needs a keyframe.
    pub contiguous: bool,
    /// Its RTP timestamp, unwrapped.
    pub media_time: MediaTime,
    /// When its first packet arrived.
    pub first_packet: Instant,
    /// When it was captured on the sender's wall clock (NTP: since 1900), once a sender report has related the two.
    pub sender_time: Option<Duration>,
}

/// What a track counts for the direction we send (a part of W3C `RTCOutboundRtpStreamStats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct OutboundStats {
    /// Frames handed to the stack.
    pub frames_sent: u64,
    /// Frames that were not: the queue was full, nothing was negotiated, or a keyframe had to come first.
    pub frames_dropped: u64,
    /// Their payload, without headers.
    pub bytes_sent: u64,
    /// Requests for a keyframe from the remote peer (PLI and FIR).
    pub keyframe_requests: u64,
}

/// What a track counts for the direction we receive (a part of W3C `RTCInboundRtpStreamStats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct InboundStats {
    /// Complete frames that arrived in order.
    pub frames_received: u64,
    /// Of these, keyframes.
    pub keyframes_received: u64,
    /// Of these, frames that the application was too slow for.
    pub frames_dropped: u64,
    /// Gaps: how often packets were given up, so that one frame or more is missing.
    pub gaps: u64,
    /// The payload, without headers.
    pub bytes_received: u64,
    /// Requests for a keyframe that we sent.
    pub keyframe_requests: u64,
}

/// Whether a track sends, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Not negotiated, not connected, or the direction says no.
    Idle,
    Codec(Codec),
    /// The peer connection is closed, or the transceiver stopped.
    Ended,
}

/// What the ends of a track share.
pub(crate) struct Shared {
    kind: MediaKind,
    hub: Arc<Hub>,
    sending: watch::Sender<Sending>,
    outgoing: Mutex<Outgoing>,
    incoming: Mutex<Incoming>,
    /// To the stack: there is something to send, or to ask for.
    port: Notify,
    /// To the application: a frame arrived, or none ever will.
    readable: Notify,
}

#[derive(Default)]
struct Outgoing {
    frames: VecDeque<OutgoingFrame>,
    bytes: usize,
    /// The remote peer asked for a keyframe.
    keyframe_requested: bool,
    /// A video frame was dropped: those after it are of no use until a keyframe comes.
    awaits_keyframe: bool,
    /// What the network has room for.
    available: Option<Bitrate>,
    stats: OutboundStats,
}

#[derive(Default)]
struct Incoming {
    frames: VecDeque<IncomingFrame>,
    bytes: usize,
    /// Frames were dropped here since the last one that was kept.
    gap: bool,
    request_keyframe: bool,
    requested_at: Option<Instant>,
    ended: bool,
    stats: InboundStats,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track")
            .field("kind", &self.kind)
            .field("sending", &*self.sending.borrow())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(kind: MediaKind, hub: Arc<Hub>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            hub,
            sending: watch::Sender::new(Sending::Idle),
            outgoing: Mutex::default(),
            incoming: Mutex::default(),
            port: Notify::new(),
            readable: Notify::new(),
        })
    }

    fn wake_stack(&self) {
        self.port.notify_one();
        self.hub.wake.notify_one();
    }

    /// What was negotiated, and whether the transport is up.
    pub(crate) fn set_sending(&self, to: Sending) {
        // Held while the new state is told: what is queued because of it must not be cleared as what was before.
        let mut outgoing = lock(&self.outgoing);
        let changed = self.sending.send_if_modified(|sending| {
            let changed = *sending != to && *sending != Sending::Ended;
            if changed {
                *sending = to;
            }
            changed
        });
        if !changed {
            return;
        }
        // What waits is of another codec, or for nobody.
        outgoing.stats.frames_dropped += outgoing.frames.len() as u64;
        outgoing.frames.clear();
        outgoing.bytes = 0;
        outgoing.awaits_keyframe = self.kind == MediaKind::Video;
        outgoing.keyframe_requested = matches!(to, Sending::Codec(_));
    }

    /// No frame will come or go any more; what arrived can still be read.
    pub(crate) fn end(&self) {
        self.set_sending(Sending::Ended);
        lock(&self.incoming).ended = true;
        self.readable.notify_waiters();
    }

    pub(crate) fn outbound(&self) -> OutboundStats {
        lock(&self.outgoing).stats
    }

    pub(crate) fn inbound(&self) -> InboundStats {
        lock(&self.incoming).stats
    }
}

/// Sends the encoded frames of a transceiver (W3C `RTCRtpSender`). Clones are the same sender.
///
/// Whoever calls [`try_send`](Self::try_send) is the track: to replace it, let another one go on, with a keyframe
/// first. SSRC and timestamps stay.
#[derive(Debug, Clone)]
pub struct TrackSender(pub(crate) Arc<Shared>);

impl TrackSender {
    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.0.kind
    }

    /// What to send now. `None` while there is nobody to send to: not negotiated, not connected, or the direction
    /// says no.
    pub fn codec(&self) -> Option<Codec> {
        match *self.0.sending.borrow() {
            Sending::Codec(codec) => Some(codec),
            Sending::Idle | Sending::Ended => None,
        }
    }

    /// Waits until there is a codec to send; `None` when there never will be one.
    pub async fn ready(&self) -> Option<Codec> {
        let mut sending = self.0.sending.subscribe();
        match sending.wait_for(|s| *s != Sending::Idle).await.as_deref() {
            Ok(Sending::Codec(codec)) => Some(*codec),
            _ => None,
        }
    }

    /// Waits until [`codec`](Self::codec) is no longer `codec`.
    pub async fn changed(&self, codec: Option<Codec>) {
        let mut sending = self.0.sending.subscribe();
        let of = |s: Sending| match s {
            Sending::Codec(codec) => Some(codec),
            _ => None,
        };
        let _ = sending
            .wait_for(|s| of(*s) != codec || *s == Sending::Ended)
            .await;
    }

    /// Whether no frame will ever be sent any more.
    pub fn is_ended(&self) -> bool {
        *self.0.sending.borrow() == Sending::Ended
    }

    /// Queues a frame. `false` says that it was dropped, and counted: nobody to send to, another codec, a full
    /// queue, or a video frame that follows a dropped one and is no keyframe.
    pub fn try_send(&self, frame: OutgoingFrame) -> bool {
        let mut outgoing = lock(&self.0.outgoing);
        let codec = self.codec();
        let len = frame.payload.as_ref().len();
        let room = outgoing.frames.len() < MAX_QUEUED_FRAMES && outgoing.bytes + len <= MAX_QUEUED_BYTES;
        let useful = frame.keyframe || !outgoing.awaits_keyframe;
        if codec != Some(frame.codec) || !room || !useful {
            outgoing.stats.frames_dropped += 1;
            outgoing.awaits_keyframe = self.0.kind == MediaKind::Video;
            outgoing.keyframe_requested |= codec.is_some();
            return false;
        }
        outgoing.awaits_keyframe = false;
        outgoing.bytes += len;
        outgoing.frames.push_back(frame);
        let first = outgoing.frames.len() == 1;
        drop(outgoing);
        if first {
            self.0.wake_stack();
        }
        true
    }

    /// Whether the next frame should be a keyframe: the remote peer asked for one (PLI or FIR, RFC 4585 §6.3.1,
    /// RFC 5104 §4.3.1), or a frame was dropped here. Asking takes the request.
    pub fn take_keyframe_request(&self) -> bool {
        std::mem::take(&mut lock(&self.0.outgoing).keyframe_requested)
    }

    /// What the network carries of this track, headers included: its part of the connection's estimate (W3C
    /// `availableOutgoingBitrate`), which follows from the remote peer's feedback. `None` while that never told of a
    /// limit. An encoder stays somewhat below; frames that are too large are sent all the same.
    pub fn available_bitrate(&self) -> Option<Bitrate> {
        lock(&self.0.outgoing).available
    }

    /// What was counted.
    pub fn stats(&self) -> OutboundStats {
        self.0.outbound()
    }
}

/// Receives the encoded frames of a transceiver (W3C `RTCRtpReceiver`). Clones are the same receiver; each frame
/// goes to one of them.
#[derive(Debug, Clone)]
pub struct TrackReceiver(pub(crate) Arc<Shared>);

impl TrackReceiver {
    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.0.kind
    }

    /// The next complete frame, in the order in which they were sent; `None` when there never will be one.
    ///
    /// Frames wait for a slow reader, at most [`MAX_QUEUED_FRAMES`]; then all that wait are dropped and counted, and
    /// the next one is not [`contiguous`](IncomingFrame::contiguous). Cancel safe.
    pub async fn recv(&self) -> Option<IncomingFrame> {
        loop {
            let arrival = self.0.readable.notified();
            tokio::pin!(arrival);
            arrival.as_mut().enable();
            if let Some(frame) = self.try_recv() {
                return Some(frame);
            }
            if lock(&self.0.incoming).ended {
                // A frame may have come between the two looks.
                return self.try_recv();
            }
            arrival.await;
        }
    }

    /// The next frame, if one has arrived.
    pub fn try_recv(&self) -> Option<IncomingFrame> {
        let mut incoming = lock(&self.0.incoming);
        let frame = incoming.frames.pop_front()?;
        incoming.bytes -= frame.payload.as_ref().len();
        Some(frame)
    }

    /// Asks the remote peer for a keyframe (PLI), at most once each [`KEYFRAME_REQUEST_INTERVAL`].
    pub fn request_keyframe(&self) {
        let now = Instant::now();
        let mut incoming = lock(&self.0.incoming);
        if incoming
            .requested_at
            .is_some_and(|at| now < at + KEYFRAME_REQUEST_INTERVAL)
        {
            return;
        }
        incoming.requested_at = Some(now);
        incoming.request_keyframe = true;
        drop(incoming);
        self.0.wake_stack();
    }

    /// What was counted.
    pub fn stats(&self) -> InboundStats {
        self.0.inbound()
    }
}

#[cfg(test)]
mod tests;
