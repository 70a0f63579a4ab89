//! What is known of a call's media.

use crate::pipeline::{AudioReceiveStats, Latency, VideoReceiveStats, VideoSendStats};
use serde::Serialize;
use std::time::Duration;
use visavis_core::{Codec, InboundStats, OutboundStats, RtpStats, Side};

/// What each side sent and the other one got. What is not known is `None`, never 0.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MediaReport {
    /// What the offerer sent.
    pub offerer_to_answerer: Option<WayReport>,
    /// What the answerer sent.
    pub answerer_to_offerer: Option<WayReport>,
}

/// What one side sent and the other one got.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WayReport {
    /// Pictures.
    pub video: Option<VideoWay>,
    /// Sound.
    pub audio: Option<AudioWay>,
    /// What is wrong, in words; nothing if it is empty.
    pub problems: Vec<String>,
}

/// Pictures on one way.
#[derive(Debug, Clone, Serialize)]
pub struct VideoWay {
    /// `pattern`, `camera` or `file`.
    pub source: &'static str,
    /// The codec in use.
    pub codec: Option<Codec>,
    /// Width in pixels of the last picture that was decoded.
    pub width: Option<usize>,
    /// Its height.
    pub height: Option<usize>,
    /// What became of the pictures.
    pub frames: FrameCounts,
    /// Pictures decoded a second, over the time in which they were sent.
    pub fps: Option<f64>,
    /// From entering `call` to the first decoded picture.
    pub first_frame_ms: Option<f64>,
    /// From capture at the one side to the end of decoding at the other.
    pub capture_to_decode_ms: Option<Quantiles>,
    /// How close the pictures of the pattern are to what was sent.
    pub psnr_db: Option<Psnr>,
    /// Whether the pictures of the pattern came in the order of their numbers, none twice.
    pub numbers_in_order: Option<bool>,
    /// Bits a second of what was sent, without headers.
    pub bitrate_bps: Option<u64>,
    /// Bits a second that the encoder aims at in the end: what was set, or less if the network carries less.
    pub target_bitrate_bps: Option<u64>,
    /// Keyframes that were sent.
    pub keyframes: u64,
    /// RTP packets.
    pub rtp: PacketCounts,
}

/// What became of the pictures. `captured = encoded + late + idle + skipped` and `received = decoded + undecodable +
/// failed + dropped`, but for pictures that a decoder holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FrameCounts {
    /// Pictures that the source gave.
    pub captured: u64,
    /// Of these, pictures that a newer one replaced before the encoder took them.
    pub late: u64,
    /// Pictures that came while there was nobody to send to.
    pub idle: u64,
    /// Pictures that the encoder left out, to keep to its bitrate.
    pub skipped: u64,
    /// Frames that the encoder gave.
    pub encoded: u64,
    /// Of these, frames that the stack took.
    pub sent: u64,
    /// Of these, frames that arrived complete.
    pub received: u64,
    /// Frames that were sent and did not arrive.
    pub lost: u64,
    /// Frames that arrived and were dropped, for the decoder was too slow.
    pub dropped: u64,
    /// Frames that arrived after one that is missing, and before the next keyframe.
    pub undecodable: u64,
    /// Frames that the decoder refused.
    pub failed: u64,
    /// Pictures that the decoder gave.
    pub decoded: u64,
    /// Of these, pictures that the sink was too slow for.
    pub not_shown: u64,
}

/// Sound on one way.
#[derive(Debug, Clone, Serialize)]
pub struct AudioWay {
    /// `tone`, `microphone` or `file`.
    pub source: &'static str,
    /// The codec in use.
    pub codec: Codec,
    /// Packets of 20 ms that the stack took.
    pub packets_sent: u64,
    /// Of these, packets that arrived.
    pub packets_received: u64,
    /// Packets that were sent and did not arrive.
    pub packets_lost: u64,
    /// Gaps of 20 ms that were concealed.
    pub concealed: u64,
    /// The median level of the steady tone between the beeps; it is sent at −29.
    pub level_dbfs: Option<f64>,
    /// Beeps of the tone, one a second.
    pub beeps_heard: Option<u64>,
    /// How many there should be in the sound that arrived.
    pub beeps_expected: Option<u64>,
    /// From a picture to the sound that belongs to it; positive if the sound is late.
    pub skew_ms: Option<SkewMs>,
    /// Bits a second of what was sent, without headers.
    pub bitrate_bps: Option<u64>,
    /// RTP packets.
    pub rtp: PacketCounts,
}

