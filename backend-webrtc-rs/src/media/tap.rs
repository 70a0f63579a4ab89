//! The interceptor that takes RTP and RTCP out of the library, and puts ours in.

use super::{Media, Outgoing, codecs};
use crate::{error::ours, socket::Link};
use rtc::{
    interceptor::{AttributedPacket, Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket},
    peer_connection::configuration::interceptor_registry::configure_twcc_receiver_only,
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
pub(crate) fn interceptors(media: &Media, link: &Arc<Link>) -> Result<(MediaEngine, Registry)> {
    let mut engine = MediaEngine::default();
    codecs::register(&mut engine)?;
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
        let (now, outgoing) = self.media.next()?;
        let packet = match outgoing {
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
