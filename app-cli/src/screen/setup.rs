//! What the next call is made of, and what it can be changed to.

use super::model::Change;
use visavis_core::{Bitrate, Codec, IceMode, MediaKind, PairState};
use visavis_media::{
    codec,
    devices::{cameras, microphones},
    session::{AudioInput, MediaPlan, VideoInput, default_bitrate},
};

/// The bitrates that can be reached, in bits a second.
const BITRATES: (u64, u64) = (50_000, 20_000_000);

/// What a call is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The offerer's stack and the answerer's.
    pub(crate) stacks: [&'static str; 2],
    /// When candidates travel.
    pub(crate) ice: IceMode,
    /// What it carries.
    pub(crate) plan: MediaPlan,
    /// What there is to choose from.
    pub(crate) choices: Choices,
}

/// What there is to choose from, in the order in which it is gone through.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    pub(crate) stacks: Vec<&'static str>,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) videos: Vec<VideoInput>,
    pub(crate) audios: Vec<AudioInput>,
}

impl Choices {
    /// What this build and this machine have, and what the command line named.
    pub(crate) fn find(stacks: &[&'static str], plan: &MediaPlan) -> Self {
        let codecs = codec::available().into_iter();
        let codecs = codecs.filter(|c| c.encoder.is_some() && c.decoder.is_some());
        let codecs = codecs.map(|c| c.codec).filter(|c| c.kind() == MediaKind::Video);
        let mut videos = vec![VideoInput::Pattern];
        videos.extend(
            cameras()
                .unwrap_or_default()
                .iter()
                .map(|c| VideoInput::Camera(c.index)),
        );
        if let Some(video) = &plan.video
            && !videos.contains(&video.source)
        {
            videos.push(video.source.clone());
        }
        let mut audios = vec![AudioInput::Tone];
        if !microphones().unwrap_or_default().is_empty() {
            audios.push(AudioInput::Microphone(None));
        }
        if let Some(audio) = &plan.audio
            && !audios.contains(&audio.source)
        {
            audios.push(audio.source.clone());
        }
        Self {
            stacks: stacks.to_vec(),
            codecs: codecs.collect(),
            videos,
            audios,
        }
    }
}

impl Setup {
    /// Changes one thing to its next choice. What was asked for cannot always be had: then a sentence says why.
    pub(crate) fn change(&mut self, change: Change, state: PairState) -> Result<(), String> {
        let in_call = state.can_hang_up();
        let live = matches!(
            change,
            Change::Video | Change::Audio | Change::MoreBits | Change::FewerBits
        );
        if in_call && !live {
            let what = match change {
                Change::Offerer | Change::Answerer => "A stack",
                Change::Codec => "The codec",
                Change::Ways => "Who sends",
                _ => "The way of ICE",
            };
            return Err(format!("{what} is chosen between calls: hang up first (h)"));
        }
        match change {
            Change::Offerer => next(&mut self.stacks[0], &self.choices.stacks, "stack")?,
            Change::Answerer => next(&mut self.stacks[1], &self.choices.stacks, "stack")?,
            Change::Ice => {
                self.ice = match self.ice {
                    IceMode::Trickle => IceMode::Full,
                    IceMode::Full => IceMode::Trickle,
                }
            }
            Change::Ways => self.plan.both_ways = !self.plan.both_ways,
            Change::Audio => {
                let audio = self
                    .plan
                    .audio
                    .as_mut()
                    .ok_or("this call carries no sound (--audio)")?;
                next(&mut audio.source, &self.choices.audios, "source of sound")?;
            }
            Change::Codec | Change::Video | Change::MoreBits | Change::FewerBits => {
                let bitrate = self.bitrate();
                let video = self
                    .plan
                    .video
                    .as_mut()
                    .ok_or("this call carries no pictures (--video)")?;
                match change {
                    Change::Codec => next(&mut video.codec, &self.choices.codecs, "codec")?,
                    Change::Video => next(&mut video.source, &self.choices.videos, "source of pictures")?,
                    _ => {
                        let (by, of) = if change == Change::MoreBits {
                            (5, 4)
                        } else {
                            (4, 5)
                        };
                        let bps = (bitrate * by / of).clamp(BITRATES.0, BITRATES.1);
                        // Whole thousands read well.
                        video.bitrate = Some(Bitrate::from_bps((bps + 500) / 1_000 * 1_000));
                    }
                }
            }
        }
        Ok(())
    }

    /// What the encoder aims at, in bits a second.
    pub(crate) fn bitrate(&self) -> u64 {
        self.plan.video.as_ref().map_or(0, |video| {
            let default = || default_bitrate(video.size, video.rate.fps());
            video.bitrate.unwrap_or_else(default).bps()
        })
    }
}

/// The choice after this one.
fn next<T: Clone + PartialEq>(current: &mut T, choices: &[T], what: &str) -> Result<(), String> {
    let index = choices.iter().position(|choice| choice == current);
    let choice = index.map_or(choices.first(), |index| choices.get((index + 1) % choices.len()));
    match choice {
        Some(choice) if choice != current => {
            *current = choice.clone();
            Ok(())
        }
        _ => Err(format!(
            "there is no other {what} here (`visavis devices`, `visavis backends`)"
        )),
    }
}

/// A source of pictures in a word or two.
pub(crate) fn video_name(source: &VideoInput) -> String {
    match source {
        VideoInput::Pattern => "pattern".to_owned(),
        VideoInput::Camera(index) => format!("camera {index}"),
        VideoInput::File(path) => file_name(path),
    }
}

/// A source of sound in a word or two.
pub(crate) fn audio_name(source: &AudioInput) -> String {
    match source {
        AudioInput::Tone => "tone".to_owned(),
        AudioInput::Microphone(_) => "microphone".to_owned(),
        AudioInput::File(path) => file_name(path),
    }
}

fn file_name(path: &std::path::Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}
