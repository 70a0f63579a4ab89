//! Tracks: core's frames on one side, str0m's m-lines on the other.
//!
//! str0m makes frames of packets, asks for lost ones (NACK) and sends them again (RTX). The packets of a frame are made by
//! core, which is faster. Here bursts are bounded, and what str0m does not say is found out: that a frame was thrown away,
//! what of the traffic was sent again, and that it has waited long enough.

use crate::{
    bandwidth::Bandwidth,
    convert,
    driven::Driven,
    recovery::{self, Waiting},
    rtp::{self, Counts},
};
use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};
use str0m::{
    Input, Rtc, RtcConfig,
    format::{self, FormatParams},
    media::{Frequency, KeyframeRequestKind, MediaData, Mid, Pt},
    net::Transmit,
    rtp::{RtpWrite, Ssrc},
    stats::{MediaEgressStats, MediaIngressStats, PeerStats},
};
use tokio::time::Instant;
use visavis_core::{
    Bitrate, Codec, IncomingFrame, MediaKind, OutgoingFrame, Payload, RtpStats, TrackPort, congestion,
    packetize::packetize,
    track::{MAX_FRAME_SIZE, patience},
};

/// About as many packets leave at once; then the sockets are read, and other tasks run. A remote peer that shares our
/// thread would otherwise not read until its receive buffer has overflowed.
const BURST: usize = 128;

/// So many packets are kept to be sent again: those of the last second at 20 Mbit/s.
const RESEND_PACKETS: usize = 2048;
const RESEND_AGE: Duration = Duration::from_secs(3);

/// What is sent again may be half of all bytes. str0m's own limit of 15 % stops repairing when a keyframe is hit by
/// a burst of losses, which is when it matters most.
const RESEND_SHARE: f32 = 0.5;

/// A keyframe request waits this long for the remote peer's SSRC to be known.
const REQUEST_LIFE: Duration = Duration::from_secs(2);

/// Between a sender's reports, RFC 3550 §6.2. str0m's default for sound is 5 s, in which nothing keeps sound and
/// picture in step.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A stream that is silent for longer counts as paused, and str0m then reads a timestamp that went backwards as one
/// half the clock's range ahead, for its first packet only: the first frame of a new source is lost. So none is ever
/// paused. What it costs: the timer for NACKs (30 times a second) runs on for video that has stopped.
const NEVER_PAUSED: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells str0m what concerns media.
pub(crate) fn configure(config: RtcConfig) -> RtcConfig {
    let mut config = recovery::configure(config)
        .set_pause_threshold(NEVER_PAUSED)
        .set_send_buffer_video(RESEND_PACKETS)
        .set_rtcp_report_interval_audio(REPORT_INTERVAL)
        .set_rtcp_report_interval_video(REPORT_INTERVAL)
        .clear_codecs()
        .enable_opus(true, false);
    let codecs = config.codec_config();
    // (Constrained) baseline, packetization-mode 1: RFC 7742 §6.2.
    codecs.add_h264(108.into(), Some(109.into()), true, 0x42_e0_1f);
    codecs.add_h264(127.into(), Some(121.into()), true, 0x42_00_1f);
    codecs.enable_vp8(true);
    codecs.add_config(
        98.into(),
        Some(99.into()),
        format::Codec::Vp9,
        Frequency::NINETY_KHZ,
        None,
        FormatParams {
            profile_id: Some(0),
            ..FormatParams::default()
        },
    );
    config
}

/// All tracks of a peer.
#[derive(Debug)]
pub(crate) struct Tracks {
    /// The most payload of a packet, in bytes.
    max_payload: usize,
    /// Those of the frame that is being sent.
    payloads: Vec<Bytes>,
    entries: Vec<Track>,
    /// The SSRCs that arrive, whose they are, and whether they repeat packets.
    arriving: Vec<(u32, usize, bool)>,
    /// The SSRCs with which we repeat packets, and whose they are.
    repeating: Vec<(u32, usize)>,
    bandwidth: Bandwidth,
    /// The round trip of ICE's checks.
    rtt: Option<Duration>,
}

