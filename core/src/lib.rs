//! One WebRTC peer connection over interchangeable stacks.
//!
//! This crate names no stack. It has the traits that a stack implements ([`Backend`], [`Engine`]) and, written
//! once, what a W3C user expects of every stack: [`PeerConnection`] with the JSEP state machine, data channels
//! with back-pressure both ways, the same-page [`PeerPair`], [`Signaling`] with perfect negotiation, the
//! [`Net`] that all packets go through, and the [`Timeline`] of each call.

pub mod backend;
pub mod candidate;
pub mod channel;
pub mod congestion;
mod error;
pub mod media;
pub mod negotiate;
pub mod net;
pub mod packetize;
pub mod pair;
pub mod peer;
pub mod sdp;
pub mod security;
pub mod signaling;
pub mod stats;
pub mod timeline;
pub mod track;

pub use backend::{
    Backend, Capabilities, DtlsState, Engine, EngineConfig, EngineEvent, EventSink, IceState, MLine,
};
pub use candidate::{Candidate, CandidateTransport, CandidateType, ParsedCandidate};
pub use channel::{
    ChannelInit, ChannelPort, ChannelState, ChannelStats, DataChannel, Flow, MAX_MESSAGE_SIZE, Message,
    Reliability,
};
pub use error::{Error, ErrorKind, Result};
pub use media::{AudioFrame, Bitrate, Codec, EncodedFrame, MediaTime, Payload, VideoFrame};
pub use negotiate::{IceMode, Negotiator, Role, negotiate};
pub use net::{Net, RealNet, UdpSocket, memory::MemoryNetwork};
pub use pair::{
    Call, CallFailure, CallSide, PairConfig, PairEvent, PairEvents, PairMedia, PairState, PeerPair, SamePage,
    Side,
};
pub use peer::{
    ConnectionState, GatheringState, PeerConfig, PeerConnection, PeerEvent, PeerEvents, SignalingState,
    Transceiver, TransceiverState,
};
pub use sdp::{Direction, MediaKind, Sdp, SdpType, SessionDescription};
pub use security::{KeyExchange, SrtpProfile};
pub use signaling::{Signal, Signaling};
pub use stats::{EngineStats, RtpStats, SelectedPair, StatsReport, TrackStats};
pub use timeline::{Mark, Timeline};
pub use track::{
    InboundStats, IncomingFrame, OutboundStats, OutgoingFrame, TrackPort, TrackReceiver, TrackSender,
};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex; one that a panic poisoned is used as it is, for no lock here is held over a call that panics.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
