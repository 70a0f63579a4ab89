//! Transceivers: an m-line's handle.

use super::{
    call,
    jsep::TransceiverId,
    owner::{Op, Reply},
};
use crate::{Codec, Direction, Error, MediaKind, Result, TrackReceiver, TrackSender, track::Shared};
use std::sync::Arc;
use tokio::sync::mpsc;

/// An audio or video m-line, what the application wants of it, and its tracks (W3C `RTCRtpTransceiver`).
#[derive(Debug, Clone)]
pub struct Transceiver {
    id: TransceiverId,
    track: Arc<Shared>,
    ops: mpsc::WeakSender<Op>,
}

/// What is known of a transceiver at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransceiverState {
    /// The m-line's identification, once it has one.
    pub mid: Option<String>,
    /// What the application wants.
    pub direction: Direction,
    /// What was negotiated.
    pub current_direction: Option<Direction>,
    /// What the application sends and takes, best first.
    pub codecs: Vec<Codec>,
    /// Whether it was stopped.
    pub stopped: bool,
}

impl Transceiver {
    pub(super) fn new(id: TransceiverId, track: Arc<Shared>, ops: mpsc::WeakSender<Op>) -> Self {
        Self { id, track, ops }
    }

    /// Whether it is of the peer connection that takes its calls here.
    pub(super) fn is_of(&self, ops: &mpsc::Sender<Op>) -> bool {
        self.ops.upgrade().is_some_and(|ours| ours.same_channel(ops))
    }

    /// Audio or video.
    pub fn kind(&self) -> MediaKind {
        self.sender().kind()
    }

    /// What sends on it.
    pub fn sender(&self) -> TrackSender {
        TrackSender(Arc::clone(&self.track))
    }

    /// What receives on it.
    pub fn receiver(&self) -> TrackReceiver {
        TrackReceiver(Arc::clone(&self.track))
    }

    /// The transceiver's state.
    pub async fn state(&self) -> Result<TransceiverState> {
        self.call("transceiver_state", |reply| Op::TransceiverState(self.id, reply))
            .await
    }

    /// Changes what the application wants; takes effect by negotiation.
    pub async fn set_direction(&self, direction: Direction) -> Result<()> {
        self.call("set_direction", |reply| {
            Op::SetDirection(self.id, Some(direction), reply)
        })
        .await
    }

    /// Sets which codecs are offered and taken, best first (W3C `setCodecPreferences`); takes effect with the next
    /// negotiation. Default: all that visavis knows, H.264 before VP8 before VP9.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for none, or for one of the other kind.
    pub async fn set_codec_preferences(&self, codecs: &[Codec]) -> Result<()> {
        self.call("set_codec_preferences", |reply| {
            Op::SetCodecs(self.id, codecs.to_vec(), reply)
        })
        .await
    }

    /// Stops it for good. Its m-line stays, inactive, for the next transceiver of its kind.
    pub async fn stop(&self) -> Result<()> {
        self.call("stop", |reply| Op::SetDirection(self.id, None, reply))
            .await
    }

    async fn call<T>(&self, operation: &'static str, op: impl FnOnce(Reply<T>) -> Op) -> Result<T> {
        let ops = self.ops.upgrade().ok_or_else(|| Error::closed(operation))?;
        call(&ops, operation, op).await
    }
}
