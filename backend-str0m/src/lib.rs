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

mod bandwidth;
mod channels;
mod convert;
mod driven;
mod driver;
mod dtls;
mod empty;
mod engine;
mod error;
mod formats;
mod gate;
mod ice;
mod media;
mod negotiate;
mod recovery;
mod rtp;
mod sctp;
mod sockets;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use std::sync::Arc;
use str0m::config::DtlsCert;
use visavis_core::{
    Backend, Capabilities, Engine, EngineConfig, EventSink, KeyExchange, MAX_MESSAGE_SIZE, Net, PairConfig,
    PeerConfig, PeerConnection, RealNet, Result, SamePage, SrtpProfile,
    security::{Ahead, preferences, rtp_payload_size},
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
    settings: engine::Settings,
    certificates: Ahead<DtlsCert>,
}

impl Str0m {
    /// The stack, ready for a call: what the first peer of a process would wait for is done here (about 25 ms, once
    /// in a process).
    pub fn new() -> Self {
        let settings = engine::Settings::default();
        settings.warm_up();
        Self {
            settings,
            certificates: Ahead::new(dtls::certificate),
        }
    }

    /// Whether offers carry the SCTP INIT (draft-hancke-tsvwg-snap). Default: no.
    ///
    /// A peer that knows it (str0m, recent browsers) answers with its own, and data channels open two round trips
    /// earlier; any other ignores it. An offer that has it is answered with it in any case.
    pub fn with_snap(mut self, snap: bool) -> Self {
        self.settings.snap = snap;
        self
    }

    /// The SRTP protection profiles that are accepted, best first (RFC 5764 §4.1.2, RFC 7714). Default, and all that
    /// str0m has: `SRTP_AEAD_AES_256_GCM`, `SRTP_AEAD_AES_128_GCM`, `SRTP_AES128_CM_HMAC_SHA1_80`.
    ///
    /// The order is str0m's, and as DTLS client it always offers all three; so the list is the first one or more of
    /// them. As DTLS server it takes the first of these that the client offers. A connection for which a profile was
    /// negotiated that is not in the list fails when its handshake ends, before anything is sent on it: also one whose
    /// DTLS server prefers another profile, although it has one of the list.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](visavis_core::ErrorKind::NotSupported) for lists that are not the first of those above;
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) for an empty one or one that names a profile twice.
    pub fn with_srtp_profiles(mut self, profiles: &[SrtpProfile]) -> Result<Self> {
        let profiles = preferences("with_srtp_profiles", profiles)?;
        self.settings.dtls.set_profiles(&profiles)?;
        self.settings.warm_up();
        Ok(self)
    }

    /// The groups for the ephemeral key exchange, best first (RFC 8422 §5.1.1). Default: X25519, P-256, P-384.
    ///
    /// As DTLS client all of these are offered, in this order; as server the first of these that the client has is
    /// taken, and a handshake without one fails. Certificates are of P-256 whatever is chosen here: a peer that reads
    /// RFC 8422 §5.1.1 as being about certificates too needs that group in the list.
    ///
    /// A new list costs about 1 ms, here.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) for an empty list or one that names a group twice.
    pub fn with_key_exchange(mut self, groups: &[KeyExchange]) -> Result<Self> {
        let groups = preferences("with_key_exchange", groups)?;
        self.settings.dtls.set_groups(groups)?;
        self.settings.warm_up();
        Ok(self)
    }

    /// The size of an RTP packet that a frame is cut into, in bytes, at most: all that UDP carries, which is the RTP
    /// header with its extensions, the payload and SRTP's tag ([`rtp_payload_size`] has the rule). A frame of H.264 or
    /// VP8 becomes as many packets as on any other stack with the same size. Default: payloads of 1,120 bytes (str0m's
    /// own target of 1,150), so packets of up to 1,168.
    ///
    /// Larger packets cost less, and are lost where a path does not carry them. DTLS and SCTP packets follow, for
    /// str0m has one target. A packet of sound is never cut: one with a larger payload than that is not sent, and
    /// counted as dropped.
    ///
    /// A new size costs about 1 ms, here.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](visavis_core::ErrorKind::InvalidInput) outside of 608 to 1,452
    /// ([`RTP_PACKET_SIZES`](visavis_core::security::RTP_PACKET_SIZES)).
    pub fn with_rtp_packet_size(mut self, bytes: usize) -> Result<Self> {
        self.settings.rtp_payload = Some(rtp_payload_size("with_rtp_packet_size", bytes)?);
        self.settings.warm_up();
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

    /// Draws the jitter of DTLS's timers from a seed, and with it what else is not a key, so that a test can be played
    /// again. Each seed's configuration stays in memory. Not for calls.
    #[doc(hidden)]
    pub fn dangerously_seeded(mut self, seed: u64) -> Self {
        self.settings.dtls.seed = Some(seed);
        self.settings.warm_up();
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
            bandwidth_estimation: &["twcc", "remb", "rr"],
        }
    }

    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>> {
        let cert = self.certificates.take()?;
        let engine = engine::Str0mEngine::start(&config, &self.settings, cert, net, events)?;
        Ok(Box::new(engine))
    }
}
