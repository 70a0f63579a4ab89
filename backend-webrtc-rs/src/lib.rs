//! The visavis peer connection on [webrtc-rs](https://docs.rs/webrtc).
//!
//! [`WebrtcRs`] is a [`Backend`]: give it to `visavis_core`'s `PeerConnection`, or to its same-page pair. Nothing
//! else in this crate is public, so a program that can use this stack can use any other.
//!
//! ```
//! use visavis_core::Backend;
//! use visavis_webrtc_rs::WebrtcRs;
//!
//! let backend = WebrtcRs::new();
//! assert_eq!(backend.name(), "webrtc-rs");
//! assert!(backend.capabilities().ice_restart);
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
use visavis_core::{Backend, Capabilities, Engine, EngineConfig, EventSink, MAX_MESSAGE_SIZE, Net, Result};

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
