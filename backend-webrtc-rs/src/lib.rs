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

mod checks;
mod convert;
mod crew;
mod driver;
mod engine;
mod error;
mod joined;
mod media;
mod pump;
mod runtime;
mod security;
mod socket;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use rtc::peer_connection::certificate::RTCCertificate;
use security::Settings;
use std::sync::Arc;
use visavis_core::{
    Backend, Capabilities, Engine, EngineConfig, EventSink, KeyExchange, MAX_MESSAGE_SIZE, Net, PairConfig,
    PeerConfig, PeerConnection, RealNet, Result, SamePage, SrtpProfile,
    security::{Ahead, preferences, rtp_payload_size},
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

/// The stack of the `webrtc` crate. Clones share the certificate that is made ahead of the next call.
#[derive(Debug, Clone)]
pub struct WebrtcRs {
    settings: Settings,
    certificates: Ahead<RTCCertificate>,
}

impl WebrtcRs {
    /// The stack with visavis's settings.
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            certificates: Ahead::new(security::certificate),
        }
    }

    /// The SRTP protection profiles that are offered and accepted, best first (RFC 5764 §4.1.2, RFC 7714). Default:
    /// `SRTP_AEAD_AES_128_GCM`, `SRTP_AEAD_AES_256_GCM`, `SRTP_AES128_CM_HMAC_SHA1_80`,
    /// `SRTP_AES128_CM_HMAC_SHA1_32`, which is all that the library has.
    ///
    /// As DTLS client these are offered, in this order; as server the client's first that is in the list is taken. A
    /// handshake without one fails.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) for an empty list or one that names a profile twice.
    pub fn with_srtp_profiles(mut self, profiles: &[SrtpProfile]) -> Result<Self> {
        let profiles = preferences("with_srtp_profiles", profiles)?;
        self.settings.set_profiles(&profiles)?;
        Ok(self)
    }

    /// The groups for the ephemeral key exchange, best first (RFC 8422 §5.1.1). Default: P-256, X25519, P-384.
    ///
    /// The order is the library's; so the list is one or more of these, in this order. As DTLS client these are
    /// offered; as server the client's first that is in the list is taken. Certificates are of P-256 whatever is
    /// chosen here: a peer that reads RFC 8422 §5.1.1 as being about certificates too needs that group in the list.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](visavis_core::ErrorKind::NotSupported) for another order;
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) for an empty list or one that names a group twice.
    pub fn with_key_exchange(mut self, groups: &[KeyExchange]) -> Result<Self> {
        let groups = preferences("with_key_exchange", groups)?;
        self.settings.set_groups(groups)?;
        Ok(self)
    }

    /// The size of an RTP packet that a frame is cut into, in bytes, at most: all that UDP carries, which is the RTP
    /// header with its extensions, the payload and SRTP's tag ([`rtp_payload_size`] has the rule). A frame of H.264 or
    /// VP8 becomes as many packets as on any other stack with the same size. Default: payloads of 1,160 bytes, so
    /// packets of up to 1,208.
    ///
    /// Larger packets cost less, and are lost where a path does not carry them. DTLS and SCTP packets stay as they
    /// are. A packet of sound is never cut.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) outside of 608 to 1,452
    /// ([`RTP_PACKET_SIZES`](visavis_core::security::RTP_PACKET_SIZES)).
    pub fn with_rtp_packet_size(mut self, bytes: usize) -> Result<Self> {
        self.settings.max_payload = rtp_payload_size("with_rtp_packet_size", bytes)?;
        Ok(self)
    }

    /// Whether the next peer's certificate is made before it is asked for. Default: yes.
    ///
    /// Each is used for one peer, so that peers cannot be recognised by it. `false` has it made while the peer is,
    /// which takes some 50 µs.
    pub fn with_certificate_ahead(mut self, ahead: bool) -> Self {
        self.certificates = self.certificates.with_ahead(ahead);
        self
    }
}

impl Default for WebrtcRs {
    fn default() -> Self {
        Self::new()
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
            bandwidth_estimation: &["twcc", "remb", "rr"],
        }
    }

    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>> {
        let certificate = self.certificates.take()?;
        let settings = self.settings.clone();
        let engine = engine::WebrtcEngine::new(config, settings, certificate, net, events).await?;
        Ok(Box::new(engine))
    }
}