#[derive(Debug)]
struct Track {
    mid: Mid,
    port: TrackPort,
    /// The codec last sent, and its payload type.
    format: Option<(Codec, Pt)>,
    /// Taken from the port, not yet written.
    next: Option<OutgoingFrame>,
    /// Our SSRC, once it is set up.
    ssrc: Option<Ssrc>,
    /// The number of the next packet.
    sequence: u64,
    /// Until when a keyframe request waits for its SSRC.
    request: Option<Instant>,
    /// The last timestamp received, unwrapped.
    ticks: Option<u64>,
    /// A frame was thrown away since the last one delivered.
    gap: bool,
    waiting: Waiting,
    counts: Counts,
}

impl Tracks {
    pub(crate) fn new(max_payload: usize) -> Self {
        Self {
            max_payload,
            payloads: Vec::new(),
            entries: Vec::new(),
            arriving: Vec::new(),
            repeating: Vec::new(),
            bandwidth: Bandwidth::default(),
            rtt: None,
        }
    }

    /// A description with these tracks is in force.
    pub(crate) fn assign(&mut self, driven: &mut Driven, ports: Vec<(Mid, TrackPort)>) {
        self.entries
            .retain(|track| ports.iter().any(|(mid, _)| *mid == track.mid));
        for (mid, port) in ports {
            match self.entries.iter_mut().find(|track| track.mid == mid) {
                Some(track) => track.assign(port),
                None => self.entries.push(Track::new(mid, port)),
            }
        }
        self.refresh(driven);
    }

    /// Asks str0m for the SSRCs: those of a remote peer that does not announce them are learnt from its packets.
    pub(crate) fn refresh(&mut self, driven: &mut Driven) {
        self.arriving.clear();
        self.repeating.clear();
        if self.entries.is_empty() {
            return;
        }
        driven.with(|rtc| {
            for (index, track) in self.entries.iter_mut().enumerate() {
                let mut api = rtc.direct_api();
                if let Some(stream) = api.stream_rx_by_mid(track.mid, None) {
                    self.arriving.push((*stream.ssrc(), index, false));
                    self.arriving
                        .extend(stream.rtx().map(|ssrc| (*ssrc, index, true)));
                }
                if let Some(stream) = api.stream_tx_by_mid(track.mid, None) {
                    self.repeating.extend(stream.rtx().map(|ssrc| (*ssrc, index)));
                    // Once, for it empties the cache.
                    if track.ssrc.replace(stream.ssrc()) != Some(stream.ssrc()) {
                        // As random as the SSRC, and below the first wrap (RFC 3711 §3.3.1).
                        track.sequence = u64::from(*stream.ssrc() & 0x7fff);
                        stream.set_rtx_cache(RESEND_PACKETS, RESEND_AGE, Some(RESEND_SHARE));
                    }
                }
            }
        });
    }

    /// Writes what waits to be sent, a frame a track in turn. Returns whether there may be more, for later.
    pub(crate) fn pump(&mut self, driven: &mut Driven) -> bool {
        self.request_keyframes(driven);
        while driven.transmits().len() < BURST {
            if !self.write(driven) {
                return false;
            }
        }
        true
    }

    fn write(&mut self, driven: &mut Driven) -> bool {
        let mut any = false;
        for track in &mut self.entries {
            track.next = track.port.pop_outgoing();
            any |= track.next.is_some();
        }
        if !any {
            return false;
        }
        let now = Instant::now();
        // What was written leaves when time passes.
        driven.and_input(Input::Timeout(now.into_std()), |rtc| {
            for track in &mut self.entries {
                track.write(rtc, now, self.max_payload, &mut self.payloads);
            }
        });
        true
    }

    fn request_keyframes(&mut self, driven: &mut Driven) {
        let now = Instant::now();
        for track in &mut self.entries {
            if track.port.take_keyframe_request() {
                track.request = Some(now + REQUEST_LIFE);
            }
        }
        if self.entries.iter().all(|track| track.request.is_none()) {
            return;
        }
        let asked = driven.with(|rtc| {
            let mut asked = false;
            for track in self.entries.iter_mut().filter(|track| track.request.is_some()) {
                let done = request_keyframe(rtc, track.mid);
                asked |= done;
                if done || track.request.is_some_and(|until| until <= now) {
                    track.request = None;
                }
            }
            asked
        });
        if asked {
            driven.timeout(now.into_std());
        }
    }

    /// A frame came.
    pub(crate) fn deliver(&mut self, data: MediaData) {
        self.bandwidth.arrived(&data);
        if let Some(track) = self.entries.iter_mut().find(|track| track.mid == data.mid) {
            track.deliver(data);
        }
    }

