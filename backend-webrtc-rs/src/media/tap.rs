//! The interceptor that takes RTP and RTCP out of the library, and puts ours in.

use super::{MID_URI, Media, Outgoing};
use crate::{error::ours, socket::Link};
use rtc::{
    interceptor::{AttributedPacket, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket},
    peer_connection::configuration::{
        interceptor_registry::configure_twcc_receiver_only,
        media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8, MIME_TYPE_VP9},
    },
    rtp_transceiver::rtp_sender::{
        RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
    },
    sansio::Protocol,
    shared::{TransportContext, error::Error},
};
use std::{collections::VecDeque, sync::Arc};
use tokio::time::Instant;
use visavis_core::Result;
use webrtc::peer_connection::MediaEngine;

/// Behind the library's own interceptors, which see what passes.
const SLOT: usize = 20_000;

/// The interceptor of ours.
pub(crate) struct Tap {
    media: Media,
    link: Arc<Link>,
    /// What others send through here.
    passing: VecDeque<TaggedPacket>,
}

/// What the library offers and takes, and its interceptors: ours, and the one that reports arrivals to a remote
/// sender's congestion control.
pub(crate) fn codecs(media: &Media, link: &Arc<Link>) -> Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    let feedback = |typ: &str, parameter: &str| RTCPFeedback {
        typ: typ.to_owned(),
        parameter: parameter.to_owned(),
    };
    let codec =
        |mime_type: &str, clock_rate, channels, parameters: &str, feedback: &[RTCPFeedback], payload_type| {
            RTCRtpCodecParameters {
                rtp_codec: RTCRtpCodec {
                    mime_type: mime_type.to_owned(),
                    clock_rate,
                    channels,
                    sdp_fmtp_line: parameters.to_owned(),
                    rtcp_feedback: feedback.to_vec(),
                },
                payload_type,
            }
        };
    // Sound is repeated too, where the remote peer can ask for it.
    let audio = [feedback("nack", "")];
    let opus = codec(
        MIME_TYPE_OPUS,
        48_000,
        2,
        "minptime=10;useinbandfec=1",
        &audio,
        111,
    );
    engine
        .register_codec(opus, RtpCodecKind::Audio)
        .map_err(ours("engine"))?;
    let video = [
        feedback("goog-remb", ""),
        feedback("ccm", "fir"),
        feedback("nack", ""),
        feedback("nack", "pli"),
    ];
    let h264 =
        |profile: &str| format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}");
    for (mime_type, parameters, payload_type) in [
        (MIME_TYPE_H264, h264("42e01f").as_str(), 102),
        (MIME_TYPE_H264, &h264("42001f"), 104),
        (MIME_TYPE_VP8, "", 96),
        (MIME_TYPE_VP9, "profile-id=0", 98),
    ] {
        let primary = codec(mime_type, 90_000, 0, parameters, &video, payload_type);
        let apt = format!("apt={payload_type}");
        let rtx = codec(MIME_TYPE_RTX, 90_000, 0, &apt, &[], payload_type + 1);
        for codec in [primary, rtx] {
            engine
                .register_codec(codec, RtpCodecKind::Video)
                .map_err(ours("engine"))?;
        }
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        let extension = RTCRtpHeaderExtensionCapability {
            uri: MID_URI.to_owned(),
        };
        engine
            .register_header_extension(extension, kind, None)
            .map_err(ours("engine"))?;
    }
    let registry = configure_twcc_receiver_only(Registry::new(), &mut engine).map_err(ours("engine"))?;
    let tap = Tap {
        media: media.clone(),
        link: Arc::clone(link),
        passing: VecDeque::new(),
    };
    Ok((engine, registry.with(Slot::from(SLOT), tap)))
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = std::time::Instant;

    fn handle_read(&mut self, msg: TaggedPacket) -> std::result::Result<(), Error> {
        let now = Instant::from_std(msg.now);
        match msg.message.packet {
            Packet::Rtp(packet) => self.media.take_rtp(packet, now),
            Packet::Rtcp(packets) => self.media.take_rtcp(&packets, now),
            _ => {}
        }
        Ok(())
    }

    /// Nothing goes on to the library's queues.
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, msg: TaggedPacket) -> std::result::Result<(), Error> {
        self.passing.push_back(msg);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        if let Some(passing) = self.passing.pop_front() {
            return Some(passing);
        }
        // Without a pair the library throws away what is sent. Frames wait in core's queue.
        if !self.link.has_pair() || !self.link.may_send() {
            return None;
        }
        let now = Instant::now();
        let packet = match self.media.next(now)? {
            Outgoing::Rtp(packet) => Packet::Rtp(packet),
            Outgoing::Rtcp(packets) => Packet::Rtcp(packets),
        };
        self.link.count_sent();
        Some(TaggedPacket {
            now: now.into_std(),
            transport: TransportContext::default(),
            message: AttributedPacket::new(packet),
        })
    }

    fn handle_timeout(&mut self, now: std::time::Instant) -> std::result::Result<(), Error> {
        self.media.on_time(Instant::from_std(now));
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<std::time::Instant> {
        let sends = self.link.has_pair();
        self.media.deadline(sends).map(Instant::into_std)
    }
}

/// The library's streams are not ours.
impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
