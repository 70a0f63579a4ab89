//! An m-line of media: its two directions, its port, and the RTCP about both.

use super::{clock, formats::Formats, receive::Receiver, send::Sender};
use rtc::{
    rtcp::{
        Packet,
        extended_report::{DLRRReport, DLRRReportBlock, ExtendedReport, ReceiverReferenceTimeReportBlock},
        payload_feedbacks::picture_loss_indication::PictureLossIndication,
        receiver_report::ReceiverReport,
        source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem},
    },
    rtp,
};
use std::{collections::VecDeque, time::Duration};
use tokio::{task::AbortHandle, time::Instant};
use visavis_core::{RtpStats, TrackPort};

/// While anything is sent or received, reports go out this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

type Compound = Vec<Box<dyn Packet>>;

/// An m-line of media.
pub(super) struct Line {
    pub(super) mid: String,
    pub(super) port: TrackPort,
    /// The task that waits for the port.
    waiter: AbortHandle,
    pub(super) receives: bool,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// The remote peer's, as it declared them.
    declared: (Option<u32>, Option<u32>),
    mid_extension: Option<u8>,
    report_at: Option<Instant>,
    /// Something was sent or received since the last report.
    active: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.waiter.abort();
    }
}

impl Line {
    pub(super) fn new(mid: String, sender: Sender, port: TrackPort, waiter: AbortHandle) -> Self {
        Self {
            sender,
            mid,
            port,
            waiter,
            receives: false,
            receiver: Receiver::default(),
            declared: (None, None),
            mid_extension: None,
            report_at: None,
            active: false,
        }
    }

    pub(super) fn set_port(&mut self, port: TrackPort, waiter: AbortHandle) {
        self.waiter.abort();
        (self.port, self.waiter) = (port, waiter);
    }

    /// Takes what was negotiated: what we said, and what the remote peer did.
    pub(super) fn configure(&mut self, said: Formats, heard: Formats, receives: bool) {
        self.declared = heard.streams();
        self.mid_extension = said.mid_extension;
        self.receives = receives;
        if let (Some(ssrc), _) = self.declared {
            self.receiver.set_ssrc(ssrc);
        }
        self.receiver.configure(said, &heard, receives);
        self.sender.configure(heard);
    }

    /// The remote peer's streams that are known.
    pub(super) fn remote_streams(&self) -> impl Iterator<Item = u32> {
        let (stream, rtx) = self.declared;
        [self.receiver.ssrc, stream, rtx].into_iter().flatten()
    }

    pub(super) fn mid_extension(&self) -> Option<u8> {
        self.mid_extension
    }

    pub(super) fn take_rtp(&mut self, packet: rtp::Packet, now: Instant) {
        self.active = true;
        self.report_at.get_or_insert(now + REPORT_INTERVAL);
        self.receiver.take(packet, now, &self.port);
    }

    /// Makes the packets of the next frame. `false`: there is none.
    pub(super) fn send_frame(&mut self, now: Instant, packets: &mut VecDeque<rtp::Packet>) -> bool {
        while let Some(frame) = self.port.pop_outgoing() {
            let len = frame.payload.as_ref().len();
            let first = !self.sender.has_sent();
            if self.sender.send(frame, now, packets) {
                self.active = true;
                // The first frame has a time, too.
                if first || self.report_at.is_none() {
                    self.report_at = Some(now);
                }
                return true;
            }
            tracing::debug!(
                mid = self.mid,
                "a frame cannot be sent: its codec is not negotiated, or it is empty"
            );
            self.port.not_sent(len);
        }
        false
    }

    /// When there is something to do. `sends`: also to send.
    pub(super) fn deadline(&self, sends: bool) -> Option<Instant> {
        let to_send = self.report_at.into_iter().chain(self.receiver.ask_at());
        to_send.filter(|_| sends).chain(self.receiver.deadline()).min()
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        self.receiver.on_time(now, &self.port);
    }

    /// The RTCP that is due.
    pub(super) fn feedback(&mut self, now: Instant, cname: &str, out: &mut VecDeque<Compound>) {
        let ours = self.sender.streams.ssrc;
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = self.active.then(|| now + REPORT_INTERVAL);
            if std::mem::take(&mut self.active) {
                out.push_back(self.report(now, cname));
            }
        }
        if !self.receives {
            return;
        }
        self.receiver.wants_keyframe |= self.port.take_keyframe_request();
        if let Some(media_ssrc) = self.receiver.ssrc.filter(|_| self.receiver.wants_keyframe) {
            self.receiver.wants_keyframe = false;
            self.receiver.received.plis += 1;
            out.push_back(vec![Box::new(PictureLossIndication {
                sender_ssrc: ours,
                media_ssrc,
            })]);
        }
        if let Some(nack) = self.receiver.nack(now, ours, self.sender.rtt) {
            out.push_back(vec![Box::new(nack)]);
        }
    }

    /// A sender report if we send, or else a receiver report, and who says so.
    fn report(&mut self, now: Instant, cname: &str) -> Compound {
        let ssrc = self.sender.streams.ssrc;
        let reports: Vec<_> = self.receiver.report(now).into_iter().collect();
        let report: Box<dyn Packet> = match self.sender.report(now, reports.clone()) {
            Some(report) => Box::new(report),
            None => Box::new(ReceiverReport {
                ssrc,
                reports,
                ..ReceiverReport::default()
            }),
        };
        let item = SourceDescriptionItem {
            sdes_type: SdesType::SdesCname,
            text: cname.to_owned().into(),
        };
        let chunk = SourceDescriptionChunk {
            source: ssrc,
            items: vec![item],
        };
        let mut compound = vec![
            report,
            Box::new(SourceDescription { chunks: vec![chunk] }) as Box<dyn Packet>,
        ];
        if !self.sender.has_sent() {
            // Who sends learns its round trip from the reports about it; who does not has to ask.
            let reference = ReceiverReferenceTimeReportBlock {
                ntp_timestamp: clock::to_fixed(clock::ntp(now)),
            };
            compound.push(Box::new(ExtendedReport {
                sender_ssrc: ssrc,
                reports: vec![Box::new(reference)],
            }));
        }
        compound
    }

    /// Tells a receiver what it needs for its round trip.
    pub(super) fn answer(&self, ssrc: u32, last_rr: u32, delay: Duration) -> Compound {
        let report = DLRRReport {
            ssrc,
            last_rr,
            // Zero would say that there was no question (RFC 3611 §4.5).
            dlrr: clock::to_short(delay).max(1),
        };
        vec![Box::new(ExtendedReport {
            sender_ssrc: self.sender.streams.ssrc,
            reports: vec![Box::new(DLRRReportBlock {
                reports: vec![report],
            })],
        })]
    }

    pub(super) fn stats(&self) -> RtpStats {
        let (sent, received) = (&self.sender.sent, &self.receiver.received);
        RtpStats {
            packets_sent: Some(sent.packets),
            retransmitted_packets_sent: Some(sent.retransmitted),
            nacks_received: Some(sent.nacks),
            plis_received: Some(sent.plis),
            packets_received: Some(received.packets),
            packets_lost: Some(self.receiver.lost()),
            retransmitted_packets_received: Some(received.retransmitted),
            nacks_sent: Some(received.nacks),
            plis_sent: Some(received.plis),
            rtt: self.sender.rtt,
        }
    }
}