    /// str0m could not make a frame of a track's packets, and does not count that as a gap.
    pub(crate) fn spoilt(&mut self, mid: Mid) {
        if let Some(track) = self.entries.iter_mut().find(|track| track.mid == mid) {
            track.gap = true;
        }
    }

    /// The remote peer asks for a keyframe.
    pub(crate) fn keyframe_requested(&self, mid: Mid) {
        if let Some(track) = self.entries.iter().find(|track| track.mid == mid) {
            track.port.request_keyframe();
        }
    }

    /// A datagram came from the remote peer. Returns whether it is media.
    pub(crate) fn arrived(&mut self, datagram: &[u8], now: Instant) -> bool {
        let Some(ssrc) = rtp::ssrc(datagram) else {
            return false;
        };
        let known = self.arriving.iter().find(|(arriving, ..)| *arriving == ssrc);
        if let Some(&(_, index, repeats)) = known
            && let Some(track) = self.entries.get_mut(index)
        {
            track.waiting.arrived(now, patience(self.rtt));
            track.counts.repeats_received += u64::from(repeats);
        }
        true
    }

    /// These datagrams are about to be sent.
    pub(crate) fn leaving(&mut self, transmits: &VecDeque<Transmit>) {
        if self.repeating.is_empty() {
            return;
        }
        for ssrc in transmits.iter().filter_map(|t| rtp::ssrc(&t.contents)) {
            if let Some(&(_, index)) = self.repeating.iter().find(|(repeating, _)| *repeating == ssrc)
                && let Some(track) = self.entries.get_mut(index)
            {
                track.counts.repeats_sent += 1;
            }
        }
    }

    /// Goes on without the packets that some track has waited for long enough.
    pub(crate) fn give_up(&mut self, driven: &mut Driven) {
        let now = Instant::now();
        for track in &mut self.entries {
            if track.waiting.is_over(now) && recovers(driven.peek(), track.mid) {
                recovery::give_up(driven, track.mid, now);
            }
        }
    }

    /// When [`give_up`](Self::give_up) is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.entries
            .iter()
            .filter_map(|track| track.waiting.deadline())
            .min()
    }

    /// str0m has measured.
    pub(crate) fn measured(&mut self, stats: &PeerStats) {
        let pair = stats.selected_candidate_pair.as_ref();
        self.rtt = pair.and_then(|pair| pair.current_round_trip_time).or(self.rtt);
        if self.bandwidth.measured(stats) {
            self.share();
        }
    }

    /// The remote peer wants no more bits a second than this.
    pub(crate) fn limited(&mut self, bits: u64) {
        self.bandwidth.limited(bits, Instant::now());
        self.share();
    }

    /// Tells the tracks what the network carries.
    fn share(&self) {
        congestion::share(
            self.available_bitrate(),
            self.entries.iter().map(|track| &track.port),
        );
    }

    /// What the network is thought to carry.
    pub(crate) fn available_bitrate(&self) -> Option<Bitrate> {
        self.bandwidth.estimator.estimate()
    }

    pub(crate) fn sent(&mut self, stats: MediaEgressStats) {
        let is_video = |track: &Track| track.mid == stats.mid && track.port.kind() == MediaKind::Video;
        if self.entries.iter().any(is_video) && self.bandwidth.reported(&stats) {
            self.share();
        }
        if let Some(track) = self.entries.iter_mut().find(|track| track.mid == stats.mid) {
            track.counts.sent(stats);
        }
    }

    pub(crate) fn received(&mut self, stats: MediaIngressStats) {
        if let Some(track) = self.entries.iter_mut().find(|track| track.mid == stats.mid) {
            track.counts.received(stats);
        }
    }

    pub(crate) fn stats(&self) -> Vec<(String, RtpStats)> {
        let of = |track: &Track| (track.mid.to_string(), track.counts.stats());
        self.entries.iter().map(of).collect()
    }
}

impl Track {
    fn new(mid: Mid, port: TrackPort) -> Self {
        Self {
            mid,
            port,
            format: None,
            next: None,
            ssrc: None,
            sequence: 0,
            request: None,
            ticks: None,
            gap: false,
            waiting: Waiting::default(),
            counts: Counts::default(),
        }
    }

    fn assign(&mut self, port: TrackPort) {
        self.format = None;
        if self.port != port {
            self.port = port;
            self.request = None;
            self.ticks = None;
            self.gap = false;
        }
    }

