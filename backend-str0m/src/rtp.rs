//! What can be read from RTP's headers, and an m-line's counts.

use std::{
    ops::RangeInclusive,
    time::{Duration, UNIX_EPOCH},
};
use str0m::{
    rtp::{SeqNo, rtcp::SenderInfo},
    stats::{MediaEgressStats, MediaIngressStats},
};
use visavis_core::RtpStats;

/// The longest authentication tag of SRTP, which str0m leaves room for, in bytes.
pub(crate) const TAG: usize = 16;

/// What a packet has before its payload, in bytes: its header, extensions, and the number that RTX puts before it.
pub(crate) const HEADERS: usize = 34;

/// The most payload that str0m puts into a packet by default: its target of 1,150 bytes without the authentication
/// tag, as a multiple of 16.
pub(crate) const MAX_PAYLOAD: usize = 1120;

/// From NTP's epoch, 1900, to that of Unix, 1970 (RFC 868).
const NTP_TO_UNIX: Duration = Duration::from_secs(2_208_988_800);

/// A sender reports about once a second. A timestamp further than this from its last report is of another source.
const REPORT_LIFE: Duration = Duration::from_secs(30);

/// The SSRC of an RTP packet (RFC 3550 §5.1); SRTP leaves it readable. `None` for what is not RTP (RFC 7983 §7, RFC
/// 5761 §4).
pub(crate) fn ssrc(datagram: &[u8]) -> Option<u32> {
    let header = datagram.get(..12)?;
    let is_rtp = (128..192).contains(&header[0]) && !(64..96).contains(&(header[1] & 0x7f));
    is_rtp.then(|| u32::from_be_bytes([header[8], header[9], header[10], header[11]]))
}

/// A timestamp without its wrap: the nearest to the last one.
pub(crate) fn unwrap(last: Option<u64>, timestamp: u32) -> u64 {
    let Some(last) = last else {
        return timestamp.into();
    };
    let step = timestamp.wrapping_sub(last as u32).cast_signed();
    // Nothing comes before 0, so there a source that starts anew goes forwards.
    last.checked_add_signed(step.into()).unwrap_or(timestamp.into())
}

/// When a timestamp was, on the sender's clock (since 1900).
pub(crate) fn sender_time(report: &SenderInfo, timestamp: u32, rate: u32) -> Option<Duration> {
    // str0m reports before it has sent anything, and knows no timestamp then.
    if report.sender_packet_count == 0 {
        return None;
    }
    let step = timestamp
        .wrapping_sub(report.rtp_time.numer() as u32)
        .cast_signed();
    let distance = Duration::from_secs_f64(f64::from(step.unsigned_abs()) / f64::from(rate.max(1)));
    if distance > REPORT_LIFE {
        return None;
    }
    let at = report.ntp_time.duration_since(UNIX_EPOCH).ok()? + NTP_TO_UNIX;
    if step < 0 {
        at.checked_sub(distance)
    } else {
        at.checked_add(distance)
    }
}

/// What is known of an m-line's packets.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    egress: Option<MediaEgressStats>,
    ingress: Option<MediaIngressStats>,
    rtt: Option<Duration>,
    /// Packets that we sent again.
    pub(crate) repeats_sent: u64,
    /// Packets that came again.
    pub(crate) repeats_received: u64,
    /// Packets that there were, up to the last frame.
    expected: u64,
    /// The sequence number after the last frame.
    next: Option<u64>,
    lost: u64,
}

impl Counts {
    /// A frame of these packets came.
    pub(crate) fn frame(&mut self, packets: &RangeInclusive<SeqNo>) {
        let (first, end) = (**packets.start(), **packets.end() + 1);
        // Another SSRC starts anywhere.
        let from = self.next.filter(|next| (first.wrapping_sub(*next)) < 0x8000);
        self.expected += end.saturating_sub(from.unwrap_or(first));
        self.next = Some(end);
    }

    pub(crate) fn sent(&mut self, stats: MediaEgressStats) {
        self.rtt = stats.rtt.or(self.rtt);
        self.egress = Some(stats);
    }

    pub(crate) fn received(&mut self, stats: MediaIngressStats) {
        self.rtt = self.rtt.or(stats.rtt);
        // str0m only tells a fraction. Of what has come, some may be of frames that have not.
        self.lost = self.lost.max(self.expected.saturating_sub(stats.packets));
        self.ingress = Some(stats);
    }

    pub(crate) fn stats(&self) -> RtpStats {
        let egress = self.egress.as_ref();
        let ingress = self.ingress.as_ref();
        RtpStats {
            packets_sent: egress.map(|s| s.packets),
            retransmitted_packets_sent: egress.map(|_| self.repeats_sent),
            nacks_received: egress.map(|s| s.nacks),
            plis_received: egress.map(|s| s.plis + s.firs),
            packets_received: ingress.map(|s| s.packets),
            packets_lost: ingress.map(|_| self.lost),
            retransmitted_packets_received: ingress.map(|_| self.repeats_received),
            nacks_sent: ingress.map(|s| s.nacks),
            plis_sent: ingress.map(|s| s.plis + s.firs),
            rtt: self.rtt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use str0m::{media::MediaTime, rtp::Ssrc};

    #[test]
    fn only_rtp_has_an_ssrc() {
        let mut packet = [0x80, 0xe0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5];
        assert_eq!(ssrc(&packet), Some(0x0102_0304));
        packet[1] = 200;
        assert_eq!(ssrc(&packet), None, "a sender report");
        packet[1] = 96;
        packet[0] = 22;
        assert_eq!(ssrc(&packet), None, "DTLS");
        assert_eq!(ssrc(&packet[..11]), None);
    }

    #[test]
    fn timestamps_go_on_over_the_wrap() {
        assert_eq!(unwrap(None, 7), 7);
        let before = unwrap(None, u32::MAX - 1);
        let after = unwrap(Some(before), 2);
        assert_eq!(after, before + 4);
        assert_eq!(unwrap(Some(after), u32::MAX), before + 1);
        assert_eq!(unwrap(Some(5), u32::MAX), u64::from(u32::MAX));
    }

    #[test]
    fn a_report_dates_timestamps_near_it() {
        let mut report = SenderInfo {
            ssrc: Ssrc::from(1),
            ntp_time: UNIX_EPOCH + Duration::from_secs(10),
            rtp_time: MediaTime::from_90khz(u64::from(u32::MAX)),
            sender_packet_count: 1,
            sender_octet_count: 1,
        };
        let at = |seconds| Some(NTP_TO_UNIX + Duration::from_secs(seconds));
        assert_eq!(sender_time(&report, 89_999, 90_000), at(11));
        assert_eq!(sender_time(&report, u32::MAX - 90_000, 90_000), at(9));
        assert_eq!(sender_time(&report, 40 * 90_000, 90_000), None);
        report.sender_packet_count = 0;
        assert_eq!(sender_time(&report, 89_999, 90_000), None);
    }

    #[test]
    fn packets_that_no_frame_had_are_lost() {
        let mut counts = Counts::default();
        for frame in [10..=12_u64, 13..=13, 16..=17] {
            counts.frame(&(SeqNo::from(*frame.start())..=SeqNo::from(*frame.end())));
        }
        assert_eq!(counts.expected, 8);
        counts.frame(&(SeqNo::from(4_u64)..=SeqNo::from(4)));
        assert_eq!(counts.expected, 9, "another SSRC");
        assert_eq!(counts.stats(), RtpStats::default());
    }
}
