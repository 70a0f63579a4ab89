//! The visavis peer connection on [str0m], with the Tokio driver that str0m leaves to its user.
//!
//! [`Str0m`] is a [`Backend`]; [`peer`] and [`pair`] use it for a program that needs no other. One task a peer owns
//! the sockets, the timers and the sans-IO `Rtc`; everything goes through the [`Net`] that it is given and the clock
//! of Tokio, so it runs on a simulated network and in virtual time as it does on the machine's own.
//!
//! ```
//! use visavis_core::{PairConfig, PeerPair};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = visavis_str0m::pair(PairConfig::default());
//! pair.start().await?;
//! let call = pair.call().await?;
//! call.offerer.channel.send("face to face").await?;
//! assert_eq!(call.answerer.channel.recv().await, Some("face to face".into()));
//! pair.hang_up().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [str0m]: https://docs.rs/str0m

#![forbid(unsafe_code)]

mod channels;
mod convert;
mod driven;
mod driver;
mod dtls;
mod empty;
mod engine;
mod error;
mod formats;
mod ice;
mod media;
mod negotiate;
mod recovery;
mod rtp;
mod sockets;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use str0m::config::DtlsCert;
use visavis_core::{
    Backend, Capabilities, Engine, EngineConfig, EventSink, MAX_MESSAGE_SIZE, Net, PairConfig, PeerConfig,
    PeerConnection, RealNet, Result, SamePage,
};

/// A peer connection on str0m, over the machine's own network.
///
/// # Errors
///
/// As [`PeerConnection::new`].
pub async fn peer(config: PeerConfig) -> Result<PeerConnection> {
    PeerConnection::new(&Str0m::new(), config, RealNet::shared()).await
}

/// A same-page pair with str0m on both sides, over the machine's own network.
pub fn pair(config: PairConfig) -> SamePage {
    let backend = Arc::new(Str0m::new());
    SamePage::new(backend.clone(), backend, config)
}

/// The str0m stack. Clones share the certificate that is made ahead of the next call.
#[derive(Debug, Clone)]
pub struct Str0m {
    snap: bool,
    next: Arc<NextCertificate>,
}

impl Str0m {
    /// The stack, ready for a call: what the first peer of a process would wait for is done here (about 25 ms, once
    /// in a process).
    pub fn new() -> Self {
        dtls::warm_up();
        let next = NextCertificate::default();
        *next.lock() = dtls::certificate().ok();
        Self {
            snap: false,
            next: Arc::new(next),
        }
    }

    /// Whether offers carry the SCTP INIT (draft-hancke-tsvwg-snap). Default: no.
    ///
    /// A peer that knows it (str0m, recent browsers) answers with its own, and data channels open two round trips
    /// earlier; any other ignores it. An offer that has it is answered with it in any case.
    pub fn with_snap(mut self, snap: bool) -> Self {
        self.snap = snap;
        self
    }
}

impl Default for Str0m {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for Str0m {
    fn name(&self) -> &'static str {
        "str0m"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            dtls: &["1.2"],
            trickle_ice: true,
            ice_restart: true,
            ipv6: true,
            tcp_candidates: false,
            ice_servers: false,
            rollback_local_offer: true,
            rollback_after_answer: false,
            pranswer: false,
            partial_reliability: true,
            negotiated_channels: true,
            max_message_size: MAX_MESSAGE_SIZE,
            receive_back_pressure: true,
            udp_segmentation: true,
            rtt_stats: true,
            retransmission_stats: false,
        }
    }

    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>> {
        let cert = self.next.take()?;
        let engine = engine::Str0mEngine::start(&config, self.snap, cert, net, events)?;
        Ok(Box::new(engine))
    }
}

/// A certificate made ahead, for the next peer. Each is used once: a peer cannot be recognised by it.
#[derive(Default)]
struct NextCertificate(Mutex<Option<DtlsCert>>);

impl NextCertificate {
    fn lock(&self) -> MutexGuard<'_, Option<DtlsCert>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, or makes one now if another peer was faster.
    fn take(self: &Arc<Self>) -> Result<DtlsCert> {
        let ready = self.lock().take();
        let next = Arc::clone(self);
        tokio::spawn(async move {
            let cert = dtls::certificate().ok();
            *next.lock() = cert;
        });
        ready.map_or_else(dtls::certificate, Ok)
    }
}

impl std::fmt::Debug for NextCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A private key is in it.
        f.debug_tuple("NextCertificate")
            .field(&self.lock().is_some())
            .finish()
    }
}