    fn write(&mut self, rtc: &mut Rtc, now: Instant, max: usize, payloads: &mut Vec<Bytes>) {
        let Some(frame) = self.next.take() else {
            return;
        };
        let length = frame.payload.as_ref().len();
        if self.try_write(rtc, frame, now, max, payloads).is_none() {
            tracing::debug!(mid = %self.mid, length, "a frame cannot be sent");
            self.port.not_sent(length);
        }
    }

    fn try_write(
        &mut self,
        rtc: &mut Rtc,
        frame: OutgoingFrame,
        now: Instant,
        max: usize,
        payloads: &mut Vec<Bytes>,
    ) -> Option<()> {
        let OutgoingFrame { codec, keyframe, .. } = frame;
        let pt = match self.format {
            Some((last, pt)) if last == codec => pt,
            _ => {
                let pt = convert::payload_type(rtc, self.mid, codec)?;
                self.format = Some((codec, pt));
                pt
            }
        };
        if !rtc.media(self.mid)?.direction().is_sending() {
            return None;
        }
        // A report about the future would be one of nothing.
        let captured = frame.captured.min(now).into_std();
        let payload = match frame.payload {
            Payload::Arc(payload) => Bytes::from_owner(payload),
            Payload::Bytes(payload) => payload,
        };
        payloads.clear();
        packetize(codec, payload, keyframe, max, payloads);
        // A packet has a whole frame of sound, or none of it.
        let last = payloads.len().checked_sub(1)?;
        if payloads.iter().any(|payload| payload.len() > max) {
            return None;
        }
        let mut api = rtc.direct_api();
        let stream = api.stream_tx_by_mid(self.mid, None)?;
        let is_video = codec.kind() == MediaKind::Video;
        for (i, payload) in payloads.drain(..).enumerate() {
            // The low 32 bits of the time go out as they are.
            let time = frame.media_time.ticks as u32;
            let packet = RtpWrite::new(pt, self.sequence.into(), time, captured, &payload[..])
                .marker(is_video && i == last)
                .nackable(is_video);
            self.sequence += 1;
            stream.write_rtp(packet);
        }
        Some(())
    }

    fn deliver(&mut self, data: MediaData) {
        self.waiting.delivered();
        self.counts.frame(&data.seq_range);
        let follows = data.contiguous && !self.gap && self.ticks.is_some();
        let is_usable = |codec: &Codec| {
            let whole = follows || *codec != Codec::H264 || convert::is_whole(&data.data);
            whole && (1..=MAX_FRAME_SIZE).contains(&data.data.len())
        };
        let Some(codec) = convert::codec(&data.params).filter(is_usable) else {
            self.gap = true;
            return;
        };
        // The low 32 bits are the packets'; the others are about the m-line, whichever track it had.
        let ticks = rtp::unwrap(self.ticks, data.time.numer() as u32);
        let contiguous = data.contiguous && !std::mem::take(&mut self.gap);
        self.ticks = Some(ticks);
        let rate = codec.clock_rate();
        self.port.deliver(IncomingFrame {
            codec,
            keyframe: convert::is_keyframe(codec, &data),
            contiguous,
            media_time: visavis_core::MediaTime { ticks, rate },
            first_packet: Instant::from_std(data.network_time),
            sender_time: data
                .last_sender_info
                .and_then(|info| rtp::sender_time(&info, ticks as u32, rate)),
            payload: Payload::Arc(data.data),
        });
    }
}

/// Whether lost packets of the m-line are asked for.
fn recovers(rtc: &Rtc, mid: Mid) -> bool {
    rtc.media(mid).is_some_and(|media| {
        let params = rtc.codec_config().params();
        let repairs = |pt: &Pt| params.iter().any(|p| p.pt() == *pt && p.resend().is_some());
        media.remote_pts().iter().any(repairs)
    })
}

/// Returns whether there is nothing more to try.
fn request_keyframe(rtc: &mut Rtc, mid: Mid) -> bool {
    let Some(mut writer) = rtc.writer(mid) else {
        return false;
    };
    let kinds = [KeyframeRequestKind::Pli, KeyframeRequestKind::Fir];
    let possible = kinds
        .into_iter()
        .find(|kind| writer.is_request_keyframe_possible(*kind));
    // Fails while the remote peer's SSRC is unknown.
    possible.is_none_or(|kind| writer.request_keyframe(None, kind).is_ok())
}
