//! The visavis peer connection on [webrtc-rs](https://docs.rs/webrtc).
//!
//! [`WebrtcRs`] is a [`Backend`] for `visavis_core`'s `PeerConnection` and same-page pair; [`peer`] and [`pair`] make
//! them for a program that uses this stack alone.
//!
//! ```
//! use visavis_core::{PairConfig, PeerPair};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = visavis_webrtc_rs::pair(PairConfig::default());
//! pair.start().await?;
//! let call = pair.call().await?;
//! call.offerer.channel.send("face to face").await?;
//! assert_eq!(call.answerer.channel.recv().await, Some("face to face".into()));
//! pair.hang_up().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The engine runs on Tokio, on the calling task's runtime, and sends every packet through the `Net` that it is
//! given. It needs no reactor of its own beyond that: under Tokio's paused clock and on a `MemoryNetwork` a call
//! runs in virtual time.
#![forbid(unsafe_code)]

mod convert;
mod driver;
mod engine;
mod error;
mod media;
mod pump;
mod runtime;
mod socket;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use std::sync::Arc;
use visavis_core::{
    Backend, Capabilities, Engine, EngineConfig, EventSink, MAX_MESSAGE_SIZE, Net, PairConfig, PeerConfig,
    PeerConnection, RealNet, Result, SamePage,
};

/// A peer connection on webrtc-rs, over the machine's own network.
///
/// # Errors
///
/// As [`PeerConnection::new`].
pub async fn peer(config: PeerConfig) -> Result<PeerConnection> {
    PeerConnection::new(&WebrtcRs::new(), config, RealNet::shared()).await
}

/// A same-page pair with webrtc-rs on both sides, over the machine's own network.
pub fn pair(config: PairConfig) -> SamePage {
    let backend = Arc::new(WebrtcRs::new());
    SamePage::new(backend.clone(), backend, config)
}

/// The stack of the `webrtc` crate.
#[derive(Debug, Clone, Copy, Default)]
pub struct WebrtcRs;

impl WebrtcRs {
    /// The stack with visavis's settings.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Backend for WebrtcRs {
    fn name(&self) -> &'static str {
        "webrtc-rs"
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
        Ok(Box::new(engine::WebrtcEngine::new(config, net, events).await?))
    }
}
