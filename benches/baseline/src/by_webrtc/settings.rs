//! How a peer is configured in each variant.

use super::{call::Handler, runtime::NetRuntime};
use crate::{Error, Variant, error::At};
use rtc::{
    ice::mdns::MulticastDnsMode,
    peer_connection::configuration::media_engine::MIME_TYPE_H264,
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use visavis_core::Net;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, Registry, SettingEngineBuilder, configure_nack,
    configure_rtcp_reports, crypto::providers::AwsLcRsProvider, register_default_interceptors,
};

/// How much a channel may hold before sending waits, in bytes: pion's mark in the examples for flow control. The
/// default is no limit, so that memory would be.
const SEND_LIMIT: usize = 1024 * 1024;

/// How often ICE checks its pairs; the default is 200 ms. All pairs are asked each time, so on loopback only.
const TICK: Duration = Duration::from_millis(5);

/// So many ticks may pass before ICE gives up: the default of 7 would be 40 ms.
const TICKS: u16 = u16::MAX;

/// Where a peer is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) net: Arc<dyn Net>,
    pub(super) address: SocketAddr,
}

/// The one H.264 format that is used; the library's default codecs have it too.
pub(super) fn h264() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

/// Builds a peer.
pub(super) async fn build(
    variant: Variant,
    place: Place,
    media: bool,
    handler: Arc<Handler>,
) -> Result<Arc<dyn PeerConnection>, Error> {
    let mut engine = MediaEngine::default();
    let builder = PeerConnectionBuilder::new()
        .with_handler(handler)
        .with_udp_addrs(vec![place.address])
        .with_data_channel_send_buffer_limit(SEND_LIMIT);
    let builder = match variant {
        Variant::Defaults => {
            engine.register_default_codecs().at("codecs")?;
            let registry = register_default_interceptors(Registry::new(), &mut engine).at("interceptors")?;
            builder.with_interceptor_registry(registry)
        }
        Variant::Tuned => {
            if media {
                // Shorter descriptions are written and parsed faster.
                let codec = RTCRtpCodecParameters {
                    rtp_codec: h264(),
                    payload_type: 102,
                };
                engine.register_codec(codec, RtpCodecKind::Video).at("codecs")?;
            }
            // Without the reports for congestion control (TWCC), which nobody reads here.
            let registry = configure_nack(Registry::new(), &mut engine);
            let registry = configure_rtcp_reports(registry);
            let settings = SettingEngineBuilder::new()
                // It would be ring wherever that is compiled in.
                .with_crypto_provider(Arc::new(AwsLcRsProvider::new()))
                // It binds a multicast socket for each peer.
                .with_multicast_dns_mode(MulticastDnsMode::Disabled)
                .with_ice_connection_attempts(Some(TICK), Some(TICKS))
                // A candidate that a check tells of before signaling does waits 1 s otherwise.
                .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
                .with_host_acceptance_min_wait(Some(Duration::ZERO))
                .build();
            builder
                .with_interceptor_registry(registry)
                .with_setting_engine(settings)
                // Sockets with larger buffers, without which bursts are lost; one clock. With them a dedicated reactor
                // makes nothing faster.
                .with_runtime(Arc::new(NetRuntime::new(place.net)))
        }
    };
    // Boxed, for it holds the library's whole connection.
    let pc = Box::pin(builder.with_media_engine(engine).build())
        .await
        .at("make a peer")?;
    Ok(Arc::new(pc))
}
