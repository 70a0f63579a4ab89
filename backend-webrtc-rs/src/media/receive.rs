//! What an m-line receives: the remote peer's stream, what is missing of it, and reports about it.

use super::{
    assemble::{Assembler, Frame, Inserted, Packet},
    clock,
    formats::{Format, Formats},
};
use bytes::Buf;
use rtc::{
    rtcp::{
        reception_report::ReceptionReport,
        sender_report::SenderReport,
        transport_feedbacks::transport_layer_nack::{TransportLayerNack, nack_pairs_from_sequence_numbers},
    },
    rtp,
};
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{
    Codec, IncomingFrame, MediaTime, Payload, TrackPort,
    track::{self, MAX_SOUND_WAIT},
};

/// While the round trip is unknown, what is missing is asked for again after this long.
const ASK_INTERVAL: Duration = Duration::from_millis(60);

/// When it is known, after a quarter more than that, and at least this.
const MIN_ASK_INTERVAL: Duration = Duration::from_millis(20);

/// Sound that is not asked for again is waited for only as long as packets overtake each other.
const SOUND_WAIT: Duration = Duration::from_millis(60);

/// What the receiving half of an m-line counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received {
    pub(crate) packets: u64,
    pub(crate) retransmitted: u64,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    /// Of streams that are over.
    lost: u64,
}

/// The receiving half of an m-line.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    /// The remote peer's stream.
    pub(crate) ssrc: Option<u32>,
    /// Ours, from the last negotiation: it says what a payload type is.
    formats: Formats,
    /// Payload types that the remote peer repeats on request.
    nacks: bool,
    assembler: Assembler,
    /// The last frame's timestamp, unwrapped.
    media_time: Option<u64>,
    /// The last sender report: NTP and RTP time, its middle bits, and when it came.
    reference: Option<(Duration, u32, u32, Instant)>,
    reception: Reception,
    /// A keyframe is to be asked for.
    pub(crate) wants_keyframe: bool,
    pub(crate) received: Received,
}

/// What a reception report tells (RFC 3550 §6.4.1).
#[derive(Debug, Default)]
struct Reception {
    /// The first sequence number, extended.
    base: Option<u64>,
    received: u64,
    /// At the last report.
    expected_before: u64,
    received_before: u64,
    /// In sixteenths of a tick.
    jitter: u64,
    /// When the last packet came, and its timestamp.
    last: Option<(Instant, u32)>,
}

impl Receiver {
    /// Takes what was negotiated.
    pub(crate) fn configure(&mut self, local: Formats, remote: &Formats, receives: bool) {
        let both = |codec: &Codec| local.has_nack(*codec) && remote.has_nack(*codec);
        self.nacks = Codec::ALL.iter().any(both);
        self.formats = local;
        if !receives {
            self.assembler.reset();
        }
        self.assembler.set_patience(self.patience(None));
    }

    fn patience(&self, rtt: Option<Duration>) -> Duration {
        let is_sound = |(_, format): &(u8, Format)| matches!(format, Format::Codec(Codec::Opus));
        match self.formats.list.iter().any(is_sound) {
            false => track::patience(rtt),
            true if self.nacks => MAX_SOUND_WAIT,
            true => SOUND_WAIT,
        }
    }

    /// The stream has another source now.
    pub(crate) fn set_ssrc(&mut self, ssrc: u32) {
        if self.ssrc.replace(ssrc).is_some_and(|old| old != ssrc) {
            self.assembler.reset();
            self.received.lost += std::mem::take(&mut self.assembler).lost();
            self.assembler.set_patience(self.patience(None));
            self.media_time = None;
            self.reference = None;
            self.reception = Reception::default();
        }
    }

    /// What a payload type is on this m-line.
    pub(crate) fn format(&self, payload_type: u8) -> Option<Format> {
        self.formats.get(payload_type)
    }

    /// Takes a packet of the stream, or of its retransmissions.
    pub(crate) fn take(&mut self, packet: rtp::Packet, now: Instant, port: &TrackPort) {
        self.received.packets += 1;
        let rtp::Packet { header, mut payload } = packet;
        let (codec, sequence) = match self.format(header.payload_type) {
            // Late packets of a source that was replaced are not.
            Some(Format::Codec(codec)) if self.ssrc == Some(header.ssrc) => (codec, header.sequence_number),
            // The original number comes first (RFC 4588 §4); a probe for bandwidth has none.
            Some(Format::Rtx(original)) if payload.len() >= 2 => match self.format(original) {
                Some(Format::Codec(codec)) => (codec, payload.get_u16()),
                _ => return,
            },
            _ => return,
        };
        let packet = Packet {
            codec,
            timestamp: header.timestamp,
            marker: header.marker,
            arrival: now,
            payload,
        };
        let inserted = self.assembler.insert(sequence, packet);
        if inserted == Inserted::Useless {
            return;
        }
        self.received.retransmitted += u64::from(inserted == Inserted::Repaired);
        self.reception.count(
            self.assembler.highest(),
            now,
            header.timestamp,
            codec.clock_rate(),
        );
        self.deliver(port);
    }

