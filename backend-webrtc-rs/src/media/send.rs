//! What an m-line sends: packets, their repetition, and reports about them.

use super::{
    clock,
    describe::{Streams, random},
    formats::Formats,
};
use bytes::{BufMut, Bytes, BytesMut};
use rtc::{
    rtcp::{reception_report::ReceptionReport, sender_report::SenderReport},
    rtp,
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    OutgoingFrame,
    packetize::packetize,
    track::{MAX_PATIENCE, patience},
};

/// What was sent can be sent again for this long: longer than a receiver waits for it. On a long path it is as long as
/// that and a round trip more.
const HISTORY: Duration = Duration::from_secs(1);

/// And at most so many packets.
const MAX_HISTORY: usize = 8192;

/// A packet is sent again at most this often, and once in most of a round trip: some peers ask faster than an answer
/// can come.
const RESEND_INTERVAL: Duration = Duration::from_millis(5);

/// What the sending half of an m-line counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) retransmitted: u64,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    /// Of the stream itself, for its sender reports.
    originals: u32,
    octets: u32,
}

/// The sending half of an m-line. It outlives changes of direction, codec and track.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) streams: Streams,
    /// The largest payload of a packet, in bytes.
    max_payload: usize,
    sequence: u16,
    rtx_sequence: u16,
    /// The remote peer's, from the last negotiation.
    formats: Formats,
    /// Sent with each packet until the remote peer shows that it knows the stream.
    mid: Option<Bytes>,
    /// The newest is the last; sequence numbers are without gaps.
    history: VecDeque<Past>,
    /// What was asked for.
    resend: VecDeque<u16>,
    /// The last frame's timestamp, ticks a second, and capture.
    last: Option<(u32, u32, Instant)>,
    pub(crate) sent: Sent,
    pub(crate) rtt: Option<Duration>,
    /// Scratch.
    payloads: Vec<Bytes>,
}

/// A packet that was sent.
#[derive(Debug)]
struct Past {
    payload_type: u8,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    at: Instant,
    resent: Option<Instant>,
}

impl Sender {
    pub(crate) fn new(mid: &str, streams: Streams, max_payload: usize) -> Self {
        Self {
            streams,
            max_payload,
            // Low, so that the first wrap is not near a lost packet (RFC 3711 §3.3.1).
            sequence: random() as u16 & 0x7FFF,
            rtx_sequence: random() as u16 & 0x7FFF,
            formats: Formats::default(),
            // One-byte header extensions have at most 16.
            mid: (1..=16)
                .contains(&mid.len())
                .then(|| Bytes::copy_from_slice(mid.as_bytes())),
            history: VecDeque::new(),
            resend: VecDeque::new(),
            last: None,
            sent: Sent::default(),
            rtt: None,
            payloads: Vec::new(),
        }
    }

    /// Takes what was negotiated.
    pub(crate) fn configure(&mut self, remote: Formats) {
        self.formats = remote;
    }

    /// Starts at this sequence number.
    #[cfg(test)]
    pub(crate) fn start_at(&mut self, sequence: u16) {
        self.sequence = sequence;
    }

    /// Whether there is something to report.
    pub(crate) fn has_sent(&self) -> bool {
        self.last.is_some()
    }

    /// Makes the packets of a frame. `false`: it cannot be sent.
    pub(crate) fn send(
        &mut self,
        frame: OutgoingFrame,
        now: Instant,
        out: &mut VecDeque<rtp::Packet>,
    ) -> bool {
        let Some(payload_type) = self.formats.payload_type(frame.codec) else {
            return false;
        };
        let mut payloads = std::mem::take(&mut self.payloads);
        packetize(
            frame.codec,
            frame.payload.into_bytes(),
            frame.keyframe,
            self.max_payload,
            &mut payloads,
        );
        let timestamp = frame.media_time.ticks as u32;
        let count = payloads.len();
        if count > 0 {
            self.last = Some((timestamp, frame.codec.clock_rate(), frame.captured));
        }
        let is_video = frame.codec.kind() == visavis_core::MediaKind::Video;
        for (i, payload) in payloads.drain(..).enumerate() {
            self.sent.packets += 1;
            self.sent.originals = self.sent.originals.wrapping_add(1);
            self.sent.octets = self.sent.octets.wrapping_add(payload.len() as u32);
            let past = Past {
                payload_type,
                timestamp,
                // With sound it would say that speech begins (RFC 3551 §4.1).
                marker: is_video && i + 1 == count,
                payload,
                at: now,
                resent: None,
            };
            let payload = past.payload.clone();
            out.push_back(self.packet(self.streams.ssrc, payload_type, self.sequence, &past, payload));
            self.sequence = self.sequence.wrapping_add(1);
            self.history.push_back(past);
        }
        self.payloads = payloads;
        let history = self.history_time();
        while self.history.len() > MAX_HISTORY
            || self.history.front().is_some_and(|past| past.at + history < now)
        {
            self.history.pop_front();
        }
        count > 0
    }

