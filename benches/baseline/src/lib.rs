//! Each library driven by hand, as an engineer would who uses it directly on Tokio: no peer connection, engine or
//! backend of visavis. What visavis adds to a library is measured against this.
//!
//! Of `visavis_core` only the network is used ([`Net`]): so the same sockets with the same buffers carry the packets,
//! and runs in memory under Tokio's paused clock are exact.
//!
//! Each library comes in two variants. [`Variant::Defaults`] is what its own documentation and examples show.
//! [`Variant::Tuned`] is the best that can be done from outside without a change of the protocol: DTLS 1.2 and no
//! SNAP, as visavis has it, for otherwise two protocols would be compared. Each tuning is a line with its reason: look
//! for `Variant::Tuned` in `by_str0m` and `by_webrtc`. webrtc-rs trickles its candidates in both, as visavis does.
//!
//! Both libraries use aws-lc-rs. webrtc-rs's own default feature is ring, but it cannot be enabled for one variant
//! alone: where ring is compiled in, it is the choice of every peer that does not choose for itself.

#![forbid(unsafe_code)]

#[cfg(feature = "str0m")]
mod by_str0m;
#[cfg(feature = "webrtc-rs")]
mod by_webrtc;
mod error;
pub mod frames;
mod messages;
mod net;
#[cfg(test)]
mod tests;

pub use error::{Error, PATIENCE};

use async_trait::async_trait;
use std::{fmt, sync::Arc, time::Duration};
use visavis_core::Net;

/// How much of what is known about a library is put to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As the library's documentation and examples use it.
    Defaults,
    /// As fast as it gets from outside.
    Tuned,
}

impl Variant {
    /// The variant's name in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Tuned => "tuned",
        }
    }
}

/// A library driven by hand. Both peers of each pair are in this process; offers and answers are exchanged as text.
///
/// `nets` are the offerer's and the answerer's network. Peers bind `127.0.0.1` if the network has it, and otherwise
/// its first interface: a call on this machine, or on a simulated network.
#[async_trait]
pub trait ByHand: fmt::Debug + Send + Sync {
    /// The library: `str0m` or `webrtc-rs`.
    fn name(&self) -> &'static str;

    /// How it is driven.
    fn variant(&self) -> Variant;

    /// Calls once, with a data channel and no media, and closes. The time is from before the peers are made to the
    /// data channel being open on both sides; closing is not measured.
    ///
    /// # Errors
    ///
    /// Which step failed or did not end within [`PATIENCE`]; [`Error::Unsupported`] where the library opens sockets of
    /// its own, and the network is not the machine's.
    async fn handshake(&self, nets: [Arc<dyn Net>; 2]) -> Result<Duration, Error>;

    /// Calls with an H.264 track from the offerer to the answerer and a reliable, ordered data channel.
    ///
    /// # Errors
    ///
    /// As [`handshake`](Self::handshake).
    async fn connect(&self, nets: [Arc<dyn Net>; 2]) -> Result<Box<dyn Connected>, Error>;
}

/// A connected pair. After an error it is of no more use, but to be closed: the tasks of webrtc-rs would go on.
#[async_trait]
pub trait Connected: fmt::Debug + Send {
    /// How many frames of `size` bytes may be under way without a loss, at most `wanted`. [`frames`](Self::frames)
    /// keeps to it: webrtc-rs drops what does not fit into its queues.
    fn window(&self, size: usize, wanted: usize) -> usize {
        let _ = size;
        wanted.max(1)
    }

    /// Sends `count` H.264 frames of `size` bytes from the offerer to the answerer, at most [`window`](Self::window)
    /// under way. Each must arrive complete and in order, and is compared. The time is from the first one sent to the
    /// last one received.
    ///
    /// # Errors
    ///
    /// A frame that is lost or damaged, and whatever ends the connection: throughput with losses is no result.
    async fn frames(&mut self, size: usize, window: usize, count: u64) -> Result<Duration, Error>;

    /// Sends `count` messages of `size` bytes (at most 64 KiB) from the offerer to the answerer, as fast as the
    /// library takes them. Each is compared. The time is from the first one sent to the last one received.
    ///
    /// # Errors
    ///
    /// As [`frames`](Self::frames).
    async fn messages(&mut self, size: usize, count: u64) -> Result<Duration, Error>;

    /// Sends `count` messages of `size` bytes to the answerer, which sends each back, one at a time. Each is compared.
    /// The time is from the first one sent to the last one back.
    ///
    /// # Errors
    ///
    /// As [`frames`](Self::frames).
    async fn round_trips(&mut self, size: usize, count: u64) -> Result<Duration, Error>;

    /// Closes both peers and waits until their tasks are gone.
    ///
    /// # Errors
    ///
    /// A connection that had ended before.
    async fn close(self: Box<Self>) -> Result<(), Error>;
}

/// The libraries of this build, by the names of their stacks.
pub const LIBRARIES: &[&str] = &[
    #[cfg(feature = "str0m")]
    "str0m",
    #[cfg(feature = "webrtc-rs")]
    "webrtc-rs",
];

/// A library, driven in one way. Work that a process does once, and not a call, is done here: the self-test of str0m's
/// DTLS takes 25 ms the first time. `None` if the library is not in this build.
pub fn by_hand(library: &str, variant: Variant) -> Option<Arc<dyn ByHand>> {
    match library {
        #[cfg(feature = "str0m")]
        "str0m" => Some(Arc::new(by_str0m::Str0mByHand::new(variant))),
        #[cfg(feature = "webrtc-rs")]
        "webrtc-rs" => Some(Arc::new(by_webrtc::WebrtcByHand::new(variant))),
        _ => None,
    }
}

/// Each library in each variant.
pub fn all() -> Vec<Arc<dyn ByHand>> {
    let variants = [Variant::Defaults, Variant::Tuned];
    let ways = LIBRARIES
        .iter()
        .flat_map(|library| variants.map(|variant| by_hand(library, variant)));
    ways.flatten().collect()
}
