//! What a call is to carry.

use crate::source::{FrameRate, file::Repeat};
use std::path::PathBuf;
use visavis_core::{Bitrate, Codec, Direction, MediaKind, PairMedia};

/// What a call carries, from the offerer to the answerer and perhaps back.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaPlan {
    /// The pictures.
    pub video: Option<VideoPlan>,
    /// The sound.
    pub audio: Option<AudioPlan>,
    /// Whether the answerer sends the same back. A camera and a microphone are opened once: in their place the
    /// answerer sends the pattern and the tone.
    pub both_ways: bool,
    /// What files do at their end.
    pub repeat: Repeat,
    /// A directory for what arrives, as it came: `offerer_to_answerer.ivf`, `offerer_to_answerer.ogg` and so on. It is
    /// made if it is missing.
    pub record: Option<PathBuf>,
    /// Plays what the answerer hears on the machine's speaker.
    pub speaker: bool,
}

/// Pictures to send.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoPlan {
    /// Where they come from.
    pub source: VideoInput,
    /// Width and height in pixels; of a camera the nearest that it has. A file has its own.
    pub size: (usize, usize),
    /// Pictures a second; of a camera the nearest that it has. A file has its own.
    pub rate: FrameRate,
    /// What the encoder aims at. Default: [`default_bitrate`].
    pub bitrate: Option<Bitrate>,
    /// The one codec to agree on.
    pub codec: Codec,
}

/// Sound to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPlan {
    /// Where it comes from.
    pub source: AudioInput,
    /// What the encoder aims at.
    pub bitrate: Bitrate,
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoInput {
    /// The moving test card, which the receiver checks.
    Pattern,
    /// The camera of that index.
    Camera(u32),
    /// A file, see [`open_video`](crate::source::file::open_video).
    File(PathBuf),
}

impl VideoInput {
    /// `pattern`, `camera` or `file`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Camera(_) => "camera",
            Self::File(_) => "file",
        }
    }
}

/// Where sound comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioInput {
    /// The tone with a beep each second, which the receiver checks.
    Tone,
    /// The microphone of that name, or the machine's own choice.
    Microphone(Option<String>),
    /// A file, see [`open_audio`](crate::source::file::open_audio).
    File(PathBuf),
}

impl AudioInput {
    /// `tone`, `microphone` or `file`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tone => "tone",
            Self::Microphone(_) => "microphone",
            Self::File(_) => "file",
        }
    }
}

impl VideoPlan {
    /// The pattern at `size` and `rate`, as H.264.
    pub fn pattern(size: (usize, usize), rate: FrameRate) -> Self {
        Self {
            source: VideoInput::Pattern,
            size,
            rate,
            bitrate: None,
            codec: Codec::H264,
        }
    }
}

impl Default for AudioPlan {
    /// The tone, as Opus at 64 kbit/s.
    fn default() -> Self {
        Self {
            source: AudioInput::Tone,
            bitrate: Bitrate::from_bps(64_000),
        }
    }
}

impl MediaPlan {
    /// No media at all.
    pub fn none() -> Self {
        Self {
            video: None,
            audio: None,
            both_ways: false,
            repeat: Repeat::Once,
            record: None,
            speaker: false,
        }
    }

    /// Pictures and sound that the receiver can check: the pattern and the tone.
    pub fn checked(size: (usize, usize), rate: FrameRate) -> Self {
        Self {
            video: Some(VideoPlan::pattern(size, rate)),
            audio: Some(AudioPlan::default()),
            ..Self::none()
        }
    }

    /// Whether there is nothing to carry.
    pub fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    /// The m-lines for [`PairConfig::media`](visavis_core::PairConfig::media): sound before pictures, as browsers
    /// write them.
    pub fn pair_media(&self) -> Vec<PairMedia> {
        let direction = if self.both_ways {
            Direction::SendRecv
        } else {
            Direction::SendOnly
        };
        let line = |kind, codec| PairMedia {
            kind,
            direction,
            codecs: vec![codec],
        };
        let audio = self.audio.iter().map(|_| line(MediaKind::Audio, Codec::Opus));
        let video = self.video.iter().map(|v| line(MediaKind::Video, v.codec));
        audio.chain(video).collect()
    }

    /// Whether it ends by itself, with a file.
    pub fn is_finite(&self) -> bool {
        let video = self
            .video
            .as_ref()
            .is_some_and(|v| matches!(v.source, VideoInput::File(_)));
        let audio = self
            .audio
            .as_ref()
            .is_some_and(|a| matches!(a.source, AudioInput::File(_)));
        self.repeat == Repeat::Once && (video || audio)
    }

    /// The plan of the way back, where there is one.
    pub(super) fn back(&self) -> Option<Self> {
        let mut back = self.both_ways.then(|| self.clone())?;
        if let Some(video) = &mut back.video
            && matches!(video.source, VideoInput::Camera(_))
        {
            video.source = VideoInput::Pattern;
        }
        if let Some(audio) = &mut back.audio
            && matches!(audio.source, AudioInput::Microphone(_))
        {
            audio.source = AudioInput::Tone;
        }
        // One speaker is enough: it plays what the answerer hears.
        back.speaker = false;
        Some(back)
    }
}

/// What a video of that size and rate takes to look good in a call: 800 kbit/s for 640x480 and 2 Mbit/s for 1280x720,
/// both at 30 pictures a second. More pixels need fewer bits each.
pub fn default_bitrate((width, height): (usize, usize), fps: f32) -> Bitrate {
    let share = width as f64 * height as f64 * f64::from(fps) / (640.0 * 480.0 * 30.0);
    let bps = 800_000.0 * share.powf(5.0 / 6.0);
    // Whole kilobits, and enough for the number code of the smallest pattern.
    Bitrate::from_bps(((bps / 1_000.0).round() as u64).max(50) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bitrate_grows_with_size_and_rate() {
        let kbps = |size, fps| default_bitrate(size, fps).bps() / 1_000;
        assert_eq!(kbps((640, 480), 30.0), 800);
        assert_eq!(kbps((1280, 720), 30.0), 1_998);
        assert_eq!(kbps((640, 480), 15.0), 449);
        assert_eq!(kbps((64, 48), 1.0), 50);
    }

    #[test]
    fn the_way_back_opens_no_device_twice() {
        let mut plan = MediaPlan::checked((640, 480), FrameRate::new(30, 1).unwrap());
        assert_eq!(plan.back(), None);
        plan.both_ways = true;
        plan.video.as_mut().unwrap().source = VideoInput::Camera(1);
        plan.audio.as_mut().unwrap().source = AudioInput::Microphone(None);
        let back = plan.back().unwrap();
        assert_eq!(back.video.unwrap().source, VideoInput::Pattern);
        assert_eq!(back.audio.unwrap().source, AudioInput::Tone);
    }

    #[test]
    fn the_m_lines_are_those_of_the_plan() {
        let mut plan = MediaPlan::checked((640, 480), FrameRate::new(30, 1).unwrap());
        let kinds = |plan: &MediaPlan| plan.pair_media().iter().map(|m| m.kind).collect::<Vec<_>>();
        assert_eq!(kinds(&plan), [MediaKind::Audio, MediaKind::Video]);
        assert_eq!(plan.pair_media()[1].codecs, [Codec::H264]);
        assert_eq!(plan.pair_media()[1].direction, Direction::SendOnly);
        plan.both_ways = true;
        plan.audio = None;
        assert_eq!(kinds(&plan), [MediaKind::Video]);
        assert_eq!(plan.pair_media()[0].direction, Direction::SendRecv);
        assert_eq!(MediaPlan::none().pair_media(), []);
    }
}