    fn packet(&self, ssrc: u32, payload_type: u8, sequence: u16, past: &Past, payload: Bytes) -> rtp::Packet {
        let mut header = rtp::Header {
            version: 2,
            marker: past.marker,
            payload_type,
            sequence_number: sequence,
            timestamp: past.timestamp,
            ssrc,
            ..rtp::Header::default()
        };
        if let (Some(mid), Some(id)) = (&self.mid, self.formats.mid_extension) {
            // An id that the header cannot have is left out.
            let _ = header.set_extension(id, mid.clone());
        }
        rtp::Packet { header, payload }
    }

    /// The id of the extension for transport-wide numbers, if packets are to have it and there is room.
    pub(crate) fn twcc_extension(&self) -> Option<u8> {
        let room = self.mid.as_ref().is_none_or(|mid| mid.len() <= 12);
        self.formats
            .twcc_extension
            .filter(|id| room && (1..=14).contains(id))
    }

    /// The remote peer misses these.
    pub(crate) fn on_nack(&mut self, missing: impl Iterator<Item = u16>) {
        self.sent.nacks += 1;
        let room = MAX_HISTORY.saturating_sub(self.resend.len());
        self.resend.extend(missing.take(room));
    }

    /// The next packet that was asked for: as a packet of its own stream where that is negotiated (RFC 4588).
    /// `queue` is how long packets wait on the way just now.
    pub(crate) fn resend(&mut self, now: Instant, queue: Duration) -> Option<rtp::Packet> {
        let rtt = self.rtt.unwrap_or_default().max(queue);
        let history = self.history_time();
        let interval = (rtt * 3 / 4).clamp(RESEND_INTERVAL, MAX_PATIENCE);
        while let Some(sequence) = self.resend.pop_front() {
            let age = usize::from(self.sequence.wrapping_sub(sequence));
            let Some(index) = self.history.len().checked_sub(age) else {
                continue;
            };
            let Some(past) = self.history.get_mut(index) else {
                continue;
            };
            if past.resent.is_some_and(|at| now < at + interval) || past.at + history < now {
                continue;
            }
            past.resent = Some(now);
            self.sent.packets += 1;
            self.sent.retransmitted += 1;
            let past = &self.history[index];
            let Some(rtx) = self.formats.rtx(past.payload_type) else {
                let (ssrc, payload) = (self.streams.ssrc, past.payload.clone());
                return Some(self.packet(ssrc, past.payload_type, sequence, past, payload));
            };
            let mut payload = BytesMut::with_capacity(past.payload.len() + 2);
            payload.put_u16(sequence);
            payload.put_slice(&past.payload);
            let packet = self.packet(self.streams.rtx, rtx, self.rtx_sequence, past, payload.freeze());
            self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
            return Some(packet);
        }
        None
    }

    fn history_time(&self) -> Duration {
        let rtt = self.rtt.unwrap_or_default();
        HISTORY.max(patience(self.rtt) + rtt.min(MAX_PATIENCE))
    }

    /// A sender report for this moment: what a picture captured now would have as its timestamp (RFC 3550 §6.4.1).
    pub(crate) fn report(&self, now: Instant, reports: Vec<ReceptionReport>) -> Option<SenderReport> {
        let (timestamp, rate, captured) = self.last?;
        let ticks = |time: Duration| (time.as_nanos() * u128::from(rate) / 1_000_000_000) as u32;
        // A live source may say when a picture will have been captured.
        let rtp_time = match now.checked_duration_since(captured) {
            Some(since) => timestamp.wrapping_add(ticks(since)),
            None => timestamp.wrapping_sub(ticks(captured - now)),
        };
        Some(SenderReport {
            ssrc: self.streams.ssrc,
            ntp_time: clock::to_fixed(clock::ntp(now)),
            rtp_time,
            packet_count: self.sent.originals,
            octet_count: self.sent.octets,
            reports,
            profile_extensions: Bytes::new(),
        })
    }

    /// A reception report about our stream.
    pub(crate) fn on_report(&mut self, report: &ReceptionReport, now: Instant) {
        // It knows the stream by now.
        self.mid = None;
        if report.last_sender_report != 0 {
            self.on_round_trip(report.last_sender_report, report.delay, now);
        }
    }

    /// The remote peer got what we sent at the time `sent` (middle bits), and answered after `delay`.
    pub(crate) fn on_round_trip(&mut self, sent: u32, delay: u32, now: Instant) {
        let arrived = clock::middle(clock::to_fixed(clock::ntp(now)));
        let round = arrived.wrapping_sub(sent).wrapping_sub(delay);
        // Rounding may make a very short one negative.
        if round.cast_signed() >= 0 {
            self.rtt = Some(clock::from_short(round));
        }
    }
}