/// RTP packets of one m-line and way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PacketCounts {
    /// Packets that were sent, repeated ones included.
    pub packets_sent: Option<u64>,
    /// Packets that arrived, repeated ones included.
    pub packets_received: Option<u64>,
    /// Packets that were sent again on request.
    pub retransmissions: Option<u64>,
    /// Requests for missing packets (NACK).
    pub nacks: Option<u64>,
    /// Requests for a keyframe (PLI and FIR).
    pub plis: Option<u64>,
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half took less.
    pub p50: f64,
    /// 95 % took less.
    pub p95: f64,
    /// 99 % took less.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// PSNR of luma, in dB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Psnr {
    /// The mean of all pictures.
    pub mean: f64,
    /// The worst picture.
    pub min: f64,
}

/// Milliseconds from a picture to its sound.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SkewMs {
    /// The median.
    pub median: f64,
    /// The one farthest from zero.
    pub max: f64,
}

impl MediaReport {
    /// What the side of that name sent.
    pub fn sent_by(&self, side: Side) -> Option<&WayReport> {
        match side {
            Side::Offerer => self.offerer_to_answerer.as_ref(),
            Side::Answerer => self.answerer_to_offerer.as_ref(),
        }
    }

    /// The same, to be filled in.
    pub(super) fn sent_by_mut(&mut self, side: Side) -> &mut Option<WayReport> {
        match side {
            Side::Offerer => &mut self.offerer_to_answerer,
            Side::Answerer => &mut self.answerer_to_offerer,
        }
    }

    /// What is wrong, in words, with the way it is about; empty if all is well.
    pub fn problems(&self) -> Vec<String> {
        let of = |side: Side| {
            let problems = self.sent_by(side).into_iter().flat_map(|way| &way.problems);
            problems.map(move |problem| format!("from the {side}: {problem}"))
        };
        of(Side::Offerer).chain(of(Side::Answerer)).collect()
    }
}

impl FrameCounts {
    /// What became of pictures that were not shown: how many, if any, and a few words.
    pub fn fates(&self) -> Vec<(u64, &'static str)> {
        let all = [
            (self.idle, "before there was anybody to send to"),
            (self.late, "too late for the encoder"),
            (self.skipped, "left out by the encoder to keep its bitrate"),
            (self.encoded.saturating_sub(self.sent), "refused by the stack"),
            (self.lost, "lost"),
            (self.dropped, "too many for the decoder"),
            (self.undecodable, "without their keyframe"),
            (self.failed, "refused by the decoder"),
            (self.not_shown, "too many for the sink"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).collect()
    }

    /// From what the pipelines and the tracks' ends counted.
    pub(super) fn of(
        sent: &VideoSendStats,
        received: &VideoReceiveStats,
        outbound: OutboundStats,
        inbound: InboundStats,
    ) -> Self {
        Self {
            captured: sent.captured,
            late: sent.late,
            idle: sent.idle,
            skipped: sent.skipped,
            encoded: sent.encoded,
            sent: outbound.frames_sent,
            received: inbound.frames_received,
            lost: outbound.frames_sent.saturating_sub(inbound.frames_received),
            dropped: inbound.frames_dropped,
            undecodable: received.undecodable,
            failed: received.failed,
            decoded: received.decoded,
            not_shown: received.late,
        }
    }
}

impl AudioWay {
    /// From what the pipeline and the tracks' ends counted.
    pub(super) fn of(
        source: &'static str,
        received: &AudioReceiveStats,
        outbound: OutboundStats,
        inbound: InboundStats,
    ) -> Self {
        Self {
            source,
            codec: Codec::Opus,
            packets_sent: outbound.frames_sent,
            packets_received: inbound.frames_received,
            packets_lost: outbound.frames_sent.saturating_sub(inbound.frames_received),
            concealed: received.concealed,
            level_dbfs: None,
            beeps_heard: None,
            beeps_expected: None,
            skew_ms: None,
            bitrate_bps: None,
            rtp: PacketCounts::default(),
        }
    }
}

impl PacketCounts {
    /// What the sender's stack counted, and where it does not, what the receiver's did.
    pub(super) fn of(sender: &RtpStats, receiver: &RtpStats) -> Self {
        Self {
            packets_sent: sender.packets_sent,
            packets_received: receiver.packets_received,
            retransmissions: sender
                .retransmitted_packets_sent
                .or(receiver.retransmitted_packets_received),
            nacks: receiver.nacks_sent.or(sender.nacks_received),
            plis: receiver.plis_sent.or(sender.plis_received),
        }
    }
}

impl Quantiles {
    pub(super) fn of(latency: &Latency) -> Option<Self> {
        Some(Self {
            p50: millis(latency.quantile(0.5)?),
            p95: millis(latency.quantile(0.95)?),
            p99: millis(latency.quantile(0.99)?),
            max: millis(latency.max()?),
        })
    }
}

/// Milliseconds, to the microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

/// To a hundredth.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Bits a second of `bytes` in `time`.
pub(super) fn bitrate(bytes: u64, time: Duration) -> Option<u64> {
    (!time.is_zero()).then(|| (bytes as f64 * 8.0 / time.as_secs_f64()).round() as u64)
}