    fn deliver(&mut self, port: &TrackPort) {
        while let Some(frame) = self.assembler.pop() {
            let frame = self.finish(frame);
            port.deliver(frame);
        }
    }

    fn finish(&mut self, frame: Frame) -> IncomingFrame {
        let rate = frame.codec.clock_rate();
        let ticks = match self.media_time {
            None => u64::from(frame.timestamp),
            Some(last) => {
                let step = frame.timestamp.wrapping_sub(last as u32).cast_signed();
                last.saturating_add_signed(step.into())
            }
        };
        self.media_time = Some(ticks);
        let sender_time = self.reference.and_then(|(ntp, timestamp, ..)| {
            let ticks = i64::from(frame.timestamp.wrapping_sub(timestamp).cast_signed());
            let nanos = ticks.unsigned_abs() * 1_000_000_000 / u64::from(rate);
            let distance = Duration::from_nanos(nanos);
            if ticks < 0 {
                ntp.checked_sub(distance)
            } else {
                ntp.checked_add(distance)
            }
        });
        IncomingFrame {
            codec: frame.codec,
            payload: Payload::Bytes(frame.payload),
            keyframe: frame.keyframe,
            contiguous: frame.contiguous,
            media_time: MediaTime { ticks, rate },
            first_packet: frame.first_packet,
            sender_time,
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }

    /// Gives up what was waited for too long.
    pub(crate) fn on_time(&mut self, now: Instant, port: &TrackPort) {
        self.assembler.on_time(now);
        self.deliver(port);
    }

    /// When there is something to ask the sender for.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.assembler.ask_at().filter(|_| self.nacks)
    }

    /// Asks for what is missing.
    pub(crate) fn nack(
        &mut self,
        now: Instant,
        from: u32,
        rtt: Option<Duration>,
    ) -> Option<TransportLayerNack> {
        self.ask_at().filter(|at| *at <= now)?;
        let interval = rtt.map_or(ASK_INTERVAL, |rtt| (rtt + rtt / 4).max(MIN_ASK_INTERVAL));
        self.assembler.set_patience(self.patience(rtt));
        let mut wanted = Vec::new();
        self.assembler.ask(now, interval, &mut wanted);
        let media_ssrc = self.ssrc.filter(|_| !wanted.is_empty())?;
        self.received.nacks += 1;
        Some(TransportLayerNack {
            sender_ssrc: from,
            media_ssrc,
            nacks: nack_pairs_from_sequence_numbers(&wanted),
        })
    }

    /// A sender report about the stream.
    pub(crate) fn on_sender_report(&mut self, report: &SenderReport, now: Instant) {
        let ntp = clock::from_fixed(report.ntp_time);
        self.reference = Some((ntp, report.rtp_time, clock::middle(report.ntp_time), now));
    }

    /// How many packets never came.
    pub(crate) fn lost(&self) -> u64 {
        self.received.lost + self.assembler.lost()
    }

    /// A reception report about the stream.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReceptionReport> {
        let (ssrc, base, highest) = (self.ssrc?, self.reception.base?, self.assembler.highest()?);
        let reception = &mut self.reception;
        let expected = (highest + 1).saturating_sub(base);
        let lost = expected.saturating_sub(reception.received);
        let expected_now = expected.saturating_sub(reception.expected_before);
        let lost_now = expected_now.saturating_sub(reception.received - reception.received_before);
        (reception.expected_before, reception.received_before) = (expected, reception.received);
        let (last_sender_report, delay) = self.reference.map_or((0, 0), |(_, _, middle, at)| {
            (middle, clock::to_short(now.saturating_duration_since(at)))
        });
        Some(ReceptionReport {
            ssrc,
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            total_lost: lost.min(0x7F_FFFF) as u32,
            // The cycles count from the first packet's.
            last_sequence_number: (highest - (1 << 32)) as u32,
            jitter: (reception.jitter >> 4) as u32,
            last_sender_report,
            delay,
        })
    }
}

impl Reception {
    fn count(&mut self, highest: Option<u64>, now: Instant, timestamp: u32, rate: u32) {
        self.received += 1;
        self.base = self.base.or(highest);
        if let Some((then, before)) = self.last {
            let ticks = now.saturating_duration_since(then).as_nanos() * u128::from(rate) / 1_000_000_000;
            let transit = i64::from(
                (ticks as u32)
                    .wrapping_sub(timestamp.wrapping_sub(before))
                    .cast_signed(),
            );
            self.jitter = (self.jitter + transit.unsigned_abs()).saturating_sub((self.jitter + 8) >> 4);
        }
        self.last = Some((now, timestamp));
    }
}
