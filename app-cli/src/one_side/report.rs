//! What one side knows of the media: what it sent, what arrived, and what it thinks of that.

use super::pattern::Seen;
use crate::numbers::millis;
use serde::Serialize;
use tokio::time::Instant;
use visavis_core::{Codec, InboundStats};
use visavis_media::{
    pipeline::{AudioReceiveStats, VideoReceiveStats},
    session::Psnr,
    sink::{AudioReport, VideoReport},
};

/// A picture that stands still for longer than this, in milliseconds, is one that a person takes for frozen.
const FROZEN_MS: f64 = 1_000.0;

/// How strict the judgement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The other side sends what it likes; where it is the pattern or the tone, all of it is checked.
    Direct,
    /// The other side sends back what we sent, perhaps decoded, scaled and encoded anew: it must be the pattern, its
    /// numbers in order, and the tone.
    Echoed,
}

/// The media of one side. What is not known is `None`, never 0.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SideReport {
    /// Pictures that were sent.
    pub(crate) video_frames_sent: Option<u64>,
    /// Packets of sound that were sent.
    pub(crate) audio_packets_sent: Option<u64>,
    /// Pictures that arrived.
    pub(crate) video: Option<VideoSeen>,
    /// Sound that arrived.
    pub(crate) audio: Option<AudioSeen>,
    /// What is wrong, in words; nothing if it is empty.
    pub(crate) problems: Vec<String>,
}

/// Pictures that arrived.
#[derive(Debug, Serialize)]
pub(crate) struct VideoSeen {
    pub(crate) codec: Option<Codec>,
    pub(crate) width: Option<usize>,
    pub(crate) height: Option<usize>,
    /// RTP packets that arrived.
    pub(crate) rtp_received: Option<u64>,
    pub(crate) frames_received: u64,
    pub(crate) frames_decoded: u64,
    /// Frames that arrived after one that is missing, and before the next keyframe.
    pub(crate) undecodable: u64,
    /// Frames that the decoder refused.
    pub(crate) failed: u64,
    /// Pictures that were decoded and that the checks were too slow for.
    pub(crate) not_shown: u64,
    /// Pictures with the number of the pattern, and without it.
    pub(crate) numbers_read: u64,
    pub(crate) numbers_unreadable: u64,
    /// Whether the numbers never went back; `None` if there were none.
    pub(crate) numbers_in_order: Option<bool>,
    pub(crate) repeated: u64,
    /// Numbers between the first and the last that never came.
    pub(crate) missing: Option<u64>,
    /// The longest time without a new picture after the first one, to the end of our own sending if we sent.
    pub(crate) longest_gap_ms: Option<f64>,
    /// How close the pictures are to those of a pattern of their size.
    pub(crate) psnr_db: Option<Psnr>,
    #[serde(skip)]
    compared: Option<VideoReport>,
}

/// Sound that arrived.
#[derive(Debug, Serialize)]
pub(crate) struct AudioSeen {
    /// RTP packets that arrived.
    pub(crate) rtp_received: Option<u64>,
    pub(crate) packets_received: u64,
    pub(crate) packets_decoded: u64,
    pub(crate) concealed: u64,
    /// Beeps of the tone, one a second.
    pub(crate) beeps_heard: u64,
    /// The median level between them; it is sent at −29.
    pub(crate) level_dbfs: Option<f64>,
    #[serde(skip)]
    heard: AudioReport,
}

impl VideoSeen {
    pub(super) fn new(
        stats: &VideoReceiveStats,
        inbound: InboundStats,
        seen: &Seen,
        stopped: Option<Instant>,
        rtp_received: Option<u64>,
    ) -> Self {
        let compared = seen.compared();
        Self {
            codec: stats.codec,
            width: stats.size.map(|size| size.0),
            height: stats.size.map(|size| size.1),
            rtp_received,
            frames_received: inbound.frames_received,
            frames_decoded: stats.decoded,
            undecodable: stats.undecodable,
            failed: stats.failed,
            not_shown: stats.late,
            numbers_read: seen.readable,
            numbers_unreadable: seen.unreadable,
            numbers_in_order: (seen.readable > 0).then_some(seen.backwards == 0),
            repeated: seen.repeated,
            missing: compared.as_ref().map(|report| report.missing),
            longest_gap_ms: seen.longest_gap(stopped).map(millis),
            psnr_db: compared.as_ref().and_then(|r| r.psnr_luma_db).map(|psnr| Psnr {
                mean: rounded(psnr.mean),
                min: rounded(psnr.min),
            }),
            compared,
        }
    }

