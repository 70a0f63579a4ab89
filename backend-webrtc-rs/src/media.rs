//! Media: frames of core's tracks as RTP on the library's transport.
//!
//! Of the library's media only the m-lines are used ([`lines`]). RTP and RTCP pass an interceptor of ours ([`tap`]),
//! which takes packets right behind SRTP, and gives them right before it: on that way nothing is queued, dropped or
//! sent to another task. The library's own way has queues to the application that drop, knows a stream only if its
//! description declares it, cannot replace a track, answers NACKs with one codec for ever, and reports another time
//! than that of capture.

mod assemble;
mod bandwidth;
mod clock;
mod codecs;
mod describe;
mod formats;
mod line;
pub(crate) mod lines;
mod receive;
mod send;
mod tap;
#[cfg(test)]
#[path = "tests/media.rs"]
mod tests;

pub(crate) use describe::{for_library, random};
pub(crate) use tap::interceptors;

use crate::socket::lock;
use bandwidth::Bandwidth;
use bytes::Bytes;
use codecs::PayloadTypes;
use describe::Streams;
use formats::Format;
use line::Line;
use rtc::{
    rtcp::{
        Packet as RtcpPacket,
        extended_report::{DLRRReportBlock, ExtendedReport, ReceiverReferenceTimeReportBlock},
        payload_feedbacks::{
            full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
            receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate,
        },
        receiver_report::ReceiverReport,
        sender_report::SenderReport,
        transport_feedbacks::{
            transport_layer_cc::TransportLayerCc, transport_layer_nack::TransportLayerNack,
        },
    },
    rtp,
};
use send::Sender;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex},
};
use tokio::{task::AbortHandle, time::Instant};
use visavis_core::{Bitrate, MLine, MediaKind, RtpStats, Sdp, TrackPort, congestion};

/// The largest payload by default, in bytes. With headers, a retransmission's number, SRTP, UDP and IPv6 it stays below
/// 1,280.
pub(crate) const MAX_PAYLOAD: usize = 1160;

/// So many packets are kept of those that only an awaited answer will tell what they are.
const MAX_EARLY: usize = 1024;

/// RTP's header without extensions, in bytes.
const RTP_HEADER: usize = 12;

/// So many streams of a remote peer are told apart.
const MAX_ROUTES: usize = 1024;

/// What goes to the wire.
pub(crate) enum Outgoing {
    Rtp(rtp::Packet),
    Rtcp(Vec<Box<dyn RtcpPacket>>),
}

/// The RTP of one connection. Clones are the same.
#[derive(Clone)]
pub(crate) struct Media(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The largest payload of a packet that we make, in bytes.
    max_payload: usize,
    /// What our streams have in common (RFC 3550 §6.5.1).
    cname: String,
    /// Our streams on each m-line, by mid, from its first description on.
    streams: HashMap<String, Streams>,
    /// The mids of those that were declared.
    declared: HashSet<String>,
    types: PayloadTypes,
    lines: Vec<Line>,
    /// Whose a remote stream is: an index of `lines`.
    routes: HashMap<u32, usize>,
    /// An offer of ours awaits its answer.
    offering: bool,
    early: VecDeque<(rtp::Packet, Instant)>,
    rtcp: VecDeque<Vec<Box<dyn RtcpPacket>>>,
    packets: VecDeque<rtp::Packet>,
    /// The id of the extension for transport-wide numbers that they have.
    numbered: Option<u8>,
    bandwidth: Bandwidth,
    /// Who wants to know a round trip, when by its clock, and when by ours.
    asked: Option<(u32, u32, Instant)>,
    /// Which line sends the next frame, if it has one.
    turn: usize,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media").finish_non_exhaustive()
    }
}