    fn problems(&self, judged: Judged, sent: Option<u64>) -> Vec<String> {
        if self.frames_decoded == 0 {
            let (frames, failed) = (self.frames_received, self.failed);
            return vec![match frames {
                0 => "no picture arrived".to_owned(),
                _ => format!("no picture was decoded: {frames} frames arrived, {failed} were refused"),
            }];
        }
        match judged {
            Judged::Direct => self.compared.iter().flat_map(VideoReport::problems).collect(),
            Judged::Echoed => self.echo_problems(sent.unwrap_or(0)),
        }
    }

    fn echo_problems(&self, sent: u64) -> Vec<String> {
        let mut found = Vec::new();
        let (decoded, read) = (self.frames_decoded, self.numbers_read);
        if decoded * 10 < sent {
            found.push(format!("only {decoded} of {sent} pictures came back"));
        }
        if read * 10 < (read + self.numbers_unreadable) * 9 {
            let unread = self.numbers_unreadable;
            found.push(format!("{unread} of {decoded} pictures have no readable number"));
        }
        if self.numbers_in_order == Some(false) {
            found.push("the pictures did not come back in order".into());
        }
        if let Some(gap) = self.longest_gap_ms.filter(|gap| *gap > FROZEN_MS) {
            found.push(format!("for {gap:.0} ms no new picture came back"));
        }
        found
    }
}

impl AudioSeen {
    pub(super) fn new(
        stats: &AudioReceiveStats,
        inbound: InboundStats,
        heard: AudioReport,
        rtp_received: Option<u64>,
    ) -> Self {
        Self {
            rtp_received,
            packets_received: inbound.frames_received,
            packets_decoded: stats.decoded,
            concealed: stats.concealed,
            beeps_heard: heard.beeps,
            level_dbfs: heard.steady_dbfs.map(|level| rounded(level.median)),
            heard,
        }
    }

    fn problems(&self, judged: Judged, sent: Option<u64>) -> Vec<String> {
        if self.packets_decoded == 0 {
            return vec!["no sound arrived".to_owned()];
        }
        // 50 packets a second, and a beep each.
        let long = sent.is_some_and(|sent| sent >= 100);
        match judged {
            Judged::Direct if self.beeps_heard > 0 => self.heard.problems(),
            Judged::Echoed if self.beeps_heard == 0 && long => {
                vec!["no beep of the tone came back".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

impl SideReport {
    /// Adds what is wrong with what arrived.
    pub(crate) fn judge(&mut self, judged: Judged) {
        if let Some(video) = &self.video {
            self.problems
                .extend(video.problems(judged, self.video_frames_sent));
        }
        if let Some(audio) = &self.audio {
            self.problems
                .extend(audio.problems(judged, self.audio_packets_sent));
        }
    }

    /// A line a kind on what was sent and what arrived.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.video_frames_sent.is_some() || self.audio_packets_sent.is_some() {
            let of = |count: Option<u64>, noun| count.map(|count| format!("{count} {noun}"));
            let video = of(self.video_frames_sent, "pictures");
            let parts: Vec<_> = video
                .into_iter()
                .chain(of(self.audio_packets_sent, "packets of sound"))
                .collect();
            lines.push(format!("sent: {}", parts.join(", ")));
        }
        if let Some(video) = &self.video {
            let mut parts = vec![format!("{} decoded", video.frames_decoded)];
            if let (Some(width), Some(height)) = (video.width, video.height) {
                parts.push(format!("{width}x{height}"));
            }
            parts.extend(video.codec.map(|codec| codec.to_string()));
            match (video.numbers_in_order, video.psnr_db) {
                (None, _) if video.frames_decoded > 0 => {
                    parts.push("not the pattern, so not compared".into());
                }
                (Some(in_order), psnr) => {
                    parts.push(if in_order { "in order" } else { "not in order" }.into());
                    parts.extend(psnr.map(|p| format!("PSNR {:.1} dB, at least {:.1}", p.mean, p.min)));
                }
                _ => {}
            }
            parts.extend(video.longest_gap_ms.map(|gap| format!("longest gap {gap:.0} ms")));
            lines.push(format!("pictures: {}", parts.join(", ")));
        }
        if let Some(audio) = &self.audio {
            let (packets, beeps) = (audio.packets_decoded, audio.beeps_heard);
            lines.push(format!("sound: {packets} packets decoded, {beeps} beeps"));
        }
        lines
    }
}

/// To a hundredth.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