impl Media {
    /// `max_payload`: of a packet that frames are cut into, in bytes.
    pub(crate) fn new(max_payload: usize) -> Self {
        let state = State {
            max_payload,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A local description as the remote peer is to see it: with our codecs and streams. `offer` is what it answers.
    pub(crate) fn declare(&self, sdp: &str, offer: Option<&Sdp>) -> String {
        let State {
            cname,
            streams,
            declared,
            types,
            ..
        } = &mut *lock(&self.0);
        if cname.is_empty() {
            *cname = format!("{:016x}", describe::random());
        }
        let offer = offer.map(Sdp::to_string);
        describe::declare(sdp, offer.as_deref(), types, cname, |mid, sends| {
            // They stay declared while nothing is sent: libwebrtc decodes a stream that was taken away and is declared
            // again, but shows nothing of it.
            if sends {
                declared.insert(mid.to_owned());
            }
            declared.contains(mid).then(|| streams_of(streams, mid))
        })
    }

    /// Whether an offer of ours awaits its answer. Media that the answer tells of may come before it.
    pub(crate) fn set_offering(&self, offering: bool) {
        let mut state = lock(&self.0);
        state.offering = offering;
        if !offering {
            state.early.clear();
        }
    }

    /// An offer and an answer are in force, with the ports of `want`. `wait` starts the task that waits for a port.
    pub(crate) fn settle(
        &self,
        local: &Sdp,
        remote: &Sdp,
        want: &[MLine],
        wait: impl Fn(TrackPort) -> AbortHandle,
    ) {
        let state = &mut *lock(&self.0);
        let mut before = std::mem::take(&mut state.lines);
        let said = formats::parse(&local.to_string());
        let heard = formats::parse(&remote.to_string());
        let formats = said.into_iter().zip(heard);
        let sections = local.sections().zip(remote.sections()).zip(want).zip(formats);
        for (((ours, theirs), want), ((mid, said), (_, heard))) in sections {
            let Some(port) = &want.track else { continue };
            if ours.is_rejected() || theirs.is_rejected() {
                continue;
            }
            let known = before.iter().position(|line| line.mid == mid);
            let mut line = if let Some(index) = known {
                before.swap_remove(index)
            } else {
                let streams = streams_of(&mut state.streams, &mid);
                let sender = Sender::new(&mid, streams, state.max_payload);
                Line::new(mid, sender, port.clone(), wait(port.clone()))
            };
            if line.port != *port {
                line.set_port(port.clone(), wait(port.clone()));
            }
            let direction = ours.direction().intersection(theirs.direction().reversed());
            line.configure(said, heard, direction.receives());
            state.lines.push(line);
        }
        state.routes.clear();
        for (index, line) in state.lines.iter().enumerate() {
            state
                .routes
                .extend(line.remote_streams().map(|ssrc| (ssrc, index)));
        }
        state.offering = false;
        for (packet, at) in std::mem::take(&mut state.early) {
            state.take_rtp(packet, at);
        }
    }

    /// Counts of each m-line, by mid.
    pub(crate) fn stats(&self) -> Vec<(String, RtpStats)> {
        let state = lock(&self.0);
        let lines = state.lines.iter();
        lines.map(|line| (line.mid.clone(), line.stats())).collect()
    }

    /// What the network is thought to carry.
    pub(crate) fn available_bitrate(&self) -> Option<Bitrate> {
        lock(&self.0).bandwidth.estimator.estimate()
    }

    fn take_rtp(&self, packet: rtp::Packet, now: Instant) {
        lock(&self.0).take_rtp(packet, now);
    }

    fn take_rtcp(&self, packets: &[Box<dyn RtcpPacket>], now: Instant) {
        lock(&self.0).take_rtcp(packets, now);
    }

    /// The next packet for the wire, and when it goes.
    fn next(&self) -> Option<(Instant, Outgoing)> {
        let mut state = lock(&self.0);
        if state.lines.is_empty() {
            return None;
        }
        let now = Instant::now();
        loop {
            if let Some(rtcp) = state.rtcp.pop_front() {
                return Some((now, Outgoing::Rtcp(rtcp)));
            }
            if let Some(mut packet) = state.packets.pop_front() {
                state.number(&mut packet, now);
                return Some((now, Outgoing::Rtp(packet)));
            }
            if !state.fill(now) {
                return None;
            }
        }
    }

    /// When there is something to do though nothing happens. `sends`: also to send.
    fn deadline(&self, sends: bool) -> Option<Instant> {
        let state = lock(&self.0);
        let lines = state.lines.iter();
        lines.filter_map(|line| line.deadline(sends)).min()
    }

    fn on_time(&self, now: Instant) {
        for line in &mut lock(&self.0).lines {
            line.on_time(now);
        }
    }

    #[cfg(test)]
    pub(crate) fn routes(&self) -> usize {
        lock(&self.0).routes.len()
    }

    /// Where the m-lines' next packets begin.
    #[cfg(test)]
    pub(crate) fn start_at(&self, sequence: u16) {
        for line in &mut lock(&self.0).lines {
            line.sender.start_at(sequence);
        }
    }
}

fn streams_of(streams: &mut HashMap<String, Streams>, mid: &str) -> Streams {
    *streams.entry(mid.to_owned()).or_insert_with(Streams::random)
}

impl State {
    fn take_rtp(&mut self, packet: rtp::Packet, now: Instant) {
        let ssrc = packet.header.ssrc;
        let known = self.routes.get(&ssrc).copied();
        let Some(index) = known.or_else(|| self.learn(&packet)) else {
            return self.keep_early(packet, now);
        };
        let line = &mut self.lines[index];
        if line.receives {
            line.take_rtp(packet, now);
        } else {
            self.keep_early(packet, now);
        }
    }

    fn keep_early(&mut self, packet: rtp::Packet, now: Instant) {
        if self.offering && self.early.len() < MAX_EARLY {
            self.early.push_back((packet, now));
        }
    }

    /// Finds the m-line of a stream that no description declared (RFC 9143 §9.2).
    fn learn(&mut self, packet: &rtp::Packet) -> Option<usize> {
        let header = &packet.header;
        let is_named = |line: &Line| {
            let id = line.mid_extension()?;
            Some(header.get_extension(id)? == line.mid.as_bytes())
        };
        let named = self.lines.iter().position(|line| is_named(line) == Some(true));
        let has_format = |line: &Line| line.receiver.format(header.payload_type).is_some();
        let by_format = || {
            // With an answer to come, the stream may be of a new m-line.
            let mut having = self.lines.iter().enumerate().filter(|(_, line)| has_format(line));
            let first = having.next().filter(|_| !self.offering)?;
            having.next().is_none().then_some(first.0)
        };
        let index = named.or_else(by_format)?;
        if self.routes.len() >= MAX_ROUTES {
            return None;
        }
        self.routes.insert(header.ssrc, index);
        let receiver = &mut self.lines[index].receiver;
        if let Some(Format::Codec(_)) = receiver.format(header.payload_type) {
            receiver.set_ssrc(header.ssrc);
        }
        Some(index)
    }

    fn number(&mut self, packet: &mut rtp::Packet, now: Instant) {
        self.bandwidth.sent(RTP_HEADER + packet.payload.len());
        if let Some(id) = self.numbered
            && let Some(number) = self.bandwidth.number(now)
        {
            let number = Bytes::copy_from_slice(&number.to_be_bytes());
            // An id that the header cannot have is left out.
            let _ = packet.header.set_extension(id, number);
        }
    }

    /// Tells the tracks what the network carries.
    fn share(&self) {
        let estimate = self.bandwidth.estimator.estimate();
        congestion::share(estimate, self.lines.iter().map(|line| &line.port));
    }

    fn take_rtcp(&mut self, packets: &[Box<dyn RtcpPacket>], now: Instant) {
        for packet in packets {
            let packet = packet.as_any();
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                let receivers = self.lines.iter_mut().map(|line| &mut line.receiver);
                if let Some(receiver) = receivers.into_iter().find(|r| r.ssrc == Some(report.ssrc)) {
                    receiver.on_sender_report(report, now);
                }
                report.reports.iter().for_each(|r| self.on_report(r, now));
            } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                report.reports.iter().for_each(|r| self.on_report(r, now));
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                if let Some(line) = self.of_ours(nack.media_ssrc) {
                    line.sender
                        .on_nack(nack.nacks.iter().flat_map(|pair| pair.into_iter()));
                }
            } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.keyframe_wanted(pli.media_ssrc);
            } else if let Some(fir) = packet.downcast_ref::<FullIntraRequest>() {
                fir.fir.iter().for_each(|entry| self.keyframe_wanted(entry.ssrc));
            } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>() {
                if self.bandwidth.on_feedback(feedback, now) {
                    self.share();
                }
            } else if let Some(remb) = packet.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
                let limit = Bitrate::from_bps(remb.bitrate.max(0.0) as u64);
                self.bandwidth.estimator.set_limit(limit, now);
                self.share();
            } else if let Some(report) = packet.downcast_ref::<ExtendedReport>() {
                self.on_extended_report(report, now);
            }
        }
    }

    /// The m-line of a stream of ours.
    fn of_ours(&mut self, ssrc: u32) -> Option<&mut Line> {
        self.lines
            .iter_mut()
            .find(|line| line.sender.streams.ssrc == ssrc)
    }

    fn on_report(&mut self, report: &rtc::rtcp::reception_report::ReceptionReport, now: Instant) {
        let Some(line) = self.of_ours(report.ssrc) else {
            return;
        };
        line.sender.on_report(report, now);
        if line.port.kind() == MediaKind::Video {
            let rtt = line.sender.rtt;
            if self.bandwidth.on_report(report, rtt, now) {
                self.share();
            }
        }
    }

    /// Answers who wants to know its round trip as a receiver, and reads the answers to us (RFC 3611 §4.4, §4.5).
    fn on_extended_report(&mut self, report: &ExtendedReport, now: Instant) {
        for block in &report.reports {
            let block = block.as_any();
            if let Some(reference) = block.downcast_ref::<ReceiverReferenceTimeReportBlock>() {
                self.asked = Some((report.sender_ssrc, clock::middle(reference.ntp_timestamp), now));
            } else if let Some(answer) = block.downcast_ref::<DLRRReportBlock>() {
                for answer in &answer.reports {
                    if let Some(line) = self.of_ours(answer.ssrc) {
                        line.sender.on_round_trip(answer.last_rr, answer.dlrr, now);
                    }
                }
            }
        }
    }

    fn keyframe_wanted(&mut self, ssrc: u32) {
        if let Some(line) = self.of_ours(ssrc) {
            line.sender.sent.plis += 1;
            line.port.request_keyframe();
        }
    }

    /// Makes packets for the wire: feedback, then what was asked for, then one frame. `false`: there is nothing.
    fn fill(&mut self, now: Instant) -> bool {
        for line in &mut self.lines {
            line.feedback(now, &self.cname, &mut self.rtcp);
        }
        if let Some((ssrc, last_rr, at)) = self.asked.take()
            && let Some(line) = self.lines.first()
        {
            self.rtcp.push_back(line.answer(ssrc, last_rr, now - at));
        }
        if !self.rtcp.is_empty() {
            return true;
        }
        let queue = self.bandwidth.estimator.queue();
        let again = self
            .lines
            .iter_mut()
            .find_map(|line| Some((line.sender.resend(now, queue)?, line.sender.twcc_extension())));
        if let Some((packet, numbered)) = again {
            self.numbered = numbered;
            self.packets.push_back(packet);
            return true;
        }
        let count = self.lines.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let line = &mut self.lines[index];
            if line.send_frame(now, &mut self.packets) {
                // A report that the frame makes due goes out before its packets.
                line.feedback(now, &self.cname, &mut self.rtcp);
                self.numbered = line.sender.twcc_extension();
                self.turn = index + 1;
                return true;
            }
        }
        false
    }
}
